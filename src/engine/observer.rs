//! What a person wants to measure while a worker works.

use std::time::Duration;

use crate::domain::time::Timestamp;
use crate::record::input::{Kind, Rejected};

/// Sees a worker work. Every method may be left out; `()` sees nothing.
///
/// What it sees is what was tried: after a failed commit the same inputs are seen again.
pub trait Observer {
    /// An input was read: its type, who told it, and when the log took it.
    fn input(&mut self, _kind: Kind, _source: &str, _logged: Timestamp) {}

    /// An input was refused.
    fn refused(&mut self, _why: &Rejected) {}

    /// An input was taken before; it was also told as an input.
    fn repeated(&mut self) {}

    /// An input changed nothing; it was also told as an input.
    fn ignored(&mut self) {}

    /// An alarm rang this long after it was due, before its commit.
    fn rang(&mut self, _late: Duration) {}

    /// What was decided since the last commit is being made durable.
    fn committing(&mut self) {}

    /// It is durable.
    fn committed(&mut self) {}

    /// It is not: the log did not answer.
    fn failed(&mut self) {}
}

impl Observer for () {}
