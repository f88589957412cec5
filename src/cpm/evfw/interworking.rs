//! `cpm-event-iw`: what the interworking function tells of SMS.
//!
//! Source: OMA CPM 2.1 change requests, 6.7.5; `rules.md` SEED0-23 to SEED0-38, A-3, A-4, A-11 to A-17.

use std::num::NonZeroU8;

use serde::{Deserialize, Serialize};

use super::super::xml::Kept;
use crate::domain::address::Address;
use crate::domain::failure::Cause;
use crate::domain::input::Technology;

/// `cpm-event-iw`. An empty one does nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Interworking {
    /// In the order of the document; in the order of time: [`super::EventReport::interworking`].
    pub reports: Vec<IwReport>,
    /// What else stands in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<Kept>,
}

/// One interworking event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IwReport {
    /// `failed-iw`: an SMS or MMS failed.
    Failed(FailedIw),
    /// `ready-for-sms`: SMS may work again. A hint, no proof (V-3).
    Ready(ReadyForSms),
    /// `iw-result`, our own extension: it did not fail.
    Result(IwResult),
}

/// `failed-iw`. A message fails as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedIw {
    /// The user that the SMS was for; `None`: whom the request is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Address>,
    /// Which message: IMDN Message-ID, attempt id or legacy id.
    pub message_id: Box<str>,
    /// What it was sent as.
    #[serde(default)]
    pub context: Context,
    /// Where it was tried. Never evidence that the user is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<Domain>,
    /// Why, by our own extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The absent-subscriber diagnostic beside the cause (4.6), from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnostic: Option<NonZeroU8>,
    /// What else stands in it (SEED0-33).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<Kept>,
}

/// `ready-for-sms`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadyForSms {
    /// Who is ready; `None`: whom the request is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Address>,
    /// Where; `None`: somewhere (slot `any`, A-15).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<Domain>,
    /// What else stands in it (SEED0-37).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<Kept>,
}

/// `iw-result` in our own namespace: success data of the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IwResult {
    /// As in [`FailedIw`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Address>,
    /// As in [`FailedIw`].
    pub message_id: Box<str>,
    /// What it was sent as.
    #[serde(default)]
    pub context: Context,
    /// Where it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<Domain>,
    /// How it goes.
    pub outcome: IwOutcome,
    /// What else stands in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<Kept>,
}

/// What an `iw-result` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IwOutcome {
    /// `delivered`: the phone has it.
    Delivered,
    /// `delayed`: the service centre keeps trying.
    Delayed,
}

/// `Message-Context`: what a message was sent as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Context {
    /// `pager-message`: an SMS. It is what a failure without context means.
    #[default]
    Pager,
    /// `multimedia-message`: an MMS.
    Multimedia,
    /// Another of RFC 3458, or nobody's.
    Other(Box<str>),
}

impl Context {
    /// The context of this word, in any case of letters.
    #[must_use]
    pub fn of(word: &str) -> Self {
        if word.eq_ignore_ascii_case("pager-message") {
            Self::Pager
        } else if word.eq_ignore_ascii_case("multimedia-message") {
            Self::Multimedia
        } else {
            Self::Other(word.into())
        }
    }

    /// Its word.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Pager => "pager-message",
            Self::Multimedia => "multimedia-message",
            Self::Other(word) => word,
        }
    }

    /// What it became on the legacy side; `None` for a context that is neither.
    #[must_use]
    pub fn technology(&self) -> Option<Technology> {
        match self {
            Self::Pager => Some(Technology::Sms),
            Self::Multimedia => Some(Technology::Mms),
            Self::Other(_) => None,
        }
    }
}

impl From<String> for Context {
    fn from(word: String) -> Self {
        Self::of(&word)
    }
}

impl From<Context> for String {
    fn from(context: Context) -> Self {
        context.word().into()
    }
}

/// A domain that SMS goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "&'static str")]
pub enum Domain {
    /// Circuit switched: an MSC, also by SGs.
    Cs,
    /// Packet switched: SGSN (Gd, Gdd) or MME (SGd).
    Ps,
    /// SMS over IP, through the IP-SM-GW.
    ImsSmsIp,
    /// 5G: NAS of the SMSF.
    Nas5g,
    /// A word that we do not know.
    Unknown,
}

impl Domain {
    /// The domain of this word, whatever its letters' case and its separators.
    #[must_use]
    pub fn of(word: &str) -> Self {
        const WORDS: [(Domain, &[&str]); 4] = [
            (Domain::Cs, &["cs", "sgs"]),
            (Domain::Ps, &["ps", "sgd", "gdd"]),
            (Domain::ImsSmsIp, &["imssmsip", "smsip", "smsoverip", "ims"]),
            (Domain::Nas5g, &["nas5g", "5gnas", "5g"]),
        ];
        let letters = || word.bytes().filter(u8::is_ascii_alphanumeric);
        let is = |known: &&str| letters().map(|c| c.to_ascii_lowercase()).eq(known.bytes());
        let found = WORDS.iter().find(|(_, words)| words.iter().any(is));
        found.map_or(Self::Unknown, |(domain, _)| *domain)
    }

    /// Its word in our records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cs => "CS",
            Self::Ps => "PS",
            Self::ImsSmsIp => "IMS-SMS-IP",
            Self::Nas5g => "NAS5G",
            Self::Unknown => "unknown",
        }
    }

    /// Its word in a document, which has two; `None`: it has none.
    #[must_use]
    pub const fn written(self) -> Option<&'static str> {
        match self {
            Self::Cs => Some("CS"),
            Self::Ps | Self::ImsSmsIp | Self::Nas5g => Some("PS"),
            Self::Unknown => None,
        }
    }
}

impl From<String> for Domain {
    fn from(word: String) -> Self {
        Self::of(&word)
    }
}

impl From<Domain> for &'static str {
    fn from(domain: Domain) -> Self {
        domain.word()
    }
}
