//! What became of an SMS: reports of the network, and the classes of its failures.
//!
//! Source: OMA CPM 2.1 change requests, `<failed-iw>`; 3GPP TS 23.040 9.2.3.15, 10.3; `rules.md` 3.6.0
//! table A, 3.8 (by SMS), T-12 to T-15, R-9, R-13, R-21, R-25, A-9, A-12, A-14, P-8 to P-11, P-19, P-20.

use super::{Ignored, Step};
use crate::domain::command::AttemptName;
use crate::domain::event::{Access, BlockKind, End, Event, MessageRef, Notice};
use crate::domain::failure::{
    BlockKind as Shut, Class, Report, SlotNews, Verdict, classify, is_expired,
};
use crate::domain::input::{SmsReport, What};
use crate::domain::message::Kind;
use crate::domain::policy::UnknownSms;
use crate::domain::reachability::{SlotName, SlotState, Stamp};
use crate::domain::time::Timestamp;
use crate::domain::user::{Deferred, SmsLog};

/// A roaming bar is looked at sooner again than another (4.6).
const ROAMING_BAR: std::time::Duration = std::time::Duration::from_secs(3600);

/// The SMS attempt a report is about.
#[derive(Clone, Debug)]
pub(super) struct Sms {
    pub(super) m: MessageRef,
    pub(super) number: u32,
    pub(super) what: What,
    /// It is in the slot, or handed over.
    pub(super) open: bool,
    /// A buffering SMSC has it.
    pub(super) handed: bool,
}

impl Step<'_> {
    /// `cpm.sms.delivered`.
    pub(super) fn sms_delivered(&mut self, report: &SmsReport<'_>) -> Result<(), Ignored> {
        let sms = self.sms_of(report)?;
        // P-11: the last segment decides.
        if report.segment.zip(report.segments).is_some_and(|(segment, of)| segment < of) {
            return Err(Ignored::NoChange);
        }
        self.sms_arrived(&sms, report.domain.as_deref())
    }

    /// `cpm.sms.delayed`: the SMSC is still trying, so the report is waited for from now on.
    pub(super) fn sms_delayed(&mut self, report: &SmsReport<'_>) -> Result<(), Ignored> {
        let sms = self.sms_of(report)?;
        if !sms.open {
            return Err(Ignored::Late);
        }
        self.emit(Event::SmsDelayed { m: sms.m, n: sms.number, at: self.observed() });
        Ok(())
    }

    /// `cpm.sms.failed`: a gateway's cause beats the error, which beats the diagnostic.
    pub(super) fn sms_failed(&mut self, report: &SmsReport<'_>) -> Result<(), Ignored> {
        let sms = self.sms_of(report)?;
        let coded = report
            .error
            .as_ref()
            .and_then(|error| classify(error.protocol, &error.code, report.diagnostic));
        let verdict = match (report.cause, coded) {
            (Some(cause), Some(Report::Failed(coded))) if coded.class == cause.class() => coded,
            (Some(cause), _) => Verdict::of(cause.class(), report.diagnostic),
            (None, Some(Report::Failed(coded))) => coded,
            (None, Some(Report::Trying)) => return self.sms_delayed(report),
            (None, Some(Report::Unknown)) => Verdict::of(Class::Unknown, None),
            (None, Some(Report::Delivered { .. }) | None) => {
                Verdict::of(Class::Absent, report.diagnostic)
            }
        };
        let expired =
            (report.error.as_ref()).is_some_and(|error| is_expired(error.protocol, &error.code));
        self.sms_failed_by(&sms, verdict, report.domain.as_deref(), None, expired)
    }

    /// An IMDN of a gateway says what a report would.
    pub(super) fn gateway_imdn(
        &mut self,
        message_id: &str,
        from: Option<&str>,
        delivered: bool,
    ) -> Result<(), Ignored> {
        let sms = self.sms_named(message_id, from, None)?;
        if delivered {
            self.sms_arrived(&sms, None)
        } else {
            let verdict = Verdict::of(Class::Absent, None);
            self.sms_failed_by(&sms, verdict, None, None, false)
        }
    }

    /// T-13: the phone has it. Whatever closed the attempt, a definite success counts.
    pub(super) fn sms_arrived(&mut self, sms: &Sms, domain: Option<&str>) -> Result<(), Ignored> {
        let place = sms.m.place();
        let live = self.user.message(place).is_some();
        if !sms.open && (!live || sms.what == What::Ucn) {
            return Err(if live { Ignored::Late } else { Ignored::Final });
        }
        let handed = self.user.message(place).and_then(|m| m.handed.as_ref());
        let mms = sms.open && handed.or(self.user.sms_slot.as_ref()).is_some_and(|sms| sms.mms);
        if sms.what == What::Message && live {
            self.tell_interworked(place, mms);
        }
        if sms.open {
            self.emit(Event::SmsEnded { m: sms.m.clone(), n: sms.number });
        }
        self.phone_took_sms(domain);
        if sms.what == What::Message && live {
            let end = End::Delivered(Access::Sms);
            self.notify(place, Notice::Delivered, None, None);
            self.record(place, mms, Some(self.observed()));
            self.delivered(place, Access::Sms, end, &[], self.observed());
        }
        Ok(())
    }

    /// Table A, "SMS delivered": SMS works there, which is news and starts no wait.
    fn phone_took_sms(&mut self, domain: Option<&str>) {
        if self.view().block().is_some() {
            self.emit(Event::SmsUnblocked { timer: false });
        }
        let slot = SlotName::of_domain(domain);
        if let Ok(stamp) = self.check_slot(slot, true) {
            self.set_slot(slot, SlotState::Attached, true, stamp);
        }
        self.news();
    }

    /// A definite failure, of the SMS that is out or of the one a message is parked for.
    pub(super) fn sms_failed_by(
        &mut self,
        sms: &Sms,
        verdict: Verdict,
        domain: Option<&str>,
        retry_after: Option<u32>,
        expired: bool,
    ) -> Result<(), Ignored> {
        let place = sms.m.place();
        let at = self.observed();
        if !sms.open {
            let parked = self.user.message(place).and_then(|m| m.parked);
            if parked != Some((Access::Sms, sms.number)) || verdict.class == Class::Unknown {
                let live = self.user.message(place).is_some();
                return Err(if live { Ignored::Late } else { Ignored::Final });
            }
            self.emit(Event::Unparked { m: sms.m.clone() });
        }
        let life = self.user.message(place).map(|m| m.expires_at);
        if sms.handed && (expired || life.is_some_and(|life| at >= life)) {
            // R-25, P-10: the SMSC kept it to its end.
            self.expired(place, Some(verdict.class), at);
            return Ok(());
        }
        if sms.handed {
            self.emit(Event::SmsRefused { m: sms.m.clone() });
        }
        self.failure_marks(verdict, domain);
        self.end_sms(&sms.m, sms.number, sms.what, verdict, retry_after, at);
        Ok(())
    }

    /// The same for an end that no report told: a deadline, or a gateway that cannot say.
    pub(super) fn sms_failed_as(
        &mut self,
        m: &MessageRef,
        number: u32,
        what: What,
        verdict: Verdict,
        retry_after: Option<u32>,
        at: Timestamp,
    ) {
        self.end_sms(m, number, what, verdict, retry_after, at);
    }

    /// What a failure says of the phone and of the user's SMS (3.8, table A).
    fn failure_marks(&mut self, verdict: Verdict, domain: Option<&str>) {
        let at = self.told.clamped(self.policy);
        match verdict.class {
            Class::Absent => self.phone_absent(verdict, domain, at),
            Class::MemoryFull => {
                let wait = self.policy.memory_full_retry(self.user.memory_full_step);
                self.block(BlockKind::MemoryFull, at, Some(at + wait));
            }
            Class::Permanent | Class::Declined => {
                let roaming = verdict.diagnosis.is_some_and(|diagnosis| diagnosis.barred_roaming);
                let (kind, wait) = match verdict.block {
                    _ if roaming => (BlockKind::Barred, ROAMING_BAR.min(self.policy.sms_barred)),
                    Some(Shut::Barred) => (BlockKind::Barred, self.policy.sms_barred),
                    Some(Shut::NotCapable) | None => {
                        (BlockKind::NotCapable, self.policy.sms_barred)
                    }
                };
                self.block(kind, at, Some(at + wait));
            }
            Class::Busy
            | Class::Congestion
            | Class::Infrastructure
            | Class::Content
            | Class::Policy
            | Class::Unknown => {}
        }
    }

    fn block(&mut self, block: BlockKind, at: Timestamp, until: Option<Timestamp>) {
        self.emit(Event::SmsBlocked { block, at, until });
    }

    /// Nobody answered: what we knew of CS and PS was wrong, so the next attach is news (T-14), unless
    /// one has come meanwhile that is newer than this answer.
    fn phone_absent(&mut self, verdict: Verdict, domain: Option<&str>, at: Timestamp) {
        let stamp = Stamp::of(&self.told, false);
        let named = domain.map(|domain| SlotName::of_domain(Some(domain)));
        let undoes =
            |name: SlotName| named.is_none_or(|named| named == name || name == SlotName::Any);
        let tolerance = self.policy.clock_tolerance;
        let overtaken = SlotName::ALL.into_iter().filter(|name| undoes(*name)).any(|name| {
            let slot = self.user.slot(name);
            slot.state == SlotState::Attached && !stamp.is_newer_than(&slot.stamp, tolerance)
        });
        if overtaken {
            return;
        }
        self.block(BlockKind::Absent, at, None);
        let diagnosis = verdict.diagnosis;
        let told = |name: SlotName| {
            let news = diagnosis.and_then(|diagnosis| match name {
                SlotName::Cs => diagnosis.cs,
                SlotName::Ps => diagnosis.ps,
                SlotName::Any => None,
            });
            news.map(|news| match news {
                SlotNews::Detached => SlotState::Detached,
                SlotNews::Unknown => SlotState::Unknown,
            })
        };
        let names_one = told(SlotName::Cs).is_some() || told(SlotName::Ps).is_some();
        for name in SlotName::ALL {
            let known = self.user.slots.get(name as usize).copied().flatten();
            let state = match told(name) {
                Some(state) => state,
                // 4.6: a diagnostic that names a slot leaves the other as it is.
                None if names_one && name != SlotName::Any => continue,
                None if undoes(name) => SlotState::Unknown,
                None => continue,
            };
            let sms = known.is_some_and(|slot| slot.sms_capable);
            let changes = known.map_or(state == SlotState::Detached, |slot| slot.state != state);
            if changes {
                self.set_slot(name, state, sms, stamp);
            }
        }
    }

    /// What a failure means for the message, or its notice (3.8, R-21).
    fn end_sms(
        &mut self,
        m: &MessageRef,
        number: u32,
        what: What,
        verdict: Verdict,
        retry_after: Option<u32>,
        at: Timestamp,
    ) {
        let place = m.place();
        let slot = self.user.sms_slot.clone().filter(|slot| slot.number == number);
        let rung = slot.as_ref().and_then(|slot| slot.rung);
        let accepted = slot.as_ref().filter(|slot| slot.accepted_at.is_some());
        let mms = accepted.is_some_and(|slot| slot.mms);
        let was_accepted = accepted.is_some();
        let class = verdict.class;
        self.emit(Event::AttemptEnded { m: m.clone(), n: number, by: Access::Sms, what, class });
        if self.user.message(place).is_none() {
            return;
        }
        match class {
            Class::Busy | Class::Congestion | Class::Infrastructure => {
                let until = self.back_off(place, Access::Sms, what, None, retry_after, at);
                if rung.is_some_and(|rung| rung != crate::domain::event::Rung::Free) {
                    self.emit(Event::RungTakenBack { until });
                }
            }
            Class::Unknown if what == What::Message => {
                if self.policy.unknown_sms == UnknownSms::Park {
                    self.emit(Event::Parked { m: m.clone(), by: Access::Sms, n: number });
                    if was_accepted {
                        self.record(place, mms, None);
                    }
                } else {
                    self.back_off(place, Access::Sms, what, None, retry_after, at);
                }
            }
            Class::Content if what == What::Message => {
                let ucn = self
                    .user
                    .message(place)
                    .is_some_and(|m| !matches!(m.content.kind, Kind::Imdn | Kind::System));
                self.emit(Event::NotInterworkable { m: m.clone(), ucn });
            }
            Class::Policy
                if what == What::Message
                    && self.user.message(place).is_some_and(|m| !m.sms_refused) =>
            {
                self.emit(Event::SmsRefused { m: m.clone() });
            }
            Class::Absent
            | Class::MemoryFull
            | Class::Declined
            | Class::Content
            | Class::Permanent
            | Class::Policy
            | Class::Unknown => {}
        }
        if what == What::Message {
            self.end_if_over(place, Some(class), at);
        }
    }

    // --- correlation -------------------------------------------------------------------------

    /// The SMS attempt a report means: by attempt id, by the SMSC's id, else by message id.
    fn sms_of(&self, report: &SmsReport<'_>) -> Result<Sms, Ignored> {
        if let Some(attempt) = report.attempt_id.as_deref().and_then(AttemptName::parse) {
            return self
                .sms_by_key(attempt.key, attempt.number)
                .ok_or_else(|| self.ended_attempt(attempt.key));
        }
        if let Some(sms) = report.legacy_id.as_deref().and_then(|id| self.sms_by_legacy(id)) {
            return Ok(sms);
        }
        let Some(message_id) = report.message_id.as_deref() else { return Err(Ignored::Orphan) };
        // a gateway may name the attempt where the message id belongs, or an id of its own.
        if let Some(attempt) = AttemptName::parse(message_id)
            && let Some(sms) = self.sms_by_key(attempt.key, attempt.number)
        {
            return Ok(sms);
        }
        let named = self.sms_named(message_id, report.from.as_deref(), report.what);
        named.or_else(|why| self.sms_by_legacy(message_id).ok_or(why))
    }

    /// The attempt that the service centre knows by this id.
    fn sms_by_legacy(&self, id: &str) -> Option<Sms> {
        self.user.messages.iter().find_map(|m| {
            let log = m.sms_log.iter().find(|log| log.ids.iter().any(|known| **known == *id))?;
            Some(self.sms_from(m, log))
        })
    }

    /// P-19, P-20: of the messages of this id the one with an SMS out; of it the newest attempt that
    /// had started by the report's time.
    fn sms_named(
        &self,
        message_id: &str,
        from: Option<&str>,
        what: Option<What>,
    ) -> Result<Sms, Ignored> {
        let by = self.told.time + self.policy.clock_tolerance;
        let newest = |m: &Deferred| {
            let wanted =
                |log: &&SmsLog| log.asked_at <= by && what.is_none_or(|what| what == log.what);
            m.sms_log.iter().rev().find(wanted).map(|log| self.sms_from(m, log))
        };
        let all: Vec<Sms> = self.user.named(message_id, from).filter_map(newest).collect();
        let out = all.iter().find(|sms| sms.open).cloned();
        let chosen = out.or_else(|| self.slot_of_ended(message_id, what));
        chosen.or_else(|| all.first().cloned()).ok_or_else(|| {
            let live = self.user.named(message_id, from).next().is_some();
            if live { Ignored::Late } else { self.absent_message(message_id) }
        })
    }

    /// The SMS that is still out although its message has ended: its end frees the slot (3.2).
    fn slot_of_ended(&self, message_id: &str, what: Option<What>) -> Option<Sms> {
        let slot = self.user.sms_slot.as_ref()?;
        let ended = *slot.m.1 == *message_id && self.user.message(slot.m.place()).is_none();
        (ended && what.is_none_or(|what| what == slot.what)).then(|| Sms {
            m: slot.m.clone(),
            number: slot.number,
            what: slot.what,
            open: true,
            handed: false,
        })
    }

    fn sms_from(&self, m: &Deferred, log: &SmsLog) -> Sms {
        let slot = self.user.sms_slot.as_ref();
        let in_slot =
            slot.is_some_and(|slot| slot.m.place() == m.place && slot.number == log.number);
        let handed = m.handed.as_ref().is_some_and(|sms| sms.number == log.number);
        Sms { m: m.m(), number: log.number, what: log.what, open: in_slot || handed, handed }
    }

    /// The SMS attempt of this number of the message with this key, in the slot after its message's
    /// end included.
    pub(super) fn sms_by_key(&self, key: u64, number: u32) -> Option<Sms> {
        if let Some(m) = self.by_key(key) {
            let log = m.sms_log.iter().find(|log| log.number == number)?;
            return Some(self.sms_from(m, log));
        }
        let slot = self.user.sms_slot.as_ref()?;
        (slot.key == key && slot.number == number).then(|| Sms {
            m: slot.m.clone(),
            number,
            what: slot.what,
            open: true,
            handed: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::given::{Given, cs_attached, message, outcome, text};
    use super::*;
    use crate::domain::failure::Cause;
    use crate::domain::input::{Fact, Outcome};

    /// Each class, by SMS: what it shuts, and what becomes of the message. (3.8)
    #[test]
    fn every_class_by_sms() {
        let cases: [(Cause, &[&str]); 11] = [
            (
                Cause::Absent,
                &["sms blocked: absent", "cs unknown", "failed m1#1 absent", "ladder next 1000s"],
            ),
            (
                Cause::MemoryFull,
                &["sms blocked: memory full until 3700s", "failed m1#1 memory-full"],
            ),
            (Cause::Busy, &["failed m1#1 busy", "back-off m1 sms until 110s"]),
            (Cause::Congestion, &["failed m1#1 congestion", "back-off m1 sms until 110s"]),
            (Cause::Infrastructure, &["failed m1#1 infrastructure", "back-off m1 sms until 110s"]),
            (Cause::Late, &["failed m1#1 infrastructure", "back-off m1 sms until 110s"]),
            (Cause::Content, &["failed m1#1 content", "no sms can carry m1, ucn due"]),
            (Cause::Permanent, &["sms blocked: not capable until 86500s", "failed m1#1 permanent"]),
            (Cause::Declined, &["sms blocked: not capable until 86500s", "failed m1#1 declined"]),
            (Cause::Policy, &["failed m1#1 policy", "sms closed to m1"]),
            (Cause::Unknown, &["outcome of m1#1 unknown", "parked m1#1 sms"]),
        ];
        for (cause, then) in cases {
            let mut given = sms_out();
            let id = given.attempt("m1", 1, Access::Sms);
            let said = outcome(id, Outcome::Failed, Some(cause));

            assert_eq!(given.words(100, Fact::DeliveryOutcome(said)), then, "{cause:?}");
        }
    }

    /// The report of an SMS whose message has ended meanwhile frees the slot all the same. (3.2)
    #[test]
    fn a_report_frees_the_slot_of_an_ended_message() {
        for delivered in [true, false] {
            let mut given = sms_out();
            given.user.evolve(&Event::Ended {
                m: MessageRef(0, "m1".into()),
                end: End::Cancelled,
                at: given.user.looked,
            });
            let report = SmsReport { message_id: Some("m1".into()), ..SmsReport::default() };
            let fact = if delivered { Fact::SmsDelivered(report) } else { Fact::SmsFailed(report) };

            given.at(100, fact).unwrap();

            assert_eq!(given.user.sms_slot, None);
        }
    }

    /// A gateway that knows one field for the id writes there what it has: message, attempt, legacy.
    #[test]
    fn an_id_of_any_kind_names_the_message() {
        let attempt = sms_out().attempt("m1", 1, Access::Sms);
        for id in ["m1", &*attempt, "smsc-7"] {
            let mut given = sms_out();
            let mut accepted = outcome(attempt.clone(), Outcome::Accepted, None);
            accepted.legacy_ids = vec!["smsc-7".into()];
            given.at(70, Fact::DeliveryOutcome(accepted)).unwrap();
            let report = SmsReport { message_id: Some(id.into()), ..SmsReport::default() };

            let events = given.words(100, Fact::SmsFailed(report));

            assert!(events.contains(&"failed m1#1 absent".to_owned()), "{id}: {events:?}");
        }
        let mut given = sms_out();
        let report = SmsReport { message_id: Some("smsc-8".into()), ..SmsReport::default() };
        assert_eq!(given.at(100, Fact::SmsFailed(report)), Err(Ignored::Orphan));
    }

    /// Memory that stays full is asked after an hour, then every six; other ends begin anew. (T-15)
    #[test]
    fn memory_full_waits_longer_each_time() {
        let mut given = sms_out();
        let full = |given: &mut Given, at, number| {
            let said = outcome(
                given.attempt("m1", number, Access::Sms),
                Outcome::Failed,
                Some(Cause::MemoryFull),
            );
            given.words(at, Fact::DeliveryOutcome(said)).first().cloned()
        };
        assert_eq!(
            full(&mut given, 100, 1).as_deref(),
            Some("sms blocked: memory full until 3700s")
        );
        given.ring(3700);
        assert_eq!(
            full(&mut given, 3710, 2).as_deref(),
            Some("sms blocked: memory full until 25310s")
        );
        let ready = crate::domain::input::SmsReady {
            alert_reason: Some(crate::domain::input::AlertReason::Memory),
            ..crate::domain::input::SmsReady::default()
        };
        given.at(4000, Fact::SmsReady(ready)).unwrap();
        given.ring(4000);
        assert_eq!(
            full(&mut given, 4010, 3).as_deref(),
            Some("sms blocked: memory full until 7610s")
        );
    }

    /// m1 is out by SMS since 60 s; the phone is attached to CS.
    fn sms_out() -> Given {
        let mut given = Given::nothing();
        given.at(0, cs_attached()).unwrap();
        given.at(60, message(text("m1"))).unwrap();
        let events = super::super::given::words(&given.ring(60));
        assert_eq!(events, ["attempt m1#1 sms"]);
        given
    }
}
