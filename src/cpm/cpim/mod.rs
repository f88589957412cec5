//! `message/cpim`: the envelope that a message travels in, and what its sender wants to hear of it.
//!
//! ```text
//! From: <sip:alice@example.org>            headers of the message, none folded
//! NS: imdn <urn:ietf:params:imdn>          what the prefix imdn means from here on
//! imdn.Message-ID: m1
//!                                          a blank line
//! Content-Type: text/plain                 headers of the content, as MIME has them
//!                                          a blank line
//! Hello                                    the content
//! ```
//!
//! Read tolerantly (LF alone ends a line, names in any case, `imdn.` without its `NS`), written strictly.
//! What we do not know stays where it stands.
//!
//! Source: RFC 3862 2 to 5; RFC 5438 6.3 and 8; `rules.md` A-9, A-21, A-23, IMDN-1, IMDN-10.

mod header;
mod read;

use crate::domain::message::Dispositions;
use crate::domain::time::Timestamp;

pub use header::{Header, Party};
pub use read::read;

/// The MIME type of the envelope.
pub const MIME: &str = "message/cpim";

/// The namespace of the headers of RFC 5438.
pub const IMDN: &str = "urn:ietf:params:imdn";

/// The namespace of the headers of RFC 3862 itself.
pub const CORE: &str = "urn:ietf:params:cpim-headers:";

/// A message in its envelope. Equal values are written as equal octets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpim {
    headers: Vec<Header>,
    content_headers: Vec<(Box<str>, Box<str>)>,
    body: Vec<u8>,
}

impl Cpim {
    /// An envelope without content, from one URI to another.
    #[must_use]
    pub fn new(from: &str, to: &str) -> Self {
        let uri = |uri: &str| format!("<{uri}>");
        let headers = vec![Header::new("From", &uri(from)), Header::new("To", &uri(to))];
        Self { headers, ..Self::default() }
    }

    /// The headers of the message, in order.
    #[must_use]
    pub fn headers(&self) -> &[Header] {
        &self.headers
    }

    /// The values of a header, in order, as written: escapes are still in them.
    pub fn values<'c>(
        &'c self,
        namespace: &'c str,
        name: &'c str,
    ) -> impl Iterator<Item = &'c str> {
        self.places(namespace, name)
            .into_iter()
            .filter_map(|at| self.headers.get(at))
            .map(Header::value)
    }

    /// Who sent it. Only whom a network authenticated may be believed; this is what was written.
    #[must_use]
    pub fn from(&self) -> Option<Party> {
        self.values(CORE, "From").next().map(Party::of)
    }

    /// Whom it is for.
    #[must_use]
    pub fn to(&self) -> Vec<Party> {
        self.values(CORE, "To").map(Party::of).collect()
    }

    /// When it was sent, if that is a time.
    #[must_use]
    pub fn date_time(&self) -> Option<Timestamp> {
        self.values(CORE, "DateTime").next()?.parse().ok()
    }

    /// The id that its sender gave it: our key (RFC 5438 6.3).
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        self.values(IMDN, "Message-ID").next().filter(|id| !id.is_empty())
    }

    /// What its sender wants to hear (IMDN-1).
    #[must_use]
    pub fn disposition(&self) -> Dispositions {
        let lists = self.values(IMDN, "Disposition-Notification");
        Dispositions::of(lists.flat_map(|list| list.split(',')))
    }

    /// Takes the delivery values out of the wishes and leaves `display`, and what we do not know; a
    /// header left empty goes. What was asked for before (A-21, SEED0-56.1).
    pub fn strip_delivery(&mut self) -> Dispositions {
        const OUT: [&str; 4] =
            ["positive-delivery", "negative-delivery", "processing", "interworking"];
        let asked = self.disposition();
        let places = self.places(IMDN, "Disposition-Notification");
        for at in places.into_iter().rev() {
            let Some(header) = self.headers.get_mut(at) else { continue };
            let left: Vec<&str> = header
                .value()
                .split(',')
                .map(str::trim)
                .filter(|token| !OUT.iter().any(|out| token.eq_ignore_ascii_case(out)))
                .filter(|token| !token.is_empty())
                .collect();
            if left.is_empty() {
                self.headers.remove(at);
            } else {
                let left = left.join(", ");
                header.set(&left);
            }
        }
        asked
    }

    /// Asks for exactly this, whatever was asked for before (A-9).
    pub fn ask(&mut self, wishes: Dispositions) {
        for at in self.places(IMDN, "Disposition-Notification").into_iter().rev() {
            self.headers.remove(at);
        }
        let tokens: Vec<&str> = wishes.tokens().collect();
        if !tokens.is_empty() {
            self.imdn("Disposition-Notification", &tokens.join(", "));
        }
    }

    /// Those who want IMDNs about it to pass by them, in the order in which they took part.
    #[must_use]
    pub fn record_route(&self) -> Vec<Party> {
        self.values(IMDN, "IMDN-Record-Route").map(Party::of).collect()
    }

    /// Has IMDNs about it pass by us (A-9): we took part after all that stand there.
    pub fn add_record_route(&mut self, uri: &str) {
        self.imdn("IMDN-Record-Route", &format!("<{uri}>"));
    }

    /// The way that an IMDN about it takes: back along those who recorded themselves.
    #[must_use]
    pub fn way_back(&self) -> Vec<Box<str>> {
        self.record_route().into_iter().rev().map(|party| party.uri).collect()
    }

    /// Where it must pass by yet.
    #[must_use]
    pub fn route(&self) -> Vec<Party> {
        self.values(IMDN, "IMDN-Route").map(Party::of).collect()
    }

    /// Adds a header of RFC 5438, and its namespace where that is not said yet.
    pub fn imdn(&mut self, name: &str, value: &str) {
        let prefix = match self.prefix_of(IMDN) {
            Some(prefix) => prefix,
            None => {
                self.headers.push(Header::new("NS", &format!("imdn <{IMDN}>")));
                "imdn".into()
            }
        };
        self.headers.push(Header::prefixed(&prefix, name, value));
    }

    /// Adds a header of RFC 3862.
    pub fn add(&mut self, header: Header) {
        self.headers.push(header);
    }

    /// The headers of the content, in order; folded ones in one line.
    #[must_use]
    pub fn content_headers(&self) -> &[(Box<str>, Box<str>)] {
        &self.content_headers
    }

    /// A header of the content; its name in any case of letters.
    #[must_use]
    pub fn content_header(&self, name: &str) -> Option<&str> {
        let found = self.content_headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| &**value)
    }

    /// The MIME type of the content, parameters included. Where none is said it is text.
    #[must_use]
    pub fn content_type(&self) -> &str {
        self.content_header("Content-Type").unwrap_or("text/plain")
    }

    /// Whether the content is an IMDN: by the type inside, whatever the request's own type (A-23).
    #[must_use]
    pub fn is_imdn(&self) -> bool {
        super::is_type(self.content_type(), super::imdn::MIME)
    }

    /// The content. Octets: its type says what they are.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Sets the content. Header values are written in one line.
    pub fn set_content(&mut self, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) {
        let line = |text: &str| -> Box<str> { text.replace(char::is_control, " ").trim().into() };
        self.content_headers =
            headers.iter().map(|(name, value)| (line(name), line(value))).collect();
        self.body = body.into();
    }

    /// The octets.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + 512);
        for header in &self.headers {
            header.write(&mut out);
        }
        out.extend_from_slice(b"\r\n");
        for (name, value) in &self.content_headers {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
        out
    }

    /// Where the headers of this namespace and name stand. A prefix means what the last `NS` before it
    /// says; `imdn` is known without one.
    fn places(&self, namespace: &str, name: &str) -> Vec<usize> {
        let mut known = vec![("", CORE), ("imdn", IMDN)];
        let mut places = Vec::new();
        for (at, header) in self.headers.iter().enumerate() {
            if let Some((prefix, uri)) = header.declares() {
                known.push((prefix, uri));
            }
            let means = known.iter().rev().find(|(prefix, _)| *prefix == header.prefix());
            if means.is_some_and(|(_, uri)| *uri == namespace)
                && header.name().eq_ignore_ascii_case(name)
            {
                places.push(at);
            }
        }
        places
    }

    /// A prefix that means this namespace at the end of the headers, said in so many words.
    fn prefix_of(&self, namespace: &str) -> Option<Box<str>> {
        let mut known: Vec<(&str, &str)> = Vec::new();
        for (prefix, uri) in self.headers.iter().filter_map(Header::declares) {
            known.retain(|(other, _)| *other != prefix);
            known.push((prefix, uri));
        }
        known.iter().find(|(_, uri)| *uri == namespace).map(|(prefix, _)| (*prefix).into())
    }
}

#[cfg(test)]
mod tests;
