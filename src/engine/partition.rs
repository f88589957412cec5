//! One partition: its state, its alarms, and the step that it has under way.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::alarms::Alarms;
use super::checkpoint::Chunk;
use super::observer::Observer;
use super::ports::{Batch, Received};
use super::replay;
use super::state::{BrokenJournal, State};
use super::step::Step;
use super::users::{TABLES, UserKey, Users};
use super::worker::{Done, Hand, MAX_BATCH, MAX_RECORDS, Settings};
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;

/// A partition at work, or on its way there.
#[derive(Debug)]
pub struct Partition {
    /// Its number.
    pub number: u32,
    state: State,
    alarms: Alarms,
    digest: String,
    /// Who is to be looked at because the policy changed.
    looking: Looking,
    /// The policy to journal in the next step.
    new_policy: Option<(Policy, Option<Hand>)>,
    /// What was decided since the last commit.
    step: Option<Step>,
    standing: Standing,
    /// The record that came next when the journal had been followed.
    followed_to: u64,
}

/// How the state stands to the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing is known of what the journal holds beyond it, and no alarm is set.
    New,
    /// It was whole, and others may have written since: they were the owners, or may have been.
    Away,
    /// A commit failed: it may be durable all the same.
    Unsure,
    /// It is what the journal says.
    Whole,
}

impl Partition {
    /// A partition on what is known of it; the journal after that is still to be
    /// [followed](Self::follow).
    #[must_use]
    pub fn new(number: u32, state: State) -> Self {
        Self {
            number,
            state,
            alarms: Alarms::default(),
            digest: String::new(),
            looking: Looking::default(),
            new_policy: None,
            step: None,
            standing: Standing::New,
            followed_to: 0,
        }
    }

    /// The state as committed.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// How many alarms are set.
    #[must_use]
    pub fn timers(&self) -> usize {
        self.alarms.count()
    }

    /// Whether its state is what the journal says, so that it can decide.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.standing == Standing::Whole
    }

    /// The record that came next when the journal had been followed, and nothing was decided yet.
    #[must_use]
    pub fn followed_to(&self) -> u64 {
        self.followed_to
    }

    /// Decides by another policy from the next step on; the journal keeps who changed it by hand.
    /// Deadlines that stand are not moved (TM-1).
    pub fn change_policy(&mut self, policy: Policy, by: Option<Hand>) {
        self.new_policy = Some((policy, by));
    }

    /// When the next alarm is due; at once where users wait to be looked at.
    pub fn next_alarm(&mut self) -> Option<Timestamp> {
        if self.looking.is_done() {
            self.alarms.next(&self.state.users)
        } else {
            Some(self.state.at)
        }
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

    /// Somebody else may write it from here on.
    pub fn let_go(&mut self) {
        self.give_up();
        if self.standing != Standing::New {
            self.standing = Standing::Away;
        }
    }

    /// Moves the state by lines of the journal; those of a step whose commit failed may be among them.
    ///
    /// # Errors
    ///
    /// [`BrokenJournal`]: a line does not follow the one before.
    pub fn follow(&mut self, lines: &[Arc<[u8]>]) -> Result<(), BrokenJournal> {
        for line in lines {
            let touched = replay::apply_line(&mut self.state, line)?;
            if self.standing != Standing::New {
                self.rearm(touched.into_iter().collect());
            }
        }
        Ok(())
    }

    /// The journal holds no more lines: what the state says is so, and steps may begin.
    pub fn is_followed(&mut self, settings: &Settings) {
        let before = std::mem::replace(&mut self.standing, Standing::Whole);
        self.followed_to = self.state.next_seq;
        if before == Standing::New {
            let policy = Arc::clone(&self.state.policy);
            self.alarms = Alarms::of(self.state.users.arm(|user| user.wake_at(&policy)));
        }
        self.digest = self.state.policy.digest();
        if before == Standing::Unsure {
            return self.forget_policy_if_told();
        }
        self.state.epoch += u64::from(self.state.next_seq > 0);
        let wanted = self.new_policy.take().unwrap_or_else(|| (settings.policy.clone(), None));
        if !self.state.policy_told || self.digest != wanted.0.digest() {
            self.new_policy = Some(wanted);
        }
        // The journal may end behind a changed policy and before somebody was looked at for it.
        self.look_at_everybody();
    }

    /// Decides inputs, on what the step under way has decided before.
    pub fn take(
        &mut self,
        inputs: &[Received],
        now: Timestamp,
        settings: &Settings,
        observer: &mut dyn Observer,
    ) {
        let Self { state, step, new_policy, digest, number, .. } = self;
        let is_new = step.is_none();
        let step = step.get_or_insert_with(|| Step::begun(*number, state, digest));
        step.at(now);
        if is_new && let Some((policy, by)) = new_policy {
            step.change_policy(policy, by.as_ref(), settings.partitions);
        }
        step.expect(inputs.len());
        for input in inputs {
            step.take(state, settings, input, observer);
        }
    }

    /// Rings all that is due by `until`, and looks at whom a changed policy concerns.
    pub fn ring(&mut self, now: Timestamp, until: Timestamp, observer: &mut dyn Observer) {
        let Self { state, step, alarms, looking, digest, number, .. } = self;
        let step = step.get_or_insert_with(|| Step::begun(*number, state, digest));
        step.at(now);
        step.ring_due(state, alarms, until, observer);
        // What is due goes first, so that a restart, which looks at everybody, changes no order.
        for key in looking.keys.iter().take(MAX_BATCH) {
            if step.is_full() {
                break;
            }
            step.ring(state, *key, until);
            step.looked += 1;
        }
    }

    /// The records decided since the last call, for the log.
    pub fn take_batch(&mut self) -> Option<Batch> {
        self.step.as_mut()?.take_batch()
    }

    /// Whether there is anything to commit.
    #[must_use]
    pub fn has_written(&self) -> bool {
        self.step.as_ref().is_some_and(|step| step.written > 0)
    }

    /// The step's records are durable: folds it in.
    pub fn settle(&mut self) -> Done {
        let Some(step) = self.step.take() else { return Done::default() };
        self.state.next_seq += step.written;
        for position in &step.taken {
            self.state.take(&position.topic, position.partition, position.offset);
        }
        self.digest = step.digest;
        let changed = step.changes.policy.is_some();
        step.changes.keep(&mut self.state, &mut self.alarms);
        self.looking.go_on(step.looked, &self.state.users);
        // An alarm that rang early set none anew: its user was not touched.
        self.rearm(step.rang);
        if changed {
            self.new_policy = None;
            self.look_at_everybody();
        }
        let records = usize::try_from(step.written).unwrap_or(usize::MAX).max(step.looked);
        Done { records, ..step.done }
    }

    /// Drops the step, if one is under way. Whether its records are durable only the journal can say; what
    /// rang rings again. Without a step too: the log may have dropped what it had polled.
    pub fn give_up(&mut self) {
        if let Some(step) = self.step.take() {
            step.changes.undo(&mut self.state);
            self.rearm(step.rang);
        }
        if self.standing == Standing::Whole {
            self.standing = Standing::Unsure;
        }
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
