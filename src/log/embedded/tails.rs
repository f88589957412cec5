//! What others may follow of a data directory, in the process that writes it.

use std::sync::Arc;
use std::time::Duration;

use super::LogFault;
use super::directory::Directory;
use super::end::End;
use super::reader::{Frames, Until};
use crate::engine::tail::{Journals, Recorded, Tail, TailError, Tails};

/// All partitions of a data directory, up to their durable ends.
#[derive(Debug)]
pub struct EmbeddedTails {
    directory: Directory,
    ends: Vec<Arc<End>>,
}

impl EmbeddedTails {
    /// Follows `directory`, whose partitions end at `ends`.
    #[must_use]
    pub fn new(directory: Directory, ends: Vec<Arc<End>>) -> Self {
        Self { directory, ends }
    }
}

impl Tails for EmbeddedTails {
    fn partitions(&self) -> u32 {
        self.directory.layout.partitions
    }

    fn end(&self, partition: u32) -> u64 {
        self.ends.get(partition as usize).map_or(0, |end| end.place().seq)
    }

    fn from(&self, partition: u32, seq: u64) -> Result<Box<dyn Tail>, TailError> {
        let Some(end) = self.ends.get(partition as usize).map(Arc::clone) else {
            return Err(TailError::Failed(format!("there is no partition {partition}")));
        };
        let frames = match seq {
            0 => Frames::oldest(&self.directory, partition)?,
            seq => Frames::open(&self.directory, partition, seq)?,
        };
        Ok(Box::new(Following { frames, end }))
    }

    fn wait_for(&self, partition: u32, seq: u64, patience: Duration) {
        if let Some(end) = self.ends.get(partition as usize) {
            end.wait_for(seq, patience);
        }
    }

    fn wake(&self) {
        self.ends.iter().for_each(|end| end.wake());
    }

    fn on_growth(&self, listener: Box<dyn Fn() + Send + Sync>) {
        let listener: Arc<dyn Fn() + Send + Sync> = listener.into();
        for end in &self.ends {
            let listener = Arc::clone(&listener);
            end.on_growth(Box::new(move || listener()));
        }
    }
}

impl Journals for EmbeddedTails {
    fn read(&self, partition: u32, seq: u64) -> Result<Box<dyn Tail>, TailError> {
        let end = self.end(partition);
        if seq >= end {
            return Ok(Box::new(Nothing { next_seq: seq }));
        }
        Ok(Box::new(UpTo { tail: self.from(partition, seq)?, end }))
    }
}

/// A tail that ends where its partition ended.
struct UpTo {
    tail: Box<dyn Tail>,
    end: u64,
}

impl Tail for UpTo {
    fn next_seq(&self) -> u64 {
        self.tail.next_seq()
    }

    fn next(&mut self) -> Result<Option<Recorded<'_>>, TailError> {
        if self.tail.next_seq() < self.end { self.tail.next() } else { Ok(None) }
    }
}

/// What is behind the end.
struct Nothing {
    next_seq: u64,
}

impl Tail for Nothing {
    fn next_seq(&self) -> u64 {
        self.next_seq
    }

    fn next(&mut self) -> Result<Option<Recorded<'_>>, TailError> {
        Ok(None)
    }
}

struct Following {
    frames: Frames,
    end: Arc<End>,
}

impl Tail for Following {
    fn next_seq(&self) -> u64 {
        self.frames.next_seq()
    }

    fn next(&mut self) -> Result<Option<Recorded<'_>>, TailError> {
        let frame = self.frames.next(Until::Place(self.end.place()))?;
        Ok(frame.map(|frame| Recorded {
            seq: frame.seq,
            at: frame.at,
            line: frame.line,
            outputs: frame.outputs().collect(),
        }))
    }
}

impl From<LogFault> for TailError {
    #[allow(clippy::wildcard_enum_match_arm, reason = "a reader can only go on after a removal")]
    fn from(fault: LogFault) -> Self {
        match fault {
            LogFault::Removed { oldest } => Self::Removed { oldest },
            other => Self::Failed(other.to_string()),
        }
    }
}
