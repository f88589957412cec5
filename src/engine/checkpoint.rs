//! A checkpoint: the state as one `seq` left it, in chunks, taken while the engine goes on.
//!
//! ```text
//! head  duplicates …  users …  end      each: kind, what it holds, CRC-32 of both
//! ```
//!
//! It may be lost at any time: that costs time, never a message. So whatever is not exactly what this
//! program would have written is no checkpoint at all. Users stay packed in it, each with the instant
//! its alarm rings, so that a restart neither unpacks them nor decides anything.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ports::Store;
use super::state::{Duplicates, DuplicatesWalk, State};
use super::users::{Users, Walk};
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;
use crate::record::journal::RULES;

/// The version of a checkpoint's bytes, and of a packed user's.
pub const VERSION: u32 = 5;
const MAGIC: [u8; 8] = *b"deferd\0c";
/// A chunk is written when it has become this large.
const CHUNK: usize = 65_536;

const HEAD: u8 = 0;
const DUPLICATES: u8 = 1;
const USERS: u8 = 2;
const END: u8 = 3;

/// A part of a checkpoint, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Whether the checkpoint is whole with it.
    pub is_last: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    identity: u128,
    rules: u32,
    next_seq: u64,
    epoch: u64,
    at: Timestamp,
    policy: Vec<u8>,
    policy_told: bool,
    partitions: Option<u32>,
    taken: Vec<(String, u32, u64)>,
    duplicates: u64,
    users: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct End {
    chunks: u32,
    duplicates: u64,
    users: u64,
    /// CRC-32 over those of all chunks before: they are these, in this order.
    sum: u32,
}

/// A checkpoint under way: what is still to be written is the state in which it began.
#[derive(Debug)]
pub struct Cut {
    kind: u8,
    buffer: Vec<u8>,
    number: u32,
    sum: crc32fast::Hasher,
    duplicates: u64,
    users: u64,
    done: Vec<Chunk>,
}

impl State {
    /// Begins a checkpoint of the state as it is now, for the log of this identity. It costs next to
    /// nothing; the work is in [`cut_slice`](Self::cut_slice). One under way is given up.
    pub fn begin_cut(&mut self, identity: u128) {
        self.duplicates.begin_walk();
        self.users.begin_walk();
        self.cut = Some(Box::new(Cut::begun(self, identity)));
    }

    /// Writes at most `most` more users of the checkpoint under way. The chunks that are full; the last
    /// one says so. None where no checkpoint is under way.
    ///
    /// Between two slices the state may move: what changes is kept as it was until it is written.
    pub fn cut_slice(&mut self, most: usize) -> Vec<Chunk> {
        let Some(mut cut) = self.cut.take() else { return Vec::new() };
        let more = match cut.kind {
            // Sixteen of them are copied as fast as a user.
            DUPLICATES => self
                .duplicates
                .walk_on(most.saturating_mul(16), |digest, at| cut.duplicate(digest, at)),
            _ => self.users.walk_on(most, |key, alarm, user| cut.user(key.number(), alarm, user)),
        };
        let last = cut.after_slice(more);
        let chunks = std::mem::take(&mut cut.done);
        self.cut = (!last).then_some(cut);
        chunks
    }

    /// Whether a checkpoint is under way.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut.is_some()
    }

    /// Gives up the checkpoint under way.
    pub fn give_up_cut(&mut self) {
        self.cut = None;
        self.duplicates.end_walk();
        self.users.end_walk();
    }

    /// A checkpoint of the state as it is now, at once.
    #[must_use]
    pub fn checkpoint(&self, identity: u128) -> Vec<Vec<u8>> {
        let mut cut = Cut::begun(self, identity);
        let mut duplicates: DuplicatesWalk = self.duplicates.walk();
        let mut users = Walk::default();
        self.duplicates.walk_by(&mut duplicates, usize::MAX, |digest, at| {
            cut.duplicate(digest, at);
        });
        cut.after_slice(false);
        self.users.walk_by(&mut users, usize::MAX, |key, alarm, user| {
            cut.user(key.number(), alarm, user);
        });
        cut.after_slice(false);
        cut.done.into_iter().map(|chunk| chunk.bytes).collect()
    }
}

impl Cut {
    fn begun(state: &State, identity: u128) -> Self {
        let head = Head {
            identity,
            rules: RULES,
            next_seq: state.next_seq,
            epoch: state.epoch,
            at: state.at,
            policy: serde_json::to_vec(&*state.policy).expect("a policy is JSON"),
            policy_told: state.policy_told,
            partitions: state.partitions,
            taken: state.taken.clone(),
            duplicates: state.duplicates.len() as u64,
            users: state.users.len() as u64,
        };
        let mut cut = Self {
            kind: HEAD,
            buffer: Vec::new(),
            number: 0,
            sum: crc32fast::Hasher::new(),
            duplicates: 0,
            users: 0,
            done: Vec::new(),
        };
        cut.begin(HEAD);
        cut.buffer.extend_from_slice(&MAGIC);
        cut.buffer.extend_from_slice(&VERSION.to_le_bytes());
        cut.buffer.extend(postcard::to_stdvec(&head).expect("a head can be written"));
        cut.finish(false);
        cut.begin(DUPLICATES);
        cut
    }

    /// What follows a slice: the next kind of chunk where nothing of this one is left. Whether the
    /// checkpoint is whole.
    fn after_slice(&mut self, more: bool) -> bool {
        if more {
            return false;
        }
        self.finish(false);
        if self.kind == DUPLICATES {
            self.begin(USERS);
            return false;
        }
        self.begin(END);
        let end = End {
            chunks: self.number,
            duplicates: self.duplicates,
            users: self.users,
            sum: self.sum.clone().finalize(),
        };
        self.buffer.extend(postcard::to_stdvec(&end).expect("an end can be written"));
        self.finish(true);
        true
    }

    fn duplicate(&mut self, digest: u128, at: Timestamp) {
        self.duplicates += 1;
        self.buffer.extend_from_slice(&digest.to_le_bytes());
        self.buffer.extend_from_slice(&at.as_millis().to_le_bytes());
        self.finish_if_full();
    }

    fn user(&mut self, key: u64, alarm: Timestamp, packed: &[u8]) {
        self.users += 1;
        let length = u32::try_from(packed.len()).expect("a user is smaller than 4 GiB");
        self.buffer.extend_from_slice(&key.to_le_bytes());
        self.buffer.extend_from_slice(&alarm.as_millis().to_le_bytes());
        self.buffer.extend_from_slice(&length.to_le_bytes());
        self.buffer.extend_from_slice(packed);
        self.finish_if_full();
    }

    fn begin(&mut self, kind: u8) {
        self.kind = kind;
        self.buffer = Vec::with_capacity(CHUNK + CHUNK / 16);
        self.buffer.push(kind);
    }

    fn finish_if_full(&mut self) {
        if self.buffer.len() >= CHUNK {
            self.finish(false);
            self.begin(self.kind);
        }
    }

    fn finish(&mut self, is_last: bool) {
        let mut bytes = std::mem::take(&mut self.buffer);
        let crc = crc32fast::hash(&bytes).to_le_bytes();
        bytes.extend_from_slice(&crc);
        self.sum.update(&crc);
        self.number += 1;
        self.done.push(Chunk { bytes, is_last });
    }
}

/// Why chunks are no checkpoint for us. All are thrown away alike; the words are for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It ends before its end.
    #[error("the checkpoint is cut short")]
    Cut,
    /// Its bytes are not those that were written.
    #[error("the checkpoint is damaged")]
    Damaged,
    /// Another log's journal goes on elsewhere.
    #[error("the checkpoint is of another log")]
    OtherLog,
    /// Its bytes or its rules are not those of this program.
    #[error("the checkpoint is of another version of this program")]
    OtherVersion,
}

/// The state of the checkpoint that a store holds of the log of this identity.
///
/// # Errors
///
/// Why there is none to be used, though there was one, in words; it is thrown away then.
pub fn load(store: &mut dyn Store, identity: u128) -> Result<Option<State>, String> {
    let Some(chunks) = store.load()? else { return Ok(None) };
    let mut broken = None;
    let chunks = chunks.map_while(|chunk| chunk.map_err(|why| broken = Some(why)).ok());
    restore(identity, chunks).map(Some).map_err(|why| {
        store.discard();
        broken.unwrap_or_else(|| why.to_string())
    })
}

/// Hands over the chunks of a checkpoint, up to its last one.
///
/// # Errors
///
/// What `take` says; or that they ended before the last.
pub fn whole(
    chunks: &mut dyn Iterator<Item = Chunk>,
    mut take: impl FnMut(Vec<u8>) -> Result<(), String>,
) -> Result<(), String> {
    for chunk in chunks {
        take(chunk.bytes)?;
        if chunk.is_last {
            return Ok(());
        }
    }
    Err("the checkpoint was given up before its end".to_owned())
}

/// The state of a checkpoint of the log of this identity.
///
/// # Errors
///
/// [`Unusable`]: it is thrown away, and the journal read from its start.
pub fn restore<C: AsRef<[u8]>>(
    identity: u128,
    chunks: impl IntoIterator<Item = C>,
) -> Result<State, Unusable> {
    let mut chunks = chunks.into_iter();
    let mut reading = Reading::default();
    let head = reading.head(chunks.next().ok_or(Unusable::Cut)?.as_ref())?;
    if head.identity != identity {
        return Err(Unusable::OtherLog);
    }
    if head.rules != RULES {
        return Err(Unusable::OtherVersion);
    }
    let policy: Policy =
        serde_json::from_slice(&head.policy).map_err(|_| Unusable::OtherVersion)?;
    let mut state = State {
        next_seq: head.next_seq,
        epoch: head.epoch,
        at: head.at,
        policy: Arc::new(policy),
        policy_told: head.policy_told,
        partitions: head.partitions,
        taken: head.taken,
        ..State::default()
    };
    state.duplicates.reserve(usize::try_from(head.duplicates).map_err(|_| Unusable::Damaged)?);
    while let Some(chunk) = chunks.next() {
        let before = End {
            chunks: reading.number,
            duplicates: state.duplicates.len() as u64,
            users: state.users.len() as u64,
            sum: reading.sum.clone().finalize(),
        };
        let (kind, body) = reading.chunk(chunk.as_ref())?;
        let read = match kind {
            DUPLICATES => duplicates(&mut state.duplicates, body),
            USERS => users(&mut state.users, body),
            END => {
                let is_whole = postcard::from_bytes(body) == Ok(before)
                    && state.duplicates.len() as u64 == head.duplicates
                    && state.users.len() as u64 == head.users
                    && chunks.next().is_none();
                return if is_whole { Ok(state) } else { Err(Unusable::Damaged) };
            }
            _ => None,
        };
        read.ok_or(Unusable::Damaged)?;
    }
    Err(Unusable::Cut)
}

/// Chunks, checked one after the other.
#[derive(Default)]
struct Reading {
    number: u32,
    sum: crc32fast::Hasher,
}

impl Reading {
    /// The kind of the next chunk, and what it holds.
    fn chunk<'a>(&mut self, bytes: &'a [u8]) -> Result<(u8, &'a [u8]), Unusable> {
        let (checked, crc) = bytes.split_last_chunk::<4>().ok_or(Unusable::Damaged)?;
        if crc32fast::hash(checked).to_le_bytes() != *crc {
            return Err(Unusable::Damaged);
        }
        self.number += 1;
        self.sum.update(crc);
        checked.split_first().map(|(kind, body)| (*kind, body)).ok_or(Unusable::Damaged)
    }

    fn head(&mut self, bytes: &[u8]) -> Result<Head, Unusable> {
        let (HEAD, body) = self.chunk(bytes)? else { return Err(Unusable::Damaged) };
        let body = body.strip_prefix(&MAGIC).ok_or(Unusable::Damaged)?;
        let body = body.strip_prefix(&VERSION.to_le_bytes()).ok_or(Unusable::OtherVersion)?;
        postcard::from_bytes(body).map_err(|_| Unusable::OtherVersion)
    }
}

fn duplicates(into: &mut Duplicates, mut body: &[u8]) -> Option<()> {
    while !body.is_empty() {
        let digest = u128::from_le_bytes(take(&mut body)?);
        into.remember(digest, Timestamp::from_millis(i64::from_le_bytes(take(&mut body)?)));
    }
    Some(())
}

fn users(into: &mut Users, mut body: &[u8]) -> Option<()> {
    while !body.is_empty() {
        let key = u64::from_le_bytes(take(&mut body)?);
        let alarm = Timestamp::from_millis(i64::from_le_bytes(take(&mut body)?));
        let length = usize::try_from(u32::from_le_bytes(take(&mut body)?)).ok()?;
        let (packed, rest) = body.split_at_checked(length)?;
        into.put_back(key, alarm, packed);
        body = rest;
    }
    Some(())
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}
