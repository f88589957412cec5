//! What a shard does between two steps: keeps its state, removes what is old, says how it is doing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::embedded::Waits;
use super::keeper::{self, Keeper};
use super::seen::{Report, Seen};
use super::shards::World;
use crate::cli::clock::{SteadyClock, Stopwatch};
use crate::cli::config::Embedded as Keys;
use crate::domain::time::Timestamp;
use crate::engine::ports::Clock;
use crate::engine::worker::Worker;
use crate::log::embedded::{Directory, Embedded};

/// Users written between two steps, as long as a checkpoint is under way.
const SLICE: usize = 1000;
/// How often old segments are looked for.
const RETENTION_EVERY: Duration = Duration::from_secs(10);

type EmbeddedWorker = Worker<Embedded, SteadyClock>;

/// What a shard does between its steps.
pub(super) struct Tidy {
    partition: u32,
    directory: Directory,
    clock: SteadyClock,
    keys: Keys,
    keeper: Keeper,
    /// A checkpoint or snapshot under way.
    writing: bool,
    /// The `seq` of the last checkpoint, and when it was begun.
    last: (u64, Stopwatch),
    /// The segment for which a snapshot was begun last.
    asked: u64,
    reading: Arc<AtomicBool>,
    /// When what fell due before the start may ring.
    rings_from: Timestamp,
    caught_up: bool,
    needed: Arc<dyn Fn(u32) -> u64 + Send + Sync>,
    looked: Stopwatch,
    report: Report,
}

impl Tidy {
    /// # Errors
    ///
    /// The snapshots cannot be listed, or no thread started.
    pub(super) fn new(
        world: &World<'_>,
        waits: &Waits,
        directory: &Directory,
        partition: u32,
        seen: Arc<Mutex<Seen>>,
    ) -> anyhow::Result<Self> {
        let keys = world.config.embedded.clone();
        Ok(Self {
            partition,
            directory: directory.clone(),
            clock: world.clock.clone(),
            keeper: Keeper::start(
                partition,
                keeper::store(directory, partition),
                Some(directory.clone()),
                world.clock.clone(),
            )?,
            writing: false,
            last: (0, Stopwatch::start()),
            asked: 0,
            reading: Arc::clone(&waits.reading),
            rings_from: world.clock.now() + Duration::from_secs(keys.catch_up_seconds.into()),
            caught_up: false,
            needed: Arc::clone(&waits.needed),
            looked: Stopwatch::start(),
            report: Report::to(seen),
            keys,
        })
    }

    /// The state was restored from what was kept at `seq`.
    pub(super) fn restored(&mut self, seq: u64) {
        self.last.0 = seq;
    }

    /// Does a little of everything. Whether there is more to do at once.
    pub(super) fn tidy(&mut self, worker: &mut EmbeddedWorker) -> bool {
        if !self.caught_up
            && self.clock.now() >= self.rings_from
            && !self.reading.load(Ordering::SeqCst)
        {
            self.caught_up = true;
            worker.log().caught_up();
        }
        self.keep(worker);
        if self.looked.elapsed() >= RETENTION_EVERY {
            self.looked = Stopwatch::start();
            self.remove_old(worker);
            // One that the disk refused is taken again.
            if !self.writing {
                self.asked = self.keeper.kept().snapshot;
            }
        }
        let bytes = worker.log().bytes();
        self.report.go_on(worker.only(), self.clock.now(), |seen| {
            seen.bytes = bytes;
            seen.kept = self.keeper.kept();
        });
        self.writing && self.keeper.has_room()
    }

    /// Begins a checkpoint when one is due, a snapshot when a segment has begun; goes on with either.
    fn keep(&mut self, worker: &mut EmbeddedWorker) {
        let (segment, seq) = (worker.log().segment(), worker.state().next_seq);
        let wants_snapshot = segment > self.keeper.kept().snapshot && segment > self.asked;
        let is_due = self.last.1.elapsed().as_secs() >= self.keys.checkpoint_seconds.into()
            && seq > self.last.0;
        if (wants_snapshot || is_due && !self.writing) && self.keeper.begin(seq, wants_snapshot) {
            worker.only().begin_checkpoint(self.directory.identity(self.partition));
            self.writing = true;
            self.last = (seq, Stopwatch::start());
            self.asked = if wants_snapshot { segment } else { self.asked };
        }
        if self.writing && self.keeper.has_room() {
            let chunks = worker.only().checkpoint_slice(SLICE);
            self.writing = !chunks.iter().any(|chunk| chunk.is_last);
            self.keeper.take(chunks);
        }
    }

    fn remove_old(&self, worker: &mut EmbeddedWorker) {
        let needed = self.keeper.kept().snapshot.min((self.needed)(self.partition));
        let age = Duration::from_secs(3600 * u64::from(self.keys.retention_hours));
        let most = match self.keys.retention_bytes {
            0 => u64::MAX,
            bytes => bytes,
        };
        let before = self.clock.now() - age;
        let removed = worker.log().remove_before(needed, before, most);
        let oldest = worker.log().oldest();
        let removed = removed.and_then(|segments| {
            self.directory.remove_snapshots_before(self.partition, oldest)?;
            Ok(segments)
        });
        match removed {
            Ok(0) => {}
            Ok(segments) => {
                let partition = self.partition;
                tracing::info!(partition, segments, oldest, "old segments removed");
            }
            Err(fault) => tracing::warn!("old segments stay: {fault}"),
        }
    }

    /// The last checkpoint, so that the next start has nothing to replay.
    pub(super) fn finish(mut self, mut worker: EmbeddedWorker) {
        let seq = worker.state().next_seq;
        // One that is under way is of an older state: it is given up for this one.
        if (self.writing || seq > self.last.0) && self.keeper.begin_last(seq) {
            worker.only().begin_checkpoint(self.directory.identity(self.partition));
            while worker.state().is_cut() {
                self.keeper.take_all(worker.only().checkpoint_slice(SLICE));
            }
        }
        self.keeper.finish();
    }
}
