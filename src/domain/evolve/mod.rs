//! What each event does to the state. It cannot refuse: an event about something that is not there
//! (a message that has ended, a device that is forgotten) does nothing.
//!
//! Source: `rules.md` 3.2, 3.3. An arm an event; what several arms share stands below.

mod attempts;
mod forget;

use std::sync::Arc;
use std::time::Duration;

use super::event::{Access, BlockKind, Event, HoldBy, MessageRef, Rung};
use super::input::What;
use super::message::{Content, Interwork};
use super::reachability::{DeviceId, DeviceName, Slot, Stamp, hash};
use super::time::Timestamp;
use super::user::{
    Contact, Deferred, Device, Episode, Preferences, RECORDED, Remembered, SmsAttempt, SmsBlock,
    Ucn, UcnState, User, key_digest, told_bit,
};

/// Devices remembered of one user, bound ones included.
pub(in crate::domain) const MAX_DEVICES: usize = 32;
/// How long a device is known after it was last bound (3.2).
pub(in crate::domain) const KNOWN_FOR: Duration = Duration::from_secs(30 * 86_400);
const HOUR: Duration = Duration::from_secs(3600);

impl User {
    /// Moves the state by one event: the only thing that changes it.
    pub fn evolve(&mut self, event: &Event) {
        match event {
            Event::Deferred { m, at, expires, interwork, sms, ucn, holds, content } => {
                let Some(content) = content else { return };
                self.next_place = m.place().saturating_add(1);
                let message = Deferred {
                    place: m.place(),
                    content: Arc::clone(content),
                    accepted_at: *at,
                    expires_at: *expires,
                    interwork: *interwork,
                    interworkable: *sms,
                    holds: holds.clone(),
                    ucn: Ucn {
                        state: if *ucn { UcnState::Due } else { UcnState::NotNeeded },
                        ..Ucn::default()
                    },
                    ..Deferred::blank(content)
                };
                add(&mut self.messages, message);
            }
            Event::ContactBound {
                d,
                initial,
                at,
                settled,
                expires,
                caps,
                cpm,
                profile,
                primary,
                f,
            } => {
                self.bind(
                    d,
                    *primary,
                    *f,
                    Contact {
                        expires_at: *expires,
                        settled_at: *settled,
                        caps: *caps,
                        cpm_capable: *cpm,
                        profile: profile.clone(),
                        suspect: false,
                        answered_ok: false,
                        evidence_at: *at,
                    },
                    *initial,
                );
                self.ip_since = Some(self.ip_since.map_or(*at, |since| since.max(*at)));
            }
            Event::ContactRefreshed { d, at, expires, caps, cpm, profile, primary, f } => {
                let id = DeviceId::of(d);
                let Some(device) = self.device_mut(id) else { return };
                device.primary = primary.unwrap_or(device.primary);
                device.bound_at = Some(device.bound_at.map_or(*at, |before| before.max(*at)));
                if let Some(fact) = f {
                    device.last = *fact;
                }
                let Some(contact) = &mut device.contact else { return };
                contact.expires_at = expires.unwrap_or(contact.expires_at);
                contact.caps = caps.or(contact.caps);
                contact.cpm_capable = cpm.or(contact.cpm_capable);
                if profile.is_some() {
                    contact.profile.clone_from(profile);
                }
                contact.evidence_at = *at;
                let was_suspect = std::mem::take(&mut contact.suspect);
                if was_suspect {
                    self.ip_since = Some(*at);
                }
                self.new_evidence(id, f.is_some());
            }
            Event::ContactLost { d, f, at } => {
                let id = d.id();
                match self.device_mut(id) {
                    Some(device) => {
                        device.contact = None;
                        if let Some(fact) = f {
                            device.last = *fact;
                        }
                    }
                    None => self.know(Device {
                        id,
                        name: d.clone(),
                        bound_at: None,
                        last: f.unwrap_or(Stamp { time: *at, ..Stamp::default() }),
                        primary: false,
                        contact: None,
                    }),
                }
            }
            Event::SlotSet { slot, state, sms, since, f } => self.set_slot(
                *slot,
                Slot { state: *state, sms_capable: *sms, stamp: *f, since: *since },
            ),
            Event::SmsNews { at } => {
                self.sms_news = Some(self.sms_news.map_or(*at, |news| news.max(*at)));
            }
            Event::SmsBlocked { block, at, until } => {
                if *block == BlockKind::MemoryFull {
                    self.memory_full_step = self.memory_full_step.saturating_add(1);
                } else {
                    self.memory_full_step = 0;
                }
                self.sms_block = Some(SmsBlock { kind: *block, time: *at, until: *until });
            }
            Event::SmsUnblocked { timer } => {
                if !timer {
                    self.memory_full_step = 0;
                }
                self.sms_block = None;
            }
            Event::IpWait { start, by, until } => {
                self.episode = Some(Episode { start: *start, trigger: *by, deadline: *until });
            }
            Event::WaitCancelled { at } => {
                add(&mut self.cancels, *at);
                if self.cancels.len() > 3 {
                    self.cancels.remove(0);
                }
            }
            Event::AttemptStarted { by: Access::Cpm, .. } => self.start_ip(event),
            Event::AttemptStarted { by: Access::Sms, .. } => self.start_sms(event),
            Event::AttemptTaken { m, n, d, at } => {
                let device = d.as_deref().map(DeviceId::of);
                if let Some(slot) = &mut self.sms_slot
                    && slot.m.place() == m.place()
                    && slot.number == *n
                {
                    slot.started_at = slot.started_at.or_else(|| Some(slot.asked_at.max(*at)));
                }
                for leg in self.legs_mut(m.place(), *n) {
                    if device.is_none_or(|device| device == leg.device) && leg.end.is_none() {
                        leg.started_at = leg.started_at.or_else(|| Some(leg.asked_at.max(*at)));
                    }
                }
            }
            Event::LegEnded { .. } => self.end_leg(event),
            Event::AttemptEnded { .. } => self.end_attempt(event),
            Event::ImdnAwaited { m, n, until } => {
                if let Some(message) = self.message_mut(m.place()) {
                    message.awaiting = Some((*n, *until));
                    message.ip_infra = 0;
                    message.backoffs = 0;
                }
            }
            Event::SmsAccepted { .. } => self.accept_sms(event),
            Event::SmsEnded { m, n } => {
                let ended = |sms: &SmsAttempt| sms.m.place() == m.place() && sms.number == *n;
                if let Some(slot) = self.sms_slot.take_if(|slot| ended(slot))
                    && slot.what == What::Ucn
                {
                    for message in &mut self.messages {
                        if message.ucn.state == UcnState::InFlight {
                            message.ucn = Ucn { state: UcnState::Sent, ended: true, ..message.ucn };
                        }
                    }
                }
            }
            Event::SmsDelayed { m, n, at } => {
                let handed = self.messages.iter_mut().filter_map(|m| m.handed.as_mut());
                for sms in self.sms_slot.iter_mut().chain(handed) {
                    if sms.m.place() == m.place() && sms.number == *n {
                        sms.report_from = Some(*at);
                        sms.accepted_at = sms.accepted_at.or(Some(*at));
                    }
                }
            }
            Event::BackedOff { m, by, what, d, until } => {
                self.back_off(m.place(), *by, *what, d.as_deref(), *until);
            }
            Event::Parked { m, by, n } => {
                if let Some(message) = self.message_mut(m.place()) {
                    message.parked = Some((*by, *n));
                }
            }
            Event::Unparked { m } => {
                if let Some(message) = self.message_mut(m.place()) {
                    message.parked = None;
                }
            }
            Event::SmsRefused { m } => {
                if let Some(message) = self.message_mut(m.place()) {
                    message.sms_refused = true;
                }
            }
            Event::NotInterworkable { m, ucn } => {
                if let Some(message) = self.message_mut(m.place()) {
                    message.interworkable = false;
                    if *ucn {
                        message.ucn.state = UcnState::Due;
                    }
                }
            }
            Event::Notified { m, notice, .. } => {
                if let Some(message) = self.message_mut(m.place()) {
                    message.told |= told_bit(*notice);
                }
            }
            Event::StorageRequested { m, waits, .. } => {
                if let Some(message) = self.message_mut(m.place()) {
                    message.told |= RECORDED;
                    message.storing = *waits;
                }
            }
            Event::StorageFailed { m } => {
                if let Some(message) = self.message_mut(m.place()) {
                    message.storing = false;
                    message.told &= !RECORDED;
                }
            }
            Event::CopiesOwed { m, to, until } => self.owe(m.place(), to, *until),
            Event::CopyClosed { m, d } => {
                let device = d.as_deref().map(DeviceId::of);
                for owed in self.owed.iter_mut().filter(|owed| owed.place == m.place()) {
                    owed.to.retain(|to| device.is_some_and(|device| device != to.device));
                }
                self.owed.retain(|owed| !owed.to.is_empty());
            }
            Event::Ended { m, end, at } => {
                let Ok(place) = self.messages.binary_search_by_key(&m.place(), |m| m.place) else {
                    return;
                };
                let ended = self.messages.remove(place);
                let content = &ended.content;
                let key = key_digest(&content.from, &content.message_id);
                let (id, body) = (hash(&content.message_id), content.body_digest());
                self.remember(Remembered { key, id, body, end: *end, at: *at });
            }
            Event::Handled { id, from, end, at } => self.remember(Remembered {
                key: key_digest(from, id),
                id: hash(id),
                body: 0,
                end: *end,
                at: *at,
            }),
            Event::EndingStarted { m, why } => {
                for message in &mut self.messages {
                    if m.as_ref().is_none_or(|m| m.place() == message.place) {
                        message.ending = message.ending.or(Some(*why));
                    }
                }
            }
            Event::LifeCut { m, expires } => {
                for message in &mut self.messages {
                    if m.as_ref().is_none_or(|m| m.place() == message.place) {
                        message.expires_at = message.expires_at.min(*expires);
                    }
                }
            }
            Event::HoldSet { ms, hold } => {
                for message in &mut self.messages {
                    if named(ms, message.place) {
                        message.holds.retain(|before| before.by != hold.by);
                        add(&mut message.holds, hold.clone());
                    }
                }
            }
            Event::HoldEnded { ms, by } => {
                for message in &mut self.messages {
                    if named(ms, message.place) {
                        message.holds.retain(|hold| hold.by != *by);
                    }
                }
            }
            Event::UserHeld { reason } => self.hold = Some(reason.clone()),
            Event::UserReleased {} => self.hold = None,
            Event::Preferred { change } => {
                let Some(change) = change else { return };
                let prefs = self.prefs.get_or_insert_default();
                prefs.version = change.version.or(prefs.version);
                merge(prefs, change);
            }
            Event::Identified { imsi, msisdn } => {
                if imsi.is_some() {
                    self.imsi.clone_from(imsi);
                }
                self.alias_msisdn = msisdn.or(self.alias_msisdn);
            }
            Event::ViewDropped {} => self.drop_view(),
            Event::Purged {} => {
                let fresh = Self::new(self.address.clone());
                *self = Self {
                    next_place: self.next_place,
                    looked: self.looked,
                    looked_at: self.looked_at,
                    ..fresh
                };
            }
            Event::LadderArmed { at, next, rung, only } => {
                self.ladder.next_at = Some(*next);
                self.ladder.armed_at = Some(*at);
                self.ladder.kind = *rung;
                self.ladder.only = *only;
                self.ladder.resume_at = None;
            }
            Event::LadderDropped {} => {
                self.ladder.next_at = None;
                self.ladder.kind = Rung::Next;
                self.ladder.only = None;
            }
            Event::LadderReset {} => {
                self.ladder.rung = 0;
                self.ladder.resume_at = None;
                if self.ladder.kind == Rung::Next {
                    self.ladder.next_at = None;
                }
            }
            Event::RungTakenBack { until } => {
                self.ladder.rung = self.ladder.rung.saturating_sub(1);
                self.ladder.resume_at = Some(*until);
            }
            Event::RevocationAnswered { .. } => {}
            Event::Looked { until, at } => {
                self.looked = self.looked.max(*until);
                self.looked_at = self.looked_at.max(at.unwrap_or(*until));
                self.ucn_sent.retain(|at| *until < *at + HOUR);
            }
        }
    }

    /// A device registers. Its running legs learn of it, and its tries begin anew.
    fn bind(
        &mut self,
        name: &DeviceName,
        primary: Option<bool>,
        fact: Stamp,
        contact: Contact,
        initial: bool,
    ) {
        let id = name.id();
        if initial {
            for message in &mut self.messages {
                if contact.may_take_cpm() {
                    message.ip_infra = 0;
                }
            }
        }
        let at = contact.evidence_at;
        match self.device_mut(id) {
            Some(device) => {
                device.name = name.clone();
                device.primary = primary.unwrap_or(device.primary);
                device.bound_at = Some(device.bound_at.map_or(at, |before| before.max(at)));
                device.last = fact;
                device.contact = Some(contact);
            }
            None => self.know(Device {
                id,
                name: name.clone(),
                bound_at: Some(at),
                last: fact,
                primary: primary.unwrap_or(false),
                contact: Some(contact),
            }),
        }
        if primary == Some(true) {
            for device in &mut self.devices {
                device.primary = device.id == id;
            }
        }
        self.new_evidence(id, true);
    }

    /// Remembers a device; the one bound longest ago makes room, an unbound one first.
    fn know(&mut self, device: Device) {
        if self.devices.len() >= MAX_DEVICES {
            let oldest = self
                .devices
                .iter()
                .enumerate()
                .min_by_key(|(_, known)| (known.contact.is_some(), known.bound_at))
                .map(|(at, _)| at);
            if let Some(at) = oldest {
                self.devices.remove(at);
            }
        }
        add(&mut self.devices, device);
    }

    /// A sign of life of a device: what it was tried with before counts no more.
    fn new_evidence(&mut self, id: DeviceId, register: bool) {
        for message in &mut self.messages {
            message.ip_tries.retain(|(device, _)| *device != id);
            if register {
                for leg in &mut message.legs {
                    leg.again |= leg.device == id && leg.end.is_none();
                }
            }
        }
        for to in self.owed.iter_mut().flat_map(|owed| &mut owed.to) {
            if to.device == id {
                to.tries = 0;
                if let Some(leg) = &mut to.leg {
                    leg.again |= register;
                }
            }
        }
    }
}

/// Appends to a list of which most users have no more than one: `push` alone would make room for four
/// at once, and an open user would take kilobytes.
fn add<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len().max(1));
    }
    list.push(item);
}

/// Whether a list of messages means this one; an empty one means all.
fn named(ms: &[MessageRef], place: u32) -> bool {
    ms.is_empty() || ms.iter().any(|m| m.place() == place)
}

fn merge(prefs: &mut Preferences, change: &super::input::PreferencesChanged) {
    use super::input::Change;
    match &change.rules {
        Change::Keep => {}
        Change::Clear => prefs.rules.clear(),
        Change::Set(rules) => prefs.rules = rules.iter().map(Into::into).collect(),
    }
    match &change.blacklist {
        Change::Keep => {}
        Change::Clear => prefs.blacklist.clear(),
        Change::Set(senders) => prefs.blacklist.clone_from(senders),
    }
    match change.do_not_disturb {
        Change::Keep => {}
        Change::Clear => prefs.dnd_until = None,
        Change::Set(dnd) => prefs.dnd_until = dnd.until(),
    }
    change.forward_to.merge_into(&mut prefs.forward_to);
    change.ucn_language.merge_into(&mut prefs.ucn_language);
    change.ip_wait_after_attach_seconds.merge_into(&mut prefs.ip_wait_after_attach);
    change.ip_wait_after_sms_ready_seconds.merge_into(&mut prefs.ip_wait_after_sms_ready);
    change.ip_wait_after_ip_loss_seconds.merge_into(&mut prefs.ip_wait_after_ip_loss);
}

impl Deferred {
    fn blank(content: &Arc<Content>) -> Self {
        Self {
            place: 0,
            content: Arc::clone(content),
            accepted_at: Timestamp::EPOCH,
            expires_at: Timestamp::EPOCH,
            interwork: Interwork::Fallback,
            interworkable: false,
            holds: Vec::new(),
            storing: false,
            legs: Vec::new(),
            attempts: 0,
            ip_tries: Vec::new(),
            ip_infra: 0,
            awaiting: None,
            sms_tries: 0,
            sms_log: Vec::new(),
            sms_ended: false,
            refused_by: Vec::new(),
            sms_refused: false,
            served: Vec::new(),
            parked: None,
            backoff: None,
            backoffs: 0,
            last_cause: None,
            ucn: Ucn::default(),
            handed: None,
            told: 0,
            ending: None,
            overtaken: false,
        }
    }

    /// Whether a rule, DND or a person of this kind keeps it.
    #[must_use]
    pub fn is_held_by(&self, by: &HoldBy) -> bool {
        self.holds.iter().any(|hold| hold.by == *by)
    }
}
