//! What is measured of a round: from the first input that a shard polls to the commit of the last one.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::measure::{Round, cpu_seconds, cpu_seconds_of};

/// A round as its shards see it.
#[derive(Debug)]
pub(crate) struct Window {
    broker: String,
    /// How many partitions each shard holds: work begins when each has one, so that no rebalance is measured.
    held: Vec<AtomicUsize>,
    inputs: usize,
    left: AtomicUsize,
    commits: AtomicUsize,
    began: OnceLock<Moment>,
    ended: OnceLock<Moment>,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Instant,
    cpu: f64,
    broker: f64,
}

/// What a round cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) inputs: usize,
    pub(crate) round: Round,
    /// CPU seconds of the broker.
    pub(crate) broker: f64,
    /// `None`: nobody counted.
    pub(crate) commits: Option<usize>,
}

impl Cost {
    /// Inputs a second.
    pub(crate) fn rate(&self) -> f64 {
        self.inputs as f64 / self.round.wall
    }
}

impl Window {
    pub(crate) fn new(broker: String, shards: u32, inputs: usize) -> Self {
        Self {
            broker,
            held: (0..shards).map(|_| AtomicUsize::new(0)).collect(),
            inputs,
            left: AtomicUsize::new(inputs),
            commits: AtomicUsize::new(0),
            began: OnceLock::new(),
            ended: OnceLock::new(),
        }
    }

    fn now(&self) -> Moment {
        Moment { at: Instant::now(), cpu: cpu_seconds(), broker: cpu_seconds_of(&self.broker) }
    }

    /// A shard was given so many partitions.
    pub(crate) fn holds(&self, shard: u32, partitions: usize) {
        assert!(self.began.get().is_none(), "the group has changed during a round");
        if let Some(held) = self.held.get(shard as usize) {
            held.store(partitions, Ordering::SeqCst);
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.held.iter().all(|held| held.load(Ordering::SeqCst) == 1)
    }

    pub(crate) fn wait_until_open(&self) {
        while !self.is_open() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A shard has polled an input.
    pub(crate) fn begin(&self) {
        self.began.get_or_init(|| self.now());
    }

    /// A shard has committed so many inputs.
    pub(crate) fn committed(&self, inputs: usize) {
        self.commits.fetch_add(1, Ordering::SeqCst);
        if self.left.fetch_sub(inputs, Ordering::SeqCst) == inputs && inputs > 0 {
            self.ended.get_or_init(|| self.now());
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ended.get().is_some()
    }

    pub(crate) fn cost(&self) -> Cost {
        let began = self.began.get().expect("an input was polled");
        let ended = self.ended.get().expect("all inputs were committed");
        let wall = ended.at.duration_since(began.at).as_secs_f64();
        Cost {
            inputs: self.inputs,
            round: Round { wall, cpu: ended.cpu - began.cpu },
            broker: ended.broker - began.broker,
            commits: Some(self.commits.load(Ordering::SeqCst)),
        }
    }
}
