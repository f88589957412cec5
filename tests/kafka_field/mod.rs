//! Members of a group on topics of their own, and a load on them.

#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deferd::log::kafka::{Cluster, Topic};
use deferd::record::journal::Record;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::kafka_audit::{Found, Stands, audit, read};
use crate::kafka_place::Place;
use crate::process::{Process, scratch};
use crate::seeded::Chance;

pub const PARTITIONS: i32 = 4;

pub fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// A group on topics of its own, and the load on it.
pub struct Field {
    pub place: Place,
    data: PathBuf,
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    load: Option<std::thread::JoinHandle<()>>,
}

impl Field {
    pub fn new(name: &str) -> Self {
        Self::of(Place::new(name, PARTITIONS), name)
    }

    /// On any broker.
    pub fn of(place: Place, name: &str) -> Self {
        let data = scratch(&format!("kafka-{name}"));
        Self { place, data, sent: Arc::default(), stop: Arc::default(), load: None }
    }

    pub fn cluster(&self) -> &Cluster {
        &self.place.cluster
    }

    /// Starts a member of this name; it need not be ready.
    pub fn member(&self, name: &str) -> Process {
        self.member_with(name, &[])
    }

    /// The same, with more of the configuration.
    pub fn member_with(&self, name: &str, more: &[&str]) -> Process {
        self.spawn(name, name, more)
    }

    /// The same, in a folder of another name.
    pub fn member_in(&self, folder: &str, name: &str) -> Process {
        self.spawn(folder, name, &[])
    }

    fn spawn(&self, folder: &str, name: &str, more: &[&str]) -> Process {
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
        let sets = sets.iter().map(String::as_str).chain(more.iter().copied());
        let sets: Vec<String> = sets.map(|set| format!("--set={set}")).collect();
        let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
        Process::spawn(&self.data.join(folder), &sets, &[])
    }

    /// Feeds it from here on, some hundred inputs a second.
    pub fn feed(&mut self, seed: u64) {
        // What many rounds leave must be read by the audit.
        let is_long = number("DEFERD_ROUNDS", 0) > 30;
        self.feed_every(seed, Duration::from_millis(if is_long { 50 } else { 10 }));
    }

    /// The same, ten inputs each time.
    pub fn feed_every(&mut self, seed: u64, pause: Duration) {
        let cluster = self.cluster().clone();
        let (sent, stop) = (Arc::clone(&self.sent), Arc::clone(&self.stop));
        self.load = Some(std::thread::spawn(move || load(&cluster, seed, pause, &sent, &stop)));
    }

    /// Writes so many of these inputs at once; returns when they are there.
    pub fn backlog(&self, seed: u64, inputs: u64) {
        let (cluster, sender) = (self.cluster(), sender(self.cluster(), None));
        let mut chance = Chance::new(seed);
        for n in 0..inputs {
            let (topic, user, event) = event(&mut chance, seed, n);
            let topic = cluster.topic(topic);
            let mut record = BaseRecord::to(&topic).key(&user).payload(&event);
            while let Err((_, again)) = sender.send(record) {
                sender.poll(Duration::from_millis(10));
                record = again;
            }
            sender.poll(Duration::ZERO);
        }
        sender.flush(Duration::from_secs(60)).unwrap();
        self.sent.fetch_add(inputs, Ordering::SeqCst);
    }

    /// Waits for something.
    pub fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{what}: not after a minute");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until the members take inputs, after whatever happened.
    pub fn goes_on(&self, members: &[&Process]) {
        let (began, mut before) = (Instant::now(), None::<u64>);
        loop {
            let taken = committed(self.cluster());
            if let (Some(before), Some(taken)) = (before, taken)
                && taken > before
            {
                return;
            }
            before = before.or(taken);
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "nobody goes on: {}",
                members.iter().map(|member| member.said()).collect::<String>()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends the load, and lets the members take what waits.
    pub fn pause(&mut self, members: &[&Process]) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(load) = self.load.take() {
            load.join().unwrap();
        }
        self.stop.store(false, Ordering::SeqCst);
        self.taken(members);
    }

    /// Loses the checkpoints of a member of this name.
    pub fn lose_checkpoints(&self, name: &str) {
        let folder = self.data.join(name).join(format!("{}-{name}", self.cluster().group));
        for partition in 0..PARTITIONS {
            // Where nothing was decided since, there is none.
            let _ = std::fs::remove_dir_all(folder.join(partition.to_string()));
        }
    }

    /// Loses all records of a topic.
    pub fn lose(&self, topic: Topic) {
        for partition in 0..PARTITIONS {
            let records = read(self.cluster(), topic, PARTITIONS);
            let last = records
                .iter()
                .filter(|stands| stands.partition == partition)
                .map(|stands| stands.offset);
            if let Some(last) = last.max() {
                self.place.remove_before(topic, partition, last as u64 + 1);
            }
        }
    }

    /// Waits until so many inputs are in the journal, whatever the group says.
    pub fn journalled(&self, inputs: usize) {
        self.wait("the inputs are journalled", || {
            let journal = read(self.cluster(), Topic::Journal, PARTITIONS);
            let is_of_input = |stands: &&Stands| Record::read(&stands.bytes).unwrap().pos.is_some();
            (journal.iter().filter(is_of_input).count() >= inputs).then_some(())
        });
    }

    /// How many inputs were sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Ends the load, lets the members take what waits, stops them, and audits.
    pub fn end(mut self, members: Vec<Process>) -> Found {
        self.pause(&members.iter().collect::<Vec<_>>());
        for member in members {
            member.stop();
        }
        let found = audit(self.cluster(), PARTITIONS);
        assert_eq!(found.inputs as u64, self.sent.load(Ordering::SeqCst));
        std::fs::remove_dir_all(&self.data).unwrap();
        found
    }

    /// Waits until the members have taken all inputs.
    pub fn taken(&self, members: &[&Process]) {
        let began = Instant::now();
        let sent = self.sent.load(Ordering::SeqCst);
        loop {
            let taken = committed(self.cluster());
            if taken.is_some_and(|taken| taken >= sent) {
                return;
            }
            assert!(
                began.elapsed() < Duration::from_secs(90),
                "{taken:?} of {sent} were taken: {}",
                members.iter().map(|member| member.said()).collect::<String>()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// How many inputs the group has committed; `None`: nobody says.
fn committed(cluster: &Cluster) -> Option<u64> {
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
    let offsets = consumer.committed_offsets(list, Duration::from_secs(5)).ok()?;
    let offset = |offset| if let Offset::Offset(offset) = offset { offset as u64 } else { 0 };
    Some(offsets.elements().iter().map(|element| offset(element.offset())).sum())
}

/// A stranger who produces: a key, and Java's partitioner; in transactions of this name, if any.
pub fn sender(cluster: &Cluster, transactions: Option<&str>) -> BaseProducer {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &cluster.brokers)
        .set("partitioner", "murmur2_random")
        .set("enable.idempotence", "true")
        .set("reconnect.backoff.max.ms", "1000")
        .set("linger.ms", "2");
    if let Some(name) = transactions {
        config.set("transactional.id", format!("{}{name}", cluster.prefix));
    }
    config.create().unwrap()
}

/// Produces events for as long as it may.
fn load(cluster: &Cluster, seed: u64, pause: Duration, sent: &AtomicU64, stop: &AtomicBool) {
    let producer = sender(cluster, None);
    let mut chance = Chance::new(seed);
    let mut n = 0_u64;
    while !stop.load(Ordering::SeqCst) {
        for _ in 0..10 {
            n += 1;
            let (topic, user, event) = event(&mut chance, seed, n);
            let topic = cluster.topic(topic);
            let mut record = BaseRecord::to(&topic).key(&user).payload(&event);
            // Where the broker is away for long, the queue is full.
            while let Err((_, again)) = producer.send(record) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                producer.poll(Duration::from_millis(100));
                record = again;
            }
            sent.fetch_add(1, Ordering::SeqCst);
        }
        producer.poll(Duration::ZERO);
        std::thread::sleep(pause);
    }
    producer.flush(Duration::from_secs(120)).unwrap();
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

pub fn told(what: &str, found: &Found) {
    println!(
        "{what}: {} inputs, {} records, {} commands, {} alarms, {} refused, epoch {}",
        found.inputs, found.records, found.commands, found.rang, found.rejected, found.epochs
    );
    assert!(found.inputs > 100 && found.commands > 20 && found.rang > 0, "too little to prove");
}
