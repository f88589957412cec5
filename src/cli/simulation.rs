//! The same worker in virtual time: nothing sleeps, alarms ring when they are due, and gateways may be
//! modelled.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::domain::time::Timestamp;
use crate::engine::ports::{Clock, Position, Received};
use crate::engine::worker::{Done, FILE, Settings, Worker, WorkerError};
use crate::log::memory::MemoryLog;
use crate::record::envelope::Envelope;
use crate::record::output::Output;

/// How long a modelled gateway takes to answer.
const ANSWERS_AFTER: Duration = Duration::from_secs(1);

/// What becomes of attempts that the inputs say nothing of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcomes {
    /// Nothing: they time out.
    #[default]
    None,
    /// Each is started at once, and delivered a second later.
    Delivered,
    /// Each is started at once, and nobody answers a second later.
    Absent,
}

/// A clock that is set, not read.
#[derive(Clone, Debug, Default)]
pub struct VirtualClock(Rc<Cell<Timestamp>>);

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.0.get()
    }
}

/// What a simulation has done since it was last asked.
#[derive(Debug, Default)]
pub struct Progress {
    /// Journal lines, in order.
    pub journal: Vec<Arc<[u8]>>,
    /// What others were asked to do, in order.
    pub outputs: Vec<Output>,
    /// Counts.
    pub done: Done,
}

/// An input that came while nobody read.
#[derive(Debug)]
pub struct Missed {
    /// Its line.
    pub line: u64,
    /// When the log took it.
    pub logged: Timestamp,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A partition whose time is virtual.
#[derive(Debug)]
pub struct Simulation {
    worker: Worker<MemoryLog, VirtualClock>,
    clock: VirtualClock,
    outcomes: Outcomes,
    /// Answers of modelled gateways, in the order of their time.
    answers: VecDeque<(Timestamp, Vec<u8>)>,
    answered: u64,
}

impl Simulation {
    /// A simulation of which nothing has happened yet: it is 1970.
    ///
    /// # Errors
    ///
    /// As [`Worker::open`]; a log in memory has none of them.
    pub fn new(settings: Settings, outcomes: Outcomes) -> Result<Self, WorkerError> {
        let clock = VirtualClock::default();
        let worker = Worker::open(MemoryLog::default(), clock.clone(), settings, None)?;
        Ok(Self { worker, clock, outcomes, answers: VecDeque::new(), answered: 0 })
    }

    /// Takes one input, line `line` of `file`: whatever falls due before its time happens first.
    ///
    /// # Errors
    ///
    /// [`WorkerError`].
    pub fn take(&mut self, file: &str, line: u64, bytes: &[u8]) -> Result<Progress, WorkerError> {
        let time = time_of(bytes).unwrap_or_default().max(self.clock.now());
        let mut progress = self.run(Some(time))?;
        self.clock.0.set(time);
        self.worker.log().push(Received {
            position: Position {
                topic: format!("{FILE}{file}").into(),
                partition: 0,
                offset: line,
            },
            logged: time,
            bytes: bytes.into(),
        });
        self.step(&mut progress)?;
        Ok(progress)
    }

    /// Runs until nothing is due any more, or up to and including `until`.
    ///
    /// # Errors
    ///
    /// [`WorkerError`].
    pub fn finish(&mut self, until: Option<Timestamp>) -> Result<Progress, WorkerError> {
        let last = until.unwrap_or(Timestamp::MAX);
        let mut progress = Progress::default();
        self.worker.log().expects = None;
        while let Some(next) = self.next_due().filter(|next| *next <= last) {
            self.go_to(next, &mut progress)?;
        }
        Ok(progress)
    }

    /// Takes at `time` what came in while the engine stood still, as the log kept it. Nothing that fell
    /// due meanwhile has happened. (TM-7)
    ///
    /// # Errors
    ///
    /// [`WorkerError`].
    pub fn catch_up(
        &mut self,
        file: &str,
        time: Timestamp,
        missed: Vec<Missed>,
    ) -> Result<Progress, WorkerError> {
        self.clock.0.set(time);
        let topic: Arc<str> = format!("{FILE}{file}").into();
        for Missed { line, logged, bytes } in missed {
            let position = Position { topic: Arc::clone(&topic), partition: 0, offset: line };
            self.worker.log().push(Received { position, logged, bytes: bytes.into() });
        }
        let mut progress = Progress::default();
        self.step(&mut progress)?;
        Ok(progress)
    }

    /// The virtual instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The worker, for whoever wants to look.
    pub fn worker(&mut self) -> &mut Worker<MemoryLog, VirtualClock> {
        &mut self.worker
    }

    /// Everything due before an input's time; at its very instant modelled answers come first, then it,
    /// then alarms (P-18).
    fn run(&mut self, before: Option<Timestamp>) -> Result<Progress, WorkerError> {
        let limit = before.unwrap_or(Timestamp::MAX);
        self.worker.log().expects = before;
        let mut progress = Progress::default();
        loop {
            let answer = self.answers.front().map(|(at, _)| *at).filter(|at| *at <= limit);
            let alarm = self.worker.next_alarm().filter(|at| *at < limit);
            let Some(next) = [answer, alarm].into_iter().flatten().min() else {
                return Ok(progress);
            };
            self.go_to(next, &mut progress)?;
        }
    }

    fn next_due(&mut self) -> Option<Timestamp> {
        let answer = self.answers.front().map(|(at, _)| *at);
        [answer, self.worker.next_alarm()].into_iter().flatten().min()
    }

    fn go_to(&mut self, at: Timestamp, progress: &mut Progress) -> Result<(), WorkerError> {
        let at = at.max(self.clock.now());
        self.clock.0.set(at);
        while self.answers.front().is_some_and(|(due, _)| *due <= at) {
            let Some((_, bytes)) = self.answers.pop_front() else { break };
            self.answered += 1;
            let offset = self.answered;
            let position = Position { topic: "modelled".into(), partition: 0, offset };
            self.worker.log().push(Received { position, logged: at, bytes: bytes.into() });
        }
        self.step(progress)
    }

    fn step(&mut self, progress: &mut Progress) -> Result<(), WorkerError> {
        let done = self.worker.step()?;
        progress.done.inputs += done.inputs;
        progress.done.rejected += done.rejected;
        progress.done.duplicates += done.duplicates;
        progress.done.decided += done.decided;
        let log = self.worker.log();
        let journal = log.take_journal();
        let outputs = std::mem::take(&mut log.outputs);
        for output in &outputs {
            self.model(output);
        }
        progress.journal.extend(journal);
        progress.outputs.extend(outputs);
        Ok(())
    }

    /// What a modelled gateway makes of a command.
    fn model(&mut self, command: &Output) {
        #[derive(Deserialize)]
        struct Asked<'a> {
            #[serde(rename = "type")]
            kind: &'a str,
            id: &'a str,
            subject: Option<&'a str>,
        }
        let Ok(asked) = serde_json::from_slice::<Asked<'_>>(&command.bytes) else { return };
        let answer = match self.outcomes {
            Outcomes::None => return,
            Outcomes::Delivered => r#""outcome":"delivered""#,
            Outcomes::Absent => r#""outcome":"failed","cause":"absent""#,
        };
        if asked.kind != "cpm.delivery.requested.v1" {
            return;
        }
        let now = self.clock.now();
        let (id, subject) = (asked.id, asked.subject.unwrap_or_default());
        for (at, word, says) in
            [(now, "started", r#""outcome":"started""#), (now + ANSWERS_AFTER, "answered", answer)]
        {
            let event = format!(
                "{{\"specversion\":\"1.0\",\"id\":\"{id}/{word}\",\"source\":\"/deferd/modelled\",\
                 \"type\":\"cpm.delivery.outcome.v1\",\"subject\":\"{subject}\",\"time\":\"{at}\",\
                 \"data\":{{\"attempt_id\":\"{id}\",{says}}}}}"
            );
            let place = self.answers.partition_point(|(due, _)| *due <= at);
            self.answers.insert(place, (at, event.into_bytes()));
        }
    }
}

/// The `time` of an input, if it is one and has one.
fn time_of(bytes: &[u8]) -> Option<Timestamp> {
    Envelope::read(bytes).ok()?.time
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At one instant inputs go before alarms, also where several inputs share it.
    #[test]
    fn inputs_of_an_instant_go_before_its_alarms() {
        let event = |id: u32, kind: &str, user: u32, second: u32, data: &str| {
            format!(
                r#"{{"specversion":"1.0","id":"{id}","source":"/t","type":"{kind}.v1","subject":"tel:+1514555010{user}","time":"2026-11-21T08:00:{second:02}Z","data":{data}}}"#
            )
        };
        let message = r#"{"message_id":"m","from":"tel:+15145550109","kind":"pager","content_type":"text/plain","body":"x"}"#;
        let lines = [
            event(1, "cpm.message.submitted", 0, 0, message),
            event(2, "cpm.cs.attached", 0, 0, "{}"),
            event(3, "cpm.cs.attached", 1, 30, "{}"),
            event(4, "cpm.user.held", 0, 30, r#"{"operator":"a","reason":"b"}"#),
        ];
        let mut simulation = Simulation::new(Settings::default(), Outcomes::None).unwrap();
        let mut asked = 0;
        for (number, line) in (1..).zip(&lines) {
            asked += simulation.take("f", number, line.as_bytes()).unwrap().outputs.len();
        }
        let until = simulation.now() + Duration::from_secs(60);
        asked += simulation.finish(Some(until)).unwrap().outputs.len();

        assert_eq!(asked, 0, "the hold of 08:00:30 goes before the SMS that is due then");
    }
}
