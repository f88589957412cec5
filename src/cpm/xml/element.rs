//! A document that was read: its elements, by name and namespace.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::source::Source;
use super::tag::{Attribute, Name};
use super::write::escaped;
use super::{DocumentError, Fault, Limits, Position, walk};

/// A well-formed document within its limits.
#[derive(Debug)]
pub struct Document<'s> {
    pub(super) source: &'s Source<'s>,
    pub(super) elements: Vec<Node<'s>>,
    pub(super) attributes: Vec<Attribute<'s>>,
}

/// An element as the document holds it; numbers are places in `Document::elements`.
#[derive(Debug)]
pub(super) struct Node<'s> {
    pub(super) name: Name<'s>,
    pub(super) namespace: Namespace<'s>,
    /// Offsets: of its `<`, behind its start tag, behind its end tag.
    pub(super) start: usize,
    pub(super) inside: usize,
    pub(super) end: usize,
    pub(super) attributes: (usize, usize),
    pub(super) parent: Option<usize>,
    /// The number of the first element that is not in it: children follow their parent.
    pub(super) beyond: usize,
    /// Its own characters, without those of its children.
    pub(super) text: Cow<'s, str>,
}

/// Whose vocabulary an element belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespace<'s> {
    /// None is declared.
    None,
    /// This URI.
    Of(Cow<'s, str>),
}

/// An element that we do not know, as XML that stands on its own: what it needs of the namespaces
/// around it, it declares itself. It is what was written, comments included.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kept(pub(super) Box<str>);

impl Kept {
    /// An element that somebody wrote for a document of this namespace.
    ///
    /// # Errors
    ///
    /// As [`Document::read`].
    pub fn new(xml: &str, around: &str, limits: &Limits) -> Result<Self, DocumentError> {
        let source = Source::new(xml.as_bytes(), limits)?;
        Ok(Document::read(&source, limits)?.root().kept(around))
    }

    /// The XML.
    #[must_use]
    pub fn as_xml(&self) -> &str {
        &self.0
    }

    /// Its element's name, prefix included.
    #[must_use]
    pub fn name(&self) -> &str {
        let ends = |c: char| c.is_whitespace() || c == '/' || c == '>';
        self.0.trim_start_matches('<').split(ends).next().unwrap_or_default()
    }
}

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

/// Taken as an element of an event report, the one document whose unknown parts people write.
impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let xml = String::deserialize(from)?;
        Self::new(&xml, crate::cpm::evfw::NAMESPACE, &Limits::default()).map_err(de::Error::custom)
    }
}

impl<'s> Document<'s> {
    /// Reads all of a document.
    ///
    /// # Errors
    ///
    /// The first fault, with its place: [`Fault::Syntax`], [`Fault::Charset`] for a declaration of
    /// another encoding, [`Fault::TooLarge`] beyond a limit.
    pub fn read(source: &'s Source<'s>, limits: &Limits) -> Result<Self, DocumentError> {
        walk::read(source, limits)
    }

    /// The one element that holds all others.
    #[must_use]
    pub fn root(&self) -> Element<'_, 's> {
        Element { document: self, at: 0 }
    }

    /// How many elements there are.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.elements.len()
    }
}

/// An element of a document.
#[derive(Clone, Copy, Debug)]
pub struct Element<'d, 's> {
    document: &'d Document<'s>,
    at: usize,
}

impl<'d, 's> Element<'d, 's> {
    fn node(&self) -> Option<&'d Node<'s>> {
        self.document.elements.get(self.at)
    }

    /// Its name as written, prefix included.
    #[must_use]
    pub fn name(&self) -> &'s str {
        self.node().map_or("", |node| node.name.whole)
    }

    /// Its name without prefix.
    #[must_use]
    pub fn local(&self) -> &'s str {
        self.node().map_or("", |node| node.name.local)
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &'d Namespace<'s> {
        self.node().map_or(&Namespace::None, |node| &node.namespace)
    }

    /// Whether it has this local name, in any case of letters.
    #[must_use]
    pub fn is(&self, local: &str) -> bool {
        self.local().eq_ignore_ascii_case(local)
    }

    /// Whether it belongs to this namespace, or to none.
    #[must_use]
    pub fn belongs_to(&self, uri: &str) -> bool {
        match self.namespace() {
            Namespace::None => true,
            Namespace::Of(of) => of == uri,
        }
    }

    /// Whether it belongs to this namespace and says so.
    #[must_use]
    pub fn is_of(&self, uri: &str) -> bool {
        matches!(self.namespace(), Namespace::Of(of) if of == uri)
    }

    /// The elements in it, in order.
    pub fn children(&self) -> impl Iterator<Item = Self> + use<'d, 's> {
        let (document, beyond) = (self.document, self.node().map_or(0, |node| node.beyond));
        let within = move |at: usize| Some(at).filter(|at| *at < beyond);
        let next = move |at: &usize| within(document.elements.get(*at)?.beyond);
        std::iter::successors(within(self.at + 1), next).map(move |at| Element { document, at })
    }

    /// Its own characters, CDATA included, comments and children not, without white space around.
    #[must_use]
    pub fn text(&self) -> &'d str {
        self.node().map_or("", |node| node.text.trim())
    }

    /// The value of an attribute without prefix. Exactly this name goes first, then any case.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&'d str> {
        self.find(name).map(|attribute| &*attribute.value)
    }

    fn find(&self, name: &str) -> Option<&'d Attribute<'s>> {
        let all = self.attributes();
        let exact = all.iter().find(|attribute| attribute.name == name);
        exact.or_else(|| all.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name)))
    }

    fn attributes(&self) -> &'d [Attribute<'s>] {
        let range = self.node().map_or((0, 0), |node| node.attributes);
        self.document.attributes.get(range.0..range.1).unwrap_or_default()
    }

    /// Where it begins.
    #[must_use]
    pub fn position(&self) -> Position {
        self.document.source.position(self.node().map_or(0, |node| node.start))
    }

    /// A fault of what it says, at its beginning.
    #[must_use]
    pub fn error(
        &self,
        found: impl Into<Box<str>>,
        expected: impl Into<Box<str>>,
    ) -> DocumentError {
        self.fault(Fault::Content, found, expected)
    }

    /// A fault of another kind, at its beginning.
    #[must_use]
    pub fn fault(
        &self,
        fault: Fault,
        found: impl Into<Box<str>>,
        expected: impl Into<Box<str>>,
    ) -> DocumentError {
        self.document.source.error(fault, self.node().map_or(0, |node| node.start), found, expected)
    }

    /// A fault of an attribute's value.
    #[must_use]
    pub fn value_error(
        &self,
        name: &str,
        found: impl Into<Box<str>>,
        expected: impl Into<Box<str>>,
    ) -> DocumentError {
        match self.find(name) {
            Some(value) => self.document.source.error(Fault::Content, value.at, found, expected),
            None => self.error(found, expected),
        }
    }

    /// A fault of its characters.
    #[must_use]
    pub fn text_error(
        &self,
        found: impl Into<Box<str>>,
        expected: impl Into<Box<str>>,
    ) -> DocumentError {
        let inside = self.node().map_or(0, |node| node.inside);
        let (start, end) = self.node().map_or((0, 0), |node| (node.inside, node.end));
        let text = self.document.source.slice(start, end);
        let blank = text.len() - text.trim_start().len();
        self.document.source.error(Fault::Content, inside + blank, found, expected)
    }

    /// The element as XML that stands on its own, in a document whose own namespace is `around`.
    #[must_use]
    pub fn kept(&self, around: &str) -> Kept {
        let Some(node) = self.node() else { return Kept("".into()) };
        let slice = self.document.source.slice(node.start, node.end);
        let open = self.document.source.slice(node.start, node.inside);
        let mut needed = String::new();
        let declared = |name: &str| self.attributes().iter().any(|own| own.name == name);
        if !declared("xmlns") {
            let default = self.around("xmlns").unwrap_or_default();
            if default != around {
                needed.push_str(&format!(" xmlns=\"{}\"", escaped(default)));
            }
        }
        for name in self.prefixes() {
            let prefix = name.get("xmlns:".len()..).unwrap_or_default();
            if !declared(name) && slice.contains(&format!("{prefix}:")) {
                let uri = self.around(name).unwrap_or_default();
                needed.push_str(&format!(" {name}=\"{}\"", escaped(uri)));
            }
        }
        if needed.is_empty() {
            return Kept(slice.into());
        }
        let name_end = 1 + node.name.whole.len();
        let (name, rest) = slice.split_at_checked(name_end.min(open.len())).unwrap_or((slice, ""));
        Kept(format!("{name}{needed}{rest}").into())
    }

    /// The elements around it, the nearest first.
    fn ancestors(&self) -> impl Iterator<Item = Self> + use<'d, 's> {
        let document = self.document;
        let parent = move |at: usize| document.elements.get(at).and_then(|node| node.parent);
        std::iter::successors(parent(self.at), move |at| parent(*at))
            .map(move |at| Element { document, at })
    }

    /// What a declaration around it says.
    fn around(&self, name: &str) -> Option<&'d str> {
        self.ancestors()
            .find_map(|outer| outer.attributes().iter().find(|declared| declared.name == name))
            .map(|declared| &*declared.value)
    }

    /// The prefixes declared around it, each once, as attribute names.
    fn prefixes(&self) -> Vec<&'s str> {
        let mut names = Vec::new();
        for outer in self.ancestors() {
            for declared in outer.attributes() {
                if declared.name.starts_with("xmlns:") && !names.contains(&declared.name) {
                    names.push(declared.name);
                }
            }
        }
        names.sort_unstable();
        names
    }
}
