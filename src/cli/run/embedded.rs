//! The daemon on its data directory: a thread a partition, inputs by HTTP and from files, sinks.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Receiver;

use anyhow::anyhow;

use super::shards::{Pending, Shards, World};
use super::signals::{Order, Orders};
use super::tidy::Tidy;
use super::{Backend, keeper, random};
use crate::cli::BadConfig;
use crate::cli::clock::{SteadyClock, Stopwatch};
use crate::cli::config::Config;
use crate::cli::measures::{Measures, Sources};
use crate::edge::http::Feeds;
use crate::engine::checkpoint;
use crate::engine::intake::Intake;
use crate::engine::partition::Partition;
use crate::engine::ports::Store;
use crate::engine::shard::{self, Ask, Health};
use crate::engine::state::State;
use crate::engine::tail::Journals;
use crate::engine::worker::{Settings, Worker};
use crate::log::embedded::{
    Directory, Embedded, EmbeddedTails, Inboxes, Limits, Lock, LogFault, Options,
};

/// What only the shards of a data directory know.
pub(super) struct Waits {
    /// Somebody still reads what came while we were down: nothing rings.
    pub(super) reading: Arc<AtomicBool>,
    /// Up to which record of each partition the sinks have taken everything.
    pub(super) needed: Arc<dyn Fn(u32) -> u64 + Send + Sync>,
}

/// Claims the data directory.
///
/// # Errors
///
/// [`BadConfig`]: it has another number of partitions; else it cannot be used.
pub(super) fn claim(config: &Config) -> anyhow::Result<(Directory, Lock)> {
    let (path, partitions) = (&config.run.data_dir, config.embedded.partitions);
    Directory::claim(path, partitions, u64::from_le_bytes(random()?)).map_err(|fault| {
        let is_config = matches!(fault, LogFault::Partitions { .. });
        if is_config { BadConfig(fault.into()).into() } else { anyhow!(fault) }
    })
}

/// Opens every partition, and runs it. They are restored on their own threads; [`Order::Open`] tells when
/// all are.
///
/// # Errors
///
/// A partition cannot be read, or is damaged.
pub(super) fn open(
    world: &World<'_>,
    waits: &Waits,
    (directory, lock): (Directory, Lock),
) -> anyhow::Result<Backend> {
    let embedded = &world.config.embedded;
    let limits = Limits {
        inputs: embedded.queue_inputs as usize,
        bytes: usize::try_from(embedded.queue_bytes).unwrap_or(usize::MAX),
    };
    let inboxes = Arc::new(Inboxes::new(embedded.partitions, limits, world.clock.clone()));
    let options = Options { segment_bytes: embedded.segment_bytes };
    let mut logs = Vec::new();
    for (number, inbox) in (0..).zip(&inboxes.all) {
        let log = Embedded::open(&directory, number, Arc::clone(inbox), options)?;
        if let Some(cut) = log.cut() {
            let (path, offset, bytes) = (cut.path.display(), cut.offset, cut.bytes);
            tracing::warn!(segment = %path, offset, bytes, "a torn commit was cut: nobody was told of it");
        }
        logs.push(log);
    }
    let ends = logs.iter().map(Embedded::end).collect();
    let tails = Arc::new(EmbeddedTails::new(directory.clone(), ends));
    let (hands, questions): (Vec<_>, Vec<_>) =
        inboxes.all.iter().map(|inbox| shard::to_shard(inbox.waker())).unzip();
    let mut shards = Shards::new(hands, &world.settings.policy);
    for log in &logs {
        shards.pending.add(&restoring(log.partition()));
    }
    let sources = Sources::default();
    for (log, questions) in logs.into_iter().zip(questions) {
        let number = log.partition();
        let health = Arc::new(Health::default());
        let shard = Shard {
            directory: directory.clone(),
            questions,
            health: Arc::clone(&health),
            orders: world.orders.clone(),
            pending: Arc::clone(&shards.pending),
            measures: Measures::new(world.registry, &sources, world.clock.clone()),
            tidy: Tidy::new(world, waits, &directory, number, shards.place(number))?,
        };
        let (settings, clock) = (world.settings.clone(), world.clock.clone());
        let name = format!("partition-{number}");
        shards.spawn(name, health, move || shard.run(log, clock, settings))?;
    }
    Ok(Backend {
        desks: Arc::new(shards.asks.clone()),
        shards: Arc::new(shards),
        intake: Arc::clone(&inboxes) as Arc<dyn Intake>,
        journals: Arc::clone(&tails) as Arc<dyn Journals>,
        feeds: Feeds::Here(tails),
        inboxes: Some(inboxes),
        post: None,
        _lock: lock,
    })
}

/// What is waited for, in words.
pub(super) fn restoring(partition: u32) -> String {
    format!("partition {partition} is still being restored")
}

/// One shard, on its thread.
struct Shard {
    directory: Directory,
    questions: Receiver<(u32, Ask)>,
    health: Arc<Health>,
    orders: Orders,
    pending: Arc<Pending>,
    measures: Measures<SteadyClock>,
    tidy: Tidy,
}

impl Shard {
    fn run(mut self, log: Embedded, clock: SteadyClock, settings: Settings) {
        let partition = log.partition();
        let watch = Stopwatch::start();
        let kept = kept_state(&self.directory, &log);
        let from = kept.as_ref().map_or(0, |state| state.next_seq);
        let on = Partition::new(partition, kept.unwrap_or_default());
        let mut worker = match Worker::on(on, log, clock, settings) {
            Ok(worker) => worker,
            Err(error) => {
                return self.orders.give(Order::Failed(format!("partition {partition}: {error}")));
            }
        };
        let (users, seq) = (worker.state().users.len(), worker.state().next_seq);
        let milliseconds = watch.elapsed().as_millis();
        tracing::info!(partition, users, replayed = seq - from, seq, milliseconds, "restored");
        self.tidy.restored(from);
        if self.pending.done(&restoring(partition)) {
            self.orders.give(Order::Open);
        }
        let tidy = &mut self.tidy;
        let ran = shard::run(&mut worker, &self.questions, &self.health, &mut self.measures, |w| {
            tidy.tidy(w)
        });
        match ran {
            Ok(()) => self.tidy.finish(worker),
            Err(error) => {
                self.orders.give(Order::Failed(format!("partition {partition}: {error}")));
            }
        }
    }
}

/// The state that is kept beside a journal: its checkpoint, or its newest snapshot; `None`: the journal is
/// read from its start.
fn kept_state(directory: &Directory, log: &Embedded) -> Option<State> {
    let partition = log.partition();
    let journal = log.oldest()..=log.end().place().seq;
    let mut store = keeper::store(directory, partition);
    match checkpoint::load(&mut store, directory.identity(partition)) {
        Ok(Some(state)) if journal.contains(&state.next_seq) => return Some(state),
        Ok(Some(state)) => {
            let seq = state.next_seq;
            tracing::warn!(partition, seq, "the checkpoint is of another journal: dropped");
            store.discard();
        }
        Ok(None) => {}
        Err(why) => tracing::warn!(partition, why, "the checkpoint was dropped"),
    }
    let snapshots = match directory.snapshots(partition) {
        Ok(snapshots) => snapshots,
        Err(fault) => {
            tracing::warn!(partition, "no snapshot: {fault}");
            return None;
        }
    };
    for seq in snapshots.into_iter().rev().filter(|seq| journal.contains(seq)) {
        match directory.snapshot(partition, seq) {
            Ok(state) => return Some(state),
            Err(fault) => tracing::warn!(partition, seq, "a snapshot cannot be used: {fault}"),
        }
    }
    None
}
