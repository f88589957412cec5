//! An input in its one form: the user canonical, times in UTC, the fields that are known and no others.

use serde::Serialize;

use super::envelope::{Envelope, Number};
use super::input::{Kind, Reader, Rejected};
use crate::domain::input::{Fact, Text};
use crate::domain::time::{Timestamp, rfc3339};

/// The envelope as we write it.
#[derive(Serialize)]
struct Normal<'a, T> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'a Text<'a>,
    subject: String,
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probeepoch: Option<Number>,
    datacontenttype: &'static str,
    data: T,
}

impl Reader {
    /// Reads one input as [`read`](Self::read) does, and writes it in its one form. A `time` that is
    /// not there stays so: the log's time counts, as it would have.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    ///
    /// # Panics
    ///
    /// Never: what was read from JSON can be written as JSON.
    pub fn normalise(&self, bytes: &[u8], logged: Timestamp) -> Result<(Kind, Vec<u8>), Rejected> {
        let read = self.read(bytes, logged)?;
        let envelope = Envelope::read(bytes)?;
        let head = |data| Normal {
            specversion: "1.0",
            id: &envelope.id,
            source: &envelope.source,
            kind: &envelope.kind,
            subject: read.user.to_string(),
            time: envelope.time,
            sequence: envelope.sequence.filter(|number| number.0.is_some()),
            probeepoch: envelope.probeepoch.filter(|number| number.0.is_some()),
            datacontenttype: "application/json",
            data,
        };
        let written = data_of(&read.input.fact).map(|data| serde_json::to_vec(&head(data)));
        Ok((read.kind, written.and_then(Result::ok).expect("what was read from JSON is JSON")))
    }
}

/// The fields of a fact, in our order.
fn data_of(fact: &Fact<'_>) -> Option<Box<serde_json::value::RawValue>> {
    use serde_json::value::to_raw_value as raw;
    match fact {
        Fact::MessageSubmitted(data) => raw(data),
        Fact::MessageRevokeRequested(data) => raw(data),
        Fact::MessageHandled(data) => raw(data),
        Fact::MessageCancelled(data)
        | Fact::MessageRetryRequested(data)
        | Fact::MessageExpireRequested(data) => raw(data),
        Fact::UserHeld(data) | Fact::UserReleased(data) => raw(data),
        Fact::PreferencesChanged(data) => raw(data),
        Fact::IdentityChanged(data) => raw(data),
        Fact::UserPurged(data) => raw(data),
        Fact::ImsRegistered(data) => raw(data),
        Fact::ImsDeregistered(data) => raw(data),
        Fact::CsAttached(data)
        | Fact::CsDetached(data)
        | Fact::PsAttached(data)
        | Fact::PsDetached(data) => raw(data),
        Fact::SmsReady(data) => raw(data),
        Fact::DeliveryOutcome(data) => raw(data),
        Fact::SmsDelivered(data) | Fact::SmsDelayed(data) | Fact::SmsFailed(data) => raw(data),
        Fact::ImdnReceived(data) => raw(data),
        Fact::StorageOutcome(data) => raw(data),
        Fact::TimerFired => raw(&serde_json::Map::new()),
    }
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::Home;

    #[test]
    fn an_input_has_one_form() {
        let reader = Reader { home: Home::new(Some("1"), &[]).unwrap(), ..Reader::default() };
        let typed =
            br#" {"type":"cpm.cs.attached.v1","x":1,"data":{"rat":"LTE","y":2,"trust":"passive"},
            "subject":"(514) 555-0100","time":"2026-11-21T03:00:00.5-05:00","source":"/p","id":"7",
            "sequence":"0009","specversion":"1.0"} "#;
        let (kind, normal) =
            reader.normalise(typed, Timestamp::from_millis(1_795_200_000_000)).unwrap();

        assert_eq!(kind, Kind::CsAttached);
        assert_eq!(
            String::from_utf8(normal.clone()).unwrap(),
            r#"{"specversion":"1.0","id":"7","source":"/p","type":"cpm.cs.attached.v1","subject":"tel:+15145550100","time":"2026-11-21T08:00:00.500Z","sequence":9,"datacontenttype":"application/json","data":{"trust":"passive","rat":"LTE"}}"#
        );
        let again = reader.normalise(&normal, Timestamp::from_millis(1_795_200_000_000));
        assert_eq!(again, Ok((kind, normal)));
    }

    /// A rule of the user's names people in their one form too, so that one sender is one (5.1, 5.2).
    #[test]
    fn whom_a_rule_names_is_in_one_form() {
        let reader = Reader { home: Home::new(Some("1"), &[]).unwrap(), ..Reader::default() };
        let typed = r#"{"specversion":"1.0","id":"7","source":"/p","subject":"tel:+15145550100",
            "type":"cpm.preferences.changed.v1","data":{"rules":[{"name":"r","actions":[],
            "senders":["(514) 555-0101","INFO"],"many":[{"domain":"Spam.Example","except":
            ["sip:Bob@SPAM.example:5060","514 555 0102"],"except_domains":["HAM.example"]},{}],
            "other_identity":false,"anonymous_request":true}]}}"#;
        let (_, normal) = reader.normalise(typed.as_bytes(), Timestamp::EPOCH).unwrap();
        let normal = String::from_utf8(normal).unwrap();
        let rule = r#"{"name":"r","actions":[],"senders":["tel:+15145550101","INFO"],"many":[{"domain":"spam.example","except":["sip:Bob@spam.example","tel:+15145550102"],"except_domains":["ham.example"]},{}],"anonymous_request":true}"#;
        assert!(normal.contains(rule), "{normal}");
    }
}
