//! Joining the group, and joining it anew where librdkafka takes our own absence for somebody else.
//!
//! After a session without a word from the coordinator librdkafka forgets who it was in the group, and asks us
//! to let go of its partitions. Until we have, it goes on with its heartbeats, and a coordinator that is back
//! holds a static member without a name for another process: an error that it never recovers from
//! (confluentinc/librdkafka issue 3437).

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::{Cluster, KafkaFault};
use super::group::{Change, Group};
use super::inputs::Inputs;
use super::member::Member;
use crate::engine::ports::{Clock, LogError};

/// A consumer that asks the group for partitions of the inputs.
pub(super) fn subscribed(
    cluster: &Cluster,
    shard: u32,
    inputs: &Inputs,
) -> Result<BaseConsumer<Group>, KafkaFault> {
    let consumer = cluster.member(shard, Group::default())?;
    consumer
        .subscribe(&inputs.names())
        .map_err(|error| KafkaFault::refused("join the group", &error))?;
    Ok(consumer)
}

impl<C: Clock + Clone> Member<C> {
    /// Whether this ends the consumer, and nobody else has our name: our session had ended before.
    pub(super) fn is_forgotten(&self, error: &KafkaError) -> bool {
        matches!(error, KafkaError::MessageConsumptionFatal(RDKafkaErrorCode::FencedInstanceId))
            && self.consumer.context().is_absent()
    }

    /// Lets go of everything, and joins the group with a new consumer.
    pub(super) fn join_anew(&mut self) -> LogError {
        tracing::warn!("the group has not heard of us for a session: we join it anew");
        self.drop_open();
        self.stop_reading();
        let partitions = std::mem::take(&mut self.owned).into_keys().collect();
        self.changes.push_back(Change::Revoked { partitions, lost: true });
        match subscribed(&self.cluster, self.options.shard, &self.inputs) {
            Ok(consumer) => {
                self.consumer = consumer;
                LogError::Unavailable("we join the group anew".to_owned())
            }
            Err(fault) => fault.into(),
        }
    }
}
