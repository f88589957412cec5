//! What a sink says of a command that it could not hand over, as an input.
//!
//! `late`: its deadline was over. Else the gateway refused it. Of a command that the gateway cannot take as
//! it is (413, 415, 422) the class is `content`: another device, or SMS, may still carry the message. Any
//! other refusal (a wrong path, a wrong token) says nothing of the message or the phone, so it is
//! `infrastructure`: the message is kept and tried again, since a person will put that right.
//!
//! Of what a message store was to keep it says both: that it is stored, and that it is not, and why.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use serde::Deserialize;
use serde_json::{Value, json};

use super::storing::REQUEST;
use crate::domain::time::{Timestamp, rfc3339};
use crate::edge::private::Subscriber;
use crate::engine::intake::{Given, Intake, Refused};

/// What a webhook needs to know of an output.
#[derive(Debug, Deserialize)]
pub(super) struct Command {
    /// Its id; whoever receives it twice can tell by it.
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum GivenUp {
    /// Its deadline is over.
    Late,
    /// The webhook answered so.
    Refused(u16),
    /// The message store will not take it.
    NotStored(Box<str>),
}

impl GivenUp {
    fn cause(&self) -> &str {
        match self {
            Self::Late => "late",
            Self::Refused(413 | 415 | 422) => "content",
            Self::Refused(_) => "infrastructure",
            Self::NotStored(why) => why,
        }
    }
}

impl std::fmt::Display for GivenUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Late => f.write_str("its time is over"),
            Self::Refused(status) => write!(f, "it answers {status}"),
            Self::NotStored(why) => f.write_str(why),
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

    /// The input that says why it was given up; `None`: nobody waits for that.
    pub(super) fn outcome(&self, sink: &str, why: &GivenUp, now: Timestamp) -> Option<Given> {
        let cause = why.cause();
        if let Some(attempt) = &self.data.attempt_id {
            let data = json!({ "attempt_id": attempt, "outcome": "failed", "cause": cause });
            let id = format!("{attempt}-{cause}");
            return self.input(sink, "cpm.delivery.outcome.v1", &id, data, now);
        }
        self.storage_outcome(sink, Some(cause), now)
    }

    /// The input that says that the message is stored, or why it is not; `None`: it was not to be.
    pub(super) fn storage_outcome(
        &self,
        sink: &str,
        failed: Option<&str>,
        now: Timestamp,
    ) -> Option<Given> {
        if !self.kind.starts_with(REQUEST) {
            return None;
        }
        let (message, from) = (&self.data.message_id, &self.data.from);
        let data = match failed {
            None => json!({ "message_id": message, "from": from, "outcome": "stored" }),
            Some(why) => json!({
                "message_id": message, "from": from, "outcome": "failed", "reason": why,
            }),
        };
        // A refusal is told once, whatever its words.
        let end = if failed.is_some() { "failed" } else { "stored" };
        self.input(sink, "cpm.storage.outcome.v1", &format!("{}-{end}", self.id), data, now)
    }

    /// An input of ours; the same twice is the same input twice.
    fn input(
        &self,
        sink: &str,
        kind: &str,
        id: &str,
        data: Value,
        now: Timestamp,
    ) -> Option<Given> {
        let user = self.subject.as_deref()?;
        let event = json!({
            "specversion": "1.0", "id": id, "source": format!("/deferd/sink/{sink}"),
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
