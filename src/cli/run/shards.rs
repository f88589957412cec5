//! The partitions of the daemon, whatever log they are on: how to ask them, how they are doing, how they end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;

use super::seen::Seen;
use super::signals::Orders;
use crate::cli::clock::{SteadyClock, Stopwatch};
use crate::cli::config::Config;
use crate::cli::measures::Registry;
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;
use crate::engine::shard::{Asks, Hand, Health};
use crate::engine::worker::{self, Settings};

/// What the shards of a daemon share.
pub(super) struct World<'a> {
    pub(super) clock: &'a SteadyClock,
    pub(super) settings: &'a Settings,
    pub(super) config: &'a Config,
    pub(super) orders: &'a Orders,
    pub(super) registry: &'a Registry,
}

/// All shards.
#[derive(Debug)]
pub(super) struct Shards {
    /// A way to ask each partition.
    pub(super) asks: Vec<Asks>,
    /// How each shard is doing.
    pub(super) health: Vec<Arc<Health>>,
    /// What is still to be done before the daemon is ready.
    pub(super) pending: Arc<Pending>,
    /// What each partition last said of itself; one that is elsewhere says nothing.
    seen: Vec<Arc<Mutex<Seen>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    alive: Mutex<Option<Sender<()>>>,
    ended: Mutex<Receiver<()>>,
    /// The policy in force.
    policy: Arc<Mutex<Policy>>,
    /// The policies that were in force since the start, by their digests.
    policies: Mutex<BTreeSet<String>>,
}

/// What stands between the daemon and being ready, in words; and why it takes so long, where that is known.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<BTreeMap<String, Option<String>>>);

impl Pending {
    /// This is to be waited for.
    pub(super) fn add(&self, what: &str) {
        lock(&self.0).insert(what.to_owned(), None);
    }

    /// Why it takes so long.
    pub(super) fn explain(&self, what: &str, why: String) {
        if let Some(place) = lock(&self.0).get_mut(what) {
            *place = Some(why);
        }
    }

    /// This is done. Whether nothing is left.
    pub(super) fn done(&self, what: &str) -> bool {
        let mut left = lock(&self.0);
        left.remove(what);
        left.is_empty()
    }

    /// The first of what is left; what can be explained before what cannot.
    pub(super) fn first(&self) -> Option<String> {
        let left = lock(&self.0);
        let explained =
            left.iter().find_map(|(what, why)| Some(format!("{what}: {}", why.as_ref()?)));
        explained.or_else(|| left.keys().next().cloned())
    }
}

impl Shards {
    /// None yet, for so many partitions, asked by way of `hands`.
    pub(super) fn new(hands: Vec<Hand>, policy: &Policy) -> Self {
        let (alive, ended) = channel();
        let asks: Vec<_> = (0..).zip(hands).map(|(number, hand)| Asks::new(number, hand)).collect();
        Self {
            seen: asks.iter().map(|_| Arc::default()).collect(),
            asks,
            health: Vec::new(),
            pending: Arc::default(),
            threads: Mutex::default(),
            alive: Mutex::new(Some(alive)),
            ended: Mutex::new(ended),
            policies: Mutex::new(BTreeSet::from([policy.digest()])),
            policy: Arc::new(Mutex::new(policy.clone())),
        }
    }

    /// Starts a shard on a thread of its own.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub(super) fn spawn(
        &mut self,
        name: String,
        health: Arc<Health>,
        work: impl FnOnce() + Send + 'static,
    ) -> anyhow::Result<()> {
        let alive = lock(&self.alive).clone();
        let work = move || {
            let _alive = alive;
            work();
        };
        let thread = std::thread::Builder::new().name(name).spawn(work);
        lock(&self.threads).push(thread.context("cannot start a thread")?);
        self.health.push(health);
        Ok(())
    }

    /// Where a partition says how it is doing.
    pub(super) fn place(&self, partition: u32) -> Arc<Mutex<Seen>> {
        self.seen.get(partition as usize).cloned().unwrap_or_default()
    }

    /// The policy in force, for whoever takes on a partition.
    pub(super) fn policy(&self) -> Arc<Mutex<Policy>> {
        Arc::clone(&self.policy)
    }

    /// What each partition last said of itself, those elsewhere left out.
    pub(super) fn seen(&self) -> Vec<(u32, Seen)> {
        let seen = (0..).zip(&self.seen).map(|(number, seen)| (number, lock(seen).clone()));
        seen.filter(|(_, seen)| seen.is_here).collect()
    }

    /// What has died, though nobody stopped it; `None`: nothing.
    pub(super) fn dead(&self) -> Option<String> {
        let threads = lock(&self.threads);
        let dead = threads.iter().find(|thread| thread.is_finished())?;
        Some(format!("{} has ended: see the log", dead.thread().name().unwrap_or("a shard")))
    }

    /// How far the clock is behind what the journals say.
    pub(super) fn behind(&self, now: Timestamp) -> Option<Duration> {
        let last = self.seen().iter().map(|(_, seen)| seen.at).max()?;
        Some(last.since(now)).filter(|behind| *behind > Duration::from_secs(1))
    }

    /// The policies that were in force since the start.
    pub(super) fn policies(&self) -> Vec<String> {
        lock(&self.policies).iter().cloned().collect()
    }

    /// Decides by another policy from here on.
    pub(super) fn change_policy(&self, policy: &Policy, by: Option<&worker::Hand>) {
        let digest = policy.digest();
        *lock(&self.policy) = policy.clone();
        lock(&self.policies).insert(digest);
        for asks in &self.asks {
            let (policy, by) = (policy.clone(), by.cloned());
            asks.ask(Box::new(move |desk| {
                if desk.state().policy.digest() != policy.digest() {
                    desk.change_policy(policy, by);
                }
            }));
        }
    }

    /// Lets every shard finish what it has begun, and end. Whether all did so in time.
    pub(super) fn stop(&self, patience: Duration) -> bool {
        self.health.iter().for_each(|health| health.stop());
        // Woken by a question, so that none sleeps through it.
        self.asks.iter().for_each(|asks| asks.ask(Box::new(|_| {})));
        // The channel closes when the last shard has ended.
        drop(lock(&self.alive).take());
        let clock = Stopwatch::start();
        while clock.elapsed() < patience {
            let waited = lock(&self.ended).recv_timeout(patience.saturating_sub(clock.elapsed()));
            match waited {
                Err(RecvTimeoutError::Disconnected) => {
                    return lock(&self.threads).drain(..).all(|thread| thread.join().is_ok());
                }
                Err(RecvTimeoutError::Timeout) | Ok(()) => {}
            }
        }
        false
    }
}

/// What is guarded; a thread that died with it left it whole.
pub(super) fn lock<T>(guarded: &Mutex<T>) -> MutexGuard<'_, T> {
    guarded.lock().unwrap_or_else(PoisonError::into_inner)
}
