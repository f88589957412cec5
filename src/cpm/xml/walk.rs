//! The walk itself: tokens in, elements out.

use std::borrow::Cow;

use super::element::{Document, Namespace, Node};
use super::source::Source;
use super::tag::{self, BRACKET, MARKUP, Name, RETURN, WHITE, class, is_white};
use super::{DocumentError, Fault, Limits};

/// What the prefix `xml` stands for without any declaration.
const XML: &str = "http://www.w3.org/XML/1998/namespace";
/// The declaration as nearly everybody writes it.
const USUAL: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
/// Octets of a document for each element, and each attribute, that there is room for at once.
const OCTETS_EACH: usize = 32;

/// Reads all of it, or says what is wrong first.
pub(super) fn read<'s>(
    source: &'s Source<'s>,
    limits: &Limits,
) -> Result<Document<'s>, DocumentError> {
    let text = source.text();
    let room = text.len() / OCTETS_EACH + 1;
    let (elements, attributes) = (Vec::with_capacity(room), Vec::with_capacity(room));
    let document = Document { source, elements, attributes };
    let open = Vec::with_capacity(limits.depth.min(8));
    let mut walk = Walk { document, text, limits, open, bound: Vec::with_capacity(2) };
    let mut at = 0;
    while at < text.len() {
        at = walk.token(at)?;
    }
    walk.done()
}

struct Walk<'s, 'l> {
    document: Document<'s>,
    text: &'s str,
    limits: &'l Limits,
    /// The elements that are open, outermost first.
    open: Vec<Open>,
    /// Namespaces in force: prefix (empty: the default), URI, and how deep it was declared.
    bound: Vec<(&'s str, Cow<'s, str>, usize)>,
}

/// An element that is open, and its last child so far.
struct Open {
    number: usize,
    last: Option<usize>,
}

impl<'s> Walk<'s, '_> {
    /// What begins at an offset; the offset behind it.
    fn token(&mut self, from: usize) -> Result<usize, DocumentError> {
        match self.rest(from).as_bytes() {
            [b'<', b'/', ..] => self.end(from),
            [b'<', b'!', ..] => self.bang(from),
            [b'<', b'?', ..] => self.question(from),
            [b'<', ..] => self.start(from),
            [b'&', ..] => self.reference(from),
            _ => self.characters(from),
        }
    }

    fn rest(&self, from: usize) -> &'s str {
        self.text.get(from..).unwrap_or_default()
    }

    fn start(&mut self, from: usize) -> Result<usize, DocumentError> {
        let (source, depth) = (self.document.source, self.open.len());
        let too_large = |found: String, most: usize| {
            Err(source.error(Fault::TooLarge, from, found, format!("at most {most}")))
        };
        if self.open.is_empty() && !self.document.elements.is_empty() {
            return Err(source.syntax(from, "a second root element", "the end"));
        }
        if depth >= self.limits.depth {
            return too_large(format!("elements {} deep", depth + 1), self.limits.depth);
        }
        let number = self.document.elements.len();
        if number >= self.limits.elements {
            return too_large(format!("{} elements", number + 1), self.limits.elements);
        }
        let first = self.document.attributes.len();
        let most = self.limits.attributes;
        let tag = tag::read(source, from, most, &mut self.document.attributes)?;
        let attributes = (first, self.document.attributes.len());
        self.declare(attributes, depth);
        let parent = self.open.last().map(|open| open.number);
        let node = Node {
            name: tag.name,
            namespace: self.namespace(from, tag.name)?,
            start: from,
            inside: tag.end,
            end: tag.end,
            attributes,
            parent,
            first: None,
            next: None,
            text: Cow::Borrowed(""),
        };
        let older = self.open.last_mut().and_then(|open| open.last.replace(number));
        match (older, parent) {
            (Some(older), _) => self.node(older, |older| older.next = Some(number)),
            (None, Some(parent)) => self.node(parent, |parent| parent.first = Some(number)),
            (None, None) => {}
        }
        self.document.elements.push(node);
        if tag.is_empty {
            self.undeclare(depth);
        } else {
            self.open.push(Open { number, last: None });
        }
        Ok(tag.end)
    }

    fn end(&mut self, from: usize) -> Result<usize, DocumentError> {
        let source = self.document.source;
        let inner = self.rest(from + 2);
        let open = self.open.last().and_then(|open| self.document.elements.get(open.number));
        let (name, start) = open.map_or(("", 0), |node| (node.name.whole, node.start));
        let is_plain = inner.strip_prefix(name).is_some_and(|rest| rest.starts_with('>'));
        let length = if is_plain { Some(name.len()) } else { inner.find('>') };
        let Some(length) = length else {
            return Err(source.syntax(from, "a tag without end", "`>`"));
        };
        let until = from + 2 + length + 1;
        let found = inner.get(..length).unwrap_or_default().trim_end_matches(is_white);
        let Some(Open { number, .. }) = self.open.pop() else {
            return Err(source.syntax(
                from,
                format!("`</{found}>` that closes nothing"),
                "the end",
            ));
        };
        if name != found {
            let expected = format!("`</{name}>`, as it is open since {}", source.position(start));
            return Err(source.syntax(from, format!("`</{found}>`"), expected));
        }
        self.node(number, |node| node.end = until);
        self.undeclare(self.open.len());
        Ok(until)
    }

    /// Text up to what is none.
    fn characters(&mut self, from: usize) -> Result<usize, DocumentError> {
        let (mut until, mut any, mut all) = (from, 0, u8::MAX);
        while let Some(octet) = self.text.as_bytes().get(until) {
            let class = class(*octet);
            if class & MARKUP != 0 {
                break;
            }
            any |= class;
            all &= class;
            until += 1;
        }
        let text = self.text.get(from..until).unwrap_or_default();
        if any & BRACKET != 0
            && let Some(at) = text.find("]]>")
        {
            return Err(self.document.source.syntax(from + at, "`]]>` in text", "`]]&gt;`"));
        }
        let blank = all & WHITE != 0;
        if !(blank && self.open.is_empty()) {
            let text = if any & RETURN != 0 { lines(text) } else { Cow::Borrowed(text) };
            self.content(from, text, blank)?;
        }
        Ok(until)
    }

    /// Characters of the element that is open, however they were written.
    fn content(
        &mut self,
        from: usize,
        text: Cow<'s, str>,
        blank: bool,
    ) -> Result<(), DocumentError> {
        let Some(Open { number, .. }) = self.open.last() else {
            let blank = text.len() - text.trim_start_matches(is_white).len();
            let expected = if self.document.elements.is_empty() { "an element" } else { "the end" };
            let source = self.document.source;
            return Err(source.syntax(from + blank, "text outside all elements", expected));
        };
        self.node(*number, |node| match node.text.is_empty() {
            true if blank => {}
            true => node.text = text,
            false => node.text.to_mut().push_str(&text),
        });
        Ok(())
    }

    fn reference(&mut self, from: usize) -> Result<usize, DocumentError> {
        let (source, inner) = (self.document.source, self.rest(from + 1));
        let name = inner.find([';', '<', '&']).and_then(|length| inner.split_at_checked(length));
        let Some((name, ";")) = name.map(|(name, rest)| (name, rest.get(..1).unwrap_or_default()))
        else {
            return Err(tag::lone(source, from));
        };
        let character = tag::reference(source, from, name)?;
        self.content(from, Cow::Owned(character.into()), is_white(character))?;
        Ok(from + 1 + name.len() + 1)
    }

    /// A comment or CDATA; no DTD is read.
    fn bang(&mut self, from: usize) -> Result<usize, DocumentError> {
        let (source, rest) = (self.document.source, self.rest(from));
        let inside = |open: &str, close: &str| {
            rest.strip_prefix(open)
                .and_then(|inner| inner.split_once(close))
                .map(|(inner, _)| inner)
        };
        match rest.as_bytes() {
            [_, _, b'-', ..] => match inside("<!--", "-->") {
                None => Err(source.syntax(from, "a comment without end", "`-->`")),
                Some(said) if said.contains("--") || said.ends_with('-') => {
                    Err(source.syntax(from, "`--` in a comment", "`-->` alone"))
                }
                Some(said) => Ok(from + 4 + said.len() + 3),
            },
            [_, _, b'[', ..] => {
                let Some(text) = inside("<![CDATA[", "]]>") else {
                    return Err(source.syntax(from, "CDATA without end", "`]]>`"));
                };
                self.content(from, lines(text), text.chars().all(is_white))?;
                Ok(from + 9 + text.len() + 3)
            }
            [_, _, b'D' | b'd', ..] => {
                Err(source.syntax(from, "a DOCTYPE", "an element: no DTD is read"))
            }
            _ => Err(source.syntax(from, "`<!` and no comment", "`<!--` or `<![CDATA[`")),
        }
    }

    /// A declaration or a processing instruction.
    fn question(&self, from: usize) -> Result<usize, DocumentError> {
        if from == 0 && self.text.starts_with(USUAL) {
            return Ok(USUAL.len());
        }
        let inner = self.rest(from + 2);
        let Some(length) = inner.find("?>") else {
            let found = "a processing instruction without end";
            return Err(self.document.source.syntax(from, found, "`?>`"));
        };
        let until = from + 2 + length + 2;
        let inner = inner.get(..length).unwrap_or_default();
        match inner.split(is_white).next() {
            Some("xml") => self.declaration((from, until))?,
            target => self.instruction(from, target.unwrap_or_default())?,
        }
        Ok(until)
    }

    /// A processing instruction: nothing to us, if it is one.
    fn instruction(&self, from: usize, target: &str) -> Result<(), DocumentError> {
        let source = self.document.source;
        match tag::not_of_name(target) {
            Some((offset, bad)) => {
                let found = format!("`{bad}` in the name of an instruction");
                Err(source.syntax(from + 2 + offset, found, "a name and white space"))
            }
            None if target.is_empty() || target.eq_ignore_ascii_case("xml") => {
                let found = "`<?` and no name of an instruction";
                Err(source.syntax(from, found, "an element"))
            }
            None => Ok(()),
        }
    }

    /// `<?xml …?>`: at the very beginning, version 1, and UTF-8 or a part of it.
    fn declaration(&self, (from, until): (usize, usize)) -> Result<(), DocumentError> {
        let source = self.document.source;
        if from != 0 {
            let expected = "an element: it may only be the very first thing";
            return Err(source.syntax(from, "an XML declaration", expected));
        }
        let said = tag::declared(source, (from + 2, until - 2), 3)?;
        let value = |name: &str| said.iter().find(|said| said.name == name);
        // They have an order: what is said must be what is left of it.
        let mut left = ["version", "encoding", "standalone"].into_iter();
        if let Some(odd) = said.iter().find(|said| !left.any(|name| name == said.name)) {
            let expected = "version, encoding and standalone, in this order";
            let at = odd.at - 1;
            return Err(source.syntax(at, format!("`{}` in the declaration", odd.name), expected));
        }
        let is_digits =
            |minor: &str| !minor.is_empty() && minor.bytes().all(|octet| octet.is_ascii_digit());
        match value("version") {
            Some(version) if version.value.strip_prefix("1.").is_some_and(is_digits) => {}
            other => {
                let found = match other {
                    Some(version) => format!("version {}", version.value),
                    None => "no version".to_owned(),
                };
                return Err(source.syntax(other.map_or(from, |v| v.at), found, "1.0"));
            }
        }
        if let Some(odd) = value("standalone").filter(|s| !["yes", "no"].contains(&&*s.value)) {
            return Err(source.syntax(odd.at, "another value of standalone", "`yes` or `no`"));
        }
        let Some(encoding) = value("encoding") else { return Ok(()) };
        let is = |name: &str| encoding.value.eq_ignore_ascii_case(name);
        if is("utf-8") || is("utf8") || (is("us-ascii") && source.text().is_ascii()) {
            return Ok(());
        }
        let short: String = encoding.value.chars().take(40).collect();
        Err(source.error(Fault::Charset, encoding.at, format!("the encoding {short}"), "UTF-8"))
    }

    fn done(self) -> Result<Document<'s>, DocumentError> {
        let (source, end) = (self.document.source, self.document.source.text().len());
        let open = self.open.last().and_then(|open| self.document.elements.get(open.number));
        if let Some(node) = open {
            let since = source.position(node.start);
            let expected = format!("`</{}>`, as it is open since {since}", node.name.whole);
            return Err(source.syntax(end, "the end of the document", expected));
        }
        if self.document.elements.is_empty() {
            return Err(source.syntax(end, "no element", "one"));
        }
        Ok(self.document)
    }

    fn declare(&mut self, (first, last): (usize, usize), depth: usize) {
        for attribute in self.document.attributes.get(first..last).unwrap_or_default() {
            let prefix = match attribute.name.strip_prefix("xmlns") {
                Some("") => "",
                Some(prefix) => match prefix.strip_prefix(':') {
                    Some(prefix) => prefix,
                    None => continue,
                },
                None => continue,
            };
            self.bound.push((prefix, attribute.value.clone(), depth));
        }
    }

    fn undeclare(&mut self, depth: usize) {
        while self.bound.last().is_some_and(|(.., since)| *since >= depth) {
            self.bound.pop();
        }
    }

    fn namespace(&self, from: usize, name: Name<'s>) -> Result<Namespace<'s>, DocumentError> {
        let prefix = name.prefix();
        // Most have none: two of them are not compared.
        let is =
            |bound: &str| bound.len() == prefix.len() && (prefix.is_empty() || bound == prefix);
        Ok(match self.bound.iter().rev().find(|(bound, ..)| is(bound)) {
            Some((_, uri, _)) if uri.is_empty() => Namespace::None,
            Some((_, uri, _)) => Namespace::Of(uri.clone()),
            None if prefix.is_empty() => Namespace::None,
            None if prefix == "xml" => Namespace::Of(Cow::Borrowed(XML)),
            None => {
                let found = format!("the prefix `{prefix}`, which nobody declared");
                let expected = format!("xmlns:{prefix}=\"…\"");
                return Err(self.document.source.syntax(from + 1, found, expected));
            }
        })
    }

    fn node(&mut self, number: usize, change: impl FnOnce(&mut Node<'s>)) {
        if let Some(node) = self.document.elements.get_mut(number) {
            change(node);
        }
    }
}

/// Text whose lines end as XML has it: by a line feed alone.
fn lines(text: &str) -> Cow<'_, str> {
    if text.contains('\r') {
        Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(text)
    }
}
