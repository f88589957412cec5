//! Facts about how attempts, reports and storing went.
//!
//! Source: `rules.md` 3.4, A-12 to A-14, P-11, P-19 to P-21.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::failure::{Cause, Protocol};
use super::{DeviceRef, Text, Trust};

/// How an attempt goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The gateway took the command.
    Started,
    /// Somebody else took the message over.
    Accepted,
    /// The phone has it.
    Delivered,
    /// It has not.
    Failed,
    /// Nobody can tell.
    Unknown,
}

/// What a message became on the legacy side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Technology {
    /// An SMS.
    Sms,
    /// An MMS.
    Mms,
}

/// `cpm.delivery.outcome`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryOutcome<'a> {
    /// The attempt, as its command named it.
    #[serde(borrow)]
    pub attempt_id: Text<'a>,
    /// How it went.
    pub outcome: Outcome,
    /// One leg; absent: all.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceRef<'a>>,
    /// The final SIP answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sip_status: Option<u16>,
    /// The class of the failure; beats the SIP answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Not sooner than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
    /// The Warning of the answer.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<Text<'a>>,
    /// What it became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub technology: Option<Technology>,
    /// Ids under which reports will come.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub legacy_ids: Vec<Text<'a>>,
    /// Whether a report will come (P-11).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_expected: Option<bool>,
}

/// An error in the words of a protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProtocolError<'a> {
    /// Whose words.
    pub protocol: Protocol,
    /// The code.
    #[serde(borrow)]
    pub code: Text<'a>,
}

/// What an SMS attempt, or any attempt, carried.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The message.
    Message,
    /// The notice that content waits (UCN).
    Ucn,
    /// The message again, for another device of the user.
    Copy,
    /// The message, to another address.
    Forward,
}

/// `cpm.sms.delivered`, `cpm.sms.delayed`, `cpm.sms.failed`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct SmsReport<'a> {
    /// The message: IMDN Message-ID. One of the three must be there.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<Text<'a>>,
    /// The attempt.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub attempt_id: Option<Text<'a>>,
    /// The id under which the SMSC knows it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub legacy_id: Option<Text<'a>>,
    /// The sender, where two used one id (P-19).
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Text<'a>>,
    /// What the SMS carried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<What>,
    /// `pager-message` or `multimedia-message`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Text<'a>>,
    /// Where it was tried; never evidence of an attach.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<Text<'a>>,
    /// The class of the failure; beats the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Absent-subscriber diagnostic (4.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnostic: Option<u8>,
    /// The error in its protocol's words.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ProtocolError<'a>>,
    /// Which segment this is about, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<u8>,
    /// How many there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segments: Option<u8>,
    /// How good the witness is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
}

/// Who wrote an IMDN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReportedBy {
    /// The user's client.
    Client,
    /// The SMS gateway.
    Gateway,
}

/// `cpm.imdn.received`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImdnReceived<'a> {
    /// The message it is about.
    #[serde(borrow)]
    pub message_id: Text<'a>,
    /// Its sender, where two used one id (P-19).
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Text<'a>>,
    /// `delivered`, `displayed`, `failed`, …
    #[serde(borrow)]
    pub disposition: Text<'a>,
    /// Who wrote it.
    pub reported_by: ReportedBy,
    /// Id of the IMDN itself.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub imdn_id: Option<Text<'a>>,
    /// The device; absent: every one it was sent to (P-21).
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceRef<'a>>,
}

/// How storing went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Storage {
    /// It is in the store.
    Stored,
    /// It is not.
    Failed,
}

/// `cpm.storage.outcome`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StorageOutcome<'a> {
    /// The message.
    #[serde(borrow)]
    pub message_id: Text<'a>,
    /// Its sender, where two used one id (P-19).
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Text<'a>>,
    /// How it went.
    pub outcome: Storage,
    /// Why.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text<'a>>,
}
