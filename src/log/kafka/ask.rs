//! Questions to the brokers: asked again while one may be starting, and what their refusals mean.

use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::{Cluster, KafkaFault};
use super::said::Said;

/// How long one question may take.
pub(super) const ANSWER: Duration = Duration::from_secs(2);
/// Between two questions.
pub(super) const PAUSE: Duration = Duration::from_millis(50);
/// How often a question is asked: ten seconds in all.
const ASKED: usize = 5;

/// Asks until there is an answer, or too often; `away` says what is wrong then.
pub(super) fn patiently<T>(
    topic: &str,
    what: &str,
    question: impl Fn() -> Result<T, KafkaError>,
    away: impl FnOnce(&KafkaError) -> KafkaFault,
) -> Result<T, KafkaFault> {
    let mut asked = 0;
    loop {
        let error = match question() {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        asked += 1;
        if !error.rdkafka_error_code().is_some_and(may_pass) {
            return Err(refused(topic, what, &error));
        }
        if asked == ASKED {
            return Err(away(&error));
        }
        std::thread::sleep(PAUSE);
    }
}

/// How many partitions a topic has; `hear` lets the client say what went wrong.
pub(super) fn partitions<C: ClientContext + AsRef<Said>>(
    cluster: &Cluster,
    client: &Client<C>,
    topic: &str,
    what: &str,
    hear: impl FnOnce(),
) -> Result<u32, KafkaFault> {
    let question = || {
        let metadata = client.fetch_metadata(Some(topic), ANSWER)?;
        let Some(topic) = metadata.topics().first() else { return Ok(0) };
        match topic.error() {
            Some(code) => Err(KafkaError::MetadataFetch(code.into())),
            None => Ok(u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX)),
        }
    };
    patiently(topic, what, question, |error| {
        hear();
        cluster.unreachable(client.context().as_ref().as_ref(), error)
    })
}

/// What a broker refuses, by what it says.
pub(super) fn refused(topic: &str, what: &str, error: &KafkaError) -> KafkaFault {
    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
    let why = refusal(code, topic).unwrap_or_else(|| error.to_string());
    KafkaFault::Refused { what: what.to_owned(), why }
}

/// What a broker refuses of a topic, and what to do about it; `None`: nothing is known but its words.
fn refusal(code: RDKafkaErrorCode, topic: &str) -> Option<String> {
    use RDKafkaErrorCode as Code;
    if matches!(code, Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) {
        return Some(format!(
            "there is no topic {topic}: `deferd topics create` makes it; or is kafka.prefix another?"
        ));
    }
    if matches!(code, Code::AutoOffsetReset | Code::OffsetOutOfRange) {
        return Some(
            "what stood there was removed by its retention, or the topic was made anew: go on at its \
             oldest record"
                .to_owned(),
        );
    }
    matches!(code, Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed).then(|| {
        format!("we may not: let our principal Describe and Read the topic {topic} (kafka-acls)")
    })
}

/// Whether a broker that is away, starting or elected may be why.
pub(super) fn may_pass(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::Authentication
            | Code::SSL
            | Code::OperationTimedOut
            | Code::MessageTimedOut
            | Code::TimedOutQueue
            | Code::WaitingForCoordinator
            | Code::WaitCache
            | Code::Retry
            | Code::RequestTimedOut
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::NetworkException
            | Code::OffsetNotAvailable
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::KafkaStorageError
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
    )
}
