//! What is due when: every deadline that is armed, by its name in the rules.
//!
//! Source: `rules.md` 3.5.

use super::wake::Due;
use crate::domain::open::View;
use crate::domain::reachability::DeviceId;
use crate::domain::time::Timestamp;
use crate::domain::user::Deferred;

/// The deadlines of 3.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is the deadline of its name")]
pub enum Timer {
    IpWait,
    Settle,
    Hold,
    Start,
    IpAttempt,
    Imdn,
    SmsResponse,
    SmsReport,
    Backoff,
    Expiry,
    Held,
    Rung,
    Block,
    UcnRate,
    Registration,
    AttachStale,
    Copy,
    Rule,
}

impl Timer {
    /// Its name in the rules.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::IpWait => "T_ipwait",
            Self::Settle => "T_settle",
            Self::Hold => "T_hold",
            Self::Start => "T_start",
            Self::IpAttempt => "T_ip_attempt",
            Self::Imdn => "T_imdn",
            Self::SmsResponse => "T_iw_response",
            Self::SmsReport => "T_iw_report",
            Self::Backoff => "T_backoff",
            Self::Expiry => "T_msg_expiry",
            Self::Held => "T_held",
            Self::Rung => "T_rung",
            Self::Block => "T_block",
            Self::UcnRate => "T_ucn_rate",
            Self::Registration => "T_reg_expiry",
            Self::AttachStale => "T_attach_stale",
            Self::Copy => "T_copy",
            Self::Rule => "the end of a preference",
        }
    }
}

/// A deadline that is armed, and what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Armed {
    /// When it falls due; it may be past, and is due at once then.
    pub at: Timestamp,
    /// Which one.
    pub timer: Timer,
    /// The message it is about.
    pub message: Option<u32>,
    /// The device it is about.
    pub device: Option<DeviceId>,
}

impl Armed {
    pub(super) fn new(timer: Timer, at: Timestamp) -> Self {
        Self { at, timer, message: None, device: None }
    }

    pub(super) fn of_message(timer: Timer, at: Timestamp, place: u32) -> Self {
        Self { message: Some(place), ..Self::new(timer, at) }
    }

    pub(super) fn of_device(timer: Timer, at: Timestamp, device: DeviceId) -> Self {
        Self { device: Some(device), ..Self::new(timer, at) }
    }
}

impl View<'_> {
    /// Every deadline that is armed, in no order. `now` is what the user was last looked at, so that
    /// nothing that stands is passed over.
    #[must_use]
    pub fn armed(&self) -> Vec<Armed> {
        let mut all = Vec::new();
        self.each_armed(|due| all.push(due));
        all
    }

    /// The same, one by one; the soonest is `wake_at`.
    pub(super) fn each_armed(&self, mut see: impl FnMut(Armed)) {
        let live = self.user.messages.iter().any(Deferred::is_live);
        let copies = !self.user.owed.is_empty();
        let (start, sms) = (self.start_timer(), self.sms_timer());
        self.all_due(&mut |at, due| {
            see(match due {
                Due::Contact(_) if !live && !copies => return,
                Due::Contact(device) => Armed::of_device(Timer::Registration, at, device),
                Due::Block if !live => return,
                Due::Block => Armed::new(Timer::Block, at),
                Due::Attempt(place, _) => Armed::of_message(start, at, place),
                Due::CopyLeg(place, device) => {
                    Armed { message: Some(place), ..Armed::of_device(Timer::IpAttempt, at, device) }
                }
                Due::Imdn(place) => Armed::of_message(Timer::Imdn, at, place),
                Due::Sms => Armed { at, ..sms },
                Due::Handed(place) => Armed::of_message(Timer::SmsReport, at, place),
                Due::Held(place) => Armed::of_message(Timer::Held, at, place),
                Due::Message(place) => Armed::of_message(Timer::Expiry, at, place),
                Due::Copy(place) => Armed::of_message(Timer::Copy, at, place),
            });
        });
        self.ip_wait().into_iter().for_each(|at| see(Armed::new(Timer::IpWait, at)));
        let rung = self.user.ladder.next_at;
        rung.into_iter().for_each(|at| see(Armed::new(Timer::Rung, at)));
        let looked = self.user.looked;
        self.passing(live, &mut |due| {
            if due.at > looked {
                see(due);
            }
        });
    }

    /// Which deadline an attempt by IP runs into: that of its start, as long as nobody said it started.
    fn start_timer(&self) -> Timer {
        let mut legs = self.user.messages.iter().flat_map(|m| &m.legs);
        let unseen = legs.any(|leg| leg.end.is_none() && leg.started_at.is_none());
        if unseen && self.policy.gateway_reports_start { Timer::Start } else { Timer::IpAttempt }
    }

    fn sms_timer(&self) -> Armed {
        let Some(slot) = &self.user.sms_slot else {
            return Armed::new(Timer::SmsResponse, Timestamp::MAX);
        };
        let timer = match (slot.report_from, slot.started_at) {
            (Some(_), _) => Timer::SmsReport,
            (None, None) if self.policy.gateway_reports_start => Timer::Start,
            (None, _) => Timer::SmsResponse,
        };
        Armed::of_message(timer, Timestamp::MAX, slot.m.place())
    }
}
