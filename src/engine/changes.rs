//! What a step has changed and not yet committed: kept by a commit, undone by an abort.
//!
//! Users are changed where they stand, and it is how they were that is copied: the copy is short-lived,
//! and the user stays in the memory it has.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::alarms::Alarms;
use super::state::State;
use super::users::{Before, UserKey};
use crate::domain::address::Address;
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;
use crate::domain::user::User;

/// A user that the step has changed.
#[derive(Debug)]
struct Touched {
    before: Before,
    /// When it wants to be looked at, if somebody has asked since it changed.
    wake_at: Option<Option<Timestamp>>,
}

/// The users a step has touched, and the inputs it must remember.
#[derive(Debug, Default)]
pub(super) struct Changes {
    users: FxHashMap<UserKey, Touched>,
    duplicates: FxHashSet<u128>,
    order: Vec<(u128, Timestamp)>,
    /// The policy, where the step changed it.
    pub(super) policy: Option<Arc<Policy>>,
    /// How many partitions there are, where the step said so.
    pub(super) partitions: Option<u32>,
    /// When the step decides.
    pub(super) at: Timestamp,
    /// When the last record of the step was decided: the journal knows of no other instants.
    pub(super) recorded: Option<Timestamp>,
}

impl Changes {
    /// Makes room for that many inputs more.
    pub(super) fn reserve(&mut self, inputs: usize) {
        self.users.reserve(inputs);
        self.duplicates.reserve(inputs);
        self.order.reserve(inputs);
    }

    /// This user, to be changed; a new one where nothing is known of it.
    ///
    /// # Panics
    ///
    /// Never: it was made sure that it is there.
    pub(super) fn user<'s>(&mut self, state: &'s mut State, address: &Address) -> &'s mut User {
        let key = state.users.key(address);
        self.touch(state, key);
        if state.users.change(key).is_none() {
            state.users.put(key, User::new(address.clone()));
        }
        state.users.change(key).expect("it was put there where it was not")
    }

    /// The user there, to be changed.
    pub(super) fn by_key<'s>(
        &mut self,
        state: &'s mut State,
        key: UserKey,
    ) -> Option<&'s mut User> {
        self.touch(state, key);
        state.users.change(key)
    }

    /// Notes how a user is before it is changed.
    fn touch(&mut self, state: &mut State, key: UserKey) {
        match self.users.entry(key) {
            Entry::Occupied(mut there) => there.get_mut().wake_at = None,
            Entry::Vacant(place) => {
                place.insert(Touched { before: state.users.before(key), wake_at: None });
            }
        }
    }

    /// The users that the step has touched and that something is due for by `until`, and when.
    pub(super) fn due<'a>(
        &'a mut self,
        state: &'a State,
        until: Timestamp,
        policy: &'a Policy,
    ) -> impl Iterator<Item = (Timestamp, UserKey)> + 'a {
        self.users.iter_mut().filter_map(move |(key, touched)| {
            let wake_at = touched.wake_at(state, *key, policy).filter(|at| *at <= until)?;
            Some((wake_at, *key))
        })
    }

    /// When the user there wants to be looked at.
    pub(super) fn wake_at(
        &mut self,
        state: &State,
        key: UserKey,
        policy: &Policy,
    ) -> Option<Timestamp> {
        match self.users.get_mut(&key) {
            Some(touched) => touched.wake_at(state, key, policy),
            None => wake_at(state, key, policy),
        }
    }

    /// Whether an input was taken before, in the window or in this step.
    #[must_use]
    pub(super) fn is_repeated(&self, state: &State, digest: u128) -> bool {
        let policy = self.policy.as_ref().unwrap_or(&state.policy);
        self.duplicates.contains(&digest) || state.duplicates.contains(digest, self.at, policy)
    }

    /// Remembers an input that was taken. A refused one is not: the journal keeps too little of it.
    pub(super) fn remember(&mut self, digest: u128, at: Timestamp) {
        self.duplicates.insert(digest);
        self.order.push((digest, at));
    }

    /// They are durable: the rest of them goes into the state, and each user's alarm is set.
    pub(super) fn keep(self, state: &mut State, alarms: &mut Alarms) {
        if let Some(policy) = self.policy {
            state.policy = policy;
            state.policy_told = true;
            state.partitions = self.partitions.or(state.partitions);
        }
        if let Some(at) = self.recorded {
            state.at = state.at.max(at);
        }
        for (digest, at) in self.order {
            state.duplicates.remember(digest, at);
        }
        state.duplicates.forget(state.at, &state.policy);
        for (key, mut touched) in self.users {
            let (at, policy) = (state.at, &state.policy);
            if state.users.see(key, |user| user.is_forgettable(at, policy)) == Some(true) {
                state.users.drop(key);
            } else if let Some(wake_at) = touched.wake_at(state, key, policy) {
                alarms.set(&mut state.users, key, wake_at);
            }
        }
    }

    /// They are dropped: each user is again as it was.
    pub(super) fn undo(self, state: &mut State) {
        for (key, touched) in self.users {
            state.users.undo(key, touched.before);
        }
    }
}

impl Touched {
    fn wake_at(&mut self, state: &State, key: UserKey, policy: &Policy) -> Option<Timestamp> {
        *self.wake_at.get_or_insert_with(|| wake_at(state, key, policy))
    }
}

fn wake_at(state: &State, key: UserKey, policy: &Policy) -> Option<Timestamp> {
    state.users.see(key, |user| user.wake_at(policy)).flatten()
}
