//! Journals that earlier programs wrote: every one still reads, writes back as it was, and adds up to a
//! state. The files under `tests/journals/` are never written anew: a difference means that a
//! customer's journal would not read either.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and says so"
)]

mod samples;

use std::collections::BTreeSet;
use std::sync::Arc;

use deferd::cli::simulation::{Outcomes, Simulation};
use deferd::domain::event::{Event, MessageRef};
use deferd::domain::time::Timestamp;
use deferd::engine::checkpoint::{VERSION as CHECKPOINT, restore};
use deferd::engine::replay::{Verdict, apply_line, verify};
use deferd::engine::state::State;
use deferd::engine::worker::Settings;
use deferd::record::input::{Kind, Reader};
use deferd::record::journal::Record;
use serde_json::Value;

/// What a log takes of one record.
const RECORD_LIMIT: usize = 1_000_000;

#[test]
fn every_version_reads_writes_and_folds() {
    for (name, lines) in samples::lines_of("tests/journals/v1") {
        let mut state = State::default();
        for (number, line) in (1..).zip(&lines) {
            let record = Record::read(line.as_bytes())
                .unwrap_or_else(|error| panic!("{name}:{number}: {error}"));
            let written = String::from_utf8(record.write()).unwrap();
            assert_eq!(&written, line, "{name}:{number}");
            state.apply(&record).unwrap_or_else(|error| panic!("{name}:{number}: {error}"));
        }
        let checkpoint = restore(0, state.checkpoint(0)).expect("it was just written");
        assert_eq!(checkpoint.checkpoint(0), state.checkpoint(0), "{name}");
    }
}

/// A checkpoint keeps users as they are packed, so whoever changes what a user is raises the version of
/// checkpoints (in `engine/checkpoint.rs`), and then this sum.
#[test]
fn a_packed_user_changes_only_with_the_version_of_checkpoints() {
    let mut sum = crc32fast::Hasher::new();
    for (_, lines) in samples::lines_of("tests/journals/v1") {
        let mut state = State::default();
        for line in &lines {
            state.apply(&Record::read(line.as_bytes()).unwrap()).unwrap();
        }
        // The first chunk is the head, which has a version of its own: the policy's.
        state.checkpoint(0).iter().skip(1).for_each(|chunk| sum.update(chunk));
    }
    assert_eq!((sum.finalize(), CHECKPOINT), (3_397_286_455, 5));
}

/// The fixtures have each event and each type of input at least once.
#[test]
fn the_fixtures_leave_nothing_out() {
    let mut events = BTreeSet::new();
    let mut inputs = BTreeSet::new();
    for (_, lines) in samples::lines_of("tests/journals/v1") {
        for line in lines {
            let record: Value = serde_json::from_str(&line).unwrap();
            for event in record["events"].as_array().into_iter().flatten() {
                events
                    .extend(event.as_object().into_iter().flatten().map(|(name, _)| name.clone()));
            }
            inputs.extend(record["input"]["type"].as_str().map(str::to_owned));
        }
    }
    let every: BTreeSet<_> = every_event().into_iter().collect();
    assert_eq!(every.difference(&events).collect::<Vec<_>>(), Vec::<&String>::new());
    let every: BTreeSet<_> = Kind::ALL.iter().map(|(_, name, _)| format!("{name}.v1")).collect();
    assert_eq!(every.difference(&inputs).collect::<Vec<_>>(), Vec::<&String>::new());
}

/// The names of all events, as serde lists them where it meets another.
fn every_event() -> Vec<String> {
    let error = serde_json::from_str::<Event>(r#"{"no_such_event":{}}"#).unwrap_err().to_string();
    let names = error.split('`').skip(3).step_by(2);
    names.map(str::to_owned).collect()
}

/// What a journal left to its input is there again after reading: a fixture folds to what its program
/// knew, bodies included.
#[test]
fn content_comes_back_from_the_input() {
    let (_, lines) = samples::lines_of("tests/journals/v1").swap_remove(0);
    let mut state = State::default();
    let mut bodies = 0;
    for line in &lines {
        apply_line(&mut state, line.as_bytes()).unwrap();
        bodies += state.users.iter().flat_map(|(_, user)| user.messages).count();
    }
    assert!(bodies > 0);
}

/// Today's rules decide the fixtures as they were decided, or say that their rules are others. A
/// difference here is a change of the rules: raise `RULES`, and say so in the change log.
#[test]
fn fixtures_are_decided_as_they_were() {
    for (name, lines) in samples::lines_of("tests/journals/v1") {
        let mut state = State::default();
        for (number, line) in (1..).zip(&lines) {
            let record = Record::read(line.as_bytes()).unwrap();
            let verdict = verify(&state, &record, &Reader::default()).unwrap();
            assert!(!matches!(verdict, Verdict::Differs { .. }), "{name}:{number}: {verdict:?}");
            state.apply(&record).unwrap();
        }
    }
}

/// A record that is cut anywhere is refused, never half read.
#[test]
fn a_cut_record_is_refused() {
    for (name, lines) in samples::lines_of("tests/journals/v1") {
        for line in lines.iter().step_by(5) {
            for end in 0..line.len() {
                let Some(cut) = line.get(..end) else { continue };
                assert!(Record::read(cut.as_bytes()).is_err(), "{name}: {cut}");
            }
        }
    }
}

/// The largest input with the most events fits into a record of the log. (rule 7 of its bounds)
#[test]
fn the_largest_record_fits_the_log() {
    let most = Reader::default().max_input_bytes;
    // Long ids, since events repeat them.
    let id = "m".repeat(64);
    let head = format!(
        r#"{{"specversion":"1.0","id":"1","source":"/s","type":"cpm.message.submitted.v1","subject":"tel:+15145550100","data":{{"message_id":"{id}","from":"tel:+15145550101","kind":"pager","content_type":"text/plain","body":""#
    );
    let input = format!("{head}{}\"}}}}", "x".repeat(most - head.len() - 3));
    assert_eq!(input.len(), most);
    let reader = Reader::default();
    assert!(reader.read(input.as_bytes(), Timestamp::EPOCH).is_ok());
    let raw: &serde_json::value::RawValue = serde_json::from_str(&input).unwrap();

    // The longest events there are: attempts to eight devices with the longest names.
    let device: Arc<str> = format!("<urn:gsma:imei:{}>;reg-id=1", "9".repeat(220)).into();
    let event = |number: u32| Event::AttemptStarted {
        m: MessageRef(number, id.as_str().into()),
        n: number,
        by: deferd::domain::event::Access::Cpm,
        what: deferd::domain::input::What::Message,
        at: Timestamp::from_millis(1_795_200_000_000),
        deadline: Timestamp::from_millis(1_795_200_030_000),
        to: vec![Arc::clone(&device); 8],
        rung: None,
        tried: 0,
        late: true,
        covers: Vec::new(),
        target: None,
    };
    let record = Record {
        seq: u64::MAX,
        epoch: u64::MAX,
        at: Timestamp::from_millis(1_795_200_000_001),
        ingested_at: Some(Timestamp::from_millis(1_795_200_000_001)),
        rules: u32::MAX,
        policy: "0123456789abcdef".into(),
        pos: Some("cpm.messages/4294967295/18446744073709551615".into()),
        user: Some("tel:+15145550100".into()),
        input: Some(raw),
        events: (0..256).map(event).collect(),
        ignored: None,
        source: None,
        id: None,
        rejected: None,
    };
    let size = record.write().len();
    println!("the largest record: {size} bytes");
    assert!(size < RECORD_LIMIT, "{size}");
}

/// On average a record costs no more than 200 bytes and 1.7 times its input.
#[test]
fn records_are_small() {
    let (mut records, mut bytes, mut inputs) = (0_usize, 0_usize, 0_usize);
    for (name, lines) in samples::traces() {
        for outcomes in [Outcomes::None, Outcomes::Delivered, Outcomes::Absent] {
            let mut simulation = Simulation::new(Settings::default(), outcomes).unwrap();
            let mut journal = Vec::new();
            for (number, line) in (1..).zip(&lines) {
                journal.extend(simulation.take(&name, number, line.as_bytes()).unwrap().journal);
            }
            journal.extend(simulation.finish(None).unwrap().journal);
            for line in journal {
                let record = Record::read(&line).unwrap();
                // The policy is told once in a journal's life.
                if record.user.is_some() {
                    records += 1;
                    bytes += line.len();
                    inputs += record.input.map_or(0, |input| input.get().len());
                }
            }
        }
    }
    println!(
        "{records} records, {} bytes each, of inputs of {} bytes",
        bytes / records,
        inputs / records
    );
    assert!(
        bytes * 10 <= records * 2000 + inputs * 17,
        "{bytes} bytes, {records} records, {inputs}"
    );
}
