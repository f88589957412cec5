//! A data directory made by the real log and the real worker, on a clock that is set.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and says so"
)]
#![allow(dead_code, reason = "each test takes what it needs")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use deferd::domain::time::Timestamp;
use deferd::engine::checkpoint::Chunk;
use deferd::engine::intake::{Given, Intake};
use deferd::engine::ports::Clock;
use deferd::engine::worker::{Settings, Worker};
use deferd::log::embedded::{
    Directory, Embedded, EmbeddedTails, Frames, Inboxes, Limits, Lock, Options, Until,
};
use deferd::record::input::Reader;
use serde_json::Value;

use crate::samples;
use crate::seeded::{Chance, START, input, weighted};

/// A clock that is set, for all threads.
#[derive(Clone, Debug)]
pub(crate) struct SetClock(Arc<AtomicI64>);

impl SetClock {
    pub(crate) fn at(millis: i64) -> Self {
        Self(Arc::new(AtomicI64::new(millis)))
    }

    pub(crate) fn pass(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// A data directory, its partitions at work as far as somebody steps them.
pub(crate) struct DataDirectory {
    pub(crate) directory: Directory,
    pub(crate) clock: SetClock,
    pub(crate) inboxes: Arc<Inboxes<SetClock>>,
    pub(crate) workers: Vec<Worker<Embedded, SetClock>>,
    /// A random life: its chance, how many inputs it gave, and what was asked for.
    life: (Chance, usize, Vec<(String, String)>),
    _lock: Lock,
}

impl DataDirectory {
    /// A fresh one, for the test of this name.
    pub(crate) fn new(name: &str, partitions: u32, segment_bytes: u64) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("data-{name}"));
        drop(std::fs::remove_dir_all(&path));
        Self::open(&path, partitions, segment_bytes, SetClock::at(START))
    }

    /// One that may be there already.
    pub(crate) fn open(path: &Path, partitions: u32, segment_bytes: u64, clock: SetClock) -> Self {
        let (directory, lock) = Directory::claim(path, partitions, 7).unwrap();
        let limits = Limits { inputs: 10_000, bytes: 64 << 20 };
        let inboxes = Arc::new(Inboxes::new(partitions, limits, clock.clone()));
        let workers = (0..).zip(&inboxes.all).map(|(number, inbox)| {
            let options = Options { segment_bytes };
            let mut log = Embedded::open(&directory, number, Arc::clone(inbox), options).unwrap();
            log.caught_up();
            let settings = Settings::default();
            Worker::open(log, clock.clone(), settings, None).unwrap()
        });
        let workers = workers.collect();
        let life = (Chance::new(1), 0, Vec::new());
        Self { directory, clock, inboxes, workers, life, _lock: lock }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path.clone()
    }

    /// What it makes durable.
    pub(crate) fn tails(&mut self) -> EmbeddedTails {
        let ends = self.workers.iter_mut().map(|worker| worker.log().end()).collect();
        EmbeddedTails::new(self.directory.clone(), ends)
    }

    /// Hands inputs in, and takes them.
    pub(crate) fn take(&mut self, lines: &[impl AsRef<[u8]>]) {
        let given = lines.iter().map(|line| {
            let line = line.as_ref();
            let read = Reader::default().read(line, self.clock.now()).ok();
            let user = read.map(|read| read.user.to_string().into());
            Given { topic: "http".into(), offset: None, user, bytes: line.into() }
        });
        self.inboxes.give(given.collect(), Box::new(drop)).unwrap();
        self.step();
    }

    /// Lets every partition take what waits, and ring what is due.
    pub(crate) fn step(&mut self) {
        for worker in &mut self.workers {
            while worker.step().unwrap().records > 0 {}
        }
    }

    /// So many steps of a random life: time passes, inputs of all kinds come.
    pub(crate) fn live(&mut self, steps: usize) {
        let samples = weighted(samples::inputs());
        let mut followed: Vec<u64> =
            self.workers.iter().map(|worker| worker.state().next_seq).collect();
        for _ in 0..steps {
            let (chance, number, attempts) = &mut self.life;
            let spans = [0, 300, 1000, 2000, 15_000, 30_000, 60_000, 120_000, 900_000];
            self.clock.pass(*chance.pick(&spans));
            let recent = attempts.len().saturating_sub(6);
            let lines: Vec<Vec<u8>> = (0..chance.below(4))
                .map(|_| {
                    *number += 1;
                    input(chance, &samples, *number, self.clock.now(), &attempts[recent..])
                })
                .collect();
            self.take(&lines);
            for (partition, next) in (0..).zip(&mut followed) {
                let mut frames = Frames::open(&self.directory, partition, *next).unwrap();
                while let Some(frame) = frames.next(Until::End).unwrap() {
                    *next = frame.seq + 1;
                    for output in frame.outputs() {
                        let event: Value = serde_json::from_slice(output.bytes).unwrap();
                        if event["type"] == "cpm.delivery.requested.v1" {
                            let text = |field: &str| event[field].as_str().unwrap().to_owned();
                            self.life.2.push((text("id"), text("subject")));
                        }
                    }
                }
            }
        }
    }

    /// Keeps a snapshot of a partition as it is now. Its `seq`.
    pub(crate) fn keep_snapshot(&self, partition: u32) -> u64 {
        let state = self.workers[partition as usize].state();
        let chunks = state.checkpoint(self.directory.identity(partition));
        let last = chunks.len() - 1;
        let mut chunks =
            (0..).zip(chunks).map(|(number, bytes)| Chunk { bytes, is_last: number == last });
        self.directory.keep_snapshot(partition, state.next_seq, &mut chunks).unwrap();
        state.next_seq
    }

    /// The journal of a partition, a line a record.
    pub(crate) fn lines(&self, partition: u32) -> Vec<Vec<u8>> {
        let mut frames = Frames::oldest(&self.directory, partition).unwrap();
        let mut lines = Vec::new();
        while let Some(frame) = frames.next(Until::End).unwrap() {
            lines.push(frame.line.to_vec());
        }
        lines
    }
}

/// The segments of a partition, oldest first.
pub(crate) fn segments(directory: &Path, partition: u32) -> Vec<PathBuf> {
    let partition = directory.join(format!("partition-{partition}"));
    let files = std::fs::read_dir(partition).unwrap().map(|file| file.unwrap().path());
    let mut segments: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "journal")).collect();
    segments.sort();
    segments
}
