//! `--to kafka`: what is read goes to its topics, as fast as the brokers take it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::cli::clock::WallClock;
use crate::cli::config::Loaded;
use crate::cli::lines::{Line, Lines};
use crate::cli::run::signals::{self, Order, Orders};
use crate::cli::{recipient, settings};
use crate::engine::intake::{Given, Intake, Refused, Settled};
use crate::engine::ports::Clock;
use crate::log::kafka::Post;
use crate::record::input::Reader;

/// Events handed over at once, and their bytes.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 1 << 20;
/// The wait for room.
const FULL: Duration = Duration::from_millis(5);
/// How often a person who has had enough is looked for.
const TICK: Duration = Duration::from_millis(100);
/// Lines read ahead.
const AHEAD: usize = 4096;

/// Events on their way.
pub(super) struct Topics {
    post: Post,
    reader: Reader,
    /// For the flush at the end.
    patience: Duration,
    waiting: Vec<Given>,
    bytes: usize,
    /// Why something may not have arrived: the first reason.
    failed: Arc<Mutex<Option<String>>>,
}

impl Topics {
    /// The way to the topics of this configuration.
    pub(super) fn new(config: &Loaded) -> anyhow::Result<Self> {
        Ok(Self {
            post: recipient::post(&config.config)?,
            reader: settings(config)?.reader,
            patience: Duration::from_secs(config.config.http.timeout_seconds.into()),
            waiting: Vec::new(),
            bytes: 0,
            failed: Arc::default(),
        })
    }

    /// Takes an event that was found good.
    pub(super) fn event(&mut self, event: &[u8]) -> anyhow::Result<()> {
        let read = self.reader.read(event, WallClock.now()).context("an event of our own")?;
        self.bytes += event.len();
        self.waiting.push(Given {
            topic: "ingest".into(),
            offset: None,
            user: Some(read.user.to_string().into()),
            bytes: event.into(),
        });
        if self.waiting.len() >= BATCH || self.bytes >= BATCH_BYTES {
            self.send()?;
        }
        Ok(())
    }

    /// Takes a dead letter.
    pub(super) fn letter(&self, letter: &[u8]) -> anyhow::Result<()> {
        self.when_there_is_room(|topics| topics.post.letter(letter, topics.told()))
    }

    /// Sends what waits for more.
    pub(super) fn send(&mut self) -> anyhow::Result<()> {
        let batch = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        self.when_there_is_room(|topics| topics.post.give(batch.clone(), topics.told()))
    }

    /// Waits until all have arrived.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        self.send()?;
        // A little more than the client itself takes to give up.
        if !self.post.close(self.patience + Duration::from_secs(5)) {
            bail!("{} events are not on their topics yet", self.post.under_way());
        }
        self.arrived()
    }

    fn when_there_is_room(
        &self,
        give: impl Fn(&Self) -> Result<(), Refused>,
    ) -> anyhow::Result<()> {
        loop {
            // What is lost once is not made good by going on.
            self.arrived()?;
            match give(self) {
                Ok(()) => return Ok(()),
                Err(Refused::Full) => std::thread::sleep(FULL),
                Err(refused) => return Err(refused.into()),
            }
        }
    }

    fn told(&self) -> Box<dyn FnOnce(Result<Vec<Settled>, String>) + Send> {
        let failed = Arc::clone(&self.failed);
        Box::new(move |settled| {
            if let Err(why) = settled {
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
            }
        })
    }

    fn arrived(&self) -> anyhow::Result<()> {
        match &*self.failed.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(why) => bail!(
                "{why}; what was read last may not be there: read it again, what is there twice does no \
                 harm"
            ),
        }
    }
}

/// Lines that are read on a thread of their own: a pipe may be silent while a person has had enough.
pub(super) struct Incoming {
    lines: Receiver<anyhow::Result<(Line, u64)>>,
    orders: Orders,
    idle: bool,
    _runtime: tokio::runtime::Runtime,
}

/// What came.
pub(super) enum Came {
    /// A line, and how many bytes were read with it.
    Line(Line, u64),
    /// Nothing is at hand; said once.
    Nothing,
    /// All is read.
    End,
    /// A person has had enough.
    Enough,
}

impl Incoming {
    pub(super) fn new(mut lines: Lines) -> anyhow::Result<Self> {
        let (send, receive) = sync_channel(AHEAD);
        let read = move || {
            while let Some(line) = lines.next_line().transpose() {
                let line = line.map(|line| (line, lines.progress().0));
                if send.send(line).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("lines".into()).spawn(read)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let orders = signals::listen(runtime.handle())?;
        Ok(Self { lines: receive, orders, idle: false, _runtime: runtime })
    }

    /// The next line, or why there is none.
    pub(super) fn next(&mut self) -> anyhow::Result<Came> {
        loop {
            if self.orders.next(Duration::ZERO) == Some(Order::Stop) {
                return Ok(Came::Enough);
            }
            let came = if self.idle {
                match self.lines.recv_timeout(TICK) {
                    Ok(line) => Some(line),
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => None,
                }
            } else {
                match self.lines.try_recv() {
                    Ok(line) => Some(line),
                    Err(TryRecvError::Empty) => {
                        self.idle = true;
                        return Ok(Came::Nothing);
                    }
                    Err(TryRecvError::Disconnected) => None,
                }
            };
            self.idle = false;
            return match came {
                Some(line) => line.map(|(line, bytes)| Came::Line(line, bytes)),
                None => Ok(Came::End),
            };
        }
    }
}
