//! As much of SIP's syntax as a REGISTER and its answer need.
//!
//! A stranger's packet is read here, so nothing is refused that can be read around.
//!
//! Source: RFC 3261 7.3, 20.10, 25.1; RFC 3840 9 for feature tags.

use crate::domain::address::{contact_key, instance_key};

/// The header fields of a message, in order.
#[derive(Debug)]
pub(super) struct Headers<'a>(Vec<(&'a str, String)>);

impl<'a> Headers<'a> {
    /// Reads up to the first blank line. A line that begins with a blank continues the one before.
    pub(super) fn parse(text: &'a str) -> Self {
        let mut fields: Vec<(&str, String)> = Vec::new();
        for line in text.lines().take_while(|line| !line.is_empty()) {
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = fields.last_mut() {
                    value.push(' ');
                    value.push_str(line.trim());
                }
            } else if let Some((name, value)) = line.split_once(':') {
                fields.push((name.trim(), value.trim().to_owned()));
            }
        }
        Self(fields)
    }

    /// The first value of the field.
    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// Every field of that name, or of its compact form.
    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let compact = match name {
            "Call-ID" => "i",
            "Contact" => "m",
            "From" => "f",
            "To" => "t",
            _ => name,
        };
        let is = move |found: &str| {
            found.eq_ignore_ascii_case(name) || found.eq_ignore_ascii_case(compact)
        };
        self.0.iter().filter(move |(found, _)| is(found)).map(|(_, value)| value.as_str())
    }

    /// The addresses of all fields of that name, which may hold several each.
    pub(super) fn addresses(&self, name: &str) -> Vec<NameAddr> {
        self.values(name).flat_map(|value| split(value, ',')).filter_map(NameAddr::parse).collect()
    }
}

/// `"Display" <uri>;name=value`, or the same without brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NameAddr {
    pub(super) uri: String,
    params: Vec<(String, String)>,
}

impl NameAddr {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (uri, params) = match outside_quotes(text).find(|(_, letter)| *letter == '<') {
            Some((open, _)) => {
                let rest = text.get(open + 1..)?;
                rest.split_once('>')?
            }
            // Without brackets, what follows the first semicolon belongs to the field, not to the
            // URI.
            None => text.split_once(';').unwrap_or((text, "")),
        };
        let params = split(params, ';')
            .filter(|param| !param.is_empty())
            .map(|param| {
                let (name, value) = param.split_once('=').unwrap_or((param, ""));
                (name.trim().to_ascii_lowercase(), unquoted(value).to_owned())
            })
            .collect();
        Some(Self { uri: uri.trim().to_owned(), params }).filter(|address| !address.uri.is_empty())
    }

    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Seconds granted to the contact, or asked for.
    pub(super) fn expires(&self) -> Option<u64> {
        self.param("expires")?.parse().ok()
    }

    /// `+sip.instance` without its brackets; none where it is no URN.
    pub(super) fn instance(&self) -> Option<String> {
        instance_key(self.param("+sip.instance")?)
    }

    pub(super) fn reg_id(&self) -> Option<u32> {
        self.param("reg-id")?.parse().ok()
    }

    /// The URI without parameters, which change with the transport.
    pub(super) fn contact(&self) -> String {
        contact_key(&self.uri).unwrap_or_else(|| self.uri.clone())
    }

    /// The feature tags, decoded: services by their URN, other tags by name and value.
    pub(super) fn features(&self) -> Vec<String> {
        let mut features = Vec::new();
        for (name, value) in &self.params {
            match name.as_str() {
                "+sip.instance" | "+sip.reg-id" => {}
                "+g.3gpp.icsi-ref" | "+g.3gpp.iari-ref" => {
                    features.extend(value.split(',').map(|urn| percent_decoded(urn.trim())));
                }
                tag if tag.starts_with('+') && value.is_empty() => features.push(tag.to_owned()),
                tag if tag.starts_with('+') => {
                    features.push(format!("{tag}={}", percent_decoded(value)));
                }
                _ => {}
            }
        }
        features
    }
}

/// Parts between `at`, where it is neither quoted nor in angle brackets.
fn split(text: &str, at: char) -> impl Iterator<Item = &str> {
    let cuts = outside_quotes(text).scan(0_usize, |depth, (place, letter)| {
        match letter {
            '<' => *depth += 1,
            '>' => *depth = depth.saturating_sub(1),
            _ => {}
        }
        Some((place, letter, *depth))
    });
    let mut places: Vec<usize> = cuts
        .filter(|(_, letter, depth)| *letter == at && *depth == 0)
        .map(|(place, ..)| place)
        .collect();
    places.push(text.len());
    let mut from = 0;
    places.into_iter().filter_map(move |to| {
        let part = text.get(from..to);
        from = to + at.len_utf8();
        part.map(str::trim)
    })
}

/// The letters that no quotes enclose, with their places.
fn outside_quotes(text: &str) -> impl Iterator<Item = (usize, char)> {
    let mut quoted = false;
    let mut escaped = false;
    text.char_indices().filter(move |(_, letter)| {
        if escaped {
            escaped = false;
            return false;
        }
        match letter {
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => return !quoted,
        }
        false
    })
}

pub(super) fn unquoted(text: &str) -> &str {
    text.trim().trim_matches('"')
}

/// `%3A` to `:`; what is no such pair stays.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let pair = (first == b'%').then(|| tail.get(..2)).flatten();
        let byte = pair
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(value: &str) -> Vec<NameAddr> {
        Headers::parse(&format!("Contact: {value}\r\n")).addresses("Contact")
    }

    #[test]
    fn contacts_are_split_outside_quotes_and_brackets() {
        let contacts = addresses(
            "\"Doe, \\\"J\\\"\" <sip:a,b@h;x=1>;expires=60;pub-gruu=\"sip:a@h;gr=u,v\", sip:c@h;q=1",
        );

        let uris: Vec<_> = contacts.iter().map(|contact| contact.uri.as_str()).collect();
        assert_eq!(uris, ["sip:a,b@h;x=1", "sip:c@h"]);
        assert_eq!(contacts[0].contact(), "sip:a,b@h");
        assert_eq!(contacts[0].expires(), Some(60));
        assert_eq!(contacts[0].param("pub-gruu"), Some("sip:a@h;gr=u,v"));
        assert_eq!(contacts[1].param("q"), Some("1"));
    }

    #[test]
    fn feature_tags_are_decoded() {
        let contacts = addresses(
            "<sip:a@h>;+sip.instance=\"<urn:gsma:imei:35622410-483840-0>\";reg-id=2;\
             +g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg,urn%3aurn-7%zz\";\
             +G.3GPP.smsip;+g.oma.sip-im=\"x\";audio",
        );

        assert_eq!(contacts[0].instance(), Some("urn:gsma:imei:35622410-483840-0".to_owned()));
        assert_eq!(contacts[0].reg_id(), Some(2));
        assert_eq!(
            contacts[0].features(),
            [
                "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg",
                "urn:urn-7%zz",
                "+g.3gpp.smsip",
                "+g.oma.sip-im=x"
            ]
        );
    }

    #[test]
    fn headers_may_be_compact_folded_and_followed_by_a_body() {
        let headers =
            Headers::parse("i: 1@h\r\nm: <sip:a@h>\r\n ;expires=5\r\n\r\nTo: <sip:b@h>\r\n");

        assert_eq!(headers.first("Call-ID"), Some("1@h"));
        assert_eq!(headers.addresses("Contact")[0].expires(), Some(5));
        assert_eq!(headers.first("To"), None);
    }

    #[test]
    fn nothing_panics() {
        for text in ["", ";", "<", ">", "<>", "\"", "\\", "<sip:é>;é=%é", "*", ",,;;", "a\"<b>;c"]
        {
            for contact in addresses(text) {
                let _ = (contact.features(), contact.instance(), contact.contact());
            }
        }
    }
}
