//! Where a journal record stands, by its number: `seq` is dense, offsets are not.

use std::time::Duration;

use super::client::KafkaFault;
use super::reader::{Next, Reader};
use crate::record::head::Head;
use crate::record::journal::Record;

/// The longest wait for a record that must be there, or for word that it is not.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many records come with the one that was asked for anyway: a search reads on that far.
const NEAR: u64 = 2000;

/// What a search for a record came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It stands at this offset.
    At(u64),
    /// Retention removed it.
    Removed {
        /// The number of the oldest record that is kept.
        oldest: u64,
        /// Where that one stands.
        offset: u64,
    },
    /// It is not there yet; nor is anything where all was removed.
    NotYet,
}

/// A record that was met on the way.
#[derive(Clone, Copy)]
struct Met {
    seq: u64,
    offset: u64,
}

impl Reader {
    /// Finds the journal record with this number; the partition is read from elsewhere afterwards:
    /// [`go_to`](Self::go_to) comes next.
    ///
    /// Of two records the offsets are at least as far apart as the numbers, since nothing but aborted
    /// records and the marks of transactions stands between them. So the wanted one stands no earlier than
    /// the difference of the numbers behind one before it, and a guess at that place never goes too far.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next); [`KafkaFault::Refused`] also where something is no journal record.
    pub fn find_seq(&mut self, partition: u32, seq: u64) -> Result<Found, KafkaFault> {
        let (oldest, stable) = self.kept(partition)?;
        let Some(first) = self.first_from(partition, oldest)? else { return Ok(Found::NotYet) };
        if first.seq > seq {
            return Ok(Found::Removed { oldest: first.seq, offset: first.offset });
        }
        // What is wanted stands behind `low`, if not there, and before `high`, if there was one.
        let (mut low, mut high) = (first, stable);
        let mut halve = false;
        while low.seq < seq {
            let away = seq - low.seq;
            if away <= NEAR {
                return self.walk(partition, low, seq);
            }
            let nearest = low.offset + away;
            if nearest >= high {
                return Ok(Found::NotYet);
            }
            // Where much was aborted the nearest place is a poor guess: every other one is in the middle.
            let guess = if halve { nearest.max(low.offset.midpoint(high)) } else { nearest };
            halve = !halve;
            match self.first_from(partition, guess)? {
                Some(met) if met.seq <= seq => low = met,
                Some(met) => high = guess.min(met.offset.saturating_sub(met.seq - seq) + 1),
                None => high = guess,
            }
        }
        Ok(Found::At(low.offset))
    }

    /// The first record at an offset or behind it; `None`: none yet.
    fn first_from(&mut self, partition: u32, offset: u64) -> Result<Option<Met>, KafkaFault> {
        self.go_to(partition, offset)?;
        self.met(partition)
    }

    /// Reads on from a record until the wanted one.
    fn walk(&mut self, partition: u32, low: Met, seq: u64) -> Result<Found, KafkaFault> {
        self.go_to(partition, low.offset + 1)?;
        while let Some(met) = self.met(partition)? {
            if met.seq >= seq {
                return if met.seq == seq {
                    Ok(Found::At(met.offset))
                } else {
                    Err(self.broken(partition, met.offset, &format!("it is {}", met.seq)))
                };
            }
        }
        Ok(Found::NotYet)
    }

    /// The next record of a partition; `None` at its end.
    fn met(&mut self, partition: u32) -> Result<Option<Met>, KafkaFault> {
        loop {
            let fault = match self.next(PATIENCE)? {
                Next::Record(message) if message.partition() == partition => {
                    let offset = message.offset();
                    let line = message.bytes().unwrap_or_default();
                    match seq_of(line) {
                        Ok(seq) => return Ok(Some(Met { seq, offset })),
                        Err(why) => (offset, why),
                    }
                }
                Next::End { partition: ended } if ended == partition => return Ok(None),
                Next::Record(_) | Next::End { .. } => continue,
                // A broker that has only just come back may need longer.
                Next::Nothing => {
                    let (topic, seconds) = (self.topic(), PATIENCE.as_secs());
                    return Err(self.silent(format!(
                        "no record and no end of {topic}/{partition} came in {seconds} s"
                    )));
                }
            };
            return Err(self.broken(partition, fault.0, &fault.1));
        }
    }

    fn broken(&self, partition: u32, offset: u64, why: &str) -> KafkaFault {
        let what = format!("use {}/{partition}/{offset}", self.topic());
        let why =
            format!("{why}, expected the next record of a journal: who else writes this topic?");
        KafkaFault::Refused { what, why }
    }
}

/// The number of a record.
fn seq_of(line: &[u8]) -> Result<u64, String> {
    match Head::skim(line) {
        Some(head) => Ok(head.seq),
        None => Record::read(line).map(|record| record.seq).map_err(|error| error.to_string()),
    }
}
