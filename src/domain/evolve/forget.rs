//! What is remembered of what is over, and when it goes.
//!
//! Source: `rules.md` T-22, T-24, P-12, L-11.

use super::super::event::LegEnd;
use super::super::failure::Class;
use super::super::policy::Policy;
use super::super::time::Timestamp;
use super::super::user::{Device, Ladder, Remembered, User};
use super::{HOUR, KNOWN_FOR, add};

/// Ended messages remembered of one user (T-24).
const MAX_REMEMBERED: usize = 64;

impl User {
    pub(super) fn remember(&mut self, ended: Remembered) {
        self.remembered.retain(|before| before.key != ended.key);
        if self.remembered.len() >= MAX_REMEMBERED {
            self.remembered.remove(0);
        }
        add(&mut self.remembered, ended);
    }

    /// P-12: what was known of the phone was known of another one.
    pub(super) fn drop_view(&mut self) {
        self.devices.clear();
        self.slots = [None; 3];
        self.sms_block = None;
        self.memory_full_step = 0;
        self.sms_news = None;
        self.episode = None;
        self.cancels.clear();
        self.ip_since = None;
        self.sms_slot = None;
        self.owed.clear();
        self.ladder = Ladder::default();
        for message in &mut self.messages {
            message.handed = None;
            message.awaiting = None;
            for leg in &mut message.legs {
                leg.end = leg.end.or(Some(LegEnd::Failed(Class::Unknown)));
            }
        }
    }

    /// The same user without what has aged out by `now`: no decision rests on it any more (L-11).
    #[must_use]
    pub fn forget(&self, now: Timestamp, policy: &Policy) -> Self {
        let mut user = self.clone();
        user.remembered.retain(|ended| now < ended.at + policy.terminal_keep);
        if user.messages.is_empty() && user.owed.is_empty() && user.sms_slot.is_none() {
            user.ucn_sent.retain(|at| now < *at + HOUR);
            // With no rung to come, when it was last armed is of no interest.
            if user.ladder.rung == 0 && user.ladder.resume_at.is_none() {
                user.ladder = Ladder::default();
            }
            // Whatever is older than this was clamped away when it was told, or is stale.
            let old = policy.attach_stale.max(policy.max_event_lag).max(HOUR) * 2;
            let gone = |at: Timestamp| at + old <= now;
            user.devices.retain(|device| {
                let bound = device.contact.as_ref();
                let expired = bound
                    .is_none_or(|contact| gone(contact.expires_at + policy.registration_grace));
                let known = device.bound_at.is_some_and(|at| now < at + KNOWN_FOR);
                let told = device.last.time + KNOWN_FOR > now;
                !expired || known || told
            });
            let stale =
                user.slots.iter().flatten().all(|slot| gone(slot.since) && gone(slot.stamp.time))
                    && user
                        .episode
                        .is_none_or(|episode| gone(episode.start) && gone(episode.deadline))
                    && user
                        .sms_block
                        .is_none_or(|block| gone(block.time) && block.until.is_none_or(&gone));
            if stale {
                user.slots = [None; 3];
                user.sms_block = None;
                user.memory_full_step = 0;
                user.episode = None;
                user.sms_news = None;
                user.cancels.clear();
                user.ip_since = None;
            }
        }
        user
    }

    /// Whether nothing is left that a decision could rest on: the user may be dropped (T-22, L-11).
    #[must_use]
    pub fn is_forgettable(&self, now: Timestamp, policy: &Policy) -> bool {
        // Most users are not, and these say so without a copy.
        let bound = |device: &Device| {
            device.contact.as_ref().is_some_and(|contact| now < contact.expires_at)
        };
        if !self.messages.is_empty()
            || !self.owed.is_empty()
            || self.hold.is_some()
            || self.prefs.is_some()
            || self.slots.iter().flatten().any(|slot| now < slot.since + policy.attach_stale)
            || self.devices.iter().any(bound)
            || self.remembered.last().is_some_and(|ended| now < ended.at + policy.terminal_keep)
        {
            return false;
        }
        self.forget(now, policy).is_blank()
    }
}
