//! What must be known before a partition that the group gives us may decide: where its journal ends, what is
//! known of it besides, and where its inputs go on.
//!
//! It goes through three waits: until the offsets of a predecessor's last commit are stable, until all that
//! it ever sent is committed or aborted, and until the journal has been followed to there. The group fences
//! a predecessor's offsets, not the end of its transaction, so nothing less will do.
//!
//! Source: KIP-447.

use std::time::Duration;

use rdkafka::Offset;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::KafkaFault;
use super::find::Found;
use super::inputs::PerTopic;
use super::member::{CALL, Lost, Member, Owned, Phase, unavailable};
use super::reader::{Next, Reader};
use super::snapshots::{self, Round};
use super::topics::Topic;
use crate::engine::ports::{Clock, LogError, Position};
use crate::engine::state::State;
use crate::record::journal::Record;

/// How long after its time a transaction may take to be ended by its coordinator, which looks every ten
/// seconds.
const HANGS: Duration = Duration::from_secs(15);
/// How often it is told that a journal hangs.
const TELL_EVERY: Duration = Duration::from_secs(60);

impl<C: Clock + Clone> Member<C> {
    /// The newest snapshot of a partition, and the state that it is; `None`: there is none.
    ///
    /// # Errors
    ///
    /// [`KafkaFault`]: it cannot be read now.
    pub fn snapshot(
        &self,
        partition: u32,
        identity: u128,
    ) -> Result<Option<(Round, State)>, KafkaFault> {
        let mut reader = Reader::new(&self.cluster, Topic::Snapshots)?;
        snapshots::newest(&mut reader, partition, identity)
    }

    /// Whether a state is what the journal of a partition once added up to.
    ///
    /// # Errors
    ///
    /// [`KafkaFault`]: the journal cannot be read now.
    pub fn holds(&mut self, partition: u32, state: &State) -> Result<bool, KafkaFault> {
        let Some(last) = state.next_seq.checked_sub(1) else { return Ok(true) };
        let offset = match self.journal.find_seq(partition, last)? {
            Found::At(offset) => offset,
            // What follows it is there, which is all that is needed.
            Found::Removed { oldest, .. } => return Ok(oldest == state.next_seq),
            Found::NotYet => return Ok(false),
        };
        self.journal.go_to(partition, offset)?;
        let holds = match self.journal.next(CALL)? {
            Next::Record(message) => {
                let record = message.bytes().and_then(|line| Record::read(line).ok());
                record.is_some_and(|record| (record.seq, record.at) == (last, state.at))
            }
            Next::End { .. } | Next::Nothing => false,
        };
        self.journal.leave(partition)?;
        Ok(holds)
    }

    /// Where a journal may be read to: `None` as long as a predecessor's last commit may be open.
    pub(super) fn is_stable(&mut self, number: u32) -> Result<bool, LogError> {
        let Some(owned) = self.owned.get_mut(&number) else { return Ok(false) };
        if owned.phase == Phase::Given {
            let list = self.inputs.list([(number, [Offset::Invalid; 3])]).map_err(unavailable)?;
            let since = *owned.since.get_or_insert_with(|| self.clock.now());
            // There is no answer as long as a transaction that sent offsets is open.
            let offsets = match self.consumer.committed_offsets(list, CALL / 10) {
                Ok(offsets) => Some(offsets),
                // A coordinator ends each in its time. What hangs for longer was left by a broker's crash,
                // and nobody can commit it any more; the journal has the word.
                Err(error) if self.clock.now() > since + self.cluster.session_timeout + HANGS => {
                    tracing::warn!(
                        "partition {number}: the group's offsets have not been stable for longer than a \
                         transaction lives ({error}): a transaction hangs, see kafka-transactions \
                         find-hanging; the journal has the word on where the inputs go on"
                    );
                    None
                }
                Err(_) => return Ok(false),
            };
            let group = offsets.map(|offsets| self.inputs.offsets(&offsets, number));
            owned.group = group.unwrap_or_default();
            owned.phase = Phase::Marked(self.journal.ends(number)?.high);
        }
        let Phase::Marked(mark) = owned.phase else { return Ok(true) };
        let stable = self.journal.ends(number)?.stable;
        if stable >= mark {
            owned.phase = Phase::Stable;
            owned.hangs = None;
            return Ok(true);
        }
        let (now, longest) = (self.clock.now(), self.cluster.session_timeout + HANGS);
        if owned.since.is_some_and(|since| now > since + longest)
            && owned.hangs.as_ref().is_none_or(|(told, _)| now >= *told + TELL_EVERY)
        {
            // Nobody may guess what became of these records: it is waited for on and on, and told.
            let words = format!(
                "the journal of partition {number} is stable up to {stable} and ends at {mark}: a \
                 transaction hangs on it, since none of a member lives for {} s. Find it with \
                 kafka-transactions find-hanging, and abort it: its inputs are decided again. Kafka 4.3.0 to \
                 4.4.0 lose ends of transactions (KAFKA-20734)",
                longest.as_secs()
            );
            tracing::warn!("{words}");
            owned.hangs = Some((now, words));
        }
        Ok(false)
    }

    /// The partitions that wait for a transaction which should have ended long ago, and what to do about it.
    #[must_use]
    pub fn hanging(&self) -> Vec<(u32, String)> {
        let words = |(number, owned): (&u32, &Owned)| Some((*number, owned.hangs.clone()?.1));
        self.owned.iter().filter_map(words).collect()
    }

    /// Goes to the journal record of this number; whether there is anything to read.
    pub(super) fn read_from(&mut self, number: u32, seq: u64) -> Result<bool, LogError> {
        let found = self.journal.find_seq(number, seq)?;
        self.journal.leave(number)?;
        match found {
            Found::At(offset) => self.journal.go_to(number, offset)?,
            Found::NotYet => return Ok(false),
            Found::Removed { oldest, .. } => {
                return Err(LogError::Corrupt(format!(
                    "the journal of partition {number} begins with record {oldest}, and what is known of \
                     it ends before record {seq}: neither a checkpoint nor a snapshot reaches that far"
                )));
            }
        }
        Ok(true)
    }

    /// Where the inputs of a partition go on: after what the journal took, else where the group stood,
    /// else at the oldest.
    pub(super) fn next_offsets(
        &self,
        number: u32,
        after: &[Position],
    ) -> Result<PerTopic<u64>, LogError> {
        let mut next = [0; 3];
        let owned = self.owned.get(&number);
        let group = owned.map(|owned| owned.group).unwrap_or_default();
        // Later a commit of ours whose answer was lost may have moved both.
        let is_new = owned.is_some_and(|owned| !owned.has_flowed);
        for ((name, group), next) in self.inputs.names().into_iter().zip(group).zip(&mut next) {
            let partition = i32::try_from(number).unwrap_or(i32::MAX);
            let (low, high) =
                self.asker.fetch_watermarks(name, partition, CALL).map_err(unavailable)?;
            let (low, high) = (low.cast_unsigned(), high.cast_unsigned());
            let taken = after
                .iter()
                .find(|position| position.partition == number && *position.topic == *name);
            let journal = taken.map(|position| position.offset + 1);
            if let Some(journal) = journal
                && group != Some(journal)
                && is_new
            {
                let group = group.map_or_else(|| "nowhere".to_owned(), |at| format!("at {at}"));
                tracing::warn!(
                    "{name}/{number}: the group stands {group}, the journal goes on at {journal}: the \
                     journal has the word"
                );
            }
            *next = match journal.or(group) {
                None => low,
                Some(next) if (low..=high).contains(&next) => next,
                Some(next) => self.lost(name, number, next, low, high)?,
            };
        }
        Ok(next)
    }

    /// Inputs are gone before they were taken: a person decides, beforehand or now.
    fn lost(
        &self,
        name: &str,
        number: u32,
        next: u64,
        low: u64,
        high: u64,
    ) -> Result<u64, LogError> {
        let what = if next < low {
            format!("{name}/{number}: {} inputs from {next} on were removed untaken", low - next)
        } else {
            format!("{name}/{number} ends at {high} and {next} comes next: it was made anew")
        };
        match self.options.lost {
            Lost::Stop => Err(LogError::Corrupt(format!(
                "{what}; to go on with the oldest that is there, at {low}, start once with --set \
                 kafka.lost_inputs=skip"
            ))),
            Lost::Skip => {
                tracing::error!("{what}; it goes on at {low}, as kafka.lost_inputs says");
                Ok(low)
            }
        }
    }

    /// What an error of the consumer means; `None`: it passes by itself.
    pub(super) fn judge(&self, error: &KafkaError) -> Option<LogError> {
        use RDKafkaErrorCode as Code;
        if let KafkaError::MessageConsumptionFatal(code) = error {
            let instance = &self.cluster.instance;
            return Some(if *code == Code::FencedInstanceId {
                LogError::Fenced(format!(
                    "another process of this group has kafka.instance = \"{instance}\" too: give each \
                     its own"
                ))
            } else {
                LogError::Broken(error.to_string())
            });
        }
        let code = error.rdkafka_error_code()?;
        let is = |codes: &[Code]| codes.contains(&code);
        let said = self.consumer.context().said.last().unwrap_or_else(|| error.to_string());
        if is(&[Code::AutoOffsetReset, Code::OffsetOutOfRange]) {
            return Some(LogError::Corrupt(format!(
                "inputs were removed before they were taken: {said}; to go on with the oldest that is \
                 there, start once with --set kafka.lost_inputs=skip"
            )));
        }
        if is(&[Code::TopicAuthorizationFailed, Code::GroupAuthorizationFailed]) {
            let words = format!("{said}; `deferd topics check` says which ACL is missing");
            return Some(LogError::Broken(words));
        }
        if is(&[Code::UnknownTopicOrPartition, Code::UnknownTopic]) {
            let words = format!("{said}; `deferd topics create` makes what is missing");
            return Some(LogError::Broken(words));
        }
        tracing::debug!("kafka: {error}");
        // The group was told of us too seldom, and has taken our partitions.
        is(&[Code::PollExceeded]).then(|| LogError::Unavailable(error.to_string()))
    }
}
