//! What stands in a tag: a name, attributes, references.
//!
//! Source: XML 1.0 2.2, 2.3, 3.1, 3.3.3, 4.1; `rules.md` A-42.

use std::borrow::Cow;

use quick_xml::events::attributes::{AttrError, Attributes};

use super::repair::is_curly;
use super::source::Source;
use super::{DocumentError, Fault};

/// What an octet of a name is, as bits of [`class`]: it begins one. What is beyond ASCII is nothing here: a name
/// with it takes the slow way.
const STARTS: u8 = 1;
/// It stands in one, the colon aside.
const NAME: u8 = 2;

static CLASSES: [u8; 256] = {
    let mut all = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        #[allow(clippy::cast_possible_truncation, clippy::indexing_slicing, reason = "below 256")]
        {
            all[octet] = match octet as u8 {
                b'A'..=b'Z' | b'a'..=b'z' | b'_' => STARTS | NAME,
                b'-' | b'.' | b'0'..=b'9' => NAME,
                _ => 0,
            };
        }
        octet += 1;
    }
    all
};

fn class(octet: u8) -> u8 {
    CLASSES.get(usize::from(octet)).copied().unwrap_or(0)
}

/// Whether octets are a part of a name, all ASCII. They are few: looking at all is faster than stopping.
fn is_part(octets: &[u8]) -> bool {
    let (fours, rest) = octets.as_chunks();
    let fours = fours
        .iter()
        .fold(NAME, |all, [a, b, c, d]| all & class(*a) & class(*b) & class(*c) & class(*d));
    let all = rest.iter().fold(fours, |all, octet| all & class(*octet));
    all != 0 && octets.first().is_some_and(|octet| class(*octet) & STARTS != 0)
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

impl Attribute<'_> {
    /// Whether it declares what this prefix, or none, stands for.
    pub(super) fn declares(&self, prefix: &str) -> bool {
        match self.name.strip_prefix("xmlns") {
            Some("") => prefix.is_empty(),
            Some(rest) => !prefix.is_empty() && rest.strip_prefix(':') == Some(prefix),
            None => false,
        }
    }
}

/// What stands between `<` and `>`, as quick-xml found it: a name, and attributes.
#[derive(Clone, Copy)]
pub(super) struct Inner<'s> {
    pub(super) source: &'s Source<'s>,
    pub(super) text: &'s str,
    /// Where it begins.
    pub(super) from: usize,
}

impl<'s> Inner<'s> {
    /// The name, `length` octets to the first white space, and the attributes behind it.
    pub(super) fn read(
        &self,
        length: usize,
        most: usize,
        attributes: &mut Vec<Attribute<'s>>,
    ) -> Result<Name<'s>, DocumentError> {
        let name = self.name(0, self.slice(0, length), "an element's name")?;
        if name.whole.len() < length {
            return Err(self.unspaced(name.whole.len(), &[]));
        }
        if length < self.text.len() {
            self.attributes(length, most, attributes)?;
        }
        Ok(name)
    }

    fn slice(&self, from: usize, until: usize) -> &'s str {
        self.text.get(from..until).unwrap_or_default()
    }

    /// The character at an offset; `None`: the end.
    fn peek(&self, at: usize) -> Option<char> {
        self.slice(at, self.text.len()).chars().next()
    }

    fn syntax(&self, at: usize, found: String, expected: &str) -> DocumentError {
        self.source.syntax(self.from + at, found, expected)
    }

    /// The name that begins at an offset, as far as it is one.
    fn name(&self, from: usize, whole: &'s str, expected: &str) -> Result<Name<'s>, DocumentError> {
        if is_part(whole.as_bytes()) {
            return Ok(Name { whole, local: whole });
        }
        if let Some((prefix, local)) = whole.split_once(':')
            && is_part(prefix.as_bytes())
            && is_part(local.as_bytes())
        {
            return Ok(Name { whole, local });
        }
        self.odd_name(from, whole, expected)
    }

    /// A name with characters beyond ASCII, or one that is none.
    #[cold]
    fn odd_name(
        &self,
        from: usize,
        whole: &'s str,
        expected: &str,
    ) -> Result<Name<'s>, DocumentError> {
        let name = whole.find(['=', '/', '<', '>', '"', '\'']).and_then(|end| whole.get(..end));
        let name = name.unwrap_or(whole);
        if let Some((offset, bad)) = not_of_name(name) {
            return Err(self.syntax(from + offset, said(Some(bad)), expected));
        }
        if name.is_empty() {
            return Err(self.syntax(from, said(self.peek(from)), expected));
        }
        Ok(Name::new(name))
    }

    /// All attributes from an offset on.
    pub(super) fn attributes(
        &self,
        from: usize,
        most: usize,
        attributes: &mut Vec<Attribute<'s>>,
    ) -> Result<(), DocumentError> {
        let (first, mut behind) = (attributes.len(), from);
        // All octets at once: most tags have nothing special, and then no value has.
        let is_special = |octet: u8| (octet < b' ') | (octet == b'&') | (octet == b'<');
        let special = self.text.bytes().fold(false, |found, octet| found | is_special(octet));
        let mut tokens = Attributes::new(self.text, from);
        for token in tokens.with_checks(false) {
            let known = attributes.get(first..).unwrap_or_default();
            let token = token.map_err(|error| self.refused(behind, known, &error))?;
            let Cow::Borrowed(value) = token.value else {
                unreachable!("it is a part of the text")
            };
            let name = token.key.0;
            let (key, at) = (offset(self.text, name), offset(self.text, value));
            self.attribute((behind, key), name, known)?;
            behind = at + value.len() + 1;
            let at = self.from + at;
            let value =
                if special { normal(self.source, at, value)? } else { Cow::Borrowed(value) };
            if known.len() >= most || known.iter().any(|known| known.name == name) {
                return Err(self.superfluous(key, name, most, known));
            }
            attributes.push(Attribute { name, value, at });
        }
        Ok(())
    }

    /// The name of an attribute, behind white space.
    fn attribute(
        &self,
        (behind, at): (usize, usize),
        written: &'s str,
        known: &[Attribute<'_>],
    ) -> Result<&'s str, DocumentError> {
        if at == behind {
            return Err(self.unspaced(at, known));
        }
        let name = self.name(at, written, "an attribute's name, `/` or `>`")?.whole;
        if name.len() < written.len() {
            return Err(self.valueless(at + name.len(), name));
        }
        Ok(name)
    }

    /// An attribute that quick-xml does not take, in our words. The one before it ends at `behind`.
    #[cold]
    fn refused(&self, behind: usize, known: &[Attribute<'_>], error: &AttrError) -> DocumentError {
        let rest = self.slice(behind, self.text.len()).trim_start_matches(is_white);
        let at = self.text.len() - rest.len();
        let length = rest.find(|c| is_white(c) || c == '=').unwrap_or(rest.len());
        let name = match self.attribute((behind, at), self.slice(at, at + length), known) {
            Ok(name) => name,
            Err(error) => return error,
        };
        match *error {
            AttrError::ExpectedEq(at) | AttrError::Duplicated(at, _) => self.valueless(at, name),
            AttrError::ExpectedValue(at) | AttrError::UnquotedValue(at) => match self.peek(at) {
                Some(curly) if is_curly(curly) => self.curly(self.from + at, curly),
                other => {
                    let found = format!("{} where a value begins", said(other));
                    self.syntax(at, found, "a quote `\"`")
                }
            },
            AttrError::ExpectedQuote(_, quote) => {
                let quote = char::from(quote);
                let value = at + rest.find(quote).map_or(0, |quote| quote + 1);
                self.syntax(value, "a value without end".to_owned(), &format!("`{quote}`"))
            }
        }
    }

    /// One attribute more than there may be.
    #[cold]
    fn superfluous(
        &self,
        at: usize,
        name: &str,
        most: usize,
        known: &[Attribute<'_>],
    ) -> DocumentError {
        if known.iter().any(|known| known.name == name) {
            return self.syntax(at, format!("the attribute `{name}` twice"), "each once");
        }
        let (found, expected) = (format!("more than {most} attributes"), format!("at most {most}"));
        self.source.error(Fault::TooLarge, self.from + at, found, expected)
    }

    #[cold]
    fn valueless(&self, at: usize, name: &str) -> DocumentError {
        let found = format!("the attribute `{name}` without a value");
        self.syntax(at, found, &format!("{name}=\"…\""))
    }

    /// Something stands right behind a value, or a name. A curly quote in that value is why.
    #[cold]
    fn unspaced(&self, at: usize, known: &[Attribute<'_>]) -> DocumentError {
        if let Some(last) = known.last() {
            let value = self.source.slice(last.at, self.from + at);
            if let Some((offset, curly)) = value.char_indices().find(|(_, c)| is_curly(*c)) {
                return self.curly(last.at + offset, curly);
            }
        }
        self.syntax(at, said(self.peek(at)), "white space, `/` or `>`")
    }

    fn curly(&self, at: usize, curly: char) -> DocumentError {
        self.source.syntax(at, format!("the curly quote `{curly}`"), "a straight one, `\"`")
    }
}

/// Where a part of a text begins in it.
fn offset(text: &str, part: &str) -> usize {
    part.as_ptr().addr().saturating_sub(text.as_ptr().addr())
}

/// A value with its references resolved, and each white space a blank.
#[cold]
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
