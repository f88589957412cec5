//! Outputs as lines of a file, or of standard output: every topic, one CloudEvent a line.
//!
//! A line is durable before the cursor moves past its record. A disk that is full and a pipe that is
//! closed are waited for; nothing is left out.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::cursor::Cursor;
use super::{
    AFTER_FAILURE, SAVED_EVERY, Sent, Shared, SinkError, SinkHandle, TICK, Threads, World,
};
use crate::engine::tail::{Tail, TailError};

/// What is written, and made durable, at once.
const AT_ONCE: usize = 1 << 20;
/// What every line of ours begins with.
const BEGINS: &[u8] = b"{\"specversion\":\"1.0\",\"id\":";

/// Where lines go.
#[derive(Debug)]
pub(super) struct To {
    /// `None`: standard output, which is opened once.
    path: Option<PathBuf>,
    file: File,
    /// It is a file on a disk: it can be made durable.
    on_disk: bool,
}

impl To {
    /// A file to append to.
    pub(super) fn file(path: &Path) -> Result<Self, SinkError> {
        let open = |source| SinkError::Open { sink: "file", path: path.to_owned(), source };
        let (file, on_disk) = open_file(path).map_err(open)?;
        Ok(Self { path: Some(path.to_owned()), file, on_disk })
    }

    /// Standard output, unbuffered: what was written is known to be.
    pub(super) fn stdout() -> Result<Self, SinkError> {
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let on_disk = file.metadata()?.is_file();
        Ok(Self { path: None, file, on_disk })
    }

    /// Opens the file again, as after a log rotation.
    fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            (self.file, self.on_disk) = open_file(path)?;
        }
        Ok(())
    }
}

fn open_file(path: &Path) -> io::Result<(File, bool)> {
    let options = OpenOptions::new().append(true).create(true).clone();
    let file = options.open(path)?;
    let on_disk = file.metadata()?.is_file();
    if on_disk {
        end_torn_line(path, &file)?;
    }
    Ok((file, on_disk))
}

/// A crash may have left the beginning of a line at the end, which is written again. What is of us is
/// cut; what is of others is ended.
fn end_torn_line(path: &Path, file: &File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let mut reader = File::open(path)?;
    let from = length.saturating_sub(2 * AT_ONCE as u64);
    reader.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    reader.take(2 * AT_ONCE as u64).read_to_end(&mut tail)?;
    let torn = tail.iter().rev().position(|byte| *byte == b'\n').unwrap_or(tail.len());
    let line = tail.get(tail.len() - torn..).unwrap_or_default();
    if line.is_empty() {
        return Ok(());
    }
    if line.starts_with(BEGINS) || BEGINS.starts_with(line) {
        return file.set_len(length - torn as u64);
    }
    let mut file = file;
    file.write_all(b"\n")
}

/// Starts a sink of lines. A new one begins with the oldest record that is kept.
pub(super) fn start(
    name: &'static str,
    to: To,
    cursors: &Path,
    world: &World,
) -> Result<SinkHandle, SinkError> {
    let cursor = Cursor::open(cursors, name, world.tails.partitions(), |_| 0)?;
    let shared = Shared::new(&cursor, &world.tails);
    let tails = cursor.places.iter().map(|_| None).collect();
    let mut lines = Lines {
        name,
        to,
        cursor,
        tails,
        buffer: Vec::new(),
        written: 0,
        count: 0,
        read: Vec::new(),
        shared: Arc::clone(&shared),
        world: world.clone(),
    };
    let mut threads = Threads::new(name);
    threads.spawn(move || lines.run())?;
    Ok(threads.handle(shared, &world.tails))
}

struct Lines {
    name: &'static str,
    to: To,
    cursor: Cursor,
    tails: Vec<Option<Box<dyn Tail>>>,
    /// Lines that are not durable yet, and how much of them is written.
    buffer: Vec<u8>,
    written: usize,
    count: u64,
    /// Up to where they bring each partition.
    read: Vec<u64>,
    shared: Arc<Shared>,
    world: World,
}

impl Lines {
    fn run(&mut self) {
        self.read = self.cursor.places.iter().map(|place| place.next).collect();
        while !self.shared.is_stopping() {
            match self.round() {
                Ok(true) => {}
                Ok(false) => {
                    let saves = if self.cursor.is_behind() { SAVED_EVERY } else { TICK };
                    self.shared.bell.wait(saves);
                }
                Err(why) => {
                    if self.count > 0 {
                        self.world.watch.sent(self.name, Sent::Again, self.count);
                    }
                    self.shared.set_trouble(self.name, Some(why));
                    self.shared.bell.wait(AFTER_FAILURE);
                }
            }
        }
        // What is durable is noted; what is not comes again.
        if let Err(error) = self.cursor.save(&self.shared, self.world.clock.now(), true) {
            tracing::warn!(sink = self.name, "the cursor is not saved: {error}");
        }
    }

    /// Reads, writes, and notes it. Whether there was something to do.
    fn round(&mut self) -> Result<bool, String> {
        if self.shared.is_to_reopen() {
            self.reopen()?;
        }
        if self.buffer.is_empty() {
            // After an error each partition is opened again where it stands.
            self.fill().inspect_err(|_| self.tails.iter_mut().for_each(|tail| *tail = None))?;
        }
        let worked =
            self.read.iter().zip(&self.cursor.places).any(|(read, place)| *read > place.next);
        if worked {
            self.write()?;
        }
        let saved = self.cursor.save(&self.shared, self.world.clock.now(), false);
        saved.map_err(|error| format!("the cursor cannot be saved: {error}"))?;
        self.shared.set_trouble(self.name, None);
        Ok(worked)
    }

    fn reopen(&mut self) -> Result<(), String> {
        // Tried again until it works, with no half line in the new file.
        let reopened = self.to.reopen().map_err(|error| {
            self.shared.reopen.store(true, Ordering::SeqCst);
            format!("the file cannot be opened again: {error}")
        });
        let done = self.buffer.get(..self.written).unwrap_or_default();
        self.written = done.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        reopened
    }

    /// Reads what there is of every partition, up to a buffer.
    fn fill(&mut self) -> Result<(), String> {
        let share = AT_ONCE / self.tails.len().max(1);
        for (partition, (tail, next)) in (0..).zip(self.tails.iter_mut().zip(&mut self.read)) {
            let tail = match tail {
                Some(tail) => tail,
                None => {
                    let opened = match self.world.tails.from(partition, *next) {
                        Err(TailError::Removed { oldest }) => {
                            tracing::error!(
                                sink = self.name,
                                partition,
                                "the records from {next} to {oldest} were removed before they were sent"
                            );
                            self.world.tails.from(partition, oldest)
                        }
                        opened => opened,
                    };
                    tail.insert(opened.map_err(|error| error.to_string())?)
                }
            };
            let most = self.buffer.len() + share;
            while self.buffer.len() < most {
                let recorded = tail.next().map_err(|error| error.to_string())?;
                let Some(recorded) = recorded else { break };
                for output in &recorded.outputs {
                    self.buffer.extend_from_slice(output.bytes);
                    self.buffer.push(b'\n');
                    self.count += 1;
                }
                *next = recorded.seq + 1;
            }
        }
        Ok(())
    }

    /// Writes the buffer, makes it durable, and moves the cursor.
    fn write(&mut self) -> Result<(), String> {
        while let Some(rest) = self.buffer.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.to.file.write(rest) {
                Ok(0) => return Err("it takes no more bytes".into()),
                // What is written stays: after a failure it goes on behind it.
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("it cannot be written: {error}")),
            }
        }
        if self.to.on_disk && !self.buffer.is_empty() {
            self.to.file.sync_data().map_err(|error| {
                // What the kernel dropped is written again.
                self.written = 0;
                format!("it cannot be made durable: {error}")
            })?;
        }
        if self.count > 0 {
            self.world.watch.sent(self.name, Sent::Ok, self.count);
        }
        self.buffer.clear();
        (self.written, self.count) = (0, 0);
        for ((place, read), placed) in
            self.cursor.places.iter_mut().zip(&self.read).zip(&self.shared.places)
        {
            place.next = *read;
            placed.settled.store(*read, Ordering::SeqCst);
        }
        Ok(())
    }
}
