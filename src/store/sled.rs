//! The throw-away checkpoint on disk, in sled 0.34: the one file that names it.
//!
//! ```text
//! current            the name of the checkpoint that counts, switched by a rename
//! checkpoint-<n>/    manifest: each file with its length and CRC-32; written last
//!     volume-<n>/    a sled database: chunk number (u32, big-endian) → chunk
//! ```
//!
//! A checkpoint is written once, into a folder of its own, and never changed: so a manifest can say what
//! each file must be, and sled never opens a file that is not. What does not hold is thrown away; the
//! journal is read from its start then. sled's cache takes what it reads and writes, whatever its bound
//! says, so a volume is small and closed before the next is opened.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use crate::engine::checkpoint::{Chunk, whole};
use crate::engine::ports::{Chunks, Store};

/// Bytes of chunks that one volume takes.
const VOLUME: usize = 64 << 20;
/// What sled may keep of a volume, as far as it keeps to it.
const CACHE: u64 = 16 << 20;
/// How often a lock that is held is looked at, and how long in between: five seconds in all.
const LOOKS: u32 = 250;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
const CURRENT: &str = "current";
const MANIFEST: &str = "manifest";
const CHECKPOINT: &str = "checkpoint-";
/// The first line of a manifest.
const FORMAT: &str = "deferd checkpoint 1";

/// The checkpoints of one partition, in a folder of their own.
#[derive(Clone, Debug)]
pub struct DiskStore {
    folder: PathBuf,
}

impl DiskStore {
    /// The store in this folder, which need not exist yet and must hold nothing else.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The folder of the checkpoint that counts.
    fn current(&self) -> Result<Option<PathBuf>, String> {
        let path = self.folder.join(CURRENT);
        let name = match fs::read_to_string(&path) {
            Ok(name) => name,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(&path)(error)),
        };
        match number_of(name.trim_end()) {
            Some(_) => Ok(Some(self.folder.join(name.trim_end()))),
            None => Err(format!("{}: it names no checkpoint", path.display())),
        }
    }

    fn volumes(&self) -> Result<Option<Vec<Volume>>, String> {
        self.current()?.map(|folder| manifest(&folder)).transpose()
    }

    /// Removes all checkpoints but this one.
    fn clean_but(&self, kept: Option<&str>) -> io::Result<()> {
        for (name, path) in entries(&self.folder)? {
            if number_of(&name).is_some() && Some(name.as_str()) != kept {
                fs::remove_dir_all(path)?;
            }
        }
        Ok(())
    }

    fn write(&self, folder: &Path, chunks: &mut dyn Iterator<Item = Chunk>) -> Result<(), String> {
        let (mut volume, mut room, mut number) = (None, 0, 0_u32);
        let mut volumes = 0;
        whole(chunks, |chunk| {
            if chunk.len() > room {
                close(volume.take())?;
                let path = folder.join(format!("volume-{volumes}"));
                volume = Some((open(&path)?, path));
                (volumes, room) = (volumes + 1, VOLUME);
            }
            room = room.saturating_sub(chunk.len());
            let Some((db, _)) = &volume else { return Ok(()) };
            db.insert(number.to_be_bytes(), chunk).map_err(|error| error.to_string())?;
            number += 1;
            Ok(())
        })?;
        close(volume.take())?;
        write_manifest(folder).map_err(at(folder))
    }

    fn switch_to(&self, name: &str) -> io::Result<()> {
        let new = self.folder.join("current.new");
        let mut file = File::create(&new)?;
        writeln!(file, "{name}")?;
        file.sync_all()?;
        fs::rename(&new, self.folder.join(CURRENT))?;
        sync(&self.folder)
    }
}

impl Store for DiskStore {
    fn load(&mut self) -> Result<Option<Chunks<'_>>, String> {
        match self.volumes() {
            Ok(Some(volumes)) => Ok(Some(Box::new(Reading::of(volumes)))),
            Ok(None) => Ok(None),
            Err(why) => {
                self.discard();
                Err(why)
            }
        }
    }

    fn save(&mut self, chunks: &mut dyn Iterator<Item = Chunk>) -> Result<(), String> {
        fs::create_dir_all(&self.folder).map_err(at(&self.folder))?;
        let before = self.current().ok().flatten();
        let kept = before.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
        self.clean_but(kept).map_err(at(&self.folder))?;
        let name = format!("{CHECKPOINT}{}", kept.and_then(number_of).unwrap_or(0) + 1);
        let folder = self.folder.join(&name);
        let written = fs::create_dir(&folder)
            .map_err(at(&folder))
            .and_then(|()| guarded(|| self.write(&folder, chunks)))
            .and_then(|()| self.switch_to(&name).map_err(at(&self.folder)));
        // A folder that stays for now is of no harm: the next save removes it.
        let kept = if written.is_ok() { Some(name.as_str()) } else { kept };
        let cleaned = self.clean_but(kept).map_err(at(&self.folder));
        written.and(cleaned)
    }

    fn discard(&mut self) {
        // What cannot be removed is in the way of nothing, once nothing points to it.
        for path in ["current.new", CURRENT].map(|name| self.folder.join(name)) {
            if path.is_dir() {
                fs::remove_dir_all(path).ok();
            } else {
                fs::remove_file(path).ok();
            }
        }
        self.clean_but(None).ok();
    }
}

/// A volume, and what its files must be.
#[derive(Debug)]
struct Volume {
    folder: PathBuf,
    files: BTreeMap<PathBuf, (u64, u32)>,
}

impl Volume {
    /// Whether its files are what was written. Others, which a process that was killed may have left, go.
    fn check(self) -> Result<PathBuf, String> {
        for path in files(&self.folder).map_err(at(&self.folder))? {
            if !self.files.contains_key(&path) {
                fs::remove_file(&path).map_err(at(&path))?;
            }
        }
        for (path, expected) in &self.files {
            if checksum(path).map_err(at(path))? != *expected {
                return Err(format!("{}: not what was written", path.display()));
            }
        }
        Ok(self.folder)
    }
}

/// The chunks of a checkpoint.
struct Reading {
    /// Volumes that hold: each is checked while the one before is read.
    checked: mpsc::IntoIter<Result<PathBuf, String>>,
    open: Option<(sled::Db, sled::Iter)>,
    number: u32,
}

impl Reading {
    fn of(volumes: Vec<Volume>) -> Self {
        let (found, checked) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            for volume in volumes {
                let volume = volume.check();
                let broken = volume.is_err();
                if found.send(volume).is_err() || broken {
                    break;
                }
            }
        });
        Self { checked: checked.into_iter(), open: None, number: 0 }
    }

    /// The next chunk; `None` behind the last.
    fn read(&mut self) -> Result<Option<Vec<u8>>, String> {
        loop {
            let next = self.open.as_mut().and_then(|(_, chunks)| chunks.next());
            if let Some(chunk) = next {
                let (key, chunk) = chunk.map_err(|error| error.to_string())?;
                if *key != self.number.to_be_bytes() {
                    return Err(format!("chunk {} is missing", self.number));
                }
                self.number += 1;
                return Ok(Some(chunk.to_vec()));
            }
            self.open = None;
            let Some(folder) = self.checked.next() else { return Ok(None) };
            let db = open(&folder?)?;
            let chunks = db.iter();
            self.open = Some((db, chunks));
        }
    }
}

impl Iterator for Reading {
    type Item = Result<Vec<u8>, String>;

    fn next(&mut self) -> Option<Result<Vec<u8>, String>> {
        guarded(|| self.read()).transpose()
    }
}

/// sled panics where it finds what it cannot explain; that is no reason for us to.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("sled panicked".to_owned()))
}

/// Opens a volume. A thread of sled's may hold the lock of one that was closed just now a moment longer.
fn open(folder: &Path) -> Result<sled::Db, String> {
    let config = sled::Config::new()
        .path(folder)
        .cache_capacity(CACHE)
        .mode(sled::Mode::HighThroughput)
        .flush_every_ms(None);
    let is_held = |error: &sled::Error| error.to_string().contains("could not acquire lock");
    for _ in 0..LOOKS {
        match config.open() {
            Err(error) if is_held(&error) => std::thread::sleep(BETWEEN_LOOKS),
            opened => return opened.map_err(|error| format!("{}: {error}", folder.display())),
        }
    }
    Err(format!("{}: somebody holds its lock", folder.display()))
}

/// Closes a volume that is full. sled writes its own index when it opens what was written, so it is made
/// to do so now: later opens find nothing to do, and leave the files as they are.
fn close(volume: Option<(sled::Db, PathBuf)>) -> Result<(), String> {
    let Some((db, folder)) = volume else { return Ok(()) };
    db.flush().map_err(|error| error.to_string())?;
    drop(db);
    drop(open(&folder)?);
    Ok(())
}

/// Makes all files durable, and says in one more what they are.
fn write_manifest(folder: &Path) -> io::Result<()> {
    let mut text = format!("{FORMAT}\n");
    for path in files(folder)? {
        let (length, crc) = checksum(&path)?;
        File::open(&path)?.sync_all()?;
        let name = path.strip_prefix(folder).unwrap_or(&path);
        text += &format!("{length} {crc} {}\n", name.display());
    }
    text += &format!("end {}\n", crc32fast::hash(text.as_bytes()));
    for folder in folders(folder)? {
        sync(&folder)?;
    }
    let mut file = File::create(folder.join(MANIFEST))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    sync(folder)
}

/// The volumes of a checkpoint, in order, as its manifest has them.
fn manifest(folder: &Path) -> Result<Vec<Volume>, String> {
    let path = folder.join(MANIFEST);
    let damaged = || format!("{}: damaged", path.display());
    let text = fs::read_to_string(&path).map_err(at(&path))?;
    let (body, end) = text.trim_end().rsplit_once("\nend ").ok_or_else(damaged)?;
    if end != crc32fast::hash(format!("{body}\n").as_bytes()).to_string() {
        return Err(damaged());
    }
    let lines = body.strip_prefix(FORMAT);
    let lines = lines.ok_or_else(|| format!("{}: another version", path.display()))?;
    let mut volumes: BTreeMap<u32, Volume> = BTreeMap::new();
    for line in lines.lines().filter(|line| !line.is_empty()) {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().ok_or_else(damaged);
        let length = word()?.parse().map_err(|_| damaged())?;
        let crc = word()?.parse().map_err(|_| damaged())?;
        let name = word()?;
        let volume = name.split('/').next().and_then(|name| name.strip_prefix("volume-"));
        let number = volume.and_then(|number| number.parse().ok()).ok_or_else(damaged)?;
        let entry = volumes.entry(number).or_insert_with(|| Volume {
            folder: folder.join(format!("volume-{number}")),
            files: BTreeMap::new(),
        });
        entry.files.insert(folder.join(name), (length, crc));
    }
    Ok(volumes.into_values().collect())
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix(CHECKPOINT)?.parse().ok()
}

fn checksum(path: &Path) -> io::Result<(u64, u32)> {
    let mut file = File::open(path)?;
    let (mut length, mut crc) = (0, crc32fast::Hasher::new());
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Ok((length, crc.finalize()));
        };
        length += bytes.len() as u64;
        crc.update(bytes);
    }
}

/// What stands in a folder, by name; nothing where there is no folder.
fn entries(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let found = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found?,
    };
    found
        .map(|entry| {
            let entry = entry?;
            Ok((entry.file_name().to_string_lossy().into_owned(), entry.path()))
        })
        .collect()
}

/// A folder and all folders in it.
fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![folder.to_owned()];
    for (_, path) in entries(folder)? {
        if path.is_dir() {
            found.extend(folders(&path)?);
        }
    }
    Ok(found)
}

/// All files in a folder and below.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in folders(folder)? {
        found.extend(entries(&folder)?.into_iter().map(|(_, path)| path).filter(|p| !p.is_dir()));
    }
    found.sort();
    Ok(found)
}

/// Makes the names in a folder durable.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn at(path: &Path) -> impl Fn(io::Error) -> String + '_ {
    move |error| format!("{}: {error}", path.display())
}
