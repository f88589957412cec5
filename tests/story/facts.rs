//! The words of facts. See `scenarios/README.md` for all of them.

use deferd::domain::failure::{Cause, Protocol};
use deferd::domain::input::{
    Action, AlertReason, Attach, Change, DeliveryOutcome, DeviceRef, DoNotDisturb, Fact, HandledAs,
    IdentityChanged, IdentityReason, ImdnReceived, ImsDeregistered, ImsRegistered, MessageByHand,
    MessageHandled, MessageRevokeRequested, MessageSubmitted, Outcome, PreferencesChanged,
    ProtocolError, Registration, ReportedBy, Rule, SmsReady, SmsReport, Storage, StorageOutcome,
    Technology, Trust, UserByHand, UserPurged, What,
};
use deferd::domain::message::{Interwork, Kind, Text};
use deferd::domain::time::Timestamp;

use super::{Story, millis, time};

const SENDER: &str = "tel:+15145550111";

/// Who tells facts of this kind, unless the line says `source`.
pub(crate) fn source(words: &[String]) -> &'static str {
    match words.first().map(String::as_str) {
        Some("ims") => "ims",
        Some("cs" | "ps") => "probe",
        Some("sms" | "imdn" | "outcome") => "gateway",
        _ => "front",
    }
}

/// What is left of a line, word by word.
struct Words<'a> {
    left: &'a [String],
    story: &'a Story,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.left.split_first()?;
        self.left = rest;
        Some(first)
    }

    fn must(&mut self, what: &str) -> Result<&'a str, String> {
        self.next().ok_or_else(|| format!("{what}?"))
    }

    fn eat(&mut self, word: &str) -> bool {
        let there = self.left.first().is_some_and(|first| first == word);
        if there {
            self.next();
        }
        there
    }

    /// The next word, if `read` can make something of it.
    fn some<T>(&mut self, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let value = read(self.left.first()?)?;
        self.next();
        Some(value)
    }

    fn when(&mut self) -> Result<Timestamp, String> {
        let word = self.must("when")?;
        time(word).ok_or_else(|| format!("{word:?} is no time"))
    }

    fn seconds<T: TryFrom<i64>>(&mut self) -> Result<T, String> {
        let word = self.must("how long")?;
        let seconds = millis(word).ok_or_else(|| format!("{word:?} is no time"))? / 1000;
        T::try_from(seconds).map_err(|_| format!("{word:?} is out of range"))
    }

    fn end(&self) -> Result<(), String> {
        match self.left.first() {
            None => Ok(()),
            Some(word) => Err(format!("what is {word:?}?")),
        }
    }

    fn trust(&mut self) -> Option<Trust> {
        self.some(|word| match word {
            "inferred" => Some(Trust::Inferred),
            "passive" => Some(Trust::Passive),
            "authoritative" => Some(Trust::Authoritative),
            _ => None,
        })
    }
}

fn text(word: &str) -> Text<'static> {
    word.to_owned().into()
}

/// A sender: `alice` is a SIP URI; none is the number of everybody's friend.
fn sender(name: &str) -> String {
    if name.contains(':') { name.to_owned() } else { format!("sip:{name}@example.com") }
}

/// `phone1`; `anybody` is a third-party REGISTER, which tells no device.
fn device(name: &str) -> Option<DeviceRef<'static>> {
    let contact = text(&format!("sip:{name}@device"));
    (name != "anybody").then(|| DeviceRef { contact: Some(contact), ..DeviceRef::default() })
}

/// The fact that these words tell.
pub(crate) fn read(words: &[String], story: &Story) -> Result<Fact<'static>, String> {
    let mut words = Words { left: words, story };
    let fact = match words.must("what happened")? {
        "message" => message(&mut words)?,
        "revoke" => revoke(&mut words)?,
        "handled" => handled(&mut words)?,
        "cancel" => Fact::MessageCancelled(by_hand(&mut words)?),
        "retry" => Fact::MessageRetryRequested(by_hand(&mut words)?),
        "expire" => Fact::MessageExpireRequested(by_hand(&mut words)?),
        "hold" => Fact::UserHeld(hand()),
        "release" => Fact::UserReleased(hand()),
        "prefs" => preferences(&mut words)?,
        "identity" => identity(&mut words)?,
        "purge" => Fact::UserPurged(UserPurged::default()),
        "ims" => match words.must("ims what")? {
            "registered" => registered(&mut words)?,
            "deregistered" => deregistered(&mut words)?,
            other => return Err(format!("ims {other}?")),
        },
        "cs" => attach(&mut words, Fact::CsAttached, Fact::CsDetached)?,
        "ps" => attach(&mut words, Fact::PsAttached, Fact::PsDetached)?,
        "sms" => match words.must("sms what")? {
            "ready" => ready(&mut words)?,
            "delivered" => Fact::SmsDelivered(report(&mut words)?),
            "delayed" => Fact::SmsDelayed(report(&mut words)?),
            "failed" => Fact::SmsFailed(report(&mut words)?),
            other => return Err(format!("sms {other}?")),
        },
        "outcome" => outcome(&mut words)?,
        "imdn" => imdn(&mut words)?,
        "store" => storage(&mut words)?,
        other => return Err(format!("nobody knows what {other:?} means")),
    };
    words.end()?;
    Ok(fact)
}

fn message(words: &mut Words<'_>) -> Result<Fact<'static>, String> {
    let id = words.must("which message")?;
    let (kind, content_type, body) = match words.must("which kind")? {
        "text" => (Kind::Pager, "text/plain", "hello".to_owned()),
        "long" => (Kind::Large, "text/plain", "so it goes ".repeat(300)),
        "chat" => (Kind::Chat, "text/plain", "hello".to_owned()),
        "file" => (Kind::File, "application/vnd.gsma.rcs-ft-http+xml", "<file/>".to_owned()),
        "location" => {
            (Kind::Geolocation, "application/vnd.gsma.rcspushlocation+xml", "<rcs/>".into())
        }
        "encrypted" => (Kind::Pager, "multipart/encrypted", "secret".to_owned()),
        "imdn" => (Kind::Imdn, "message/imdn+xml", "<imdn/>".to_owned()),
        "system" => (Kind::System, "application/vnd.oma.cpm-eventfw+xml", "<e/>".to_owned()),
        other => return Err(format!("a message of what kind is {other}?")),
    };
    let mut sent = MessageSubmitted {
        message_id: text(id),
        from: text(SENDER),
        kind,
        content_type: text(content_type),
        body: Some(body.into()),
        body_base64: None,
        body_ref: None,
        size: None,
        sent_at: None,
        expires_at: None,
        expires_seconds: None,
        disposition: Vec::new(),
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
    };
    while let Some(word) = words.next() {
        match word {
            "by" => sent.from = sender(words.must("by whom")?).into(),
            "for" => sent.expires_seconds = Some(words.seconds()?),
            "until" => sent.expires_at = Some(words.when()?),
            "saying" => sent.body = Some(text(words.must("saying what")?)),
            "size" => sent.size = words.must("which size")?.parse().ok(),
            "only" => sent.interwork = Interwork::Only,
            "also" => sent.interwork = Interwork::Also,
            "in" => sent.conversation_id = Some(text(words.must("in which conversation")?)),
            "interworkable" => sent.interworkable = Some(true),
            "wants" => {
                while let Some(token) = words.some(|word| match word {
                    "positive" | "negative" => Some(format!("{word}-delivery")),
                    "processing" | "interworking" | "display" => Some(word.to_owned()),
                    _ => None,
                }) {
                    sent.disposition.push(token.into());
                }
            }
            "held" => {
                sent.held_by = Some(text(words.must("held by whom")?));
                if words.eat("until") {
                    sent.held_until = Some(words.when()?);
                }
            }
            other => return Err(format!("a message with {other}?")),
        }
    }
    Ok(Fact::MessageSubmitted(Box::new(sent)))
}

fn revoke(words: &mut Words<'_>) -> Result<Fact<'static>, String> {
    let message_id = text(words.must("which message")?);
    let by = words.eat("by").then(|| words.must("by whom")).transpose()?;
    let from = by.map_or_else(|| SENDER.to_owned(), sender).into();
    Ok(Fact::MessageRevokeRequested(MessageRevokeRequested { message_id, from, reply_to: None }))
}

fn handled(words: &mut Words<'_>) -> Result<Fact<'static>, String> {
    let message_id = text(words.must("which message")?);
    let result = match words.must("handled as what")? {
        "rejected" => HandledAs::Rejected,
        "forwarded" => HandledAs::Forwarded,
        "stored" => HandledAs::Stored,
        other => return Err(format!("handled as {other}?")),
    };
    Ok(Fact::MessageHandled(MessageHandled {
        message_id,
        from: Some(text(SENDER)),
        result,
        sip_status: None,
        warning: None,
        rule: None,
        to: None,
    }))
}

fn by_hand(words: &mut Words<'_>) -> Result<MessageByHand<'static>, String> {
    let message_id = words.must("which message")?;
    let from = words.eat("by").then(|| words.must("by whom")).transpose()?;
    Ok(MessageByHand {
        operator: text("olga"),
        reason: text("ticket"),
        message_id: (message_id != "all").then(|| text(message_id)),
        from: from.map(|from| sender(from).into()),
    })
}

fn hand() -> UserByHand<'static> {
    UserByHand { operator: text("olga"), reason: text("maintenance") }
}

fn preferences(words: &mut Words<'_>) -> Result<Fact<'static>, String> {
    let mut change = PreferencesChanged::default();
    let mut rules = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "version" => change.version = words.must("version")?.parse().ok(),
            "dnd" => {
                change.do_not_disturb = match words.must("dnd how")? {
                    "on" => Change::Set(DoNotDisturb::Now(true)),
                    "off" => Change::Set(DoNotDisturb::Now(false)),
                    "none" => Change::Clear,
                    "until" => Change::Set(DoNotDisturb::Until { until: words.when()? }),
                    other => return Err(format!("dnd {other}?")),
                }
            }
            "forward" => change.forward_to = Change::Set(words.must("where to")?.into()),
            "wait" => {
                let by = words.must("wait after what")?;
                let wait = Change::Set(words.seconds()?);
                match by {
                    "attach" => change.ip_wait_after_attach_seconds = wait,
                    "ready" => change.ip_wait_after_sms_ready_seconds = wait,
                    "loss" => change.ip_wait_after_ip_loss_seconds = wait,
                    other => return Err(format!("wait after {other}?")),
                }
            }
            "rule" => rules.push(rule(words)?),
            "no" if words.eat("rules") => change.rules = Change::Clear,
            other => return Err(format!("prefs {other}?")),
        }
    }
    if !rules.is_empty() {
        change.rules = Change::Set(rules);
    }
    Ok(Fact::PreferencesChanged(Box::new(change)))
}

/// `rule night defer from alice profile work until 900s`
fn rule(words: &mut Words<'_>) -> Result<Rule, String> {
    let name = words.must("rule of which name")?.into();
    let action = match words.must("which action")? {
        "reject" => Action::AllowRejectInvite,
        "interwork" => Action::AllowInterwork,
        "deliver-and-interwork" => Action::AllowDeliverAndInterwork,
        "store" => Action::AllowStore,
        "forward" => Action::AllowForward,
        "defer" => Action::AllowDefer,
        "dnd" => Action::AllowDoNotDisturb,
        other => return Err(format!("a rule to {other}?")),
    };
    let mut rule = Rule { name, actions: vec![action], ..Rule::default() };
    loop {
        if words.eat("from") {
            rule.senders.push(sender(words.must("from whom")?).into());
        } else if words.eat("profile") {
            rule.profiles.push(words.must("which profile")?.into());
        } else if words.eat("until") {
            rule.valid_until = Some(words.when()?);
        } else if words.eat("since") {
            rule.valid_from = Some(words.when()?);
        } else {
            return Ok(rule);
        }
    }
}

fn identity(words: &mut Words<'_>) -> Result<Fact<'static>, String> {
    let reason = match words.must("why")? {
        "sim-swap" => IdentityReason::SimSwap,
        "reassigned" => IdentityReason::Reassigned,
        "number-moved" => IdentityReason::NumberMoved,
        other => return Err(format!("identity {other}?")),
    };
    let imsi_after = words.eat("imsi").then(|| words.must("which imsi")).transpose()?.map(text);
    Ok(Fact::IdentityChanged(IdentityChanged { reason, imsi_before: None, imsi_after, to: None }))
}

fn registered(words: &mut Words<'_>) -> Result<Fact<'static>, String> {
    let mut told = ImsRegistered {
        device: device(words.must("which device")?),
        expires_at: words.story.now + std::time::Duration::from_secs(600_000),
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
    };
    while let Some(word) = words.next() {
        match word {
            "initial" => told.change = Registration::Initial,
            "refreshed" => told.change = Registration::Refreshed,
            "no" if words.eat("cpm") => told.features = Some(vec![text("+g.3gpp.smsip")]),
            "with" => {
                let tags = words.must("with which tags")?.split(',');
                told.features = Some(tags.map(|tag| text(&format!("oma.cpm.{tag}"))).collect());
            }
            "primary" => {
                if let Some(device) = &mut told.device {
                    device.primary = Some(true);
                }
            }
            "until" => told.expires_at = words.when()?,
            "profile" => told.profile = Some(text(words.must("which profile")?)),
            "imsi" => told.imsi = Some(text(words.must("which imsi")?)),
            "alias" => told.aliases.push(text(words.must("which alias")?)),
            "call" => (told.call_id, told.cseq) = dialog(words)?,
            other => return Err(format!("registered {other}?")),
        }
    }
    Ok(Fact::ImsRegistered(Box::new(told)))
}

/// `call c1/5`: Call-ID and CSeq.
fn dialog(words: &mut Words<'_>) -> Result<(Option<Text<'static>>, Option<u32>), String> {
    let (call, cseq) = words.must("which call")?.split_once('/').ok_or("call id/cseq")?;
    Ok((Some(text(call)), cseq.parse().ok()))
}

fn deregistered(words: &mut Words<'_>) -> Result<Fact<'static>, String> {
    let name = words.must("which device")?;
    let mut told = ImsDeregistered {
        device: if name == "all" { None } else { device(name) },
        ..ImsDeregistered::default()
    };
    if words.eat("call") {
        (told.call_id, told.cseq) = dialog(words)?;
    }
    Ok(Fact::ImsDeregistered(told))
}

fn attach(
    words: &mut Words<'_>,
    attached: fn(Attach<'static>) -> Fact<'static>,
    detached: fn(Attach<'static>) -> Fact<'static>,
) -> Result<Fact<'static>, String> {
    let which = match words.must("attached or detached")? {
        "attached" => attached,
        "detached" => detached,
        other => return Err(format!("{other}?")),
    };
    let sms_capable = if words.eat("no") {
        words.eat("sms").then_some(false)
    } else {
        words.eat("with").then_some(true).filter(|_| words.eat("sms"))
    };
    Ok(which(Attach { trust: words.trust(), sms_capable, ..Attach::default() }))
}

fn ready(words: &mut Words<'_>) -> Result<Fact<'static>, String> {
    let mut ready = SmsReady::default();
    while let Some(word) = words.next() {
        match word {
            "memory" => ready.alert_reason = Some(AlertReason::Memory),
            "present" => ready.alert_reason = Some(AlertReason::Present),
            "until" => ready.available_until = Some(words.when()?),
            "inferred" => ready.trust = Some(Trust::Inferred),
            "passive" => ready.trust = Some(Trust::Passive),
            "authoritative" => ready.trust = Some(Trust::Authoritative),
            domain => ready.domain = Some(text(domain)),
        }
    }
    Ok(Fact::SmsReady(ready))
}

fn cause(word: &str) -> Option<Cause> {
    word.parse().ok()
}

/// `m1#2` and, where two senders used one id, `by`.
fn attempt(words: &mut Words<'_>) -> Result<String, String> {
    let (message, number) = words.must("which attempt")?.split_once('#').ok_or("m1#1")?;
    let by = words.eat("by").then(|| words.must("by whom")).transpose()?.map(sender);
    words.story.attempt(message, number.parse().map_err(|_| "m1#1")?, by.as_deref())
}

fn outcome(words: &mut Words<'_>) -> Result<Fact<'static>, String> {
    let attempt_id = match words.left.first().map(String::as_str) {
        Some("of") => {
            words.next();
            words.must("of which attempt id")?.to_owned()
        }
        _ => attempt(words)?,
    };
    let outcome = match words.must("how")? {
        "started" => Outcome::Started,
        "accepted" => Outcome::Accepted,
        "delivered" => Outcome::Delivered,
        "failed" => Outcome::Failed,
        "unknown" => Outcome::Unknown,
        other => return Err(format!("outcome {other}?")),
    };
    let mut told = DeliveryOutcome {
        attempt_id: attempt_id.into(),
        outcome,
        device: None,
        sip_status: None,
        cause: words.some(cause),
        retry_after_seconds: None,
        warning: None,
        technology: None,
        legacy_ids: Vec::new(),
        report_expected: None,
    };
    while let Some(word) = words.next() {
        match word {
            "sip" => told.sip_status = words.must("which status")?.parse().ok(),
            "after" => told.retry_after_seconds = Some(words.seconds()?),
            "mms" => told.technology = Some(Technology::Mms),
            "as" => told.legacy_ids.push(text(words.must("as which id")?)),
            "no" if words.eat("report") => told.report_expected = Some(false),
            name => told.device = device(name),
        }
    }
    Ok(Fact::DeliveryOutcome(told))
}

/// `m1`, `m1#2` or `as x1` (the SMSC's id); then the cause and what else was told.
fn report(words: &mut Words<'_>) -> Result<SmsReport<'static>, String> {
    let mut told = SmsReport::default();
    if words.eat("as") {
        told.legacy_id = Some(text(words.must("as which id")?));
    } else if words.left.first().is_some_and(|word| word.contains('#')) {
        told.attempt_id = Some(attempt(words)?.into());
    } else {
        told.message_id = Some(text(words.must("which message")?));
    }
    if words.eat("by") {
        told.from = Some(sender(words.must("by whom")?).into());
    }
    told.cause = words.some(cause);
    while let Some(word) = words.next() {
        match word {
            "diag" => told.diagnostic = words.must("which diagnostic")?.parse().ok(),
            "map" | "diameter" | "smpp" | "tp-status" | "rp" => {
                let protocol: Protocol = word.parse().map_err(|_| "no protocol")?;
                let code = text(words.must("which code")?);
                told.error = Some(ProtocolError { protocol, code });
            }
            "ucn" => told.what = Some(What::Ucn),
            "segment" => {
                let (one, of) = words.must("segment")?.split_once('/').ok_or("segment 1/3")?;
                (told.segment, told.segments) = (one.parse().ok(), of.parse().ok());
            }
            domain @ ("cs" | "ps") => told.domain = Some(text(domain)),
            other => return Err(format!("a report with {other}?")),
        }
    }
    Ok(told)
}

fn imdn(words: &mut Words<'_>) -> Result<Fact<'static>, String> {
    let message_id = text(words.must("about which message")?);
    let disposition = text(words.must("which disposition")?);
    let reported_by = match words.must("client or gateway")? {
        "client" => ReportedBy::Client,
        "gateway" => ReportedBy::Gateway,
        other => return Err(format!("an imdn by {other}?")),
    };
    let device = words.next().and_then(device);
    Ok(Fact::ImdnReceived(ImdnReceived {
        message_id,
        from: None,
        disposition,
        reported_by,
        imdn_id: None,
        device,
    }))
}

fn storage(words: &mut Words<'_>) -> Result<Fact<'static>, String> {
    let message_id = text(words.must("which message")?);
    let outcome = match words.must("how")? {
        "stored" => Storage::Stored,
        "failed" => Storage::Failed,
        other => return Err(format!("storing {other}?")),
    };
    Ok(Fact::StorageOutcome(StorageOutcome { message_id, from: None, outcome, reason: None }))
}
