//! A gateway reports how an attempt goes: finish, wait, or try again.
//!
//! Source: OMA CPM 2.1 change requests, CPM-MLD-035; 3GPP TS 23.040 10.3; `rules.md` 3.6.0 step 2,
//! T-6 to T-15, 4.9, R-3, R-11, R-13, I-2.

use super::legs::Answer;
use super::{Ignored, Step};
use crate::domain::command::AttemptName;
use crate::domain::event::{Access, Event, LegEnd};
use crate::domain::failure::{Class, SipVerdict, Verdict, sip_from_client, sip_from_gateway};
use crate::domain::input::{DeliveryOutcome, Outcome, Technology, What};
use crate::domain::policy::{SmsMode, SmsReports};
use crate::domain::reachability::{DeviceId, DeviceName};

impl Step<'_> {
    /// Step 2 for `cpm.delivery.outcome`.
    pub(super) fn delivery_outcome(&mut self, told: &DeliveryOutcome<'_>) -> Result<(), Ignored> {
        let Some(name) = AttemptName::parse(&told.attempt_id) else { return Err(Ignored::Orphan) };
        match (name.what, name.access) {
            (What::Copy, _) => self.copy_outcome(name, told),
            // T-29: what became of a forward only annotates.
            (What::Forward, _) => Err(self.ended_attempt(name.key)),
            (What::Message, Access::Cpm) => self.ip_outcome(name, told),
            (What::Ucn, _) | (What::Message, Access::Sms) => self.sms_outcome(name, told),
        }
    }

    /// The device a record speaks of.
    fn told_device(&self, told: &DeliveryOutcome<'_>) -> Option<DeviceId> {
        let device = told.device.as_ref()?;
        Some(DeviceName::of(Some(device), &self.user.address).id())
    }

    fn ip_outcome(&mut self, name: AttemptName, told: &DeliveryOutcome<'_>) -> Result<(), Ignored> {
        // the message has ended, and this leg of it is a copy now.
        let Some(m) = self.by_key(name.key) else { return self.copy_outcome(name, told) };
        let (place, message, number) = (m.place, m.m(), name.number);
        let by_sms = m.sms_log.iter().any(|log| log.number == number);
        if number == 0 || number > m.attempts || by_sms || m.legs.is_empty() {
            return Err(Ignored::Orphan);
        }
        let only = self.told_device(told);
        let mine: Vec<_> = m
            .legs
            .iter()
            .filter(|leg| leg.attempt == number && only.is_none_or(|only| only == leg.device))
            .copied()
            .collect();
        let open: Vec<_> = mine.iter().filter(|leg| leg.end.is_none()).collect();
        let awaited = m.awaiting.is_some_and(|(awaiting, _)| awaiting == number);
        let parked = m.parked == Some((Access::Cpm, number));
        let at = self.observed();
        if told.outcome == Outcome::Started {
            if open.iter().all(|leg| leg.started_at.is_some()) {
                return Err(Ignored::NoChange);
            }
            let d = only.and_then(|id| self.user.device(id)).map(super::key);
            self.emit(Event::AttemptTaken { m: message, n: number, d, at });
            return Ok(());
        }
        let answer = leg_end(told, self.counts_as_delivered(place));
        let end = answer.end;
        if open.is_empty() {
            // a definite success still counts, whatever closed the attempt.
            if end == LegEnd::Delivered {
                let mut took: Vec<DeviceId> = match only {
                    Some(only) => vec![only],
                    None => mine.iter().map(|leg| leg.device).collect(),
                };
                if took.is_empty() {
                    // Later attempts have replaced its legs: those they went to.
                    took = m.legs.iter().map(|leg| leg.device).collect();
                }
                for device in &took {
                    self.end_leg(place, number, *device, answer, at);
                }
                self.ip_success(place, &took, at);
                return Ok(());
            }
            let definite = !matches!(end, LegEnd::Accepted | LegEnd::Failed(Class::Unknown));
            if !(definite && (parked || awaited)) {
                return Err(Ignored::Late);
            }
            self.emit(Event::Unparked { m: message });
        }
        let devices: Vec<DeviceId> = if open.is_empty() {
            mine.iter().map(|leg| leg.device).collect()
        } else {
            open.iter().map(|leg| leg.device).collect()
        };
        for device in &devices {
            self.end_leg(place, number, *device, answer, at);
        }
        if end == LegEnd::Delivered {
            self.ip_success(place, &devices, at);
        }
        self.close_attempt(place, number, at);
        Ok(())
    }

    fn copy_outcome(
        &mut self,
        name: AttemptName,
        told: &DeliveryOutcome<'_>,
    ) -> Result<(), Ignored> {
        let owed = self.user.owed.iter().find(|owed| super::is_key(&owed.content, name.key));
        let Some(owed) = owed else { return Err(self.ended_attempt(name.key)) };
        let place = owed.place;
        let only = self.told_device(told);
        let open: Vec<DeviceId> = (owed.to.iter())
            .filter(|to| to.leg.is_some_and(|leg| leg.attempt == name.number))
            .map(|to| to.device)
            .filter(|device| only.is_none_or(|only| only == *device))
            .collect();
        let m = crate::domain::event::MessageRef(place, owed.content.message_id.clone());
        if open.is_empty() {
            return Err(Ignored::Late);
        }
        if told.outcome == Outcome::Started {
            let d = only.and_then(|id| self.user.device(id)).map(super::key);
            self.emit(Event::AttemptTaken { m, n: name.number, d, at: self.observed() });
            return Ok(());
        }
        let answer = leg_end(told, true);
        for device in open {
            self.end_copy(place, device, answer, self.observed());
        }
        Ok(())
    }

    fn sms_outcome(
        &mut self,
        name: AttemptName,
        told: &DeliveryOutcome<'_>,
    ) -> Result<(), Ignored> {
        let sms = self.sms_by_key(name.key, name.number).ok_or_else(|| {
            if self.by_key(name.key).is_some() {
                Ignored::Late
            } else {
                self.ended_attempt(name.key)
            }
        })?;
        let at = self.observed();
        match told.outcome {
            Outcome::Started => {
                let slot = self.user.sms_slot.as_ref();
                if !sms.open || slot.is_none_or(|slot| slot.started_at.is_some()) {
                    return Err(Ignored::NoChange);
                }
                self.emit(Event::AttemptTaken { m: sms.m, n: sms.number, d: None, at });
                Ok(())
            }
            Outcome::Accepted => self.sms_accepted(&sms, told),
            Outcome::Delivered => self.sms_arrived(&sms, None),
            Outcome::Unknown if sms.open => {
                let verdict = Verdict::of(Class::Unknown, None);
                self.sms_failed_as(&sms.m, sms.number, sms.what, verdict, None, at);
                Ok(())
            }
            Outcome::Unknown => Err(Ignored::Late),
            Outcome::Failed => {
                let verdict = match (told.cause, told.sip_status) {
                    (Some(cause), _) => Verdict::of(cause.class(), None),
                    (None, Some(status)) => match sip_from_gateway(status) {
                        Some(SipVerdict::Failed { class, .. }) => Verdict::of(class, None),
                        Some(
                            SipVerdict::Delivered | SipVerdict::Accepted | SipVerdict::Artefact,
                        )
                        | None => Verdict::of(Class::Absent, None),
                    },
                    (None, None) => Verdict::of(Class::Absent, None),
                };
                self.sms_failed_by(&sms, verdict, None, told.retry_after_seconds, false)
            }
        }
    }

    /// T-11: the gateway took it over; a buffering SMSC for good.
    fn sms_accepted(
        &mut self,
        sms: &super::sms_report::Sms,
        told: &DeliveryOutcome<'_>,
    ) -> Result<(), Ignored> {
        let waits = self.user.sms_slot.as_ref().is_some_and(|slot| slot.accepted_at.is_none());
        if !(sms.open && waits) {
            return Err(Ignored::Late);
        }
        let handed = self.policy.sms_mode == SmsMode::Buffered;
        let mms = told.technology == Some(Technology::Mms);
        let place = sms.m.place();
        self.emit(Event::SmsAccepted {
            m: sms.m.clone(),
            n: sms.number,
            at: self.observed(),
            report: self.policy.sms_reports == SmsReports::AskBoth
                && told.report_expected != Some(false),
            handed,
            mms,
            ids: told.legacy_ids.iter().map(|id| id.as_ref().into()).collect(),
        });
        if sms.what == What::Message {
            self.tell_interworked(place, mms);
            if handed {
                self.record(place, mms, None);
            }
        }
        Ok(())
    }
}

/// How an answer ends a leg. A gateway's cause beats the SIP code; neither: absent (4.9).
fn leg_end(told: &DeliveryOutcome<'_>, accepted_counts: bool) -> Answer {
    let (end, drop) = end_and_drop(told, accepted_counts);
    Answer { end, drop, retry_after: told.retry_after_seconds }
}

fn end_and_drop(told: &DeliveryOutcome<'_>, accepted_counts: bool) -> (LegEnd, bool) {
    let end = match told.outcome {
        Outcome::Delivered => LegEnd::Delivered,
        Outcome::Accepted if accepted_counts => LegEnd::Delivered,
        Outcome::Accepted => LegEnd::Accepted,
        Outcome::Started | Outcome::Unknown => LegEnd::Failed(Class::Unknown),
        Outcome::Failed => {
            let by_code = || {
                let status = told.sip_status?;
                sip_from_client(status, told.retry_after_seconds.is_some())
            };
            return match (told.cause, by_code()) {
                (Some(cause), _) => (LegEnd::Failed(cause.class()), false),
                (None, Some(SipVerdict::Artefact)) => (LegEnd::Artefact, false),
                (None, Some(SipVerdict::Failed { class, drop_contact, .. })) => {
                    (LegEnd::Failed(class), drop_contact)
                }
                // A failure with the code of a success says nothing of what went wrong.
                (None, Some(SipVerdict::Delivered | SipVerdict::Accepted) | None) => {
                    (LegEnd::Failed(Class::Absent), false)
                }
            };
        }
    };
    (end, false)
}
