//! The standards' documents: bytes in, values out, and back. No file, no clock, no socket.
//!
//! ```text
//!  bytes ──► xml (one strict, bounded walk) ──► evfw, imdn, preferences
//!        └─► cpim (headers, blank line, MIME) ──► what it wraps
//! ```
//!
//! Reading is tolerant about what a document means (spellings, order, foreign elements) and strict about
//! how it is written: no DTD, no entities, no guessing where a tag ends. A document is read whole or not
//! at all, so nothing of a bad one takes effect. Writing is strict, one way only. What tolerance means
//! in each case are the decisions A-3 to A-42 of `rules.md` 2.7.

pub mod cpim;
pub mod evfw;
mod fault;
pub mod imdn;
pub mod preferences;
pub mod xml;

pub use fault::{DocumentError, Fault, Position};

/// Whether a Content-Type is this type and subtype: in any case of letters, whatever its parameters.
/// (A-43)
#[must_use]
pub fn is_type(content_type: &str, essence: &str) -> bool {
    let found = content_type.split(';').next().unwrap_or_default();
    found.trim().eq_ignore_ascii_case(essence)
}
