//! Why a request is not done, for its caller: a SIP status, a word, a sentence with what to do.

use super::reason;
use crate::cpm::{DocumentError, Fault, Position};
use crate::edge::reach::{NotTaken, Silent};
use crate::engine::intake::Refused;
use crate::record::input::Rejected;

/// Why a request is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The SIP status.
    pub status: u16,
    /// In one word, for programs.
    pub code: &'static str,
    /// In a sentence, with what to do.
    pub says: String,
    /// The Warning header's value.
    pub warning: Option<String>,
    /// Where in the document.
    pub at: Option<Position>,
    /// After how many seconds to try again.
    pub again_in: Option<u64>,
}

impl std::fmt::Display for Denial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.status, reason(self.status), self.says)
    }
}

impl Denial {
    pub(super) fn new(status: u16, code: &'static str, says: impl Into<String>) -> Self {
        Self { status, code, says: says.into(), warning: None, at: None, again_in: None }
    }

    pub(super) fn bad(code: &'static str, says: impl Into<String>) -> Self {
        Self::new(400, code, says)
    }

    pub(super) fn forbidden(code: &'static str, says: impl Into<String>) -> Self {
        Self::new(403, code, says)
    }

    pub(super) fn unavailable(code: &'static str, says: impl Into<String>) -> Self {
        Self { again_in: Some(1), ..Self::new(503, code, says) }
    }

    /// Its content type is `found`, and `expected` is read.
    pub(super) fn media_type(found: Option<&str>, expected: &str) -> Self {
        let found: String = found.unwrap_or("none").chars().take(100).collect();
        Self::new(415, "content-type", format!("content type `{found}`, expected {expected}"))
    }
}

impl From<DocumentError> for Denial {
    fn from(error: DocumentError) -> Self {
        let (status, code) = match error.fault {
            Fault::TooLarge => (413, "too-large"),
            Fault::Charset => (415, "charset"),
            Fault::Root => (415, "root"),
            Fault::Syntax => (400, "syntax"),
            Fault::Content => (400, "content"),
        };
        let says = format!("{error}; nothing of it was done");
        Self { at: Some(error.at), ..Self::new(status, code, says) }
    }
}

impl From<Rejected> for Denial {
    fn from(why: Rejected) -> Self {
        let status = if matches!(why, Rejected::TooLarge { .. }) { 413 } else { 400 };
        Self::new(status, why.word(), format!("{why}; nothing of it was done"))
    }
}

impl From<Silent> for Denial {
    fn from(why: Silent) -> Self {
        match why {
            Silent::Elsewhere(partition) => Self::unavailable(
                "elsewhere",
                format!(
                    "partition {partition}, where this user is, is not decided here now: send it to \
                     another member of the group"
                ),
            ),
            Silent::Stopping => Self::unavailable("stopping", "the daemon is stopping"),
            Silent::Slow => {
                Self::unavailable("slow", "the user's partition does not answer: see /readyz")
            }
        }
    }
}

impl From<NotTaken> for Denial {
    fn from(why: NotTaken) -> Self {
        match why {
            NotTaken::Refused(refused @ Refused::Full) => {
                Self::unavailable("full", format!("{refused}; nothing of it was done"))
            }
            NotTaken::Refused(refused @ Refused::TooMany(_)) => {
                Self::new(413, "too-large", format!("{refused}; nothing of it was done"))
            }
            NotTaken::Refused(refused @ Refused::Closed) => {
                Self::unavailable("stopping", refused.to_string())
            }
            NotTaken::Unknown(why) => Self::unavailable(
                "unknown",
                format!("{why}: it may or may not be taken. Send it again: it is not done twice"),
            ),
        }
    }
}
