//! The topics, and what each is for.

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
    /// The state, user by user, compacted.
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
}
