//! A user's or a message's timeline: what happened, what we decided, what went out.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::ops::ControlFlow;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::export::without_content;
use super::paint::{
    ASKED, BAD, BOLD, DIM, HAPPENED, beside, day, paint, span as time_span, style_of, time_of_day,
};
use super::{Answer, Span, input_words};
use crate::cli::args::{self, Output};
use crate::cli::journal::{Asked, Source};
use crate::domain::address::Address;
use crate::domain::command::{Command, about, access_word, notice_word, what_word};
use crate::domain::event::Event;
use crate::domain::time::Timestamp;
use crate::engine::history::short;
use crate::record::envelope::Envelope;
use crate::record::input::Reader;
use crate::record::journal::Record;

/// The timeline of one user, or of one message.
pub(super) fn timeline(
    args: &args::Replay,
    span: &Span,
    user: &Address,
    source: &Source<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let mut journal = source.open_for(user)?;
    let mut followed = journal.followed(user);
    let mut shown = Shown::of(args.message.as_deref());
    let mut sheet = Sheet::new(args, source.reader, out);
    sheet.begin(user, args.message.as_deref())?;
    journal.read(|entry| {
        if span.is_over(entry.seq, entry.at) {
            return Ok(ControlFlow::Break(()));
        }
        followed.pass(entry);
        if !followed.concerns(entry) {
            return Ok(ControlFlow::Continue(()));
        }
        let record = entry.record()?;
        let mut commands = Vec::new();
        followed.apply(&record, |command| commands.push(command))?;
        if entry.is_policy || !shown.takes(&record) || span.is_before(entry.seq, entry.at) {
            return Ok(ControlFlow::Continue(()));
        }
        sheet.step(&record, &commands, &shown)?;
        Ok(ControlFlow::Continue(()))
    })?;
    sheet.end()?;
    let name = journal.name.clone();
    source.warn(&[journal]);
    if sheet.steps == 0 {
        let what = args.message.as_ref().map_or_else(|| user.to_string(), Clone::clone);
        crate::cli::warn(&format!("nothing of {what} there in {name}"));
    }
    Ok(Answer::Done)
}

/// Every step of every user, a line each, for programs.
pub(super) fn everything(
    args: &args::Replay,
    span: &Span,
    source: &Source<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let (partition, of_one) = (args.partition, span.by_seq());
    let asked = Asked { partition, of_one, ..Asked::default() };
    let mut journals = source.open(asked)?;
    let shown = Shown::of(None);
    let mut sheet = Sheet::new(args, source.reader, out);
    for journal in &mut journals {
        sheet.partition = journal.partition;
        journal.read(|entry| {
            if span.is_over(entry.seq, entry.at) {
                return Ok(ControlFlow::Break(()));
            }
            if !span.is_before(entry.seq, entry.at) {
                sheet.step(&entry.record()?, &[], &shown)?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    source.warn(&journals);
    Ok(Answer::Done)
}

/// Which steps, and which of their events, belong to what is asked for: all, or one message and what
/// its user was like while it waited.
#[derive(Debug)]
pub(super) struct Shown {
    message: Option<String>,
    /// Where the message waits, and where it did.
    waits: BTreeSet<u32>,
    ended: BTreeSet<u32>,
}

impl Shown {
    pub(super) fn of(message: Option<&str>) -> Self {
        Self { message: message.map(str::to_owned), waits: BTreeSet::new(), ended: BTreeSet::new() }
    }

    /// Whether a record belongs to it; each record is asked about once, in order.
    pub(super) fn takes(&mut self, record: &Record<'_>) -> bool {
        let Some(message) = self.message.as_deref() else { return true };
        let waited = !self.waits.is_empty();
        for event in &record.events {
            if let Event::Deferred { m, .. } = event {
                self.ended.remove(&m.place());
                if *m.1 == *message {
                    self.waits.insert(m.place());
                }
            }
        }
        let mine = record.events.iter().any(|event| self.is_mine(event) == Some(true))
            || record.input.is_some_and(|raw| {
                serde_json::to_string(message).is_ok_and(|quoted| raw.get().contains(&quoted))
            });
        let of_user = record.events.iter().any(|event| self.is_mine(event).is_none());
        for event in &record.events {
            if let Event::Ended { m, .. } = event
                && self.waits.remove(&m.place())
            {
                self.ended.insert(m.place());
            }
        }
        mine || (waited && of_user)
    }

    /// Whether an event is about the message; `None`: it is about no message, but about the user.
    fn is_mine(&self, event: &Event) -> Option<bool> {
        let message = self.message.as_deref()?;
        let is = |place: u32| self.waits.contains(&place) || self.ended.contains(&place);
        if let Event::Handled { id, .. } | Event::RevocationAnswered { id, .. } = event {
            return Some(**id == *message);
        }
        if let Event::HoldSet { ms, .. } | Event::HoldEnded { ms, .. } = event {
            return Some(ms.is_empty() || ms.iter().any(|m| is(m.place())));
        }
        if let Event::AttemptStarted { covers, m, .. } = event {
            return Some(is(m.place()) || covers.iter().any(|m| is(m.place())));
        }
        if let Event::Looked { .. } = event {
            return Some(false);
        }
        about(event).map(|m| is(m.place()))
    }

    fn shows(&self, event: &Event) -> bool {
        self.message.is_none() || self.is_mine(event) != Some(false)
    }
}

/// The page a timeline is written on.
struct Sheet<'a> {
    output: Output,
    with_content: bool,
    /// Which partition a step is of, where there are several.
    partition: Option<u32>,
    reader: &'a Reader,
    out: &'a mut dyn Write,
    first: Option<Timestamp>,
    day: String,
    steps: u64,
    /// Attempts by their ids: `m1#2`.
    attempts: HashMap<String, String>,
}

impl<'a> Sheet<'a> {
    fn new(args: &args::Replay, reader: &'a Reader, out: &'a mut dyn Write) -> Self {
        Self {
            output: args.output,
            with_content: args.with_content,
            partition: None,
            reader,
            out,
            first: None,
            day: String::new(),
            steps: 0,
            attempts: HashMap::new(),
        }
    }

    fn begin(&mut self, user: &Address, message: Option<&str>) -> anyhow::Result<()> {
        match self.output {
            Output::Table => {
                let what =
                    message.map_or_else(String::new, |message| format!(", message {message}"));
                writeln!(self.out, "{}", paint(BOLD, format!("{user}{what}")))?;
            }
            Output::Json => write!(self.out, "[")?,
            Output::Jsonl => {}
        }
        Ok(())
    }

    fn end(&mut self) -> anyhow::Result<()> {
        if self.output == Output::Json {
            writeln!(self.out, "]")?;
        }
        self.out.flush()?;
        Ok(())
    }

    fn step(
        &mut self,
        record: &Record<'_>,
        commands: &[Command],
        shown: &Shown,
    ) -> anyhow::Result<()> {
        let separator = if self.steps > 0 { ",\n" } else { "" };
        self.steps += 1;
        match self.output {
            Output::Table => self.for_people(record, commands, shown)?,
            Output::Json => {
                write!(self.out, "{separator}{}", self.for_programs(record, commands, shown)?)?;
            }
            Output::Jsonl => {
                writeln!(self.out, "{}", self.for_programs(record, commands, shown)?)?;
            }
        }
        Ok(())
    }

    fn for_people(
        &mut self,
        record: &Record<'_>,
        commands: &[Command],
        shown: &Shown,
    ) -> anyhow::Result<()> {
        let at = record.at;
        let first = *self.first.get_or_insert(at);
        let today = day(at);
        if today != self.day {
            writeln!(self.out, "\n{}", paint(DIM, format!("── {today} UTC ──")))?;
            self.day = today;
        }
        let clock = |time: Timestamp| beside(time, at);
        for command in commands {
            if let Command::Deliver(deliver) = command {
                let (id, number) = (deliver.attempt_id, deliver.attempt_id.number);
                let name = format!("{}#{number}", deliver.content.message_id);
                self.attempts.insert(id.to_string(), name);
            }
        }
        let (happened, source, late) = self.happened(record, &clock);
        let ago = format!("+{}", time_span(at.since(first)));
        let (ago, seq) = (paint(DIM, format!("{ago:>8}")), paint(DIM, format!("#{}", record.seq)));
        let source = source.map_or_else(String::new, |s| format!("  {}", paint(DIM, s)));
        let late = late.map_or_else(String::new, |s| format!("  {}", paint(DIM, s)));
        let time = format!("{:<12}", time_of_day(at));
        let happened = paint(HAPPENED, happened);
        writeln!(self.out, "{time} {ago}  {happened}{late}{source}  {seq}")?;
        let indent = " ".repeat(25);
        if let Some(why) = &record.ignored {
            writeln!(self.out, "{indent}{}", paint(DIM, format!("ignored: {why}")))?;
        }
        let mut others = 0;
        for event in &record.events {
            if matches!(event, Event::Looked { .. }) && record.events.len() > 1 {
                continue;
            }
            if shown.shows(event) {
                let words = paint(style_of(event), event.words(&clock));
                writeln!(self.out, "{indent}{words}")?;
            } else {
                others += 1;
            }
        }
        if others > 0 {
            let text = format!("({others} about other messages)");
            writeln!(self.out, "{indent}{}", paint(DIM, text))?;
        }
        for command in commands.iter().filter(|command| shown.asks(command)) {
            writeln!(
                self.out,
                "{indent}{}",
                paint(ASKED, format!("→ {}", asked(command, &clock)))
            )?;
        }
        Ok(())
    }

    /// The input in words, who told it, and how late it came.
    fn happened(
        &self,
        record: &Record<'_>,
        clock: &dyn Fn(Timestamp) -> String,
    ) -> (String, Option<String>, Option<String>) {
        let read = match record.input(self.reader) {
            Ok(Some(read)) => read,
            Ok(None) => {
                let what = if record.rejected.is_some() { "rejected" } else { "duplicate" };
                return (what.into(), record.source.as_deref().map(str::to_owned), None);
            }
            // What an input says is read for people only; one that cannot be read is shown as that.
            Err(error) => return (paint(BAD, error), None, None),
        };
        if record.pos.is_none() {
            return (input_words::words(&read, clock, &self.attempts), None, None);
        }
        let observed = read.input.told.time;
        let late = record.at.since(observed);
        let late = (late.as_millis() >= 1000).then(|| format!("observed {}", clock(observed)));
        (input_words::words(&read, clock, &self.attempts), Some(read.source.to_string()), late)
    }

    fn for_programs(
        &self,
        record: &Record<'_>,
        commands: &[Command],
        shown: &Shown,
    ) -> anyhow::Result<Value> {
        let mut step =
            json!({ "seq": record.seq, "epoch": record.epoch, "at": record.at.to_string() });
        let mut put = |name: &str, value: Value| {
            if let Some(fields) = step.as_object_mut() {
                fields.insert(name.to_owned(), value);
            }
        };
        if let Some(partition) = self.partition {
            put("partition", partition.into());
        }
        for (name, text) in [
            ("user", &record.user),
            ("position", &record.pos),
            ("ignored", &record.ignored),
            ("rejected", &record.rejected),
            ("source", &record.source),
            ("id", &record.id),
        ] {
            if let Some(text) = text {
                put(name, text.as_ref().into());
            }
        }
        if let Some(raw) = record.input {
            let bare;
            let raw: &RawValue = if self.with_content {
                raw
            } else {
                bare = without_content(raw, false)?;
                bare.as_deref().unwrap_or(raw)
            };
            put("input", serde_json::from_str(raw.get())?);
        }
        let clock = |time: Timestamp| time.to_string();
        let events: Result<Vec<Value>, _> = record
            .events
            .iter()
            .filter(|event| shown.shows(event))
            .map(|event| {
                Ok(json!({ "words": event.words(&clock), "event": serde_json::to_value(event)? }))
            })
            .collect::<Result<_, serde_json::Error>>();
        put("events", Value::Array(events?));
        let commands: Vec<Value> = commands
            .iter()
            .filter(|command| shown.asks(command))
            .map(|command| json!({ "type": kind(command), "id": id(command), "words": asked(command, &clock) }))
            .collect();
        put("commands", Value::Array(commands));
        Ok(step)
    }
}

impl Shown {
    fn asks(&self, command: &Command) -> bool {
        let Some(message) = self.message.as_deref() else { return true };
        match command {
            Command::Deliver(deliver) => {
                *deliver.content.message_id == *message
                    || (deliver.ucn.iter()).any(|ucn| ucn.covers.iter().any(|id| **id == *message))
            }
            Command::Notify(notify) => *notify.content.message_id == *message,
            Command::AnswerRevocation(answer) => *answer.message_id == *message,
            Command::Store(store) => *store.content.message_id == *message,
        }
    }
}

fn kind(command: &Command) -> &'static str {
    match command {
        Command::Deliver(_) => "cpm.delivery.requested.v1",
        Command::Notify(_) => "cpm.notification.requested.v1",
        Command::AnswerRevocation(_) => "cpm.revocation.answered.v1",
        Command::Store(_) => "cpm.storage.requested.v1",
    }
}

fn id(command: &Command) -> String {
    match command {
        Command::Deliver(deliver) => deliver.attempt_id.to_string(),
        Command::Notify(notify) => notify.notification_id.clone(),
        Command::AnswerRevocation(answer) => answer.id.clone(),
        Command::Store(store) => store.id.clone(),
    }
}

/// A command in words.
fn asked(command: &Command, clock: &dyn Fn(Timestamp) -> String) -> String {
    let kind = short(kind(command));
    let says = match command {
        Command::Deliver(deliver) => {
            let (access, what) = (access_word(deliver.access), what_word(deliver.what));
            let devices: Vec<String> =
                deliver.devices.iter().map(|device| format!(" {device}")).collect();
            let by = clock(deliver.deadline);
            let (id, to) = (deliver.attempt_id, devices.concat());
            format!("{what} by {access}{to}, to start by {by}, attempt_id {id}")
        }
        Command::Notify(notify) => {
            format!("{} to {}", notice_word(notify.notice), notify.content.from)
        }
        Command::AnswerRevocation(answer) => {
            let said = if answer.ok { "success" } else { "failed" };
            format!("{said} to {}", answer.to)
        }
        Command::Store(store) => format!("{}", store.content.message_id),
    };
    format!("{kind}  {says}")
}

/// The type and source of a record's input, where it has one.
pub(super) fn told(record: &Record<'_>) -> Option<(String, String)> {
    let envelope = Envelope::read(record.input?.get().as_bytes()).ok()?;
    Some((short(&envelope.kind).to_owned(), envelope.source.to_string()))
}
