//! One header of a message: `prefix.Name:;parameter value`.
//!
//! Source: RFC 3862 2.1 to 2.4, 3.1 to 3.5.

/// A header. Its parts hold no line end and no other control character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    prefix: Box<str>,
    name: Box<str>,
    parameters: Box<str>,
    value: Box<str>,
}

impl Header {
    /// A header without prefix. Control characters of the value are written as escapes.
    #[must_use]
    pub fn new(name: &str, value: &str) -> Self {
        Self::prefixed("", name, value)
    }

    /// A header of the namespace that this prefix stands for.
    #[must_use]
    pub fn prefixed(prefix: &str, name: &str, value: &str) -> Self {
        let token = |text: &str| -> Box<str> { text.chars().filter(|c| is_name(*c)).collect() };
        let mut header = Self {
            prefix: token(prefix),
            name: token(name),
            parameters: "".into(),
            value: "".into(),
        };
        header.set(value);
        header
    }

    /// One that was read: its parts are sound.
    pub(super) fn sound(prefix: &str, name: &str, parameters: &str, value: &str) -> Self {
        Self {
            prefix: prefix.into(),
            name: name.into(),
            parameters: parameters.into(),
            value: value.into(),
        }
    }

    /// What its name begins with, without the dot; empty: none.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Its name, without the prefix.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What stands between the colon and the value, such as `;lang=fr`.
    #[must_use]
    pub fn parameters(&self) -> &str {
        &self.parameters
    }

    /// Its value as written.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Its value with escapes resolved, which is for text; addresses have escapes of their own.
    #[must_use]
    pub fn text(&self) -> String {
        unescaped(&self.value)
    }

    pub(super) fn set(&mut self, value: &str) {
        let mut out = String::with_capacity(value.len());
        for c in value.trim().chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => out.push(c),
            }
        }
        self.value = out.into();
    }

    /// The prefix and the namespace that an `NS` header declares; an empty prefix is that of names
    /// without any.
    pub(super) fn declares(&self) -> Option<(&str, &str)> {
        if !self.prefix.is_empty() || !self.name.eq_ignore_ascii_case("NS") {
            return None;
        }
        let (prefix, rest) = self.value.split_once('<')?;
        Some((prefix.trim(), rest.split_once('>')?.0.trim()))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if !self.prefix.is_empty() {
            out.extend_from_slice(self.prefix.as_bytes());
            out.push(b'.');
        }
        for part in [&*self.name, ":", &*self.parameters, " ", &*self.value, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

/// A name for people, and an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// The name, without quotes and escapes.
    pub name: Option<Box<str>>,
    /// The URI, without brackets. Whether it is a user's: [`crate::domain::address::Address`].
    pub uri: Box<str>,
}

impl Party {
    /// The party of a header's value: `"Alice" <sip:alice@example.org>`, or an URI alone.
    #[must_use]
    pub fn of(value: &str) -> Self {
        // A bracket in a quoted name opens nothing.
        let (mut quoted, mut escaped) = (false, false);
        let open = value.find(|c| {
            quoted ^= c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            c == '<' && !quoted
        });
        let Some((name, rest)) = open.and_then(|open| value.split_at_checked(open)) else {
            return Self { name: None, uri: value.trim().into() };
        };
        let uri = rest.trim_start_matches('<').split('>').next().unwrap_or_default().trim();
        let name = name.trim();
        let bare = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
        let name = Some(unescaped(bare)).filter(|name| !name.is_empty());
        Self { name: name.map(Into::into), uri: uri.into() }
    }
}

/// Whether a header's name may have this character.
pub(super) fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-^_`|~".contains(c)
}

/// Text without its escapes. What escapes nothing stays as it is.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let mut ahead = after.chars();
        let plain = match ahead.next() {
            Some('b') => Some('\u{8}'),
            Some('t') => Some('\t'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some(same @ ('"' | '\'' | '\\')) => Some(same),
            Some('u') => {
                let code = after.get(1..5).and_then(|digits| u32::from_str_radix(digits, 16).ok());
                let found = code.and_then(char::from_u32);
                if found.is_some() {
                    ahead = after.get(5..).unwrap_or_default().chars();
                }
                found
            }
            Some(_) | None => None,
        };
        match plain {
            Some(c) => {
                out.push(c);
                rest = ahead.as_str();
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}
