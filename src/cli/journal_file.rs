//! A journal in a file: records one a line, what was published perhaps between them.
//!
//! One pass, one line at a time, however long the file is. A line is looked at first for what every
//! reader needs ([`Head`]) and decoded by whoever wants more.

use std::borrow::Cow;
use std::ops::{ControlFlow, Deref};
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::lines::{Line, Lines};
use crate::domain::time::{Timestamp, rfc3339};
use crate::engine::history;
use crate::record::input::Reader;
use crate::record::journal::Record;

/// The longest line that can be a record.
const LONGEST: usize = 64 << 20;
/// A file larger than this takes long enough for a progress bar.
const LONG: u64 = 16 << 20;
/// Records between two looks at the bar.
const BAR_EVERY: u64 = 4096;
/// The type of the line that an export begins with.
pub(super) const EXPORTED: &str = "cpm.journal.exported.v1";

/// What every reader needs of a line.
#[derive(Debug, Deserialize)]
pub(super) struct Head<'a> {
    seq: Option<u64>,
    epoch: Option<u64>,
    #[serde(default, with = "rfc3339::option")]
    at: Option<Timestamp>,
    #[serde(borrow, default)]
    user: Option<Cow<'a, str>>,
    #[serde(default)]
    input: Option<IgnoredAny>,
    /// The record before it, in an export.
    #[serde(default)]
    prev: Option<u64>,
    #[serde(borrow, default)]
    specversion: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<&'a serde_json::value::RawValue>,
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

/// A record's line, and where it stands.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    line: history::Line<'a>,
    /// From 1.
    pub(super) number: u64,
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
    type Target = history::Line<'a>;

    fn deref(&self) -> &Self::Target {
        &self.line
    }
}

/// A journal in a file.
#[derive(Debug)]
pub(super) struct JournalFile<'r> {
    lines: Lines,
    bar: ProgressBar,
    /// What it says of itself, where it is an export.
    pub(super) export: Option<Export>,
    /// Records read.
    pub(super) records: u64,
    /// Outputs passed over.
    pub(super) outputs: u64,
    /// The first place where a record does not follow the one before, and how many there are.
    pub(super) breaks: (Option<String>, u64),
    /// The record inside which the file ends.
    pub(super) cut: Option<String>,
    last: Option<(u64, u64)>,
    reader: &'r Reader,
}

impl<'r> JournalFile<'r> {
    /// Opens a file, or standard input for `-`.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub(super) fn open(path: &Path, reader: &'r Reader) -> anyhow::Result<Self> {
        let lines = Lines::open(path, LONGEST)?;
        let bar = match lines.progress().1 {
            Some(size) if size > LONG => bar(size),
            Some(_) | None => ProgressBar::hidden(),
        };
        Ok(Self {
            lines,
            bar,
            export: None,
            records: 0,
            outputs: 0,
            breaks: (None, 0),
            cut: None,
            last: None,
            reader,
        })
    }

    /// Hands out every record, in order, until `each` has seen enough.
    ///
    /// # Errors
    ///
    /// The file cannot be read, a line is neither record nor CloudEvent, or `each` says so; with the
    /// line's number.
    pub(super) fn read(
        &mut self,
        mut each: impl FnMut(&Entry<'_>) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<()> {
        while let Some(line) = self.lines.next_line()? {
            let head = match Head::read(&line.bytes) {
                Ok(head) => head,
                Err(Bad::Cut) if self.lines.next_line()?.is_none() => {
                    self.cut = Some(self.cut_at(&line));
                    break;
                }
                Err(bad) => return Err(anyhow!("{bad}").context(self.place(&line))),
            };
            let entry = match self.entry(&line, head) {
                Ok(Some(entry)) => entry,
                Ok(None) => continue,
                Err(error) => return Err(error.context(self.place(&line))),
            };
            if let Some(broken) = &entry.broken {
                if self.breaks.0.is_none() {
                    self.breaks.0 = Some(format!("{}: {broken}", self.place(&line)));
                }
                self.breaks.1 += 1;
            }
            self.records += 1;
            if self.records.is_multiple_of(BAR_EVERY) {
                self.bar.set_position(self.lines.progress().0);
            }
            // A reader that stops for a closed pipe must stay recognisable: it has no place.
            let flow = each(&entry).map_err(|error| {
                if error.is::<std::io::Error>() { error } else { error.context(self.place(&line)) }
            })?;
            if flow.is_break() {
                break;
            }
        }
        self.bar.finish_and_clear();
        Ok(())
    }

    /// A line as a record; `None`: it is something that was published, or says what the file is.
    fn entry<'a>(&mut self, line: &'a Line, head: Head<'a>) -> anyhow::Result<Option<Entry<'a>>>
    where
        'r: 'a,
    {
        let Some(seq) = head.seq else {
            if head.specversion.is_none() {
                bail!("neither a journal record (no `seq`) nor a CloudEvent (no `specversion`)");
            }
            if self.records == 0
                && head.kind.as_deref() == Some(EXPORTED)
                && let Some(data) = head.data
            {
                let says = serde_json::from_str(data.get());
                self.export = Some(says.context("what this export says of itself")?);
            } else {
                self.outputs += 1;
            }
            return Ok(None);
        };
        let (Some(epoch), Some(at)) = (head.epoch, head.at) else {
            bail!("not a journal record: it has a `seq`, but no `epoch` or no `at`");
        };
        let broken = self.follows(seq, epoch, head.prev);
        self.last = Some((seq, epoch));
        Ok(Some(Entry {
            line: history::Line {
                seq,
                at,
                is_policy: head.user.is_none() && head.input.is_some(),
                user: head.user,
                bytes: &line.bytes,
            },
            number: line.number,
            broken,
            reader: self.reader,
        }))
    }

    /// Why a record does not follow the one before; `None`: it does. In an export each names the one
    /// before it, since what is of others is left out.
    fn follows(&self, seq: u64, epoch: u64, prev: Option<u64>) -> Option<String> {
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
            let expected = before.map_or(0, |before| before + 1);
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

    fn place(&self, line: &Line) -> String {
        format!("{}:{}", self.lines.name(), line.number)
    }

    fn cut_at(&self, line: &Line) -> String {
        if line.bytes.starts_with(b"{\"seq\"") || self.outputs == 0 {
            let next = self.last.map_or(0, |(seq, _)| seq + 1);
            format!("{}: the file ends inside record {next}", self.lines.name())
        } else {
            format!("{}: the file ends inside line {}", self.lines.name(), line.number)
        }
    }

    /// Tells the person what is wrong with the file, once all is read.
    pub(super) fn warn(&self) {
        if let (Some(first), more) = &self.breaks {
            let more = match more - 1 {
                0 => String::new(),
                more => format!(", and {more} more like it"),
            };
            super::warn(&format!("{first}{more}; what is shown after it may be wrong"));
        }
        if let Some(cut) = &self.cut {
            super::warn(cut);
        }
        if self.records == 0 {
            super::warn(&format!("{}: no journal record in it", self.lines.name()));
        }
    }

    /// What it is called.
    pub(super) fn name(&self) -> &str {
        self.lines.name()
    }
}

#[derive(Debug, thiserror::Error)]
enum Bad {
    /// It ends before its JSON does.
    #[error("not a journal record: it ends too soon")]
    Cut,
    /// It is something else.
    #[error("{0}")]
    Other(String),
}

impl<'a> Head<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Bad> {
        let text = std::str::from_utf8(bytes).map_err(|error| match error.error_len() {
            None => Bad::Cut,
            Some(_) => {
                Bad::Other(format!("not UTF-8: byte {} starts no character", error.valid_up_to()))
            }
        })?;
        serde_json::from_str(text).map_err(|error| {
            if error.is_eof() {
                Bad::Cut
            } else {
                Bad::Other(format!("neither a journal record nor a CloudEvent: {error}"))
            }
        })
    }
}

fn bar(size: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {percent}% of {total_bytes}, {eta} to go")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(size).with_style(style)
}
