//! Commands are handed over: each output of one topic, until it is taken or its time is over.
//!
//! Whom they are handed to is a [`Hand`]: a webhook, or the message store. One thread reads ahead, as far as
//! memory is bounded; a few hand over. What is tried again waits on the
//! board and not on a thread, so that one user's trouble holds up nobody else.

use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::board::{Board, Job, Next};
use super::cursor::Cursor;
use super::outcome::{Command, GivenUp, hand_in};
use super::post::Answer;
use super::{
    AFTER_FAILURE, SAVED_EVERY, Sent, Shared, SinkError, SinkHandle, TICK, Threads, World,
};
use crate::domain::time::Timestamp;
use crate::engine::intake::Given;
use crate::engine::tail::{Tail, TailError};

/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// So many failures in a row are a trouble.
const TROUBLE: u32 = 3;
/// Records read before anybody else gets the board.
const AT_ONCE: usize = 256;

/// Whom commands are handed to.
pub(super) trait Hand: Send + Sync {
    /// Whether outputs of this type are for it.
    fn wants(&self, kind: &str) -> bool;

    /// Hands a command over. It may take its time: a thread waits for it.
    fn offer(&self, job: &Job, now: Timestamp) -> Answer;

    /// Whether the engine hears of what was taken, too.
    fn tells_success(&self) -> bool;

    /// Reads its secrets again.
    fn reload(&self);
}

/// What is handed over, and how patiently.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) topic: &'static str,
    /// How many users' commands may be under way at once.
    pub(super) concurrency: usize,
    /// How long what has no deadline is tried.
    pub(super) lifetime: Duration,
    /// The wait before the second try; each one after is twice as long.
    pub(super) first_wait: Duration,
}

/// What the threads of a sink share.
struct Hook {
    name: &'static str,
    pace: Pace,
    hand: Box<dyn Hand>,
    board: Mutex<Board>,
    /// The board has something for a worker.
    work: Condvar,
    /// Workers that have not ended.
    workers: AtomicUsize,
    /// Tries that failed since one went well.
    failures: AtomicU32,
    shared: Arc<Shared>,
    world: World,
}

/// Starts a sink of commands. A new one begins with what comes next: the deadlines of what was asked for before
/// are over, or others have taken it.
pub(super) fn start(
    name: &'static str,
    hand: Box<dyn Hand>,
    pace: Pace,
    cursors: &Path,
    world: &World,
) -> Result<SinkHandle, SinkError> {
    let tails = &world.tails;
    let cursor = Cursor::open(cursors, name, tails.partitions(), |number| tails.end(number))?;
    let shared = Shared::new(&cursor, tails);
    let hook = Arc::new(Hook {
        name,
        pace,
        hand,
        board: Mutex::new(Board::after(&cursor.places)),
        work: Condvar::new(),
        workers: AtomicUsize::new(pace.concurrency.max(1)),
        failures: AtomicU32::new(0),
        shared: Arc::clone(&shared),
        world: world.clone(),
    });
    let mut threads = Threads::new(name);
    for _ in 0..pace.concurrency.max(1) {
        let hook = Arc::clone(&hook);
        threads.spawn(move || {
            hook.work();
            hook.workers.fetch_sub(1, Ordering::SeqCst);
            hook.shared.bell.ring();
        })?;
    }
    threads.spawn(move || hook.read(cursor))?;
    Ok(threads.handle(shared, tails))
}

impl Hook {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads ahead, and saves the cursor.
    fn read(&self, mut cursor: Cursor) {
        let mut tails: Vec<_> = cursor.places.iter().map(|place| (place.needed(), None)).collect();
        while !self.shared.is_stopping() {
            let mut worked = false;
            for (partition, (next, tail)) in tails.iter_mut().enumerate() {
                match self.read_some(partition, next, tail) {
                    Ok(more) => worked |= more,
                    Err(error) => {
                        tracing::error!(sink = self.name, partition, "{error}");
                        self.shared.set_trouble(self.name, Some(error));
                        *tail = None;
                        self.shared.bell.wait(AFTER_FAILURE);
                    }
                }
            }
            self.note(&mut cursor, false);
            if self.shared.is_to_reopen() {
                self.hand.reload();
            }
            if !worked {
                let busy = cursor.is_behind() || !self.board().has_room();
                self.shared.bell.wait(if busy { SAVED_EVERY } else { TICK });
            }
        }
        // What is under way is finished, as long as somebody waits for that.
        while self.workers.load(Ordering::SeqCst) > 0 {
            self.work.notify_all();
            self.shared.bell.wait(SAVED_EVERY);
            self.note(&mut cursor, false);
        }
        self.note(&mut cursor, true);
    }

    /// Reads some records of a partition. Whether there were any.
    fn read_some(
        &self,
        partition: usize,
        next: &mut u64,
        tail: &mut Option<Box<dyn Tail>>,
    ) -> Result<bool, String> {
        let number = u32::try_from(partition).unwrap_or(u32::MAX);
        if tail.is_none() && self.world.tails.end(number) > *next {
            let opened = match self.world.tails.from(number, *next) {
                Err(TailError::Removed { oldest }) => {
                    tracing::error!(
                        sink = self.name,
                        partition,
                        "the records from {next} to {oldest} were removed before they were sent"
                    );
                    self.world.tails.from(number, oldest)
                }
                opened => opened,
            };
            *tail = Some(opened.map_err(|error| error.to_string())?);
        }
        let Some(tail) = tail else { return Ok(false) };
        let mut read = 0;
        while read < AT_ONCE && self.board().has_room() {
            let Some(recorded) = tail.next().map_err(|error| error.to_string())? else { break };
            read += 1;
            let seq = recorded.seq;
            *next = seq + 1;
            let wanted = self.board().wants(partition, seq);
            let ours =
                recorded.outputs.iter().filter(|output| wanted && output.topic == self.pace.topic);
            let jobs: Vec<_> = ours
                .filter_map(|output| {
                    let command = serde_json::from_slice(output.bytes)
                        .map_err(|error| tracing::error!(sink = self.name, seq, "{error}"))
                        .ok()
                        .filter(|command: &Command| self.hand.wants(&command.kind))?;
                    let until = command.until(self.pace.lifetime);
                    let body = output.bytes.into();
                    let job = Job { partition, seq, command, body, until, tries: 0 };
                    Some((output.key.unwrap_or_default().into(), job))
                })
                .collect();
            let some = !jobs.is_empty();
            self.board().take(partition, seq, jobs);
            if some {
                self.work.notify_one();
            }
        }
        Ok(read > 0)
    }

    /// Notes how far everything got; the cursor is saved now and then.
    fn note(&self, cursor: &mut Cursor, at_once: bool) {
        let now = self.world.clock.now();
        cursor.places = self.board().places();
        for (placed, place) in self.shared.places.iter().zip(&cursor.places) {
            placed.settled.store(place.needed(), Ordering::SeqCst);
        }
        if let Err(error) = cursor.save(&self.shared, now, at_once) {
            let why = format!("the cursor cannot be saved: {error}");
            self.shared.set_trouble(self.name, Some(why));
        }
    }

    /// Hands over what there is, one after the other.
    fn work(&self) {
        while let Some((user, job)) = self.next() {
            let (user, job) = (user, *job);
            match self.try_one(&job) {
                Tried::Settled => {
                    self.board().settle(user, &job);
                    // Its user goes on, and there is room.
                    self.work.notify_one();
                    self.shared.bell.ring();
                }
                Tried::Again(at) => {
                    let job = Job { tries: job.tries + 1, ..job };
                    self.board().again(user, job, at);
                    self.work.notify_one();
                }
                // The cursor stays before it: the next life tries again.
                Tried::Stopped => return,
            }
        }
    }

    /// The next command; `None`: it is over.
    fn next(&self) -> Option<(Arc<str>, Box<Job>)> {
        let mut board = self.board();
        loop {
            if self.shared.is_stopping() {
                return None;
            }
            let now = self.world.clock.now();
            let patience = match board.next(now) {
                Next::Job(user, job) => return Some((user, job)),
                Next::Wait(Some(at)) => at.since(now).min(TICK).max(Duration::from_millis(1)),
                Next::Wait(None) => TICK,
            };
            let waited = self.work.wait_timeout(board, patience);
            board = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn try_one(&self, job: &Job) -> Tried {
        let now = self.world.clock.now();
        if now >= job.until {
            return self.give_up(job, &GivenUp::Late, Sent::Late);
        }
        match self.hand.offer(job, now) {
            Answer::Taken => {
                if self.hand.tells_success() {
                    let now = self.world.clock.now();
                    let stored = job.command.storage_outcome(self.name, None, now);
                    if stored.is_some_and(|stored| !self.tell(&stored)) {
                        return Tried::Stopped;
                    }
                }
                self.world.watch.sent(self.name, Sent::Ok, 1);
                self.failures.store(0, Ordering::SeqCst);
                self.shared.set_trouble(self.name, None);
                Tried::Settled
            }
            Answer::NotNow(why, asked) => {
                self.world.watch.sent(self.name, Sent::Again, 1);
                // One user's trouble is no trouble of the other side.
                if self.failures.fetch_add(1, Ordering::SeqCst) >= TROUBLE {
                    let why = format!("the other side does not take it: {why}");
                    self.shared.set_trouble(self.name, Some(why));
                }
                let doubled = self.pace.first_wait * (1 << job.tries.min(16));
                let wait = asked.unwrap_or(Duration::ZERO).max(doubled.min(LONGEST_WAIT));
                // Not later than its end, so that it is known as soon as it is over.
                Tried::Again((self.world.clock.now() + wait).min(job.until))
            }
            Answer::Refused(why) => {
                let (id, user) = (&job.command.id, job.command.user());
                tracing::warn!(sink = self.name, id, %user, %why, "refused: it is not sent again");
                self.give_up(job, &why, Sent::Refused)
            }
        }
    }

    /// Hands an input in, durably. Whether it is.
    fn tell(&self, outcome: &Given) -> bool {
        hand_in(&self.world.intake, outcome, || {
            self.shared.bell.wait(SAVED_EVERY);
            !self.shared.is_stopping()
        })
    }

    /// Says that a command was not handed over, durably.
    fn give_up(&self, job: &Job, why: &GivenUp, result: Sent) -> Tried {
        let now: Timestamp = self.world.clock.now();
        if let Some(outcome) = job.command.outcome(self.name, why, now) {
            if !self.tell(&outcome) {
                return Tried::Stopped;
            }
        } else {
            let (id, user) = (&job.command.id, job.command.user());
            tracing::warn!(sink = self.name, id, %user, "given up: nobody took it in time");
        }
        self.world.watch.sent(self.name, result, 1);
        Tried::Settled
    }
}

/// What became of a try.
enum Tried {
    Settled,
    Again(Timestamp),
    Stopped,
}
