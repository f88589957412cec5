//! How fast, on the work that matters: `ops/bench` runs this and prints one table.
//!
//! Figures of one run are compared with each other, never with those of another: machines are noisy.
//! Each row is the median of five rounds, and rounds of rows that are compared alternate.

#![allow(clippy::disallowed_methods, reason = "a bench reads clocks")]
#![allow(clippy::print_stdout, reason = "a bench prints")]
#![allow(clippy::cast_possible_truncation, reason = "figures for people")]

mod disk;
mod http;
#[path = "../common/measure.rs"]
mod measure;
mod restart;
#[path = "../common/stream.rs"]
mod stream;

use std::hint::black_box;
use std::sync::Arc;

use deferd::domain::address::Address;
use deferd::domain::decide::decide;
use deferd::domain::policy::Policy;
use deferd::domain::user::User;
use deferd::engine::ports::Received;
use deferd::engine::replay::{Verdict, verify};
use deferd::engine::state::State;
use deferd::engine::users::Users;
use deferd::engine::worker::{Settings, Worker};
use deferd::log::memory::MemoryLog;
use deferd::record::input::Reader;
use deferd::record::journal::Record;

use measure::{Round, argument, median, target, timed};
use stream::{BenchClock, Stream, stream};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;

fn main() {
    let count = argument("--inputs").unwrap_or(500_000);
    let users = argument("--users").unwrap_or(1_000_000);
    let seed = argument("--seed").unwrap_or(1);
    if flag("--restart") {
        return restarted(users);
    }
    let stream = stream(count, users, seed);
    if flag("--loop") || flag("--replay") {
        header();
        if flag("--loop") {
            row("whole loop in memory", count, stream.bytes as usize, &rounds(|| run(&stream)));
        }
        if flag("--replay") {
            let journal = journal_of(stream.inputs.iter());
            replays(&as_lines(&journal));
            sizes();
        }
        return;
    }
    let mean = stream.bytes as f64 / count as f64;
    println!("bench stream: {count} inputs, {users} users, seed {seed}, digest {}", stream.digest);
    println!("              {mean:.0} bytes an input\n");

    let journal = journal_of(stream.inputs.iter());
    let lines: Vec<&[u8]> = journal.iter().map(AsRef::as_ref).collect();
    let bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
    let records = lines.len();

    header();
    let decode = rounds(|| read_inputs(&stream));
    row("read an input", count, stream.bytes as usize, &decode);
    let step = rounds(|| run(&stream));
    row("whole loop in memory", count, stream.bytes as usize, &step);

    let (decoding, ratio) = replays(&lines);
    let verifying = rounds(|| verify_all(&lines));
    row("journal: verify", records, bytes, &verifying);

    let halves = halves(&stream);
    let one = rounds(|| replay(&as_lines(&halves.0)));
    let two = rounds(|| {
        std::thread::scope(|scope| {
            let one = scope.spawn(|| replay(&as_lines(&halves.0)));
            let other = scope.spawn(|| replay(&as_lines(&halves.1)));
            (one.join(), other.join())
        })
    });
    let half: usize = halves.0.iter().map(|line| line.len()).sum();
    let both = half + halves.1.iter().map(|line| line.len()).sum::<usize>();
    row("replay, one partition", halves.0.len(), half, &one);
    row("replay, two on two cores", halves.0.len() + halves.1.len(), both, &two);

    let decide_ns = decide_one(&stream);
    println!();
    println!("decide, one input:                {decide_ns:>8.0} ns");
    target("replay against decode only", ratio, "x", 0.8, true);
    target("decode only", bytes as f64 / decoding.wall / 1e6, "MB/s", 500.0, true);
    let rate = |rounds: &[Round], n: usize| n as f64 / median(rounds).wall;
    let scale = rate(&two, halves.0.len() + halves.1.len()) / rate(&one, halves.0.len());
    target("two partitions against one", scale, "x", 1.8, true);
    let record = bytes as f64 / records as f64;
    let inputs = input_bytes(&lines);
    target("a journal record", record, "B", 200.0 + 1.7 * inputs, false);
    sizes();
    target("a timer", 16.0, "B", 40.0, false);
    disk::report(&stream);
    http::report(&stream);
    restarted(users);
}

/// Rounds of reading a journal, and of following it: the first, and how fast the second is beside it.
fn replays(lines: &[&[u8]]) -> (Round, f64) {
    let bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
    let mut loops = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        loops.0.push(timed(|| decode_only(lines)));
        loops.1.push(timed(|| replay(lines)));
    }
    row("journal: decode only", lines.len(), bytes, &loops.0);
    row("journal: replay", lines.len(), bytes, &loops.1);
    let decoding = median(&loops.0);
    (decoding, decoding.wall / median(&loops.1).wall)
}

fn flag(name: &str) -> bool {
    std::env::args().any(|arg| arg == name)
}

fn sizes() {
    let (idle, waiting) = sizes_at_rest();
    target("an idle user (one slot known)", idle as f64, "B", 128.0, false);
    target("a user with one waiting message", waiting as f64, "B", 200.0, false);
}

fn restarted(users: u64) {
    let found = restart::restart(users);
    let megabytes = found.bytes as f64 / 1e6;
    println!("\na checkpoint of {users} users, a message each: {megabytes:.0} MB");
    target("restart from it", found.restart, "s", 0.5, false);
    target("stall while it is taken, p99.9", found.stall.0 * 1e3, "ms", 5.0, false);
    let (before, during) = (found.steps.0 * 1e3, found.steps.1 * 1e3);
    println!("the longest stall: {:.1} ms", found.stall.1 * 1e3);
    println!("the longest step of 300 inputs: {before:.1} ms before, {during:.1} ms meanwhile");
}

fn header() {
    println!("{:<30}{:>12}{:>12}{:>12}", "", "M/s", "MB/s", "CPU µs each");
}

fn row(name: &str, count: usize, bytes: usize, rounds: &[Round]) {
    let round = median(rounds);
    println!(
        "{name:<30}{:>12.3}{:>12.0}{:>12.2}",
        count as f64 / round.wall / 1e6,
        bytes as f64 / round.wall / 1e6,
        round.cpu * 1e6 / count as f64,
    );
}

fn rounds<T>(mut work: impl FnMut() -> T) -> Vec<Round> {
    (0..ROUNDS).map(|_| timed(&mut work)).collect()
}

fn read_inputs(stream: &Stream) {
    let reader = Reader::default();
    for input in &stream.inputs {
        let _ = black_box(reader.read(&input.bytes, input.logged));
    }
}

/// The whole loop over a log in memory: read, decide, journal and commands written, state moved.
fn run(stream: &Stream) -> impl Sized {
    run_with(stream.inputs.iter(), drop)
}

/// The journal of these inputs.
fn journal_of<'a>(inputs: impl Iterator<Item = &'a Received>) -> Journal {
    let mut journal = Journal::new();
    run_with(inputs, |lines| journal.extend(lines));
    journal
}

fn run_with<'a>(
    inputs: impl Iterator<Item = &'a Received>,
    mut keep: impl FnMut(Journal),
) -> Worker<MemoryLog, BenchClock> {
    let clock = BenchClock::default();
    let mut worker = Worker::open(MemoryLog::default(), clock.clone(), Settings::default(), None)
        .expect("a log in memory");
    for (n, input) in inputs.enumerate() {
        worker.log().push(input.clone());
        if n % 100 == 99 {
            clock.0.set(input.logged);
            worker.step().expect("a log in memory");
            // What is kept would cost fresh memory: a log on disk keeps nothing.
            let log = worker.log();
            log.outputs.clear();
            keep(log.take_journal());
        }
    }
    worker.step().expect("a log in memory");
    keep(worker.log().take_journal());
    worker
}

fn decode_only(lines: &[&[u8]]) {
    for line in lines {
        black_box(Record::read(line).expect("our own journal"));
    }
}

/// The state that the lines add up to; whoever measures drops it when the clock has stopped.
fn replay(lines: &[&[u8]]) -> State {
    let mut state = State::default();
    for line in lines {
        let record = Record::read(line).expect("our own journal");
        state.apply(&record).expect("our own journal");
    }
    state
}

fn verify_all(lines: &[&[u8]]) {
    let (mut state, reader) = (State::default(), Reader::default());
    for line in lines {
        let record = Record::read(line).expect("our own journal");
        let verdict = verify(&state, &record, &reader).expect("our own journal");
        assert!(!matches!(verdict, Verdict::Differs { .. }), "{verdict:?}");
        state.apply(&record).expect("our own journal");
    }
}

/// A journal: its lines.
type Journal = Vec<Arc<[u8]>>;

/// The stream in two partitions, each with its journal.
fn halves(stream: &Stream) -> (Journal, Journal) {
    let reader = Reader::default();
    let even =
        |input: &&Received| match reader.read(&input.bytes, input.logged).map(|read| read.user) {
            Ok(Address::Tel(number)) => number.digits() % 2 == 0,
            _ => true,
        };
    let first = journal_of(stream.inputs.iter().filter(even));
    let second = journal_of(stream.inputs.iter().filter(|input| !even(input)));
    (first, second)
}

fn as_lines(lines: &[Arc<[u8]>]) -> Vec<&[u8]> {
    lines.iter().map(AsRef::as_ref).collect()
}

fn input_bytes(lines: &[&[u8]]) -> f64 {
    let inputs = lines.iter().filter_map(|line| {
        Record::read(line).ok().map(|record| record.input.map_or(0, |raw| raw.get().len()))
    });
    inputs.sum::<usize>() as f64 / lines.len() as f64
}

/// Nanoseconds for one decision on a user with a message, two devices, and an attach to take in.
fn decide_one(stream: &Stream) -> f64 {
    let (reader, policy) = (Reader::default(), Policy::default());
    let mut user: Option<User> = None;
    let wanted = ["message.submitted", "ims.registered", "cs.attached"];
    let mut inputs = Vec::new();
    for want in wanted {
        let found = stream
            .inputs
            .iter()
            .find(|input| input.bytes.windows(want.len()).any(|window| window == want.as_bytes()));
        let Some(input) = found else { continue };
        if let Ok(read) = reader.read(&input.bytes, input.logged) {
            inputs.push((read, input.logged));
        }
    }
    let Some((last, at)) = inputs.pop() else { return f64::NAN };
    for (read, at) in &inputs {
        let user = user.get_or_insert_with(|| User::new(read.user.clone()));
        for event in decide(user, &read.input, *at, &policy).unwrap_or_default() {
            user.evolve(&event);
        }
    }
    let user = user.unwrap_or_else(|| User::new(last.user.clone()));
    let times = 200_000;
    let round = timed(|| {
        for _ in 0..times {
            let _ = black_box(decide(black_box(&user), &last.input, at, &policy));
        }
    });
    round.wall * 1e9 / f64::from(times)
}

/// Bytes at rest, table entry included: of a user with one slot known, and of one with one waiting
/// message and two devices, its body aside.
fn sizes_at_rest() -> (usize, usize) {
    let (reader, policy) = (Reader::default(), Policy::default());
    let mut sizes = Vec::new();
    for script in [&IDLE[..], &WAITING[..]] {
        let mut user: Option<User> = None;
        let mut body = 0;
        for (n, (kind, data)) in script.iter().enumerate() {
            let at = stream::START + std::time::Duration::from_secs(n as u64);
            let json = format!(
                r#"{{"specversion":"1.0","id":"{n}","source":"/probe/1","type":"cpm.{kind}.v1","subject":"tel:+14155550100","time":"{at}","data":{data}}}"#
            );
            let read = reader.read(json.as_bytes(), at).expect("a bench input");
            let user = user.get_or_insert_with(|| User::new(read.user.clone()));
            for event in decide(user, &read.input, at, &policy).expect("a bench input") {
                user.evolve(&event);
            }
            body = user.messages.iter().map(|m| m.content.body.octets()).sum();
        }
        let user = user.expect("a bench user");
        let mut users = Users::default();
        let key = users.key(&user.address);
        users.put(key, user);
        sizes.push(users.bytes(key) - body);
    }
    (sizes.first().copied().unwrap_or(0), sizes.get(1).copied().unwrap_or(0))
}

const IDLE: [(&str, &str); 1] = [("cs.attached", "{}")];
const WAITING: [(&str, &str); 3] = [
    (
        "ims.registered",
        r#"{"device":{"instance":"urn:gsma:imei:35622410-483840-0"},"expires_at":"2026-11-21T09:00:00Z","cpm_capable":false}"#,
    ),
    (
        "ims.registered",
        r#"{"device":{"instance":"urn:uuid:4248bc23-1234-1234-1234-123456789012"},"expires_at":"2026-11-21T09:00:00Z","cpm_capable":false}"#,
    ),
    (
        "message.submitted",
        r#"{"message_id":"7QsgkAl8QZvr9XPF","from":"tel:+14155550199","kind":"pager","content_type":"text/plain","body":"0123456789"}"#,
    ),
];
