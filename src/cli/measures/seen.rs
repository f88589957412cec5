//! What is seen of a worker at work, as metrics.
//!
//! A commit that fails brings its inputs again, so nothing counts before it is durable.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    COMMIT, COMMIT_FAILURES, DECISION, DUPLICATES, FACT_LAST, FACTS, IGNORED, INPUTS, LATENESS,
    REJECTED, Registry, UNREADABLE,
};
use crate::cli::clock::Stopwatch;
use crate::domain::time::Timestamp;
use crate::engine::observer::Observer;
use crate::engine::ports::Clock;
use crate::record::input::{Kind, Rejected};

/// How many sources are told apart. Who may post events may name any number of them.
const MOST_SOURCES: usize = 100;
/// The longest name of a source that is a label.
const LONGEST: usize = 100;
/// So many digits in a row may be a subscriber's number.
const NUMBER: usize = 7;
/// The label of all other sources.
const OTHER: &str = "other";

/// One worker's work, as metrics.
#[derive(Debug)]
pub struct Measures<C> {
    clock: C,
    registry: Registry,
    sources: Sources,
    /// In the order of [`Kind::ALL`]; of timers none.
    inputs: [Option<Counter>; Kind::ALL.len()],
    unreadable: Counter,
    duplicates: Counter,
    ignored: Counter,
    facts: FxHashMap<Box<str>, Facts>,
    decision: Histogram,
    commit: Histogram,
    failures: Counter,
    lateness: Histogram,
    watch: Stopwatch,
    batch: Batch,
}

/// The sources that have labels of their own, for all workers together.
#[derive(Clone, Debug, Default)]
pub struct Sources(Arc<Mutex<FxHashSet<Box<str>>>>);

#[derive(Debug)]
struct Facts {
    total: Counter,
    last: Gauge,
    /// Those of the batch.
    new: u64,
    at: Timestamp,
}

/// What was seen since the last commit.
#[derive(Debug, Default)]
struct Batch {
    inputs: [u64; Kind::ALL.len()],
    rejected: FxHashMap<&'static str, u64>,
    unreadable: u64,
    duplicates: u64,
    ignored: u64,
    logged: Vec<Timestamp>,
    late: Vec<Duration>,
}

impl Batch {
    /// Forgets all of it, and keeps its room.
    fn clear(&mut self) {
        self.inputs.fill(0);
        self.rejected.clear();
        (self.unreadable, self.duplicates, self.ignored) = (0, 0, 0);
        self.logged.clear();
        self.late.clear();
    }
}

impl Sources {
    /// The label of a source.
    fn label<'a>(&self, source: &'a str) -> &'a str {
        if !is_label(source) {
            return OTHER;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(source) {
            return source;
        }
        if known.len() == MOST_SOURCES {
            return OTHER;
        }
        known.insert(source.into());
        source
    }
}

/// Whether a source may be shown as it calls itself: some put a subscriber's number there.
fn is_label(source: &str) -> bool {
    let is_number = |run: &str| {
        let digits = run.chars().filter(char::is_ascii_digit).count();
        digits >= NUMBER && run.parse::<Ipv4Addr>().is_err()
    };
    let may_be_in_one = |c: char| c.is_ascii_digit() || matches!(c, '-' | '.' | ' ' | '(' | ')');
    source.len() <= LONGEST && !source.split(|c| !may_be_in_one(c)).any(is_number)
}

impl<C: Clock> Measures<C> {
    /// Of one worker; the workers of a process share `sources`.
    #[must_use]
    pub fn new(registry: &Registry, sources: &Sources, clock: C) -> Self {
        let counter = |(kind, name, _): (Kind, &str, &str)| {
            (kind != Kind::TimerFired).then(|| registry.counter(&INPUTS, &[name]))
        };
        Self {
            clock,
            registry: registry.clone(),
            sources: sources.clone(),
            inputs: Kind::ALL.map(counter),
            unreadable: registry.counter(&INPUTS, &[UNREADABLE]),
            duplicates: registry.counter(&DUPLICATES, &[]),
            ignored: registry.counter(&IGNORED, &[]),
            facts: FxHashMap::default(),
            decision: registry.histogram(&DECISION, &[]),
            commit: registry.histogram(&COMMIT, &[]),
            failures: registry.counter(&COMMIT_FAILURES, &[]),
            lateness: registry.histogram(&LATENESS, &[]),
            watch: Stopwatch::start(),
            batch: Batch::default(),
        }
    }

    fn fact(&mut self, source: &str, at: Timestamp) {
        let label =
            if self.facts.contains_key(source) { source } else { self.sources.label(source) };
        if let Some(facts) = self.facts.get_mut(label) {
            facts.new += 1;
            facts.at = facts.at.max(at);
            return;
        }
        let total = self.registry.counter(&FACTS, &[label]);
        let last = self.registry.gauge(&FACT_LAST, &[label]);
        self.facts.insert(label.into(), Facts { total, last, new: 1, at });
    }
}

impl<C: Clock> Observer for Measures<C> {
    fn input(&mut self, kind: Kind, source: &str, logged: Timestamp) {
        if let Some(count) = self.batch.inputs.get_mut(kind as usize) {
            *count += 1;
        }
        self.batch.logged.push(logged);
        if kind.is_fact() {
            self.fact(source, logged);
        }
    }

    fn refused(&mut self, why: &Rejected) {
        *self.batch.rejected.entry(why.word()).or_default() += 1;
        // A conflict could be read, and was counted by its type.
        self.batch.unreadable += u64::from(!matches!(why, Rejected::Conflict));
    }

    fn repeated(&mut self) {
        self.batch.duplicates += 1;
    }

    fn ignored(&mut self) {
        self.batch.ignored += 1;
    }

    fn rang(&mut self, late: Duration) {
        self.batch.late.push(late);
    }

    fn committing(&mut self) {
        self.watch = Stopwatch::start();
    }

    fn committed(&mut self) {
        self.commit.record(self.watch.elapsed().as_secs_f64());
        let now = self.clock.now();
        for (count, counter) in self.batch.inputs.iter().zip(&self.inputs) {
            if let Some(counter) = counter.as_ref().filter(|_| *count > 0) {
                counter.increment(*count);
            }
        }
        for (code, count) in &self.batch.rejected {
            self.registry.counter(&REJECTED, &[code]).increment(*count);
        }
        self.unreadable.increment(self.batch.unreadable);
        self.duplicates.increment(self.batch.duplicates);
        self.ignored.increment(self.batch.ignored);
        for logged in &self.batch.logged {
            self.decision.record(now.since(*logged).as_secs_f64());
        }
        for late in &self.batch.late {
            self.lateness.record(late.as_secs_f64());
        }
        for facts in self.facts.values_mut().filter(|facts| facts.new > 0) {
            facts.total.increment(std::mem::take(&mut facts.new));
            facts.last.set(seconds(facts.at));
        }
        self.batch.clear();
    }

    fn failed(&mut self) {
        self.failures.increment(1);
        self.facts.values_mut().for_each(|facts| facts.new = 0);
        self.batch.clear();
    }
}

/// An instant as Prometheus has it.
#[must_use]
pub fn seconds(at: Timestamp) -> f64 {
    Duration::from_millis(u64::try_from(at.as_millis()).unwrap_or(0)).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct At(i64);
    impl Clock for At {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0)
        }
    }

    fn measures() -> (Registry, Measures<At>) {
        let registry = Registry::new();
        let measures = Measures::new(&registry, &Sources::default(), At(2_000));
        (registry, measures)
    }

    #[track_caller]
    fn holds(registry: &Registry, lines: &[&str]) {
        let text = registry.render();
        for line in lines {
            assert!(text.lines().any(|found| found == *line), "no `{line}` in:\n{text}");
        }
    }

    #[test]
    fn what_is_durable_counts() {
        let (registry, mut seen) = measures();
        seen.input(Kind::CsAttached, "/probe/a", Timestamp::from_millis(1_996));
        seen.input(Kind::MessageSubmitted, "/sender", Timestamp::from_millis(1_900));
        seen.repeated();
        seen.refused(&Rejected::Conflict);
        seen.refused(&Rejected::NoSubject);
        seen.rang(Duration::from_secs(7));
        seen.committing();
        holds(&registry, &["deferd_inputs_total{type=\"cpm.cs.attached\"} 0"]);
        seen.committed();
        holds(
            &registry,
            &[
                "deferd_inputs_total{type=\"cpm.cs.attached\"} 1",
                "deferd_inputs_total{type=\"cpm.message.submitted\"} 1",
                "deferd_inputs_total{type=\"unreadable\"} 1",
                "deferd_rejected_total{code=\"conflict\"} 1",
                "deferd_rejected_total{code=\"subject\"} 1",
                "deferd_duplicates_total 1",
                "deferd_facts_total{source=\"/probe/a\"} 1",
                "deferd_fact_last_timestamp_seconds{source=\"/probe/a\"} 1.996",
                "deferd_decision_seconds_bucket{le=\"0.005\"} 1",
                "deferd_decision_seconds_bucket{le=\"0.1\"} 2",
                "deferd_timer_lateness_seconds_bucket{le=\"5\"} 0",
                "deferd_timer_lateness_seconds_bucket{le=\"10\"} 1",
                "deferd_commit_seconds_count 1",
            ],
        );
        assert!(!registry.render().contains("/sender"), "a sender is no probe");
    }

    /// The inputs of a commit that failed come again, and are seen again.
    #[test]
    fn what_failed_counts_once_it_is_durable() {
        let (registry, mut seen) = measures();
        for _ in 0..2 {
            seen.input(Kind::CsAttached, "/probe/a", Timestamp::from_millis(1_000));
            seen.committing();
            seen.failed();
        }
        seen.input(Kind::CsAttached, "/probe/a", Timestamp::from_millis(1_000));
        seen.committing();
        seen.committed();
        holds(
            &registry,
            &[
                "deferd_inputs_total{type=\"cpm.cs.attached\"} 1",
                "deferd_facts_total{source=\"/probe/a\"} 1",
                "deferd_commit_failures_total 2",
                "deferd_decision_seconds_count 1",
            ],
        );
    }

    #[test]
    fn no_source_brings_a_number_into_a_label() {
        let (registry, mut seen) = measures();
        for source in [
            "tel:+15145550100",
            "sip:alice@15145550100.example",
            "/ue/1-514-555-0100",
            "/imsi/302720123456789",
            &"x".repeat(LONGEST + 1),
        ] {
            seen.input(Kind::ImsRegistered, source, Timestamp::from_millis(1_000));
        }
        seen.input(
            Kind::ImsRegistered,
            "/probe/site-12/192.168.100.200",
            Timestamp::from_millis(1_000),
        );
        seen.committed();
        holds(
            &registry,
            &[
                "deferd_facts_total{source=\"other\"} 5",
                "deferd_facts_total{source=\"/probe/site-12/192.168.100.200\"} 1",
            ],
        );
        assert!(!registry.render().contains("555"));
    }

    /// [`Kind::ALL`] is in the order of the types, and the counts rely on it.
    #[test]
    fn each_type_has_its_own_count() {
        for (place, (kind, ..)) in Kind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, place, "{kind:?}");
        }
    }

    /// Two workers, and more sources than there may be labels.
    #[test]
    fn many_sources_are_one() {
        let (registry, mut one) = measures();
        let mut two = Measures::new(&registry, &one.sources, At(2_000));
        for number in 0..MOST_SOURCES + 20 {
            let source = format!("/probe/{number}");
            one.input(Kind::SmsReady, &source, Timestamp::from_millis(1_000));
            two.input(Kind::SmsReady, &source, Timestamp::from_millis(1_000));
        }
        one.committed();
        two.committed();
        holds(
            &registry,
            &[
                "deferd_facts_total{source=\"other\"} 40",
                "deferd_facts_total{source=\"/probe/99\"} 2",
            ],
        );
        let text = registry.render();
        let sources = text.lines().filter(|line| line.starts_with("deferd_facts_total{")).count();
        assert_eq!(sources, MOST_SOURCES + 1);
    }
}
