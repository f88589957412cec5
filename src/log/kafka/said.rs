//! What librdkafka says in passing, and what it means: it tries for ever, and only tells why it has not
//! got through yet.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};

/// So many different complaints are kept: a few for each of a handful of brokers.
const KEPT: usize = 32;

/// Keeps what went wrong last, in the client's own words, and passes it on to the log.
#[derive(Clone, Debug, Default)]
pub struct Said(Arc<Mutex<Vec<String>>>);

impl Said {
    /// What was said last; `None`: nothing.
    #[must_use]
    pub fn last(&self) -> Option<String> {
        self.all().pop()
    }

    /// All that was said, the same complaint once, where it was said last.
    pub(super) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, reason: &str) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let words = words(reason);
        kept.retain(|other| self::words(other) != words);
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push(reason.to_owned());
    }
}

impl AsRef<Self> for Said {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl ClientContext for Said {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // That a broker hangs up at once is no error to librdkafka.
        if facility == "FAIL" {
            self.keep(message);
        }
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // That a partition ends where it ends comes this way too, and that all brokers are down says less
        // than why each of them is.
        let code = error.rdkafka_error_code();
        if matches!(code, Some(RDKafkaErrorCode::PartitionEOF | RDKafkaErrorCode::AllBrokersDown)) {
            return;
        }
        tracing::debug!("kafka: {error}: {reason}");
        self.keep(reason);
    }
}

impl ConsumerContext for Said {}

impl ProducerContext for Said {
    type DeliveryOpaque = ();

    /// A record of a transaction that was not delivered fails the commit: that is where it is told.
    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// What librdkafka says goes where ours goes.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        // Every client gets all properties, so a producer is told of those that only consumers have.
        _ if facility == "CONFWARN" && message.contains("will be ignored by") => {
            tracing::debug!("kafka {facility}: {message}");
        }
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => tracing::error!("kafka {facility}: {message}"),
        RDKafkaLogLevel::Warning => tracing::warn!("kafka {facility}: {message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!("kafka {facility}: {message}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!("kafka {facility}: {message}"),
    }
}

/// Why a connection is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hindrance {
    /// Nobody is there, or not yet.
    Away,
    /// One who speaks otherwise than we do; or who is just ending.
    Otherwise,
    /// We are turned away: nothing changes by asking again.
    TurnedAway,
}

/// What a complaint means, and what to do about it.
///
/// `security` is librdkafka's `security.protocol`: with it the same silence means one thing or another.
pub(super) fn meaning(reason: &str, security: &str) -> (Hindrance, &'static str) {
    use Hindrance::{Away, Otherwise, TurnedAway};
    let has = |what: &str| reason.contains(what);
    let (has_tls, has_user) = (security.ends_with("ssl"), security.starts_with("sasl"));
    if has("Invalid response size") {
        let advice = "is that a port for TLS, or no Kafka broker at all? See kafka.brokers and \
                      kafka.security";
        (TurnedAway, advice)
    } else if has("mechanism handshake failed") && has("current SASL state") {
        (TurnedAway, "that port knows no users: see kafka.brokers and kafka.security")
    } else if has("mechanism handshake failed") || has("Unsupported SASL mechanism") {
        (TurnedAway, "see kafka.sasl_mechanism")
    } else if has("SASL") || has("OAUTHBEARER") {
        (TurnedAway, "see kafka.sasl_user, kafka.sasl_password_file and kafka.sasl_mechanism")
    } else if has("verify failed") {
        (TurnedAway, "see kafka.ca_file")
    } else if has("connecting to a PLAINTEXT") || has("wrong version number") {
        (TurnedAway, "that port has no TLS: see kafka.brokers and kafka.security")
    } else if has("SSL handshake failed") {
        (TurnedAway, "see kafka.ca_file and kafka.certificate_file")
    } else if has("connecting to a SSL listener") || (has("APIVERSION_QUERY") && !has_tls) {
        (Otherwise, "is that a port for TLS? See kafka.brokers and kafka.security")
    } else if has("require SASL") || (has("Disconnected") && has("state UP") && !has_user) {
        (Otherwise, "does that port want a user? See kafka.brokers and kafka.security")
    } else if has("resolve") {
        (Away, "is that name right? See kafka.brokers")
    } else {
        (Away, "does a broker run there, and is the way open? See kafka.brokers")
    }
}

/// A complaint without what changes each time, and without where it was said: which thread, which
/// connection, after how long in which state.
pub(super) fn words(reason: &str) -> &str {
    let reason = reason.split_once("]: ").map_or(reason, |(_, after)| after);
    let reason = match reason.split_once(": ") {
        Some((from, after)) if from.contains('/') && !from.contains(' ') => after,
        Some(_) | None => reason,
    };
    // What follows these is its own advice, by its own properties.
    let reason =
        [" (after ", ": broker certificate", ": connecting to", ": increase", ": receive 0"]
            .iter()
            .fold(reason, |reason, tail| {
                reason.split_once(tail).map_or(reason, |(before, _)| before)
            });
    reason.trim_end_matches([':', ' '])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As librdkafka 2.12 says it.
    const COMPLAINTS: [(&str, &str, Hindrance, &str); 9] = [
        (
            "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
            "plaintext",
            Hindrance::Away,
            "Connect to ipv4#127.0.0.1:1 failed: Connection refused",
        ),
        (
            "k1:9092/bootstrap: Failed to resolve 'k1:9092': Name or service not known (after 1ms in state CONNECT)",
            "plaintext",
            Hindrance::Away,
            "Failed to resolve 'k1:9092': Name or service not known",
        ),
        (
            "[thrd:127.0.0.1:9/bootstrap]: 127.0.0.1:9/bootstrap: Disconnected: connection closed by peer: receive 0 after POLLIN (after 2ms in state APIVERSION_QUERY, 1 identical error(s) suppressed)",
            "plaintext",
            Hindrance::Otherwise,
            "Disconnected: connection closed by peer",
        ),
        (
            "127.0.0.1:9/bootstrap: Disconnected: connection closed by peer: receive 0 after POLLIN (after 0ms in state UP)",
            "ssl",
            Hindrance::Otherwise,
            "Disconnected: connection closed by peer",
        ),
        (
            "127.0.0.1:9/1: Disconnected: connection closed by peer (after 0ms in state UP)",
            "sasl_ssl",
            Hindrance::Away,
            "Disconnected: connection closed by peer",
        ),
        (
            "ssl://127.0.0.1:9/bootstrap: SSL handshake failed: Disconnected: SSL connection closed by peer: connecting to a PLAINTEXT broker listener? (after 65ms in state SSL_HANDSHAKE)",
            "ssl",
            Hindrance::TurnedAway,
            "SSL handshake failed: Disconnected: SSL connection closed by peer",
        ),
        (
            "ssl://127.0.0.1:9/bootstrap: error:0A000086:SSL routines::certificate verify failed (after 10ms in state SSL_HANDSHAKE)",
            "ssl",
            Hindrance::TurnedAway,
            "error:0A000086:SSL routines::certificate verify failed",
        ),
        (
            "sasl_ssl://127.0.0.1:9/bootstrap: SASL authentication error: Authentication failed: Invalid username or password (after 310ms in state AUTH_REQ)",
            "sasl_ssl",
            Hindrance::TurnedAway,
            "SASL authentication error: Authentication failed: Invalid username or password",
        ),
        (
            "sasl_plaintext://127.0.0.1:9/bootstrap: SASL SCRAM-SHA-512 mechanism handshake failed: Broker: Request not valid in current SASL state: broker's supported mechanisms:  (after 1ms in state AUTH_HANDSHAKE)",
            "sasl_plaintext",
            Hindrance::TurnedAway,
            "SASL SCRAM-SHA-512 mechanism handshake failed: Broker: Request not valid in current SASL state: broker's supported mechanisms",
        ),
    ];

    #[test]
    fn a_complaint_is_understood() {
        for (reason, security, hindrance, told) in COMPLAINTS {
            assert_eq!(meaning(reason, security).0, hindrance, "{reason}");
            assert_eq!(words(reason), told);
        }
    }

    #[test]
    fn the_same_complaint_is_kept_once() {
        let said = Said::default();
        for (reason, ..) in COMPLAINTS {
            said.keep(reason);
        }
        said.keep("127.0.0.1:1/2: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 9ms in state CONNECT)");
        let kept = said.all();
        assert_eq!(kept.iter().filter(|reason| reason.contains("refused")).count(), 1, "{kept:?}");
        assert!(said.last().is_some_and(|last| last.contains("after 9ms")), "{kept:?}");
    }
}
