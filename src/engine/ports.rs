//! All that the engine asks of the world.

use std::sync::Arc;
use std::time::Duration;

use super::checkpoint::Chunk;
use crate::domain::time::Timestamp;
use crate::record::input::Rejected;
use crate::record::output::Output;

/// Where a record of an input topic stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: u32,
    /// Its offset there: 0, 1, 2, …
    pub offset: u64,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

/// A record of an input topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Where it stands.
    pub position: Position,
    /// When the log took it.
    pub logged: Timestamp,
    /// What it says.
    pub bytes: Arc<[u8]>,
}

/// What became of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Something followed from it.
    Decided,
    /// Nothing did: the reason in words.
    Ignored(String),
    /// It was taken before.
    Duplicate,
    /// Nobody can use it: it is a dead letter.
    Rejected(Rejected),
}

/// A journal record, and what others are asked to do because of it.
#[derive(Debug)]
pub struct Entry {
    /// The record, one line without its end.
    pub line: Vec<u8>,
    /// The user it is about; `None`: nobody.
    pub user: Option<Box<str>>,
    /// What follows from it.
    pub outputs: Vec<Output>,
    /// What became of its input; `None` for what the engine said itself.
    pub fate: Option<Fate>,
}

/// Records of one partition, for the commit under way.
#[derive(Debug, Default)]
pub struct Batch {
    /// The partition.
    pub partition: u32,
    /// When its records were decided.
    pub at: Timestamp,
    /// The `seq` of the first record.
    pub first_seq: u64,
    /// The records, in the order of their `seq`; those of inputs stand in the order of the poll.
    pub entries: Vec<Entry>,
}

/// Ordered, durable, partitioned records: inputs in, journal and outputs out.
///
/// Shape: a log has one partition or several; what they hold has no order among them. A commit is one for
/// all of them.
/// Durability: what [`commit`](Self::commit) returned `Ok` for survives a power cut.
/// Delivery: after an error, and after a restart, records that were polled and not committed come
/// again; none that were committed do. An error drops what was written and not committed.
pub trait Log {
    /// The next inputs, oldest first in each partition, at most `most`; waits for the first of them no
    /// longer than `patience`, and returns none where none came. A call for none keeps a membership alive, and
    /// loses none.
    ///
    /// # Errors
    ///
    /// [`LogError::Unavailable`] may pass: call again. [`LogError::Corrupt`] will not.
    fn poll(&mut self, most: usize, patience: Duration) -> Result<Vec<Received>, LogError>;

    /// Up to when every input of a partition has been polled: no alarm that is due later may ring (TM-7,
    /// L-13). An input that waits unread at that very instant goes first, so the instant is not included
    /// then. Nobody asks about instants before `due`, where there is one: an answer may be as old.
    fn taken_up_to(&mut self, partition: u32, now: Timestamp, due: Option<Timestamp>) -> Timestamp;

    /// Takes a partition's records into the commit under way. Nothing of them is durable or seen by
    /// anybody before it.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    fn write(&mut self, batch: Batch) -> Result<(), LogError>;

    /// Whether the commit under way had better take more first, since it costs the same for many.
    fn wants_more(&self) -> bool;

    /// Whether inputs that were not taken wait in the log, for the next process too.
    fn keeps_what_waits(&self) -> bool;

    /// Makes all that was written durable, together or not at all.
    ///
    /// # Errors
    ///
    /// [`LogError::Unavailable`]: nothing of it is durable as far as we know; what was polled since the
    /// last commit comes again once the partition is [resumed](Self::resume). [`LogError::Fenced`]:
    /// another owner has taken over: let go.
    fn commit(&mut self) -> Result<(), LogError>;

    /// Journal lines of a partition from `seq` on, at most `most`, in order; none at the end. `None`: it
    /// cannot say yet, as long as another owner's last commit is open.
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll).
    fn journal(
        &mut self,
        partition: u32,
        seq: u64,
        most: usize,
    ) -> Result<Option<Vec<Arc<[u8]>>>, LogError>;

    /// A partition's inputs go on after these positions: the journal's word on how far we got.
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll).
    fn resume(&mut self, partition: u32, after: &[Position]) -> Result<(), LogError>;
}

/// What went wrong with a log, named for who can act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// It may pass: drop what is not committed, and call again.
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
    /// Another owner has the partition.
    #[error("another owner has taken over: {0}")]
    Fenced(String),
    /// It is not known what is durable: the process must end, and the next one looks.
    #[error("the log is broken: {0}")]
    Broken(String),
    /// What is there is not what was written: a person must look.
    #[error("the log is corrupt: {0}")]
    Corrupt(String),
}

/// Where checkpoints go. They may be lost at any time: that costs time, never a message.
pub trait Store {
    /// The chunks of the last checkpoint that was saved whole, in order; `None` where there is none. Who
    /// reads them finds out whether they still say what they said, and discards them if not.
    ///
    /// # Errors
    ///
    /// What is wrong with what is there, in words. It is gone then, and the next call says `None`.
    fn load(&mut self) -> Result<Option<Chunks<'_>>, String>;

    /// Keeps a checkpoint instead of the one before; the chunks may be long in coming.
    ///
    /// # Errors
    ///
    /// What went wrong, in words; also where the chunks end before the last. The checkpoint before
    /// stays, if there was one.
    fn save(&mut self, chunks: &mut dyn Iterator<Item = Chunk>) -> Result<(), String>;

    /// Throws away what there is.
    fn discard(&mut self);
}

/// The chunks of a checkpoint, as they were saved; or why there are no more, in words.
pub type Chunks<'a> = Box<dyn Iterator<Item = Result<Vec<u8>, String>> + 'a>;

/// The wall clock, passed in.
pub trait Clock {
    /// What time it is.
    fn now(&self) -> Timestamp;
}
