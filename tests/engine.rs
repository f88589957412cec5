//! The worker on a log that fails: nothing lost, nothing twice, whatever breaks and wherever.
//!
//! Source: `rules.md` R-28, TM-7, W-5, L-9 to L-13.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and says so"
)]

#[path = "engine/checkpoints.rs"]
mod checkpoints;
mod samples;
mod seeded;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use deferd::domain::command::Command;
use deferd::domain::policy::Policy;
use deferd::domain::time::Timestamp;
use deferd::domain::user::User;
use deferd::engine::checkpoint;
use deferd::engine::ports::{Clock, LogError, Position, Received};
use deferd::engine::replay::apply_line;
use deferd::engine::state::{BrokenJournal, State};
use deferd::engine::worker::{Settings, Worker, WorkerError};
use deferd::log::memory::{Fail, MemoryLog};
use deferd::record::journal::{BadRecord, Record};
use deferd::record::output::output;
use seeded::{Chance, START, input, weighted};
use serde_json::Value;

/// A clock that is set.
#[derive(Clone, Debug, Default)]
struct SetClock(Rc<Cell<Timestamp>>);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        self.0.get()
    }
}

/// The identity of the logs of these tests.
const LOG: u128 = 7;

type TestWorker = Worker<MemoryLog, SetClock>;

/// What reaches a partition: at each instant some inputs, and one step of the worker.
struct Script(Vec<(Timestamp, Vec<Received>)>);

/// What is left of a run: its journal without epochs, and its outputs.
#[derive(Debug, PartialEq)]
struct Left {
    journal: Vec<String>,
    outputs: Vec<String>,
}

#[test]
fn a_failed_poll_loses_nothing() {
    fails_anywhere(Fail { poll: true, ..Fail::default() });
}

#[test]
fn a_failed_commit_loses_nothing() {
    fails_anywhere(Fail { commit: true, ..Fail::default() });
}

#[test]
fn a_lost_answer_doubles_nothing() {
    fails_anywhere(Fail { answer: true, ..Fail::default() });
}

/// The log goes away for longer: the answer is lost, and the journal cannot be asked either.
#[test]
fn an_outage_doubles_nothing() {
    fails_anywhere(Fail { answer: true, journal: true, ..Fail::default() });
    fails_anywhere(Fail { commit: true, journal: true, ..Fail::default() });
}

fn fails_anywhere(fail: Fail) {
    for seed in 1..=2 {
        let (script, whole) = grow(seed, 30);
        for broken in 0..script.0.len() {
            let left = run(&script, |index, worker| {
                if index == broken {
                    worker.log().fail = fail;
                    let error = worker.step().err();
                    let unavailable =
                        matches!(error, Some(WorkerError::Log(LogError::Unavailable(_))) | None);
                    assert!(unavailable, "{error:?}");
                    worker.log().fail = Fail::default();
                }
            });
            same(&left, &whole, &format!("seed {seed}, {fail:?} before step {broken}"));
        }
    }
}

/// A crash before any step, with no checkpoint or an old one, changes nothing but the epoch. (L-9)
#[test]
fn a_crash_anywhere_changes_nothing() {
    for seed in 1..=3 {
        let (script, whole) = grow(seed, 30);
        for broken in 0..script.0.len() {
            for kept in [None, Some(broken / 2)] {
                let mut checkpoint = None;
                let left = run_owned(&script, |index, worker| {
                    if kept == Some(index) {
                        checkpoint = Some(worker.state().checkpoint(LOG));
                    }
                    if index == broken { Some(checkpoint.take()) } else { None }
                });
                let when = format!("seed {seed}, crash before step {broken}, checkpoint {kept:?}");
                same(&left, &whole, &when);
            }
        }
    }
}

/// Two crashes with nothing in between, and one after each step.
#[test]
fn many_crashes_change_nothing() {
    for seed in 1..=3 {
        let (script, whole) = grow(seed, 50);
        let left = run_owned(&script, |_, _| Some(None));
        same(&left, &whole, &format!("seed {seed}, a crash before each step"));
    }
}

/// What others were asked to do follows from the journal alone, and each of its numbers is there once.
/// (L-6, L-10)
#[test]
fn outputs_are_a_function_of_the_journal() {
    for seed in 1..=8 {
        let (script, _) = grow(seed, 120);
        let mut inputs = 0;
        let mut worker = open(MemoryLog::default(), &SetClock::default(), None);
        for (at, received) in &script.0 {
            inputs += received.len();
            go(&mut worker, *at, received);
        }
        let journal: Vec<_> = worker.log().lines().to_vec();
        let outputs: Vec<_> = worker.log().outputs.iter().map(|o| o.bytes.clone()).collect();

        let mut state = State::default();
        let mut told = Vec::new();
        let mut with_position = 0;
        for (seq, line) in (0..).zip(&journal) {
            let record = Record::read(line).unwrap();
            assert_eq!(record.seq, seq, "seed {seed}");
            with_position += usize::from(record.pos.is_some());
            if let Some(address) = record.address().unwrap() {
                let key = state.users.key(&address);
                let mut user = state.users.get(key).unwrap_or_else(|| User::new(address));
                for event in &record.events {
                    user.evolve(event);
                    let command = Command::of(&user, event, &state.policy);
                    told.extend(command.map(|command| output(&command, record.at).bytes));
                }
            }
            state.apply(&record).unwrap();
        }
        let asked: Vec<_> = outputs
            .into_iter()
            .filter(|bytes| !String::from_utf8_lossy(bytes).contains("cpm.input.rejected.v1"))
            .collect();
        assert_eq!(asked, told, "seed {seed}");
        assert_eq!(with_position, inputs, "seed {seed}: one record an input");
    }
}

/// The state that the worker has is the one its journal adds up to. (L-9)
#[test]
fn restore_is_replay() {
    for seed in 1..=8 {
        let (script, _) = grow(seed, 120);
        let mut worker = open(MemoryLog::default(), &SetClock::default(), None);
        let mut kept = None;
        for (index, (at, received)) in script.0.iter().enumerate() {
            go(&mut worker, *at, received);
            if index == script.0.len() / 3 {
                kept = Some(checkpoint::restore(LOG, worker.state().checkpoint(LOG)).unwrap());
            }
        }
        let whole = followed(worker.log(), None);
        let tail = followed(worker.log(), kept);
        assert_eq!(known(&whole), known(&tail), "seed {seed}");
        assert_eq!(known(&whole), known(worker.state()), "seed {seed}: replay, and what ran");
    }
}

/// W-5: an hour of backlog is read before its timers fire, even where it does not fit into one poll.
#[test]
fn a_backlog_is_read_before_its_timers_fire() {
    for (registers, access) in [(true, "\"cpm\""), (false, "\"sms\"")] {
        let clock = SetClock::default();
        let mut worker = open(MemoryLog::default(), &clock, None);
        go(&mut worker, s(-60), &[event(0, s(-60), "cpm.message.submitted", MESSAGE)]);

        // The engine is down from 12:00 to 13:00. A poll takes 1000: the registration is in the next.
        let filler = |n| other_user(n, s(60));
        let mut backlog: Vec<_> = (1..1000).map(filler).collect();
        backlog.push(event(1000, s(600), "cpm.cs.attached", "{}"));
        if registers {
            let expires = r#"{"device":{"contact":"sip:a@192.0.2.1"},"expires_at":"2026-11-22T08:00:00Z","cpm_capable":true}"#;
            backlog.push(event(1001, s(606), "cpm.ims.registered", expires));
        } else {
            backlog.push(other_user(1001, s(606)));
        }
        worker.log().outputs.clear();
        go(&mut worker, s(3600), &backlog);
        assert_eq!(attempts_for(&mut worker), Vec::<String>::new(), "nothing may ring yet");
        worker.step().unwrap();
        let asked = attempts_for(&mut worker);
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert!(asked[0].contains(&format!("\"access\":{access}")), "{}", asked[0]);
        assert!(asked[0].contains(&format!("\"time\":\"{}\"", s(3600))), "{}", asked[0]);
    }
}

/// The same `source` and `id` is taken once in the window, and again after it. (R-4)
#[test]
fn duplicates_are_remembered_for_the_window() {
    let clock = SetClock::default();
    let mut worker = open(MemoryLog::default(), &clock, None);
    let hold = |offset, at| event(offset, at, "cpm.user.held", r#"{"operator":"a","reason":"b"}"#);
    let named =
        |received: &Received| String::from_utf8_lossy(&received.bytes).replace("\"e7\"", "\"e0\"");
    for (offset, at, duplicates) in
        [(0, 0, 0), (1, 1, 1), (2, 172_799, 1), (3, 172_801, 0), (4, 172_802, 1)]
    {
        let mut received = hold(7, s(at));
        received.position.offset = offset;
        received.bytes = named(&received).into_bytes().into();
        worker.log().push(received);
        clock.0.set(s(at));
        let done = worker.step().unwrap();
        assert_eq!(done.duplicates, duplicates, "after {at} s");
        // A restart remembers as well.
        let log = std::mem::take(worker.log()).after_crash();
        worker = open(log, &clock, None);
    }
}

/// A changed policy is a record, and everybody who waits is looked at, after a crash too.
#[test]
fn a_changed_policy_reaches_everybody() {
    for crash in [false, true] {
        let clock = SetClock::default();
        let off = Policy::default().with("access_sms", "off").unwrap();
        let settings = |policy: &Policy| Settings { policy: policy.clone(), ..Settings::default() };
        let mut worker =
            Worker::open(MemoryLog::default(), clock.clone(), settings(&off), None).unwrap();
        let count = 2500;
        for n in 0..count {
            worker.log().push(for_user(n, 2 * n, s(0), "cpm.message.submitted", MESSAGE));
            worker.log().push(for_user(n, 2 * n + 1, s(0), "cpm.cs.attached", "{}"));
        }
        clock.0.set(s(0));
        for _ in 0..6 {
            worker.step().unwrap();
        }
        clock.0.set(s(100));
        worker.step().unwrap();
        worker.log().outputs.clear();

        clock.0.set(s(200));
        worker.only().change_policy(Policy::default(), None);
        worker.step().unwrap();
        if crash {
            let log = std::mem::take(worker.log()).after_crash();
            worker = Worker::open(log, clock.clone(), Settings::default(), None).unwrap();
        }
        let mut steps = 0;
        while worker.next_alarm().is_some_and(|at| at <= s(200)) {
            worker.step().unwrap();
            steps += 1;
            assert!(steps < 100);
        }
        let asked = attempts_for(&mut worker);
        assert_eq!(asked.len(), usize::try_from(count).unwrap(), "crash: {crash}");
        let changes =
            worker.log().lines().iter().filter(|l| is(l, "cpm.policy.changed.v1")).count();
        assert_eq!(changes, 2, "the first policy, and the changed one");
    }
}

/// A policy whose record is durable is not journalled again when only the answer was lost.
#[test]
fn a_changed_policy_is_journalled_once() {
    let clock = SetClock::default();
    let mut worker = open(MemoryLog::default(), &clock, None);
    worker.step().unwrap();
    worker.only().change_policy(Policy::default().with("settle_seconds", "0").unwrap(), None);
    worker.log().fail.answer = true;
    worker.step().unwrap_err();
    worker.step().unwrap();
    let changes = worker.log().lines().iter().filter(|l| is(l, "cpm.policy.changed.v1")).count();
    assert_eq!(changes, 2);
}

/// A record that does not follow the one before is told by what is wrong with it, and moves nothing.
#[test]
fn a_broken_journal_is_told() {
    let (_, lines) = samples::lines_of("tests/journals/v1").swap_remove(0);
    let state = |upto: usize| {
        let mut state = State::default();
        for line in &lines[..upto] {
            apply_line(&mut state, line.as_bytes()).unwrap();
        }
        state
    };
    let refused = |upto: usize, line: &str| {
        let mut state = state(upto);
        let before = state.checkpoint(LOG);
        let error = apply_line(&mut state, line.as_bytes()).unwrap_err();
        assert_eq!(state.checkpoint(LOG), before);
        error
    };
    assert_eq!(refused(3, &lines[4]), BrokenJournal::Gap { found: 4, expected: 3 });
    assert_eq!(refused(3, &lines[2]), BrokenJournal::Gap { found: 2, expected: 3 });
    assert_eq!(
        refused(3, &lines[4]).to_string(),
        "seq 4 where 3 must follow: a record is missing, repeated or moved"
    );
    let newer = lines[3].replacen("\"rules\":1", "\"rules\":2", 1);
    assert_eq!(
        refused(3, &newer),
        BrokenJournal::Bad { expected: 3, why: BadRecord::Newer { found: 2 } }
    );
    let cut = &lines[3][..lines[3].len() / 2];
    assert!(matches!(refused(3, cut), BrokenJournal::Bad { expected: 3, .. }));

    let mut owned = state(3);
    apply_line(&mut owned, lines[3].replacen("\"epoch\":0", "\"epoch\":2", 1).as_bytes()).unwrap();
    let late = lines[4].replacen("\"epoch\":0", "\"epoch\":1", 1);
    assert_eq!(
        apply_line(&mut owned, late.as_bytes()),
        Err(BrokenJournal::Epoch { seq: 4, found: 1, before: 2 })
    );
}

/// Ten thousand users due at one instant: several steps, each bounded, in the order of deadline and user.
#[test]
fn many_due_at_once_drain_in_order() {
    let clock = SetClock::default();
    let mut worker = open(MemoryLog::default(), &clock, None);
    let count = 10_000_u64;
    for n in 0..count {
        // From the last to the first, so that neither arrival nor hash is the order.
        worker.log().push(for_user(count - 1 - n, n, s(0), "cpm.message.submitted", MESSAGE));
    }
    clock.0.set(s(0));
    while worker.log().waiting() > 0 {
        worker.step().unwrap();
    }
    let from = worker.log().lines().len();
    clock.0.set(s(900));
    let mut sizes = Vec::new();
    while worker.next_alarm().is_some_and(|at| at <= s(900)) {
        let before = worker.log().lines().len();
        worker.step().unwrap();
        sizes.push(worker.log().lines().len() - before);
        assert!(sizes.len() < 100, "{sizes:?}");
    }
    assert!(sizes.len() > 1 && sizes.iter().all(|size| *size <= 4000), "{sizes:?}");
    let rang: Vec<String> = worker.log().lines()[from..]
        .iter()
        .map(|line| Record::read(line).unwrap().user.unwrap().into_owned())
        .collect();
    assert_eq!(rang.len(), usize::try_from(count).unwrap());
    assert!(rang.is_sorted());
}

/// A partition that was idle and full of users takes no record for looking at them.
#[test]
fn a_restart_writes_nothing_by_itself() {
    let (script, whole) = grow(5, 60);
    let clock = SetClock::default();
    let mut worker = open(MemoryLog::default(), &clock, None);
    for (at, received) in &script.0 {
        go(&mut worker, *at, received);
    }
    for _ in 0..3 {
        let log = std::mem::take(worker.log()).after_crash();
        clock.0.set(script.0.last().unwrap().0);
        worker = open(log, &clock, None);
        while worker.next_alarm().is_some_and(|at| at <= clock.now()) {
            worker.step().unwrap();
        }
    }
    same(&left(&mut worker), &whole, "three restarts");
}

const MESSAGE: &str = r#"{"message_id":"m","from":"tel:+15145550999","kind":"pager","content_type":"text/plain","body":"x"}"#;

fn s(seconds: i64) -> Timestamp {
    Timestamp::from_millis(START + seconds * 1000)
}

fn event(offset: u64, logged: Timestamp, kind: &str, data: &str) -> Received {
    about("tel:+15145550100", offset, logged, kind, data)
}

fn for_user(user: u64, offset: u64, logged: Timestamp, kind: &str, data: &str) -> Received {
    about(&format!("tel:+1514{:07}", 1_000_000 + user), offset, logged, kind, data)
}

fn other_user(offset: u64, logged: Timestamp) -> Received {
    for_user(offset, offset, logged, "cpm.ps.detached", "{}")
}

fn about(user: &str, offset: u64, logged: Timestamp, kind: &str, data: &str) -> Received {
    let bytes = format!(
        r#"{{"specversion":"1.0","id":"e{offset}","source":"/t","type":"{kind}.v1","subject":"{user}","time":"{logged}","data":{data}}}"#
    );
    Received { position: position(offset), logged, bytes: bytes.into_bytes().into() }
}

fn position(offset: u64) -> Position {
    Position { topic: "cpm.messages".into(), partition: 0, offset }
}

fn open(log: MemoryLog, clock: &SetClock, checkpoint: Option<State>) -> TestWorker {
    Worker::open(log, clock.clone(), Settings::default(), checkpoint).unwrap()
}

/// The commands to deliver to the user of [`event`], or to all of [`for_user`].
fn attempts_for(worker: &mut TestWorker) -> Vec<String> {
    let texts = worker.log().outputs.iter().map(|o| String::from_utf8_lossy(&o.bytes).into_owned());
    texts.filter(|text| text.contains("cpm.delivery.requested.v1")).collect()
}

fn is(line: &Arc<[u8]>, kind: &str) -> bool {
    String::from_utf8_lossy(line).contains(kind)
}

/// Makes a script from a seed by running it: outcomes name attempts that were asked for.
fn grow(seed: u64, steps: usize) -> (Script, Left) {
    let mut chance = Chance::new(seed);
    let samples = weighted(samples::inputs());
    let clock = SetClock::default();
    let mut worker = open(MemoryLog::default(), &clock, None);
    let (mut at, mut offset) = (s(0), 0);
    let mut attempts: Vec<(String, String)> = Vec::new();
    let mut script = Vec::new();
    for _ in 0..steps {
        let span = *chance.pick(&[0, 300, 1000, 2000, 15_000, 30_000, 60_000, 120_000, 900_000]);
        at = Timestamp::from_millis(at.as_millis() + span);
        let count = chance.below(4);
        let received: Vec<_> = (0..count)
            .map(|_| {
                let recent = attempts.len().saturating_sub(6);
                let number = usize::try_from(offset).unwrap();
                let bytes = input(&mut chance, &samples, number, at, &attempts[recent..]);
                offset += 1;
                Received { position: position(offset), logged: at, bytes: bytes.into() }
            })
            .collect();
        clock.0.set(at);
        let before = worker.log().outputs.len();
        for input in &received {
            worker.log().push(input.clone());
        }
        worker.step().unwrap();
        for output in &worker.log().outputs[before..] {
            let event: Value = serde_json::from_slice(&output.bytes).unwrap();
            if event["type"] == "cpm.delivery.requested.v1" {
                let text = |field: &str| event[field].as_str().unwrap().to_owned();
                attempts.push((text("id"), text("subject")));
            }
        }
        script.push((at, received));
    }
    assert!(!attempts.is_empty(), "seed {seed} makes nothing happen");
    let left = left(&mut worker);
    (Script(script), left)
}

/// Runs a script; `before` each step something may happen to the worker, its inputs being there.
fn run(script: &Script, mut before: impl FnMut(usize, &mut TestWorker)) -> Left {
    let clock = SetClock::default();
    let mut worker = open(MemoryLog::default(), &clock, None);
    for (index, (at, received)) in script.0.iter().enumerate() {
        clock.0.set(*at);
        for input in received {
            worker.log().push(input.clone());
        }
        before(index, &mut worker);
        worker.step().unwrap();
    }
    left(&mut worker)
}

/// The same, where `crash` says before which steps the process dies, and what checkpoint it leaves.
fn run_owned(
    script: &Script,
    mut crash: impl FnMut(usize, &mut TestWorker) -> Option<Option<Vec<Vec<u8>>>>,
) -> Left {
    let clock = SetClock::default();
    let mut worker = open(MemoryLog::default(), &clock, None);
    for (index, (at, received)) in script.0.iter().enumerate() {
        clock.0.set(*at);
        for input in received {
            worker.log().push(input.clone());
        }
        if let Some(checkpoint) = crash(index, &mut worker) {
            let log = std::mem::take(worker.log()).after_crash();
            let state = checkpoint.map(|chunks| checkpoint::restore(LOG, chunks).unwrap());
            worker = open(log, &clock, state);
        }
        worker.step().unwrap();
    }
    left(&mut worker)
}

/// Inputs and a step at an instant.
fn go(worker: &mut TestWorker, at: Timestamp, received: &[Received]) {
    for input in received {
        worker.log().push(input.clone());
    }
    worker.clock().0.set(at);
    worker.step().unwrap();
}

/// All that a state says. Whom it may forget, it may have forgotten.
fn known(state: &State) -> String {
    let mut users: Vec<String> = state
        .users
        .iter()
        .filter(|(_, user)| !user.is_forgettable(state.at, &state.policy))
        .map(|(_, user)| format!("{user:?}"))
        .collect();
    users.sort();
    let State { next_seq, at, policy, taken, duplicates, .. } = state;
    format!("{next_seq} {at} {} {taken:?} {} {users:#?}", policy.digest(), duplicates.len())
}

fn left(worker: &mut TestWorker) -> Left {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let journal = worker.log().lines().iter().map(|line| without_epoch(&text(line))).collect();
    let outputs = worker.log().outputs.iter().map(|output| text(&output.bytes)).collect();
    Left { journal, outputs }
}

fn without_epoch(line: &str) -> String {
    let (head, tail) = line.split_once("\"epoch\":").unwrap();
    format!("{head}{}", tail.split_once(',').unwrap().1)
}

#[track_caller]
fn same(left: &Left, whole: &Left, when: &str) {
    for (one, other) in left.journal.iter().zip(&whole.journal) {
        assert!(one == other, "{when}:\n  {one}\nwhere without it\n  {other}");
    }
    assert_eq!(left.journal.len(), whole.journal.len(), "{when}: records");
    assert!(left.outputs == whole.outputs, "{when}: outputs");
}

/// The journal is whole in itself: numbers that only the config could complete are written out, so a
/// reader without that config restores the same state (L-4).
#[test]
fn a_journal_needs_no_home_country() {
    let home = deferd::domain::address::Home::new(Some("1"), &[]).expect("a country code");
    let mut settings = Settings::default();
    settings.reader.home = home;
    let mut worker = Worker::open(MemoryLog::default(), SetClock::default(), settings, None)
        .expect("a log in memory");
    worker.log().push(Received {
        position: Position { topic: "cpm.messages".into(), partition: 0, offset: 0 },
        logged: Timestamp::EPOCH,
        bytes: br#"{"specversion":"1.0","id":"1","source":"/as","type":"cpm.message.submitted.v1","subject":"5145550100","data":{"message_id":"m1","from":"(514) 555-0199","kind":"pager","content_type":"text/plain","body":"hi"}}"#
            .as_slice()
            .into(),
    });
    worker.step().expect("a log in memory");

    let restored = followed(worker.log(), None);
    let users: Vec<_> = restored.users.iter().map(|(_, user)| user).collect();
    assert_eq!(users.len(), 1);
    assert_eq!(users[0].address.to_string(), "tel:+15145550100");
    assert_eq!(&*users[0].messages[0].content.from, "tel:+15145550199");
}

/// The state that a log's journal adds up to: all of it, or what came after `from`.
fn followed(log: &mut MemoryLog, from: Option<State>) -> State {
    use deferd::engine::ports::Log as _;
    let mut state = from.unwrap_or_default();
    for line in log.journal(0, state.next_seq, usize::MAX).unwrap().unwrap() {
        apply_line(&mut state, &line).unwrap();
    }
    state
}
