//! What may be said to an IMAP server, and how: quoted strings, and folders in modified UTF-7.
//!
//! Nothing of others reaches a command but through here. Literals are for contents alone: whatever does not
//! fit into a quoted string is refused, with the reason.
//!
//! Source: RFC 3501 4.3, 5.1.3, 9.

use base64::Engine;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::edge::store::StoreError;

/// The longest id that is searched for, and the longest name of a folder, in octets.
const LONGEST: usize = 255;

/// Base64 of modified UTF-7: a comma for the slash, no padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

fn invalid(why: impl Into<String>) -> StoreError {
    StoreError::Invalid(why.into())
}

/// A quoted string of printable ASCII.
pub(super) fn quoted(text: &str) -> Result<String, StoreError> {
    if let Some(c) = text.chars().find(|c| !matches!(c, ' '..='~')) {
        return Err(invalid(format!("{c:?} in a string, expected printable ASCII")));
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// An id to search for, quoted.
pub(super) fn id(text: &str) -> Result<String, StoreError> {
    match text.len() {
        0 => Err(invalid("an empty id")),
        1..=LONGEST => quoted(text),
        length => Err(invalid(format!("an id of {length} octets, expected {LONGEST} at most"))),
    }
}

/// A folder as the server knows it, from a path with `/` between its names.
///
/// A path that is modified UTF-7 already is left as it is.
pub(super) fn folder(path: &str, delimiter: char) -> Result<String, StoreError> {
    let wrong = |why: &str| Err(invalid(format!("the folder {path:?} {why}")));
    let names = path.strip_suffix(['/', delimiter]).unwrap_or(path);
    if names.is_empty() {
        return wrong("has no name");
    }
    if names.starts_with(['~', '#']) {
        return wrong("is of another user, or of all");
    }
    if names.contains(|c: char| c.is_control() || matches!(c, '*' | '%')) {
        return wrong("has a wildcard or a control character");
    }
    if names.split(['/', delimiter]).any(|name| matches!(name, "" | "." | "..")) {
        return wrong("climbs, or has an empty name");
    }
    let is_coded = names.contains('&') && decode(names).is_some_and(|text| encode(&text) == names);
    let coded = if is_coded { names.to_owned() } else { encode(names) };
    let coded = if delimiter == '/' { coded } else { coded.replace('/', &delimiter.to_string()) };
    if coded.len() > LONGEST {
        return wrong("is longer than 255 octets");
    }
    Ok(coded)
}

/// A name as one part of a path: what would split it, or match others, is replaced.
pub(super) fn part(name: &str, delimiter: char) -> String {
    let plain = |c: char| {
        let is_bad = c == delimiter || matches!(c, '/' | '*' | '%' | '\\' | '"' | '&');
        if is_bad || c.is_control() { '_' } else { c }
    };
    let name: String = name.chars().map(plain).collect();
    if name.starts_with(['.', '~', '#']) { format!("_{name}") } else { name }
}

/// Modified UTF-7.
pub(super) fn encode(text: &str) -> String {
    fn flush(shifted: &mut Vec<u8>, out: &mut String) {
        if !shifted.is_empty() {
            out.push('&');
            BASE64.encode_string(&*shifted, out);
            out.push('-');
            shifted.clear();
        }
    }
    let (mut out, mut shifted) = (String::with_capacity(text.len()), Vec::new());
    for c in text.chars() {
        if !matches!(c, ' '..='~') {
            let mut units = [0; 2];
            shifted.extend(c.encode_utf16(&mut units).iter().flat_map(|unit| unit.to_be_bytes()));
            continue;
        }
        flush(&mut shifted, &mut out);
        out.push(c);
        if c == '&' {
            out.push('-');
        }
    }
    flush(&mut shifted, &mut out);
    out
}

/// What modified UTF-7 says; `None`: it is none.
pub(super) fn decode(coded: &str) -> Option<String> {
    let mut parts = coded.split('&');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (shifted, plain) = part.split_once('-')?;
        if shifted.is_empty() {
            out.push('&');
        } else {
            let octets = BASE64.decode(shifted).ok()?;
            let (units, rest) = octets.as_chunks::<2>();
            let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
            out.push_str(&String::from_utf16(&units).ok().filter(|_| rest.is_empty())?);
        }
        out.push_str(plain);
    }
    coded.is_ascii().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_command_is_refused() {
        assert_eq!(quoted("a \"b\\ {3}").unwrap(), r#""a \"b\\ {3}""#);
        for text in ["a\r\nb", "a\nb", "a\rb", "a\0b", "a\tb", "é", "\u{7f}"] {
            assert!(matches!(quoted(text), Err(StoreError::Invalid(_))), "{text:?}");
        }
        assert!(id("").is_err() && id(&"x".repeat(256)).is_err() && id(&"x".repeat(255)).is_ok());
    }

    #[test]
    fn folders_are_said_as_the_server_knows_them() {
        let said = |path: &str| folder(path, '/').unwrap();
        assert_eq!(said("Default/a1/b2/"), "Default/a1/b2");
        assert_eq!(said("Entwürfe"), "Entw&APw-rfe");
        // RFC 3501 5.1.3 has this one.
        assert_eq!(said("~peter".trim_start_matches('~')), "peter");
        assert_eq!(said("mail/台北/日本語"), "mail/&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(said("Entw&APw-rfe"), "Entw&APw-rfe", "coded already");
        assert_eq!(said("R&D"), "R&-D");
        assert_eq!(said("a {b} \"c\""), "a {b} \"c\"");
        assert_eq!(said("😀"), "&2D3eAA-");
        assert_eq!(folder("Default/a1", '.').unwrap(), "Default.a1");
    }

    #[test]
    fn folders_that_mean_others_are_refused() {
        let long = "x".repeat(256);
        for path in [
            "",
            "/",
            "//",
            "/etc",
            "a//b",
            "..",
            "a/../b",
            "./a",
            "*",
            "a/%",
            "a*",
            "~root/x",
            "#shared",
            "a\r\nb",
            "a\0",
            &long,
            &"é".repeat(120),
        ] {
            assert!(matches!(folder(path, '/'), Err(StoreError::Invalid(_))), "{path:?}");
        }
        assert!(folder("a..b", '.').is_err() && folder("a..b", '/').is_ok());
    }

    #[test]
    fn a_name_stays_one_part_of_a_path() {
        assert_eq!(part("f81d4fae-7dec@example.com", '/'), "f81d4fae-7dec@example.com");
        assert_eq!(part("../a*b%c\r\n\"&", '/'), "_.._a_b_c____");
        assert_eq!(part("a.b", '.'), "a_b");
    }

    #[test]
    fn modified_utf_7_comes_back() {
        for text in ["", "&", "&-", "a&b", "é", "-é-", "日本語/&é😀x", "&&é"] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text), "{text}");
        }
        for coded in ["&", "&AP", "&AP-", "&!!-", "é", "&2D0-"] {
            assert_eq!(decode(coded), None, "{coded}");
        }
    }
}
