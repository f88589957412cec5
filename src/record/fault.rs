//! What is wrong with a record's JSON, and in which field: serde tells a line and a column.

/// What serde expects in Rust's words, and what a person would call it.
const WORDS: [(&str, &str); 6] = [
    ("expected u64", "expected a whole number, 0 or more"),
    ("expected u32", "expected a whole number, 0 to 4294967295"),
    ("expected u16", "expected a whole number, 0 to 65535"),
    ("expected u8", "expected a whole number, 0 to 255"),
    ("expected a boolean", "expected true or false"),
    ("expected struct", "expected an object:"),
];

/// The words of an error in JSON, behind the field it is in, such as `device.reg_id: …`.
pub(super) fn told(json: &str, error: &serde_json::Error) -> String {
    let text = error.to_string();
    let words = text.rfind(" at line ").and_then(|end| text.get(..end)).unwrap_or(&text);
    let words =
        WORDS.iter().fold(words.to_owned(), |words, (rust, ours)| words.replace(rust, ours));
    if words.starts_with("missing field") || !error.is_data() {
        return words;
    }
    let before = json.split_inclusive('\n').take(error.line().saturating_sub(1));
    let end = before.map(str::len).sum::<usize>() + error.column();
    match path(json.as_bytes().get(..end).unwrap_or(json.as_bytes())) {
        path if path.is_empty() => words,
        path => format!("{path}: {words}"),
    }
}

/// Where one is, inside JSON.
enum Inside {
    /// An object: the name that was read last, and whether a name comes next.
    Object(String, bool),
    /// An array: which item.
    Array(usize),
}

/// The field that JSON, cut off in the middle, was about.
fn path(json: &[u8]) -> String {
    let mut stack = Vec::new();
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match (byte, stack.last_mut()) {
            (b'"', top) => {
                let mut text = Vec::new();
                while let Some(byte) = bytes.next().filter(|byte| **byte != b'"') {
                    text.push(*byte);
                    if *byte == b'\\' {
                        text.extend(bytes.next());
                    }
                }
                if let Some(Inside::Object(name, true)) = top {
                    *name = String::from_utf8_lossy(&text).into_owned();
                }
            }
            (b':', Some(Inside::Object(_, is_name))) => *is_name = false,
            (b',', Some(Inside::Object(_, is_name))) => *is_name = true,
            (b',', Some(Inside::Array(item))) => *item += 1,
            (b'{', _) => stack.push(Inside::Object(String::new(), true)),
            (b'[', _) => stack.push(Inside::Array(0)),
            (b'}' | b']', _) => drop(stack.pop()),
            _ => {}
        }
    }
    let mut path = String::new();
    for inside in stack {
        match inside {
            Inside::Object(name, _) if name.is_empty() => {}
            Inside::Object(name, _) if path.is_empty() => path = name,
            Inside::Object(name, _) => path = format!("{path}.{name}"),
            Inside::Array(item) => path = format!("{path}[{item}]"),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::input::{ImsRegistered, MessageSubmitted};

    #[test]
    fn an_error_names_its_field() {
        let registered =
            |json: &str| told(json, &serde_json::from_str::<ImsRegistered<'_>>(json).unwrap_err());
        assert_eq!(
            registered(
                r#"{"device":{"contact":"a","reg_id":"x"},"expires_at":"2026-11-21T08:00:00Z"}"#
            ),
            "device.reg_id: invalid type: string \"x\", expected a whole number, 0 to 4294967295"
        );
        assert_eq!(
            registered(r#"{"features":["a","b",7]}"#),
            "features[2]: invalid type: integer `7`, expected a string"
        );
        assert_eq!(registered("{}"), "missing field `expires_at`");
        assert_eq!(
            registered("{\n \"expires_at\":\n\"soon\"}"),
            "expires_at: invalid value: string \"soon\", expected an RFC 3339 time such as 2026-11-21T08:00:00Z"
        );
        let json = r#"{"message_id":"m","from":"f","kind":"fax"}"#;
        let error = serde_json::from_str::<MessageSubmitted<'_>>(json).unwrap_err();
        assert!(
            told(json, &error).starts_with("kind: unknown variant `fax`, expected one of `pager`")
        );
    }
}
