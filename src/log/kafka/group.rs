//! What the group gives a member, and takes from it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::said::Said;

/// What became of a member's partitions. Each change stands for itself: `range` takes all before it gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// These are ours, once their journals have been followed.
    Assigned(BTreeSet<u32>),
    /// These are no longer. `lost`: nobody waited for us, and another owner may be at work.
    Revoked {
        /// Which.
        partitions: BTreeSet<u32>,
        /// Whether they were taken without asking.
        lost: bool,
    },
}

/// Follows the group from inside the consumer's poll.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) said: Said,
    changes: Mutex<Vec<Change>>,
    /// The group's coordinator was out of reach for longer than a session lasts, and we have not been given
    /// anything since.
    is_absent: AtomicBool,
}

impl Group {
    /// What has changed since the last call, oldest first.
    pub(super) fn take_changes(&self) -> Vec<Change> {
        std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether our session has ended before anybody threw us out.
    pub(super) fn is_absent(&self) -> bool {
        self.is_absent.load(Ordering::SeqCst)
    }

    fn note(&self, change: Change) {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).push(change);
    }
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == "SESSTMOUT" {
            self.is_absent.store(true, Ordering::SeqCst);
        }
        self.said.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.said.error(error, reason);
    }
}

impl ConsumerContext for Group {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let partitions: BTreeSet<u32> = list
            .elements()
            .iter()
            .filter_map(|element| u32::try_from(element.partition()).ok())
            .collect();
        let done = if error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            // Where each goes on is known once its journal was followed: until then nothing is fetched.
            let done = list
                .set_all_offsets(Offset::Offset(0))
                .and_then(|()| consumer.assign(list))
                .and_then(|()| consumer.pause(list));
            self.is_absent.store(false, Ordering::SeqCst);
            self.note(Change::Assigned(partitions));
            done
        } else {
            let lost = consumer.assignment_lost();
            self.note(Change::Revoked { partitions, lost });
            consumer.unassign()
        };
        if let Err(error) = done {
            tracing::error!("kafka: the group's change cannot be followed: {error}");
        }
    }
}
