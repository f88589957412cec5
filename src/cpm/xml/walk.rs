//! The walk itself: tokens in, elements out.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::errors::{Error, IllFormedError, SyntaxError};
use quick_xml::events::Event;

use super::element::{Document, Namespace, Node};
use super::source::Source;
use super::tag::{self, is_white};
use super::{DocumentError, Fault, Limits};

/// What the prefix `xml` stands for without any declaration.
const XML: &str = "http://www.w3.org/XML/1998/namespace";

/// Reads all of it, or says what is wrong first.
pub(super) fn read<'s>(
    source: &'s Source<'s>,
    limits: &Limits,
) -> Result<Document<'s>, DocumentError> {
    let mut reader = Reader::from_str(source.text());
    let config = reader.config_mut();
    config.check_comments = true;
    // We name the tag that is open, and where: so we look ourselves.
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    let document = Document { source, elements: Vec::new(), attributes: Vec::new() };
    let mut walk = Walk { document, limits, open: Vec::new(), last: Vec::new(), bound: Vec::new() };
    loop {
        let from = offset(reader.buffer_position());
        let event = reader.read_event().map_err(|error| walk.refused(&error, from))?;
        let until = offset(reader.buffer_position());
        match event {
            Event::Start(_) => walk.start((from, until), false)?,
            Event::Empty(_) => walk.start((from, until), true)?,
            Event::End(_) => walk.end((from, until))?,
            Event::Text(text) => walk.text(from, text.xml10_content(), true)?,
            Event::CData(text) => walk.text(from, text.xml10_content(), false)?,
            Event::GeneralRef(name) => {
                let character = tag::reference(source, from, &name)?;
                walk.text(from, Cow::Owned(character.into()), false)?;
            }
            Event::Comment(_) => {}
            Event::PI(pi) => walk.instruction(from, pi.target())?,
            Event::Decl(_) => walk.declaration((from, until))?,
            Event::DocType(_) => return Err(walk.doctype(from)),
            Event::Eof => break,
        }
    }
    walk.done()
}

struct Walk<'s, 'l> {
    document: Document<'s>,
    limits: &'l Limits,
    /// The elements that are open, outermost first.
    open: Vec<usize>,
    /// Of each, the last child so far.
    last: Vec<Option<usize>>,
    /// Namespaces in force: prefix (empty: the default), URI, and how deep it was declared.
    bound: Vec<(&'s str, Cow<'s, str>, usize)>,
}

impl<'s> Walk<'s, '_> {
    fn start(&mut self, (from, until): (usize, usize), empty: bool) -> Result<(), DocumentError> {
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
        let inner = (from + 1, until - if empty { 2 } else { 1 });
        let first = self.document.attributes.len();
        let most = self.limits.attributes;
        let name = tag::read(source, inner, most, &mut self.document.attributes)?;
        let attributes = (first, self.document.attributes.len());
        self.declare(attributes, depth);
        let node = Node {
            name,
            namespace: self.namespace(from, name)?,
            start: from,
            inside: until,
            end: until,
            attributes,
            parent: self.open.last().copied(),
            first: None,
            next: None,
            text: Cow::Borrowed(""),
        };
        let older = self.last.last_mut().and_then(|last| last.replace(number));
        match (older, node.parent) {
            (Some(older), _) => self.node(older, |older| older.next = Some(number)),
            (None, Some(parent)) => self.node(parent, |parent| parent.first = Some(number)),
            (None, None) => {}
        }
        self.document.elements.push(node);
        if empty {
            self.undeclare(depth);
        } else {
            self.open.push(number);
            self.last.push(None);
        }
        Ok(())
    }

    fn end(&mut self, (from, until): (usize, usize)) -> Result<(), DocumentError> {
        let source = self.document.source;
        let found = source.slice(from + 2, until - 1).trim_end_matches(is_white);
        let Some(open) = self.open.pop() else {
            return Err(source.syntax(
                from,
                format!("`</{found}>` that closes nothing"),
                "the end",
            ));
        };
        let (name, start) =
            self.document.elements.get(open).map_or(("", 0), |node| (node.name, node.start));
        if name != found {
            let expected = format!("`</{name}>`, as it is open since {}", source.position(start));
            return Err(source.syntax(from, format!("`</{found}>`"), expected));
        }
        self.node(open, |node| node.end = until);
        self.last.pop();
        self.undeclare(self.open.len());
        Ok(())
    }

    fn text(&mut self, from: usize, text: Cow<'s, str>, plain: bool) -> Result<(), DocumentError> {
        let source = self.document.source;
        if plain && let Some(at) = text.find("]]>") {
            return Err(source.syntax(from + at, "`]]>` in text", "`]]&gt;`"));
        }
        let blank = text.chars().all(is_white);
        let Some(open) = self.open.last().copied() else {
            return if blank && plain {
                Ok(())
            } else {
                let blank = text.len() - text.trim_start_matches(is_white).len();
                let expected =
                    if self.document.elements.is_empty() { "an element" } else { "the end" };
                Err(source.syntax(from + blank, "text outside all elements", expected))
            };
        };
        self.node(open, |node| match node.text.is_empty() {
            true if blank => {}
            true => node.text = text,
            false => node.text.to_mut().push_str(&text),
        });
        Ok(())
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
        let mut said = Vec::new();
        tag::read(source, (from + 2, until - 2), 3, &mut said)?;
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
        if let Some(node) = self.open.last().and_then(|open| self.document.elements.get(*open)) {
            let since = source.position(node.start);
            let expected = format!("`</{}>`, as it is open since {since}", node.name);
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

    fn namespace(&self, from: usize, name: &str) -> Result<Namespace<'s>, DocumentError> {
        let prefix = name.split_once(':').map_or("", |(prefix, _)| prefix);
        Ok(match self.bound.iter().rev().find(|(bound, ..)| *bound == prefix) {
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

    fn doctype(&self, at: usize) -> DocumentError {
        self.document.source.syntax(at, "a DOCTYPE", "an element: no DTD is read")
    }

    /// A token that quick-xml does not take, in our words.
    fn refused(&self, error: &Error, from: usize) -> DocumentError {
        let source = self.document.source;
        let text = source.slice(from, source.text().len());
        let (found, expected): (String, &str) = match error {
            Error::Syntax(SyntaxError::UnclosedDoctype) => return self.doctype(from),
            Error::IllFormed(IllFormedError::MissingDoctypeName) => return self.doctype(from),
            Error::Syntax(
                SyntaxError::UnclosedTag
                | SyntaxError::UnclosedSingleQuotedAttributeValue
                | SyntaxError::UnclosedDoubleQuotedAttributeValue,
            ) => {
                // Its own scan knows better what keeps the tag from ending.
                let all = (from + 1, source.text().len());
                if !text.starts_with("</")
                    && let Err(error) =
                        tag::read(source, all, self.limits.attributes, &mut Vec::new())
                {
                    return error;
                }
                ("a tag without end".into(), "`>`")
            }
            Error::Syntax(SyntaxError::InvalidBangMarkup) => {
                ("`<!` and no comment".into(), "`<!--` or `<![CDATA[`")
            }
            Error::Syntax(SyntaxError::UnclosedComment) => {
                ("a comment without end".into(), "`-->`")
            }
            Error::Syntax(SyntaxError::UnclosedCData) => ("CDATA without end".into(), "`]]>`"),
            Error::Syntax(SyntaxError::UnclosedPI | SyntaxError::UnclosedXmlDecl) => {
                ("a processing instruction without end".into(), "`?>`")
            }
            Error::IllFormed(IllFormedError::DoubleHyphenInComment) => {
                ("`--` in a comment".into(), "`-->` alone")
            }
            Error::IllFormed(IllFormedError::UnclosedReference) => {
                return tag::lone(source, from);
            }
            Error::IllFormed(_)
            | Error::Io(_)
            | Error::InvalidAttr(_)
            | Error::Encoding(_)
            | Error::Escape(_)
            | Error::Namespace(_) => (error.to_string(), "XML 1.0"),
        };
        source.syntax(from, found, expected)
    }
}

/// Positions of text in memory fit.
fn offset(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}
