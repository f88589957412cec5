//! The text of a document, and where in it we are.

use std::borrow::Cow;

use super::repair::repair;
use super::tag::is_char;
use super::{DocumentError, Fault, Limits, Position};

/// A document's text: UTF-8, without its byte order mark, and of legal characters only.
#[derive(Clone, Debug)]
pub struct Source<'b> {
    original: &'b str,
    text: Cow<'b, str>,
    edits: Vec<Edit>,
    /// Which octets there are, as bits of [`octets`].
    octets: u8,
}

/// An octet that only begins to look like a character that XML has not. Few documents have one.
const DOUBTFUL: u8 = 1;
/// Text with it may hold what only ends CDATA.
pub(super) const BRACKET: u8 = 2;
/// A carriage return: lines end otherwise.
pub(super) const RETURN: u8 = 4;

/// A repair that [`Source::repaired`] made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The curly quote that became straight; `None`: a quote that was missing.
    pub curly: Option<char>,
    /// Where it ends in what came, and in what is read: two offsets.
    pub(super) ends: (usize, usize),
}

impl<'b> Source<'b> {
    /// The text of these octets.
    ///
    /// # Errors
    ///
    /// [`Fault::TooLarge`] beyond `limits.octets`, [`Fault::Charset`] for what is not UTF-8,
    /// [`Fault::Syntax`] for a character that XML has not.
    pub fn new(bytes: &'b [u8], limits: &Limits) -> Result<Self, DocumentError> {
        let start = Position { line: 1, column: 1 };
        let refused = |fault, at, found: String, expected: &str| DocumentError {
            fault,
            at,
            found: found.into(),
            expected: expected.into(),
        };
        if bytes.len() > limits.octets {
            let found = format!("{} octets", bytes.len());
            let expected = format!("at most {}", limits.octets);
            return Err(refused(Fault::TooLarge, start, found, &expected));
        }
        let utf = match bytes {
            [0, 0, 0xFE, 0xFF, ..] | [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0, b'<', ..] => Some("UTF-32"),
            [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] | [0, b'<', ..] | [b'<', 0, ..] => Some("UTF-16"),
            _ => None,
        };
        if let Some(utf) = utf {
            return Err(refused(Fault::Charset, start, utf.to_owned(), "UTF-8"));
        }
        let original = std::str::from_utf8(bytes).map_err(|error| {
            let sound = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let at = position(std::str::from_utf8(sound).unwrap_or_default());
            let octet = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
            let found = format!("the octet 0x{octet:02X}, which is not UTF-8 here");
            refused(Fault::Charset, at, found, "UTF-8")
        })?;
        let original = original.strip_prefix('\u{feff}').unwrap_or(original);
        let octets = octets(original.as_bytes());
        if octets & DOUBTFUL != 0
            && let Some((offset, bad)) = original.char_indices().find(|(_, c)| !is_char(*c))
        {
            let at = position(original.get(..offset).unwrap_or_default());
            let found = format!("the character U+{:04X}", u32::from(bad));
            return Err(refused(Fault::Syntax, at, found, "a character that XML has"));
        }
        Ok(Self { original, text: Cow::Borrowed(original), edits: Vec::new(), octets })
    }

    /// The same with quotes in tags straightened and bare attribute values quoted, and nothing else
    /// (A-42, `xml.repair`). Places are still those of what came.
    #[must_use]
    pub fn repaired(self) -> Self {
        let (text, edits) = repair(self.original);
        Self { text, edits, ..self }
    }

    /// What was repaired, in order.
    #[must_use]
    pub fn edits(&self) -> &[Edit] {
        &self.edits
    }

    /// Where a repair was made.
    #[must_use]
    pub fn place(&self, edit: &Edit) -> Position {
        let from = edit.ends.0 - edit.curly.map_or(0, char::len_utf8);
        position(self.original.get(..from).unwrap_or_default())
    }

    /// A line of what came, without its end; the first is 1.
    #[must_use]
    pub fn line(&self, number: usize) -> Option<&'b str> {
        let mut rest = self.original;
        for _ in 1..number {
            rest = rest.get(end_of_line(rest)?..)?;
        }
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        rest.get(..end)
    }

    /// The text as it is read.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether one of these octets is there.
    pub(super) fn has(&self, octets: u8) -> bool {
        self.octets & octets != 0
    }

    /// A stretch of the text as it is read.
    pub(super) fn slice(&self, from: usize, until: usize) -> &str {
        self.text.get(from..until).unwrap_or_default()
    }

    /// Where an offset of the text lies in what came.
    pub(super) fn position(&self, offset: usize) -> Position {
        let before = self.edits.partition_point(|edit| edit.ends.1 <= offset);
        let edit = before.checked_sub(1).and_then(|last| self.edits.get(last));
        let offset = edit.map_or(offset, |edit| edit.ends.0 + (offset - edit.ends.1));
        position(self.original.get(..offset).unwrap_or(self.original))
    }

    /// A fault at an offset of the text.
    pub(super) fn error(
        &self,
        fault: Fault,
        offset: usize,
        found: impl Into<Box<str>>,
        expected: impl Into<Box<str>>,
    ) -> DocumentError {
        let (found, expected) = (found.into(), expected.into());
        DocumentError { fault, at: self.position(offset), found, expected }
    }

    /// A fault of the writing.
    pub(super) fn syntax(
        &self,
        offset: usize,
        found: impl Into<Box<str>>,
        expected: impl Into<Box<str>>,
    ) -> DocumentError {
        self.error(Fault::Syntax, offset, found, expected)
    }
}

/// Which octets there are that make us look again.
fn octets(bytes: &[u8]) -> u8 {
    // Without a way out of them they are looked at many at once.
    bytes.iter().fold(0, |found, octet| {
        let is_control = (*octet < 0x20) & !matches!(octet, 9 | 10 | 13);
        let is_doubtful = is_control | (*octet == 0xEF);
        found
            | (u8::from(is_doubtful) * DOUBTFUL)
            | (u8::from(*octet == b']') * BRACKET)
            | (u8::from(*octet == b'\r') * RETURN)
    })
}

/// The place after this text.
fn position(before: &str) -> Position {
    let (mut line, mut rest) = (1, before);
    while let Some(end) = end_of_line(rest) {
        line += 1;
        rest = rest.get(end..).unwrap_or_default();
    }
    Position { line, column: rest.chars().count() + 1 }
}

/// Where the next line begins.
fn end_of_line(text: &str) -> Option<usize> {
    let at = text.find(['\n', '\r'])?;
    let pair = text.get(at..).is_some_and(|rest| rest.starts_with("\r\n"));
    Some(at + 1 + usize::from(pair))
}
