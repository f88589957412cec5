//! The topics, what each is for, and how each is set.

use std::time::Duration;

use super::client::{Cluster, KafkaFault};
use super::look::{Seen, View};

/// How long inputs, and outputs that nobody took, are kept: a long weekend and some days.
pub(super) const KEPT: Duration = days(7);
/// How long the journal and what nobody could use are kept.
pub(super) const KEPT_LONG: Duration = days(30);
/// Kafka's default, 1 MiB and what a batch adds: the largest record of ours is below 1,000,000 bytes.
pub(super) const LARGEST: u64 = 1_048_588;

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

/// A topic of ours; its name takes the cluster's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// What is to be delivered.
    Messages,
    /// What was seen of devices.
    Reachability,
    /// How attempts ended.
    Outcomes,
    /// What was decided, and from what: the truth.
    Journal,
    /// Commands for gateways.
    Deliveries,
    /// IMDNs and results for senders.
    Notifications,
    /// Inputs nobody could use.
    DeadLetters,
    /// The state, piece by piece, compacted.
    Snapshots,
}

impl Topic {
    /// All of them. They have the same number of partitions: a user has one and the same in each.
    pub const ALL: [Self; 8] = [
        Self::Messages,
        Self::Reachability,
        Self::Outcomes,
        Self::Journal,
        Self::Deliveries,
        Self::Notifications,
        Self::DeadLetters,
        Self::Snapshots,
    ];
    /// Those that inputs are read from.
    pub const INPUTS: [Self; 3] = [Self::Messages, Self::Reachability, Self::Outcomes];

    /// Its name without a prefix.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Messages => "cpm.messages",
            Self::Reachability => "cpm.reachability",
            Self::Outcomes => "cpm.outcomes",
            Self::Journal => "cpm.journal",
            Self::Deliveries => "cpm.deliveries",
            Self::Notifications => "cpm.notifications",
            Self::DeadLetters => "cpm.dead-letters",
            Self::Snapshots => "cpm.snapshots",
        }
    }

    /// Those that a process reads: inputs, and what it restores from.
    pub(super) const READ: [Self; 5] =
        [Self::Messages, Self::Reachability, Self::Outcomes, Self::Journal, Self::Snapshots];

    /// How it is made with so many copies: nothing of it rests on the cluster's own defaults that another
    /// value would make unsafe.
    #[must_use]
    pub fn settings(self, copies: u32) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("min.insync.replicas", if copies >= 3 { "2" } else { "1" }.to_owned()),
            ("unclean.leader.election.enable", "false".to_owned()),
            ("max.message.bytes", LARGEST.to_string()),
            ("cleanup.policy", self.cleanup().to_owned()),
        ];
        let kept = |kept: Duration| ("retention.ms", kept.as_millis().to_string());
        let a_day = || days(1).as_millis().to_string();
        settings.extend(match self {
            // A timer fires when all that came before it was read: that needs the log's own time.
            Self::Messages | Self::Reachability | Self::Outcomes => {
                vec![kept(KEPT), ("message.timestamp.type", "LogAppendTime".to_owned())]
            }
            Self::Journal => vec![kept(KEPT_LONG), ("retention.bytes", "-1".to_owned())],
            Self::Deliveries | Self::Notifications => vec![kept(KEPT)],
            Self::DeadLetters => vec![kept(KEPT_LONG)],
            Self::Snapshots => vec![
                ("min.compaction.lag.ms", "3600000".to_owned()),
                // Who was purged is gone after a day, and the mark of it stays as long.
                ("max.compaction.lag.ms", a_day()),
                ("delete.retention.ms", a_day()),
            ],
        });
        settings
    }

    /// Whether old records go, or those of which there is a newer one.
    pub(super) const fn cleanup(self) -> &'static str {
        match self {
            Self::Snapshots => "compact",
            Self::Messages
            | Self::Reachability
            | Self::Outcomes
            | Self::Journal
            | Self::Deliveries
            | Self::Notifications
            | Self::DeadLetters => "delete",
        }
    }
}

impl Cluster {
    /// How many partitions each of our topics has, where all are there and have the same number: else
    /// nothing can begin.
    ///
    /// # Errors
    ///
    /// As [`look`](Self::look); [`KafkaFault::Topics`] names those that are not as they must be.
    pub fn check_start(&self) -> Result<u32, KafkaFault> {
        let view = self.look()?;
        let named = |wanted: fn(&Seen) -> bool| -> Vec<String> {
            let names = Topic::ALL.iter().map(|topic| self.topic(*topic));
            names.filter(|name| wanted(view.topic(name))).collect()
        };
        let forbidden = named(|seen| *seen == Seen::Forbidden);
        let missing = named(|seen| *seen == Seen::Missing);
        if let Some(all) = listed(&forbidden) {
            return Err(KafkaFault::Topics(format!(
                "may not see {all}: `deferd topics check` says which rights are missing"
            )));
        }
        if let Some(all) = listed(&missing) {
            return Err(KafkaFault::Topics(format!(
                "{all} {} not there: type `deferd topics create`, or is kafka.prefix another?",
                if missing.len() == 1 { "is" } else { "are" }
            )));
        }
        self.partitions(&view).map_err(KafkaFault::Topics)
    }

    /// The number of partitions of those topics that are there; what is wrong where they differ.
    pub(super) fn partitions(&self, view: &View) -> Result<u32, String> {
        let counts: Vec<(String, usize)> = Topic::ALL
            .iter()
            .map(|topic| self.topic(*topic))
            .filter_map(|name| match view.topic(&name) {
                Seen::There(partitions) => Some((name, partitions.len())),
                Seen::Missing | Seen::Forbidden => None,
            })
            .collect();
        let first = counts.first().map_or(0, |(_, count)| *count);
        if counts.iter().any(|(_, count)| *count != first) {
            let all: Vec<String> =
                counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
            return Err(format!(
                "the topics have different numbers of partitions, so that a user would be in another \
                 partition of each: {}; where they are empty, delete them and type `deferd topics \
                 create`, else make new ones under another kafka.prefix",
                all.join(", ")
            ));
        }
        Ok(u32::try_from(first).unwrap_or(u32::MAX))
    }
}

/// `a, b, c`; `None` where there is nothing to list.
fn listed(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| names.join(", "))
}
