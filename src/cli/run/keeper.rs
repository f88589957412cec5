//! Writes down the state of a partition on a thread of its own, as the shard hands it over in chunks.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::cli::clock::{SteadyClock, Stopwatch};
use crate::domain::time::Timestamp;
use crate::engine::checkpoint::Chunk;
use crate::engine::ports::{Clock, Store};
use crate::log::embedded::Directory;
use crate::store::DiskStore;

/// Chunks under way to the disk: 64 KiB each.
const UNDER_WAY: usize = 64;

/// What a shard hands over.
struct Job {
    /// The state is that before this record.
    seq: u64,
    /// A snapshot, so that the journal before it may go; else a checkpoint, which may be lost.
    is_snapshot: bool,
    chunks: Receiver<Chunk>,
}

/// What is kept so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept {
    /// The `seq` of the newest durable snapshot.
    pub(super) snapshot: u64,
    /// When the last checkpoint was whole, and how long it took.
    pub(super) checkpoint: Option<(Timestamp, std::time::Duration)>,
}

/// The thread of one partition.
#[derive(Debug)]
pub(super) struct Keeper {
    jobs: SyncSender<Job>,
    kept: Arc<Mutex<Kept>>,
    thread: JoinHandle<()>,
    /// Where the chunks of the job under way go, and one that had no room yet.
    under_way: Option<SyncSender<Chunk>>,
    waiting: std::collections::VecDeque<Chunk>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("seq", &self.seq).finish_non_exhaustive()
    }
}

impl Keeper {
    /// Starts the thread. Checkpoints go to `store`; snapshots to a data directory, where there is one.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub(super) fn start(
        partition: u32,
        store: DiskStore,
        snapshots: Option<Directory>,
        clock: SteadyClock,
    ) -> anyhow::Result<Self> {
        let kept =
            snapshots.as_ref().map(|directory| directory.snapshots(partition)).transpose()?;
        let snapshot = kept.and_then(|kept| kept.last().copied()).unwrap_or_default();
        let kept = Arc::new(Mutex::new(Kept { snapshot, checkpoint: None }));
        let (jobs, todo) = sync_channel(1);
        let told = Arc::clone(&kept);
        let work = move || keep(partition, store, snapshots.as_ref(), &clock, &todo, &told);
        let thread =
            std::thread::Builder::new().name(format!("checkpoint-{partition}")).spawn(work)?;
        let waiting = std::collections::VecDeque::new();
        Ok(Self { jobs, kept, thread, under_way: None, waiting })
    }

    /// What is kept so far.
    pub(super) fn kept(&self) -> Kept {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a job, and gives up the one under way. Whether there is room for it: else one is still
    /// being written.
    pub(super) fn begin(&mut self, seq: u64, is_snapshot: bool) -> bool {
        self.under_way = None;
        self.waiting.clear();
        let (send, chunks) = sync_channel(UNDER_WAY);
        let begun = self.jobs.try_send(Job { seq, is_snapshot, chunks }).is_ok();
        self.under_way = begun.then_some(send);
        begun
    }

    /// Begins the last checkpoint of all, after those that are still being written.
    pub(super) fn begin_last(&mut self, seq: u64) -> bool {
        self.under_way = None;
        self.waiting.clear();
        let (send, chunks) = sync_channel(UNDER_WAY);
        let begun = self.jobs.send(Job { seq, is_snapshot: false, chunks }).is_ok();
        self.under_way = begun.then_some(send);
        begun
    }

    /// Whether more chunks may be handed over now. Where nobody wants them any more there is always room.
    pub(super) fn has_room(&mut self) -> bool {
        while let (Some(send), Some(chunk)) = (&self.under_way, self.waiting.pop_front()) {
            match send.try_send(chunk) {
                Ok(()) => {}
                Err(TrySendError::Full(chunk)) => {
                    self.waiting.push_front(chunk);
                    return false;
                }
                // The disk refused it; the keeper has said so.
                Err(TrySendError::Disconnected(_)) => self.under_way = None,
            }
        }
        if self.under_way.is_none() {
            self.waiting.clear();
        }
        true
    }

    /// Hands chunks over, as soon as there is room.
    pub(super) fn take(&mut self, chunks: Vec<Chunk>) {
        self.waiting.extend(chunks);
        self.has_room();
    }

    /// Hands chunks over, and waits until there is room for them.
    pub(super) fn take_all(&mut self, chunks: Vec<Chunk>) {
        self.waiting.extend(chunks);
        if let Some(send) = &self.under_way
            && self.waiting.drain(..).try_for_each(|chunk| send.send(chunk)).is_err()
        {
            // The disk refused it; the keeper has said so.
            self.under_way = None;
        }
    }

    /// Waits until all that was handed over is written, and ends.
    pub(super) fn finish(self) {
        drop((self.under_way, self.jobs));
        let _ = self.thread.join();
    }
}

fn keep(
    partition: u32,
    mut store: DiskStore,
    snapshots: Option<&Directory>,
    clock: &SteadyClock,
    jobs: &Receiver<Job>,
    kept: &Mutex<Kept>,
) {
    for Job { seq, is_snapshot, chunks } in jobs {
        let watch = Stopwatch::start();
        let mut chunks = chunks.into_iter();
        let written = match snapshots.filter(|_| is_snapshot) {
            Some(directory) => directory
                .keep_snapshot(partition, seq, &mut chunks)
                .map_err(|fault| fault.to_string()),
            None => store.save(&mut chunks),
        };
        // What the disk refused is not handed over any longer.
        drop(chunks);
        let what = if is_snapshot { "snapshot" } else { "checkpoint" };
        match written {
            Ok(()) => {
                let took = watch.elapsed();
                let milliseconds = took.as_millis();
                tracing::debug!(partition, seq, milliseconds, "{what} kept");
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if is_snapshot {
                    kept.snapshot = seq;
                } else {
                    kept.checkpoint = Some((clock.now(), took));
                }
            }
            Err(why) => tracing::warn!(partition, seq, why, "no {what}: nothing is lost by it"),
        }
    }
}

/// Where the checkpoints of a partition of a data directory are kept.
pub(super) fn store(directory: &Directory, partition: u32) -> DiskStore {
    DiskStore::new(directory.partition(partition).join("checkpoint"))
}
