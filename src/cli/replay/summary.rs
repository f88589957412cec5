//! What is in a journal: spans, users, messages and how they ended.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;

use serde_json::{Map, Value, json};

use super::paint::{BOLD, DIM, beside, paint, span as time_span};
use super::{Answer, Span, picture, rows, timeline};
use crate::cli::args::{self, Output};
use crate::cli::journal_file::JournalFile;
use crate::domain::command::{access_word, what_word};
use crate::domain::event::{Access, Event};
use crate::domain::time::Timestamp;
use crate::engine::history::end_word;
use crate::engine::state::State;
use crate::record::input::Reader;

/// Kinds of refusal counted apart; what is beyond them is counted as "other".
const MOST_REASONS: usize = 32;

type Counts = BTreeMap<String, u64>;

#[derive(Default)]
struct Seen {
    first: Option<(u64, Timestamp)>,
    last: Option<(u64, Timestamp)>,
    records: u64,
    inputs: Counts,
    rejected: Counts,
    ignored: Counts,
    duplicates: u64,
    accepted: u64,
    ends: Counts,
    attempts: Counts,
    commands_by: [u64; 2],
}

/// Shows it.
pub(super) fn summary(
    args: &args::Replay,
    span: &Span,
    reader: &Reader,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let mut file = JournalFile::open(&args.file, reader)?;
    let mut state = State::default();
    let mut seen = Seen::default();
    file.read(|entry| {
        if span.is_over(entry.seq, entry.at) {
            return Ok(ControlFlow::Break(()));
        }
        picture::apply(&mut state, entry)?;
        if !span.is_before(entry.seq, entry.at) {
            seen.note(&entry.record()?);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let rows = rows::of_all(&state, state.at);
    match args.output {
        Output::Table => for_people(&file, &seen, &rows, state.at, out)?,
        Output::Json | Output::Jsonl => {
            writeln!(out, "{}", for_programs(&file, &seen, &rows, state.at))?;
        }
    }
    out.flush()?;
    file.warn();
    Ok(Answer::Done)
}

impl Seen {
    fn note(&mut self, record: &crate::record::journal::Record<'_>) {
        self.records += 1;
        self.first.get_or_insert((record.seq, record.at));
        self.last = Some((record.seq, record.at));
        if let Some(why) = &record.rejected {
            let known = self.rejected.len() < MOST_REASONS || self.rejected.contains_key(&**why);
            add(&mut self.rejected, if known { why } else { "other" });
            return;
        }
        match timeline::told(record) {
            Some((kind, _)) => add(&mut self.inputs, &kind),
            None => self.duplicates += 1,
        }
        if let (Some(why), Some(_)) = (&record.ignored, record.input) {
            add(&mut self.ignored, why);
        }
        for event in &record.events {
            self.event(event);
        }
    }

    fn event(&mut self, event: &Event) {
        if let Event::Deferred { .. } = event {
            self.accepted += 1;
        }
        if let Event::Ended { end, .. } = event {
            add(&mut self.ends, &end_word(*end));
        }
        if let Event::AttemptStarted { by, what, .. } = event {
            add(&mut self.attempts, &format!("{} by {}", what_word(*what), access_word(*by)));
            let [cpm, sms] = &mut self.commands_by;
            *if *by == Access::Cpm { cpm } else { sms } += 1;
        }
    }
}

fn add(counts: &mut Counts, what: &str) {
    match counts.get_mut(what) {
        Some(count) => *count += 1,
        None => {
            counts.insert(what.to_owned(), 1);
        }
    }
}

fn for_people(
    file: &JournalFile<'_>,
    seen: &Seen,
    rows: &[rows::Row],
    now: Timestamp,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    writeln!(out, "{}", paint(BOLD, file.name()))?;
    if let (Some((first, from)), Some((last, to))) = (seen.first, seen.last) {
        let (until, long) = (beside(to, from), time_span(to.since(from)));
        writeln!(out, "  records    {}, #{first} to #{last}", seen.records)?;
        writeln!(out, "  time       {from} to {until}, {long}")?;
    }
    if let Some(export) = &file.export {
        let of = export.user.as_deref().unwrap_or("all users");
        let of =
            export.message.as_ref().map_or_else(|| of.to_owned(), |m| format!("{of}, message {m}"));
        let content = if export.content { "with" } else { "without" };
        writeln!(out, "  export     of {of}, {content} content")?;
    }
    if seen.records == 0 {
        writeln!(out, "  no journal records; `deferd simulate FILE --journal` writes them")?;
    }
    if file.outputs > 0 {
        writeln!(out, "  passed over {} lines that were published", file.outputs)?;
    }
    let mut list = |title: &str, counts: &Counts| -> anyhow::Result<()> {
        if !counts.is_empty() {
            writeln!(out, "\n{}", paint(BOLD, title))?;
        }
        for (what, count) in counts {
            writeln!(out, "  {count:>8}  {what}")?;
        }
        Ok(())
    };
    let mut inputs = seen.inputs.clone();
    if seen.duplicates > 0 {
        inputs.insert("duplicate".into(), seen.duplicates);
    }
    list("what happened", &inputs)?;
    list("what changed nothing", &seen.ignored)?;
    list("what was rejected", &seen.rejected)?;
    list("what was tried", &seen.attempts)?;
    let mut ends = seen.ends.clone();
    ends.insert("accepted".into(), seen.accepted);
    list("what became of messages", &ends)?;
    let mut section = "";
    for row in rows.iter().filter(|row| row.section != "due") {
        if row.section != section {
            section = row.section;
            writeln!(out, "\n{}", paint(BOLD, format!("{section} at the end")))?;
        }
        let count = row.cells.first().map_or_else(String::new, |(_, cell)| cell.words(now));
        writeln!(out, "  {count:>8}  {}", row.name)?;
    }
    let hint = "look further: --user USER, --message ID, --at TIME|SEQ, --diff A B, --verify";
    writeln!(out, "\n{}", paint(DIM, hint))?;
    Ok(())
}

fn for_programs(file: &JournalFile<'_>, seen: &Seen, rows: &[rows::Row], now: Timestamp) -> Value {
    let point = |point: Option<(u64, Timestamp)>| {
        point.map_or(Value::Null, |(seq, at)| json!({ "seq": seq, "at": at.to_string() }))
    };
    let mut end = Map::new();
    for row in rows {
        let section = end.entry(row.section).or_insert_with(|| Value::Object(Map::new()));
        if let (Value::Object(fields), Some((_, cell))) = (section, row.cells.first()) {
            fields.insert(row.name.clone(), cell.json());
        }
    }
    let [cpm, sms] = seen.commands_by;
    json!({
        "file": file.name(), "export": file.export, "outputs": file.outputs,
        "records": seen.records, "first": point(seen.first), "last": point(seen.last),
        "inputs": seen.inputs, "duplicates": seen.duplicates, "ignored": seen.ignored,
        "rejected": seen.rejected, "attempts": seen.attempts,
        "attempts_by": { "cpm": cpm, "sms": sms },
        "messages": { "accepted": seen.accepted, "ended": seen.ends },
        "at_the_end": { "at": now.to_string(), "known": end },
    })
}
