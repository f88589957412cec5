//! Lines of a file or of standard input, one at a time, however long, with their numbers.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::Path;

use anyhow::{Context, bail};

/// A line without its end; a byte-order mark before the first one is gone.
#[derive(Debug)]
pub(super) struct Line {
    /// From 1.
    pub(super) number: u64,
    /// What it says. At most one byte more than was asked for, so that too much can be told.
    pub(super) bytes: Vec<u8>,
}

/// The lines of one input.
pub(super) struct Lines {
    name: String,
    from: BufReader<Box<dyn Read + Send>>,
    most: usize,
    number: u64,
    count: u64,
    read: u64,
    size: Option<u64>,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("name", &self.name).field("number", &self.number).finish()
    }
}

impl Lines {
    /// Opens a file, or standard input for `-`. Of a line longer than `most` bytes only the beginning is
    /// kept, so that no input can take all memory.
    ///
    /// # Errors
    ///
    /// There is no such file, it is a directory, or it may not be read.
    pub(super) fn open(path: &Path, most: usize) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let (from, size): (Box<dyn Read + Send>, Option<u64>) = if name == "-" {
            (Box::new(stdin()), None)
        } else {
            let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
            let about = file.metadata().with_context(|| format!("cannot read {name}"))?;
            if about.is_dir() {
                bail!("{name} is a directory, expected a file with one JSON object a line");
            }
            (Box::new(file), Some(about.len()))
        };
        let from = BufReader::with_capacity(1 << 18, from);
        Ok(Self { name, from, most, number: 0, count: 0, read: 0, size })
    }

    /// What it is called: the path as typed.
    #[must_use]
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How many lines were handed out: blank ones are none.
    #[must_use]
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Whether the next line is there without waiting for whoever writes it.
    #[must_use]
    pub(super) fn has_more_at_hand(&self) -> bool {
        self.from.buffer().contains(&b'\n')
    }

    /// Bytes read so far, and of how many, where that is known.
    #[must_use]
    pub(super) fn progress(&self) -> (u64, Option<u64>) {
        (self.read, self.size)
    }

    /// The next line that is not blank.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub(super) fn next_line(&mut self) -> anyhow::Result<Option<Line>> {
        loop {
            let mut bytes = Vec::with_capacity(512);
            let kept = self.most as u64 + 2;
            let read = (&mut self.from).take(kept).read_until(b'\n', &mut bytes);
            let read = read.with_context(|| format!("cannot read {}", self.name))?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.read += read as u64;
            if bytes.last() != Some(&b'\n') && read as u64 == kept {
                self.skip_rest()?;
            }
            if self.number == 1 && bytes.starts_with(b"\xEF\xBB\xBF") {
                bytes.drain(..3);
            }
            while matches!(bytes.last(), Some(b'\n' | b'\r')) {
                bytes.pop();
            }
            if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            self.count += 1;
            return Ok(Some(Line { number: self.number, bytes }));
        }
    }

    /// Passes over what is left of a line that is too long.
    fn skip_rest(&mut self) -> anyhow::Result<()> {
        loop {
            let buffer =
                self.from.fill_buf().with_context(|| format!("cannot read {}", self.name))?;
            if buffer.is_empty() {
                return Ok(());
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.from.consume(used);
            self.read += used as u64;
            if end.is_some() {
                return Ok(());
            }
        }
    }
}
