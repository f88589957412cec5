//! A step under way: inputs and alarms decided, each with its journal record.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::alarms::Alarms;
use super::changes::Changes;
use super::intake::partition_of;
use super::observer::Observer;
use super::ports::{Batch, Entry, Fate, Position, Received};
use super::state::{State, identity};
use super::users::UserKey;
use super::worker::{Done, FILE, Hand, MAX_RECORDS, Settings};
use crate::domain::address::{Address, LONGEST_TEL};
use crate::domain::decide::{Decided, Ignored, step};
use crate::domain::input::{Fact, Input, Told};
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;
use crate::record::envelope::{Envelope, one_line, text};
use crate::record::input::{MAX_NAME, Read, Rejected};
use crate::record::journal::{RULES, Record};
use crate::record::output::{Place, SOURCE, output, rejected};

/// What one partition has decided since its last commit.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) changes: Changes,
    batch: Batch,
    pub(super) done: Done,
    epoch: u64,
    /// The digest of the policy in force.
    pub(super) digest: String,
    /// Whose alarms rang.
    pub(super) rang: Vec<UserKey>,
    /// How many were looked at because the policy changed.
    pub(super) looked: usize,
    /// The last input of each topic.
    pub(super) taken: Vec<Position>,
    /// Records handed to the log.
    pub(super) written: u64,
}

impl Step {
    /// A step of the partition of this number, whose policy has this digest.
    pub(super) fn begun(partition: u32, state: &State, digest: &str) -> Self {
        Self {
            changes: Changes::default(),
            batch: Batch { partition, first_seq: state.next_seq, ..Batch::default() },
            done: Done::default(),
            epoch: state.epoch,
            digest: digest.to_owned(),
            rang: Vec::new(),
            looked: 0,
            taken: Vec::new(),
            written: 0,
        }
    }

    /// What follows is decided at this instant.
    pub(super) fn at(&mut self, now: Timestamp) {
        self.batch.at = now;
        self.changes.at = now;
    }

    /// Makes room for that many inputs more.
    pub(super) fn expect(&mut self, inputs: usize) {
        self.changes.reserve(inputs);
        self.batch.entries.reserve(inputs);
    }

    /// The records decided since the last call, for the log.
    pub(super) fn take_batch(&mut self) -> Option<Batch> {
        let entries = std::mem::take(&mut self.batch.entries);
        if entries.is_empty() {
            return None;
        }
        let Batch { partition, at, first_seq, .. } = self.batch;
        let records = entries.len() as u64;
        self.changes.recorded = Some(at);
        self.batch.first_seq += records;
        self.written += records;
        Some(Batch { partition, at, first_seq, entries })
    }

    /// Notes that an input was taken, whatever becomes of it.
    fn note(&mut self, position: &Position) {
        let same = |known: &&mut Position| {
            known.partition == position.partition && known.topic == position.topic
        };
        match self.taken.iter_mut().find(same) {
            Some(known) => known.offset = position.offset,
            None => self.taken.push(position.clone()),
        }
    }

    /// One input: a record for it, whatever becomes of it (L-10).
    pub(super) fn take(
        &mut self,
        state: &mut State,
        settings: &Settings,
        received: &Received,
        observer: &mut dyn Observer,
    ) {
        self.done.inputs += 1;
        self.note(&received.position);
        let reader = &settings.reader;
        let read = match reader.read(&received.bytes, received.logged) {
            Ok(read) => read,
            Err(why) => return self.refuse(received, &why, observer),
        };
        if let Some(why) = misplaced(&read, self.batch.partition, settings.partitions) {
            return self.refuse(received, &why, observer);
        }
        observer.input(read.kind, &read.source, received.logged);
        let identity = read.kind.is_remembered().then(|| identity(&read.source, &read.id));
        if identity.is_some_and(|digest| self.changes.is_repeated(state, digest)) {
            return self.note_duplicate(received, &read, observer);
        }
        let policy = self.policy(state);
        let at = self.batch.at;
        let user = self.changes.user(state, &read.user);
        match step(user, &read.input, at, &policy) {
            Err(Ignored::Conflict) => self.refuse(received, &Rejected::Conflict, observer),
            decided => {
                if let Some(digest) = identity {
                    self.changes.remember(digest, at);
                }
                // It was read, so it is JSON: what stands around it is white space.
                let line = one_line(&received.bytes);
                let line = std::str::from_utf8(&line).map(|line| reader.whole(line.trim(), &read));
                if decided.is_err() {
                    observer.ignored();
                }
                self.record(Some(received), Some(&read.user), line.as_deref().ok(), decided);
            }
        }
    }

    /// Rings all that is due by `until`, in the order of deadline and user.
    ///
    /// An alarm may be set earlier than its deadline, and a deadline that this step brought is set
    /// nowhere yet, so `wake_at` has the word: what rings does not depend on when a step began.
    pub(super) fn ring_due(
        &mut self,
        state: &mut State,
        alarms: &mut Alarms,
        until: Timestamp,
        observer: &mut dyn Observer,
    ) {
        let policy = self.policy(state);
        let mut due: BTreeSet<(Timestamp, UserKey)> =
            self.changes.due(state, until, &policy).collect();
        while !self.is_full() {
            let soonest = due.first().map(|(at, _)| *at);
            let alarm = alarms.next(&state.users).filter(|at| *at <= until);
            let Some(at) = soonest.into_iter().chain(alarm).min() else { break };
            let mut keys = alarms.ring(&mut state.users, at);
            self.rang.extend(&keys);
            while due.first().is_some_and(|(soonest, _)| *soonest == at) {
                keys.extend(due.pop_first().map(|(_, key)| key));
            }
            keys.sort_unstable();
            keys.dedup();
            if keys.len() > 1 {
                keys.sort_by_cached_key(|key| address_of(state, *key));
            }
            for key in keys {
                if self.is_full() {
                    break;
                }
                let wake_at = self.changes.wake_at(state, key, &policy);
                match wake_at.filter(|wake_at| *wake_at <= until) {
                    Some(wake_at) if wake_at > at => {
                        due.insert((wake_at, key));
                    }
                    Some(wake_at) => {
                        observer.rang(self.batch.at.since(wake_at));
                        self.ring(state, key, until);
                    }
                    None => {}
                }
            }
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.batch.entries.len() >= MAX_RECORDS
    }

    /// An alarm of a user, again as long as it is due at once: a record where it changed something,
    /// none where it came early (TM-1).
    pub(super) fn ring(&mut self, state: &mut State, key: UserKey, until: Timestamp) {
        let policy = self.policy(state);
        while !self.is_full() {
            let (at, seq) = (self.batch.at, self.next_seq());
            let Some(user) = self.changes.by_key(state, key) else { return };
            let told = Told { time: until, logged: at, ..Told::default() };
            let input = Input { told, fact: Fact::TimerFired };
            let Ok(decided) = step(user, &input, at, &policy) else { return };
            let again = user.wake_at(&policy).is_some_and(|wake_at| wake_at <= until);
            let address = user.address.clone();
            let raw = timer_fired(&address, until, seq);
            self.record(None, Some(&address), Some(&raw), Ok(decided));
            if !again {
                return;
            }
        }
    }

    /// The policy in force in this step.
    fn policy(&self, state: &State) -> Arc<Policy> {
        Arc::clone(self.changes.policy.as_ref().unwrap_or(&state.policy))
    }

    /// A policy that changes is an input like another: whole, in a record of its own.
    pub(super) fn change_policy(
        &mut self,
        policy: &Policy,
        by: Option<&Hand>,
        partitions: Option<u32>,
    ) {
        let seq = self.next_seq();
        let data = serde_json::to_string(policy).expect("a policy is JSON");
        let at = self.batch.at;
        let by = by.map_or_else(String::new, |by| {
            let by = serde_json::to_string(by).expect("text is JSON");
            format!("{},", by.trim_start_matches('{').trim_end_matches('}'))
        });
        let of = partitions.map_or_else(String::new, |of| format!("\"partitions\":{of},"));
        let raw = format!(
            "{{\"specversion\":\"1.0\",\"id\":\"{seq}\",\"source\":\"{SOURCE}\",\
             \"type\":\"cpm.policy.changed.v1\",\"time\":\"{at}\",{of}{by}\"data\":{data}}}"
        );
        self.digest = policy.digest();
        self.changes.policy = Some(Arc::new(policy.clone()));
        self.changes.partitions = partitions;
        self.record(None, None, Some(&raw), Ok(Decided::default()));
    }

    fn next_seq(&self) -> u64 {
        self.batch.first_seq + self.batch.entries.len() as u64
    }

    /// The record of an input that was decided, and what it asks of others.
    fn record(
        &mut self,
        received: Option<&Received>,
        user: Option<&Address>,
        input: Option<&str>,
        decided: Result<Decided, Ignored>,
    ) {
        let (decided, ignored) = match decided {
            Ok(decided) => (decided, None),
            Err(why) => (Decided::default(), Some(why.to_string())),
        };
        self.done.decided += usize::from(ignored.is_none());
        let outputs =
            decided.commands.iter().map(|command| output(command, self.batch.at)).collect();
        let fate = received.is_some().then(|| match &ignored {
            None => Fate::Decided,
            Some(why) => Fate::Ignored(why.clone()),
        });
        let mut buffer = [0; LONGEST_TEL];
        let user = user.map(|user| user.written(&mut buffer));
        let record = Record {
            user: user.map(Cow::Borrowed),
            events: decided.events,
            ignored: ignored.map(Cow::Owned),
            ..self.blank(received)
        };
        let line = record.write_with(input);
        let user = user.map(Box::from);
        self.batch.entries.push(Entry { line, user, outputs, fate });
    }

    /// A duplicate: its place and its name, no more.
    fn note_duplicate(
        &mut self,
        received: &Received,
        read: &Read<'_>,
        observer: &mut dyn Observer,
    ) {
        self.done.duplicates += 1;
        observer.repeated();
        let record = Record {
            ignored: Some(Cow::Borrowed("taken before")),
            source: Some(Cow::Borrowed(&read.source)),
            id: Some(Cow::Borrowed(&read.id)),
            ..self.blank(Some(received))
        };
        let line = record.write();
        let user = Some(read.user.to_string().into());
        let fate = Some(Fate::Duplicate);
        self.batch.entries.push(Entry { line, user, outputs: Vec::new(), fate });
    }

    /// An input nobody can use: a short record, and a dead letter with the whole of it.
    fn refuse(&mut self, received: &Received, why: &Rejected, observer: &mut dyn Observer) {
        self.done.rejected += 1;
        observer.refused(why);
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
        let letter = rejected(why, &place_of(&received.position), &received.bytes, self.batch.at);
        let fate = Some(Fate::Rejected(why.clone()));
        self.batch.entries.push(Entry { line, user: None, outputs: vec![letter], fate });
    }

    fn blank<'r>(&'r self, received: Option<&Received>) -> Record<'r> {
        Record {
            seq: self.next_seq(),
            epoch: self.epoch,
            at: self.batch.at,
            ingested_at: received.map(|r| r.logged).filter(|logged| *logged != self.batch.at),
            rules: RULES,
            policy: Cow::Borrowed(&self.digest),
            pos: received.map(|received| Cow::Owned(text(&received.position))),
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

/// Why an input does not belong where it stands: its user's state is in another partition.
fn misplaced(read: &Read<'_>, partition: u32, partitions: Option<u32>) -> Option<Rejected> {
    let of = partitions?;
    let belongs = partition_of(read.user.written(&mut [0; LONGEST_TEL]), of);
    (belongs != partition).then_some(Rejected::Misplaced { partition, belongs, of })
}

fn address_of(state: &State, key: UserKey) -> String {
    state.users.see(key, |user| user.address.to_string()).unwrap_or_default()
}

/// The input that an alarm is: a canonical address needs no escape in JSON.
fn timer_fired(user: &Address, until: Timestamp, seq: u64) -> String {
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
