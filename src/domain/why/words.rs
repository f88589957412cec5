//! Obstacles and releases in words, each with the rule it comes from.

use super::{Ahead, Closes, Obstacle, Release};
use crate::domain::command::access_word;
use crate::domain::decide::Timer;
use crate::domain::event::{Access, BlockKind, Ending, HoldBy, Rung};
use crate::domain::policy::AccessSwitch;
use crate::domain::reachability::{Slot, SlotName, SlotState};
use crate::domain::time::Timestamp;

/// How times are written.
pub type Clock<'a> = &'a dyn Fn(Timestamp) -> String;

impl Obstacle {
    /// Which way it closes.
    #[must_use]
    pub fn closes(&self) -> Closes {
        match self {
            Self::Held(_) | Self::Storing | Self::Ending(_) | Self::LifeOver(_) => Closes::All,
            Self::CpmSwitch(_)
            | Self::SmsOnly
            | Self::SmsOut { .. }
            | Self::IpBackoff { .. }
            | Self::IpRuns { .. }
            | Self::ImdnAwaited { .. }
            | Self::NoContact
            | Self::NoCpm(_)
            | Self::KindNotTaken(..)
            | Self::Excluded(_)
            | Self::RefusedBy(_)
            | Self::Served(_)
            | Self::Suspect(_)
            | Self::Tried { .. }
            | Self::Settling { .. }
            | Self::IpTurn(_)
            | Self::Pipeline(_) => Closes::Ip,
            Self::SmsSwitch(_)
            | Self::NoNumber
            | Self::SmsRefused
            | Self::NoSmsForm
            | Self::NoticeOut
            | Self::NoticeFailed
            | Self::NoticeRate(_)
            | Self::Parked { .. }
            | Self::Blocked { .. }
            | Self::NotAttached(_)
            | Self::SmsTries(_)
            | Self::SmsBackoff { .. }
            | Self::SlotTaken { .. }
            | Self::SmsTurn(_)
            | Self::IpFirst
            | Self::Wait { .. } => Closes::Sms,
        }
    }

    /// The rule of `rules.md` behind it.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Held(hold) => match hold.by {
                HoldBy::Dnd => "T-20",
                HoldBy::Rule(_) => "T-21",
                HoldBy::Operator => "T-28",
            },
            Self::Storing => "T-30",
            Self::Ending(Ending::Cancelled) => "T-27",
            Self::Ending(Ending::Identity) => "R-22",
            Self::LifeOver(_) => "R-11",
            Self::CpmSwitch(_) | Self::SmsSwitch(_) | Self::SmsTurn(_) => "3.6.0",
            Self::SmsOnly => "I-12",
            Self::SmsOut { .. } => "I-1",
            Self::IpBackoff { .. } => "T-23",
            Self::IpRuns { .. } | Self::ImdnAwaited { .. } => "T-6",
            Self::NoContact | Self::Settling { .. } => "T-3",
            Self::NoCpm(_) => "T-5b",
            Self::KindNotTaken(..) => "SEED4-6",
            Self::Excluded(_) => "A-47",
            Self::RefusedBy(_) => "T-8",
            Self::Served(_) => "R-18",
            Self::Suspect(_) | Self::Tried { .. } => "R-8",
            Self::IpTurn(Ahead::SmsOut(..)) => "R-2",
            Self::IpTurn(Ahead::Runs(_) | Ahead::Earlier(_)) => "3.6.0",
            Self::Pipeline(_) => "P-1",
            Self::NoNumber => "ID-2",
            Self::SmsRefused => "T-12",
            Self::NoSmsForm | Self::NoticeOut | Self::NoticeRate(_) => "R-20",
            Self::NoticeFailed => "R-21",
            Self::Parked { .. } => "R-13",
            Self::Blocked { kind, .. } => match kind {
                BlockKind::Absent => "T-14",
                BlockKind::MemoryFull => "T-15",
                BlockKind::Barred | BlockKind::NotCapable => "T-12",
            },
            Self::NotAttached(_) => "T-4",
            Self::SmsTries(_) => "T-14",
            Self::SmsBackoff { .. } => "T-7b",
            Self::SlotTaken { .. } => "3.1",
            Self::IpFirst => "I-6",
            Self::Wait { .. } => "TM-6",
        }
    }

    /// What it is, in words.
    #[must_use]
    pub fn words(&self, clock: Clock<'_>) -> String {
        match self {
            Self::Held(hold) => {
                let who = match &hold.by {
                    HoldBy::Dnd => "the user does not want to be disturbed".to_owned(),
                    HoldBy::Rule(name) => format!("the user's rule `{name}` keeps it"),
                    HoldBy::Operator => "a person holds it".to_owned(),
                };
                match hold.until.filter(|until| *until != Timestamp::MAX) {
                    Some(until) => format!("{who} until {}", clock(until)),
                    None => who,
                }
            }
            Self::Storing => "the message store is asked to take it".into(),
            Self::Ending(Ending::Cancelled) => {
                "it is cancelled, and ends when its attempt does".into()
            }
            Self::Ending(Ending::Identity) => {
                "the number changed hands, and it ends when its attempt does".into()
            }
            Self::LifeOver(at) => format!("its lifetime was over at {}", clock(*at)),
            Self::CpmSwitch(switch) => format!("the policy says access_cpm={}", word(*switch)),
            Self::SmsSwitch(switch) => format!("the policy says access_sms={}", word(*switch)),
            Self::SmsOnly => "it is to go by SMS only, and SMS is not closed to it".into(),
            Self::SmsOut { attempt } => format!("its SMS is out: attempt #{attempt}"),
            Self::IpBackoff { of, until } | Self::SmsBackoff { of, until } => {
                format!("back-off of {of} until {}", clock(*until))
            }
            Self::IpRuns { attempt, to } if to.is_empty() => format!("attempt #{attempt} runs"),
            Self::IpRuns { attempt, to } => {
                format!("attempt #{attempt} runs to {}", to.join(" and "))
            }
            Self::ImdnAwaited { attempt, until } => {
                format!(
                    "attempt #{attempt} was answered 202, and its IMDN is awaited until {}",
                    clock(*until)
                )
            }
            Self::NoContact => "no device is registered".into(),
            Self::NoCpm(device) => format!("{device} is registered, but not for CPM"),
            Self::KindNotTaken(device, kind) => {
                format!("{device} takes no message of kind {}", kind.word())
            }
            Self::Excluded(device) => format!("a preference rule excludes {device}"),
            Self::RefusedBy(device) => format!("{device} refused it for good"),
            Self::Served(device) => format!("{device} has it already"),
            Self::Suspect(device) => {
                format!("{device} is registered, but did not answer its last attempt")
            }
            Self::Tried { device, times } => {
                format!("{device} was tried {times} times on its present registration")
            }
            Self::Settling { device, until } => {
                format!("{device} settles until {}", clock(*until))
            }
            Self::IpTurn(ahead) | Self::SmsTurn(ahead) => match ahead {
                Ahead::Runs(first) => format!("{first} of its conversation runs"),
                Ahead::SmsOut(first, until) => {
                    format!(
                        "the SMS of {first} is out: those behind it wait until {}",
                        clock(*until)
                    )
                }
                Ahead::Earlier(first) => format!("{first} of its conversation goes first"),
            },
            Self::Pipeline(most) => format!("{most} messages of the user run already"),
            Self::NoNumber => "the user has no number that an SMS could go to".into(),
            Self::SmsRefused => "the SMS side refused it for good".into(),
            Self::NoSmsForm => "no SMS can carry it".into(),
            Self::NoticeOut => "its notice went by SMS, and there is no second".into(),
            Self::NoticeFailed => "its notice failed for good".into(),
            Self::NoticeRate(until) => {
                format!("notices are at their hourly rate until {}", clock(*until))
            }
            Self::Parked { by, attempt } => {
                let by = access_word(*by);
                format!("nobody knows how attempt #{attempt} by {by} ended: no SMS after that")
            }
            Self::Blocked { kind, since, until } => blocked(*kind, *since, *until, clock),
            Self::NotAttached(slots) => {
                let slots: Vec<String> = SlotName::ALL
                    .iter()
                    .zip(slots)
                    .map(|(name, slot)| format!("{} {}", name.word(), slot_word(slot)))
                    .collect();
                format!("no phone is known to be there for SMS: {}", slots.join(", "))
            }
            Self::SmsTries(tries) => format!("{tries} SMS were tried without news of the phone"),
            Self::SlotTaken { by, attempt } => {
                format!("the user's one SMS is that of {by}#{attempt}")
            }
            Self::IpFirst => "IP is open, settling or running for it, so no SMS".into(),
            Self::Wait { until } => format!("IP has its chance until {}", clock(*until)),
        }
    }
}

fn word(switch: AccessSwitch) -> &'static str {
    match switch {
        AccessSwitch::On => "on",
        AccessSwitch::Hold => "hold",
        AccessSwitch::Off => "off",
    }
}

fn slot_word(slot: &Slot) -> &'static str {
    match (slot.state, slot.sms_capable) {
        (SlotState::Unknown, _) => "unknown",
        (SlotState::Detached, _) => "detached",
        (SlotState::Attached, false) => "without SMS",
        (SlotState::Attached, true) => "attached too long ago",
    }
}

fn blocked(kind: BlockKind, since: Timestamp, until: Timestamp, clock: Clock<'_>) -> String {
    let (since, until) = (clock(since), clock(until));
    match kind {
        BlockKind::Absent => format!("the last SMS found nobody ({since}); that ages at {until}"),
        BlockKind::MemoryFull => format!("the phone's memory is full since {since}, until {until}"),
        BlockKind::Barred => format!("the network bars SMS since {since}, until {until}"),
        BlockKind::NotCapable => {
            format!("this subscription or phone takes no SMS ({since}), until {until}")
        }
    }
}

impl Release {
    /// When it happens, if that is known.
    #[must_use]
    pub fn at(&self) -> Option<Timestamp> {
        match self {
            Self::Timer { at, .. } | Self::Rung { at, .. } => Some(*at),
            Self::Registration
            | Self::SignOfLife(_)
            | Self::NewRegistration(_)
            | Self::Attach
            | Self::SmsReady
            | Self::MemoryFree
            | Self::NewSubscription
            | Self::Number
            | Self::Answer { .. }
            | Self::Report { .. }
            | Self::EndOf(_)
            | Self::StoreAnswers
            | Self::DndOff
            | Self::RuleEnds(_)
            | Self::PersonReleases
            | Self::SwitchOn(_) => None,
        }
    }

    /// The rule of `rules.md` by which it would.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Timer { timer, .. } => match timer {
                Timer::IpWait => "T-9",
                Timer::Settle => "T-3",
                Timer::Hold => "R-2",
                Timer::Start => "T-12",
                Timer::IpAttempt => "T-7",
                Timer::Imdn => "T-6",
                Timer::SmsResponse | Timer::SmsReport => "R-13",
                Timer::Backoff => "T-23",
                Timer::Expiry => "T-17",
                Timer::Held => "T-21",
                Timer::Rung => "3.6.0",
                Timer::Block => "T-15",
                Timer::UcnRate => "R-20",
                Timer::Registration => "R-7",
                Timer::AttachStale => "3.5",
                Timer::Copy => "R-18",
                Timer::Rule => "T-21",
            },
            Self::Rung { .. } | Self::EndOf(_) | Self::SwitchOn(_) => "3.6.0",
            Self::Registration | Self::NewRegistration(_) => "T-3",
            Self::SignOfLife(_) => "R-8",
            Self::Attach | Self::SmsReady => "T-4",
            Self::MemoryFree => "T-15",
            Self::NewSubscription => "R-22",
            Self::Number => "ID-2",
            Self::Answer { access: Access::Cpm, .. } => "T-6",
            Self::Answer { access: Access::Sms, .. } => "T-13",
            Self::Report { by: Access::Cpm, .. } => "T-31",
            Self::Report { by: Access::Sms, .. } => "R-13",
            Self::StoreAnswers => "T-30",
            Self::DndOff | Self::RuleEnds(_) => "T-21",
            Self::PersonReleases => "T-28",
        }
    }

    /// What it is, in words.
    #[must_use]
    pub fn words(&self, clock: Clock<'_>) -> String {
        match self {
            Self::Timer { timer, at } => format!("{} at {}", timer.name(), clock(*at)),
            Self::Rung { at, kind, first } => {
                let what = match kind {
                    Rung::Next => "rung of the ladder",
                    Rung::Same => "rung of the ladder, by SMS",
                    Rung::Free => "try by SMS",
                };
                let first = first.as_ref().map_or_else(String::new, |m| format!(", for {m} first"));
                format!("{what} at {}{first}", clock(*at))
            }
            Self::Registration => "a registration of a CPM device".into(),
            Self::SignOfLife(device) => {
                format!("a REGISTER, a request or an IMDN of {device}")
            }
            Self::NewRegistration(device) => format!("a registration of {device}"),
            Self::Attach => "cs.attached, or ps.attached where SMS works".into(),
            Self::SmsReady => "sms.ready".into(),
            Self::MemoryFree => "sms.ready with reason memory".into(),
            Self::NewSubscription => "identity.changed: another SIM".into(),
            Self::Number => "a registration that tells the user's number".into(),
            Self::Answer { attempt, .. } => format!("the outcome of attempt #{attempt}"),
            Self::Report { attempt, .. } => format!("a definite report of attempt #{attempt}"),
            Self::EndOf(first) => format!("the end of {first}, or of its attempt"),
            Self::StoreAnswers => "the answer of the message store".into(),
            Self::DndOff => "the user ends do-not-disturb".into(),
            Self::RuleEnds(name) => format!("the user's rule `{name}` stops matching"),
            Self::PersonReleases => "a person releases the user".into(),
            Self::SwitchOn(access) => format!("policy access_{}=on", access_word(*access)),
        }
    }
}
