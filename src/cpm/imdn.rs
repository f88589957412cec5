//! `message/imdn+xml`: what became of a message, told to its sender.
//!
//! ```text
//! imdn ─┬─ message-id, datetime, recipient-uri …
//!       └─ delivery- | processing- | display- | interworking-notification ── status ── one word
//! ```
//!
//! Source: RFC 5438 7.2, 8, 11; OMA CPM (the `interworking` extension); `rules.md` 2.5, A-31, A-36.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::DocumentError;
use super::Fault;
use super::cpim::{Cpim, Header};
use super::xml::{Document, Element, Kept, Layout, Limits, Source, Writer};
use crate::domain::event::Notice;
use crate::domain::time::Timestamp;

/// The MIME type of a notification.
pub const MIME: &str = "message/imdn+xml";

/// The namespace of RFC 5438.
pub const NAMESPACE: &str = "urn:ietf:params:xml:ns:imdn";

/// The namespace of OMA's extension (IMDN-3).
pub const OMA_NAMESPACE: &str = "urn:oma:xml:cpm:imdn-extensions:1.0";

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imdn {
    /// The message that it is about.
    pub message_id: Box<str>,
    /// When that message was sent; `None`: absent, or no time.
    pub datetime: Option<Timestamp>,
    /// Whom the message reached, or did not.
    pub recipient_uri: Option<Box<str>>,
    /// Whom its sender wrote to.
    pub original_recipient_uri: Option<Box<str>>,
    /// The message's subject.
    pub subject: Option<Box<str>>,
    /// What it is about.
    pub kind: Kind,
    /// What it says.
    pub status: Status,
    /// What else stands in it.
    pub unknown: Vec<Kept>,
}

/// What a notification is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Whether the message reached its recipient.
    Delivery,
    /// What an intermediary does with it.
    Processing,
    /// Whether a person saw it.
    Display,
    /// OMA: whether it became an SMS or MMS (IMDN-3).
    Interworking,
}

/// What a notification says (IMDN-2, IMDN-3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Of delivery.
    Delivered,
    /// Of delivery.
    Failed,
    /// Of processing.
    Processed,
    /// Of processing.
    Stored,
    /// Of display.
    Displayed,
    /// Of interworking.
    LegacySms,
    /// Of interworking.
    LegacyMms,
    /// Of delivery, processing and display: policy says no.
    Forbidden,
    /// Of all: nobody can say, or something broke.
    Error,
    /// Another word, or one that this kind of notification has not.
    Other(Box<str>),
}

/// How OMA's extension is written (A-31). Both are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// `oma`: all of it in OMA's namespace, as the schema of RFC 5438 wants of an extension.
    #[default]
    Oma,
    /// `ietf`: only the status in OMA's namespace.
    Ietf,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Delivery, Self::Processing, Self::Display, Self::Interworking];

    /// Its word in our records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Processing => "processing",
            Self::Display => "display",
            Self::Interworking => "interworking",
        }
    }

    const fn element(self) -> &'static str {
        match self {
            Self::Delivery => "delivery-notification",
            Self::Processing => "processing-notification",
            Self::Display => "display-notification",
            Self::Interworking => "interworking-notification",
        }
    }

    /// What it may say.
    #[must_use]
    pub fn statuses(self) -> &'static [Status] {
        match self {
            Self::Delivery => {
                &[Status::Delivered, Status::Failed, Status::Forbidden, Status::Error]
            }
            Self::Processing => {
                &[Status::Processed, Status::Stored, Status::Forbidden, Status::Error]
            }
            Self::Display => &[Status::Displayed, Status::Forbidden, Status::Error],
            Self::Interworking => &[Status::LegacySms, Status::LegacyMms, Status::Error],
        }
    }

    /// What it means by this word.
    fn status(self, word: &str) -> Status {
        let known = self.statuses().iter().find(|known| known.word().eq_ignore_ascii_case(word));
        known.cloned().unwrap_or_else(|| Status::Other(word.into()))
    }
}

impl Status {
    /// Its word: the disposition of our records.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Processed => "processed",
            Self::Stored => "stored",
            Self::Displayed => "displayed",
            Self::LegacySms => "legacy-sms",
            Self::LegacyMms => "legacy-mms",
            Self::Forbidden => "forbidden",
            Self::Error => "error",
            Self::Other(word) => word,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What the sender is told is what the rules decided, in the words of the standard (IMDN-6 to IMDN-9).
#[must_use]
pub const fn words(notice: Notice) -> (Kind, Status) {
    match notice {
        Notice::Delivered => (Kind::Delivery, Status::Delivered),
        Notice::Failed => (Kind::Delivery, Status::Failed),
        Notice::Error => (Kind::Delivery, Status::Error),
        Notice::Forbidden => (Kind::Delivery, Status::Forbidden),
        Notice::Stored => (Kind::Processing, Status::Stored),
        Notice::LegacySms => (Kind::Interworking, Status::LegacySms),
        Notice::LegacyMms => (Kind::Interworking, Status::LegacyMms),
    }
}

/// Reads a notification.
///
/// # Errors
///
/// As [`Document::read`]; [`Fault::Root`] if it is another document; [`Fault::Content`] if it is about
/// no message, or says nothing or several things of it.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Imdn, DocumentError> {
    let source = Source::new(bytes, limits)?;
    let document = Document::read(&source, limits)?;
    let root = document.root();
    if !root.is("imdn") {
        let found = format!("the root element `{}`", root.name());
        return Err(root.fault(Fault::Root, found, "`imdn`"));
    }
    let (mut fields, mut unknown) = ([const { None::<Box<str>> }; 5], Vec::new());
    let mut said = None;
    for child in root.children() {
        let names = FIELDS.iter().position(|name| child.is(name));
        if let Some(field) = names.and_then(|at| fields.get_mut(at)) {
            if field.is_some() {
                return Err(child.error(format!("a second `{}`", child.local()), "one"));
            }
            let text = child.text();
            if text.contains(char::is_control) {
                return Err(child.text_error("a control character", "text in one line"));
            }
            *field = Some(text).filter(|text| !text.is_empty()).map(Into::into);
        } else if let Some(kind) = Kind::ALL.into_iter().find(|kind| child.is(kind.element())) {
            if said.is_some() {
                return Err(child.error("a second notification", "one"));
            }
            said = Some((kind, kind.status(status(&child)?)));
        } else {
            unknown.push(child.kept(NAMESPACE));
        }
    }
    let [message_id, datetime, recipient_uri, original_recipient_uri, subject] = fields;
    let (kind, status) = said.ok_or_else(|| {
        root.error("`imdn` without a notification", "one, such as `delivery-notification`")
    })?;
    Ok(Imdn {
        message_id: message_id.ok_or_else(|| root.error("`imdn` without `message-id`", "one"))?,
        datetime: datetime.and_then(|time| time.parse().ok()),
        recipient_uri,
        original_recipient_uri,
        subject,
        kind,
        status,
        unknown,
    })
}

const FIELDS: [&str; 5] =
    ["message-id", "datetime", "recipient-uri", "original-recipient-uri", "subject"];

/// The word in the status of a notification.
fn status<'s>(notification: &Element<'_, 's>) -> Result<&'s str, DocumentError> {
    let mut words = notification.children().filter(|child| child.is("status"));
    let none = || notification.error(format!("`{}` without a status", notification.local()), "one");
    let mut words = words.next().ok_or_else(none)?.children();
    let word = words.next().ok_or_else(none)?.local();
    match words.next() {
        Some(second) => Err(second.error("a second status", "one")),
        None => Ok(word),
    }
}

impl Imdn {
    /// What the rules decided to tell of a message that was sent at `sent` and was for `recipient`.
    #[must_use]
    pub fn of(notice: Notice, message_id: &str, sent: Timestamp, recipient: &str) -> Self {
        let (kind, status) = words(notice);
        Self {
            message_id: message_id.into(),
            datetime: Some(sent),
            recipient_uri: Some(recipient.into()),
            original_recipient_uri: None,
            subject: None,
            kind,
            status,
            unknown: Vec::new(),
        }
    }

    /// The document; `None` for what a strict one does not say: another kind's status, no message or no
    /// time.
    #[must_use]
    pub fn write(&self, form: Form, layout: Layout) -> Option<String> {
        if !self.kind.statuses().contains(&self.status) || self.message_id.is_empty() {
            return None;
        }
        let datetime = self.datetime?.to_string();
        let mut to = Writer::new(layout);
        to.open("imdn", &[("xmlns", NAMESPACE)]);
        to.leaf("message-id", &[], &self.message_id);
        to.leaf("datetime", &[], &datetime);
        for (name, value) in [
            ("recipient-uri", &self.recipient_uri),
            ("original-recipient-uri", &self.original_recipient_uri),
            ("subject", &self.subject),
        ] {
            if let Some(value) = value {
                to.leaf(name, &[], value);
            }
        }
        let word = self.status.word();
        match (self.kind, form) {
            (Kind::Interworking, Form::Oma) => {
                to.open("x:interworking-notification", &[("xmlns:x", OMA_NAMESPACE)]);
                to.open("x:status", &[]);
                to.leaf(&format!("x:{word}"), &[], "");
            }
            (Kind::Interworking, Form::Ietf) => {
                to.open(self.kind.element(), &[]);
                to.open("status", &[]);
                to.leaf(&format!("x:{word}"), &[("xmlns:x", OMA_NAMESPACE)], "");
            }
            (Kind::Delivery | Kind::Processing | Kind::Display, _) => {
                to.open(self.kind.element(), &[]);
                to.open("status", &[]);
                to.leaf(word, &[], "");
            }
        }
        to.close();
        to.close();
        for kept in &self.unknown {
            to.kept(kept);
        }
        Some(to.finish())
    }
}

/// An IMDN in its envelope: to the sender, from the recipient, asking for no IMDN itself (IMDN-10).
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'e> {
    /// Who speaks: the recipient of the message, or the PF about an action on its store (A-36).
    pub from: &'e str,
    /// The sender of the message.
    pub to: &'e str,
    /// The id of the IMDN.
    pub id: &'e str,
    /// When it is written.
    pub at: Timestamp,
    /// Where it has to pass by, in order: [`Cpim::way_back`] of the message.
    pub route: &'e [&'e str],
}

impl Envelope<'_> {
    /// The envelope around a document.
    #[must_use]
    pub fn around(&self, document: &str) -> Cpim {
        let mut cpim = Cpim::new(self.from, self.to);
        cpim.imdn("Message-ID", self.id);
        cpim.add(Header::new("DateTime", &self.at.to_string()));
        for hop in self.route {
            cpim.imdn("IMDN-Route", &format!("<{hop}>"));
        }
        let length = document.len().to_string();
        cpim.set_content(
            &[
                ("Content-Type", MIME),
                ("Content-Disposition", "notification"),
                ("Content-Length", &length),
            ],
            document,
        );
        cpim
    }
}

#[cfg(test)]
mod tests;
