//! A broker of the bench's own, topics on it that nobody has used, and inputs on them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use deferd::domain::time::Timestamp;
use deferd::engine::intake::partition_of;
use deferd::log::kafka::{Cluster, Topic};
use deferd::record::input::Reader;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::stream::Stream;

const PATIENCE: Duration = Duration::from_secs(60);
/// What is written by somebody else than deferd stands beside what deferd writes.
pub(crate) const RAW: &str = "raw.";

/// A broker that is stopped, and forgets all, when it is dropped.
#[derive(Debug)]
pub(crate) struct Broker {
    data: PathBuf,
    pub(crate) bootstrap: String,
}

impl Broker {
    pub(crate) fn start() -> Self {
        let root = env!("CARGO_MANIFEST_DIR");
        let data = Path::new(root).join("target/kafka-bench");
        run(&data, &["clean"]);
        // Two working copies on one machine have two brokers.
        let port = 12_000 + root.bytes().fold(7_u32, |sum, b| (sum * 31 + u32::from(b)) % 2500) * 3;
        let said = run(&data, &["start", "--port", &port.to_string()]);
        let bootstrap = said.lines().last().and_then(|line| line.strip_prefix("bootstrap "));
        Self { data, bootstrap: bootstrap.expect("where it is").to_owned() }
    }

    /// The number of its process.
    pub(crate) fn process(&self) -> String {
        let process = std::fs::read_to_string(self.data.join("broker.pid"));
        process.expect("it runs").trim().to_owned()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        run(&self.data, &["clean"]);
    }
}

fn run(data: &Path, words: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("ops/kafka/broker");
    let done = Command::new(script).args(words).arg("--data").arg(data).output();
    let done = done.expect("ops/kafka/broker runs");
    let why = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "no broker: {why}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// An input on its way to its topic.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) topic: Topic,
    pub(crate) partition: u32,
    pub(crate) key: String,
    pub(crate) logged: Timestamp,
    pub(crate) bytes: Arc<[u8]>,
}

/// The stream by partition. All of it goes through one topic: an outcome that overtook the decision it
/// answers would be ignored, which life does not do, and which would cost less than life does.
pub(crate) fn inputs(stream: &Stream, partitions: u32) -> Vec<Input> {
    let reader = Reader::default();
    let input = |input: &deferd::engine::ports::Received| {
        let read = reader.read(&input.bytes, input.logged).expect("a bench input");
        let key = read.user.to_string();
        let partition = partition_of(&key, partitions);
        let (logged, bytes) = (input.logged, Arc::clone(&input.bytes));
        Input { topic: Topic::Messages, partition, key, logged, bytes }
    };
    stream.inputs.iter().map(input).collect()
}

/// All topics, under a prefix that nobody else has; they are removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    /// deferd there.
    pub(crate) cluster: Cluster,
    /// How many partitions every topic has.
    pub(crate) partitions: u32,
}

impl Place {
    pub(crate) fn new(broker: &Broker, name: &str, partitions: u32) -> Self {
        let cluster = Cluster {
            brokers: broker.bootstrap.clone(),
            group: format!("{name}.deferd"),
            instance: "bench".to_owned(),
            prefix: format!("{name}."),
            session_timeout: Duration::from_secs(15),
            properties: Vec::new(),
        };
        let place = Self { cluster, partitions };
        let names = place.topics();
        let of = i32::try_from(partitions).expect("a few");
        let topics = names.iter().map(|name| {
            NewTopic::new(name, of, TopicReplication::Fixed(1))
                // The bench stream has a day of its own.
                .set("message.timestamp.after.max.ms", "9223372036854775807")
                .set("retention.ms", "-1")
                // What a round leaves behind is not to be written to the disk during the next.
                .set("file.delete.delay.ms", "100")
        });
        let made = wait(place.admin().create_topics(&topics.collect::<Vec<_>>(), &options()));
        for topic in made.expect("the broker answers") {
            topic.expect("a topic is made");
        }
        place
    }

    fn topics(&self) -> Vec<String> {
        let ours = Topic::ALL.map(|topic| self.cluster.topic(topic));
        ours.iter().cloned().chain(Topic::ALL.map(|topic| self.raw(topic))).collect()
    }

    /// The topic of somebody else than deferd.
    pub(crate) fn raw(&self, topic: Topic) -> String {
        format!("{}{RAW}{}", self.cluster.prefix, topic.name())
    }

    /// What every client is set up with.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.cluster.brokers);
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("an admin client")
    }

    /// Produces inputs, all of them before it returns.
    pub(crate) fn fill(&self, inputs: &[Input]) {
        let producer = self.inputs_producer(5);
        for input in inputs {
            self.send(&producer, input);
        }
        producer.flush(PATIENCE).expect("they are written");
    }

    /// Reads a topic from there on, as far as it is committed.
    pub(crate) fn reader(&self, topic: &str, from: Offset) -> BaseConsumer {
        let mut config = self.client();
        config
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed");
        let reader: BaseConsumer = config.create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions {
            let partition = i32::try_from(partition).expect("a few");
            list.add_partition_offset(topic, partition, from).expect("a place");
        }
        reader.assign(&list).expect("it can read");
        reader
    }

    /// Produces inputs, each after so many milliseconds at the latest.
    pub(crate) fn inputs_producer(&self, linger: u32) -> BaseProducer {
        let mut config = self.client();
        config.set("enable.idempotence", "true").set("linger.ms", linger.to_string());
        config.set("queue.buffering.max.messages", "1000000");
        config.create().expect("a producer")
    }

    /// Produces one input, soon.
    pub(crate) fn send(&self, producer: &BaseProducer, input: &Input) {
        let topic = self.cluster.topic(input.topic);
        send_on(producer, &topic, input.partition, &input.key, &input.bytes, Some(input.logged));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let names = self.topics();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let _ = wait(self.admin().delete_topics(&names, &options()));
    }
}

/// Produces a record, waiting for room.
pub(crate) fn send_on<C: rdkafka::producer::ProducerContext<DeliveryOpaque = ()>>(
    producer: &BaseProducer<C>,
    topic: &str,
    partition: u32,
    key: &(impl AsRef<[u8]> + ?Sized),
    bytes: &[u8],
    at: Option<Timestamp>,
) {
    let mut record = BaseRecord::to(topic).key(key.as_ref()).payload(bytes);
    record = record.partition(i32::try_from(partition).expect("a few"));
    if let Some(at) = at {
        record = record.timestamp(at.as_millis());
    }
    while let Err((error, again)) = producer.send(record) {
        let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
        assert_eq!(error, full, "a record cannot be produced");
        producer.poll(Duration::from_millis(1));
        record = again;
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(PATIENCE))
}

/// Waits for what an admin client answers: it has threads of its own.
fn wait<T>(answer: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(answer)
}
