//! Which record each thing we believe rests on, and who told it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::domain::command::about;
use crate::domain::event::{Event, Hold, HoldBy};
use crate::domain::reachability::{DeviceId, SlotName};
use crate::domain::time::{Timestamp, rfc3339};
use crate::domain::why::Obstacle;
use crate::record::envelope::Envelope;
use crate::record::journal::Record;

/// Something we believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Belief {
    /// The policy in force.
    Policy,
    /// Whether the user is attached there.
    Slot(SlotName),
    /// A device.
    Device(DeviceId),
    /// Why no SMS may go.
    Block,
    /// The wait for IP.
    Episode,
    /// When SMS is tried again by itself.
    Ladder,
    /// The one SMS that may be out.
    SmsSlot,
    /// A hold by a person.
    Hold,
    /// The last thing that happened to a message.
    Message(u32),
    /// Its acceptance.
    Accepted(u32),
    /// Its last attempt.
    Attempt(u32),
    /// Its wait after a failure.
    Backoff(u32),
    /// Its SMS of which nobody knows.
    Parked(u32),
    /// What the user wants.
    Preferences,
}

/// The record behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// Its number.
    pub seq: u64,
    /// When it was decided.
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    /// What type of fact.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who told it.
    pub source: String,
    /// When it was observed, where told.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub observed: Option<Timestamp>,
}

impl Basis {
    /// A record as the basis of what follows from it.
    #[must_use]
    pub fn of(record: &Record<'_>) -> Self {
        let (seq, at) = (record.seq, record.at);
        let envelope = record.input.and_then(|raw| Envelope::read(raw.get().as_bytes()).ok());
        let (kind, source, observed) = match envelope {
            Some(envelope) => {
                (short(&envelope.kind).to_owned(), envelope.source.to_string(), envelope.time)
            }
            None => (String::from("?"), String::from("?"), None),
        };
        Self { seq, at, kind, source, observed }
    }

    /// In words: `#7 cs.attached, /probe/msc1`.
    #[must_use]
    pub fn words(&self) -> String {
        if self.kind == "timer.fired" {
            return format!("#{} timer", self.seq);
        }
        format!("#{} {}, {}", self.seq, self.kind, self.source)
    }
}

/// A type without what all of them share.
#[must_use]
pub fn short(kind: &str) -> &str {
    let kind = kind.strip_prefix("cpm.").unwrap_or(kind);
    kind.strip_suffix(".v1").unwrap_or(kind)
}

/// All of them, of one user.
#[derive(Debug, Default)]
pub struct Facts {
    by: HashMap<Belief, Basis>,
}

impl Facts {
    /// What a belief rests on.
    #[must_use]
    pub fn basis(&self, belief: Belief) -> Option<&Basis> {
        self.by.get(&belief)
    }

    pub(super) fn policy(&mut self, record: &Record<'_>) {
        self.by.insert(Belief::Policy, Basis::of(record));
    }

    pub(super) fn note(&mut self, record: &Record<'_>) {
        if record.events.is_empty() {
            return;
        }
        let basis = Basis::of(record);
        for event in &record.events {
            for belief in moved(event) {
                self.by.insert(belief, basis.clone());
            }
            if let Some(m) = about(event) {
                self.by.insert(Belief::Message(m.place()), basis.clone());
            }
        }
    }

    /// What an obstacle rests on.
    #[must_use]
    pub fn behind(&self, obstacle: &Obstacle, place: u32) -> Option<&Basis> {
        let device = |key: &str| Belief::Device(DeviceId::of(key));
        let belief = match obstacle {
            Obstacle::Held(Hold { by: HoldBy::Dnd | HoldBy::Rule(_), .. }) => Belief::Preferences,
            Obstacle::Held(Hold { by: HoldBy::Operator, .. }) => Belief::Hold,
            Obstacle::Storing | Obstacle::Ending(_) => Belief::Message(place),
            Obstacle::LifeOver(_)
            | Obstacle::SmsOnly
            | Obstacle::NoSmsForm
            | Obstacle::NoticeOut
            | Obstacle::NoticeFailed
            | Obstacle::NoticeRate(_) => Belief::Accepted(place),
            Obstacle::CpmSwitch(_) | Obstacle::SmsSwitch(_) => Belief::Policy,
            Obstacle::SmsOut { .. }
            | Obstacle::IpRuns { .. }
            | Obstacle::ImdnAwaited { .. }
            | Obstacle::SmsTries(_)
            | Obstacle::SmsRefused => Belief::Attempt(place),
            Obstacle::IpBackoff { of, .. } | Obstacle::SmsBackoff { of, .. } => {
                Belief::Backoff(of.place())
            }
            Obstacle::Parked { .. } => Belief::Parked(place),
            Obstacle::NoCpm(key)
            | Obstacle::KindNotTaken(key, _)
            | Obstacle::Excluded(key)
            | Obstacle::RefusedBy(key)
            | Obstacle::Served(key)
            | Obstacle::Suspect(key)
            | Obstacle::Tried { device: key, .. }
            | Obstacle::Settling { device: key, .. } => device(key),
            Obstacle::Blocked { .. } => Belief::Block,
            Obstacle::SlotTaken { .. } => Belief::SmsSlot,
            Obstacle::Wait { .. } => Belief::Episode,
            Obstacle::NotAttached(_) => {
                let slots = SlotName::ALL.iter().filter_map(|name| self.basis(Belief::Slot(*name)));
                return slots.max_by_key(|basis| basis.seq);
            }
            Obstacle::NoContact
            | Obstacle::IpTurn(_)
            | Obstacle::Pipeline(_)
            | Obstacle::NoNumber
            | Obstacle::SmsTurn(_)
            | Obstacle::IpFirst => return None,
        };
        let held = matches!(obstacle, Obstacle::Held(_)).then_some(Belief::Accepted(place));
        self.basis(belief).or_else(|| self.basis(held?))
    }
}

/// What an event changes of what we believe.
fn moved(event: &Event) -> Vec<Belief> {
    let device = |key: &str| Belief::Device(DeviceId::of(key));
    match event {
        Event::Deferred { m, .. } => vec![Belief::Accepted(m.place())],
        Event::ContactBound { d, .. } | Event::ContactLost { d, .. } => {
            vec![Belief::Device(d.id())]
        }
        Event::ContactRefreshed { d, .. } => vec![device(d)],
        Event::LegEnded { m, d, .. } => vec![device(d), Belief::Attempt(m.place())],
        Event::SlotSet { slot, .. } => vec![Belief::Slot(*slot)],
        Event::SmsBlocked { .. } | Event::SmsUnblocked { .. } => vec![Belief::Block],
        Event::IpWait { .. } => vec![Belief::Episode],
        Event::LadderArmed { .. }
        | Event::LadderDropped {}
        | Event::LadderReset {}
        | Event::RungTakenBack { .. } => vec![Belief::Ladder],
        Event::AttemptStarted { m, by: crate::domain::event::Access::Sms, .. }
        | Event::SmsAccepted { m, .. }
        | Event::SmsDelayed { m, .. } => vec![Belief::SmsSlot, Belief::Attempt(m.place())],
        Event::AttemptStarted { m, .. }
        | Event::AttemptTaken { m, .. }
        | Event::AttemptEnded { m, .. }
        | Event::ImdnAwaited { m, .. }
        | Event::SmsRefused { m } => vec![Belief::Attempt(m.place())],
        Event::BackedOff { m, .. } => vec![Belief::Backoff(m.place())],
        Event::Parked { m, .. } => vec![Belief::Parked(m.place())],
        Event::UserHeld { .. } => vec![Belief::Hold],
        Event::HoldSet { hold: Hold { by: HoldBy::Operator, .. }, .. } => vec![Belief::Hold],
        Event::HoldSet { .. } | Event::Preferred { .. } => vec![Belief::Preferences],
        Event::SmsNews { .. }
        | Event::WaitCancelled { .. }
        | Event::SmsEnded { .. }
        | Event::Unparked { .. }
        | Event::NotInterworkable { .. }
        | Event::Notified { .. }
        | Event::StorageRequested { .. }
        | Event::StorageFailed { .. }
        | Event::CopiesOwed { .. }
        | Event::CopyClosed { .. }
        | Event::Ended { .. }
        | Event::Handled { .. }
        | Event::EndingStarted { .. }
        | Event::LifeCut { .. }
        | Event::HoldEnded { .. }
        | Event::UserReleased {}
        | Event::Identified { .. }
        | Event::ViewDropped {}
        | Event::Purged {}
        | Event::RevocationAnswered { .. }
        | Event::Looked { .. } => Vec::new(),
    }
}
