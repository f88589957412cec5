//! The data directory: who writes it, what made it, and how many partitions it has.
//!
//! ```text
//! layout.json        version, id, number of partitions; written once
//! lock               held by the process that writes; its pid is text for people
//! partition-0/       segments, their indexes, snapshots, the published end
//! ```

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::LogFault;

/// The version of a data directory.
const VERSION: u32 = 1;

/// What a data directory says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Which program can read it.
    pub version: u32,
    /// Tells it from all others: a checkpoint or a segment of another one is noticed.
    pub id: u64,
    /// How many partitions it has.
    pub partitions: u32,
}

/// A data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Where it is.
    pub path: PathBuf,
    /// What it says of itself.
    pub layout: Layout,
}

/// The right to write a data directory, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the right to write a folder, which is made where it is missing, for us alone to read: it
    /// holds numbers and messages.
    ///
    /// # Errors
    ///
    /// [`LogFault::Held`]: another process writes it.
    pub fn claim(path: &Path) -> Result<Self, LogFault> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(path)
            .map_err(|error| LogFault::io("make", path, error))?;
        let name = path.join("lock");
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&name)
            .map_err(|error| LogFault::io("open", &name, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = pid_in(&mut file);
                return Err(LogFault::Held { path: path.to_owned(), pid });
            }
            Err(TryLockError::Error(error)) => return Err(LogFault::io("lock", &name, error)),
        }
        // Text for people; where the disk is full it stays what it was.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

impl Directory {
    /// Reads what a data directory says of itself.
    ///
    /// # Errors
    ///
    /// [`LogFault::NoDirectory`] where there is none; [`LogFault::Newer`] where a later program made it.
    pub fn open(path: &Path) -> Result<Self, LogFault> {
        let file = path.join("layout.json");
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(LogFault::NoDirectory { path: path.to_owned() });
            }
            Err(error) => return Err(LogFault::io("read", &file, error)),
        };
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let not_ours = |error: serde_json::Error| LogFault::damaged(&file, 0, &error.to_string());
        let Version { version } = serde_json::from_str(&text).map_err(not_ours)?;
        if version > VERSION {
            return Err(LogFault::Newer { path: path.to_owned(), found: version, newest: VERSION });
        }
        let layout = serde_json::from_str(&text).map_err(not_ours)?;
        Ok(Self { path: path.to_owned(), layout })
    }

    /// Takes the right to write a data directory, and makes it where it is missing: with so many
    /// partitions, and this id.
    ///
    /// # Errors
    ///
    /// [`LogFault::Held`] where another process writes it, [`LogFault::Partitions`] where it has another
    /// number of partitions, and whatever [`open`](Self::open) and the system say.
    pub fn claim(path: &Path, partitions: u32, id: u64) -> Result<(Self, Lock), LogFault> {
        let lock = Lock::claim(path)?;
        let directory = match Self::open(path) {
            Err(LogFault::NoDirectory { .. }) => Self::make(path, partitions, id)?,
            opened => opened?,
        };
        let has = directory.layout.partitions;
        if has != partitions {
            return Err(LogFault::Partitions { path: path.to_owned(), has, asked: partitions });
        }
        for number in 0..has {
            let partition = directory.partition(number);
            std::fs::create_dir_all(&partition)
                .map_err(|error| LogFault::io("make", &partition, error))?;
        }
        sync(path)?;
        Ok((directory, lock))
    }

    fn make(path: &Path, partitions: u32, id: u64) -> Result<Self, LogFault> {
        // A journal without its layout is somebody's loss, not a new beginning.
        if path.join("partition-0").join(format!("{:020}.journal", 0)).exists() {
            let file = path.join("layout.json");
            return Err(LogFault::damaged(&file, 0, "it is missing, and there is a journal"));
        }
        let layout = Layout { version: VERSION, id, partitions };
        let file = path.join("layout.json");
        let half = path.join("layout.json.half");
        let text = serde_json::to_vec(&layout).unwrap_or_default();
        let written = File::create(&half)
            .and_then(|mut half| half.write_all(&text).and_then(|()| half.sync_all()))
            .and_then(|()| std::fs::rename(&half, &file));
        written.map_err(|error| LogFault::io("write", &file, error))?;
        Ok(Self { path: path.to_owned(), layout })
    }

    /// Where a partition is kept.
    #[must_use]
    pub fn partition(&self, number: u32) -> PathBuf {
        self.path.join(format!("partition-{number}"))
    }

    /// The pid of the process that writes it now; `None` where none does.
    #[must_use]
    pub fn writer(&self) -> Option<String> {
        let mut file = File::open(self.path.join("lock")).ok()?;
        match file.try_lock_shared() {
            Ok(()) => None,
            Err(_) => Some(pid_in(&mut file)),
        }
    }
}

fn pid_in(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.take(20).read_to_string(&mut text);
    text.trim().to_owned()
}

/// Makes the names in a directory durable.
pub(super) fn sync(path: &Path) -> Result<(), LogFault> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| LogFault::io("sync", path, error))
}
