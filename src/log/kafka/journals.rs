//! The journal topic, read for whoever asks over HTTP, while others write it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::client::{Cluster, KafkaFault};
use super::find::Found;
use super::reader::{Next, Reader};
use super::topics::Topic;
use crate::domain::time::Timestamp;
use crate::engine::history::Line;
use crate::engine::tail::{Journals, Recorded, Tail, TailError};

/// The longest wait for a record that must be there.
const PATIENCE: Duration = Duration::from_secs(10);
/// Readers that are kept: to connect takes longer than most answers.
const KEEPS: usize = 2;

/// The partitions of the journal topic.
#[derive(Debug)]
pub struct KafkaJournals {
    cluster: Cluster,
    idle: Arc<Mutex<Vec<Reader>>>,
}

impl KafkaJournals {
    /// Those of this cluster; nobody is asked anything yet.
    #[must_use]
    pub fn new(cluster: &Cluster) -> Self {
        Self { cluster: cluster.clone(), idle: Arc::default() }
    }
}

impl Journals for KafkaJournals {
    fn read(&self, partition: u32, seq: u64) -> Result<Box<dyn Tail>, TailError> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut reader = match kept {
            Some(reader) => reader,
            None => Reader::new(&self.cluster, Topic::Journal)?,
        };
        let (next_seq, offset) = match reader.find_seq(partition, seq)? {
            Found::At(offset) => (seq, Some(offset)),
            Found::Removed { oldest, offset } if seq == 0 => (oldest, Some(offset)),
            Found::Removed { oldest, .. } => return Err(TailError::Removed { oldest }),
            Found::NotYet => (seq, None),
        };
        let (_, end) = reader.kept(partition)?;
        if let Some(offset) = offset {
            reader.go_to(partition, offset)?;
        }
        Ok(Box::new(Reading {
            reader: Some(reader),
            idle: Arc::clone(&self.idle),
            partition,
            end: if offset.is_some() { end } else { 0 },
            next_seq,
            line: Vec::new(),
        }))
    }
}

/// One partition, up to where it ended.
struct Reading {
    /// There until it is given back.
    reader: Option<Reader>,
    idle: Arc<Mutex<Vec<Reader>>>,
    partition: u32,
    /// No record from this offset on is read.
    end: u64,
    next_seq: u64,
    line: Vec<u8>,
}

impl Tail for Reading {
    fn next_seq(&self) -> u64 {
        self.next_seq
    }

    fn next(&mut self) -> Result<Option<Recorded<'_>>, TailError> {
        let Some((seq, at)) = self.record()? else {
            self.end = 0;
            return Ok(None);
        };
        if seq != self.next_seq {
            let (topic, expected) = (self.partition, self.next_seq);
            let words =
                format!("partition {topic}: record {seq} stands where {expected} must follow");
            return Err(TailError::Failed(words));
        }
        self.next_seq += 1;
        Ok(Some(Recorded { seq, at, line: &self.line, outputs: Vec::new() }))
    }
}

impl Reading {
    /// Reads the next record into `line`; `None` at the end.
    fn record(&mut self) -> Result<Option<(u64, Timestamp)>, TailError> {
        let Some(reader) = self.reader.as_mut().filter(|_| self.end > 0) else { return Ok(None) };
        loop {
            match reader.next(PATIENCE)? {
                Next::Record(message) if message.partition() == self.partition => {
                    if message.offset() >= self.end {
                        return Ok(None);
                    }
                    self.line.clear();
                    self.line.extend_from_slice(message.bytes().unwrap_or_default());
                    let line = Line::read(&self.line);
                    let line = line.map_err(|error| TailError::Failed(error.to_string()))?;
                    return Ok(Some((line.seq, line.at)));
                }
                Next::End { partition } if partition == self.partition => return Ok(None),
                Next::Record(_) | Next::End { .. } => {}
                Next::Nothing => {
                    let seconds = PATIENCE.as_secs();
                    let words = format!("{} gave no record in {seconds} s", reader.topic());
                    return Err(TailError::Failed(words));
                }
            }
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(mut reader) = self.reader.take()
            && reader.leave(self.partition).is_ok()
        {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < KEEPS {
                idle.push(reader);
            }
        }
    }
}

impl From<KafkaFault> for TailError {
    fn from(fault: KafkaFault) -> Self {
        Self::Failed(fault.to_string())
    }
}
