//! `--input`: lines of a file or a pipe, handed in like any other input.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use crate::cli::lines::Lines;
use crate::engine::intake::{Given, Intake, Refused, Settled};
use crate::engine::ports::{Clock, Fate};
use crate::engine::worker::FILE;
use crate::record::input::Reader;

/// Lines handed in at once.
const BATCH: usize = 500;
/// Batches under way.
const AHEAD: usize = 4;
/// The wait for room.
const FULL: Duration = Duration::from_millis(20);

/// Reads an input to its end, and says what became of it. `stop` ends it between two lines.
///
/// # Errors
///
/// It cannot be read.
pub(super) fn feed(
    mut lines: Lines,
    reader: &Reader,
    intake: &Arc<dyn Intake>,
    clock: &impl Clock,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let topic: Arc<str> = format!("{FILE}{}", lines.name()).into();
    let mut feed = Feed { intake, under_way: Vec::new(), told: Told::default() };
    let mut batch = Vec::new();
    let mut bytes = 0;
    while let Some(line) = lines.next_line()?
        && !stop.load(Ordering::SeqCst)
    {
        let user = reader.read(&line.bytes, clock.now()).ok().map(|read| read.user.to_string());
        bytes += line.bytes.len();
        batch.push(Given {
            topic: Arc::clone(&topic),
            offset: Some(line.number),
            user: user.map(Into::into),
            bytes: line.bytes.into(),
        });
        // A pipe may not say more for a long time: what is there goes now.
        if batch.len() == BATCH || bytes > 1 << 20 || !lines.has_more_at_hand() {
            bytes = 0;
            if !feed.give(std::mem::take(&mut batch), stop) {
                break;
            }
        }
    }
    feed.give(batch, stop);
    let told = feed.finish();
    tracing::info!(
        input = lines.name(),
        taken = told.taken,
        duplicates = told.duplicates,
        rejected = told.rejected,
        "input read to its end"
    );
    Ok(())
}

#[derive(Debug, Default)]
struct Told {
    taken: u64,
    duplicates: u64,
    rejected: u64,
}

impl Told {
    fn note(&mut self, settled: &Settled) {
        match settled {
            Settled::Decided { fate: Fate::Decided | Fate::Ignored(_), .. }
            | Settled::Logged { .. } => self.taken += 1,
            Settled::Decided { fate: Fate::Duplicate, .. } => self.duplicates += 1,
            Settled::Decided { fate: Fate::Rejected(_), .. } => self.rejected += 1,
        }
    }
}

struct Feed<'a> {
    intake: &'a Arc<dyn Intake>,
    under_way: Vec<Receiver<Result<Vec<Settled>, String>>>,
    told: Told,
}

impl Feed<'_> {
    /// Hands a batch in, as soon as there is room. Whether it was taken: else the daemon stops.
    fn give(&mut self, batch: Vec<Given>, stop: &AtomicBool) -> bool {
        if batch.is_empty() {
            return true;
        }
        if self.under_way.len() >= AHEAD {
            let first = self.under_way.remove(0);
            self.count(&first);
        }
        loop {
            let (tell, told) = sync_channel(1);
            let then = Box::new(move |settled| drop(tell.send(settled)));
            match self.intake.give(batch.clone(), then) {
                Ok(()) => {
                    self.under_way.push(told);
                    return true;
                }
                Err(Refused::Closed) => return false,
                Err(Refused::Full | Refused::TooMany(_)) if stop.load(Ordering::SeqCst) => {
                    return false;
                }
                Err(Refused::Full) => std::thread::sleep(FULL),
                // Queues smaller than a batch: line by line.
                Err(Refused::TooMany(_)) if batch.len() > 1 => {
                    return batch.into_iter().all(|one| self.give(vec![one], stop));
                }
                Err(Refused::TooMany(_)) => std::thread::sleep(FULL),
            }
        }
    }

    fn count(&mut self, told: &Receiver<Result<Vec<Settled>, String>>) {
        match told.recv() {
            Ok(Ok(settled)) => settled.iter().for_each(|settled| self.told.note(settled)),
            Ok(Err(why)) => tracing::error!("lines of the input may be lost: {why}"),
            // The process ends, and says why elsewhere.
            Err(_) => {}
        }
    }

    fn finish(mut self) -> Told {
        for told in std::mem::take(&mut self.under_way) {
            self.count(&told);
        }
        self.told
    }
}
