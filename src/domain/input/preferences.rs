//! What a user wants: rules, do not disturb, own waits.
//!
//! Source: `rules.md` 2.4, P-6, P-22, TM-5.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::message::Kind;
use super::super::senders::{Many, Senders};
use super::super::time::{Timestamp, rfc3339};

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

impl DoNotDisturb {
    /// Until when the user is not to be disturbed; `None`: it may be.
    #[must_use]
    pub fn until(self) -> Option<Timestamp> {
        match self {
            Self::Now(on) => on.then_some(Timestamp::MAX),
            Self::Until { until } => Some(until),
        }
    }
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// Its name, as holds and `why` tell it.
    pub name: Box<str>,
    /// What it does.
    pub actions: Vec<Action>,
    /// Only these kinds; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<Kind>,
    /// Only these senders, and those of `many`; both empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub senders: Vec<Box<str>>,
    /// Only these senders by domain or exception, and those of `senders`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub many: Vec<Many>,
    /// Only senders whom no rule of the user's means by `senders` or `many`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub other_identity: bool,
    /// Only senders who want to be anonymous.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anonymous_request: bool,
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

impl Rule {
    /// Whom it names; `None`: nobody in particular.
    #[must_use]
    pub fn named(&self) -> Option<Senders> {
        let senders = Senders { one: self.senders.clone(), many: self.many.clone() };
        Some(senders).filter(|senders| !senders.is_empty())
    }
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
