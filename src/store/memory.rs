//! A store in memory, for tests; it fails, loses and damages when it is told to.

use crate::engine::ports::Store;

/// The last checkpoint.
#[derive(Debug, Default)]
pub struct MemoryStore {
    /// What was saved; tests change it.
    pub checkpoint: Option<Vec<u8>>,
    /// The next save fails.
    pub fail: bool,
}

impl Store for MemoryStore {
    fn load(&mut self) -> Option<Vec<u8>> {
        self.checkpoint.clone()
    }

    fn save(&mut self, checkpoint: &[u8]) -> Result<(), String> {
        if std::mem::take(&mut self.fail) {
            return Err("told to fail at the save".to_owned());
        }
        self.checkpoint = Some(checkpoint.to_vec());
        Ok(())
    }
}
