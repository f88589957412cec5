//! Facts about where the user can be reached.
//!
//! Source: `rules.md` 3.4, 5.6, section 6.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::time::{Timestamp, rfc3339};
use super::{Text, Trust};

/// A device as a record names it: the same `instance` and `reg_id`, else the same `contact` (5.6).
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct DeviceRef<'a> {
    /// `+sip.instance`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Text<'a>>,
    /// The Contact URI.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<Text<'a>>,
    /// `reg-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reg_id: Option<u32>,
    /// This is the device with the SIM of the user's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<bool>,
}

/// Whether a registration is news.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Registration {
    /// A new binding.
    Initial,
    /// One that was there; also any other request of that device.
    Refreshed,
    /// Not told: initial if the contact is new.
    #[default]
    Unknown,
}

/// `cpm.ims.registered`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImsRegistered<'a> {
    /// The device; absent: a third-party REGISTER, which tells none.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceRef<'a>>,
    /// When the binding ends.
    #[serde(with = "rfc3339")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub expires_at: Timestamp,
    /// Whether it is news.
    #[serde(default)]
    pub change: Registration,
    /// Feature tags of the contact.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<Text<'a>>>,
    /// Whether it takes CPM; absent: by `features`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpm_capable: Option<bool>,
    /// Other identities of the user.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<Text<'a>>,
    /// The SIM.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub imsi: Option<Text<'a>>,
    /// The client's active user preference profile.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Text<'a>>,
    /// P-Access-Network-Info.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Text<'a>>,
    /// User-Agent.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Text<'a>>,
    /// Call-ID of the REGISTER.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<Text<'a>>,
    /// CSeq of the REGISTER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cseq: Option<u32>,
    /// How good the witness is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
}

/// Why a binding ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeregisterReason {
    /// The device said so.
    Unregistered,
    /// Its time was over.
    Expired,
    /// The network refused it.
    Rejected,
    /// The network ended it.
    Deactivated,
}

/// `cpm.ims.deregistered`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ImsDeregistered<'a> {
    /// The device; absent: all of the user's.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceRef<'a>>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DeregisterReason>,
    /// Call-ID of the REGISTER.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<Text<'a>>,
    /// CSeq of the REGISTER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cseq: Option<u32>,
    /// How good the witness is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
}

/// `cpm.cs.attached`, `cpm.cs.detached`, `cpm.ps.attached`, `cpm.ps.detached`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Attach<'a> {
    /// How good the witness is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
    /// The procedure that was seen.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub procedure: Option<Text<'a>>,
    /// The node that serves the user.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Text<'a>>,
    /// Radio access technology.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub rat: Option<Text<'a>>,
    /// Whether SMS works there; absent: CS yes, PS by `sms_over_ps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sms_capable: Option<bool>,
    /// The user is abroad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roaming: Option<bool>,
    /// A registration is about to come; for display only (N-1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imminent_ims: Option<bool>,
}

/// Why an alert was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AlertReason {
    /// The phone is there again.
    Present,
    /// The phone has memory again.
    Memory,
}

/// `cpm.sms.ready`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct SmsReady<'a> {
    /// `CS`, `PS`, or another network's word.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<Text<'a>>,
    /// Why the alert was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_reason: Option<AlertReason>,
    /// Until when the phone listens.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub available_until: Option<Timestamp>,
    /// How good the witness is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
}
