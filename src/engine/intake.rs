//! Where inputs are handed in, from any edge: taken all or none, answered when they are durable.

use std::sync::{Arc, Mutex, PoisonError};

use super::ports::Fate;

/// An input that somebody hands in.
#[derive(Clone, Debug)]
pub struct Given {
    /// Who hands it in: `http`, or `file:` and a name.
    pub topic: Arc<str>,
    /// Its number there, such as a line; `None`: the next one of its topic.
    pub offset: Option<u64>,
    /// The user it is about, canonical; `None` where none can be read: it will be a dead letter.
    pub user: Option<Box<str>>,
    /// What it says.
    pub bytes: Arc<[u8]>,
}

/// What became of an input, durably.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is decided.
    Decided {
        /// The partition that took it.
        partition: u32,
        /// The number of its journal record there.
        seq: u64,
        /// What became of it.
        fate: Fate,
    },
    /// Its topic has it; whoever has that partition decides it in its turn.
    Logged {
        /// The topic.
        topic: Arc<str>,
        /// Its partition.
        partition: u32,
        /// Its offset there.
        offset: u64,
    },
}

/// Why inputs are not taken now; none of them was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too many wait: later.
    #[error("too many inputs wait; send them again in a second")]
    Full,
    /// More at once than may ever wait.
    #[error("more inputs at once than may wait: {0}")]
    TooMany(&'static str),
    /// The daemon stops.
    #[error("the daemon is stopping; send them again when it is back")]
    Closed,
}

/// Who is told what became of a batch of inputs, in the order in which they were given; or why nobody
/// knows of all of them. Where it is dropped uncalled the process ends, and the journal has the word.
pub type Told = Box<dyn FnOnce(Result<Vec<Settled>, String>) + Send>;

/// A batch under way. Where it is dropped before all of it is settled, nobody is told.
struct Batch {
    settled: Vec<Option<Settled>>,
    left: usize,
    failed: Option<String>,
    told: Option<Told>,
}

/// An input of a batch: the last one that is settled answers for all.
#[derive(Clone)]
pub struct Ticket {
    batch: Arc<Mutex<Batch>>,
    index: usize,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Ticket {
    /// One for each input of a batch, in their order.
    pub fn of(count: usize, told: Told) -> impl Iterator<Item = Self> {
        let settled = vec![None; count];
        let batch = Batch { settled, left: count, failed: None, told: Some(told) };
        let batch = Arc::new(Mutex::new(batch));
        (0..count).map(move |index| Self { batch: Arc::clone(&batch), index })
    }

    /// Says what became of it.
    pub fn settle(self, settled: Settled) {
        self.end(Ok(settled));
    }

    /// Says why nobody knows.
    pub fn fail(self, why: String) {
        self.end(Err(why));
    }

    fn end(self, how: Result<Settled, String>) {
        let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        match how {
            Ok(settled) => {
                if let Some(place) = batch.settled.get_mut(self.index) {
                    *place = Some(settled);
                }
            }
            Err(why) => batch.failed = Some(why),
        }
        batch.left = batch.left.saturating_sub(1);
        if batch.left == 0
            && let Some(told) = batch.told.take()
        {
            let (settled, failed) = (std::mem::take(&mut batch.settled), batch.failed.take());
            drop(batch);
            told(match failed {
                Some(why) => Err(why),
                None => Ok(settled.into_iter().flatten().collect()),
            });
        }
    }
}

/// Takes inputs for all partitions.
pub trait Intake: Send + Sync {
    /// Takes all of them or none; `told` hears what became of them once all are durable, and must not
    /// wait. Of no input nobody is told.
    ///
    /// # Errors
    ///
    /// [`Refused`]: none was taken.
    fn give(&self, given: Vec<Given>, told: Told) -> Result<(), Refused>;
}

/// The partition of a user's canonical address, as Kafka's own clients choose it: murmur2 over the key.
#[must_use]
pub fn partition_of(user: &str, partitions: u32) -> u32 {
    (murmur2(user.as_bytes()) & 0x7fff_ffff) % partitions.max(1)
}

/// Source: Apache Kafka, `org.apache.kafka.common.utils.Utils.murmur2`; seed and constants are its.
fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut hash = 0x9747_b28c ^ length;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |sum, octet| sum << 8 | u32::from(*octet));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values that Kafka's own unit test holds (UtilsTest.testMurmur2), as signed 32-bit numbers.
    #[test]
    fn keys_go_where_kafkas_clients_put_them() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }
}
