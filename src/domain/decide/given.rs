//! What the tests of this room begin with, and the words in which they read what follows.

use std::time::Duration;

use super::{Ignored, step};
use crate::domain::address::{Address, Home};
use crate::domain::command::AttemptName;
use crate::domain::event::{Access, Event};
use crate::domain::failure::Cause;
use crate::domain::input::{
    Attach, DeliveryOutcome, DeviceRef, Fact, ImsRegistered, Input, MessageSubmitted, Outcome,
    Registration, Told, What,
};
use crate::domain::message::{Interwork, Kind};
use crate::domain::policy::Policy;
use crate::domain::reachability::hash;
use crate::domain::time::Timestamp;
use crate::domain::user::User;

/// `n` seconds from the beginning. Late enough that nothing reaches back before 1970.
pub(super) fn s(n: i64) -> Timestamp {
    Timestamp::from_millis(1_795_219_200_000 + n * 1000)
}

/// A user, a policy, and the facts that are told to them.
pub(super) struct Given {
    pub(super) user: User,
    pub(super) policy: Policy,
    facts: u32,
}

impl Given {
    /// Nobody is known yet; no jitter.
    pub(super) fn nothing() -> Self {
        let address = Address::parse("tel:+15145550100", &Home::default()).unwrap();
        let policy = Policy { jitter_percent: 0, ..Policy::default() };
        Self { user: User::new(address), policy, facts: 0 }
    }

    /// The same under another policy.
    pub(super) fn with(mut self, key: &str, value: &str) -> Self {
        self.policy = self.policy.with(key, value).unwrap();
        self
    }

    /// One more fact, seen and decided then.
    pub(super) fn at(&mut self, n: i64, fact: Fact<'_>) -> Result<Vec<Event>, Ignored> {
        self.facts += 1;
        let source = hash(&format!("{:?}", std::mem::discriminant(&fact)));
        let told = Told { time: s(n), logged: s(n), source, id: self.facts, order: None };
        step(&mut self.user, &Input { told, fact }, s(n), &self.policy)
            .map(|decided| decided.events)
    }

    /// The same, in words.
    pub(super) fn words(&mut self, n: i64, fact: Fact<'_>) -> Vec<String> {
        match self.at(n, fact) {
            Ok(events) => words(&events),
            Err(ignored) => vec![format!("ignored: {ignored}")],
        }
    }

    /// An alarm then, which must find something due.
    pub(super) fn ring(&mut self, n: i64) -> Vec<Event> {
        let due = self.user.wake_at(&self.policy);
        assert!(due.is_some_and(|due| due <= s(n)), "nothing is due: {due:?}");
        self.at(n, Fact::TimerFired).unwrap()
    }

    /// The id under which a gateway speaks of an attempt.
    pub(super) fn attempt(&self, id: &str, number: u32, access: Access) -> String {
        let message = self.user.messages.iter().find(|m| *m.content.message_id == *id).unwrap();
        AttemptName::of(&self.user.address, &message.content, number, access, What::Message)
            .to_string()
    }
}

/// Words, times in seconds from the beginning; what was looked at goes without saying.
pub(super) fn words(events: &[Event]) -> Vec<String> {
    let clock = |time: Timestamp| format!("{}s", time.since(s(0)).as_secs());
    events
        .iter()
        .filter(|event| !matches!(event, Event::Looked { .. }))
        .map(|event| event.words(&clock).replace("sip:", "").replace("@device", ""))
        .collect()
}

/// A text, whose sender wants to hear what fails.
pub(super) fn text(id: &str) -> MessageSubmitted<'static> {
    MessageSubmitted {
        message_id: id.to_owned().into(),
        from: "tel:+15145550111".into(),
        kind: Kind::Pager,
        content_type: "text/plain".into(),
        body: Some("hello".into()),
        body_base64: None,
        body_ref: None,
        size: None,
        sent_at: None,
        expires_at: None,
        expires_seconds: None,
        disposition: vec!["negative-delivery".into()],
        conversation_id: None,
        contribution_id: None,
        in_reply_to_contribution_id: None,
        headers: std::collections::BTreeMap::new(),
        asserted_from: None,
        anonymous: false,
        imdn_route: Vec::new(),
        interwork: Interwork::Fallback,
        interworkable: None,
        held_by: None,
        held_until: None,
        priority: None,
        class: None,
    }
}

/// The same as a fact.
pub(super) fn message(sent: MessageSubmitted<'static>) -> Fact<'static> {
    Fact::MessageSubmitted(Box::new(sent))
}

/// A device of this name.
pub(super) fn device(name: &str) -> DeviceRef<'static> {
    let contact = Some(format!("sip:{name}@device").into());
    DeviceRef { contact, ..DeviceRef::default() }
}

/// It registers, for a week.
pub(super) fn registered(name: &str, n: i64) -> Fact<'static> {
    Fact::ImsRegistered(Box::new(ImsRegistered {
        device: Some(device(name)),
        expires_at: s(n) + Duration::from_secs(604_800),
        change: Registration::Unknown,
        features: None,
        cpm_capable: None,
        aliases: Vec::new(),
        imsi: None,
        profile: None,
        access: None,
        user_agent: None,
        call_id: None,
        cseq: None,
        trust: None,
    }))
}

/// The phone attaches to CS.
pub(super) fn cs_attached() -> Fact<'static> {
    Fact::CsAttached(Attach::default())
}

/// What a gateway says of an attempt, of all its legs.
pub(super) fn outcome(
    attempt_id: String,
    outcome: Outcome,
    cause: Option<Cause>,
) -> DeliveryOutcome<'static> {
    DeliveryOutcome {
        attempt_id: attempt_id.into(),
        outcome,
        device: None,
        sip_status: None,
        cause,
        retry_after_seconds: None,
        warning: None,
        technology: None,
        legacy_ids: Vec::new(),
        report_expected: None,
    }
}
