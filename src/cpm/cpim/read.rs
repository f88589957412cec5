//! Octets to an envelope and its content.
//!
//! Source: RFC 3862 2 and 3; RFC 2045 (headers of the content, which may be folded).

use super::Cpim;
use super::header::{Header, is_name};
use crate::cpm::xml::Limits;
use crate::cpm::{DocumentError, Fault, Position};

/// More headers than any client writes, of the message and of the content each.
const MOST_HEADERS: usize = 64;

/// Reads `message/cpim`.
///
/// # Errors
///
/// [`Fault::TooLarge`] beyond `limits.octets` or 64 headers. [`Fault::Charset`] for headers that are not
/// UTF-8. [`Fault::Syntax`] for a line that is no header, a folded one, or a missing blank line.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Cpim, DocumentError> {
    if bytes.len() > limits.octets {
        let found = format!("{} octets", bytes.len());
        return Err(error(Fault::TooLarge, 1, 1, found, &format!("at most {}", limits.octets)));
    }
    let mut lines = Lines { rest: bytes, number: 0 };
    let mut cpim = Cpim::default();
    while let Some(line) = lines.next_of("the headers of the message")? {
        if line.starts_with([' ', '\t']) {
            let expected = "each header in one line: RFC 3862 has no folding";
            return Err(lines.error(1, "a folded header", expected));
        }
        if cpim.headers.len() >= MOST_HEADERS {
            return Err(lines.too_many());
        }
        let header = header(line, &lines)?;
        cpim.headers.push(header);
    }
    while let Some(line) = lines.next_of("the headers of the content")? {
        if line.starts_with([' ', '\t']) {
            let Some((_, value)) = cpim.content_headers.last_mut() else {
                return Err(lines.error(1, "white space before the first header", "a header"));
            };
            *value = format!("{value} {}", line.trim()).trim().into();
            continue;
        }
        if cpim.content_headers.len() >= MOST_HEADERS {
            return Err(lines.too_many());
        }
        let (name, value) = name_and_rest(line, &lines)?;
        cpim.content_headers.push((name.into(), value.trim().replace('\t', " ").into()));
    }
    cpim.body = lines.rest.to_vec();
    Ok(cpim)
}

/// `prefix.Name:;parameters value`.
fn header(line: &str, lines: &Lines<'_>) -> Result<Header, DocumentError> {
    let (whole, rest) = name_and_rest(line, lines)?;
    let (prefix, name) = whole.split_once('.').unwrap_or(("", whole));
    if name.is_empty() || name.contains('.') || (whole.contains('.') && prefix.is_empty()) {
        let found = format!("the header name `{whole}`");
        return Err(lines.error(1, &found, "`Name` or `prefix.Name`"));
    }
    let (parameters, value) = if rest.starts_with(';') {
        let mut quoted = false;
        let end = rest.find(|c| {
            quoted ^= c == '"';
            c == ' ' && !quoted
        });
        if end.is_none() && quoted {
            let column = line.chars().count() + 1;
            return Err(lines.error(column, "a parameter's quote without end", "`\"`"));
        }
        rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, ""))
    } else {
        ("", rest)
    };
    let parameters = parameters.replace('\t', " ");
    Ok(Header::sound(prefix, name, &parameters, &value.trim().replace('\t', " ")))
}

fn name_and_rest<'l>(
    line: &'l str,
    lines: &Lines<'_>,
) -> Result<(&'l str, &'l str), DocumentError> {
    let Some((name, rest)) = line.split_once(':') else {
        return Err(lines.error(1, "a line without a colon", "a header, or a blank line"));
    };
    // Mail programs put a blank before the colon.
    let name = name.trim_end_matches([' ', '\t']);
    let bad = name.chars().position(|c| !is_name(c) && c != '.');
    match bad.or_else(|| name.is_empty().then_some(0)) {
        Some(column) => Err(lines.error(column + 1, "no header name", "`Name: value`")),
        None => Ok((name, rest)),
    }
}

struct Lines<'b> {
    rest: &'b [u8],
    number: usize,
}

impl<'b> Lines<'b> {
    /// The next line without its end; `None` after the blank line that ends a block.
    fn next_of(&mut self, block: &str) -> Result<Option<&'b str>, DocumentError> {
        self.number += 1;
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let Some((line, rest)) = end.and_then(|end| self.rest.split_at_checked(end)) else {
            let found = "the end of the document";
            return Err(self.error(1, found, &format!("a blank line after {block}")));
        };
        self.rest = rest.get(1..).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (sound, whole) = match std::str::from_utf8(line) {
            Ok(line) => (line, true),
            Err(error) => {
                let sound = line.get(..error.valid_up_to()).unwrap_or_default();
                (std::str::from_utf8(sound).unwrap_or_default(), false)
            }
        };
        let sound =
            if self.number == 1 { sound.strip_prefix('\u{feff}').unwrap_or(sound) } else { sound };
        if let Some(column) = sound.chars().position(|c| c.is_control() && c != '\t') {
            let expected = "an escape such as \\u0007";
            return Err(self.error(column + 1, "a control character", expected));
        }
        if !whole {
            let column = sound.chars().count() + 1;
            let found = "an octet that is not UTF-8";
            return Err(error(Fault::Charset, self.number, column, found, "UTF-8"));
        }
        let line = sound;
        Ok(Some(line).filter(|line| !line.is_empty()))
    }

    fn error(&self, column: usize, found: &str, expected: &str) -> DocumentError {
        error(Fault::Syntax, self.number, column, found, expected)
    }

    fn too_many(&self) -> DocumentError {
        let expected = format!("at most {MOST_HEADERS}");
        error(
            Fault::TooLarge,
            self.number,
            1,
            format!("more than {MOST_HEADERS} headers"),
            &expected,
        )
    }
}

fn error(
    fault: Fault,
    line: usize,
    column: usize,
    found: impl Into<Box<str>>,
    expected: &str,
) -> DocumentError {
    let at = Position { line, column };
    DocumentError { fault, at, found: found.into(), expected: expected.into() }
}
