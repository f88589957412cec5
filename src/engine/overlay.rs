//! What a step has decided and not yet committed: folded into the state by a commit, dropped by an
//! abort.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::alarms::Alarms;
use super::state::State;
use super::users::UserKey;
use crate::domain::address::Address;
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;
use crate::domain::user::User;

/// A user as the step has left it.
#[derive(Debug)]
struct Touched {
    user: Box<User>,
    /// When it wants to be looked at, if somebody has asked since it changed.
    wake_at: Option<Option<Timestamp>>,
}

impl From<Box<User>> for Touched {
    fn from(user: Box<User>) -> Self {
        Self { user, wake_at: None }
    }
}

impl Touched {
    fn wake_at(&mut self, policy: &Policy) -> Option<Timestamp> {
        *self.wake_at.get_or_insert_with(|| self.user.wake_at(policy))
    }

    /// The user, to be changed.
    fn change(&mut self) -> &mut User {
        self.wake_at = None;
        &mut self.user
    }
}

/// The users a step has touched, and the inputs it must remember.
#[derive(Debug, Default)]
pub struct Overlay {
    users: FxHashMap<UserKey, Touched>,
    duplicates: FxHashSet<u128>,
    order: Vec<(u128, Timestamp)>,
    /// The policy, where the step changed it.
    pub policy: Option<Arc<Policy>>,
    /// How many partitions there are, where the step said so.
    pub partitions: Option<u32>,
    /// When the step decides.
    pub at: Timestamp,
    /// When the last record of the step was decided: the journal knows of no other instants.
    pub recorded: Option<Timestamp>,
}

impl Overlay {
    /// Makes room for that many inputs more.
    pub fn reserve(&mut self, inputs: usize) {
        self.users.reserve(inputs);
        self.duplicates.reserve(inputs);
        self.order.reserve(inputs);
    }

    /// Where this user is, or would be, and its state as the step has left it.
    pub fn user(&mut self, state: &State, address: &Address) -> (UserKey, &mut User) {
        let mut key = state.users.key(address);
        // Two new users of one hash in one step.
        while self.users.get(&key).is_some_and(|there| there.user.address != *address) {
            key = key.next();
        }
        let user = self.users.entry(key).or_insert_with(|| {
            let known = state.users.boxed(key);
            known.unwrap_or_else(|| Box::new(User::new(address.clone()))).into()
        });
        (key, user.change())
    }

    /// The user there.
    pub fn by_key(&mut self, state: &State, key: UserKey) -> Option<&mut User> {
        match self.users.entry(key) {
            Entry::Occupied(there) => Some(there.into_mut().change()),
            Entry::Vacant(place) => Some(place.insert(state.users.boxed(key)?.into()).change()),
        }
    }

    /// The users that the step has touched and that something is due for by `until`, and when.
    pub fn due<'a>(
        &'a mut self,
        until: Timestamp,
        policy: &'a Policy,
    ) -> impl Iterator<Item = (Timestamp, UserKey)> + 'a {
        self.users.iter_mut().filter_map(move |(key, user)| {
            let wake_at = user.wake_at(policy).filter(|at| *at <= until)?;
            Some((wake_at, *key))
        })
    }

    /// When the user there wants to be looked at.
    pub fn wake_at(&mut self, state: &State, key: UserKey, policy: &Policy) -> Option<Timestamp> {
        match self.users.get_mut(&key) {
            Some(user) => user.wake_at(policy),
            None => state.users.see(key, |user| user.wake_at(policy))?,
        }
    }

    /// Who the user there is.
    #[must_use]
    pub fn address(&self, state: &State, key: UserKey) -> Option<Address> {
        match self.users.get(&key) {
            Some(there) => Some(there.user.address.clone()),
            None => state.users.see(key, |user| user.address.clone()),
        }
    }

    /// Whether an input was taken before, in the window or in this step.
    #[must_use]
    pub fn is_repeated(&self, state: &State, digest: u128) -> bool {
        let policy = self.policy.as_ref().unwrap_or(&state.policy);
        self.duplicates.contains(&digest) || state.duplicates.contains(digest, self.at, policy)
    }

    /// Remembers an input that was taken. A refused one is not: the journal keeps too little of it.
    pub fn remember(&mut self, digest: u128, at: Timestamp) {
        self.duplicates.insert(digest);
        self.order.push((digest, at));
    }

    /// Puts all of it into the state, and sets each user's alarm.
    pub fn fold_in(self, state: &mut State, alarms: &mut Alarms) {
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
            if touched.user.is_forgettable(state.at, &state.policy) {
                state.users.drop(key);
                continue;
            }
            let wake_at = touched.wake_at(&state.policy);
            state.users.put(key, touched.user);
            if let Some(wake_at) = wake_at {
                alarms.set(&mut state.users, key, wake_at);
            }
        }
    }
}
