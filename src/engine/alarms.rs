//! What is due, and for whom: one alarm a user, moved only earlier, checked against `wake_at` when it
//! rings.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::users::{UserKey, Users};
use crate::domain::time::Timestamp;

/// The alarms of a partition.
#[derive(Debug, Default)]
pub struct Alarms {
    heap: BinaryHeap<Reverse<(Timestamp, UserKey)>>,
}

impl Alarms {
    /// These alarms, as users have them.
    #[must_use]
    pub fn of(armed: Vec<(Timestamp, UserKey)>) -> Self {
        Self { heap: armed.into_iter().map(Reverse).collect() }
    }

    /// Sets the alarm of a user, if it is sooner than the one that is set.
    pub fn set(&mut self, users: &mut Users, key: UserKey, at: Timestamp) {
        if users.ring_sooner(key, at) {
            self.heap.push(Reverse((at, key)));
        }
    }

    /// How many are set; one that was moved is counted until its old time has passed.
    #[must_use]
    pub fn count(&self) -> usize {
        self.heap.len()
    }

    /// When the next alarm rings; entries that were moved are passed over.
    pub fn next(&mut self, users: &Users) -> Option<Timestamp> {
        while let Some(Reverse((at, key))) = self.heap.peek() {
            if users.alarm(*key) == *at {
                return Some(*at);
            }
            self.heap.pop();
        }
        None
    }

    /// The users whose alarms ring first, if that is by `until`: all of one instant.
    pub fn ring(&mut self, users: &mut Users, until: Timestamp) -> Vec<UserKey> {
        let Some(at) = self.next(users).filter(|at| *at <= until) else { return Vec::new() };
        let mut ringing = Vec::new();
        while self.next(users) == Some(at) {
            if let Some(Reverse((_, key))) = self.heap.pop() {
                users.set_alarm(key, Timestamp::MAX);
                ringing.push(key);
            }
        }
        ringing
    }
}
