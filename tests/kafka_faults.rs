//! The real daemon as members of a group on a real broker, under load: killed, stopped, joined, cut off; and
//! after each fault nothing is lost, nothing twice, nothing early, audited by a reader of its own.
//!
//! `DEFERD_ROUNDS=300 cargo test --test kafka_faults kill` runs more; `DEFERD_SEED` another run.

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
mod kafka_place;
mod process;
mod seeded;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deferd::log::kafka::{Cluster, Topic};
use kafka_audit::{Found, audit};
use kafka_place::Place;
use process::{Process, scratch};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use seeded::Chance;

const PARTITIONS: i32 = 4;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// A group on topics of its own, and the load on it.
struct Field {
    place: Place,
    data: PathBuf,
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    load: Option<std::thread::JoinHandle<()>>,
}

impl Field {
    fn new(name: &str) -> Self {
        let place = Place::new(name, PARTITIONS);
        let data = scratch(&format!("kafka-{name}"));
        Self { place, data, sent: Arc::default(), stop: Arc::default(), load: None }
    }

    fn cluster(&self) -> &Cluster {
        &self.place.cluster
    }

    /// Starts a member of this name; it need not be ready.
    fn member(&self, name: &str) -> Process {
        let cluster = self.cluster();
        let sets = [
            "log=kafka".to_owned(),
            format!("kafka.brokers={}", cluster.brokers),
            format!("kafka.group={}", cluster.group),
            format!("kafka.prefix={}", cluster.prefix),
            format!("kafka.instance={name}"),
            "kafka.session_timeout_seconds=6".to_owned(),
            "kafka.checkpoint_seconds=1".to_owned(),
            "policy.settle_seconds=0".to_owned(),
            "policy.sms_hold_seconds=1".to_owned(),
            "policy.ip_wait_after_attach_seconds=1".to_owned(),
        ];
        let sets: Vec<String> = sets.iter().map(|set| format!("--set={set}")).collect();
        let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
        Process::spawn(&self.data.join(name), &sets, &[])
    }

    /// Feeds it from here on, some hundred inputs a second.
    fn feed(&mut self, seed: u64) {
        let cluster = self.cluster().clone();
        let (sent, stop) = (Arc::clone(&self.sent), Arc::clone(&self.stop));
        self.load = Some(std::thread::spawn(move || load(&cluster, seed, &sent, &stop)));
    }

    /// Ends the load, lets the members take what waits, stops them, and audits.
    fn end(mut self, members: Vec<Process>) -> Found {
        self.stop.store(true, Ordering::SeqCst);
        self.load.take().unwrap().join().unwrap();
        self.taken(&members);
        for member in members {
            member.stop();
        }
        let found = audit(self.cluster(), PARTITIONS);
        assert_eq!(found.inputs as u64, self.sent.load(Ordering::SeqCst));
        std::fs::remove_dir_all(&self.data).unwrap();
        found
    }

    /// Waits until the members have taken all inputs.
    fn taken(&self, members: &[Process]) {
        let began = Instant::now();
        let sent = self.sent.load(Ordering::SeqCst);
        loop {
            let taken = committed(self.cluster());
            if taken >= sent {
                return;
            }
            assert!(
                began.elapsed() < Duration::from_secs(90),
                "{taken} of {sent} were taken: {}",
                members.iter().map(Process::said).collect::<String>()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// How many inputs the group has committed.
fn committed(cluster: &Cluster) -> u64 {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::{Offset, TopicPartitionList};
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &cluster.brokers)
        .set("group.id", &cluster.group)
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    for topic in Topic::INPUTS {
        for partition in 0..PARTITIONS {
            list.add_partition(&cluster.topic(topic), partition);
        }
    }
    let Ok(offsets) = consumer.committed_offsets(list, Duration::from_secs(5)) else { return 0 };
    let offset = |offset| if let Offset::Offset(offset) = offset { offset as u64 } else { 0 };
    offsets.elements().iter().map(|element| offset(element.offset())).sum()
}

/// Produces events as a stranger would: a key, and Java's partitioner.
fn load(cluster: &Cluster, seed: u64, sent: &AtomicU64, stop: &AtomicBool) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &cluster.brokers)
        .set("partitioner", "murmur2_random")
        .set("enable.idempotence", "true")
        .set("linger.ms", "2")
        .create()
        .unwrap();
    let mut chance = Chance::new(seed);
    let mut n = 0_u64;
    while !stop.load(Ordering::SeqCst) {
        for _ in 0..10 {
            n += 1;
            let (topic, user, event) = event(&mut chance, seed, n);
            let topic = cluster.topic(topic);
            let record = BaseRecord::to(&topic).key(&user).payload(&event);
            producer.send(record).unwrap();
        }
        producer.poll(Duration::ZERO);
        std::thread::sleep(Duration::from_millis(10));
    }
    producer.flush(Duration::from_secs(120)).unwrap();
    sent.fetch_add(n, Ordering::SeqCst);
}

/// Something about one of a few users; now and then something that nobody can use.
fn event(chance: &mut Chance, seed: u64, n: u64) -> (Topic, String, String) {
    let user = format!("tel:+1514555{:04}", chance.below(2000));
    let (topic, kind, data) = match chance.below(20) {
        0..=7 => (
            Topic::Messages,
            "message.submitted",
            format!(
                r#"{{"message_id":"m{n}","from":"tel:+15145550199","kind":"pager","content_type":"text/plain","body":"hello {n}","disposition":["positive-delivery"]}}"#
            ),
        ),
        8..=11 => (
            Topic::Reachability,
            "ims.registered",
            r#"{"device":{"contact":"sip:u@192.0.2.1"},"expires_at":"2099-01-01T00:00:00Z","cpm_capable":true}"#
                .to_owned(),
        ),
        12 | 13 => (Topic::Reachability, "ims.deregistered", "{}".to_owned()),
        14..=16 => (Topic::Reachability, "cs.attached", "{}".to_owned()),
        17 | 18 => (Topic::Reachability, "cs.detached", "{}".to_owned()),
        _ => (Topic::Outcomes, "nothing.known", "{}".to_owned()),
    };
    let event = format!(
        r#"{{"specversion":"1.0","id":"{seed}-{n}","source":"/load","type":"cpm.{kind}.v1","subject":"{user}","data":{data}}}"#
    );
    (topic, user, event)
}

fn told(what: &str, found: &Found) {
    println!(
        "{what}: {} inputs, {} records, {} commands, {} alarms, {} refused, epoch {}",
        found.inputs, found.records, found.commands, found.rang, found.rejected, found.epochs
    );
    assert!(found.inputs > 100 && found.commands > 20 && found.rang > 0, "too little to prove");
}

/// kill -9 of the only member at random instants, and a restart each time.
#[test]
fn a_killed_member_loses_and_doubles_nothing() {
    let (rounds, seed) = (number("DEFERD_ROUNDS", 15), number("DEFERD_SEED", 1));
    let mut chance = Chance::new(seed);
    let mut field = Field::new("kill");
    field.feed(seed);
    for _ in 0..rounds {
        let mut member = field.member("a");
        // One in four dies on its way to being ready.
        if chance.below(4) > 0 {
            member.wait_for("ready");
        }
        std::thread::sleep(Duration::from_millis(chance.below(900) as u64));
        member.kill();
    }
    let last = field.member("a");
    let found = field.end(vec![last]);
    told(&format!("{rounds} kills"), &found);
    assert!(found.epochs >= rounds / 2, "it hardly ever came to decide anything");
}

/// Members join and leave under load: partitions move, and each is decided by one at a time.
#[test]
fn members_come_and_go() {
    let (rounds, seed) = (number("DEFERD_ROUNDS", 10), number("DEFERD_SEED", 2));
    let mut chance = Chance::new(seed);
    let mut field = Field::new("come-and-go");
    field.feed(seed);
    let mut first = field.member("a");
    first.wait_for("ready");
    let mut others: Vec<(String, Process)> = Vec::new();
    for round in 0..rounds {
        // A stopped member keeps its place until its session ends, as a static member should; so it is
        // the same few who come back.
        let name = ["b", "c"][chance.below(2)].to_owned();
        match others.iter().position(|(there, _)| *there == name) {
            Some(place) => {
                let (_, member) = others.remove(place);
                if round % 2 == 0 { member.stop() } else { member.kill() }
            }
            None => others.push((name.clone(), field.member(&name))),
        }
        std::thread::sleep(Duration::from_millis(500 + chance.below(3000) as u64));
    }
    let mut members = vec![first];
    members.extend(others.into_iter().map(|(_, member)| member));
    let found = field.end(members);
    told(&format!("{rounds} members came or went"), &found);
    assert!(found.epochs > 1, "no partition ever moved");
}

/// A member that is stopped for longer than its session lasts, and wakes up as a zombie.
#[test]
fn a_zombie_commits_nothing() {
    let (rounds, seed) = (number("DEFERD_ROUNDS", 5), number("DEFERD_SEED", 3));
    let mut chance = Chance::new(seed);
    let mut field = Field::new("zombie");
    field.feed(seed);
    let (mut a, mut b) = (field.member("a"), field.member("b"));
    a.wait_for("ready");
    b.wait_for("ready");
    for round in 0..rounds {
        let member = if round % 2 == 0 { &a } else { &b };
        std::thread::sleep(Duration::from_millis(chance.below(300) as u64));
        member.signal("STOP");
        std::thread::sleep(Duration::from_millis(8000 + chance.below(2000) as u64));
        member.signal("CONT");
        std::thread::sleep(Duration::from_millis(2500));
    }
    let found = field.end(vec![a, b]);
    told(&format!("{rounds} zombies"), &found);
    assert!(found.epochs >= rounds, "nobody ever took over");
}
