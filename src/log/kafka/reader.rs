//! Reads partitions of one topic, committed records only, without a group: for a restore, and for
//! whoever asks.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::ask::{self, ANSWER, PAUSE, may_pass};
use super::client::{Cluster, KafkaFault};
use super::said::Said;
use super::topics::Topic;
use crate::domain::time::Timestamp;

/// The longest wait that nothing interrupts.
const SLICE: Duration = Duration::from_millis(200);

/// How far a partition reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// The offset of the oldest record that is kept.
    pub oldest: u64,
    /// What stands before this offset is committed or aborted: so far one may read.
    pub stable: u64,
    /// The offset that the next record gets; beyond `stable` where a transaction is open.
    pub high: u64,
}

/// What comes next.
#[derive(Debug)]
pub enum Next<'a> {
    /// A committed record.
    Record(Message<'a>),
    /// A partition was read to its stable end. Said once for each end: all that was stable when
    /// [`go_to`](Reader::go_to) was called has been handed out by then.
    End {
        /// Which one.
        partition: u32,
    },
    /// Nothing came in time.
    Nothing,
}

/// A record, borrowed from the client.
#[derive(Debug)]
pub struct Message<'a>(BorrowedMessage<'a>);

impl Message<'_> {
    /// Its partition.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.0.partition().try_into().unwrap_or(u32::MAX)
    }

    /// Its offset: more than that of the record before, but not always by one.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.0.offset().try_into().unwrap_or(u64::MAX)
    }

    /// When it was made or logged, as its topic is set up; `None`: its producer is too old to say.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        self.0.timestamp().to_millis().map(Timestamp::from_millis)
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.0.key()
    }

    /// What it says; `None`: a tombstone.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        self.0.payload()
    }
}

/// Reads partitions of one topic, each from where it is told to.
pub struct Reader {
    cluster: Cluster,
    name: String,
    partitions: u32,
    consumer: BaseConsumer<Said>,
    onlooker: OnceLock<BaseConsumer<Said>>,
    /// The partitions that are read.
    read: BTreeSet<u32>,
    /// A broker was out of reach since the last record.
    troubled: bool,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("topic", &self.name).finish_non_exhaustive()
    }
}

impl Reader {
    /// Finds the topic; nothing is read before [`go_to`](Self::go_to).
    ///
    /// # Errors
    ///
    /// [`KafkaFault::Unreachable`] after ten seconds; [`KafkaFault::Refused`] where there is no such topic,
    /// or we may not see it.
    pub fn new(cluster: &Cluster, topic: Topic) -> Result<Self, KafkaFault> {
        let mut reader = Self {
            cluster: cluster.clone(),
            name: cluster.topic(topic),
            partitions: 0,
            consumer: cluster.reader()?,
            onlooker: OnceLock::new(),
            read: BTreeSet::new(),
            troubled: false,
        };
        let what = format!("read {}", reader.name);
        let (consumer, hear) = (&reader.consumer, || hear(&reader.consumer));
        reader.partitions = ask::partitions(cluster, consumer.client(), &reader.name, &what, hear)?;
        Ok(reader)
    }

    /// The name of the topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.name
    }

    /// How many partitions the topic has.
    #[must_use]
    pub const fn partitions(&self) -> u32 {
        self.partitions
    }

    /// How far a partition reaches now.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn ends(&self, partition: u32) -> Result<Ends, KafkaFault> {
        // Before the stable end: it is never found beyond the high one then.
        let (oldest, stable) = self.kept(partition)?;
        let onlooker = match self.onlooker.get() {
            Some(onlooker) => onlooker,
            None => {
                let made = self.cluster.onlooker()?;
                self.onlooker.get_or_init(|| made)
            }
        };
        let (_, high) = self.marks(onlooker, partition)?;
        Ok(Ends { oldest, stable, high })
    }

    /// The oldest offset that is kept, and the one up to which one may read.
    pub(super) fn kept(&self, partition: u32) -> Result<(u64, u64), KafkaFault> {
        self.marks(&self.consumer, partition)
    }

    fn marks(&self, client: &BaseConsumer<Said>, partition: u32) -> Result<(u64, u64), KafkaFault> {
        let number = self.number(partition)?;
        let what = format!("see how far {}/{partition} reaches", self.name);
        // What went wrong is an event among the records: it is heard where that can cost none.
        let is_free = self.read.is_empty() || !std::ptr::eq(client, &self.consumer);
        let (low, high) = ask::patiently(
            &self.name,
            &what,
            || client.fetch_watermarks(&self.name, number, ANSWER).map_err(not_yet),
            |error| {
                if is_free {
                    hear(client);
                }
                self.cluster.unreachable(client.context(), error)
            },
        )?;
        Ok((low.try_into().unwrap_or(0), high.try_into().unwrap_or(0)))
    }

    /// Reads a partition from this offset on, instead of from where it stood, beside the others; an
    /// offset that holds no record stands for the first one after it. It is not beyond the stable end: a
    /// partition has no end there.
    ///
    /// # Errors
    ///
    /// [`KafkaFault::Refused`]: there is no such partition.
    pub fn go_to(&mut self, partition: u32, offset: u64) -> Result<(), KafkaFault> {
        let number = self.number(partition)?;
        self.leave(partition)?;
        let what = format!("read {}/{partition} from {offset} on", self.name);
        let refused = |error: KafkaError| KafkaFault::refused(what.as_str(), &error);
        let mut list = TopicPartitionList::with_capacity(1);
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        list.add_partition_offset(&self.name, number, Offset::Offset(offset)).map_err(refused)?;
        self.consumer.incremental_assign(&list).map_err(refused)?;
        self.read.insert(partition);
        Ok(())
    }

    /// Reads a partition no longer; what was fetched of it is forgotten.
    ///
    /// # Errors
    ///
    /// [`KafkaFault::Refused`]: the client cannot.
    pub fn leave(&mut self, partition: u32) -> Result<(), KafkaFault> {
        if !self.read.remove(&partition) {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.name, self.number(partition)?);
        let left = self.consumer.incremental_unassign(&list);
        left.map_err(|error| KafkaFault::refused(format!("leave {}", self.name), &error))
    }

    /// What comes next of the partitions that are read, oldest first within each; it is waited for no
    /// longer than `patience`.
    ///
    /// # Errors
    ///
    /// [`KafkaFault::Unreachable`]: nothing came, and no broker answers. [`KafkaFault::Refused`] at once:
    /// retention removed what stood at the offset, we may not read the topic, it is gone.
    pub fn next(&mut self, patience: Duration) -> Result<Next<'_>, KafkaFault> {
        let mut left = patience;
        loop {
            let slice = left.min(SLICE);
            match self.consumer.poll(slice) {
                Some(Ok(message)) => {
                    self.troubled = false;
                    return Ok(Next::Record(Message(message)));
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.troubled = false;
                    return Ok(Next::End { partition: partition.try_into().unwrap_or(u32::MAX) });
                }
                Some(Err(error)) => {
                    let code = error.rdkafka_error_code();
                    if code.is_some_and(may_pass) {
                        self.troubled = true;
                        std::thread::sleep(PAUSE.min(left));
                    } else if !code.is_some_and(is_about_groups) {
                        return Err(ask::refused(
                            &self.name,
                            &format!("read {}", self.name),
                            &error,
                        ));
                    }
                }
                None => {}
            }
            left = left.saturating_sub(slice);
            if left.is_zero() {
                break;
            }
        }
        // What a broker said once it does not take back: it is asked.
        if self.troubled {
            let partition = self.read.first().copied().unwrap_or(0);
            let number = self.number(partition)?;
            if let Err(error) = self.consumer.fetch_watermarks(&self.name, number, SLICE) {
                return Err(self.cluster.unreachable(self.consumer.context(), &error));
            }
            self.troubled = false;
        }
        Ok(Next::Nothing)
    }

    /// What is wrong where a broker takes questions and has no answer.
    pub(super) fn silent(&self, why: String) -> KafkaFault {
        KafkaFault::Unreachable { brokers: self.cluster.brokers.clone(), why }
    }

    fn number(&self, partition: u32) -> Result<i32, KafkaFault> {
        let known = (partition < self.partitions).then(|| i32::try_from(partition).ok()).flatten();
        known.ok_or_else(|| KafkaFault::Refused {
            what: format!("read {}/{partition}", self.name),
            why: format!("it has {} partitions", self.partitions),
        })
    }
}

/// Hears what a client that reads nothing has to say.
fn hear(client: &BaseConsumer<Said>) {
    let _ = (0..5).find(|_| client.poll(PAUSE).is_none());
}

/// What a reader need not mind: it is in no group.
fn is_about_groups(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::GroupAuthorizationFailed | RDKafkaErrorCode::InvalidGroupId)
}

/// A topic that was there when we looked has no leader now, whatever a broker says that has just come back.
fn not_yet(error: KafkaError) -> KafkaError {
    use RDKafkaErrorCode as Code;
    let unknown = [Code::UnknownTopicOrPartition, Code::UnknownTopic, Code::UnknownPartition];
    if error.rdkafka_error_code().is_some_and(|code| unknown.contains(&code)) {
        return KafkaError::MetadataFetch(Code::LeaderNotAvailable);
    }
    error
}
