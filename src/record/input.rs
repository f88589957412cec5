//! Bytes to facts: what each type of input must say, and why one is refused.

use std::borrow::Cow;

use base64::Engine as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::envelope::Envelope;
use super::fault::told;
use crate::domain::address::{Address, AddressError, Home, LONGEST_TEL};
use crate::domain::input::{self, DeviceRef, Fact, Input, Text, Told};
use crate::domain::reachability::hash;
use crate::domain::time::Timestamp;

/// A day: how far ahead of the log an observation may be.
const A_DAY: std::time::Duration = std::time::Duration::from_secs(86_400);
/// What the engine writes and nobody sends it.
const OURS: [&str; 6] = [
    "cpm.delivery.requested",
    "cpm.notification.requested",
    "cpm.revocation.answered",
    "cpm.storage.requested",
    "cpm.input.rejected",
    "cpm.policy.changed",
];
/// Octets of an id or an address.
pub const MAX_NAME: usize = 1024;

/// Why an input is refused. It lands in `cpm.dead-letters` with these words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the words are the doc")]
pub enum Rejected {
    #[error("larger than {most} bytes, which is max_input_bytes")]
    TooLarge { most: usize },
    #[error("not UTF-8: byte {at} starts no character")]
    NotUtf8 { at: usize },
    #[error("not JSON: {0}")]
    NotJson(String),
    #[error("nested deeper than {most} levels")]
    TooDeep { most: u32 },
    #[error("not a CloudEvent: {0}")]
    NotCloudEvent(String),
    #[error("specversion is `{0}`, expected 1.0")]
    SpecVersion(String),
    #[error("unknown type `{0}`; `deferd schema` lists the types")]
    UnknownType(String),
    #[error("type `{0}` has no version, expected `{0}.v1`")]
    NoVersion(String),
    #[error("version {found} of `{kind}` is newer than 1, the newest this program reads")]
    NewerVersion { kind: String, found: u32 },
    #[error("`{0}` is written by the engine, and never read from outside")]
    NotFromOutside(String),
    #[error("subject is missing: it names the user, such as tel:+15145550100")]
    NoSubject,
    #[error("subject: {0}")]
    Subject(AddressError),
    #[error("data: {0}")]
    Data(String),
    #[error("time is {0}, more than a day ahead of the log")]
    Ahead(Timestamp),
    #[error("{0}")]
    Probe(String),
    #[error("conflict: the same message_id and from, another message")]
    Conflict,
    #[error(
        "in partition {partition}, and the user belongs to partition {belongs} of {of}: key the record by \
         the user's canonical address, and let murmur2 choose (librdkafka: partitioner=murmur2_random)"
    )]
    Misplaced { partition: u32, belongs: u32, of: u32 },
}

impl Rejected {
    /// Every reason in one word.
    pub const WORDS: [&str; 14] = [
        "too-large",
        "not-utf8",
        "not-json",
        "too-deep",
        "not-cloudevent",
        "unknown-type",
        "newer-version",
        "not-from-outside",
        "subject",
        "data",
        "ahead",
        "not-probe",
        "conflict",
        "misplaced",
    ];

    /// The reason in one word, for counting.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too-large",
            Self::NotUtf8 { .. } => "not-utf8",
            Self::NotJson(_) => "not-json",
            Self::TooDeep { .. } => "too-deep",
            Self::NotCloudEvent(_) | Self::SpecVersion(_) => "not-cloudevent",
            Self::UnknownType(_) | Self::NoVersion(_) => "unknown-type",
            Self::NewerVersion { .. } => "newer-version",
            Self::NotFromOutside(_) => "not-from-outside",
            Self::NoSubject | Self::Subject(_) => "subject",
            Self::Data(_) => "data",
            Self::Ahead(_) => "ahead",
            Self::Probe(_) => "not-probe",
            Self::Conflict => "conflict",
            Self::Misplaced { .. } => "misplaced",
        }
    }
}

/// What the reader needs to know of the world.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Numbers without a country, and our own domains.
    pub home: Home,
    /// Octets of one input, at most.
    pub max_input_bytes: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Self { home: Home::default(), max_input_bytes: 262_144 }
    }
}

/// An input, read: borrowed from its bytes.
#[derive(Debug)]
pub struct Read<'a> {
    /// The user it is about.
    pub user: Address,
    /// What happened, who told it, when.
    pub input: Input<'a>,
    /// `source` and `id`, as they came.
    pub source: Text<'a>,
    /// The same.
    pub id: Text<'a>,
    /// Which type it is.
    pub kind: Kind,
}

/// The types of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the record type of its name")]
pub enum Kind {
    MessageSubmitted,
    MessageRevokeRequested,
    MessageHandled,
    MessageCancelled,
    MessageRetryRequested,
    MessageExpireRequested,
    UserHeld,
    UserReleased,
    PreferencesChanged,
    IdentityChanged,
    UserPurged,
    ImsRegistered,
    ImsDeregistered,
    CsAttached,
    CsDetached,
    PsAttached,
    PsDetached,
    SmsReady,
    DeliveryOutcome,
    SmsDelivered,
    SmsDelayed,
    SmsFailed,
    ImdnReceived,
    StorageOutcome,
    TimerFired,
}

impl Kind {
    /// Every type, with its name on the wire and the topic it belongs on.
    pub const ALL: [(Self, &'static str, &'static str); 25] = [
        (Self::MessageSubmitted, "cpm.message.submitted", "cpm.messages"),
        (Self::MessageRevokeRequested, "cpm.message.revoke_requested", "cpm.messages"),
        (Self::MessageHandled, "cpm.message.handled", "cpm.messages"),
        (Self::MessageCancelled, "cpm.message.cancelled", "cpm.messages"),
        (Self::MessageRetryRequested, "cpm.message.retry_requested", "cpm.messages"),
        (Self::MessageExpireRequested, "cpm.message.expire_requested", "cpm.messages"),
        (Self::UserHeld, "cpm.user.held", "cpm.messages"),
        (Self::UserReleased, "cpm.user.released", "cpm.messages"),
        (Self::PreferencesChanged, "cpm.preferences.changed", "cpm.messages"),
        (Self::IdentityChanged, "cpm.identity.changed", "cpm.messages"),
        (Self::UserPurged, "cpm.user.purged", "cpm.messages"),
        (Self::ImsRegistered, "cpm.ims.registered", "cpm.reachability"),
        (Self::ImsDeregistered, "cpm.ims.deregistered", "cpm.reachability"),
        (Self::CsAttached, "cpm.cs.attached", "cpm.reachability"),
        (Self::CsDetached, "cpm.cs.detached", "cpm.reachability"),
        (Self::PsAttached, "cpm.ps.attached", "cpm.reachability"),
        (Self::PsDetached, "cpm.ps.detached", "cpm.reachability"),
        (Self::SmsReady, "cpm.sms.ready", "cpm.reachability"),
        (Self::DeliveryOutcome, "cpm.delivery.outcome", "cpm.outcomes"),
        (Self::SmsDelivered, "cpm.sms.delivered", "cpm.outcomes"),
        (Self::SmsDelayed, "cpm.sms.delayed", "cpm.outcomes"),
        (Self::SmsFailed, "cpm.sms.failed", "cpm.outcomes"),
        (Self::ImdnReceived, "cpm.imdn.received", "cpm.outcomes"),
        (Self::StorageOutcome, "cpm.storage.outcome", "cpm.outcomes"),
        (Self::TimerFired, "cpm.timer.fired", "cpm.journal"),
    ];

    /// The type of this name, `.v1` and all.
    ///
    /// # Errors
    ///
    /// [`Rejected`]: no such type, or a later version of one.
    pub fn of(name: &str) -> Result<Self, Rejected> {
        let (stem, version) = name.rsplit_once(".v").unwrap_or((name, ""));
        let known = Self::ALL.iter().find(|(_, known, _)| *known == stem);
        match (known, version.parse::<u32>()) {
            (Some((kind, ..)), Ok(1)) => Ok(*kind),
            (Some((_, kind, _)), Ok(found)) if found > 1 => {
                Err(Rejected::NewerVersion { kind: (*kind).to_owned(), found })
            }
            (Some(_), Err(_)) if version.is_empty() => Err(Rejected::NoVersion(name.to_owned())),
            _ if OURS.contains(&stem) => Err(Rejected::NotFromOutside(name.to_owned())),
            _ => Err(Rejected::UnknownType(name.chars().take(200).collect())),
        }
    }

    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, name, _)| name)
    }

    /// The topic it belongs on.
    #[must_use]
    pub fn topic(self) -> &'static str {
        Self::ALL.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, _, topic)| topic)
    }

    /// Whether it says what was seen of a phone, as probes do.
    #[must_use]
    pub fn is_fact(self) -> bool {
        matches!(
            self,
            Self::ImsRegistered
                | Self::ImsDeregistered
                | Self::CsAttached
                | Self::CsDetached
                | Self::PsAttached
                | Self::PsDetached
                | Self::SmsReady
        )
    }

    /// Whether its `source` and `id` are remembered for a while: a second one of these would act
    /// twice.
    #[must_use]
    pub fn is_remembered(self) -> bool {
        matches!(
            self,
            Self::MessageSubmitted
                | Self::MessageRevokeRequested
                | Self::MessageCancelled
                | Self::MessageRetryRequested
                | Self::MessageExpireRequested
                | Self::UserHeld
                | Self::UserReleased
        )
    }
}

impl Reader {
    /// Reads one input from outside; `logged` is when the log took it.
    ///
    /// # Errors
    ///
    /// [`Rejected`]: the reason, for a dead letter or for whoever typed it.
    pub fn read<'a>(&self, bytes: &'a [u8], logged: Timestamp) -> Result<Read<'a>, Rejected> {
        if bytes.len() > self.max_input_bytes {
            return Err(Rejected::TooLarge { most: self.max_input_bytes });
        }
        let envelope = Envelope::read(bytes)?;
        let kind = Kind::of(&envelope.kind)?;
        if kind == Kind::TimerFired {
            return Err(Rejected::NotFromOutside(envelope.kind.0.into_owned()));
        }
        let time = envelope.time.unwrap_or(logged);
        if time > logged + A_DAY {
            return Err(Rejected::Ahead(time));
        }
        self.read_as(&envelope, kind, logged)
    }

    /// Reads an input as the journal kept it: what was let in once is not judged again.
    ///
    /// # Errors
    ///
    /// [`Rejected`], where the journal does not hold what we wrote.
    pub fn reread<'a>(&self, raw: &'a RawValue, logged: Timestamp) -> Result<Read<'a>, Rejected> {
        let envelope = Envelope::read_text(raw.get())?;
        let kind = Kind::of(&envelope.kind)?;
        self.read_as(&envelope, kind, logged)
    }

    /// An input as the journal keeps it: whole in itself, so that no later reader needs to know what this
    /// one knows of home numbers. Addresses that only this reader could complete are written out.
    #[must_use]
    pub fn whole<'r>(&self, raw: &'r str, read: &Read<'_>) -> Cow<'r, str> {
        let told = |address: &str| raw.contains(&format!("\"{address}\""));
        let sender = sender_of(&read.input.fact);
        let rules = matches!(read.input.fact, Fact::PreferencesChanged(_));
        if self.home == Home::default()
            || (told(&read.user.to_string()) && sender.is_none_or(told) && !rules)
        {
            return Cow::Borrowed(raw);
        }
        let Ok(mut event) = serde_json::from_str::<serde_json::Value>(raw) else {
            return Cow::Borrowed(raw);
        };
        if let Some(subject) = event.get_mut("subject") {
            *subject = read.user.to_string().into();
        }
        if let (Some(from), Some(sender)) = (event.pointer_mut("/data/from"), sender) {
            *from = sender.into();
        }
        if let (Some(data), Fact::PreferencesChanged(change)) =
            (event.get_mut("data"), &read.input.fact)
        {
            *data = serde_json::to_value(change).unwrap_or_default();
        }
        Cow::Owned(event.to_string())
    }

    fn read_as<'a>(
        &self,
        envelope: &Envelope<'a>,
        kind: Kind,
        logged: Timestamp,
    ) -> Result<Read<'a>, Rejected> {
        let subject = envelope.subject.as_ref().ok_or(Rejected::NoSubject)?;
        let user = Address::parse(subject, &self.home).map_err(Rejected::Subject)?;
        let told = Told {
            time: envelope.time.unwrap_or(logged),
            logged,
            source: hash(&envelope.source),
            id: hash(&envelope.id),
            order: envelope.order(),
        };
        let fact = self.fact(kind, envelope.data())?;
        let (source, id) = (envelope.source.clone(), envelope.id.clone());
        Ok(Read { user, input: Input { told, fact }, source, id, kind })
    }

    /// The fact that `data` tells, as its type is read.
    fn fact<'a>(&self, kind: Kind, data: &'a str) -> Result<Fact<'a>, Rejected> {
        Ok(match kind {
            Kind::MessageSubmitted => {
                let mut message: Box<input::MessageSubmitted<'_>> = data_as(data)?;
                named("message_id", &message.message_id)?;
                self.sender(&mut message.from)?;
                check_body(&message)?;
                Fact::MessageSubmitted(message)
            }
            Kind::MessageRevokeRequested => {
                let mut request: input::MessageRevokeRequested<'_> = data_as(data)?;
                named("message_id", &request.message_id)?;
                self.sender(&mut request.from)?;
                Fact::MessageRevokeRequested(request)
            }
            Kind::MessageHandled => {
                let mut handled: input::MessageHandled<'_> = data_as(data)?;
                named("message_id", &handled.message_id)?;
                self.maybe_sender(&mut handled.from)?;
                Fact::MessageHandled(handled)
            }
            Kind::MessageCancelled => Fact::MessageCancelled(self.hand(data, true)?),
            Kind::MessageRetryRequested => Fact::MessageRetryRequested(self.hand(data, false)?),
            Kind::MessageExpireRequested => Fact::MessageExpireRequested(self.hand(data, true)?),
            Kind::UserHeld => Fact::UserHeld(data_as(data)?),
            Kind::UserReleased => Fact::UserReleased(data_as(data)?),
            Kind::PreferencesChanged => {
                let mut change: Box<input::PreferencesChanged> = data_as(data)?;
                self.canonical_rules(&mut change);
                Fact::PreferencesChanged(change)
            }
            Kind::IdentityChanged => Fact::IdentityChanged(data_as(data)?),
            Kind::UserPurged => Fact::UserPurged(data_as(data)?),
            Kind::ImsRegistered => {
                let registered: Box<input::ImsRegistered<'_>> = data_as(data)?;
                device(registered.device.as_ref())?;
                Fact::ImsRegistered(registered)
            }
            Kind::ImsDeregistered => {
                let gone: input::ImsDeregistered<'_> = data_as(data)?;
                device(gone.device.as_ref())?;
                Fact::ImsDeregistered(gone)
            }
            Kind::CsAttached => Fact::CsAttached(data_as(data)?),
            Kind::CsDetached => Fact::CsDetached(data_as(data)?),
            Kind::PsAttached => Fact::PsAttached(data_as(data)?),
            Kind::PsDetached => Fact::PsDetached(data_as(data)?),
            Kind::SmsReady => Fact::SmsReady(data_as(data)?),
            Kind::DeliveryOutcome => {
                let outcome: input::DeliveryOutcome<'_> = data_as(data)?;
                named("attempt_id", &outcome.attempt_id)?;
                device(outcome.device.as_ref())?;
                Fact::DeliveryOutcome(outcome)
            }
            Kind::SmsDelivered => Fact::SmsDelivered(self.report(data)?),
            Kind::SmsDelayed => Fact::SmsDelayed(self.report(data)?),
            Kind::SmsFailed => Fact::SmsFailed(self.report(data)?),
            Kind::ImdnReceived => {
                let mut imdn: input::ImdnReceived<'_> = data_as(data)?;
                named("message_id", &imdn.message_id)?;
                device(imdn.device.as_ref())?;
                self.maybe_sender(&mut imdn.from)?;
                Fact::ImdnReceived(imdn)
            }
            Kind::StorageOutcome => {
                let mut outcome: input::StorageOutcome<'_> = data_as(data)?;
                named("message_id", &outcome.message_id)?;
                self.maybe_sender(&mut outcome.from)?;
                Fact::StorageOutcome(outcome)
            }
            Kind::TimerFired => Fact::TimerFired,
        })
    }

    fn hand<'a>(
        &self,
        data: &'a str,
        needs_message: bool,
    ) -> Result<input::MessageByHand<'a>, Rejected> {
        let mut hand: input::MessageByHand<'_> = data_as(data)?;
        match &hand.message_id {
            Some(id) => named("message_id", id)?,
            None if needs_message => {
                return Err(Rejected::Data("missing field `message_id`".to_owned()));
            }
            None => {}
        }
        self.maybe_sender(&mut hand.from)?;
        Ok(hand)
    }

    fn report<'a>(&self, data: &'a str) -> Result<input::SmsReport<'a>, Rejected> {
        let mut report: input::SmsReport<'_> = data_as(data)?;
        if report.message_id.is_none() && report.attempt_id.is_none() && report.legacy_id.is_none()
        {
            return Err(Rejected::Data(
                "it names no message: expected message_id, attempt_id or legacy_id".to_owned(),
            ));
        }
        self.maybe_sender(&mut report.from)?;
        Ok(report)
    }

    /// A sender in its canonical form, so that one sender is one; what is no address of a user (a short
    /// code, a name) stays as it is.
    fn sender(&self, from: &mut Text<'_>) -> Result<(), Rejected> {
        named("from", from)?;
        if let Ok(address) = Address::parse(from, &self.home) {
            let mut buffer = [0; LONGEST_TEL];
            let canonical = address.written(&mut buffer);
            if *canonical != **from {
                from.0 = Cow::Owned(canonical.to_owned());
            }
        }
        Ok(())
    }

    fn maybe_sender(&self, from: &mut Option<Text<'_>>) -> Result<(), Rejected> {
        from.as_mut().map_or(Ok(()), |from| self.sender(from))
    }

    fn canonical_rules(&self, change: &mut input::PreferencesChanged) {
        let canonical = |sender: &mut Box<str>| {
            if let Ok(address) = Address::parse(sender, &self.home) {
                *sender = address.to_string().into();
            }
        };
        if let input::Change::Set(rules) = &mut change.rules {
            for rule in rules {
                rule.senders.iter_mut().for_each(canonical);
                for many in &mut rule.many {
                    many.except.iter_mut().for_each(canonical);
                    let domains = many.domain.iter_mut().chain(&mut many.except_domains);
                    domains.for_each(|domain| domain.make_ascii_lowercase());
                }
            }
        }
        if let input::Change::Set(senders) = &mut change.blacklist {
            senders.iter_mut().for_each(canonical);
        }
    }
}

/// The sender that a fact names.
fn sender_of<'f>(fact: &'f Fact<'_>) -> Option<&'f str> {
    match fact {
        Fact::MessageSubmitted(message) => Some(&message.from),
        Fact::MessageRevokeRequested(request) => Some(&request.from),
        Fact::MessageHandled(handled) => handled.from.as_deref(),
        Fact::MessageCancelled(hand)
        | Fact::MessageRetryRequested(hand)
        | Fact::MessageExpireRequested(hand) => hand.from.as_deref(),
        Fact::SmsDelivered(report) | Fact::SmsDelayed(report) | Fact::SmsFailed(report) => {
            report.from.as_deref()
        }
        Fact::ImdnReceived(imdn) => imdn.from.as_deref(),
        Fact::StorageOutcome(outcome) => outcome.from.as_deref(),
        Fact::UserHeld(_)
        | Fact::UserReleased(_)
        | Fact::PreferencesChanged(_)
        | Fact::IdentityChanged(_)
        | Fact::UserPurged(_)
        | Fact::ImsRegistered(_)
        | Fact::ImsDeregistered(_)
        | Fact::CsAttached(_)
        | Fact::CsDetached(_)
        | Fact::PsAttached(_)
        | Fact::PsDetached(_)
        | Fact::SmsReady(_)
        | Fact::DeliveryOutcome(_)
        | Fact::TimerFired => None,
    }
}

fn data_as<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, Rejected> {
    // Serde would take an array for an object.
    if !data.starts_with('{') {
        return Err(Rejected::Data("not an object, expected {\"field\": …}".to_owned()));
    }
    serde_json::from_str(data).map_err(|error| Rejected::Data(told(data, &error)))
}

fn named(field: &str, value: &str) -> Result<(), Rejected> {
    if value.trim().is_empty() {
        return Err(Rejected::Data(format!("{field} is empty")));
    }
    if value.len() > MAX_NAME {
        let size = value.len();
        return Err(Rejected::Data(format!(
            "{field} has {size} bytes, expected at most {MAX_NAME}"
        )));
    }
    Ok(())
}

fn device(device: Option<&DeviceRef<'_>>) -> Result<(), Rejected> {
    let Some(device) = device else { return Ok(()) };
    if device.instance.is_none() && device.contact.is_none() {
        let wrong = "device names nothing: expected instance or contact";
        return Err(Rejected::Data(wrong.to_owned()));
    }
    device.instance.iter().try_for_each(|instance| named("device.instance", instance))?;
    device.contact.iter().try_for_each(|contact| named("device.contact", contact))
}

fn check_body(message: &input::MessageSubmitted<'_>) -> Result<(), Rejected> {
    let bodies =
        [message.body.is_some(), message.body_base64.is_some(), message.body_ref.is_some()];
    match bodies.into_iter().filter(|there| *there).count() {
        0 => Err(Rejected::Data(
            "missing the content: expected one of body, body_base64, body_ref".to_owned(),
        )),
        1 => match &message.body_base64 {
            Some(text) => base64::engine::general_purpose::STANDARD
                .decode(text.as_bytes())
                .map(|_| ())
                .map_err(|error| Rejected::Data(format!("body_base64: {error}"))),
            None => Ok(()),
        },
        _ => Err(Rejected::Data(
            "the content stands there twice: expected one of body, body_base64, body_ref"
                .to_owned(),
        )),
    }
}
