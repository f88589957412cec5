//! A message as the submitter gave it: what is kept to deliver it later, word for word.
//!
//! Source: OMA CPM 2.1 change requests (deferring, 8.3.1.6); `rules.md` 3.3, D-1, D-3, P-4.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::sms;
use super::time::{Timestamp, rfc3339};

/// What kind of thing waits; it decides the lane, the feature tag and whether SMS can carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One SIP MESSAGE.
    Pager,
    /// One message over MSRP.
    Large,
    /// A message of a chat session.
    Chat,
    /// A file, or the link to one.
    File,
    /// A place on the map.
    Geolocation,
    /// A notification about a message that this user sent.
    Imdn,
    /// A message from machine to machine.
    System,
}

impl Kind {
    /// The IMDN lane has its own order, quota and lifetime, and never goes by SMS.
    #[must_use]
    pub fn in_imdn_lane(self) -> bool {
        matches!(self, Self::Imdn | Self::System)
    }

    /// The word of the contract.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pager => "pager",
            Self::Large => "large",
            Self::Chat => "chat",
            Self::File => "file",
            Self::Geolocation => "geolocation",
            Self::Imdn => "imdn",
            Self::System => "system",
        }
    }
}

/// Whether IP, SMS or both may carry a message (I-12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Interwork {
    /// IP, and SMS where IP does not come in time.
    #[default]
    Fallback,
    /// SMS at once; IP never, unless SMS is closed to it.
    Only,
    /// One SMS copy at once beside IP.
    Also,
}

/// The notifications a sender asked for: IMDN-1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispositions(u8);

impl Dispositions {
    /// Tell me that it was delivered.
    pub const POSITIVE: Self = Self(1);
    /// Tell me that it was not.
    pub const NEGATIVE: Self = Self(2);
    /// Tell me that it is stored.
    pub const PROCESSING: Self = Self(4);
    /// Tell me that it was read.
    pub const DISPLAY: Self = Self(8);
    /// Tell me that it went by SMS or MMS.
    pub const INTERWORKING: Self = Self(16);

    const TOKENS: [(Self, &'static str); 5] = [
        (Self::POSITIVE, "positive-delivery"),
        (Self::NEGATIVE, "negative-delivery"),
        (Self::PROCESSING, "processing"),
        (Self::DISPLAY, "display"),
        (Self::INTERWORKING, "interworking"),
    ];

    /// What these tokens ask for; a token nobody knows asks for nothing.
    pub fn of<'a>(tokens: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all = Self::default();
        for token in tokens {
            for (one, name) in Self::TOKENS {
                if token.trim().eq_ignore_ascii_case(name) {
                    all.0 |= one.0;
                }
            }
        }
        all
    }

    /// Whether all of `other` is asked for.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The tokens, in the order of IMDN-1.
    pub fn tokens(self) -> impl Iterator<Item = &'static str> {
        Self::TOKENS.into_iter().filter(move |(one, _)| self.has(*one)).map(|(_, name)| name)
    }
}

/// The inner content, without its CPIM wrapper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// Text as it is.
    Text(Box<str>),
    /// Any octets, in Base64.
    Base64(Box<str>),
    /// Kept elsewhere; here is where.
    Ref(Box<str>),
}

impl Body {
    /// How many octets the user would get, as far as we can see.
    #[must_use]
    pub fn octets(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Base64(text) => {
                let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
                (text.len() / 4 * 3).saturating_sub(padding)
            }
            Self::Ref(_) => 0,
        }
    }
}

/// A word of the submitter's that we only pass on; numbers are written as text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Word(pub Box<str>);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl serde::de::Visitor<'_> for Either {
            type Value = Word;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a word or a whole number")
            }
            fn visit_str<E>(self, text: &str) -> Result<Word, E> {
                Ok(Word(text.into()))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Word, E> {
                Ok(Word(number.to_string().into()))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Word, E> {
                Ok(Word(number.to_string().into()))
            }
        }
        if from.is_human_readable() {
            from.deserialize_any(Either)
        } else {
            from.deserialize_str(Either)
        }
    }
}

/// Text into the one block that it stays in: serde would make a `String` of it first.
pub(super) fn shared<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
    struct Share;
    impl serde::de::Visitor<'_> for Share {
        type Value = Arc<str>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }
        fn visit_str<E>(self, text: &str) -> Result<Arc<str>, E> {
            Ok(text.into())
        }
    }
    from.deserialize_str(Share)
}

/// All of a submission that its delivery needs again: sender, ids, headers and body (D-1, D-3).
///
/// One allocation, shared by the state, the events and the commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The sender's id of it (IMDN Message-ID); with `from` the key among one user's messages.
    #[serde(deserialize_with = "shared")]
    pub message_id: Arc<str>,
    /// Who sent it: the authenticated address, canonical where it is a user's (5.4).
    #[serde(deserialize_with = "shared")]
    pub from: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// MIME type of the inner content.
    pub content_type: Box<str>,
    /// The inner content.
    pub body: Body,
    /// Octets, as the submitter counted them, else as we do.
    pub size: u64,
    /// When the sender sent it.
    pub sent_at: Option<Timestamp>,
    /// What the sender wants to hear.
    pub disposition: Dispositions,
    /// What seldom comes with a message.
    pub more: Option<Box<More>>,
    /// The conversation it belongs to; messages without one share one.
    pub conversation_id: Option<Box<str>>,
    /// The contribution it is.
    pub contribution_id: Option<Box<str>>,
}

/// The fields that few messages have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct More {
    /// What this answers.
    pub in_reply_to_contribution_id: Option<Box<str>>,
    /// Headers to restore on delivery.
    pub headers: BTreeMap<Box<str>, Box<str>>,
    /// P-Asserted-Identity as it came.
    pub asserted_from: Option<Box<str>>,
    /// The sender does not want to be known (D-7).
    pub anonymous: bool,
    /// Where IMDNs must travel.
    pub imdn_route: Vec<Box<str>>,
    /// Orders users at the edges, never one user's messages.
    pub priority: Option<Word>,
    /// A class of traffic.
    pub class: Option<Word>,
}

impl Content {
    /// Whether its sender does not want to be known (D-7).
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.anonymous)
    }

    /// Whether SMS could carry it as text (P-4): plain text, at hand, within `max_segments`.
    #[must_use]
    pub fn fits_sms(&self, max_segments: u8) -> bool {
        self.kind != Kind::File
            && self.kind != Kind::Geolocation
            && !self.kind.in_imdn_lane()
            && self.is_plain_text()
            && match &self.body {
                Body::Text(text) => sms::fits(text, max_segments),
                Body::Base64(_) | Body::Ref(_) => false,
            }
    }

    fn is_plain_text(&self) -> bool {
        let essence = self.content_type.split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case("text/plain")
    }

    /// Eight octets of SHA-256 over the body: tells a repeated submission from another one (T-24).
    #[must_use]
    pub fn body_digest(&self) -> u64 {
        let (tag, bytes) = match &self.body {
            Body::Text(text) => (b't', text),
            Body::Base64(text) => (b'b', text),
            Body::Ref(text) => (b'r', text),
        };
        let mut hash = Sha256::new();
        hash.update([tag]);
        hash.update(self.content_type.as_bytes());
        hash.update([0]);
        hash.update(bytes.as_bytes());
        first_u64(&hash.finalize())
    }
}

/// The first eight octets of a digest, as a number.
pub(super) fn first_u64(digest: &[u8]) -> u64 {
    digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Text of an input: borrowed from the bytes it came in wherever JSON allows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text<'a>(pub Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> serde::de::Visitor<'de> for Borrow {
            type Value = Cow<'de, str>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
            fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text))
            }
        }
        from.deserialize_str(Borrow).map(Self)
    }
}

impl JsonSchema for Text<'_> {
    fn schema_name() -> Cow<'static, str> {
        "string".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::json_schema(generator)
    }
}

impl JsonSchema for Word {
    fn schema_name() -> Cow<'static, str> {
        "word".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "integer"] })
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "milliseconds".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "description": "milliseconds since 1970" })
    }
}

/// A submission's fields on the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MessageSubmitted<'a> {
    /// The sender's id of it: IMDN Message-ID.
    #[serde(borrow)]
    pub message_id: Text<'a>,
    /// The sender's authenticated address.
    #[serde(borrow)]
    pub from: Text<'a>,
    /// What it is.
    pub kind: Kind,
    /// MIME type of the inner content.
    #[serde(borrow)]
    pub content_type: Text<'a>,
    /// The inner content as text. One of the three must be there.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Text<'a>>,
    /// The inner content in Base64.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<Text<'a>>,
    /// Where the inner content is kept.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub body_ref: Option<Text<'a>>,
    /// Octets of the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// When the sender sent it.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub sent_at: Option<Timestamp>,
    /// Until when it is worth delivering.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub expires_at: Option<Timestamp>,
    /// The same, counted in seconds from its acceptance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_seconds: Option<u64>,
    /// IMDN tokens: what the sender wants to hear.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub disposition: Vec<Text<'a>>,
    /// Conversation-ID.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<Text<'a>>,
    /// Contribution-ID.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub contribution_id: Option<Text<'a>>,
    /// InReplyTo-Contribution-ID.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to_contribution_id: Option<Text<'a>>,
    /// Headers to restore on delivery.
    #[serde(borrow, default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<Text<'a>, Text<'a>>,
    /// P-Asserted-Identity as it came.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub asserted_from: Option<Text<'a>>,
    /// The sender does not want to be known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anonymous: bool,
    /// Where IMDNs must travel.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub imdn_route: Vec<Text<'a>>,
    /// Which access may carry it.
    #[serde(default, skip_serializing_if = "is_fallback")]
    pub interwork: Interwork,
    /// Whether SMS can carry it; absent: computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interworkable: Option<bool>,
    /// `dnd`, or the name of the rule that keeps it back.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<Text<'a>>,
    /// Until when it is kept back.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub held_until: Option<Timestamp>,
    /// Orders users at the edges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Word>,
    /// A class of traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Word>,
}

fn is_fallback(interwork: &Interwork) -> bool {
    *interwork == Interwork::Fallback
}

impl MessageSubmitted<'_> {
    /// What is kept of it.
    ///
    /// Precondition, which the reader of inputs checks: one of the three bodies is there.
    #[must_use]
    pub fn content(&self) -> Content {
        let body = match (&self.body, &self.body_base64, &self.body_ref) {
            (Some(text), _, _) => Body::Text(text.as_ref().into()),
            (None, Some(text), _) => Body::Base64(text.as_ref().into()),
            (None, None, place) => Body::Ref(place.as_deref().unwrap_or_default().into()),
        };
        let boxed = |text: &Option<Text<'_>>| text.as_deref().map(Box::from);
        let more = More {
            in_reply_to_contribution_id: boxed(&self.in_reply_to_contribution_id),
            headers: (self.headers.iter())
                .map(|(name, value)| (name.as_ref().into(), value.as_ref().into()))
                .collect(),
            asserted_from: boxed(&self.asserted_from),
            anonymous: self.anonymous,
            imdn_route: self.imdn_route.iter().map(|hop| hop.as_ref().into()).collect(),
            priority: self.priority.clone(),
            class: self.class.clone(),
        };
        Content {
            message_id: self.message_id.as_ref().into(),
            from: self.from.as_ref().into(),
            kind: self.kind,
            content_type: self.content_type.as_ref().into(),
            size: self.size.unwrap_or_else(|| body.octets() as u64),
            body,
            sent_at: self.sent_at,
            disposition: Dispositions::of(self.disposition.iter().map(AsRef::as_ref)),
            more: (more != More::default()).then(|| Box::new(more)),
            conversation_id: boxed(&self.conversation_id),
            contribution_id: boxed(&self.contribution_id),
        }
    }
}

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}
