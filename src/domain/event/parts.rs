//! The words that events are made of.
//!
//! Source: `rules.md` 1.7, 2.5, 3.3.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::failure::Class;
use super::super::message::shared;
use super::super::time::Timestamp;

/// A message inside one user's state: its place in the order, and the sender's id for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRef(
    /// Its place: 0, 1, 2, … in the order of acceptance, never used twice.
    pub u32,
    /// The sender's id of it.
    #[serde(deserialize_with = "shared")]
    pub Arc<str>,
);

impl MessageRef {
    /// Its place in the order of acceptance.
    #[must_use]
    pub fn place(&self) -> u32 {
        self.0
    }
}

/// The way a message takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Over IP, to the user's clients.
    Cpm,
    /// Through the interworking function, as SMS or MMS.
    Sms,
}

/// Who keeps a message from every access (T-20, T-21, T-28, P-6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HoldBy {
    /// Do not disturb.
    Dnd,
    /// An allow-defer rule of this name.
    Rule(Box<str>),
    /// A person.
    Operator,
}

/// One reason to keep a message back, and until when.
///
/// No field is left out when it is written: the packed state reads them by position.
///
/// Written as an array of its fields, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(HoldBy, Option<Timestamp>)", into = "(HoldBy, Option<Timestamp>)")]
pub struct Hold {
    /// Who keeps it.
    pub by: HoldBy,
    /// Until when, if that is known.
    pub until: Option<Timestamp>,
}

impl From<(HoldBy, Option<Timestamp>)> for Hold {
    fn from((by, until): (HoldBy, Option<Timestamp>)) -> Self {
        Self { by, until }
    }
}

impl From<Hold> for (HoldBy, Option<Timestamp>) {
    fn from(hold: Hold) -> Self {
        (hold.by, hold.until)
    }
}

/// What made SMS possible, or ended IP: it decides how long IP is waited for (TM-6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A CS or PS attach.
    Attach,
    /// `ready-for-sms`.
    SmsReady,
    /// The last IP way was lost.
    IpLoss,
}

/// Why SMS is shut for the user (3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// Nobody answered there.
    Absent,
    /// The phone's memory is full (MCEF, V-2).
    MemoryFull,
    /// Barred by the network.
    Barred,
    /// This subscription or phone takes no SMS.
    NotCapable,
}

/// How a leg ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LegEnd {
    /// The client took it (200).
    Delivered,
    /// Another store took it (202).
    Accepted,
    /// A race of dialogs: as absent, without the suspicion (4.9).
    Artefact,
    /// It failed, or nobody can tell.
    Failed(Class),
}

/// What a leg's end says about its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// Nothing.
    None,
    /// It does not answer.
    Suspect,
    /// It will never take this message.
    Refused,
    /// Its connection is dead: the contact is dropped (430).
    Dropped,
}

/// A try of the safety ladder (3.6.0).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rung {
    /// The next rung.
    #[default]
    Next,
    /// The same rung, gone on by SMS after IP found nobody.
    Same,
    /// `first_try=sms` or a person's retry: counts nowhere.
    Free,
}

/// How a message ended. Terminal, all of them (I-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The user has it.
    Delivered(Access),
    /// The SMSC took it and no report was to come.
    Assumed,
    /// It is in the user's message store (4c).
    Stored,
    /// The procedure refused it.
    Rejected,
    /// It was sent to another address.
    Forwarded,
    /// Its lifetime is over; what its last failure was.
    Expired(Option<Class>),
    /// A person refused it for good.
    Declined,
    /// Over quota.
    Quota,
    /// The number has another owner.
    Identity,
    /// The user was purged.
    Purged,
    /// Taken back by its sender.
    Revoked,
    /// Taken back by the operator.
    Cancelled,
}

/// The legs that a message must still take before it ends (R-11, T-27).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// The operator cancelled it.
    Cancelled,
    /// The identity was closed.
    Identity,
}

/// Which notification a sender gets (2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notice {
    /// It is delivered (IMDN-6).
    Delivered,
    /// It is not, and will not be.
    Failed,
    /// Nobody can tell whether it is (IMDN-8).
    Error,
    /// Policy refused it.
    Forbidden,
    /// It waits here (IMDN-7).
    Stored,
    /// It went as SMS (IMDN-9).
    LegacySms,
    /// It went as MMS.
    LegacyMms,
}
