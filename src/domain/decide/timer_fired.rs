//! Time has come: all that is due by now ends, oldest first, each as of its own instant.
//!
//! Source: `rules.md` 3.5, 3.6.0 step 1, TM-1, TM-7, T-17, T-21.

use super::wake::Due;
use super::{ENOUGH_EVENTS, Ignored, Step};
use crate::domain::event::{Access, End, Event, HoldBy, LegEnd};
use crate::domain::failure::{Class, Verdict};
use crate::domain::input::What;
use crate::domain::reachability::DeviceId;
use crate::domain::time::Timestamp;

impl Step<'_> {
    /// Step 1 of an alarm.
    pub(super) fn timer_fired(&mut self) -> Result<(), Ignored> {
        let until = self.now;
        let mut reached = self.user.looked;
        if self.user.wake_at(self.policy).is_none_or(|wake_at| wake_at > until) {
            // Nothing ends; a changed policy may let something start all the same. What has been passed
            // stays so, however early this alarm rings (TM-1).
            self.now = until.max(self.user.looked);
            return Ok(());
        }
        loop {
            self.now = until;
            let mut next: Option<(Timestamp, Due)> = None;
            self.view().all_due(&mut |at, due| {
                if at <= until && next.is_none_or(|next| (at, due) < next) {
                    next = Some((at, due));
                }
            });
            let Some((at, due)) = next else { break };
            if self.events.len() > ENOUGH_EVENTS {
                // What is left stays due, so the next alarm comes at once.
                self.cut_short = true;
                self.emit(Event::Looked {
                    until: reached,
                    at: (self.at > reached).then_some(self.at),
                });
                return Ok(());
            }
            self.now = at.max(self.user.looked).min(until);
            reached = reached.max(self.now);
            self.fall_due(due, at);
        }
        self.now = until;
        let at = (self.at > until).then_some(self.at);
        self.emit(Event::Looked { until, at });
        Ok(())
    }

    fn fall_due(&mut self, due: Due, at: Timestamp) {
        match due {
            Due::Contact(device) => self.contact_expired(device, at),
            Due::Attempt(place, number) => self.attempt_timed_out(place, number, at),
            Due::CopyLeg(place, device) => self.copy_timed_out(place, device, at),
            Due::Imdn(place) => self.imdn_timed_out(place, at),
            Due::Sms => self.sms_timed_out(at),
            Due::Handed(place) => {
                // no report at all by the end of its validity.
                let Some(m) = self.user.message(place) else { return };
                let Some(sms) = &m.handed else { return };
                let (m, number, mms) = (m.m(), sms.number, sms.mms);
                self.emit(Event::SmsEnded { m, n: number });
                self.record(place, mms, Some(at));
                self.delivered(place, Access::Sms, End::Assumed, &[], at);
            }
            Due::Held(place) => {
                let Some(m) = self.user.message(place) else { return };
                let over: Vec<HoldBy> = (m.holds.iter())
                    .filter(|hold| hold.until.is_some_and(|until| until <= at))
                    .map(|hold| hold.by.clone())
                    .collect();
                let m = m.m();
                for by in over {
                    self.emit(Event::HoldEnded { ms: vec![m.clone()], by });
                }
            }
            Due::Block => self.emit(Event::SmsUnblocked { timer: true }),
            Due::Message(place) => self.life_over(place, at),
            Due::Copy(place) => {
                let owed = self.user.owed.iter().find(|owed| owed.place == place);
                let Some(owed) = owed else { return };
                let m = crate::domain::event::MessageRef(place, owed.content.message_id.clone());
                self.emit(Event::CopyClosed { m, d: None });
            }
        }
    }

    /// T_start: infra, definite. T_ip_attempt: absent, or unknown where nobody saw it start.
    fn attempt_timed_out(&mut self, place: u32, number: u32, at: Timestamp) {
        let Some(m) = self.user.message(place) else { return };
        let legs = m.legs.iter().filter(|leg| leg.attempt == number);
        let started = legs.clone().any(|leg| leg.started_at.is_some());
        let silent: Vec<DeviceId> =
            legs.filter(|leg| leg.end.is_none()).map(|leg| leg.device).collect();
        let class = self.silence(started);
        for device in silent {
            self.end_leg(place, number, device, LegEnd::Failed(class).into(), at);
        }
        self.close_attempt(place, number, at);
    }

    fn copy_timed_out(&mut self, place: u32, device: DeviceId, at: Timestamp) {
        let leg = (self.user.owed.iter())
            .filter(|owed| owed.place == place)
            .flat_map(|owed| &owed.to)
            .find(|to| to.device == device)
            .and_then(|to| to.leg);
        let Some(leg) = leg else { return };
        let class = self.silence(leg.started_at.is_some());
        self.end_copy(place, device, LegEnd::Failed(class).into(), at);
    }

    fn silence(&self, started: bool) -> Class {
        match (started, self.policy.gateway_reports_start) {
            (true, _) => Class::Absent,
            (false, true) => Class::Infrastructure,
            (false, false) => Class::Unknown,
        }
    }

    /// T_imdn: a 202 and nothing more is unknown (T-6).
    fn imdn_timed_out(&mut self, place: u32, at: Timestamp) {
        let Some(m) = self.user.message(place) else { return };
        let Some((number, _)) = m.awaiting else { return };
        let devices: Vec<DeviceId> = super::View::awaited(m, number).collect();
        for device in devices {
            let end = LegEnd::Failed(Class::Unknown);
            self.end_leg(place, number, device, end.into(), at);
        }
        self.close_attempt(place, number, at);
    }

    /// T_start: never started, a definite failure. T_iw_response: unknown. T_iw_report: unknown where
    /// a positive report was asked for, else taken for delivered.
    fn sms_timed_out(&mut self, at: Timestamp) {
        let Some(slot) = self.user.sms_slot.clone() else { return };
        let place = slot.m.place();
        if slot.accepted_at.is_some() && !slot.report {
            self.emit(Event::SmsEnded { m: slot.m.clone(), n: slot.number });
            if slot.what == What::Message {
                self.record(place, slot.mms, Some(at));
                self.delivered(place, Access::Sms, End::Assumed, &[], at);
            }
            return;
        }
        let never_started = slot.report_from.is_none()
            && slot.started_at.is_none()
            && self.policy.gateway_reports_start;
        let class = if never_started { Class::Infrastructure } else { Class::Unknown };
        self.sms_failed_as(&slot.m, slot.number, slot.what, Verdict::of(class, None), None, at);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::MAX_EVENTS;
    use super::super::given::{Given, message, s, text};
    use super::*;
    use crate::domain::input::{Fact, IdentityChanged, IdentityReason, MessageByHand, UserPurged};
    use crate::domain::message::MessageSubmitted;

    /// What does not fit into a step is due at once: in order, told once each, none lost. (engine bound)
    #[test]
    fn five_hundred_that_expire_at_once_end_in_order() {
        let mut given = five_hundred();

        let ended = look_until_done(&mut given, 3600);

        assert_eq!(ended, (0..500).collect::<Vec<u32>>());
        assert_eq!(given.user.wake_at(&given.policy), None);
        assert_eq!(given.user.looked, s(3600));
    }

    /// A hand on all of a user's messages is as many steps, and no message is forgotten. (T-27)
    #[test]
    fn five_hundred_ended_by_hand_all_end() {
        let hand = || MessageByHand {
            operator: "olga".into(),
            reason: "ticket".into(),
            message_id: None,
            from: None,
        };
        let moved = || IdentityChanged {
            reason: IdentityReason::NumberMoved,
            imsi_before: None,
            imsi_after: None,
            to: None,
        };
        for fact in [
            Fact::MessageCancelled(hand()),
            Fact::MessageExpireRequested(hand()),
            Fact::IdentityChanged(moved()),
        ] {
            let mut given = five_hundred();

            let events = given.at(1000, fact.clone()).unwrap();

            assert!(events.len() <= MAX_EVENTS, "{fact:?}");
            let mut ended = places(&events);
            ended.extend(look_until_done(&mut given, 1000));
            assert_eq!(ended, (0..500).collect::<Vec<u32>>(), "{fact:?}");
        }
    }

    /// A flood of senders with one id does not pass the bound on events, whoever speaks of it. (P-19)
    #[test]
    fn five_hundred_of_one_id_stay_within_a_step() {
        let mut given = Given::nothing();
        for n in 0..500 {
            let from = format!("tel:+1514555{n:04}").into();
            let sent = MessageSubmitted { from, expires_at: Some(s(3600)), ..text("same") };
            given.at(n, message(sent)).unwrap();
        }
        let hand = || MessageByHand {
            operator: "olga".into(),
            reason: "ticket".into(),
            message_id: Some("same".into()),
            from: None,
        };
        for fact in [Fact::MessageCancelled(hand()), Fact::MessageExpireRequested(hand())] {
            let events = given.at(1000, fact.clone()).unwrap();

            assert!(events.len() <= MAX_EVENTS, "{fact:?}");
            assert!(!places(&events).is_empty(), "{fact:?}");
        }
    }

    /// A purge is one event, whatever there was; nothing is told, and nothing is due. (T-26)
    #[test]
    fn a_purge_of_five_hundred_is_one_event() {
        let mut given = five_hundred();

        let events = given.words(1000, Fact::UserPurged(UserPurged::default()));

        assert_eq!(events, ["user purged"]);
        assert!(given.user.is_blank());
        assert_eq!(given.user.wake_at(&given.policy), None);
    }

    fn five_hundred() -> Given {
        let mut given = Given::nothing();
        for n in 0..500 {
            let sent = MessageSubmitted { expires_at: Some(s(3600)), ..text(&format!("m{n}")) };
            given.at(n, message(sent)).unwrap();
        }
        // The ladder's SMS is out and over: it is none of this.
        given.policy = given.policy.with("access_sms", "off").unwrap();
        given
    }

    /// Which messages ended, in order, by alarms that ring at once; each is told of once.
    fn look_until_done(given: &mut Given, at: i64) -> Vec<u32> {
        let mut ended = Vec::new();
        let mut told = BTreeSet::new();
        while given.user.wake_at(&given.policy).is_some_and(|due| due <= s(at)) {
            let events = given.ring(at);
            assert!(events.len() <= MAX_EVENTS);
            for event in &events {
                if let Event::Notified { m, .. } = event {
                    assert!(told.insert(m.place()), "{m} told twice");
                }
            }
            ended.extend(places(&events));
        }
        assert_eq!(told.len(), ended.len());
        ended
    }

    fn places(events: &[Event]) -> Vec<u32> {
        let ended = |event: &Event| {
            let Event::Ended { m, .. } = event else { return None };
            Some(m.place())
        };
        events.iter().filter_map(ended).collect()
    }
}
