//! A segment: a file of frames, named for the `seq` of its first.
//!
//! ```text
//! 00000000000000018231.journal    header, frames
//! 00000000000000018231.index      where some of its frames stand, once it is closed; made anew when missing
//! header: "deferdj1" | partition u32 | zero u32 | first seq u64 | directory id u64 | CRC-32 u32 | zero u32
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::LogFault;
use super::end::Place;
use super::frame::{self, Found, Frame};
use crate::domain::time::Timestamp;

const MAGIC: [u8; 8] = *b"deferdj1";
/// Octets of the header.
const HEADER_BYTES: usize = 40;
/// Where the first frame stands.
pub(super) const HEADER: u64 = HEADER_BYTES as u64;
/// What is read at once.
const CHUNK: usize = 1 << 20;
/// An entry of the index every so many bytes.
const INDEX_EVERY: u64 = 256 << 10;
/// The end of a segment's name.
const JOURNAL: &str = "journal";

/// What a segment's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The partition it belongs to.
    pub(super) partition: u32,
    /// The `seq` of its first frame.
    pub(super) first: u64,
    /// The data directory it was made in.
    pub(super) directory: u64,
}

impl Head {
    fn bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.partition.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.first.to_le_bytes());
        bytes.extend_from_slice(&self.directory.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes.resize(HEADER_BYTES, 0);
        bytes.try_into().unwrap_or([0; HEADER_BYTES])
    }
}

/// Where a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    /// Its `seq`.
    pub(super) seq: u64,
    /// When it was decided.
    pub(super) at: Timestamp,
    /// Its place in the segment.
    pub(super) offset: u64,
}

/// The segments of a partition, by the `seq` of their first frame, oldest first. A last one whose header is
/// cut short was begun when a crash came, holds nothing, and is written over: it is left out.
pub(super) fn list(directory: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        let name = Path::new(&name);
        if name.extension().is_some_and(|end| end == JOURNAL)
            && let Some(first) = name.file_stem().and_then(|stem| stem.to_str()?.parse().ok())
        {
            found.push(first);
        }
    }
    found.sort_unstable();
    if let Some(last) = found.last()
        && std::fs::metadata(path(directory, *last))?.len() < HEADER
    {
        found.pop();
    }
    Ok(found)
}

/// Where the segment that begins with `first` is kept.
pub(super) fn path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.{JOURNAL}"))
}

fn index_path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.index"))
}

/// Makes a segment: its header is durable, and its name too.
pub(super) fn create(directory: &Path, head: Head) -> io::Result<File> {
    let path = path(directory, head.first);
    // A file that a crash left before its header was whole is written over.
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    let made = file.write_all_at(&head.bytes(), 0).and_then(|()| file.sync_all());
    if let Err(error) = made.and_then(|()| File::open(directory)?.sync_all()) {
        let _ = std::fs::remove_file(&path);
        return Err(error);
    }
    Ok(file)
}

/// Removes a segment and its index.
pub(super) fn remove(directory: &Path, first: u64) -> io::Result<()> {
    std::fs::remove_file(path(directory, first))?;
    match std::fs::remove_file(index_path(directory, first)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads the frames of one segment, in order.
#[derive(Debug)]
pub(super) struct SegmentReader {
    file: File,
    path: PathBuf,
    /// What the header says; a segment of another partition, or moved, is refused.
    pub(super) head: Head,
    /// Where `buffer` begins in the file.
    start: u64,
    /// The next frame in `buffer`.
    at: usize,
    buffer: Vec<u8>,
    /// The frame that was found last, in `buffer`.
    found: Range<usize>,
}

/// What a reader finds next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    /// A frame: [`SegmentReader::frame`] gives it.
    Frame,
    /// Nothing more up to the limit.
    End,
    /// Bytes that are no frame, from here on.
    Bad { offset: u64, why: &'static str },
}

impl SegmentReader {
    /// Opens the segment that begins with `first`, at its first frame.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or its header is not the one it should have.
    pub(super) fn open(directory: &Path, partition: u32, first: u64) -> Result<Self, LogFault> {
        let path = path(directory, first);
        let file = File::open(&path).map_err(|error| LogFault::io("open", &path, error))?;
        let mut bytes = [0; HEADER_BYTES];
        let read = file.read_exact_at(&mut bytes, 0);
        if let Err(error) = read {
            return Err(if error.kind() == io::ErrorKind::UnexpectedEof {
                LogFault::damaged(&path, 0, "the header is cut short")
            } else {
                LogFault::io("read", &path, error)
            });
        }
        let head = Head { partition, first, directory: u64_at(&bytes, 24) };
        if bytes != head.bytes() {
            return Err(LogFault::damaged(&path, 0, "the header is not that of this segment"));
        }
        Ok(Self { file, path, head, start: HEADER, at: 0, buffer: Vec::new(), found: 0..0 })
    }

    /// Goes on at `offset`, where a frame must begin.
    pub(super) fn seek(&mut self, offset: u64) {
        self.start = offset;
        self.at = 0;
        self.buffer.clear();
    }

    /// Where the next frame stands.
    pub(super) fn offset(&self) -> u64 {
        self.start + self.at as u64
    }

    /// The file it reads.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Moves to the next frame that ends by `limit`, an offset in the file.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub(super) fn advance(&mut self, limit: u64) -> Result<Next, LogFault> {
        loop {
            let wanted = frame::needs(self.buffer.get(self.at..).unwrap_or_default());
            if self.buffer.len() - self.at >= wanted {
                break;
            }
            if !self.fill(limit, wanted)? {
                if self.buffer.is_empty() {
                    return Ok(Next::End);
                }
                break;
            }
        }
        let offset = self.offset();
        match frame::read(self.buffer.get(self.at..).unwrap_or_default()) {
            Found::Frame { length, .. } => {
                self.found = self.at..self.at + length;
                self.at += length;
                Ok(Next::Frame)
            }
            Found::Damaged(why) => Ok(Next::Bad { offset, why }),
            Found::Short => Ok(Next::Bad { offset, why: "it is cut short" }),
        }
    }

    /// The frame that was found last, and its place.
    pub(super) fn frame(&self) -> Option<(Frame<'_>, Mark)> {
        let offset = self.start + self.found.start as u64;
        let frame = frame::unchecked(self.buffer.get(self.found.clone())?)?;
        Some((frame, Mark { seq: frame.seq, at: frame.at, offset }))
    }

    /// Reads on until `wanted` bytes are there. Whether they are.
    fn fill(&mut self, limit: u64, wanted: usize) -> Result<bool, LogFault> {
        if self.at > 0 {
            self.start += self.at as u64;
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        let from = self.start + self.buffer.len() as u64;
        let left = usize::try_from(limit.saturating_sub(from)).unwrap_or(usize::MAX);
        let have = self.buffer.len();
        let more = CHUNK.max(wanted.saturating_sub(have)).min(left);
        self.buffer.resize(have + more, 0);
        let mut filled = have;
        while filled < have + more {
            let place = self.start + filled as u64;
            let room = self.buffer.get_mut(filled..).unwrap_or_default();
            match self.file.read_at(room, place) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LogFault::io("read", &self.path, error)),
            }
        }
        self.buffer.truncate(filled);
        Ok(filled >= wanted)
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Where bytes are no frame, and why.
pub(super) type Bad = (u64, &'static str);

/// Where some frames of a segment stand, and where it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    /// In their order; the first frame is among them.
    pub(super) marks: Vec<Mark>,
    /// The `seq` after the last frame.
    pub(super) next: u64,
    /// The place after the last frame.
    pub(super) end: u64,
    /// When the last frame was decided.
    pub(super) last_at: Timestamp,
}

impl Index {
    /// The index of a segment without frames.
    pub(super) fn empty(first: u64) -> Self {
        Self { marks: Vec::new(), next: first, end: HEADER, last_at: Timestamp::EPOCH }
    }

    /// Notes a frame that follows.
    pub(super) fn note(&mut self, mark: Mark, length: u64) {
        if self.marks.last().is_none_or(|last| mark.offset - last.offset >= INDEX_EVERY) {
            self.marks.push(mark);
        }
        self.next = mark.seq + 1;
        self.end = mark.offset + length;
        self.last_at = mark.at;
    }

    /// The last marked frame at or before `seq`.
    pub(super) fn before(&self, seq: u64) -> u64 {
        let after = self.marks.partition_point(|mark| mark.seq <= seq);
        after.checked_sub(1).and_then(|at| self.marks.get(at)).map_or(HEADER, |mark| mark.offset)
    }

    /// Writes it beside its segment. Losing it costs a scan, so nobody waits for the disk.
    pub(super) fn write(&self, directory: &Path, first: u64) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(32 + self.marks.len() * 24);
        bytes.extend_from_slice(&self.next.to_le_bytes());
        bytes.extend_from_slice(&self.end.to_le_bytes());
        bytes.extend_from_slice(&self.last_at.as_millis().to_le_bytes());
        for mark in &self.marks {
            bytes.extend_from_slice(&mark.seq.to_le_bytes());
            bytes.extend_from_slice(&mark.at.as_millis().to_le_bytes());
            bytes.extend_from_slice(&mark.offset.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        let path = index_path(directory, first);
        let half = path.with_extension("index.half");
        File::create(&half)?.write_all(&bytes)?;
        std::fs::rename(half, path)
    }

    /// The index beside a segment; `None` where it is missing, damaged, or of another length.
    fn load(directory: &Path, first: u64) -> Option<Self> {
        let bytes = std::fs::read(index_path(directory, first)).ok()?;
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(body).to_le_bytes() != *crc || body.len() % 24 != 0 || body.is_empty() {
            return None;
        }
        let time = |at| Timestamp::from_millis(u64_at(body, at).cast_signed());
        let marks = (24..body.len()).step_by(24).map(|at| Mark {
            seq: u64_at(body, at),
            at: time(at + 8),
            offset: u64_at(body, at + 16),
        });
        let index = Self {
            next: u64_at(body, 0),
            end: u64_at(body, 8),
            last_at: time(16),
            marks: marks.collect(),
        };
        let length = std::fs::metadata(path(directory, first)).ok()?.len();
        (length == index.end).then_some(index)
    }

    /// The index of a closed segment: as it was written, or made anew from the frames.
    ///
    /// # Errors
    ///
    /// The segment cannot be read, or a frame of it is damaged.
    pub(super) fn of(directory: &Path, partition: u32, first: u64) -> Result<Self, LogFault> {
        if let Some(index) = Self::load(directory, first) {
            return Ok(index);
        }
        let (index, bad) = Self::scan(directory, partition, first)?;
        if let Some((offset, why)) = bad {
            return Err(LogFault::damaged(&path(directory, first), offset, why));
        }
        let _ = index.write(directory, first);
        Ok(index)
    }

    /// Reads every frame of a segment, up to its end or to bytes that are none.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or a whole frame has a `seq` that does not follow.
    pub(super) fn scan(
        directory: &Path,
        partition: u32,
        first: u64,
    ) -> Result<(Self, Option<Bad>), LogFault> {
        let mut reader = SegmentReader::open(directory, partition, first)?;
        let mut index = Self::empty(first);
        loop {
            match reader.advance(u64::MAX)? {
                Next::Frame => {}
                Next::End => return Ok((index, None)),
                Next::Bad { offset, why } => return Ok((index, Some((offset, why)))),
            }
            let Some((_, mark)) = reader.frame() else { return Ok((index, None)) };
            if mark.seq != index.next {
                let why = format!("seq {} where {} must follow", mark.seq, index.next);
                return Err(LogFault::damaged(reader.path(), mark.offset, &why));
            }
            index.note(mark, reader.offset() - mark.offset);
        }
    }
}

/// Whether damaged bytes in the last segment are the torn end of the last commit, which nobody was told
/// of.
///
/// # Errors
///
/// [`LogFault::Damaged`]: they were durable once: a later commit stands behind them, or the published end.
pub(super) fn is_torn_end(
    directory: &Path,
    first: u64,
    bad: u64,
    why: &str,
) -> Result<(), LogFault> {
    let path = path(directory, first);
    let published = Place::published(directory)
        .is_some_and(|end| end.segment > first || (end.segment == first && end.offset > bad));
    if published || later_commit(&path, bad)? {
        return Err(LogFault::damaged(&path, bad, why));
    }
    Ok(())
}

/// Whether a whole frame stands behind the damaged bytes at `bad` whose commit began after them.
fn later_commit(path: &Path, bad: u64) -> Result<bool, LogFault> {
    let bytes = std::fs::read(path).map_err(|error| LogFault::io("read", path, error))?;
    let from = usize::try_from(bad).unwrap_or(usize::MAX).saturating_add(1);
    let later = |at: usize| {
        let found = frame::read(bytes.get(at..).unwrap_or_default());
        matches!(found, Found::Frame { commit, .. } if commit > bad)
    };
    Ok((from..bytes.len()).any(later))
}
