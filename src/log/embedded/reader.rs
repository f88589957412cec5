//! Follows a partition, in its writer's process or beside it: frame by frame, never past its durable end.

use std::path::{Path, PathBuf};

use super::LogFault;
use super::directory::Directory;
use super::end::Place;
use super::frame::Frame;
use super::segment::{self, Index, Next, SegmentReader};

/// How far a reader may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Up to here, as the writer has published it.
    Place(Place),
    /// Up to the last whole frame: nobody writes.
    End,
}

/// The frames of a partition from some record on.
#[derive(Debug)]
pub struct Frames {
    partition: u32,
    path: PathBuf,
    /// The segment under way.
    segment: Option<SegmentReader>,
    next: u64,
    torn: Option<u64>,
    /// Bytes of the segments that are behind us.
    behind: u64,
}

impl Frames {
    /// The frames from the record `seq` on.
    ///
    /// # Errors
    ///
    /// [`LogFault::Removed`] where it is no longer kept, and whatever the system says.
    pub fn open(directory: &Directory, partition: u32, seq: u64) -> Result<Self, LogFault> {
        Self::within(&directory.partition(partition), partition, seq)
    }

    /// The frames from the oldest one that is kept.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn oldest(directory: &Directory, partition: u32) -> Result<Self, LogFault> {
        let path = directory.partition(partition);
        let oldest = list(&path)?.first().copied().unwrap_or_default();
        Self::within(&path, partition, oldest)
    }

    pub(super) fn within(path: &Path, partition: u32, next: u64) -> Result<Self, LogFault> {
        let segments = list(path)?;
        let oldest = segments.first().copied().unwrap_or_default();
        if next < oldest {
            return Err(LogFault::Removed { oldest });
        }
        let mut frames =
            Self { partition, path: path.to_owned(), segment: None, next, torn: None, behind: 0 };
        let after = segments.partition_point(|first| *first <= next);
        if let Some(first) = after.checked_sub(1).and_then(|at| segments.get(at)).copied() {
            let mut reader = SegmentReader::open(path, partition, first)?;
            // A segment that is still written has no index: its frames are walked.
            if after < segments.len() {
                reader.seek(Index::of(path, partition, first)?.before(next));
            }
            frames.segment = Some(reader);
        }
        Ok(frames)
    }

    /// The number of the record that [`next`](Self::next) gives.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next
    }

    /// Where the last commit of a partition that nobody writes is torn, once it was reached.
    #[must_use]
    pub fn torn(&self) -> Option<u64> {
        self.torn
    }

    /// Bytes of all segments that are there now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let segments = segment::list(&self.path).unwrap_or_default();
        let size =
            |first: u64| std::fs::metadata(segment::path(&self.path, first)).map(|m| m.len());
        segments.into_iter().filter_map(|first| size(first).ok()).sum()
    }

    /// Bytes read so far.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.behind + self.segment.as_ref().map_or(0, SegmentReader::offset)
    }

    /// The next frame; `None` where `until` is reached: there may be more later.
    ///
    /// # Errors
    ///
    /// [`LogFault::Damaged`] and [`LogFault::Missing`] with the place, [`LogFault::Removed`] where the
    /// retention was faster, and whatever the system says.
    pub fn next(&mut self, until: Until) -> Result<Option<Frame<'_>>, LogFault> {
        loop {
            let limit = match (until, &self.segment) {
                (Until::Place(end), _) if self.next >= end.seq => return Ok(None),
                (Until::Place(end), Some(reader)) if reader.head.first == end.segment => end.offset,
                (Until::Place(_) | Until::End, _) => u64::MAX,
            };
            let found = match &mut self.segment {
                Some(reader) => reader.advance(limit)?,
                None => Next::End,
            };
            match found {
                Next::Frame => {}
                Next::End if self.open_next()? => continue,
                Next::End => return Ok(None),
                Next::Bad { offset, why } => {
                    self.bad(offset, why)?;
                    return Ok(None);
                }
            }
            let Some((_, mark)) = self.segment.as_ref().and_then(SegmentReader::frame) else {
                return Ok(None);
            };
            if mark.seq > self.next {
                let why = format!("seq {} where {} must follow", mark.seq, self.next);
                return Err(self.damaged(mark.offset, &why));
            }
            if mark.seq == self.next {
                break;
            }
        }
        self.next += 1;
        Ok(self.segment.as_ref().and_then(SegmentReader::frame).map(|(frame, _)| frame))
    }

    /// Opens the segment that begins with the next record. Whether there is one.
    fn open_next(&mut self) -> Result<bool, LogFault> {
        let segments = list(&self.path)?;
        // One without frames begins with the record that comes next, too: it is not read again.
        let is_here = self.segment.as_ref().is_some_and(|reader| reader.head.first == self.next);
        if !is_here && segments.binary_search(&self.next).is_ok() {
            let next = SegmentReader::open(&self.path, self.partition, self.next)?;
            self.behind = self.passed();
            self.segment = Some(next);
            return Ok(true);
        }
        match (segments.first().copied(), segments.last().copied()) {
            (Some(oldest), _) if oldest > self.next => Err(LogFault::Removed { oldest }),
            (_, Some(last)) if last > self.next => {
                let to = segments.into_iter().find(|first| *first > self.next).unwrap_or(last);
                Err(LogFault::Missing { path: self.path.clone(), from: self.next, to })
            }
            _ => Ok(false),
        }
    }

    /// Bytes that are no frame: the torn end of a partition that nobody writes, or damage.
    fn bad(&mut self, offset: u64, why: &str) -> Result<(), LogFault> {
        let first = self.segment.as_ref().map_or(0, |reader| reader.head.first);
        if list(&self.path)?.last() != Some(&first) {
            return Err(self.damaged(offset, why));
        }
        segment::is_torn_end(&self.path, first, offset, why)?;
        self.torn = Some(offset);
        // What is torn now may be whole when it is looked at again.
        if let Some(reader) = &mut self.segment {
            reader.seek(offset);
        }
        Ok(())
    }

    fn damaged(&self, offset: u64, why: &str) -> LogFault {
        match &self.segment {
            Some(reader) => LogFault::damaged(reader.path(), offset, why),
            None => LogFault::damaged(&self.path, offset, why),
        }
    }
}

fn list(path: &Path) -> Result<Vec<u64>, LogFault> {
    segment::list(path).map_err(|error| LogFault::io("read", path, error))
}
