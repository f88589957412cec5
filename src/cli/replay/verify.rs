//! `--verify`: every recorded input decided again, and the journal's own order held against its word.

use std::io::Write;
use std::ops::ControlFlow;

use anyhow::bail;
use serde_json::{Value, json};

use super::export::is_without_content;
use super::paint::{BAD, BOLD, DIM, GOOD, paint};
use super::{Answer, Span, input_words};
use crate::cli::args::{self, Output};
use crate::cli::journal::{Asked, Begin, Journal, Source};
use crate::domain::event::Event;
use crate::engine::replay::{Verdict, verify as decide_again};
use crate::record::input::Reader;
use crate::record::journal::Record;

#[derive(Default)]
struct Counts {
    same: u64,
    differs: u64,
    other_rules: u64,
    undecided: u64,
    without_content: u64,
}

/// The first record that is not decided as recorded.
struct Difference {
    seq: u64,
    place: String,
    at: String,
    user: String,
    input: String,
    recorded: Vec<String>,
    decided: Vec<String>,
}

/// What deciding one journal again has brought.
struct Report {
    counts: Counts,
    first: Option<Difference>,
    other_policy: Option<String>,
    equal: bool,
}

/// Decides all again.
pub(super) fn verify(
    args: &args::Replay,
    span: &Span,
    source: &Source<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let (partition, of_one) = (args.partition, span.by_seq());
    let asked = Asked { partition, of_one, begin: Begin::Known, user: None };
    let mut journals = source.open(asked)?;
    let (mut equal, mut answers) = (true, Vec::new());
    for journal in &mut journals {
        let report = decide_all(args, span, journal, source.reader)?;
        equal &= report.equal;
        match args.output {
            Output::Table => report.write(journal, out)?,
            Output::Json | Output::Jsonl => answers.push(report.json(journal)),
        }
    }
    match (args.output, answers.as_slice()) {
        (Output::Json, [_, _, ..]) => writeln!(out, "{}", Value::Array(answers))?,
        _ => answers.iter().try_for_each(|answer| writeln!(out, "{answer}"))?,
    }
    out.flush()?;
    for cut in journals.iter().filter_map(|journal| journal.seen.cut.as_ref()) {
        crate::cli::warn(cut);
    }
    Ok(if equal { Answer::Done } else { Answer::No })
}

fn decide_all(
    args: &args::Replay,
    span: &Span,
    journal: &mut Journal<'_>,
    reader: &Reader,
) -> anyhow::Result<Report> {
    let name = journal.name.clone();
    if journal.is_without_beginning() {
        let first = journal.begins_at().unwrap_or_default();
        bail!(
            "{name}: the records before seq {first} were removed, and nobody knows the state that \
             they left: the others cannot be decided again"
        );
    }
    let mut state = journal.state();
    let (mut counts, mut first) = (Counts::default(), None);
    // The policy in force, and the first record that was decided by another one.
    let (mut digest, mut other_policy) = (String::new(), None);
    if journal.begins_at().is_some() {
        digest = state.policy.digest();
    }
    let place = journal.placing();
    journal.read(|entry| {
        if span.is_over(entry.seq, entry.at) || entry.broken.is_some() {
            // What follows a gap was decided on a state that nobody can know.
            return Ok(ControlFlow::Break(()));
        }
        let record = entry.record()?;
        state.next_seq = record.seq;
        match decide_again(&state, &record, reader)? {
            Verdict::Differs { .. } if is_without_content(&record) => counts.without_content += 1,
            Verdict::Same => counts.same += 1,
            Verdict::OtherRules => counts.other_rules += 1,
            Verdict::Undecided => counts.undecided += 1,
            Verdict::Differs { recorded, decided } => {
                counts.differs += 1;
                if first.is_none() {
                    first = Some(difference(place(entry), &record, reader, recorded, decided));
                }
            }
        }
        state.apply(&record)?;
        if entry.is_policy || digest.is_empty() {
            digest = state.policy.digest();
        }
        if record.policy != digest && other_policy.is_none() {
            let (seq, place) = (entry.seq, place(entry));
            let theirs = &record.policy;
            other_policy = Some(format!(
                "{place}: seq {seq} was decided by policy {theirs}, and the one in force is {digest}"
            ));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let seen = &journal.seen;
    if let Some(export) = seen.export.as_ref().filter(|export| !export.whole) {
        let what = export.message.as_ref().map_or("what was before it", |_| "other messages");
        bail!(
            "{name}: this export leaves out {what}, so it cannot be decided again; \
             export a --user without --from and --message for that"
        );
    }
    let equal = counts.differs == 0
        && seen.breaks.0.is_none()
        && other_policy.is_none()
        && (!args.strict || (counts.other_rules == 0 && seen.cut.is_none()));
    Ok(Report { counts, first, other_policy, equal })
}

impl Report {
    fn json(&self, journal: &Journal<'_>) -> Value {
        let (counts, seen) = (&self.counts, &journal.seen);
        let first = self.first.as_ref().map_or(Value::Null, Difference::json);
        let mut answer = json!({
            "equal": self.equal, "records": seen.records, "same": counts.same,
            "differs": counts.differs, "other_rules": counts.other_rules,
            "undecided": counts.undecided, "without_content": counts.without_content,
            "broken": seen.breaks.0, "other_policy": self.other_policy, "cut": seen.cut,
            "first_difference": first,
        });
        let whose = journal.partition.map(|number| ("partition", number.into()));
        let from = journal.begins_at().map(|seq| ("from_seq", seq.into()));
        if let Some(fields) = answer.as_object_mut() {
            let more = whose.into_iter().chain(from);
            fields.extend(more.map(|(name, value): (&str, Value)| (name.to_owned(), value)));
        }
        answer
    }

    fn write(&self, journal: &Journal<'_>, out: &mut dyn Write) -> anyhow::Result<()> {
        if let Some(number) = journal.partition {
            writeln!(out, "{}", paint(BOLD, format!("partition {number}")))?;
        }
        if let Some(first) = journal.begins_at() {
            writeln!(out, "from seq {first}, on the snapshot there: what was before was removed")?;
        }
        if let Some(other) = &self.other_policy {
            writeln!(out, "{}\n", paint(BAD, other))?;
        }
        let broken = journal.seen.breaks.0.as_deref();
        for_people(&self.counts, self.first.as_ref(), broken, self.equal, out)
    }
}

fn difference(
    place: String,
    record: &Record<'_>,
    reader: &Reader,
    recorded: Result<Vec<Event>, String>,
    decided: Result<Vec<Event>, String>,
) -> Difference {
    let words = |events: &Result<Vec<Event>, String>| match events {
        Ok(events) => events.iter().map(ToString::to_string).collect(),
        Err(why) => vec![format!("ignored: {why}")],
    };
    let (mut before, mut after): (Vec<String>, Vec<String>) = (words(&recorded), words(&decided));
    if before == after
        && let (Ok(recorded), Ok(decided)) = (&recorded, &decided)
    {
        // The words leave something out that differs.
        let whole = |events: &[Event]| {
            let json = |event| serde_json::to_string(event).unwrap_or_default();
            events.iter().map(json).collect::<Vec<String>>()
        };
        (before, after) = (whole(recorded), whole(decided));
    }
    let input = record.input(reader).ok().flatten();
    let input = input.map_or_else(String::new, |read| {
        input_words::words(&read, &|time| time.to_string(), &input_words::Attempts::new())
    });
    Difference {
        seq: record.seq,
        place,
        at: record.at.to_string(),
        user: record.user.as_deref().unwrap_or_default().to_owned(),
        input,
        recorded: before,
        decided: after,
    }
}

impl Difference {
    fn json(&self) -> Value {
        json!({
            "seq": self.seq, "place": self.place, "at": self.at, "user": self.user,
            "input": self.input, "recorded": self.recorded, "decided": self.decided,
        })
    }

    fn write(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let Self { seq, place, at, user, input, .. } = self;
        writeln!(out, "{}", paint(BOLD, format!("seq {seq} is not decided as it was recorded")))?;
        writeln!(out, "  {place}, {at}, {user}")?;
        writeln!(out, "  {input}")?;
        writeln!(out, "  {}", paint(DIM, "- recorded, + decided now"))?;
        let (old, new) = (&self.recorded, &self.decided);
        let head = old.iter().zip(new).take_while(|(old, new)| old == new).count();
        let tails = old.iter().rev().zip(new.iter().rev());
        let most = old.len().min(new.len()) - head;
        let tail = tails.take(most).take_while(|(old, new)| old == new).count();
        let middle = |lines: &[String]| {
            let kept = lines.len() - tail;
            lines.iter().take(kept).skip(head).cloned().collect::<Vec<_>>()
        };
        for line in old.iter().take(head) {
            writeln!(out, "    {line}")?;
        }
        for line in middle(old) {
            writeln!(out, "  {}", paint(BAD, format!("- {line}")))?;
        }
        for line in middle(new) {
            writeln!(out, "  {}", paint(GOOD, format!("+ {line}")))?;
        }
        for line in old.iter().skip(old.len() - tail) {
            writeln!(out, "    {line}")?;
        }
        Ok(())
    }
}

fn for_people(
    counts: &Counts,
    first: Option<&Difference>,
    broken: Option<&str>,
    equal: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    if let Some(first) = first {
        first.write(out)?;
        writeln!(out)?;
    }
    if let Some(broken) = broken {
        writeln!(out, "{}", paint(BAD, broken))?;
        writeln!(out, "what follows was not decided again: nobody knows on which state it was")?;
        writeln!(out)?;
    }
    let said = if equal { paint(GOOD, "equal") } else { paint(BAD, "not equal") };
    let Counts { same, differs, other_rules, undecided, without_content } = counts;
    writeln!(out, "{said}: {same} same, {differs} different, {undecided} with nothing to decide")?;
    if *other_rules > 0 {
        writeln!(out, "{other_rules} were decided by other rules (--strict counts them)")?;
    }
    if *without_content > 0 {
        writeln!(
            out,
            "{without_content} submissions cannot be decided again: this export leaves content \
             out (--export --with-content keeps it)"
        )?;
    }
    Ok(())
}
