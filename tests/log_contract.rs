//! What every log promises its worker: order, all or nothing, again after a failure, never after a commit.
//!
//! The same on a real broker, where each step of Kafka's is one over a network: what is there comes a moment
//! later, and where a clause cannot hold as it does in one process, [`Subject`] says what holds instead.
//!
//! Source: `engine::ports::Log`; rules L-1, L-2, L-3, L-10.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and says so"
)]

mod kafka_audit;
mod kafka_place;

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use deferd::cli::clock::WallClock;
use deferd::domain::time::Timestamp;
use deferd::engine::intake::{Given, Intake, Settled};
use deferd::engine::ports::{Batch, Clock, Entry, Fate, Log, LogError, Position, Received};
use deferd::log::embedded::{Directory, Embedded, Inboxes, Limits, Lock, Options};
use deferd::log::kafka::{Change, Lost, Member, Topic};
use deferd::log::memory::MemoryLog;
use deferd::record::output::Output;
use kafka_place::Place;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

/// A log under test, and its world: who hands inputs in, and what a crash leaves.
trait Subject {
    type Log: Log;
    fn new() -> Self;
    fn log(&mut self) -> &mut Self::Log;
    /// Hands in an input.
    fn give(&mut self, text: &str, at: Timestamp);
    /// The process dies, and another one opens what is left. Whether inputs that were not committed are
    /// still there: else their senders were never answered, and send them again.
    fn crash(&mut self) -> bool;
    /// All outputs that were committed.
    fn outputs(&mut self) -> Vec<Vec<u8>>;

    /// The inputs that are there.
    fn poll(&mut self, most: usize) -> Vec<Received> {
        self.log().poll(most, Duration::ZERO).unwrap()
    }

    /// A step has failed before its commit. One process hands out again whatever was not committed; a member
    /// of a group goes on in the middle of a step, until its partition is resumed.
    fn fail(&mut self) {}

    /// So many inputs more were committed.
    fn took(&mut self, _inputs: usize) {}

    /// Where the input of this number stands, from 1 on.
    fn position(&self, number: u64) -> Position {
        Position { topic: "http".into(), partition: 0, offset: number }
    }

    /// Journal lines from anywhere. A member reads on to the end before it reads from elsewhere.
    fn journal(&mut self, seq: u64, most: usize) -> Vec<Arc<[u8]>> {
        self.log().journal(0, seq, most).unwrap().unwrap()
    }

    /// Up to when all inputs were polled, as far as is known now.
    fn taken_up_to(&mut self, now: Timestamp) -> Timestamp {
        self.log().taken_up_to(0, now, None)
    }

    /// How far the best answer to that is behind: where others may write at this very instant, an instant.
    const BEHIND: Duration = Duration::ZERO;
    /// Whether it is known of each input when it came; else only whether all have been polled.
    const KNOWS_EACH: bool = true;
}

struct Memory(MemoryLog, u64);

impl Subject for Memory {
    type Log = MemoryLog;

    fn new() -> Self {
        Self(MemoryLog::default(), 0)
    }

    fn log(&mut self) -> &mut MemoryLog {
        &mut self.0
    }

    fn give(&mut self, text: &str, at: Timestamp) {
        self.1 += 1;
        let position = Position { topic: "http".into(), partition: 0, offset: self.1 };
        self.0.push(Received { position, logged: at, bytes: text.as_bytes().into() });
    }

    fn crash(&mut self) -> bool {
        self.0 = std::mem::take(&mut self.0).after_crash();
        true
    }

    fn outputs(&mut self) -> Vec<Vec<u8>> {
        self.0.outputs.iter().map(|output| output.bytes.clone()).collect()
    }
}

#[derive(Clone, Debug, Default)]
struct SharedClock(Arc<AtomicI64>);

impl Clock for SharedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

struct OnDisk {
    path: PathBuf,
    open: Option<(Embedded, Lock)>,
    inboxes: Inboxes<SharedClock>,
    clock: SharedClock,
    settled: Arc<Mutex<Vec<Settled>>>,
}

const LIMITS: Limits = Limits { inputs: 10_000, bytes: 1 << 20 };

impl OnDisk {
    fn open(&mut self) {
        self.inboxes = Inboxes::new(1, LIMITS, self.clock.clone());
        let (directory, lock) = Directory::claim(&self.path, 1, 7).unwrap();
        let inbox = Arc::clone(&self.inboxes.all[0]);
        // Small segments, so that every test crosses their ends.
        let mut log = Embedded::open(&directory, 0, inbox, Options { segment_bytes: 400 }).unwrap();
        log.caught_up();
        self.open = Some((log, lock));
    }
}

impl Subject for OnDisk {
    type Log = Embedded;

    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("log-contract-{}-{number}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let clock = SharedClock::default();
        let inboxes = Inboxes::new(1, LIMITS, clock.clone());
        let mut subject = Self { path, open: None, inboxes, clock, settled: Arc::default() };
        subject.open();
        subject
    }

    fn log(&mut self) -> &mut Embedded {
        &mut self.open.as_mut().unwrap().0
    }

    fn give(&mut self, text: &str, at: Timestamp) {
        self.clock.0.store(at.as_millis(), Ordering::SeqCst);
        let settled = Arc::clone(&self.settled);
        let given = Given {
            topic: "http".into(),
            offset: None,
            user: Some("tel:+15145550100".into()),
            bytes: text.as_bytes().into(),
        };
        let told = Box::new(move |what: Result<Vec<_>, _>| {
            settled.lock().unwrap().extend(what.unwrap());
        });
        self.inboxes.give(vec![given], told).unwrap();
    }

    fn crash(&mut self) -> bool {
        self.open = None;
        self.open();
        false
    }

    fn outputs(&mut self) -> Vec<Vec<u8>> {
        use deferd::log::embedded::{Frames, Until};
        let directory = Directory::open(&self.path).unwrap();
        let end = self.log().end().place();
        let mut frames = Frames::open(&directory, 0, 0).unwrap();
        let mut outputs = Vec::new();
        while let Some(frame) = frames.next(Until::Place(end)).unwrap() {
            outputs.extend(frame.outputs().map(|output| output.bytes.to_vec()));
        }
        outputs
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        self.open = None;
        std::fs::remove_dir_all(&self.path).unwrap();
    }
}

/// A member of a group on a real broker, with the one partition there is.
struct OnKafka {
    place: Place,
    producer: BaseProducer,
    member: Option<Member<WallClock>>,
    /// Inputs that were handed in, and of these that were polled and committed.
    given: u64,
    polled: u64,
    taken: u64,
}

impl OnKafka {
    /// Joins, and waits until it is known what the one before left.
    fn join(&mut self) {
        let options = deferd::log::kafka::Options {
            shard: 0,
            commit_interval: Duration::ZERO,
            lost: Lost::Stop,
        };
        let mut member = Member::join(&self.place.cluster, options, WallClock).unwrap();
        let assigned = Change::Assigned([0].into());
        wait("it is given its partition", || {
            member.poll(0, Duration::from_millis(20)).unwrap();
            member.take_changes().contains(&assigned).then_some(())
        });
        self.member = Some(member);
        let lines = self.journal(SEQ.get(), 1);
        assert_eq!(lines.len(), 0);
        self.fail();
    }
}

impl Subject for OnKafka {
    type Log = Member<WallClock>;

    fn new() -> Self {
        let place = Place::new("contract", 1);
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &place.cluster.brokers)
            .set("linger.ms", "0")
            .create()
            .unwrap();
        let mut subject = Self { place, producer, member: None, given: 0, polled: 0, taken: 0 };
        subject.join();
        subject
    }

    fn log(&mut self) -> &mut Member<WallClock> {
        self.member.as_mut().unwrap()
    }

    fn give(&mut self, text: &str, at: Timestamp) {
        let topic = self.place.cluster.topic(Topic::Messages);
        let record = BaseRecord::<(), str>::to(&topic).payload(text).partition(0);
        self.producer.send(record.timestamp(at.as_millis())).unwrap();
        self.producer.flush(Duration::from_secs(20)).unwrap();
        self.given += 1;
    }

    fn crash(&mut self) -> bool {
        self.member = None;
        self.join();
        true
    }

    fn outputs(&mut self) -> Vec<Vec<u8>> {
        let outputs = kafka_audit::read(&self.place.cluster, Topic::Deliveries, 1);
        outputs.into_iter().map(|stands| stands.bytes).collect()
    }

    fn poll(&mut self, most: usize) -> Vec<Received> {
        let expected = most.min((self.given - self.polled) as usize);
        let mut received = Vec::new();
        wait("what was handed in comes", || {
            let most = most - received.len();
            received.extend(self.log().poll(most, Duration::from_millis(20)).unwrap());
            (received.len() >= expected).then_some(())
        });
        self.polled += received.len() as u64;
        received
    }

    fn fail(&mut self) {
        let after = self.taken.checked_sub(1).map(|_| self.position(self.taken));
        self.log().resume(0, after.as_slice()).unwrap();
        self.polled = self.taken;
    }

    fn took(&mut self, inputs: usize) {
        self.taken += inputs as u64;
    }

    fn position(&self, number: u64) -> Position {
        let topic = self.place.cluster.topic(Topic::Messages).into();
        Position { topic, partition: 0, offset: number - 1 }
    }

    fn journal(&mut self, seq: u64, most: usize) -> Vec<Arc<[u8]>> {
        let mut all = Vec::new();
        loop {
            let member = self.log();
            let lines = wait("the journal is stable", || {
                member.poll(0, Duration::ZERO).unwrap();
                member.journal(0, seq, most).unwrap()
            });
            if lines.is_empty() {
                all.truncate(most);
                return all;
            }
            all.extend(lines);
        }
    }

    fn taken_up_to(&mut self, now: Timestamp) -> Timestamp {
        // It is looked up for what is due only; and once more where the ends have moved meanwhile.
        (0..3).map(|_| self.log().taken_up_to(0, now, Some(now))).max().unwrap()
    }

    const BEHIND: Duration = Duration::from_millis(1);
    const KNOWS_EACH: bool = false;
}

/// Waits for what a broker does.
fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: not after a minute");
    }
}

/// The same tests for every log.
macro_rules! contract {
    ($($name:ident)*) => {
        mod memory { $(#[test] fn $name() { super::$name::<super::Memory>(); })* }
        mod embedded { $(#[test] fn $name() { super::$name::<super::OnDisk>(); })* }
        mod kafka { $(#[test] fn $name() { super::$name::<super::OnKafka>(); })* }
    };
}

contract! {
    inputs_come_in_order_and_once
    what_was_not_committed_comes_again
    what_was_committed_never_comes_again_after_a_crash
    a_journal_reads_back_from_anywhere
    outputs_are_as_durable_as_their_records
    a_poll_takes_no_more_than_it_may
    nothing_rings_before_what_waits_is_taken
}

const fn s(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_795_248_000_000 + seconds * 1000)
}

fn texts(received: &[Received]) -> Vec<String> {
    received.iter().map(|r| String::from_utf8_lossy(&r.bytes).into_owned()).collect()
}

thread_local!(static SEQ: Cell<u64> = const { Cell::new(0) });

/// A batch of records that follow the last ones, one for each input, each with an output.
fn batch(inputs: &[String]) -> Batch {
    let first_seq = SEQ.get();
    let entry = |(seq, text): (u64, &String)| Entry {
        user: None,
        line: line(seq, text).into_bytes(),
        outputs: vec![Output {
            topic: "cpm.deliveries",
            key: Some("tel:+15145550100".into()),
            bytes: format!("{{\"for\":\"{text}\"}}").into_bytes(),
        }],
        fate: Some(Fate::Decided),
    };
    Batch {
        partition: 0,
        at: s(0),
        first_seq,
        entries: (first_seq..).zip(inputs).map(entry).collect(),
    }
}

fn line(seq: u64, text: &str) -> String {
    let head = r#""epoch":0,"at":"2026-11-21T08:00:00Z","rules":1,"policy":"ab""#;
    format!(r#"{{"seq":{seq},{head},"user":"{text}"}}"#)
}

fn commit<S: Subject>(subject: &mut S, inputs: &[String]) {
    subject.log().write(batch(inputs)).unwrap();
    subject.log().commit().unwrap();
    SEQ.set(SEQ.get() + inputs.len() as u64);
    subject.took(inputs.len());
}

fn poll<S: Subject>(subject: &mut S) -> Vec<String> {
    texts(&subject.poll(100))
}

fn fresh<S: Subject>() -> S {
    SEQ.set(0);
    S::new()
}

fn inputs_come_in_order_and_once<S: Subject>() {
    let mut subject = fresh::<S>();
    assert_eq!(poll(&mut subject), [""; 0]);
    let mut taken = Vec::new();
    let mut last = None;
    for round in 0..20 {
        for n in 0..=round {
            subject.give(&format!("{round}-{n}"), s(round));
        }
        let received = subject.poll(100);
        for one in &received {
            assert!(Some(one.position.offset) > last, "{:?}", one.position);
            last = Some(one.position.offset);
            assert_eq!(one.logged, s(round));
        }
        let got = texts(&received);
        commit(&mut subject, &got);
        taken.extend(got);
    }
    let given = (0..20).flat_map(|round| (0..=round).map(move |n| format!("{round}-{n}")));
    assert_eq!(taken, given.collect::<Vec<_>>());
    assert_eq!(poll(&mut subject), [""; 0]);
}

fn what_was_not_committed_comes_again<S: Subject>() {
    let mut subject = fresh::<S>();
    subject.give("a", s(0));
    subject.give("b", s(0));
    assert_eq!(poll(&mut subject), ["a", "b"]);
    subject.give("c", s(1));
    subject.fail();
    assert_eq!(poll(&mut subject), ["a", "b", "c"]);
    subject.fail();
    let got = poll(&mut subject);
    commit(&mut subject, &got);
    assert_eq!(poll(&mut subject), [""; 0]);
}

fn what_was_committed_never_comes_again_after_a_crash<S: Subject>() {
    let mut subject = fresh::<S>();
    subject.give("a", s(0));
    let got = poll(&mut subject);
    commit(&mut subject, &got);
    subject.give("b", s(1));
    assert_eq!(poll(&mut subject), ["b"]);
    let kept = subject.crash();
    let position = subject.position(1);
    subject.log().resume(0, &[position]).unwrap();
    if !kept {
        subject.give("b", s(2));
    }
    let received = subject.poll(100);
    assert_eq!(texts(&received), ["b"]);
    assert_eq!(received[0].position, subject.position(2), "its number follows what was taken");
}

fn a_journal_reads_back_from_anywhere<S: Subject>() {
    let mut subject = fresh::<S>();
    let mut all = Vec::new();
    for round in 0..30 {
        for n in 0..3 {
            subject.give(&format!("{round}-{n}"), s(round));
        }
        let got = poll(&mut subject);
        commit(&mut subject, &got);
        all.extend(
            (all.len() as u64..).zip(&got).map(|(seq, text)| line(seq, text)).collect::<Vec<_>>(),
        );
        if round % 10 != 9 {
            continue;
        }
        subject.crash();
        for from in 0..=all.len() {
            let lines = subject.journal(from as u64, 7);
            let lines: Vec<_> = lines.iter().map(|l| String::from_utf8_lossy(l)).collect();
            assert_eq!(lines, all[from..all.len().min(from + 7)], "from {from}");
        }
    }
    // On from where the last look ended, too.
    let mut seq = 0;
    loop {
        let lines = subject.journal(seq, 4);
        if lines.is_empty() {
            break;
        }
        for line in lines {
            assert_eq!(String::from_utf8_lossy(&line), all[seq as usize]);
            seq += 1;
        }
    }
    assert_eq!(seq, 90);
}

fn outputs_are_as_durable_as_their_records<S: Subject>() {
    let mut subject = fresh::<S>();
    for n in 0..10 {
        subject.give(&n.to_string(), s(n));
        let got = poll(&mut subject);
        commit(&mut subject, &got);
    }
    subject.crash();
    let outputs = subject.outputs();
    let expected: Vec<_> = (0..10).map(|n| format!("{{\"for\":\"{n}\"}}").into_bytes()).collect();
    assert_eq!(outputs, expected);
}

/// A broker does not count, so a wrong number is none of its business: who may write at all is, and that is
/// [`whoever_was_replaced_is_refused`].
#[test]
fn a_wrong_seq_is_refused_by_one_process() {
    a_wrong_seq_is_refused::<Memory>();
    a_wrong_seq_is_refused::<OnDisk>();
}

/// Another process of the same name has the partition: nothing of the first one's step is there.
#[test]
fn whoever_was_replaced_is_refused() {
    let mut subject = fresh::<OnKafka>();
    subject.give("a", s(0));
    let got = poll(&mut subject);
    commit(&mut subject, &got);
    subject.give("b", s(1));
    let got = poll(&mut subject);
    subject.log().write(batch(&got)).unwrap();
    let mut replaced = subject.member.take().unwrap();
    subject.join();
    let error = replaced.commit().unwrap_err();
    assert!(matches!(error, LogError::Fenced(_) | LogError::Unavailable(_)), "{error}");
    assert_eq!(poll(&mut subject), ["b"]);
    let lines = subject.journal(0, 10);
    assert_eq!(lines.len(), 1, "nothing of it is there");
}

fn a_wrong_seq_is_refused<S: Subject>() {
    let mut subject = fresh::<S>();
    subject.give("a", s(0));
    let got = poll(&mut subject);
    commit(&mut subject, &got);
    for wrong in [0, 2] {
        SEQ.set(wrong);
        subject.log().write(batch(&["x".to_owned()])).unwrap();
        let error = subject.log().commit().unwrap_err();
        assert!(matches!(error, LogError::Fenced(_) | LogError::Corrupt(_)), "{error}");
    }
    let lines = subject.log().journal(0, 0, 10).unwrap().unwrap();
    assert_eq!(lines.len(), 1, "nothing of it is there");
}

fn a_poll_takes_no_more_than_it_may<S: Subject>() {
    let mut subject = fresh::<S>();
    for n in 0..10 {
        subject.give(&n.to_string(), s(0));
    }
    let first = texts(&subject.poll(4));
    assert_eq!(first, ["0", "1", "2", "3"]);
    commit(&mut subject, &first);
    assert_eq!(poll(&mut subject), ["4", "5", "6", "7", "8", "9"]);
}

/// TM-7, L-13: an alarm that is due at the instant of a waiting input, or later, does not ring.
fn nothing_rings_before_what_waits_is_taken<S: Subject>() {
    let mut subject = fresh::<S>();
    assert_eq!(subject.taken_up_to(s(50)), s(50) - S::BEHIND);
    subject.give("a", s(60));
    subject.give("b", s(70));
    assert!(subject.taken_up_to(s(100)) < s(60));
    let first = texts(&subject.poll(1));
    let taken = subject.taken_up_to(s(100));
    assert!(taken < s(70), "{taken}");
    assert_eq!(s(60) < taken, S::KNOWS_EACH, "{taken}");
    commit(&mut subject, &first);
    let got = poll(&mut subject);
    assert_eq!(got, ["b"]);
    assert_eq!(subject.taken_up_to(s(100)), s(100) - S::BEHIND);
}

/// Whoever handed an input in hears of it when it is durable, and in order.
#[test]
fn senders_are_answered_after_the_commit() {
    let mut subject = fresh::<OnDisk>();
    for n in 0..5 {
        subject.give(&n.to_string(), s(n));
    }
    let got = poll(&mut subject);
    assert!(subject.settled.lock().unwrap().is_empty());
    commit(&mut subject, &got);
    let settled = subject.settled.lock().unwrap();
    let seqs = settled.iter().map(|settled| match settled {
        Settled::Decided { seq, .. } => *seq,
        Settled::Logged { .. } => panic!("{settled:?}"),
    });
    assert_eq!(seqs.collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}
