//! What stands in a tag: a name, attributes, references.
//!
//! Source: XML 1.0 2.2, 2.3, 3.1, 3.3.3, 4.1; `rules.md` A-42.

use std::borrow::Cow;

use super::repair::is_curly;
use super::source::Source;
use super::{DocumentError, Fault};

/// What an octet is, as bits of [`class`]: white space. What is beyond ASCII is nothing here: a name with it
/// takes the slow way.
pub(super) const WHITE: u8 = 1;
/// Begins a name.
const STARTS: u8 = 2;
/// Stands in a name, the colon aside.
const NAME: u8 = 4;
/// Stands behind a name.
const ENDS: u8 = 8;
/// Ends text: markup, or a reference.
pub(super) const MARKUP: u8 = 16;
/// A value with it is not what it says.
const SPECIAL: u8 = 32;
/// A carriage return: lines end otherwise.
pub(super) const RETURN: u8 = 64;
/// Text with it may hold what only ends CDATA.
pub(super) const BRACKET: u8 = 128;

static CLASSES: [u8; 256] = {
    let mut all = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        #[allow(clippy::cast_possible_truncation, clippy::indexing_slicing, reason = "below 256")]
        {
            all[octet] = match octet as u8 {
                b' ' => WHITE | ENDS,
                b'\t' | b'\n' => WHITE | ENDS | SPECIAL,
                b'\r' => WHITE | ENDS | SPECIAL | RETURN,
                b'A'..=b'Z' | b'a'..=b'z' | b'_' => STARTS | NAME,
                b'-' | b'.' | b'0'..=b'9' => NAME,
                b'=' | b'/' | b'>' | b'"' | b'\'' => ENDS,
                b'<' => ENDS | MARKUP | SPECIAL,
                b'&' => MARKUP | SPECIAL,
                b']' => BRACKET,
                _ => 0,
            };
        }
        octet += 1;
    }
    all
};

/// What an octet is.
pub(super) fn class(octet: u8) -> u8 {
    CLASSES.get(usize::from(octet)).copied().unwrap_or(0)
}

/// A name as written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'s> {
    /// All of it, prefix included.
    pub(super) whole: &'s str,
    /// Without its prefix.
    pub(super) local: &'s str,
}

impl<'s> Name<'s> {
    fn new(whole: &'s str) -> Self {
        Self { whole, local: whole.split_once(':').map_or(whole, |(_, local)| local) }
    }

    /// Its prefix; empty: none.
    pub(super) fn prefix(&self) -> &'s str {
        let colon = self.whole.len().saturating_sub(self.local.len() + 1);
        self.whole.get(..colon).unwrap_or_default()
    }
}

/// An attribute, or a namespace declaration.
#[derive(Clone, Debug)]
pub(super) struct Attribute<'s> {
    /// Its name as written, prefix included.
    pub(super) name: &'s str,
    /// Its value, references resolved and white space normalised.
    pub(super) value: Cow<'s, str>,
    /// Where its value begins.
    pub(super) at: usize,
}

/// A start tag.
#[derive(Debug)]
pub(super) struct Tag<'s> {
    pub(super) name: Name<'s>,
    /// The offset behind it.
    pub(super) end: usize,
    /// It ends its element, too.
    pub(super) is_empty: bool,
}

/// A tag being read, by offsets of the whole text.
struct Scan<'s> {
    source: &'s Source<'s>,
    /// The text, as far as it may go.
    text: &'s str,
    at: usize,
    /// `>` and `/>` end it.
    is_tag: bool,
}

/// The start tag that begins at an offset.
pub(super) fn read<'s>(
    source: &'s Source<'s>,
    from: usize,
    most: usize,
    attributes: &mut Vec<Attribute<'s>>,
) -> Result<Tag<'s>, DocumentError> {
    let mut scan = Scan { source, text: source.text(), at: from + 1, is_tag: true };
    let name = scan.name("an element's name")?;
    scan.attributes(most, attributes)?;
    match scan.rest().as_bytes() {
        [b'>', ..] => Ok(Tag { name, end: scan.at + 1, is_empty: false }),
        [b'/', ..] => Ok(Tag { name, end: scan.at + 2, is_empty: true }),
        _ => Err(source.syntax(from, "a tag without end", "`>`")),
    }
}

/// What stands between two offsets after a name, as in a tag.
pub(super) fn declared<'s>(
    source: &'s Source<'s>,
    (from, until): (usize, usize),
    most: usize,
) -> Result<Vec<Attribute<'s>>, DocumentError> {
    let mut scan = Scan { source, text: source.slice(0, until), at: from, is_tag: false };
    let mut attributes = Vec::new();
    scan.name("an element's name")?;
    scan.attributes(most, &mut attributes)?;
    Ok(attributes)
}

impl<'s> Scan<'s> {
    fn rest(&self) -> &'s str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn octet(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn is_at_end(&self) -> bool {
        match self.octet(self.at) {
            None => true,
            Some(b'>') => self.is_tag,
            Some(b'/') => self.is_tag && self.octet(self.at + 1) == Some(b'>'),
            Some(_) => false,
        }
    }

    /// What is next in the tag.
    fn peek(&self) -> Option<char> {
        if self.is_at_end() { None } else { self.rest().chars().next() }
    }

    /// Passes over white space; whether there was any.
    fn white(&mut self) -> bool {
        let from = self.at;
        while self.octet(self.at).is_some_and(|octet| class(octet) & WHITE != 0) {
            self.at += 1;
        }
        self.at > from
    }

    /// Passes over a part of a name: whether it is one as far as it goes, and all ASCII.
    fn part(&mut self) -> bool {
        let starts = self.octet(self.at).is_some_and(|octet| class(octet) & STARTS != 0);
        while self.octet(self.at).is_some_and(|octet| class(octet) & NAME != 0) {
            self.at += 1;
        }
        starts
    }

    fn name(&mut self, expected: &str) -> Result<Name<'s>, DocumentError> {
        let (from, mut local) = (self.at, self.at);
        let mut is_sound = self.part();
        if self.octet(self.at) == Some(b':') {
            self.at += 1;
            local = self.at;
            is_sound &= self.part();
        }
        if is_sound && self.octet(self.at).is_none_or(|octet| class(octet) & ENDS != 0) {
            let slice = |from| self.text.get(from..self.at).unwrap_or_default();
            return Ok(Name { whole: slice(from), local: slice(local) });
        }
        self.at = from;
        self.odd_name(expected)
    }

    /// A name with characters beyond ASCII, or one that is none.
    #[cold]
    fn odd_name(&mut self, expected: &str) -> Result<Name<'s>, DocumentError> {
        let rest = self.rest();
        let ends = |c: char| is_white(c) || "=/<>\"'".contains(c);
        let name = rest.find(ends).and_then(|end| rest.get(..end)).unwrap_or(rest);
        if let Some((offset, bad)) = not_of_name(name) {
            let at = self.at + offset;
            return Err(self.source.syntax(at, said(Some(bad)), expected));
        }
        if name.is_empty() {
            return Err(self.source.syntax(self.at, said(self.peek()), expected));
        }
        self.at += name.len();
        Ok(Name::new(name))
    }

    /// All attributes, to the end of the tag.
    fn attributes(
        &mut self,
        most: usize,
        attributes: &mut Vec<Attribute<'s>>,
    ) -> Result<(), DocumentError> {
        let first = attributes.len();
        loop {
            let spaced = self.white();
            if self.is_at_end() {
                return Ok(());
            }
            let at = self.at;
            if !spaced {
                return Err(self.unspaced(attributes.get(first..).unwrap_or_default()));
            }
            let attribute = self.attribute()?;
            let known = attributes.get(first..).unwrap_or_default();
            if known.iter().any(|known| known.name == attribute.name) {
                let found = format!("the attribute `{}` twice", attribute.name);
                return Err(self.source.syntax(at, found, "each once"));
            }
            if known.len() >= most {
                let found = format!("more than {most} attributes");
                let expected = format!("at most {most}");
                return Err(self.source.error(Fault::TooLarge, at, found, expected));
            }
            attributes.push(attribute);
        }
    }

    fn attribute(&mut self) -> Result<Attribute<'s>, DocumentError> {
        let name = self.name("an attribute's name, `/` or `>`")?.whole;
        self.white();
        if self.octet(self.at) != Some(b'=') {
            let found = format!("the attribute `{name}` without a value");
            return Err(self.source.syntax(self.at, found, format!("{name}=\"…\"")));
        }
        self.at += 1;
        self.white();
        let Some(quote @ (b'"' | b'\'')) = self.octet(self.at) else {
            return Err(self.unquoted());
        };
        self.at += 1;
        let (from, mut classes) = (self.at, 0);
        loop {
            match self.octet(self.at) {
                None => {
                    let quote = char::from(quote);
                    let expected = format!("`{quote}`");
                    return Err(self.source.syntax(from, "a value without end", expected));
                }
                Some(octet) if octet == quote => break,
                Some(octet) => classes |= class(octet),
            }
            self.at += 1;
        }
        let value = self.text.get(from..self.at).unwrap_or_default();
        self.at += 1;
        let value = if classes & SPECIAL == 0 {
            Cow::Borrowed(value)
        } else {
            normal(self.source, from, value)?
        };
        Ok(Attribute { name, value, at: from })
    }

    /// No straight quote begins a value.
    fn unquoted(&self) -> DocumentError {
        match self.peek() {
            Some(curly) if is_curly(curly) => self.curly(self.at, curly),
            other => {
                let found = format!("{} where a value begins", said(other));
                self.source.syntax(self.at, found, "a quote `\"`")
            }
        }
    }

    /// Something stands right behind a value, or a name. A curly quote in that value is why.
    fn unspaced(&self, attributes: &[Attribute<'_>]) -> DocumentError {
        if let Some(last) = attributes.last() {
            let value = self.source.slice(last.at, self.at);
            if let Some((offset, curly)) = value.char_indices().find(|(_, c)| is_curly(*c)) {
                return self.curly(last.at + offset, curly);
            }
        }
        self.source.syntax(self.at, said(self.peek()), "white space, `/` or `>`")
    }

    fn curly(&self, at: usize, curly: char) -> DocumentError {
        self.source.syntax(at, format!("the curly quote `{curly}`"), "a straight one, `\"`")
    }
}

/// A value with its references resolved, and each white space a blank.
fn normal<'s>(
    source: &Source<'_>,
    at: usize,
    value: &'s str,
) -> Result<Cow<'s, str>, DocumentError> {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(found) = rest.find(['&', '<', '\t', '\n', '\r']) {
        out.push_str(rest.get(..found).unwrap_or_default());
        let from = rest.get(found..).unwrap_or_default();
        let offset = at + (value.len() - from.len());
        let length = match from.as_bytes() {
            [b'<', ..] => return Err(source.syntax(offset, "`<` in a value", "`&lt;`")),
            [b'&', ..] => {
                let end = from.find(';').ok_or_else(|| lone(source, offset))?;
                let name = from.get(1..end).unwrap_or_default();
                out.push(reference(source, offset, name)?);
                end + 1
            }
            [b'\r', b'\n', ..] => {
                out.push(' ');
                2
            }
            _ => {
                out.push(' ');
                1
            }
        };
        rest = from.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

/// The character that `&name;` stands for.
pub(super) fn reference(source: &Source<'_>, at: usize, name: &str) -> Result<char, DocumentError> {
    const EXPECTED: &str = "`&amp;`, `&lt;`, `&gt;`, `&quot;`, `&apos;` or a character reference";
    match name {
        "amp" => return Ok('&'),
        "lt" => return Ok('<'),
        "gt" => return Ok('>'),
        "quot" => return Ok('"'),
        "apos" => return Ok('\''),
        _ => {}
    }
    let digits = match name.strip_prefix('#').map(|digits| (digits, digits.strip_prefix('x'))) {
        Some((_, Some(hex))) => Some((hex, 16)),
        Some((decimal, None)) => Some((decimal, 10)),
        None => None,
    };
    if let Some((digits, radix)) = digits {
        let sound = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
        let code = u32::from_str_radix(digits, radix).ok().filter(|_| sound);
        return code.and_then(char::from_u32).filter(|c| is_char(*c)).ok_or_else(|| {
            source.syntax(at, "a reference to no character of XML", "`&#…;` or `&#x…;`")
        });
    }
    if name.is_empty() || not_of_name(name).is_some() {
        return Err(lone(source, at));
    }
    let short: String = name.chars().take(40).collect();
    Err(source.syntax(at, format!("the entity `&{short};`"), EXPECTED))
}

/// An ampersand that begins nothing.
pub(super) fn lone(source: &Source<'_>, at: usize) -> DocumentError {
    source.syntax(at, "a lone `&`", "`&amp;`")
}

/// What is there, in words.
fn said(found: Option<char>) -> String {
    match found {
        None => "the end of the tag".to_owned(),
        Some(curly) if is_curly(curly) => format!("the curly quote `{curly}`"),
        Some(c) => format!("`{c}`"),
    }
}

/// The first character that a name cannot have there; and where.
pub(super) fn not_of_name(name: &str) -> Option<(usize, char)> {
    let mut colons = 0;
    let found = name.char_indices().find(|(at, c)| {
        colons += usize::from(*c == ':');
        let begins = *at == 0 || name.get(..*at).is_some_and(|before| before.ends_with(':'));
        let sound = if begins { starts_name(*c) } else { continues_name(*c) || *c == ':' };
        !sound || colons > 1
    });
    found.or_else(|| name.ends_with(':').then(|| (name.len() - 1, ':')))
}

fn starts_name(c: char) -> bool {
    matches!(c,
        'A'..='Z' | 'a'..='z' | '_' | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}'
        | '\u{F8}'..='\u{2FF}' | '\u{370}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}'
        | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}' | '\u{2C00}'..='\u{2FEF}'
        | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}'
        | '\u{10000}'..='\u{EFFFF}')
}

fn continues_name(c: char) -> bool {
    starts_name(c)
        || matches!(c, '-' | '.' | '0'..='9' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}

/// White space of XML, which is less than Unicode's.
pub(super) fn is_white(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// A character that a document may hold.
pub(super) fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}
