//! What stands in a tag: a name, attributes, references.
//!
//! Source: XML 1.0 2.2, 2.3, 3.1, 3.3.3, 4.1; `rules.md` A-42.

use std::borrow::Cow;

use super::repair::is_curly;
use super::source::Source;
use super::{DocumentError, Fault};

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

/// A tag being read, by offsets of the whole text.
struct Scan<'s> {
    source: &'s Source<'s>,
    at: usize,
    until: usize,
}

/// The name and the attributes between two offsets: those of a tag without its `<`, `/` and `>`.
pub(super) fn read<'s>(
    source: &'s Source<'s>,
    (from, until): (usize, usize),
    most: usize,
    attributes: &mut Vec<Attribute<'s>>,
) -> Result<&'s str, DocumentError> {
    let mut scan = Scan { source, at: from, until };
    let name = scan.name("an element's name")?;
    let first = attributes.len();
    loop {
        let spaced = scan.white();
        let Some(next) = scan.peek() else { return Ok(name) };
        let at = scan.at;
        if !spaced {
            return Err(scan.unspaced(next, attributes.get(first..).unwrap_or_default()));
        }
        let attribute = scan.attribute()?;
        let known = attributes.get(first..).unwrap_or_default();
        if known.iter().any(|known| known.name == attribute.name) {
            let found = format!("the attribute `{}` twice", attribute.name);
            return Err(source.syntax(at, found, "each once"));
        }
        if known.len() >= most {
            let found = format!("more than {most} attributes");
            return Err(source.error(Fault::TooLarge, at, found, format!("at most {most}")));
        }
        attributes.push(attribute);
    }
}

impl<'s> Scan<'s> {
    fn rest(&self) -> &'s str {
        self.source.slice(self.at, self.until)
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Passes over white space; whether there was any.
    fn white(&mut self) -> bool {
        let rest = self.rest();
        let length = rest.find(|c| !is_white(c)).unwrap_or(rest.len());
        self.at += length;
        length > 0
    }

    fn name(&mut self, expected: &str) -> Result<&'s str, DocumentError> {
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
        Ok(name)
    }

    fn attribute(&mut self) -> Result<Attribute<'s>, DocumentError> {
        let name = self.name("an attribute's name, `/` or `>`")?;
        self.white();
        if self.peek() != Some('=') {
            let found = format!("the attribute `{name}` without a value");
            return Err(self.source.syntax(self.at, found, format!("{name}=\"…\"")));
        }
        self.at += 1;
        self.white();
        let quote = match self.peek() {
            Some(quote @ ('"' | '\'')) => quote,
            Some(curly) if is_curly(curly) => return Err(self.curly(self.at, curly)),
            other => {
                let found = format!("{} where a value begins", said(other));
                return Err(self.source.syntax(self.at, found, "a quote `\"`"));
            }
        };
        self.at += 1;
        let Some(length) = self.rest().find(quote) else {
            return Err(self.source.syntax(self.at, "a value without end", format!("`{quote}`")));
        };
        let (at, value) = (self.at, self.source.slice(self.at, self.at + length));
        self.at += length + 1;
        Ok(Attribute { name, value: normal(self.source, at, value)?, at })
    }

    /// Something stands right behind a value, or a name. A curly quote in that value is why.
    fn unspaced(&self, next: char, attributes: &[Attribute<'_>]) -> DocumentError {
        if let Some(last) = attributes.last() {
            let value = self.source.slice(last.at, self.at);
            if let Some((offset, curly)) = value.char_indices().find(|(_, c)| is_curly(*c)) {
                return self.curly(last.at + offset, curly);
            }
        }
        self.source.syntax(self.at, said(Some(next)), "white space, `/` or `>`")
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
    if !value.contains(['&', '<', '\t', '\n', '\r']) {
        return Ok(Cow::Borrowed(value));
    }
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
