//! What is known of a user at an instant, as rows of fields: shown, compared, and given to programs.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::paint::beside;
use crate::domain::command::{access_word, what_word};
use crate::domain::decide::Armed;
use crate::domain::event::{Access, BlockKind, Hold, HoldBy, Rung, Trigger};
use crate::domain::input::What;
use crate::domain::message::Interwork;
use crate::domain::open::View;
use crate::domain::reachability::{DeviceId, SlotName, SlotState};
use crate::domain::standing::Standing;
use crate::domain::time::Timestamp;
use crate::domain::user::{Deferred, Device, SmsAttempt, UcnState, User};
use crate::engine::history::{Basis, Belief, Followed};
use crate::engine::state::State;

/// A field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Text(String),
    Time(Timestamp),
    Number(u64),
    Yes,
}

impl Cell {
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Time(time) => time.to_string().into(),
            Self::Number(number) => (*number).into(),
            Self::Yes => true.into(),
        }
    }

    pub(super) fn words(&self, now: Timestamp) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Time(time) => beside(*time, now),
            Self::Number(number) => number.to_string(),
            Self::Yes => "yes".into(),
        }
    }
}

/// Something that is known: what it is about, its fields, and what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// What kind of thing it is: rows of one section stand together.
    pub(super) section: &'static str,
    /// Which one.
    pub(super) name: String,
    /// What is known of it.
    pub(super) cells: Vec<(&'static str, Cell)>,
    /// What it rests on, and the instant that is true of: what it ages from.
    pub(super) basis: Option<(Timestamp, Option<Basis>)>,
}

impl Row {
    fn new(section: &'static str, name: impl Into<String>) -> Self {
        Self { section, name: name.into(), cells: Vec::new(), basis: None }
    }

    fn text(mut self, field: &'static str, text: impl Into<String>) -> Self {
        self.cells.push((field, Cell::Text(text.into())));
        self
    }

    fn texts(self, field: &'static str, texts: &[String]) -> Self {
        if texts.is_empty() { self } else { self.text(field, texts.join(" ")) }
    }

    fn time(mut self, field: &'static str, time: Option<Timestamp>) -> Self {
        self.cells.extend(time.map(|time| (field, Cell::Time(time))));
        self
    }

    fn number(mut self, field: &'static str, number: impl Into<u64>) -> Self {
        self.cells.push((field, Cell::Number(number.into())));
        self
    }

    fn flag(mut self, field: &'static str, set: bool) -> Self {
        self.cells.extend(set.then_some((field, Cell::Yes)));
        self
    }

    fn on(mut self, of: Timestamp, basis: Option<&Basis>) -> Self {
        self.basis = Some((of, basis.cloned()));
        self
    }

    /// As one line: the first field by its value alone, the others named.
    pub(super) fn words(&self, now: Timestamp) -> String {
        let cells = self.cells.iter().map(|(field, cell)| {
            let field = field.replace('_', " ");
            match cell {
                Cell::Text(text) if field == "state" => text.clone(),
                Cell::Yes => field,
                Cell::Text(_) | Cell::Time(_) | Cell::Number(_) => {
                    format!("{field} {}", cell.words(now))
                }
            }
        });
        cells.collect::<Vec<_>>().join(", ")
    }

    pub(super) fn json(&self, now: Timestamp) -> Value {
        let mut fields = Map::new();
        fields.insert("name".into(), self.name.as_str().into());
        for (field, cell) in &self.cells {
            fields.insert((*field).into(), cell.json());
        }
        if let Some((of, basis)) = &self.basis {
            fields.insert("since".into(), of.to_string().into());
            fields.insert("age_seconds".into(), now.since(*of).as_secs().into());
            if let Some(Ok(basis)) = basis.as_ref().map(serde_json::to_value) {
                fields.insert("because".into(), basis);
            }
        }
        Value::Object(fields)
    }
}

/// All that is known of a user at an instant.
pub(super) fn of_user(followed: &Followed, now: Timestamp) -> Vec<Row> {
    let (user, view) = (&followed.user, followed.view(now));
    let mut rows = vec![state_of(&view)];
    rows.extend(user.devices.iter().map(|device| device_row(followed, &view, device)));
    rows.extend(SlotName::ALL.iter().filter_map(|name| slot_row(followed, &view, *name)));
    rows.extend(sms_rows(followed, &view));
    rows.extend(user.messages.iter().map(|m| message_row(followed, &view, m)));
    for owed in &user.owed {
        let to: Vec<String> = owed.to.iter().map(|to| name_of(user, to.device)).collect();
        let row = Row::new("copies", &*owed.content.message_id).texts("state", &to);
        rows.push(row.time("until", Some(owed.until)));
    }
    rows
}

/// What is due when, soonest first.
pub(super) fn due(followed: &Followed) -> Vec<Row> {
    let user = &followed.user;
    let mut armed = followed.view(user.looked).armed();
    armed.sort();
    let row = |due: Armed| {
        let message = due.message.and_then(|place| name_of_message(user, place));
        let device = due.device.map(|id| name_of(user, id));
        let about = message.into_iter().chain(device).collect::<Vec<_>>();
        let name = std::iter::once(due.timer.name().to_owned()).chain(about.iter().cloned());
        let row = Row::new("due", name.collect::<Vec<_>>().join(" "));
        row.time("at", Some(due.at)).text("timer", due.timer.name()).texts("of", &about)
    };
    armed.into_iter().map(row).collect()
}

fn name_of(user: &User, id: DeviceId) -> String {
    user.device(id).map_or_else(|| "?".into(), |device| device.name.to_string())
}

fn name_of_message(user: &User, place: u32) -> Option<String> {
    let owed = || user.owed.iter().find(|owed| owed.place == place).map(|owed| &owed.content);
    let content = user.message(place).map(|m| &m.content).or_else(owed)?;
    Some(content.message_id.to_string())
}

/// The states of 3.3 that hold of the user, the first to show first.
fn state_of(view: &View<'_>) -> Row {
    let user = view.user;
    let by_ip = |m: &Deferred| m.ip_running() || view.ip_open(m) || view.settling(m);
    let waits = user.messages.iter().any(|m| view.standing(m).contains(&Standing::IpWait));
    let mut states = Vec::new();
    for (name, holds) in [
        ("DrainIp", user.messages.iter().any(by_ip)),
        ("DrainSms", user.sms_slot.is_some()),
        ("IpWait", waits),
    ] {
        if holds {
            states.push(name.to_owned());
        }
    }
    if states.is_empty() {
        let live = user.messages.iter().any(Deferred::is_live);
        let any = !user.messages.is_empty();
        states.push(
            if live {
                "WaitAccess"
            } else if any {
                "Hold"
            } else {
                "Idle"
            }
            .to_owned(),
        );
    }
    let row = Row::new("user", user.address.to_string()).texts("state", &states);
    let row = match &user.hold {
        Some(reason) => row.text("held", &**reason),
        None => row,
    };
    let dnd = user.prefs.as_ref().is_some_and(|prefs| prefs.undisturbed(view.now));
    row.flag("do_not_disturb", dnd)
}

fn device_row(followed: &Followed, view: &View<'_>, device: &Device) -> Row {
    let basis = followed.facts.basis(Belief::Device(device.id));
    let row = Row::new("devices", device.name.to_string());
    let bound = view.bound(device);
    let Some(contact) = bound else {
        let row = row.text("state", "gone").time("last_bound", device.bound_at);
        return row.on(device.last.time, basis);
    };
    let state = view.contact_state(contact);
    row.text("state", state)
        .time("settled_at", Some(contact.settled_at).filter(|at| view.now < *at))
        .time("bound_until", Some(contact.expires_at))
        .flag("primary", view.primary() == Some(device.id))
        .on(contact.evidence_at, basis)
}

fn slot_row(followed: &Followed, view: &View<'_>, name: SlotName) -> Option<Row> {
    let slot = followed.user.slot(name);
    let basis = followed.facts.basis(Belief::Slot(name));
    basis?;
    let stale = slot.state == SlotState::Attached
        && !slot.is_attached(view.now, followed.policy.attach_stale);
    let state = match (slot.state, stale) {
        (SlotState::Attached, true) => "unknown: attached too long ago",
        (SlotState::Attached, false) => "attached",
        (SlotState::Detached, _) => "detached",
        (SlotState::Unknown, _) => "unknown",
    };
    let no_sms = slot.state == SlotState::Attached && !slot.sms_capable;
    Some(
        Row::new("slots", name.word())
            .text("state", state)
            .flag("no_sms", no_sms)
            .on(slot.since, basis),
    )
}

fn sms_rows(followed: &Followed, view: &View<'_>) -> Vec<Row> {
    let (user, facts) = (&followed.user, &followed.facts);
    let mut rows = Vec::new();
    if user.msisdn().is_none() {
        rows.push(Row::new("sms", "number").text("state", "none: no SMS for this user"));
    }
    if let Some(block) = user.sms_block {
        let kind = match block.kind {
            BlockKind::Absent => "absent",
            BlockKind::MemoryFull => "memory full",
            BlockKind::Barred => "barred",
            BlockKind::NotCapable => "not capable",
        };
        let over = if view.block().is_none() { ", over" } else { "" };
        let row = Row::new("sms", "block").text("state", format!("{kind}{over}"));
        rows.push(row.time("until", block.until).on(block.time, facts.basis(Belief::Block)));
    }
    if let Some(episode) = user.episode {
        let by = match episode.trigger {
            Trigger::Attach => "since an attach",
            Trigger::SmsReady => "since sms.ready",
            Trigger::IpLoss => "since ip was lost",
        };
        let row = Row::new("sms", "episode").text("state", by);
        let row = row.time("ip_has_its_chance_until", Some(episode.deadline));
        rows.push(row.on(episode.start, facts.basis(Belief::Episode)));
    }
    let ladder = &user.ladder;
    if ladder.next_at.is_some() || ladder.rung > 0 {
        let kind = match ladder.kind {
            Rung::Next => "rung",
            Rung::Same => "same rung, by sms",
            Rung::Free => "uncounted",
        };
        let row = Row::new("sms", "ladder").text("state", kind).number("rung", ladder.rung);
        let row = row.time("next_at", ladder.next_at);
        let only = ladder.only.and_then(|place| name_of_message(user, place));
        let row = row.texts("only", &only.into_iter().collect::<Vec<_>>());
        rows.push(row.on(ladder.armed_at.unwrap_or(view.now), facts.basis(Belief::Ladder)));
    }
    if let Some(slot) = &user.sms_slot {
        rows.push(slot_taken("slot", slot).on(slot.asked_at, facts.basis(Belief::SmsSlot)));
    }
    let recent = user.ucn_sent.len() as u64;
    if recent > 0 {
        rows.push(Row::new("sms", "notices").number("within_the_hour", recent));
    }
    rows
}

fn slot_taken(name: &str, sms: &SmsAttempt) -> Row {
    Row::new("sms", name)
        .text("state", format!("{}#{} {}", sms.m, sms.number, what_word(sms.what)))
        .time("started_at", sms.started_at)
        .time("accepted_at", sms.accepted_at)
        .flag("report_to_come", sms.report)
}

fn hold_words(hold: &Hold) -> String {
    let by = match &hold.by {
        HoldBy::Dnd => "dnd".to_owned(),
        HoldBy::Rule(name) => format!("rule {name}"),
        HoldBy::Operator => "operator".to_owned(),
    };
    hold.until
        .filter(|until| *until != Timestamp::MAX)
        .map_or_else(|| by.clone(), |until| format!("{by} until {until}"))
}

fn message_row(followed: &Followed, view: &View<'_>, m: &Deferred) -> Row {
    let user = &followed.user;
    let standing: Vec<String> =
        view.standing(m).into_iter().map(|standing| standing.name().to_owned()).collect();
    let ways = match (m.interwork, m.interworkable) {
        (Interwork::Fallback, true) => "ip, else sms",
        (Interwork::Fallback, false) => "ip only",
        (Interwork::Only, _) => "sms only",
        (Interwork::Also, _) => "ip and sms",
    };
    let running: Vec<String> = (m.legs.iter().filter(|leg| leg.end.is_none()))
        .map(|leg| format!("#{} {}", leg.attempt, name_of(user, leg.device)))
        .collect();
    let devices =
        |ids: &[DeviceId]| -> Vec<String> { ids.iter().map(|id| name_of(user, *id)).collect() };
    let held: Vec<String> = m.holds.iter().map(hold_words).collect();
    let parked = m.parked.map(|(by, attempt)| format!("#{attempt} {}", access_word(by)));
    let cause = m.last_cause.map(|cause| cause.to_string());
    let ucn = match m.ucn.state {
        UcnState::NotNeeded => None,
        UcnState::Due => Some("due"),
        UcnState::InFlight => Some("in flight"),
        UcnState::Sent => Some("sent"),
        UcnState::Failed => Some("failed"),
    };
    let basis = followed.facts.basis(Belief::Message(m.place));
    let one = |text: Option<String>| text.into_iter().collect::<Vec<_>>();
    Row::new("messages", &*m.content.message_id)
        .texts("state", &standing)
        .text("goes_by", ways)
        .number("attempts", m.attempts)
        .texts("running", &running)
        .time("imdn_awaited_until", m.awaiting.map(|(_, until)| until))
        .texts("held_by", &held)
        .time("back_off_ip_until", backoff(m, Access::Cpm))
        .time("back_off_sms_until", backoff(m, Access::Sms))
        .texts("parked_by", &one(parked))
        .texts("last_failure", &one(cause))
        .texts("notice", &one(ucn.map(str::to_owned)))
        .texts("refused_by", &devices(&m.refused_by))
        .texts("has_it", &devices(&m.served))
        .flag("sms_refused", m.sms_refused)
        .time("accepted_at", Some(m.accepted_at))
        .time("expires_at", Some(m.expires_at))
        .text("kind", m.content.kind.word())
        .number("bytes", m.content.size)
        .text("from", &*m.content.from)
        .on(basis.map_or(m.accepted_at, |basis| basis.at), basis)
}

fn backoff(m: &Deferred, access: Access) -> Option<Timestamp> {
    m.backoff.filter(|(by, _)| *by == access).map(|(_, until)| until)
}

/// What there is, counted: of one state, or of those of several partitions.
#[derive(Debug, Default)]
pub(super) struct Tally {
    by_state: BTreeMap<&'static str, u64>,
    waiting: u64,
    users: u64,
    bound: u64,
    attached: u64,
    sms: u64,
    soonest: Option<Timestamp>,
}

impl Tally {
    /// Counts all of a state as it reads at `now`.
    pub(super) fn add(&mut self, state: &State, now: Timestamp) {
        for (_, user) in state.users.iter() {
            let view = View { user: &user, policy: &state.policy, at: now, now, fresh: None };
            for m in &user.messages {
                self.waiting += 1;
                let first = view.standing(m).first().map_or("?", |standing| standing.name());
                *self.by_state.entry(first).or_default() += 1;
            }
            self.users += 1;
            self.bound += u64::from(view.contacts().next().is_some());
            self.attached += u64::from(view.sms_possible());
            let taken = user.sms_slot.as_ref().filter(|slot| slot.what == What::Message);
            self.sms += u64::from(taken.is_some());
            let wakes = user.wake_at(&state.policy);
            self.soonest = self.soonest.into_iter().chain(wakes).min();
        }
    }

    /// As rows.
    pub(super) fn rows(self) -> Vec<Row> {
        let mut rows = vec![
            Row::new("users", "known").number("state", self.users),
            Row::new("users", "reachable by ip").number("state", self.bound),
            Row::new("users", "reachable by sms").number("state", self.attached),
            Row::new("users", "with an sms out").number("state", self.sms),
            Row::new("messages", "waiting").number("state", self.waiting),
        ];
        let states = self.by_state.into_iter();
        rows.extend(states.map(|(name, count)| Row::new("messages", name).number("state", count)));
        if let Some(at) = self.soonest {
            rows.push(Row::new("due", "next").time("at", Some(at)));
        }
        rows
    }
}
