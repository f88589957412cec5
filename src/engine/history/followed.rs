//! One user through a journal: the state after each record, and what each fact of it rests on.

use std::sync::Arc;

use super::Line;
use super::facts::Facts;
use crate::domain::address::Address;
use crate::domain::command::Command;
use crate::domain::open::View;
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;
use crate::domain::user::User;
use crate::engine::state::{BrokenJournal, State, policy_of};
use crate::record::journal::Record;

/// A user, as the records so far have left it.
#[derive(Debug)]
pub struct Followed {
    address: String,
    /// The state.
    pub user: User,
    /// The policy in force.
    pub policy: Arc<Policy>,
    /// What the state rests on.
    pub facts: Facts,
    /// The last record of the journal seen, whosever it was.
    pub last: Option<(u64, Timestamp)>,
    /// Records of the user seen; where it was known before them, one more.
    pub records: u64,
}

impl Followed {
    /// A user of whom nothing is known.
    #[must_use]
    pub fn new(address: &Address) -> Self {
        Self {
            address: address.to_string(),
            user: User::new(address.clone()),
            policy: Arc::default(),
            facts: Facts::default(),
            last: None,
            records: 0,
        }
    }

    /// A user as a state knows it. What its beliefs rest on is not known.
    #[must_use]
    pub fn after(state: &State, address: &Address) -> Self {
        let known = state.users.get(state.users.key(address));
        let last = state.next_seq.checked_sub(1).map(|seq| (seq, state.at));
        Self {
            records: u64::from(known.is_some()),
            user: known.unwrap_or_else(|| User::new(address.clone())),
            policy: Arc::clone(&state.policy),
            last,
            ..Self::new(address)
        }
    }

    /// Whether a record may move it: one of the user's, or a change of policy. All others are not
    /// decoded.
    #[must_use]
    pub fn concerns(&self, line: &Line<'_>) -> bool {
        line.is_policy || line.user.as_deref() == Some(&*self.address)
    }

    /// Notes that a record has gone by.
    pub fn pass(&mut self, line: &Line<'_>) {
        let at = self.last.map_or(line.at, |(_, at)| at.max(line.at));
        self.last = Some((line.seq, at));
    }

    /// Moves the state by a record that concerns it. `each` sees every command that an event asked for.
    ///
    /// # Errors
    ///
    /// [`BrokenJournal::Policy`]: it changes the policy to none.
    pub fn apply(
        &mut self,
        record: &Record<'_>,
        mut each: impl FnMut(Command),
    ) -> Result<(), BrokenJournal> {
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
    #[must_use]
    pub fn view(&self, now: Timestamp) -> View<'_> {
        View { user: &self.user, policy: &self.policy, at: now, now, fresh: None }
    }
}
