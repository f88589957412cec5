//! The partitions of the daemon: each opened and run on a thread of its own.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;

use super::keeper;
use super::signals::{Order, Orders};
use super::tidy::{Seen, Tidy};
use crate::cli::clock::{SteadyClock, Stopwatch};
use crate::cli::config::Config;
use crate::cli::measures::{Measures, Registry, Sources};
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;
use crate::engine::checkpoint;
use crate::engine::partition::Partition;
use crate::engine::ports::Store;
use crate::engine::shard::{self, Ask, Asks, Health};
use crate::engine::state::State;
use crate::engine::worker::{Hand, Settings, Worker};
use crate::log::embedded::{Directory, Embedded, EmbeddedTails, Inboxes, Options};

/// All shards.
#[derive(Debug)]
pub(super) struct Shards {
    /// A way to ask each.
    pub(super) asks: Vec<Asks>,
    /// How each is doing.
    pub(super) health: Vec<Arc<Health>>,
    /// What each last said of itself.
    pub(super) seen: Vec<Arc<Mutex<Seen>>>,
    /// How many are open.
    pub(super) open: Arc<AtomicUsize>,
    /// What they make durable.
    pub(super) tails: Arc<EmbeddedTails>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    ended: Mutex<Receiver<()>>,
    /// The policies that were in force since the start, by their digests.
    policies: Mutex<BTreeSet<String>>,
}

/// What the shards of a daemon share.
pub(super) struct World<'a> {
    pub(super) directory: &'a Directory,
    pub(super) inboxes: &'a Inboxes<SteadyClock>,
    pub(super) clock: &'a SteadyClock,
    pub(super) settings: &'a Settings,
    pub(super) config: &'a Config,
    pub(super) orders: &'a Orders,
    pub(super) registry: &'a Registry,
    /// Somebody still reads what came while we were down: nothing rings.
    pub(super) reading: &'a Arc<AtomicBool>,
    /// Up to which record of each partition the sinks have taken everything.
    pub(super) needed: &'a Arc<dyn Fn(u32) -> u64 + Send + Sync>,
}

impl Shards {
    /// Opens every partition, and runs it. They are restored on their own threads; [`Order::Open`] tells
    /// when all are.
    ///
    /// # Errors
    ///
    /// A partition cannot be read, or is damaged.
    pub(super) fn open(world: &World<'_>) -> anyhow::Result<Self> {
        let World { directory, inboxes, config, .. } = *world;
        let options = Options { segment_bytes: config.embedded.segment_bytes };
        let mut logs = Vec::new();
        for (number, inbox) in (0..).zip(&inboxes.all) {
            let log = Embedded::open(directory, number, Arc::clone(inbox), options)?;
            if let Some(cut) = log.cut() {
                let (path, offset, bytes) = (cut.path.display(), cut.offset, cut.bytes);
                tracing::warn!(segment = %path, offset, bytes, "a torn commit was cut: nobody was told of it");
            }
            logs.push(log);
        }
        let ends = logs.iter().map(Embedded::end).collect();
        let tails = Arc::new(EmbeddedTails::new(directory.clone(), ends));
        let (alive, ended) = channel();
        let mut shards = Self {
            asks: Vec::new(),
            health: Vec::new(),
            seen: Vec::new(),
            open: Arc::default(),
            tails,
            threads: Mutex::default(),
            ended: Mutex::new(ended),
            policies: Mutex::new(BTreeSet::from([world.settings.policy.digest()])),
        };
        let sources = Sources::default();
        for (log, inbox) in logs.into_iter().zip(&inboxes.all) {
            shards.spawn(world, log, &sources, inbox.waker(), &alive)?;
        }
        Ok(shards)
    }

    fn spawn(
        &mut self,
        world: &World<'_>,
        log: Embedded,
        sources: &Sources,
        waker: Arc<dyn Fn() + Send + Sync>,
        alive: &Sender<()>,
    ) -> anyhow::Result<()> {
        let number = log.partition();
        let (ask, questions) = channel();
        let asks = Asks::new(number, ask, waker);
        let (health, seen) = (Arc::new(Health::default()), Arc::new(Mutex::new(Seen::default())));
        let tidy = Tidy::new(world, number, Arc::clone(&seen))?;
        let shard = Shard {
            directory: world.directory.clone(),
            questions,
            health: Arc::clone(&health),
            orders: world.orders.clone(),
            open: Arc::clone(&self.open),
            measures: Measures::new(world.registry, sources, world.clock.clone()),
            tidy,
            _alive: alive.clone(),
        };
        let (settings, clock) = (world.settings.clone(), world.clock.clone());
        let thread = std::thread::Builder::new()
            .name(format!("partition-{number}"))
            .spawn(move || shard.run(log, clock, settings))
            .context("cannot start a thread")?;
        self.asks.push(asks);
        self.health.push(health);
        self.seen.push(seen);
        self.threads.get_mut().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// Whether all are restored.
    pub(super) fn are_open(&self) -> bool {
        self.open.load(Ordering::SeqCst) == self.asks.len()
    }

    /// What each shard last said of itself.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let seen =
            |seen: &Arc<Mutex<Seen>>| seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.seen.iter().map(seen).collect()
    }

    /// What has died, though nobody stopped it; `None`: nothing.
    pub(super) fn dead(&self) -> Option<String> {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let dead = threads.iter().position(|thread| thread.is_finished())?;
        Some(format!("partition {dead} has ended: see the log"))
    }

    /// How far the clock is behind what the journals say.
    pub(super) fn behind(&self, now: Timestamp) -> Option<Duration> {
        let last = self.seen().iter().map(|seen| seen.at).max()?;
        Some(last.since(now)).filter(|behind| *behind > Duration::from_secs(1))
    }

    /// The policies that were in force since the start.
    pub(super) fn policies(&self) -> Vec<String> {
        self.policies.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Decides by another policy from here on.
    pub(super) fn change_policy(&self, policy: &Policy, by: Option<&Hand>) {
        let digest = policy.digest();
        self.policies.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
        for asks in &self.asks {
            let (policy, by) = (policy.clone(), by.cloned());
            asks.ask(Box::new(move |desk| {
                if desk.state().policy.digest() != policy.digest() {
                    desk.change_policy(policy, by);
                }
            }));
        }
    }

    /// Lets every shard take what waits, and end. Whether all did so in time.
    pub(super) fn stop(&self, patience: Duration) -> bool {
        self.health.iter().for_each(|health| health.stop());
        // Woken by a question, so that none sleeps through it.
        self.asks.iter().for_each(|asks| asks.ask(Box::new(|_| {})));
        // The channel closes when the last shard has ended.
        let clock = Stopwatch::start();
        while clock.elapsed() < patience {
            let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            match ended.recv_timeout(patience.saturating_sub(clock.elapsed())) {
                Err(RecvTimeoutError::Disconnected) => {
                    let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
                    return threads.drain(..).all(|thread| thread.join().is_ok());
                }
                Err(RecvTimeoutError::Timeout) | Ok(()) => {}
            }
        }
        false
    }
}

/// One shard, on its thread.
struct Shard {
    directory: Directory,
    questions: Receiver<(u32, Ask)>,
    health: Arc<Health>,
    orders: Orders,
    open: Arc<AtomicUsize>,
    measures: Measures<SteadyClock>,
    tidy: Tidy,
    _alive: Sender<()>,
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
        self.open.fetch_add(1, Ordering::SeqCst);
        self.orders.give(Order::Open);
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
