//! The log as a member of the group works on it: inputs polled, journal and outputs committed with their
//! offsets.
//!
//! Source: KIP-98, KIP-447; `rules.md` TM-7.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;

use super::client::{Cluster, KafkaFault};
use super::ends::Ahead;
use super::group::{Change, Group};
use super::inputs::{Inputs, PerTopic};
use super::reader::{Next, Reader};
use super::rejoin::subscribed;
use super::said::Said;
use super::topics::Topic;
use super::transaction::{Cost, Transactions};
use crate::domain::time::Timestamp;
use crate::engine::ports::{Batch, Clock, Log, LogError, Position, Received};

/// The longest wait for a broker's answer in one call: the group must hear of us in between.
pub(super) const CALL: Duration = Duration::from_secs(2);
/// The longest wait for inputs: whoever asks something waits as long.
const PATIENCE: Duration = Duration::from_millis(20);
/// A poll ends when so many calls have brought no record: some of them bring something else.
const EVENTS: usize = 64;
/// Inputs of one transaction, at most.
const MOST: usize = 20_000;

/// What becomes of inputs that were removed, or whose topic was made anew, before they were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lost {
    /// The member ends and says so: a person decides.
    #[default]
    Stop,
    /// It goes on with the oldest that is there.
    Skip,
}

/// How a member works.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which of a process's shards it is.
    pub shard: u32,
    /// How long the oldest record of a transaction may wait for more.
    pub commit_interval: Duration,
    /// What becomes of inputs that are gone.
    pub lost: Lost,
}

/// A partition that the group has given us.
#[derive(Debug, Default)]
pub(super) struct Owned {
    /// How far its restore has come.
    pub(super) phase: Phase,
    /// Since when its offsets are waited for.
    pub(super) since: Option<Timestamp>,
    /// When it was last told that its journal hangs, and in which words.
    pub(super) hangs: Option<(Timestamp, String)>,
    /// What the group had as its offsets when it was given to us, or as we committed them.
    pub(super) group: PerTopic<Option<u64>>,
    /// Whether it has flowed since it was given to us.
    pub(super) has_flowed: bool,
    /// The next offset of each input topic, after the last commit.
    committed: PerTopic<u64>,
    /// The same, as polled.
    pub(super) polled: PerTopic<u64>,
    /// Whether it is fetched from.
    pub(super) flows: bool,
    /// Up to when every input has been polled.
    taken_up_to: Timestamp,
    /// The ends of the input topics at an instant: when they are reached, all was taken up to then.
    pub(super) ends: Option<(Timestamp, PerTopic<u64>)>,
    /// Stretches that hold no input: marks of transactions, and what was aborted.
    pub(super) empty: PerTopic<Range<u64>>,
    /// What was polled when such stretches were last looked for before these ends.
    pub(super) looked: Option<PerTopic<u64>>,
    /// Records of it were sent since the last commit.
    sent: bool,
}

impl Owned {
    /// How far it has come in each topic: what was polled, and what need not be.
    pub(super) fn reached(&self) -> PerTopic<u64> {
        let mut reached = self.polled;
        for (next, empty) in reached.iter_mut().zip(&self.empty) {
            if empty.contains(next) {
                *next = empty.end;
            }
        }
        reached
    }

    /// Whether it has reached the ends that were last looked up.
    pub(super) fn reaches(&self, ends: &PerTopic<u64>) -> bool {
        self.reached().iter().zip(ends).all(|(next, end)| next >= end)
    }
}

/// What is known of a journal's end before it is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// A predecessor's last commit may be open.
    #[default]
    Given,
    /// It sent nothing beyond this offset of the journal; some of it may not be stable.
    Marked(u64),
    /// All that others sent is committed or aborted.
    Stable,
}

/// One shard of the group: a consumer, a transactional producer, a reader of its journals.
pub struct Member<C> {
    pub(super) cluster: Cluster,
    pub(super) options: Options,
    pub(super) clock: C,
    pub(super) inputs: Inputs,
    pub(super) consumer: BaseConsumer<Group>,
    /// Asks how far the inputs reach: on a connection that fetches it would wait behind a fetch.
    pub(super) asker: BaseConsumer<Said>,
    /// Looks at what stands between what was polled and an end.
    pub(super) ahead: Ahead,
    transactions: Transactions<C>,
    pub(super) journal: Reader,
    journal_topic: String,
    snapshots: String,
    outputs: BTreeMap<&'static str, String>,
    pub(super) owned: BTreeMap<u32, Owned>,
    pub(super) changes: VecDeque<Change>,
    /// The journal that is being read, and whether its end was met.
    reading: Option<(u32, bool)>,
    /// Inputs that came when none were wanted.
    early: Vec<Received>,
    /// Inputs polled since the last commit, and when the first of them was.
    since: Option<(usize, Timestamp)>,
    /// Whether the last poll brought anything.
    brings: bool,
    /// What the next poll fails with.
    fault: Option<LogError>,
}

impl<C> std::fmt::Debug for Member<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("owned", &self.owned).finish_non_exhaustive()
    }
}

impl<C: Clock + Clone> Member<C> {
    /// Joins the group.
    ///
    /// # Errors
    ///
    /// [`KafkaFault`]: a client cannot be made, or the journal's topic is not there.
    pub fn join(cluster: &Cluster, options: Options, clock: C) -> Result<Self, KafkaFault> {
        let inputs = Inputs::of(cluster);
        let consumer = subscribed(cluster, options.shard, &inputs)?;
        let outputs = Topic::ALL.map(|topic| (topic.name(), cluster.topic(topic)));
        Ok(Self {
            transactions: Transactions::new(cluster, options.shard, clock.clone()),
            journal: Reader::new(cluster, Topic::Journal)?,
            journal_topic: cluster.topic(Topic::Journal),
            snapshots: cluster.topic(Topic::Snapshots),
            outputs: BTreeMap::from(outputs),
            cluster: cluster.clone(),
            options,
            clock,
            inputs,
            consumer,
            asker: cluster.reader()?,
            ahead: Ahead::of(cluster),
            owned: BTreeMap::new(),
            changes: VecDeque::new(),
            reading: None,
            early: Vec::new(),
            since: None,
            brings: false,
            fault: None,
        })
    }

    /// What the group has changed since the last call, oldest first.
    pub fn take_changes(&mut self) -> Vec<Change> {
        self.changes.drain(..).collect()
    }

    /// Takes a record of a snapshot into a transaction; `None` removes what the key had.
    pub(super) fn keep(
        &mut self,
        partition: u32,
        key: &str,
        bytes: Option<&[u8]>,
    ) -> Result<(), LogError> {
        let Some(owned) = self.owned.get_mut(&partition).filter(|owned| owned.flows) else {
            return Err(LogError::Unavailable(format!("partition {partition} is not ours now")));
        };
        owned.sent = true;
        let sent = self.transactions.send(&self.snapshots, partition, Some(key.as_bytes()), bytes);
        sent.inspect_err(|_| self.drop_open())
    }

    /// What its transactions have cost.
    #[must_use]
    pub const fn cost(&self) -> Cost {
        self.transactions.cost
    }

    /// Takes over what the group has changed: what is revoked is ours no longer, at once.
    fn follow_group(&mut self) -> bool {
        let changes = self.consumer.context().take_changes();
        let changed = !changes.is_empty();
        for change in changes {
            match &change {
                Change::Assigned(partitions) => {
                    self.owned.extend(partitions.iter().map(|number| (*number, Owned::default())));
                }
                Change::Revoked { .. } => {
                    self.owned.clear();
                    self.early.clear();
                    self.stop_reading();
                }
            }
            self.changes.push_back(change);
        }
        changed
    }

    /// Drops what was polled and sent since the last commit; the partitions concerned wait until they are
    /// resumed.
    pub(super) fn drop_open(&mut self) {
        self.transactions.abort();
        self.since = None;
        self.early.clear();
        let mut stopped = Vec::new();
        for (number, owned) in &mut self.owned {
            if owned.flows && (owned.sent || owned.polled != owned.committed) {
                owned.flows = false;
                owned.sent = false;
                owned.polled = owned.committed;
                owned.ends = None;
                stopped.push((*number, [Offset::Invalid; 3]));
            }
        }
        let paused = self.inputs.list(stopped).and_then(|list| self.consumer.pause(&list));
        if let Err(error) = paused {
            tracing::warn!("kafka: cannot pause: {error}");
        }
    }

    /// One record, if there is one.
    fn poll_one(&mut self, patience: Duration) -> Result<Option<Received>, LogError> {
        match self.consumer.poll(patience) {
            None | Some(Err(KafkaError::PartitionEOF(_))) => Ok(None),
            Some(Ok(message)) => {
                let received = self.inputs.receive(&message, self.clock.now());
                let Some((topic, received)) = received else { return Ok(None) };
                let Position { partition, offset, .. } = received.position;
                // What was fetched before a pause may still be on its way.
                let owned = self.owned.get_mut(&partition).filter(|owned| owned.flows);
                let Some(next) = owned.and_then(|owned| owned.polled.get_mut(topic)) else {
                    return Ok(None);
                };
                if offset < *next {
                    return Ok(None);
                }
                *next = offset + 1;
                Ok(Some(received))
            }
            Some(Err(error)) if self.is_forgotten(&error) => Err(self.join_anew()),
            Some(Err(error)) => self.judge(&error).map_or(Ok(None), Err),
        }
    }

    pub(super) fn stop_reading(&mut self) {
        if let Some((number, _)) = self.reading.take()
            && let Err(fault) = self.journal.leave(number)
        {
            tracing::warn!("{fault}");
        }
    }
}

pub(super) fn unavailable(error: KafkaError) -> LogError {
    LogError::Unavailable(error.to_string())
}

impl From<KafkaFault> for LogError {
    fn from(fault: KafkaFault) -> Self {
        let words = fault.to_string();
        match fault {
            KafkaFault::Unreachable { .. } => Self::Unavailable(words),
            KafkaFault::Settings(_) | KafkaFault::Topics(_) | KafkaFault::Refused { .. } => {
                Self::Broken(words)
            }
        }
    }
}

impl<C: Clock + Clone> Log for Member<C> {
    fn poll(&mut self, most: usize, patience: Duration) -> Result<Vec<Received>, LogError> {
        if let Some(fault) = self.fault.take() {
            self.drop_open();
            return Err(fault);
        }
        let mut received = std::mem::take(&mut self.early);
        let (mut patience, mut events) = (patience.min(PATIENCE), 0);
        while received.len() < most.max(1) {
            let polled = self.poll_one(patience);
            if self.follow_group() {
                let was_open = self.transactions.is_open() || !received.is_empty();
                self.drop_open();
                if was_open {
                    return Err(LogError::Unavailable("the group's members change".to_owned()));
                }
                return Ok(Vec::new());
            }
            match polled {
                Ok(Some(input)) => received.push(input),
                // What happened while nobody polled stands before the records.
                Ok(None) if events < EVENTS => events += 1,
                Ok(None) => break,
                Err(fault) => {
                    self.fault = Some(fault);
                    break;
                }
            }
            patience = Duration::ZERO;
        }
        if most == 0 {
            self.early = received;
            return Ok(Vec::new());
        }
        self.brings = !received.is_empty();
        if self.brings {
            let (count, since) = self.since.unwrap_or_else(|| (0, self.clock.now()));
            self.since = Some((count + received.len(), since));
        }
        Ok(received)
    }

    fn taken_up_to(&mut self, partition: u32, now: Timestamp, due: Option<Timestamp>) -> Timestamp {
        let reached = |owned: &Owned| owned.taken_up_to;
        let Some(owned) = self.owned.get(&partition) else { return Timestamp::EPOCH };
        if due.is_none_or(|due| due > now || due <= owned.taken_up_to) {
            return reached(owned);
        }
        if owned.ends.is_none() {
            // An input that is logged at this very instant may not be there yet.
            self.look_up_ends(now - Duration::from_millis(1));
        }
        if !self.brings {
            self.look_ahead(partition, now);
        }
        let Some(owned) = self.owned.get_mut(&partition) else { return Timestamp::EPOCH };
        if let Some((at, ends)) = owned.ends
            && owned.reaches(&ends)
        {
            owned.ends = None;
            owned.taken_up_to = owned.taken_up_to.max(at);
        }
        reached(owned)
    }

    fn write(&mut self, batch: Batch) -> Result<(), LogError> {
        let number = batch.partition;
        let Some(owned) = self.owned.get_mut(&number) else {
            self.drop_open();
            return Err(LogError::Unavailable(format!("partition {number} is no longer ours")));
        };
        owned.sent = true;
        let sent = batch.entries.iter().try_for_each(|entry| {
            let key = entry.user.as_deref().map(str::as_bytes);
            self.transactions.send(&self.journal_topic, number, key, Some(&entry.line))?;
            entry.outputs.iter().try_for_each(|output| {
                let topic = self.outputs.get(output.topic).map_or(output.topic, String::as_str);
                let key = output.key.as_deref().map(str::as_bytes);
                self.transactions.send(topic, number, key, Some(&output.bytes))
            })
        });
        self.transactions.poll(Duration::ZERO);
        sent.inspect_err(|_| self.drop_open())
    }

    fn wants_more(&self) -> bool {
        let Some((count, since)) = self.since.filter(|_| self.brings && self.fault.is_none())
        else {
            return false;
        };
        count < MOST && self.clock.now() < since + self.options.commit_interval
    }

    fn keeps_what_waits(&self) -> bool {
        true
    }

    fn commit(&mut self) -> Result<(), LogError> {
        // Positions go with every commit, with that of timers too: the group fences by them.
        let sent = self.owned.iter().filter(|(_, owned)| owned.sent);
        let list = self.inputs.list(sent.map(|(number, owned)| {
            (*number, owned.polled.map(|next| Offset::Offset(next.cast_signed())))
        }));
        let group = self.consumer.group_metadata();
        let committed = match (list, group) {
            (Ok(list), Some(group)) => self.transactions.commit(list, group),
            (Err(error), _) => Err(unavailable(error)),
            (_, None) => Err(LogError::Unavailable("not in the group".to_owned())),
        };
        if let Err(error) = committed {
            self.drop_open();
            return Err(error);
        }
        self.since = None;
        for owned in self.owned.values_mut().filter(|owned| owned.sent) {
            owned.sent = false;
            owned.committed = owned.polled;
        }
        Ok(())
    }

    fn journal(
        &mut self,
        partition: u32,
        seq: u64,
        most: usize,
    ) -> Result<Option<Vec<Arc<[u8]>>>, LogError> {
        if !self.owned.contains_key(&partition)
            || self.reading.is_some_and(|(reading, _)| reading != partition)
        {
            return Ok(None);
        }
        // What this shard left open is ended first, by itself or by its next producer.
        self.transactions.settle()?;
        if !self.is_stable(partition)? {
            return Ok(None);
        }
        if self.reading.is_none() {
            if !self.read_from(partition, seq)? {
                return Ok(Some(Vec::new()));
            }
            self.reading = Some((partition, false));
        }
        let mut lines = Vec::new();
        while lines.len() < most && self.reading == Some((partition, false)) {
            match self.journal.next(CALL / 10)? {
                Next::Record(message) => lines.push(message.bytes().unwrap_or_default().into()),
                // It is said once.
                Next::End { .. } => self.reading = Some((partition, true)),
                Next::Nothing if lines.is_empty() => return Ok(None),
                Next::Nothing => break,
            }
        }
        if lines.is_empty() {
            self.stop_reading();
        }
        Ok(Some(lines))
    }

    fn resume(&mut self, partition: u32, after: &[Position]) -> Result<(), LogError> {
        let next = self.next_offsets(partition, after)?;
        let offsets = next.map(|next| Offset::Offset(next.cast_signed()));
        let list = self.inputs.list([(partition, offsets)]).map_err(unavailable)?;
        let sought = self.consumer.seek_partitions(list, CALL).map_err(unavailable)?;
        sought.elements().iter().try_for_each(|element| element.error()).map_err(unavailable)?;
        let Some(owned) = self.owned.get_mut(&partition) else { return Ok(()) };
        self.early.retain(|input| input.position.partition != partition);
        owned.committed = next;
        owned.polled = next;
        owned.group = next.map(Some);
        owned.ends = None;
        owned.flows = true;
        owned.has_flowed = true;
        let list = self.inputs.list([(partition, offsets)]).map_err(unavailable)?;
        self.consumer.resume(&list).map_err(unavailable)
    }
}
