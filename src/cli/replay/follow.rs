//! One user through a journal: the state after each record, and what each fact of it rests on.

use std::sync::Arc;

use super::facts::Facts;
use crate::cli::journal_file::Entry;
use crate::domain::address::Address;
use crate::domain::command::Command;
use crate::domain::open::View;
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;
use crate::domain::user::User;
use crate::engine::state::policy_of;
use crate::record::journal::Record;

/// A user, as the records so far have left it.
#[derive(Debug)]
pub(in crate::cli) struct Followed {
    address: String,
    /// The state.
    pub(in crate::cli) user: User,
    /// The policy in force.
    pub(in crate::cli) policy: Arc<Policy>,
    /// What the state rests on.
    pub(in crate::cli) facts: Facts,
    /// The last record of the journal seen, whosever it was.
    pub(in crate::cli) last: Option<(u64, Timestamp)>,
    /// Records of the user seen.
    pub(in crate::cli) records: u64,
}

impl Followed {
    /// A user of whom nothing is known.
    pub(in crate::cli) fn new(address: &Address) -> Self {
        Self {
            address: address.to_string(),
            user: User::new(address.clone()),
            policy: Arc::default(),
            facts: Facts::default(),
            last: None,
            records: 0,
        }
    }

    /// Whether a record may move it: one of the user's, or a change of policy. All others are not
    /// decoded.
    pub(in crate::cli) fn concerns(&self, entry: &Entry<'_>) -> bool {
        entry.is_policy || entry.user.as_deref() == Some(&*self.address)
    }

    /// Notes that a record has gone by.
    pub(in crate::cli) fn pass(&mut self, entry: &Entry<'_>) {
        let at = self.last.map_or(entry.at, |(_, at)| at.max(entry.at));
        self.last = Some((entry.seq, at));
    }

    /// Moves the state by a record that concerns it. `each` sees every command that an event asked for.
    pub(in crate::cli) fn apply(
        &mut self,
        record: &Record<'_>,
        mut each: impl FnMut(Command),
    ) -> anyhow::Result<()> {
        if let Some(policy) = policy_of(record)? {
            self.policy = Arc::new(policy);
            self.facts.policy(record);
            return Ok(());
        }
        if record.user.as_deref() != Some(&*self.address) {
            return Ok(());
        }
        self.records += 1;
        self.facts.note(record);
        for event in &record.events {
            self.user.evolve(event);
            Command::of(&self.user, event, &self.policy).into_iter().for_each(&mut each);
        }
        let at = self.last.map_or(record.at, |(_, at)| at.max(record.at));
        if !record.events.is_empty() && self.user.is_forgettable(at, &self.policy) {
            self.user = User::new(self.user.address.clone());
        }
        Ok(())
    }

    /// The state as it reads at an instant.
    pub(in crate::cli) fn view(&self, now: Timestamp) -> View<'_> {
        View { user: &self.user, policy: &self.policy, at: now, now, fresh: None }
    }
}
