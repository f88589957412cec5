//! The partitions of the daemon: each opened and run on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;

use super::signals::{Order, Orders};
use crate::cli::clock::{SteadyClock, Stopwatch};
use crate::cli::config::Config;
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;
use crate::engine::ports::Clock;
use crate::engine::shard::{self, Ask, Asks, Health};
use crate::engine::worker::{Hand, Settings, Worker};
use crate::log::embedded::{Directory, Embedded, EmbeddedTails, Inboxes, Options};

type EmbeddedWorker = Worker<Embedded, SteadyClock>;

/// All shards.
#[derive(Debug)]
pub(super) struct Shards {
    /// A way to ask each.
    pub(super) asks: Vec<Asks>,
    /// How each is doing.
    pub(super) health: Vec<Arc<Health>>,
    /// How many are open.
    pub(super) open: Arc<AtomicUsize>,
    /// What they make durable.
    pub(super) tails: Arc<EmbeddedTails>,
    threads: Vec<JoinHandle<()>>,
    ended: Receiver<()>,
}

/// What a shard does between its steps.
struct Tidy {
    clock: SteadyClock,
    /// When what fell due before the start may ring.
    rings_from: Timestamp,
    /// Somebody still reads what came while we were down.
    reading: Arc<AtomicBool>,
    caught_up: bool,
}

impl Shards {
    /// Opens every partition, and runs it. They are restored on their own threads; [`Order::Open`] tells
    /// when all are. As long as somebody is `reading` what came while we were down, nothing rings.
    ///
    /// # Errors
    ///
    /// A partition cannot be read, or is damaged.
    pub(super) fn open(
        directory: &Directory,
        inboxes: &Inboxes<SteadyClock>,
        clock: &SteadyClock,
        settings: &Settings,
        config: &Config,
        orders: &Orders,
        reading: &Arc<AtomicBool>,
    ) -> anyhow::Result<Self> {
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
            open: Arc::default(),
            tails,
            threads: Vec::new(),
            ended,
        };
        for ((number, inbox), log) in (0_u32..).zip(&inboxes.all).zip(logs) {
            let waker = Arc::clone(inbox);
            let (asks, questions) = Asks::new(Arc::new(move || waker.wake()));
            let health = Arc::new(Health::default());
            let shard = Shard {
                questions,
                health: Arc::clone(&health),
                orders: orders.clone(),
                open: Arc::clone(&shards.open),
                partitions: inboxes.all.len(),
                _alive: alive.clone(),
            };
            let tidy = Tidy {
                clock: clock.clone(),
                rings_from: clock.now()
                    + Duration::from_secs(config.embedded.catch_up_seconds.into()),
                reading: Arc::clone(reading),
                caught_up: false,
            };
            let (settings, clock) = (settings.clone(), clock.clone());
            let thread = std::thread::Builder::new()
                .name(format!("partition-{number}"))
                .spawn(move || shard.run(number, log, clock, settings, tidy))
                .context("cannot start a thread")?;
            shards.asks.push(asks);
            shards.health.push(health);
            shards.threads.push(thread);
        }
        Ok(shards)
    }

    /// Decides by another policy from here on.
    pub(super) fn change_policy(&self, policy: &Policy, by: Option<&Hand>) {
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
    pub(super) fn stop(self, patience: Duration) -> bool {
        self.health.iter().for_each(|health| health.stop());
        // Woken by a question, so that none sleeps through it.
        self.asks.iter().for_each(|asks| asks.ask(Box::new(|_| {})));
        // The channel closes when the last shard has ended.
        let clock = Stopwatch::start();
        while clock.elapsed() < patience {
            match self.ended.recv_timeout(patience.saturating_sub(clock.elapsed())) {
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                    return self.threads.into_iter().all(|thread| thread.join().is_ok());
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) | Ok(()) => {}
            }
        }
        false
    }
}

/// One shard, on its thread.
struct Shard {
    questions: Receiver<Ask>,
    health: Arc<Health>,
    orders: Orders,
    open: Arc<AtomicUsize>,
    partitions: usize,
    _alive: Sender<()>,
}

impl Shard {
    fn run(
        self,
        number: u32,
        log: Embedded,
        clock: SteadyClock,
        settings: Settings,
        mut tidy: Tidy,
    ) {
        let watch = Stopwatch::start();
        let mut worker = match Worker::open(log, clock, settings, None) {
            Ok(worker) => worker,
            Err(error) => {
                return self.orders.give(Order::Failed(format!("partition {number}: {error}")));
            }
        };
        let (users, seq) = (worker.state().users.len(), worker.state().next_seq);
        let took = watch.elapsed().as_millis();
        tracing::info!(partition = number, users, seq, milliseconds = took, "partition restored");
        if self.open.fetch_add(1, Ordering::SeqCst) + 1 == self.partitions {
            self.orders.give(Order::Open);
        }
        let ran = shard::run(&mut worker, &self.questions, &self.health, &mut (), |worker, _| {
            tidy.tidy(worker);
        });
        if let Err(error) = ran {
            self.orders.give(Order::Failed(format!("partition {number}: {error}")));
        }
    }
}

impl Tidy {
    fn tidy(&mut self, worker: &mut EmbeddedWorker) {
        if !self.caught_up
            && self.clock.now() >= self.rings_from
            && !self.reading.load(Ordering::SeqCst)
        {
            self.caught_up = true;
            worker.log().caught_up();
        }
    }
}
