//! The phone attaches, detaches, or is said to be ready for SMS.
//!
//! Source: OMA CPM 2.1 change requests, CPM-MLD-035, `<ready-for-sms>`; 3GPP TS 23.040 10.3;
//! `rules.md` 3.6.0 table A, TM-5, TM-6, R-5, R-12, R-14 to R-16, T-4, T-10, T-15, V-2; E-5.

use std::time::Duration;

use super::{Ignored, Step};
use crate::domain::event::{BlockKind, Event, Trigger};
use crate::domain::input::{AlertReason, Attach, SmsReady, Trust};
use crate::domain::reachability::{SlotName, SlotState, Stamp};
use crate::domain::time::Timestamp;

/// How long a cancelled wait counts for flapping.
const FLAPPING: Duration = Duration::from_secs(600);
/// How many of them make it.
const FLAPS: usize = 3;

impl Step<'_> {
    /// Table A, "CS or PS attach".
    pub(super) fn attached(&mut self, name: SlotName, told: &Attach<'_>) -> Result<(), Ignored> {
        let stamp = self.check_slot(name, true)?;
        self.check_block(&stamp)?;
        let sms = told.sms_capable.unwrap_or(match name {
            SlotName::Cs | SlotName::Any => true,
            SlotName::Ps => self.policy.sms_over_ps,
        });
        let before = self.user.slot(name);
        let worked = before.takes_sms(self.now, self.policy.attach_stale);
        let possible = self.view().sms_possible();
        self.set_slot(name, SlotState::Attached, sms, stamp);
        if !worked && sms {
            self.news();
            if self.absent_blocks() {
                self.emit(Event::SmsUnblocked { timer: false });
            }
        }
        if !possible && self.view().sms_possible() && !self.flapping_wait_stands() {
            self.episode(Trigger::Attach, None);
        }
        Ok(())
    }

    /// Table A, "CS or PS detach"; the end of a running wait is a cancel.
    pub(super) fn detached(&mut self, name: SlotName) -> Result<(), Ignored> {
        let stamp = self.check_slot(name, false)?;
        let waited = self.view().ip_wait().is_some();
        let possible = self.view().sms_possible();
        let at = self.told.clamped(self.policy);
        self.set_slot(name, SlotState::Detached, false, stamp);
        let any = self.user.slot(SlotName::Any);
        // One that is stale counts as Unknown already (L-11).
        if any.is_attached(self.now, self.policy.attach_stale)
            && stamp.is_newer_than(&any.stamp, self.policy.clock_tolerance)
        {
            self.set_slot(SlotName::Any, SlotState::Unknown, any.sms_capable, stamp);
        }
        let ended = possible && !self.view().sms_possible();
        if ended && waited && !self.is_flapping(at) {
            self.emit(Event::WaitCancelled { at });
        }
        Ok(())
    }

    /// Table A, "`sms.ready`": a retry hint, and the one cure of a full memory besides time (V-2).
    pub(super) fn sms_ready(&mut self, told: &SmsReady<'_>) -> Result<(), Ignored> {
        let name = SlotName::of_domain(told.domain.as_deref());
        let stamp = self.check_slot(name, true)?;
        self.check_block(&stamp)?;
        let possible = self.view().sms_possible();
        self.set_slot(name, SlotState::Attached, true, stamp);
        self.news();
        let trust = told.trust;
        let cures_memory = match told.alert_reason {
            Some(AlertReason::Memory) => trust != Some(Trust::Inferred),
            Some(AlertReason::Present) => false,
            None => trust == Some(Trust::Authoritative),
        };
        let memory = self.view().block() == Some(BlockKind::MemoryFull);
        if self.absent_blocks() || (memory && cures_memory) {
            self.emit(Event::SmsUnblocked { timer: false });
        }
        if !possible && self.view().sms_possible() {
            self.episode(Trigger::SmsReady, told.available_until);
        } else if let (Some(until), Some(episode)) = (told.available_until, self.user.episode) {
            // TM-5: never back.
            let sooner = self.half_of(until);
            if sooner < episode.deadline {
                let (start, by) = (episode.start, episode.trigger);
                self.emit(Event::IpWait { start, by, until: sooner });
            }
        }
        Ok(())
    }

    /// R-5 for a slot; a fact that is stale by its own time says nothing about now.
    pub(super) fn check_slot(&self, name: SlotName, there: bool) -> Result<Stamp, Ignored> {
        let stamp = Stamp::of(&self.told, there);
        if stamp.time + self.policy.attach_stale <= self.at {
            return Err(Ignored::TooOld);
        }
        let known = self.user.slots.get(name as usize).copied().flatten();
        // A detach that is newer would have ended `any`, had this been told in its time.
        let detached = [SlotName::Cs, SlotName::Ps]
            .map(|slot| self.user.slot(slot))
            .into_iter()
            .filter(|slot| name == SlotName::Any && slot.state == SlotState::Detached);
        match known
            .into_iter()
            .chain(detached)
            .find(|slot| !stamp.is_newer_than(&slot.stamp, self.policy.clock_tolerance))
        {
            Some(_) => Err(Ignored::NotNewer),
            None => Ok(stamp),
        }
    }

    /// R-5 for the block that an attach would end.
    fn check_block(&self, stamp: &Stamp) -> Result<(), Ignored> {
        let Some(block) = self.user.sms_block.filter(|block| block.kind == BlockKind::Absent)
        else {
            return Ok(());
        };
        let failure = Stamp { time: block.time, ..Stamp::default() };
        let newer = stamp.is_newer_than(&failure, self.policy.clock_tolerance);
        if newer { Ok(()) } else { Err(Ignored::NotNewer) }
    }

    fn absent_blocks(&self) -> bool {
        self.view().block() == Some(BlockKind::Absent)
    }

    /// Sets a slot; one that reads otherwise than before is a transition.
    pub(super) fn set_slot(&mut self, slot: SlotName, state: SlotState, sms: bool, f: Stamp) {
        let before = self.user.slot(slot);
        let since = f.time.min(self.told.logged + Duration::from_secs(1));
        let fresh = before.state != SlotState::Attached
            || before.is_attached(self.now, self.policy.attach_stale);
        if before.state != state || before.sms_capable != sms || !fresh {
            self.moved(since);
        }
        self.emit(Event::SlotSet { slot, state, sms, since, f });
    }

    /// SMS may work again (1.7).
    pub(super) fn news(&mut self) {
        let at = self.told.clamped(self.policy);
        self.moved(at);
        self.emit(Event::SmsNews { at });
    }

    /// TM-6 (a): SMS has become possible; the wait for IP counts from then.
    fn episode(&mut self, by: Trigger, available_until: Option<Timestamp>) {
        let start = self.told.clamped(self.policy);
        if self.user.episode.is_some_and(|episode| start <= episode.start) {
            return;
        }
        let until = start + self.ip_wait(by);
        let until = available_until.map_or(until, |end| until.min(self.half_of(end)));
        self.emit(Event::IpWait { start, by, until });
    }

    /// TM-5: half of the time for which the phone listens.
    fn half_of(&self, until: Timestamp) -> Timestamp {
        let from = self.told.clamped(self.policy);
        from + until.since(from) / 2
    }

    /// three waits cancelled within ten minutes, the first of them not longer ago.
    fn is_flapping(&self, at: Timestamp) -> bool {
        self.user.cancels.len() >= FLAPS
            && self.user.cancels.first().is_some_and(|first| at <= *first + FLAPPING)
    }

    /// the wait begun after the third cancel stands, no attach moves it.
    fn flapping_wait_stands(&self) -> bool {
        let at = self.told.clamped(self.policy);
        let begun = self.user.episode.zip(self.user.cancels.last().copied());
        self.is_flapping(at) && begun.is_some_and(|(episode, last)| episode.start >= last)
    }
}
