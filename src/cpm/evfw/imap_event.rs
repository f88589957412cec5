//! `event-cpm-imap`: a client asks for flags on messages of the store.
//!
//! What is kept of folders and ids is what was written: `..`, quotes, braces, modified UTF-7 are
//! characters like any other here, and whoever speaks IMAP sends them as literals or quoted strings.
//! Control characters never come this far: a document with one in such a value is refused.
//!
//! Source: OMA CPM 2.1 change requests, 6.7.5 and Appendix M; `rules.md` SEED4-62 to SEED4-75, A-39 to
//!

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::super::xml::Kept;

/// `event-cpm-imap`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImapEvent {
    /// Its `index`, which tells it from others of the request. Deployed clients always say 0.
    pub index: Box<str>,
    /// In order.
    pub operations: Vec<Operation>,
    /// What else stands in it (SEED4-83).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<Kept>,
}

/// `operation`: the same for each of its objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// What is asked for.
    pub asked: Asked,
    /// Of which messages, in order.
    pub objects: Vec<Object>,
    /// What else stands in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<Kept>,
}

/// What an operation asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// To set these flags. Never empty.
    Add(BTreeSet<Flag>),
    /// Something that we do not do: each of its objects has a negative result (SEED4-66).
    Refused(Refusal),
}

/// A flag that a client may set (SEED4-67).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Flag {
    /// `\Seen`: read on another device.
    #[serde(rename = "\\Seen")]
    Seen,
    /// `\Deleted`: deleted on another device.
    #[serde(rename = "\\Deleted")]
    Deleted,
}

impl Flag {
    /// The flag of this word: any case, with one backslash, two or none.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        let bare = word.strip_prefix("\\\\").or_else(|| word.strip_prefix('\\')).unwrap_or(word);
        if bare.eq_ignore_ascii_case("seen") {
            Some(Self::Seen)
        } else if bare.eq_ignore_ascii_case("deleted") {
            Some(Self::Deleted)
        } else {
            None
        }
    }

    /// As IMAP and the document write it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Seen => "\\Seen",
            Self::Deleted => "\\Deleted",
        }
    }
}

/// Why an operation is not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Its event's `type` is another than `flags`.
    Type(Box<str>),
    /// Its `name` is another than `add`.
    Name(Box<str>),
    /// Its `flags` name another flag than `\Seen` and `\Deleted`.
    Flags(Box<str>),
    /// It has `flags` and `flag`, and they differ.
    FlagsDiffer,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(found) => write!(f, "the type `{found}`, expected `flags`"),
            Self::Name(found) => write!(f, "the operation `{found}`, expected `add`"),
            Self::Flags(found) => {
                write!(f, "the flags `{found}`, expected `\\Seen` or `\\Deleted`")
            }
            Self::FlagsDiffer => {
                f.write_str("`flags` and `flag` that differ, expected one of them")
            }
        }
    }
}

/// `object`: a stored message, by whatever the client knows of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Object {
    /// Its UID in the folder. Without a folder it means nothing (SEED4-70).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<NonZeroU32>,
    /// Its folder, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder_path: Option<Box<str>>,
    /// Conversation-ID. Clients that know none write the message id here: no match is required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<Box<str>>,
    /// Contribution-ID; as above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contribution_id: Option<Box<str>>,
    /// The other user of a one-to-one conversation: canonical if it is an address, else as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_party: Option<Box<str>>,
    /// IMDN Message-ID. An object without one gets no result (SEED4-78).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<Box<str>>,
    /// What else stands in it (SEED4-83).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<Kept>,
}

impl Object {
    /// The folder and the UID in it, if both are there.
    #[must_use]
    pub fn place(&self) -> Option<(&str, NonZeroU32)> {
        Some((self.folder_path.as_deref()?, self.uid?))
    }
}

impl ImapEvent {
    /// Each object with what is asked for it, in order.
    pub fn objects(&self) -> impl Iterator<Item = (&Asked, &Object)> {
        self.operations
            .iter()
            .flat_map(|operation| operation.objects.iter().map(|object| (&operation.asked, object)))
    }
}
