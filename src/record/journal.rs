//! The journal: what was decided, and from what. One record an input, one line a record.
//!
//! Version 1. Short names, no field twice, no empty field: a record's size is what a replay costs.
//! What an event leaves out because its input says it (content, preferences) is put back on reading.

use std::borrow::Cow;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::input::{Read, Reader, Rejected};
use crate::domain::address::Address;
use crate::domain::event::Event;
use crate::domain::input::{Fact, Text};
use crate::domain::time::{Timestamp, rfc3339};

/// The version of the rules. A change of any decision raises it; a golden test holds it.
pub const RULES: u32 = 1;
/// What most records take beside their input. Blocks of up to a kilobyte cost least.
const BESIDE_INPUT: usize = 512;

/// A record of the journal, borrowed from its line.
#[derive(Debug, Deserialize)]
pub struct Record<'a> {
    /// Its number in its partition: 0, 1, 2, … without a gap.
    pub seq: u64,
    /// How often its partition has changed hands, or been restored.
    pub epoch: u64,
    /// When it was decided.
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    /// When the log took its input; absent: at `at`.
    #[serde(default, with = "rfc3339::option")]
    pub ingested_at: Option<Timestamp>,
    /// The version of the rules that decided.
    pub rules: u32,
    /// The digest of the policy that decided.
    #[serde(borrow)]
    pub policy: Cow<'a, str>,
    /// Where its input stood: topic/partition/offset; absent for what the engine said itself.
    #[serde(borrow, default, deserialize_with = "text")]
    pub pos: Option<Cow<'a, str>>,
    /// The user, canonical.
    #[serde(borrow, default, deserialize_with = "text")]
    pub user: Option<Cow<'a, str>>,
    /// The input as it came; absent where nothing was decided from it.
    #[serde(borrow, default)]
    pub input: Option<&'a RawValue>,
    /// What followed.
    #[serde(default)]
    pub events: Vec<Event>,
    /// Why nothing did.
    #[serde(borrow, default, deserialize_with = "text")]
    pub ignored: Option<Cow<'a, str>>,
    /// `source` of a duplicate or a refused input.
    #[serde(borrow, default, deserialize_with = "text")]
    pub source: Option<Cow<'a, str>>,
    /// `id` of the same.
    #[serde(borrow, default, deserialize_with = "text")]
    pub id: Option<Cow<'a, str>>,
    /// Why an input was refused.
    #[serde(borrow, default, deserialize_with = "text")]
    pub rejected: Option<Cow<'a, str>>,
}

/// Text that may be missing, borrowed: serde itself borrows no text that stands in an `Option`.
fn text<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    Ok(Option::<Text<'a>>::deserialize(from)?.map(|text| text.0))
}

/// What stands before the input.
#[derive(Serialize)]
struct Before<'r> {
    seq: u64,
    epoch: u64,
    #[serde(with = "rfc3339")]
    at: Timestamp,
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    ingested_at: Option<Timestamp>,
    rules: u32,
    policy: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pos: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'r str>,
}

/// What stands behind it.
#[derive(Serialize)]
struct Behind<'r> {
    #[serde(skip_serializing_if = "<[Event]>::is_empty")]
    events: &'r [Event],
    #[serde(skip_serializing_if = "Option::is_none")]
    ignored: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<&'r str>,
}

/// Why a line is no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// Not a record of this version, or cut short.
    #[error("not a journal record: {0}")]
    Malformed(String),
    /// Its input is not one that we would have let in.
    #[error("its input cannot be read: {0}")]
    Input(Rejected),
    /// An event needs an input that is not there.
    #[error("it has events whose input is missing")]
    NoInput,
    /// Its user is no address.
    #[error("its user is no address: {0}")]
    User(String),
    /// A later program decided it.
    #[error("its rules are version {found}, newer than {RULES}, the newest this program knows")]
    Newer {
        /// Its version.
        found: u32,
    },
}

impl<'a> Record<'a> {
    /// Reads one line, and puts back what its events left to its input.
    ///
    /// # Errors
    ///
    /// [`BadRecord`]: the line is not what we wrote.
    pub fn read(line: &'a [u8]) -> Result<Self, BadRecord> {
        Self::read_by(line, &Reader::default())
    }

    /// The same, where inputs may hold numbers that only `reader` can complete.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_by(line: &'a [u8], reader: &Reader) -> Result<Self, BadRecord> {
        let text = std::str::from_utf8(line).map_err(|e| BadRecord::Malformed(e.to_string()))?;
        let mut record: Self =
            serde_json::from_str(text).map_err(|e| BadRecord::Malformed(e.to_string()))?;
        if record.events.iter().any(leans_on_input) {
            let raw = record.input.ok_or(BadRecord::NoInput)?;
            let read = reader.reread(raw, record.logged()).map_err(BadRecord::Input)?;
            put_back(&mut record.events, &read.input.fact)?;
        }
        Ok(record)
    }

    /// When the log took its input.
    #[must_use]
    pub fn logged(&self) -> Timestamp {
        self.ingested_at.unwrap_or(self.at)
    }

    /// Its user.
    ///
    /// # Errors
    ///
    /// [`BadRecord::User`].
    pub fn address(&self) -> Result<Option<Address>, BadRecord> {
        let Some(user) = &self.user else { return Ok(None) };
        Address::parse(user, &crate::domain::address::Home::default())
            .map(Some)
            .map_err(|error| BadRecord::User(error.to_string()))
    }

    /// Its input, read again; `None` where it has none.
    ///
    /// # Errors
    ///
    /// [`BadRecord::Input`].
    pub fn input(&self, reader: &Reader) -> Result<Option<Read<'a>>, BadRecord> {
        let Some(raw) = self.input else { return Ok(None) };
        reader.reread(raw, self.logged()).map(Some).map_err(BadRecord::Input)
    }

    /// The line, without its end.
    ///
    /// # Panics
    ///
    /// Never: nothing in a record can fail to be JSON.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        self.write_with(self.input.map(RawValue::get))
    }

    /// The same with this input, which must be JSON on one line: what was read a moment ago is not
    /// read again to be written.
    ///
    /// # Panics
    ///
    /// Never, as [`write`](Self::write).
    #[must_use]
    pub fn write_with(&self, input: Option<&str>) -> Vec<u8> {
        let before = Before {
            seq: self.seq,
            epoch: self.epoch,
            at: self.at,
            ingested_at: self.ingested_at,
            rules: self.rules,
            policy: &self.policy,
            pos: self.pos.as_deref(),
            user: self.user.as_deref(),
        };
        let behind = Behind {
            events: &self.events,
            ignored: self.ignored.as_deref(),
            source: self.source.as_deref(),
            id: self.id.as_deref(),
            rejected: self.rejected.as_deref(),
        };
        let mut line = Vec::with_capacity(BESIDE_INPUT + input.map_or(0, str::len));
        serde_json::to_writer(&mut line, &before).expect("a record is JSON");
        // Two objects become one: the brace between them, and the input.
        line.pop();
        if let Some(input) = input {
            line.extend_from_slice(b",\"input\":");
            line.extend_from_slice(input.as_bytes());
        }
        let joint = line.len();
        serde_json::to_writer(&mut line, &behind).expect("a record is JSON");
        if line.len() == joint + 2 {
            line.remove(joint);
        } else if let Some(brace) = line.get_mut(joint) {
            *brace = b',';
        }
        line
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "all other events are whole in themselves")]
fn leans_on_input(event: &Event) -> bool {
    match event {
        Event::Deferred { content, .. } => content.is_none(),
        Event::Preferred { change } => change.is_none(),
        _ => false,
    }
}

fn put_back(events: &mut [Event], fact: &Fact<'_>) -> Result<(), BadRecord> {
    for event in events {
        match (event, fact) {
            (Event::Deferred { content, .. }, Fact::MessageSubmitted(message)) => {
                *content = Some(Arc::new(message.content()));
            }
            (Event::Preferred { change }, Fact::PreferencesChanged(told)) => {
                *change = Some(told.clone());
            }
            (Event::Deferred { .. } | Event::Preferred { .. }, _) => {
                return Err(BadRecord::NoInput);
            }
            _ => {}
        }
    }
    Ok(())
}

/// The journal record as others may read it: events are named, their fields ours.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "journal-record")]
#[allow(dead_code, reason = "it is only a shape, for the schema")]
pub struct JournalShape {
    /// Its number in its partition: 0, 1, 2, … without a gap.
    seq: u64,
    /// How often its partition has changed hands, or been restored.
    epoch: u64,
    /// When it was decided.
    #[schemars(extend("format" = "date-time"))]
    at: String,
    /// When the log took its input; absent: at `at`.
    #[schemars(extend("format" = "date-time"))]
    ingested_at: Option<String>,
    /// The version of the rules that decided.
    rules: u32,
    /// The digest of the policy that decided.
    policy: String,
    /// Where its input stood: topic/partition/offset.
    pos: Option<String>,
    /// The user, canonical.
    user: Option<String>,
    /// The input: a CloudEvent.
    input: Option<serde_json::Map<String, serde_json::Value>>,
    /// What followed: one object each, its single member named for the event.
    events: Option<Vec<serde_json::Map<String, serde_json::Value>>>,
    /// Why nothing followed.
    ignored: Option<String>,
    /// `source` of a duplicate or a refused input.
    source: Option<String>,
    /// `id` of the same.
    id: Option<String>,
    /// Why an input was refused.
    rejected: Option<String>,
}
