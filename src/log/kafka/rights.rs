//! May we do all that we must? What can be tried without a trace is tried.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};
use rdkafka::{Offset, TopicPartitionList};

use super::client::{Cluster, KafkaFault};
use super::look::Seen;
use super::review::{Finding, Verdict};
use super::said::Said;
use super::topics::Topic;

/// How long one thing that is tried may take.
const PATIENCE: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(50);
/// So long a transaction coordinator may take to hear of a topic, or to be done with what was aborted.
const HEARD: Duration = Duration::from_millis(100);

/// What findings are about.
const RIGHTS: &str = "rights";

/// What we may, or may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    Read,
    Write,
    Group,
    Transactions,
}

impl Right {
    /// As Kafka's ACLs call it.
    const fn operation(self) -> &'static str {
        match self {
            Self::Read | Self::Group => "Read",
            Self::Write => "Write",
            Self::Transactions => "Write --operation Describe",
        }
    }

    /// What comes of it that a topic may not be used so.
    fn effect(self, topic: Topic) -> (Verdict, &'static str) {
        let is_input = Topic::INPUTS.contains(&topic);
        match self {
            Self::Write if is_input => {
                (Verdict::Warning, "what HTTP and `deferd submit` hand in cannot be taken")
            }
            Self::Write => (Verdict::Bad, "each step writes there, or fails"),
            Self::Read if is_input => (Verdict::Bad, "inputs stay unread"),
            Self::Read | Self::Group | Self::Transactions => {
                (Verdict::Bad, "no state can be restored")
            }
        }
    }
}

/// What came of a try.
enum Tried {
    Allowed,
    Refused(RDKafkaErrorCode),
    /// It cannot be told: something else went wrong.
    Unclear(String),
}

impl Cluster {
    /// Whether we may read, commit and write what we must. Nothing that anybody reads is written: a
    /// record that is held back asks for the right to write it, and its transaction is aborted.
    ///
    /// # Errors
    ///
    /// As [`look`](Self::look).
    pub fn rights(&self) -> Result<Vec<Finding>, KafkaFault> {
        let view = self.look()?;
        let is_there = |topic: &Topic| matches!(view.topic(&self.topic(*topic)), Seen::There(_));
        let consumer = self.reader()?;
        let mut tried = Vec::new();
        let mut readable = None;
        for topic in Topic::READ.into_iter().filter(is_there) {
            let read = self.try_reading(&consumer, topic);
            if matches!(read, Tried::Allowed) {
                readable = Some(topic);
            }
            tried.push((Right::Read, topic, read));
        }

        let mut producer = self.prober()?;
        if let Err(error) = producer.init_transactions(PATIENCE) {
            let refused = refusal(&error, producer.context());
            let mut found = self.of_topics(&tried);
            found.extend(self.of_others(Right::Transactions, &refused));
            return Ok(found);
        }
        // Offsets of a topic that we may read are committed to try the group, and taken back.
        let mut group = None;
        if let Some(committed) = readable {
            for topic in Topic::ALL.into_iter().filter(is_there) {
                let mut written = self.try_writing(&producer, &consumer, topic, committed);
                if !matches!(written, Tried::Allowed) {
                    // What was refused never began, and to a producer it is fatal that it cannot be
                    // aborted.
                    producer = self.prober()?;
                    let begun = producer.init_transactions(PATIENCE);
                    begun.map_err(|error| self.unreachable(producer.context(), &error))?;
                }
                if let Tried::Refused(RDKafkaErrorCode::GroupAuthorizationFailed) = written {
                    group = Some(std::mem::replace(&mut written, Tried::Allowed));
                }
                tried.push((Right::Write, topic, written));
            }
        }
        let mut found = self.of_topics(&tried);
        if let Some(refused) = group {
            found.extend(self.of_others(Right::Group, &refused));
        }
        let is_any_there = Topic::ALL.iter().any(is_there);
        if is_any_there && readable.is_none() {
            let why = "no topic can be read, so that a try would prove nothing";
            found.push(Finding::new(
                Verdict::Unknown,
                RIGHTS,
                "whether we may write and commit was not tried",
                why,
                "see to what is said above, and ask again",
            ));
        }
        if is_any_there && found.is_empty() {
            found.push(Finding::ok(RIGHTS, "we may read, commit and write all that we must"));
        }
        Ok(found)
    }

    /// What came of trying topics: one finding for all that lack the same right with the same effect.
    fn of_topics(&self, tried: &[(Right, Topic, Tried)]) -> Vec<Finding> {
        let mut refused: BTreeMap<(&str, &str, Verdict), Vec<String>> = BTreeMap::new();
        let mut found = Vec::new();
        for (right, topic, tried) in tried {
            let name = self.topic(*topic);
            let (verdict, why) = right.effect(*topic);
            match tried {
                Tried::Allowed => {}
                Tried::Refused(_) => {
                    refused.entry((right.operation(), why, verdict)).or_default().push(name);
                }
                Tried::Unclear(error) => {
                    let operation = right.operation();
                    let says = format!("whether we may {operation} it cannot be told: {error}");
                    let advice = format!(
                        "if not: {}",
                        self.grant_topics(operation, std::slice::from_ref(&name))
                    );
                    found.push(Finding::new(Verdict::Unknown, name, says, why, advice));
                }
            }
        }
        for ((operation, why, verdict), names) in refused {
            let says = format!("we may not {} {}", operation.to_lowercase(), names.join(", "));
            let advice = self.grant_topics(operation, &names);
            found.push(Finding::new(verdict, RIGHTS, says, why, advice));
        }
        found
    }

    /// What came of trying something that is no topic.
    fn of_others(&self, right: Right, tried: &Tried) -> Option<Finding> {
        let (what, grant, why) = if right == Right::Group {
            let grant = self.grant(right.operation(), &format!("--group {}", self.group));
            ("use the group", grant, "no process can join it, and no position is kept")
        } else {
            let id = format!("--transactional-id {} --resource-pattern-type prefixed", self.group);
            let grant = self.grant(right.operation(), &id);
            ("make transactions", grant, "nothing can be decided: each step is one")
        };
        match tried {
            Tried::Allowed => None,
            Tried::Refused(_) => {
                let says = format!("we may not {what}");
                Some(Finding::new(Verdict::Bad, RIGHTS, says, why, grant))
            }
            Tried::Unclear(error) => {
                let says = format!("whether we may {what} cannot be told: {error}");
                Some(Finding::new(Verdict::Unknown, RIGHTS, says, why, format!("if not: {grant}")))
            }
        }
    }

    /// Reads at the end of a topic.
    fn try_reading(&self, consumer: &BaseConsumer<Said>, topic: Topic) -> Tried {
        let name = self.topic(topic);
        let mut list = TopicPartitionList::new();
        // Asked for by us, its leader is known at once; by itself the client looks once a second.
        let known = consumer.fetch_metadata(Some(&name), PATIENCE).map(drop);
        let added = known.and_then(|()| list.add_partition_offset(&name, 0, Offset::End));
        if let Err(error) = added.and_then(|()| consumer.assign(&list)) {
            return Tried::Unclear(error.to_string());
        }
        let mut left = PATIENCE;
        while !left.is_zero() {
            match consumer.poll(TICK) {
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => return Tried::Allowed,
                Some(Err(error)) => {
                    // The group's coordinator is looked for by the way; that is no question of ours here.
                    let code = error.rdkafka_error_code();
                    if let Some(code @ RDKafkaErrorCode::TopicAuthorizationFailed) = code {
                        return Tried::Refused(code);
                    }
                }
                None => left = left.saturating_sub(TICK),
            }
        }
        let why = consumer.context().last();
        Tried::Unclear(why.unwrap_or_else(|| "no answer came".to_owned()))
    }

    /// Begins to write to a topic, and to commit an offset with it; takes both back.
    ///
    /// The coordinator asks for the right to write when it hears of the topic. The record itself waits
    /// for company in the producer, and is thrown away with the transaction. The offset is sent after
    /// that on the same connection, so that an answer to it says that there was one before.
    fn try_writing(
        &self,
        producer: &BaseProducer<Said>,
        consumer: &BaseConsumer<Said>,
        topic: Topic,
        committed: Topic,
    ) -> Tried {
        if let Err(error) = self.begin_to_write(producer, consumer, topic, committed) {
            return refusal(&error, producer.context());
        }
        // An abort waits until each record has been answered for.
        producer.purge(PurgeConfig::default().queue());
        producer.poll(Duration::ZERO);
        if let Err(error) = producer.abort_transaction(PATIENCE) {
            return Tried::Unclear(error.to_string());
        }
        producer.poll(HEARD);
        Tried::Allowed
    }

    fn begin_to_write(
        &self,
        producer: &BaseProducer<Said>,
        consumer: &BaseConsumer<Said>,
        topic: Topic,
        committed: Topic,
    ) -> Result<(), KafkaError> {
        producer.begin_transaction()?;
        let name = self.topic(topic);
        let record = BaseRecord::<(), ()>::to(&name).partition(0);
        producer.send(record).map_err(|(error, _)| error)?;
        producer.poll(HEARD);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic(committed), 0, Offset::Offset(0))?;
        let group = consumer.group_metadata().ok_or(KafkaError::NoMessageReceived)?;
        producer.send_offsets_to_transaction(&list, &group, PATIENCE)
    }
}

/// What an error says about our rights.
fn refusal(error: &KafkaError, said: &Said) -> Tried {
    use RDKafkaErrorCode as Code;
    let code = error.rdkafka_error_code();
    match code {
        Some(
            code @ (Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed),
        ) => Tried::Refused(code),
        Some(_) | None => {
            let last = said.last().map(|last| format!("; {last}")).unwrap_or_default();
            Tried::Unclear(format!("{error}{last}"))
        }
    }
}
