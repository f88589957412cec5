//! A place in a journal: a time or a seq.

use std::str::FromStr;

use anyhow::anyhow;

use crate::domain::time::Timestamp;

/// A place in a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Point {
    /// After the record of this number.
    Seq(u64),
    /// After all that was decided by then.
    Time(Timestamp),
}

impl FromStr for Point {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if let Ok(seq) = text.parse() {
            return Ok(Self::Seq(seq));
        }
        text.parse().map(Self::Time).map_err(|_| {
            anyhow!("`{text}` is neither a seq such as 17 nor a time such as 2026-11-21T08:00:00Z")
        })
    }
}

impl Point {
    /// Whether it lies before a record.
    pub(in crate::cli) fn is_before(self, seq: u64, at: Timestamp) -> bool {
        match self {
            Self::Seq(point) => point < seq,
            Self::Time(point) => point < at,
        }
    }

    /// Whether it lies after a record, so that the record is no part of what starts here.
    pub(in crate::cli) fn is_after(self, seq: u64, at: Timestamp) -> bool {
        match self {
            Self::Seq(point) => point > seq,
            Self::Time(point) => point > at,
        }
    }

    /// The instant it stands for, where the last record before it was decided at `at`.
    pub(in crate::cli) fn instant(self, at: Timestamp) -> Timestamp {
        match self {
            Self::Seq(_) => at,
            Self::Time(point) => point,
        }
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Seq(seq) => write!(f, "seq {seq}"),
            Self::Time(time) => write!(f, "{time}"),
        }
    }
}
