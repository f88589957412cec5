//! The log of one process: segments of frames in a data directory, a directory a partition.
//!
//! There is no log of inputs. Whoever hands one in is answered when the journal record that it led to is
//! durable, with all that follows from it, in one frame. All that waits is made durable together.
//!
//! A crash may leave the last commit torn: it was acknowledged to nobody, so its whole frames are kept and
//! the rest is cut. Damage anywhere else is told with its place, and nothing is started on it.

mod directory;
mod end;
mod frame;
mod inbox;
mod reader;
mod segment;
mod snapshot;
mod tails;
mod writer;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use self::directory::{Directory, Layout, Lock};
pub use self::end::{End, Place};
pub use self::frame::Frame;
pub use self::inbox::{Inbox, Inboxes, Limits};
pub use self::reader::{Frames, Until};
pub use self::tails::EmbeddedTails;
pub use self::writer::Cut;

use self::inbox::Waiting;
use self::writer::Writer;
use crate::domain::time::Timestamp;
use crate::engine::intake::Settled;
use crate::engine::ports::{Batch, Fate, Log, LogError, Position, Received};

/// What is wrong with a data directory, named for who can act.
#[derive(Debug, thiserror::Error)]
pub enum LogFault {
    /// The system refuses something; the rights, the disk or the path must change.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What is there is not what was written.
    #[error(
        "{}, byte {offset}: {why}; this is no torn end of a crash: bring the file back from a copy",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The place in it.
        offset: u64,
        /// What is wrong there.
        why: String,
    },
    /// A segment is not there.
    #[error(
        "{}: the records from seq {from} to {to} are missing: bring their segment back from a copy",
        path.display()
    )]
    Missing {
        /// The partition.
        path: PathBuf,
        /// The first that is missing.
        from: u64,
        /// The first that is there again.
        to: u64,
    },
    /// It was removed, since it was older than the retention.
    #[error("the records before seq {oldest} were removed (embedded.retention_hours)")]
    Removed {
        /// The oldest that is kept.
        oldest: u64,
    },
    /// There is no data directory.
    #[error("{} is no data directory: `deferd run --data-dir DIR` makes one", path.display())]
    NoDirectory {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Another process writes it.
    #[error("{} is in use by process {pid}: stop it first, or name another directory", path.display())]
    Held {
        /// The data directory.
        path: PathBuf,
        /// Who writes it.
        pid: String,
    },
    /// A later program made it.
    #[error(
        "{} has version {found}, newer than {newest}, the newest this program reads: start the newer \
         program",
        path.display()
    )]
    Newer {
        /// The data directory.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        newest: u32,
    },
    /// It was made with another number of partitions, which cannot change.
    #[error(
        "{} has {has} partitions, and embedded.partitions is {asked}: set it to {has}, or name a new \
         directory",
        path.display()
    )]
    Partitions {
        /// The data directory.
        path: PathBuf,
        /// How many it has.
        has: u32,
        /// How many were asked for.
        asked: u32,
    },
}

impl LogFault {
    fn io(what: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source }
    }

    fn damaged(path: &Path, offset: u64, why: &str) -> Self {
        Self::Damaged { path: path.to_owned(), offset, why: why.to_owned() }
    }
}

impl From<LogFault> for LogError {
    fn from(fault: LogFault) -> Self {
        let words = fault.to_string();
        match fault {
            LogFault::Io { .. } => Self::Unavailable(words),
            LogFault::Damaged { .. } | LogFault::Missing { .. } | LogFault::Removed { .. } => {
                Self::Corrupt(words)
            }
            LogFault::Held { .. } => Self::Fenced(words),
            LogFault::NoDirectory { .. } | LogFault::Newer { .. } | LogFault::Partitions { .. } => {
                Self::Broken(words)
            }
        }
    }
}

/// How a partition is written.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A segment of this size is closed, and the next begun.
    pub segment_bytes: u64,
}

/// One partition of a data directory, as its worker sees it.
#[derive(Debug)]
pub struct Embedded {
    partition: u32,
    inbox: Arc<Inbox>,
    writer: Writer,
    reader: Option<Frames>,
    /// Polled, and not committed.
    polled: VecDeque<Waiting>,
    /// Written, and not committed.
    written: Vec<Batch>,
    /// Nothing later than this may ring as long as `catching_up` says so.
    floor: Timestamp,
    catching_up: bool,
}

impl Embedded {
    /// Opens a partition for its worker: its end is found, a torn one cut.
    ///
    /// # Errors
    ///
    /// [`LogFault`]: it cannot be read or written, or it is damaged.
    pub fn open(
        directory: &Directory,
        partition: u32,
        inbox: Arc<Inbox>,
        options: Options,
    ) -> Result<Self, LogFault> {
        let writer = Writer::open(directory, partition, options)?;
        let floor = writer.last_at();
        Ok(Self {
            partition,
            inbox,
            floor,
            // Where nothing is written nothing can be due.
            catching_up: writer.place().seq > 0,
            writer,
            reader: None,
            polled: VecDeque::new(),
            written: Vec::new(),
        })
    }

    /// Which partition it is.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// The durable end, for whoever follows this partition.
    #[must_use]
    pub fn end(&self) -> Arc<End> {
        Arc::clone(self.writer.end())
    }

    /// What a crash had left half-written, and was cut when the partition was opened.
    #[must_use]
    pub fn cut(&self) -> Option<&Cut> {
        self.writer.cut()
    }

    /// What came while the process was down has been taken: whatever is due may ring. (L-13)
    pub fn caught_up(&mut self) {
        self.catching_up = false;
    }

    /// The inputs that wait.
    #[must_use]
    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// The first `seq` of the segment that is written; what the newest snapshot should be of.
    #[must_use]
    pub fn segment(&self) -> u64 {
        self.writer.segment()
    }

    /// The oldest `seq` that is kept.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.writer.oldest()
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.writer.bytes()
    }

    /// Removes segments that end before the record `needed` and whose last record is older than `before`,
    /// or, from the oldest on, as long as there are more than `most` bytes; never the last one. How many.
    ///
    /// # Errors
    ///
    /// A file cannot be removed.
    pub fn remove_before(
        &mut self,
        needed: u64,
        before: Timestamp,
        most: u64,
    ) -> Result<usize, LogFault> {
        self.writer.remove_before(needed, before, most)
    }
}

impl Log for Embedded {
    fn poll(&mut self, most: usize, patience: Duration) -> Result<Vec<Received>, LogError> {
        // What was polled and not committed comes first.
        let patience = if self.polled.is_empty() { patience } else { Duration::ZERO };
        let room = most.saturating_sub(self.polled.len());
        if room > 0 {
            self.polled.extend(self.inbox.take(room, patience));
        }
        Ok(self.polled.iter().take(most).map(|waiting| waiting.received.clone()).collect())
    }

    fn taken_up_to(&mut self, _: u32, now: Timestamp, _: Option<Timestamp>) -> Timestamp {
        if self.catching_up {
            return now.min(self.floor);
        }
        let just_before = Duration::from_millis(1);
        self.inbox.next_logged().map_or(now, |logged| now.min(logged - just_before))
    }

    fn write(&mut self, batch: Batch) -> Result<(), LogError> {
        self.written.push(batch);
        Ok(())
    }

    fn wants_more(&self) -> bool {
        false
    }

    fn keeps_what_waits(&self) -> bool {
        false
    }

    fn commit(&mut self) -> Result<(), LogError> {
        for batch in std::mem::take(&mut self.written) {
            self.writer.append(&batch)?;
            let partition = self.partition;
            let fates =
                batch.entries.into_iter().zip(batch.first_seq..).filter_map(|(entry, seq)| {
                    entry.fate.map(|fate: Fate| Settled::Decided { partition, seq, fate })
                });
            for settled in fates {
                if let Some(waiting) = self.polled.pop_front() {
                    waiting.ticket.settle(settled);
                }
            }
        }
        Ok(())
    }

    fn journal(
        &mut self,
        _: u32,
        seq: u64,
        most: usize,
    ) -> Result<Option<Vec<Arc<[u8]>>>, LogError> {
        let end = self.writer.place();
        let mut reader = match self.reader.take().filter(|reader| reader.next_seq() == seq) {
            Some(reader) => reader,
            None if seq >= end.seq => return Ok(Some(Vec::new())),
            None => Frames::within(self.writer.directory(), self.partition, seq)?,
        };
        let mut lines = Vec::with_capacity(most.min(1024));
        while lines.len() < most {
            let Some(frame) = reader.next(Until::Place(end))? else { break };
            lines.push(Arc::from(frame.line));
        }
        if !lines.is_empty() {
            self.reader = Some(reader);
        }
        Ok(Some(lines))
    }

    fn resume(&mut self, _: u32, after: &[Position]) -> Result<(), LogError> {
        after.iter().for_each(|position| self.inbox.resume(position));
        Ok(())
    }
}
