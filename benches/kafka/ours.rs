//! deferd's loop, in this process: a [`Member`] and a [`Worker`] a thread, run by [`shard::run`] as the daemon
//! runs it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use deferd::domain::time::Timestamp;
use deferd::engine::partition::Partition;
use deferd::engine::ports::{Batch, Clock, Log, LogError, Position, Received};
use deferd::engine::shard::{self, Health};
use deferd::engine::state::State;
use deferd::engine::worker::{Settings, Worker};
use deferd::log::kafka::{Change, Lost, Member, Options, Topic};

use crate::place::Place;
use crate::stream::{BenchClock, Real};
use crate::window::Window;

/// What time it is for the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    /// As the inputs were logged: what fills a quarter of an hour is worked off in seconds, and its alarms
    /// ring where they rang in life.
    Logged,
    /// As it is.
    Real,
}

/// What was written for each input of a partition, in the order of their offsets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// The topic, as it stands in [`Topic::ALL`], and the size of each record.
    records: Vec<(usize, usize)>,
    /// Where the records of each input end.
    ends: Vec<usize>,
}

impl Shape {
    /// What was written for the input at an offset.
    pub(crate) fn of(&self, offset: usize) -> &[(usize, usize)] {
        let end = |input: usize| self.ends.get(input).copied().unwrap_or(0);
        let from = offset.checked_sub(1).map_or(0, end);
        self.records.get(from..end(offset)).unwrap_or_default()
    }

    pub(crate) fn inputs(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn records(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn records_of(&self, topic: Topic) -> usize {
        self.records.iter().filter(|(place, _)| Topic::ALL.get(*place) == Some(&topic)).count()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.records.iter().map(|(_, size)| size).sum()
    }

    /// The size of the largest record.
    pub(crate) fn longest(&self) -> usize {
        self.records.iter().map(|(_, size)| *size).max().unwrap_or(0)
    }

    /// What an alarm made belongs to the input before it.
    fn note(&mut self, batch: &Batch) {
        let place = |name: &str| Topic::ALL.iter().position(|topic| topic.name() == name);
        for entry in &batch.entries {
            let written = entry.outputs.iter().map(|output| (output.topic, output.bytes.len()));
            let journal = (Topic::Journal.name(), entry.line.len());
            let written = std::iter::once(journal).chain(written);
            self.records.extend(written.filter_map(|(name, size)| Some((place(name)?, size))));
            if entry.fate.is_some() {
                self.ends.push(self.records.len());
            } else if let Some(end) = self.ends.last_mut() {
                *end = self.records.len();
            }
        }
    }
}

/// The member, with a stopwatch; and with the time of what it reads, where the bench wants that.
struct Watched<'w> {
    member: Member<Real>,
    window: &'w Window,
    time: Time,
    clock: BenchClock,
    /// When the last input of each topic was logged.
    logged: BTreeMap<Arc<str>, Timestamp>,
    polled: usize,
    shape: Shape,
}

impl Log for Watched<'_> {
    fn poll(&mut self, most: usize, patience: Duration) -> Result<Vec<Received>, LogError> {
        let received = self.member.poll(most, patience)?;
        if let Some(last) = received.last() {
            self.window.begin();
            self.polled += received.len();
            for input in received.chunk_by(|one, other| one.position.topic == other.position.topic)
            {
                let Some(last) = input.last() else { continue };
                self.logged.insert(Arc::clone(&last.position.topic), last.logged);
            }
            self.clock.0.set(self.clock.now().max(last.logged));
        }
        Ok(received)
    }

    fn taken_up_to(&mut self, partition: u32, now: Timestamp, due: Option<Timestamp>) -> Timestamp {
        let taken = self.member.taken_up_to(partition, now, due);
        match self.time {
            Time::Real => taken,
            // Each topic is in the order of its time, so all before its last input has been polled.
            Time::Logged => {
                let last = self.logged.values().min().copied().unwrap_or(Timestamp::EPOCH);
                last - Duration::from_millis(1)
            }
        }
    }

    fn write(&mut self, batch: Batch) -> Result<(), LogError> {
        self.shape.note(&batch);
        self.member.write(batch)
    }

    fn wants_more(&self) -> bool {
        self.member.wants_more()
    }

    fn keeps_what_waits(&self) -> bool {
        self.member.keeps_what_waits()
    }

    fn commit(&mut self) -> Result<(), LogError> {
        self.member.commit()?;
        self.window.committed(std::mem::take(&mut self.polled));
        Ok(())
    }

    fn journal(
        &mut self,
        partition: u32,
        seq: u64,
        most: usize,
    ) -> Result<Option<Vec<Arc<[u8]>>>, LogError> {
        self.member.journal(partition, seq, most)
    }

    fn resume(&mut self, partition: u32, after: &[Position]) -> Result<(), LogError> {
        self.member.resume(partition, after)
    }
}

/// The engine's clock.
#[derive(Clone, Debug)]
enum EngineClock {
    Logged(BenchClock),
    Real(Real),
}

impl Clock for EngineClock {
    fn now(&self) -> Timestamp {
        match self {
            Self::Logged(clock) => clock.now(),
            Self::Real(clock) => clock.now(),
        }
    }
}

/// One shard until the round is over; what it wrote, by partition.
pub(crate) fn shard(
    place: &Place,
    number: u32,
    interval: Duration,
    time: Time,
    window: &Window,
) -> (u32, Shape) {
    let options = Options { shard: number, commit_interval: interval, lost: Lost::Stop };
    let member = Member::join(&place.cluster, options, Real).expect("a member of the group");
    let clock = BenchClock::default();
    let engine = match time {
        Time::Logged => EngineClock::Logged(clock.clone()),
        Time::Real => EngineClock::Real(Real),
    };
    let (logged, shape) = (BTreeMap::new(), Shape::default());
    let log = Watched { member, window, time, clock, logged, polled: 0, shape };
    let settings = Settings { partitions: Some(place.partitions), ..Settings::default() };
    let mut worker = Worker::new(log, engine, settings);
    let (_asks, questions) = std::sync::mpsc::channel();
    let health = Health::default();
    let mut held = Vec::new();
    let ran = shard::run(&mut worker, &questions, &health, &mut (), |worker| {
        for change in worker.log().member.take_changes() {
            match change {
                Change::Assigned(partitions) => held.extend(partitions),
                Change::Revoked { .. } => held.clear(),
            }
            window.holds(number, held.len());
        }
        if worker.partitions().is_empty() && window.is_open() {
            for partition in &held {
                worker.take_on(Partition::new(*partition, State::default()));
            }
        }
        if window.is_over() {
            health.stop();
        }
        false
    });
    ran.expect("the shard runs");
    (held.first().copied().unwrap_or(0), std::mem::take(&mut worker.log().shape))
}
