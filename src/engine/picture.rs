//! What is known of a user at an instant, for programs: one JSON object.
//!
//! Names are those of the journal and the rules; adding a field is free, changing one is not.

use serde_json::{Map, Value, json};

use super::history::Answer;
use crate::domain::address::Address;
use crate::domain::command::what_word;
use crate::domain::decide::Armed;
use crate::domain::event::{BlockKind, HoldBy, Trigger};
use crate::domain::message::{Body, Interwork};
use crate::domain::open::View;
use crate::domain::policy::Policy;
use crate::domain::reachability::{DeviceId, SlotName, SlotState};
use crate::domain::time::Timestamp;
use crate::domain::user::{Deferred, Device, UcnState, User};
use crate::domain::why::{Closes, Why, why};

/// How much of a user is shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// Messages, in the order of their acceptance.
    pub messages: usize,
    /// Their content, too.
    pub content: bool,
}

/// All that is known of a user.
#[must_use]
pub fn of(user: &User, policy: &Policy, now: Timestamp, shown: Shown) -> Value {
    let view = View { user, policy, at: now, now, fresh: None };
    let mut picture = Fields::default();
    picture.put("user", user.address.to_string());
    picture.time("at", Some(now));
    if let (Address::Sip(_), Some(number)) = (&user.address, user.msisdn()) {
        picture.put("number", number.to_string());
    }
    picture.text("held", user.hold.as_deref());
    let dnd = user.prefs.as_ref().is_some_and(|prefs| prefs.undisturbed(now));
    picture.flag("do_not_disturb", dnd);
    picture.put("devices", list(user.devices.iter().map(|device| device_of(&view, device))));
    picture.put("slots", list(SlotName::ALL.iter().filter_map(|name| slot(&view, *name))));
    picture.put("sms", sms(&view));
    let messages = user.messages.iter().take(shown.messages);
    picture.put("messages", list(messages.map(|m| message(&view, m, shown.content))));
    picture.put("messages_in_all", user.messages.len());
    let copies = user.owed.iter().map(|owed| {
        let to: Vec<String> = owed.to.iter().map(|to| name_of(user, to.device)).collect();
        json!({
            "message_id": owed.content.message_id.as_ref(), "to": to,
            "until": owed.until.to_string(),
        })
    });
    picture.put("copies", list(copies));
    picture.put("due", list(due(&view).into_iter()));
    Value::Object(picture.0)
}

/// A user in a list of those for whom messages wait.
#[must_use]
pub fn in_brief(user: &User, policy: &Policy, now: Timestamp) -> Value {
    let view = View { user, policy, at: now, now, fresh: None };
    let first = user.messages.first();
    let stands = first.map(|m| view.standing(m).iter().map(|s| s.name()).collect::<Vec<_>>());
    json!({
        "user": user.address.to_string(),
        "messages": user.messages.len(),
        "oldest_accepted_at": first.map(|m| m.accepted_at.to_string()),
        "oldest_stands": stands,
        "held": user.hold.is_some(),
    })
}

/// The messages of one id that wait; `None`: none does.
#[must_use]
pub fn waiting(
    user: &User,
    policy: &Policy,
    now: Timestamp,
    id: &str,
    content: bool,
) -> Option<Value> {
    let view = View { user, policy, at: now, now, fresh: None };
    let waiting: Vec<Value> = user.named(id, None).map(|m| message(&view, m, content)).collect();
    let shown =
        || json!({ "user": user.address.to_string(), "at": now.to_string(), "messages": waiting });
    (!waiting.is_empty()).then(shown)
}

/// How the messages of one id ended.
#[must_use]
pub fn ended(user: &Address, answers: &[Answer]) -> Value {
    let ended = answers.iter().map(|answer| {
        json!({ "message_id": answer.message_id, "from": answer.from, "ended": answer.ended })
    });
    let at = answers.first().map(|answer| answer.at.to_string());
    json!({ "user": user.to_string(), "at": at, "messages": ended.collect::<Vec<_>>() })
}

/// Why a message waits, as [`of`] and every other answer tells it.
#[must_use]
pub fn of_why(why: &Why) -> Map<String, Value> {
    let clock = |time: Timestamp| time.to_string();
    let mut fields = Fields::default();
    let names: Vec<&str> = why.standing.iter().map(|standing| standing.name()).collect();
    fields.put("stands", json!(names));
    fields.time("expires_at", Some(why.expires_at));
    let obstacles = why.obstacles.iter().map(|obstacle| {
        let closes = match obstacle.closes() {
            Closes::All => "all",
            Closes::Ip => "cpm",
            Closes::Sms => "sms",
        };
        json!({ "closes": closes, "rule": obstacle.rule(), "words": obstacle.words(&clock) })
    });
    fields.put("in_the_way", list(obstacles));
    let releases = why.releases.iter().map(|release| {
        let mut one = Fields::default();
        one.put("rule", release.rule());
        one.put("words", release.words(&clock));
        one.time("at", release.at());
        Value::Object(one.0)
    });
    fields.put("would_move_it", list(releases));
    fields.0
}

/// A waiting message.
#[must_use]
pub fn message(view: &View<'_>, m: &Deferred, with_content: bool) -> Value {
    let user = view.user;
    let content = &m.content;
    let mut fields = Fields::default();
    fields.put("message_id", content.message_id.as_ref());
    fields.put("from", content.from.as_ref());
    fields.put("kind", content.kind.word());
    fields.put("content_type", content.content_type.as_ref());
    fields.put("size", content.size);
    fields.time("accepted_at", Some(m.accepted_at));
    let by = match (m.interwork, m.interworkable) {
        (Interwork::Fallback, true) => "ip, else sms",
        (Interwork::Fallback, false) => "ip only",
        (Interwork::Only, _) => "sms only",
        (Interwork::Also, _) => "ip and sms",
    };
    fields.put("goes_by", by);
    fields.put("attempts", m.attempts);
    if let Some(why) = why(view, m.place) {
        fields.0.extend(of_why(&why));
    }
    let held = m.holds.iter().map(|hold| match &hold.by {
        HoldBy::Dnd => Value::from("dnd"),
        HoldBy::Rule(name) => format!("rule {name}").into(),
        HoldBy::Operator => "operator".into(),
    });
    fields.some("held_by", held.collect());
    fields.text("last_failure", m.last_cause.map(|cause| cause.to_string()).as_deref());
    let devices = |ids: &[DeviceId]| ids.iter().map(|id| name_of(user, *id).into()).collect();
    fields.some("refused_by", devices(&m.refused_by));
    fields.some("has_it", devices(&m.served));
    fields.text(
        "notice",
        match m.ucn.state {
            UcnState::NotNeeded => None,
            UcnState::Due => Some("due"),
            UcnState::InFlight => Some("in flight"),
            UcnState::Sent => Some("sent"),
            UcnState::Failed => Some("failed"),
        },
    );
    if with_content {
        match &content.body {
            Body::Text(text) => fields.put("body", text.as_ref()),
            Body::Base64(text) => fields.put("body_base64", text.as_ref()),
            Body::Ref(place) => fields.put("body_ref", place.as_ref()),
        }
    }
    Value::Object(fields.0)
}

fn device_of(view: &View<'_>, device: &Device) -> Value {
    let mut fields = Fields::default();
    fields.put("name", device.name.to_string());
    let Some(contact) = view.bound(device) else {
        fields.put("state", "gone");
        fields.time("last_bound", device.bound_at);
        return Value::Object(fields.0);
    };
    let state = view.contact_state(contact);
    fields.put("state", state);
    fields.time("settled_at", Some(contact.settled_at).filter(|at| view.now < *at));
    fields.time("bound_until", Some(contact.expires_at));
    fields.flag("primary", view.primary() == Some(device.id));
    fields.time("since", Some(contact.evidence_at));
    Value::Object(fields.0)
}

fn slot(view: &View<'_>, name: SlotName) -> Option<Value> {
    let slot = view.user.slot(name);
    let fresh = slot.is_attached(view.now, view.policy.attach_stale);
    let state = match (slot.state, fresh) {
        (SlotState::Attached, true) => "attached",
        (SlotState::Attached, false) => "unknown: attached too long ago",
        (SlotState::Detached, _) => "detached",
        (SlotState::Unknown, _) => return None,
    };
    let mut fields = Fields::default();
    fields.put("name", name.word());
    fields.put("state", state);
    fields.flag("no_sms", slot.state == SlotState::Attached && !slot.sms_capable);
    fields.time("since", Some(slot.since));
    Some(Value::Object(fields.0))
}

fn sms(view: &View<'_>) -> Value {
    let user = view.user;
    let mut fields = Fields::default();
    fields.put("possible", user.msisdn().is_some() && view.sms_possible());
    if let Some(block) = user.sms_block.filter(|_| view.block().is_some()) {
        let kind = match block.kind {
            BlockKind::Absent => "absent",
            BlockKind::MemoryFull => "memory full",
            BlockKind::Barred => "barred",
            BlockKind::NotCapable => "not capable",
        };
        fields.put("blocked", kind);
        fields.time("blocked_since", Some(block.time));
        fields.time("blocked_until", block.until);
    }
    if let Some(episode) = user.episode {
        let by = match episode.trigger {
            Trigger::Attach => "an attach",
            Trigger::SmsReady => "sms.ready",
            Trigger::IpLoss => "the loss of ip",
        };
        fields.put("ip_wait_since", by);
        fields.time("ip_has_its_chance_until", Some(episode.deadline));
    }
    fields.time("next_rung", user.ladder.next_at);
    if let Some(sms) = &user.sms_slot {
        let attempt = format!("{}#{} {}", sms.m, sms.number, what_word(sms.what));
        fields.put("out", attempt);
        fields.time("out_since", Some(sms.asked_at));
    }
    Value::Object(fields.0)
}

/// What is due when, soonest first.
fn due(view: &View<'_>) -> Vec<Value> {
    let user = view.user;
    let at_rest = View { now: user.looked, ..*view };
    let mut armed = at_rest.armed();
    armed.sort();
    let one = |due: Armed| {
        let mut fields = Fields::default();
        fields.time("at", Some(due.at));
        fields.put("timer", due.timer.name());
        let message = due.message.and_then(|place| user.message(place));
        fields.text("message_id", message.map(|m| m.content.message_id.as_ref()));
        fields.text("device", due.device.map(|id| name_of(user, id)).as_deref());
        Value::Object(fields.0)
    };
    armed.into_iter().map(one).collect()
}

fn name_of(user: &User, id: DeviceId) -> String {
    user.device(id).map_or_else(|| "?".into(), |device| device.name.to_string())
}

fn list(items: impl Iterator<Item = Value>) -> Value {
    Value::Array(items.collect())
}

/// An object that leaves out what is not there.
#[derive(Debug, Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    fn time(&mut self, name: &str, time: Option<Timestamp>) {
        if let Some(time) = time.filter(|time| *time != Timestamp::MAX) {
            self.put(name, time.to_string());
        }
    }

    fn text(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.put(name, text);
        }
    }

    fn flag(&mut self, name: &str, set: bool) {
        if set {
            self.put(name, true);
        }
    }

    fn some(&mut self, name: &str, items: Vec<Value>) {
        if !items.is_empty() {
            self.put(name, items);
        }
    }
}
