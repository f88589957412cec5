//! A second reading of `rules.md` 3.6.0: its tables, sentence by sentence, with no thought for speed.
//!
//! Written from the rules alone. Where it and `open.rs` differ, one of them has misread the page.

use std::time::Duration;

use deferd::domain::event::{Access, BlockKind, LegEnd};
use deferd::domain::input::{Action, What};
use deferd::domain::message::{Content, Interwork};
use deferd::domain::policy::{AccessSwitch, Policy, SmsMode};
use deferd::domain::reachability::{DeviceId, SlotState};
use deferd::domain::time::Timestamp;
use deferd::domain::user::{Contact, Deferred, Device, Leg, StoredRule, UcnState, User};

const HOUR: Duration = Duration::from_secs(3600);

/// A state at an instant.
#[derive(Clone, Copy)]
pub(crate) struct Naive<'a> {
    pub(crate) user: &'a User,
    pub(crate) policy: &'a Policy,
    /// The wall clock of the step.
    pub(crate) at: Timestamp,
    /// Up to where time has come in it.
    pub(crate) now: Timestamp,
    /// The contact that this very input bound.
    pub(crate) fresh: Option<DeviceId>,
}

/// A deadline of 3.5 that is armed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    pub(crate) name: &'static str,
    pub(crate) at: Timestamp,
    /// It ends something, and stands until it has.
    pub(crate) ends: bool,
}

impl<'a> Naive<'a> {
    // 1.7, 3.2 ----------------------------------------------------------------------------------

    pub(crate) fn block(&self) -> Option<BlockKind> {
        let block = self.user.sms_block?;
        let over = match block.until {
            Some(until) => until <= self.now,
            None => block.time + self.policy.attach_stale <= self.now,
        };
        (!over).then_some(block.kind)
    }

    pub(crate) fn sms_possible(&self) -> bool {
        let mut slots = self.user.slots.iter().flatten();
        let some = slots.any(|slot| {
            slot.state == SlotState::Attached
                && slot.sms_capable
                && self.now < slot.since + self.policy.attach_stale
        });
        some && self.block() != Some(BlockKind::Absent)
    }

    fn contact(&self, device: &'a Device) -> Option<&'a Contact> {
        let contact = device.contact.as_ref()?;
        (self.now < contact.expires_at + self.policy.registration_grace).then_some(contact)
    }

    pub(crate) fn contacts(&self) -> Vec<(&'a Device, &'a Contact)> {
        self.user.devices.iter().filter_map(|d| Some((d, self.contact(d)?))).collect()
    }

    /// SEED4-6 to 9.
    fn suitable(&self, device: &Device, contact: &Contact, m: &Deferred) -> bool {
        let knows_cpm = match (contact.cpm_capable, contact.caps) {
            (Some(told), _) => told,
            (None, Some(caps)) => caps.any_cpm(),
            (None, None) => true,
        };
        // Tags without a word of CPM leave open which of its kinds a client takes that was told to.
        let takes_kind = match contact.caps {
            Some(caps) if caps.any_cpm() => caps.take(m.content.kind),
            _ => true,
        };
        knows_cpm
            && takes_kind
            && !self.excluded(contact, &m.content)
            && !m.refused_by.contains(&device.id)
            && !m.served.contains(&device.id)
    }

    /// 8a, A-47.
    fn excluded(&self, contact: &Contact, content: &Content) -> bool {
        let Some(prefs) = &self.user.prefs else { return false };
        let Some(profile) = &contact.profile else { return false };
        // The world's senders have numbers, and a number is of no domain.
        let from = &*content.from;
        let named = |rule: &StoredRule| match &rule.senders {
            None => false,
            Some(senders) => {
                senders.one.iter().any(|one| **one == *from)
                    || senders.many.iter().any(|many| {
                        many.domain.is_none() && many.except.iter().all(|one| **one != *from)
                    })
            }
        };
        prefs.rules.iter().any(|rule| {
            rule.profiles.iter().any(|p| p == profile)
                && rule.actions.contains(&Action::AllowRejectInvite)
                && (rule.kinds.is_empty() || rule.kinds.contains(&content.kind))
                && (rule.senders.is_none() || named(rule))
                && !(rule.other_identity && prefs.rules.iter().any(named))
                && (content.more.as_ref().is_some_and(|more| more.anonymous)
                    || !rule.anonymous_request)
                && rule.valid_from.is_none_or(|from| self.now >= from)
                && rule.valid_until.is_none_or(|until| self.now < until)
        })
    }

    pub(crate) fn live(&self, m: &Deferred) -> bool {
        m.holds.is_empty() && !m.storing && m.ending.is_none()
    }

    fn backs_off(&self, m: &Deferred, access: Access) -> bool {
        matches!(m.backoff, Some((by, until)) if by == access && self.now < until)
    }

    // Openness ----------------------------------------------------------------------------------

    pub(crate) fn running_by_sms(&self, m: &Deferred) -> bool {
        let in_slot = match &self.user.sms_slot {
            Some(slot) => slot.m.place() == m.place && slot.what == What::Message,
            None => false,
        };
        in_slot || m.handed.is_some()
    }

    pub(crate) fn leg_out(&self, m: &Deferred) -> bool {
        m.legs.iter().any(|leg| leg.end.is_none())
    }

    pub(crate) fn ip_running(&self, m: &Deferred) -> bool {
        m.awaiting.is_some() || self.leg_out(m)
    }

    pub(crate) fn under_way(&self, m: &Deferred) -> bool {
        self.ip_running(m) || self.running_by_sms(m)
    }

    pub(crate) fn ip_may(&self, m: &Deferred) -> bool {
        self.live(m)
            && self.at < m.expires_at
            && self.policy.access_cpm != AccessSwitch::Off
            && !self.user.messages.iter().any(|other| self.backs_off(other, Access::Cpm))
            && (!self.running_by_sms(m) || m.interwork == Interwork::Also)
            && (m.interwork != Interwork::Only || self.sms_closed(m))
    }

    pub(crate) fn way(&self, device: &Device, contact: &Contact, m: &Deferred) -> bool {
        let leg = m.legs.iter().find(|leg| leg.device == device.id);
        // One that has answered stands for its attempt until that closes: only then is it known whether
        // the message goes again, and how soon.
        let runs = leg.is_some_and(|leg| {
            m.legs.iter().any(|mate| mate.attempt == leg.attempt && mate.end.is_none())
        });
        let awaits = leg.is_some_and(|leg| leg.end == Some(LegEnd::Accepted));
        // nor while the attempt that it answered is open.
        let open = leg.is_some_and(|leg| {
            m.legs.iter().any(|other| other.attempt == leg.attempt && other.end.is_none())
        });
        let tries = m.ip_tries.iter().find(|(d, _)| *d == device.id).map_or(0, |(_, n)| *n);
        self.suitable(device, contact, m)
            && !contact.suspect
            && !runs
            && (!awaits || m.awaiting.is_none())
            && !open
            && tries < self.policy.ip_attempts_per_episode
    }

    pub(crate) fn takes_legs(&self, device: &Device, contact: &Contact) -> bool {
        let fresh = self.fresh == Some(device.id) && contact.settled_at > self.user.looked;
        contact.settled_at <= self.now && !fresh
    }

    pub(crate) fn ip_open(&self, m: &Deferred) -> bool {
        let open = |(d, c): &(&Device, &Contact)| self.way(d, c, m) && self.takes_legs(d, c);
        self.ip_may(m) && self.contacts().iter().any(open)
    }

    /// A contact bound by this very input has settled for nobody in this step.
    pub(crate) fn settling(&self, m: &Deferred) -> bool {
        let settles = |(d, c): &(&Device, &Contact)| self.way(d, c, m) && !self.takes_legs(d, c);
        self.ip_may(m) && self.contacts().iter().any(settles)
    }

    pub(crate) fn sms_closed(&self, m: &Deferred) -> bool {
        self.policy.access_sms == AccessSwitch::Off
            || self.user.msisdn().is_none()
            || matches!(self.block(), Some(BlockKind::Barred | BlockKind::NotCapable))
            || m.sms_refused
            || !m.interworkable
    }

    pub(crate) fn first_sms(&self, m: &Deferred) -> bool {
        matches!(m.interwork, Interwork::Only | Interwork::Also) && !m.sms_ended && !m.ucn.ended
    }

    fn sms_backing_off(&self) -> bool {
        self.user.messages.iter().any(|m| {
            let frees = m.parked.is_some() || m.ip_infra >= self.policy.infra_failures_before_sms;
            self.backs_off(m, Access::Sms)
                || m.ucn.backoff.is_some_and(|until| self.now < until)
                || (self.backs_off(m, Access::Cpm) && !frees)
        })
    }

    pub(crate) fn rate_admits(&self) -> bool {
        let in_the_hour = self.user.ucn_sent.iter().filter(|at| self.now < **at + HOUR).count();
        in_the_hour < self.policy.ucn_per_user_per_hour as usize
    }

    fn news_after(&self, last: Option<Timestamp>) -> bool {
        last.is_none_or(|last| self.user.sms_news.is_some_and(|news| news > last))
    }

    fn last_sms_at(&self, m: &Deferred) -> Option<Timestamp> {
        m.sms_log.iter().filter(|log| log.what == What::Message).map(|log| log.asked_at).next_back()
    }

    pub(crate) fn as_itself(&self, m: &Deferred) -> bool {
        m.interworkable && m.parked.is_none()
    }

    fn sms_open_whatever_the_rate(&self, m: &Deferred) -> bool {
        let tries = if self.as_itself(m) {
            m.sms_tries < self.policy.sms_attempts || self.news_after(self.last_sms_at(m))
        } else {
            m.ucn.tries < self.policy.sms_attempts || self.news_after(m.ucn.last_at)
        };
        self.live(m)
            && self.at < m.expires_at
            && self.policy.access_sms != AccessSwitch::Off
            && self.user.msisdn().is_some()
            && !m.sms_refused
            && !self.running_by_sms(m)
            && !self.sms_backing_off()
            && self.block().is_none()
            && (self.sms_possible() || self.first_sms(m))
            && (self.as_itself(m) || m.ucn.state == UcnState::Due)
            && tries
    }

    pub(crate) fn sms_open(&self, m: &Deferred) -> bool {
        self.sms_open_whatever_the_rate(m) && (self.as_itself(m) || self.rate_admits())
    }

    fn kept_by_the_rate(&self, m: &Deferred) -> bool {
        self.sms_open_whatever_the_rate(m) && !self.as_itself(m) && !self.rate_admits()
    }

    pub(crate) fn sms_due(&self, m: &Deferred) -> Timestamp {
        match (self.first_sms(m), m.interwork, self.user.episode) {
            (true, _, _) => m.accepted_at,
            (false, _, None) => Timestamp::EPOCH,
            (false, Interwork::Only, Some(episode)) => episode.start,
            (false, _, Some(episode)) => episode.deadline,
        }
    }

    // Turn --------------------------------------------------------------------------------------

    fn same_lane(a: &Content, b: &Content) -> bool {
        a.kind.in_imdn_lane() == b.kind.in_imdn_lane() && a.conversation_id == b.conversation_id
    }

    pub(crate) fn hold_until(&self) -> Option<Timestamp> {
        let slot = self.user.sms_slot.as_ref()?;
        let from = self.user.ip_since.map_or(slot.asked_at, |since| since.max(slot.asked_at));
        (slot.what == What::Message).then(|| from + self.policy.sms_hold)
    }

    /// Whether an SMS of its conversation, its own aside, is out. A notice has the slot and no place
    /// in the order (P-2).
    fn behind_an_sms(&self, m: &Deferred) -> bool {
        self.user.sms_slot.as_ref().is_some_and(|slot| {
            slot.what == What::Message
                && slot.m.place() != m.place
                && !m.content.kind.in_imdn_lane()
                && slot.conversation == m.content.conversation_id
        })
    }

    pub(crate) fn turn(&self, m: &Deferred, access: Access) -> bool {
        if access == Access::Cpm && self.leg_out(m) {
            return true;
        }
        let held_back = self.behind_an_sms(m)
            && (access == Access::Sms || self.hold_until().is_some_and(|until| self.now < until));
        let another = self.user.messages.iter().any(|other| {
            let earlier = other.place < m.place;
            let waits = self.live(other)
                && (self.backs_off(other, Access::Cpm) || self.backs_off(other, Access::Sms));
            let goes = match access {
                Access::Cpm => self.ip_open(other) || self.settling(other),
                Access::Sms => self.sms_open(other),
            };
            other.place != m.place
                && Self::same_lane(&other.content, &m.content)
                && (self.leg_out(other) || (earlier && (waits || goes)))
        });
        !held_back && !another
    }

    pub(crate) fn running(&self) -> usize {
        self.user.messages.iter().filter(|m| self.leg_out(m)).count()
            + self.user.owed.iter().filter(|o| o.to.iter().any(|to| to.leg.is_some())).count()
    }

    /// Step 4.
    pub(crate) fn candidates(&self) -> Vec<&'a Deferred> {
        if self.user.sms_slot.is_some() || self.policy.access_sms != AccessSwitch::On {
            return Vec::new();
        }
        let beside = |m: &Deferred| m.interwork == Interwork::Also && self.first_sms(m);
        let by_ip = |m: &Deferred| self.ip_open(m) || self.settling(m) || self.ip_running(m);
        let may = |m: &&Deferred| {
            self.sms_open(m) && self.turn(m, Access::Sms) && (beside(m) || !by_ip(m))
        };
        self.user.messages.iter().filter(may).collect()
    }

    // The ladder --------------------------------------------------------------------------------

    pub(crate) fn ladder_wanted(&self) -> bool {
        let messages = &self.user.messages;
        let runs = self.user.sms_slot.is_some() || messages.iter().any(|m| self.ip_running(m));
        let goes = messages.iter().any(|m| self.ip_open(m) || self.settling(m));
        let backs_off = messages.iter().any(|m| {
            let ucn = m.ucn.backoff.is_some_and(|until| self.now < until);
            self.backs_off(m, Access::Cpm) || self.backs_off(m, Access::Sms) || ucn
        });
        let rate = messages.iter().any(|m| self.kept_by_the_rate(m));
        messages.iter().any(|m| self.live(m))
            && !(runs || goes || backs_off || rate)
            && self.candidates().is_empty()
            && (self.rung_by_ip().is_some() || self.rung_by_sms().is_some())
    }

    /// The head of a rung by IP, and the contacts it goes to.
    pub(crate) fn rung_by_ip(&self) -> Option<(u32, Vec<DeviceId>)> {
        if self.policy.access_cpm != AccessSwitch::On {
            return None;
        }
        self.user.messages.iter().filter(|m| self.ip_may(m)).find_map(|m| {
            let given_up: Vec<DeviceId> = (self.contacts().into_iter())
                .filter(|(d, c)| {
                    let used_up = m.tries(d.id) >= self.policy.ip_attempts_per_episode;
                    self.suitable(d, c, m) && (c.suspect || used_up)
                })
                .filter(|(d, _)| !m.legs.iter().any(|l| l.device == d.id && l.end.is_none()))
                .map(|(d, _)| d.id)
                .collect();
            (!given_up.is_empty()).then_some((m.place, given_up))
        })
    }

    pub(crate) fn rung_by_sms(&self) -> Option<u32> {
        let shut = !matches!(self.block(), None | Some(BlockKind::Absent));
        if shut || self.policy.access_sms != AccessSwitch::On || self.user.msisdn().is_none() {
            return None;
        }
        let sends = |m: &&Deferred| {
            let itself = self.as_itself(m) && m.sms_tries < self.policy.sms_attempts;
            let notice = !self.as_itself(m)
                && m.ucn.state == UcnState::Due
                && self.rate_admits()
                && m.ucn.tries < self.policy.sms_attempts;
            self.live(m)
                && self.at < m.expires_at
                && m.handed.is_none()
                && !m.sms_refused
                && (itself || notice)
        };
        self.user.messages.iter().find(sends).map(|m| m.place)
    }

    // 3.5 ---------------------------------------------------------------------------------------

    fn answer_by(&self, leg: &Leg, started: Option<Timestamp>) -> Timestamp {
        match started {
            Some(started) => started + self.policy.ip_attempt_timeout,
            None if self.policy.gateway_reports_start => leg.deadline + self.policy.clock_tolerance,
            None => leg.deadline + self.policy.ip_attempt_timeout,
        }
    }

    /// All that are armed. `self.now` must be `looked`.
    pub(crate) fn deadlines(&self) -> Vec<Deadline> {
        let user = self.user;
        let looked = user.looked;
        let mut all = Vec::new();
        let mut ends = |name, at| all.push(Deadline { name, at, ends: true });
        let live = user.messages.iter().any(|m| self.live(m));
        let owed = !user.owed.is_empty();
        if let Some(at) = self.candidates().iter().map(|m| self.sms_due(m)).min() {
            ends("T_ipwait", at);
        }
        if let Some(at) = user.ladder.next_at {
            ends("T_rung", at);
        }
        if let Some(until) = user.sms_block.and_then(|block| block.until).filter(|_| live) {
            ends("T_block", until);
        }
        for m in &user.messages {
            for leg in m.legs.iter().filter(|leg| leg.end.is_none()) {
                let mates = m.legs.iter().filter(|mate| mate.attempt == leg.attempt);
                let first = mates.filter_map(|mate| mate.started_at).min();
                ends("T_ip_attempt", self.answer_by(leg, leg.started_at.or(first)));
            }
            if let Some((_, until)) = m.awaiting {
                ends("T_imdn", until);
            }
            if m.handed.is_some() && self.policy.sms_mode == SmsMode::Buffered {
                let report_from = m.handed.as_ref().and_then(|sms| sms.report_from);
                let validity = report_from.map_or(m.expires_at, |from| from.max(m.expires_at));
                ends("T_iw_report", validity + Duration::from_secs(300));
            }
            if !self.under_way(m) {
                ends("T_msg_expiry", m.expires_at);
            }
            for until in m.holds.iter().filter_map(|hold| hold.until) {
                ends("T_held", until);
            }
        }
        if let Some(slot) = &user.sms_slot {
            let (name, at) = match (slot.report_from, slot.started_at) {
                (Some(from), _) => ("T_iw_report", from + self.policy.sms_report_timeout),
                (None, Some(at)) => ("T_iw_response", at + self.policy.sms_response_timeout),
                (None, None) if self.policy.gateway_reports_start => {
                    ("T_start", slot.deadline + self.policy.clock_tolerance)
                }
                (None, None) => ("T_iw_response", slot.deadline + self.policy.sms_response_timeout),
            };
            ends(name, at);
        }
        for copy in &user.owed {
            for leg in copy.to.iter().filter_map(|to| to.leg.as_ref()) {
                ends("T_ip_attempt", self.answer_by(leg, leg.started_at));
            }
            // A leg that is out when its copy's time is over is heard out.
            if copy.to.iter().all(|to| to.leg.is_none()) {
                ends("T_copy", copy.until);
            }
        }

        let mut passes = |name, at| {
            if at > looked {
                all.push(Deadline { name, at, ends: false });
            }
        };
        for (device, contact) in self.contacts() {
            let settles = |m: &&Deferred| self.ip_may(m) && self.way(device, contact, m);
            let waits = user.messages.iter().any(|m| settles(&m))
                || (user.owed.iter().flat_map(|copy| &copy.to))
                    .any(|to| to.device == device.id && to.leg.is_none());
            if waits {
                passes("T_settle", contact.settled_at);
            }
            if live || owed {
                passes("T_reg_expiry", contact.expires_at + self.policy.registration_grace);
            }
        }
        if let Some(until) = self.hold_until()
            && user.messages.iter().any(|m| self.ip_open(m) && self.behind_an_sms(m))
        {
            passes("T_hold", until);
        }
        for m in &user.messages {
            for until in m.backoff.map(|(_, until)| until).into_iter().chain(m.ucn.backoff) {
                passes("T_backoff", until);
            }
        }
        for until in user.owed.iter().flat_map(|copy| &copy.to).filter_map(|to| to.backoff) {
            passes("T_backoff", until);
        }
        if user.messages.iter().any(|m| self.kept_by_the_rate(m))
            && let Some(oldest) = user.ucn_sent.iter().filter(|at| looked < **at + HOUR).min()
        {
            passes("T_ucn_rate", *oldest + HOUR);
        }
        if live {
            for slot in user.slots.iter().flatten().filter(|s| s.state == SlotState::Attached) {
                passes("T_attach_stale", slot.since + self.policy.attach_stale);
            }
            if let Some(block) = user.sms_block.filter(|block| block.until.is_none()) {
                passes("T_attach_stale", block.time + self.policy.attach_stale);
            }
        }
        all
    }
}
