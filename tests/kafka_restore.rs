//! What a member begins with: a checkpoint, snapshots, the journal alone; and any of them lost.

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

use std::collections::BTreeMap;

use deferd::log::kafka::Topic;
use kafka_audit::read;
use kafka_field::{Field, PARTITIONS};
use process::Process;

/// What it says of each partition that it restored: how much of the journal it read, and to where.
fn restored(process: &Process) -> BTreeMap<u64, (u64, u64)> {
    let said = process.said();
    let number = |line: &str, name: &str| -> u64 {
        let text = line.split(&format!("{name}=")).nth(1).unwrap();
        text.split_whitespace().next().unwrap().parse().unwrap()
    };
    let last = said.rfind("listening on").unwrap();
    let lines = said[last..].lines().filter(|line| line.contains("INFO restored"));
    lines
        .map(|line| (number(line, "partition"), (number(line, "replayed"), number(line, "seq"))))
        .collect()
}

/// A field whose member has stopped after a while of load, with checkpoint, snapshots and journal.
fn stopped(name: &str, seed: u64) -> Field {
    let mut field = Field::new(name);
    field.feed(seed);
    let mut member = field.member_with("a", &["kafka.snapshot_seconds=1"]);
    member.wait_for("ready");
    std::thread::sleep(std::time::Duration::from_secs(4));
    field.pause(&[&member]);
    member.stop();
    field
}

/// Starts the member again, and audits: whatever it began with, it decided on the same state.
fn again(mut field: Field, seed: u64) -> (BTreeMap<u64, (u64, u64)>, String) {
    let mut member = field.member("a");
    member.wait_for("ready");
    let (restored, said) = (restored(&member), member.said());
    field.feed(seed);
    std::thread::sleep(std::time::Duration::from_secs(1));
    field.end(vec![member]);
    (restored, said)
}

#[test]
fn a_checkpoint_leaves_nothing_to_replay() {
    let (restored, said) = again(stopped("checkpoint", 11), 12);
    assert_eq!(restored.len(), PARTITIONS as usize, "{said}");
    for (partition, (replayed, seq)) in restored {
        assert!(seq > 20, "partition {partition} has hardly decided anything");
        assert_eq!(replayed, 0, "partition {partition}: {said}");
    }
}

#[test]
fn without_a_checkpoint_the_snapshot_is_read() {
    let field = stopped("snapshot", 13);
    field.lose_checkpoints("a");
    assert!(!read(field.cluster(), Topic::Snapshots, PARTITIONS).is_empty());
    let (restored, said) = again(field, 14);
    for (partition, (replayed, seq)) in restored {
        // A snapshot may have been the last thing that a quiet partition did: then nothing is left to replay.
        assert!(said.contains(&format!("a snapshot was read partition={partition}")), "{said}");
        assert!(replayed < seq, "{partition}: {replayed} of {seq}: {said}");
    }
}

#[test]
fn without_either_the_journal_is_read_from_its_start() {
    let field = stopped("journal", 15);
    field.lose_checkpoints("a");
    field.lose(Topic::Snapshots);
    let (restored, said) = again(field, 16);
    for (partition, (replayed, seq)) in restored {
        assert_eq!(replayed, seq, "partition {partition}: {said}");
    }
}

#[test]
fn without_snapshots_the_checkpoint_is_enough() {
    let field = stopped("no-snapshot", 17);
    field.lose(Topic::Snapshots);
    let (restored, said) = again(field, 18);
    assert!(restored.values().all(|(replayed, _)| *replayed == 0), "{said}");
}

/// A journal that retention has cut begins in the middle: a snapshot reaches that far, nothing else does.
#[test]
fn a_cut_journal_needs_a_snapshot() {
    let field = stopped("cut", 19);
    field.lose_checkpoints("a");
    for partition in 0..PARTITIONS {
        let journal = read(field.cluster(), Topic::Journal, PARTITIONS);
        let of = journal.iter().filter(|stands| stands.partition == partition);
        let offset = of.map(|stands| stands.offset).nth(5).unwrap();
        field.place.remove_before(Topic::Journal, partition, offset as u64);
    }
    let mut member = field.member("a");
    member.wait_for("ready");
    assert!(restored(&member).values().all(|(replayed, seq)| replayed < seq));
    member.stop();

    field.lose_checkpoints("a");
    field.lose(Topic::Snapshots);
    let mut member = field.member("a");
    let ended = member.ended();
    let said = member.said();
    assert_eq!(ended.code(), Some(1), "{said}");
    assert!(said.contains("neither a checkpoint nor a snapshot reaches that far"), "{said}");
}
