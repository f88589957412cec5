//! What each event does to the state. It cannot refuse: an event about something that is not there
//! (a message that has ended, a device that is forgotten) does nothing.
//!
//! Source: `rules.md` 3.2, 3.3. An arm an event; what several arms share stands below.

use std::sync::Arc;
use std::time::Duration;

use super::event::{Access, BlockKind, Event, HoldBy, LegEnd, Mark, MessageRef, Rung};
use super::failure::Class;
use super::input::What;
use super::message::{Content, Interwork};
use super::policy::Policy;
use super::reachability::{DeviceId, DeviceName, Slot, SlotName, SlotState, Stamp, hash};
use super::time::Timestamp;
use super::user::{
    Contact, Deferred, Device, Episode, Leg, Owed, OwedTo, Preferences, RECORDED, Remembered,
    SmsAttempt, SmsBlock, SmsLog, Ucn, UcnState, User, dnd_until, key_digest, told_bit,
};

/// Devices remembered of one user, bound ones included.
pub(super) const MAX_DEVICES: usize = 32;
/// Ended messages remembered of one user (T-24).
const MAX_REMEMBERED: usize = 64;
/// SMS attempts of one message that a late report can still find.
const MAX_SMS_LOG: usize = 16;
/// How long a device is known after it was last bound (3.2).
pub(super) const KNOWN_FOR: Duration = Duration::from_secs(30 * 86_400);
const HOUR: Duration = Duration::from_secs(3600);

impl User {
    /// Moves the state by one event: the only thing that changes it.
    pub fn evolve(&mut self, event: &Event) {
        match event {
            Event::Deferred { m, at, expires, interwork, sms, ucn, holds, content } => {
                let Some(content) = content else { return };
                self.next_place = m.place().saturating_add(1);
                self.messages.push(Deferred {
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
                });
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
                self.cancels.push(*at);
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
                    slot.started_at = slot.started_at.or(Some(*at));
                }
                for leg in self.legs_mut(m.place(), *n) {
                    if device.is_none_or(|device| device == leg.device) && leg.end.is_none() {
                        leg.started_at = leg.started_at.or(Some(*at));
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
            Event::UcnDropped { m } => {
                if let Some(message) = self.message_mut(m.place()) {
                    message.ucn.state = UcnState::Failed;
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
                        message.holds.push(hold.clone());
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
        self.devices.push(device);
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

    fn start_ip(&mut self, event: &Event) {
        let Event::AttemptStarted { m, n, what, at, deadline, to, rung, tried, .. } = event else {
            return;
        };
        let legs = to.iter().map(|key| Leg {
            device: DeviceId::of(key),
            attempt: *n,
            asked_at: *at,
            deadline: *deadline,
            started_at: None,
            again: false,
            end: None,
            retry_after: None,
        });
        if *what == What::Copy {
            for owed in self.owed.iter_mut().filter(|owed| owed.place == m.place()) {
                owed.attempts = *n;
                for leg in legs.clone() {
                    for to in owed.to.iter_mut().filter(|to| to.device == leg.device) {
                        to.leg = Some(leg);
                    }
                }
            }
            return;
        }
        if rung.is_some() {
            self.climb(*rung, Some((m.place(), *n)));
        }
        let Some(message) = self.message_mut(m.place()) else { return };
        message.attempts = *n;
        for leg in legs {
            message.legs.retain(|before| before.device != leg.device);
            message.legs.push(leg);
            if rung.is_some() {
                message.ip_tries.retain(|(device, _)| *device != leg.device);
                message.ip_tries.push((leg.device, *tried));
            }
        }
        self.mark_overtaken(m.place());
    }

    /// Whoever of the same conversation is out by SMS and came earlier has been overtaken.
    fn mark_overtaken(&mut self, place: u32) {
        let Some(slot) = &self.sms_slot else { return };
        let overtaken = slot.m.place();
        let same = self.message(place).is_some_and(|m| {
            m.content.conversation_id == slot.conversation
                && !m.content.kind.in_imdn_lane()
                && overtaken < place
        });
        if same && let Some(message) = self.message_mut(overtaken) {
            message.overtaken = true;
        }
    }

    fn climb(&mut self, rung: Option<Rung>, probing: Option<(u32, u32)>) {
        if rung == Some(Rung::Next) {
            self.ladder.rung = self.ladder.rung.saturating_add(1);
        }
        if rung.is_some() {
            self.ladder.next_at = None;
            self.ladder.kind = Rung::Next;
            self.ladder.only = None;
            self.ladder.resume_at = None;
            self.ladder.probing = probing;
        }
    }

    fn start_sms(&mut self, event: &Event) {
        let Event::AttemptStarted { m, n, what, at, deadline, rung, covers, .. } = event else {
            return;
        };
        let news = self.sms_news;
        let by_news = |last: Option<Timestamp>| last.is_none_or(|at| news.is_some_and(|n| n > at));
        let counts = |last| match rung {
            Some(Rung::Next | Rung::Same) => true,
            Some(Rung::Free) => false,
            None => !by_news(last),
        };
        let (mut conversation, mut key) = (None, 0);
        if let Some(message) = self.message_mut(m.place()) {
            conversation.clone_from(&message.content.conversation_id);
            key = key_digest(&message.content.from, &message.content.message_id);
            message.attempts = *n;
            if *what == What::Message {
                let tried = u32::from(counts(super::open::last_sms_at(message)));
                message.sms_tries = message.sms_tries.saturating_add(tried);
            }
            message.sms_log.push(SmsLog {
                number: *n,
                what: *what,
                asked_at: *at,
                ids: Vec::new(),
            });
            if message.sms_log.len() > MAX_SMS_LOG {
                message.sms_log.remove(0);
            }
        }
        if *what == What::Ucn {
            for place in std::iter::once(m.place()).chain(covers.iter().map(|m| m.place())) {
                if let Some(message) = self.message_mut(place) {
                    let tried = u32::from(counts(message.ucn.last_at));
                    message.ucn.tries = message.ucn.tries.saturating_add(tried);
                    message.ucn.last_at = Some(*at);
                    message.ucn.state = UcnState::InFlight;
                }
            }
            self.ucn_sent.push(*at);
        }
        self.climb(*rung, None);
        self.sms_slot = Some(SmsAttempt {
            m: m.clone(),
            key,
            conversation,
            what: *what,
            number: *n,
            asked_at: *at,
            deadline: *deadline,
            started_at: None,
            accepted_at: None,
            report_from: None,
            report: true,
            mms: false,
            rung: *rung,
        });
    }

    /// The legs of one attempt, of a message or of a copy.
    fn legs_mut(&mut self, place: u32, number: u32) -> impl Iterator<Item = &mut Leg> {
        let messages = self.messages.iter_mut().filter(move |m| m.place == place);
        let copies = self.owed.iter_mut().filter(move |owed| owed.place == place);
        messages
            .flat_map(|m| &mut m.legs)
            .chain(copies.flat_map(|owed| owed.to.iter_mut().filter_map(|to| to.leg.as_mut())))
            .filter(move |leg| leg.attempt == number)
    }

    fn end_leg(&mut self, event: &Event) {
        let Event::LegEnded { m, n, d, end, at, mark, counts, retry_after } = event else { return };
        let id = DeviceId::of(d);
        for leg in self.legs_mut(m.place(), *n).filter(|leg| leg.device == id) {
            leg.end = Some(*end);
            leg.started_at = leg.started_at.or(Some(*at));
            leg.retry_after = *retry_after;
        }
        for to in self.owed.iter_mut().filter(|o| o.place == m.place()).flat_map(|o| &mut o.to) {
            if to.device == id && to.leg.is_some_and(|leg| leg.attempt == *n) {
                to.leg = None;
                to.tries = to.tries.saturating_add(u32::from(*counts));
                if !matches!(
                    end,
                    LegEnd::Failed(Class::Busy | Class::Infrastructure | Class::Congestion)
                ) {
                    to.backoffs = 0;
                }
            }
        }
        if let Some(message) = self.message_mut(m.place()) {
            if *counts {
                match message.ip_tries.iter_mut().find(|(device, _)| *device == id) {
                    Some((_, tries)) => *tries = tries.saturating_add(1),
                    None => message.ip_tries.push((id, 1)),
                }
            }
            if *mark == Mark::Refused {
                message.refused_by.push(id);
            }
            if *end == LegEnd::Delivered {
                message.served.push(id);
            }
        }
        let Some(device) = self.device_mut(id) else { return };
        if *mark == Mark::Dropped {
            device.contact = None;
        }
        let Some(contact) = &mut device.contact else { return };
        if *mark == Mark::Suspect {
            contact.suspect = true;
        }
        if *end == LegEnd::Delivered {
            contact.answered_ok = true;
            let was_suspect = std::mem::take(&mut contact.suspect);
            if was_suspect {
                self.ip_since = Some(*at);
            }
        }
    }

    fn end_attempt(&mut self, event: &Event) {
        let Event::AttemptEnded { m, n, by, what, class } = event else { return };
        if *by == Access::Cpm {
            if self.ladder.probing == Some((m.place(), *n)) {
                self.ladder.probing = None;
            }
        } else {
            let asked_at = self.sms_slot.as_ref().map(|slot| slot.asked_at);
            if self.sms_slot.as_ref().is_some_and(|s| s.m.place() == m.place() && s.number == *n) {
                self.sms_slot = None;
            }
            if *what == What::Ucn {
                return self.end_ucn(*class, asked_at);
            }
        }
        let retried = matches!(class, Class::Busy | Class::Infrastructure | Class::Congestion);
        let Some(message) = self.message_mut(m.place()) else { return };
        message.last_cause = Some(*class);
        if *by == Access::Cpm {
            message.awaiting = message.awaiting.filter(|(number, _)| number != n);
            match class {
                Class::Infrastructure => message.ip_infra = message.ip_infra.saturating_add(1),
                Class::Congestion => {}
                Class::Absent
                | Class::MemoryFull
                | Class::Busy
                | Class::Declined
                | Class::Content
                | Class::Permanent
                | Class::Policy
                | Class::Unknown => message.ip_infra = 0,
            }
        } else {
            message.handed = message.handed.take().filter(|sms| sms.number != *n);
            message.ip_infra = 0;
            message.sms_ended |= !retried;
        }
        if !retried && *class != Class::Unknown {
            message.backoffs = 0;
            message.backoff = None;
        }
    }

    /// The notices that were under way end together.
    fn end_ucn(&mut self, class: Class, asked_at: Option<Timestamp>) {
        let retried = matches!(class, Class::Busy | Class::Infrastructure | Class::Congestion);
        for message in &mut self.messages {
            let ucn = &mut message.ucn;
            if ucn.state != UcnState::InFlight {
                continue;
            }
            ucn.ended |= !retried;
            if !retried {
                ucn.backoff = None;
                ucn.backoffs = 0;
            }
            ucn.state = match class {
                Class::Policy | Class::Content => UcnState::Failed,
                Class::Unknown => UcnState::Sent,
                Class::Absent
                | Class::MemoryFull
                | Class::Busy
                | Class::Congestion
                | Class::Infrastructure
                | Class::Declined
                | Class::Permanent => UcnState::Due,
            };
        }
        // P-25: one that failed does not count against the rate.
        if class != Class::Unknown
            && let Some(asked_at) = asked_at
        {
            self.ucn_sent.retain(|at| *at != asked_at);
        }
    }

    fn accept_sms(&mut self, event: &Event) {
        let Event::SmsAccepted { m, n, at, report, handed, mms, ids } = event else { return };
        if let Some(log) = self
            .message_mut(m.place())
            .and_then(|message| message.sms_log.iter_mut().find(|log| log.number == *n))
        {
            log.ids.clone_from(ids);
        }
        let Some(slot) = &mut self.sms_slot else { return };
        if slot.m.place() != m.place() || slot.number != *n {
            return;
        }
        slot.started_at = slot.started_at.or(Some(*at));
        slot.accepted_at = Some(*at);
        slot.report_from = Some(*at);
        slot.report = *report;
        slot.mms = *mms;
        if *handed {
            let sms = self.sms_slot.take();
            if sms.as_ref().is_some_and(|sms| sms.what == What::Ucn) {
                for message in &mut self.messages {
                    if message.ucn.state == UcnState::InFlight {
                        message.ucn.state = UcnState::Sent;
                    }
                }
            } else if let Some(message) = self.message_mut(m.place()) {
                message.handed = sms;
            }
        }
    }

    fn back_off(
        &mut self,
        place: u32,
        by: Access,
        what: What,
        device: Option<&str>,
        until: Timestamp,
    ) {
        match what {
            What::Message | What::Forward => {
                if let Some(message) = self.message_mut(place) {
                    message.backoff = Some((by, until));
                    message.backoffs = message.backoffs.saturating_add(1);
                }
            }
            What::Ucn => {
                for message in &mut self.messages {
                    let ucn = &mut message.ucn;
                    if ucn.state == UcnState::Due && message.place == place {
                        ucn.backoff = Some(until);
                        ucn.backoffs = ucn.backoffs.saturating_add(1);
                    }
                }
            }
            What::Copy => {
                let id = device.map(DeviceId::of);
                let owed = self.owed.iter_mut().filter(|owed| owed.place == place);
                for to in owed.flat_map(|owed| &mut owed.to).filter(|to| Some(to.device) == id) {
                    to.backoff = Some(until);
                    to.backoffs = to.backoffs.saturating_add(1);
                }
            }
        }
    }

    /// Running legs of the message become the copies of their devices.
    fn owe(&mut self, place: u32, to: &[Arc<str>], until: Timestamp) {
        let Some(message) = self.message(place) else { return };
        let to = to
            .iter()
            .map(|key| DeviceId::of(key))
            .map(|device| OwedTo {
                device,
                leg: message.leg(device).copied().filter(|leg| leg.end.is_none()),
                tries: 0,
                backoff: None,
                backoffs: 0,
            })
            .collect();
        let content = Arc::clone(&message.content);
        let attempts = message.attempts;
        self.owed.push(Owed { place, content, until, attempts, to });
    }

    fn remember(&mut self, ended: Remembered) {
        self.remembered.retain(|before| before.key != ended.key);
        if self.remembered.len() >= MAX_REMEMBERED {
            self.remembered.remove(0);
        }
        self.remembered.push(ended);
    }

    /// P-12: what was known of the phone was known of another one.
    fn drop_view(&mut self) {
        self.devices.clear();
        self.slots = [None; 3];
        self.sms_block = None;
        self.memory_full_step = 0;
        self.sms_news = None;
        self.episode = None;
        self.cancels.clear();
        self.ip_since = None;
        self.sms_slot = None;
        self.owed.clear();
        self.ladder = super::user::Ladder::default();
        for message in &mut self.messages {
            message.handed = None;
            message.awaiting = None;
            for leg in &mut message.legs {
                leg.end = leg.end.or(Some(LegEnd::Failed(Class::Unknown)));
            }
        }
    }

    /// The same user without what has aged out by `now`: no decision rests on it any more (L-11).
    #[must_use]
    pub fn forget(&self, now: Timestamp, policy: &Policy) -> Self {
        let mut user = self.clone();
        user.remembered.retain(|ended| now < ended.at + policy.terminal_keep);
        if user.messages.is_empty() && user.owed.is_empty() && user.sms_slot.is_none() {
            user.ucn_sent.retain(|at| now < *at + HOUR);
            // With no rung to come, when it was last armed is of no interest.
            if user.ladder.rung == 0 && user.ladder.resume_at.is_none() {
                user.ladder = super::user::Ladder::default();
            }
            // Whatever is older than this was clamped away when it was told, or is stale.
            let old = policy.attach_stale.max(policy.max_event_lag).max(HOUR) * 2;
            let gone = |at: Timestamp| at + old <= now;
            user.devices.retain(|device| {
                let bound = device.contact.as_ref();
                let expired = bound
                    .is_none_or(|contact| gone(contact.expires_at + policy.registration_grace));
                let known = device.bound_at.is_some_and(|at| now < at + KNOWN_FOR);
                let told = device.last.time + KNOWN_FOR > now;
                !expired || known || told
            });
            let stale =
                user.slots.iter().flatten().all(|slot| gone(slot.since) && gone(slot.stamp.time))
                    && user
                        .episode
                        .is_none_or(|episode| gone(episode.start) && gone(episode.deadline))
                    && user
                        .sms_block
                        .is_none_or(|block| gone(block.time) && block.until.is_none_or(&gone));
            if stale {
                user.slots = [None; 3];
                user.sms_block = None;
                user.memory_full_step = 0;
                user.episode = None;
                user.sms_news = None;
                user.cancels.clear();
                user.ip_since = None;
            }
        }
        user
    }

    /// Whether nothing is left that a decision could rest on: the user may be dropped (T-22, L-11).
    #[must_use]
    pub fn is_forgettable(&self, now: Timestamp, policy: &Policy) -> bool {
        if !self.messages.is_empty() || !self.owed.is_empty() || self.hold.is_some() {
            return false;
        }
        let left = self.forget(now, policy);
        Self { next_place: 0, ..left }.is_blank()
    }
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
        Change::Set(dnd) => prefs.dnd_until = dnd_until(dnd),
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

impl Slot {
    /// The slot as told attached, for tests and stories.
    #[must_use]
    pub fn attached(name: SlotName, at: Timestamp) -> (SlotName, Self) {
        let stamp = Stamp { time: at, there: true, ..Stamp::default() };
        (name, Self { state: SlotState::Attached, sms_capable: true, stamp, since: at })
    }
}
