//! A checkpoint of many users: how long a restart from it takes, and how long taking it holds up a step.

use std::path::Path;
use std::time::{Duration, Instant};

use deferd::engine::checkpoint::{Chunk, load};
use deferd::engine::ports::{Position, Received, Store};
use deferd::engine::worker::{Settings, Worker};
use deferd::log::memory::MemoryLog;
use deferd::store::DiskStore;

use crate::stream::{BenchClock, Random, START};

const LOG: u128 = 1;
/// Users of a checkpoint that are written between two steps.
const SLICE: usize = 250;

type BenchWorker = Worker<MemoryLog, BenchClock>;

/// What was measured, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restart {
    /// Bytes of the checkpoint.
    pub(crate) bytes: usize,
    /// Until a worker takes inputs again: the store read, the state and its alarms there.
    pub(crate) restart: f64,
    /// How long taking the checkpoint held up a step: the longest of a thousand, and of all, in which
    /// somebody else may have had the core.
    pub(crate) stall: (f64, f64),
    /// The longest step before a checkpoint was taken, and while it was.
    pub(crate) steps: (f64, f64),
}

/// Users with a waiting message each, in memory; the checkpoint on disk, read from the page cache.
pub(crate) fn restart(users: u64) -> Restart {
    let clock = BenchClock::default();
    let mut worker = filled(users, &clock);
    let mut random = Random(2);
    let mut offset = users;
    let mut load_step = |worker: &mut BenchWorker| {
        for _ in 0..300 {
            let user = random.below(users);
            offset += 1;
            let kind = if offset.is_multiple_of(2) { "cs.attached" } else { "cs.detached" };
            worker.log().push(input(offset, user, kind, "{}"));
        }
        let began = Instant::now();
        worker.step().expect("a log in memory");
        let took = began.elapsed();
        let _ = worker.log().take_journal();
        worker.log().outputs.clear();
        took
    };
    let before = (0..500).map(|_| load_step(&mut worker)).max().unwrap_or_default();

    let mut chunks: Vec<Chunk> = Vec::new();
    let began = Instant::now();
    worker.only().begin_checkpoint(LOG);
    let mut slices = vec![began.elapsed()];
    let mut during = Duration::ZERO;
    while worker.state().is_cut() {
        during = during.max(load_step(&mut worker));
        let began = Instant::now();
        let slice = worker.only().checkpoint_slice(SLICE);
        slices.push(began.elapsed());
        chunks.extend(slice);
    }
    slices.sort();
    let bytes = chunks.iter().map(|chunk| chunk.bytes.len()).sum();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-restart");
    let mut store = DiskStore::new(folder);
    store.save(&mut chunks.into_iter()).expect("a disk");
    drop(worker);

    let mut rounds: Vec<f64> = (0..5)
        .map(|_| {
            let began = Instant::now();
            let state = load(&mut store, LOG).expect("it was just saved");
            let worker = open(&clock, state);
            let took = began.elapsed().as_secs_f64();
            assert_eq!(worker.state().users.len() as u64, users);
            took
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    store.discard();
    let steps = (before.as_secs_f64(), during.as_secs_f64());
    let at = |rank: usize| slices.get(rank).map_or(f64::NAN, Duration::as_secs_f64);
    let stall = (at(slices.len() * 999 / 1000), at(slices.len() - 1));
    let restart = rounds.get(rounds.len() / 2).copied().unwrap_or(f64::NAN);
    Restart { bytes, restart, stall, steps }
}

fn open(clock: &BenchClock, state: Option<deferd::engine::state::State>) -> BenchWorker {
    let log = MemoryLog::default();
    Worker::open(log, clock.clone(), Settings::default(), state).expect("a log in memory")
}

fn filled(users: u64, clock: &BenchClock) -> BenchWorker {
    let mut worker = open(clock, None);
    clock.0.set(START);
    let body = "x".repeat(150);
    for user in 0..users {
        let data = format!(
            r#"{{"message_id":"m{user}","from":"tel:+14155550199","kind":"pager","content_type":"text/plain","body":"{body}"}}"#
        );
        worker.log().push(input(user, user, "message.submitted", &data));
        if user % 1000 == 999 {
            worker.step().expect("a log in memory");
            let _ = worker.log().take_journal();
        }
    }
    worker.step().expect("a log in memory");
    let _ = worker.log().take_journal();
    worker
}

fn input(n: u64, user: u64, kind: &str, data: &str) -> Received {
    let bytes = crate::stream::event(n, kind, "/as/1", user, START, data);
    let position = Position { topic: "cpm.inputs".into(), partition: 0, offset: n };
    Received { position, logged: START, bytes }
}
