//! Inputs onto their topics: each is taken when the brokers have it for good.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use super::ask;
use super::client::{Cluster, KafkaFault};
use super::said::Said;
use super::topics::Topic;
use crate::engine::intake::{Given, Intake, Refused, Settled, Ticket, Told, partition_of};
use crate::record::envelope::Envelope;
use crate::record::head::Named;
use crate::record::input::Kind;

/// Inputs that may be under way to the brokers, and their bytes.
const INPUTS: usize = 100_000;
const BYTES: usize = 64 << 20;
/// What one takes beside its bytes.
const BESIDE: usize = 256;

/// Hands inputs to their topics: the partition is the user's, so that one user's stay in order.
pub struct Post {
    cluster: Cluster,
    patience: Duration,
    partitions: u32,
    topics: Vec<(Topic, Arc<str>)>,
    under_way: Arc<Mutex<UnderWay>>,
    closed: AtomicBool,
    /// Replaced when it can go on no longer.
    producer: Mutex<ThreadedProducer<Receipts>>,
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Post").field("under_way", &self.under_way).finish_non_exhaustive()
    }
}

/// What the brokers have not answered yet.
#[derive(Debug, Default)]
struct UnderWay {
    inputs: usize,
    bytes: usize,
}

/// A record under way.
struct Sent {
    ticket: Ticket,
    topic: Arc<str>,
    bytes: usize,
}

/// Hears what became of records, on the client's own thread.
#[derive(Debug)]
struct Receipts {
    said: Said,
    under_way: Arc<Mutex<UnderWay>>,
}

impl Post {
    /// Finds the topics. What the brokers do not have after `patience` is given up.
    ///
    /// # Errors
    ///
    /// [`KafkaFault`]: nobody answers, a topic is missing, or they have different numbers of partitions.
    pub fn new(cluster: &Cluster, patience: Duration) -> Result<Self, KafkaFault> {
        let under_way = Arc::new(Mutex::default());
        let producer = producer(cluster, patience, &under_way)?;
        let (mut partitions, mut topics) = (None, Vec::new());
        for topic in [Topic::Messages, Topic::Reachability, Topic::Outcomes, Topic::DeadLetters] {
            let name: Arc<str> = cluster.topic(topic).into();
            let what = format!("write {name}");
            // The producer's thread hears what went wrong.
            let found = ask::partitions(cluster, producer.client(), &name, &what, || {})?;
            let first: u32 = *partitions.get_or_insert(found);
            if found != first {
                let why = format!(
                    "it has {found} partitions and {} has {first}: a user must have one and the same \
                     in all; `deferd topics check` says more",
                    cluster.topic(Topic::Messages)
                );
                return Err(KafkaFault::Refused { what, why });
            }
            topics.push((topic, name));
        }
        Ok(Self {
            cluster: cluster.clone(),
            patience,
            partitions: partitions.unwrap_or(1),
            topics,
            under_way,
            closed: AtomicBool::new(false),
            producer: Mutex::new(producer),
        })
    }

    /// Writes a dead letter of somebody who reads inputs before the engine does.
    ///
    /// # Errors
    ///
    /// As [`Intake::give`].
    pub fn letter(&self, bytes: &[u8], told: Told) -> Result<(), Refused> {
        let ticket = self.take(1, bytes.len(), told)?.next();
        if let Some(ticket) = ticket {
            self.send(Topic::DeadLetters, None, bytes, ticket);
        }
        Ok(())
    }

    /// How many inputs the brokers have not answered yet.
    #[must_use]
    pub fn under_way(&self) -> usize {
        lock(&self.under_way).inputs
    }

    /// Takes no more, and waits until all that is under way is answered. Whether it was, in time.
    pub fn close(&self, patience: Duration) -> bool {
        self.closed.store(true, Ordering::SeqCst);
        let producer = lock(&self.producer).clone();
        producer.flush(patience).is_ok()
    }

    /// Room for a batch.
    fn take(
        &self,
        inputs: usize,
        bytes: usize,
        told: Told,
    ) -> Result<impl Iterator<Item = Ticket> + use<>, Refused> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(Refused::Closed);
        }
        let bytes = bytes + inputs * BESIDE;
        if inputs > INPUTS || bytes > BYTES {
            return Err(Refused::TooMany("send fewer"));
        }
        let mut under_way = lock(&self.under_way);
        if under_way.inputs + inputs > INPUTS || under_way.bytes + bytes > BYTES {
            return Err(Refused::Full);
        }
        under_way.inputs += inputs;
        under_way.bytes += bytes;
        Ok(Ticket::of(inputs, told))
    }

    fn send(&self, topic: Topic, user: Option<&str>, bytes: &[u8], ticket: Ticket) {
        let name = self.topics.iter().find(|(known, _)| *known == topic);
        let Some((_, name)) = name else {
            return ticket.fail(format!("{} takes no inputs", topic.name()));
        };
        let partition = user.map_or(0, |user| partition_of(user, self.partitions));
        let structured = Header { key: "content-type", value: Some(STRUCTURED) };
        let sent = Sent { ticket, topic: Arc::clone(name), bytes: bytes.len() + BESIDE };
        let mut record = BaseRecord::<str, [u8], _>::with_opaque_to(name, Box::new(sent))
            .payload(bytes)
            .partition(i32::try_from(partition).unwrap_or(i32::MAX))
            .headers(OwnedHeaders::new_with_capacity(1).insert(structured));
        if let Some(user) = user {
            record = record.key(user);
        }
        if let Err((error, record)) = self.producer().send(record) {
            record.delivery_opaque.end(&self.under_way, Err(error.to_string()));
        }
    }

    /// The producer; a new one where it can go on no longer.
    fn producer(&self) -> ThreadedProducer<Receipts> {
        let mut held = lock(&self.producer);
        if let Some((_, why)) = held.client().fatal_error() {
            tracing::error!("the producer of inputs begins anew: {why}");
            match producer(&self.cluster, self.patience, &self.under_way) {
                Ok(fresh) => {
                    let old = std::mem::replace(&mut *held, fresh);
                    // What it has not sent it gives up, which may take a moment.
                    std::thread::spawn(move || drop(old));
                }
                Err(fault) => tracing::error!("and cannot: {fault}"),
            }
        }
        held.clone()
    }
}

/// The content type of an event that is whole in its bytes.
const STRUCTURED: &str = "application/cloudevents+json; charset=UTF-8";

impl Intake for Post {
    /// What has no user goes without a key to the first partition of the first topic: the engine finds
    /// there that it is a dead letter.
    fn give(&self, given: Vec<Given>, told: Told) -> Result<(), Refused> {
        let bytes = given.iter().map(|given| given.bytes.len()).sum();
        let tickets = self.take(given.len(), bytes, told)?;
        for (given, ticket) in given.iter().zip(tickets) {
            let topic = topic_of(&given.bytes).filter(|_| given.user.is_some());
            let topic = topic.unwrap_or(Topic::Messages);
            self.send(topic, given.user.as_deref(), &given.bytes, ticket);
        }
        Ok(())
    }
}

/// The topic of an input; `None`: it says nothing that has one.
fn topic_of(bytes: &[u8]) -> Option<Topic> {
    let text = std::str::from_utf8(bytes).ok()?;
    let kind = match Named::skim(text) {
        Some(named) => Kind::of(named.kind),
        None => Kind::of(&Envelope::read(bytes).ok()?.kind),
    };
    let name = kind.ok()?.topic();
    Topic::INPUTS.into_iter().find(|topic| topic.name() == name)
}

fn producer(
    cluster: &Cluster,
    patience: Duration,
    under_way: &Arc<Mutex<UnderWay>>,
) -> Result<ThreadedProducer<Receipts>, KafkaFault> {
    let receipts = Receipts { said: Said::default(), under_way: Arc::clone(under_way) };
    cluster.producer(patience, [2 * INPUTS, 2 * BYTES], receipts)
}

impl Sent {
    fn end(self, under_way: &Mutex<UnderWay>, how: Result<Settled, String>) {
        let mut left = lock(under_way);
        left.inputs = left.inputs.saturating_sub(1);
        left.bytes = left.bytes.saturating_sub(self.bytes);
        drop(left);
        match how {
            Ok(settled) => self.ticket.settle(settled),
            Err(why) => self.ticket.fail(format!("{} has not taken it: {why}", self.topic)),
        }
    }
}

impl ProducerContext for Receipts {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent>) {
        let how = match result {
            Ok(message) => Ok(Settled::Logged {
                topic: Arc::clone(&sent.topic),
                partition: message.partition().try_into().unwrap_or(u32::MAX),
                offset: message.offset().try_into().unwrap_or(u64::MAX),
            }),
            Err((error, _)) => {
                let timed_out =
                    error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageTimedOut);
                let said = self.said.last().filter(|_| timed_out);
                Err(said.unwrap_or_else(|| error.to_string()))
            }
        };
        sent.end(&self.under_way, how);
    }
}

impl ClientContext for Receipts {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.said.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.said.error(error, reason);
    }
}

impl AsRef<Said> for Receipts {
    fn as_ref(&self) -> &Said {
        &self.said
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
