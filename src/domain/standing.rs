//! Where a waiting message stands, by the names of the rules.
//!
//! Source: `rules.md` 3.3. Derived, never stored.

use super::input::What;
use super::open::View;
use super::user::{Contact, Deferred};

/// The states of 3.3 that are no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the state of its name")]
pub enum Standing {
    Storing,
    IpInFlight,
    IpAwaitImdn,
    IwInFlight,
    IwAwaitReport,
    Held,
    Backoff,
    IpWait,
    Pending,
    Parked,
}

impl Standing {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::Storing,
        Self::IpInFlight,
        Self::IpAwaitImdn,
        Self::IwInFlight,
        Self::IwAwaitReport,
        Self::Held,
        Self::Backoff,
        Self::IpWait,
        Self::Pending,
        Self::Parked,
    ];

    /// Its name in the rules.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Storing => "Storing",
            Self::IpInFlight => "IpInFlight",
            Self::IpAwaitImdn => "IpAwaitImdn",
            Self::IwInFlight => "IwInFlight",
            Self::IwAwaitReport => "IwAwaitReport",
            Self::Held => "Held",
            Self::Backoff => "Backoff",
            Self::IpWait => "IpWait",
            Self::Pending => "Pending",
            Self::Parked => "parked",
        }
    }
}

impl View<'_> {
    /// What may be expected of a contact, in a word or two.
    #[must_use]
    pub fn contact_state(&self, contact: &Contact) -> &'static str {
        if !contact.may_take_cpm() {
            "registered without cpm"
        } else if contact.suspect {
            "suspect"
        } else if self.now < contact.settled_at {
            "settling"
        } else if contact.answered_ok {
            "usable"
        } else {
            "unproven"
        }
    }

    /// Where a message stands: the first is the one to show where there is room for one.
    #[must_use]
    pub fn standing(&self, m: &Deferred) -> Vec<Standing> {
        let mut all = Vec::with_capacity(2);
        if m.storing {
            all.push(Standing::Storing);
        }
        if m.has_running_leg() {
            all.push(Standing::IpInFlight);
        } else if m.awaiting.is_some() {
            all.push(Standing::IpAwaitImdn);
        }
        let slot = self.user.sms_slot.as_ref();
        let mine = slot.filter(|slot| slot.m.place() == m.place && slot.what == What::Message);
        if m.handed.is_some() || mine.is_some_and(|sms| sms.accepted_at.is_some()) {
            all.push(Standing::IwAwaitReport);
        } else if mine.is_some() {
            all.push(Standing::IwInFlight);
        }
        if !m.holds.is_empty() {
            all.push(Standing::Held);
        }
        if all.is_empty() {
            let backs_off = m.backoff.is_some_and(|(_, until)| self.now < until);
            let waits_for_ip = || {
                self.sms_candidates().iter().any(|other| other.place == m.place)
                    && self.sms_due(m) > self.now
            };
            all.push(if backs_off {
                Standing::Backoff
            } else if waits_for_ip() {
                Standing::IpWait
            } else {
                Standing::Pending
            });
        }
        if m.parked.is_some() {
            all.push(Standing::Parked);
        }
        all
    }
}
