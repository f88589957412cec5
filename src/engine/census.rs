//! How many messages wait, and where they stand: counted in slices between steps, for gauges.

use super::state::State;
use super::users::TABLES;
use crate::domain::open::View;
use crate::domain::standing::Standing;
use crate::domain::time::Timestamp;

/// What one round has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Messages by where they stand, in the order of [`Standing::ALL`].
    pub standing: [u64; Standing::ALL.len()],
    /// When the oldest of them was accepted.
    pub oldest: Option<Timestamp>,
}

/// A round under way.
#[derive(Debug, Default)]
pub struct Census {
    table: usize,
    counted: Counted,
}

impl Census {
    /// Counts on, over some tables of users. What the round has counted, once it is over.
    pub fn count_on(&mut self, state: &State, now: Timestamp, tables: usize) -> Option<Counted> {
        for table in self.table..(self.table + tables).min(TABLES) {
            for key in state.users.waiting(table).1 {
                state.users.see(key, |user| {
                    let view = View { user, policy: &state.policy, at: now, now, fresh: None };
                    for message in &user.messages {
                        let first = view.standing(message).first().copied();
                        let place = Standing::ALL.iter().position(|s| Some(*s) == first);
                        if let Some(count) = place.and_then(|at| self.counted.standing.get_mut(at))
                        {
                            *count += 1;
                        }
                        let oldest = self.counted.oldest.unwrap_or(message.accepted_at);
                        self.counted.oldest = Some(oldest.min(message.accepted_at));
                    }
                });
            }
        }
        self.table += tables;
        if self.table < TABLES {
            return None;
        }
        self.table = 0;
        Some(std::mem::take(&mut self.counted))
    }
}
