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
            // Declined, and outweighed by a 202: that device is not asked again either.
            LegEnd::Failed(Class::Content | Class::Permanent | Class::Policy | Class::Declined) => {
                (Mark::Refused, false)
            }
            LegEnd::Failed(
                Class::Busy | Class::MemoryFull | Class::Congestion | Class::Infrastructure,
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

#[cfg(test)]
mod tests {
    use super::super::given::{Given, device, message, outcome, registered, text};
    use super::*;
    use crate::domain::failure::Cause;
    use crate::domain::input::{Fact, Outcome};

    /// Each class, by IP: its mark on the contact, and what becomes of the message. (3.8)
    #[test]
    fn every_class_by_ip() {
        let backed_off = |class: &str| {
            vec![
                format!("leg m1#1 phone1 {class}"),
                format!("failed m1#1 {}", if class == "memory-full" { "busy" } else { class }),
                "back-off m1 cpm until 21s".to_owned(),
            ]
        };
        let refused = |class: &str, merged: &str| {
            vec![
                format!("leg m1#1 phone1 {class}, refused"),
                format!("failed m1#1 {merged}"),
                "ladder next 911s".to_owned(),
            ]
        };
        let said = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        for (cause, then) in [
            (
                Cause::Absent,
                said(&[
                    "leg m1#1 phone1 absent, suspect",
                    "failed m1#1 absent",
                    "ladder next 911s",
                ]),
            ),
            (Cause::MemoryFull, backed_off("memory-full")),
            (Cause::Busy, backed_off("busy")),
            (Cause::Congestion, backed_off("congestion")),
            (Cause::Infrastructure, backed_off("infrastructure")),
            (Cause::Late, backed_off("infrastructure")),
            (Cause::Content, refused("content", "content")),
            (Cause::Permanent, refused("permanent", "permanent")),
            (Cause::Policy, refused("policy", "permanent")),
            (
                Cause::Declined,
                said(&[
                    "leg m1#1 phone1 declined, refused",
                    "failed m1#1 declined",
                    "notified m1 failed: declined",
                    "declined m1",
                ]),
            ),
            (
                Cause::Unknown,
                said(&[
                    "leg m1#1 phone1 unknown",
                    "outcome of m1#1 unknown",
                    "parked m1#1 cpm",
                    "attempt m1#2 cpm phone1",
                ]),
            ),
        ] {
            let mut given = under_way(&["phone1"]);

            assert_eq!(given.words(11, failed(&given, "phone1", cause)), then, "{cause:?}");
        }
    }

    /// Several legs speak with one voice, whoever answers first. (3.6.0, step 2)
    #[test]
    fn legs_merge_by_rank() {
        let ranked = [
            (Cause::Declined, Class::Declined),
            (Cause::Busy, Class::Busy),
            (Cause::Late, Class::Infrastructure),
            (Cause::Congestion, Class::Congestion),
            (Cause::Unknown, Class::Unknown),
            (Cause::Absent, Class::Absent),
            (Cause::Content, Class::Content),
            (Cause::Permanent, Class::Permanent),
        ];
        for (rank, (stronger, class)) in ranked.into_iter().enumerate() {
            for (weaker, _) in ranked.into_iter().skip(rank) {
                for (first, second) in [(stronger, weaker), (weaker, stronger)] {
                    let mut given = under_way(&["phone1", "tablet"]);
                    let fact = failed(&given, "phone1", first);
                    given.at(11, fact).unwrap();
                    let fact = failed(&given, "tablet", second);
                    let events = given.at(12, fact).unwrap();

                    let merged = events.iter().find_map(|event| {
                        let Event::AttemptEnded { class, .. } = event else { return None };
                        Some(*class)
                    });
                    assert_eq!(merged, Some(class), "{first:?}, then {second:?}");
                }
            }
        }
    }

    /// An unknown leg parks the message although the other one was merely busy. (3.6.0, step 2)
    #[test]
    fn an_unknown_leg_parks_whatever_wins() {
        let mut given = under_way(&["phone1", "tablet"]);
        given.at(11, failed(&given, "phone1", Cause::Unknown)).unwrap();

        let events = given.words(12, failed(&given, "tablet", Cause::Busy));

        assert_eq!(
            events,
            [
                "leg m1#1 tablet busy",
                "failed m1#1 busy",
                "back-off m1 cpm until 22s",
                "parked m1#1 cpm"
            ]
        );
    }

    /// A 202 outweighs every failure: its IMDN is awaited. A 200 waits for nobody. (T-6)
    #[test]
    fn a_202_outweighs_failures_and_a_200_all() {
        let mut given = under_way(&["phone1", "tablet"]);
        given.at(11, failed(&given, "phone1", Cause::Declined)).unwrap();
        let accepted = told(&given, "tablet", Outcome::Accepted, None);
        assert_eq!(
            given.words(12, accepted),
            ["leg m1#1 tablet accepted", "imdn of m1#1 awaited until 312s"]
        );

        let mut given = under_way(&["phone1", "tablet"]);
        let delivered = told(&given, "phone1", Outcome::Delivered, None);
        assert_eq!(
            given.words(11, delivered),
            [
                "leg m1#1 phone1 delivered",
                "copies of m1 owed until 86411s to tablet",
                "delivered m1 cpm"
            ]
        );
    }

    /// The longest Retry-After of all legs counts, and is taken as it is. (3.6.0, P-24)
    #[test]
    fn the_longest_retry_after_counts() {
        let mut given = under_way(&["phone1", "tablet"]).with("jitter_percent", "20");
        for (name, seconds) in [("phone1", 90), ("tablet", 30)] {
            let Fact::DeliveryOutcome(said) = failed(&given, name, Cause::Busy) else { return };
            let said = DeliveryOutcome { retry_after_seconds: Some(seconds), ..said };
            given.at(11, Fact::DeliveryOutcome(said)).unwrap();
        }

        let until = given.user.messages.first().and_then(|m| m.backoff);
        assert_eq!(until, Some((Access::Cpm, super::super::given::s(101))));
    }

    /// A back-off is spread by the attempt, within its percents, and the same each time. (TM-4, L-5)
    #[test]
    fn jitter_is_bounded_and_repeatable() {
        let spans: Vec<Duration> =
            (0..200).map(|n| jittered(Duration::from_secs(10), 20, &format!("m/{n}"))).collect();

        let (shortest, longest) = (spans.iter().min().unwrap(), spans.iter().max().unwrap());
        assert!(*shortest >= Duration::from_secs(8) && *longest <= Duration::from_secs(12));
        assert!(*shortest < Duration::from_secs(9) && *longest > Duration::from_secs(11));
        assert_eq!(spans.first(), Some(&jittered(Duration::from_secs(10), 20, "m/0")));
    }

    use crate::domain::input::DeliveryOutcome;

    /// m1's first attempt is out to these devices since 10 s; its sender wants all IMDNs.
    fn under_way(devices: &[&str]) -> Given {
        let mut given = Given::nothing();
        for name in devices {
            given.at(0, registered(name, 0)).unwrap();
        }
        let mut sent = text("m1");
        sent.disposition.push("positive-delivery".into());
        let events = given.words(10, message(sent));
        let attempt = format!("attempt m1#1 cpm {}", devices.join(" "));
        assert_eq!(events, ["deferred m1".to_owned(), attempt]);
        given
    }

    fn failed(given: &Given, name: &str, cause: Cause) -> Fact<'static> {
        told(given, name, Outcome::Failed, Some(cause))
    }

    fn told(given: &Given, name: &str, how: Outcome, cause: Option<Cause>) -> Fact<'static> {
        let said = outcome(given.attempt("m1", 1, Access::Cpm), how, cause);
        Fact::DeliveryOutcome(DeliveryOutcome { device: Some(device(name)), ..said })
    }
}
