//! Sinks: what others are asked to do goes out by itself, at least once, in order.
//!
//! ```text
//! partitions ──► sink ──► a file, standard output, a webhook, the message store
//!                 │  └──► outcomes: what was stored, what could not be handed over in time, as inputs
//!                 └─────► its cursor, durable in DIR/sinks/<name>
//! ```
//!
//! Each sink follows the partitions on threads of its own. One that is down holds up nobody: its cursor
//! stays, and so do the segments that it needs.

mod board;
mod cursor;
mod lines;
mod outcome;
mod post;
mod storing;
mod webhook;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use self::cursor::Cursor;
pub use self::cursor::CursorError;
use self::post::Poster;
pub use self::storing::Storing;
use self::webhook::{Hand, Pace};
use crate::domain::time::Timestamp;
use crate::engine::intake::Intake;
use crate::engine::ports::Clock;
use crate::engine::tail::Tails;

/// How often a cursor is made durable, at most.
const SAVED_EVERY: Duration = Duration::from_millis(100);
/// The longest a sink sleeps without looking around.
const TICK: Duration = Duration::from_millis(500);
/// The wait after something that did not work.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Which sinks there are.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// A file that every output is appended to.
    pub file: Option<PathBuf>,
    /// Whether every output is written to standard output.
    pub stdout: bool,
    /// Where each delivery command is posted.
    pub deliveries: Option<String>,
    /// Where each notification is posted.
    pub notifications: Option<String>,
    /// How webhooks are called.
    pub webhook: Webhook,
    /// Who keeps what is to be stored; webhooks are not asked for it then.
    pub storing: Option<Storing>,
}

/// How webhooks are called.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// How long one may take to answer.
    pub timeout: Duration,
    /// A file that holds the bearer token.
    pub token_file: Option<PathBuf>,
    /// How many users' commands may be under way at once.
    pub concurrency: usize,
    /// How long what has no deadline is tried.
    pub lifetime: Duration,
    /// The wait before the second try; each one after is twice as long, up to half a minute.
    pub first_wait: Duration,
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            token_file: None,
            concurrency: 16,
            lifetime: Duration::from_secs(86_400),
            first_wait: Duration::from_millis(500),
        }
    }
}

impl Settings {
    fn pace(&self, topic: &'static str, concurrency: usize) -> Pace {
        let Webhook { lifetime, first_wait, .. } = self.webhook;
        Pace { topic, concurrency, lifetime, first_wait }
    }
}

/// How a try went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It was taken.
    Ok,
    /// It was not, and is tried again.
    Again,
    /// It will not be taken: it was given up.
    Refused,
    /// Its time is over: it was given up.
    Late,
}

impl Sent {
    /// In a word, for counting.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Again => "again",
            Self::Refused => "refused",
            Self::Late => "late",
        }
    }
}

/// Whoever counts what sinks do.
pub trait Watch: Send + Sync {
    /// A sink has tried to hand over so many outputs.
    fn sent(&self, sink: &str, result: Sent, count: u64);
}

impl Watch for () {
    fn sent(&self, _sink: &str, _result: Sent, _count: u64) {}
}

/// Why a sink cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Its cursor cannot be read or written.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// A file of it cannot be opened.
    #[error("sink {sink}: cannot open {}: {source}", path.display())]
    Open {
        /// The sink.
        sink: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its token cannot be sent.
    #[error("sinks.webhook_token_file: {} holds no token: {why}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// How far a sink is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Records that it has not settled.
    pub records: u64,
    /// How old the oldest of them is.
    pub age: Duration,
}

/// What all sinks need of the world.
#[derive(Clone)]
pub struct World {
    /// What is durable.
    pub tails: Arc<dyn Tails>,
    /// Where outcomes are handed in.
    pub intake: Arc<dyn Intake>,
    /// What time it is.
    pub clock: Arc<dyn Clock + Send + Sync>,
    /// Who counts.
    pub watch: Arc<dyn Watch>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

/// Starts all sinks that are set; their cursors are kept in the directory `cursors`.
///
/// # Errors
///
/// [`SinkError`]: one cannot be started; those that were are stopped.
pub fn start(
    settings: &Settings,
    cursors: &Path,
    world: &World,
) -> Result<Vec<SinkHandle>, SinkError> {
    let mut sinks = Vec::new();
    if let Some(path) = &settings.file {
        sinks.push(lines::start("file", lines::To::file(path)?, cursors, world)?);
    }
    if settings.stdout {
        sinks.push(lines::start("stdout", lines::To::stdout()?, cursors, world)?);
    }
    for (name, topic, url) in [
        ("webhook-deliveries", "cpm.deliveries", &settings.deliveries),
        ("webhook-notifications", "cpm.notifications", &settings.notifications),
    ] {
        if let Some(url) = url {
            let hand = Poster::new(url, &settings.webhook, settings.storing.is_some())?;
            let pace = settings.pace(topic, settings.webhook.concurrency);
            sinks.push(webhook::start(name, Box::new(hand), pace, cursors, world)?);
        }
    }
    if let Some(storing) = &settings.storing {
        let hand: Box<dyn Hand> = Box::new(storing.clone());
        let pace = settings.pace("cpm.deliveries", storing.concurrency);
        sinks.push(webhook::start("imap", hand, pace, cursors, world)?);
    }
    Ok(sinks)
}

/// A sink at work; it stops when this is dropped.
#[derive(Debug)]
pub struct SinkHandle {
    /// `file`, `stdout`, `webhook-deliveries`, `webhook-notifications`, `imap`.
    pub name: &'static str,
    shared: Arc<Shared>,
    tails: TailsOf,
    threads: Vec<JoinHandle<()>>,
    ended: Receiver<()>,
}

/// Partitions, without a picture.
#[derive(Clone)]
struct TailsOf(Arc<dyn Tails>);

impl std::fmt::Debug for TailsOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} partitions", self.0.partitions())
    }
}

impl SinkHandle {
    /// The first record of a partition that is still needed, also after a restart.
    #[must_use]
    pub fn needed(&self, partition: u32) -> u64 {
        self.shared
            .places
            .get(partition as usize)
            .map_or(0, |place| place.saved.load(Ordering::SeqCst))
    }

    /// What is wrong, in words; `None`: nothing.
    #[must_use]
    pub fn health(&self) -> Option<String> {
        self.shared.trouble().clone()
    }

    /// How far it is behind at `now`.
    #[must_use]
    pub fn lag(&self, now: Timestamp) -> Lag {
        let mut lag = Lag::default();
        for (partition, place) in (0..).zip(&self.shared.places) {
            let settled = place.settled.load(Ordering::SeqCst);
            let behind = self.tails.0.end(partition).saturating_sub(settled);
            lag.records += behind;
            if behind > 0 {
                lag.age = lag.age.max(now.since(self.oldest(partition, settled, place, now)));
            }
        }
        lag
    }

    /// When the oldest record that is not settled was decided.
    fn oldest(&self, partition: u32, seq: u64, place: &Placed, now: Timestamp) -> Timestamp {
        let mut known = place.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, at)) = *known
            && of == seq
        {
            return at;
        }
        let at = self
            .tails
            .0
            .from(partition, seq)
            .ok()
            .and_then(|mut tail| tail.next().ok().flatten().map(|recorded| recorded.at));
        *known = at.map(|at| (seq, at));
        at.unwrap_or(now)
    }

    /// Opens its file, or reads its token, again: after a log rotation, or a reload.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::SeqCst);
        self.shared.bell.ring();
    }

    /// Stops it: what is under way is finished and its cursor saved, as far as `patience` reaches.
    /// Whether it was.
    pub fn stop(mut self, patience: Duration) -> bool {
        self.shared.stop();
        let threads = std::mem::take(&mut self.threads);
        // The channel closes when the last thread has ended.
        let ended = self.ended.recv_timeout(patience);
        let in_time = ended != Err(std::sync::mpsc::RecvTimeoutError::Timeout);
        in_time && threads.into_iter().all(|thread| thread.join().is_ok())
    }
}

impl Drop for SinkHandle {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

/// Where a sink stands in a partition.
#[derive(Debug, Default)]
struct Placed {
    /// The first record that is not settled.
    settled: AtomicU64,
    /// The first record that is needed, durably.
    saved: AtomicU64,
    /// When a record was decided that was the oldest.
    oldest: Mutex<Option<(u64, Timestamp)>>,
}

/// What a sink's threads and its handle share.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    reopen: AtomicBool,
    trouble: Mutex<Option<String>>,
    places: Vec<Placed>,
    bell: Arc<Bell>,
}

impl Shared {
    fn new(cursor: &Cursor, tails: &Arc<dyn Tails>) -> Arc<Self> {
        let places = cursor.places.iter().map(|place| {
            let needed = AtomicU64::new(place.needed());
            let saved = AtomicU64::new(place.needed());
            Placed { settled: needed, saved, oldest: Mutex::default() }
        });
        let shared = Self { places: places.collect(), ..Self::default() };
        let bell = Arc::clone(&shared.bell);
        tails.on_growth(Box::new(move || bell.ring()));
        Arc::new(shared)
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.bell.ring();
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn is_to_reopen(&self) -> bool {
        self.reopen.swap(false, Ordering::SeqCst)
    }

    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what is wrong; it is logged once, and when it is over.
    fn set_trouble(&self, sink: &str, trouble: Option<String>) {
        let mut known = self.trouble();
        match (&trouble, &*known) {
            (Some(why), None) => tracing::warn!(sink, "{why}"),
            (None, Some(_)) => tracing::info!(sink, "it works again"),
            _ => {}
        }
        *known = trouble;
    }
}

/// Ends a sleep, also one that is about to begin.
#[derive(Debug, Default)]
struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.heard.notify_all();
    }

    /// Sleeps until it rings, at most `patience`.
    fn wait(&self, patience: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.heard.wait_timeout_while(rung, patience, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

/// The threads of a sink, as they are started.
#[derive(Debug)]
struct Threads {
    name: &'static str,
    all: Vec<JoinHandle<()>>,
    alive: Sender<()>,
    ended: Receiver<()>,
}

impl Threads {
    fn new(name: &'static str) -> Self {
        let (alive, ended) = channel();
        Self { name, all: Vec::new(), alive, ended }
    }

    fn spawn(&mut self, run: impl FnOnce() + Send + 'static) -> Result<(), SinkError> {
        let alive = self.alive.clone();
        let thread = std::thread::Builder::new().name(self.name.to_owned());
        self.all.push(thread.spawn(move || {
            run();
            drop(alive);
        })?);
        Ok(())
    }

    fn handle(self, shared: Arc<Shared>, tails: &Arc<dyn Tails>) -> SinkHandle {
        let Self { name, all, ended, .. } = self;
        SinkHandle { name, shared, tails: TailsOf(Arc::clone(tails)), threads: all, ended }
    }
}
