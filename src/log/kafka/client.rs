//! Where the brokers are, and the clients that talk to them.

use std::fmt;
use std::time::Duration;

use rdkafka::admin::AdminClient;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, ProducerContext};

use super::said::{Said, meaning, words};
use super::topics::Topic;

/// How a consumer fetches, where the operator does not say otherwise.
const CONSUMING: [(&str, &str); 2] = [("fetch.queue.backoff.ms", "5"), ("check.crcs", "true")];
/// How a reader fetches, where the operator does not say otherwise: much at once, and back at once from
/// the end of a partition, where a search or a restore wants to go elsewhere.
const READING: [(&str, &str); 4] = [
    ("fetch.wait.max.ms", "20"),
    ("fetch.message.max.bytes", "4194304"),
    ("queued.max.messages.kbytes", "16384"),
    ("queued.min.messages", "100000"),
];

/// What is wrong with a cluster, named for who can act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KafkaFault {
    /// A client cannot be made: a property is wrong.
    #[error("{0}")]
    Settings(String),
    /// No broker answers, or none lets us in.
    #[error("cannot reach Kafka at {brokers}: {why}")]
    Unreachable {
        /// Who was asked.
        brokers: String,
        /// What the last of them said.
        why: String,
    },
    /// The topics are not as they must be.
    #[error("{0}")]
    Topics(String),
    /// A broker answered, and refuses.
    #[error("cannot {what}: {why}")]
    Refused {
        /// What was tried.
        what: String,
        /// What it said.
        why: String,
    },
}

impl KafkaFault {
    pub(super) fn refused(what: impl Into<String>, error: &KafkaError) -> Self {
        Self::Refused { what: what.into(), why: error.to_string() }
    }
}

/// Where the brokers are, who we are there, and how a client is set up.
#[derive(Clone, PartialEq, Eq)]
pub struct Cluster {
    /// `host:port`, several with commas between them.
    pub brokers: String,
    /// The consumer group, and the first part of the transactional ids.
    pub group: String,
    /// What tells this process from the others of its group, across restarts.
    pub instance: String,
    /// Stands before the name of every topic.
    pub prefix: String,
    /// After this long without a word a member is taken for dead; a transaction lives no longer.
    pub session_timeout: Duration,
    /// Properties of librdkafka: security, and whatever else the operator set. They beat ours, those that
    /// exactly-once rests on aside.
    pub properties: Vec<(String, String)>,
}

/// Without what the properties hold: one of them may be a password.
impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.properties.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Cluster")
            .field("brokers", &self.brokers)
            .field("group", &self.group)
            .field("instance", &self.instance)
            .field("prefix", &self.prefix)
            .field("session_timeout", &self.session_timeout)
            .field("properties", &names)
            .finish()
    }
}

impl Cluster {
    /// The name of a topic in this cluster.
    #[must_use]
    pub fn topic(&self, topic: Topic) -> String {
        format!("{}{}", self.prefix, topic.name())
    }

    /// What tells this cluster, and our topics in it, from all others.
    ///
    /// # Errors
    ///
    /// [`KafkaFault::Unreachable`].
    pub fn identity(&self) -> Result<String, KafkaFault> {
        let client = self.reader()?;
        let id = client.client().fetch_cluster_id(Duration::from_secs(10));
        let id = id.ok_or_else(|| self.unreachable(client.context(), &KafkaError::Canceled))?;
        Ok(format!("{id}/{}", self.topic(Topic::Journal)))
    }

    /// What every client is set up with; `usual` is what the operator's properties may change.
    fn client(&self, usual: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("reconnect.backoff.max.ms", "1000")
            .set("retry.backoff.ms", "10")
            .set("socket.nagle.disable", "true");
        for (key, value) in usual {
            config.set(*key, *value);
        }
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        // Whoever asks librdkafka to talk wants to hear it.
        let is_debugged = config.get("debug").is_some_and(|facilities| !facilities.is_empty());
        let level = if is_debugged { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Warning };
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", format!("{}-{}", self.group, self.instance))
            .set_log_level(level);
        config
    }

    /// What every consumer is set up with; in no group by itself.
    fn consuming(&self, usual: &[(&str, &str)]) -> ClientConfig {
        let mut config = self.client(usual);
        config
            .set("group.id", &self.group)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error");
        config
    }

    /// A reader of partitions that are assigned by hand; it never joins the group, and says where a
    /// partition ends.
    ///
    /// # Errors
    ///
    /// [`KafkaFault::Settings`].
    pub(super) fn reader(&self) -> Result<BaseConsumer<Said>, KafkaFault> {
        let mut config = self.consuming(&[&CONSUMING[..], &READING[..]].concat());
        config.set("enable.partition.eof", "true");
        create(&config)
    }

    /// A reader that hears every complaint of its brokers.
    pub(super) fn looker(&self) -> Result<BaseConsumer<Said>, KafkaFault> {
        let mut config = self.consuming(&CONSUMING);
        // Who hangs up on us is told as information.
        config.set_log_level(RDKafkaLogLevel::Info);
        create(&config)
    }

    /// Sees how far partitions reach with what nobody has committed yet; it reads no records.
    ///
    /// # Errors
    ///
    /// [`KafkaFault::Settings`].
    pub(super) fn onlooker(&self) -> Result<BaseConsumer<Said>, KafkaFault> {
        let mut config = self.consuming(&CONSUMING);
        config.set("isolation.level", "read_uncommitted");
        create(&config)
    }

    /// A member of the group, assigned what the group gives it; `shard` tells those of one process apart.
    ///
    /// # Errors
    ///
    /// [`KafkaFault::Settings`].
    pub(super) fn member<C: ConsumerContext + 'static>(
        &self,
        shard: u32,
        context: C,
    ) -> Result<BaseConsumer<C>, KafkaFault> {
        let mut config = self.consuming(&CONSUMING);
        config
            .set("group.instance.id", format!("{}-{shard}", self.instance))
            // Any other may give one member partition 3 of one topic, and another that of the next.
            .set("partition.assignment.strategy", "range")
            .set("session.timeout.ms", self.session_timeout.as_millis().to_string())
            .set("heartbeat.interval.ms", (self.session_timeout.as_millis() / 5).to_string());
        config.create_with_context(context).map_err(|error| KafkaFault::settings(&error))
    }

    /// What every producer is set up with.
    fn producing(&self) -> ClientConfig {
        // Its default would refuse a record that the topics take.
        let mut config = self.client(&[("linger.ms", "2"), ("message.max.bytes", "1048576")]);
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            // A producer of librdkafka would have a missing topic made, as the broker likes it.
            .set("allow.auto.create.topics", "false")
            // Java's default: whoever else writes a topic of ours most likely does the same.
            .set("partitioner", "murmur2_random");
        config
    }

    /// A producer of inputs. It gives up what was not taken within `patience`, and holds at most so many
    /// messages and bytes.
    ///
    /// # Errors
    ///
    /// [`KafkaFault::Settings`].
    pub(super) fn producer<P: FromClientConfigAndContext<C>, C: ProducerContext>(
        &self,
        patience: Duration,
        [messages, bytes]: [usize; 2],
        context: C,
    ) -> Result<P, KafkaFault> {
        let mut config = self.producing();
        config
            .set("message.timeout.ms", patience.as_millis().max(1000).to_string())
            .set("queue.buffering.max.messages", messages.to_string())
            .set("queue.buffering.max.kbytes", (bytes >> 10).to_string());
        P::from_config_and_context(&config, context).map_err(|error| KafkaFault::settings(&error))
    }

    /// A producer whose transactions nobody else of this name can have open beside it.
    ///
    /// # Errors
    ///
    /// [`KafkaFault::Settings`].
    pub(super) fn transactional<P: FromClientConfigAndContext<C>, C: ProducerContext>(
        &self,
        shard: u32,
        context: C,
    ) -> Result<P, KafkaFault> {
        let mut config = self.producing();
        config
            .set("transactional.id", format!("{}-{}-{shard}", self.group, self.instance))
            // Never longer than the session: a successor must not wait for it.
            .set("transaction.timeout.ms", self.session_timeout.as_millis().to_string());
        P::from_config_and_context(&config, context).map_err(|error| KafkaFault::settings(&error))
    }

    /// Makes topics, and sees how they are set.
    pub(super) fn admin(&self) -> Result<AdminClient<Said>, KafkaFault> {
        self.client(&[])
            .create_with_context(Said::default())
            .map_err(|error| KafkaFault::settings(&error))
    }

    /// A producer that only finds out what we may write: what it is given it holds back, and its
    /// transactions are aborted.
    pub(super) fn prober(&self) -> Result<BaseProducer<Said>, KafkaFault> {
        let mut config = self.producing();
        config
            .set("transactional.id", format!("{}-{}-check", self.group, self.instance))
            .set("transaction.timeout.ms", "10000")
            .set("message.timeout.ms", "10000")
            .set("linger.ms", "9000");
        config.create_with_context(Said::default()).map_err(|error| KafkaFault::settings(&error))
    }

    /// Why a client that lives only for a question got no answer: what matters most of what it said.
    pub(super) fn unreachable(&self, said: &Said, error: &KafkaError) -> KafkaFault {
        let security = self.security();
        let worst = said.all().into_iter().max_by_key(|reason| meaning(reason, security).0);
        let why = match worst {
            Some(reason) => format!("{}; {}", words(&reason), meaning(&reason, security).1),
            None => error.to_string(),
        };
        KafkaFault::Unreachable { brokers: self.brokers.clone(), why }
    }

    /// `security.protocol`.
    pub(super) fn security(&self) -> &str {
        let set = self.properties.iter().find(|(name, _)| name == "security.protocol");
        set.map_or("plaintext", |(_, value)| value)
    }
}

/// Makes a consumer that keeps what its brokers say.
fn create(config: &ClientConfig) -> Result<BaseConsumer<Said>, KafkaFault> {
    config.create_with_context(Said::default()).map_err(|error| KafkaFault::settings(&error))
}
