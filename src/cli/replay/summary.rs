//! What is in a journal: spans, users, messages and how they ended.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;

use serde_json::{Map, Value, json};

use super::paint::{BOLD, DIM, beside, paint, span as time_span};
use super::rows::{self, Tally};
use super::{Answer, Span, timeline};
use crate::cli::args::{self, Output};
use crate::cli::journal::{self, Asked, Journal, Source};
use crate::domain::command::{access_word, what_word};
use crate::domain::event::{Access, Event};
use crate::domain::time::Timestamp;
use crate::engine::history::end_word;

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
    source: &Source<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let (partition, of_one) = (args.partition, span.by_seq());
    let asked = Asked { partition, of_one, ..Asked::default() };
    let mut journals = source.open(asked)?;
    let mut seen = Seen::default();
    let (mut tally, mut now) = (Tally::default(), Timestamp::EPOCH);
    for journal in &mut journals {
        let mut state = journal.state();
        let mut part = Seen::default();
        journal.read(|entry| {
            if span.is_over(entry.seq, entry.at) {
                return Ok(ControlFlow::Break(()));
            }
            entry.apply(&mut state)?;
            if !span.is_before(entry.seq, entry.at) {
                part.note(&entry.record()?);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        seen.add(part);
        now = now.max(state.at);
        tally.add(&state, state.at);
    }
    let rows = tally.rows();
    match args.output {
        Output::Table => for_people(source, &journals, &seen, &rows, now, out)?,
        Output::Json | Output::Jsonl => {
            writeln!(out, "{}", for_programs(source, &journals, &seen, &rows, now))?;
        }
    }
    out.flush()?;
    source.warn(&journals);
    Ok(Answer::Done)
}

impl Seen {
    /// What another partition held beside it.
    fn add(&mut self, other: Self) {
        let soonest = [self.first, other.first].into_iter().flatten().min_by_key(|(_, at)| *at);
        let latest = [self.last, other.last].into_iter().flatten().max_by_key(|(_, at)| *at);
        (self.first, self.last) = (soonest, latest);
        self.records += other.records;
        self.duplicates += other.duplicates;
        self.accepted += other.accepted;
        for (mine, theirs) in self.commands_by.iter_mut().zip(other.commands_by) {
            *mine += theirs;
        }
        for (mine, theirs) in [
            (&mut self.inputs, other.inputs),
            (&mut self.rejected, other.rejected),
            (&mut self.ignored, other.ignored),
            (&mut self.ends, other.ends),
            (&mut self.attempts, other.attempts),
        ] {
            theirs.into_iter().for_each(|(what, count)| *mine.entry(what).or_default() += count);
        }
    }

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
    source: &Source<'_>,
    journals: &[Journal<'_>],
    seen: &Seen,
    rows: &[rows::Row],
    now: Timestamp,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    writeln!(out, "{}", paint(BOLD, source))?;
    if let (Some((first, from)), Some((last, to))) = (seen.first, seen.last) {
        let (until, long) = (beside(to, from), time_span(to.since(from)));
        match journals {
            [_, _, ..] => {
                writeln!(out, "  records    {}, in {} partitions", seen.records, journals.len())?;
            }
            _ => writeln!(out, "  records    {}, #{first} to #{last}", seen.records)?,
        }
        writeln!(out, "  time       {from} to {until}, {long}")?;
    }
    if let Some(export) = export(journals) {
        let of = export.user.as_deref().unwrap_or("all users");
        let of =
            export.message.as_ref().map_or_else(|| of.to_owned(), |m| format!("{of}, message {m}"));
        let content = if export.content { "with" } else { "without" };
        writeln!(out, "  export     of {of}, {content} content")?;
    }
    if seen.records == 0 {
        writeln!(out, "  no journal records; `deferd simulate FILE --journal` writes them")?;
    }
    let outputs = outputs(journals);
    if outputs > 0 {
        writeln!(out, "  passed over {outputs} lines that were published")?;
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

fn export<'a>(journals: &'a [Journal<'_>]) -> Option<&'a journal::Export> {
    journals.iter().find_map(|journal| journal.seen.export.as_ref())
}

fn outputs(journals: &[Journal<'_>]) -> u64 {
    journals.iter().map(|journal| journal.seen.outputs).sum()
}

fn for_programs(
    source: &Source<'_>,
    journals: &[Journal<'_>],
    seen: &Seen,
    rows: &[rows::Row],
    now: Timestamp,
) -> Value {
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
        "file": source.to_string(), "export": export(journals),
        "outputs": outputs(journals),
        "records": seen.records, "first": point(seen.first), "last": point(seen.last),
        "inputs": seen.inputs, "duplicates": seen.duplicates, "ignored": seen.ignored,
        "rejected": seen.rejected, "attempts": seen.attempts,
        "attempts_by": { "cpm": cpm, "sms": sms },
        "messages": { "accepted": seen.accepted, "ended": seen.ends },
        "at_the_end": { "at": now.to_string(), "known": end },
    })
}
