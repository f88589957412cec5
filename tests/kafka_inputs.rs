//! Inputs as strangers write them: in transactions, in the wrong partition, long ago, as large as may be, and
//! thousands that are due at once.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says so; it waits by a clock"
)]

mod kafka_audit;
mod kafka_field;
mod kafka_place;
mod process;
mod seeded;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use deferd::engine::intake::partition_of;
use deferd::log::kafka::Topic;
use kafka_audit::{Found, audit, read};
use kafka_field::{Field, PARTITIONS, number, sender};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);
const REGISTERED: (&str, &str) = (
    "ims.registered",
    r#"{"device":{"contact":"sip:u@192.0.2.1"},"expires_at":"2099-01-01T00:00:00Z","cpm_capable":true}"#,
);
const ATTACHED: (&str, &str) = ("cs.attached", "{}");

/// Writes inputs, and knows how many will be there.
struct Stranger<'a> {
    field: &'a Field,
    producer: BaseProducer,
}

impl<'a> Stranger<'a> {
    fn new(field: &'a Field, transactions: Option<&str>) -> Self {
        let producer = sender(field.cluster(), transactions);
        if transactions.is_some() {
            producer.init_transactions(PATIENCE).unwrap();
        }
        Self { field, producer }
    }

    fn send(&self, topic: Topic, key: &str, event: &str) {
        self.place(topic, None, key, event, None);
    }

    /// Into this partition, as of then.
    fn place(&self, topic: Topic, into: Option<i32>, key: &str, event: &str, then: Option<i64>) {
        let topic = self.field.cluster().topic(topic);
        let mut record = BaseRecord::to(&topic).key(key).payload(event);
        record.partition = into;
        record.timestamp = then;
        self.producer.send(record).unwrap();
        self.producer.poll(Duration::ZERO);
    }

    fn message(&self, user: &str, id: &str, body: &str) {
        self.send(Topic::Messages, user, &message(user, id, body));
    }

    fn seen(&self, user: &str, id: &str, what: (&str, &str)) {
        self.send(Topic::Reachability, user, &event(user, id, what.0, what.1));
    }

    fn written(&self) {
        self.producer.flush(PATIENCE).unwrap();
    }
}

fn event(user: &str, id: &str, kind: &str, data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/stranger","type":"cpm.{kind}.v1","subject":"{user}","data":{data}}}"#
    )
}

fn message(user: &str, id: &str, body: &str) -> String {
    let data = format!(
        r#"{{"message_id":"{id}","from":"tel:+15145550199","kind":"pager","content_type":"text/plain","body":"{body}"}}"#
    );
    event(user, id, "message.submitted", &data)
}

/// The first user from this number on who belongs to a partition.
fn user_of(partition: i32, from: usize) -> String {
    let mut users = (from..).map(|number| format!("tel:+1514556{number:04}"));
    users.find(|user| partition_of(user, PARTITIONS as u32) == partition as u32).unwrap()
}

/// How each message was told to go: `cpm` or `sms`, and the message.
fn gone(field: &Field) -> Vec<(String, String)> {
    let deliveries = read(field.cluster(), Topic::Deliveries, PARTITIONS);
    let event =
        |stands: kafka_audit::Stands| -> Value { serde_json::from_slice(&stands.bytes).unwrap() };
    let text = |event: &Value, name: &str| event["data"][name].as_str().unwrap().to_owned();
    deliveries
        .into_iter()
        .map(event)
        .map(|event| (text(&event, "access"), text(&event, "message_id")))
        .collect()
}

/// Stops the member, and audits.
fn end(field: &Field, member: process::Process) -> Found {
    member.stop();
    audit(field.cluster(), PARTITIONS)
}

/// What was aborted is not there, for anybody; and where a topic ends with the mark of a transaction, or with
/// one that is open, alarms ring all the same: no position ever reaches those ends.
#[test]
fn aborted_inputs_are_none_and_hold_up_no_alarm() {
    let rounds = number("DEFERD_ROUNDS", 20).div_ceil(4);
    let field = Field::new("aborted");
    let mut member = field.member("a");
    member.wait_for("ready");
    let (stranger, other) =
        (Stranger::new(&field, Some("one")), Stranger::new(&field, Some("two")));
    for round in 0..rounds {
        let users: Vec<String> =
            (0..PARTITIONS).map(|partition| user_of(partition, 100 * round as usize)).collect();
        for user in &users {
            stranger.producer.begin_transaction().unwrap();
            stranger.message(user, &format!("m-{user}"), "hello");
            stranger.seen(user, &format!("s-{user}"), ATTACHED);
            stranger.producer.commit_transaction(PATIENCE).unwrap();
            // Would go by IP, and there would be two of them.
            stranger.producer.begin_transaction().unwrap();
            stranger.seen(user, &format!("never-s-{user}"), REGISTERED);
            stranger.message(user, &format!("never-m-{user}"), "hello");
            stranger.send(Topic::Outcomes, user, "never");
            stranger.written();
            stranger.producer.abort_transaction(PATIENCE).unwrap();
        }
        let is_open = round % 2 == 1;
        if is_open {
            other.producer.begin_transaction().unwrap();
            for user in &users {
                other.seen(user, &format!("open-s-{user}"), REGISTERED);
                other.message(user, &format!("open-m-{user}"), "hello");
            }
            other.written();
        }
        field.wait("the alarms ring", || {
            let gone = gone(&field);
            let has = |user: &String| gone.contains(&("sms".to_owned(), format!("m-{user}")));
            users.iter().all(has).then_some(())
        });
        if is_open {
            other.producer.abort_transaction(PATIENCE).unwrap();
        }
    }
    let found = end(&field, member);
    assert_eq!(found.inputs, 2 * 4 * rounds as usize);
    let gone = gone(&field);
    assert!(gone.iter().all(|(access, id)| access == "sms" && !id.contains("never")), "{gone:?}");
}

/// A producer that spreads users otherwise than Kafka's own.
#[test]
fn a_record_in_the_wrong_partition_is_a_dead_letter() {
    let field = Field::new("misplaced");
    let mut member = field.member("a");
    member.wait_for("ready");
    let stranger = Stranger::new(&field, None);
    let user = user_of(1, 0);
    stranger.place(Topic::Messages, Some(2), &user, &message(&user, "m1", "lost?"), None);
    stranger.place(Topic::Messages, Some(1), &user, &message(&user, "m2", "hello"), None);
    stranger.written();
    field.journalled(2);
    let found = end(&field, member);
    assert_eq!(found.rejected, 1);
    let letters = read(field.cluster(), Topic::DeadLetters, PARTITIONS);
    let letter: Value = serde_json::from_slice(&letters[0].bytes).unwrap();
    assert_eq!(letter["data"]["code"], json!("misplaced"), "{letter}");
    let reason = letter["data"]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("in partition 2, and the user belongs to partition 1 of 4"),
        "{reason}"
    );
    assert!(letter["data"].to_string().contains("lost?"), "it is kept: {letter}");
}

/// Down over a deadline, while a registration waits unread behind thousands of other inputs, all of them of
/// an hour ago: the message goes by IP, and only that of the user who did not register by SMS (L-13).
#[test]
fn what_waits_unread_goes_before_what_is_due() {
    let field = Field::new("backlog");
    let waits = ["policy.ip_wait_after_attach_seconds=5"];
    let mut member = field.member_with("a", &waits);
    member.wait_for("ready");
    let stranger = Stranger::new(&field, None);
    let there: Vec<String> = (0..PARTITIONS).map(|partition| user_of(partition, 0)).collect();
    let away: Vec<String> = (0..PARTITIONS).map(|partition| user_of(partition, 100)).collect();
    for user in there.iter().chain(&away) {
        stranger.message(user, &format!("m-{user}"), "hello");
        stranger.seen(user, &format!("a-{user}"), ATTACHED);
    }
    stranger.written();
    let inputs = 2 * (there.len() + away.len());
    field.journalled(inputs);
    member.stop();
    assert!(gone(&field).is_empty(), "nobody has waited long enough yet");

    std::thread::sleep(Duration::from_secs(5));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let then = Some(now - 3_600_000);
    let backlog = 12_000;
    for n in 0..backlog {
        let user = format!("tel:+1514557{n:04}");
        let detached = event(&user, &format!("d-{n}"), "cs.detached", "{}");
        stranger.place(Topic::Reachability, None, &user, &detached, then);
    }
    for user in &there {
        let registered = event(user, &format!("r-{user}"), REGISTERED.0, REGISTERED.1);
        stranger.place(Topic::Reachability, None, user, &registered, then);
    }
    stranger.written();
    let mut member = field.member_with("a", &waits);
    member.wait_for("ready");
    field.journalled(inputs + backlog + there.len());
    let all = |gone: &Vec<(String, String)>| gone.len() >= there.len() + away.len();
    field.wait("all messages go", || Some(gone(&field)).filter(all));
    end(&field, member);
    let mut gone = gone(&field);
    gone.sort();
    let by = |access: &str, user: &String| (access.to_owned(), format!("m-{user}"));
    let by_ip = there.iter().map(|user| by("cpm", user));
    let mut expected: Vec<_> = by_ip.chain(away.iter().map(|user| by("sms", user))).collect();
    expected.sort();
    assert_eq!(gone, expected);
}

/// The largest inputs that a configuration may allow, one that is an octet larger, and users whose messages
/// fill many snapshots' records: all of it fits into what Kafka takes, and nothing is tried for ever.
#[test]
fn nothing_is_too_large_for_kafka() {
    const MOST: usize = 524_288;
    let field = Field::new("large");
    let mut member =
        field.member_with("a", &["max_input_bytes=524288", "kafka.snapshot_seconds=1"]);
    member.wait_for("ready");
    let stranger = Stranger::new(&field, None);
    let users: Vec<String> = (0..3).map(|n| user_of(0, 100 * n)).collect();
    let empty = message(&users[0], "m0", "").len();
    // A quote is written as two octets wherever it is written; a letter of another script as it is.
    let bodies = [
        "x".repeat(MOST - empty),
        r#"\""#.repeat((MOST - empty) / 2),
        "\u{e9}".repeat((MOST - empty) / 2),
    ];
    for (n, (user, body)) in users.iter().zip(&bodies).enumerate() {
        stranger.message(user, &format!("m{n}"), body);
        stranger.seen(user, &format!("r{n}"), REGISTERED);
    }
    stranger.message(&users[0], "m4", &"x".repeat(MOST - empty + 1));
    // No JSON, and what is kept of it is six times as long as it was.
    stranger.send(Topic::Messages, &users[0], &"\u{1}".repeat(900_000));
    stranger.written();
    field.journalled(8);
    field.wait("the messages go", || (gone(&field).len() >= bodies.len()).then_some(()));
    let (_, metrics) = member.get("/metrics");
    let aborts = metrics.lines().find(|line| line.starts_with("deferd_kafka_aborts_total{"));
    assert!(aborts.is_none_or(|line| line.ends_with(" 0")), "{aborts:?}");
    field.wait("a snapshot is written", || {
        (!read(field.cluster(), Topic::Snapshots, PARTITIONS).is_empty()).then_some(())
    });
    let found = end(&field, member);
    assert_eq!(found.rejected, 2);
    for topic in [Topic::Journal, Topic::Deliveries, Topic::DeadLetters, Topic::Snapshots] {
        let largest =
            read(field.cluster(), topic, PARTITIONS).iter().map(|it| it.bytes.len()).max();
        println!("{}: {largest:?}", topic.name());
        assert!(largest.is_some_and(|largest| largest < 1_000_000), "{topic:?}: {largest:?}");
        if matches!(topic, Topic::Journal | Topic::Deliveries) {
            assert!(largest > Some(MOST - empty), "cut short: {topic:?}: {largest:?}");
        }
    }
}

/// Ten thousand messages whose life ends while nobody is there: half of them one user's.
#[test]
fn ten_thousand_expire_at_once() {
    const MANY: usize = 10_000;
    let field = Field::new("expiry");
    let lives = ["policy.lifetime_seconds=15", "policy.max_deferred_per_user=10000"];
    let mut member = field.member_with("a", &lives);
    member.wait_for("ready");
    let stranger = Stranger::new(&field, None);
    let one = user_of(0, 0);
    for n in 0..MANY {
        let user = if n % 2 == 0 { one.clone() } else { format!("tel:+1514558{n:04}") };
        stranger.message(&user, &format!("m{n}"), "hello");
    }
    stranger.written();
    field.journalled(MANY);
    member.stop();
    std::thread::sleep(Duration::from_secs(15));
    let mut member = field.member_with("a", &lives);
    member.wait_for("ready");
    let expired = || {
        let journal = read(field.cluster(), Topic::Journal, PARTITIONS);
        let events = |stands: &kafka_audit::Stands| -> usize {
            let record: Value = serde_json::from_slice(&stands.bytes).unwrap();
            let events = record["events"].as_array().cloned().unwrap_or_default();
            events.iter().filter(|event| event.to_string().contains("expired")).count()
        };
        journal.iter().map(events).sum::<usize>()
    };
    field.wait("all expire", || (expired() >= MANY).then_some(()));
    let (_, metrics) = member.get("/metrics");
    let aborts = metrics.lines().find(|line| line.starts_with("deferd_kafka_aborts_total{"));
    assert!(aborts.is_none_or(|line| line.ends_with(" 0")), "{aborts:?}");
    let found = end(&field, member);
    assert_eq!((expired(), found.inputs), (MANY, MANY));
}
