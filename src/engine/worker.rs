//! The loop: poll, decide, ring what is due, commit, settle.
//!
//! The same for `simulate`, the daemon and Kafka. Journal first: a step's records and outputs are durable
//! together before anybody sees the state that they led to, so a crash leaves the journal ahead and never
//! the state; where the commit fails, the step is undone.

use std::time::Duration;

use super::observer::Observer;
use super::partition::Partition;
use super::ports::{Clock, Log, LogError, Received};
use super::state::{BrokenJournal, State};
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;
use crate::record::input::Reader;

/// Inputs of one poll, at most.
pub(super) const MAX_BATCH: usize = 1000;
/// Records that follow one poll; what is due beyond them is due in the next step.
pub(super) const MAX_RECORDS: usize = 4 * MAX_BATCH;
/// A topic of this name is a file: its offsets are lines.
pub const FILE: &str = "file:";

/// What a worker is started with.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// How inputs are read.
    pub reader: Reader,
    /// The policy to decide by.
    pub policy: Policy,
    /// Into how many partitions users are spread, where somebody else does it: an input in another than
    /// its user's is refused.
    pub partitions: Option<u32>,
}

/// Why a worker cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkerError {
    /// The log says so.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its own journal does not hold together.
    #[error("the journal cannot be followed: {0}")]
    Journal(#[from] BrokenJournal),
}

/// Who changed a policy by hand, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Hand {
    /// Who.
    pub operator: String,
    /// Why.
    pub reason: String,
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Inputs taken.
    pub inputs: usize,
    /// Of them: refused.
    pub rejected: usize,
    /// Of them: taken before.
    pub duplicates: usize,
    /// Inputs and alarms that changed something.
    pub decided: usize,
    /// Journal records written or followed, or users looked at to no effect.
    pub records: usize,
}

impl Done {
    fn add(&mut self, more: Self) {
        self.inputs += more.inputs;
        self.rejected += more.rejected;
        self.duplicates += more.duplicates;
        self.decided += more.decided;
        self.records += more.records;
    }
}

/// Partitions at work, on one log.
#[derive(Debug)]
pub struct Worker<L, C> {
    log: L,
    clock: C,
    settings: Settings,
    partitions: Vec<Partition>,
}

impl<L: Log, C: Clock> Worker<L, C> {
    /// A worker without a partition.
    pub fn new(log: L, clock: C, settings: Settings) -> Self {
        Self { log, clock, settings, partitions: Vec::new() }
    }

    /// A worker on the one partition that its log holds: the journal is read from its start, or on from
    /// `checkpoint`, and its positions say where the inputs go on.
    ///
    /// # Errors
    ///
    /// [`WorkerError`]: the log does not answer, or its journal is broken.
    pub fn open(
        log: L,
        clock: C,
        settings: Settings,
        checkpoint: Option<State>,
    ) -> Result<Self, WorkerError> {
        Self::on(Partition::new(0, checkpoint.unwrap_or_default()), log, clock, settings)
    }

    /// The same; the partition may have any number.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn on(
        partition: Partition,
        log: L,
        clock: C,
        settings: Settings,
    ) -> Result<Self, WorkerError> {
        let mut worker = Self::new(log, clock, settings);
        worker.take_on(partition);
        while worker.catch_up()? > 0 {}
        Ok(worker)
    }

    /// Takes on a partition; it follows its journal, a little in each step, before it decides anything.
    pub fn take_on(&mut self, partition: Partition) {
        self.partitions.push(partition);
    }

    /// Lets go of a partition; what was not committed is dropped.
    pub fn let_go(&mut self, number: u32) -> Option<Partition> {
        let place = self.partitions.iter().position(|partition| partition.number == number)?;
        let mut partition = self.partitions.swap_remove(place);
        partition.let_go();
        Some(partition)
    }

    /// Its partitions.
    #[must_use]
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// The same, to be changed between two steps.
    pub fn partitions_mut(&mut self) -> &mut [Partition] {
        &mut self.partitions
    }

    /// The partition of a log that holds one.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub fn only(&mut self) -> &mut Partition {
        self.partitions.first_mut().expect("a partition")
    }

    /// The state, as committed, of the partition of a log that holds one.
    ///
    /// # Panics
    ///
    /// Where there is none.
    #[must_use]
    pub fn state(&self) -> &State {
        self.partitions.first().expect("a partition").state()
    }

    /// The log.
    pub fn log(&mut self) -> &mut L {
        &mut self.log
    }

    /// The clock.
    pub fn clock(&self) -> &C {
        &self.clock
    }

    /// The policy of partitions that are taken on from here on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.settings.policy = policy;
    }

    /// When the next alarm of a partition that decides is due.
    pub fn next_alarm(&mut self) -> Option<Timestamp> {
        let whole = self.partitions.iter_mut().filter(|partition| partition.is_whole());
        whole.filter_map(Partition::next_alarm).min()
    }

    /// Takes what inputs there are, then rings the alarms that may ring, and commits it all.
    ///
    /// # Errors
    ///
    /// [`WorkerError`]: where it is [`LogError::Unavailable`], nothing was lost: call again.
    pub fn step(&mut self) -> Result<Done, WorkerError> {
        self.watched_step(Duration::ZERO, &mut ())
    }

    /// The same; it waits for an input no longer than `patience`, and `observer` sees it work.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub fn watched_step(
        &mut self,
        patience: Duration,
        observer: &mut dyn Observer,
    ) -> Result<Done, WorkerError> {
        let followed = match self.catch_up() {
            Ok(followed) => followed,
            Err(error) => {
                // Who cannot read a journal now is a member all the same, and hears if it is no longer.
                self.log.poll(0, Duration::ZERO)?;
                return Err(error);
            }
        };
        if !self.partitions.iter().any(Partition::is_whole) {
            let patience = if followed > 0 { Duration::ZERO } else { patience };
            self.log.poll(0, patience)?;
            return Ok(Done { records: followed, ..Done::default() });
        }
        let patience = if followed > 0 { Duration::ZERO } else { patience };
        if let Err(error) = self.decide(patience, observer) {
            observer.failed();
            self.partitions.iter_mut().for_each(Partition::give_up);
            return Err(error.into());
        }
        let mut done = Done { records: followed, ..Done::default() };
        for partition in &mut self.partitions {
            done.add(partition.settle());
        }
        Ok(done)
    }

    /// Lets partitions follow their journals, a little; how many lines that was. One that is at its end is
    /// whole.
    fn catch_up(&mut self) -> Result<usize, WorkerError> {
        let Self { log, settings, partitions, .. } = self;
        let mut followed = 0;
        for partition in partitions.iter_mut().filter(|partition| !partition.is_whole()) {
            let next = partition.state().next_seq;
            let Some(lines) = log.journal(partition.number, next, MAX_BATCH)? else { continue };
            partition.follow(&lines)?;
            followed += lines.len();
            if lines.is_empty() {
                if let (Some(was), Some(are)) = (partition.state().partitions, settings.partitions)
                    && was != are
                {
                    return Err(BrokenJournal::Partitions { was, are }.into());
                }
                log.resume(partition.number, &partition.state().positions())?;
                partition.is_followed(settings);
            }
        }
        Ok(followed)
    }

    /// Polls, decides and commits; nothing of it is in a state yet.
    fn decide(
        &mut self,
        mut patience: Duration,
        observer: &mut dyn Observer,
    ) -> Result<(), LogError> {
        let Self { log, clock, settings, partitions } = self;
        loop {
            let mut received = log.poll(MAX_BATCH, patience)?;
            let now = clock.now();
            let is_last = !log.wants_more();
            if partitions.len() > 1 {
                received.sort_by_key(|input| input.position.partition);
            }
            let is_one = partitions.len() == 1;
            for partition in partitions.iter_mut().filter(|partition| partition.is_whole()) {
                let now = now.max(partition.state().at);
                let inputs = if is_one { &*received } else { of(&received, partition.number) };
                partition.take(inputs, now, settings, observer);
                if is_last {
                    let due = partition.next_alarm();
                    let until = log.taken_up_to(partition.number, now, due).min(now);
                    partition.ring(now, until, observer);
                }
                if let Some(batch) = partition.take_batch() {
                    log.write(batch)?;
                }
            }
            if is_last {
                break;
            }
            patience = Duration::ZERO;
        }
        if partitions.iter().any(Partition::has_written) {
            observer.committing();
            log.commit()?;
            observer.committed();
        }
        Ok(())
    }
}

/// The inputs of a partition, among inputs in the order of their partitions.
fn of(received: &[Received], partition: u32) -> &[Received] {
    let from = received.partition_point(|input| input.position.partition < partition);
    let (_, rest) = received.split_at(from);
    rest.split_at(rest.partition_point(|input| input.position.partition == partition)).0
}
