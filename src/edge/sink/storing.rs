//! Requests to store go to the users' message store, and what became of each comes back as an input.
//!
//! A store that is away is asked again until the request's time is over. A store that is full, and a record
//! that cannot be said, will not get better by asking.
//!
//! Source: `rules.md` A-5, T-30, P-9.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::board::Job;
use super::outcome::GivenUp;
use super::post::Answer;
use super::webhook::Hand;
use crate::domain::address::{Address, Home};
use crate::domain::time::{Timestamp, rfc3339};
use crate::edge::store::{Content, Flag, MessageStore, StoreError, Stored};

/// The type of a request to store, without its version.
pub(super) const REQUEST: &str = "cpm.storage.requested";

/// Who keeps records.
#[derive(Clone, Debug)]
pub struct Storing {
    /// The users' message store.
    pub store: Arc<dyn MessageStore>,
    /// Where its calls run.
    pub runtime: tokio::runtime::Handle,
    /// How many users' records may be under way at once.
    pub concurrency: usize,
}

/// A request to store.
#[derive(Debug, Deserialize)]
struct Request {
    subject: String,
    #[serde(with = "rfc3339")]
    time: Timestamp,
    data: Data,
}

#[derive(Debug, Deserialize)]
struct Data {
    message_id: String,
    context: String,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    folder: Option<String>,
    from: String,
    content_type: String,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    body_base64: Option<String>,
    #[serde(default)]
    body_ref: Option<String>,
    #[serde(default, with = "rfc3339::option")]
    sent_at: Option<Timestamp>,
    #[serde(default)]
    disposition: Vec<String>,
    #[serde(default)]
    conversation_id: Option<String>,
    #[serde(default)]
    contribution_id: Option<String>,
    #[serde(default)]
    in_reply_to_contribution_id: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    anonymous: bool,
}

impl Hand for Storing {
    fn wants(&self, kind: &str) -> bool {
        kind.starts_with(REQUEST)
    }

    fn offer(&self, job: &Job, _now: Timestamp) -> Answer {
        let (user, record) = match read(&job.body) {
            Ok(read) => read,
            Err(error) => return Answer::Refused(GivenUp::NotStored(error.to_string().into())),
        };
        // A task of its own: what goes wrong inside of it ends nobody else.
        let store = Arc::clone(&self.store);
        let appending = self.runtime.spawn(async move { store.append(&user, &record).await });
        let appended = self.runtime.block_on(appending).unwrap_or_else(|error| {
            Err(StoreError::Unavailable(format!("the call was broken off: {error}")))
        });
        match appended {
            Ok(kept) => {
                tracing::debug!(id = job.command.id, ?kept, "stored");
                Answer::Taken
            }
            Err(error @ (StoreError::Unavailable(_) | StoreError::Denied(_))) => {
                Answer::NotNow(error.to_string(), None)
            }
            Err(error) => Answer::Refused(GivenUp::NotStored(error.to_string().into())),
        }
    }

    fn tells_success(&self) -> bool {
        true
    }

    fn reload(&self) {}
}

/// The user and the record of a request.
fn read(body: &[u8]) -> Result<(Address, Stored), StoreError> {
    let invalid = |why: String| StoreError::Invalid(why);
    let Request { subject, time, data } =
        serde_json::from_slice(body).map_err(|error| invalid(error.to_string()))?;
    let user = Address::parse(&subject, &Home::default())
        .map_err(|error| invalid(format!("the user: {error}")))?;
    let content = match (data.body, data.body_base64, data.body_ref) {
        (Some(text), ..) => Content::Octets(text.into_bytes()),
        (None, Some(coded), _) => {
            let octets = STANDARD.decode(coded).map_err(|error| invalid(error.to_string()))?;
            Content::Octets(octets)
        }
        (None, None, Some(link)) => Content::Link(link),
        (None, None, None) => Content::Octets(Vec::new()),
    };
    let flags: Option<Vec<Flag>> = data.flags.iter().map(|word| Flag::of(word)).collect();
    let flags = flags.ok_or_else(|| invalid(format!("flags {:?}", data.flags)))?;
    let record = Stored {
        message_id: data.message_id,
        from: data.from,
        anonymous: data.anonymous,
        context: data.context,
        date: data.sent_at.unwrap_or(time),
        conversation_id: data.conversation_id,
        contribution_id: data.contribution_id,
        in_reply_to_contribution_id: data.in_reply_to_contribution_id,
        headers: data.headers,
        wants_display: data.disposition.iter().any(|token| token == "display"),
        content_type: data.content_type,
        content,
        flags,
        folder: data.folder,
    };
    Ok((user, record))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_record() {
        let body = br#"{"id":"1","subject":"tel:+15145550100","time":"2026-11-21T08:00:00Z","data":{
            "message_id":"Mx1","context":"pager-message","flags":["\\Seen"],"from":"tel:+15145550199",
            "kind":"pager","content_type":"text/plain","body_base64":"aGk=","size":2,
            "disposition":["positive-delivery","display"],"conversation_id":"c1","later":1}}"#;
        let (user, record) = read(body).unwrap();
        assert_eq!(user.to_string(), "tel:+15145550100");
        assert_eq!(record.content, Content::Octets(b"hi".to_vec()));
        assert_eq!((record.flags, record.wants_display), (vec![Flag::Seen], true));
        assert_eq!(record.date.to_string(), "2026-11-21T08:00:00Z");
        assert_eq!(record.conversation_id.as_deref(), Some("c1"));
        assert!(matches!(read(b"{}"), Err(StoreError::Invalid(_))));
    }
}
