//! A store in memory, for tests; it fails, loses and damages when it is told to.

use crate::engine::checkpoint::{Chunk, whole};
use crate::engine::ports::{Chunks, Store};

/// The last checkpoint.
#[derive(Debug, Default)]
pub struct MemoryStore {
    /// What was saved; tests change it.
    pub checkpoint: Option<Vec<Vec<u8>>>,
    /// The next save fails.
    pub fail: bool,
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Option<Chunks<'_>>, String> {
        let chunks = self.checkpoint.as_ref();
        Ok(chunks.map(|chunks| Box::new(chunks.iter().cloned().map(Ok)) as Chunks<'_>))
    }

    fn save(&mut self, chunks: &mut dyn Iterator<Item = Chunk>) -> Result<(), String> {
        let mut saved = Vec::new();
        whole(chunks, |chunk| {
            saved.push(chunk);
            Ok(())
        })?;
        if std::mem::take(&mut self.fail) {
            return Err("told to fail at the save".to_owned());
        }
        self.checkpoint = Some(saved);
        Ok(())
    }

    fn discard(&mut self) {
        self.checkpoint = None;
    }
}
