//! What we decided: the steps by which a user's state moves, and nothing else moves it.
//!
//! Written to the journal as they stand here, under short names; times in them are milliseconds
//! since 1970. What an event repeats of its input (content, preferences) is left out and read from
//! the input beside it.

mod parts;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::address::Msisdn;
use super::failure::Class;
use super::input::{PreferencesChanged, Technology, What};
use super::message::{Content, Interwork, shared};
use super::reachability::{Caps, DeviceName, SlotName, SlotState, Stamp};
use super::time::Timestamp;

pub use parts::{
    Access, BlockKind, End, Ending, Hold, HoldBy, LegEnd, Mark, MessageRef, Notice, Rung, Trigger,
};

/// One step of a user's state. See [`super::user::User::evolve`] for what each does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A message is accepted and waits.
    Deferred {
        /// The message.
        m: MessageRef,
        /// From when its life counts (P-7).
        at: Timestamp,
        /// End of its life.
        expires: Timestamp,
        /// Which access may carry it.
        #[serde(default, skip_serializing_if = "is_fallback")]
        interwork: Interwork,
        /// Whether SMS can carry it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        sms: bool,
        /// Whether a UCN is due for it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        ucn: bool,
        /// What keeps it back.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        holds: Vec<Hold>,
        /// All the rest; in the journal it stands in the input.
        #[serde(skip)]
        content: Option<Arc<Content>>,
    },
    /// A device is reachable over IP.
    ContactBound {
        /// The device.
        d: DeviceName,
        /// Whether the registration is a new one, so that it settles.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        initial: bool,
        /// When, as TM-2 counts.
        at: Timestamp,
        /// From when it takes legs.
        settled: Timestamp,
        /// When the binding ends.
        expires: Timestamp,
        /// Its feature tags, if told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caps: Option<Caps>,
        /// Whether it takes CPM, if told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cpm: Option<bool>,
        /// Its active profile.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        profile: Option<Box<str>>,
        /// It holds the SIM.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        primary: Option<bool>,
        /// The fact.
        f: Stamp,
    },
    /// A bound device gave a sign of life.
    ContactRefreshed {
        /// The device.
        #[serde(deserialize_with = "shared")]
        d: Arc<str>,
        /// When.
        at: Timestamp,
        /// The new end of its binding, if it was a REGISTER.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires: Option<Timestamp>,
        /// Its feature tags, if told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caps: Option<Caps>,
        /// Whether it takes CPM, if told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cpm: Option<bool>,
        /// Its active profile, if told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        profile: Option<Box<str>>,
        /// It holds the SIM, if told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        primary: Option<bool>,
        /// The fact, if it was a REGISTER.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        f: Option<Stamp>,
    },
    /// A device's binding is over.
    ContactLost {
        /// The device.
        d: DeviceName,
        /// When.
        at: Timestamp,
        /// The fact; absent: its time was over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        f: Option<Stamp>,
    },
    /// Something was told about where SMS reaches the phone.
    SlotSet {
        /// Which slot.
        slot: SlotName,
        /// What it is now.
        state: SlotState,
        /// Whether SMS works there.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        sms: bool,
        /// What it ages from.
        since: Timestamp,
        /// The fact.
        f: Stamp,
    },
    /// SMS may work again.
    SmsNews {
        /// When.
        at: Timestamp,
    },
    /// SMS is shut for the user.
    SmsBlocked {
        /// Why.
        block: BlockKind,
        /// Since when.
        at: Timestamp,
        /// Until when; absent: it ages like a slot.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// SMS is no longer shut.
    SmsUnblocked {
        /// Only its time was over (T_block).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        timer: bool,
    },
    /// From here the IP-wait counts (TM-6).
    IpWait {
        /// The episode's start.
        start: Timestamp,
        /// What started it.
        by: Trigger,
        /// The deadline.
        until: Timestamp,
    },
    /// A detach ended a running IP-wait.
    WaitCancelled {
        /// When.
        at: Timestamp,
    },
    /// An attempt starts: a command goes out.
    AttemptStarted {
        /// The message.
        m: MessageRef,
        /// The number of the attempt, over all accesses.
        n: u32,
        /// The way it takes.
        by: Access,
        /// What it carries.
        what: What,
        /// When.
        at: Timestamp,
        /// Until when a gateway may start.
        deadline: Timestamp,
        /// The devices, over IP.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        to: Vec<Arc<str>>,
        /// It is a try of the ladder.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rung: Option<Rung>,
        /// The tries that a rung leaves its contacts charged with.
        #[serde(default, skip_serializing_if = "is_zero")]
        tried: u32,
        /// It goes after one that came after it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        late: bool,
        /// The other messages that this UCN covers.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        covers: Vec<MessageRef>,
        /// Where to, for a forward.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<Box<str>>,
    },
    /// A gateway took the command of an attempt.
    AttemptTaken {
        /// The message.
        m: MessageRef,
        /// The attempt.
        n: u32,
        /// One device; absent: all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        d: Option<Arc<str>>,
        /// When.
        at: Timestamp,
    },
    /// A leg of an IP attempt ended.
    LegEnded {
        /// The message.
        m: MessageRef,
        /// The attempt.
        n: u32,
        /// The device.
        #[serde(deserialize_with = "shared")]
        d: Arc<str>,
        /// How.
        end: LegEnd,
        /// When.
        at: Timestamp,
        /// What that says of the device.
        mark: Mark,
        /// Whether it counts against the contact's present evidence.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        counts: bool,
        /// Not sooner than that, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<u32>,
    },
    /// An attempt is over; its class is that of all its legs.
    AttemptEnded {
        /// The message.
        m: MessageRef,
        /// The attempt.
        n: u32,
        /// The way it took.
        by: Access,
        /// What it carried.
        what: What,
        /// How it ended.
        class: Class,
    },
    /// A 202 is all we have: an IMDN must say more (T-6).
    ImdnAwaited {
        /// The message.
        m: MessageRef,
        /// The attempt.
        n: u32,
        /// Until when.
        until: Timestamp,
    },
    /// The gateway of the SMS side took the message over (T-11).
    SmsAccepted {
        /// The message.
        m: MessageRef,
        /// The attempt.
        n: u32,
        /// When.
        at: Timestamp,
        /// Whether a positive report is to come.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        report: bool,
        /// A buffering SMSC has it now.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        handed: bool,
        /// It made an MMS of it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        mms: bool,
        /// Ids under which reports will come.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ids: Vec<Box<str>>,
    },
    /// An SMS arrived, or is taken for arrived: the next one may go.
    SmsEnded {
        /// The message.
        m: MessageRef,
        /// The attempt.
        n: u32,
    },
    /// The SMSC is still trying.
    SmsDelayed {
        /// The message.
        m: MessageRef,
        /// The attempt.
        n: u32,
        /// When.
        at: Timestamp,
    },
    /// A back-off runs (T-23).
    BackedOff {
        /// The message.
        m: MessageRef,
        /// Which access failed.
        by: Access,
        /// What failed.
        what: What,
        /// The device, of a copy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        d: Option<Arc<str>>,
        /// Until when.
        until: Timestamp,
    },
    /// Its attempt ended unknown: IP only from here on.
    Parked {
        /// The message.
        m: MessageRef,
        /// The way that attempt took.
        by: Access,
        /// The attempt.
        n: u32,
    },
    /// A definite report ended the parking.
    Unparked {
        /// The message.
        m: MessageRef,
    },
    /// SMS will never carry it.
    SmsRefused {
        /// The message.
        m: MessageRef,
    },
    /// SMS cannot carry it: its notice is due (T-12).
    NotInterworkable {
        /// The message.
        m: MessageRef,
        /// Whether a notice can go for it.
        ucn: bool,
    },
    /// The sender is told.
    Notified {
        /// The message.
        m: MessageRef,
        /// What.
        notice: Notice,
        /// In words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Box<str>>,
        /// The attempt it is about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        n: Option<u32>,
    },
    /// The message store is asked to record it, or to take it (4c).
    StorageRequested {
        /// The message.
        m: MessageRef,
        /// As what: an SMS or an MMS.
        #[serde(rename = "as")]
        as_: Technology,
        /// When it was delivered, if it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delivered: Option<Timestamp>,
        /// The message waits for the store's answer (4c, T-30).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        waits: bool,
    },
    /// The store's answer came, and the message waits for delivery after all.
    StorageFailed {
        /// The message.
        m: MessageRef,
    },
    /// Other devices of the user are owed a copy.
    CopiesOwed {
        /// The message.
        m: MessageRef,
        /// The devices.
        to: Vec<Arc<str>>,
        /// Until when.
        until: Timestamp,
    },
    /// A device is owed its copy no longer.
    CopyClosed {
        /// The message.
        m: MessageRef,
        /// The device; absent: none is owed one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        d: Option<Arc<str>>,
    },
    /// The message is over.
    Ended {
        /// The message.
        m: MessageRef,
        /// How.
        end: End,
        /// When.
        at: Timestamp,
    },
    /// Another element ended a message before it was deferred (T-29).
    Handled {
        /// The sender's id of it.
        #[serde(deserialize_with = "shared")]
        id: Arc<str>,
        /// Its sender.
        from: Box<str>,
        /// How it ended.
        end: End,
        /// When.
        at: Timestamp,
    },
    /// No new leg for it; what runs decides (R-11, T-27).
    EndingStarted {
        /// The message; absent: all of the user's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        m: Option<MessageRef>,
        /// Why.
        why: Ending,
    },
    /// Its life ends then (T-27 expire).
    LifeCut {
        /// The message; absent: all of the user's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        m: Option<MessageRef>,
        /// When.
        expires: Timestamp,
    },
    /// Kept from every access.
    HoldSet {
        /// The messages; empty: all of the user's.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ms: Vec<MessageRef>,
        /// Why, and until when.
        hold: Hold,
    },
    /// No longer kept by that one.
    HoldEnded {
        /// The messages; empty: all of the user's.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ms: Vec<MessageRef>,
        /// Who kept it.
        by: HoldBy,
    },
    /// A person keeps the user's messages back, those to come included (T-28).
    UserHeld {
        /// Why.
        reason: Box<str>,
    },
    /// A person lets them go.
    UserReleased {},
    /// Preferences changed; what, stands in the input.
    Preferred {
        /// The change.
        #[serde(skip)]
        change: Option<Box<PreferencesChanged>>,
    },
    /// The user's numbers, as told.
    Identified {
        /// The SIM.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        imsi: Option<Box<str>>,
        /// The number, of a user known by another address (ID-2).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        msisdn: Option<Msisdn>,
    },
    /// The owner is another one: the view goes (P-12).
    ViewDropped {},
    /// The user is purged (T-26).
    Purged {},
    /// The ladder is armed.
    LadderArmed {
        /// The step that armed it.
        at: Timestamp,
        /// When the rung comes.
        next: Timestamp,
        /// What kind of try it will be.
        #[serde(default, skip_serializing_if = "is_next")]
        rung: Rung,
        /// Only this message (a person's retry).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<u32>,
    },
    /// Nothing for the ladder to do.
    LadderDropped {},
    /// Something moved: from the first rung again.
    LadderReset {},
    /// The rung reached nobody; it comes again then.
    RungTakenBack {
        /// When the back-off ends.
        until: Timestamp,
    },
    /// The sender hears whether it could take the message back (T-19).
    RevocationAnswered {
        /// Hash of the request's id.
        request: u32,
        /// The sender's id of it.
        #[serde(deserialize_with = "shared")]
        id: Arc<str>,
        /// Who hears it.
        to: Box<str>,
        /// Whether.
        ok: bool,
        /// Why not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Box<str>>,
    },
    /// What was due by then has been passed.
    Looked {
        /// Until when.
        until: Timestamp,
        /// The wall clock, where it was later.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
}

fn is_fallback(interwork: &Interwork) -> bool {
    *interwork == Interwork::Fallback
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_next(rung: &Rung) -> bool {
    *rung == Rung::Next
}
