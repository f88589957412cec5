//! What is wrong with a document, and where.
//!
//! Source: `rules.md`.

use std::fmt;

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
    /// Whoever wrote it mends how it is written. SIP 400.
    Syntax,
    /// It is another kind of document: it was sent to the wrong place, or as the wrong type. SIP 415.
    Root,
    /// It is well written, and says what this kind of document cannot say. SIP 400.
    Content,
}

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {found}, expected {expected}")]
pub struct DocumentError {
    /// Who has to mend it.
    pub fault: Fault,
    /// Where.
    pub at: Position,
    /// What is there. Names of the document may stand in it, values only where the fault lies in them.
    pub found: Box<str>,
    /// What may be.
    pub expected: Box<str>,
}
