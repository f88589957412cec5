//! Partitions at work for as long as their process lives: steps, questions, housekeeping.
//!
//! One thread a shard, and nothing shared: whoever wants to know or change something asks, and is
//! answered between two steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use super::observer::Observer;
use super::partition::Partition;
use super::ports::{Clock, Log, LogError};
use super::state::State;
use super::worker::{Hand, Worker, WorkerError};
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;

/// The longest wait for an input: housekeeping goes on meanwhile.
const TICK: Duration = Duration::from_millis(50);
/// The wait after a log that did not answer.
const AFTER_FAILURE: Duration = Duration::from_millis(200);

/// What may be asked of a partition.
pub trait Desk {
    /// The state as committed.
    fn state(&self) -> &State;
    /// What time it is for this partition: never before its last record.
    fn now(&self) -> Timestamp;
    /// Decides by another policy from the next step on; `by`: who changed it by hand.
    fn change_policy(&mut self, policy: Policy, by: Option<Hand>);
}

/// A partition, between two steps.
struct Between<'a> {
    partition: &'a mut Partition,
    now: Timestamp,
}

impl Desk for Between<'_> {
    fn state(&self) -> &State {
        self.partition.state()
    }

    fn now(&self) -> Timestamp {
        self.now.max(self.partition.state().at)
    }

    fn change_policy(&mut self, policy: Policy, by: Option<Hand>) {
        self.partition.change_policy(policy, by);
    }
}

/// A question, or an order.
pub type Ask = Box<dyn FnOnce(&mut dyn Desk) + Send>;

/// Asks one partition; cloned at will.
#[derive(Clone)]
pub struct Asks {
    partition: u32,
    send: Sender<(u32, Ask)>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Asks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asks").field("partition", &self.partition).finish_non_exhaustive()
    }
}

impl Asks {
    /// A way to ask a partition, by the other end of what its shard hears; `wake` ends the shard's wait
    /// for inputs.
    #[must_use]
    pub fn new(
        partition: u32,
        send: Sender<(u32, Ask)>,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self { partition, send, wake }
    }

    /// Asks; the answer is whatever the question does with what it sees. A shard that has ended, or does
    /// not hold the partition, drops it unasked.
    pub fn ask(&self, ask: Ask) {
        if self.send.send((self.partition, ask)).is_ok() {
            (self.wake)();
        }
    }
}

/// How a shard is doing; shared with whoever reports it.
#[derive(Debug, Default)]
pub struct Health {
    /// What the log said when it last did not answer; `None`: it does.
    trouble: std::sync::Mutex<Option<String>>,
    stop: AtomicBool,
}

impl Health {
    /// What is wrong, in words; `None`: nothing.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Asks the shard to take what waits, and to end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    fn set(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = trouble;
    }
}

/// Runs a shard until it is stopped: `tidy` is called between steps, and does what need not wait for one;
/// it says whether it wants to go on at once. What waits when it is stopped is still taken.
///
/// # Errors
///
/// [`WorkerError`]: the partition cannot go on; what was acknowledged is durable.
pub fn run<L: Log, C: Clock>(
    worker: &mut Worker<L, C>,
    asks: &Receiver<(u32, Ask)>,
    health: &Health,
    observer: &mut dyn Observer,
    mut tidy: impl FnMut(&mut Worker<L, C>) -> bool,
) -> Result<(), WorkerError> {
    let mut patience = Duration::ZERO;
    let mut failed = false;
    loop {
        answer(worker, asks);
        let stopping = health.stop.load(Ordering::SeqCst);
        let done = match worker.watched_step(patience, observer) {
            Ok(done) => done,
            Err(WorkerError::Log(LogError::Unavailable(why))) => {
                health.set(Some(why));
                failed = true;
                if stopping {
                    return Ok(());
                }
                tidy(worker);
                std::thread::sleep(AFTER_FAILURE);
                continue;
            }
            Err(error) => return Err(error),
        };
        if failed {
            failed = false;
            health.set(None);
        }
        let goes_on = tidy(worker);
        if done.records == 0 && stopping {
            return Ok(());
        }
        patience = if done.records > 0 || goes_on { Duration::ZERO } else { quiet_for(worker) };
    }
}

/// Answers what was asked of partitions that are whole; the others know nothing yet.
fn answer<L: Log, C: Clock>(worker: &mut Worker<L, C>, asks: &Receiver<(u32, Ask)>) {
    for (number, ask) in asks.try_iter() {
        let now = worker.clock().now();
        let partition = worker
            .partitions_mut()
            .iter_mut()
            .find(|partition| partition.number == number && partition.is_whole());
        if let Some(partition) = partition {
            ask(&mut Between { partition, now });
        }
    }
}

/// How long nothing is due: until the next alarm that may ring, and no longer than a tick.
fn quiet_for<L: Log, C: Clock>(worker: &mut Worker<L, C>) -> Duration {
    let now = worker.clock().now();
    match worker.next_alarm() {
        // Due, and yet it did not ring: the log holds it back.
        Some(at) if at <= now => Duration::from_millis(1),
        Some(at) => at.since(now).min(TICK),
        None => TICK,
    }
}
