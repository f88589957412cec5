//! A message in its CPIM envelope as the record `cpm.message.submitted` has it.
//!
//! Source: RFC 3862, RFC 5438; `rules.md` D-1, D-3, A-21, A-23, A-43, IMDN-1, SEED4-58.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Denial, Headers};
use crate::cpm::cpim::{CORE, Cpim};
use crate::cpm::{evfw, imdn, is_type};
use crate::domain::message::{Interwork, Kind, MessageSubmitted, Text};

/// Who sent it, as the network knows.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'s> {
    /// The authenticated address, canonical.
    pub address: &'s str,
    /// P-Asserted-Identity as it came.
    pub asserted: Option<&'s str>,
    /// The sender does not want to be known.
    pub anonymous: bool,
}

/// The message that came in this envelope, in a request with these headers.
///
/// # Errors
///
/// It has no `imdn.Message-ID`, its content is not what it says, or Expires is no number of seconds.
pub fn submission(
    message: &Cpim,
    sender: &Sender<'_>,
    headers: &Headers,
) -> Result<MessageSubmitted<'static>, Denial> {
    let id = message.message_id().ok_or_else(|| {
        Denial::bad(
            "message-id",
            "the message has no imdn.Message-ID, by which its IMDNs and its copies are known; give it one",
        )
    })?;
    let encoding = message.content_header("Content-Transfer-Encoding").unwrap_or("8bit").trim();
    let is = |known: &&str| encoding.eq_ignore_ascii_case(known);
    let decoded = is(&"base64").then(|| decoded(message.body())).transpose()?;
    let octets = decoded.as_deref().unwrap_or_else(|| message.body());
    // What nobody here takes apart no SMS may show.
    let is_plain = decoded.is_some() || ["7bit", "8bit", "binary"].iter().any(is);
    Ok(MessageSubmitted {
        interworkable: (!is_plain).then_some(false),
        sent_at: message.date_time(),
        disposition: message.disposition().tokens().map(Text::from).collect(),
        imdn_route: message.way_back().iter().map(|hop| owned(hop)).collect(),
        headers: kept(message, decoded.is_some()),
        ..bare(id, message.content_type(), octets, sender, headers)?
    })
}

/// Content that came as it is, without an envelope: an event report for a user's clients.
///
/// # Errors
///
/// As [`submission`].
pub(super) fn bare(
    id: &str,
    content_type: &str,
    octets: &[u8],
    sender: &Sender<'_>,
    headers: &Headers,
) -> Result<MessageSubmitted<'static>, Denial> {
    let expires_seconds = headers.get("expires").map(|expires| {
        let wrong = "Expires is no whole number of seconds, as SIP has it";
        expires.parse().map_err(|_| Denial::bad("expires", wrong))
    });
    let text = std::str::from_utf8(octets).ok().map(|text| {
        // The line end that closes the envelope is none of the text.
        let is_text = is_type(content_type, "text/plain");
        owned(if is_text { text.trim_end_matches("\r\n") } else { text })
    });
    let header = |name: &str| headers.get(name).map(owned);
    Ok(MessageSubmitted {
        message_id: owned(id),
        from: owned(sender.address),
        kind: kind(content_type),
        content_type: owned(content_type),
        body_base64: text.is_none().then(|| owned(&STANDARD.encode(octets))),
        body: text,
        body_ref: None,
        size: Some(octets.len() as u64),
        sent_at: None,
        expires_at: None,
        expires_seconds: expires_seconds.transpose()?,
        disposition: Vec::new(),
        conversation_id: header("conversation-id"),
        contribution_id: header("contribution-id"),
        in_reply_to_contribution_id: header("inreplyto-contribution-id"),
        headers: BTreeMap::new(),
        asserted_from: sender.asserted.map(owned),
        anonymous: sender.anonymous,
        imdn_route: Vec::new(),
        interwork: Interwork::default(),
        interworkable: None,
        held_by: None,
        held_until: None,
        priority: None,
        class: None,
    })
}

/// The kind of a message: by the type inside its envelope.
pub(super) fn kind(content_type: &str) -> Kind {
    if is_type(content_type, imdn::MIME) {
        Kind::Imdn
    } else if evfw::is_event_report(content_type) {
        Kind::System
    } else {
        Kind::Pager
    }
}

fn owned(text: &str) -> Text<'static> {
    Text(Cow::Owned(text.to_owned()))
}

fn decoded(body: &[u8]) -> Result<Vec<u8>, Denial> {
    let text: Vec<u8> = body.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect();
    STANDARD.decode(text).map_err(|error| {
        Denial::bad("content", format!("the content is not the Base64 that it says it is: {error}"))
    })
}

/// What the envelope and the content say beside what has a field: it is restored on delivery (D-3).
fn kept(message: &Cpim, decoded: bool) -> BTreeMap<Text<'static>, Text<'static>> {
    let mut kept = BTreeMap::new();
    for name in ["Subject", "cc"] {
        if let Some(value) = message.values(CORE, name).next() {
            kept.insert(owned(name), owned(value));
        }
    }
    for (name, value) in message.content_headers() {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let has_field = is("Content-Type")
            || is("Content-Length")
            || (decoded && is("Content-Transfer-Encoding"));
        if !has_field {
            kept.insert(owned(name), owned(value));
        }
    }
    kept
}
