//! What can be measured: every metric with its unit, its help and its labels, in one table.
//!
//! No label may hold a subscriber's number: `ops/prometheus` keeps its data longer than we do, and shows
//! it to more people.

use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

mod seen;

pub use seen::{Measures, Sources, seconds};

use crate::domain::standing::Standing;
use crate::record::input::{Kind, Rejected};
use crate::record::journal::RULES;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// It grows, from 0 at each start.
    Counter,
    /// It is what it is now.
    Gauge,
    /// How often each size was met.
    Histogram,
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub shape: Shape,
    /// What it counts in.
    pub unit: Unit,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// The table: a constant each, and [`ALL`].
macro_rules! measures {
    ($($constant:ident: $name:literal $shape:ident $unit:ident [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Measure = Measure {
                name: $name,
                shape: Shape::$shape,
                unit: Unit::$unit,
                labels: &[$($label),*],
                help: $help,
            };
        )*
        /// Every metric there is.
        pub const ALL: &[Measure] = &[$($constant),*];
    };
}

measures! {
    BUILD: "deferd_build_info" Gauge Count ["version", "rules"]
        "1; the version of the program and of its rules.";
    START: "deferd_start_timestamp_seconds" Gauge Seconds []
        "When this process started, in seconds since 1970.";
    READY: "deferd_ready" Gauge Count []
        "1 while it takes inputs and decides, as /readyz says; else 0.";

    INPUTS: "deferd_inputs_total" Counter Count ["type"]
        "Inputs taken, by type; `unreadable` are those of no type.";
    REJECTED: "deferd_rejected_total" Counter Count ["code"]
        "Inputs that nobody could use, by reason; each is a dead letter.";
    DUPLICATES: "deferd_duplicates_total" Counter Count []
        "Inputs that had been taken before.";
    IGNORED: "deferd_ignored_total" Counter Count []
        "Inputs that changed nothing, and were recorded.";
    FACTS: "deferd_facts_total" Counter Count ["source"]
        "What probes said about phones, by source; `other` where there are too many sources.";
    FACT_LAST: "deferd_fact_last_timestamp_seconds" Gauge Seconds ["source"]
        "When a source last said something about a phone, in seconds since 1970.";
    HTTP: "deferd_http_requests_total" Counter Count ["route", "status"]
        "HTTP requests answered.";
    QUEUE: "deferd_queue_inputs" Gauge Count ["partition"]
        "Inputs that wait for their decision.";
    QUEUE_LIMIT: "deferd_queue_limit_inputs" Gauge Count []
        "How many may wait in a partition before inputs are answered 503: embedded.queue_inputs.";

    WAITING: "deferd_messages_waiting" Gauge Count ["state"]
        "Messages that have not ended, by the state of rules.md 3.3 that comes first.";
    OLDEST: "deferd_message_oldest_age_seconds" Gauge Seconds []
        "How long the oldest waiting message has waited; 0 where none waits.";
    USERS: "deferd_users" Gauge Count []
        "Users of whom something is known.";
    TIMERS: "deferd_timers_armed" Gauge Count []
        "Timers that will ring.";
    LATENESS: "deferd_timer_lateness_seconds" Histogram Seconds []
        "How long after it was due a timer rang.";

    DECISION: "deferd_decision_seconds" Histogram Seconds []
        "From the queue to a durable decision, each input.";
    COMMIT: "deferd_commit_seconds" Histogram Seconds []
        "How long it took to make a batch of decisions durable.";
    COMMIT_FAILURES: "deferd_commit_failures_total" Counter Count []
        "Commits that failed; what was in them was not acknowledged.";
    JOURNAL_SEQ: "deferd_journal_seq" Gauge Count ["partition"]
        "The number of the next journal record.";
    JOURNAL_BYTES: "deferd_journal_bytes" Gauge Bytes ["partition"]
        "What the journal's segments take on the disk.";
    DISK_FREE: "deferd_disk_free_bytes" Gauge Bytes []
        "What is free on the disk of the data directory, for us.";
    CHECKPOINT_AT: "deferd_checkpoint_timestamp_seconds" Gauge Seconds ["partition"]
        "When the last checkpoint was taken, in seconds since 1970; 0: never.";
    CHECKPOINT: "deferd_checkpoint_seconds" Gauge Seconds ["partition"]
        "How long the last checkpoint took.";

    SINK_LAG: "deferd_sink_lag_seconds" Gauge Seconds ["sink"]
        "How old the oldest record is that a sink has not sent; 0 where it has sent all.";
    SINK_RECORDS: "deferd_sink_lag_records" Gauge Count ["sink"]
        "Records that a sink has not sent.";
    SENT: "deferd_sink_sent_total" Counter Count ["sink", "result"]
        "What a sink sent: ok; again: it will be tried again; refused: a 4xx; late: its deadline passed.";

    LAG: "deferd_kafka_lag_records" Gauge Count ["partition"]
        "Inputs of a partition that waited when its ends were last looked up.";
    TRANSACTIONS: "deferd_kafka_transactions_total" Counter Count ["shard"]
        "Transactions committed.";
    ABORTS: "deferd_kafka_aborts_total" Counter Count ["shard"]
        "Transactions aborted: what was decided in them is decided again.";
    ROTATIONS: "deferd_kafka_rotations_total" Counter Count ["shard"]
        "Producers changed for a new one after a slow, failed or unanswered commit.";
    REBALANCES: "deferd_kafka_rebalances_total" Counter Count ["shard"]
        "How often the group took partitions back to share them out anew.";
    RESTORE: "deferd_restore_seconds" Gauge Seconds ["partition"]
        "How long a partition last took to be restored, its predecessor's last commit included.";

    POLICY: "deferd_policy_info" Gauge Count ["digest"]
        "1 for the policy in force, 0 for one that was.";
    SWITCH: "deferd_switch" Gauge Count ["key"]
        "1 while a kill switch is set.";
    CLOCK_HELD: "deferd_clock_held" Gauge Count []
        "1 while the clock has leapt ahead and nothing rings or expires.";
    MEMORY: "deferd_memory_bytes" Gauge Bytes []
        "Memory of the process that is in use.";
}

/// What each label may hold. None of them is about one subscriber; whoever adds one says why not.
pub const LABELS: [(&str, &str); 14] = [
    ("version", "our version"),
    ("rules", "the version of our rules"),
    ("type", "a type of input, of those we know"),
    ("code", "a reason of ours for a dead letter"),
    ("source", "a probe as it calls itself; one that has a long number in it is `other`"),
    ("route", "a route of ours, never the path that was asked for"),
    ("status", "an HTTP status"),
    ("partition", "a partition's number"),
    ("shard", "the number of a shard of this process"),
    ("state", "a state of a message"),
    ("sink", "a sink's name"),
    ("result", "how a try went"),
    ("digest", "the digest of a policy"),
    ("key", "a kill switch"),
];

/// How a try of a sink may go.
pub const RESULTS: [&str; 4] = ["ok", "again", "refused", "late"];
/// The kill switches.
pub const SWITCHES: [&str; 2] = ["access_cpm", "access_sms"];
/// The type of an input that has none.
pub const UNREADABLE: &str = "unreadable";

/// Upper bounds of the histograms, in seconds: from a fast disk to what nobody waits for.
const BUCKETS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// Hands out the metrics, and writes them as Prometheus reads them. All its clones are one.
#[derive(Clone)]
pub struct Registry {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

const FROM: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

impl Registry {
    /// One with nothing measured yet: all is described, and whatever has labels that are known
    /// beforehand stands at 0, so that the first of anything is a rise.
    ///
    /// # Panics
    ///
    /// Never: the buckets are there.
    #[must_use]
    pub fn new() -> Self {
        let mut builder = PrometheusBuilder::new();
        for measure in ALL.iter().filter(|measure| measure.shape == Shape::Histogram) {
            let name = Matcher::Full(measure.name.to_owned());
            builder = builder.set_buckets_for_metric(name, &BUCKETS).expect("there are buckets");
        }
        let recorder = Arc::new(builder.build_recorder());
        let registry = Self { handle: recorder.handle(), recorder };
        registry.describe();
        registry.zero();
        registry
    }

    fn describe(&self) {
        for &Measure { name, shape, unit, help, .. } in ALL {
            match shape {
                Shape::Counter => {
                    self.recorder.describe_counter(name.into(), Some(unit), help.into());
                }
                Shape::Gauge => self.recorder.describe_gauge(name.into(), Some(unit), help.into()),
                Shape::Histogram => {
                    self.recorder.describe_histogram(name.into(), Some(unit), help.into());
                }
            }
        }
    }

    fn zero(&self) {
        for measure in ALL.iter().filter(|measure| measure.labels.is_empty()) {
            match measure.shape {
                Shape::Counter => drop(self.counter(measure, &[])),
                Shape::Gauge => drop(self.gauge(measure, &[])),
                Shape::Histogram => drop(self.histogram(measure, &[])),
            }
        }
        self.gauge(&BUILD, &[env!("CARGO_PKG_VERSION"), &RULES.to_string()]).set(1);
        let kinds = Kind::ALL.iter().filter(|(kind, ..)| *kind != Kind::TimerFired);
        for kind in kinds.map(|(_, name, _)| *name).chain([UNREADABLE]) {
            drop(self.counter(&INPUTS, &[kind]));
        }
        for code in Rejected::WORDS {
            drop(self.counter(&REJECTED, &[code]));
        }
        for state in Standing::ALL {
            drop(self.gauge(&WAITING, &[state.name()]));
        }
        for key in SWITCHES {
            drop(self.gauge(&SWITCH, &[key]));
        }
    }

    /// A counter; the values of its labels stand in the order of its labels.
    ///
    /// # Panics
    ///
    /// It is no counter, or has another number of labels: a mistake of ours.
    pub fn counter(&self, measure: &Measure, values: &[&str]) -> Counter {
        assert_eq!(measure.shape, Shape::Counter, "{}", measure.name);
        self.recorder.register_counter(&key(measure, values), &FROM)
    }

    /// A gauge.
    ///
    /// # Panics
    ///
    /// As [`counter`](Self::counter).
    pub fn gauge(&self, measure: &Measure, values: &[&str]) -> Gauge {
        assert_eq!(measure.shape, Shape::Gauge, "{}", measure.name);
        self.recorder.register_gauge(&key(measure, values), &FROM)
    }

    /// A histogram.
    ///
    /// # Panics
    ///
    /// As [`counter`](Self::counter).
    pub fn histogram(&self, measure: &Measure, values: &[&str]) -> Histogram {
        assert_eq!(measure.shape, Shape::Histogram, "{}", measure.name);
        self.recorder.register_histogram(&key(measure, values), &FROM)
    }

    /// Answers to requests of these routes stand at 0 from now on, those that alerts look for.
    pub fn routes(&self, routes: &[&str]) {
        for route in routes {
            for status in ["200", "401", "500", "503"] {
                drop(self.counter(&HTTP, &[route, status]));
            }
        }
    }

    /// What a sink does stands at 0 from now on.
    pub fn sink(&self, sink: &str) {
        drop(self.gauge(&SINK_LAG, &[sink]));
        drop(self.gauge(&SINK_RECORDS, &[sink]));
        for result in RESULTS {
            drop(self.counter(&SENT, &[sink, result]));
        }
    }

    /// All of it, as Prometheus reads it.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Adds up what the histograms were told: every few seconds, or they grow until somebody renders.
    pub fn tidy(&self) {
        self.handle.run_upkeep();
    }
}

fn key(measure: &Measure, values: &[&str]) -> Key {
    assert_eq!(measure.labels.len(), values.len(), "labels of {}", measure.name);
    let labels = measure.labels.iter().zip(values);
    let labels: Vec<Label> =
        labels.map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
    Key::from_parts(measure.name, labels)
}

/// The memory of this process that is in use, in bytes; `None` where the system does not tell.
#[must_use]
pub fn memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// What is free for us on the disk of a path, in bytes; `None` where the system does not tell.
#[must_use]
pub fn disk_free_bytes(path: &std::path::Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_name_says_its_unit() {
        let mut names = BTreeSet::new();
        for Measure { name, shape, unit, help, .. } in ALL {
            assert!(names.insert(name), "{name} stands there twice");
            assert!(name.starts_with("deferd_") && help.ends_with('.'), "{name}: {help}");
            assert_eq!(*shape == Shape::Counter, name.ends_with("_total"), "{name}");
            assert_eq!(*unit == Unit::Seconds, name.ends_with("_seconds"), "{name}");
            assert_eq!(*unit == Unit::Bytes, name.ends_with("_bytes"), "{name}");
        }
    }

    #[test]
    fn every_label_is_one_that_holds_no_number() {
        let known: BTreeSet<&str> = LABELS.iter().map(|(label, _)| *label).collect();
        let used: BTreeSet<&str> = ALL.iter().flat_map(|measure| measure.labels).copied().collect();
        assert_eq!(used, known);
    }

    /// An alert on the first dead letter, the first 500: `increase` needs a 0 before it.
    #[test]
    fn what_can_be_known_beforehand_stands_at_0() {
        let registry = Registry::new();
        registry.routes(&["/v1/events"]);
        registry.sink("file");
        let text = registry.render();
        for line in [
            "deferd_inputs_total{type=\"cpm.cs.attached\"} 0",
            "deferd_inputs_total{type=\"unreadable\"} 0",
            "deferd_rejected_total{code=\"conflict\"} 0",
            "deferd_messages_waiting{state=\"IpInFlight\"} 0",
            "deferd_switch{key=\"access_sms\"} 0",
            "deferd_http_requests_total{route=\"/v1/events\",status=\"500\"} 0",
            "deferd_sink_sent_total{sink=\"file\",result=\"late\"} 0",
            "deferd_ready 0",
            "deferd_decision_seconds_bucket{le=\"0.0005\"} 0",
            "deferd_commit_failures_total 0",
            "# TYPE deferd_commit_seconds histogram",
            "# HELP deferd_users Users of whom something is known.",
        ] {
            assert!(text.lines().any(|found| found == line), "no `{line}` in:\n{text}");
        }
    }

    #[test]
    fn memory_and_disk_are_told() {
        assert!(memory_bytes().is_some_and(|bytes| bytes > 1 << 20));
        assert!(disk_free_bytes(std::path::Path::new("/")).is_some_and(|bytes| bytes > 0));
    }
}
