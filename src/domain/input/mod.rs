//! What happened outside: the facts a step takes in, with who told them and when.
//!
//! Source: `rules.md` 3.4. The names are those of the record types without `cpm.` and `.v1`.

mod by_hand;
mod outcomes;
mod preferences;
mod reachability;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use by_hand::{
    HandledAs, IdentityChanged, IdentityReason, MessageByHand, MessageHandled,
    MessageRevokeRequested, UserByHand, UserPurged,
};
pub use outcomes::{
    DeliveryOutcome, ImdnReceived, Outcome, ProtocolError, ReportedBy, SmsReport, Storage,
    StorageOutcome, Technology, What,
};
pub use preferences::{Action, Change, DoNotDisturb, PreferencesChanged, Rule};
pub use reachability::{
    AlertReason, Attach, DeregisterReason, DeviceRef, ImsDeregistered, ImsRegistered, Registration,
    SmsReady,
};

pub use super::message::{MessageSubmitted, Text};

use super::policy::Policy;
use super::time::Timestamp;

/// A fact and its provenance.
#[derive(Clone, Debug, PartialEq)]
pub struct Input<'a> {
    /// Who told it, and when.
    pub told: Told,
    /// What happened.
    pub fact: Fact<'a>,
}

/// Who told a fact, and when it was observed: all that order among facts needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Told {
    /// When it was observed, as told.
    pub time: Timestamp,
    /// When the log of its topic took it; what TM-2 clamps by.
    pub logged: Timestamp,
    /// Hash of `source`.
    pub source: u32,
    /// Hash of `id`.
    pub id: u32,
    /// The probe's restart count and its number of the fact, if it has both.
    pub order: Option<(u64, u64)>,
}

impl Told {
    /// The time deadlines count from (TM-2): within [log time − lag, log time + 1 s].
    #[must_use]
    pub fn clamped(&self, policy: &Policy) -> Timestamp {
        let one_second = std::time::Duration::from_secs(1);
        self.time.clamp(
            self.logged - policy.max_event_lag,
            (self.logged + one_second).max(self.logged - policy.max_event_lag),
        )
    }
}

/// What happened. Past tense, all of it.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each variant is the record type of its name")]
pub enum Fact<'a> {
    MessageSubmitted(Box<MessageSubmitted<'a>>),
    MessageRevokeRequested(MessageRevokeRequested<'a>),
    MessageHandled(MessageHandled<'a>),
    MessageCancelled(MessageByHand<'a>),
    MessageRetryRequested(MessageByHand<'a>),
    MessageExpireRequested(MessageByHand<'a>),
    UserHeld(UserByHand<'a>),
    UserReleased(UserByHand<'a>),
    PreferencesChanged(Box<PreferencesChanged>),
    IdentityChanged(IdentityChanged<'a>),
    UserPurged(UserPurged<'a>),
    ImsRegistered(Box<ImsRegistered<'a>>),
    ImsDeregistered(ImsDeregistered<'a>),
    CsAttached(Attach<'a>),
    CsDetached(Attach<'a>),
    PsAttached(Attach<'a>),
    PsDetached(Attach<'a>),
    SmsReady(SmsReady<'a>),
    DeliveryOutcome(DeliveryOutcome<'a>),
    SmsDelivered(SmsReport<'a>),
    SmsDelayed(SmsReport<'a>),
    SmsFailed(SmsReport<'a>),
    ImdnReceived(ImdnReceived<'a>),
    StorageOutcome(StorageOutcome<'a>),
    TimerFired,
}

/// How good a witness is (E-5).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// Concluded from something else.
    Inferred,
    /// Seen on the wire in passing.
    Passive,
    /// Told by whoever must know.
    Authoritative,
}
