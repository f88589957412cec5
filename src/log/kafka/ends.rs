//! How far the inputs reach, and what stands before their ends that is no input.
//!
//! A transaction ends with a mark, which has an offset of its own and is handed to nobody, as is what was
//! aborted. So a topic that others write in transactions ends beyond the last record that anybody gets: no
//! position reaches that end, and only a look at what stands there tells that nothing is missing.
//!
//! Source: KIP-98; `rules.md` TM-7.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::consumer::Consumer as _;

use super::client::{Cluster, KafkaFault};
use super::inputs::PerTopic;
use super::member::{CALL, Member, Owned};
use super::reader::{Next, Reader};
use super::topics::Topic;
use crate::domain::time::Timestamp;
use crate::engine::ports::Clock;

/// So long what stands before an end may be on its way to us.
const ON_ITS_WAY: Duration = Duration::from_millis(20);
/// The longest wait for a look at what stands there.
const LOOK: Duration = Duration::from_millis(500);

/// Looks at stretches of the input topics, beside the group; made when first needed.
#[derive(Debug)]
pub(super) struct Ahead {
    cluster: Cluster,
    readers: PerTopic<Option<Reader>>,
}

impl Ahead {
    pub(super) fn of(cluster: &Cluster) -> Self {
        Self { cluster: cluster.clone(), readers: [None, None, None] }
    }

    /// Whether these partitions hold nothing in the stretch that is asked about, of which the end is stable;
    /// those of which no word came in time are not among them.
    fn is_empty(
        &mut self,
        topic: usize,
        asked: &BTreeMap<u32, Range<u64>>,
    ) -> Result<BTreeMap<u32, bool>, KafkaFault> {
        let mut found = BTreeMap::new();
        let Some(place) = self.readers.get_mut(topic) else { return Ok(found) };
        let reader = match (place, Topic::INPUTS.get(topic)) {
            (Some(reader), _) => reader,
            (place, Some(topic)) => place.insert(Reader::new(&self.cluster, *topic)?),
            (_, None) => return Ok(found),
        };
        for (partition, stretch) in asked {
            reader.go_to(*partition, stretch.start)?;
        }
        while found.len() < asked.len() {
            let (partition, met) = match reader.next(LOOK)? {
                Next::Record(message) => (message.partition(), Some(message.offset())),
                Next::End { partition } => (partition, None),
                Next::Nothing => break,
            };
            if let Some(stretch) = asked.get(&partition) {
                let is_empty = met.is_none_or(|offset| offset >= stretch.end);
                found.entry(partition).or_insert(is_empty);
            }
        }
        asked.keys().try_for_each(|partition| reader.leave(*partition))?;
        Ok(found)
    }
}

impl<C: Clock + Clone> Member<C> {
    /// Where a partition's ends are not reached and nothing comes: whether anything stands before them.
    pub(super) fn look_ahead(&mut self, partition: u32, now: Timestamp) {
        let waits = |owned: &Owned| {
            owned.ends.is_some_and(|(at, ends)| {
                owned.flows
                    && now >= at + ON_ITS_WAY
                    && owned.looked != Some(owned.polled)
                    && !owned.reaches(&ends)
            })
        };
        if !self.owned.get(&partition).is_some_and(waits) {
            return;
        }
        let mut asked: PerTopic<BTreeMap<u32, Range<u64>>> = PerTopic::default();
        // One look for all that wait.
        for (number, owned) in self.owned.iter_mut().filter(|(_, owned)| waits(owned)) {
            owned.looked = Some(owned.polled);
            let Some((_, ends)) = owned.ends else { continue };
            for ((asked, from), end) in asked.iter_mut().zip(owned.reached()).zip(ends) {
                if from < end {
                    asked.insert(*number, from..end);
                }
            }
        }
        for (topic, asked) in asked.into_iter().enumerate().filter(|(_, asked)| !asked.is_empty()) {
            let found = self.ahead.is_empty(topic, &asked).unwrap_or_else(|fault| {
                tracing::debug!("{fault}");
                BTreeMap::new()
            });
            for (number, stretch) in asked {
                let Some(owned) = self.owned.get_mut(&number) else { continue };
                match (found.get(&number), owned.empty.get_mut(topic)) {
                    (Some(true), Some(known)) if known.end == stretch.start => {
                        known.end = stretch.end;
                    }
                    (Some(true), Some(known)) => *known = stretch,
                    // What stands there comes by itself.
                    (Some(false), _) => {}
                    (_, None) | (None, _) => owned.looked = None,
                }
            }
        }
    }

    /// How many inputs wait now, by partition.
    #[must_use]
    pub fn lags(&self) -> BTreeMap<u32, u64> {
        let flowing = || self.owned.iter().filter(|(_, owned)| owned.flows);
        let asked = self.inputs.list(flowing().map(|(number, _)| (*number, [Offset::End; 3])));
        let found = asked.and_then(|list| self.asker.offsets_for_times(list, LOOK));
        let Ok(found) = found else { return BTreeMap::new() };
        let lag = |(number, owned): (&u32, &Owned)| {
            let ends = self.inputs.offsets(&found, *number).into_iter().zip(owned.reached());
            let waits = ends.map(|(end, next)| end.unwrap_or(next).saturating_sub(next));
            (*number, waits.sum())
        };
        flowing().map(lag).collect()
    }

    /// The ends of all input topics now, for the partitions that flow; they count for `at`.
    pub(super) fn look_up_ends(&mut self, at: Timestamp) {
        let flowing = self.owned.iter().filter(|(_, owned)| owned.flows);
        let asked = self.inputs.list(flowing.map(|(number, _)| (*number, [Offset::End; 3])));
        let found = asked.and_then(|list| self.asker.offsets_for_times(list, CALL));
        let found = match found {
            Ok(found) => found,
            Err(error) => return tracing::debug!("kafka: the ends of the inputs: {error}"),
        };
        for (number, owned) in &mut self.owned {
            let [Some(a), Some(b), Some(c)] = self.inputs.offsets(&found, *number) else {
                continue;
            };
            owned.ends = Some((at, [a, b, c]));
            owned.looked = None;
        }
    }
}
