//! The soonest thing due: one alarm a user, read from the state.
//!
//! Source: `rules.md` 3.5, 3.6.0 (`wake_at`), TM-1. Deadlines whose passing is only read from the time
//! count while they are after `looked`; those that have something to end stand until they have.

use std::time::Duration;

use super::armed::{Armed, Timer};
use crate::domain::event::{BlockKind, LegEnd};
use crate::domain::input::What;
use crate::domain::open::View;
use crate::domain::policy::Policy;
use crate::domain::reachability::{DeviceId, SlotName, SlotState};
use crate::domain::time::Timestamp;
use crate::domain::user::{Deferred, Leg, SmsAttempt, User};

/// What a handed-over SMS is given beyond the end of its validity.
const HANDED_GRACE: Duration = Duration::from_secs(300);

/// Something with a deadline that ends when it falls due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A contact's time is over (T_reg_expiry).
    Contact(DeviceId),
    /// An attempt by IP ends without an answer (T_start, T_ip_attempt): message, attempt.
    Attempt(u32, u32),
    /// A leg of a copy does: message, device.
    CopyLeg(u32, DeviceId),
    /// No IMDN came for a 202 (T_imdn).
    Imdn(u32),
    /// The SMS outstanding ends (T_start, T_iw_response, T_iw_report).
    Sms,
    /// A handed-over SMS does.
    Handed(u32),
    /// A hold ends (T_held).
    Held(u32),
    /// A block ends (T_block).
    Block,
    /// A message that must end, and nothing of it runs (T_msg_expiry; T-27).
    Message(u32),
    /// A copy is owed no longer (T_copy).
    Copy(u32),
}

impl User {
    /// When this user must next be looked at; `None`: nothing is armed, so no alarm.
    ///
    /// An alarm says only "look": one that rings early, late or twice does no harm.
    #[must_use]
    pub fn wake_at(&self, policy: &Policy) -> Option<Timestamp> {
        let view = View { user: self, policy, at: self.looked_at, now: self.looked, fresh: None };
        let mut soonest: Option<Timestamp> = None;
        view.each_armed(|due| soonest = Some(soonest.map_or(due.at, |at| at.min(due.at))));
        soonest
    }
}

impl View<'_> {
    /// T_ipwait: when the soonest SMS among the candidates of step 4 is due, even if it is past.
    pub(super) fn ip_wait(&self) -> Option<Timestamp> {
        self.sms_candidates().into_iter().map(|m| self.sms_due(m)).min()
    }

    /// The deadlines whose passing opens something and ends nothing.
    pub(super) fn passing(&self, live: bool, see: &mut impl FnMut(Armed)) {
        let user = self.user;
        // The end of DND lets copies go; the end of a rule, the clients that it excludes (8a).
        if let Some(prefs) = &user.prefs {
            let owed = !user.owed.is_empty();
            let dnd = prefs.dnd_until.filter(|until| owed && *until < Timestamp::MAX);
            let excluding = prefs.rules.iter().filter(|rule| live && !rule.profiles.is_empty());
            let ends = excluding.flat_map(|rule| [rule.valid_from, rule.valid_until]).flatten();
            dnd.into_iter().chain(ends).for_each(|end| see(Armed::new(Timer::Rule, end)));
        }
        // T_settle
        for (device, contact) in self.contacts().filter(|(_, c)| c.settled_at > user.looked) {
            let waits =
                user.messages.iter().any(|m| self.way(device, contact, m) && self.ip_may(m))
                    || user.owed.iter().any(|owed| {
                        owed.to.iter().any(|to| to.device == device.id && to.leg.is_none())
                    });
            if waits {
                see(Armed::of_device(Timer::Settle, contact.settled_at, device.id));
            }
        }
        // T_hold
        if let (Some(until), Some(slot)) = (self.hold_until(), &user.sms_slot) {
            let behind = user.messages.iter().any(|m| {
                m.place != slot.m.place()
                    && m.content.conversation_id == slot.conversation
                    && self.contacts().any(|(device, contact)| self.way(device, contact, m))
                    && self.ip_may(m)
            });
            if behind {
                see(Armed::new(Timer::Hold, until));
            }
        }
        // T_backoff
        for m in &user.messages {
            let until = m.backoff.map(|(_, until)| until);
            for until in until.into_iter().chain(m.ucn.backoff) {
                see(Armed::of_message(Timer::Backoff, until, m.place));
            }
        }
        for owed in &user.owed {
            for (device, until) in owed.to.iter().filter_map(|to| Some((to.device, to.backoff?))) {
                let message = Some(owed.place);
                see(Armed { message, ..Armed::of_device(Timer::Backoff, until, device) });
            }
        }
        // T_ucn_rate
        if user.messages.iter().any(|m| m.is_live() && self.sms_what(m) == Some(What::Ucn))
            && let Some(until) = self.ucn_rate_until()
        {
            see(Armed::new(Timer::UcnRate, until));
        }
        // T_attach_stale
        if live {
            for name in SlotName::ALL {
                let slot = user.slot(name);
                if slot.state == SlotState::Attached {
                    see(Armed::new(Timer::AttachStale, slot.since + self.policy.attach_stale));
                }
            }
            if let Some(block) = user.sms_block
                && block.kind == BlockKind::Absent
            {
                see(Armed::new(Timer::AttachStale, block.time + self.policy.attach_stale));
            }
        }
    }

    /// Everything that ends at a deadline, with that deadline, whether armed or not.
    pub(super) fn all_due(&self, see: &mut impl FnMut(Timestamp, Due)) {
        let user = self.user;
        for device in &user.devices {
            if let Some(contact) = &device.contact {
                let over = contact.expires_at + self.policy.registration_grace;
                see(over, Due::Contact(device.id));
            }
        }
        for m in &user.messages {
            for leg in m.legs.iter().filter(|leg| leg.end.is_none()) {
                see(self.leg_deadline(m, leg), Due::Attempt(m.place, leg.attempt));
            }
            if let Some((_, until)) = m.awaiting {
                see(until, Due::Imdn(m.place));
            }
            if let Some(sms) = &m.handed {
                let over = m.expires_at.max(sms.report_from.unwrap_or(m.expires_at));
                see(over + HANDED_GRACE, Due::Handed(m.place));
            }
            for until in m.holds.iter().filter_map(|hold| hold.until) {
                see(until, Due::Held(m.place));
            }
            if !self.is_under_way(m) {
                let at = if m.ending.is_some() { Timestamp::EPOCH } else { m.expires_at };
                see(at, Due::Message(m.place));
            }
        }
        if let Some(slot) = &user.sms_slot {
            see(self.sms_deadline(slot), Due::Sms);
        }
        if let Some(until) = user.sms_block.and_then(|block| block.until) {
            see(until, Due::Block);
        }
        for owed in &user.owed {
            for to in &owed.to {
                if let Some(leg) = &to.leg {
                    let at = self.answer_deadline(leg, leg.started_at);
                    see(at, Due::CopyLeg(owed.place, to.device));
                }
            }
            if owed.to.iter().all(|to| to.leg.is_none()) {
                see(owed.until, Due::Copy(owed.place));
            }
        }
    }

    /// Whether an attempt of the message runs or is awaited, by any access; its UCN is none (P-2).
    pub(super) fn is_under_way(&self, m: &Deferred) -> bool {
        m.ip_running() || self.sms_running(m)
    }

    /// When a leg that says nothing is over: T_ip_attempt from the start, its own or the attempt's
    /// first (P-1); T_start where gateways say when they start and none did.
    fn leg_deadline(&self, m: &Deferred, leg: &Leg) -> Timestamp {
        let first = m
            .legs
            .iter()
            .filter(|other| other.attempt == leg.attempt)
            .filter_map(|other| other.started_at)
            .min();
        self.answer_deadline(leg, leg.started_at.or(first))
    }

    fn answer_deadline(&self, leg: &Leg, started_at: Option<Timestamp>) -> Timestamp {
        match started_at {
            Some(started_at) => started_at + self.policy.ip_attempt_timeout,
            None if self.policy.gateway_reports_start => leg.deadline + self.policy.clock_tolerance,
            None => leg.deadline + self.policy.ip_attempt_timeout,
        }
    }

    /// The same of the SMS in the slot: T_start, T_iw_response, then T_iw_report.
    fn sms_deadline(&self, slot: &SmsAttempt) -> Timestamp {
        match (slot.report_from, slot.started_at) {
            (Some(from), _) => from + self.policy.sms_report_timeout,
            (None, Some(started_at)) => started_at + self.policy.sms_response_timeout,
            (None, None) if self.policy.gateway_reports_start => {
                slot.deadline + self.policy.clock_tolerance
            }
            (None, None) => slot.deadline + self.policy.sms_response_timeout,
        }
    }

    /// The devices of an attempt that answered with a 202 whose IMDN is awaited.
    pub(super) fn awaited(m: &Deferred, number: u32) -> impl Iterator<Item = DeviceId> {
        m.legs
            .iter()
            .filter(move |leg| leg.attempt == number && leg.end == Some(LegEnd::Accepted))
            .map(|leg| leg.device)
    }
}
