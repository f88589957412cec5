//! Topics of a test's own on the real broker, and who writes them.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use deferd::log::kafka::{Cluster, Topic};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(20);

/// Two working copies on one machine have two brokers: the first of four ports for this one's, of which the
/// third is where a proxy may listen and the fourth is who stands behind it.
fn port() -> u32 {
    let root = env!("CARGO_MANIFEST_DIR");
    20_000 + root.bytes().fold(7_u32, |sum, b| (sum * 31 + u32::from(b)) % 3000) * 4
}

/// Where clients come to that a proxy is to see.
pub(crate) fn proxied() -> u32 {
    port() + 2
}

/// Where everything of the broker is kept.
pub(crate) fn kept() -> String {
    format!("{}/target/kafka-tests", env!("CARGO_MANIFEST_DIR"))
}

/// Starts the broker of this working copy where it does not run; where it is found.
pub(crate) fn start() -> String {
    let done = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/ops/kafka/broker"))
        .args(["start", "--data", &kept(), "--port", &port().to_string()])
        .args(["--proxy", &proxied().to_string()])
        .output()
        .expect("ops/kafka/broker runs");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let last = said.lines().last().and_then(|line| line.strip_prefix("bootstrap "));
    let why = String::from_utf8_lossy(&done.stderr);
    last.unwrap_or_else(|| panic!("no broker: {said}{why}")).to_owned()
}

/// The broker of this working copy, which is left running.
fn bootstrap() -> &'static str {
    static BOOTSTRAP: OnceLock<String> = OnceLock::new();
    BOOTSTRAP.get_or_init(start)
}

/// All topics, under a prefix that no other test has.
pub(crate) struct Place {
    pub(crate) cluster: Cluster,
}

impl Place {
    pub(crate) fn new(name: &str, partitions: i32) -> Self {
        let nanos = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("it is after 1970")
            .as_nanos();
        let cluster = Cluster {
            brokers: bootstrap().to_owned(),
            group: format!("deferd-{name}-{nanos}"),
            instance: "test".to_owned(),
            prefix: format!("{name}-{nanos}."),
            session_timeout: Duration::from_secs(15),
            properties: Vec::new(),
        };
        let place = Self { cluster };
        let names: Vec<String> = Topic::ALL.iter().map(|t| place.cluster.topic(*t)).collect();
        let topics = names.iter().map(|t| NewTopic::new(t, partitions, TopicReplication::Fixed(1)));
        let topics: Vec<_> = topics.collect();
        let made = wait(place.admin().create_topics(&topics, &AdminOptions::new()));
        for topic in made.expect("the broker answers") {
            topic.expect("a topic is made");
        }
        place
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.cluster.brokers);
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("an admin client")
    }

    /// Removes what stands before an offset, as retention does.
    pub(crate) fn remove_before(&self, topic: Topic, partition: i32, offset: u64) {
        let mut list = TopicPartitionList::new();
        let offset = Offset::Offset(offset.try_into().expect("a small offset"));
        list.add_partition_offset(&self.cluster.topic(topic), partition, offset).expect("a place");
        wait(self.admin().delete_records(&list, &AdminOptions::new())).expect("records go");
    }

    /// Writes one record without a transaction.
    pub(crate) fn write(&self, topic: Topic, partition: i32, line: &str) {
        let producer: BaseProducer = self.client().create().expect("a producer");
        let topic = self.cluster.topic(topic);
        let record = BaseRecord::<(), str>::to(&topic).payload(line).partition(partition);
        producer.send(record).expect("there is room");
        producer.flush(PATIENCE).expect("it is written");
    }

    pub(crate) fn transactional(&self, id: &str) -> Writer {
        let mut config = self.client();
        config
            .set("transactional.id", format!("{}{id}", self.cluster.prefix))
            .set("queue.buffering.max.messages", "1000000")
            .set("linger.ms", "1");
        let producer: BaseProducer = config.create().expect("a producer");
        producer.init_transactions(PATIENCE).expect("transactions");
        Writer { producer, prefix: self.cluster.prefix.clone() }
    }
}

/// Writes in transactions.
pub(crate) struct Writer {
    producer: BaseProducer,
    prefix: String,
}

impl Writer {
    /// Begins a transaction, and has its records written.
    pub(crate) fn begin(
        &mut self,
        topic: Topic,
        partition: i32,
        lines: impl Iterator<Item = String>,
    ) {
        self.producer.begin_transaction().expect("a transaction begins");
        let topic = format!("{}{}", self.prefix, topic.name());
        for line in lines {
            let record = BaseRecord::<(), str>::to(&topic).payload(&line).partition(partition);
            self.producer.send(record).expect("there is room");
        }
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(Duration::from_millis(5));
        }
    }

    /// Commits what was begun.
    pub(crate) fn end(&mut self) {
        self.producer.commit_transaction(PATIENCE).expect("it is committed");
    }

    pub(crate) fn commit(
        &mut self,
        topic: Topic,
        partition: i32,
        lines: impl Iterator<Item = String>,
    ) {
        self.begin(topic, partition, lines);
        self.end();
    }

    pub(crate) fn abort(
        &mut self,
        topic: Topic,
        partition: i32,
        lines: impl Iterator<Item = String>,
    ) {
        self.begin(topic, partition, lines);
        self.producer.abort_transaction(PATIENCE).expect("it is aborted");
    }
}

/// Waits for what an admin client answers: it has threads of its own.
fn wait<T>(answer: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(answer)
}
