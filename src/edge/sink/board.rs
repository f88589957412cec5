//! The commands that wait for a webhook: those of one user in their order, those of different users at
//! once.
//!
//! ```text
//! read ──► users ──► ready ──► under way ──► settled
//!            ▲        ▲            │
//!            │        └─ waiting ◄─┘ again
//!            └── the next command of the user
//! ```
//!
//! A user who is known is in one place only: ready, waiting, or under way.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::cursor::{Place, Progress};
use super::outcome::Command;
use crate::domain::time::Timestamp;

/// The most that wait.
const MOST: usize = 10_000;
/// The most bytes that wait.
const MOST_BYTES: usize = 64 << 20;

/// A command to post.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) partition: usize,
    pub(super) seq: u64,
    pub(super) command: Command,
    pub(super) body: Box<[u8]>,
    /// When it is over.
    pub(super) until: Timestamp,
    /// How often it was posted.
    pub(super) tries: u32,
}

/// What there is for a worker.
#[derive(Debug)]
pub(super) enum Next {
    /// A command to post; its user is under way.
    Job(Arc<str>, Box<Job>),
    /// Nothing before this.
    Wait(Option<Timestamp>),
}

/// All commands that were read and are not settled.
#[derive(Debug)]
pub(super) struct Board {
    users: FxHashMap<Arc<str>, VecDeque<Job>>,
    ready: VecDeque<Arc<str>>,
    waiting: BTreeSet<(Timestamp, Arc<str>)>,
    partitions: Vec<Progress>,
    count: usize,
    bytes: usize,
}

impl Board {
    /// An empty one, which goes on after `places`.
    pub(super) fn after(places: &[Place]) -> Self {
        Self {
            users: FxHashMap::default(),
            ready: VecDeque::new(),
            waiting: BTreeSet::new(),
            partitions: places.iter().map(Progress::after).collect(),
            count: 0,
            bytes: 0,
        }
    }

    /// Whether more may be read.
    pub(super) fn has_room(&self) -> bool {
        self.count < MOST && self.bytes < MOST_BYTES
    }

    /// Where it stands, a partition each.
    pub(super) fn places(&self) -> Vec<Place> {
        self.partitions.iter().map(Progress::place).collect()
    }

    /// Whether a record is still to be sent.
    pub(super) fn wants(&self, partition: usize, seq: u64) -> bool {
        self.partitions.get(partition).is_some_and(|progress| progress.wants(seq))
    }

    /// Takes the commands of a record.
    pub(super) fn take(&mut self, partition: usize, seq: u64, jobs: Vec<(Arc<str>, Job)>) {
        if let Some(progress) = self.partitions.get_mut(partition) {
            progress.read(seq, u32::try_from(jobs.len()).unwrap_or(u32::MAX));
        }
        for (user, job) in jobs {
            self.count += 1;
            self.bytes += job.body.len();
            if let Some(queue) = self.users.get_mut(&user) {
                queue.push_back(job);
            } else {
                self.users.insert(Arc::clone(&user), VecDeque::from([job]));
                self.ready.push_back(user);
            }
        }
    }

    /// What a worker does next.
    pub(super) fn next(&mut self, now: Timestamp) -> Next {
        while let Some((at, _)) = self.waiting.first()
            && *at <= now
        {
            self.ready.extend(self.waiting.pop_first().map(|(_, user)| user));
        }
        while let Some(user) = self.ready.pop_front() {
            if let Some(job) = self.users.get_mut(&user).and_then(VecDeque::pop_front) {
                return Next::Job(user, Box::new(job));
            }
        }
        Next::Wait(self.waiting.first().map(|(at, _)| *at))
    }

    /// A command is settled: its user goes on with the next one.
    pub(super) fn settle(&mut self, user: Arc<str>, job: &Job) {
        self.count -= 1;
        self.bytes -= job.body.len();
        if let Some(progress) = self.partitions.get_mut(job.partition) {
            progress.settle(job.seq);
        }
        if self.users.get(&user).is_some_and(VecDeque::is_empty) {
            self.users.remove(&user);
        } else {
            self.ready.push_back(user);
        }
    }

    /// A command is posted again at `at`; its user waits with it.
    pub(super) fn again(&mut self, user: Arc<str>, job: Job, at: Timestamp) {
        if let Some(queue) = self.users.get_mut(&user) {
            queue.push_front(job);
        }
        self.waiting.insert((at, user));
    }
}
