//! Snapshots: the state at one `seq`, durable, so that what stands before it in the journal may be removed.
//!
//! One is taken when a segment begins: what is kept of a journal then begins with one. A checkpoint may be
//! lost; the newest snapshot may not, once the journal before it is gone.
//!
//! ```text
//! 00000000000000018231.snapshot    for each chunk of a checkpoint: length u32, chunk
//! ```

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::LogFault;
use super::directory::{Directory, sync};
use crate::engine::checkpoint::{self, Chunk};
use crate::engine::state::State;

/// The longest chunk: one user more than a chunk has room for.
const LONGEST: u32 = 1 << 30;

fn path(partition: &Path, seq: u64) -> PathBuf {
    partition.join(format!("{seq:020}.snapshot"))
}

impl Directory {
    /// The snapshots of a partition, by the `seq` they were taken at, oldest first.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub fn snapshots(&self, partition: u32) -> Result<Vec<u64>, LogFault> {
        let folder = self.partition(partition);
        let fault = |error| LogFault::io("read", &folder, error);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(fault)? {
            let name = entry.map_err(fault)?.file_name();
            let name = Path::new(&name);
            if name.extension().is_some_and(|end| end == "snapshot")
                && let Some(seq) = name.file_stem().and_then(|stem| stem.to_str()?.parse().ok())
            {
                found.push(seq);
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The state that a snapshot holds.
    ///
    /// # Errors
    ///
    /// [`LogFault::Damaged`]: it is not what was written, or another program wrote it.
    pub fn snapshot(&self, partition: u32, seq: u64) -> Result<State, LogFault> {
        let path = path(&self.partition(partition), seq);
        let file = File::open(&path).map_err(|error| LogFault::io("open", &path, error))?;
        let mut file = BufReader::with_capacity(1 << 20, file);
        let mut failed = None;
        let chunks = std::iter::from_fn(|| chunk(&mut file).map_err(|e| failed = Some(e)).ok()?);
        let state = checkpoint::restore(self.identity(partition), chunks);
        if let Some(error) = failed {
            return Err(LogFault::io("read", &path, error));
        }
        state.map_err(|why| LogFault::damaged(&path, 0, &why.to_string()))
    }

    /// Keeps a snapshot, taken at `seq`: it is durable when this returns.
    ///
    /// # Errors
    ///
    /// It cannot be written, or its chunks end before the last: nothing is left of it.
    pub fn keep_snapshot(
        &self,
        partition: u32,
        seq: u64,
        chunks: &mut dyn Iterator<Item = Chunk>,
    ) -> Result<(), LogFault> {
        let folder = self.partition(partition);
        let path = path(&folder, seq);
        let half = path.with_extension("snapshot.half");
        let written = write(&half, chunks).and_then(|()| std::fs::rename(&half, &path));
        if let Err(error) = written {
            let _ = std::fs::remove_file(&half);
            return Err(LogFault::io("write", &path, error));
        }
        sync(&folder)
    }

    /// Removes the snapshots taken before `seq`.
    ///
    /// # Errors
    ///
    /// One cannot be removed.
    pub fn remove_snapshots_before(&self, partition: u32, seq: u64) -> Result<(), LogFault> {
        for old in self.snapshots(partition)?.into_iter().filter(|old| *old < seq) {
            let path = path(&self.partition(partition), old);
            std::fs::remove_file(&path).map_err(|error| LogFault::io("remove", &path, error))?;
        }
        Ok(())
    }

    /// What tells the checkpoints of a partition from those of all others.
    #[must_use]
    pub fn identity(&self, partition: u32) -> u128 {
        u128::from(self.layout.id) << 32 | u128::from(partition)
    }
}

fn write(path: &Path, chunks: &mut dyn Iterator<Item = Chunk>) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    checkpoint::whole(chunks, |chunk| {
        let length = u32::try_from(chunk.len()).map_err(|error| error.to_string())?;
        file.write_all(&length.to_le_bytes())
            .and_then(|()| file.write_all(&chunk))
            .map_err(|error| error.to_string())
    })
    .map_err(io::Error::other)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// The next chunk; `None` at the end.
fn chunk(file: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match file.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_le_bytes(length).min(LONGEST);
    let mut chunk = Vec::new();
    file.take(length.into()).read_to_end(&mut chunk)?;
    Ok(Some(chunk))
}
