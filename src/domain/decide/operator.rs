//! A person's hands: cancel, retry, expire a message; hold and release a user. And what else ends all
//! of a user's messages at once: another owner, a purge.
//!
//! Source: `rules.md` T-26 to T-28, R-11, R-22, P-12, P-14, P-19.

use super::{Ignored, NotNow, Step, key};
use crate::domain::event::{Access, BlockKind, Ending, Event, Hold, HoldBy, MessageRef, Rung};
use crate::domain::input::{IdentityChanged, IdentityReason, MessageByHand, UserByHand, What};
use crate::domain::policy::ImsiChange;

impl Step<'_> {
    /// The messages a hand is on: those of an id (P-19), or all of the user's.
    fn under_hand(&self, hand: &MessageByHand<'_>) -> Result<Vec<u32>, Ignored> {
        let from = hand.from.as_deref();
        let places: Vec<u32> = match hand.message_id.as_deref() {
            Some(id) => {
                self.user.named(id, from).map(|m| m.place).take(super::MOST_OF_ONE_ID).collect()
            }
            None => self.user.messages.iter().map(|m| m.place).collect(),
        };
        if places.is_empty() {
            return Err(hand
                .message_id
                .as_deref()
                .map_or(Ignored::Orphan, |id| self.absent_message(id)));
        }
        Ok(places)
    }

    /// T-27 cancel: over as soon as nothing of it runs.
    pub(super) fn message_cancelled(&mut self, hand: &MessageByHand<'_>) -> Result<(), Ignored> {
        let places = self.under_hand(hand)?;
        for m in self.marked(hand, &places) {
            self.emit(Event::EndingStarted { m, why: Ending::Cancelled });
        }
        self.end_those_over(&places);
        Ok(())
    }

    /// T-27 expire: as if its life ended now.
    pub(super) fn message_expire_requested(
        &mut self,
        hand: &MessageByHand<'_>,
    ) -> Result<(), Ignored> {
        let places = self.under_hand(hand)?;
        for m in self.marked(hand, &places) {
            self.emit(Event::LifeCut { m, expires: self.now });
        }
        self.end_those_over(&places);
        Ok(())
    }

    /// The events that a hand needs: one a message, or one for all.
    fn marked(&self, hand: &MessageByHand<'_>, places: &[u32]) -> Vec<Option<MessageRef>> {
        match &hand.message_id {
            Some(_) => {
                places.iter().filter_map(|p| self.user.message(*p)).map(|m| Some(m.m())).collect()
            }
            None => vec![None],
        }
    }

    /// As many messages end here as fit; the next look ends the rest.
    fn end_those_over(&mut self, places: &[u32]) {
        for place in places {
            if self.events.len() > super::ENOUGH_EVENTS {
                return;
            }
            let last = self.user.message(*place).and_then(|m| m.last_cause);
            self.end_if_over(*place, last, self.now);
        }
    }

    /// T-27 retry: a rung for this message now, which counts nowhere; without an id, for the first
    /// that can have one. By SMS it waits for its alarm (TM-7).
    pub(super) fn message_retry_requested(
        &mut self,
        hand: &MessageByHand<'_>,
    ) -> Result<(), Ignored> {
        let mut refused = NotNow::NoWay;
        for place in self.under_hand(hand)? {
            match self.retry(place) {
                Ok(()) => return Ok(()),
                Err(reason) => refused = reason,
            }
        }
        Err(Ignored::NotNow(refused))
    }

    fn retry(&mut self, place: u32) -> Result<(), NotNow> {
        let Some(m) = self.user.message(place) else { return Err(NotNow::NoWay) };
        let view = self.view();
        if view.is_under_way(m) {
            return Err(NotNow::Running);
        }
        if !m.is_live() {
            return Err(NotNow::Held);
        }
        if self.now >= m.expires_at {
            return Err(NotNow::Expired);
        }
        let on = self.policy.access_cpm == crate::domain::policy::AccessSwitch::On;
        if let Some(devices) = view.given_up(m).filter(|_| on) {
            let to = devices.into_iter().map(key).collect();
            self.start(place, Access::Cpm, What::Message, to, Some(Rung::Free));
            return Ok(());
        }
        if view.rung_by_sms(Some(place)).is_some() {
            let (at, next, only) = (self.at, self.now, Some(place));
            self.emit(Event::LadderArmed { at, next, rung: Rung::Free, only });
            return Ok(());
        }
        if view.by_ip(m) && view.sms_what(m).is_some() {
            return Err(NotNow::IpFirst);
        }
        let taken = self.user.sms_slot.is_some() && view.sms_what(m).is_some();
        Err(if taken { NotNow::SlotTaken } else { NotNow::NoWay })
    }

    /// T-28 hold: all that wait, and all that will be accepted meanwhile.
    pub(super) fn user_held(&mut self, hand: &UserByHand<'_>) -> Result<(), Ignored> {
        if self.user.hold.is_some() {
            return Err(Ignored::NoChange);
        }
        self.emit(Event::UserHeld { reason: hand.reason.as_ref().into() });
        if !self.user.messages.is_empty() {
            let hold = Hold { by: HoldBy::Operator, until: None };
            self.emit(Event::HoldSet { ms: Vec::new(), hold });
        }
        Ok(())
    }

    /// T-28 release: each goes at its place by what is open; what else holds it still does (P-6).
    pub(super) fn user_released(&mut self) -> Result<(), Ignored> {
        if self.user.hold.is_none() {
            return Err(Ignored::NoChange);
        }
        self.emit(Event::UserReleased {});
        if self.user.messages.iter().any(|m| m.is_held_by(&HoldBy::Operator)) {
            self.emit(Event::HoldEnded { ms: Vec::new(), by: HoldBy::Operator });
        }
        Ok(())
    }

    /// T-26: everything ends unheard, and nothing is known any more.
    pub(super) fn user_purged(&mut self) -> Result<(), Ignored> {
        // L-11: what has aged out is nothing to purge; the user goes without a record.
        if self.user.is_forgettable(self.at, self.policy) {
            return Err(Ignored::NoChange);
        }
        self.emit(Event::Purged {});
        Ok(())
    }

    /// R-22 by `cpm.identity.changed`.
    pub(super) fn identity_changed(&mut self, change: &IdentityChanged<'_>) -> Result<(), Ignored> {
        let imsi: Option<Box<str>> = change.imsi_after.as_deref().map(Box::from);
        if change.reason == IdentityReason::SimSwap && imsi.is_some() && imsi == self.user.imsi {
            return Err(Ignored::NoChange);
        }
        match change.reason {
            IdentityReason::SimSwap => self.sim_swapped(),
            IdentityReason::Reassigned | IdentityReason::NumberMoved => self.close_identity(),
        }
        if imsi.is_some() {
            self.emit(Event::Identified { imsi, msisdn: None });
        }
        Ok(())
    }

    /// Another SIM: what the old one could not, this one may; whose the messages are, policy says.
    pub(super) fn sim_swapped(&mut self) {
        match self.policy.imsi_change {
            ImsiChange::Close => self.close_identity(),
            ImsiChange::Keep => {
                let kind = self.view().block();
                if matches!(kind, Some(BlockKind::Barred | BlockKind::NotCapable)) {
                    self.emit(Event::SmsUnblocked { timer: false });
                    self.news();
                }
            }
        }
    }

    /// P-12: never to the new owner.
    fn close_identity(&mut self) {
        self.emit(Event::ViewDropped {});
        if self.user.messages.is_empty() {
            return;
        }
        self.emit(Event::EndingStarted { m: None, why: Ending::Identity });
        let places: Vec<u32> = self.user.messages.iter().map(|m| m.place).collect();
        self.end_those_over(&places);
    }
}
