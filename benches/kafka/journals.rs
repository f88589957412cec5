//! Journals of users who wait, written as deferd would have written them.

use std::time::Duration;

use deferd::engine::intake::partition_of;
use deferd::engine::partition::Partition;
use deferd::engine::ports::{Clock, Position, Received};
use deferd::engine::state::State;
use deferd::engine::worker::{Settings, Worker};
use deferd::log::kafka::Topic;
use deferd::log::memory::MemoryLog;
use rdkafka::producer::{BaseProducer, Producer};

use crate::place::{Place, send_on};
use crate::stream::{BenchClock, Real, event, number};

const CALL: Duration = Duration::from_secs(20);
/// Users of a transaction.
const TRANSACTION: usize = 10_000;
const STEP: usize = 1000;

/// Writes the journals of so many users, each with a message that waits.
pub(crate) fn write(place: &Place, users: u64) {
    let mut config = place.client();
    config
        .set("transactional.id", format!("{}writer", place.cluster.prefix))
        .set("queue.buffering.max.messages", "1000000");
    let producer: BaseProducer = config.create().expect("a producer");
    producer.init_transactions(CALL).expect("transactions");
    let (clock, topic) = (BenchClock::default(), place.cluster.topic(Topic::Journal));
    clock.0.set(Real.now());
    let body = "x".repeat(150);
    for partition in 0..place.partitions {
        let settings = Settings { partitions: Some(place.partitions), ..Settings::default() };
        let new = Partition::new(partition, State::default());
        let log = MemoryLog::default();
        let mut worker = Worker::on(new, log, clock.clone(), settings).expect("a log in memory");
        let of =
            (0..users).filter(|user| partition_of(&number(*user), place.partitions) == partition);
        let of: Vec<u64> = of.collect();
        for users in of.chunks(TRANSACTION) {
            producer.begin_transaction().expect("a transaction");
            for users in users.chunks(STEP) {
                for user in users {
                    worker.log().push(message(partition, *user, clock.now(), &body));
                }
                worker.step().expect("a log in memory");
                worker.log().outputs.clear();
                for line in worker.log().take_journal() {
                    send_on(&producer, &topic, partition, "", &line, None);
                }
            }
            while producer.in_flight_count() > 0 {
                producer.poll(Duration::from_millis(1));
            }
            producer.commit_transaction(CALL).expect("it is committed");
        }
    }
}

fn message(partition: u32, user: u64, at: deferd::domain::time::Timestamp, body: &str) -> Received {
    let data = format!(
        r#"{{"message_id":"m{user}","from":"tel:+14155550199","kind":"pager","content_type":"text/plain","body":"{body}"}}"#
    );
    let bytes = event(user, "message.submitted", "/as/1", user, at, &data);
    // From no topic of the group's: its inputs begin at their beginning.
    let position = Position { topic: "file:users".into(), partition, offset: user };
    Received { position, logged: at, bytes }
}
