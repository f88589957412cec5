//! The work that needs a disk: inputs in, durable, decided; segments replayed; alarms under load.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use deferd::domain::time::Timestamp;
use deferd::engine::intake::{Given, Intake, Refused};
use deferd::engine::observer::Observer;
use deferd::engine::ports::{Batch, Clock, Entry, Log};
use deferd::engine::shard::{self, Health};
use deferd::engine::state::State;
use deferd::engine::worker::{Settings, Worker};
use deferd::log::embedded::{Directory, Embedded, Frames, Inboxes, Limits, Options, Until};
use deferd::record::input::Reader;
use deferd::record::journal::Record;

use super::measure::{Round, median, target, timed};
use super::row;
use super::stream::{Real, Stream};

const LIMITS: Limits = Limits { inputs: 50_000, bytes: 256 << 20 };
const OPTIONS: Options = Options { segment_bytes: 128 << 20 };
/// What a client hands in at once.
const BATCH: usize = 100;
const ROUNDS: usize = 3;

/// A clock that the bench sets, for all threads.
#[derive(Clone, Debug, Default)]
struct Set(Arc<AtomicI64>);

impl Clock for Set {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// A data directory for one round, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}"));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Prints the table of the work that needs a disk.
pub(crate) fn report(stream: &Stream) {
    println!();
    let count = stream.inputs.len();
    append();
    let mut rounds = (Vec::new(), Vec::new());
    let mut decode = (Vec::new(), Vec::new());
    let mut sizes = (0, 0, 0);
    for _ in 0..ROUNDS {
        let one = Scratch::new("one");
        rounds.0.push(durable(stream, &one.0, 1));
        let two = Scratch::new("two");
        rounds.1.push(durable(stream, &two.0, 2));
        decode.0.push(timed(|| sizes = read_through(&one.0, 0)));
        decode.1.push(timed(|| drop(replay_through(&one.0, 0))));
    }
    let bytes = stream.bytes as usize;
    row("durable loop, one partition", count, bytes, &rounds.0);
    row("durable loop, two partitions", count, bytes, &rounds.1);
    let (records, lines, frames) = sizes;
    row("segments: decode only", records, lines, &decode.0);
    row("segments: replay", records, lines, &decode.1);
    println!();
    let rate = count as f64 / median(&rounds.1).wall / 1e6;
    target("durable loop, two partitions", rate, "M/s", 0.3, true);
    let ratio = median(&decode.0).wall / median(&decode.1).wall;
    target("segments: replay against decode", ratio, "x", 0.8, true);
    target("bytes on disk against records", frames as f64 / lines as f64, "x", 1.1, false);
    lateness();
}

/// The log alone: records of 293 bytes, 1,000 a commit.
fn append() {
    let scratch = Scratch::new("append");
    let (directory, _lock) = Directory::claim(&scratch.0, 1, 1).expect("a disk");
    let inboxes = Inboxes::new(1, LIMITS, Real);
    let inbox = Arc::clone(inboxes.all.first().expect("one partition"));
    let mut log = Embedded::open(&directory, 0, inbox, OPTIONS).expect("a disk");
    let line = vec![b'x'; 293];
    let records = 1_000_000_usize;
    let round = timed(|| {
        for commit in 0..records / 1000 {
            let entry =
                || Entry { line: line.clone(), user: None, outputs: Vec::new(), fate: None };
            let entries = (0..1000).map(|_| entry()).collect();
            let at = Timestamp::from_millis(1);
            let first_seq = commit as u64 * 1000;
            log.write(Batch { at, first_seq, entries, ..Batch::default() }).expect("a disk");
            log.commit().expect("a disk");
        }
    });
    row("durable append, 1,000 a commit", records, records * 293, &[round]);
    let rate = records as f64 / round.wall / 1e6;
    target("durable append", rate, "M/s", 1.0, true);
}

/// The whole stream through shards on their threads; the time until the last input is durable.
fn durable(stream: &Stream, path: &Path, partitions: u32) -> Round {
    let clock = Set::default();
    let (directory, _lock) = Directory::claim(path, partitions, 1).expect("a disk");
    let inboxes = Inboxes::new(partitions, LIMITS, clock.clone());
    let reader = Reader::default();
    // What an edge does with a request is not the log's work.
    let given: Vec<Vec<Given>> = stream
        .inputs
        .chunks(BATCH)
        .map(|batch| {
            let given = |input: &deferd::engine::ports::Received| Given {
                topic: "http".into(),
                offset: None,
                user: reader
                    .read(&input.bytes, input.logged)
                    .ok()
                    .map(|read| read.user.to_string().into()),
                bytes: Arc::clone(&input.bytes),
            };
            batch.iter().map(given).collect()
        })
        .collect();
    let start = stream.inputs.first().map_or(Timestamp::EPOCH, |input| input.logged);
    clock.0.store(start.as_millis(), Ordering::SeqCst);
    let healths: Vec<Health> = (0..partitions).map(|_| Health::default()).collect();
    std::thread::scope(|scope| {
        for (number, inbox) in (0..).zip(&inboxes.all) {
            let log = Embedded::open(&directory, number, Arc::clone(inbox), OPTIONS);
            let (mut log, clock) = (log.expect("a disk"), clock.clone());
            log.caught_up();
            let health = healths.get(number as usize).expect("one each");
            scope.spawn(move || {
                let (_asks, questions) = std::sync::mpsc::channel();
                let mut worker =
                    Worker::open(log, clock, Settings::default(), None).expect("a new log");
                shard::run(&mut worker, &questions, health, &mut (), |_| false).expect("a disk");
            });
        }
        let round = timed(|| {
            let (done, settled) = std::sync::mpsc::channel();
            let batches = given.len();
            for (number, batch) in given.into_iter().enumerate() {
                let at = i64::try_from(number * BATCH).unwrap_or(0);
                clock.0.store(start.as_millis() + at, Ordering::SeqCst);
                loop {
                    let done = done.clone();
                    let told = Box::new(move |_| done.send(()).unwrap_or_default());
                    match inboxes.give(batch.clone(), told) {
                        Ok(()) => break,
                        Err(Refused::Full) => std::thread::sleep(Duration::from_micros(200)),
                        Err(other) => panic!("{other}"),
                    }
                }
            }
            for _ in 0..batches {
                settled.recv().expect("every batch is answered");
            }
        });
        healths.iter().for_each(Health::stop);
        round
    })
}

/// Reads every record of a partition. How many, the bytes of their lines, and those of the segments.
fn read_through(path: &Path, partition: u32) -> (usize, usize, u64) {
    let directory = Directory::open(path).expect("a data directory");
    let mut frames = Frames::oldest(&directory, partition).expect("a partition");
    let (mut records, mut bytes) = (0, 0);
    while let Some(frame) = frames.next(Until::End).expect("a whole partition") {
        std::hint::black_box(Record::read(frame.line).expect("our own journal"));
        records += 1;
        bytes += frame.line.len() + frame.outputs().map(|output| output.bytes.len()).sum::<usize>();
    }
    let files = std::fs::read_dir(directory.partition(partition)).expect("a directory");
    let size = files.flatten().filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    (records, bytes, size)
}

fn replay_through(path: &Path, partition: u32) -> State {
    let directory = Directory::open(path).expect("a data directory");
    let mut frames = Frames::oldest(&directory, partition).expect("a partition");
    let mut state = State::default();
    while let Some(frame) = frames.next(Until::End).expect("a whole partition") {
        let record = Record::read(frame.line).expect("our own journal");
        state.apply(&record).expect("our own journal");
    }
    state
}

/// Keeps how late alarms rang, their commit included.
#[derive(Debug, Default)]
struct Late {
    ringing: Vec<Duration>,
    since: Option<Instant>,
    all: Arc<Mutex<Vec<Duration>>>,
}

impl Observer for Late {
    fn rang(&mut self, late: Duration) {
        self.since.get_or_insert_with(Instant::now);
        self.ringing.push(late);
    }

    fn committed(&mut self) {
        let took = self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        let late = self.ringing.drain(..).map(|late| late + took);
        self.all.lock().expect("no panic under it").extend(late);
    }
}

/// Alarms of a second (a device settles for 1 s) while 20,000 other inputs a second come in.
fn lateness() {
    const USERS: u64 = 20_000;
    let scratch = Scratch::new("late");
    let (directory, _lock) = Directory::claim(&scratch.0, 1, 1).expect("a disk");
    let inboxes = Inboxes::new(1, LIMITS, Real);
    let inbox = Arc::clone(inboxes.all.first().expect("one partition"));
    let mut log = Embedded::open(&directory, 0, inbox, OPTIONS).expect("a disk");
    log.caught_up();
    let all = Arc::new(Mutex::new(Vec::new()));
    let mut late = Late { all: Arc::clone(&all), ..Late::default() };
    let health = Health::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (_asks, questions) = std::sync::mpsc::channel();
            let mut settings = Settings::default();
            settings.policy.settle = Duration::from_secs(1);
            let mut worker = Worker::open(log, Real, settings, None).expect("a new log");
            shard::run(&mut worker, &questions, &health, &mut late, |_| false).expect("a disk");
        });
        let began = Instant::now();
        let mut sent = 0_u64;
        while sent < 5 * USERS {
            // 20,000 inputs a second, 20 at a time: a message and a registration for each user.
            let due = (began.elapsed().as_secs_f64() * 20_000.0) as u64;
            if sent >= due {
                std::thread::sleep(Duration::from_micros(300));
                continue;
            }
            let batch = (sent..sent + 20).map(|n| input(n / 2, n % 2 == 1, n)).collect();
            let _ = inboxes.give(batch, Box::new(|_| {}));
            sent += 20;
        }
        std::thread::sleep(Duration::from_millis(1500));
        health.stop();
    });
    let mut all = all.lock().expect("no panic under it").clone();
    all.sort();
    let p99 = all.get(all.len() * 99 / 100).copied().unwrap_or(Duration::MAX);
    println!("alarms that rang:                 {:>8}", all.len());
    target("lateness of an alarm, p99", p99.as_secs_f64() * 1000.0, "ms", 50.0, false);
}

fn input(user: u64, registers: bool, n: u64) -> Given {
    let user = format!("tel:+1415{:07}", 1_000_000 + user);
    let (kind, data) = if registers {
        let expires = Real.now() + Duration::from_secs(3600);
        let device = r#""device":{"contact":"sip:a@192.0.2.1"},"cpm_capable":true"#;
        ("ims.registered", format!(r#"{{{device},"expires_at":"{expires}"}}"#))
    } else {
        let data = r#"{"message_id":"m1","from":"tel:+14155550199","kind":"pager","content_type":"text/plain","body":"x"}"#;
        ("message.submitted", data.to_owned())
    };
    let bytes = format!(
        r#"{{"specversion":"1.0","id":"{n}","source":"/bench","type":"cpm.{kind}.v1","subject":"{user}","data":{data}}}"#
    );
    Given {
        topic: "http".into(),
        offset: None,
        bytes: bytes.into_bytes().into(),
        user: Some(user.into()),
    }
}
