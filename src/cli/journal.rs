//! A journal to read: records one a line in a file, or the partitions of a data directory or a topic.
//!
//! One pass, one record at a time, however long it is. A line is looked at first for what every reader
//! needs, and decoded by whoever wants more.

mod directory;
mod file;
mod topic;

use std::fmt;
use std::ops::{ControlFlow, Deref, Range};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use self::directory::Partition;
use self::topic::TopicPartition;
use super::config::{Loaded, LogKind};
use super::lines::Lines;
use super::replay::Point;
use crate::domain::address::Address;
use crate::engine::history::{Followed, Line};
use crate::engine::intake::partition_of;
use crate::engine::state::State;
use crate::log::kafka::Cluster;
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

/// What the topic of the configuration is called where a path may stand.
pub(super) const KAFKA: &str = "kafka:";

/// Where journals are, and how their inputs are read.
#[derive(Debug)]
pub(super) struct Source<'r> {
    place: Place,
    pub(super) reader: &'r Reader,
}

#[derive(Debug)]
enum Place {
    Path(PathBuf),
    Kafka(Box<Cluster>),
}

impl<'r> Source<'r> {
    /// What was named: a path, or `kafka:`; where nothing was, the log of this configuration.
    ///
    /// # Errors
    ///
    /// `[kafka]` describes no cluster.
    pub(super) fn of(
        path: Option<&Path>,
        config: &Loaded,
        reader: &'r Reader,
    ) -> anyhow::Result<Self> {
        let config = &config.config;
        let place = match path {
            Some(path) if path.as_os_str() != KAFKA => Place::Path(path.to_owned()),
            None if config.log == LogKind::Embedded => Place::Path(config.run.data_dir.clone()),
            Some(_) | None => Place::Kafka(Box::new(super::cluster(config)?)),
        };
        Ok(Self { place, reader })
    }

    /// The path; `None`: it is a topic.
    pub(super) fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::Path(path) => Some(path),
            Place::Kafka(_) => None,
        }
    }

    /// Whether it can be read only once.
    pub(super) fn is_stdin(&self) -> bool {
        self.path().is_some_and(|path| path.as_os_str() == "-")
    }

    /// Opens what is asked for: a file, standard input for `-`, or partitions, one after the other.
    ///
    /// # Errors
    ///
    /// It cannot be read, or has partitions where one is meant.
    pub(super) fn open(&self, asked: Asked<'_>) -> anyhow::Result<Vec<Journal<'r>>> {
        let path = match &self.place {
            Place::Path(path) => path,
            Place::Kafka(cluster) => return topic::open(cluster, asked, self.reader),
        };
        if path.is_dir() {
            return directory::open(path, asked, self.reader);
        }
        if asked.partition.is_some() {
            bail!("--partition is for a data directory, and {} is a file", path.display());
        }
        let lines = Lines::open(path, LONGEST)?;
        let name = lines.name().to_owned();
        let size = lines.progress().1.unwrap_or_default();
        let bar = if size > LONG { bar(size) } else { ProgressBar::hidden() };
        Ok(vec![Journal::new(Reading::File(lines), name, None, bar, self.reader)])
    }

    /// Opens the one journal that a user is in.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(super) fn open_for(&self, user: &Address) -> anyhow::Result<Journal<'r>> {
        let asked = Asked { user: Some(user), ..Asked::default() };
        self.open(asked)?.pop().context("a user is in one partition")
    }

    /// Tells the person what is wrong with what was read.
    pub(super) fn warn(&self, journals: &[Journal<'_>]) {
        journals.iter().for_each(Journal::warn);
        if journals.iter().all(|journal| journal.seen.records == 0) {
            super::warn(&format!("{self}: no journal record in it"));
        }
    }
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Path(path) => write!(f, "{}", path.display()),
            Place::Kafka(_) => f.write_str(KAFKA),
        }
    }
}

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
    /// Where a topic is begun; a file is whole, and a data directory begins where its state is known.
    pub(super) begin: Begin,
}

/// Where the journal of a topic is begun: snapshots of its state stand beside it, and only the newest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Begin {
    /// At the oldest record that is kept: what happened is asked for.
    #[default]
    Oldest,
    /// There, if it is the first one; else at the newest snapshot: the state must be known.
    Known,
    /// At the newest snapshot: only the state is asked for.
    Newest,
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

impl Entry<'_> {
    /// Moves a state by it, whatever is missing before it: what is missing is warned of.
    pub(super) fn apply(&self, state: &mut State) -> anyhow::Result<()> {
        let record = self.record()?;
        state.next_seq = record.seq;
        state.epoch = state.epoch.min(record.epoch);
        state.apply(&record)?;
        Ok(())
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
    reading: Reading,
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
enum Reading {
    File(Lines),
    Partition(Box<Partition>),
    Topic(Box<TopicPartition>),
}

impl Reading {
    /// Of a partition: the number of its first record, the state before it, and whether that is known.
    fn beginning(&self) -> Option<(u64, Option<&State>, bool)> {
        match self {
            Self::File(_) => None,
            Self::Partition(one) => Some((one.first, one.before.as_ref(), one.has_before)),
            Self::Topic(one) => Some((one.first, one.before.as_ref(), one.has_before)),
        }
    }
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

impl<'r> Journal<'r> {
    fn new(
        reading: Reading,
        name: String,
        partition: Option<u32>,
        bar: ProgressBar,
        reader: &'r Reader,
    ) -> Self {
        Self { reading, name, partition, seen: Seen::default(), bar, reader }
    }

    /// The state that its first record follows.
    pub(super) fn state(&mut self) -> State {
        let before = match &mut self.reading {
            Reading::File(_) => None,
            Reading::Partition(partition) => partition.before.take(),
            Reading::Topic(partition) => partition.before.take(),
        };
        before.unwrap_or_default()
    }

    /// A user, as its first record finds it.
    pub(super) fn followed(&self, user: &Address) -> Followed {
        let before = self.reading.beginning().and_then(|(_, before, _)| before);
        before.map_or_else(|| Followed::new(user), |state| Followed::after(state, user))
    }

    /// The number of its first record, where the ones before it were removed.
    pub(super) fn begins_at(&self) -> Option<u64> {
        self.reading.beginning().map(|(first, ..)| first).filter(|first| *first > 0)
    }

    /// Whether nobody knows what the records before its first one left.
    pub(super) fn is_without_beginning(&self) -> bool {
        self.reading.beginning().is_some_and(|(first, _, has_before)| first > 0 && !has_before)
    }

    /// Refuses a point before what is kept.
    ///
    /// # Errors
    ///
    /// The records up to it were removed.
    pub(super) fn reaches(&self, point: Point) -> anyhow::Result<()> {
        let Some((first, before, _)) = self.reading.beginning().filter(|(first, ..)| *first > 0)
        else {
            return Ok(());
        };
        let is_gone = match point {
            Point::Seq(seq) => seq + 1 < first,
            Point::Time(time) => before.is_some_and(|state| time < state.at),
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
        let Self { reading, name, seen, bar, reader, .. } = self;
        match reading {
            Reading::File(lines) => file::read(lines, seen, bar, reader, each)?,
            Reading::Partition(partition) => {
                directory::read(partition, name, seen, bar, reader, each)?;
            }
            Reading::Topic(partition) => topic::read(partition, name, seen, bar, reader, each)?,
        }
        self.bar.finish_and_clear();
        Ok(())
    }

    /// Where a record of it stands, in words.
    pub(super) fn placing(&self) -> impl Fn(&Entry<'_>) -> String + use<> {
        let (name, is_file) = (self.name.clone(), matches!(self.reading, Reading::File(_)));
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

/// Which partitions of so many are asked for.
///
/// # Errors
///
/// One is meant, and there are several; or it is none of them.
fn which(asked: Asked<'_>, partitions: u32, of: &dyn fmt::Display) -> anyhow::Result<Range<u32>> {
    let which = match (asked.partition, asked.user) {
        (Some(number), _) if number >= partitions => {
            bail!("{of} has {partitions} partitions, counted from 0");
        }
        (Some(number), _) => number..number + 1,
        (None, Some(user)) => {
            let number = partition_of(&user.to_string(), partitions);
            number..number + 1
        }
        (None, None) => 0..partitions,
    };
    if let Some(option) = asked.of_one
        && which.len() > 1
    {
        bail!(
            "{option} means one partition, and {of} has {partitions}: say which with --partition N, \
             or whose with --user"
        );
    }
    Ok(which)
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
