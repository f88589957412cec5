//! What happened, in a line: the telling fields of each type of input.

use std::collections::HashMap;
use std::fmt::Display;

use serde::Serialize;

use super::paint::span;
use crate::domain::input::{
    Attach, DeliveryOutcome, DeviceRef, Fact, MessageByHand, MessageSubmitted, SmsReport,
    UserByHand,
};
use crate::domain::message::Interwork;
use crate::domain::reachability::DeviceName;
use crate::domain::time::Timestamp;
use crate::engine::history::short;
use crate::record::input::Read;

/// Attempts by their ids.
pub(super) type Attempts = HashMap<String, String>;

/// An input in words: its type, and what else tells.
pub(super) fn words(
    read: &Read<'_>,
    clock: &dyn Fn(Timestamp) -> String,
    attempts: &Attempts,
) -> String {
    let kind = short(read.kind.name());
    let says = says(&read.input.fact, clock, attempts);
    if says.is_empty() { kind.to_owned() } else { format!("{kind}  {says}") }
}

fn says(fact: &Fact<'_>, clock: &dyn Fn(Timestamp) -> String, attempts: &Attempts) -> String {
    let mut words = Words::default();
    match fact {
        Fact::MessageSubmitted(message) => return submitted(message, clock),
        Fact::MessageRevokeRequested(request) => {
            words.say(&request.message_id).say(format!("by {}", &*request.from));
        }
        Fact::MessageHandled(handled) => {
            words.say(&handled.message_id).say(word(&handled.result));
            words.field("sip", handled.sip_status).field("rule", handled.rule.as_deref());
        }
        Fact::MessageCancelled(hand)
        | Fact::MessageRetryRequested(hand)
        | Fact::MessageExpireRequested(hand) => by_hand(&mut words, hand),
        Fact::UserHeld(hand) | Fact::UserReleased(hand) => by_person(&mut words, hand),
        Fact::PreferencesChanged(change) => {
            words.field("version", change.version);
            if !change.do_not_disturb.is_keep() {
                words.say(format!("do_not_disturb={}", word(&change.do_not_disturb)));
            }
            if !change.rules.is_keep() {
                words.say("rules");
            }
        }
        Fact::IdentityChanged(change) => {
            words.say(word(&change.reason));
        }
        Fact::UserPurged(purge) => {
            words.field("reason", purge.reason.as_deref());
        }
        Fact::ImsRegistered(registered) => {
            words.device(registered.device.as_ref()).say(word(&registered.change));
            words.say(format!("until {}", clock(registered.expires_at)));
            words.field("cpm", registered.cpm_capable);
            if let Some(features) = &registered.features {
                words.say(format!("{} features", features.len()));
            }
            words.field("agent", registered.user_agent.as_deref());
        }
        Fact::ImsDeregistered(gone) => {
            words.device(gone.device.as_ref());
            words.field("reason", gone.reason.as_ref().map(word));
        }
        Fact::CsAttached(attach)
        | Fact::CsDetached(attach)
        | Fact::PsAttached(attach)
        | Fact::PsDetached(attach) => attached(&mut words, attach),
        Fact::SmsReady(ready) => {
            words.field("domain", ready.domain.as_deref());
            words.field("reason", ready.alert_reason.as_ref().map(word));
            words.field("until", ready.available_until.map(clock));
            words.field("trust", ready.trust.as_ref().map(word));
        }
        Fact::DeliveryOutcome(outcome) => outcome_of(&mut words, outcome, attempts),
        Fact::SmsDelivered(report) | Fact::SmsDelayed(report) | Fact::SmsFailed(report) => {
            report_of(&mut words, report, attempts);
        }
        Fact::ImdnReceived(imdn) => {
            words.say(&imdn.message_id).say(&imdn.disposition);
            words.say(format!("by {}", word(&imdn.reported_by)));
            if imdn.device.is_some() {
                words.device(imdn.device.as_ref());
            }
        }
        Fact::StorageOutcome(outcome) => {
            words.say(&outcome.message_id).say(word(&outcome.outcome));
            words.field("reason", outcome.reason.as_deref());
        }
        Fact::TimerFired => {}
    }
    words.0
}

fn submitted(message: &MessageSubmitted<'_>, clock: &dyn Fn(Timestamp) -> String) -> String {
    let mut words = Words::default();
    words.say(&message.message_id).say(format!("from {}", &*message.from));
    words.say(message.kind.word()).say(format!("{} bytes", message.content().size));
    if message.interwork != Interwork::Fallback {
        words.say(format!("interwork={}", word(&message.interwork)));
    }
    words.field("conversation", message.conversation_id.as_deref());
    words.field("held_by", message.held_by.as_deref());
    words.field("expires", message.expires_at.map(clock));
    words.field("for", message.expires_seconds.map(|s| span(std::time::Duration::from_secs(s))));
    words.0
}

fn by_hand(words: &mut Words, hand: &MessageByHand<'_>) {
    words.say(hand.message_id.as_deref().unwrap_or("all messages"));
    words.say(format!("by {}: {}", &*hand.operator, &*hand.reason));
}

fn by_person(words: &mut Words, hand: &UserByHand<'_>) {
    words.say(format!("by {}: {}", &*hand.operator, &*hand.reason));
}

fn attached(words: &mut Words, attach: &Attach<'_>) {
    words.field("node", attach.node.as_deref()).field("procedure", attach.procedure.as_deref());
    words.field("rat", attach.rat.as_deref()).field("sms_capable", attach.sms_capable);
    words.field("roaming", attach.roaming.filter(|roaming| *roaming));
    words.field("trust", attach.trust.as_ref().map(word));
}

fn outcome_of(words: &mut Words, outcome: &DeliveryOutcome<'_>, attempts: &Attempts) {
    words.say(name_of(&outcome.attempt_id, attempts)).say(word(&outcome.outcome));
    if outcome.device.is_some() {
        words.device(outcome.device.as_ref());
    }
    words.field("cause", outcome.cause.as_ref().map(word)).field("sip", outcome.sip_status);
    words.field("retry_after", outcome.retry_after_seconds.map(|s| format!("{s}s")));
    words.field("technology", outcome.technology.as_ref().map(word));
    words.field("warning", outcome.warning.as_deref());
    if !outcome.legacy_ids.is_empty() {
        let ids: Vec<&str> = outcome.legacy_ids.iter().map(|id| &**id).collect();
        words.say(format!("legacy_ids={}", ids.join(",")));
    }
}

fn report_of(words: &mut Words, report: &SmsReport<'_>, attempts: &Attempts) {
    for name in [&report.message_id, &report.legacy_id].into_iter().flatten() {
        words.say(name);
    }
    if let Some(attempt) = &report.attempt_id {
        words.say(name_of(attempt, attempts));
    }
    words.field("cause", report.cause.as_ref().map(word)).field("diagnostic", report.diagnostic);
    words.field("domain", report.domain.as_deref());
    let error =
        report.error.as_ref().map(|error| format!("{}/{}", word(&error.protocol), &*error.code));
    words.field("error", error).field("trust", report.trust.as_ref().map(word));
}

/// An attempt as a person knows it: `m1#2`, or the part of its id that can be read.
fn name_of(id: &str, attempts: &Attempts) -> String {
    if let Some(name) = attempts.get(id.trim()) {
        return name.clone();
    }
    match id.split_once('-') {
        Some((digest, rest)) if digest.len() == 32 => format!("#{rest}"),
        Some(_) | None => id.to_owned(),
    }
}

/// A word of the contract.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

#[derive(Default)]
struct Words(String);

impl Words {
    fn say(&mut self, what: impl AsRef<str>) -> &mut Self {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(what.as_ref());
        self
    }

    fn field(&mut self, name: &str, value: Option<impl Display>) -> &mut Self {
        if let Some(value) = value {
            self.say(format!("{name}={value}"));
        }
        self
    }

    fn device(&mut self, device: Option<&DeviceRef<'_>>) -> &mut Self {
        match device {
            Some(device) => self.say(DeviceName::of(Some(device), "").to_string()),
            None => self.say("any device"),
        }
    }
}
