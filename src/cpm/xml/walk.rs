//! The walk itself: tokens in, elements out.

use std::borrow::Cow;
use std::ops::Range;

use quick_xml::Reader;
use quick_xml::errors::{Error, IllFormedError, SyntaxError};
use quick_xml::events::{BytesText, Event};

use super::element::{Document, Namespace, Node};
use super::source::{BRACKET, RETURN, Source};
use super::tag::{self, Inner, Name, is_white};
use super::{DocumentError, Fault, Limits};

/// What the prefix `xml` stands for without any declaration.
const XML: &str = "http://www.w3.org/XML/1998/namespace";
/// The declaration as nearly everybody writes it, without its ends.
const USUAL: &str = "xml version=\"1.0\" encoding=\"UTF-8\"";
/// Octets of a document for each element, and each attribute, that there is room for at once.
const OCTETS_EACH: usize = 44;

/// Reads all of it, or says what is wrong first.
pub(super) fn read<'s>(
    source: &'s Source<'s>,
    limits: &Limits,
) -> Result<Document<'s>, DocumentError> {
    let text = source.text();
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_comments = true;
    let room = text.len() / OCTETS_EACH + 1;
    let (elements, attributes) = (Vec::with_capacity(room), Vec::with_capacity(room));
    let document = Document { source, elements, attributes };
    let mut walk = Walk { document, limits, open: None, depth: 0 };
    // It would pass over a second byte order mark, and lose its place by that.
    if text.starts_with('\u{feff}') {
        walk.content(0, Cow::Borrowed(text), false)?;
    }
    loop {
        let from = offset(reader.buffer_position());
        match reader.read_event() {
            Ok(Event::Start(tag)) => walk.start(from, (tag.name().0.len(), tag.len()), false)?,
            Ok(Event::Empty(tag)) => walk.start(from, (tag.name().0.len(), tag.len()), true)?,
            Ok(Event::End(_)) => walk.end(offset(reader.buffer_position())),
            Ok(Event::Text(text)) => walk.characters(from, text)?,
            Ok(Event::CData(text)) => {
                let text = text.xml10_content();
                let blank = text.chars().all(is_white);
                walk.content(from, text, blank)?;
            }
            Ok(Event::GeneralRef(name)) => {
                let character = tag::reference(source, from, &name)?;
                walk.content(from, Cow::Owned(character.into()), is_white(character))?;
            }
            Ok(Event::Comment(_)) => {}
            Ok(Event::PI(pi)) => walk.instruction(from, pi.target())?,
            Ok(Event::Decl(said)) if from == 0 && &*said == USUAL => {}
            Ok(Event::Decl(said)) => walk.declaration(from, said.len())?,
            Ok(Event::DocType(_)) => return Err(walk.doctype(from)),
            Ok(Event::Eof) => break,
            Err(error) => return Err(walk.refused(&error, from)),
        }
    }
    walk.done()
}

struct Walk<'s, 'l> {
    document: Document<'s>,
    limits: &'l Limits,
    /// The innermost element that is open, and how many are.
    open: Option<usize>,
    depth: usize,
}

impl<'s> Walk<'s, '_> {
    /// A start tag of so many octets within, of which so many are its name.
    fn start(
        &mut self,
        from: usize,
        (name, length): (usize, usize),
        is_empty: bool,
    ) -> Result<(), DocumentError> {
        let (source, depth) = (self.document.source, self.depth);
        let number = self.document.elements.len();
        let is_second = self.open.is_none() && number > 0;
        if is_second || depth >= self.limits.depth || number >= self.limits.elements {
            return Err(self.superfluous(from));
        }
        let first = self.document.attributes.len();
        let most = self.limits.attributes;
        let text = source.slice(from + 1, from + 1 + length);
        let inner = Inner { source, text, from: from + 1 };
        let name = inner.read(name, most, &mut self.document.attributes)?;
        let until = from + 1 + length + if is_empty { 2 } else { 1 };
        let node = Node {
            name,
            namespace: self.namespace(from, name, first)?,
            start: from,
            inside: until,
            end: until,
            attributes: (first, self.document.attributes.len()),
            parent: self.open,
            beyond: number + 1,
            text: Cow::Borrowed(""),
        };
        self.document.elements.push(node);
        if !is_empty {
            (self.open, self.depth) = (Some(number), depth + 1);
        }
        Ok(())
    }

    /// One element more than there may be.
    #[cold]
    fn superfluous(&self, from: usize) -> DocumentError {
        let (source, limits, number) =
            (self.document.source, self.limits, self.document.elements.len());
        let (found, most) = if self.open.is_none() && number > 0 {
            return source.syntax(from, "a second root element", "the end");
        } else if self.depth >= limits.depth {
            (format!("elements {} deep", self.depth + 1), limits.depth)
        } else {
            (format!("{} elements", number + 1), limits.elements)
        };
        source.error(Fault::TooLarge, from, found, format!("at most {most}"))
    }

    /// The element that is open ends; quick-xml knows that this is its tag.
    fn end(&mut self, until: usize) {
        let beyond = self.document.elements.len();
        if let Some(node) = self.innermost() {
            (node.end, node.beyond) = (until, beyond);
            self.open = node.parent;
            self.depth -= 1;
        }
    }

    /// Text, and nothing else.
    fn characters(&mut self, from: usize, text: BytesText<'s>) -> Result<(), DocumentError> {
        let source = self.document.source;
        if source.has(BRACKET)
            && let Some(at) = text.find("]]>")
        {
            return Err(source.syntax(from + at, "`]]>` in text", "`]]&gt;`"));
        }
        let blank = text.chars().all(is_white);
        if blank && self.open.is_none() {
            return Ok(());
        }
        let has_returns = source.has(RETURN);
        let text = if has_returns { text.xml10_content() } else { text.into_inner() };
        self.content(from, text, blank)
    }

    /// Characters of the element that is open, however they were written.
    fn content(
        &mut self,
        from: usize,
        text: Cow<'s, str>,
        blank: bool,
    ) -> Result<(), DocumentError> {
        let Some(node) = self.innermost() else {
            let blank = text.len() - text.trim_start_matches(is_white).len();
            let expected = if self.document.elements.is_empty() { "an element" } else { "the end" };
            let source = self.document.source;
            return Err(source.syntax(from + blank, "text outside all elements", expected));
        };
        match node.text.is_empty() {
            true if blank => {}
            true => node.text = text,
            false => node.text.to_mut().push_str(&text),
        }
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
    fn declaration(&self, from: usize, length: usize) -> Result<(), DocumentError> {
        let source = self.document.source;
        if from != 0 {
            let expected = "an element: it may only be the very first thing";
            return Err(source.syntax(from, "an XML declaration", expected));
        }
        let (at, mut said) = (from + 2, Vec::new());
        let inner = Inner { source, text: source.slice(at, at + length), from: at };
        inner.attributes("xml".len(), 3, &mut said)?;
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
        if let Some(node) = self.open.and_then(|open| self.document.elements.get(open)) {
            let since = source.position(node.start);
            let expected = format!("`</{}>`, as it is open since {since}", node.name.whole);
            return Err(source.syntax(end, "the end of the document", expected));
        }
        if self.document.elements.is_empty() {
            return Err(source.syntax(end, "no element", "one"));
        }
        Ok(self.document)
    }

    /// What the prefix of a name stands for in the innermost element, and with its own attributes from `first` on.
    fn namespace(
        &self,
        from: usize,
        name: Name<'s>,
        first: usize,
    ) -> Result<Namespace<'s>, DocumentError> {
        let (prefix, attributes) = (name.prefix(), &self.document.attributes);
        let declared = |range: Range<usize>| {
            let mut all = attributes.get(range).unwrap_or_default().iter();
            all.find(|attribute| attribute.declares(prefix)).map(|attribute| &attribute.value)
        };
        let parent = self.open.and_then(|open| self.document.elements.get(open));
        let mut found = declared(first..attributes.len());
        if found.is_none()
            && let Some(parent) = parent
        {
            if parent.name.prefix() == prefix {
                return Ok(parent.namespace.clone());
            }
            let outer = |node: &&Node<'_>| self.document.elements.get(node.parent?);
            found = std::iter::successors(Some(parent), outer)
                .find_map(|node| declared(node.attributes.0..node.attributes.1));
        }
        Ok(match found {
            Some(uri) if uri.is_empty() => Namespace::None,
            Some(uri) => Namespace::Of(uri.clone()),
            None if prefix.is_empty() => Namespace::None,
            None if prefix == "xml" => Namespace::Of(Cow::Borrowed(XML)),
            None => return Err(self.undeclared(from, prefix)),
        })
    }

    #[cold]
    fn undeclared(&self, from: usize, prefix: &str) -> DocumentError {
        let found = format!("the prefix `{prefix}`, which nobody declared");
        self.document.source.syntax(from + 1, found, format!("xmlns:{prefix}=\"…\""))
    }

    fn innermost(&mut self) -> Option<&mut Node<'s>> {
        self.document.elements.get_mut(self.open?)
    }

    fn doctype(&self, at: usize) -> DocumentError {
        self.document.source.syntax(at, "a DOCTYPE", "an element: no DTD is read")
    }

    /// A token that quick-xml does not take, in our words.
    #[cold]
    fn refused(&self, error: &Error, from: usize) -> DocumentError {
        let source = self.document.source;
        let text = source.slice(from, source.text().len());
        let (found, expected): (String, &str) = match error {
            Error::IllFormed(IllFormedError::MismatchedEndTag { expected, found }) => {
                let open = self.open.and_then(|open| self.document.elements.get(open));
                let since = source.position(open.map_or(0, |node| node.start));
                let expected = format!("`</{expected}>`, as it is open since {since}");
                return source.syntax(from, format!("`</{found}>`"), expected);
            }
            Error::IllFormed(IllFormedError::UnmatchedEndTag(found)) => {
                (format!("`</{found}>` that closes nothing"), "the end")
            }
            Error::Syntax(SyntaxError::UnclosedDoctype)
            | Error::IllFormed(IllFormedError::MissingDoctypeName) => return self.doctype(from),
            Error::Syntax(
                SyntaxError::UnclosedTag
                | SyntaxError::UnclosedSingleQuotedAttributeValue
                | SyntaxError::UnclosedDoubleQuotedAttributeValue,
            ) => {
                // What stands in it says better what keeps the tag from ending.
                let inner =
                    Inner { source, text: text.get(1..).unwrap_or_default(), from: from + 1 };
                let name = inner.text.find(is_white).unwrap_or(inner.text.len());
                if !text.starts_with("</")
                    && let Err(error) = inner.read(name, self.limits.attributes, &mut Vec::new())
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
