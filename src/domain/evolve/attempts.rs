//! What the events of attempts do: legs, the SMS slot, back-offs, copies, notices, rungs.
//!
//! Source: `rules.md` 3.3, R-2, R-18, R-20, R-25, R-34.

use std::sync::Arc;

use super::super::event::{Access, Event, LegEnd, Mark, Rung};
use super::super::failure::Class;
use super::super::input::What;
use super::super::open::last_sms_at;
use super::super::reachability::DeviceId;
use super::super::time::Timestamp;
use super::super::user::{Leg, Owed, OwedTo, SmsAttempt, SmsLog, UcnState, User, key_digest};
use super::add;

/// SMS attempts of one message that a late report can still find.
const MAX_SMS_LOG: usize = 16;

impl User {
    pub(super) fn start_ip(&mut self, event: &Event) {
        let Event::AttemptStarted { m, n, what, at, deadline, to, rung, tried, .. } = event else {
            return;
        };
        let legs = to.iter().map(|key| Leg {
            device: DeviceId::of(key),
            attempt: *n,
            asked_at: *at,
            deadline: *deadline,
            started_at: None,
            again: false,
            end: None,
            retry_after: None,
        });
        if *what == What::Copy {
            for owed in self.owed.iter_mut().filter(|owed| owed.place == m.place()) {
                owed.attempts = *n;
                for leg in legs.clone() {
                    for to in owed.to.iter_mut().filter(|to| to.device == leg.device) {
                        to.leg = Some(leg);
                    }
                }
            }
            return;
        }
        if rung.is_some() {
            self.climb(*rung, Some((m.place(), *n)));
        }
        let Some(message) = self.message_mut(m.place()) else { return };
        message.attempts = *n;
        for leg in legs {
            message.legs.retain(|before| before.device != leg.device);
            add(&mut message.legs, leg);
            if rung.is_some() {
                message.ip_tries.retain(|(device, _)| *device != leg.device);
                add(&mut message.ip_tries, (leg.device, *tried));
            }
        }
        self.mark_overtaken(m.place());
    }

    /// Whoever of the same conversation is out by SMS and came earlier has been overtaken.
    pub(super) fn mark_overtaken(&mut self, place: u32) {
        let Some(slot) = &self.sms_slot else { return };
        let overtaken = slot.m.place();
        let same = self.message(place).is_some_and(|m| {
            m.content.conversation_id == slot.conversation
                && !m.content.kind.in_imdn_lane()
                && overtaken < place
        });
        if same && let Some(message) = self.message_mut(overtaken) {
            message.overtaken = true;
        }
    }

    pub(super) fn climb(&mut self, rung: Option<Rung>, probing: Option<(u32, u32)>) {
        if rung == Some(Rung::Next) {
            self.ladder.rung = self.ladder.rung.saturating_add(1);
        }
        if rung.is_some() {
            self.ladder.next_at = None;
            self.ladder.kind = Rung::Next;
            self.ladder.only = None;
            self.ladder.resume_at = None;
            self.ladder.probing = probing;
        }
    }

    pub(super) fn start_sms(&mut self, event: &Event) {
        let Event::AttemptStarted { m, n, what, at, deadline, rung, covers, .. } = event else {
            return;
        };
        let news = self.sms_news;
        let by_news = |last: Option<Timestamp>| last.is_none_or(|at| news.is_some_and(|n| n > at));
        let counts = |last| match rung {
            Some(Rung::Next | Rung::Same) => true,
            Some(Rung::Free) => false,
            None => !by_news(last),
        };
        let (mut conversation, mut key) = (None, 0);
        if let Some(message) = self.message_mut(m.place()) {
            conversation.clone_from(&message.content.conversation_id);
            key = key_digest(&message.content.from, &message.content.message_id);
            message.attempts = *n;
            if *what == What::Message {
                let tried = u32::from(counts(last_sms_at(message)));
                message.sms_tries = message.sms_tries.saturating_add(tried);
            }
            let log = SmsLog { number: *n, what: *what, asked_at: *at, ids: Vec::new() };
            add(&mut message.sms_log, log);
            if message.sms_log.len() > MAX_SMS_LOG {
                message.sms_log.remove(0);
            }
        }
        if *what == What::Ucn {
            for place in std::iter::once(m.place()).chain(covers.iter().map(|m| m.place())) {
                if let Some(message) = self.message_mut(place) {
                    let tried = u32::from(counts(message.ucn.last_at));
                    message.ucn.tries = message.ucn.tries.saturating_add(tried);
                    message.ucn.last_at = Some(*at);
                    message.ucn.state = UcnState::InFlight;
                }
            }
            add(&mut self.ucn_sent, *at);
        }
        self.climb(*rung, None);
        self.sms_slot = Some(Box::new(SmsAttempt {
            m: m.clone(),
            key,
            conversation,
            what: *what,
            number: *n,
            asked_at: *at,
            deadline: *deadline,
            started_at: None,
            accepted_at: None,
            report_from: None,
            report: true,
            mms: false,
            rung: *rung,
        }));
    }

    /// The legs of one attempt, of a message or of a copy.
    pub(super) fn legs_mut(&mut self, place: u32, number: u32) -> impl Iterator<Item = &mut Leg> {
        let messages = self.messages.iter_mut().filter(move |m| m.place == place);
        let copies = self.owed.iter_mut().filter(move |owed| owed.place == place);
        messages
            .flat_map(|m| &mut m.legs)
            .chain(copies.flat_map(|owed| owed.to.iter_mut().filter_map(|to| to.leg.as_mut())))
            .filter(move |leg| leg.attempt == number)
    }

    pub(super) fn end_leg(&mut self, event: &Event) {
        let Event::LegEnded { m, n, d, end, at, mark, counts, retry_after } = event else { return };
        let id = DeviceId::of(d);
        for leg in self.legs_mut(m.place(), *n).filter(|leg| leg.device == id) {
            leg.end = Some(*end);
            leg.started_at = leg.started_at.or(Some(*at));
            leg.retry_after = *retry_after;
        }
        for to in self.owed.iter_mut().filter(|o| o.place == m.place()).flat_map(|o| &mut o.to) {
            if to.device == id && to.leg.is_some_and(|leg| leg.attempt == *n) {
                to.leg = None;
                to.tries = to.tries.saturating_add(u32::from(*counts));
                if !matches!(
                    end,
                    LegEnd::Failed(Class::Busy | Class::Infrastructure | Class::Congestion)
                ) {
                    to.backoffs = 0;
                }
            }
        }
        if let Some(message) = self.message_mut(m.place()) {
            if *counts {
                match message.ip_tries.iter_mut().find(|(device, _)| *device == id) {
                    Some((_, tries)) => *tries = tries.saturating_add(1),
                    None => add(&mut message.ip_tries, (id, 1)),
                }
            }
            if *mark == Mark::Refused {
                add(&mut message.refused_by, id);
            }
            if *end == LegEnd::Delivered {
                message.ip_infra = 0;
                add(&mut message.served, id);
                let accepted = |leg: &Leg| leg.attempt == *n && leg.end == Some(LegEnd::Accepted);
                if !message.legs.iter().any(accepted) {
                    message.awaiting = message.awaiting.filter(|(number, _)| number != n);
                }
            }
        }
        let Some(device) = self.device_mut(id) else { return };
        if *mark == Mark::Dropped {
            device.contact = None;
        }
        let Some(contact) = &mut device.contact else { return };
        if *mark == Mark::Suspect {
            contact.suspect = true;
        }
        if *end == LegEnd::Delivered {
            contact.answered_ok = true;
            let was_suspect = std::mem::take(&mut contact.suspect);
            if was_suspect {
                self.ip_since = Some(*at);
            }
        }
    }

    pub(super) fn end_attempt(&mut self, event: &Event) {
        let Event::AttemptEnded { m, n, by, what, class } = event else { return };
        if *by == Access::Cpm {
            if self.ladder.probing == Some((m.place(), *n)) {
                self.ladder.probing = None;
            }
        } else {
            let asked_at = self.sms_slot.as_ref().map(|slot| slot.asked_at);
            if self.sms_slot.as_ref().is_some_and(|s| s.m.place() == m.place() && s.number == *n) {
                self.sms_slot = None;
            }
            if *what == What::Ucn {
                return self.end_ucn(*class, asked_at);
            }
        }
        let retried = matches!(class, Class::Busy | Class::Infrastructure | Class::Congestion);
        let Some(message) = self.message_mut(m.place()) else { return };
        message.last_cause = Some(*class);
        if *by == Access::Cpm {
            message.awaiting = message.awaiting.filter(|(number, _)| number != n);
            match class {
                Class::Infrastructure => message.ip_infra = message.ip_infra.saturating_add(1),
                Class::Congestion => {}
                Class::Absent
                | Class::MemoryFull
                | Class::Busy
                | Class::Declined
                | Class::Content
                | Class::Permanent
                | Class::Policy
                | Class::Unknown => message.ip_infra = 0,
            }
        } else {
            message.handed = message.handed.take().filter(|sms| sms.number != *n);
            message.ip_infra = 0;
            message.sms_ended |= !retried;
        }
        if !retried && *class != Class::Unknown {
            message.backoffs = 0;
            message.backoff = None;
        }
    }

    /// The notices that were under way end together.
    pub(super) fn end_ucn(&mut self, class: Class, asked_at: Option<Timestamp>) {
        let retried = matches!(class, Class::Busy | Class::Infrastructure | Class::Congestion);
        for message in &mut self.messages {
            let ucn = &mut message.ucn;
            if ucn.state != UcnState::InFlight {
                continue;
            }
            ucn.ended |= !retried;
            if !retried {
                ucn.backoff = None;
                ucn.backoffs = 0;
            }
            ucn.state = match class {
                Class::Policy | Class::Content => UcnState::Failed,
                Class::Unknown => UcnState::Sent,
                Class::Absent
                | Class::MemoryFull
                | Class::Busy
                | Class::Congestion
                | Class::Infrastructure
                | Class::Declined
                | Class::Permanent => UcnState::Due,
            };
        }
        // P-25: one that failed does not count against the rate.
        if class != Class::Unknown
            && let Some(asked_at) = asked_at
        {
            self.ucn_sent.retain(|at| *at != asked_at);
        }
    }

    pub(super) fn accept_sms(&mut self, event: &Event) {
        let Event::SmsAccepted { m, n, at, report, handed, mms, ids } = event else { return };
        if let Some(log) = self
            .message_mut(m.place())
            .and_then(|message| message.sms_log.iter_mut().find(|log| log.number == *n))
        {
            log.ids.clone_from(ids);
        }
        let Some(slot) = &mut self.sms_slot else { return };
        if slot.m.place() != m.place() || slot.number != *n {
            return;
        }
        slot.started_at = slot.started_at.or(Some(*at));
        slot.accepted_at = Some(*at);
        slot.report_from = Some(slot.asked_at.max(*at));
        slot.report = *report;
        slot.mms = *mms;
        if *handed {
            let sms = self.sms_slot.take();
            if sms.as_ref().is_some_and(|sms| sms.what == What::Ucn) {
                for message in &mut self.messages {
                    if message.ucn.state == UcnState::InFlight {
                        message.ucn.state = UcnState::Sent;
                    }
                }
            } else if let Some(message) = self.message_mut(m.place()) {
                message.handed = sms;
            }
        }
    }

    pub(super) fn back_off(
        &mut self,
        place: u32,
        by: Access,
        what: What,
        device: Option<&str>,
        until: Timestamp,
    ) {
        match what {
            What::Message | What::Forward => {
                if let Some(message) = self.message_mut(place) {
                    message.backoff = Some((by, until));
                    message.backoffs = message.backoffs.saturating_add(1);
                }
            }
            What::Ucn => {
                for message in &mut self.messages {
                    let ucn = &mut message.ucn;
                    if ucn.state == UcnState::Due && message.place == place {
                        ucn.backoff = Some(until);
                        ucn.backoffs = ucn.backoffs.saturating_add(1);
                    }
                }
            }
            What::Copy => {
                let id = device.map(DeviceId::of);
                let owed = self.owed.iter_mut().filter(|owed| owed.place == place);
                for to in owed.flat_map(|owed| &mut owed.to).filter(|to| Some(to.device) == id) {
                    to.backoff = Some(until);
                    to.backoffs = to.backoffs.saturating_add(1);
                }
            }
        }
    }

    /// Running legs of the message become the copies of their devices.
    pub(super) fn owe(&mut self, place: u32, to: &[Arc<str>], until: Timestamp) {
        let Some(message) = self.message(place) else { return };
        let to = to
            .iter()
            .map(|key| DeviceId::of(key))
            .map(|device| OwedTo {
                device,
                leg: message.leg(device).copied().filter(|leg| leg.end.is_none()),
                tries: 0,
                backoff: None,
                backoffs: 0,
            })
            .collect();
        let content = Arc::clone(&message.content);
        let attempts = message.attempts;
        add(&mut self.owed, Owed { place, content, until, attempts, to });
    }
}
