//! Partitions at work for as long as their process lives: steps, questions, housekeeping.
//!
//! One thread a shard, and nothing shared: whoever wants to know or change something asks, and is
//! answered between two steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::observer::Observer;
use super::partition::Partition;
use super::ports::{Clock, Log, LogError};
use super::state::State;
use super::worker::{self, Worker, WorkerError};
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
    fn change_policy(&mut self, policy: Policy, by: Option<worker::Hand>);
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

    fn change_policy(&mut self, policy: Policy, by: Option<worker::Hand>) {
        self.partition.change_policy(policy, by);
    }
}

/// A question, or an order.
pub type Ask = Box<dyn FnOnce(&mut dyn Desk) + Send>;

/// Hands an ask to whoever holds a partition; drops it where nobody here does.
pub type Hand = Arc<dyn Fn(u32, Ask) + Send + Sync>;

/// Asks one partition; cloned at will.
#[derive(Clone)]
pub struct Asks {
    partition: u32,
    hand: Hand,
}

impl std::fmt::Debug for Asks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asks").field("partition", &self.partition).finish_non_exhaustive()
    }
}

impl Asks {
    /// A way to ask a partition.
    #[must_use]
    pub fn new(partition: u32, hand: Hand) -> Self {
        Self { partition, hand }
    }

    /// Asks; the answer is whatever the question does with what it sees. A shard that has ended, or does
    /// not hold the partition, drops it unasked.
    pub fn ask(&self, ask: Ask) {
        (self.hand)(self.partition, ask);
    }
}

/// Who is asked about which partition.
pub trait Desks: Send + Sync {
    /// How many partitions there are, here and elsewhere.
    fn partitions(&self) -> u32;

    /// Whoever decides for a partition; `None`: nobody here, now.
    fn of(&self, partition: u32) -> Option<Asks>;
}

impl Desks for Vec<Asks> {
    fn partitions(&self) -> u32 {
        u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    fn of(&self, partition: u32) -> Option<Asks> {
        self.get(partition as usize).cloned()
    }
}

/// Hands asks to one shard, which is woken by `wake` from its wait for inputs; the other end is for
/// [`run`].
#[must_use]
pub fn to_shard(wake: Arc<dyn Fn() + Send + Sync>) -> (Hand, Receiver<(u32, Ask)>) {
    let (send, receive) = channel();
    let hand: Hand = Arc::new(move |partition, ask| {
        if send.send((partition, ask)).is_ok() {
            wake();
        }
    });
    (hand, receive)
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
/// it says whether it wants to go on at once. What waits when it is stopped is still taken, unless the
/// log keeps it.
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
        if stopping && (done.records == 0 || worker.log().keeps_what_waits()) {
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
