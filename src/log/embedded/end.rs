//! The durable end of a partition: how far anybody may read.
//!
//! The writer publishes it after each commit, to its own process and, in the file `end`, to others. The
//! file is never waited for: a crash may leave it behind the frames, never ahead of them.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::LogFault;

/// The place after the last durable frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The `seq` of the record that comes next.
    pub seq: u64,
    /// The first `seq` of its segment.
    pub segment: u64,
    /// Where in the segment it will stand.
    pub offset: u64,
}

impl Place {
    const LENGTH: usize = 28;

    fn bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::LENGTH);
        bytes.extend_from_slice(&self.seq.to_le_bytes());
        bytes.extend_from_slice(&self.segment.to_le_bytes());
        bytes.extend_from_slice(&self.offset.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// What a partition's writer published last; `None` where there is none, or none to trust.
    #[must_use]
    pub fn published(partition: &Path) -> Option<Self> {
        // The writer may be in the middle of it.
        (0..100).find_map(|_| {
            let bytes = std::fs::read(partition.join("end")).ok()?;
            let (body, crc) = bytes.split_last_chunk::<4>()?;
            let number = |at: usize| {
                body.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes)
            };
            let place = Self { seq: number(0)?, segment: number(8)?, offset: number(16)? };
            (crc32fast::hash(body).to_le_bytes() == *crc).then_some(place)
        })
    }
}

/// Whoever is told that a partition has grown.
type Listener = Box<dyn Fn() + Send + Sync>;

/// The durable end of one partition, in the process that writes it.
pub struct End {
    file: File,
    place: Mutex<Place>,
    moved: Condvar,
    over: AtomicBool,
    listeners: Mutex<Vec<Listener>>,
}

impl std::fmt::Debug for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("End").field("place", &self.place()).finish_non_exhaustive()
    }
}

impl End {
    /// The end of a partition that was found to end at `place`.
    ///
    /// # Errors
    ///
    /// Its file cannot be written.
    pub(super) fn open(partition: &Path, place: Place) -> Result<Self, LogFault> {
        let path = partition.join("end");
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| LogFault::io("open", &path, error))?;
        let end = Self {
            file,
            place: Mutex::new(place),
            moved: Condvar::new(),
            over: AtomicBool::new(false),
            listeners: Mutex::new(Vec::new()),
        };
        end.publish(place);
        Ok(end)
    }

    /// Lets readers read up to `place`.
    pub(super) fn publish(&self, place: Place) {
        *self.lock() = place;
        // Other processes read a little less where this fails; a full disk cannot refuse it, since the
        // file never grows.
        let _ = self.file.write_all_at(&place.bytes(), 0);
        self.moved.notify_all();
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.iter().for_each(|listener| listener());
    }

    /// How far one may read.
    #[must_use]
    pub fn place(&self) -> Place {
        *self.lock()
    }

    /// Waits until the record `seq` is there, at most `patience`, and not at all once waiting is over.
    pub fn wait_for(&self, seq: u64, patience: Duration) {
        let waits = |at: &mut Place| at.seq <= seq && !self.over.load(Ordering::SeqCst);
        drop(self.moved.wait_timeout_while(self.lock(), patience, waits));
    }

    /// Ends all waits, for good.
    pub fn wake(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.moved.notify_all();
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.iter().for_each(|listener| listener());
    }

    /// Calls `listener` whenever the partition has grown; it must not wait.
    pub fn on_growth(&self, listener: Listener) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    fn lock(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
