//! One walk over XML that strangers wrote: strict on syntax, bounded, each fault with its place.
//!
//! The tokens are quick-xml's, and so are the attributes of a tag and the balance of tags; what it leaves open is
//! decided here: names, values, references, namespaces, and how much of each. No DTD is read and no entity expanded
//! but the five that XML has and character references, so there is nothing to blow up. `ops/bench cpm` says what
//! that costs.
//!
//! Source: XML 1.0, Namespaces in XML 1.0; `rules.md`.

mod element;
mod repair;
mod source;
mod tag;
mod walk;
mod write;

pub use element::{Document, Element, Kept, Namespace};
pub use source::{Edit, Source};
pub use write::{Layout, Writer};

use super::{DocumentError, Fault, Position};

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

#[cfg(test)]
mod tests;
