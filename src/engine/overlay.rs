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

/// The users a step has touched, and the inputs it must remember.
#[derive(Debug, Default)]
pub struct Overlay {
    users: FxHashMap<UserKey, User>,
    duplicates: FxHashSet<u128>,
    order: Vec<(u128, Timestamp)>,
    /// The policy, where the step changed it.
    pub policy: Option<Arc<Policy>>,
    at: Timestamp,
}

impl Overlay {
    /// The overlay of a step that decides at this instant.
    #[must_use]
    pub fn begun(at: Timestamp) -> Self {
        Self { at, ..Self::default() }
    }

    /// Where this user is, or would be, and its state as the step has left it.
    pub fn user(&mut self, state: &State, address: &Address) -> (UserKey, &mut User) {
        let mut key = state.users.key(address);
        // Two new users of one hash in one step.
        while self.users.get(&key).is_some_and(|user| user.address != *address) {
            key = key.next();
        }
        let user = self
            .users
            .entry(key)
            .or_insert_with(|| state.users.get(key).unwrap_or_else(|| User::new(address.clone())));
        (key, user)
    }

    /// The user there.
    pub fn by_key(&mut self, state: &State, key: UserKey) -> Option<&mut User> {
        match self.users.entry(key) {
            Entry::Occupied(there) => Some(there.into_mut()),
            Entry::Vacant(place) => Some(place.insert(state.users.get(key)?)),
        }
    }

    /// Whether an input was taken before, or in this step; if not, it is remembered.
    pub fn is_repeated(&mut self, state: &State, digest: u128, at: Timestamp) -> bool {
        if state.duplicates.contains(digest) || !self.duplicates.insert(digest) {
            return true;
        }
        self.order.push((digest, at));
        false
    }

    /// Puts all of it into the state, and sets each user's alarm.
    pub fn fold_in(self, state: &mut State, alarms: &mut Alarms) {
        if let Some(policy) = self.policy {
            state.policy = policy;
            state.policy_told = true;
        }
        state.at = state.at.max(self.at);
        for (digest, at) in self.order {
            state.duplicates.remember(digest, at);
        }
        state.duplicates.forget(state.at, &state.policy);
        for (key, user) in self.users {
            if user.is_forgettable(state.at, &state.policy) {
                state.users.drop(key);
                continue;
            }
            let wake_at = user.wake_at(&state.policy);
            state.users.put(key, user);
            if let Some(wake_at) = wake_at {
                alarms.set(&mut state.users, key, wake_at);
            }
        }
    }
}
