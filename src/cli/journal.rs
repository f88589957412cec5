//! A journal to read: records one a line in a file, or the partitions of a data directory.
//!
//! One pass, one record at a time, however long it is. A line is looked at first for what every reader
//! needs, and decoded by whoever wants more.

mod directory;
mod file;

use std::ops::{ControlFlow, Deref};
use std::path::Path;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use self::directory::Partition;
use super::lines::Lines;
use super::replay::Point;
use crate::domain::address::Address;
use crate::engine::history::{Followed, Line};
use crate::engine::state::State;
use crate::record::input::Reader;
use crate::record::journal::Record;

/// The longest line that can be a record.
const LONGEST: usize = 64 << 20;
/// A journal larger than this takes long enough for a progress bar.
const LONG: u64 = 16 << 20;
/// Records between two looks at the bar.
const BAR_EVERY: u64 = 4096;
/// The type of the line that an export begins with.
pub(super) const EXPORTED: &str = "cpm.journal.exported.v1";

/// What an export says of itself in its first line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Export {
    /// The user it is about; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
    /// The message it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    /// Whether every record that moved the state up to its end is in it: only then can it be decided
    /// again.
    pub(super) whole: bool,
    /// Whether the content of messages is in it.
    pub(super) content: bool,
}

/// What is asked of a journal, as far as it says which of its partitions are read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked<'a> {
    /// About this user alone.
    pub(super) user: Option<&'a Address>,
    /// This partition alone.
    pub(super) partition: Option<u32>,
    /// An option that means one partition, in words.
    pub(super) of_one: Option<&'static str>,
}

/// A record's line, and where it stands.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    line: Line<'a>,
    /// Its line in a file, from 1; its `seq` in a partition.
    number: u64,
    /// It does not follow the one before: in words.
    pub(super) broken: Option<String>,
    reader: &'a Reader,
}

impl<'a> Entry<'a> {
    /// The record itself.
    pub(super) fn record(&self) -> anyhow::Result<Record<'a>> {
        Ok(self.line.record(self.reader)?)
    }
}

impl<'a> Deref for Entry<'a> {
    type Target = Line<'a>;

    fn deref(&self) -> &Self::Target {
        &self.line
    }
}

/// A journal whose records follow each other: a file, or one partition.
#[derive(Debug)]
pub(super) struct Journal<'r> {
    source: Source,
    /// What it is called.
    pub(super) name: String,
    /// Its number, where there are several.
    pub(super) partition: Option<u32>,
    /// What is known of it so far.
    pub(super) seen: Seen,
    bar: ProgressBar,
    reader: &'r Reader,
}

#[derive(Debug)]
enum Source {
    File(Lines),
    Partition(Box<Partition>),
}

/// What reading a journal has brought.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// What it says of itself, where it is an export.
    pub(super) export: Option<Export>,
    /// Records read.
    pub(super) records: u64,
    /// Outputs passed over.
    pub(super) outputs: u64,
    /// The first place where a record does not follow the one before, and how many there are.
    pub(super) breaks: (Option<String>, u64),
    /// It ends inside a record, or a commit: in words.
    pub(super) cut: Option<String>,
    last: Option<(u64, u64)>,
}

/// Opens what is asked for: a file, standard input for `-`, or partitions of a data directory, one after
/// the other.
///
/// # Errors
///
/// It cannot be read, or has partitions where one is meant.
pub(super) fn open<'r>(
    path: &Path,
    asked: Asked<'_>,
    reader: &'r Reader,
) -> anyhow::Result<Vec<Journal<'r>>> {
    if path.is_dir() {
        return directory::open(path, asked, reader);
    }
    if asked.partition.is_some() {
        bail!("--partition is for a data directory, and {} is a file", path.display());
    }
    let lines = Lines::open(path, LONGEST)?;
    let name = lines.name().to_owned();
    let size = lines.progress().1.unwrap_or_default();
    Ok(vec![Journal::new(Source::File(lines), name, None, size, reader)])
}

/// Opens the one journal that a user is in.
///
/// # Errors
///
/// As [`open`].
pub(super) fn open_for<'r>(
    path: &Path,
    user: &Address,
    reader: &'r Reader,
) -> anyhow::Result<Journal<'r>> {
    let asked = Asked { user: Some(user), ..Asked::default() };
    open(path, asked, reader)?.pop().context("a user is in one partition")
}

impl<'r> Journal<'r> {
    fn new(
        source: Source,
        name: String,
        partition: Option<u32>,
        size: u64,
        reader: &'r Reader,
    ) -> Self {
        let bar = if size > LONG { bar(size) } else { ProgressBar::hidden() };
        Self { source, name, partition, seen: Seen::default(), bar, reader }
    }

    /// The state that its first record follows.
    pub(super) fn state(&mut self) -> State {
        match &mut self.source {
            Source::File(_) => State::default(),
            Source::Partition(partition) => partition.before.take().unwrap_or_default(),
        }
    }

    /// A user, as its first record finds it.
    pub(super) fn followed(&self, user: &Address) -> Followed {
        let before = match &self.source {
            Source::File(_) => None,
            Source::Partition(partition) => partition.before.as_ref(),
        };
        before.map_or_else(|| Followed::new(user), |state| Followed::after(state, user))
    }

    /// The number of its first record, where the ones before it were removed.
    pub(super) fn begins_at(&self) -> Option<u64> {
        match &self.source {
            Source::File(_) => None,
            Source::Partition(partition) => Some(partition.first).filter(|first| *first > 0),
        }
    }

    /// Whether nobody knows what the records before its first one left.
    pub(super) fn is_without_beginning(&self) -> bool {
        match &self.source {
            Source::File(_) => false,
            Source::Partition(partition) => partition.first > 0 && !partition.has_before,
        }
    }

    /// Refuses a point before what is kept.
    ///
    /// # Errors
    ///
    /// The records up to it were removed.
    pub(super) fn reaches(&self, point: Point) -> anyhow::Result<()> {
        let Source::Partition(partition) = &self.source else { return Ok(()) };
        let Some(first) = self.begins_at() else { return Ok(()) };
        let is_gone = match point {
            Point::Seq(seq) => seq + 1 < first,
            Point::Time(time) => partition.before.as_ref().is_some_and(|state| time < state.at),
        };
        if is_gone {
            bail!(
                "{}: the records before seq {first} were removed, and {point} lies there",
                self.name
            );
        }
        Ok(())
    }

    /// Hands out every record, in order, until `each` has seen enough.
    ///
    /// # Errors
    ///
    /// It cannot be read, something is neither record nor CloudEvent, or `each` says so; with the place.
    pub(super) fn read(
        &mut self,
        each: impl FnMut(&Entry<'_>) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<()> {
        let Self { source, name, seen, bar, reader, .. } = self;
        match source {
            Source::File(lines) => file::read(lines, seen, bar, reader, each)?,
            Source::Partition(partition) => {
                directory::read(partition, name, seen, bar, reader, each)?;
            }
        }
        self.bar.finish_and_clear();
        Ok(())
    }

    /// Where a record of it stands, in words.
    pub(super) fn placing(&self) -> impl Fn(&Entry<'_>) -> String + use<> {
        let (name, is_file) = (self.name.clone(), matches!(self.source, Source::File(_)));
        move |entry| place(&name, is_file, entry.number)
    }

    /// Tells the person what is wrong with it, once all is read.
    pub(super) fn warn(&self) {
        if self.is_without_beginning()
            && let Some(first) = self.begins_at()
        {
            super::warn(&format!(
                "{}: the records before seq {first} were removed; what is shown rests on the others",
                self.name
            ));
        }
        if let (Some(first), more) = &self.seen.breaks {
            let more = match more - 1 {
                0 => String::new(),
                more => format!(", and {more} more like it"),
            };
            super::warn(&format!("{first}{more}; what is shown after it may be wrong"));
        }
        if let Some(cut) = &self.seen.cut {
            super::warn(cut);
        }
    }
}

/// Tells the person what is wrong with what was read.
pub(super) fn warn(path: &Path, journals: &[Journal<'_>]) {
    journals.iter().for_each(Journal::warn);
    if journals.iter().all(|journal| journal.seen.records == 0) {
        super::warn(&format!("{}: no journal record in it", path.display()));
    }
}

fn place(name: &str, is_file: bool, number: u64) -> String {
    if is_file { format!("{name}:{number}") } else { format!("{name}, seq {number}") }
}

impl Seen {
    /// Notes a record. Why it does not follow the one before; `None`: it does. In an export each names
    /// the one before it, since what is of others is left out. `first`: what the first one must be.
    fn note(&mut self, first: u64, seq: u64, epoch: u64, prev: Option<u64>) -> Option<String> {
        let broken = self.follows(first, seq, epoch, prev);
        self.last = Some((seq, epoch));
        self.records += 1;
        broken
    }

    fn follows(&self, first: u64, seq: u64, epoch: u64, prev: Option<u64>) -> Option<String> {
        let before = self.last.map(|(before, _)| before);
        if self.export.is_some() {
            if prev != before || before.is_some_and(|before| seq <= before) {
                let name = |seq: Option<u64>| {
                    seq.map_or_else(|| "no record".into(), |s| format!("seq {s}"))
                };
                let (named, before) = (name(prev), name(before));
                return Some(format!(
                    "seq {seq} was exported after {named}, and stands after {before}: a record is \
                     missing, repeated or moved"
                ));
            }
        } else {
            let expected = before.map_or(first, |before| before + 1);
            if seq != expected {
                return Some(format!(
                    "seq {seq} where {expected} must follow: a record is missing, repeated or moved"
                ));
            }
        }
        let (_, before) = self.last.filter(|(_, before)| epoch < *before)?;
        Some(format!(
            "seq {seq} has epoch {epoch} after epoch {before}: an owner wrote after its successor"
        ))
    }

    /// Keeps the first break, and counts the others.
    fn note_break(&mut self, place: impl FnOnce() -> String, broken: Option<&String>) {
        if let Some(broken) = broken {
            if self.breaks.0.is_none() {
                self.breaks.0 = Some(format!("{}: {broken}", place()));
            }
            self.breaks.1 += 1;
        }
    }
}

/// A reader that stops for a closed pipe must stay recognisable: it has no place.
fn at_place(error: anyhow::Error, place: impl FnOnce() -> String) -> anyhow::Error {
    if error.is::<std::io::Error>() { error } else { error.context(place()) }
}

fn bar(size: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {percent}% of {total_bytes}, {eta} to go")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(size).with_style(style)
}
