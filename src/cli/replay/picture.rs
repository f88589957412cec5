//! `--at`: what was known at a point, how old it was, and what was due when.

use std::io::Write;
use std::ops::ControlFlow;

use serde_json::{Map, Value, json};

use super::paint::{BOLD, DIM, WAITS, beside, paint, span};
use super::rows::{self, Cell, Row, Tally};
use super::{Answer, Point};
use crate::cli::args::{self, Output};
use crate::cli::journal::{Asked, Source};
use crate::domain::address::Address;
use crate::domain::time::Timestamp;

/// Shows it.
pub(super) fn at(
    args: &args::Replay,
    user: Option<&Address>,
    point: Point,
    source: &Source<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let Some(user) = user else { return of_all(args, point, source, out) };
    let mut journal = source.open_for(user)?;
    journal.reaches(point)?;
    let mut followed = journal.followed(user);
    journal.read(|entry| {
        if point.is_before(entry.seq, entry.at) {
            return Ok(ControlFlow::Break(()));
        }
        followed.pass(entry);
        if followed.concerns(entry) {
            followed.apply(&entry.record()?, drop)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let (last, at) = followed.last.map_or((None, Timestamp::EPOCH), |(seq, at)| (Some(seq), at));
    let now = point.instant(at);
    let mut rows = rows::of_user(&followed, now);
    if let Some(message) = &args.message {
        rows.retain(|row| row.section != "messages" || row.name == *message);
    }
    rows.extend(rows::due(&followed));
    write(args.output, &user.to_string(), last, now, &rows, out)?;
    source.warn(&[journal]);
    if followed.records == 0 {
        crate::cli::warn(&format!("nothing is known of {user} at {point}"));
    }
    Ok(Answer::Done)
}

/// The same of everybody: each partition as it was then.
fn of_all(
    args: &args::Replay,
    point: Point,
    source: &Source<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let of_one = matches!(point, Point::Seq(_)).then_some("--at with a seq");
    let asked = Asked { partition: args.partition, of_one, ..Asked::default() };
    let mut journals = source.open(asked)?;
    let is_one = journals.len() == 1;
    let (mut tally, mut at, mut last) = (Tally::default(), Timestamp::EPOCH, None);
    for journal in &mut journals {
        journal.reaches(point)?;
        let mut state = journal.state();
        journal.read(|entry| {
            if point.is_before(entry.seq, entry.at) {
                return Ok(ControlFlow::Break(()));
            }
            entry.apply(&mut state)?;
            Ok(ControlFlow::Continue(()))
        })?;
        at = at.max(point.instant(state.at));
        tally.add(&state, point.instant(state.at));
        last = state.next_seq.checked_sub(1).filter(|_| is_one);
    }
    write(args.output, "all users", last, at, &tally.rows(), out)?;
    source.warn(&journals);
    Ok(Answer::Done)
}

fn write(
    output: Output,
    who: &str,
    seq: Option<u64>,
    now: Timestamp,
    rows: &[Row],
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    if output == Output::Table {
        return for_people(who, seq, now, rows, out);
    }
    let mut picture = Map::new();
    picture.insert("of".into(), who.into());
    picture.insert("at".into(), now.to_string().into());
    picture.insert("seq".into(), json!(seq));
    for row in rows {
        let section = picture.entry(row.section).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = section {
            list.push(row.json(now));
        }
    }
    writeln!(out, "{}", Value::Object(picture))?;
    out.flush()?;
    Ok(())
}

fn for_people(
    who: &str,
    seq: Option<u64>,
    now: Timestamp,
    rows: &[Row],
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let after = seq.map_or_else(|| ", before any record".into(), |seq| format!(", after #{seq}"));
    writeln!(out, "{} at {now}{after}", paint(BOLD, who))?;
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).min(44);
    let mut section = "";
    for row in rows {
        if row.section != section {
            section = row.section;
            writeln!(out, "\n{}", paint(WAITS, section))?;
        }
        let mut words = row.words(now);
        if section == "due"
            && let Some((_, Cell::Time(at))) = row.cells.first()
        {
            let left = if *at > now {
                format!("in {}", span(at.since(now)))
            } else {
                format!("due {} ago", span(now.since(*at)))
            };
            words = format!("{}  {}", beside(*at, now), paint(DIM, left));
        }
        let basis = row.basis.as_ref().map_or_else(String::new, |(of, basis)| {
            let why =
                basis.as_ref().map_or_else(String::new, |basis| format!(": {}", basis.words()));
            let age = span(now.since(*of));
            paint(DIM, format!("  since {}, {age} old{why}", beside(*of, now)))
        });
        writeln!(out, "  {:<width$}  {words}{basis}", row.name)?;
    }
    out.flush()?;
    Ok(())
}
