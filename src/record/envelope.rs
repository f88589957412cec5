//! CloudEvents 1.0, structured and binary: who says what about whom, when.
//!
//! Source: CloudEvents 1.0.2, JSON format, HTTP and Kafka bindings (`ce-` and `ce_` headers).

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::fault::told;
use super::input::Rejected;
use crate::domain::input::Text;
use crate::domain::time::{Timestamp, rfc3339};

/// How deep JSON may be nested.
const MAX_DEPTH: u32 = 64;
/// Bytes that are looked at together: one kind of them can be counted in a byte.
const MANY: usize = 128;

/// A CloudEvent in structured form, borrowed from its bytes; `data` is read by its type, later.
#[derive(Debug, Deserialize, Serialize)]
pub struct Envelope<'a> {
    /// `1.0`.
    #[serde(borrow)]
    pub specversion: Text<'a>,
    /// Its name at its source.
    #[serde(borrow)]
    pub id: Text<'a>,
    /// Who says it.
    #[serde(borrow)]
    pub source: Text<'a>,
    /// What kind of fact it is, with its version.
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    /// The user, in any form.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Text<'a>>,
    /// When it was observed.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// Its number at its probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Number>,
    /// How often its probe was restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probeepoch: Option<Number>,
    /// What it says.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a RawValue>,
    /// Present where a sender encoded its data, which none of ours needs.
    #[serde(borrow, default, skip_serializing)]
    pub data_base64: Option<&'a RawValue>,
}

/// A whole number, written as one or as text of digits; text of anything else orders nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Number(pub Option<u64>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl serde::de::Visitor<'_> for Either {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, or its digits as text")
            }
            fn visit_u64<E>(self, number: u64) -> Result<Number, E> {
                Ok(Number(Some(number)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Number, E> {
                Ok(Number(text.trim().parse().ok()))
            }
        }
        from.deserialize_any(Either)
    }
}

impl<'a> Envelope<'a> {
    /// Reads one structured CloudEvent.
    ///
    /// # Errors
    ///
    /// [`Rejected`]: what is wrong, and what was expected.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Rejected> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| Rejected::NotUtf8 { at: error.valid_up_to() })?;
        Self::read_text(text)
    }

    /// The same of what is known to be text.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_text(text: &'a str) -> Result<Self, Rejected> {
        if is_deeper_than(text.as_bytes(), MAX_DEPTH) {
            return Err(Rejected::TooDeep { most: MAX_DEPTH });
        }
        // Serde would take an array for an object.
        if text.trim_start().starts_with('[') {
            return Err(Rejected::NotCloudEvent("an array, expected one object".to_owned()));
        }
        let envelope: Self =
            serde_json::from_str(text).map_err(|error| match error.classify() {
                serde_json::error::Category::Data => Rejected::NotCloudEvent(told(text, &error)),
                serde_json::error::Category::Syntax
                | serde_json::error::Category::Eof
                | serde_json::error::Category::Io => Rejected::NotJson(error.to_string()),
            })?;
        if *envelope.specversion != *"1.0" {
            return Err(Rejected::SpecVersion(envelope.specversion.0.into_owned()));
        }
        if envelope.data_base64.is_some() {
            return Err(Rejected::NotCloudEvent(
                "data_base64 is not read: put the JSON into data".to_owned(),
            ));
        }
        for (name, value) in
            [("id", &envelope.id), ("source", &envelope.source), ("type", &envelope.kind)]
        {
            if value.is_empty() {
                return Err(Rejected::NotCloudEvent(format!("{name} is empty")));
            }
        }
        Ok(envelope)
    }

    /// The same event in structured form, from binary mode: attributes in `ce_…` or `ce-…` headers,
    /// data as the body. Other headers are ignored.
    ///
    /// # Errors
    ///
    /// [`Rejected`], where a header is not UTF-8 or the body is not JSON.
    pub fn from_binary<'h>(
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
        body: &[u8],
    ) -> Result<Vec<u8>, Rejected> {
        let mut event = serde_json::Map::new();
        for (name, value) in headers {
            let lower = name.to_ascii_lowercase();
            let Some(attribute) = lower.strip_prefix("ce_").or_else(|| lower.strip_prefix("ce-"))
            else {
                continue;
            };
            let value = std::str::from_utf8(value)
                .map_err(|error| Rejected::NotUtf8 { at: error.valid_up_to() })?;
            event.insert(attribute.to_owned(), value.into());
        }
        let text = std::str::from_utf8(body)
            .map_err(|error| Rejected::NotUtf8 { at: error.valid_up_to() })?;
        if is_deeper_than(body, MAX_DEPTH) {
            return Err(Rejected::TooDeep { most: MAX_DEPTH });
        }
        if !text.trim().is_empty() {
            let data: &RawValue =
                serde_json::from_str(text).map_err(|error| Rejected::NotJson(error.to_string()))?;
            let head = serde_json::to_string(&event)
                .map_err(|error| Rejected::NotJson(error.to_string()))?;
            let head = head.strip_suffix('}').unwrap_or(&head);
            let comma = if event.is_empty() { "" } else { "," };
            return Ok(format!("{head}{comma}\"data\":{}}}", data.get()).into_bytes());
        }
        serde_json::to_vec(&event).map_err(|error| Rejected::NotJson(error.to_string()))
    }

    /// Its number among its probe's facts, if it has both parts.
    #[must_use]
    pub fn order(&self) -> Option<(u64, u64)> {
        Some((self.probeepoch?.0?, self.sequence?.0?))
    }

    /// What it says; nothing said is an empty object.
    #[must_use]
    pub fn data(&self) -> &'a str {
        self.data.map_or("{}", RawValue::get)
    }
}

/// Whether brackets are nested deeper than `most`. Strings are skipped; one pass, and none at all where
/// there are not that many brackets.
fn is_deeper_than(json: &[u8], most: u32) -> bool {
    // Counted in bytes, block by block, as the processor does many at once.
    let opening = json.chunks(MANY).map(|block| {
        block.iter().fold(0_u8, |sum, byte| sum + u8::from(matches!(byte, b'{' | b'[')))
    });
    if opening.map(u32::from).sum::<u32>() <= most {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_u32, false, false);
    for byte in json {
        match (in_string, escaped, byte) {
            (true, true, _) => escaped = false,
            (true, false, b'\\') => escaped = true,
            (true, false, b'"') => in_string = false,
            (true, false, _) => {}
            (false, _, b'"') => in_string = true,
            (false, _, b'{' | b'[') => {
                depth += 1;
                if depth > most {
                    return true;
                }
            }
            (false, _, b'}' | b']') => depth = depth.saturating_sub(1),
            (false, _, _) => {}
        }
    }
    false
}

/// The same JSON on one line, as a record of ours has it: a line end can only stand between its tokens.
#[must_use]
pub fn one_line(json: &[u8]) -> Cow<'_, [u8]> {
    if !json.contains(&b'\n') && !json.contains(&b'\r') {
        return Cow::Borrowed(json);
    }
    json.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect()
}

/// A short name as text, in a block that need not grow while it is written.
pub fn text(name: impl fmt::Display) -> String {
    let mut text = String::with_capacity(64);
    write!(text, "{name}").expect("a String takes all");
    text
}

/// Text for a record of ours.
pub(super) fn cow(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both modes are one event.
    #[test]
    fn binary_mode_reads_as_structured() {
        let headers: [(&str, &[u8]); 5] = [
            ("ce_specversion", b"1.0"),
            ("ce_id", b"7"),
            ("ce-source", b"/probe/a"),
            ("CE_Type", b"cpm.cs.attached.v1"),
            ("content-type", b"application/json"),
        ];
        let bytes = Envelope::from_binary(headers, br#"{"node":"msc1"}"#).unwrap();
        let event = Envelope::read(&bytes).unwrap();

        assert_eq!((&*event.id, &*event.source), ("7", "/probe/a"));
        assert_eq!(event.data(), r#"{"node":"msc1"}"#);
    }

    #[test]
    fn depth_is_counted_outside_strings() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert!(is_deeper_than(deep.as_bytes(), 64));
        assert!(!is_deeper_than(format!("[\"{deep}\\\"[\"]").as_bytes(), 64));
        assert!(matches!(Envelope::read(deep.as_bytes()), Err(Rejected::TooDeep { most: 64 })));
    }

    #[test]
    fn a_sequence_is_a_number_or_digits() {
        let read = |sequence: &str| {
            let json = format!(
                r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","probeepoch":"2","sequence":{sequence}}}"#
            );
            Envelope::read(json.as_bytes()).map(|event| event.order()).ok()
        };
        assert_eq!(read("9"), Some(Some((2, 9))));
        assert_eq!(read("\"0009\""), Some(Some((2, 9))));
        assert_eq!(read("\"a\""), Some(None));
        assert_eq!(read("-1"), None);
    }
}
