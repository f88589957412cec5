//! The loop that any program of this kind has: poll, produce, commit, and nothing decided.
//!
//! It writes what deferd wrote for the same inputs: as many records, as large, to as many topics, under the
//! same keys. Its clients are set up as `log/kafka/client.rs` sets up deferd's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use deferd::log::kafka::{Said, Topic};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

use crate::ours::Shape;
use crate::place::{Place, RAW, send_on};
use crate::window::Window;

const CALL: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(1);
/// The producer is polled this often while it is fed, as deferd does.
const SERVED: usize = 1000;

/// How many partitions the group has given; nothing flows before the loop says so.
#[derive(Debug, Default)]
struct Group(Arc<AtomicUsize>);

impl ClientContext for Group {}

impl ConsumerContext for Group {
    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let held = match rebalance {
            Rebalance::Assign(list) => {
                consumer.pause(list).expect("it can wait");
                list.count() / Topic::INPUTS.len()
            }
            Rebalance::Revoke(_) => 0,
            Rebalance::Error(error) => panic!("the group: {error}"),
        };
        self.0.store(held, Ordering::SeqCst);
    }
}

/// A shard: what it reads with, what it writes with, and what it has taken since the last commit.
struct Raw<'w> {
    consumer: BaseConsumer<Group>,
    producer: BaseProducer<Said>,
    messages: String,
    since: Option<Instant>,
    taken: usize,
    /// The next offset, and of which partition.
    next: (i32, i64),
    window: &'w Window,
}

/// One shard until the round is over; `shapes`: what to write, by partition.
pub(crate) fn shard(
    place: &Place,
    number: u32,
    interval: Duration,
    shapes: &[Shape],
    window: &Window,
) {
    let mut raw = Raw::joined(place, number, window);
    let names = Topic::ALL.map(|topic| place.raw(topic));
    let mut bytes = vec![b'x'; shapes.iter().map(Shape::longest).max().unwrap_or(0).max(8)];
    let mut total = 0;
    while !window.is_over() {
        let polled = raw.consumer.poll(POLL);
        let Some(polled) = polled else {
            if raw.since.is_some_and(|since| since.elapsed() >= interval) {
                raw.commit();
            }
            continue;
        };
        let message = polled.expect("a message");
        window.begin();
        let since = *raw.since.get_or_insert_with(|| {
            raw.producer.begin_transaction().expect("a transaction");
            Instant::now()
        });
        let (number, offset) = (message.partition(), message.offset());
        let partition = number.cast_unsigned();
        let shape = shapes.get(partition as usize).expect("a partition");
        // Whoever reads it learns which input it stands for.
        bytes.splice(..8, offset.to_le_bytes());
        for (topic, size) in shape.of(offset.cast_unsigned() as usize) {
            let (key, bytes) = (message.key().unwrap_or_default(), bytes.get(..*size));
            let (topic, bytes) = (names.get(*topic), bytes.unwrap_or_default());
            let topic = topic.expect("one of ours");
            send_on(&raw.producer, topic, partition, key, bytes, None);
        }
        raw.next = (number, offset + 1);
        raw.taken += 1;
        total += 1;
        if raw.taken.is_multiple_of(SERVED) {
            raw.producer.poll(Duration::ZERO);
        }
        if since.elapsed() >= interval || total == shape.inputs() {
            raw.commit();
        }
    }
}

impl<'w> Raw<'w> {
    /// In the group, and everything at rest until all its members are.
    fn joined(place: &Place, number: u32, window: &'w Window) -> Self {
        let group = format!("{}{RAW}group", place.cluster.prefix);
        let mut config = usual(place);
        config
            .set("fetch.queue.backoff.ms", "5")
            .set("check.crcs", "true")
            .set("group.id", &group)
            .set("group.instance.id", format!("raw-{number}"))
            .set("partition.assignment.strategy", "range")
            .set("session.timeout.ms", "15000")
            .set("heartbeat.interval.ms", "3000")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest");
        let held = Arc::new(AtomicUsize::new(0));
        let consumer: BaseConsumer<Group> =
            config.create_with_context(Group(Arc::clone(&held))).expect("a consumer");
        let names = Topic::INPUTS.map(|topic| place.cluster.topic(topic));
        consumer.subscribe(&names.each_ref().map(String::as_str)).expect("a member of the group");

        let mut config = usual(place);
        config
            .set("linger.ms", "2")
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("transactional.id", format!("{group}-{number}"))
            .set("transaction.timeout.ms", "15000");
        let producer: BaseProducer<Said> =
            config.create_with_context(Said::default()).expect("a producer");
        producer.init_transactions(CALL).expect("transactions");
        while !window.is_open() {
            assert!(consumer.poll(POLL).is_none(), "nothing flows yet");
            window.holds(number, held.load(Ordering::SeqCst));
        }
        let all = consumer.assignment().expect("partitions");
        consumer.resume(&all).expect("it can begin");
        let messages = place.cluster.topic(Topic::Messages);
        Self { consumer, producer, messages, since: None, taken: 0, next: (0, 0), window }
    }

    fn commit(&mut self) {
        let mut offsets = TopicPartitionList::new();
        let (partition, next) = self.next;
        offsets
            .add_partition_offset(&self.messages, partition, Offset::Offset(next))
            .expect("an offset");
        let group = self.consumer.group_metadata().expect("a group");
        self.producer
            .send_offsets_to_transaction(&offsets, &group, CALL)
            .expect("offsets are sent");
        // The commit itself would wait in steps of 100 ms for what is on its way.
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(POLL);
        }
        self.producer.commit_transaction(CALL).expect("it is committed");
        self.since = None;
        self.window.committed(std::mem::take(&mut self.taken));
    }
}

fn usual(place: &Place) -> ClientConfig {
    let mut config = place.client();
    config
        .set("reconnect.backoff.max.ms", "1000")
        .set("retry.backoff.ms", "10")
        .set("socket.nagle.disable", "true");
    config
}
