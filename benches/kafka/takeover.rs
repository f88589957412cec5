//! A process is killed: how long until another has decided what came in for its users.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use deferd::engine::intake::partition_of;
use deferd::engine::partition::Partition;
use deferd::engine::ports::Clock;
use deferd::engine::shard::{self, Health};
use deferd::engine::state::State;
use deferd::engine::worker::{Settings, Worker};
use deferd::log::kafka::{Change, Cluster, Lost, Member, Options, Topic};
use deferd::record::journal::Record;
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::BaseProducer;

use crate::journals;
use crate::measure::argument;
use crate::place::{Broker, Input, Place};
use crate::stream::{Real, event, number};

const ROUNDS: usize = 3;
const PARTITIONS: u32 = 2;
const INTERVAL: Duration = Duration::from_millis(100);
/// An input for each partition comes in this often.
const FEED: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(90);

/// Kills its process when it is dropped.
struct Process {
    child: Child,
    says: Receiver<String>,
    holds: Vec<u32>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a takeover took, in seconds from the kill.
#[derive(Clone, Copy, Debug)]
struct Took {
    /// The group has given the dead one up.
    session: f64,
    /// The other was given its partition.
    assigned: f64,
    /// An input that came in after the kill was decided, for others to read.
    decided: f64,
}

/// The row: two processes, a partition each.
pub(crate) fn report(broker: &Broker, users: u64) {
    let mut all: Vec<Took> = (0..ROUNDS).map(|round| once(broker, users, round)).collect();
    all.sort_by(|one, other| one.decided.total_cmp(&other.decided));
    let Some(took) = all.get(all.len() / 2) else { return };
    println!("\ntakeover after kill -9, {users} users wait, seconds");
    println!("until the session had ended       {:>8.2}", took.session);
    println!("from there until given            {:>8.2}", took.assigned - took.session);
    println!("from there until decided          {:>8.2}", took.decided - took.assigned);
    println!("in all                            {:>8.2}", took.decided);
}

fn once(broker: &Broker, users: u64, round: usize) -> Took {
    let place = Place::new(broker, &format!("takeover-{round}"), PARTITIONS);
    journals::write(&place, users);
    let mut feed = Feed::new(&place, users);
    let mut processes = [process(&place, "one"), process(&place, "other")];
    // Both at work.
    let began = Instant::now();
    while processes.iter().any(|process| process.holds.len() != 1) || !feed.is_followed() {
        assert!(began.elapsed() < PATIENCE, "two processes, and no partition for each");
        feed.give();
        processes.iter_mut().for_each(Process::listen);
    }
    let [dead, mut heir] = processes;
    let orphan = *dead.holds.first().expect("it holds one");
    let next = feed.given;
    let killed = Instant::now();
    drop(dead);
    let (mut session, mut assigned) = (None, None);
    let seconds = || killed.elapsed().as_secs_f64();
    loop {
        assert!(killed.elapsed() < PATIENCE, "nobody took over");
        feed.give();
        heir.listen();
        if assigned.is_none() && heir.holds.contains(&orphan) {
            assigned = Some(seconds());
        }
        if session.is_none() && !feed.is_stable() {
            session = Some(seconds());
        }
        if feed.decided().get(&orphan).is_some_and(|decided| *decided >= next) {
            let assigned = assigned.expect("it was given before");
            let session = session.unwrap_or(assigned);
            return Took { session, assigned, decided: seconds() };
        }
    }
}

impl Process {
    /// What its group gave it, as it says.
    fn listen(&mut self) {
        for line in self.says.try_iter() {
            self.holds = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        }
    }
}

/// Inputs for a user of each partition, and what became of them.
struct Feed<'p> {
    place: &'p Place,
    producer: BaseProducer,
    /// By partition.
    users: Vec<u64>,
    given: u64,
    last: Instant,
    journal: BaseConsumer,
    /// The last offset that was decided, by partition.
    decided: BTreeMap<u32, u64>,
    onlooker: BaseConsumer,
}

impl<'p> Feed<'p> {
    fn new(place: &'p Place, users: u64) -> Self {
        let of = |partition| {
            (0..users).find(|user| partition_of(&number(*user), PARTITIONS) == partition)
        };
        Self {
            place,
            producer: place.inputs_producer(0),
            users: (0..PARTITIONS).filter_map(of).collect(),
            given: 0,
            last: Instant::now(),
            journal: place.reader(&place.cluster.topic(Topic::Journal), Offset::End),
            decided: BTreeMap::new(),
            onlooker: place.client().create().expect("a client"),
        }
    }

    /// Gives an input to each partition, where it is time to.
    fn give(&mut self) {
        if self.last.elapsed() < FEED {
            return;
        }
        self.last = Instant::now();
        for (partition, user) in (0..).zip(&self.users) {
            let kind = if self.given.is_multiple_of(2) { "cs.attached" } else { "cs.detached" };
            let (logged, n) = (Real.now(), 1_000_000_000 + self.given);
            let bytes = event(n, kind, &format!("/probe/{partition}"), *user, logged, "{}");
            let (topic, key) = (Topic::Reachability, number(*user));
            self.place.send(&self.producer, &Input { topic, partition, key, logged, bytes });
        }
        self.given += 1;
        self.producer.poll(Duration::ZERO);
    }

    /// What has been decided by now, for others to read.
    fn decided(&mut self) -> &BTreeMap<u32, u64> {
        while let Some(message) = self.journal.poll(Duration::from_millis(2)) {
            let message = message.expect("a record");
            let line = message.payload().unwrap_or_default();
            let record = Record::read(line).expect("our own journal");
            let position = record.pos.as_deref().unwrap_or_default();
            let Some((_, offset)) = position.rsplit_once('/') else { continue };
            let partition = message.partition().cast_unsigned();
            self.decided.insert(partition, offset.parse().expect("an offset"));
        }
        &self.decided
    }

    /// Whether what was given is decided, but for the last few.
    fn is_followed(&mut self) -> bool {
        let given = self.given;
        let decided = self.decided();
        decided.len() == PARTITIONS as usize && decided.values().all(|offset| offset + 20 > given)
    }

    /// Whether the group takes all its members for alive.
    fn is_stable(&self) -> bool {
        let group = &self.place.cluster.group;
        let list = self.onlooker.fetch_group_list(Some(group), Duration::from_secs(2));
        list.is_ok_and(|list| list.groups().iter().all(|group| group.state() == "Stable"))
    }
}

fn process(place: &Place, instance: &str) -> Process {
    let Cluster { brokers, group, prefix, .. } = &place.cluster;
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--member", instance, "--brokers", brokers, "--group", group, "--prefix", prefix])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let (say, says) = channel();
    std::thread::spawn(move || {
        lines.map_while(Result::ok).try_for_each(|line| say.send(line).map_err(drop))
    });
    Process { child, says, holds: Vec::new() }
}

/// What such a process does, until it is killed: deferd's loop. It says what it holds.
pub(crate) fn member(instance: &str) {
    let given = |name: &str| argument::<String>(name).expect("the bench gives it");
    let cluster = Cluster {
        brokers: given("--brokers"),
        group: given("--group"),
        instance: instance.to_owned(),
        prefix: given("--prefix"),
        session_timeout: Duration::from_secs(15),
        properties: Vec::new(),
    };
    let options = Options { shard: 0, commit_interval: INTERVAL, lost: Lost::Stop };
    let member = Member::join(&cluster, options, Real).expect("a member of the group");
    let settings = Settings { partitions: Some(PARTITIONS), ..Settings::default() };
    let mut worker = Worker::new(member, Real, settings);
    let (_asks, questions) = channel();
    let mut kept: BTreeMap<u32, Partition> = BTreeMap::new();
    let ran = shard::run(&mut worker, &questions, &Health::default(), &mut (), |worker| {
        for change in worker.log().take_changes() {
            match change {
                Change::Assigned(partitions) => {
                    for number in &partitions {
                        let new = || Partition::new(*number, State::default());
                        worker.take_on(kept.remove(number).unwrap_or_else(new));
                    }
                    let words = partitions.iter().map(u32::to_string).collect::<Vec<_>>();
                    println!("{}", words.join(" "));
                }
                Change::Revoked { partitions, .. } => {
                    let gone = partitions.iter().filter_map(|number| worker.let_go(*number));
                    kept.extend(gone.map(|partition| (partition.number, partition)));
                    println!();
                }
            }
        }
        false
    });
    ran.expect("the shard runs");
}
