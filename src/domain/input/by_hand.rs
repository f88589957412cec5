//! Facts about messages and users that people and other elements decided.
//!
//! Source: `rules.md` 3.4, T-19, T-26 to T-29, P-12.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Text;

/// `cpm.message.revoke_requested`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MessageRevokeRequested<'a> {
    /// The message.
    #[serde(borrow)]
    pub message_id: Text<'a>,
    /// Its sender.
    #[serde(borrow)]
    pub from: Text<'a>,
    /// Where the answer goes; absent: to the sender.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Text<'a>>,
}

/// What became of a message that ended before it was deferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HandledAs {
    /// Refused.
    Rejected,
    /// Sent to another address.
    Forwarded,
    /// Put into the user's message store.
    Stored,
}

/// `cpm.message.handled`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MessageHandled<'a> {
    /// The message.
    #[serde(borrow)]
    pub message_id: Text<'a>,
    /// Its sender.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Text<'a>>,
    /// What became of it.
    pub result: HandledAs,
    /// The answer the sender got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sip_status: Option<u16>,
    /// The Warning in that answer.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<Text<'a>>,
    /// The rule that decided.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Text<'a>>,
    /// Where it was forwarded.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Text<'a>>,
}

/// A person's hand on a message: `cpm.message.cancelled`, `.retry_requested`, `.expire_requested`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MessageByHand<'a> {
    /// Who did it.
    #[serde(borrow)]
    pub operator: Text<'a>,
    /// Why.
    #[serde(borrow)]
    pub reason: Text<'a>,
    /// The message; absent: all of the user's.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<Text<'a>>,
    /// Its sender, where two used one id (P-19).
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Text<'a>>,
}

/// A person's hand on a user: `cpm.user.held`, `cpm.user.released`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UserByHand<'a> {
    /// Who did it.
    #[serde(borrow)]
    pub operator: Text<'a>,
    /// Why.
    #[serde(borrow)]
    pub reason: Text<'a>,
}

/// Why an identity is another one now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityReason {
    /// Another SIM for the same number.
    SimSwap,
    /// The number has another owner.
    Reassigned,
    /// The owner has another number.
    NumberMoved,
}

/// `cpm.identity.changed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IdentityChanged<'a> {
    /// Why.
    pub reason: IdentityReason,
    /// IMSI until now.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub imsi_before: Option<Text<'a>>,
    /// IMSI from now on.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub imsi_after: Option<Text<'a>>,
    /// The number the owner moved to.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Text<'a>>,
}

/// `cpm.user.purged`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct UserPurged<'a> {
    /// Why.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text<'a>>,
}
