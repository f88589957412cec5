//! How far a sink got, durably: what it need not send again.
//!
//! `DIR/sinks/<name>` is one line of JSON, written beside itself and renamed, so that it is whole or the
//! one before. What was sent and is not noted there is sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::{SAVED_EVERY, Shared};
use crate::domain::time::Timestamp;

/// The version of a cursor.
const VERSION: u32 = 1;

/// Why a cursor cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// The system refuses something.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is none of ours.
    #[error(
        "{}: {why}; remove it to let the sink begin anew: what it has not sent is not sent then",
        path.display()
    )]
    Strange {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Where a sink stands in a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The next record to read.
    pub(super) next: u64,
    /// Those before it that are not settled.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) open: BTreeSet<u64>,
}

impl Place {
    /// The first record that is not settled.
    pub(super) fn needed(&self) -> u64 {
        self.open.first().copied().unwrap_or(self.next)
    }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    partitions: Vec<Place>,
}

/// The cursor of a sink.
#[derive(Debug)]
pub(super) struct Cursor {
    path: PathBuf,
    /// Where it stands, a partition each.
    pub(super) places: Vec<Place>,
    saved: Vec<Place>,
    saved_at: Timestamp,
}

impl Cursor {
    /// The cursor of a sink, or one that begins at `first` of each partition. Either is durable.
    pub(super) fn open(
        cursors: &Path,
        name: &str,
        partitions: u32,
        first: impl Fn(u32) -> u64,
    ) -> Result<Self, CursorError> {
        let path = cursors.join(name);
        let io = |what, source| CursorError::Io { what, path: path.clone(), source };
        std::fs::create_dir_all(cursors).map_err(|error| io("make the directory of", error))?;
        let places = match std::fs::read(&path) {
            Ok(bytes) => read(&bytes, partitions)
                .map_err(|why| CursorError::Strange { path: path.clone(), why })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let place = |number| Place { next: first(number), open: BTreeSet::new() };
                (0..partitions).map(place).collect()
            }
            Err(error) => return Err(io("read", error)),
        };
        let cursor = Self { saved: places.clone(), places, path, saved_at: Timestamp::EPOCH };
        cursor.write(&cursor.places).map_err(|error| CursorError::Io {
            what: "write",
            path: cursor.path.clone(),
            source: error,
        })?;
        Ok(cursor)
    }

    /// Whether there is something to save.
    pub(super) fn is_behind(&self) -> bool {
        self.places != self.saved
    }

    /// Saves it where it has moved, and was not saved just now.
    pub(super) fn save(
        &mut self,
        shared: &Shared,
        now: Timestamp,
        at_once: bool,
    ) -> io::Result<()> {
        // A clock that steps back is no reason to wait for it.
        let just_now = now >= self.saved_at && now.since(self.saved_at) < SAVED_EVERY;
        if !self.is_behind() || (just_now && !at_once) {
            return Ok(());
        }
        self.saved_at = now;
        self.write(&self.places)?;
        self.saved.clone_from(&self.places);
        for (placed, place) in shared.places.iter().zip(&self.saved) {
            placed.saved.store(place.needed(), Ordering::SeqCst);
        }
        Ok(())
    }

    fn write(&self, places: &[Place]) -> io::Result<()> {
        let kept = Kept { version: VERSION, partitions: places.to_vec() };
        let mut text = serde_json::to_vec(&kept)?;
        text.push(b'\n');
        let half = self.path.with_extension("half");
        let mut file = File::create(&half)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&half, &self.path)?;
        match self.path.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}

fn read(bytes: &[u8], partitions: u32) -> Result<Vec<Place>, String> {
    let kept: Kept =
        serde_json::from_slice(bytes).map_err(|error| format!("no cursor: {error}"))?;
    if kept.version > VERSION {
        return Err(format!("version {} is newer than {VERSION}", kept.version));
    }
    let has = kept.partitions.len();
    if has != partitions as usize {
        return Err(format!("it is of {has} partitions, and there are {partitions}"));
    }
    Ok(kept.partitions)
}

/// The records of a partition that are under way: some are settled before others.
#[derive(Debug)]
pub(super) struct Progress {
    next: u64,
    /// How many outputs of each are not settled.
    open: BTreeMap<u64, u32>,
    /// Of those before the place where an earlier life stopped reading, only these were not settled.
    left: Place,
}

impl Progress {
    pub(super) fn after(place: &Place) -> Self {
        Self { next: place.needed(), open: BTreeMap::new(), left: place.clone() }
    }

    /// Whether a record has to be sent, as it is read: an earlier life may have settled it.
    pub(super) fn wants(&self, seq: u64) -> bool {
        seq >= self.left.next || self.left.open.contains(&seq)
    }

    /// Notes that a record was read, and how many of its outputs are ours.
    pub(super) fn read(&mut self, seq: u64, outputs: u32) {
        self.next = seq + 1;
        if outputs > 0 {
            self.open.insert(seq, outputs);
        }
    }

    /// Notes that an output of a record is settled.
    pub(super) fn settle(&mut self, seq: u64) {
        if let Some(count) = self.open.get_mut(&seq) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&seq);
            }
        }
    }

    /// What a next life would need to know.
    pub(super) fn place(&self) -> Place {
        let mut open: BTreeSet<u64> = self.open.keys().copied().collect();
        // What an earlier life left open, and is not read yet.
        open.extend(self.left.open.range(self.next..));
        Place { next: self.next.max(self.left.next), open }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_is_all_that_comes_again() {
        let mut progress = Progress::after(&Place { next: 5, open: BTreeSet::new() });
        progress.read(5, 1);
        progress.read(6, 0);
        progress.read(7, 2);
        progress.read(8, 1);
        progress.settle(8);
        progress.settle(7);
        assert_eq!(progress.place(), Place { next: 9, open: [5, 7].into() });

        let mut again = Progress::after(&progress.place());
        assert_eq!(
            (again.next, again.wants(5), again.wants(6), again.wants(7)),
            (5, true, false, true)
        );
        assert_eq!((again.wants(8), again.wants(9)), (false, true));
        // A crash before anything was read changes nothing.
        assert_eq!(again.place(), progress.place());
        again.read(5, 1);
        again.settle(5);
        again.read(6, 0);
        assert_eq!(again.place(), Place { next: 9, open: [7].into() });
        for seq in [7, 8] {
            again.read(seq, u32::from(again.wants(seq)));
        }
        again.settle(7);
        assert_eq!(again.place(), Place { next: 9, open: BTreeSet::new() });
    }
}
