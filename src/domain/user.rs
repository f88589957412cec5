//! All that is held of one user: the state that the journal's events add up to.
//!
//! Source: `rules.md` 3.2, 3.3. What a user is doing (waiting for IP, draining, idle) is never
//! stored: `open.rs` reads it from here. `evolve.rs` is the only thing that writes here.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::address::{Address, Msisdn};
use super::event::{
    Access, BlockKind, End, Ending, Hold, LegEnd, MessageRef, Notice, Rung, Trigger,
};
use super::failure::Class;
use super::input::{Rule, What};
use super::message::{Content, Interwork, first_u64};
use super::reachability::{Caps, DeviceId, DeviceName, Slot, SlotName, Stamp};
use super::senders::Senders;
use super::time::Timestamp;

/// One CPM user: reachability, the order of waiting messages, the one SMS outstanding (3.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// The canonical address: the key of it all.
    pub address: Address,
    /// The number, of a user known by a SIP address (ID-2).
    pub alias_msisdn: Option<Msisdn>,
    /// The SIM, as last told.
    pub imsi: Option<Box<str>>,
    /// Devices bound now, or in the last 30 days.
    pub devices: Vec<Device>,
    /// Where SMS reaches the phone: cs, ps, any.
    pub slots: [Option<Slot>; 3],
    /// Why SMS is shut.
    pub sms_block: Option<SmsBlock>,
    /// How many memory-full blocks ran in a row into T_block.
    pub memory_full_step: u32,
    /// When SMS last may have begun to work again.
    pub sms_news: Option<Timestamp>,
    /// From where the IP-wait counts.
    pub episode: Option<Episode>,
    /// The last three cancelled waits.
    pub cancels: Vec<Timestamp>,
    /// When an IP way last opened.
    pub ip_since: Option<Timestamp>,
    /// The safety ladder.
    pub ladder: Ladder,
    /// The one SMS outstanding.
    pub sms_slot: Option<Box<SmsAttempt>>,
    /// When UCNs went, within the last hour (P-25).
    pub ucn_sent: Vec<Timestamp>,
    /// A person keeps the user's messages back.
    pub hold: Option<Box<str>>,
    /// Preferences.
    pub prefs: Option<Box<Preferences>>,
    /// Ended messages, oldest first.
    pub remembered: Vec<Remembered>,
    /// Up to where alarms have been looked at.
    pub looked: Timestamp,
    /// The wall clock of the last look: what had expired by it gets no attempt (I-7).
    pub looked_at: Timestamp,
    /// Messages waiting, in the order of acceptance.
    pub messages: Vec<Deferred>,
    /// Copies owed to other devices.
    pub owed: Vec<Owed>,
    /// The place of the next message.
    pub next_place: u32,
}

/// A device of the user, bound or known from before (3.2 `contacts`, `known`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Its id in this state.
    pub id: DeviceId,
    /// What it is called.
    pub name: DeviceName,
    /// When it was last bound; `None`: never seen bound (P-17).
    pub bound_at: Option<Timestamp>,
    /// The last fact about it.
    pub last: Stamp,
    /// It was told to hold the SIM.
    pub primary: bool,
    /// Its binding.
    pub contact: Option<Contact>,
}

/// A binding of a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contact {
    /// When it ends, without grace.
    pub expires_at: Timestamp,
    /// From when it takes legs.
    pub settled_at: Timestamp,
    /// What it can do; `None`: not told.
    pub caps: Option<Caps>,
    /// Whether it takes CPM; `None`: not told.
    pub cpm_capable: Option<bool>,
    /// The client's active profile.
    pub profile: Option<Box<str>>,
    /// Its last leg ended absent.
    pub suspect: bool,
    /// It answered 200 since its last initial registration.
    pub answered_ok: bool,
    /// Its last REGISTER, request or IMDN.
    pub evidence_at: Timestamp,
}

impl Contact {
    /// Whether it takes CPM at all; unknown counts, told no does not (N-6).
    #[must_use]
    pub fn may_take_cpm(&self) -> bool {
        self.cpm_capable.unwrap_or_else(|| self.caps.is_none_or(Caps::any_cpm))
    }
}

/// Why SMS is shut, since and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmsBlock {
    /// Why.
    pub kind: BlockKind,
    /// Since when.
    pub time: Timestamp,
    /// Until when; `None`: it ages like a slot.
    pub until: Option<Timestamp>,
}

/// From where the IP-wait counts (TM-6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Episode {
    /// When SMS became possible, or IP was lost.
    pub start: Timestamp,
    /// Which of them.
    pub trigger: Trigger,
    /// When IP has had its chance.
    pub deadline: Timestamp,
}

/// The safety ladder of a user, for the case that no event tells anything (3.6.0).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ladder {
    /// The rung that comes next, from 0.
    pub rung: u32,
    /// When it comes, while armed.
    pub next_at: Option<Timestamp>,
    /// The step that armed it last.
    pub armed_at: Option<Timestamp>,
    /// What kind of try comes next.
    pub kind: Rung,
    /// Only for this message (a person's retry).
    pub only: Option<u32>,
    /// A rung taken back comes again then.
    pub resume_at: Option<Timestamp>,
    /// The attempt by IP that is the current rung: message and number.
    pub probing: Option<(u32, u32)>,
}

/// An SMS on its way: in the slot, or handed over to a buffering SMSC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SmsAttempt {
    /// The message.
    pub m: MessageRef,
    /// Digest of its key: the SMS may outlive the message, and the memory of it.
    pub key: u64,
    /// Its conversation, for the turn of the others.
    pub conversation: Option<Box<str>>,
    /// What the SMS carries.
    pub what: What,
    /// The attempt.
    pub number: u32,
    /// When it was commanded.
    pub asked_at: Timestamp,
    /// Until when a gateway may start.
    pub deadline: Timestamp,
    /// When the gateway said that it started.
    pub started_at: Option<Timestamp>,
    /// When the gateway said that it accepted.
    pub accepted_at: Option<Timestamp>,
    /// From when the report is waited for.
    pub report_from: Option<Timestamp>,
    /// Whether a positive report is to come.
    pub report: bool,
    /// It made an MMS of it.
    pub mms: bool,
    /// It is a try of the ladder.
    pub rung: Option<Rung>,
}

/// What is remembered of an SMS attempt, so that a report finds it (A-12, P-20).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SmsLog {
    /// The attempt.
    pub number: u32,
    /// What it carried.
    pub what: What,
    /// When it was commanded.
    pub asked_at: Timestamp,
    /// Its ids on the legacy side.
    pub ids: Vec<Box<str>>,
}

/// A message that waits (3.3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deferred {
    /// Its place in the order of acceptance.
    pub place: u32,
    /// What was submitted.
    pub content: Arc<Content>,
    /// From when its life counts.
    pub accepted_at: Timestamp,
    /// End of its life.
    pub expires_at: Timestamp,
    /// Which access may carry it.
    pub interwork: Interwork,
    /// Whether SMS can carry it.
    pub interworkable: bool,
    /// What keeps it back.
    pub holds: Vec<Hold>,
    /// The store is asked to take it (4c).
    pub storing: bool,
    /// The last leg to each device.
    pub legs: Vec<Leg>,
    /// The number of the last attempt, over all accesses.
    pub attempts: u32,
    /// Legs without success on each contact's present evidence.
    pub ip_tries: Vec<(DeviceId, u32)>,
    /// IP attempts in a row that ended infra.
    pub ip_infra: u32,
    /// A 202 is all we have: the attempt, and until when its IMDN is awaited.
    pub awaiting: Option<(u32, Timestamp)>,
    /// SMS attempts that no news caused.
    pub sms_tries: u32,
    /// Its last SMS attempts, oldest first.
    pub sms_log: Vec<SmsLog>,
    /// An SMS of it ended otherwise than busy, infra or congestion.
    pub sms_ended: bool,
    /// Devices that will never take it.
    pub refused_by: Vec<DeviceId>,
    /// SMS will never carry it.
    pub sms_refused: bool,
    /// Devices that took it.
    pub served: Vec<DeviceId>,
    /// Its attempt ended unknown: IP only.
    pub parked: Option<(Access, u32)>,
    /// The running back-off.
    pub backoff: Option<(Access, Timestamp)>,
    /// Back-offs in a row.
    pub backoffs: u32,
    /// Class of its last failure.
    pub last_cause: Option<Class>,
    /// Its notice.
    pub ucn: Ucn,
    /// Handed over to a buffering SMSC.
    pub handed: Option<Box<SmsAttempt>>,
    /// What its sender has heard, and whether the store was asked: see [`Deferred::has_told`].
    pub told: u8,
    /// It ends as soon as nothing runs.
    pub ending: Option<Ending>,
    /// A later message of its conversation went first.
    pub overtaken: bool,
}

/// A leg of an IP attempt: one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// The device.
    pub device: DeviceId,
    /// The attempt it belongs to.
    pub attempt: u32,
    /// When the attempt was commanded.
    pub asked_at: Timestamp,
    /// Until when a gateway may start.
    pub deadline: Timestamp,
    /// When it started, as told, or as its result implies.
    pub started_at: Option<Timestamp>,
    /// The device registered while it ran.
    pub again: bool,
    /// How it ended.
    pub end: Option<LegEnd>,
    /// Not sooner than that, as the answer said.
    pub retry_after: Option<u32>,
}

/// The notice that content waits: it has a life of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ucn {
    /// Where it stands.
    pub state: UcnState,
    /// Its back-off.
    pub backoff: Option<Timestamp>,
    /// Back-offs in a row.
    pub backoffs: u32,
    /// Attempts that no news caused.
    pub tries: u32,
    /// When its last attempt was commanded.
    pub last_at: Option<Timestamp>,
    /// An attempt of it ended otherwise than busy, infra or congestion.
    pub ended: bool,
}

/// Where a notice stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UcnState {
    /// SMS can carry the message itself.
    #[default]
    NotNeeded,
    /// It is to go.
    Due,
    /// It is on its way.
    InFlight,
    /// It went, or nobody can tell.
    Sent,
    /// It will not go.
    Failed,
}

/// A message that was delivered, and is owed to other devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Owed {
    /// The message's place.
    pub place: u32,
    /// What was submitted.
    pub content: Arc<Content>,
    /// Until when it is owed.
    pub until: Timestamp,
    /// The number of the last attempt.
    pub attempts: u32,
    /// To whom.
    pub to: Vec<OwedTo>,
}

/// One device that is owed a copy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OwedTo {
    /// The device.
    pub device: DeviceId,
    /// The leg that runs.
    pub leg: Option<Leg>,
    /// Legs without success on the contact's present evidence.
    pub tries: u32,
    /// Its back-off.
    pub backoff: Option<Timestamp>,
    /// Back-offs in a row.
    pub backoffs: u32,
}

/// What is left of an ended message (T-24).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Digest of sender and id.
    pub key: u64,
    /// Hash of the id alone.
    pub id: u32,
    /// Digest of the body.
    pub body: u64,
    /// How it ended.
    pub end: End,
    /// When.
    pub at: Timestamp,
}

/// A user's preferences, as merged (P-22).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Preferences {
    /// The newest version seen.
    pub version: Option<u64>,
    /// Rules by condition and action.
    pub rules: Vec<StoredRule>,
    /// Senders that the front refuses.
    pub blacklist: Vec<Box<str>>,
    /// Where allow-forward sends messages.
    pub forward_to: Option<Box<str>>,
    /// Do not disturb: on until then, `Timestamp::MAX` without an end.
    pub dnd_until: Option<Timestamp>,
    /// Language of the UCN.
    pub ucn_language: Option<Box<str>>,
    /// The user's own wait after an attach, in seconds.
    pub ip_wait_after_attach: Option<u32>,
    /// The user's own wait after `ready-for-sms`.
    pub ip_wait_after_sms_ready: Option<u32>,
    /// The user's own wait after an IP loss.
    pub ip_wait_after_ip_loss: Option<u32>,
}

/// A rule, with times in the state's form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredRule {
    /// Its name.
    pub name: Box<str>,
    /// What it does.
    pub actions: Vec<super::input::Action>,
    /// Only these kinds.
    pub kinds: Vec<super::message::Kind>,
    /// Only these senders; `None`: any.
    pub senders: Option<Box<Senders>>,
    /// Only senders whom no rule of the user's names.
    pub other_identity: bool,
    /// Only senders who want to be anonymous.
    pub anonymous_request: bool,
    /// Only clients with these profiles.
    pub profiles: Vec<Box<str>>,
    /// Not before.
    pub valid_from: Option<Timestamp>,
    /// Not from then on.
    pub valid_until: Option<Timestamp>,
}

impl From<&Rule> for StoredRule {
    fn from(rule: &Rule) -> Self {
        Self {
            name: rule.name.clone(),
            actions: rule.actions.clone(),
            kinds: rule.kinds.clone(),
            senders: rule.named().map(Box::new),
            other_identity: rule.other_identity,
            anonymous_request: rule.anonymous_request,
            profiles: rule.profiles.clone(),
            valid_from: rule.valid_from,
            valid_until: rule.valid_until,
        }
    }
}

impl Preferences {
    /// Whether the user is not to be disturbed now.
    #[must_use]
    pub fn undisturbed(&self, now: Timestamp) -> bool {
        self.dnd_until.is_some_and(|until| now < until)
    }
}

/// The bit of [`Deferred::told`] that says the store was asked to record the message.
pub(super) const RECORDED: u8 = 128;

impl Deferred {
    /// How events name it.
    #[must_use]
    pub fn m(&self) -> MessageRef {
        MessageRef(self.place, self.content.message_id.clone())
    }

    /// Whether its sender has heard a notice of this kind (I-8): negative ones are one kind.
    #[must_use]
    pub fn has_told(&self, notice: Notice) -> bool {
        self.told & told_bit(notice) != 0
    }

    /// Accepted, not held, not storing.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.holds.is_empty() && !self.storing && self.ending.is_none()
    }

    /// Whether a leg of it runs by IP.
    #[must_use]
    pub fn has_running_leg(&self) -> bool {
        self.legs.iter().any(|leg| leg.end.is_none())
    }

    /// Whether a leg of it runs by IP, or its IMDN is awaited.
    #[must_use]
    pub fn ip_running(&self) -> bool {
        self.awaiting.is_some() || self.has_running_leg()
    }

    /// The leg to this device, whatever became of it.
    #[must_use]
    pub fn leg(&self, device: DeviceId) -> Option<&Leg> {
        self.legs.iter().find(|leg| leg.device == device)
    }

    /// Legs without success on the contact's present evidence.
    #[must_use]
    pub fn tries(&self, device: DeviceId) -> u32 {
        self.ip_tries.iter().find(|(tried, _)| *tried == device).map_or(0, |(_, tries)| *tries)
    }
}

/// The bit under which a notice is told at most once.
pub(super) fn told_bit(notice: Notice) -> u8 {
    match notice {
        Notice::Delivered => 1,
        Notice::Failed | Notice::Error | Notice::Forbidden => 2,
        Notice::Stored => 4,
        Notice::LegacySms | Notice::LegacyMms => 8,
    }
}

/// Digest of a message's key inside its user's state.
#[must_use]
pub fn key_digest(from: &str, message_id: &str) -> u64 {
    let mut hash = Sha256::new();
    hash.update(from.as_bytes());
    hash.update([0]);
    hash.update(message_id.as_bytes());
    first_u64(&hash.finalize())
}

impl User {
    /// A user of whom nothing is known.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self {
            address,
            alias_msisdn: None,
            imsi: None,
            devices: Vec::new(),
            slots: [None; 3],
            sms_block: None,
            memory_full_step: 0,
            sms_news: None,
            episode: None,
            cancels: Vec::new(),
            ip_since: None,
            ladder: Ladder::default(),
            sms_slot: None,
            ucn_sent: Vec::new(),
            hold: None,
            prefs: None,
            remembered: Vec::new(),
            looked: Timestamp::EPOCH,
            looked_at: Timestamp::EPOCH,
            messages: Vec::new(),
            owed: Vec::new(),
            next_place: 0,
        }
    }

    /// The number SMS goes to; without one SMS does not exist for this user (ID-2).
    #[must_use]
    pub fn msisdn(&self) -> Option<Msisdn> {
        match &self.address {
            Address::Tel(msisdn) => Some(*msisdn),
            Address::Sip(_) => self.alias_msisdn,
        }
    }

    /// The waiting message at this place.
    #[must_use]
    pub fn message(&self, place: u32) -> Option<&Deferred> {
        let at = self.messages.binary_search_by_key(&place, |m| m.place).ok()?;
        self.messages.get(at)
    }

    pub(super) fn message_mut(&mut self, place: u32) -> Option<&mut Deferred> {
        let at = self.messages.binary_search_by_key(&place, |m| m.place).ok()?;
        self.messages.get_mut(at)
    }

    /// The message with this id, of this sender or of any.
    pub fn named<'a>(
        &'a self,
        message_id: &'a str,
        from: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Deferred> {
        self.messages.iter().filter(move |m| {
            *m.content.message_id == *message_id && from.is_none_or(|from| *m.content.from == *from)
        })
    }

    /// The device with this id.
    #[must_use]
    pub fn device(&self, id: DeviceId) -> Option<&Device> {
        self.devices.iter().find(|device| device.id == id)
    }

    pub(super) fn device_mut(&mut self, id: DeviceId) -> Option<&mut Device> {
        self.devices.iter_mut().find(|device| device.id == id)
    }

    /// What is known of a slot.
    #[must_use]
    pub fn slot(&self, name: SlotName) -> Slot {
        let [cs, ps, any] = self.slots;
        match name {
            SlotName::Cs => cs,
            SlotName::Ps => ps,
            SlotName::Any => any,
        }
        .unwrap_or_default()
    }

    pub(super) fn set_slot(&mut self, name: SlotName, slot: Slot) {
        let [cs, ps, any] = &mut self.slots;
        *match name {
            SlotName::Cs => cs,
            SlotName::Ps => ps,
            SlotName::Any => any,
        } = Some(slot);
    }

    /// Whether nothing is held of this user at all.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        let Self { looked, looked_at, next_place, .. } = *self;
        *self == Self { looked, looked_at, next_place, ..Self::new(self.address.clone()) }
    }
}
