//! Which user an IMSI is, as far as the tap has told; facts about the others wait.
//!
//! Source: `rules.md` ID-3, 5.3: an IMSI is looked up before anything is keyed by it, and a fact
//! about an unknown one waits 60 s for its alias.

use crate::domain::address::{Address, Imsi};
use crate::domain::alias::{Alias, AliasTable, Unresolved, WAIT};
use crate::domain::time::Timestamp;

use super::{Limits, Sighting};

/// IMSIs and their users.
#[derive(Debug)]
pub(super) struct Directory {
    users: AliasTable,
    parked: Unresolved<Sighting>,
    /// Parked facts that went for want of room, of those already reported.
    reported: u64,
}

impl Directory {
    pub(super) fn new(limits: &Limits) -> Self {
        let (users, parked) = (AliasTable::new(limits.aliases), Unresolved::new(limits.parked));
        Self { users, parked, reported: 0 }
    }

    pub(super) fn lookup(&self, imsi: Imsi, at: Timestamp) -> Option<Address> {
        self.users.lookup(&Alias::Imsi(imsi), at)
    }

    /// Notes whose the IMSI is from now on, and gives back what waited for that, oldest first.
    pub(super) fn bind(&mut self, imsi: Imsi, user: &Address, at: Timestamp) -> Vec<Sighting> {
        self.users.bind(&Alias::Imsi(imsi), user, at);
        self.parked.take(imsi).into_iter().map(|(_, fact)| fact).collect()
    }

    /// Keeps the fact until its IMSI is known.
    pub(super) fn park(&mut self, imsi: Imsi, fact: Sighting) {
        self.parked.park(imsi, fact.at, fact);
    }

    /// How many facts are gone since the last call: too old at `now`, or too many.
    pub(super) fn expire(&mut self, now: Option<Timestamp>) -> usize {
        let expired = self.parked.expire(now.map_or(Timestamp::MAX, |now| now - WAIT)).len();
        let dropped =
            self.parked.dropped() - std::mem::replace(&mut self.reported, self.parked.dropped());
        expired + usize::try_from(dropped).unwrap_or(usize::MAX)
    }
}
