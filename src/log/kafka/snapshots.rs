//! Snapshots of a partition's state, on a compacted topic: whoever takes it over needs no journal before.
//!
//! ```text
//! key    set / number      a or b, and the number of the piece in its round
//! value  seq, flags, bytes   the state is that before record `seq`; see [`ENDS_CHUNK`], [`ENDS_ROUND`]
//! ```
//!
//! A round is a checkpoint, piece by piece, in transactions of its own between two steps. Two sets of keys
//! take turns, so that the last whole round stands as long as the next one is under way, whatever
//! compaction removes. A round that was given up, or whose pieces are mixed, is none.

use std::collections::BTreeMap;

use super::client::{Cluster, KafkaFault};
use super::member::Member;
use super::reader::{Next, Reader};
use super::topics::Topic;
use crate::engine::checkpoint::{self, Chunk};
use crate::engine::ports::{Clock, Log as _, LogError};
use crate::engine::state::{self, State};

/// Octets of one record: far below what a broker takes.
const PIECE: usize = 512 * 1024;
/// A chunk of the checkpoint is whole with this piece.
const ENDS_CHUNK: u8 = 1;
/// So is the round.
const ENDS_ROUND: u8 = 2;

/// A round under way.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// The state is that before this record.
    seq: u64,
    set: Set,
    /// Pieces written so far.
    pieces: u32,
}

/// The two sets of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Set {
    A,
    B,
}

impl Set {
    const fn name(self) -> char {
        match self {
            Self::A => 'a',
            Self::B => 'b',
        }
    }
}

impl Round {
    /// Begins the round of the state before this record, after the one before that record, if any: that
    /// one stays until this one is whole.
    #[must_use]
    pub fn begin(seq: u64, last: Option<Self>) -> Self {
        let set = if last.is_some_and(|last| last.set == Set::A) { Set::B } else { Set::A };
        Self { seq, set, pieces: 0 }
    }

    /// The record before which its state is.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    fn key(&self) -> String {
        format!("{}/{:08}", self.set.name(), self.pieces)
    }
}

impl<C: Clock + Clone> Member<C> {
    /// Writes chunks of a round, durably; between two steps. With the last of them the round is whole.
    ///
    /// # Errors
    ///
    /// [`LogError`], as a commit: the round is to be given up.
    pub fn keep_chunks(
        &mut self,
        partition: u32,
        round: &mut Round,
        chunks: &[Chunk],
    ) -> Result<(), LogError> {
        for chunk in chunks {
            let mut pieces = chunk.bytes.chunks(PIECE).peekable();
            while let Some(piece) = pieces.next() {
                let mut flags = 0;
                if pieces.peek().is_none() {
                    flags = if chunk.is_last { ENDS_CHUNK | ENDS_ROUND } else { ENDS_CHUNK };
                }
                let mut value = Vec::with_capacity(9 + piece.len());
                value.extend_from_slice(&round.seq.to_le_bytes());
                value.push(flags);
                value.extend_from_slice(piece);
                self.keep(partition, &round.key(), Some(&value))?;
                round.pieces += 1;
            }
            if chunk.is_last {
                self.remove_rest(partition, *round)?;
            }
        }
        self.commit()
    }

    /// What a longer round of the same set may have left behind: a user who was purged must not stay there.
    fn remove_rest(&mut self, partition: u32, round: Round) -> Result<(), LogError> {
        let mut rest = round;
        for _ in 0..64 + round.pieces / 4 {
            self.keep(partition, &rest.key(), None)?;
            rest.pieces += 1;
        }
        Ok(())
    }
}

/// The snapshots of all partitions, for whoever is no member.
#[derive(Debug)]
pub struct Snapshots {
    identity: String,
    reader: Reader,
}

impl Snapshots {
    /// Those of this cluster.
    ///
    /// # Errors
    ///
    /// [`KafkaFault`]: it cannot be asked now, or has no such topic.
    pub fn of(cluster: &Cluster) -> Result<Self, KafkaFault> {
        let identity = cluster.identity()?;
        Ok(Self { identity, reader: Reader::new(cluster, Topic::Snapshots)? })
    }

    /// The newest of a partition; `None`: there is none.
    ///
    /// # Errors
    ///
    /// [`KafkaFault`]: it cannot be read now.
    pub fn newest(&mut self, partition: u32) -> Result<Option<State>, KafkaFault> {
        let identity = state::identity(&self.identity, &partition.to_string());
        let newest = newest(&mut self.reader, partition, identity)?;
        Ok(newest.map(|(_, state)| state))
    }
}

/// The newest whole round of a partition, and the state that it is; `None`: there is none.
pub(super) fn newest(
    reader: &mut Reader,
    partition: u32,
    identity: u128,
) -> Result<Option<(Round, State)>, KafkaFault> {
    let mut found: BTreeMap<(u64, Set), Pieces> = BTreeMap::new();
    let (oldest, stable) = reader.kept(partition)?;
    if oldest == stable {
        return Ok(None);
    }
    reader.go_to(partition, oldest)?;
    loop {
        match reader.next(super::member::CALL)? {
            Next::End { .. } => break,
            Next::Nothing => {}
            Next::Record(message) => {
                let (Some(key), Some(value)) = (message.key(), message.bytes()) else { continue };
                let Some((set, number)) = place(key) else { continue };
                let Some((seq, value)) = value.split_first_chunk::<8>() else { continue };
                let Some((flags, bytes)) = value.split_first() else { continue };
                let pieces = found.entry((u64::from_le_bytes(*seq), set)).or_default();
                pieces.insert(number, (*flags, bytes.to_vec()));
                // Only the last two can be whole: a partition of any size fits into memory twice.
                while found.len() > 3 {
                    found.pop_first();
                }
            }
        }
    }
    reader.leave(partition)?;
    for ((seq, set), pieces) in found.into_iter().rev() {
        let count = pieces.len();
        let Some(chunks) = chunks(pieces) else { continue };
        match checkpoint::restore(identity, chunks) {
            Ok(state) => {
                let pieces = u32::try_from(count).unwrap_or(u32::MAX);
                return Ok(Some((Round { seq, set, pieces }, state)));
            }
            Err(why) => tracing::warn!(partition, seq, "a snapshot cannot be used: {why}"),
        }
    }
    Ok(None)
}

/// The pieces of a round by their numbers: flags and bytes.
type Pieces = BTreeMap<u32, (u8, Vec<u8>)>;

/// The set and number that a key names.
fn place(key: &[u8]) -> Option<(Set, u32)> {
    let (set, number) = std::str::from_utf8(key).ok()?.split_once('/')?;
    let set = match set {
        "a" => Set::A,
        "b" => Set::B,
        _ => return None,
    };
    Some((set, number.parse().ok()?))
}

/// The chunks of a round; `None` where a piece is missing.
fn chunks(pieces: Pieces) -> Option<Vec<Vec<u8>>> {
    let mut chunks = Vec::new();
    let mut chunk = Vec::new();
    for (expected, (number, (flags, bytes))) in (0..).zip(pieces) {
        if number != expected {
            return None;
        }
        chunk.extend(bytes);
        if flags & ENDS_CHUNK != 0 {
            chunks.push(std::mem::take(&mut chunk));
        }
        if flags & ENDS_ROUND != 0 {
            return Some(chunks);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(flags: u8, bytes: &[u8]) -> (u8, Vec<u8>) {
        (flags, bytes.to_vec())
    }

    #[test]
    fn pieces_make_chunks_or_nothing() {
        let whole = || {
            Pieces::from([
                (0, piece(0, b"ab")),
                (1, piece(ENDS_CHUNK, b"c")),
                (2, piece(ENDS_CHUNK | ENDS_ROUND, b"d")),
            ])
        };
        assert_eq!(chunks(whole()), Some(vec![b"abc".to_vec(), b"d".to_vec()]));
        for missing in 0..3 {
            let mut pieces = whole();
            pieces.remove(&missing);
            assert_eq!(chunks(pieces), None, "without {missing}");
        }
    }

    #[test]
    fn rounds_take_turns() {
        let first = Round::begin(10, None);
        let second = Round::begin(20, Some(first));
        let third = Round::begin(30, Some(second));
        assert_eq!(
            (first.key(), second.key(), third.key()),
            ("a/00000000".into(), "b/00000000".into(), "a/00000000".into())
        );
        assert_eq!(place(b"b/00000012"), Some((Set::B, 12)));
        assert_eq!(place(b"c/00000012"), None);
        assert_eq!(place(b"tel:+15145550100"), None);
    }
}
