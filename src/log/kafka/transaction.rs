//! A producer whose records become visible together with the offsets that led to them, or never.
//!
//! Source: KIP-98, KIP-447; librdkafka's transactional producer. Every error of it is fatal, abortable, or
//! to be tried again, and each has its own answer here.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, PurgeConfig};

use super::client::{Cluster, KafkaFault};
use super::said::Said;
use crate::domain::time::Timestamp;
use crate::engine::ports::{Clock, LogError};

/// The longest wait for a broker in one call: the group must hear of us in between.
const CALL: Duration = Duration::from_secs(2);
/// The wait for room in the producer's queue, and for its last records to be sent.
const POLL: Duration = Duration::from_millis(1);
/// A commit that took longer may meet its own late twin: the producer is changed for a new one, which no
/// old request can speak for.
const SLOW: Duration = Duration::from_secs(1);

/// What the transactions of a shard have cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// How many were committed.
    pub commits: u64,
    /// How long that took, in all.
    pub committing: Duration,
    /// How many were aborted.
    pub aborts: u64,
    /// How often the producer was changed for a new one.
    pub rotations: u64,
}

/// The transactional producer of one shard.
pub(super) struct Transactions<C> {
    cluster: Cluster,
    shard: u32,
    clock: C,
    /// `None`: it must be made anew.
    producer: Option<Arc<BaseProducer<Said>>>,
    /// Whether no transaction of this shard's name, ours or a predecessor's, is open.
    is_settled: bool,
    is_open: bool,
    pub(super) cost: Cost,
}

impl<C> std::fmt::Debug for Transactions<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transactions").field("shard", &self.shard).finish_non_exhaustive()
    }
}

impl<C: Clock> Transactions<C> {
    pub(super) fn new(cluster: &Cluster, shard: u32, clock: C) -> Self {
        Self {
            cluster: cluster.clone(),
            shard,
            clock,
            producer: None,
            is_settled: false,
            is_open: false,
            cost: Cost::default(),
        }
    }

    /// Ends whatever a producer of this name has left open: after it, the journal says what is so.
    pub(super) fn settle(&mut self) -> Result<&BaseProducer<Said>, LogError> {
        if self.is_settled
            && let Some(producer) = self.producer.take()
        {
            return Ok(self.producer.insert(producer));
        }
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => self
                .cluster
                .transactional(self.shard, Said::default())
                .map(Arc::new)
                .map_err(|fault: KafkaFault| LogError::Broken(fault.to_string()))?,
        };
        match producer.init_transactions(CALL) {
            Ok(()) => {
                self.is_settled = true;
                Ok(self.producer.insert(producer))
            }
            Err(error) => {
                let said = producer.context().last();
                if is_retriable(&error) {
                    self.producer = Some(producer);
                }
                if refuses(&error) {
                    return Err(LogError::Broken(format!(
                        "the transactional id {}-{}-{} is refused: {error}; `deferd topics check` says \
                         which ACL is missing",
                        self.cluster.group, self.cluster.instance, self.shard
                    )));
                }
                let said = said.map_or_else(String::new, |said| format!(" ({said})"));
                Err(LogError::Unavailable(format!("no transaction can be begun: {error}{said}")))
            }
        }
    }

    /// Opens a transaction, unless one is open.
    fn open(&mut self) -> Result<(), LogError> {
        if self.is_open {
            return Ok(());
        }
        let begun = self.settle()?.begin_transaction();
        begun.map_err(|error| self.failed("begin a transaction", &error))?;
        self.is_open = true;
        Ok(())
    }

    /// Whether one is open.
    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Takes a record into the transaction.
    pub(super) fn send(
        &mut self,
        topic: &str,
        partition: u32,
        key: Option<&[u8]>,
        bytes: Option<&[u8]>,
    ) -> Result<(), LogError> {
        self.open()?;
        let until = self.clock.now() + self.cluster.session_timeout;
        let Self { producer: Some(producer), clock, .. } = self else {
            return Err(LogError::Unavailable("there is no producer".to_owned()));
        };
        let mut record =
            BaseRecord::to(topic).partition(i32::try_from(partition).unwrap_or(i32::MAX));
        record.key = key;
        record.payload = bytes;
        let error = loop {
            match producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again))
                    if clock.now() < until =>
                {
                    producer.poll(POLL);
                    record = again;
                }
                Err((error, _)) => break error,
            }
        };
        Err(self.failed(&format!("write to {topic}"), &error))
    }

    /// Makes all that was sent visible, and the offsets with it.
    pub(super) fn commit(
        &mut self,
        offsets: TopicPartitionList,
        group: ConsumerGroupMetadata,
    ) -> Result<(), LogError> {
        let began = self.clock.now();
        let until = began + self.cluster.session_timeout;
        let with = Arc::new((offsets, group));
        let sent = self.again(until, |producer| {
            let (producer, with) = (Arc::clone(producer), Arc::clone(&with));
            let patience = until.since(self.clock.now()).max(CALL);
            in_time(patience, move || producer.send_offsets_to_transaction(&with.0, &with.1, CALL))
        });
        if let Err(error) = sent {
            return Err(self.failed("send the offsets", &error));
        }
        // The commit itself would wait in steps of 100 ms for what is on its way.
        while self.producer.as_ref().is_some_and(|producer| producer.in_flight_count() > 0)
            && self.clock.now() < until
        {
            self.poll(POLL);
        }
        let committed = self.again(until, |producer| producer.commit_transaction(CALL));
        if let Err(error) = committed {
            return Err(self.failed("commit", &error));
        }
        self.is_open = false;
        let took = self.clock.now().since(began);
        self.cost.commits += 1;
        self.cost.committing += took;
        if took > SLOW {
            tracing::warn!(
                milliseconds = took.as_millis(),
                "a slow commit: the producer is changed for a new one"
            );
            self.rotate();
        }
        Ok(())
    }

    /// Calls until it is done, or not worth another call.
    fn again(
        &self,
        until: Timestamp,
        call: impl Fn(&Arc<BaseProducer<Said>>) -> Result<(), KafkaError>,
    ) -> Result<(), KafkaError> {
        loop {
            let Some(producer) = &self.producer else { return Err(KafkaError::Canceled) };
            match call(producer) {
                Err(error) if is_retriable(&error) && self.clock.now() < until => {
                    producer.poll(POLL);
                }
                done => return done,
            }
        }
    }

    /// Lets librdkafka say what became of what was sent.
    pub(super) fn poll(&self, patience: Duration) {
        if let Some(producer) = &self.producer {
            producer.poll(patience);
        }
    }

    /// Drops what was sent and not committed.
    pub(super) fn abort(&mut self) {
        if !std::mem::take(&mut self.is_open) {
            return;
        }
        self.cost.aborts += 1;
        let until = self.clock.now() + CALL;
        let Some(producer) = &self.producer else { return };
        // An abort that nobody polls for waits for the records it purges.
        producer.purge(PurgeConfig::default().queue().inflight());
        while producer.in_flight_count() > 0 && self.clock.now() < until {
            producer.poll(POLL);
        }
        if let Err(error) = self.again(until, |producer| producer.abort_transaction(CALL)) {
            tracing::warn!("a transaction cannot be aborted, so its producer is dropped: {error}");
            self.rotate();
        }
    }

    /// Nothing of this producer is to be used again: the next one ends what it left.
    fn rotate(&mut self) {
        self.cost.rotations += 1;
        self.producer = None;
        self.is_settled = false;
        self.is_open = false;
    }

    /// Ends a transaction that failed, in the way its error asks for.
    fn failed(&mut self, what: &str, error: &KafkaError) -> LogError {
        let words = format!("cannot {what}: {error}");
        if let KafkaError::Transaction(inner) = error
            && inner.txn_requires_abort()
            && !inner.is_fatal()
        {
            self.abort();
        } else if let KafkaError::MessageProduction(_) = error {
            self.abort();
        } else {
            // Fatal, or its answer is not known: what became of it only a new producer can find out.
            tracing::warn!("{words}: the producer is changed for a new one");
            self.cost.aborts += u64::from(self.is_open);
            self.rotate();
        }
        if refuses(error) {
            return LogError::Broken(format!(
                "{words}; `deferd topics check` says what is missing"
            ));
        }
        LogError::Unavailable(words)
    }
}

/// What a call says, if it comes back. That which sends offsets may not, whatever its own time-out, for as long
/// as no coordinator of the group is there (confluentinc/librdkafka issues 5456 and 5511): it is left behind
/// with its producer, whose transaction nobody commits any more and the next producer ends.
fn in_time(
    patience: Duration,
    call: impl FnOnce() -> Result<(), KafkaError> + Send + 'static,
) -> Result<(), KafkaError> {
    let (tell, told) = channel();
    let thread = std::thread::Builder::new().name("offsets".into());
    let begun = thread.spawn(move || tell.send(call()).unwrap_or_default());
    let said = begun.ok().and_then(|_| told.recv_timeout(patience).ok());
    said.unwrap_or(Err(KafkaError::Canceled))
}

fn is_retriable(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(inner) if inner.is_retriable())
}

/// Whether the cluster's own rules forbid it: trying again is no use.
fn refuses(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TransactionalIdAuthorizationFailed
                | Code::InvalidTransactionTimeout
        )
    )
}
