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
mod kafka_field;
mod kafka_place;
mod process;
mod seeded;

use std::time::Duration;

use deferd::log::kafka::Topic;
use kafka_field::{Field, number, told};
use process::Process;
use seeded::Chance;

/// kill -9 of the only member at random instants, and a restart each time.
#[test]
fn a_killed_member_loses_and_doubles_nothing() {
    kills("kill", number("DEFERD_ROUNDS", 15), number("DEFERD_SEED", 1), &[]);
}

/// The same, where the process has two shards: two members of the group, two producers, two threads.
#[test]
fn two_shards_that_are_killed_lose_and_double_nothing() {
    kills("shards", number("DEFERD_ROUNDS", 5), number("DEFERD_SEED", 6), &["kafka.shards=2"]);
}

fn kills(name: &str, rounds: u64, seed: u64, more: &[&str]) {
    let mut chance = Chance::new(seed);
    let mut field = Field::new(name);
    field.feed(seed);
    for _ in 0..rounds {
        let mut member = field.member_with("a", more);
        // One in four dies on its way to being ready.
        if chance.below(4) > 0 {
            member.wait_for("ready");
        }
        std::thread::sleep(Duration::from_millis(chance.below(900) as u64));
        member.kill();
    }
    let last = field.member_with("a", more);
    let found = field.end(vec![last]);
    told(&format!("{rounds} kills, {more:?}"), &found);
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

/// A transaction on a journal that nobody ends, as a broker may leave one: nobody can tell what becomes of its
/// records, so a member waits, says what for, and goes on by itself when it is ended.
#[test]
fn a_transaction_that_hangs_is_waited_for_and_told() {
    let field = Field::new("hangs");
    let mut member = field.member("a");
    member.wait_for("ready");
    field.backlog(5, 500);
    field.taken(&[&member]);
    member.stop();
    let stranger = field.place.transactional("stranger");
    stranger.begin(Topic::Journal, 2, std::iter::once("{}".to_owned()));

    let mut member = field.member("a");
    let words = "the journal of partition 2 is stable up to ";
    let ready = field.wait("it says why it is not ready", || {
        let (status, said) = member.get("/readyz?verbose");
        assert_eq!(status, 503, "{said}");
        said.contains(words).then_some(said)
    });
    assert!(ready.contains("partition 2 is still being restored: "), "{ready}");
    let advice = "Find it with kafka-transactions find-hanging, and abort it";
    assert!(ready.contains(advice), "{ready}");
    let said = member.said();
    assert_eq!(said.matches(words).count(), 1, "{said}");

    stranger.take_back();
    member.wait_for("ready");
    field.backlog(6, 500);
    told("a transaction that hangs", &field.end(vec![member]));
}

/// Two processes that have one name by mistake: the first has to end, and says why.
#[test]
fn of_two_with_one_name_one_ends() {
    let mut field = Field::new("one-name");
    field.feed(4);
    let mut first = field.member("a");
    first.wait_for("ready");
    std::thread::sleep(Duration::from_secs(1));
    // On another machine: this one's folder is locked.
    let mut second = field.member_in("elsewhere", "a");
    second.wait_for("ready");
    let ended = first.ended();
    let said = first.said();
    assert_eq!(ended.code(), Some(1), "{said}");
    let words = "another process of this group has kafka.instance = \"a\" too: give each its own";
    assert!(said.contains(words), "{said}");
    std::thread::sleep(Duration::from_secs(1));
    told("two with one name", &field.end(vec![second]));
}
