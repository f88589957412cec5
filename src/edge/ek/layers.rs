//! One line of `tshark -T ek` as the signalling messages that share its packet.
//!
//! tshark writes a packet in two shapes, and both are read here. With `-e` it is a flat object of
//! arrays, `"sip_msg_hdr": ["…"]`; without, an object a protocol layer, whose field names carry
//! their protocol twice, `"sip": {"sip_sip_msg_hdr": "…"}`. Every other line is an Elasticsearch
//! action.
//!
//! Source: `tshark(1)` 4.0, `-T ek`.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::domain::time::Timestamp;

use super::fields::FIELDS;

/// The prefixes that the layered shape puts before a field's name.
const PARENTS: &[&str] = &[
    "tcp_",
    "sip_",
    "m3ua_",
    "mtp3_",
    "sccp_",
    "tcap_",
    "gsm_map_",
    "e212_",
    "e164_",
    "diameter_",
    "gsup_",
    "smpp_",
];

/// Why a line is not a packet.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadLine {
    /// Somebody else's file, or a line cut short.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// Longer than we read.
    #[error("{found} bytes long, and {limit} are read")]
    TooLong {
        /// Its length in bytes.
        found: usize,
        /// [`Limits::line_bytes`](super::Limits::line_bytes).
        limit: usize,
    },
    /// JSON, but not what `-T ek` writes.
    #[error("no {0}: expected a line of tshark -T ek")]
    NotEk(&'static str),
}

/// Whose message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Sip,
    Map,
    Diameter,
    Gsup,
    Smpp,
}

/// A packet: when it was seen, and its messages.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) at: Timestamp,
    pub(super) messages: Vec<Message>,
    /// Messages that share the packet in the flat shape, so that nobody knows whose field is whose.
    pub(super) mixed: usize,
}

/// One message and its fields, by the names of [`FIELDS`].
#[derive(Debug)]
pub(super) struct Message {
    pub(super) protocol: Protocol,
    fields: HashMap<&'static str, Vec<String>>,
}

impl Message {
    /// Every value of the field, in the order of the packet.
    pub(super) fn all(&self, field: &str) -> &[String] {
        debug_assert!(FIELDS.contains(&field), "{field} is not asked of tshark");
        self.fields.get(field).map_or(&[], Vec::as_slice)
    }

    /// The field's value where it has one, and one only: repeats of the same are one.
    pub(super) fn one(&self, field: &str) -> Option<&str> {
        let (first, rest) = self.all(field).split_first()?;
        rest.iter().all(|other| other == first).then_some(first.as_str())
    }

    /// The same as a number, which tshark writes in decimal or, for flags and ids, in hexadecimal.
    pub(super) fn number(&self, field: &str) -> Option<u64> {
        number(self.one(field)?)
    }

    /// Whether the field is there, with a value or without.
    pub(super) fn has(&self, field: &str) -> bool {
        !self.all(field).is_empty()
    }

    /// The field's bytes as hexadecimal digits; the layered shape has colons between them.
    pub(super) fn hex(&self, field: &str) -> Option<String> {
        Some(self.one(field)?.replace(':', ""))
    }
}

/// Knows the fields by the names that tshark gives them in JSON.
#[derive(Debug)]
pub(super) struct Reader {
    names: HashMap<String, &'static str>,
    line_bytes: usize,
}

impl Reader {
    pub(super) fn new(line_bytes: usize) -> Self {
        let names = FIELDS.iter().map(|field| (field.replace('.', "_"), *field)).collect();
        Self { names, line_bytes }
    }

    /// The packet of a line; none where the line is an action, or blank.
    pub(super) fn read(&self, line: &[u8]) -> Result<Option<Packet>, BadLine> {
        if line.len() > self.line_bytes {
            return Err(BadLine::TooLong { found: line.len(), limit: self.line_bytes });
        }
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii();
        if line.is_empty() {
            return Ok(None);
        }
        let json: Value =
            serde_json::from_slice(line).map_err(|error| BadLine::NotJson(error.to_string()))?;
        if json.get("index").is_some() {
            return Ok(None);
        }
        let layers =
            json.get("layers").and_then(Value::as_object).ok_or(BadLine::NotEk("\"layers\""))?;
        let at = milliseconds(json.get("timestamp")).ok_or(BadLine::NotEk("\"timestamp\""))?;
        let (messages, mixed) =
            if layers.values().any(is_layer) { self.layered(layers) } else { self.flat(layers) };
        Ok(Some(Packet { at, messages, mixed }))
    }

    /// The shape of `-e`. A packet with several messages is told apart for SIP only, by its reader.
    fn flat(&self, layers: &Map<String, Value>) -> (Vec<Message>, usize) {
        let mut packet = Message { protocol: Protocol::Sip, fields: HashMap::new() };
        self.take(layers, &mut packet.fields);
        let counted = [
            (Protocol::Map, packet.all("sccp.message_type").len()),
            (Protocol::Diameter, packet.all("diameter.cmd.code").len()),
            (Protocol::Gsup, packet.all("gsup.msg_type").len()),
            (Protocol::Smpp, packet.all("smpp.command_id").len()),
        ];
        if packet.has("sip.msg_hdr") {
            return (vec![packet], 0);
        }
        match counted.into_iter().find(|(_, messages)| *messages > 0) {
            Some((protocol, 1)) => (vec![Message { protocol, ..packet }], 0),
            Some((_, several)) => (Vec::new(), several),
            None => (Vec::new(), 0),
        }
    }

    /// The shape without `-e`: each layer has its fields to itself, and several are an array.
    fn layered(&self, layers: &Map<String, Value>) -> (Vec<Message>, usize) {
        let mut messages = Vec::new();
        for (layer, protocol) in [
            ("sip", Protocol::Sip),
            ("diameter", Protocol::Diameter),
            ("gsup", Protocol::Gsup),
            ("smpp", Protocol::Smpp),
        ] {
            for object in several(layers.get(layer)) {
                let mut message = Message { protocol, fields: HashMap::new() };
                for tcp in several(layers.get("tcp")).take(1) {
                    self.take(tcp, &mut message.fields);
                }
                self.take(object, &mut message.fields);
                messages.push(message);
            }
        }
        // MAP is four layers a message: only where each has its own can they be paired.
        let stacks = several(layers.get("sccp")).count();
        let fits = |layer| several(layers.get(layer)).count() == stacks;
        if !fits("tcap") || !fits("gsm_map") || !(fits("m3ua") || fits("mtp3")) {
            return (messages, several(layers.get("gsm_map")).count());
        }
        for at in 0..stacks {
            let mut message = Message { protocol: Protocol::Map, fields: HashMap::new() };
            for layer in ["m3ua", "mtp3", "sccp", "tcap", "gsm_map"] {
                if let Some(object) = several(layers.get(layer)).nth(at) {
                    self.take(object, &mut message.fields);
                }
            }
            messages.push(message);
        }
        (messages, 0)
    }

    /// Those of an object's values that we know, as text. What is nested deeper is somebody else's
    /// message, such as the copy of a REGISTER in the body of another.
    fn take(&self, object: &Map<String, Value>, into: &mut HashMap<&'static str, Vec<String>>) {
        for (key, value) in object {
            let Some(field) = self.field(key) else { continue };
            let values = into.entry(field).or_default();
            match value {
                Value::Array(items) => values.extend(items.iter().filter_map(text)),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Object(_) => values.extend(text(value)),
            }
        }
    }

    fn field(&self, key: &str) -> Option<&'static str> {
        let known = |name: &str| self.names.get(name).copied();
        known(key).or_else(|| PARENTS.iter().find_map(|parent| known(key.strip_prefix(parent)?)))
    }
}

/// A scalar as `-e` would write it. A field without a value is there nevertheless.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(u8::from(*flag).to_string()),
        Value::Null => Some(String::new()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

fn is_layer(value: &Value) -> bool {
    match value {
        Value::Object(_) => true,
        Value::Array(items) => items.iter().any(Value::is_object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The objects of a layer: none, one, or an array of them.
fn several(layer: Option<&Value>) -> impl Iterator<Item = &Map<String, Value>> {
    let items = match layer {
        Some(Value::Array(items)) => items.as_slice(),
        Some(single) => std::slice::from_ref(single),
        None => &[],
    };
    items.iter().filter_map(Value::as_object)
}

/// `"1795225709283"`: milliseconds since 1970, as text.
fn milliseconds(value: Option<&Value>) -> Option<Timestamp> {
    let millis = match value? {
        Value::String(text) => text.parse().ok()?,
        Value::Number(number) => number.as_i64()?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    Some(Timestamp::from_millis(millis))
}

/// `17`, `0x11`, `True`: newer tsharks write flags as words.
pub(super) fn number(text: &str) -> Option<u64> {
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok();
    }
    match text {
        "True" | "true" => Some(1),
        "False" | "false" => Some(0),
        decimal => decimal.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 4096;

    fn read(line: &str) -> Result<Option<Packet>, BadLine> {
        Reader::new(LIMIT).read(line.as_bytes())
    }

    fn packet(line: &str) -> Packet {
        read(line).unwrap().unwrap()
    }

    #[test]
    fn both_shapes_read_alike() {
        let flat = packet(
            r#"{"timestamp":"1000","layers":{"gsup_msg_type":["44"],"e212_imsi":["001010000000101"]}}"#,
        );
        let layered = packet(
            r#"{"timestamp":"1000","layers":{"ip":{"filtered":"ip"},"gsup":{"gsup_gsup_msg_type":"44",
               "e212_e212_imsi":"001010000000101","text":"IE: IMSI"}}}"#,
        );

        for packet in [flat, layered] {
            assert_eq!(packet.at, Timestamp::from_millis(1000));
            let [message] = packet.messages.as_slice() else { panic!("{packet:?}") };
            assert_eq!(message.protocol, Protocol::Gsup);
            assert_eq!(message.number("gsup.msg_type"), Some(44));
            assert_eq!(message.one("e212.imsi"), Some("001010000000101"));
        }
    }

    #[test]
    fn actions_and_blank_lines_are_no_packets() {
        for line in ["", "\r\n", "\u{feff}", r#"{"index":{"_index":"packets-2026-11-21"}}"#] {
            assert!(read(line).unwrap().is_none(), "{line:?}");
        }
    }

    /// Two messages in a packet: the flat shape cannot say whose field is whose, layers can.
    #[test]
    fn several_messages_are_told_apart_by_layers_only() {
        let flat = packet(
            r#"{"timestamp":"1","layers":{"smpp_command_id":["0x05","0x05"],"smpp_source_addr":["1","2"]}}"#,
        );
        assert_eq!((flat.messages.len(), flat.mixed), (0, 2));

        let layered = packet(
            r#"{"timestamp":"1","layers":{"smpp":[{"smpp_smpp_command_id":"0x00000005"},
               {"smpp_smpp_command_id":"0x80000005"}]}}"#,
        );
        assert_eq!((layered.messages.len(), layered.mixed), (2, 0));
    }

    #[test]
    fn what_is_no_ek_is_refused() {
        let deep = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
        let long = " ".repeat(LIMIT + 1);
        let cases = [
            ("{\"timestamp\":\"1\",\"layers\":{\"sip_msg", "not JSON: "),
            ("REGISTER sip:ims SIP/2.0", "not JSON: "),
            (deep.as_str(), "not JSON: recursion limit"),
            (long.as_str(), "4097 bytes long, and 4096 are read"),
            ("[]", "no \"layers\""),
            ("17", "no \"layers\""),
            (r#"{"timestamp":"1","layers":[]}"#, "no \"layers\""),
            (r#"{"timestamp":"soon","layers":{}}"#, "no \"timestamp\""),
            (r#"{"layers":{}}"#, "no \"timestamp\""),
        ];
        for (line, reason) in cases {
            let error = read(line).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{line:.40}: {error}");
        }
        assert!(Reader::new(LIMIT).read(b"{\"layers\":\"\xff\"}").is_err());
    }

    #[test]
    fn wrong_types_are_no_values() {
        let packet = packet(
            r#"{"timestamp":1,"layers":{"gsup_msg_type":["44",{"a":1},[2]],"e212_imsi":"x"}}"#,
        );

        assert_eq!(packet.messages.len(), 0);
        assert_eq!(packet.mixed, 0);
    }

    #[test]
    fn numbers_come_in_three_spellings() {
        assert_eq!(number("17"), Some(17));
        assert_eq!(number("0x80000004"), Some(0x8000_0004));
        assert_eq!(number("True"), Some(1));
        assert_eq!(number("-1"), None);
    }
}
