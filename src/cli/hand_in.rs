//! `deferd submit`, `observe`, `outcome`: one input each, as a front, a probe or a gateway would send it.

use std::io::{Read, Write};

use anyhow::Context;
use base64::Engine as _;
use clap::ValueEnum;
use serde_json::{Map, Value, json};

use super::Answer;
use super::args::{self, Seen};
use super::client::{Client, encoded, event, random, tell, text_of};
use super::clock::WallClock;
use super::config::Loaded;
use super::known::{is_on_topics, records};
use super::recipient::Recipient;
use crate::engine::ports::Clock;
use crate::log::kafka::Topic;

/// Deliveries in one page while an attempt is looked for.
const PAGE: usize = 1000;

/// Submits a message.
///
/// # Errors
///
/// The content cannot be read, or the daemon cannot be asked.
pub(super) fn submit(
    args: &args::Submit,
    config: &Loaded,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let id = args.id.clone().map_or_else(random, Ok)?;
    let mut data = fields(json!({ "message_id": id, "from": args.from, "kind": args.kind }));
    let plain = match (&args.text, &args.file) {
        (Some(text), _) => Ok(text.clone()),
        (None, Some(path)) => String::from_utf8(content(path)?),
        (None, None) => Ok(String::new()),
    };
    let (of, name, body) = match plain {
        Ok(text) => ("text/plain", "body", text),
        Err(error) => {
            let encoded = base64::engine::general_purpose::STANDARD.encode(error.as_bytes());
            ("application/octet-stream", "body_base64", encoded)
        }
    };
    data.insert("content_type".into(), args.content_type.as_deref().unwrap_or(of).into());
    data.insert(name.into(), body.into());
    put(&mut data, "expires_seconds", args.expires);
    put(&mut data, "conversation_id", args.conversation.as_deref());
    if !args.disposition.is_empty() {
        data.insert("disposition".into(), json!(args.disposition));
    }
    let recipient = Recipient::of(&args.toward, config)?;
    let mut event = event("cpm.message.submitted.v1", &args.user, &Value::Object(data))?;
    // Whoever names a message may hand it in again: it is the same input then.
    if let (Some(id), Value::Object(event)) = (&args.id, &mut event) {
        event.insert("id".into(), format!("{} {} {id}", args.user, args.from).into());
    }
    let told = recipient.give(event.to_string().as_bytes())?;
    tell(&told, &format!("message {id}"), args.output, out)
}

fn content(path: &std::path::Path) -> anyhow::Result<Vec<u8>> {
    if path.as_os_str() == "-" {
        let mut content = Vec::new();
        std::io::stdin().read_to_end(&mut content).context("cannot read standard input")?;
        return Ok(content);
    }
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Tells what was seen of a phone.
///
/// # Errors
///
/// The daemon cannot be asked.
pub(super) fn observe(
    args: &args::Observe,
    config: &Loaded,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let mut data = Map::new();
    match args.what {
        Seen::ImsRegistered => {
            let until = WallClock.now() + std::time::Duration::from_secs(args.expires);
            data.insert("expires_at".into(), until.to_string().into());
            put(&mut data, "device", args.device.as_deref().map(device));
            if !args.features.is_empty() {
                data.insert("features".into(), json!(args.features));
            }
        }
        Seen::ImsDeregistered => put(&mut data, "device", args.device.as_deref().map(device)),
        Seen::SmsReady => {
            put(&mut data, "alert_reason", args.alert_reason.as_deref());
            put(&mut data, "domain", args.domain.as_deref());
        }
        Seen::CsAttached | Seen::CsDetached | Seen::PsAttached | Seen::PsDetached => {}
    }
    let word = word(args.what);
    let kind = format!("cpm.{}.v1", word.replace('-', "."));
    let recipient = Recipient::of(&args.toward, config)?;
    let event = event(&kind, &args.user, &Value::Object(data))?;
    let told = recipient.give(event.to_string().as_bytes())?;
    tell(&told, &format!("{word} of {}", args.user), args.output, out)
}

/// Tells how an attempt ended.
///
/// # Errors
///
/// The daemon cannot be asked.
pub(super) fn outcome(
    args: &args::Outcome,
    config: &Loaded,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let recipient = Recipient::of(&args.toward, config)?;
    let looked_up = || match &recipient {
        Recipient::Daemon(client) if !is_on_topics(&args.toward.daemon, config) => {
            user_of(client, &args.attempt)
        }
        Recipient::Daemon(_) | Recipient::Topics(..) => user_on_topic(config, &args.attempt),
    };
    let user = match &args.user {
        Some(user) => user.clone(),
        None => match looked_up()? {
            Some(user) => user,
            None => {
                super::warn(&format!(
                    "no delivery that is kept asks for attempt `{}`; name its user with --user",
                    args.attempt
                ));
                return Ok(Answer::No);
            }
        },
    };
    let word = word(args.outcome);
    let mut data = fields(json!({ "attempt_id": args.attempt, "outcome": word }));
    put(&mut data, "cause", args.cause.as_deref());
    put(&mut data, "sip_status", args.sip_status);
    put(&mut data, "device", args.device.as_deref().map(device));
    let event = event("cpm.delivery.outcome.v1", &user, &Value::Object(data))?;
    let told = recipient.give(event.to_string().as_bytes())?;
    tell(&told, &format!("{} {word}", args.attempt), args.output, out)
}

/// Whose attempt it is, as the delivery that asked for it says.
fn user_of(client: &Client, attempt: &str) -> anyhow::Result<Option<String>> {
    let mut after = String::new();
    loop {
        let reply = client.get(&format!("/v1/deliveries?limit={PAGE}{after}"))?;
        let Some(page) = reply.known()? else { return Ok(None) };
        let events = page.get("events").and_then(Value::as_array);
        let mut events = events.into_iter().flatten().peekable();
        if events.peek().is_none() {
            return Ok(None);
        }
        if let Some(event) = events.find(|event| text_of(event, "id") == attempt) {
            return Ok(Some(text_of(event, "subject").to_owned()));
        }
        after = format!("&after={}", encoded(text_of(&page, "next")));
    }
}

/// The same, as the topic of deliveries says.
fn user_on_topic(config: &Loaded, attempt: &str) -> anyhow::Result<Option<String>> {
    let mut user = None;
    records(config, Topic::Deliveries, |bytes| {
        let event: Value = serde_json::from_slice(bytes).unwrap_or_default();
        if text_of(&event, "id") == attempt {
            user = Some(text_of(&event, "subject").to_owned());
        }
        Ok(user.is_none())
    })?;
    Ok(user)
}

/// The client that was named: a URN is an instance, anything else its Contact.
fn device(name: &str) -> Value {
    let is_urn = name.trim_start_matches(['<', '"']).to_ascii_lowercase().starts_with("urn:");
    json!({ (if is_urn { "instance" } else { "contact" }): name })
}

/// The word that was typed.
fn word(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}

fn put(fields: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        fields.insert(name.to_owned(), value.into());
    }
}
