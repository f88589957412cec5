//! The journal of a data directory: a partition of it, whether or not somebody writes it.

use std::ops::ControlFlow;
use std::path::Path;

use indicatif::ProgressBar;

use super::{Asked, BAR_EVERY, Entry, Journal, LONG, Reading, Seen, at_place, bar, place, which};
use crate::engine::history::Line;
use crate::engine::state::State;
use crate::log::embedded::{Directory, Frames, Place, Until};
use crate::record::input::Reader;

/// A partition that is read.
#[derive(Debug)]
pub(super) struct Partition {
    directory: Directory,
    number: u32,
    frames: Frames,
    until: Until,
    /// The number of its first record: the ones before it were removed.
    pub(super) first: u64,
    /// The state that they left, until somebody takes it.
    pub(super) before: Option<State>,
    /// Whether that is known.
    pub(super) has_before: bool,
}

/// Opens what is asked for of a data directory.
///
/// # Errors
///
/// It is none, cannot be read, or has partitions where one is meant.
pub(super) fn open<'r>(
    path: &Path,
    asked: Asked<'_>,
    reader: &'r Reader,
) -> anyhow::Result<Vec<Journal<'r>>> {
    let directory = Directory::open(path)?;
    let partitions = directory.layout.partitions;
    let which = which(asked, partitions, &path.display())?;
    which.map(|number| one(&directory, number, partitions > 1, reader)).collect()
}

fn one<'r>(
    directory: &Directory,
    number: u32,
    is_one_of_many: bool,
    reader: &'r Reader,
) -> anyhow::Result<Journal<'r>> {
    // As far as it is durable now: what comes while we read is not for us.
    let until = match directory.writer() {
        Some(_) => Until::Place(Place::published(&directory.partition(number)).unwrap_or_default()),
        None => Until::End,
    };
    let (frames, before) = beginning(directory, number)?;
    let (first, size) = (frames.next_seq(), frames.bytes());
    let has_before = before.is_some();
    let directory = directory.clone();
    let mut name = directory.path.display().to_string();
    if is_one_of_many {
        name = format!("{name}, partition {number}");
    }
    let partition = Partition { directory, number, frames, until, first, before, has_before };
    let reading = Reading::Partition(Box::new(partition));
    let bar = if size > LONG { bar(size) } else { ProgressBar::hidden() };
    Ok(Journal::new(reading, name, is_one_of_many.then_some(number), bar, reader))
}

/// The frames of a partition from its beginning on. Where the retention has removed that: from the oldest
/// snapshot that is kept with all that follows it, and the state that it holds.
fn beginning(directory: &Directory, number: u32) -> anyhow::Result<(Frames, Option<State>)> {
    let frames = Frames::oldest(directory, number)?;
    let first = frames.next_seq();
    if first == 0 {
        return Ok((frames, None));
    }
    for seq in directory.snapshots(number)?.into_iter().filter(|seq| *seq >= first) {
        match directory.snapshot(number, seq) {
            Ok(state) => return Ok((Frames::open(directory, number, seq)?, Some(state))),
            Err(fault) => crate::cli::warn(&format!("{fault}; the next snapshot is looked for")),
        }
    }
    Ok((frames, None))
}

/// Hands out every record of a partition.
pub(super) fn read(
    partition: &mut Partition,
    name: &str,
    seen: &mut Seen,
    bar: &ProgressBar,
    reader: &Reader,
    mut each: impl FnMut(&Entry<'_>) -> anyhow::Result<ControlFlow<()>>,
) -> anyhow::Result<()> {
    let Partition { frames, until, first, .. } = partition;
    loop {
        if seen.records.is_multiple_of(BAR_EVERY) {
            bar.set_position(frames.passed());
        }
        let Some(frame) = frames.next(*until)? else { break };
        let place = || place(name, false, frame.seq);
        let line = Line::of(frame.at, frame.line)
            .map_err(|error| anyhow::Error::from(error).context(place()))?;
        let broken = seen.note(*first, line.seq, line.epoch, None);
        let entry = Entry { number: line.seq, line, broken, reader };
        seen.note_break(place, entry.broken.as_ref());
        if each(&entry).map_err(|error| at_place(error, place))?.is_break() {
            return Ok(());
        }
    }
    if let Some(torn) = partition.frames.torn() {
        seen.cut = partition.torn(torn);
    }
    Ok(())
}

impl Partition {
    /// The torn end in words; `None` where somebody has begun to write meanwhile: it is being written.
    fn torn(&self, offset: u64) -> Option<String> {
        let path = self.directory.partition(self.number);
        self.directory.writer().is_none().then(|| {
            format!(
                "{}: its last commit is torn at byte {offset} of the last segment: nobody was told of \
                 it, and it is passed over",
                path.display()
            )
        })
    }
}
