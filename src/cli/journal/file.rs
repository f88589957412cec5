//! A journal in a file: records one a line, what was published perhaps between them.

use std::borrow::Cow;
use std::ops::ControlFlow;

use anyhow::{Context, anyhow, bail};
use indicatif::ProgressBar;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{BAR_EVERY, EXPORTED, Entry, Seen, at_place, place};
use crate::cli::lines::{Line, Lines};
use crate::domain::time::{Timestamp, rfc3339};
use crate::engine::history;
use crate::record::input::Reader;

/// What every reader needs of a line.
#[derive(Debug, Deserialize)]
struct Head<'a> {
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

/// Hands out every record of a file.
pub(super) fn read(
    lines: &mut Lines,
    seen: &mut Seen,
    bar: &ProgressBar,
    reader: &Reader,
    mut each: impl FnMut(&Entry<'_>) -> anyhow::Result<ControlFlow<()>>,
) -> anyhow::Result<()> {
    let name = lines.name().to_owned();
    while let Some(line) = lines.next_line()? {
        let place = || place(&name, true, line.number);
        let head = match Head::read(&line.bytes) {
            Ok(head) => head,
            Err(Bad::Cut) if lines.next_line()?.is_none() => {
                seen.cut = Some(seen.cut_at(&name, &line));
                break;
            }
            Err(bad) => return Err(anyhow!("{bad}").context(place())),
        };
        let entry = match seen.entry(&line, head, reader) {
            Ok(Some(entry)) => entry,
            Ok(None) => continue,
            Err(error) => return Err(error.context(place())),
        };
        seen.note_break(place, entry.broken.as_ref());
        if seen.records.is_multiple_of(BAR_EVERY) {
            bar.set_position(lines.progress().0);
        }
        if each(&entry).map_err(|error| at_place(error, place))?.is_break() {
            break;
        }
    }
    Ok(())
}

impl Seen {
    /// A line as a record; `None`: it is something that was published, or says what the file is.
    fn entry<'a>(
        &mut self,
        line: &'a Line,
        head: Head<'a>,
        reader: &'a Reader,
    ) -> anyhow::Result<Option<Entry<'a>>> {
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
        let is_policy = head.user.is_none() && head.input.is_some();
        let user = head.user;
        Ok(Some(Entry {
            line: history::Line { seq, epoch, at, user, is_policy, bytes: &line.bytes },
            number: line.number,
            broken: self.note(0, seq, epoch, head.prev),
            reader,
        }))
    }

    fn cut_at(&self, name: &str, line: &Line) -> String {
        if line.bytes.starts_with(b"{\"seq\"") || self.outputs == 0 {
            let next = self.last.map_or(0, |(seq, _)| seq + 1);
            format!("{name}: the file ends inside record {next}")
        } else {
            format!("{name}: the file ends inside line {}", line.number)
        }
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
