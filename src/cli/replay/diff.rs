//! `--diff`: what changed between two points, field by field.

use std::io::Write;
use std::ops::ControlFlow;

use anyhow::bail;
use serde_json::{Value, json};

use super::paint::{BAD, BOLD, DIM, GOOD, paint};
use super::rows::{self, Cell, Row};
use super::{Answer, Point, picture};
use crate::cli::args::{self, Output};
use crate::cli::journal_file::JournalFile;
use crate::domain::address::Address;
use crate::domain::time::Timestamp;
use crate::engine::history::Followed;
use crate::engine::state::State;
use crate::record::input::Reader;

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
    reader: &Reader,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let mut file = JournalFile::open(&args.file, reader)?;
    let mut all = State::default();
    let mut followed = user.map(Followed::new);
    let mut last = None;
    let mut sides: Vec<Side> = Vec::new();
    let side = |point: Point, at: Timestamp, all: &State, followed: Option<&Followed>| {
        let now = point.instant(at);
        let rows = match followed {
            Some(followed) => {
                let mut rows = rows::of_user(followed, now);
                rows.extend(rows::due(followed));
                rows
            }
            None => rows::of_all(all, now),
        };
        Side { now, rows }
    };
    file.read(|entry| {
        while let Some(point) = points.get(sides.len())
            && point.is_before(entry.seq, entry.at)
        {
            let at = last.unwrap_or(entry.at);
            sides.push(side(*point, at, &all, followed.as_ref()));
        }
        if sides.len() == points.len() {
            return Ok(ControlFlow::Break(()));
        }
        last = Some(last.map_or(entry.at, |at: Timestamp| at.max(entry.at)));
        match &mut followed {
            None => picture::apply(&mut all, entry)?,
            Some(followed) => {
                followed.pass(entry);
                if followed.concerns(entry) {
                    followed.apply(&entry.record()?, drop)?;
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    while let Some(point) = points.get(sides.len()) {
        let at = last.unwrap_or(Timestamp::EPOCH);
        sides.push(side(*point, at, &all, followed.as_ref()));
    }
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
    file.warn();
    Ok(Answer::Done)
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
