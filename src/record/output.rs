//! What others are asked to do, and what nobody could read: CloudEvents of ours.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::envelope::{cow, one_line};
use super::input::Rejected;
use crate::domain::command::{
    AnswerRevocation, Command, Deliver, Notify, Store, access_word, notice_word, what_word,
};
use crate::domain::event::{Access, Notice};
use crate::domain::input::{Technology, What};
use crate::domain::message::{Body, Content};
use crate::domain::reachability::DeviceName;
use crate::domain::time::{Timestamp, rfc3339};

/// Who speaks in our own records.
pub const SOURCE: &str = "/deferd";
/// What a dead letter keeps of an input.
const DEAD_LETTER_KEEPS: usize = 65_536;

/// A CloudEvent of ours, ready to be written.
#[derive(Debug)]
pub struct Output {
    /// The topic it belongs on.
    pub topic: &'static str,
    /// Its key: the user, or nothing where none could be read.
    pub key: Option<Box<str>>,
    /// The CloudEvent, one line of JSON.
    pub bytes: Vec<u8>,
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    specversion: &'static str,
    id: &'a str,
    source: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(with = "rfc3339")]
    time: Timestamp,
    datacontenttype: &'static str,
    data: T,
}

fn event<T: Serialize>(
    topic: &'static str,
    kind: &'static str,
    id: &str,
    subject: Option<&str>,
    time: Timestamp,
    data: T,
) -> Output {
    let event = Envelope {
        specversion: "1.0",
        id,
        source: SOURCE,
        kind,
        subject,
        time,
        datacontenttype: "application/json",
        data,
    };
    let mut bytes = Vec::with_capacity(512);
    serde_json::to_writer(&mut bytes, &event).expect("our own records are JSON");
    Output { topic, key: subject.map(Box::from), bytes }
}

/// A message's fields, as `cpm.message.submitted` had them.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MessageFields<'a> {
    /// The sender's authenticated address.
    from: Cow<'a, str>,
    /// What it is.
    kind: Cow<'a, str>,
    /// MIME type of the inner content.
    content_type: Cow<'a, str>,
    /// The inner content as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, str>>,
    /// The inner content in Base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<Cow<'a, str>>,
    /// Where the inner content is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_ref: Option<Cow<'a, str>>,
    /// Octets of the content.
    size: u64,
    /// When the sender sent it.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    sent_at: Option<Timestamp>,
    /// What the sender wants to hear.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    disposition: Vec<Cow<'a, str>>,
    /// Conversation-ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_id: Option<Cow<'a, str>>,
    /// Contribution-ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    contribution_id: Option<Cow<'a, str>>,
    /// InReplyTo-Contribution-ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_reply_to_contribution_id: Option<Cow<'a, str>>,
    /// Headers to restore on delivery.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    /// P-Asserted-Identity as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    asserted_from: Option<Cow<'a, str>>,
    /// The sender does not want to be known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    anonymous: bool,
    /// Where IMDNs must travel.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    imdn_route: Vec<Cow<'a, str>>,
    /// Orders users at the edges.
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<Cow<'a, str>>,
    /// A class of traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<Cow<'a, str>>,
}

impl<'a> MessageFields<'a> {
    /// All of them; the content itself only where it is to be delivered (a notice leaks none).
    fn of(content: &'a Content, with_body: bool) -> Self {
        let (mut body, mut body_base64, mut body_ref) = (None, None, None);
        if with_body {
            match &content.body {
                Body::Text(text) => body = Some(cow(text)),
                Body::Base64(text) => body_base64 = Some(cow(text)),
                Body::Ref(place) => body_ref = Some(cow(place)),
            }
        }
        let more = content.more.as_deref();
        Self {
            from: cow(&content.from),
            kind: cow(content.kind.word()),
            content_type: cow(&content.content_type),
            body,
            body_base64,
            body_ref,
            size: content.size,
            sent_at: content.sent_at,
            disposition: content.disposition.tokens().map(cow).collect(),
            conversation_id: content.conversation_id.as_deref().map(cow),
            contribution_id: content.contribution_id.as_deref().map(cow),
            in_reply_to_contribution_id: more
                .and_then(|more| more.in_reply_to_contribution_id.as_deref())
                .map(cow),
            headers: more.map_or_else(BTreeMap::new, |more| {
                more.headers.iter().map(|(name, value)| (cow(name), cow(value))).collect()
            }),
            asserted_from: more.and_then(|more| more.asserted_from.as_deref()).map(cow),
            anonymous: more.is_some_and(|more| more.anonymous),
            imdn_route: more
                .map_or_else(Vec::new, |more| more.imdn_route.iter().map(|hop| cow(hop)).collect()),
            priority: more.and_then(|more| more.priority.as_ref()).map(|word| cow(&word.0)),
            class: more.and_then(|more| more.class.as_ref()).map(|word| cow(&word.0)),
        }
    }
}

/// A device, as gateways address it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DeviceFields<'a> {
    /// `+sip.instance`.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<Cow<'a, str>>,
    /// `reg-id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reg_id: Option<u32>,
    /// The Contact URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    contact: Option<Cow<'a, str>>,
}

impl<'a> From<&'a DeviceName> for DeviceFields<'a> {
    fn from(device: &'a DeviceName) -> Self {
        Self {
            instance: device.instance.as_deref().map(cow),
            reg_id: device.reg_id,
            contact: device.contact.as_deref().map(cow),
        }
    }
}

/// What a notice says.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UcnFields<'a> {
    /// Its text.
    text: Cow<'a, str>,
    /// The user's language, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<Cow<'a, str>>,
    /// The ids of the messages it stands for.
    covers: Vec<Cow<'a, str>>,
}

/// `data` of `cpm.delivery.requested`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "cpm.delivery.requested.v1")]
pub struct DeliveryRequested<'a> {
    /// Made from user, sender, message id, access, what and number: twice the same is twice told.
    attempt_id: String,
    /// The sender's id of the message.
    message_id: Cow<'a, str>,
    /// The user.
    user: String,
    /// 1, 2, … over all accesses.
    attempt: u32,
    /// `cpm` or `sms`.
    access: Cow<'a, str>,
    /// `message`, `ucn`, `copy` or `forward`.
    what: Cow<'a, str>,
    /// The devices, over IP.
    devices: Vec<DeviceFields<'a>>,
    /// Until when a gateway may start; later it reports `failed`, cause `late`.
    #[serde(with = "rfc3339")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    deadline: Timestamp,
    /// End of the message's life.
    #[serde(with = "rfc3339")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    expires_at: Timestamp,
    /// The message's fields.
    #[serde(flatten)]
    message: MessageFields<'a>,
    /// SMS: the SMSC must not retry on its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    single_shot: Option<bool>,
    /// SMS: its validity.
    #[serde(skip_serializing_if = "Option::is_none")]
    validity_seconds: Option<u64>,
    /// SMS: a positive report is wanted beside a negative one.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_reports: Option<bool>,
    /// SMS: whom the phone shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    from_as: Option<Cow<'a, str>>,
    /// UCN: what it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    ucn: Option<UcnFields<'a>>,
    /// Forward: where to.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Cow<'a, str>>,
}

/// `data` of `cpm.notification.requested`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "cpm.notification.requested.v1")]
pub struct NotificationRequested<'a> {
    /// The id of the event: the same twice is the same notification.
    notification_id: Cow<'a, str>,
    /// The message.
    message_id: Cow<'a, str>,
    /// The user: the notification is about a message to it (IMDN-10).
    from: String,
    /// The sender of the message, who is told.
    to: Cow<'a, str>,
    /// `delivery`, `processing`, `interworking`.
    kind: Cow<'a, str>,
    /// `delivered`, `failed`, `error`, `forbidden`, `stored`, `legacy-sms`, `legacy-mms`.
    disposition: Cow<'a, str>,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
    /// Conversation-ID of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_id: Option<Cow<'a, str>>,
    /// Contribution-ID of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    contribution_id: Option<Cow<'a, str>>,
    /// Where IMDNs must travel.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    imdn_route: Vec<Cow<'a, str>>,
    /// The attempt it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    about_attempt: Option<String>,
}

/// `data` of `cpm.revocation.answered`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "cpm.revocation.answered.v1")]
pub struct RevocationAnswered<'a> {
    /// The message.
    message_id: Cow<'a, str>,
    /// Who hears it.
    to: Cow<'a, str>,
    /// `success` or `failed`.
    result: Cow<'a, str>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
}

/// `data` of `cpm.storage.requested`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "cpm.storage.requested.v1")]
pub struct StorageRequested<'a> {
    /// The message.
    message_id: Cow<'a, str>,
    /// `pager-message` or `multimedia-message`.
    context: Cow<'a, str>,
    /// IMAP flags to set.
    flags: Vec<Cow<'a, str>>,
    /// When it was delivered, if it was.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    delivered_at: Option<Timestamp>,
    /// The message's fields.
    #[serde(flatten)]
    message: MessageFields<'a>,
}

/// `data` of `cpm.input.rejected`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "cpm.input.rejected.v1")]
pub struct InputRejected<'a> {
    /// What is wrong, and what was expected.
    reason: Cow<'a, str>,
    /// The reason in one word, for counting.
    code: Cow<'a, str>,
    /// Where it stood.
    #[serde(rename = "where")]
    place: Place<'a>,
    /// SHA-256 of what was read of it.
    sha256: String,
    /// How many bytes were read of it: all, unless it was too large.
    size: usize,
    /// The input as it came, where it is JSON and small enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    input: Option<&'a RawValue>,
    /// Else as text, what is not UTF-8 replaced, cut after 64 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
}

/// Where an input stood.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Place<'a> {
    /// In a topic.
    Topic {
        /// Which.
        topic: Cow<'a, str>,
        /// Its partition.
        partition: u32,
        /// Its offset there.
        offset: u64,
    },
    /// In a file.
    File {
        /// Which.
        file: Cow<'a, str>,
        /// Its line, from 1.
        line: u64,
    },
}

/// The CloudEvent that asks for `command`, decided at `at`.
#[must_use]
pub fn output(command: &Command, at: Timestamp) -> Output {
    match command {
        Command::Deliver(deliver) => delivery(deliver, at),
        Command::Notify(notify) => notification(notify, at),
        Command::AnswerRevocation(answer) => revocation(answer, at),
        Command::Store(store) => storage(store, at),
    }
}

fn delivery(deliver: &Deliver, at: Timestamp) -> Output {
    let attempt_id = deliver.attempt_id.to_string();
    let user = deliver.user.to_string();
    let sms = deliver.sms.as_ref();
    let data = DeliveryRequested {
        attempt_id: attempt_id.clone(),
        message_id: cow(&deliver.content.message_id),
        user: user.clone(),
        attempt: deliver.attempt_id.number,
        access: cow(access_word(deliver.access)),
        what: cow(what_word(deliver.what)),
        devices: deliver.devices.iter().map(DeviceFields::from).collect(),
        deadline: deliver.deadline,
        expires_at: deliver.expires_at,
        message: MessageFields::of(&deliver.content, deliver.what != What::Ucn),
        single_shot: sms.map(|sms| sms.single_shot),
        validity_seconds: sms.map(|sms| sms.validity.as_secs()),
        request_reports: sms.map(|sms| sms.request_reports),
        from_as: sms.and_then(|sms| sms.from_as.as_deref()).map(cow),
        ucn: deliver.ucn.as_ref().map(|ucn| UcnFields {
            text: cow(&ucn.text),
            language: ucn.language.as_deref().map(cow),
            covers: ucn.covers.iter().map(|id| cow(id)).collect(),
        }),
        to: deliver.target.as_deref().map(cow),
    };
    debug_assert!(deliver.access == Access::Sms || sms.is_none());
    event("cpm.deliveries", "cpm.delivery.requested.v1", &attempt_id, Some(&user), at, data)
}

fn notification(notify: &Notify, at: Timestamp) -> Output {
    let user = notify.user.to_string();
    let content = &notify.content;
    let data = NotificationRequested {
        notification_id: cow(&notify.notification_id),
        message_id: cow(&content.message_id),
        from: user.clone(),
        to: cow(&content.from),
        kind: cow(match notify.notice {
            Notice::Delivered | Notice::Failed | Notice::Error | Notice::Forbidden => "delivery",
            Notice::Stored => "processing",
            Notice::LegacySms | Notice::LegacyMms => "interworking",
        }),
        disposition: cow(notice_word(notify.notice)),
        reason: notify.reason.as_deref().map(cow),
        conversation_id: content.conversation_id.as_deref().map(cow),
        contribution_id: content.contribution_id.as_deref().map(cow),
        imdn_route: content
            .more
            .as_deref()
            .map_or_else(Vec::new, |more| more.imdn_route.iter().map(|hop| cow(hop)).collect()),
        about_attempt: notify.about_attempt.map(|attempt| attempt.to_string()),
    };
    let id = &notify.notification_id;
    event("cpm.notifications", "cpm.notification.requested.v1", id, Some(&user), at, data)
}

fn revocation(answer: &AnswerRevocation, at: Timestamp) -> Output {
    let data = RevocationAnswered {
        message_id: cow(&answer.message_id),
        to: cow(&answer.to),
        result: cow(if answer.ok { "success" } else { "failed" }),
        reason: answer.reason.as_deref().map(cow),
    };
    let user = answer.user.to_string();
    let kind = "cpm.revocation.answered.v1";
    event("cpm.notifications", kind, &answer.id, Some(&user), at, data)
}

fn storage(store: &Store, at: Timestamp) -> Output {
    let user = store.user.to_string();
    let data = StorageRequested {
        message_id: cow(&store.content.message_id),
        context: cow(match store.technology {
            Technology::Sms => "pager-message",
            Technology::Mms => "multimedia-message",
        }),
        flags: Vec::new(),
        delivered_at: store.delivered_at,
        message: MessageFields::of(&store.content, true),
    };
    event("cpm.deliveries", "cpm.storage.requested.v1", &store.id, Some(&user), at, data)
}

/// The dead letter for an input that was refused: the reason, its place, and what it was.
#[must_use]
pub fn rejected(why: &Rejected, place: &Place<'_>, raw: &[u8], at: Timestamp) -> Output {
    let sha256: String = Sha256::digest(raw).iter().map(|octet| format!("{octet:02x}")).collect();
    let whole = raw.len() <= DEAD_LETTER_KEEPS && !matches!(why, Rejected::TooDeep { .. });
    let line = one_line(raw);
    let input: Option<&RawValue> = whole.then(|| serde_json::from_slice(&line).ok()).flatten();
    let kept = raw.get(..DEAD_LETTER_KEEPS.min(raw.len())).unwrap_or(raw);
    let text = input.is_none().then(|| String::from_utf8_lossy(kept));
    let id = match place {
        Place::Topic { topic, partition, offset } => format!("{topic}/{partition}/{offset}"),
        Place::File { file, line } => format!("{file}:{line}"),
    };
    let data = InputRejected {
        reason: Cow::Owned(why.to_string()),
        code: cow(why.word()),
        place: place.clone(),
        sha256,
        size: raw.len(),
        input,
        text,
    };
    event("cpm.dead-letters", "cpm.input.rejected.v1", &id, None, at, data)
}
