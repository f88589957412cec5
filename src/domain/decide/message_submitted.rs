//! A message for the user: kept in its place, held if a rule says so, or ended at once.
//!
//! Source: OMA CPM 2.1 change requests, 8.3.1.1 steps 4b to 5; `rules.md` 3.6.0 table A, T-1, T-2b,
//! T-24, T-25, T-28, T-30, 4.3; SEED0-60, SEED4-10, P-4, P-6, P-7, P-13, P-23, Q-19.

use std::sync::Arc;
use std::time::Duration;

use super::{Ignored, Step};
use crate::domain::event::{End, Event, Hold, HoldBy, MessageRef, Notice};
use crate::domain::input::{MessageSubmitted, Technology};
use crate::domain::message::{Content, Interwork, Kind};
use crate::domain::pager::{Ruling, Then};
use crate::domain::time::Timestamp;
use crate::domain::user::{Deferred, key_digest};

impl Step<'_> {
    /// Table A, "submission".
    pub(super) fn message_submitted(&mut self, sent: &MessageSubmitted<'_>) -> Result<(), Ignored> {
        let content = Arc::new(sent.content());
        self.refuse_known(&content)?;
        let kind = content.kind;
        let accepted_at = self.told.clamped(self.policy);
        let expires = self.expires_at(sent, kind, accepted_at);
        let sms = !kind.in_imdn_lane()
            && sent.interworkable.unwrap_or_else(|| match kind {
                Kind::File => self.policy.file_link_by_sms,
                Kind::Geolocation => self.policy.geolocation_by_sms,
                Kind::Pager | Kind::Large | Kind::Chat | Kind::Imdn | Kind::System => {
                    content.fits_sms(u8::try_from(self.policy.sms_max_segments).unwrap_or(u8::MAX))
                }
            });
        let view = self.view();
        let ruling = Ruling::of(&view, &content);
        let asked = if kind.in_imdn_lane() { Interwork::Fallback } else { sent.interwork };
        let interwork = ruling.interwork.map_or(asked, |(interwork, _)| interwork);
        let holds = self.holds(sent, &ruling);
        let (stores, records) = (matches!(ruling.then, Then::Store(_)), ruling.record.is_some());
        let forward_to = match ruling.then {
            Then::Forward { to, .. } => Some(Box::from(to)),
            Then::Nothing | Then::Store(_) | Then::Defer(_) => None::<Box<str>>,
        };
        let over = view.over_quota(&content);
        let m = MessageRef(self.user.next_place, Arc::clone(&content.message_id));
        let place = m.place();
        self.emit(Event::Deferred {
            m: m.clone(),
            at: accepted_at,
            expires,
            interwork,
            sms,
            ucn: !sms && !kind.in_imdn_lane(),
            holds,
            content: Some(content),
        });
        if expires <= self.at {
            self.expired(place, None, self.at);
        } else if let (true, false) = (over, kind.in_imdn_lane()) {
            self.failed(place, End::Quota, Notice::Failed, "quota", self.at);
        } else if stores {
            let as_ = Technology::Sms;
            self.emit(Event::StorageRequested { m, as_, delivered: None, waits: true });
        } else if let Some(target) = forward_to {
            self.forward(m, &target);
        } else {
            if over {
                self.drop_oldest_notification(place);
            }
            if records {
                self.record(place, false, None);
            }
            self.first_try = true;
            self.stored_notice = Some(place);
        }
        Ok(())
    }

    /// T-24: a message that is or was here is not accepted again; nor is one of which a copy is owed,
    /// for the attempts of both would have the same ids (L-6).
    fn refuse_known(&self, content: &Content) -> Result<(), Ignored> {
        let waiting = self.user.messages.iter().map(|m| &m.content);
        let owed = self.user.owed.iter().map(|owed| &owed.content);
        let mut same = waiting
            .chain(owed)
            .filter(|known| known.message_id == content.message_id && known.from == content.from);
        let body = match same.next() {
            Some(known) => Some(known.body_digest()),
            // what was refused was never here.
            None => self
                .remembered(key_digest(&content.from, &content.message_id))
                .filter(|ended| ended.end != End::Rejected)
                .map(|ended| ended.body),
        };
        match body {
            None => Ok(()),
            // One that ended elsewhere left no body to compare (T-29).
            Some(0) => Err(Ignored::Duplicate),
            Some(body) if body == content.body_digest() => Err(Ignored::Duplicate),
            Some(_) => Err(Ignored::Conflict),
        }
    }

    /// 4.3: the sender's wish, within what the operator allows.
    fn expires_at(&self, sent: &MessageSubmitted<'_>, kind: Kind, from: Timestamp) -> Timestamp {
        let most = from
            + match kind {
                // it is tried, and not deferred.
                Kind::System if !self.policy.events_defer => self.policy.ip_attempt_timeout,
                Kind::Imdn | Kind::System => self.policy.notification_lifetime,
                Kind::Pager | Kind::Large | Kind::Chat | Kind::File | Kind::Geolocation => {
                    self.policy.lifetime
                }
            };
        let asked = sent.expires_seconds.map(|seconds| from + Duration::from_secs(seconds));
        [sent.expires_at, asked].into_iter().flatten().fold(most, Timestamp::min)
    }

    /// The IMDN lane makes room at its head (T-25).
    fn drop_oldest_notification(&mut self, newest: u32) {
        let oldest = self
            .user
            .messages
            .iter()
            .find(|m| m.content.kind.in_imdn_lane() && m.place != newest)
            .map(Deferred::m);
        if let Some(m) = oldest {
            self.emit(Event::Ended { m, end: End::Quota, at: self.at });
        }
    }

    /// What keeps it: the front's word (`held_by`), an operator, the user's rules; each once.
    fn holds(&self, sent: &MessageSubmitted<'_>, ruling: &Ruling<'_>) -> Vec<Hold> {
        let front = sent.held_by.as_ref().map(|by| {
            let is_dnd = by.eq_ignore_ascii_case("dnd");
            let by = if is_dnd { HoldBy::Dnd } else { HoldBy::Rule(by.as_ref().into()) };
            Hold { by, until: sent.held_until }
        });
        let operator =
            self.user.hold.is_some().then_some(Hold { by: HoldBy::Operator, until: None });
        let mut holds: Vec<Hold> = front.into_iter().chain(operator).collect();
        for hold in ruling.holds() {
            if !holds.iter().any(|known| known.by == hold.by) {
                holds.push(hold);
            }
        }
        holds
    }

    /// IMDN-7, P-8: who asked for it hears that the message waits, if it does after this step.
    pub(super) fn tell_stored(&mut self) {
        let Some(m) = self.stored_notice.and_then(|place| self.user.message(place)) else { return };
        if !self.view().is_under_way(m) {
            self.notify(m.place, Notice::Stored, None, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::given::{Given, message, text};
    use crate::domain::message::{Kind, MessageSubmitted};

    /// One more than the quota ends at once, and its sender hears of it. (T-25)
    #[test]
    fn one_too_many_is_refused() {
        let mut given = full();

        let events = given.words(60, message(text("m51")));

        assert_eq!(events, ["deferred m51", "notified m51 failed: quota", "ended m51: quota"]);
        assert_eq!(given.user.messages.len(), 50);
    }

    /// The IMDN lane counts for itself, and makes room at its head, unheard. (T-25, R-33)
    #[test]
    fn the_imdn_lane_drops_its_oldest() {
        let mut given = full();
        let imdn = |id: &str| MessageSubmitted { kind: Kind::Imdn, ..text(id) };
        for n in 0..50 {
            assert_eq!(given.words(60, message(imdn(&format!("i{n}")))).len(), 1);
        }

        let events = given.words(61, message(imdn("i50")));

        assert_eq!(events, ["deferred i50, ip only", "ended i0: quota"]);
        assert_eq!(given.user.messages.len(), 100);
    }

    /// Bytes count as well as numbers, whichever comes first. (P-23)
    #[test]
    fn too_many_bytes_are_refused() {
        let mut given = Given::nothing().with("max_deferred_bytes_per_user", "1000000");
        let sized = |id: &str, size| MessageSubmitted { size: Some(size), ..text(id) };
        given.at(0, message(sized("m1", 600_000))).unwrap();

        let refused = given.words(1, message(sized("m2", 400_001)));
        let kept = given.words(2, message(sized("m3", 400_000)));

        assert_eq!(refused.last().map(String::as_str), Some("ended m2: quota"));
        assert_eq!(kept, ["deferred m3"]);
    }

    /// A user whose 50 messages are as many as fit.
    fn full() -> Given {
        let mut given = Given::nothing().with("max_deferred_per_user", "50");
        for n in 1..=50 {
            given.at(n, message(text(&format!("m{n}")))).unwrap();
        }
        assert_eq!(given.user.messages.len(), 50);
        given
    }
}
