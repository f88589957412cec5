//! The journal topic of a cluster: a partition of it, up to where it ended when we came.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Asked, BAR_EVERY, Begin, Entry, Journal, Reading, Seen, at_place, place, which};
use crate::engine::history::Line;
use crate::engine::state::State;
use crate::log::kafka::Reader as TopicReader;
use crate::log::kafka::{Cluster, Found, Next, Snapshots, Topic};
use crate::record::input::Reader;

/// The longest wait for a record that must be there.
const PATIENCE: Duration = Duration::from_secs(10);
/// A partition with more records takes long enough for a progress bar.
const LONG: u64 = 20_000;

/// A partition that is read.
#[derive(Debug)]
pub(super) struct TopicPartition {
    /// All partitions of a journal are read by one client, one after the other.
    reader: Rc<RefCell<TopicReader>>,
    number: u32,
    /// Where it is begun, and where it ended; empty where nothing is there.
    offsets: (u64, u64),
    /// The number of its first record: the ones before it were removed, or are in `before`.
    pub(super) first: u64,
    /// The state that they left, until somebody takes it.
    pub(super) before: Option<State>,
    /// Whether that is known.
    pub(super) has_before: bool,
}

/// Opens what is asked for of the journal topic.
///
/// # Errors
///
/// No broker answers, there is no such topic, or it has partitions where one is meant.
pub(super) fn open<'r>(
    cluster: &Cluster,
    asked: Asked<'_>,
    reader: &'r Reader,
) -> anyhow::Result<Vec<Journal<'r>>> {
    let topic = TopicReader::new(cluster, Topic::Journal)?;
    let name = topic.topic().to_owned();
    let partitions = topic.partitions();
    let which = which(asked, partitions, &name)?;
    let topic = Rc::new(RefCell::new(topic));
    let mut snapshots = None;
    let one = |number| {
        let partition = one(cluster, &topic, &mut snapshots, number, asked.begin)?;
        let (from, to) = partition.offsets;
        let is_one_of_many = partitions > 1;
        let name =
            if is_one_of_many { format!("{name}, partition {number}") } else { name.clone() };
        let bar = if to - from > LONG { bar(to - from) } else { ProgressBar::hidden() };
        let reading = Reading::Topic(Box::new(partition));
        Ok(Journal::new(reading, name, is_one_of_many.then_some(number), bar, reader))
    };
    which.map(one).collect()
}

fn one(
    cluster: &Cluster,
    topic: &Rc<RefCell<TopicReader>>,
    snapshots: &mut Option<Snapshots>,
    number: u32,
    begin: Begin,
) -> anyhow::Result<TopicPartition> {
    let mut reader = topic.borrow_mut();
    // What comes while we read is not for us.
    let end = reader.ends(number)?.stable;
    let (first, mut offset) = match reader.find_seq(number, 0)? {
        Found::At(offset) => (0, offset),
        Found::Removed { oldest, offset } => (oldest, offset),
        Found::NotYet => (0, end),
    };
    let mut partition = TopicPartition {
        reader: Rc::clone(topic),
        number,
        offsets: (offset, end),
        first,
        before: None,
        has_before: false,
    };
    let wants_state = match begin {
        Begin::Oldest => false,
        Begin::Known => first > 0,
        Begin::Newest => true,
    };
    if !wants_state {
        return Ok(partition);
    }
    let snapshots = match snapshots {
        Some(snapshots) => snapshots,
        none => none.insert(Snapshots::of(cluster)?),
    };
    if let Some(state) = snapshots.newest(number)?
        && state.next_seq >= first
    {
        offset = match reader.find_seq(number, state.next_seq)? {
            Found::At(offset) => offset,
            Found::Removed { .. } => return Ok(partition),
            Found::NotYet => end,
        };
        partition.offsets = (offset.min(end), end);
        partition.first = state.next_seq;
        partition.before = Some(state);
        partition.has_before = true;
    }
    Ok(partition)
}

/// Hands out every record of a partition.
pub(super) fn read(
    partition: &TopicPartition,
    name: &str,
    seen: &mut Seen,
    bar: &ProgressBar,
    reader: &Reader,
    mut each: impl FnMut(&Entry<'_>) -> anyhow::Result<ControlFlow<()>>,
) -> anyhow::Result<()> {
    let (from, to) = partition.offsets;
    if from >= to {
        return Ok(());
    }
    let mut topic = partition.reader.borrow_mut();
    topic.go_to(partition.number, from)?;
    loop {
        let message = match topic.next(PATIENCE)? {
            Next::Record(message) if message.partition() == partition.number => message,
            Next::End { partition: ended } if ended == partition.number => break,
            Next::Record(_) | Next::End { .. } => continue,
            Next::Nothing => {
                bail!("{name}: the brokers gave no record in {} s", PATIENCE.as_secs());
            }
        };
        let offset = message.offset();
        if offset >= to {
            break;
        }
        if seen.records.is_multiple_of(BAR_EVERY) {
            bar.set_position(offset - from);
        }
        let line = Line::read(message.bytes().unwrap_or_default());
        let line = line.map_err(|error| {
            anyhow::Error::from(error).context(format!("{name}, offset {offset}"))
        })?;
        let place = || place(name, false, line.seq);
        let broken = seen.note(partition.first, line.seq, line.epoch, None);
        let entry = Entry { number: line.seq, line: line.clone(), broken, reader };
        seen.note_break(place, entry.broken.as_ref());
        if each(&entry).map_err(|error| at_place(error, place))?.is_break() {
            break;
        }
        // The last one: an end may be long in coming, where a transaction is open.
        if offset + 1 == to {
            break;
        }
    }
    topic.leave(partition.number)?;
    Ok(())
}

fn bar(records: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{bar:40} {percent}% of {human_len} offsets, {eta} to go")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(records).with_style(style)
}
