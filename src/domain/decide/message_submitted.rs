//! A message for the user: kept in its place, held if a rule says so, or ended at once.
//!
//! Source: OMA CPM 2.1 change requests, 8.3.1.1 steps 4b to 5; `rules.md` 3.6.0 table A, T-1, T-2b,
//! T-24, T-25, T-28, T-30, 4.3, P-4, P-6, P-7, P-13, P-23.

use std::sync::Arc;
use std::time::Duration;

use super::{Ignored, Step};
use crate::domain::event::{End, Event, Hold, HoldBy, MessageRef, Notice};
use crate::domain::input::{Action, MessageSubmitted, Technology};
use crate::domain::message::{Content, Interwork, Kind};
use crate::domain::time::Timestamp;
use crate::domain::user::{Deferred, key_digest};

/// What the user's rules say of a message (A-19: the printed order is the precedence).
#[derive(Default)]
struct Ruled {
    interwork: Option<Interwork>,
    store: bool,
    forward: Option<Box<str>>,
    holds: Vec<Hold>,
}

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
        let ruled = self.ruled(sent, &content);
        let interwork = match kind {
            Kind::Imdn | Kind::System => Interwork::Fallback,
            Kind::Pager | Kind::Large | Kind::Chat | Kind::File | Kind::Geolocation => {
                ruled.interwork.unwrap_or(sent.interwork)
            }
        };
        let over = self.over_quota(&content);
        let m = MessageRef(self.user.next_place, Arc::clone(&content.message_id));
        let place = m.place();
        self.emit(Event::Deferred {
            m: m.clone(),
            at: accepted_at,
            expires,
            interwork,
            sms,
            ucn: !sms && !kind.in_imdn_lane(),
            holds: ruled.holds,
            content: Some(content),
        });
        if expires <= self.at {
            self.expired(place, None, self.at);
        } else if let (true, false) = (over, kind.in_imdn_lane()) {
            self.failed(place, End::Quota, Notice::Failed, "quota", self.at);
        } else if ruled.store {
            let as_ = Technology::Sms;
            self.emit(Event::StorageRequested { m, as_, delivered: None, waits: true });
        } else if let Some(target) = ruled.forward {
            self.forward(m, &target);
        } else {
            if over {
                self.drop_oldest_notification(place);
            }
            self.first_try = true;
            self.stored_notice = Some(place);
        }
        Ok(())
    }

    /// T-24: a message that is or was here is not accepted again.
    fn refuse_known(&self, content: &Content) -> Result<(), Ignored> {
        let mut same = self.user.named(&content.message_id, Some(&content.from));
        let body = match same.next() {
            Some(m) => Some(m.content.body_digest()),
            None => self.remembered(key_digest(&content.from, &content.message_id)).map(|m| m.body),
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
            + if kind.in_imdn_lane() {
                self.policy.notification_lifetime
            } else {
                self.policy.lifetime
            };
        let asked = sent.expires_seconds.map(|seconds| from + Duration::from_secs(seconds));
        [sent.expires_at, asked].into_iter().flatten().fold(most, Timestamp::min)
    }

    /// T-25, P-23: whether this one would be too many, or too much, in its lane.
    fn over_quota(&self, content: &Content) -> bool {
        let lane = content.kind.in_imdn_lane();
        let waiting = self.user.messages.iter().filter(|m| m.content.kind.in_imdn_lane() == lane);
        let (number, bytes) = waiting
            .fold((1, content.size), |(n, size), m| (n + 1, size.saturating_add(m.content.size)));
        number > self.policy.max_deferred_per_user
            || bytes > self.policy.max_deferred_bytes_per_user
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

    /// Steps 4b to 5 over the preferences we know, and what the front found (`held_by`).
    fn ruled(&self, sent: &MessageSubmitted<'_>, content: &Content) -> Ruled {
        let mut ruled = Ruled::default();
        let imdn = content.kind == Kind::Imdn;
        if let Some(by) = &sent.held_by {
            let by = if by.eq_ignore_ascii_case("dnd") {
                HoldBy::Dnd
            } else {
                HoldBy::Rule(by.as_ref().into())
            };
            ruled.holds.push(Hold { by, until: sent.held_until });
        }
        if self.user.hold.is_some() {
            ruled.holds.push(Hold { by: HoldBy::Operator, until: None });
        }
        let Some(prefs) = &self.user.prefs else { return ruled };
        let view = self.view();
        let rules: Vec<_> = view.matching(content).collect();
        let has = |action: Action| rules.iter().find(|rule| rule.actions.contains(&action));
        let undisturbed = prefs.undisturbed(self.now) || has(Action::AllowDoNotDisturb).is_some();
        let only = has(Action::AllowInterwork).is_some() && !imdn;
        let also = has(Action::AllowDeliverAndInterwork).is_some() && !imdn;
        // DND is looked at before 4b, unless the operator wants the printed order.
        let dnd_counts = !only || self.policy.dnd_blocks_interwork || imdn;
        if undisturbed && dnd_counts && !ruled.holds.iter().any(|hold| hold.by == HoldBy::Dnd) {
            let until = prefs.dnd_until.filter(|until| *until < Timestamp::MAX);
            ruled.holds.push(Hold { by: HoldBy::Dnd, until });
        }
        if only {
            ruled.interwork = Some(Interwork::Only);
            return ruled;
        }
        if also {
            ruled.interwork = Some(Interwork::Also);
        }
        if has(Action::AllowStore).is_some() && !imdn {
            ruled.store = true;
        } else if let (Some(_), false, Some(target)) =
            (has(Action::AllowForward), imdn, &prefs.forward_to)
        {
            ruled.forward = Some(target.clone());
        } else if let Some(rule) = has(Action::AllowDefer) {
            let by = HoldBy::Rule(rule.name.clone());
            if !ruled.holds.iter().any(|hold| hold.by == by) {
                ruled.holds.push(Hold { by, until: rule.valid_until });
            }
        }
        ruled
    }

    /// IMDN-7, P-8: who asked for it hears that the message waits, if it does after this step.
    pub(super) fn tell_stored(&mut self) {
        let Some(m) = self.stored_notice.and_then(|place| self.user.message(place)) else { return };
        if !self.view().is_under_way(m) {
            self.notify(m.place, Notice::Stored, None, None);
        }
    }
}
