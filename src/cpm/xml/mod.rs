//! One walk over XML that strangers wrote: strict on syntax, bounded, each fault with its place.
//!
//! The tokens are quick-xml's; what it leaves open is decided here: names, attributes, references,
//! namespaces, nesting, and how much of each. No DTD is read and no entity expanded but the five that
//! XML has and character references, so there is nothing to blow up.
//!
//! Source: XML 1.0, Namespaces in XML 1.0; `rules.md`.

mod element;
mod repair;
mod source;
mod tag;
mod walk;
mod write;

use std::fmt;

pub use element::{Document, Element, Kept, Namespace};
pub use source::{Edit, Source};
pub use write::{Layout, Writer};

/// How much a document may hold. Each bound is the first number that is still taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of the document; also of the unknown elements kept from it. Default 65,536.
    pub octets: usize,
    /// Elements within elements, the root being the first. Default 32.
    pub depth: usize,
    /// Attributes of one element, namespace declarations included. Default 32.
    pub attributes: usize,
    /// Elements in all. Default 16,384, which is more than fit the default octets.
    pub elements: usize,
    /// Things that one document asks for: interworking events, objects, rules, list entries. Default
    /// 1,000.
    pub items: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { octets: 65_536, depth: 32, attributes: 32, elements: 16_384, items: 1_000 }
    }
}

/// A place in a document. Shape: both count from 1; a column is a character, whatever its width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Lines end at LF, CR LF or CR.
    pub line: usize,
    /// Of the line; a byte order mark is none.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Who has to mend a document, and what a protocol answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Whoever sent it sends less at once, or the operator allows more. SIP 413.
    TooLarge,
    /// Whoever sent it writes UTF-8. SIP 415.
    Charset,
    /// Whoever wrote it mends the XML. SIP 400.
    Syntax,
    /// It is another kind of document: it was sent to the wrong place, or as the wrong type. SIP 415.
    Root,
    /// It is sound XML, and says what this kind of document cannot say. SIP 400.
    Content,
}

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {found}, expected {expected}")]
pub struct XmlError {
    /// Who has to mend it.
    pub fault: Fault,
    /// Where.
    pub at: Position,
    /// What is there. Names of the document may stand in it, values only where the fault lies in them.
    pub found: Box<str>,
    /// What may be.
    pub expected: Box<str>,
}

#[cfg(test)]
mod tests;
