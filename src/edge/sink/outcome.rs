//! What a sink says of a command that it could not hand over, as an input.
//!
//! `late`: its deadline was over. Else the gateway refused it. Of a command that the gateway cannot take as
//! it is (413, 415, 422) the class is `content`: another device, or SMS, may still carry the message. Any
//! other refusal (a wrong path, a wrong token) says nothing of the message or the phone, so it is
//! `infrastructure`: the message is kept and tried again, since a person will put that right.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use serde::Deserialize;
use serde_json::json;

use crate::domain::time::{Timestamp, rfc3339};
use crate::edge::private::Subscriber;
use crate::engine::intake::{Given, Intake, Refused};

/// What a webhook needs to know of an output.
#[derive(Debug, Deserialize)]
pub(super) struct Command {
    /// Its id; whoever receives it twice can tell by it.
    pub(super) id: String,
    #[serde(rename = "type")]
    kind: String,
    /// The user.
    #[serde(default)]
    subject: Option<String>,
    #[serde(with = "rfc3339")]
    time: Timestamp,
    data: Data,
}

#[derive(Debug, Deserialize)]
struct Data {
    #[serde(default)]
    attempt_id: Option<String>,
    #[serde(default)]
    message_id: Option<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default, with = "rfc3339::option")]
    deadline: Option<Timestamp>,
}

/// Why a command was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivenUp {
    /// Its deadline is over.
    Late,
    /// The webhook answered so.
    Refused(u16),
}

impl GivenUp {
    fn cause(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Refused(413 | 415 | 422) => "content",
            Self::Refused(_) => "infrastructure",
        }
    }
}

impl Command {
    /// The user, as a log line may show it.
    pub(super) fn user(&self) -> Subscriber<'_> {
        Subscriber(self.subject.as_deref().unwrap_or_default())
    }

    /// Until when it may be handed over: its deadline, else so long after it was asked for.
    pub(super) fn until(&self, lifetime: std::time::Duration) -> Timestamp {
        self.data.deadline.unwrap_or(self.time + lifetime)
    }

    /// The input that says what became of it; `None`: nobody waits for that.
    pub(super) fn outcome(&self, sink: &str, why: GivenUp, now: Timestamp) -> Option<Given> {
        let user = self.subject.as_deref()?;
        let cause = why.cause();
        let (kind, id, data) = if let Some(attempt) = &self.data.attempt_id {
            let data = json!({ "attempt_id": attempt, "outcome": "failed", "cause": cause });
            ("cpm.delivery.outcome.v1", attempt, data)
        } else if self.kind.starts_with("cpm.storage.requested") {
            let (message, from) = (&self.data.message_id, &self.data.from);
            let data = json!({
                "message_id": message, "from": from, "outcome": "failed", "reason": cause,
            });
            ("cpm.storage.outcome.v1", &self.id, data)
        } else {
            return None;
        };
        // The same attempt twice is the same input twice.
        let event = json!({
            "specversion": "1.0", "id": format!("{id}-{cause}"), "source": format!("/deferd/sink/{sink}"),
            "type": kind, "subject": user, "time": now.to_string(),
            "datacontenttype": "application/json", "data": data,
        });
        Some(Given {
            topic: format!("sink:{sink}").into(),
            offset: None,
            user: Some(user.into()),
            bytes: event.to_string().into_bytes().into(),
        })
    }
}

/// Hands an input in until it is durable; `wait` sleeps between two tries, and says whether to go on.
/// Whether it is.
pub(super) fn hand_in(intake: &Arc<dyn Intake>, given: &Given, wait: impl Fn() -> bool) -> bool {
    loop {
        let (tell, told) = sync_channel(1);
        let then = Box::new(move |settled: Result<_, _>| {
            let _ = tell.send(settled.is_ok());
        });
        match intake.give(vec![given.clone()], then) {
            Ok(()) => return told.recv().unwrap_or(false),
            Err(Refused::Closed) => return false,
            Err(Refused::Full | Refused::TooMany(_)) if wait() => {}
            Err(Refused::Full | Refused::TooMany(_)) => return false,
        }
    }
}
