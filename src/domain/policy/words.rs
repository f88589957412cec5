//! The words that a key of `[policy]` may be set to, where it takes words.
//!
//! Source: the rule that each cites in `rules.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who retries an SMS that does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SmsMode {
    /// The SMSC tries once and reports; we retry.
    SingleShot,
    /// The SMSC takes the message over with its acceptance, and retries.
    Buffered,
}

/// Which reports we ask of the SMS side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SmsReports {
    /// Of delivery and of failure: silence is unknown.
    AskBoth,
    /// Of failure only: silence is delivery.
    FailuresOnly,
}

/// What to do first for a user of whom nothing is known. (T-2b)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FirstTry {
    /// Wait for an event, or for the ladder.
    Wait,
    /// Try an SMS at once: its failure makes the network tell us when the phone is back.
    Sms,
}

/// What follows an SMS of unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownSms {
    /// IP only, from then on.
    Park,
    /// Another SMS after a back-off, which the phone may show twice.
    Resend,
}

/// What a 202 is worth to a sender who asked for a delivery notification. (T-6)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Accept202 {
    /// Another store has it: wait for the IMDN.
    AwaitImdn,
    /// As good as a 200.
    Delivered,
}

/// What a new IMSI does to the messages held for its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ImsiChange {
    /// The same owner with a new card: nothing.
    Keep,
    /// Perhaps another owner: all of them fail.
    Close,
}

/// Whether an access is used at all. (`rules.md` 3.6.0)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AccessSwitch {
    /// It is used.
    On,
    /// It counts as it is and starts nothing, so nothing changes access because of it.
    Hold,
    /// As if the user had no device, or no number.
    Off,
}

/// What becomes of a message that the message store did not take. (A-22, T-30)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnStoreFailure {
    /// It is refused: the sender hears 503.
    #[default]
    Reject,
    /// It is deferred instead.
    Defer,
}

impl OnStoreFailure {
    /// Whether it is the default, which the journal leaves out.
    pub(super) fn is_reject(&self) -> bool {
        *self == Self::Reject
    }
}
