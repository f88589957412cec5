//! How a message ends, and who hears of it; also the ends that others decide.
//!
//! Source: `rules.md` 2.5 (IMDN-n), 3.3, T-17 to T-19, T-29, T-30, R-10, R-11, R-18, A-5, P-9, P-13.

use std::sync::Arc;

use super::{Ignored, Step, is_key, key};
use crate::domain::event::{Access, End, Ending, Event, MessageRef, Notice};
use crate::domain::failure::Class;
use crate::domain::input::{
    HandledAs, MessageHandled, MessageRevokeRequested, Storage, StorageOutcome, Technology, What,
};
use crate::domain::message::{Dispositions, Interwork};
use crate::domain::policy::OnStoreFailure;
use crate::domain::reachability::{DeviceId, hash};
use crate::domain::time::Timestamp;
use crate::domain::user::{Deferred, RECORDED, key_digest};

impl Step<'_> {
    /// The message is delivered; other devices of the user are owed a copy. By IP the client
    /// tells the sender itself (IMDN-6).
    pub(super) fn delivered(
        &mut self,
        place: u32,
        access: Access,
        end: End,
        took: &[DeviceId],
        at: Timestamp,
    ) {
        let Some(m) = self.user.message(place) else { return };
        let name = m.m();
        self.owe_copies(place, access, took, at);
        self.emit(Event::Ended { m: name, end, at });
    }

    /// IMDN-9: it went as SMS or MMS, told once.
    pub(super) fn tell_interworked(&mut self, place: u32, mms: bool) {
        self.notify(place, if mms { Notice::LegacyMms } else { Notice::LegacySms }, None, None);
    }

    /// the store records what went by SMS, once.
    pub(super) fn record(&mut self, place: u32, mms: bool, delivered: Option<Timestamp>) {
        let Some(m) = self.user.message(place) else { return };
        if m.told & RECORDED == 0 {
            let as_ = if mms { Technology::Mms } else { Technology::Sms };
            let event = Event::StorageRequested { m: m.m(), as_, delivered, waits: false };
            self.emit(event);
        }
    }

    /// which devices are owed a copy of a message that one of them has.
    fn owe_copies(&mut self, place: u32, access: Access, took: &[DeviceId], at: Timestamp) {
        let Some(m) = self.user.message(place) else { return };
        let until = (at + self.policy.device_copy).min(m.expires_at);
        if until <= at || m.content.kind.in_imdn_lane() {
            return;
        }
        let primary = self.view().primary();
        if access == Access::Sms && (primary.is_none() || m.interwork == Interwork::Only) {
            return;
        }
        let has = |id: DeviceId| {
            let leg = m.leg(id);
            let accepted = leg.and_then(|l| l.end) == Some(crate::domain::event::LegEnd::Accepted);
            m.served.contains(&id)
                || m.refused_by.contains(&id)
                || took.contains(&id)
                || (accepted && access == Access::Cpm)
                || (access == Access::Sms && Some(id) == primary)
        };
        let since = self.at - crate::domain::evolve::KNOWN_FOR;
        let to: Vec<Arc<str>> = (self.user.devices.iter())
            .filter(|known| known.bound_at.is_some_and(|bound_at| bound_at > since))
            .filter(|known| !has(known.id))
            .map(key)
            .collect();
        if !to.is_empty() {
            let m = m.m();
            self.emit(Event::CopiesOwed { m, to, until });
        }
    }

    /// A message that ends without delivery, and what its sender hears.
    pub(super) fn failed(
        &mut self,
        place: u32,
        end: End,
        notice: Notice,
        reason: &str,
        at: Timestamp,
    ) {
        let Some(m) = self.user.message(place) else { return };
        let m = m.m();
        self.notify(place, notice, Some(reason), None);
        self.emit(Event::Ended { m, end, at });
    }

    /// Tells the sender, if it asked for that and has not heard it yet (I-8). Never about an IMDN
    /// (IMDN-10).
    pub(super) fn notify(
        &mut self,
        place: u32,
        notice: Notice,
        reason: Option<&str>,
        n: Option<u32>,
    ) {
        let Some(m) = self.user.message(place) else { return };
        let asked = match notice {
            Notice::Delivered => Dispositions::POSITIVE,
            Notice::Failed | Notice::Error | Notice::Forbidden => Dispositions::NEGATIVE,
            Notice::Stored => Dispositions::PROCESSING,
            Notice::LegacySms | Notice::LegacyMms => Dispositions::INTERWORKING,
        };
        let imdn = m.content.kind == crate::domain::message::Kind::Imdn;
        if m.has_told(notice) || imdn || !m.content.disposition.has(asked) {
            return;
        }
        let m = m.m();
        self.emit(Event::Notified { m, notice, reason: reason.map(Box::from), n });
    }

    /// T-17, T-27: the end of a message of which nothing runs.
    pub(super) fn life_over(&mut self, place: u32, at: Timestamp) {
        let Some(m) = self.user.message(place) else { return };
        match m.ending {
            Some(Ending::Cancelled) => {
                self.failed(place, End::Cancelled, Notice::Failed, "cancelled", at);
            }
            Some(Ending::Identity) => {
                self.failed(place, End::Identity, Notice::Failed, "identity", at);
            }
            None => {
                let unknown = m.parked.is_some();
                let class = if unknown { Some(Class::Unknown) } else { m.last_cause };
                self.expired(place, class, at);
            }
        }
    }

    /// IMDN-8: `error` where nobody can tell whether it arrived, else `failed`.
    pub(super) fn expired(&mut self, place: u32, class: Option<Class>, at: Timestamp) {
        let unknown = class == Some(Class::Unknown);
        let notice = if unknown { Notice::Error } else { Notice::Failed };
        self.failed(place, End::Expired(class), notice, "expired", at);
    }

    /// past its life, or told to end, a message gets no other attempt, so this one was its last.
    pub(super) fn end_if_over(&mut self, place: u32, class: Option<Class>, at: Timestamp) {
        // T-17: a report's time may lie ahead (TM-2), and what ends by it does not end before its time.
        let at = at.min(self.now);
        let Some(m) = self.user.message(place) else { return };
        if self.view().is_under_way(m) {
            return;
        }
        let unknown = m.parked.is_some();
        if m.ending.is_some() {
            self.life_over(place, at);
        } else if at >= m.expires_at {
            self.expired(place, if unknown { Some(Class::Unknown) } else { class }, at);
        }
    }

    /// T-19, R-23: a sender takes a message back, as long as nothing of it is out.
    pub(super) fn message_revoke_requested(
        &mut self,
        request: &MessageRevokeRequested<'_>,
    ) -> Result<(), Ignored> {
        let m = self.user.named(&request.message_id, Some(&request.from)).next();
        let refused = match m {
            Some(m) if m.storing => Some("being stored"),
            Some(m) if self.view().is_under_way(m) => Some("in flight"),
            Some(m) if m.parked.is_some() => Some("outcome unknown"),
            Some(m) if m.ending.is_some() => Some("ended"),
            Some(_) => None,
            None if self.remembers(&request.from, &request.message_id) => Some("ended"),
            None => Some("no such message of this sender"),
        };
        let m = m.map(Deferred::m);
        if let (None, Some(m)) = (refused, m) {
            self.emit(Event::Ended { m, end: End::Revoked, at: self.now });
        }
        self.emit(Event::RevocationAnswered {
            request: self.told.id,
            id: request.message_id.as_ref().into(),
            to: request.reply_to.as_ref().unwrap_or(&request.from).as_ref().into(),
            ok: refused.is_none(),
            reason: refused.map(Box::from),
        });
        Ok(())
    }

    /// Whether a message with this key ended within memory.
    pub(super) fn remembers(&self, from: &str, message_id: &str) -> bool {
        self.remembered(key_digest(from, message_id)).is_some()
    }

    pub(super) fn remembered(&self, key: u64) -> Option<&crate::domain::user::Remembered> {
        let keep = self.policy.terminal_keep;
        self.user.remembered.iter().find(|ended| ended.key == key && self.at < ended.at + keep)
    }

    /// Why an input about this id finds no message: it has ended, or there never was one.
    pub(super) fn absent_message(&self, message_id: &str) -> Ignored {
        let id = hash(message_id);
        let keep = self.policy.terminal_keep;
        if self.user.remembered.iter().any(|ended| ended.id == id && self.at < ended.at + keep) {
            Ignored::Final
        } else {
            Ignored::Orphan
        }
    }

    /// T-29: another element ended it before it was deferred; kept so that `why` knows.
    pub(super) fn message_handled(&mut self, handled: &MessageHandled<'_>) -> Result<(), Ignored> {
        let from = handled.from.as_deref().unwrap_or_default();
        if self.user.named(&handled.message_id, handled.from.as_deref()).next().is_some() {
            return Err(Ignored::Conflict);
        }
        if self.remembers(from, &handled.message_id) {
            return Err(Ignored::Duplicate);
        }
        let end = match handled.result {
            HandledAs::Rejected => End::Rejected,
            HandledAs::Forwarded => End::Forwarded,
            HandledAs::Stored => End::Stored,
        };
        self.emit(Event::Handled {
            id: handled.message_id.as_ref().into(),
            from: from.into(),
            end,
            at: self.now,
        });
        Ok(())
    }

    /// T-30: the message store has answered. What did not wait for it only annotates.
    pub(super) fn storage_outcome(&mut self, outcome: &StorageOutcome<'_>) -> Result<(), Ignored> {
        let named = || self.user.named(&outcome.message_id, outcome.from.as_deref());
        let Some(m) = named().find(|m| m.storing).map(Deferred::m) else {
            let known = named().next().is_some();
            return Err(if known {
                Ignored::Late
            } else {
                self.absent_message(&outcome.message_id)
            });
        };
        let place = m.place();
        match (outcome.outcome, self.policy.on_store_failure) {
            (Storage::Stored, _) => {
                self.notify(place, Notice::Delivered, None, None);
                self.emit(Event::Ended { m, end: End::Stored, at: self.now });
            }
            // the front answers 503, so nothing of it stays here.
            (Storage::Failed, OnStoreFailure::Reject) => {
                self.emit(Event::Ended { m, end: End::Rejected, at: self.now });
            }
            (Storage::Failed, OnStoreFailure::Defer) => {
                self.emit(Event::StorageFailed { m });
            }
        }
        Ok(())
    }

    /// T-29, P-13: the submission's rule sends it elsewhere; its outcome only annotates.
    pub(super) fn forward(&mut self, m: MessageRef, target: &str) {
        self.emit(Event::AttemptStarted {
            m: m.clone(),
            n: 1,
            by: Access::Cpm,
            what: What::Forward,
            at: self.at,
            deadline: self.at + self.policy.start_within,
            to: Vec::new(),
            rung: None,
            tried: 0,
            late: false,
            covers: Vec::new(),
            target: Some(target.into()),
        });
        self.emit(Event::Ended { m, end: End::Forwarded, at: self.now });
    }

    /// Which message an attempt id of a message that has ended was about, if it is remembered.
    pub(super) fn ended_attempt(&self, key: u64) -> Ignored {
        if self.remembered(key).is_some() { Ignored::Final } else { Ignored::Orphan }
    }

    /// The waiting message with this key.
    pub(super) fn by_key(&self, key: u64) -> Option<&Deferred> {
        self.user.messages.iter().find(|m| is_key(&m.content, key))
    }
}
