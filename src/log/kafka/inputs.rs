//! The input topics: one user's records stand in the same partition of each.

use std::sync::Arc;

use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::client::Cluster;
use super::topics::Topic;
use crate::domain::time::Timestamp;
use crate::engine::ports::{Position, Received};
use crate::record::envelope::Envelope;

/// Something of each input topic, in the order of [`Topic::INPUTS`].
pub(super) type PerTopic<T> = [T; 3];

/// The names of the input topics.
#[derive(Clone, Debug)]
pub(super) struct Inputs {
    names: PerTopic<Arc<str>>,
}

impl Inputs {
    pub(super) fn of(cluster: &Cluster) -> Self {
        Self { names: Topic::INPUTS.map(|topic| cluster.topic(topic).into()) }
    }

    pub(super) fn names(&self) -> PerTopic<&str> {
        self.names.each_ref().map(|name| &**name)
    }

    /// A list of a partition in each topic, at these offsets.
    pub(super) fn list(
        &self,
        partitions: impl IntoIterator<Item = (u32, PerTopic<Offset>)>,
    ) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::new();
        for (partition, offsets) in partitions {
            let number = i32::try_from(partition).unwrap_or(i32::MAX);
            for (name, offset) in self.names.iter().zip(offsets) {
                list.add_partition_offset(name, number, offset)?;
            }
        }
        Ok(list)
    }

    /// The offsets of a partition in a list; `None` where there is none.
    pub(super) fn offsets(
        &self,
        list: &TopicPartitionList,
        partition: u32,
    ) -> PerTopic<Option<u64>> {
        let number = i32::try_from(partition).unwrap_or(i32::MAX);
        self.names.each_ref().map(|name| match list.find_partition(name, number)?.offset() {
            Offset::Offset(offset) => u64::try_from(offset).ok(),
            Offset::Beginning
            | Offset::End
            | Offset::Stored
            | Offset::Invalid
            | Offset::OffsetTail(_) => None,
        })
    }

    /// What a record says, and of which topic it is; in structured form whatever form it came in.
    pub(super) fn receive(
        &self,
        message: &BorrowedMessage<'_>,
        now: Timestamp,
    ) -> Option<(usize, Received)> {
        let name = message.topic();
        let topic = self.names.iter().position(|known| **known == *name)?;
        let position = Position {
            topic: Arc::clone(self.names.get(topic)?),
            partition: u32::try_from(message.partition()).ok()?,
            offset: u64::try_from(message.offset()).ok()?,
        };
        let logged = message.timestamp().to_millis().map_or(now, Timestamp::from_millis);
        Some((topic, Received { position, logged, bytes: structured(message) }))
    }
}

/// A record in structured form. One in binary mode that cannot be put so stays as it is: the engine says
/// what is wrong with it.
fn structured(message: &BorrowedMessage<'_>) -> Arc<[u8]> {
    let body = message.payload().unwrap_or_default();
    let Some(headers) = message.headers() else { return body.into() };
    if !headers.iter().any(|header| header.key.eq_ignore_ascii_case("ce_specversion")) {
        return body.into();
    }
    let attributes = headers.iter().map(|header| (header.key, header.value.unwrap_or_default()));
    Envelope::from_binary(attributes, body).map_or_else(|_| body.into(), Into::into)
}
