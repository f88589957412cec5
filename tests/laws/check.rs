//! What holds after every step, whatever happened: I-1 to I-12, L-4 to L-7, L-11, L-12 of `rules.md`.
//!
//! Method: the events of a step are folded one at a time, so each is seen on the state it was decided
//! on; what no state remembers (how an SMS ended, who was tried on which evidence) is kept here.

use std::collections::{BTreeMap, BTreeSet};

use deferd::domain::command::Command;
use deferd::domain::decide::{Ignored, decide};
use deferd::domain::event::{Access, End, Event, LegEnd, Mark, Notice, Rung};
use deferd::domain::failure::Class;
use deferd::domain::input::{Fact, Input, What};
use deferd::domain::message::{Dispositions, Interwork, Kind};
use deferd::domain::open::View;
use deferd::domain::policy::{AccessSwitch, Policy, UnknownSms};
use deferd::domain::reachability::DeviceId;
use deferd::domain::time::Timestamp;
use deferd::domain::user::{Deferred, User};

use crate::naive::Naive;

/// Breaks off with the number of the law.
macro_rules! law {
    ($holds:expr, $($words:tt)+) => {
        if !$holds {
            panic!($($words)+);
        }
    };
}

/// What is known of a message's past.
#[derive(Default)]
struct Past {
    /// How its SMS of this number ended.
    sms: BTreeMap<u32, Option<Class>>,
    told: BTreeSet<u8>,
    tries: BTreeMap<DeviceId, u32>,
    /// Legs whose device registered while they were out.
    again: BTreeSet<(u32, DeviceId)>,
    /// The other SMS attempts that count against `sms_attempts`.
    sms_tries: u32,
    last_sms: Option<Timestamp>,
    fallback_ended: bool,
}

/// The laws, with the memory that they need.
pub(crate) struct Laws {
    past: BTreeMap<u32, Past>,
    attempts: BTreeSet<String>,
    notified: BTreeSet<String>,
    /// Looks at one instant that each found something to do.
    looks: (Timestamp, u32),
    pub(crate) deep: bool,
}

/// One step, as the laws see it.
pub(crate) struct Step<'a> {
    pub(crate) before: &'a User,
    pub(crate) after: &'a User,
    pub(crate) policy: &'a Policy,
    pub(crate) input: &'a Input<'a>,
    pub(crate) at: Timestamp,
    pub(crate) outcome: &'a Result<Vec<Event>, Ignored>,
}

impl<'a> Step<'a> {
    fn timer(&self) -> bool {
        self.input.fact == Fact::TimerFired
    }

    fn now(&self) -> Timestamp {
        if self.timer() {
            self.input.told.time.max(self.before.looked).min(self.at)
        } else {
            self.at
        }
    }

    fn events(&self) -> &'a [Event] {
        self.outcome.as_deref().unwrap_or_default()
    }

    /// A contact that this very input bound.
    fn fresh(&self) -> Option<DeviceId> {
        self.events().iter().find_map(|event| match event {
            Event::ContactBound { d, .. } => Some(d.id()),
            _ => None,
        })
    }

    fn naive<'u>(&self, user: &'u User) -> Naive<'u>
    where
        'a: 'u,
    {
        Naive { user, policy: self.policy, at: self.at, now: self.now(), fresh: self.fresh() }
    }

    /// The step stopped at the bound on events.
    fn cut_short(&self) -> bool {
        self.timer() && self.events().len() > 200 && self.after.looked < self.now()
    }

    fn has(&self, wanted: impl Fn(&Event) -> bool) -> bool {
        self.events().iter().any(wanted)
    }

    fn reachability(&self) -> bool {
        matches!(
            self.input.fact,
            Fact::ImsRegistered(_)
                | Fact::ImsDeregistered(_)
                | Fact::CsAttached(_)
                | Fact::CsDetached(_)
                | Fact::PsAttached(_)
                | Fact::PsDetached(_)
                | Fact::SmsReady(_)
        )
    }
}

impl Laws {
    pub(crate) fn new(deep: bool) -> Self {
        Self {
            past: BTreeMap::new(),
            attempts: BTreeSet::new(),
            notified: BTreeSet::new(),
            looks: (Timestamp::EPOCH, 0),
            deep,
        }
    }

    /// Holds a step against every law, and returns the commands that it gives.
    pub(crate) fn hold(&mut self, step: &Step<'_>) -> Vec<Command> {
        step_is_a_function(step);
        forgetting_changes_nothing(step);
        if self.deep {
            state_at_rest_reads_back(step.after);
            events_read_back(step.events());
        }
        law!(step.events().len() <= 256, "a record has at most 256 events");
        self.alarms(step);
        only_told_again(step);
        reachability_ends_nothing(step);
        without_messages_only_the_view_moves(step);
        ladder_resets(step);

        let commands = self.fold(step);
        if step.outcome.is_ok() {
            one_access_at_a_time(step.after);
            if !step.cut_short() {
                readings_agree(step);
                nothing_open_stands(step);
                ladder_is_armed_as_wanted(step);
                self.counts_agree(step.after);
            }
        }
        wake_up_comes(step);
        commands
    }

    /// L-4 and, on each event's own state, the laws about it.
    fn fold(&mut self, step: &Step<'_>) -> Vec<Command> {
        let mut user = step.before.clone();
        let mut commands = Vec::new();
        for event in step.events() {
            self.before_event(step, &user, event);
            user.evolve(event);
            if let Some(command) = Command::of(&user, event, step.policy) {
                self.ids(&command);
                commands.push(command);
            }
        }
        law!(user == *step.after, "L-4: the events do not add up to the state of the step");
        commands
    }

    /// L-6, I-9: an id is never used for two commands.
    fn ids(&mut self, command: &Command) {
        match command {
            Command::Deliver(deliver) => {
                let id = deliver.attempt_id.to_string();
                law!(self.attempts.insert(id.clone()), "L-6: attempt {id} twice");
            }
            Command::Notify(notify) => {
                let id = notify.notification_id.clone();
                law!(self.notified.insert(id.clone()), "I-8: notification {id} twice");
            }
            Command::AnswerRevocation(_) | Command::Store(_) => {}
        }
    }

    fn before_event(&mut self, step: &Step<'_>, user: &User, event: &Event) {
        match event {
            Event::Deferred { m, content, .. } => {
                let content = content.as_ref().expect("a live event has its content");
                let id = &content.message_id;
                let twins = user.named(id, Some(&content.from)).count();
                law!(twins == 0, "T-24: {id} is here already");
                law!(user.message(m.place()).is_none(), "place {} is taken", m.place());
                law!(self.past.insert(m.place(), Past::default()).is_none(), "a place twice");
                // A key may come again when it is forgotten (T-24): its ids begin anew.
                self.attempts.clear();
                self.notified.clear();
            }
            Event::AttemptStarted { what: What::Copy, at, m, .. } => {
                let owed = user.owed.iter().find(|owed| owed.place == m.place());
                let owed = owed.expect("a copy is of a message that is owed");
                law!(*at < owed.until, "I-7: a copy after its time");
                law!(user.hold.is_none(), "P-3: a copy while a person holds the user");
            }
            Event::AttemptStarted { what: What::Forward, .. } => {}
            Event::AttemptStarted { by: Access::Cpm, .. } => self.ip_starts(step, user, event),
            Event::AttemptStarted { by: Access::Sms, .. } => self.sms_starts(step, user, event),
            Event::AttemptEnded { m, n, by: Access::Sms, what, class } => {
                if let Some(past) = self.past.get_mut(&m.place())
                    && *what == What::Message
                {
                    past.sms.insert(*n, Some(*class));
                    past.fallback_ended |=
                        !matches!(class, Class::Busy | Class::Congestion | Class::Infrastructure);
                }
            }
            Event::ContactBound { d, .. } => self.evidence(user, d.id(), true),
            Event::ContactRefreshed { d, f, .. } => {
                self.evidence(user, DeviceId::of(d), f.is_some());
            }
            Event::LegEnded { m, n, d, end, mark, .. } => {
                self.leg_ends(user, m.place(), *n, DeviceId::of(d), *end, *mark);
            }
            Event::Notified { m, notice, .. } => {
                let message = user.message(m.place());
                self.notifies(step, message.expect("I-2: told after its end"), *notice);
            }
            Event::Ended { m, end, .. } => {
                let message = user.message(m.place());
                self.ends(step, message.expect("I-2: it ends twice"), *end);
            }
            Event::Purged {} => self.past.clear(),
            _ => {}
        }
    }

    fn ip_starts(&mut self, step: &Step<'_>, user: &User, event: &Event) {
        let Event::AttemptStarted { m, n, at, to, rung, .. } = event else { return };
        let naive = step.naive(user);
        let message = user.message(m.place()).expect("an attempt is of a message that waits");
        let devices: Vec<DeviceId> = to.iter().map(|key| DeviceId::of(key)).collect();
        law!(*n == message.attempts + 1, "attempts are numbered one by one");
        law!(*at < message.expires_at, "I-7: an attempt after expiry");
        law!(naive.ip_may(message), "3.6.0: an attempt by IP that may not be: {m:?}");
        law!(step.policy.access_cpm == AccessSwitch::On, "3.6.0: IP is not on");
        law!(!devices.is_empty(), "an attempt by IP without legs");
        match rung {
            None => {
                let open = |id: &DeviceId| {
                    naive.contacts().iter().any(|(device, contact)| {
                        device.id == *id
                            && naive.way(device, contact, message)
                            && naive.takes_legs(device, contact)
                    })
                };
                law!(devices.iter().all(open), "3.6.0: a leg to a contact that is not open");
                law!(naive.turn(message, Access::Cpm), "3.6.0: {m:?} by IP out of turn");
                law!(
                    naive.running() < step.policy.ip_pipeline as usize || naive.leg_out(message),
                    "3.6.0: more than the pipeline takes"
                );
            }
            Some(Rung::Next) => {
                law!(step.timer(), "3.6.0: a rung without an alarm");
                law!(
                    naive.rung_by_ip() == Some((m.place(), devices.clone())),
                    "3.6.0: a rung that is not the head: {m:?}"
                );
                rung_is_due(step, user);
            }
            Some(Rung::Same) => panic!("3.6.0: a rung goes on by SMS only"),
            Some(Rung::Free) => {
                let by_hand = matches!(step.input.fact, Fact::MessageRetryRequested(_));
                law!(by_hand, "T-27: a free try by IP that nobody asked for");
            }
        }
        if rung.is_some()
            && let Some(past) = self.past.get_mut(&m.place())
        {
            let left_with = step.policy.ip_attempts_per_episode - 1;
            past.tries.extend(devices.into_iter().map(|device| (device, left_with)));
        }
    }

    fn sms_starts(&mut self, step: &Step<'_>, user: &User, event: &Event) {
        let Event::AttemptStarted { m, n, at, what, rung, covers, .. } = event else { return };
        let naive = step.naive(user);
        let message = user.message(m.place()).expect("an attempt is of a message that waits");
        law!(*n == message.attempts + 1, "attempts are numbered one by one");
        law!(step.timer(), "TM-7: an SMS starts without an alarm");
        law!(user.sms_slot.is_none(), "3.1: two SMS of a user");
        law!(step.policy.access_sms == AccessSwitch::On, "3.6.0: SMS is not on");
        law!(*at < message.expires_at, "I-7: an SMS after expiry");
        law!(naive.live(message), "I-6: an SMS of a message that is held, or over");
        law!(!message.sms_refused && user.msisdn().is_some(), "3.6.0: an SMS that is closed");
        law!(message.handed.is_none(), "R-25: an SMS of what was handed over");
        if *what == What::Message {
            law!(message.interworkable, "I-6: an SMS of what no SMS can carry");
            law!(message.parked.is_none(), "I-6: an SMS of a parked message");
        } else {
            law!(!naive.as_itself(message), "step 4: a UCN of what SMS can carry");
            law!(naive.rate_admits(), "R-20: a UCN beyond the rate");
            for other in covers {
                let other = user.message(other.place()).expect("it covers what waits");
                law!(naive.live(other), "I-6: a UCN that covers a held message");
            }
        }
        if message.interwork == Interwork::Fallback {
            law!(!naive.ip_open(message), "I-6: an SMS with IP open: {m:?}");
            law!(!naive.settling(message), "I-6: an SMS with IP settling: {m:?}");
            law!(!naive.ip_running(message), "I-6: an SMS with IP running: {m:?}");
            law!(
                rung.is_some() || naive.sms_due(message) <= step.now(),
                "I-5: an SMS before it is due: {m:?}"
            );
        }
        match rung {
            None => {
                let due = |m: &&Deferred| naive.sms_due(m) <= step.now();
                let first = naive.candidates().into_iter().find(due).map(|m| m.place);
                law!(
                    first == Some(m.place()),
                    "step 4: {m:?} is not the first candidate: {first:?}"
                );
            }
            Some(Rung::Next | Rung::Same) => {
                law!(naive.rung_by_sms() == Some(m.place()), "3.6.0: a rung that is not the head");
                rung_is_due(step, user);
            }
            Some(Rung::Free) => rung_is_due(step, user),
        }
        let news = user.sms_news;
        let Some(past) = self.past.get_mut(&m.place()) else { return };
        if *what == What::Message {
            if let Some((number, end)) = past.sms.last_key_value() {
                let definite = end.is_some_and(|class| class != Class::Unknown);
                law!(
                    definite || step.policy.unknown_sms == UnknownSms::Resend,
                    "I-3: a second SMS while #{number} ended {end:?}"
                );
            }
            let by_news = past.last_sms.is_none_or(|last| news.is_some_and(|news| news > last));
            past.sms_tries += match rung {
                Some(Rung::Next | Rung::Same) => 1,
                Some(Rung::Free) => 0,
                None => u32::from(!by_news),
            };
            past.last_sms = Some(*at);
            past.sms.insert(*n, None);
        }
    }

    fn leg_ends(
        &mut self,
        user: &User,
        place: u32,
        number: u32,
        device: DeviceId,
        end: LegEnd,
        mark: Mark,
    ) {
        let suspects = matches!(mark, Mark::Suspect | Mark::Dropped);
        let copy = user.message(place).is_none();
        let Some(past) = self.past.get_mut(&place).filter(|_| !copy) else { return };
        let again = past.again.contains(&(number, device));
        let counts =
            matches!(end, LegEnd::Artefact | LegEnd::Failed(Class::Absent | Class::Unknown));
        if counts && !again {
            *past.tries.entry(device).or_default() += 1;
        }
        let absent = end == LegEnd::Failed(Class::Absent);
        // A 430 says that the connection is gone, and with it the contact.
        let dropped = mark == Mark::Dropped;
        law!(
            dropped || suspects == (absent && !again),
            "R-34: {end:?} with again={again} marks {mark:?}"
        );
    }

    /// A sign of life of a device: what it was tried with before counts no more.
    fn evidence(&mut self, user: &User, device: DeviceId, register: bool) {
        for (place, past) in &mut self.past {
            past.tries.remove(&device);
            let legs = user.message(*place).map(|m| m.legs.as_slice()).unwrap_or_default();
            for leg in legs.iter().filter(|leg| leg.device == device && leg.end.is_none()) {
                if register {
                    past.again.insert((leg.attempt, device));
                }
            }
        }
    }

    fn counts_agree(&self, user: &User) {
        for m in &user.messages {
            let Some(past) = self.past.get(&m.place) else { continue };
            for device in &user.devices {
                let tries = past.tries.get(&device.id).copied().unwrap_or(0);
                let held = m.tries(device.id);
                law!(held == tries, "3.3: ip_tries is {held} and {tries} were, of {:?}", m.m());
            }
            law!(
                m.sms_tries == past.sms_tries,
                "3.3: sms_tries is {} and {} were, of {:?}",
                m.sms_tries,
                past.sms_tries,
                m.m()
            );
            law!(m.sms_ended == past.fallback_ended, "3.6.0: first SMS, of {:?}", m.m());
        }
    }

    fn notifies(&mut self, step: &Step<'_>, m: &Deferred, notice: Notice) {
        let (kind, wish) = match notice {
            Notice::Delivered => (0, Dispositions::POSITIVE),
            Notice::Failed | Notice::Error | Notice::Forbidden => (1, Dispositions::NEGATIVE),
            Notice::Stored => (2, Dispositions::PROCESSING),
            Notice::LegacySms | Notice::LegacyMms => (3, Dispositions::INTERWORKING),
        };
        law!(m.content.disposition.has(wish), "2.5: {notice:?} was not asked for");
        law!(m.content.kind != Kind::Imdn, "IMDN-10: an IMDN about an IMDN");
        let past = self.past.entry(m.place).or_default();
        law!(past.told.insert(kind), "I-8: {notice:?} told twice");
        law!(!(past.told.contains(&0) && past.told.contains(&1)), "I-8: delivered and failed");
        let confirmed = step.has(|event| {
            matches!(event, Event::Ended { m: ended, end: End::Delivered(Access::Sms) | End::Stored, .. }
                if ended.place() == m.place)
        });
        law!(notice != Notice::Delivered || confirmed, "IMDN-6: delivered, and it is not");
    }

    fn ends(&mut self, step: &Step<'_>, m: &Deferred, end: End) {
        let naive = step.naive(step.before);
        match end {
            // An SMSC says itself when it gave up (R-25, P-10).
            End::Expired(_) => law!(
                m.expires_at <= step.at || m.handed.is_some(),
                "T-17: {:?} expires at {}, before its time",
                m.m(),
                step.at
            ),
            End::Revoked => {
                law!(!naive.under_way(m) && m.parked.is_none(), "T-19: revoked while under way");
            }
            End::Delivered(Access::Cpm) => {
                law!(!m.legs.is_empty(), "P-16: delivered by IP, and never tried there");
            }
            End::Delivered(Access::Sms) | End::Assumed => {
                law!(!m.sms_log.is_empty(), "delivered by SMS, and never tried there");
            }
            _ => {}
        }
        let over = self.past.remove(&m.place);
        law!(over.is_some(), "I-2: {:?} ends twice", m.m());
    }

    /// L-7, TM-1: an alarm rings early or twice and nothing happens; on time, something does, and all
    /// that was due is passed.
    fn alarms(&mut self, step: &Step<'_>) {
        let wake_at = step.before.wake_at(step.policy);
        if !step.timer() {
            return;
        }
        let due = wake_at.is_some_and(|wake_at| wake_at <= step.now());
        match step.outcome {
            Err(ignored) => {
                law!(!due, "L-7: due at {wake_at:?}, looked until {}, and {ignored}", step.now());
                law!(*ignored == Ignored::NotDue, "TM-1: {ignored}");
                return;
            }
            Ok(_) => law!(due, "TM-1: an alarm at {} that is due at {wake_at:?}", step.now()),
        }
        self.looks = match self.looks {
            (at, looks) if at == step.now() => (at, looks + 1),
            _ => (step.now(), 1),
        };
        let most = 40 + u32::try_from(step.after.messages.len()).unwrap_or(0);
        law!(
            self.looks.1 <= most,
            "L-7: {most} looks at {} and still ringing: {:#?}",
            step.now(),
            step.after
        );
        if step.cut_short() {
            return;
        }
        law!(step.after.looked >= step.now(), "3.6.0: looked stays behind");
        let naive =
            Naive { at: step.after.looked_at, now: step.after.looked, ..step.naive(step.after) };
        for deadline in naive.deadlines() {
            // What this very step armed falls due in no other than a later one (TM-7).
            let armed_now =
                matches!(deadline.name, "T_rung" | "T_ipwait" | "T_iw_report" | "T_imdn")
                    || step.has(|event| matches!(event, Event::AttemptStarted { .. }));
            law!(
                deadline.at > step.now() || !deadline.ends || armed_now,
                "L-7: {deadline:?} stands after a look until {}",
                step.now()
            );
        }
    }
}

/// A rung rings only when armed and due, or where the rung found nobody by IP in this very instant.
fn rung_is_due(step: &Step<'_>, user: &User) {
    let due = user.ladder.next_at.is_some_and(|next| next <= step.now());
    law!(due, "3.6.0: a rung at {} that was set to {:?}", step.now(), user.ladder.next_at);
}

/// L-5: the same input on the same state gives the same events.
fn step_is_a_function(step: &Step<'_>) {
    let again = decide(step.before, step.input, step.at, step.policy);
    law!(again == *step.outcome, "L-5: decided again, {again:?}");
    if step.outcome.is_err() {
        law!(step.before == step.after, "an ignored input moved the state");
    }
}

/// L-11, and the second half of it: a user of whom nothing counts may be dropped.
fn forgetting_changes_nothing(step: &Step<'_>) {
    let forgot = step.before.forget(step.at, step.policy);
    if forgot != *step.before {
        let again = decide(&forgot, step.input, step.at, step.policy);
        law!(
            again == *step.outcome,
            "L-11: with the aged forgotten, {again:?}, of {forgot:#?} that was {:#?}",
            step.before
        );
    }
    if step.before.is_forgettable(step.at, step.policy) {
        let fresh = User {
            next_place: step.before.next_place,
            looked: step.before.looked,
            looked_at: step.before.looked_at,
            ..User::new(step.before.address.clone())
        };
        let again = decide(&fresh, step.input, step.at, step.policy);
        law!(again == *step.outcome, "L-11: with the user dropped, {again:?}");
    }
}

fn state_at_rest_reads_back(user: &User) {
    let bytes = postcard::to_stdvec(user).expect("a state is written");
    let read: User = postcard::from_bytes(&bytes).expect("a state is read");
    law!(read == *user, "a state is another when read back");
}

/// What the journal leaves out stands in the input beside it.
fn events_read_back(events: &[Event]) {
    for event in events {
        let json = serde_json::to_string(event).expect("an event is written");
        let mut read: Event = serde_json::from_str(&json).expect("an event is read");
        match (&mut read, event) {
            (Event::Deferred { content, .. }, Event::Deferred { content: whole, .. }) => {
                content.clone_from(whole);
            }
            (Event::Preferred { change }, Event::Preferred { change: whole }) => {
                change.clone_from(whole);
            }
            _ => {}
        }
        law!(read == *event, "an event is another when read back: {json}");
    }
}

/// a reachability fact told again at once changes nothing.
fn only_told_again(step: &Step<'_>) {
    if step.reachability() {
        let again = decide(step.after, step.input, step.at, step.policy);
        law!(again.is_err(), "R-4: told twice, {again:?}");
    }
}

/// I-10; but a registration may show another SIM, which closes the user.
fn reachability_ends_nothing(step: &Step<'_>) {
    if step.reachability() && !step.has(|event| matches!(event, Event::ViewDropped {})) {
        let ended = step.has(|event| matches!(event, Event::Ended { .. }));
        law!(!ended, "I-10: a fact about reachability ends a message");
    }
}

/// I-11. The rung of a ladder that is not armed is a number that a transition sets to 0.
fn without_messages_only_the_view_moves(step: &Step<'_>) {
    let attach =
        matches!(step.input.fact, Fact::CsAttached(_) | Fact::PsAttached(_) | Fact::SmsReady(_));
    let naive = step.naive(step.before);
    if !attach || !step.before.owed.is_empty() || step.before.messages.iter().any(|m| naive.live(m))
    {
        return;
    }
    let other = step.has(|event| {
        !matches!(
            event,
            Event::SlotSet { .. }
                | Event::SmsNews { .. }
                | Event::SmsUnblocked { .. }
                | Event::IpWait { .. }
                | Event::LadderReset {}
        )
    });
    law!(!other, "I-11: an attach without a message does more than show");
}

/// "Reset, by each transition of reachability not older than the step that armed it."
fn ladder_resets(step: &Step<'_>) {
    let ladder = &step.before.ladder;
    let by_hand = ladder.only.is_some();
    let armed_at = ladder.armed_at.unwrap_or(Timestamp::EPOCH);
    let idle = step.after.messages.is_empty();
    if step.cut_short() || idle || by_hand || (ladder.rung == 0 && ladder.next_at.is_none()) {
        return;
    }
    let moved = step.has(|event| match event {
        Event::ContactBound { at, .. } | Event::SmsNews { at } => *at >= armed_at,
        Event::LegEnded { d, mark: Mark::Suspect | Mark::Dropped, at, .. } => {
            let device = step.before.device(DeviceId::of(d));
            let contact = device.and_then(|device| device.contact.as_ref());
            *at >= armed_at && contact.is_some_and(|contact| !contact.suspect)
        }
        _ => false,
    });
    let dropped = step.has(|event| matches!(event, Event::ViewDropped {} | Event::Purged {}));
    let reset = step.has(|event| matches!(event, Event::LadderReset {}));
    law!(!moved || reset || dropped, "3.6.0: a transition does not reset the ladder");
}

/// I-1: what is not `also` is under way by one access.
fn one_access_at_a_time(user: &User) {
    for m in user.messages.iter().filter(|m| m.interwork != Interwork::Also) {
        let slot = user.sms_slot.as_ref();
        let by_sms = m.handed.is_some()
            || slot.is_some_and(|s| s.m.place() == m.place && s.what == What::Message);
        law!(!(by_sms && m.ip_running()), "I-1: {:?} by both accesses", m.m());
    }
    let places: Vec<u32> = user.messages.iter().map(|m| m.place).collect();
    law!(places.is_sorted_by(|a, b| a < b), "messages out of order: {places:?}");
    for m in &user.messages {
        let devices: BTreeSet<DeviceId> = m.legs.iter().map(|leg| leg.device).collect();
        law!(devices.len() == m.legs.len(), "two legs to one device: {:?}", m.m());
    }
}

/// The second reading and the first say the same of every message.
fn readings_agree(step: &Step<'_>) {
    let naive = step.naive(step.after);
    let (user, policy) = (step.after, step.policy);
    let view = View { user, policy, at: step.at, now: step.now(), fresh: step.fresh() };
    law!(view.sms_possible() == naive.sms_possible(), "3.6.0: sms_possible");
    law!(view.block() == naive.block(), "P-15: the block");
    for m in &step.after.messages {
        let name = m.m();
        law!(view.ip_may(m) == naive.ip_may(m), "3.6.0: ip_may of {name:?}");
        law!(view.ip_open(m) == naive.ip_open(m), "3.6.0: ip_open of {name:?}");
        law!(view.settling(m) == naive.settling(m), "3.6.0: settling of {name:?}");
        law!(view.sms_closed(m) == naive.sms_closed(m), "3.6.0: sms_closed of {name:?}");
        law!(view.sms_open(m).is_some() == naive.sms_open(m), "3.6.0: sms_open of {name:?}");
        law!(view.sms_due(m) == naive.sms_due(m), "3.6.0: sms_due of {name:?}");
    }
    for lane in [false, true] {
        let ours: Vec<u32> = view.in_turn(Access::Cpm, lane).iter().map(|m| m.place).collect();
        let theirs: Vec<u32> = (step.after.messages.iter())
            .filter(|m| m.content.kind.in_imdn_lane() == lane && naive.ip_open(m))
            .filter(|m| naive.turn(m, Access::Cpm))
            .map(|m| m.place)
            .collect();
        law!(
            ours == theirs,
            "3.6.0: in turn by IP {ours:?}, read as {theirs:?}, of {:#?}",
            step.after
        );
    }
    let ours: Vec<u32> = view.sms_candidates().iter().map(|m| m.place).collect();
    let theirs: Vec<u32> = naive.candidates().iter().map(|m| m.place).collect();
    law!(ours == theirs, "step 4: candidates {ours:?}, read as {theirs:?}");
    law!(view.ladder_wanted() == naive.ladder_wanted(), "3.6.0: whether the ladder is wanted");
}

/// Steps 3 and 4 leave nothing behind that they could have started.
fn nothing_open_stands(step: &Step<'_>) {
    let naive = step.naive(step.after);
    let room = naive.running() < step.policy.ip_pipeline as usize;
    if step.policy.access_cpm == AccessSwitch::On {
        for m in &step.after.messages {
            let stands = naive.ip_open(m) && naive.turn(m, Access::Cpm);
            law!(
                !stands || !(room || naive.leg_out(m)),
                "step 3: {:?} is open by IP and nothing goes",
                m.m()
            );
        }
    }
    if step.timer() {
        let due = naive.candidates().into_iter().find(|m| naive.sms_due(m) <= step.now());
        law!(due.is_none(), "step 4: {:?} is due by SMS and nothing goes", due.map(Deferred::m));
    }
}

fn ladder_is_armed_as_wanted(step: &Step<'_>) {
    let ladder = &step.after.ladder;
    if ladder.only.is_some() {
        return;
    }
    let wanted = step.naive(step.after).ladder_wanted();
    law!(
        ladder.next_at.is_some() == wanted,
        "3.6.0: the ladder is wanted: {wanted}, and stands at {:?}",
        ladder.next_at
    );
}

/// 3.6.0: there is an alarm while something is armed, and none of it is later than the soonest.
fn wake_up_comes(step: &Step<'_>) {
    let looked = step.after.looked;
    let naive = Naive {
        user: step.after,
        policy: step.policy,
        at: step.after.looked_at,
        now: looked,
        fresh: None,
    };
    let soonest = naive.deadlines().into_iter().min_by_key(|deadline| deadline.at);
    let wake_at = step.after.wake_at(step.policy);
    let Some(soonest) = soonest else { return };
    law!(
        wake_at.is_some_and(|wake_at| wake_at <= soonest.at),
        "3.6.0: wakes at {wake_at:?}, and {soonest:?} is armed"
    );
}
