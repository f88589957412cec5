//! Legs of attempts by IP: each marks its own contact, and when all have ended the attempt does.
//!
//! Source: `rules.md` 3.6.0 step 2, 3.8 (by IP); T-6 to T-8, R-8, R-18, R-34, P-3.

use std::sync::Arc;
use std::time::Duration;

use super::{Step, key};
use crate::domain::event::{Access, End, Event, LegEnd, Mark, MessageRef, Notice};
use crate::domain::failure::Class;
use crate::domain::input::What;
use crate::domain::message::Dispositions;
use crate::domain::policy::{Accept202, UnknownSms};
use crate::domain::reachability::DeviceId;
use crate::domain::time::Timestamp;

/// How a leg was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) end: LegEnd,
    /// The connection behind the contact is dead: it is gone, not suspect (430).
    pub(super) drop: bool,
    /// Not sooner than that, in seconds.
    pub(super) retry_after: Option<u32>,
}

impl From<LegEnd> for Answer {
    fn from(end: LegEnd) -> Self {
        Self { end, drop: false, retry_after: None }
    }
}

impl Step<'_> {
    /// A leg of a message ends: what that says of its device, and of IP.
    pub(super) fn end_leg(
        &mut self,
        place: u32,
        number: u32,
        device: DeviceId,
        answer: Answer,
        at: Timestamp,
    ) {
        let Some(m) = self.user.message(place) else { return };
        let again = m.leg(device).is_some_and(|leg| leg.again);
        self.mark_leg(m.m(), number, device, answer, again, at);
    }

    fn mark_leg(
        &mut self,
        m: MessageRef,
        number: u32,
        device: DeviceId,
        answer: Answer,
        again: bool,
        at: Timestamp,
    ) {
        let Answer { end, drop, retry_after } = answer;
        let known = self.user.device(device);
        let d: Arc<str> = known.map_or_else(|| "?".into(), key);
        let contact = known.and_then(|known| known.contact.as_ref());
        let contact_is_there = contact.is_some();
        let suspect = contact.is_some_and(|contact| contact.suspect);
        let answered_ok = contact.is_some_and(|contact| contact.answered_ok);
        let (mark, counts) = match end {
            LegEnd::Delivered | LegEnd::Accepted => (Mark::None, false),
            LegEnd::Artefact => (Mark::None, !again),
            // it registered again meanwhile, so this is about a phone that was.
            LegEnd::Failed(Class::Absent) if again => (Mark::None, false),
            // 430: the connection that it registered over is dead.
            LegEnd::Failed(Class::Absent) if drop => (Mark::Dropped, true),
            LegEnd::Failed(Class::Absent) => (Mark::Suspect, true),
            LegEnd::Failed(Class::Unknown) => (Mark::None, !again),
            LegEnd::Failed(Class::Content | Class::Permanent | Class::Policy) => {
                (Mark::Refused, false)
            }
            LegEnd::Failed(
                Class::Busy
                | Class::MemoryFull
                | Class::Congestion
                | Class::Infrastructure
                | Class::Declined,
            ) => (Mark::None, false),
        };
        self.emit(Event::LegEnded { m, n: number, d, end, at, mark, counts, retry_after });
        if contact_is_there && matches!(mark, Mark::Suspect | Mark::Dropped) && !suspect {
            self.moved(at);
            if answered_ok {
                self.ip_lost(at);
            }
        }
        if end == LegEnd::Delivered && suspect {
            self.moved(at);
        }
    }

    /// When the last leg of an attempt has ended, the attempt has: its legs merge, best first.
    pub(super) fn close_attempt(&mut self, place: u32, number: u32, at: Timestamp) {
        let Some(m) = self.user.message(place) else { return };
        let legs: Vec<_> = m.legs.iter().filter(|leg| leg.attempt == number).copied().collect();
        if legs.is_empty() || legs.iter().any(|leg| leg.end.is_none()) {
            return;
        }
        let name = m.m();
        let had = |wanted: LegEnd| legs.iter().any(|leg| leg.end == Some(wanted));
        let unknown = had(LegEnd::Failed(Class::Unknown));
        if had(LegEnd::Accepted) {
            let until = at + self.policy.imdn_wait;
            self.emit(Event::ImdnAwaited { m: name.clone(), n: number, until });
            if unknown {
                self.park(name, number);
            }
            return;
        }
        if had(LegEnd::Delivered) {
            // one that is not the primary has it, and the message lives on.
            let last = m.last_cause;
            if unknown {
                self.park(name, number);
            }
            self.end_if_over(place, last, at);
            return;
        }
        let class = MERGE
            .into_iter()
            .find(|class| {
                had(LegEnd::Failed(*class)) || (*class == Class::Absent && had(LegEnd::Artefact))
            })
            .unwrap_or(Class::Absent);
        let class = match class {
            Class::MemoryFull => Class::Busy,
            Class::Policy => Class::Permanent,
            Class::Absent
            | Class::Busy
            | Class::Congestion
            | Class::Infrastructure
            | Class::Declined
            | Class::Content
            | Class::Permanent
            | Class::Unknown => class,
        };
        let retry_after = legs.iter().filter_map(|leg| leg.retry_after).max();
        self.attempt_ended(place, number, class, unknown, retry_after, at);
        self.rung_goes_on |= class == Class::Absent && self.probed == Some((place, number));
    }

    fn attempt_ended(
        &mut self,
        place: u32,
        number: u32,
        class: Class,
        unknown: bool,
        retry_after: Option<u32>,
        at: Timestamp,
    ) {
        let Some(m) = self.user.message(place) else { return };
        let (name, parked) = (m.m(), m.parked);
        self.probed = self.user.ladder.probing.or(self.probed);
        let rung = self.user.ladder.probing == Some((place, number));
        self.emit(Event::AttemptEnded {
            m: name.clone(),
            n: number,
            by: Access::Cpm,
            what: What::Message,
            class,
        });
        match class {
            Class::Declined => {
                self.failed(place, End::Declined, Notice::Failed, "declined", at);
                return;
            }
            Class::Busy | Class::Infrastructure | Class::Congestion => {
                let until = self.back_off(place, Access::Cpm, What::Message, None, retry_after, at);
                if rung {
                    self.emit(Event::RungTakenBack { until });
                }
            }
            Class::Absent | Class::Content | Class::Permanent => {
                if matches!(parked, Some((Access::Cpm, _))) {
                    self.emit(Event::Unparked { m: name.clone() });
                }
            }
            Class::Unknown | Class::MemoryFull | Class::Policy => {}
        }
        // An unknown leg parks the message even when a back-off wins.
        if unknown && parked.is_none() {
            self.park(name, number);
        }
        self.end_if_over(place, Some(class), at);
    }

    /// Nobody can tell whether this attempt arrived: no SMS after it (3.8), if policy has it so.
    fn park(&mut self, m: MessageRef, n: u32) {
        if self.policy.unknown_sms == UnknownSms::Park {
            self.emit(Event::Parked { m, by: Access::Cpm, n });
        }
    }

    /// A back-off of a message, a UCN or a copy: doubled each time, spread by a hash of the message,
    /// at least what the answer asked for (P-24). Returns its end.
    pub(super) fn back_off(
        &mut self,
        place: u32,
        by: Access,
        what: What,
        device: Option<DeviceId>,
        retry_after: Option<u32>,
        at: Timestamp,
    ) -> Timestamp {
        let owed = self.user.owed.iter().find(|owed| owed.place == place);
        let copy = owed.and_then(|owed| owed.to.iter().find(|to| Some(to.device) == device));
        let message = self.user.message(place);
        let (n, number) = match what {
            What::Copy => (copy.map_or(0, |to| to.backoffs), owed.map_or(0, |owed| owed.attempts)),
            What::Ucn => message.map_or((0, 0), |m| (m.ucn.backoffs, m.attempts)),
            What::Message | What::Forward => message.map_or((0, 0), |m| (m.backoffs, m.attempts)),
        };
        let content = message.map(|m| &m.content).or_else(|| owed.map(|owed| &owed.content));
        let Some(content) = content else { return at };
        let m = MessageRef(place, Arc::clone(&content.message_id));
        let seed = format!("{}/{}/{number}", self.user.address, content.message_id);
        let spread = jittered(self.policy.backoff(n), self.policy.jitter_percent, &seed);
        let asked = Duration::from_secs(u64::from(retry_after.unwrap_or(0)));
        let until = at + spread.max(asked);
        let d = device.and_then(|id| self.user.device(id)).map(key);
        self.emit(Event::BackedOff { m, by, what, d, until });
        until
    }

    /// The first success by IP ends the message, unless the primary is still owed it.
    pub(super) fn ip_success(&mut self, place: u32, took: &[DeviceId], at: Timestamp) {
        if self.policy.sms_even_if_secondary
            && self.view().primary().is_some_and(|primary| !took.contains(&primary))
        {
            return;
        }
        self.delivered(place, Access::Cpm, End::Delivered(Access::Cpm), took, at);
    }

    /// Whether a 202 to this message counts as delivered (T-6).
    pub(super) fn counts_as_delivered(&self, place: u32) -> bool {
        self.policy.accept_202 == Accept202::Delivered
            || self
                .user
                .message(place)
                .is_some_and(|m| !m.content.disposition.has(Dispositions::POSITIVE))
    }

    /// The leg of a copy ends: absent is still owed, busy and infra are tried later, else it is done.
    pub(super) fn end_copy(&mut self, place: u32, device: DeviceId, answer: Answer, at: Timestamp) {
        let Answer { end, retry_after, .. } = answer;
        let owed = self.user.owed.iter().find(|owed| owed.place == place);
        let Some(owed) = owed else { return };
        let leg = owed.to.iter().find(|to| to.device == device).and_then(|to| to.leg);
        let Some(leg) = leg else { return };
        let m = MessageRef(place, Arc::clone(&owed.content.message_id));
        self.mark_leg(m.clone(), leg.attempt, device, answer, leg.again, at);
        match end {
            LegEnd::Artefact | LegEnd::Failed(Class::Absent) => {}
            LegEnd::Failed(
                Class::Busy | Class::MemoryFull | Class::Infrastructure | Class::Congestion,
            ) => {
                self.back_off(place, Access::Cpm, What::Copy, Some(device), retry_after, at);
            }
            LegEnd::Delivered
            | LegEnd::Accepted
            | LegEnd::Failed(
                Class::Declined
                | Class::Content
                | Class::Permanent
                | Class::Policy
                | Class::Unknown,
            ) => {
                let d = self.user.device(device).map_or_else(|| "?".into(), key);
                self.emit(Event::CopyClosed { m, d: Some(d) });
            }
        }
    }
}

/// Which class speaks for an attempt with several legs: the first that one of them had.
const MERGE: [Class; 10] = [
    Class::Declined,
    Class::Busy,
    Class::MemoryFull,
    Class::Infrastructure,
    Class::Congestion,
    Class::Unknown,
    Class::Absent,
    Class::Content,
    Class::Permanent,
    Class::Policy,
];

/// `span` ± `percent`, by a hash of `seed`: the same attempt always gets the same (design: no chance).
fn jittered(span: Duration, percent: u32, seed: &str) -> Duration {
    let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    let range = millis.saturating_mul(i64::from(percent)) / 100;
    let hash = i64::from(crate::domain::reachability::hash(seed));
    let offset = if range == 0 { 0 } else { hash % (2 * range + 1) - range };
    Duration::from_millis(u64::try_from(millis + offset).unwrap_or(0))
}
