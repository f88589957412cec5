//! What the journal says so far: users, duplicates, positions, policy.
//!
//! [`State::apply`] is the one way from a journal record to state: restore, replay and the checkpoint's
//! tail all go through it.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ports::Position;
use super::users::{UserKey, Users, try_unpack};
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;
use crate::record::input::Kind;
use crate::record::journal::{BadRecord, RULES, Record};

/// The version of a checkpoint's bytes.
const CHECKPOINT: u32 = 1;

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
    /// The last input taken of each topic and partition.
    pub taken: Vec<(String, u32, u64)>,
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
        if let Some(policy) = policy_of(record)? {
            self.policy = Arc::new(policy);
            self.policy_told = true;
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
        if let Some(raw) = record.input
            && may_be_remembered(raw.get())
            && let Some((kind, digest)) = identity_of(raw.get())
            && kind.is_remembered()
        {
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

    /// The state as a checkpoint.
    ///
    /// # Panics
    ///
    /// Never: nothing in it cannot be written.
    #[must_use]
    pub fn checkpoint(&self) -> Vec<u8> {
        let policy = serde_json::to_vec(&*self.policy).expect("a policy is JSON");
        let users = self.users.packed();
        let parts = Checkpoint {
            version: CHECKPOINT,
            rules: RULES,
            next_seq: self.next_seq,
            epoch: self.epoch,
            at: self.at,
            policy,
            policy_told: self.policy_told,
            taken: self.taken.clone(),
            duplicates: self.duplicates.order.iter().copied().collect(),
            users: users.iter().map(|user| user.to_vec()).collect(),
        };
        let mut bytes = postcard::to_stdvec(&parts).expect("a checkpoint can be written");
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        bytes
    }

    /// The state of a checkpoint; `None` where it is cut, changed, or of another version: it is thrown
    /// away then, and the journal read from its start.
    #[must_use]
    pub fn from_checkpoint(bytes: &[u8]) -> Option<Self> {
        let (body, digest) = bytes.split_last_chunk::<32>()?;
        if Sha256::digest(body).as_slice() != digest {
            return None;
        }
        let parts: Checkpoint = postcard::from_bytes(body).ok()?;
        if parts.version != CHECKPOINT || parts.rules != RULES {
            return None;
        }
        let mut state = Self {
            next_seq: parts.next_seq,
            epoch: parts.epoch,
            at: parts.at,
            policy: Arc::new(serde_json::from_slice(&parts.policy).ok()?),
            policy_told: parts.policy_told,
            taken: parts.taken,
            ..Self::default()
        };
        for (digest, at) in parts.duplicates {
            state.duplicates.remember(digest, at);
        }
        for packed in parts.users {
            let user = try_unpack(&packed)?;
            let key = state.users.key(&user.address);
            state.users.put(key, user);
        }
        Some(state)
    }
}

/// The policy that a record changes to, if it is one that does.
///
/// # Errors
///
/// [`BrokenJournal::Policy`]: it cannot be read.
pub fn policy_of(record: &Record<'_>) -> Result<Option<Policy>, BrokenJournal> {
    let Some(raw) = record.input.filter(|_| record.user.is_none()) else { return Ok(None) };
    #[derive(Deserialize)]
    struct Changed {
        data: Policy,
    }
    let changed: Changed = serde_json::from_str(raw.get())
        .map_err(|error| BrokenJournal::Policy { seq: record.seq, why: error.to_string() })?;
    Ok(Some(changed.data))
}

#[derive(Serialize, Deserialize)]
struct Checkpoint {
    version: u32,
    rules: u32,
    next_seq: u64,
    epoch: u64,
    at: Timestamp,
    policy: Vec<u8>,
    policy_told: bool,
    taken: Vec<(String, u32, u64)>,
    duplicates: Vec<(u128, Timestamp)>,
    users: Vec<Vec<u8>>,
}

/// Topic, partition and offset of `topic/partition/offset`.
fn position(text: &str) -> Option<(&str, u32, u64)> {
    let (rest, offset) = text.rsplit_once('/')?;
    let (topic, partition) = rest.rsplit_once('/')?;
    Some((topic, partition.parse().ok()?, offset.parse().ok()?))
}

/// Whether a look at its envelope is worth it.
fn may_be_remembered(raw: &str) -> bool {
    raw.contains("\"cpm.message.") || raw.contains("\"cpm.user.")
}

/// The type of an input, and the digest of its source and id.
fn identity_of(raw: &str) -> Option<(Kind, u128)> {
    let envelope = crate::record::envelope::Envelope::read(raw.as_bytes()).ok()?;
    let kind = Kind::of(&envelope.kind).ok()?;
    Some((kind, identity(&envelope.source, &envelope.id)))
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
}

impl Duplicates {
    /// Whether it was taken within the window before `now`.
    #[must_use]
    pub fn contains(&self, digest: u128, now: Timestamp, policy: &Policy) -> bool {
        self.known.get(&digest).is_some_and(|at| *at + policy.duplicate_window > now)
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
            self.order.pop_front();
        }
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
