//! One partition's loop: poll, decide on the overlay, ring what is due, commit, fold in.
//!
//! The same for `simulate`, the daemon and Kafka. Journal first: a step's records and outputs are durable
//! together before the state moves, so a crash leaves the journal ahead and never the state.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::alarms::Alarms;
use super::checkpoint::Chunk;
use super::observer::Observer;
use super::overlay::Overlay;
use super::ports::{Batch, Clock, Entry, Fate, Log, LogError, Position, Received};
use super::replay;
use super::state::{BrokenJournal, State, identity};
use super::users::{TABLES, UserKey, Users};
use crate::domain::decide::{Decided, Ignored, step};
use crate::domain::input::{Fact, Input, Told};
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;
use crate::record::envelope::{Envelope, one_line};
use crate::record::input::{MAX_NAME, Read, Reader, Rejected};
use crate::record::journal::{RULES, Record};
use crate::record::output::{Place, SOURCE, output, rejected};

/// Inputs of one step, at most.
const MAX_BATCH: usize = 1000;
/// Records of one step; what is due beyond them is due in the next.
const MAX_RECORDS: usize = 4 * MAX_BATCH;
/// A topic of this name is a file: its offsets are lines.
pub const FILE: &str = "file:";

/// What a worker is started with.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// How inputs are read.
    pub reader: Reader,
    /// The policy to decide by.
    pub policy: Policy,
}

/// Why a worker cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkerError {
    /// The log says so.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its own journal does not hold together.
    #[error("the journal cannot be followed: {0}")]
    Journal(#[from] BrokenJournal),
}

/// Who changed a policy by hand, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Hand {
    /// Who.
    pub operator: String,
    /// Why.
    pub reason: String,
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Inputs taken.
    pub inputs: usize,
    /// Of them: refused.
    pub rejected: usize,
    /// Of them: taken before.
    pub duplicates: usize,
    /// Inputs and alarms that changed something.
    pub decided: usize,
    /// Journal records written, or users looked at to no effect.
    pub records: usize,
}

/// One partition at work.
#[derive(Debug)]
pub struct Worker<L, C> {
    log: L,
    clock: C,
    reader: Reader,
    state: State,
    alarms: Alarms,
    digest: String,
    /// Who is to be looked at because the policy changed.
    looking: Looking,
    /// The policy to journal in the next step.
    new_policy: Option<(Policy, Option<Hand>)>,
    /// A commit failed, and the state may be behind the journal.
    behind: bool,
}

/// A step under way.
struct Step<'a> {
    overlay: Overlay,
    batch: Batch,
    at: Timestamp,
    epoch: u64,
    done: Done,
    digest: &'a mut String,
    observer: &'a mut dyn Observer,
}

impl<L: Log, C: Clock> Worker<L, C> {
    /// A worker on what its log holds: the journal is read from its start, or on from `checkpoint`, and
    /// its positions say where the inputs go on.
    ///
    /// # Errors
    ///
    /// [`WorkerError`]: the log does not answer, or its journal is broken.
    pub fn open(
        mut log: L,
        clock: C,
        settings: Settings,
        checkpoint: Option<State>,
    ) -> Result<Self, WorkerError> {
        let mut state = replay::restore(&mut log, checkpoint)?;
        log.resume(&state.positions());
        state.epoch += u64::from(state.next_seq > 0);
        let policy = Arc::clone(&state.policy);
        let alarms = Alarms::of(state.users.arm(|user| user.wake_at(&policy)));
        let digest = state.policy.digest();
        let differs = !state.policy_told || digest != settings.policy.digest();
        let mut worker = Self {
            log,
            clock,
            reader: settings.reader,
            state,
            alarms,
            digest,
            looking: Looking::default(),
            new_policy: None,
            behind: false,
        };
        if differs {
            worker.change_policy(settings.policy, None);
        }
        // The journal may end behind a changed policy and before somebody was looked at for it.
        worker.look_at_everybody();
        Ok(worker)
    }

    /// Decides by another policy from the next step on; the journal keeps who changed it by hand.
    /// Deadlines that stand are not moved (TM-1).
    pub fn change_policy(&mut self, policy: Policy, by: Option<Hand>) {
        self.new_policy = Some((policy, by));
    }

    /// The state as committed.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The log.
    pub fn log(&mut self) -> &mut L {
        &mut self.log
    }

    /// The clock.
    pub fn clock(&self) -> &C {
        &self.clock
    }

    /// How many alarms are set.
    #[must_use]
    pub fn timers(&self) -> usize {
        self.alarms.count()
    }

    /// When the next alarm is due; at once where users wait to be looked at.
    pub fn next_alarm(&mut self) -> Option<Timestamp> {
        if self.looking.is_done() {
            self.alarms.next(&self.state.users)
        } else {
            Some(self.state.at)
        }
    }

    /// Takes what inputs there are, then rings the alarms that may ring, and commits it all.
    ///
    /// # Errors
    ///
    /// [`WorkerError`]: where it is [`LogError::Unavailable`], nothing was lost: call again.
    pub fn step(&mut self) -> Result<Done, WorkerError> {
        self.watched_step(Duration::ZERO, &mut ())
    }

    /// The same; it waits for an input no longer than `patience`, and `observer` sees it work.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub fn watched_step(
        &mut self,
        patience: Duration,
        observer: &mut dyn Observer,
    ) -> Result<Done, WorkerError> {
        self.catch_up()?;
        let received = self.log.poll(MAX_BATCH, patience)?;
        let now = self.clock.now().max(self.state.at);
        let until = self.log.taken_up_to(now).min(now);
        let mut step = Step {
            overlay: Overlay::begun(now),
            batch: Batch { at: now, first_seq: self.state.next_seq, entries: Vec::new() },
            at: now,
            epoch: self.state.epoch,
            done: Done::default(),
            digest: &mut self.digest,
            observer,
        };
        let changed = self.new_policy.clone();
        if let Some((policy, by)) = &changed {
            step.change_policy(policy, by.as_ref());
        }
        for input in &received {
            step.take(&self.state, &self.reader, input);
        }
        let ringing = step.ring_due(&mut self.state, &mut self.alarms, until);
        // What is due goes first, so that a restart, which looks at everybody, changes no order.
        let mut looked = 0;
        for key in self.looking.keys.iter().take(MAX_BATCH) {
            if step.is_full() {
                break;
            }
            step.ring(&self.state, *key, until);
            looked += 1;
        }
        let Step { mut overlay, batch, done, observer, .. } = step;
        let records = batch.entries.len() as u64;
        let mut committed = Ok(());
        if records > 0 {
            observer.committing();
            committed = self.log.commit(batch);
        }
        if let Err(error) = committed {
            observer.failed();
            // Whether it is durable only the journal can say; what rang rings again.
            self.behind = true;
            self.rearm(ringing);
            self.catch_up()?;
            return Err(error.into());
        }
        self.state.next_seq += records;
        for position in received.iter().map(|input| &input.position) {
            self.state.take(&position.topic, position.partition, position.offset);
        }
        if records > 0 {
            observer.committed();
        }
        overlay.recorded = records > 0;
        overlay.fold_in(&mut self.state, &mut self.alarms);
        self.looking.go_on(looked, &self.state.users);
        // An alarm that rang early set none anew: its user was not touched.
        self.rearm(ringing);
        if changed.is_some() {
            self.new_policy = None;
            self.look_at_everybody();
        }
        let records = usize::try_from(records).unwrap_or(usize::MAX).max(looked);
        Ok(Done { records, ..done })
    }

    /// After a failed commit: the state follows the journal before anything else happens.
    fn catch_up(&mut self) -> Result<(), WorkerError> {
        while self.behind {
            let lines = self.log.journal(self.state.next_seq, MAX_BATCH)?;
            self.behind = !lines.is_empty();
            for line in lines {
                let touched = replay::apply_line(&mut self.state, &line)?;
                self.rearm(touched.into_iter().collect());
            }
            if !self.behind {
                self.log.resume(&self.state.positions());
                self.digest = self.state.policy.digest();
                self.forget_policy_if_told();
            }
        }
        Ok(())
    }

    /// The changed policy may have become durable with a commit whose answer was lost.
    fn forget_policy_if_told(&mut self) {
        let told =
            self.new_policy.as_ref().is_some_and(|(policy, _)| policy.digest() == self.digest);
        if told && self.state.policy_told {
            self.new_policy = None;
            self.look_at_everybody();
        }
    }

    /// Sets the alarms that rang, or of which nobody knows, and that no commit has set meanwhile.
    fn rearm(&mut self, keys: Vec<UserKey>) {
        let Self { state, alarms, .. } = self;
        for key in keys {
            if state.users.is_armed(key) {
                continue;
            }
            let wake_at = state.users.see(key, |user| user.wake_at(&state.policy)).flatten();
            if let Some(at) = wake_at {
                alarms.set(&mut state.users, key, at);
            }
        }
    }

    /// A changed policy may have opened something for anybody who waits.
    fn look_at_everybody(&mut self) {
        self.looking = Looking { tables: 0..TABLES, keys: VecDeque::new() };
        self.looking.go_on(0, &self.state.users);
    }

    /// Begins a checkpoint of the state as committed, for the log of this identity; one under way is
    /// given up. It costs next to nothing: [`checkpoint_slice`](Self::checkpoint_slice) does the work.
    pub fn begin_checkpoint(&mut self, identity: u128) {
        self.state.begin_cut(identity);
    }

    /// Writes at most `most` users more of the checkpoint under way, between two steps; the steps go on
    /// as if it were not there. The chunks that are full: the last one says so, and none come after it.
    pub fn checkpoint_slice(&mut self, most: usize) -> Vec<Chunk> {
        self.state.cut_slice(most)
    }
}

/// Everybody, one table of users after the other: a million of them hold up no step.
#[derive(Debug, Default)]
struct Looking {
    tables: Range<usize>,
    /// Of the tables before: who waits for messages, and is still to be looked at.
    keys: VecDeque<UserKey>,
}

impl Looking {
    fn is_done(&self) -> bool {
        self.keys.is_empty() && self.tables.is_empty()
    }

    /// Leaves out the first `looked`, who have been looked at, and finds more.
    fn go_on(&mut self, looked: usize, users: &Users) {
        self.keys.drain(..looked);
        let mut cost = 0;
        while self.keys.len() < MAX_BATCH && cost < MAX_RECORDS {
            let Some(table) = self.tables.next() else { return };
            let (seen, waiting) = users.waiting(table);
            cost += 1 + seen;
            self.keys.extend(waiting);
        }
    }
}

impl Step<'_> {
    /// One input: a record for it, whatever becomes of it (L-10).
    fn take(&mut self, state: &State, reader: &Reader, received: &Received) {
        self.done.inputs += 1;
        let read = match reader.read(&received.bytes, received.logged) {
            Ok(read) => read,
            Err(why) => return self.refuse(received, &why),
        };
        self.observer.input(read.kind, &read.source, received.logged);
        let identity = read.kind.is_remembered().then(|| identity(&read.source, &read.id));
        if identity.is_some_and(|digest| self.overlay.is_repeated(state, digest)) {
            return self.note_duplicate(received, &read);
        }
        let policy = self.policy(state);
        let at = self.at;
        let (_, user) = self.overlay.user(state, &read.user);
        match step(user, &read.input, at, &policy) {
            Err(Ignored::Conflict) => self.refuse(received, &Rejected::Conflict),
            decided => {
                if let Some(digest) = identity {
                    self.overlay.remember(digest, at);
                }
                // It was read, so it is JSON: what stands around it is white space.
                let line = one_line(&received.bytes);
                let line = std::str::from_utf8(&line).map(|line| reader.whole(line.trim(), &read));
                let user = read.user.to_string();
                self.record(Some(received), Some(&user), line.as_deref().ok(), decided);
            }
        }
    }

    /// Rings all that is due by `until`, in the order of deadline and user. Whose alarms rang.
    ///
    /// An alarm may be set earlier than its deadline, and a deadline that this step brought is set
    /// nowhere yet, so `wake_at` has the word: what rings does not depend on when a step began.
    fn ring_due(
        &mut self,
        state: &mut State,
        alarms: &mut Alarms,
        until: Timestamp,
    ) -> Vec<UserKey> {
        let mut rang = Vec::new();
        let policy = self.policy(state);
        let mut due: BTreeSet<(Timestamp, UserKey)> = self.overlay.due(until, &policy).collect();
        while !self.is_full() {
            let soonest = due.first().map(|(at, _)| *at);
            let alarm = alarms.next(&state.users).filter(|at| *at <= until);
            let Some(at) = soonest.into_iter().chain(alarm).min() else { break };
            let mut keys = alarms.ring(&mut state.users, at);
            rang.extend(&keys);
            while due.first().is_some_and(|(soonest, _)| *soonest == at) {
                keys.extend(due.pop_first().map(|(_, key)| key));
            }
            keys.sort_unstable();
            keys.dedup();
            keys.sort_by_cached_key(|key| self.address_of(state, *key));
            for key in keys {
                if self.is_full() {
                    break;
                }
                let wake_at = self.overlay.wake_at(state, key, &policy);
                match wake_at.filter(|wake_at| *wake_at <= until) {
                    Some(wake_at) if wake_at > at => {
                        due.insert((wake_at, key));
                    }
                    Some(wake_at) => {
                        self.observer.rang(self.at.since(wake_at));
                        self.ring(state, key, until);
                    }
                    None => {}
                }
            }
        }
        rang
    }

    fn is_full(&self) -> bool {
        self.batch.entries.len() >= MAX_RECORDS
    }

    /// An alarm of a user, again as long as it is due at once: a record where it changed something,
    /// none where it came early (TM-1).
    fn ring(&mut self, state: &State, key: UserKey, until: Timestamp) {
        let policy = self.policy(state);
        while !self.is_full() {
            let (at, seq) = (self.at, self.next_seq());
            let Some(user) = self.overlay.by_key(state, key) else { return };
            let told = Told { time: until, logged: at, ..Told::default() };
            let input = Input { told, fact: Fact::TimerFired };
            let Ok(decided) = step(user, &input, at, &policy) else { return };
            let again = user.wake_at(&policy).is_some_and(|wake_at| wake_at <= until);
            let address = user.address.to_string();
            let raw = timer_fired(&address, until, seq);
            self.record(None, Some(&address), Some(&raw), Ok(decided));
            if !again {
                return;
            }
        }
    }

    /// The policy in force in this step.
    fn policy(&self, state: &State) -> Arc<Policy> {
        Arc::clone(self.overlay.policy.as_ref().unwrap_or(&state.policy))
    }

    /// A policy that changes is an input like another: whole, in a record of its own.
    fn change_policy(&mut self, policy: &Policy, by: Option<&Hand>) {
        let seq = self.next_seq();
        let data = serde_json::to_string(policy).expect("a policy is JSON");
        let at = self.at;
        let by = by.map_or_else(String::new, |by| {
            let by = serde_json::to_string(by).expect("text is JSON");
            format!("{},", by.trim_start_matches('{').trim_end_matches('}'))
        });
        let raw = format!(
            "{{\"specversion\":\"1.0\",\"id\":\"{seq}\",\"source\":\"{SOURCE}\",\
             \"type\":\"cpm.policy.changed.v1\",\"time\":\"{at}\",{by}\"data\":{data}}}"
        );
        *self.digest = policy.digest();
        self.overlay.policy = Some(Arc::new(policy.clone()));
        self.record(None, None, Some(&raw), Ok(Decided::default()));
    }

    fn address_of(&self, state: &State, key: UserKey) -> String {
        self.overlay.address(state, key).map_or_else(String::new, |address| address.to_string())
    }

    fn next_seq(&self) -> u64 {
        self.batch.first_seq + self.batch.entries.len() as u64
    }

    /// The record of an input that was decided, and what it asks of others.
    fn record(
        &mut self,
        received: Option<&Received>,
        user: Option<&str>,
        input: Option<&str>,
        decided: Result<Decided, Ignored>,
    ) {
        let (decided, ignored) = match decided {
            Ok(decided) => (decided, None),
            Err(why) => (Decided::default(), Some(why.to_string())),
        };
        self.done.decided += usize::from(ignored.is_none());
        if received.is_some() && ignored.is_some() {
            self.observer.ignored();
        }
        let outputs = decided.commands.iter().map(|command| output(command, self.at)).collect();
        let fate = received.is_some().then(|| match &ignored {
            None => Fate::Decided,
            Some(why) => Fate::Ignored(why.clone()),
        });
        let record = Record {
            user: user.map(Cow::Borrowed),
            events: decided.events,
            ignored: ignored.map(Cow::Owned),
            ..self.blank(received)
        };
        let line = record.write_with(input);
        self.batch.entries.push(Entry { line, outputs, fate });
    }

    /// A duplicate: its place and its name, no more.
    fn note_duplicate(&mut self, received: &Received, read: &Read<'_>) {
        self.done.duplicates += 1;
        self.observer.repeated();
        let record = Record {
            ignored: Some(Cow::Borrowed("taken before")),
            source: Some(Cow::Borrowed(&read.source)),
            id: Some(Cow::Borrowed(&read.id)),
            ..self.blank(Some(received))
        };
        let line = record.write();
        self.batch.entries.push(Entry { line, outputs: Vec::new(), fate: Some(Fate::Duplicate) });
    }

    /// An input nobody can use: a short record, and a dead letter with the whole of it.
    fn refuse(&mut self, received: &Received, why: &Rejected) {
        self.done.rejected += 1;
        self.observer.refused(why);
        let reason = why.to_string();
        let envelope = Envelope::read(&received.bytes).ok();
        let named = envelope.as_ref().filter(|e| e.source.len() + e.id.len() <= 2 * MAX_NAME);
        let record = Record {
            source: named.map(|envelope| Cow::Borrowed(&*envelope.source)),
            id: named.map(|envelope| Cow::Borrowed(&*envelope.id)),
            rejected: Some(Cow::Borrowed(&reason)),
            ..self.blank(Some(received))
        };
        let line = record.write();
        let letter = rejected(why, &place_of(&received.position), &received.bytes, self.at);
        let fate = Some(Fate::Rejected(why.clone()));
        self.batch.entries.push(Entry { line, outputs: vec![letter], fate });
    }

    fn blank<'r>(&'r self, received: Option<&Received>) -> Record<'r> {
        Record {
            seq: self.next_seq(),
            epoch: self.epoch,
            at: self.at,
            ingested_at: received.map(|r| r.logged).filter(|logged| *logged != self.at),
            rules: RULES,
            policy: Cow::Borrowed(self.digest),
            pos: received.map(|received| Cow::Owned(received.position.to_string())),
            user: None,
            input: None,
            events: Vec::new(),
            ignored: None,
            source: None,
            id: None,
            rejected: None,
        }
    }
}

/// The input that an alarm is: a canonical address needs no escape in JSON.
fn timer_fired(user: &str, until: Timestamp, seq: u64) -> String {
    format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{seq}\",\"source\":\"{SOURCE}\",\
         \"type\":\"cpm.timer.fired.v1\",\"subject\":\"{user}\",\"time\":\"{until}\"}}"
    )
}

/// Where an input stood, for a dead letter: in a topic, or on a line of a file.
fn place_of(position: &Position) -> Place<'_> {
    match position.topic.strip_prefix(FILE) {
        Some(file) => Place::File { file: Cow::Borrowed(file), line: position.offset },
        None => Place::Topic {
            topic: Cow::Borrowed(&position.topic),
            partition: position.partition,
            offset: position.offset,
        },
    }
}
