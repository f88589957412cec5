//! `deferd user`, `deferd message`: what a daemon knows, and what a person does about it.

use std::io::Write;

use anyhow::bail;
use serde_json::{Value, json};

use super::Answer;
use super::args::{self, Hand, MessageAction, Output, UserAction};
use super::client::{Client, encoded, event, tell, text_of};
use super::config::Loaded;
use super::known;
use super::preferences::preferences;
use super::recipient::Recipient;
use super::replay::paint::{BAD, BOLD, DIM, GOOD, WAITS, beside, paint};
use crate::domain::time::Timestamp;
use crate::engine::picture::Shown;

/// Users in one page of a list.
const PAGE: usize = 1000;

/// `deferd user`.
///
/// # Errors
///
/// The daemon cannot be asked, or refuses.
pub(super) fn user(
    args: &args::User,
    config: &Loaded,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    match &args.action {
        UserAction::Show(args) => {
            let user = if known::is_on_topics(&args.daemon, config) {
                let shown = Shown { messages: args.limit, content: args.with_content };
                known::user(config, &args.user, shown)?
            } else {
                let content = if args.with_content { "&with_content" } else { "" };
                let user = encoded(&args.user);
                let path = format!("/v1/users/{user}?limit={}{content}", args.limit);
                Client::new(&args.daemon, config)?.get(&path)?.known()?
            };
            let Some(user) = user else { return Ok(Answer::No) };
            if args.output == Output::Table {
                show_user(&user, out)?;
            } else {
                writeln!(out, "{user}")?;
            }
            out.flush()?;
            Ok(Answer::Done)
        }
        UserAction::List(args) => list(args, config, out),
        UserAction::Hold(args) => change(args, "cpm.user.held.v1", "held", config, out),
        UserAction::Release(args) => change(args, "cpm.user.released.v1", "released", config, out),
        UserAction::Retry(args) => {
            change(args, "cpm.message.retry_requested.v1", "tried again", config, out)
        }
        UserAction::Preferences(args) => preferences(args, config, out),
    }
}

fn change(
    args: &args::UserChange,
    kind: &str,
    done: &str,
    config: &Loaded,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let recipient = Recipient::of(&args.toward, config)?;
    let event = event(kind, &args.user, &by(&args.hand))?;
    let told = recipient.give(event.to_string().as_bytes())?;
    tell(&told, &format!("{} {done}", args.user), args.output, out)
}

fn by(hand: &Hand) -> Value {
    json!({ "operator": hand.operator, "reason": hand.reason })
}

fn list(args: &args::UserList, config: &Loaded, out: &mut dyn Write) -> anyhow::Result<Answer> {
    let mut all = Vec::new();
    let mut each = |user: Value| -> anyhow::Result<()> {
        match args.output {
            Output::Table => {
                let count = user.get("messages").and_then(Value::as_u64).unwrap_or(0);
                let since = text_of(&user, "oldest_accepted_at");
                let held = user.get("held").and_then(Value::as_bool).unwrap_or(false);
                let held = if held { "  held" } else { "" };
                let stands = words(&user, "oldest_stands");
                let name = text_of(&user, "user");
                writeln!(out, "{name:<24} {count:>5}  {stands:<14} since {since}{held}")?;
            }
            Output::Jsonl => writeln!(out, "{user}")?,
            Output::Json => all.push(user),
        }
        Ok(())
    };
    if known::is_on_topics(&args.daemon, config) {
        known::users(config, args.limit, &mut each)?;
    } else {
        ask_list(&Client::new(&args.daemon, config)?, args.limit, &mut each)?;
    }
    if args.output == Output::Json {
        writeln!(out, "{}", Value::Array(all))?;
    }
    out.flush()?;
    Ok(Answer::Done)
}

/// The list as the daemon gives it, page by page.
fn ask_list(
    client: &Client,
    limit: usize,
    each: &mut dyn FnMut(Value) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (mut after, mut left) = (String::new(), limit);
    while left > 0 {
        let path = format!("/v1/users?waiting&limit={}{after}", left.min(PAGE));
        let Some(page) = client.get(&path)?.known()? else { break };
        for user in items(&page, "users") {
            left = left.saturating_sub(1);
            each(user.clone())?;
        }
        match page.get("next").and_then(Value::as_str) {
            Some(next) => after = format!("&after={}", encoded(next)),
            None => break,
        }
    }
    Ok(())
}

/// `deferd message`.
///
/// # Errors
///
/// The daemon cannot be asked, or refuses.
pub(super) fn message(
    args: &args::Message,
    config: &Loaded,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let (args, kind, done) = match &args.action {
        MessageAction::Show(args) => {
            let (user, content) = (args.user.as_deref(), args.with_content);
            let found = if known::is_on_topics(&args.daemon, config) {
                known::message(config, &args.message, user, content)?
            } else {
                look_up(&Client::new(&args.daemon, config)?, &args.message, user, content)?
            };
            let Some(found) = found else { return Ok(Answer::No) };
            if args.output == Output::Table {
                let now = text_of(&found, "at").parse().unwrap_or(Timestamp::EPOCH);
                writeln!(out, "{} at {now}", paint(BOLD, text_of(&found, "user")))?;
                for message in items(&found, "messages") {
                    show_message(message, now, out)?;
                }
            } else {
                writeln!(out, "{found}")?;
            }
            out.flush()?;
            return Ok(Answer::Done);
        }
        MessageAction::Cancel(args) => (args, "cpm.message.cancelled.v1", "cancelled"),
        MessageAction::Retry(args) => (args, "cpm.message.retry_requested.v1", "tried again"),
        MessageAction::Expire(args) => (args, "cpm.message.expire_requested.v1", "expired"),
    };
    let recipient = Recipient::of(&args.toward, config)?;
    let looked_up = || match &recipient {
        Recipient::Daemon(client) if !known::is_on_topics(&args.toward.daemon, config) => {
            look_up(client, &args.message, None, false)
        }
        Recipient::Daemon(_) | Recipient::Topics(..) => {
            known::message(config, &args.message, None, false)
        }
    };
    let user = match &args.user {
        Some(user) => user.clone(),
        None => match looked_up()? {
            Some(found) => text_of(&found, "user").to_owned(),
            None => return Ok(Answer::No),
        },
    };
    let mut data = by(&args.hand);
    if let Value::Object(data) = &mut data {
        data.insert("message_id".into(), args.message.as_str().into());
        data.extend(args.from.as_ref().map(|from| ("from".to_owned(), from.as_str().into())));
    }
    let event = event(kind, &user, &data)?;
    let told = recipient.give(event.to_string().as_bytes())?;
    tell(&told, &format!("message {} of {user} {done}", args.message), args.output, out)
}

fn look_up(
    client: &Client,
    message: &str,
    user: Option<&str>,
    with_content: bool,
) -> anyhow::Result<Option<Value>> {
    let user = user.map_or_else(String::new, |user| format!("user={}&", encoded(user)));
    let content = if with_content { "with_content" } else { "" };
    let reply = client.get(&format!("/v1/messages/{}?{user}{content}", encoded(message)))?;
    if reply.status == 300 {
        bail!("{}", reply.error().replace("?user=", "--user"));
    }
    reply.known()
}

fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn words(value: &Value, field: &str) -> String {
    items(value, field).filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

/// A user, for people.
fn show_user(user: &Value, out: &mut dyn Write) -> anyhow::Result<()> {
    let now: Timestamp = text_of(user, "at").parse().unwrap_or(Timestamp::EPOCH);
    writeln!(out, "{} at {now}", paint(BOLD, text_of(user, "user")))?;
    if let Some(reason) = user.get("held").and_then(Value::as_str) {
        writeln!(out, "  {}: {reason}", paint(BAD, "held by a person"))?;
    }
    if user.get("do_not_disturb").is_some() {
        writeln!(out, "  {}", paint(WAITS, "does not want to be disturbed"))?;
    }
    for section in ["devices", "slots"] {
        let mut list = items(user, section).peekable();
        if list.peek().is_some() {
            writeln!(out, "\n{}", paint(WAITS, format!("  {section}")))?;
        }
        for item in list {
            writeln!(out, "    {:<12} {}", text_of(item, "name"), rest(item, &["name"], now))?;
        }
    }
    if let Some(sms) = user.get("sms") {
        writeln!(out, "\n{}\n    {}", paint(WAITS, "  sms"), rest(sms, &[], now))?;
    }
    let mut messages = items(user, "messages").peekable();
    if messages.peek().is_some() {
        let all = user.get("messages_in_all").and_then(Value::as_u64).unwrap_or(0);
        writeln!(out, "\n{}", paint(WAITS, format!("  messages ({all})")))?;
    }
    for message in messages {
        show_message(message, now, out)?;
    }
    let mut due = items(user, "due").peekable();
    if due.peek().is_some() {
        writeln!(out, "\n{}", paint(WAITS, "  due"))?;
    }
    for item in due {
        let at = text_of(item, "at").parse().unwrap_or(Timestamp::EPOCH);
        writeln!(out, "    {:<20} {}", beside(at, now), rest(item, &["at"], now))?;
    }
    Ok(())
}

/// A message, for people.
fn show_message(message: &Value, now: Timestamp, out: &mut dyn Write) -> anyhow::Result<()> {
    let (id, from) = (text_of(message, "message_id"), text_of(message, "from"));
    if let Some(ended) = message.get("ended").filter(|ended| !ended.is_null()) {
        let how = paint(GOOD, text_of(ended, "how"));
        writeln!(out, "    {} from {from}: {how} at {}", paint(BOLD, id), text_of(ended, "at"))?;
        return Ok(());
    }
    let stands = paint(WAITS, words(message, "stands"));
    writeln!(out, "    {} from {from}: {stands}", paint(BOLD, id))?;
    let told = ["message_id", "from", "stands", "in_the_way", "would_move_it"];
    writeln!(out, "      {}", paint(DIM, rest(message, &told, now)))?;
    for (list, title) in [("in_the_way", "in the way"), ("would_move_it", "would move it")] {
        for item in items(message, list) {
            let rule = paint(DIM, format!("[{}]", text_of(item, "rule")));
            writeln!(out, "      {title}: {} {rule}", text_of(item, "words"))?;
        }
    }
    Ok(())
}

/// The fields of an object but for those that were told, in one line.
fn rest(value: &Value, told: &[&str], now: Timestamp) -> String {
    let fields = value.as_object().into_iter().flatten();
    let fields = fields.filter(|(name, _)| !told.contains(&name.as_str()));
    let one = |(name, value): (&String, &Value)| {
        let name = name.replace('_', " ");
        match value {
            Value::Bool(true) => name,
            Value::Bool(false) => format!("not {name}"),
            Value::String(text) if matches!(name.as_str(), "state" | "timer") => text.clone(),
            Value::String(text) => match text.parse::<Timestamp>() {
                Ok(at) => format!("{name} {}", beside(at, now)),
                Err(_) => format!("{name} {text}"),
            },
            Value::Array(items) => {
                let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
                format!("{name} {}", items.join(" "))
            }
            Value::Null | Value::Number(_) | Value::Object(_) => format!("{name} {value}"),
        }
    };
    fields.map(one).collect::<Vec<_>>().join(", ")
}
