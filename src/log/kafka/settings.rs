//! Which properties of librdkafka an operator may set, and what it says of those that are wrong.

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::BaseProducer;

use super::client::{Cluster, KafkaFault};
use super::said::Said;

/// Properties that have a key of their own, and the key.
const OURS: [(&str, &str); 14] = [
    ("bootstrap.servers", "kafka.brokers"),
    ("metadata.broker.list", "kafka.brokers"),
    ("group.id", "kafka.group"),
    ("group.instance.id", "kafka.instance"),
    ("session.timeout.ms", "kafka.session_timeout_seconds"),
    ("transaction.timeout.ms", "kafka.session_timeout_seconds"),
    ("security.protocol", "kafka.security"),
    ("ssl.ca.location", "kafka.ca_file"),
    ("ssl.certificate.location", "kafka.certificate_file"),
    ("ssl.key.location", "kafka.key_file"),
    ("ssl.key.password", "kafka.key_password_file"),
    ("sasl.mechanisms", "kafka.sasl_mechanism"),
    ("sasl.username", "kafka.sasl_user"),
    ("sasl.password", "kafka.sasl_password_file"),
];

/// Properties that are ours alone, and why.
const FIXED: [(&str, &str); 24] = [
    ("acks", DURABLE),
    ("request.required.acks", DURABLE),
    ("enable.idempotence", DURABLE),
    (
        "transactional.id",
        "it is made of kafka.group, kafka.instance and the shard, so that a restart fences itself",
    ),
    ("isolation.level", "what an aborted transaction wrote must not be read"),
    ("enable.auto.commit", OFFSETS),
    ("auto.commit.enable", OFFSETS),
    ("auto.commit.interval.ms", OFFSETS),
    ("enable.auto.offset.store", OFFSETS),
    ("offset.store.method", OFFSETS),
    ("auto.offset.reset", "a lost position is an operator's decision, never a silent jump"),
    ("enable.partition.eof", "where a partition ends is how a restore knows that it is whole"),
    ("partitioner", PARTITIONS),
    ("partitioner_cb", PARTITIONS),
    (
        "allow.auto.create.topics",
        "a topic made in passing has the wrong number of partitions; use `deferd topics create`",
    ),
    ("partition.assignment.strategy", GROUP),
    ("group.protocol", GROUP),
    ("group.protocol.type", GROUP),
    ("group.remote.assignor", GROUP),
    ("heartbeat.interval.ms", "it is a fifth of kafka.session_timeout_seconds"),
    ("client.id", "it is made of kafka.group and kafka.instance"),
    ("sasl.mechanism", "it has a key of its own, kafka.sasl_mechanism"),
    ("log_level", "it has a key of its own, logging.level"),
    ("log.queue", "what librdkafka says goes where ours goes"),
];

const DURABLE: &str = "a record counts as written when every replica in sync has it, once";
const OFFSETS: &str = "positions are committed with what was decided, in one transaction";
const PARTITIONS: &str = "whoever produces must put a user into the same partition";
const GROUP: &str = "partition 3 of every topic must go to one and the same member";

/// Why the operator may not give this property this value; `None`: he may.
///
/// What only shows when a client is made, such as two properties at odds, is for
/// [`Cluster::check_settings`].
#[must_use]
pub fn refused_property(name: &str, value: &str) -> Option<String> {
    if let Some((_, key)) = OURS.iter().find(|(ours, _)| *ours == name) {
        return Some(format!("it has a key of its own, {key}"));
    }
    if let Some((_, why)) = FIXED.iter().find(|(fixed, _)| *fixed == name) {
        return Some(format!("it is not to be set: {why}"));
    }
    if is_secret(name) {
        return Some(
            "secrets do not stand in a configuration: see kafka.sasl_password_file, kafka.key_file \
             and kafka.key_password_file"
                .to_owned(),
        );
    }
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) => None,
        Err(KafkaError::ClientConfig(_, why, ..)) => Some(format!("librdkafka says: {why}")),
        Err(error) => Some(error.to_string()),
    }
}

/// Whether a property holds what must not be shown.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    ["password", "secret", "key.pem"].iter().any(|secret| name.contains(secret))
}

impl Cluster {
    /// Makes a client of each kind once, and lets go of it: nobody is asked anything.
    ///
    /// # Errors
    ///
    /// [`KafkaFault::Settings`]: properties that do not go together, a certificate nobody can read, a
    /// key whose password is wrong.
    pub fn check_settings(&self) -> Result<(), KafkaFault> {
        drop(self.member(0, Said::default())?);
        drop(self.transactional::<BaseProducer<_>, _>(0, Said::default())?);
        Ok(())
    }
}

impl KafkaFault {
    /// Why a client cannot be made, by our keys where we have them.
    pub(super) fn settings(error: &KafkaError) -> Self {
        let mut why = if let KafkaError::ClientConfig(_, why, name, value) = error {
            let shown = if is_secret(name) { "…" } else { value };
            format!("{name} is `{shown}`: {why}")
        } else if let KafkaError::ClientCreation(why) = error {
            why.clone()
        } else {
            error.to_string()
        };
        for (property, key) in OURS {
            why = why.replace(&format!("`{property}`"), property).replace(property, key);
        }
        Self::Settings(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_through_is_known_and_well_typed() {
        assert_eq!(refused_property("socket.timeout.ms", "60000"), None);
        assert_eq!(refused_property("fetch.min.bytes", "1"), None);
        assert_eq!(refused_property("compression.type", "zstd"), None);
        assert_eq!(refused_property("sasl.oauthbearer.config", "principal=deferd"), None);

        let why = |name, value| refused_property(name, value).unwrap_or_default();
        let said = why("socket.timeout", "60000");
        assert_eq!(said, "librdkafka says: No such configuration property: \"socket.timeout\"");
        let said = why("socket.timeout.ms", "soon");
        assert!(said.contains("Invalid value for configuration property"), "{said}");
        let said = why("socket.timeout.ms", "1");
        assert!(said.contains("outside allowed range"), "{said}");
        let said = why("error_cb", "x");
        assert!(said.starts_with("librdkafka says: "), "{said}");
    }

    #[test]
    fn what_exactly_once_rests_on_is_ours() {
        for name in FIXED.iter().map(|(name, _)| name) {
            let why = refused_property(name, "x").unwrap_or_default();
            assert!(why.starts_with("it is not to be set: "), "{name}: {why}");
        }
        for (name, key) in OURS {
            let why = refused_property(name, "x").unwrap_or_default();
            assert!(why.ends_with(key), "{name}: {why}");
        }
    }

    #[test]
    fn a_secret_stands_in_a_file() {
        for name in ["ssl.keystore.password", "ssl.key.pem", "sasl.oauthbearer.client.secret"] {
            let why = refused_property(name, "x").unwrap_or_default();
            assert!(why.starts_with("secrets do not stand"), "{name}: {why}");
        }
    }
}
