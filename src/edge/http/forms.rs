//! In which form events come: by content type and headers, one or many, each as bytes of its own.
//!
//! Source: CloudEvents 1.0.2, HTTP binding 3.1 to 3.3 and 3.1.3.2 (percent-encoded headers).

use std::ops::ControlFlow;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::refusal::Refusal;
use crate::record::envelope::Envelope;
use crate::record::input::Rejected;

/// What is read.
const READ: &str = "application/cloudevents+json, application/cloudevents-batch+json, \
                    application/json, application/x-ndjson";

/// How a body holds its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One, structured.
    One,
    /// An array of them.
    Batch,
    /// An object is one, an array many.
    Either,
    /// One a line.
    Lines,
    /// Its attributes are headers, the body its data.
    Binary,
}

/// The form of a request with these headers.
///
/// # Errors
///
/// Nothing here reads its type.
pub(super) fn form_of(headers: &HeaderMap) -> Result<Form, Refusal> {
    let binary = headers.keys().any(|name| name.as_str().starts_with("ce-"));
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return if binary { Ok(Form::Binary) } else { Err(unread("none")) };
    };
    let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    let (essence, parameters) = text.split_once(';').unwrap_or((&text, ""));
    let charset = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
    let mut charset = charset.filter(|(name, _)| name.trim() == "charset");
    let other = charset
        .any(|(_, value)| !["utf-8", "utf8", "us-ascii"].contains(&value.trim().trim_matches('"')));
    if other {
        return Err(unread(&text));
    }
    match essence.trim() {
        "application/cloudevents+json" => Ok(Form::One),
        "application/cloudevents-batch+json" => Ok(Form::Batch),
        "application/json" | "text/json" if binary => Ok(Form::Binary),
        "application/json" | "text/json" => Ok(Form::Either),
        "application/x-ndjson"
        | "application/ndjson"
        | "application/jsonl"
        | "application/x-jsonlines" => Ok(Form::Lines),
        essence => Err(unread(essence)),
    }
}

fn unread(found: &str) -> Refusal {
    let found: String = found.chars().take(100).collect();
    let words = format!(
        "content type `{found}` is not read; send one of {READ} (in UTF-8), or `ce-` headers with \
         JSON as the body"
    );
    Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", words)
        .header(header::ACCEPT, HeaderValue::from_static(READ))
}

/// Hands each event of a body to `each`, with its index, until that has seen enough.
///
/// # Errors
///
/// The index at which the body cannot be taken apart, and why.
pub(super) fn apart(
    form: Form,
    headers: &HeaderMap,
    body: &[u8],
    mut each: impl FnMut(usize, &[u8]) -> ControlFlow<()>,
) -> Result<(), (usize, Rejected)> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    match form {
        Form::Either if first != Some(&b'[') => drop(each(0, body)),
        Form::One => drop(each(0, body)),
        Form::Batch if first != Some(&b'[') => {
            let words = "no array, expected [{…}, …] in a batch".to_owned();
            return Err((0, Rejected::NotCloudEvent(words)));
        }
        Form::Batch | Form::Either => return array(body, &mut each),
        Form::Lines => {
            let lines = body.split(|byte| *byte == b'\n');
            let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
            let lines = lines.filter(|line| !line.iter().all(u8::is_ascii_whitespace));
            let _: ControlFlow<()> =
                lines.enumerate().try_for_each(|(index, line)| each(index, line));
        }
        Form::Binary => {
            let attributes = headers.iter().filter_map(|(name, value)| {
                let name = name.as_str();
                name.starts_with("ce-").then(|| (name, decoded(value.as_bytes())))
            });
            let attributes: Vec<(&str, Vec<u8>)> = attributes.collect();
            let attributes = attributes.iter().map(|(name, value)| (*name, value.as_slice()));
            let event = Envelope::from_binary(attributes, body).map_err(|why| (0, why))?;
            let _: ControlFlow<()> = each(0, &event);
        }
    }
    Ok(())
}

/// The events of an array, without a copy of any.
fn array(
    body: &[u8],
    each: &mut dyn FnMut(usize, &[u8]) -> ControlFlow<()>,
) -> Result<(), (usize, Rejected)> {
    let text = std::str::from_utf8(body)
        .map_err(|error| (0, Rejected::NotUtf8 { at: error.valid_up_to() }))?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let (mut count, mut enough) = (0, false);
    let items = Items { each, count: &mut count, enough: &mut enough };
    let read = items.deserialize(&mut reader).and_then(|()| reader.end());
    match read {
        Err(error) if !enough => Err((count, Rejected::NotJson(error.to_string()))),
        Ok(()) | Err(_) => Ok(()),
    }
}

struct Items<'e> {
    each: &'e mut dyn FnMut(usize, &[u8]) -> ControlFlow<()>,
    count: &'e mut usize,
    enough: &'e mut bool,
}

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<&RawValue>()? {
            let flow = (self.each)(*self.count, item.get().as_bytes());
            *self.count += 1;
            if flow.is_break() {
                *self.enough = true;
                // Only an error ends the reading of an array before its end.
                return Err(serde::de::Error::custom("enough"));
            }
        }
        Ok(())
    }
}

/// A header's value without its percent-encoding; what only looks like one stays.
fn decoded(value: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((byte, after)) = rest.split_first() {
        let octet = after.first_chunk::<2>().filter(|_| *byte == b'%').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            let hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            hex.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
        });
        plain.push(octet.unwrap_or(*byte));
        rest = if octet.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let lines = lines.iter().map(|(name, value)| {
            (axum::http::HeaderName::from_static(name), value.parse().unwrap())
        });
        lines.collect()
    }

    fn parts(
        form: Form,
        headers: &HeaderMap,
        body: &str,
    ) -> Result<Vec<String>, (usize, Rejected)> {
        let mut all = Vec::new();
        apart(form, headers, body.as_bytes(), |index, event| {
            assert_eq!(index, all.len());
            all.push(String::from_utf8(event.to_vec()).unwrap());
            ControlFlow::Continue(())
        })?;
        Ok(all)
    }

    #[test]
    fn the_form_is_told_by_type_and_headers() {
        let of = |lines: &[(&'static str, &str)]| form_of(&headers(lines)).ok();
        let json = ("content-type", "application/json; charset=UTF-8");
        assert_eq!(of(&[json]), Some(Form::Either));
        assert_eq!(of(&[json, ("ce-id", "1")]), Some(Form::Binary));
        assert_eq!(of(&[("ce-id", "1")]), Some(Form::Binary));
        let structured = ("content-type", "application/cloudevents+json");
        assert_eq!(of(&[structured, ("ce-id", "1")]), Some(Form::One));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("content-type", "application/json; charset=latin1")]), None);
        assert_eq!(of(&[("content-type", "application/x-www-form-urlencoded")]), None);
    }

    #[test]
    fn every_form_comes_apart() {
        let none = HeaderMap::new();
        assert_eq!(parts(Form::Either, &none, " {\"a\":1}").unwrap(), [" {\"a\":1}"]);
        let two = "[ {\"a\": [1, 2]} ,\n{} ]";
        assert_eq!(parts(Form::Either, &none, two).unwrap(), ["{\"a\": [1, 2]}", "{}"]);
        assert_eq!(parts(Form::Batch, &none, "[]").unwrap(), [""; 0]);
        assert!(matches!(parts(Form::Batch, &none, "{}"), Err((0, Rejected::NotCloudEvent(_)))));
        let cut = parts(Form::Batch, &none, "[{},{},{\"a\":");
        assert!(matches!(cut, Err((2, Rejected::NotJson(_)))), "{cut:?}");
        assert!(matches!(parts(Form::Batch, &none, "[{}]x"), Err((1, Rejected::NotJson(_)))));
        let lines = "\u{feff}{}\r\n\r\n  \n[]\n";
        assert_eq!(parts(Form::Lines, &none, lines).unwrap(), ["{}", "[]"]);
        let binary = headers(&[("ce-id", "a%20%22b%C3%A9"), ("ce-source", "100%"), ("host", "x")]);
        assert_eq!(
            parts(Form::Binary, &binary, "{\"x\":1}").unwrap(),
            ["{\"id\":\"a \\\"bé\",\"source\":\"100%\",\"data\":{\"x\":1}}"]
        );
    }
}
