//! A broker that is killed, away, slow, or whose answers are lost: members go on where they were, and nothing
//! is lost, nothing twice, nothing early.
//!
//! These tests have a broker to themselves, one after the other. `DEFERD_ROUNDS=100 cargo test --test
//! kafka_broker lost_commit` runs more; `DEFERD_AWAY_SECONDS` is how long it is away.

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
mod kafka_proxy;
mod process;
mod seeded;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use kafka_field::{Field, PARTITIONS, number, told};
use kafka_place::Broker;
use kafka_proxy::{Proxy, expel};
use process::Process;
use seeded::Chance;

/// The broker, and a proxy before its second listener.
struct Shared {
    broker: Broker,
    proxy: Proxy,
}

/// Both, for one test at a time. The broker ends with the last that waits for it.
struct Turn {
    shared: Arc<Shared>,
    _turn: MutexGuard<'static, ()>,
}

impl Turn {
    fn wait() -> Self {
        static SHARED: Mutex<Weak<Shared>> = Mutex::new(Weak::new());
        static TURN: Mutex<()> = Mutex::new(());
        let shared = {
            let mut known = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
            known.upgrade().unwrap_or_else(|| {
                let broker = Broker::start("faults");
                let proxy = Proxy::start(&broker.proxied(), broker.at(6));
                let shared = Arc::new(Shared { broker, proxy });
                *known = Arc::downgrade(&shared);
                shared
            })
        };
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever failed has left the broker as it was.
        shared.broker.again();
        Self { shared, _turn: turn }
    }

    fn broker(&self) -> &Broker {
        &self.shared.broker
    }

    fn proxy(&self) -> &Proxy {
        &self.shared.proxy
    }

    fn field(&self, name: &str) -> Field {
        Field::of(self.broker().place(name, PARTITIONS), name)
    }

    /// Starts a member behind the proxy.
    fn member_behind(&self, field: &Field, name: &str, more: &[&str]) -> Process {
        let brokers = format!("kafka.brokers={}", self.broker().proxied());
        field.member_with(name, &[&[brokers.as_str()], more].concat())
    }
}

fn some(chance: &mut Chance, milliseconds: usize) -> Duration {
    Duration::from_millis(chance.below(milliseconds) as u64)
}

/// How often a member has changed its producer for a new one.
fn rotations(member: &Process) -> u64 {
    let (_, metrics) = member.get("/metrics");
    let name = "deferd_kafka_rotations_total{shard=\"0\"} ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |number| number.parse().unwrap())
}

/// kill -9 of the broker under load, and its start with what it kept.
#[test]
fn a_restarted_broker_finds_its_members_at_work() {
    let (rounds, seed) = (number("DEFERD_ROUNDS", 2), number("DEFERD_SEED", 21));
    let mut chance = Chance::new(seed);
    let turn = Turn::wait();
    let mut field = turn.field("restart");
    field.feed(seed);
    // Snapshots are written all the time: they are cut off as everything is.
    let often = ["kafka.snapshot_seconds=1"];
    let (mut a, mut b) = (field.member_with("a", &often), field.member_with("b", &often));
    a.wait_for("ready");
    b.wait_for("ready");
    for _ in 0..rounds {
        std::thread::sleep(Duration::from_millis(500) + some(&mut chance, 1500));
        turn.broker().signal("KILL");
        std::thread::sleep(some(&mut chance, 2000));
        turn.broker().again();
        field.goes_on(&[&a, &b]);
    }
    told(&format!("{rounds} starts of the broker"), &field.end(vec![a, b]));
}

/// Longer than sessions and transactions last: nobody ends, and all say that they cannot work.
#[test]
fn a_broker_may_be_away_for_long() {
    let (away, seed) = (number("DEFERD_AWAY_SECONDS", 20), number("DEFERD_SEED", 22));
    let turn = Turn::wait();
    let mut field = turn.field("away");
    field.feed_every(seed, Duration::from_millis(50));
    let (mut a, mut b) = (field.member("a"), field.member("b"));
    a.wait_for("ready");
    b.wait_for("ready");
    // One that has nothing to do hears of it from nobody but the group.
    let idle = turn.field("idle");
    let mut c = idle.member("c");
    c.wait_for("ready");
    turn.broker().signal("KILL");
    std::thread::sleep(Duration::from_secs(away));
    for member in [&a, &b, &c] {
        let (status, said) = member.get("/readyz?verbose");
        assert_eq!(status, 503, "{said}");
        assert_eq!(member.get("/livez").0, 200);
    }
    turn.broker().again();
    field.goes_on(&[&a, &b]);
    idle.wait("it is ready again", || (c.get("/readyz").0 == 200).then_some(()));
    c.stop();
    told(&format!("{away} s without a broker"), &field.end(vec![a, b]));
}

/// A member that is cut off when it has begun to send its offsets says that it cannot work, though librdkafka
/// keeps that call for as long as it is so (confluentinc/librdkafka issue 5456).
#[test]
fn a_member_that_is_cut_off_says_so() {
    let turn = Turn::wait();
    let mut field = turn.field("cut-off");
    field.feed(27);
    let mut member = turn.member_behind(&field, "a", &[]);
    member.wait_for("ready");
    turn.proxy().cut_off();
    field.wait("it says so", || (member.get("/readyz").0 == 503).then_some(()));
    let said = member.said();
    assert!(said.contains("cannot send the offsets"), "{said}");
    turn.proxy().pass();
    field.goes_on(&[&member]);
    told("a member that was cut off", &field.end(vec![member]));
}

/// A commit without an answer: the broker may have made it or not. librdkafka asks again; where that is of no
/// use either, only the journal can say what became of it.
#[test]
fn a_lost_commit_is_looked_up() {
    let (rounds, seed) = (number("DEFERD_ROUNDS", 5), number("DEFERD_SEED", 24));
    let mut chance = Chance::new(seed);
    let turn = Turn::wait();
    let mut field = turn.field("lost-commit");
    field.feed(seed);
    let mut member = turn.member_behind(&field, "a", &[]);
    member.wait_for("ready");
    for round in 0..rounds {
        std::thread::sleep(some(&mut chance, 1000));
        // The second time for longer than a member tries.
        let long = Duration::from_secs(if round % 3 == 1 { 8 } else { 0 });
        if round % 2 == 0 {
            turn.proxy().lose(long);
        } else {
            turn.proxy().drop_next(long);
        }
        std::thread::sleep(long);
        field.goes_on(&[&member]);
    }
    assert!(rotations(&member) > 0, "{}", member.said());
    told(&format!("{rounds} commits without an answer"), &field.end(vec![member]));
}

/// A snapshot's commit may be lost as any other: inputs are taken all the same afterwards.
#[test]
fn a_lost_commit_of_a_snapshot_stops_nothing() {
    let turn = Turn::wait();
    let mut field = turn.field("lost-snapshot");
    let mut member = turn.member_behind(&field, "a", &["kafka.snapshot_seconds=8"]);
    member.wait_for("ready");
    field.backlog(25, 500);
    field.taken(&[&member]);
    // Alarms are done after two seconds: what is committed then is a snapshot.
    std::thread::sleep(Duration::from_secs(2));
    turn.proxy().lose(Duration::from_secs(8));
    std::thread::sleep(Duration::from_secs(8));
    assert!(member.said().contains("a round of snapshots was given up"), "{}", member.said());
    field.feed(26);
    std::thread::sleep(Duration::from_secs(1));
    told("snapshots without an answer", &field.end(vec![member]));
}

/// A member that is stopped when it has sent its offsets, and before it commits. The group fences no end of
/// a transaction (KIP-447): where it comes in time, whoever takes over must have waited for it; where it
/// comes too late, it must be refused.
#[test]
fn a_zombie_between_its_offsets_and_its_commit() {
    let (rounds, seed) = (number("DEFERD_ROUNDS", 3), number("DEFERD_SEED", 28));
    let mut chance = Chance::new(seed);
    let turn = Turn::wait();
    let mut field = turn.field("held");
    field.feed(seed);
    // Its transactions live long enough for whoever does not wait for them to have gone on.
    let long = ["kafka.session_timeout_seconds=12"];
    let mut zombie = turn.member_behind(&field, "a", &long);
    let mut other = field.member("b");
    zombie.wait_for("ready");
    other.wait_for("ready");
    let assigned = |member: &Process| member.said().matches("partitions assigned").count();
    let replaced = |wait: Duration| {
        let before = assigned(&other);
        expel(&field.cluster().brokers, &field.cluster().group, "a-0");
        field.wait("takes over", || (assigned(&other) > before).then_some(()));
        std::thread::sleep(Duration::from_secs(4) + wait);
        let (status, said) = other.get("/readyz?verbose");
        assert_eq!(status, 503, "it must wait: {said}");
    };
    for round in 0..rounds {
        std::thread::sleep(some(&mut chance, 500));
        match round % 3 {
            0 => {
                turn.proxy().hold();
                zombie.signal("STOP");
                replaced(some(&mut chance, 1000));
                assert_eq!(turn.proxy().release(), 0, "it was in time");
            }
            // Not even its journal is there, and it will be.
            1 => {
                turn.proxy().overtake();
                zombie.signal("STOP");
                replaced(some(&mut chance, 1000));
                turn.proxy().pass();
            }
            _ => {
                turn.proxy().hold();
                zombie.signal("STOP");
                std::thread::sleep(Duration::from_secs(14) + some(&mut chance, 1000));
                assert_ne!(turn.proxy().release(), 0, "it was too late");
            }
        }
        std::thread::sleep(some(&mut chance, 1000));
        zombie.signal("CONT");
        std::thread::sleep(Duration::from_millis(2500));
    }
    told(&format!("{rounds} zombies with a commit"), &field.end(vec![zombie, other]));
}
