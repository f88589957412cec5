//! From a state and a fact to what follows: the step.
//!
//! Source: `rules.md` 3.6.0, which is normative. `decide` calls the function of the input (step 1 and
//! 2), then IP (3), then SMS (4), then the ladder (5), each on the state that the events before it
//! leave. One file an input; what may *start* because of it stands here, once for all inputs.

mod armed;
mod delivery_outcome;
mod ended;
#[cfg(test)]
mod given;
mod imdn_received;
mod ims;
mod legs;
mod message_submitted;
mod operator;
mod preferences_changed;
mod slots;
mod sms_report;
mod timer_fired;
mod wake;

use std::sync::Arc;

pub use armed::{Armed, Timer};

use super::command::Command;
use super::event::{Access, Event, MessageRef, Rung, Trigger};
use super::input::{Fact, Input, What};
use super::message::Content;
use super::open::View;
use super::policy::{AccessSwitch, FirstTry, Policy};
use super::reachability::DeviceId;
use super::time::Timestamp;
use super::user::{Deferred, Device, User, key_digest};

/// Events of one step, at most. What is left is due at once (`engines`' bound on a record).
const MAX_EVENTS: usize = 256;
/// From here on a step takes up nothing new, so that what it began still fits.
const ENOUGH_EVENTS: usize = 200;

/// Messages of one id that one input is about, the oldest first (P-19). Honest senders share none, and
/// a flood of them must not pass the bound on events.
const MOST_OF_ONE_ID: usize = 48;

/// Why an input changed nothing. Counted by its words, kept in the journal, shown by `why`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Ignored {
    /// A fact not newer than what it would change.
    #[error("not newer than what is known")]
    NotNewer,
    /// A fact too old to say anything about now (TM-2).
    #[error("too old to be evidence")]
    TooOld,
    /// It says what is known already.
    #[error("nothing new in it")]
    NoChange,
    /// An alarm that found nothing due (TM-1).
    #[error("nothing is due")]
    NotDue,
    /// The same submission again (T-24).
    #[error("submitted before")]
    Duplicate,
    /// The same id with another body, or for a message handled otherwise (T-24, T-29).
    #[error("conflict: the same id, another message")]
    Conflict,
    /// The message has ended (I-2).
    #[error("message is in its final state")]
    Final,
    /// No such message or attempt.
    #[error("no such message or attempt")]
    Orphan,
    /// The attempt is over; what it says now only annotates.
    #[error("about an attempt that is over")]
    Late,
    /// A person's hand that cannot do what it wants (P-14).
    #[error("cannot be retried now: {0}")]
    NotNow(NotNow),
}

/// Why a retry by hand is refused (P-14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotNow {
    /// An attempt of it runs.
    #[error("an attempt of it runs")]
    Running,
    /// Something holds it.
    #[error("it is held")]
    Held,
    /// Its life is over.
    #[error("its lifetime is over")]
    Expired,
    /// IP is open to it, or about to be (I-6).
    #[error("IP is open to it, and goes first")]
    IpFirst,
    /// There is one SMS at a time.
    #[error("another SMS of the user is outstanding")]
    SlotTaken,
    /// No contact to try, and SMS is closed to it.
    #[error("no contact to try, and SMS is closed to it")]
    NoWay,
}

/// What follows from `input`, in order; the state is what [`User::evolve`] makes of it.
///
/// Pure: no clock, no chance. `at` is when the input is decided, by the journal.
///
/// # Errors
///
/// [`Ignored`]: the input changes nothing.
pub fn decide(
    user: &User,
    input: &Input<'_>,
    at: Timestamp,
    policy: &Policy,
) -> Result<Vec<Event>, Ignored> {
    step(&mut user.clone(), input, at, policy).map(|decided| decided.events)
}

/// What a step decided: its events, and what they ask of others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decided {
    /// What moved the state, in order.
    pub events: Vec<Event>,
    /// The commands of the events, each on the state after its event (L-6).
    pub commands: Vec<Command>,
}

/// [`decide`], moving `user` by the events as they come; where it is an error, not at all.
///
/// # Errors
///
/// As [`decide`].
///
/// # Panics
///
/// Where a step says more than `MAX_EVENTS` things: the journal could not hold it.
pub fn step(
    user: &mut User,
    input: &Input<'_>,
    at: Timestamp,
    policy: &Policy,
) -> Result<Decided, Ignored> {
    let timer = input.fact == Fact::TimerFired;
    // A look never goes back behind an earlier one (TM-1).
    let now = if timer { input.told.time.max(user.looked).min(at) } else { at };
    let mut step = Step {
        rung_waits: user.ladder.next_at,
        user,
        policy,
        told: input.told,
        at,
        now,
        fresh: None,
        timer,
        cut_short: false,
        rung_goes_on: false,
        probed: None,
        moved: None,
        first_try: false,
        stored_notice: None,
        events: Vec::new(),
        commands: Vec::new(),
    };
    step.take_in(&input.fact)?;
    if step.events.is_empty() && !timer {
        return Err(Ignored::NoChange);
    }
    if !step.cut_short {
        step.start_ip();
        step.start_copies();
        step.start_sms();
        step.tell_stored();
        step.keep_ladder();
    }
    assert!(step.events.len() <= MAX_EVENTS, "{} events in one step", step.events.len());
    if step.events.is_empty() {
        return Err(Ignored::NotDue);
    }
    Ok(Decided { events: step.events, commands: step.commands })
}

/// A step under way: the state as the events so far have left it.
struct Step<'a> {
    user: &'a mut User,
    policy: &'a Policy,
    told: super::input::Told,
    at: Timestamp,
    now: Timestamp,
    fresh: Option<DeviceId>,
    timer: bool,
    /// The bound on events was reached: the rest is due at once.
    cut_short: bool,
    /// When the rung was due before this step began: none fires that its own step armed.
    rung_waits: Option<Timestamp>,
    /// The rung found nobody by IP and goes on by SMS.
    rung_goes_on: bool,
    /// The attempt that was a rung by IP, when this step ended it.
    probed: Option<(u32, u32)>,
    /// The newest reachability transition of this step: what resets the ladder.
    moved: Option<Timestamp>,
    /// A submission that may try SMS at once (T-2b).
    first_try: bool,
    /// A message just accepted, whose sender may hear that it waits (IMDN-7).
    stored_notice: Option<u32>,
    events: Vec<Event>,
    commands: Vec<Command>,
}

impl Step<'_> {
    fn emit(&mut self, event: Event) {
        self.user.evolve(&event);
        self.commands.extend(Command::of(self.user, &event, self.policy));
        self.events.push(event);
    }

    /// When the fact was observed, as far as deadlines may count from it (TM-2), and not after now.
    fn observed(&self) -> Timestamp {
        if self.timer { self.now } else { self.told.clamped(self.policy).min(self.at) }
    }

    fn view(&self) -> View<'_> {
        let Self { policy, at, now, fresh, .. } = *self;
        View { user: self.user, policy, at, now, fresh }
    }

    /// A reachability transition happened: a contact bound, lost, suspected or cleared; a slot that
    /// changed; SMS news.
    fn moved(&mut self, at: Timestamp) {
        self.moved = Some(self.moved.map_or(at, |before| before.max(at)));
    }

    /// Steps 1 and 2: what the fact changes.
    fn take_in(&mut self, fact: &Fact<'_>) -> Result<(), Ignored> {
        match fact {
            Fact::MessageSubmitted(submission) => self.message_submitted(submission),
            Fact::MessageRevokeRequested(request) => self.message_revoke_requested(request),
            Fact::MessageHandled(handled) => self.message_handled(handled),
            Fact::MessageCancelled(hand) => self.message_cancelled(hand),
            Fact::MessageRetryRequested(hand) => self.message_retry_requested(hand),
            Fact::MessageExpireRequested(hand) => self.message_expire_requested(hand),
            Fact::UserHeld(hand) => self.user_held(hand),
            Fact::UserReleased(_) => self.user_released(),
            Fact::PreferencesChanged(change) => self.preferences_changed(change),
            Fact::IdentityChanged(change) => self.identity_changed(change),
            Fact::UserPurged(_) => self.user_purged(),
            Fact::ImsRegistered(registered) => self.ims_registered(registered),
            Fact::ImsDeregistered(gone) => self.ims_deregistered(gone),
            Fact::CsAttached(attach) => self.attached(super::reachability::SlotName::Cs, attach),
            Fact::PsAttached(attach) => self.attached(super::reachability::SlotName::Ps, attach),
            Fact::CsDetached(_) => self.detached(super::reachability::SlotName::Cs),
            Fact::PsDetached(_) => self.detached(super::reachability::SlotName::Ps),
            Fact::SmsReady(ready) => self.sms_ready(ready),
            Fact::DeliveryOutcome(outcome) => self.delivery_outcome(outcome),
            Fact::SmsDelivered(report) => self.sms_delivered(report),
            Fact::SmsDelayed(report) => self.sms_delayed(report),
            Fact::SmsFailed(report) => self.sms_failed(report),
            Fact::ImdnReceived(imdn) => self.imdn_received(imdn),
            Fact::StorageOutcome(outcome) => self.storage_outcome(outcome),
            Fact::TimerFired => self.timer_fired(),
        }
    }

    /// Step 3: each message in its turn gets a leg to every open contact.
    fn start_ip(&mut self) {
        if self.policy.access_cpm != AccessSwitch::On {
            return;
        }
        for imdn_lane in [false, true] {
            let places: Vec<u32> =
                self.view().in_turn(Access::Cpm, imdn_lane).iter().map(|m| m.place).collect();
            for place in places {
                let Some(m) = self.user.message(place) else { continue };
                let room = self.view().running_by_ip() < self.policy.ip_pipeline as usize;
                if !room && !m.has_running_leg() {
                    continue;
                }
                let to = self.view().open_contacts(m).map(key).collect();
                self.start(place, Access::Cpm, What::Message, to, None);
            }
        }
    }

    /// Step 3, last: copies owed to devices that take them now.
    fn start_copies(&mut self) {
        for at in 0..self.user.owed.len() {
            if self.view().running_by_ip() >= self.policy.ip_pipeline as usize
                || self.events.len() > ENOUGH_EVENTS
            {
                return;
            }
            let to: Vec<Arc<str>> = self.view().copies_open(at).into_iter().map(key).collect();
            let Some(owed) = self.user.owed.get(at).filter(|_| !to.is_empty()) else { continue };
            let event = Event::AttemptStarted {
                m: MessageRef(owed.place, Arc::clone(&owed.content.message_id)),
                n: owed.attempts.saturating_add(1),
                by: Access::Cpm,
                what: What::Copy,
                at: self.at,
                deadline: self.at + self.policy.start_within,
                to,
                rung: None,
                tried: 0,
                late: false,
                covers: Vec::new(),
                target: None,
            };
            self.emit(event);
        }
    }

    /// Step 4: in the step of an alarm, the first message whose SMS is due (TM-7).
    fn start_sms(&mut self) {
        if !self.timer {
            return;
        }
        let view = self.view();
        let due = view.sms_candidates().into_iter().find(|m| view.sms_due(m) <= self.now);
        let Some((place, what)) = due.and_then(|m| Some((m.place, view.sms_open(m)?))) else {
            return;
        };
        self.start(place, Access::Sms, what, Vec::new(), None);
    }

    /// Step 5: the ladder is kept, armed or dropped, and climbed where its time has come.
    fn keep_ladder(&mut self) {
        if self.user.messages.is_empty() {
            return self.end_ladder();
        }
        let armed_at = self.user.ladder.armed_at;
        let moved =
            self.moved.is_some_and(|moved| armed_at.is_none_or(|armed_at| moved >= armed_at));
        let ladder = &self.user.ladder;
        if moved && (ladder.rung > 0 || ladder.next_at.is_some() || ladder.resume_at.is_some()) {
            self.emit(Event::LadderReset {});
        }
        if self.climb_for_one() {
            return;
        }
        let wanted = self.view().ladder_wanted();
        if !wanted {
            if self.user.ladder.next_at.is_some() {
                self.emit(Event::LadderDropped {});
            }
            return;
        }
        let ladder = self.user.ladder;
        if self.rung_goes_on && self.view().rung_by_sms(None).is_some() {
            self.arm(self.at, Rung::Same);
        } else if self.first_try && self.may_try_first() {
            self.arm(self.at, Rung::Free);
        } else if ladder.next_at.is_none() {
            let next = self.at + self.policy.absent_retry(ladder.rung);
            self.arm(ladder.resume_at.unwrap_or(next), Rung::Next);
        } else if self.timer
            && ladder.next_at == self.rung_waits
            && ladder.next_at.is_some_and(|next| next <= self.now)
        {
            self.climb(ladder.kind);
        }
    }

    /// T-22, L-11: with the last message the ladder ends, rung and all, for nothing of it may outlive
    /// what a user is remembered by.
    fn end_ladder(&mut self) {
        if self.user.ladder.next_at.is_some() {
            self.emit(Event::LadderDropped {});
        }
        if self.user.ladder.rung > 0 || self.user.ladder.resume_at.is_some() {
            self.emit(Event::LadderReset {});
        }
    }

    fn arm(&mut self, next: Timestamp, rung: Rung) {
        let event = Event::LadderArmed { at: self.at, next, rung, only: None };
        self.emit(event);
    }

    /// T-2b: nobody knows of the phone, and an SMS may find out.
    fn may_try_first(&self) -> bool {
        self.policy.first_try == FirstTry::Sms
            && !self.view().sms_possible()
            && self.view().block().is_none()
            && self.view().rung_by_sms(None).is_some()
    }

    /// A person's retry waits for its alarm; nothing else moves it. Whether one waits, or goes.
    fn climb_for_one(&mut self) -> bool {
        let Some(only) = self.user.ladder.only else { return false };
        let due = self.user.ladder.next_at.is_some_and(|next| next <= self.now);
        if !(self.timer && due) {
            return true;
        }
        match self.view().rung_by_sms(Some(only)).map(|(m, what)| (m.place, what)) {
            Some((place, what)) => {
                self.start(place, Access::Sms, what, Vec::new(), Some(Rung::Free));
                true
            }
            None => {
                self.emit(Event::LadderDropped {});
                false
            }
        }
    }

    /// A rung: the head only, once; by IP to contacts we had given up, else by SMS.
    fn climb(&mut self, rung: Rung) {
        if rung == Rung::Next
            && let Some((m, devices)) = self.view().rung_by_ip()
        {
            let (place, to) = (m.place, devices.into_iter().map(key).collect());
            return self.start(place, Access::Cpm, What::Message, to, Some(rung));
        }
        if let Some((m, what)) = self.view().rung_by_sms(None) {
            let place = m.place;
            self.start(place, Access::Sms, what, Vec::new(), Some(rung));
        }
    }

    /// Starts an attempt: the next number, a deadline for the gateway.
    fn start(&mut self, place: u32, by: Access, what: What, to: Vec<Arc<str>>, rung: Option<Rung>) {
        let Some(m) = self.user.message(place) else { return };
        if by == Access::Cpm && to.is_empty() {
            return;
        }
        let tried = match by {
            Access::Cpm if rung.is_some() => self.policy.ip_attempts_per_episode.saturating_sub(1),
            Access::Cpm | Access::Sms => 0,
        };
        let covers = match what {
            What::Ucn => (self.user.messages.iter())
                .filter(|other| other.place != place && other.is_live())
                .filter(|other| other.ucn.state == super::user::UcnState::Due)
                .map(Deferred::m)
                .collect(),
            What::Message | What::Copy | What::Forward => Vec::new(),
        };
        let event = Event::AttemptStarted {
            m: m.m(),
            n: m.attempts.saturating_add(1),
            by,
            what,
            at: self.at,
            deadline: self.at + self.policy.start_within,
            to,
            rung,
            tried,
            late: m.overtaken,
            covers,
            target: None,
        };
        self.emit(event);
    }

    /// The wait that this trigger starts, by the user's own word or the policy's (TM-5).
    fn ip_wait(&self, by: Trigger) -> std::time::Duration {
        let prefs = self.user.prefs.as_deref();
        let (own, policy) = match by {
            Trigger::Attach => (
                prefs.and_then(|prefs| prefs.ip_wait_after_attach),
                self.policy.ip_wait_after_attach,
            ),
            Trigger::SmsReady => (
                prefs.and_then(|prefs| prefs.ip_wait_after_sms_ready),
                self.policy.ip_wait_after_sms_ready,
            ),
            Trigger::IpLoss => (
                prefs.and_then(|prefs| prefs.ip_wait_after_ip_loss),
                self.policy.ip_wait_after_ip_loss,
            ),
        };
        own.map_or(policy, |seconds| std::time::Duration::from_secs(u64::from(seconds)))
    }

    /// An IP way is lost (TM-6 b): IP gets its chance again from then on. A loss never brings a
    /// standing deadline forward.
    fn ip_lost(&mut self, time: Timestamp) {
        let before = self.user.episode;
        if before.is_some_and(|episode| time <= episode.start) {
            return;
        }
        let until = time + self.ip_wait(Trigger::IpLoss);
        let until = before.map_or(until, |episode| until.max(episode.deadline));
        self.emit(Event::IpWait { start: time, by: Trigger::IpLoss, until });
    }
}

/// How commands and events name a device.
fn key(device: &Device) -> Arc<str> {
    device.name.to_string().into()
}

/// Whether this is the message that `key` digests.
fn is_key(content: &Content, key: u64) -> bool {
    key_digest(&content.from, &content.message_id) == key
}
