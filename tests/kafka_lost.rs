//! What may be lost beside deferd's own processes: the group's offsets, and inputs that nobody has taken yet.
//! The journal has the word; what is gone is for a person to decide.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
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

use std::time::Duration;

use deferd::log::kafka::Topic;
use kafka_audit::{audit_journal, read};
use kafka_field::{Field, PARTITIONS, told};
use kafka_proxy::expel;
use process::Process;

/// A field whose member has taken something, and is gone from the group.
fn stopped(name: &str, seed: u64) -> Field {
    let field = Field::new(name);
    let mut member = field.member("a");
    member.wait_for("ready");
    field.backlog(seed, 1000);
    field.taken(&[&member]);
    member.stop();
    // A static member would keep its place until its session ends.
    expel(&field.cluster().brokers, &field.cluster().group, "a-0");
    field
}

/// Starts the member again on what has become of the group, and audits; what it has said.
fn again(field: Field, seed: u64) -> String {
    let mut member = field.member("a");
    member.wait_for("ready");
    field.backlog(seed, 500);
    field.journalled(field.sent() as usize);
    let said = member.said();
    told("on", &field.end(vec![member]));
    said
}

#[test]
fn a_group_that_was_reset_takes_nothing_twice() {
    let field = stopped("reset", 31);
    field.place.set_group(PARTITIONS, |_, _| 0);
    let said = again(field, 32);
    assert!(
        said.contains("cpm.messages/0: the group stands at 0, the journal goes on at"),
        "{said}"
    );
}

#[test]
fn a_group_that_is_gone_takes_nothing_twice() {
    let field = stopped("gone", 33);
    field.place.forget_group();
    let said = again(field, 34);
    assert!(
        said.contains("cpm.messages/0: the group stands nowhere, the journal goes on"),
        "{said}"
    );
}

#[test]
fn a_group_that_is_ahead_skips_nothing() {
    let field = stopped("ahead", 35);
    field.backlog(36, 500);
    field.place.set_group(PARTITIONS, |topic, partition| {
        let records = read(field.cluster(), topic, PARTITIONS);
        records.iter().filter(|stands| stands.partition == partition).count() as i64
    });
    let said = again(field, 37);
    assert!(said.contains(": the journal has the word"), "{said}");
}

/// Starts a member that cannot go on, and has it say so; then one that may skip what is gone.
fn skips(field: &Field, what: &str) -> Process {
    let mut member = field.member("a");
    let ended = member.ended();
    let said = member.said();
    assert_eq!(ended.code(), Some(1), "{said}");
    assert!(said.contains(what) && said.contains("--set kafka.lost_inputs=skip"), "{said}");
    let mut member = field.member_with("a", &["kafka.lost_inputs=skip"]);
    member.wait_for("ready");
    member
}

#[test]
fn removed_inputs_are_skipped_by_hand_only() {
    let field = stopped("removed", 38);
    let before = field.sent() as usize;
    field.backlog(39, 1000);
    // Of the reachability of partition 2, half of what is there, and so some that nobody has taken.
    let untaken = |from: usize| {
        let records = read(field.cluster(), Topic::Reachability, PARTITIONS);
        records.iter().filter(|stands| stands.partition == 2).skip(from).count()
    };
    let (there, then) = (untaken(0), {
        let (_, taken) = audit_journal(field.cluster(), PARTITIONS);
        taken.keys().filter(|at| at.contains("cpm.reachability/2/")).count()
    });
    let removed = (there - then) / 2;
    field.place.remove_before(Topic::Reachability, 2, (then + removed) as u64);
    let what = format!("cpm.reachability/2: {removed} inputs from {then} on were removed untaken");
    let member = skips(&field, &what);
    field.journalled(before + 1000 - removed);
    member.stop();
    let (_, taken) = audit_journal(field.cluster(), PARTITIONS);
    assert_eq!(taken.len(), before + 1000 - removed);
    assert!(taken.values().all(|times| *times == 1), "{taken:?}");
}

#[test]
fn a_topic_made_anew_is_read_from_its_start_by_hand_only() {
    let field = stopped("anew", 40);
    let before = field.sent() as usize;
    field.place.make_anew(Topic::Reachability, PARTITIONS);
    field.backlog(41, 100);
    let member = skips(&field, "it was made anew");
    field.journalled(before + 100);
    member.stop();
    let (_, taken) = audit_journal(field.cluster(), PARTITIONS);
    assert_eq!(taken.values().sum::<u32>() as usize, before + 100);
}

/// A member that lags for longer than inputs are kept.
#[test]
fn inputs_removed_under_a_member_end_it() {
    let field = Field::new("under");
    let mut member = field.member("a");
    member.wait_for("ready");
    field.backlog(42, 1000);
    field.taken(&[&member]);
    member.signal("STOP");
    field.backlog(43, 1000);
    let records = read(field.cluster(), Topic::Messages, PARTITIONS);
    let there = records.iter().filter(|stands| stands.partition == 0).count();
    field.place.remove_before(Topic::Messages, 0, there as u64);
    std::thread::sleep(Duration::from_millis(500));
    member.signal("CONT");
    let ended = member.ended();
    let said = member.said();
    assert_eq!(ended.code(), Some(1), "{said}");
    assert!(said.contains("inputs were removed before they were taken"), "{said}");
    assert!(said.contains("--set kafka.lost_inputs=skip"), "{said}");
    audit_journal(field.cluster(), PARTITIONS);
}
