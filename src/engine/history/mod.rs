//! What a journal tells of one user or one message: the state after each record, what each belief rests
//! on, and why a message still waits. It reads, in one direction, and never acts.
//!
//! A line is looked at first for whom it is about ([`Line`]), and decoded only where that matters.

mod facts;
mod followed;
mod story;

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

pub use self::facts::{Basis, Belief, Facts, short};
pub use self::followed::Followed;
pub use self::story::{Answer, Ended, InTheWay, Move, Step, Stories, Waits, beside, end_word};
use super::state::BrokenJournal;
use crate::domain::event::Event;
use crate::domain::time::{Timestamp, rfc3339};
use crate::record::head::Head;
use crate::record::input::Reader;
use crate::record::journal::{BadRecord, RULES, Record};

/// A journal's line, before it is decoded.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// Its number in its partition.
    pub seq: u64,
    /// How often its partition has changed hands.
    pub epoch: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// Its user, canonical.
    pub user: Option<Cow<'a, str>>,
    /// It changes the policy.
    pub is_policy: bool,
    /// The line, without its end.
    pub bytes: &'a [u8],
}

/// Why a journal tells nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A line is no record.
    #[error(transparent)]
    Record(#[from] BadRecord),
    /// A record does not go with what was before it.
    #[error(transparent)]
    Journal(#[from] BrokenJournal),
}

impl<'a> Line<'a> {
    /// A record that a log has handed out with its time.
    ///
    /// # Errors
    ///
    /// [`BadRecord::Malformed`].
    pub fn of(at: Timestamp, bytes: &'a [u8]) -> Result<Self, BadRecord> {
        match Head::skim(bytes) {
            Some(head) => Ok(Self::begins(head, at, bytes)),
            None => Ok(Self { at, ..Self::read(bytes)? }),
        }
    }

    fn begins(head: Head<'a>, at: Timestamp, bytes: &'a [u8]) -> Self {
        let user = head.user.map(Cow::Borrowed);
        let Head { seq, epoch, is_policy, .. } = head;
        Self { seq, epoch, at, user, is_policy, bytes }
    }

    /// A record that says itself which one it is.
    ///
    /// # Errors
    ///
    /// [`BadRecord::Malformed`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, BadRecord> {
        if let Some(head) = Head::skim(bytes)
            && let Some(Ok(at)) = head.at.map(str::parse)
        {
            return Ok(Self::begins(head, at, bytes));
        }
        #[derive(Deserialize)]
        struct Whole<'a> {
            seq: u64,
            epoch: u64,
            #[serde(with = "rfc3339")]
            at: Timestamp,
            #[serde(borrow, default)]
            user: Option<Cow<'a, str>>,
            #[serde(default)]
            input: Option<IgnoredAny>,
        }
        let Whole { seq, epoch, at, user, input } = serde_json::from_slice(bytes)
            .map_err(|error| BadRecord::Malformed(error.to_string()))?;
        let is_policy = user.is_none() && input.is_some();
        Ok(Self { seq, epoch, at, user, is_policy, bytes })
    }

    /// The record itself.
    ///
    /// # Errors
    ///
    /// [`BadRecord`]: it is none, or of rules that this program does not know.
    pub fn record(&self, reader: &Reader) -> Result<Record<'a>, BadRecord> {
        let record = Record::read_by(self.bytes, reader)?;
        if record.rules > RULES {
            return Err(BadRecord::Newer { found: record.rules });
        }
        Ok(record)
    }
}

/// Whose the messages of one id are: most lines are looked at for the id alone.
#[derive(Clone, Debug)]
pub struct Holders {
    message: String,
    quoted: Vec<u8>,
    found: Vec<(String, String)>,
}

impl Holders {
    /// Nobody yet.
    #[must_use]
    pub fn of(message: &str) -> Self {
        let quoted = serde_json::Value::from(message).to_string().into_bytes();
        Self { message: message.to_owned(), quoted, found: Vec::new() }
    }

    /// Looks at a line.
    ///
    /// # Errors
    ///
    /// [`BadRecord`]: it names the id, and cannot be read.
    pub fn take(&mut self, line: &Line<'_>, reader: &Reader) -> Result<(), BadRecord> {
        let Some(user) = line.user.as_deref().filter(|_| contains(line.bytes, &self.quoted)) else {
            return Ok(());
        };
        for event in &line.record(reader)?.events {
            let from = if let Event::Deferred { m, content: Some(content), .. } = event
                && *m.1 == *self.message
            {
                &*content.from
            } else if let Event::Handled { id, from, .. } = event
                && **id == *self.message
            {
                &**from
            } else {
                continue;
            };
            self.note(user, from);
        }
        Ok(())
    }

    /// Notes that a user has, or had, such a message.
    pub fn note(&mut self, user: &str, from: &str) {
        if !self.found.iter().any(|(u, f)| u == user && f == from) {
            self.found.push((user.to_owned(), from.to_owned()));
        }
    }

    /// The users, canonical, and who sent them such a message, in order.
    #[must_use]
    pub fn found(&self) -> &[(String, String)] {
        &self.found
    }
}

/// Whether a line holds a quoted string.
fn contains(bytes: &[u8], part: &[u8]) -> bool {
    let Some(first) = part.get(1) else { return false };
    // The quote is everywhere; what stands after it is not.
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        let (before, after) = rest.split_at(at);
        let opens = bytes.len() - after.len() > 0 && before.last().is_none_or(|b| *b == b'"');
        if opens && after.starts_with(part.get(1..).unwrap_or_default()) {
            return true;
        }
        rest = after.get(1..).unwrap_or_default();
    }
    false
}
