//! Follows what the workers made durable: journal records, and what others are asked to do.
//!
//! Sinks, feeds and readers use it; it never acts.

use std::time::Duration;

use crate::domain::time::Timestamp;

/// A journal record, and what follows from it.
#[derive(Clone, Debug)]
pub struct Recorded<'a> {
    /// Its number in its partition.
    pub seq: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// The record, one line without its end.
    pub line: &'a [u8],
    /// What others are asked to do because of it.
    pub outputs: Vec<Asked<'a>>,
}

/// Something that others are asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The topic it belongs on.
    pub topic: &'static str,
    /// Its key: the user.
    pub key: Option<&'a str>,
    /// The CloudEvent, one line of JSON.
    pub bytes: &'a [u8],
}

/// Why a partition cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TailError {
    /// Its retention was faster than the reader.
    #[error("what stood before record {oldest} was removed: go on there")]
    Removed {
        /// The oldest record that is kept.
        oldest: u64,
    },
    /// It cannot be read, or is damaged.
    #[error("{0}")]
    Failed(String),
}

/// One partition, record by record.
pub trait Tail: Send {
    /// The number of the record that [`next`](Self::next) gives.
    fn next_seq(&self) -> u64;

    /// The next durable record; `None` where there is none yet.
    ///
    /// # Errors
    ///
    /// [`TailError`].
    fn next(&mut self) -> Result<Option<Recorded<'_>>, TailError>;
}

/// All journals, read beside the work.
pub trait Journals: Send + Sync {
    /// A partition from record `seq` on, as far as it is durable now; from the oldest that is kept where
    /// `seq` is 0.
    ///
    /// # Errors
    ///
    /// [`TailError::Removed`] where `seq` is no longer kept.
    fn read(&self, partition: u32, seq: u64) -> Result<Box<dyn Tail>, TailError>;
}

/// All partitions.
pub trait Tails: Send + Sync {
    /// How many there are.
    fn partitions(&self) -> u32;

    /// The number of the record that comes next in a partition.
    fn end(&self, partition: u32) -> u64;

    /// A partition from record `seq` on; from the oldest that is kept where `seq` is 0.
    ///
    /// # Errors
    ///
    /// [`TailError::Removed`] where `seq` is no longer kept.
    fn from(&self, partition: u32, seq: u64) -> Result<Box<dyn Tail>, TailError>;

    /// Waits until record `seq` of a partition is there, at most `patience`.
    fn wait_for(&self, partition: u32, seq: u64, patience: Duration);

    /// Ends all waits, as when the daemon stops.
    fn wake(&self);

    /// Calls `listener` whenever a partition has grown; it must not wait.
    fn on_growth(&self, listener: Box<dyn Fn() + Send + Sync>);
}
