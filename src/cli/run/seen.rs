//! What a partition says of itself, for metrics and for whoever asks whether all is well.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::keeper::Kept;
use super::shards::lock;
use crate::cli::clock::Stopwatch;
use crate::domain::time::Timestamp;
use crate::engine::census::{Census, Counted};
use crate::engine::partition::Partition;

/// Tables of users counted between two steps.
const TABLES: usize = 8;
/// How often it is said.
const SAY_EVERY: Duration = Duration::from_millis(500);

/// What a partition says of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Whether this process decides for it.
    pub(super) is_here: bool,
    /// Moves as long as it works.
    pub(super) beat: u64,
    /// Users of whom something is known.
    pub(super) users: usize,
    /// Alarms that will ring.
    pub(super) timers: usize,
    /// Messages that wait.
    pub(super) counted: Counted,
    /// The next record.
    pub(super) seq: u64,
    /// When the last one was decided.
    pub(super) at: Timestamp,
    /// Bytes of the journal, where it is on our own disk.
    pub(super) bytes: u64,
    /// Inputs that wait in the log.
    pub(super) lag: u64,
    /// What is kept of the state.
    pub(super) kept: Kept,
    /// The policy in force.
    pub(super) policy: String,
}

/// Counts, and says now and then what there is.
#[derive(Debug)]
pub(super) struct Report {
    census: Census,
    seen: Arc<Mutex<Seen>>,
    said: Stopwatch,
}

impl Report {
    pub(super) fn to(seen: Arc<Mutex<Seen>>) -> Self {
        Self { census: Census::default(), seen, said: Stopwatch::start() }
    }

    /// Counts a little; says what there is when it is time, `more` being what only the caller knows.
    pub(super) fn go_on(
        &mut self,
        partition: &Partition,
        now: Timestamp,
        more: impl FnOnce(&mut Seen),
    ) {
        let counted = self.census.count_on(partition.state(), now, TABLES);
        let mut seen = lock(&self.seen);
        if counted.is_none() && seen.is_here && self.said.elapsed() < SAY_EVERY {
            return;
        }
        self.said = Stopwatch::start();
        seen.is_here = true;
        seen.beat += 1;
        seen.timers = partition.timers();
        let state = partition.state();
        seen.users = state.users.len();
        seen.counted = counted.unwrap_or_else(|| seen.counted.clone());
        seen.seq = state.next_seq;
        seen.at = state.at;
        seen.policy = state.policy.digest();
        more(&mut seen);
    }

    /// The partition is elsewhere from here on.
    pub(super) fn end(self) {
        *lock(&self.seen) = Seen::default();
    }
}
