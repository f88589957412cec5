//! What is open now: read from the state at an instant, never stored.
//!
//! Source: `rules.md` 3.6.0, "Openness", "Turn", "The ladder"; 1.7.

use super::event::{Access, BlockKind, LegEnd};
use super::input::{Action, What};
use super::message::{Content, Interwork, Kind};
use super::policy::{AccessSwitch, Policy};
use super::reachability::{DeviceId, SlotName, hash};
use super::time::Timestamp;
use super::user::{Contact, Deferred, Device, StoredRule, UcnState, User};

const HOUR: std::time::Duration = std::time::Duration::from_secs(3600);

/// A user's state as it reads at an instant, under a policy.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The state.
    pub user: &'a User,
    /// The policy.
    pub policy: &'a Policy,
    /// The wall clock of the step: past its life by it, a message gets no attempt (I-7).
    pub at: Timestamp,
    /// The instant up to which time has come: of an alarm its own, else `at`.
    pub now: Timestamp,
    /// The device that this very input bound: it takes no leg in this step (TM-7).
    pub fresh: Option<DeviceId>,
}

/// A conversation in its lane, for the turn.
type Conversation = (bool, u32);

fn conversation(content: &Content) -> Conversation {
    conversation_of(content.kind.in_imdn_lane(), content.conversation_id.as_deref())
}

fn conversation_of(imdn_lane: bool, id: Option<&str>) -> Conversation {
    (imdn_lane, id.map_or(0, hash))
}

impl<'a> View<'a> {
    // --- the phone ---------------------------------------------------------------------------

    /// Why SMS is shut now; an `until` that is past counts as none (P-15).
    #[must_use]
    pub fn block(&self) -> Option<BlockKind> {
        let block = self.user.sms_block?;
        let until = block.until.unwrap_or(block.time + self.policy.attach_stale);
        (self.now < until).then_some(block.kind)
    }

    /// Whether a phone is attached where SMS works, and nothing says that it did not answer.
    #[must_use]
    pub fn sms_possible(&self) -> bool {
        self.block() != Some(BlockKind::Absent)
            && SlotName::ALL
                .iter()
                .any(|slot| self.user.slot(*slot).takes_sms(self.now, self.policy.attach_stale))
    }

    /// Bound now, grace included.
    #[must_use]
    pub fn bound(&self, device: &'a Device) -> Option<&'a Contact> {
        let contact = device.contact.as_ref()?;
        (self.now < contact.expires_at + self.policy.registration_grace).then_some(contact)
    }

    /// The devices that are bound now.
    pub fn contacts(&self) -> impl Iterator<Item = (&'a Device, &'a Contact)> + use<'a> {
        let view = *self;
        self.user.devices.iter().filter_map(move |device| Some((device, view.bound(device)?)))
    }

    /// The device that holds the SIM, if that can be told (P-17).
    #[must_use]
    pub fn primary(&self) -> Option<DeviceId> {
        if let Some(told) = self.user.devices.iter().find(|device| device.primary) {
            return Some(told.id);
        }
        let only = |mut devices: Box<dyn Iterator<Item = &'a Device> + 'a>| {
            let first = devices.next()?;
            devices.next().is_none().then_some(first.id)
        };
        let view = *self;
        only(Box::new(view.contacts().map(|(device, _)| device).filter(|d| d.name.is_imei())))
            .or_else(|| only(Box::new(view.contacts().map(|(device, _)| device))))
    }

    /// Whether a client takes a message of this kind; one that nobody told about does.
    pub(super) fn capable(contact: &Contact, kind: Kind) -> bool {
        contact.may_take_cpm() && contact.caps.is_none_or(|caps| !caps.any_cpm() || caps.take(kind))
    }

    /// The preference rule that excludes this client, if one does (8a, A-47).
    pub(super) fn excluding(&self, contact: &Contact, content: &Content) -> Option<&'a StoredRule> {
        let (prefs, profile) = (self.user.prefs.as_ref()?, contact.profile.as_ref()?);
        prefs.rules.iter().find(|rule| {
            rule.profiles.contains(profile)
                && rule.actions.contains(&Action::AllowRejectInvite)
                && self.conditions_hold(rule, content)
        })
    }

    /// Whether the conditions of a rule hold, its profiles aside.
    #[must_use]
    pub fn conditions_hold(&self, rule: &StoredRule, content: &Content) -> bool {
        (rule.kinds.is_empty() || rule.kinds.contains(&content.kind))
            && rule.senders.as_ref().is_none_or(|senders| senders.mean(&content.from))
            && (!rule.other_identity || !self.is_named(&content.from))
            && (!rule.anonymous_request || content.is_anonymous())
            && rule.valid_from.is_none_or(|from| from <= self.now)
            && rule.valid_until.is_none_or(|until| self.now < until)
    }

    /// Whether a rule of the user's names this sender, whatever else it asks for.
    fn is_named(&self, sender: &str) -> bool {
        let mut rules = self.user.prefs.iter().flat_map(|prefs| &prefs.rules);
        rules.any(|rule| rule.senders.as_ref().is_some_and(|senders| senders.mean(sender)))
    }

    /// The rules that match this message, in order; those with profiles match no message.
    pub fn matching(&self, content: &'a Content) -> impl Iterator<Item = &'a StoredRule> + use<'a> {
        let view = *self;
        self.user
            .prefs
            .iter()
            .flat_map(|prefs| &prefs.rules)
            .filter(move |rule| rule.profiles.is_empty() && view.conditions_hold(rule, content))
    }

    /// SEED4-6 to 9 for a bound contact: it can, may, and has neither refused nor taken it.
    #[must_use]
    pub fn suitable(&self, device: &Device, contact: &Contact, m: &Deferred) -> bool {
        Self::capable(contact, m.content.kind)
            && !m.refused_by.contains(&device.id)
            && !m.served.contains(&device.id)
            && self.excluding(contact, &m.content).is_none()
    }

    // --- IP ----------------------------------------------------------------------------------

    /// Whether an IP back-off of any message runs.
    #[must_use]
    pub fn ip_backing_off(&self) -> bool {
        self.user.messages.iter().any(|m| self.backs_off(m, Access::Cpm))
    }

    fn backs_off(&self, m: &Deferred, access: Access) -> bool {
        m.backoff.is_some_and(|(by, until)| by == access && self.now < until)
    }

    /// Whether its SMS is out: in the slot, or handed over. A UCN is none of it (P-2).
    #[must_use]
    pub fn sms_running(&self, m: &Deferred) -> bool {
        m.handed.is_some()
            || self
                .user
                .sms_slot
                .as_ref()
                .is_some_and(|slot| slot.m.place() == m.place && slot.what == What::Message)
    }

    /// `ip_may` of 3.6.0, all but the user's back-off, which is the same for every message.
    fn ip_may_but_backoff(&self, m: &Deferred) -> bool {
        m.is_live()
            && self.at < m.expires_at
            && self.policy.access_cpm != AccessSwitch::Off
            && (m.interwork == Interwork::Also || !self.sms_running(m))
            && (m.interwork != Interwork::Only || self.sms_closed(m))
    }

    /// Whether IP is allowed to carry it now, whoever may be there.
    #[must_use]
    pub fn ip_may(&self, m: &Deferred) -> bool {
        self.ip_may_but_backoff(m) && !self.ip_backing_off()
    }

    /// Whether this contact is a way for the message, settled or not.
    #[must_use]
    pub fn way(&self, device: &Device, contact: &Contact, m: &Deferred) -> bool {
        let leg_in_use = m.leg(device.id).is_some_and(|leg| {
            // Nor while its attempt is open: what follows from its answer is decided at the close.
            m.legs.iter().any(|other| other.attempt == leg.attempt && other.end.is_none())
                || (m.awaiting.is_some() && leg.end == Some(LegEnd::Accepted))
        });
        !contact.suspect
            && !leg_in_use
            && m.tries(device.id) < self.policy.ip_attempts_per_episode
            && self.suitable(device, contact, m)
    }

    /// Whether a contact takes legs in this step.
    fn takes_legs(&self, device: &Device, contact: &Contact) -> bool {
        contact.settled_at <= self.now
            && (self.fresh != Some(device.id) || contact.settled_at <= self.user.looked)
    }

    /// The contacts that take a leg of this message now.
    pub fn open_contacts(&self, m: &'a Deferred) -> impl Iterator<Item = &'a Device> + use<'a> {
        let view = *self;
        self.contacts()
            .filter(move |(device, contact)| {
                view.takes_legs(device, contact) && view.way(device, contact, m)
            })
            .map(|(device, _)| device)
    }

    /// Whether a suitable contact takes a leg of it now.
    #[must_use]
    pub fn ip_open(&self, m: &Deferred) -> bool {
        self.some_way(m, |view, device, contact| view.takes_legs(device, contact)) && self.ip_may(m)
    }

    /// Whether one will when it has settled.
    #[must_use]
    pub fn settling(&self, m: &Deferred) -> bool {
        self.some_way(m, |view, device, contact| !view.takes_legs(device, contact))
            && self.ip_may(m)
    }

    fn some_way(&self, m: &Deferred, also: impl Fn(&Self, &Device, &Contact) -> bool) -> bool {
        self.contacts()
            .any(|(device, contact)| also(self, device, contact) && self.way(device, contact, m))
    }

    // --- SMS ---------------------------------------------------------------------------------

    /// Whether SMS will not carry it as things stand, so that `only` may go by IP.
    #[must_use]
    pub fn sms_closed(&self, m: &Deferred) -> bool {
        self.policy.access_sms == AccessSwitch::Off
            || self.user.msisdn().is_none()
            || matches!(self.block(), Some(BlockKind::Barred | BlockKind::NotCapable))
            || m.sms_refused
            || !m.interworkable
    }

    /// No SMS of it, or UCN, has ended yet otherwise than busy, infra or congestion (P-2).
    #[must_use]
    pub fn first_sms(&self, m: &Deferred) -> bool {
        m.interwork != Interwork::Fallback && !m.sms_ended && !m.ucn.ended
    }

    /// Whether UCNs may go within the hour's rate.
    #[must_use]
    pub fn ucn_within_rate(&self) -> bool {
        let recent = self.user.ucn_sent.iter().filter(|at| self.now < **at + HOUR).count();
        recent < self.policy.ucn_per_user_per_hour as usize
    }

    /// When the rate lets the next one go.
    #[must_use]
    pub fn ucn_rate_until(&self) -> Option<Timestamp> {
        if self.ucn_within_rate() {
            return None;
        }
        let ends = self.user.ucn_sent.iter().map(|at| *at + HOUR);
        ends.filter(|end| self.now < *end).min()
    }

    /// What an SMS of it would carry now, its rate aside.
    #[must_use]
    pub fn sms_what(&self, m: &Deferred) -> Option<What> {
        if m.interworkable && m.parked.is_none() {
            Some(What::Message)
        } else if m.ucn.state == UcnState::Due {
            Some(What::Ucn)
        } else {
            None
        }
    }

    /// Whether a back-off keeps SMS from this user: an SMS's always does, an IP one until infra has
    /// failed often enough, or its message is parked (T-7b).
    #[must_use]
    pub fn sms_backing_off(&self) -> bool {
        self.user.messages.iter().any(|m| {
            let by_ip = self.backs_off(m, Access::Cpm)
                && m.ip_infra < self.policy.infra_failures_before_sms
                && m.parked.is_none();
            by_ip
                || self.backs_off(m, Access::Sms)
                || m.ucn.backoff.is_some_and(|until| self.now < until)
        })
    }

    /// Whether news came since then.
    fn news_since(&self, last: Option<Timestamp>) -> bool {
        match (self.user.sms_news, last) {
            (Some(news), Some(last)) => news > last,
            (_, None) => true,
            (None, Some(_)) => false,
        }
    }

    fn tries_left(&self, m: &Deferred, what: What) -> bool {
        if what == What::Ucn {
            m.ucn.tries < self.policy.sms_attempts || self.news_since(m.ucn.last_at)
        } else {
            m.sms_tries < self.policy.sms_attempts || self.news_since(last_sms_at(m))
        }
    }

    /// `sms_open` of 3.6.0, the back-offs and the UCN rate aside.
    fn sms_open_but(&self, m: &Deferred) -> Option<What> {
        let what = self.sms_what(m)?;
        let open = m.is_live()
            && self.at < m.expires_at
            && self.policy.access_sms != AccessSwitch::Off
            && self.user.msisdn().is_some()
            && !m.sms_refused
            && !self.sms_running(m)
            && self.block().is_none()
            && (self.sms_possible() || self.first_sms(m))
            && self.tries_left(m, what);
        open.then_some(what)
    }

    /// What SMS may carry of it now.
    #[must_use]
    pub fn sms_open(&self, m: &Deferred) -> Option<What> {
        let what = self.sms_open_but(m)?;
        let open = !self.sms_backing_off() && (what == What::Message || self.ucn_within_rate());
        open.then_some(what)
    }

    /// From when an SMS of it is due; with no episode the deadline is past.
    #[must_use]
    pub fn sms_due(&self, m: &Deferred) -> Timestamp {
        let episode = self.user.episode;
        if self.first_sms(m) {
            m.accepted_at
        } else if m.interwork == Interwork::Only {
            episode.map_or(Timestamp::EPOCH, |episode| episode.start)
        } else {
            episode.map_or(Timestamp::EPOCH, |episode| episode.deadline)
        }
    }

    // --- turns -------------------------------------------------------------------------------

    /// When the messages behind the SMS outstanding may go by IP.
    #[must_use]
    pub fn hold_until(&self) -> Option<Timestamp> {
        let slot = self.user.sms_slot.as_ref().filter(|slot| slot.what == What::Message)?;
        let from = slot.asked_at.max(self.user.ip_since.unwrap_or(slot.asked_at));
        Some(from + self.policy.sms_hold)
    }

    /// The messages of one lane that are open for this access and have their turn, in order.
    ///
    /// One pass: each conversation remembers who is in the way of those after it.
    #[must_use]
    pub fn in_turn(&self, access: Access, imdn_lane: bool) -> Vec<&'a Deferred> {
        let of_lane = |m: &Deferred| m.content.kind.in_imdn_lane() == imdn_lane && m.is_live();
        if !self.user.messages.iter().any(of_lane) {
            return Vec::new();
        }
        let (ip_backing_off, sms_backing_off) = (self.ip_backing_off(), self.sms_backing_off());
        let mut in_the_way: Vec<(Conversation, u32)> = self
            .user
            .messages
            .iter()
            .filter(|m| m.has_running_leg())
            .map(|m| (conversation(&m.content), m.place))
            .collect();
        // No SMS is of the IMDN lane, and the lanes do not wait for one another.
        if let Some(slot) = &self.user.sms_slot
            && slot.what == What::Message
            && !imdn_lane
            && (access == Access::Sms || self.hold_until().is_some_and(|until| self.now < until))
        {
            let conversation = conversation_of(imdn_lane, slot.conversation.as_deref());
            in_the_way.push((conversation, slot.m.place()));
        }
        let mut chosen = Vec::new();
        for m in &self.user.messages {
            if !of_lane(m) {
                continue;
            }
            let mine = conversation(&m.content);
            let free = !in_the_way.iter().any(|(c, place)| *c == mine && *place != m.place);
            let (open, settling) = match access {
                Access::Cpm if ip_backing_off || !self.ip_may_but_backoff(m) => (false, false),
                Access::Cpm => (
                    self.some_way(m, |view, device, contact| view.takes_legs(device, contact)),
                    self.some_way(m, |view, device, contact| !view.takes_legs(device, contact)),
                ),
                Access::Sms => {
                    let what = self.sms_open_but(m).filter(|_| !sms_backing_off);
                    let open =
                        what.is_some_and(|what| what == What::Message || self.ucn_within_rate());
                    (open, false)
                }
            };
            let backs_off = self.backs_off(m, Access::Cpm) || self.backs_off(m, Access::Sms);
            // A further leg of a message already running needs no turn.
            if open && (free || (access == Access::Cpm && m.has_running_leg())) {
                chosen.push(m);
            }
            if open || settling || backs_off {
                in_the_way.push((mine, m.place));
            }
        }
        chosen
    }

    /// The messages an SMS may start for, in order: open, in turn, and with no IP for it, but for the
    /// first SMS of an `also`, which goes beside IP (step 4).
    #[must_use]
    pub fn sms_candidates(&self) -> Vec<&'a Deferred> {
        if self.user.sms_slot.is_some() || self.policy.access_sms != AccessSwitch::On {
            return Vec::new();
        }
        let mut candidates = self.in_turn(Access::Sms, false);
        candidates
            .retain(|m| (m.interwork == Interwork::Also && self.first_sms(m)) || !self.by_ip(m));
        candidates
    }

    /// Whether IP is open, settling or running for it.
    #[must_use]
    pub fn by_ip(&self, m: &Deferred) -> bool {
        m.ip_running() || self.ip_open(m) || self.settling(m)
    }

    /// How many messages and copies run by IP: what the pipeline counts (P-1, P-3).
    #[must_use]
    pub fn running_by_ip(&self) -> usize {
        self.user.messages.iter().filter(|m| m.has_running_leg()).count()
            + self.user.owed.iter().filter(|owed| owed.to.iter().any(|to| to.leg.is_some())).count()
    }

    // --- copies ------------------------------------------------------------------------------

    /// The devices that take their copy of this message now, in order after all else (R-18, P-3).
    #[must_use]
    pub fn copies_open(&self, at: usize) -> Vec<&'a Device> {
        let Some(owed) = self.user.owed.get(at) else { return Vec::new() };
        let undisturbed = self.user.prefs.as_ref().is_some_and(|prefs| prefs.undisturbed(self.now));
        if self.at >= owed.until
            || undisturbed
            || self.user.hold.is_some()
            || self.policy.access_cpm != AccessSwitch::On
            || self.ip_backing_off()
        {
            return Vec::new();
        }
        let mine = conversation(&owed.content);
        let takes = |device: &Device| {
            let earlier_in_flight = self.user.owed.iter().enumerate().any(|(other, copy)| {
                conversation(&copy.content) == mine
                    && copy
                        .to
                        .iter()
                        .any(|to| to.device == device.id && (to.leg.is_some() || other < at))
            });
            let backing_off = self.user.owed.iter().flat_map(|copy| &copy.to).any(|to| {
                to.device == device.id && to.backoff.is_some_and(|until| self.now < until)
            });
            !earlier_in_flight && !backing_off
        };
        self.contacts()
            .filter(|(device, contact)| {
                self.takes_legs(device, contact)
                    && self.copy_way(&owed.content, contact)
                    && owed.to.iter().any(|to| {
                        to.device == device.id
                            && to.leg.is_none()
                            && to.tries < self.policy.ip_attempts_per_episode
                    })
                    && takes(device)
            })
            .map(|(device, _)| device)
            .collect()
    }

    /// Whether this contact can take a copy of this content, settled or not.
    fn copy_way(&self, content: &Content, contact: &Contact) -> bool {
        !contact.suspect
            && Self::capable(contact, content.kind)
            && self.excluding(contact, content).is_none()
    }

    // --- the ladder --------------------------------------------------------------------------

    /// Whether the ladder should be armed: something waits, nothing is under way or foreseen, and a
    /// rung would have something to send.
    #[must_use]
    pub fn ladder_wanted(&self) -> bool {
        let foreseen = self.user.sms_slot.is_some()
            || self.user.messages.iter().any(|m| {
                m.ip_running()
                    || m.backoff.is_some_and(|(_, until)| self.now < until)
                    || m.ucn.backoff.is_some_and(|until| self.now < until)
            });
        if foreseen || !self.user.messages.iter().any(Deferred::is_live) {
            return false;
        }
        let waits = |m: &Deferred| {
            self.ip_open(m)
                || self.settling(m)
                || (self.sms_open_but(m) == Some(What::Ucn) && !self.ucn_within_rate())
        };
        !self.user.messages.iter().any(waits)
            && self.sms_candidates().is_empty()
            && (self.rung_by_ip().is_some() || self.rung_by_sms(None).is_some())
    }

    /// The message and the contacts that a rung would try by IP: those we had given up.
    #[must_use]
    pub fn rung_by_ip(&self) -> Option<(&'a Deferred, Vec<&'a Device>)> {
        if self.policy.access_cpm != AccessSwitch::On {
            return None;
        }
        self.user.messages.iter().find_map(|m| Some((m, self.given_up(m)?)))
    }

    /// The suitable contacts of a message that are Suspect or used up, if there are any.
    #[must_use]
    pub fn given_up(&self, m: &Deferred) -> Option<Vec<&'a Device>> {
        let devices: Vec<&Device> = self
            .contacts()
            .filter(|(device, contact)| {
                let used_up = m.tries(device.id) >= self.policy.ip_attempts_per_episode;
                let free = m.leg(device.id).is_none_or(|leg| leg.end.is_some());
                (contact.suspect || used_up) && free && self.suitable(device, contact, m)
            })
            .map(|(device, _)| device)
            .collect();
        (!devices.is_empty() && self.ip_may(m)).then_some(devices)
    }

    /// What a rung would send by SMS: of `only` this message, or of the first that can.
    #[must_use]
    pub fn rung_by_sms(&self, only: Option<u32>) -> Option<(&'a Deferred, What)> {
        let shut = !matches!(self.block(), None | Some(BlockKind::Absent));
        if self.policy.access_sms != AccessSwitch::On
            || self.user.msisdn().is_none()
            || self.user.sms_slot.is_some()
            || shut
        {
            return None;
        }
        self.user
            .messages
            .iter()
            .filter(|m| only.is_none_or(|place| place == m.place))
            .filter(|m| m.is_live() && self.at < m.expires_at && m.handed.is_none())
            .find_map(|m| {
                let what = self.sms_what(m)?;
                let may = !m.sms_refused
                    && match what {
                        What::Ucn => {
                            self.ucn_within_rate() && m.ucn.tries < self.policy.sms_attempts
                        }
                        What::Message | What::Copy | What::Forward => {
                            only.is_some() || m.sms_tries < self.policy.sms_attempts
                        }
                    };
                // I-6: a rung by hand waits for no IP either, and does not go beside it.
                (may && !(m.interwork == Interwork::Fallback && self.by_ip(m))).then_some((m, what))
            })
    }
}

/// When the last SMS of the message itself was commanded.
pub(super) fn last_sms_at(m: &Deferred) -> Option<Timestamp> {
    m.sms_log.iter().rev().find(|log| log.what == What::Message).map(|log| log.asked_at)
}
