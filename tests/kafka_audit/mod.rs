//! What a run on Kafka has left, read from the broker by nobody's code but the client's, and held against
//! what must hold.

#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use deferd::domain::decide::step;
use deferd::domain::user::User;
use deferd::engine::replay::{Verdict, verify};
use deferd::engine::state::State;
use deferd::log::kafka::{Cluster, Topic};
use deferd::record::envelope::Envelope;
use deferd::record::input::{Kind, Reader};
use deferd::record::journal::Record;
use deferd::record::output::output;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// How long a topic may take to be read to its end: a dead member's transaction must time out first.
const PATIENCE: Duration = Duration::from_secs(60);

/// A record as it stands.
pub struct Stands {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<String>,
    pub bytes: Vec<u8>,
}

/// All committed records of a topic, those of one partition in their order.
pub fn read(cluster: &Cluster, topic: Topic, partitions: i32) -> Vec<Stands> {
    let name = cluster.topic(topic);
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &cluster.brokers)
        .set("group.id", "an-audit")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let onlooker: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &cluster.brokers)
        .set("group.id", "an-audit")
        .set("isolation.level", "read_uncommitted")
        .create()
        .unwrap();
    let began = Instant::now();
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(&name, partition, Offset::Beginning).unwrap();
        // Nothing may be open any more: what is not stable yet would be missed.
        loop {
            let marks = |consumer: &BaseConsumer| {
                consumer.fetch_watermarks(&name, partition, PATIENCE).unwrap().1
            };
            let high = marks(&onlooker);
            if marks(&consumer) >= high {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{name}/{partition}: a transaction stays open");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    consumer.assign(&list).unwrap();
    let mut records = Vec::new();
    let mut ended = BTreeSet::new();
    while ended.len() < partitions as usize {
        assert!(began.elapsed() < 2 * PATIENCE, "{name} is not read to its end");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => records.push(Stands {
                partition: message.partition(),
                offset: message.offset(),
                key: message.key().map(|key| String::from_utf8(key.to_vec()).unwrap()),
                bytes: message.payload().unwrap_or_default().to_vec(),
            }),
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(ended.insert(partition)),
            Some(Err(error)) => panic!("{name}: {error}"),
            None => {}
        }
    }
    records
}

/// What an audit has found, for whoever wants to know that there was something to find.
#[derive(Debug, Default)]
pub struct Found {
    pub inputs: usize,
    pub records: usize,
    pub commands: usize,
    pub rang: usize,
    pub rejected: usize,
    pub epochs: u64,
    /// The state of each partition, as its journal adds up.
    pub states: BTreeMap<i32, State>,
}

/// Holds all that must hold of a cluster whose members have stopped, or have taken all there is.
///
/// Every input is in the journal exactly once, and what holds of [a journal](audit_journal).
pub fn audit(cluster: &Cluster, partitions: i32) -> Found {
    let (mut found, mut taken) = audit_journal(cluster, partitions);
    for topic in Topic::INPUTS {
        let name = cluster.topic(topic);
        for stands in read(cluster, topic, partitions) {
            found.inputs += 1;
            let position = format!("{name}/{}/{}", stands.partition, stands.offset);
            assert_eq!(taken.remove(&position), Some(1), "{position} in the journal");
        }
    }
    assert!(taken.is_empty(), "in the journal, and no input: {taken:?}");
    found
}

/// Holds what must hold of a journal, whatever became of the inputs; and how often it has each input.
///
/// `seq` is dense and epochs rise; every decision is the same again; no alarm rang early or for nothing; the
/// outputs are those that follow from it, none missing and none more; what was rejected is a dead letter.
pub fn audit_journal(cluster: &Cluster, partitions: i32) -> (Found, HashMap<String, u32>) {
    let mut found = Found::default();
    let mut taken: HashMap<String, u32> = HashMap::new();
    let mut expected: HashMap<(i32, Vec<u8>), i64> = HashMap::new();
    let reader = Reader::default();
    for stands in read(cluster, Topic::Journal, partitions) {
        found.records += 1;
        let state = found.states.entry(stands.partition).or_default();
        let record = Record::read(&stands.bytes).unwrap();
        let place = format!("journal {}@{}", stands.partition, stands.offset);
        let verdict = verify(state, &record, &reader).unwrap();
        assert!(!matches!(verdict, Verdict::Differs { .. }), "{place}: {verdict:?}");
        if let Some(position) = &record.pos {
            *taken.entry(position.to_string()).or_default() += 1;
        }
        found.rejected += usize::from(record.rejected.is_some());
        found.epochs = found.epochs.max(record.epoch);
        found.rang += usize::from(follow(state, &record, &place, stands.partition, &mut expected));
        state.apply(&record).unwrap_or_else(|error| panic!("{place}: {error}"));
    }
    for topic in [Topic::Deliveries, Topic::Notifications] {
        for stands in read(cluster, topic, partitions) {
            found.commands += 1;
            let left = expected.entry((stands.partition, stands.bytes)).or_default();
            *left -= 1;
            assert!(*left >= 0, "{}: a command that the journal does not hold", topic.name());
        }
    }
    let missing = expected.values().filter(|left| **left > 0).count();
    assert_eq!(missing, 0, "commands that the journal holds, and nobody sees");
    assert_eq!(read(cluster, Topic::DeadLetters, partitions).len(), found.rejected, "dead letters");
    (found, taken)
}

/// Adds what follows from a record to what is expected. Whether it was an alarm, which is looked at.
fn follow(
    state: &State,
    record: &Record<'_>,
    place: &str,
    partition: i32,
    expected: &mut HashMap<(i32, Vec<u8>), i64>,
) -> bool {
    let Some(address) = record.address().unwrap() else { return false };
    let Some(raw) = record.input else { return false };
    let key = state.users.key(&address);
    let mut user = state.users.get(key).unwrap_or_else(|| User::new(address));
    let envelope = Envelope::read(raw.get().as_bytes()).unwrap();
    let rang = matches!(Kind::of(&envelope.kind), Ok(Kind::TimerFired));
    if rang {
        let due = user.wake_at(&state.policy).unwrap();
        assert!(due <= record.at, "{place}: due at {due}, and it rang at {}", record.at);
        assert!(!record.events.is_empty(), "{place}: it rang for nothing");
    }
    let Some(read) = record.input(&Reader::default()).unwrap() else { return rang };
    let Ok(decided) = step(&mut user, &read.input, record.at, &state.policy) else { return rang };
    for command in &decided.commands {
        let bytes = output(command, record.at).bytes;
        *expected.entry((partition, bytes)).or_default() += 1;
    }
    rang
}
