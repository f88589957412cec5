//! The inputs that wait for a partition: bounded, in order, each answered once it is durable.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::domain::time::Timestamp;
use crate::engine::intake::{Given, Intake, Refused, Ticket, Told, partition_of};
use crate::engine::ports::{Clock, Position, Received};

/// An input that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) received: Received,
    pub(super) ticket: Ticket,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// The last number given to an input of each topic.
    last: FxHashMap<Arc<str>, u64>,
    woken: bool,
    closed: bool,
}

impl Queue {
    fn push(&mut self, given: Given, partition: u32, logged: Timestamp, ticket: Ticket) {
        let offset = given.offset.unwrap_or_else(|| {
            let last = self.last.entry(Arc::clone(&given.topic)).or_default();
            *last += 1;
            *last
        });
        let position = Position { topic: given.topic, partition, offset };
        self.bytes += given.bytes.len();
        let received = Received { position, logged, bytes: given.bytes };
        self.waiting.push_back(Waiting { received, ticket });
    }
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Inputs.
    pub inputs: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// The inputs that wait for one partition.
#[derive(Debug)]
pub struct Inbox {
    limits: Limits,
    queue: Mutex<Queue>,
    filled: Condvar,
}

impl Inbox {
    /// An empty one.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, queue: Mutex::default(), filled: Condvar::new() }
    }

    /// How many inputs wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes no more inputs; what waits is still handed out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.wake();
    }

    /// Calls [`wake`](Self::wake), for whoever knows nothing of inboxes.
    #[must_use]
    pub fn waker(self: &Arc<Self>) -> Arc<dyn Fn() + Send + Sync> {
        let inbox = Arc::clone(self);
        Arc::new(move || inbox.wake())
    }

    /// Ends the wait of whoever takes the inputs.
    pub fn wake(&self) {
        self.lock().woken = true;
        self.filled.notify_one();
    }

    /// The inputs of a topic go on after this number.
    pub(super) fn resume(&self, position: &Position) {
        let mut queue = self.lock();
        let last = queue.last.entry(Arc::clone(&position.topic)).or_default();
        *last = (*last).max(position.offset);
    }

    /// Hands out what waits, at most `most`, oldest first; waits for the first no longer than `patience`.
    pub(super) fn take(&self, most: usize, patience: Duration) -> Vec<Waiting> {
        let mut queue = self.lock();
        if !patience.is_zero() {
            let nothing =
                |queue: &mut Queue| queue.waiting.is_empty() && !queue.woken && !queue.closed;
            let waited = self.filled.wait_timeout_while(queue, patience, nothing);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.woken = false;
        let count = most.min(queue.waiting.len());
        let taken: Vec<Waiting> = queue.waiting.drain(..count).collect();
        queue.bytes -= taken.iter().map(|waiting| waiting.received.bytes.len()).sum::<usize>();
        taken
    }

    /// When the input that comes next was handed in.
    pub(super) fn next_logged(&self) -> Option<Timestamp> {
        self.lock().waiting.front().map(|waiting| waiting.received.logged)
    }

    /// The queue, where there is room for so many inputs of so many bytes.
    fn room_for(&self, inputs: usize, bytes: usize) -> Result<MutexGuard<'_, Queue>, Refused> {
        let queue = self.lock();
        if queue.closed {
            return Err(Refused::Closed);
        }
        if inputs > self.limits.inputs || bytes > self.limits.bytes {
            return Err(Refused::TooMany("send fewer, or raise embedded.queue_inputs"));
        }
        if queue.waiting.len() + inputs > self.limits.inputs
            || queue.bytes + bytes > self.limits.bytes
        {
            return Err(Refused::Full);
        }
        Ok(queue)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All inboxes of a data directory.
pub struct Inboxes<C> {
    /// One a partition.
    pub all: Vec<Arc<Inbox>>,
    clock: C,
}

impl<C> std::fmt::Debug for Inboxes<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inboxes").field("all", &self.all).finish_non_exhaustive()
    }
}

impl<C> Inboxes<C> {
    /// Empty ones; what is handed in is stamped by `clock`.
    pub fn new(partitions: u32, limits: Limits, clock: C) -> Self {
        let all = (0..partitions).map(|_| Arc::new(Inbox::new(limits))).collect();
        Self { all, clock }
    }

    fn partition(&self, given: &Given) -> usize {
        let partitions = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        given.user.as_deref().map_or(0, |user| partition_of(user, partitions) as usize)
    }
}

impl<C: Clock + Send + Sync> Intake for Inboxes<C> {
    fn give(&self, given: Vec<Given>, told: Told) -> Result<(), Refused> {
        let mut wanted: Vec<(usize, usize)> = vec![(0, 0); self.all.len()];
        for given in &given {
            let Some((inputs, bytes)) = wanted.get_mut(self.partition(given)) else { continue };
            *inputs += 1;
            *bytes += given.bytes.len();
        }
        // Always in the order of the partitions, so that two who give cannot wait for each other.
        let mut queues: Vec<Option<MutexGuard<'_, Queue>>> = Vec::with_capacity(self.all.len());
        for (inbox, (inputs, bytes)) in self.all.iter().zip(&wanted) {
            queues.push(if *inputs > 0 { Some(inbox.room_for(*inputs, *bytes)?) } else { None });
        }
        // Read under the locks: what stands behind another input was logged no earlier.
        let logged = self.clock.now();
        let tickets = Ticket::of(given.len(), told);
        for (given, ticket) in given.into_iter().zip(tickets) {
            let partition = self.partition(&given);
            let Some(Some(queue)) = queues.get_mut(partition) else { continue };
            queue.push(given, u32::try_from(partition).unwrap_or(u32::MAX), logged, ticket);
        }
        drop(queues);
        for (inbox, _) in self.all.iter().zip(&wanted).filter(|(_, (inputs, _))| *inputs > 0) {
            inbox.filled.notify_one();
        }
        Ok(())
    }
}
