//! What happened outside: the facts a step takes in, with who told them and when.
//!
//! Source: `rules.md` 3.4. The names are those of the record types without `cpm.` and `.v1`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::message::{MessageSubmitted, Text};

use super::failure::{Cause, Protocol};
use super::message::Kind;
use super::policy::Policy;
use super::time::{Timestamp, rfc3339};

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

/// A field that is absent (stays), null (goes) or has a value.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Change<T> {
    /// Not mentioned: as it was.
    #[default]
    Keep,
    /// Null: back to nothing.
    Clear,
    /// This from now on.
    Set(T),
}

impl<T> Change<T> {
    /// Whether the field was not mentioned.
    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// Applies it.
    pub fn merge_into(&self, field: &mut Option<T>)
    where
        T: Clone,
    {
        match self {
            Self::Keep => {}
            Self::Clear => *field = None,
            Self::Set(value) => *field = Some(value.clone()),
        }
    }
}

impl<T: Serialize> Serialize for Change<T> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep | Self::Clear => to.serialize_none(),
            Self::Set(value) => value.serialize(to),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Change<T> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(from)?.map_or(Self::Clear, Self::Set))
    }
}

impl<T: JsonSchema> JsonSchema for Change<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Option::<T>::schema_name()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Option::<T>::json_schema(generator)
    }
}

/// Do not disturb: off, on, or on until an instant (P-6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DoNotDisturb {
    /// On or off.
    Now(bool),
    /// On until then.
    Until {
        /// When it ends.
        #[serde(with = "rfc3339")]
        #[schemars(with = "String", extend("format" = "date-time"))]
        until: Timestamp,
    },
}

/// What a preference rule does with a message it matches (steps 4a to 4e of 8.3.1.1).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Refuse; with a profile list: exclude the clients of those profiles (8a, A-47).
    AllowRejectInvite,
    /// By SMS only.
    #[serde(alias = "allow-interworking")]
    AllowInterwork,
    /// By SMS beside IP.
    AllowDeliverAndInterwork,
    /// Into the message store, and done.
    AllowStore,
    /// To another address, and done.
    AllowForward,
    /// Keep until the rule stops matching.
    AllowDefer,
    /// Keep, and let no SMS ring.
    AllowDoNotDisturb,
    /// Record in the history too.
    AllowOfflineStorage,
}

/// A preference rule: conditions, all of which must hold, and actions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// Its name, as holds and `why` tell it.
    pub name: Box<str>,
    /// What it does.
    pub actions: Vec<Action>,
    /// Only these kinds; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<Kind>,
    /// Only these senders; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub senders: Vec<Box<str>>,
    /// Only clients with one of these active profiles; such a rule matches clients, no messages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<Box<str>>,
    /// Not before.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub valid_from: Option<Timestamp>,
    /// Not from then on.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub valid_until: Option<Timestamp>,
}

/// `cpm.preferences.changed`: merged into what is known, null deletes.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PreferencesChanged {
    /// Grows with each change; one not above the known version changes nothing (P-22).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Rules by condition and action.
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub rules: Change<Vec<Rule>>,
    /// Senders that the front refuses.
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub blacklist: Change<Vec<Box<str>>>,
    /// Where allow-forward sends messages.
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub forward_to: Change<Box<str>>,
    /// Do not disturb.
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub do_not_disturb: Change<DoNotDisturb>,
    /// Language of the UCN.
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub ucn_language: Change<Box<str>>,
    /// The user's own wait after an attach (TM-5).
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub ip_wait_after_attach_seconds: Change<u32>,
    /// The user's own wait after `ready-for-sms`.
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub ip_wait_after_sms_ready_seconds: Change<u32>,
    /// The user's own wait after an IP loss.
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub ip_wait_after_ip_loss_seconds: Change<u32>,
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
