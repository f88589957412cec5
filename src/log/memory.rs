//! A log in memory, for simulations and tests; it fails when it is told to.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::time::Timestamp;
use crate::engine::ports::{Batch, Log, LogError, Position, Received};
use crate::record::output::Output;

/// Inputs that wait, and all that was committed.
#[derive(Debug, Default)]
pub struct MemoryLog {
    waiting: VecDeque<Received>,
    /// Polled, and not committed: they come again after an abort.
    polled: VecDeque<Received>,
    /// Written, and not committed.
    written: Vec<Batch>,
    /// Journal lines that are kept, in the order of their `seq`.
    journal: Vec<Arc<[u8]>>,
    /// How many lines before them were taken away.
    cut: u64,
    /// What others were asked to do.
    pub outputs: Vec<Output>,
    /// What the next calls run into.
    pub fail: Fail,
    /// More inputs of this instant may still come.
    pub expects: Option<Timestamp>,
}

/// What a log is told to fail at, once each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fail {
    /// The next poll.
    pub poll: bool,
    /// The next commit, nothing of it being durable.
    pub commit: bool,
    /// The next commit, all of it being durable: only its answer is lost.
    pub answer: bool,
    /// The next look into the journal.
    pub journal: bool,
}

impl MemoryLog {
    /// Appends an input.
    pub fn push(&mut self, input: Received) {
        self.waiting.push_back(input);
    }

    /// A log with this one's journal and its untaken inputs: what a process finds after a crash.
    #[must_use]
    pub fn after_crash(mut self) -> Self {
        self.give_back();
        Self {
            waiting: self.waiting,
            journal: self.journal,
            outputs: self.outputs,
            ..Self::default()
        }
    }

    /// The journal's lines, as far as they are kept.
    #[must_use]
    pub fn lines(&self) -> &[Arc<[u8]>] {
        &self.journal
    }

    /// Takes the lines away, for whoever keeps them elsewhere: this log can no longer restore from them.
    pub fn take_journal(&mut self) -> Vec<Arc<[u8]>> {
        self.cut += self.journal.len() as u64;
        std::mem::take(&mut self.journal)
    }

    /// How many inputs wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len() + self.polled.len()
    }

    /// When the log took the input that comes next.
    #[must_use]
    pub fn next_logged(&self) -> Option<Timestamp> {
        self.waiting.front().map(|input| input.logged)
    }

    fn give_back(&mut self) {
        while let Some(input) = self.polled.pop_back() {
            self.waiting.push_front(input);
        }
    }
}

impl Log for MemoryLog {
    fn poll(&mut self, most: usize, _: Duration) -> Result<Vec<Received>, LogError> {
        self.give_back();
        self.written.clear();
        if std::mem::take(&mut self.fail.poll) {
            return Err(LogError::Unavailable("told to fail at the poll".to_owned()));
        }
        let taken: Vec<Received> = self.waiting.drain(..most.min(self.waiting.len())).collect();
        self.polled.extend(taken.iter().cloned());
        Ok(taken)
    }

    fn taken_up_to(&mut self, _: u32, now: Timestamp, _: Option<Timestamp>) -> Timestamp {
        let just_before = Duration::from_millis(1);
        let open = self.next_logged().into_iter().chain(self.expects);
        open.map(|at| at - just_before).fold(now, Timestamp::min)
    }

    fn write(&mut self, batch: Batch) -> Result<(), LogError> {
        self.written.push(batch);
        Ok(())
    }

    fn wants_more(&self) -> bool {
        false
    }

    fn keeps_what_waits(&self) -> bool {
        false
    }

    fn commit(&mut self) -> Result<(), LogError> {
        let written = std::mem::take(&mut self.written);
        if std::mem::take(&mut self.fail.commit) {
            return Err(LogError::Unavailable("told to fail at the commit".to_owned()));
        }
        for batch in written {
            let next = self.cut + self.journal.len() as u64;
            if batch.first_seq != next {
                let first = batch.first_seq;
                return Err(LogError::Fenced(format!("seq {first} where {next} follows")));
            }
            for entry in batch.entries {
                self.journal.push(entry.line.into());
                self.outputs.extend(entry.outputs);
            }
        }
        self.polled.clear();
        if std::mem::take(&mut self.fail.answer) {
            return Err(LogError::Unavailable("told to lose the answer".to_owned()));
        }
        Ok(())
    }

    fn journal(
        &mut self,
        _: u32,
        seq: u64,
        most: usize,
    ) -> Result<Option<Vec<Arc<[u8]>>>, LogError> {
        if std::mem::take(&mut self.fail.journal) {
            return Err(LogError::Unavailable("told to fail at the journal".to_owned()));
        }
        let Some(from) = seq.checked_sub(self.cut) else {
            return Err(LogError::Corrupt(format!("seq {seq} was taken away")));
        };
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        Ok(Some(self.journal.iter().skip(from).take(most).cloned().collect()))
    }

    fn resume(&mut self, _: u32, after: &[Position]) -> Result<(), LogError> {
        let taken = |input: &Received| {
            after.iter().any(|position| {
                position.topic == input.position.topic
                    && position.partition == input.position.partition
                    && position.offset >= input.position.offset
            })
        };
        self.waiting.retain(|input| !taken(input));
        Ok(())
    }
}
