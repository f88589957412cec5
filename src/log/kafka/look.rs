//! The first question to a cluster: what is there, or why nobody answers.
//!
//! librdkafka tries for ever and tells in passing what went wrong. Here its words are kept, a refusal is
//! told from a broker that is not there yet, and each is said with the key to change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{MetadataBroker, MetadataPartition, MetadataTopic};

use super::client::{Cluster, KafkaFault};
use super::said::{Hindrance, Said, meaning};
use super::topics::Topic;

/// How often what the brokers say is looked at.
const TICK: Duration = Duration::from_millis(100);
/// Ticks until nobody has answered: ten seconds.
const PATIENCE: u32 = 100;
/// Ticks until one that refuses every connection is down, and not just starting.
const DOWN: u32 = 50;
/// Ticks that the others of several brokers have after one has turned us away.
const OTHERS: u32 = 20;
/// Ticks in which a broker that turned us away says why.
const WORDS: u32 = 2;

/// Kafka's own topics that transactions rest on.
pub(super) const INTERNAL: [&str; 2] = ["__consumer_offsets", "__transaction_state"];

/// What a cluster has of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// How many brokers there are.
    pub brokers: usize,
    /// One of them.
    pub broker: Option<i32>,
    /// What is known of each topic of ours, by its whole name, and of Kafka's own two.
    pub topics: BTreeMap<String, Seen>,
}

/// What is known of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is not there.
    Missing,
    /// We may not see it.
    Forbidden,
    /// It is there, with these partitions.
    There(Vec<Partition>),
}

/// How a partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Whether a broker leads it.
    pub has_leader: bool,
    /// How many brokers are to have a copy.
    pub copies: usize,
    /// How many have all of it.
    pub in_sync: usize,
}

impl View {
    /// What is known of a topic; what was not asked for is missing.
    #[must_use]
    pub fn topic(&self, name: &str) -> &Seen {
        self.topics.get(name).unwrap_or(&Seen::Missing)
    }
}

impl Cluster {
    /// What there is of our topics.
    ///
    /// # Errors
    ///
    /// [`KafkaFault::Unreachable`] after ten seconds at most; at once where we are turned away.
    /// [`KafkaFault::Settings`].
    pub fn look(&self) -> Result<View, KafkaFault> {
        let consumer = Arc::new(self.looker()?);
        let names: Vec<String> = Topic::ALL
            .iter()
            .map(|topic| self.topic(*topic))
            .chain(INTERNAL.map(str::to_owned))
            .collect();
        let (give, answer) = mpsc::channel();
        let asking = Arc::clone(&consumer);
        // A question cannot be called back: where it is hopeless, it ends later and nobody listens.
        let thread = std::thread::Builder::new().name("kafka-look".into());
        let started = thread.spawn(move || {
            let _ = give.send(view(&asking, &names));
        });
        started.map_err(|error| KafkaFault::Settings(format!("no thread can be made: {error}")))?;
        self.wait(&consumer, &answer)
    }

    /// Waits for an answer, and hears meanwhile why there is none.
    fn wait<T>(
        &self,
        consumer: &BaseConsumer<Said>,
        answer: &mpsc::Receiver<Result<T, KafkaError>>,
    ) -> Result<T, KafkaFault> {
        let said = consumer.context();
        let has_several = self.brokers.contains(',');
        let (mut ticks, mut hindered) = (0, 0);
        loop {
            let answered = answer.recv_timeout(TICK);
            // What is said in passing is heard here.
            while consumer.poll(Duration::ZERO).is_some() {}
            match answered {
                Ok(Ok(view)) => return Ok(view),
                Ok(Err(error)) => return Err(self.unreachable(said, &error)),
                Err(_) => ticks += 1,
            }
            let security = self.security();
            let worst = said.all().iter().map(|reason| meaning(reason, security).0).max();
            hindered += u32::from(worst.is_some_and(|worst| worst > Hindrance::Away));
            let patience = match worst {
                Some(Hindrance::TurnedAway) if !has_several => WORDS,
                Some(Hindrance::TurnedAway | Hindrance::Otherwise) => OTHERS,
                Some(Hindrance::Away) | None => u32::MAX,
            };
            let is_down = worst == Some(Hindrance::Away) && ticks >= DOWN;
            if ticks >= PATIENCE || hindered >= patience || is_down {
                let error = KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut);
                return Err(self.unreachable(said, &error));
            }
        }
    }
}

/// Asks for each of these topics.
fn view(consumer: &BaseConsumer<Said>, names: &[String]) -> Result<View, KafkaError> {
    let mut view = View::default();
    for name in names {
        let metadata = consumer.fetch_metadata(Some(name), TICK * PATIENCE)?;
        view.brokers = metadata.brokers().len();
        view.broker = metadata.brokers().first().map(MetadataBroker::id);
        let seen = metadata.topics().first().map_or(Seen::Missing, seen);
        view.topics.insert(name.clone(), seen);
    }
    Ok(view)
}

fn seen(topic: &MetadataTopic) -> Seen {
    match topic.error().map(RDKafkaErrorCode::from) {
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => return Seen::Forbidden,
        // One that has no leader yet is there.
        Some(error) if error != RDKafkaErrorCode::LeaderNotAvailable => return Seen::Missing,
        Some(_) | None => {}
    }
    let partition = |partition: &MetadataPartition| Partition {
        has_leader: partition.leader() >= 0,
        copies: partition.replicas().len(),
        in_sync: partition.isr().len(),
    };
    Seen::There(topic.partitions().iter().map(partition).collect())
}
