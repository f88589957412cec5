//! Topics of a test's own on the real broker, and who writes them.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use deferd::cli::clock::WallClock;
use deferd::engine::ports::Clock;
use deferd::log::kafka::{Cluster, Next, Reader, Topic};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(20);

/// The broker of this working copy, which is started where it does not run, and ends soon after the last
/// of the test programs that use it.
fn bootstrap() -> &'static str {
    static BOOTSTRAP: OnceLock<String> = OnceLock::new();
    BOOTSTRAP.get_or_init(|| start("kafka-tests", &["--port=0"]))
}

/// Starts a broker in this folder of target/; where it is found. Port 0 is one of its own: other working
/// copies have brokers on this machine too.
fn start(folder: &str, more: &[&str]) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    let done = Command::new(format!("{root}/ops/kafka/broker"))
        .args(["start", "--data", &format!("{root}/target/{folder}")])
        .args(["--with-pid", &std::process::id().to_string()])
        .args(more)
        .output()
        .expect("ops/kafka/broker runs");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let last = said.lines().last().and_then(|line| line.strip_prefix("bootstrap "));
    let why = String::from_utf8_lossy(&done.stderr);
    last.unwrap_or_else(|| panic!("no broker: {said}{why}")).to_owned()
}

/// A broker that a test has for itself, until it is dropped.
pub(crate) struct Broker {
    bootstrap: String,
    data: String,
}

impl Broker {
    pub(crate) fn start(name: &str) -> Self {
        let folder = format!("kafka-tests-{name}");
        let data = format!("{}/target/{folder}", env!("CARGO_MANIFEST_DIR"));
        Self { bootstrap: start(&folder, &["--port=0", "--proxy=0"]), data }
    }

    /// One with the three listeners of --secure beside the plain one, for all tests of a program: it is
    /// not dropped, and ends with it.
    pub(crate) fn secure() -> &'static Self {
        static SECURE: OnceLock<Broker> = OnceLock::new();
        SECURE.get_or_init(|| {
            let folder = "kafka-tests-secure";
            let data = format!("{}/target/{folder}", env!("CARGO_MANIFEST_DIR"));
            Self { bootstrap: start(folder, &["--port=0", "--secure"]), data }
        })
    }

    /// Where the plain listener is, or one so many ports above it.
    pub(crate) fn at(&self, above: u16) -> String {
        let (host, port) = self.bootstrap.rsplit_once(':').expect("host:port");
        format!("{host}:{}", port.parse::<u16>().expect("a port") + above)
    }

    /// The authority of its certificates.
    pub(crate) fn ca(&self) -> String {
        format!("{}/tls/ca.pem", self.data)
    }

    pub(crate) fn place(&self, name: &str, partitions: i32) -> Place {
        Place::at(&self.bootstrap, name, partitions)
    }

    /// Where clients of one more listener are told to come to: a proxy is to be there, before the port after
    /// it.
    pub(crate) fn proxied(&self) -> String {
        self.at(5)
    }

    /// KILL: it is gone, until it is started again; STOP: it hangs; CONT: it goes on.
    pub(crate) fn signal(&self, name: &str) {
        assert!(self.signalled(name));
    }

    fn signalled(&self, name: &str) -> bool {
        let pid = std::fs::read_to_string(format!("{}/broker.pid", self.data)).unwrap_or_default();
        let done = Command::new("kill").args([&format!("-{name}"), pid.trim()]).output();
        done.is_ok_and(|done| done.status.success())
    }

    /// Has it run, with what it kept, whatever became of it.
    pub(crate) fn again(&self) {
        self.signalled("CONT");
        let folder = self.data.rsplit('/').next().expect("a folder");
        let (_, port) = self.bootstrap.rsplit_once(':').expect("host:port");
        let at = start(folder, &[&format!("--port={port}"), "--proxy=0"]);
        assert_eq!(at, self.bootstrap);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.signalled("CONT");
        let script = format!("{}/ops/kafka/broker", env!("CARGO_MANIFEST_DIR"));
        let done = Command::new(script).args(["clean", "--data", &self.data]).output();
        assert!(done.is_ok_and(|done| done.status.success()) || std::thread::panicking());
    }
}

/// All topics, under a prefix that no other test has.
pub(crate) struct Place {
    pub(crate) cluster: Cluster,
}

impl Place {
    pub(crate) fn new(name: &str, partitions: i32) -> Self {
        Self::at(bootstrap(), name, partitions)
    }

    fn at(brokers: &str, name: &str, partitions: i32) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        let run = format!("{}-{}-{count}", WallClock.now().as_millis(), std::process::id());
        let cluster = Cluster {
            brokers: brokers.to_owned(),
            group: format!("deferd-{name}-{run}"),
            instance: "test".to_owned(),
            prefix: format!("{name}-{run}."),
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
        // The controller has them; the broker hears of it a moment later.
        for topic in Topic::ALL {
            let seen = (0..100).any(|_| {
                let seen = Reader::new(&place.cluster, topic).is_ok();
                seen || (std::thread::sleep(Duration::from_millis(50)), false).1
            });
            assert!(seen, "{topic:?} was made, and the broker does not know it");
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

    /// Removes a topic, and makes it anew.
    pub(crate) fn make_anew(&self, topic: Topic, partitions: i32) {
        let name = self.cluster.topic(topic);
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        wait(self.admin().delete_topics(&[&name], &options)).expect("the broker answers");
        let new = [NewTopic::new(&name, partitions, TopicReplication::Fixed(1))];
        // It is removed from the disk a moment after it is gone.
        let made = (0..100).any(|_| {
            let made = wait(self.admin().create_topics(&new, &options)).expect("it answers");
            made.iter().all(Result::is_ok)
                || (std::thread::sleep(Duration::from_millis(100)), false).1
        });
        assert!(made, "{name} is not made anew");
    }

    /// Forgets how far the group is; nobody may be in it.
    pub(crate) fn forget_group(&self) {
        let deleted =
            wait(self.admin().delete_groups(&[&self.cluster.group], &AdminOptions::new()));
        for group in deleted.expect("the broker answers") {
            group.expect("it is removed");
        }
    }

    /// Says how far the group is, in every partition of the inputs; nobody may be in it.
    pub(crate) fn set_group(&self, partitions: i32, at: impl Fn(Topic, i32) -> i64) {
        let mut config = self.client();
        let consumer: BaseConsumer =
            config.set("group.id", &self.cluster.group).create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        for topic in Topic::INPUTS {
            for partition in 0..partitions {
                let offset = Offset::Offset(at(topic, partition));
                let name = self.cluster.topic(topic);
                list.add_partition_offset(&name, partition, offset).expect("an offset");
            }
        }
        consumer.commit(&list, CommitMode::Sync).expect("it is committed");
    }

    /// The committed records of all partitions: partition, offset, key, payload.
    #[allow(dead_code, reason = "not every test does")]
    pub(crate) fn records(&self, topic: Topic) -> Vec<Stored> {
        let mut reader = Reader::new(&self.cluster, topic).expect("a topic");
        let partitions = reader.partitions();
        (0..partitions).for_each(|partition| reader.go_to(partition, 0).expect("a partition"));
        let (mut ended, mut all) = (0, Vec::new());
        while ended < partitions {
            match reader.next(PATIENCE).expect("the broker answers") {
                Next::Record(message) => all.push((
                    message.partition(),
                    message.offset(),
                    message.key().map(|key| String::from_utf8_lossy(key).into_owned()),
                    serde_json::from_slice(message.bytes().unwrap_or_default()).expect("JSON"),
                )),
                Next::End { .. } => ended += 1,
                Next::Nothing => panic!("no end came"),
            }
        }
        all
    }

    /// Writes one record without a transaction.
    pub(crate) fn write(&self, topic: Topic, partition: i32, line: &str) {
        let producer: BaseProducer = self.client().create().expect("a producer");
        let topic = self.cluster.topic(topic);
        let record = BaseRecord::<(), str>::to(&topic).payload(line).partition(partition);
        producer.send(record).expect("there is room");
        producer.flush(PATIENCE).expect("it is written");
    }

    /// Writes a journal as members do: in transactions of several sizes, some aborted in between.
    pub(crate) fn write_journal(&self, partition: i32, lines: &[String]) {
        let writer = self.transactional(&format!("journal-{partition}"));
        let mut rest = lines;
        for size in (1..).map(|round| round * 7 % 11 + 1) {
            if rest.is_empty() {
                return;
            }
            let (batch, after) = rest.split_at(size.min(rest.len()));
            writer.abort(Topic::Journal, partition, batch.iter().cloned());
            writer.commit(Topic::Journal, partition, batch.iter().cloned());
            rest = after;
        }
    }

    pub(crate) fn transactional(&self, id: &str) -> Writer {
        let mut config = self.client();
        config
            .set("transactional.id", format!("{}{id}", self.cluster.prefix))
            // As long as a broker allows.
            .set("transaction.timeout.ms", "900000")
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
    pub(crate) fn begin(&self, topic: Topic, partition: i32, lines: impl Iterator<Item = String>) {
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
    pub(crate) fn end(&self) {
        self.producer.commit_transaction(PATIENCE).expect("it is committed");
    }

    pub(crate) fn commit(&self, topic: Topic, partition: i32, lines: impl Iterator<Item = String>) {
        self.begin(topic, partition, lines);
        self.end();
    }

    pub(crate) fn abort(&self, topic: Topic, partition: i32, lines: impl Iterator<Item = String>) {
        self.begin(topic, partition, lines);
        self.take_back();
    }

    /// Aborts what was begun.
    pub(crate) fn take_back(&self) {
        self.producer.abort_transaction(PATIENCE).expect("it is aborted");
    }
}

/// A record: partition, offset, key, payload.
#[allow(dead_code, reason = "not every test does")]
pub(crate) type Stored = (u32, u64, Option<String>, serde_json::Value);

/// Waits for what an admin client answers: it has threads of its own.
fn wait<T>(answer: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(answer)
}

/// The journal of one partition that decided these inputs, as `simulate` writes it.
pub(crate) fn journal_of(inputs: &[serde_json::Value]) -> Vec<String> {
    journal_until(inputs, &[])
}

/// The same, with more arguments.
#[allow(dead_code, reason = "not every test does")]
pub(crate) fn journal_until(inputs: &[serde_json::Value], more: &[&str]) -> Vec<String> {
    let mut simulate = Command::new(env!("CARGO_BIN_EXE_deferd"))
        .args(["simulate", "-", "--journal", "--outcomes", "delivered"])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("deferd runs");
    let lines: String = inputs.iter().map(|input| format!("{input}\n")).collect();
    let mut stdin = simulate.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let done = simulate.wait_with_output().expect("it ends");
    writer.join().expect("a thread").expect("it reads");
    assert!(done.status.success());
    let text = String::from_utf8(done.stdout).expect("text");
    text.lines().filter(|line| line.starts_with("{\"seq\"")).map(str::to_owned).collect()
}
