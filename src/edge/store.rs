//! The users' message store (CMS), as the rest of the edge sees it: flags are set, records are added.
//!
//! Source: OMA CPM change requests, SEED4-62 to SEED4-78, SEED0-56.2, SEED0-60; `rules.md` A-5.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::domain::address::Address;
use crate::domain::time::Timestamp;

/// What a store answers, in its own time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A user's message store.
///
/// Time: each call has a limit of its own, and answers within it; no more than a configured number wait.
/// Again: both calls may be made again after any error; neither does anything twice.
pub trait MessageStore: fmt::Debug + Send + Sync {
    /// Adds a flag to messages of a user; an answer for each, in their order. What is set stays set. (SEED4-78)
    ///
    /// `Ok` is that the flag was seen on the message after the change, and not that the store said OK to it: it
    /// may say so and do nothing, where there is no such message.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] each. What the time limit leaves undone is [`StoreError::Unavailable`].
    fn flag<'a>(
        &'a self,
        user: &'a Address,
        flag: Flag,
        objects: &'a [Object],
    ) -> Answer<'a, Vec<Result<(), StoreError>>>;

    /// Adds a record to a user's store, once for each sender and IMDN Message-ID: where it is there, it gets
    /// the flags it lacks.
    ///
    /// # Errors
    ///
    /// A [`StoreError`]; after [`StoreError::Unavailable`] it may be there all the same.
    fn append<'a>(
        &'a self,
        user: &'a Address,
        record: &'a Stored,
    ) -> Answer<'a, Result<Kept, StoreError>>;
}

/// Flags that clients set. (SEED4-67)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    /// `\Seen`: the user has read it.
    Seen,
    /// `\Deleted`: the user wants it gone.
    Deleted,
}

impl Flag {
    /// As IMAP spells it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Seen => "\\Seen",
            Self::Deleted => "\\Deleted",
        }
    }

    /// The flag of this name: in any case, its backslash once, twice or not at all.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        let name = word.trim_start_matches('\\');
        let is = |flag: &Self| flag.word().get(1..).is_some_and(|w| w.eq_ignore_ascii_case(name));
        [Self::Seen, Self::Deleted].into_iter().find(is)
    }
}

/// A message in the store, as a client names it: by UID and folder, else by its IMDN Message-ID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// Its UID in `folder`; without one it says nothing. (SEED4-70)
    pub uid: Option<u32>,
    /// The folder, Unicode, `/` between the names; or as IMAP spells it, in modified UTF-7.
    pub folder: Option<String>,
    /// The IMDN Message-ID: what is found by UID must have it, since UIDs go stale.
    pub message_id: Option<String>,
    /// Where to look first. Never required: clients make them up. (SEED4-74)
    pub conversation_id: Option<String>,
    /// The same.
    pub contribution_id: Option<String>,
    /// Tells two messages of one id apart, where senders chose the same. (P-19)
    pub other_party: Option<String>,
}

/// A message, as the store keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The IMDN Message-ID: the identity, with `from`.
    pub message_id: String,
    /// The sender's address.
    pub from: String,
    /// The sender does not want to be known: `from` is not written down.
    pub anonymous: bool,
    /// `pager-message` or `multimedia-message`.
    pub context: String,
    /// When it was sent.
    pub date: Timestamp,
    /// Conversation-ID.
    pub conversation_id: Option<String>,
    /// Contribution-ID.
    pub contribution_id: Option<String>,
    /// InReplyTo-Contribution-ID.
    pub in_reply_to_contribution_id: Option<String>,
    /// More headers, by name: those that a record may have are taken, and no others.
    pub headers: BTreeMap<String, String>,
    /// The sender asks whether it is read.
    pub wants_display: bool,
    /// MIME type of the content.
    pub content_type: String,
    /// The content.
    pub content: Content,
    /// Flags to set.
    pub flags: Vec<Flag>,
    /// The folder; else the configured one.
    pub folder: Option<String>,
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Octets.
    Octets(Vec<u8>),
    /// Where they are kept.
    Link(String),
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It was added; its UID, where the store says so.
    Added(Option<u32>),
    /// It was there; it has the flags.
    Updated(u32),
}

/// Why the store did not do it, by who can act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It may pass: again later.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// A wrong password, a missing right: an operator must act.
    #[error("the store refuses us: {0}")]
    Denied(String),
    /// There is no such message, or folder.
    #[error("not in the store: {0}")]
    NotFound(String),
    /// The user's quota is used up: the user must act.
    #[error("the user's store is full: {0}")]
    Full(String),
    /// It cannot be asked for: whoever made the request must act.
    #[error("it cannot be asked of the store: {0}")]
    Invalid(String),
}

impl StoreError {
    /// In a word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Denied(_) => "denied",
            Self::NotFound(_) => "not-found",
            Self::Full(_) => "full",
            Self::Invalid(_) => "invalid",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_read_in_every_spelling() {
        for word in ["\\Seen", "Seen", "\\\\seen", "SEEN"] {
            assert_eq!(Flag::of(word), Some(Flag::Seen), "{word}");
        }
        assert_eq!(Flag::of("\\Deleted"), Some(Flag::Deleted));
        for word in ["", "\\", "\\Answered", "Seen)", "Seen\r\n"] {
            assert_eq!(Flag::of(word), None, "{word:?}");
        }
    }
}
