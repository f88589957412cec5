//! `--diff`: what changed between two points, field by field.

use std::io::Write;
use std::ops::ControlFlow;

use anyhow::bail;
use serde_json::{Value, json};

use super::paint::{BAD, BOLD, DIM, GOOD, paint};
use super::rows::{self, Cell, Row, Tally};
use super::{Answer, Point};
use crate::cli::args::{self, Output};
use crate::cli::journal::{Asked, Entry, Journal, Source};
use crate::domain::address::Address;
use crate::domain::time::Timestamp;

/// What was known at a point.
struct Side {
    now: Timestamp,
    rows: Vec<Row>,
}

/// A field that is not what it was.
struct Change {
    section: &'static str,
    name: String,
    field: &'static str,
    before: Option<Cell>,
    after: Option<Cell>,
}

/// Shows it.
pub(super) fn diff(
    args: &args::Replay,
    user: Option<&Address>,
    points: [Point; 2],
    source: &Source<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let by_seq = points.iter().any(|point| matches!(point, Point::Seq(_)));
    let of_one = by_seq.then_some("--diff with a seq");
    let mut journals =
        source.open(Asked { user, partition: args.partition, of_one, ..Asked::default() })?;
    let [first, _] = points;
    journals.iter().try_for_each(|journal| journal.reaches(first))?;
    let sides = match (user, journals.first_mut()) {
        (Some(user), Some(journal)) => of_user(journal, user, points)?,
        _ => of_all(&mut journals, points)?,
    };
    let [a, b] = sides.as_slice() else { bail!("--diff takes two points") };
    if a.now > b.now || matches!(points, [Point::Seq(a), Point::Seq(b)] if a > b) {
        bail!("--diff {} {}: the first must not be after the second", points[0], points[1]);
    }
    let who = user.map_or_else(|| "all users".into(), Address::to_string);
    let changes = changes(&a.rows, &b.rows);
    match args.output {
        Output::Table => for_people(&who, points, [a, b], &changes, out)?,
        Output::Json => {
            let list: Vec<Value> = changes.iter().map(Change::json).collect();
            let (from, to) = (a.now.to_string(), b.now.to_string());
            writeln!(out, "{}", json!({ "of": who, "from": from, "to": to, "changes": list }))?;
        }
        Output::Jsonl => {
            for change in &changes {
                writeln!(out, "{}", change.json())?;
            }
        }
    }
    out.flush()?;
    source.warn(&journals);
    Ok(Answer::Done)
}

/// What was known of a user at each point.
fn of_user(
    journal: &mut Journal<'_>,
    user: &Address,
    points: [Point; 2],
) -> anyhow::Result<Vec<Side>> {
    let mut followed = journal.followed(user);
    let mut sides = Vec::new();
    stop_at(
        journal,
        points,
        &mut followed,
        |followed, entry| {
            followed.pass(entry);
            if followed.concerns(entry) {
                followed.apply(&entry.record()?, drop)?;
            }
            Ok(())
        },
        |followed, now| {
            let mut rows = rows::of_user(followed, now);
            rows.extend(rows::due(followed));
            sides.push(Side { now, rows });
        },
    )?;
    Ok(sides)
}

/// What was known of everybody at each point.
fn of_all(journals: &mut [Journal<'_>], points: [Point; 2]) -> anyhow::Result<Vec<Side>> {
    let mut tallies = [(); 2].map(|()| (Timestamp::EPOCH, Tally::default()));
    for journal in journals {
        let mut state = journal.state();
        let mut tally = tallies.iter_mut();
        stop_at(
            journal,
            points,
            &mut state,
            |state, entry| entry.apply(state),
            |state, now| {
                if let Some((at, tally)) = tally.next() {
                    *at = now.max(*at);
                    tally.add(state, now);
                }
            },
        )?;
    }
    Ok(tallies.into_iter().map(|(now, tally)| Side { now, rows: tally.rows() }).collect())
}

/// Moves something by each record of a journal, and shows it at each of the points in its order.
fn stop_at<T>(
    journal: &mut Journal<'_>,
    points: [Point; 2],
    moved: &mut T,
    mut by: impl FnMut(&mut T, &Entry<'_>) -> anyhow::Result<()>,
    mut show: impl FnMut(&T, Timestamp),
) -> anyhow::Result<()> {
    let (mut left, mut last) = (points.iter().peekable(), None);
    journal.read(|entry| {
        while let Some(point) = left.next_if(|point| point.is_before(entry.seq, entry.at)) {
            show(moved, point.instant(last.unwrap_or(entry.at)));
        }
        if left.peek().is_none() {
            return Ok(ControlFlow::Break(()));
        }
        last = Some(last.map_or(entry.at, |at: Timestamp| at.max(entry.at)));
        by(moved, entry)?;
        Ok(ControlFlow::Continue(()))
    })?;
    left.for_each(|point| show(moved, point.instant(last.unwrap_or(Timestamp::EPOCH))));
    Ok(())
}

impl Change {
    fn json(&self) -> Value {
        let cell = |cell: &Option<Cell>| cell.as_ref().map_or(Value::Null, Cell::json);
        json!({
            "section": self.section, "name": self.name, "field": self.field,
            "before": cell(&self.before), "after": cell(&self.after),
        })
    }
}

/// Every field of every row that is not the same on both sides.
fn changes(before: &[Row], after: &[Row]) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut compare = |a: Option<&Row>, b: Option<&Row>| {
        let Some(row) = b.or(a) else { return };
        let cell = |row: Option<&Row>, field: &str| {
            row?.cells.iter().find(|(name, _)| *name == field).map(|(_, cell)| cell.clone())
        };
        let fields = a.into_iter().chain(b).flat_map(|row| &row.cells).map(|(field, _)| *field);
        let mut seen: Vec<&'static str> = Vec::new();
        for field in fields {
            let (before, after) = (cell(a, field), cell(b, field));
            let is_name = row.section == "due" && field != "at";
            if !is_name && before != after && !seen.contains(&field) {
                let (section, name) = (row.section, row.name.clone());
                changes.push(Change { section, name, field, before, after });
            }
            seen.push(field);
        }
    };
    let same = |a: &Row, b: &Row| a.section == b.section && a.name == b.name;
    for row in before {
        compare(Some(row), after.iter().find(|other| same(row, other)));
    }
    for row in after.iter().filter(|row| !before.iter().any(|other| same(row, other))) {
        compare(None, Some(row));
    }
    changes
}

fn for_people(
    who: &str,
    points: [Point; 2],
    sides: [&Side; 2],
    changes: &[Change],
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let [a, b] = points;
    writeln!(out, "{} from {a} to {b}", paint(BOLD, who))?;
    if changes.is_empty() {
        writeln!(out, "  nothing changed")?;
    }
    let mut last = String::new();
    for change in changes {
        let name = format!("{} {}", change.section, change.name);
        if name != last {
            writeln!(out, "\n{name}")?;
            last = name;
        }
        let words = |cell: &Option<Cell>, side: &Side| {
            cell.as_ref().map_or_else(|| "nothing".into(), |cell| cell.words(side.now))
        };
        let [before, after] = [words(&change.before, sides[0]), words(&change.after, sides[1])];
        let field = change.field.replace('_', " ");
        let (before, after) = (paint(BAD, before), paint(GOOD, after));
        writeln!(out, "  {field:<22} {before} {} {after}", paint(DIM, "→"))?;
    }
    Ok(())
}
