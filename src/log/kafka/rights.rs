//! May we do all that we must? What can be tried without a trace is tried.

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
        let mut found = Vec::new();
        let consumer = self.reader()?;
        let mut readable = None;
        for topic in Topic::READ.into_iter().filter(is_there) {
            let tried = self.try_reading(&consumer, topic);
            if matches!(tried, Tried::Allowed) {
                readable = Some(topic);
            }
            let name = self.topic(topic);
            let grant = self.grant("Read", &format!("--topic {name}"));
            let why = if topic == Topic::Journal || topic == Topic::Snapshots {
                "no state can be restored"
            } else {
                "its inputs are never read"
            };
            found.extend(finding(Verdict::Bad, &name, "read", tried, why, grant));
        }

        let mut producer = self.prober()?;
        if let Err(error) = producer.init_transactions(PATIENCE) {
            let id = format!("--transactional-id {} --resource-pattern-type prefixed", self.group);
            let grant = self.grant("Write --operation Describe", &id);
            let why = "nothing can be decided: each step is a transaction";
            let tried = refusal(&error, producer.context());
            let about = "transactions";
            found.extend(finding(Verdict::Bad, about, "make transactions", tried, why, grant));
            return Ok(found);
        }
        if !Topic::ALL.iter().any(is_there) {
            return Ok(found);
        }
        // Offsets of a topic that the group does not read, and we may: nobody waits for them.
        let Some(committed) = readable else {
            let why = "no topic can be read, so that a try would prove nothing";
            found.push(Finding::new(
                Verdict::Unknown,
                "rights",
                "whether we may write was not tried",
                why,
                "see to what is said above, and ask again",
            ));
            return Ok(found);
        };
        let mut group = None;
        for topic in Topic::ALL.into_iter().filter(is_there) {
            let name = self.topic(topic);
            let tried = self.try_writing(&producer, &consumer, topic, committed);
            if !matches!(tried, Tried::Allowed) {
                // What was refused never began, and to a producer it is fatal that it cannot be aborted.
                producer = self.prober()?;
                if let Err(error) = producer.init_transactions(PATIENCE) {
                    let fault = self.unreachable(producer.context(), &error);
                    return Err(fault);
                }
            }
            if let Tried::Refused(RDKafkaErrorCode::GroupAuthorizationFailed) = tried {
                group = Some(tried);
                continue;
            }
            let grant = self.grant("Write", &format!("--topic {name}"));
            let (verdict, why) = if Topic::INPUTS.contains(&topic) {
                (Verdict::Warning, "what HTTP and `deferd submit` hand in cannot be taken")
            } else {
                (Verdict::Bad, "each step writes it, or fails")
            };
            found.extend(finding(verdict, &name, "write", tried, why, grant));
        }
        if let Some(tried) = group {
            let grant = self.grant("Read", &format!("--group {}", self.group));
            let why = "no process can join it, and no position is kept";
            found.extend(finding(Verdict::Bad, "group", "use the group", tried, why, grant));
        }
        if found.is_empty() {
            let says = "we may read, commit and write all that we must";
            found.push(Finding::ok("rights", says));
        }
        Ok(found)
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

/// What there is to say of a try; `None`: all is well.
fn finding(
    verdict: Verdict,
    about: &str,
    what: &str,
    tried: Tried,
    why: &str,
    grant: String,
) -> Option<Finding> {
    match tried {
        Tried::Allowed => None,
        Tried::Refused(_) => {
            Some(Finding::new(verdict, about, format!("we may not {what}"), why, grant))
        }
        Tried::Unclear(error) => {
            let says = format!("whether we may {what} cannot be told: {error}");
            Some(Finding::new(Verdict::Unknown, about, says, why, format!("if not: {grant}")))
        }
    }
}
