//! What the journal says so far: users, duplicates, positions, policy.
//!
//! [`State::apply`] is the one way from a journal record to state: restore, replay and the checkpoint's
//! tail all go through it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::checkpoint::Cut;
use super::ports::Position;
use super::users::{UserKey, Users};
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;
use crate::record::envelope::Envelope;
use crate::record::head::Named;
use crate::record::input::Kind;
use crate::record::journal::{BadRecord, RULES, Record};

/// All that one partition's journal adds up to.
#[derive(Debug, Default)]
pub struct State {
    /// The users of whom something is known.
    pub users: Users,
    /// What must not be taken twice.
    pub duplicates: Duplicates,
    /// The `seq` of the next record.
    pub next_seq: u64,
    /// The `epoch` of the last record.
    pub epoch: u64,
    /// When the last record was decided.
    pub at: Timestamp,
    /// The policy in force.
    pub policy: Arc<Policy>,
    /// Whether a record has said which it is.
    pub policy_told: bool,
    /// Into how many partitions users were spread when a record last said so.
    pub partitions: Option<u32>,
    /// The last input taken of each topic and partition.
    pub taken: Vec<(String, u32, u64)>,
    /// The checkpoint that is being taken: see [`checkpoint`](super::checkpoint).
    pub(super) cut: Option<Box<Cut>>,
}

/// Why a journal cannot be followed: a broken transaction, or bytes that are not ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenJournal {
    /// A record is missing, or comes again.
    #[error("seq {found} where {expected} must follow: a record is missing, repeated or moved")]
    Gap {
        /// Its number.
        found: u64,
        /// The number it must have.
        expected: u64,
    },
    /// An owner wrote after it was replaced.
    #[error("seq {seq} has epoch {found} after epoch {before}: an owner wrote after its successor")]
    Epoch {
        /// Its number.
        seq: u64,
        /// Its epoch.
        found: u64,
        /// The epoch before it.
        before: u64,
    },
    /// The line is no record of ours.
    #[error("seq {expected}: {why}")]
    Bad {
        /// The number it must have.
        expected: u64,
        /// What is wrong with it.
        why: BadRecord,
    },
    /// Users were spread otherwise, so many are where they do not belong.
    #[error(
        "it was written as one of {was} partitions, and now there are {are}: users are in others than \
         before; export what is there, make new topics, and load it (`deferd replay --export`)"
    )]
    Partitions {
        /// How many there were.
        was: u32,
        /// How many there are.
        are: u32,
    },
    /// Its policy is none.
    #[error("seq {seq}: its policy cannot be read: {why}")]
    Policy {
        /// Its number.
        seq: u64,
        /// What is wrong with it.
        why: String,
    },
}

impl State {
    /// Moves the state by one record of its journal. Returns whose state moved.
    ///
    /// # Errors
    ///
    /// [`BrokenJournal`]: the record does not follow the one before. The state is as before.
    pub fn apply(&mut self, record: &Record<'_>) -> Result<Option<UserKey>, BrokenJournal> {
        self.follows(record)?;
        let bad = |why| BrokenJournal::Bad { expected: record.seq, why };
        if record.rules > RULES {
            return Err(bad(BadRecord::Newer { found: record.rules }));
        }
        let address = record.address().map_err(bad)?;
        if let Some(Changed { data, partitions }) = changed(record)? {
            self.policy = Arc::new(data);
            self.policy_told = true;
            self.partitions = partitions.or(self.partitions);
        }
        self.note(record);
        let Some(address) = address.filter(|_| !record.events.is_empty()) else { return Ok(None) };
        let key = self.users.key(&address);
        let user = self.users.open(key, &address);
        for event in &record.events {
            user.evolve(event);
        }
        if user.is_forgettable(self.at, &self.policy) {
            self.users.drop(key);
        }
        Ok(Some(key))
    }

    fn follows(&self, record: &Record<'_>) -> Result<(), BrokenJournal> {
        if record.seq != self.next_seq {
            return Err(BrokenJournal::Gap { found: record.seq, expected: self.next_seq });
        }
        if record.epoch < self.epoch {
            let (seq, found, before) = (record.seq, record.epoch, self.epoch);
            return Err(BrokenJournal::Epoch { seq, found, before });
        }
        Ok(())
    }

    /// How far we got, and what must not come again.
    fn note(&mut self, record: &Record<'_>) {
        self.next_seq = record.seq + 1;
        self.epoch = record.epoch;
        self.at = self.at.max(record.at);
        if let Some((topic, partition, offset)) = record.pos.as_deref().and_then(position) {
            self.take(topic, partition, offset);
        }
        if let Some(digest) = record.input.and_then(|raw| remembered(raw.get())) {
            self.duplicates.remember(digest, record.at);
        }
        self.duplicates.forget(self.at, &self.policy);
    }

    /// Notes that an input was taken.
    pub fn take(&mut self, topic: &str, partition: u32, offset: u64) {
        let known = self.taken.iter_mut().find(|(t, p, _)| t == topic && *p == partition);
        match known {
            Some((.., taken)) => *taken = offset,
            None => self.taken.push((topic.to_owned(), partition, offset)),
        }
    }

    /// The positions that a log resumes after.
    #[must_use]
    pub fn positions(&self) -> Vec<Position> {
        let position = |(topic, partition, offset): &(String, u32, u64)| Position {
            topic: topic.as_str().into(),
            partition: *partition,
            offset: *offset,
        };
        self.taken.iter().map(position).collect()
    }
}

/// What a record that changes the policy says.
#[derive(Deserialize)]
struct Changed {
    data: Policy,
    partitions: Option<u32>,
}

fn changed(record: &Record<'_>) -> Result<Option<Changed>, BrokenJournal> {
    let Some(raw) = record.input.filter(|_| record.user.is_none()) else { return Ok(None) };
    serde_json::from_str(raw.get())
        .map(Some)
        .map_err(|error| BrokenJournal::Policy { seq: record.seq, why: error.to_string() })
}

/// The policy that a record changes to, if it is one that does.
///
/// # Errors
///
/// [`BrokenJournal::Policy`]: it cannot be read.
pub fn policy_of(record: &Record<'_>) -> Result<Option<Policy>, BrokenJournal> {
    Ok(changed(record)?.map(|changed| changed.data))
}

/// Topic, partition and offset of `topic/partition/offset`.
fn position(text: &str) -> Option<(&str, u32, u64)> {
    let (rest, offset) = text.rsplit_once('/')?;
    let (topic, partition) = rest.rsplit_once('/')?;
    Some((topic, partition.parse().ok()?, offset.parse().ok()?))
}

/// The digest of source and id of an input that must not be taken twice.
fn remembered(raw: &str) -> Option<u128> {
    let is_remembered = |kind: &str| Kind::of(kind).is_ok_and(Kind::is_remembered);
    if let Some(named) = Named::skim(raw) {
        return is_remembered(named.kind).then(|| identity(named.source, named.id));
    }
    let envelope = Envelope::read_text(raw).ok()?;
    is_remembered(&envelope.kind).then(|| identity(&envelope.source, &envelope.id))
}

/// What tells an input from all others: 16 octets of SHA-256 over its source and id. A collision would
/// lose a message, so it is no cheaper hash.
#[must_use]
pub fn identity(source: &str, id: &str) -> u128 {
    let mut hash = Sha256::new();
    hash.update(source.as_bytes());
    hash.update([0]);
    hash.update(id.as_bytes());
    hash.finalize().iter().take(16).fold(0, |sum, octet| sum << 8 | u128::from(*octet))
}

/// The inputs that must not be taken twice, for as long as `duplicate_window` says.
#[derive(Debug, Default)]
pub struct Duplicates {
    known: FxHashMap<u128, Timestamp>,
    order: VecDeque<(u128, Timestamp)>,
    /// How many stood before the first of them: each has a number that never changes.
    gone: u64,
    /// The checkpoint that is being taken.
    walk: Option<DuplicatesWalk>,
}

/// How far a checkpoint has come: those of these numbers are still to be seen. One that is forgotten
/// before it was reached is kept; what comes later has a higher number.
#[derive(Debug)]
pub struct DuplicatesWalk {
    left: Range<u64>,
    kept: VecDeque<(u128, Timestamp)>,
}

impl Duplicates {
    /// Whether it was taken within the window before `now`.
    #[must_use]
    pub fn contains(&self, digest: u128, now: Timestamp, policy: &Policy) -> bool {
        self.known.get(&digest).is_some_and(|at| *at + policy.duplicate_window > now)
    }

    /// Makes room for that many more.
    pub fn reserve(&mut self, more: usize) {
        self.known.reserve(more);
        self.order.reserve(more);
    }

    /// Remembers one that was taken at `at`.
    pub fn remember(&mut self, digest: u128, at: Timestamp) {
        if self.known.insert(digest, at) != Some(at) {
            self.order.push_back((digest, at));
        }
    }

    /// Forgets what is older than the window.
    pub fn forget(&mut self, now: Timestamp, policy: &Policy) {
        while let Some((digest, at)) = self.order.front().copied()
            && at + policy.duplicate_window <= now
        {
            // Taken again since, it stands further back a second time.
            if self.known.get(&digest) == Some(&at) {
                self.known.remove(&digest);
            }
            if let Some(walk) = self.walk.as_mut().filter(|walk| walk.left.contains(&self.gone)) {
                walk.left.start += 1;
                walk.kept.push_back((digest, at));
            }
            self.order.pop_front();
            self.gone += 1;
        }
    }

    /// Begins to walk over all of them as they are now.
    pub fn begin_walk(&mut self) {
        self.walk = Some(self.walk());
    }

    /// Gives up the walk.
    pub fn end_walk(&mut self) {
        self.walk = None;
    }

    /// A walk over all of them, for as long as nothing changes under it.
    #[must_use]
    pub fn walk(&self) -> DuplicatesWalk {
        let left = self.gone..self.gone + self.order.len() as u64;
        DuplicatesWalk { left, kept: VecDeque::new() }
    }

    /// Walks on, over at most `most`, the oldest first. Whether there are more.
    pub fn walk_on(&mut self, most: usize, see: impl FnMut(u128, Timestamp)) -> bool {
        let Some(mut walk) = self.walk.take() else { return false };
        let more = self.walk_by(&mut walk, most, see);
        self.walk = more.then_some(walk);
        more
    }

    /// The same, of a walk that nothing changes under.
    pub fn walk_by(
        &self,
        walk: &mut DuplicatesWalk,
        most: usize,
        mut see: impl FnMut(u128, Timestamp),
    ) -> bool {
        for _ in 0..most {
            let next = walk.kept.pop_front().or_else(|| {
                let number = walk.left.next()?;
                self.order.get(usize::try_from(number - self.gone).ok()?).copied()
            });
            let Some((digest, at)) = next else { return false };
            see(digest, at);
        }
        true
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is forgotten before a walk has reached it is seen all the same, and what is new is not.
    #[test]
    fn a_walk_sees_the_duplicates_it_began_with() {
        let at = |number: u64| Timestamp::from_millis(number.cast_signed() * 1000);
        let policy = Policy::default();
        for forgotten in 0..20 {
            let mut duplicates = Duplicates::default();
            let mut seen = Vec::new();
            for number in 0..10_u64 {
                duplicates.remember(number.into(), at(number));
            }
            duplicates.begin_walk();
            assert!(duplicates.walk_on(3, |digest, at| seen.push((digest, at))));
            for number in 10..20_u64 {
                duplicates.remember(number.into(), at(number));
            }
            duplicates.forget(at(forgotten) + policy.duplicate_window, &policy);
            while duplicates.walk_on(2, |digest, at| seen.push((digest, at))) {
                duplicates.forget(at(forgotten + 2) + policy.duplicate_window, &policy);
            }
            let whole: Vec<_> = (0..10).map(|number| (number.into(), at(number))).collect();
            assert_eq!(seen, whole, "{forgotten} forgotten");
        }
    }
}
