//! Appends to a partition: one write and one fdatasync a commit.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directory::Directory;
use super::end::{End, Place};
use super::segment::{self, Head, Index, Mark};
use super::{LogFault, Options, frame};
use crate::domain::time::Timestamp;
use crate::engine::ports::{Batch, LogError};

/// The torn end of a commit that nobody was told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub path: PathBuf,
    /// Where it ends now.
    pub offset: u64,
    /// How many bytes were cut.
    pub bytes: u64,
}

/// A closed segment.
#[derive(Clone, Copy, Debug)]
struct Closed {
    first: u64,
    next: u64,
    bytes: u64,
    last_at: Timestamp,
}

/// Writes a partition.
#[derive(Debug)]
pub(super) struct Writer {
    directory: PathBuf,
    head: Head,
    options: Options,
    closed: VecDeque<Closed>,
    file: File,
    index: Index,
    end: Arc<End>,
    cut: Option<Cut>,
    /// A failed write left bytes behind the end that are not ours.
    untidy: bool,
    /// Nothing can be said of the disk any more.
    broken: Option<String>,
    buffer: Vec<u8>,
}

impl Writer {
    pub(super) fn open(
        directory: &Directory,
        partition: u32,
        options: Options,
    ) -> Result<Self, LogFault> {
        let path = directory.partition(partition);
        let mut firsts = segment::list(&path).map_err(|e| LogFault::io("read", &path, e))?;
        let mut cut = None;
        let last = firsts.pop();
        let mut closed = VecDeque::new();
        for (at, first) in firsts.iter().copied().enumerate() {
            let index = Index::of(&path, partition, first)?;
            let follows = firsts.get(at + 1).copied().or(last).unwrap_or(index.next);
            if index.next != follows {
                return Err(LogFault::Missing { path, from: index.next, to: follows });
            }
            let (next, bytes, last_at) = (index.next, index.end, index.last_at);
            closed.push_back(Closed { first, next, bytes, last_at });
        }
        let first = last.unwrap_or(0);
        let head = Head { partition, first, directory: directory.layout.id };
        let (file, index) = match last {
            None => {
                let file = segment::create(&path, head)
                    .map_err(|e| LogFault::io("make a segment in", &path, e))?;
                (file, Index::empty(0))
            }
            Some(first) => {
                let (index, bad) = Index::scan(&path, partition, first)?;
                let name = segment::path(&path, first);
                let file = OpenOptions::new().read(true).write(true).open(&name);
                let file = file.map_err(|error| LogFault::io("open", &name, error))?;
                if let Some((offset, why)) = bad {
                    segment::is_torn_end(&path, first, offset, why)?;
                    cut = Some(cut_at(&file, &name, offset)?);
                }
                // What a crash left in the page cache must be durable before anything rests on it.
                file.sync_all().map_err(|error| LogFault::io("sync", &name, error))?;
                (file, index)
            }
        };
        if let Some(end) = Place::published(&path)
            && index.next < end.seq
        {
            let (from, to) = (index.next, end.seq);
            return Err(LogFault::Missing { path, from, to });
        }
        let place = Place { seq: index.next, segment: first, offset: index.end };
        let end = Arc::new(End::open(&path, place)?);
        Ok(Self {
            directory: path,
            head,
            options,
            closed,
            file,
            index,
            end,
            cut,
            untidy: false,
            broken: None,
            buffer: Vec::new(),
        })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn end(&self) -> &Arc<End> {
        &self.end
    }

    pub(super) fn place(&self) -> Place {
        Place { seq: self.index.next, segment: self.head.first, offset: self.index.end }
    }

    pub(super) fn cut(&self) -> Option<&Cut> {
        self.cut.as_ref()
    }

    /// The first `seq` of the segment that is written.
    pub(super) fn segment(&self) -> u64 {
        self.head.first
    }

    /// The oldest `seq` that is kept.
    pub(super) fn oldest(&self) -> u64 {
        self.closed.front().map_or(self.head.first, |oldest| oldest.first)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.index.end + self.closed.iter().map(|segment| segment.bytes).sum::<u64>()
    }

    /// When the last record was decided.
    pub(super) fn last_at(&self) -> Timestamp {
        self.closed.back().map_or(self.index.last_at, |last| last.last_at.max(self.index.last_at))
    }

    /// Makes a batch durable.
    ///
    /// # Errors
    ///
    /// [`LogError::Unavailable`] where the disk refuses the bytes: nothing of it is there, and the next
    /// call may go well. [`LogError::Broken`] where it is not known what is there: the process must end.
    pub(super) fn append(&mut self, batch: &Batch) -> Result<(), LogError> {
        if let Some(why) = &self.broken {
            return Err(LogError::Broken(why.clone()));
        }
        if batch.first_seq != self.index.next {
            let (first, next) = (batch.first_seq, self.index.next);
            return Err(LogError::Corrupt(format!("seq {first} where {next} follows")));
        }
        self.tidy()?;
        let start = self.index.end;
        let mut bytes = std::mem::take(&mut self.buffer);
        bytes.clear();
        let mut index = Index::empty(self.head.first);
        std::mem::swap(&mut index, &mut self.index);
        let before = (index.marks.len(), index.next, index.end, index.last_at);
        for (entry, seq) in batch.entries.iter().zip(batch.first_seq..) {
            let offset = start + bytes.len() as u64;
            frame::write(&mut bytes, seq, batch.at, entry, start);
            let length = start + bytes.len() as u64 - offset;
            index.note(Mark { seq, at: batch.at, offset }, length);
        }
        let written = self.file.write_all_at(&bytes, start);
        self.buffer = bytes;
        if let Err(error) = written {
            index.marks.truncate(before.0);
            (index.next, index.end, index.last_at) = (before.1, before.2, before.3);
            self.index = index;
            self.untidy = true;
            // Now if it can be done, else before the next commit.
            let _ = self.tidy();
            let path = segment::path(&self.directory, self.head.first);
            return Err(LogFault::io("write", &path, error).into());
        }
        if let Err(error) = self.file.sync_data() {
            // The kernel may have dropped the pages: what a later fdatasync says is worth nothing.
            let path = segment::path(&self.directory, self.head.first);
            let why = LogFault::io("make durable", &path, error).to_string();
            self.broken = Some(why.clone());
            return Err(LogError::Broken(why));
        }
        self.index = index;
        if self.index.end >= self.options.segment_bytes {
            // Right behind the commit, so that a snapshot taken now is what the next segment begins with.
            // Where the disk refuses, this one grows a little more.
            let _ = self.roll();
        }
        self.end.publish(self.place());
        Ok(())
    }

    /// Cuts what a failed write left behind the end.
    fn tidy(&mut self) -> Result<(), LogError> {
        if self.untidy {
            let path = segment::path(&self.directory, self.head.first);
            self.file.set_len(self.index.end).map_err(|error| LogFault::io("cut", &path, error))?;
            self.untidy = false;
        }
        Ok(())
    }

    /// Closes the segment and begins the next.
    fn roll(&mut self) -> Result<(), LogFault> {
        let first = self.index.next;
        let head = Head { first, ..self.head };
        let file = segment::create(&self.directory, head)
            .map_err(|error| LogFault::io("make a segment in", &self.directory, error))?;
        // Without it the segment is read through when somebody needs it.
        let _ = self.index.write(&self.directory, self.head.first);
        let Index { next, end, last_at, .. } = self.index;
        self.closed.push_back(Closed { first: self.head.first, next, bytes: end, last_at });
        self.file = file;
        self.head = head;
        self.index = Index::empty(first);
        self.index.last_at = last_at;
        Ok(())
    }

    pub(super) fn remove_before(
        &mut self,
        needed: u64,
        before: Timestamp,
        most: u64,
    ) -> Result<usize, LogFault> {
        let mut removed = 0;
        while let Some(oldest) = self.closed.front()
            && oldest.next <= needed
            && (oldest.last_at < before || self.bytes() > most)
        {
            segment::remove(&self.directory, oldest.first)
                .map_err(|error| LogFault::io("remove a segment in", &self.directory, error))?;
            self.closed.pop_front();
            removed += 1;
        }
        Ok(removed)
    }
}

fn cut_at(file: &File, path: &Path, offset: u64) -> Result<Cut, LogFault> {
    let fault = |what, error| LogFault::io(what, path, error);
    let length = file.metadata().map_err(|error| fault("read", error))?.len();
    file.set_len(offset).map_err(|error| fault("cut", error))?;
    Ok(Cut { path: path.to_owned(), offset, bytes: length - offset })
}
