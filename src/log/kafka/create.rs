//! Makes the topics that are missing, set so that nothing is lost.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::{Cluster, KafkaFault};
use super::look::Seen;
use super::topics::Topic;

/// Partitions where nobody says otherwise: enough for eight threads.
const PARTITIONS: u32 = 8;
/// Copies where there are brokers enough.
const COPIES: u32 = 3;
/// How long the cluster may take to make topics.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is asked whether all brokers know them.
const ASKED: u32 = 50;

/// What is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many partitions each topic has or gets.
    pub partitions: u32,
    /// How many copies a new topic gets.
    pub copies: u32,
    /// Each topic.
    pub topics: Vec<Planned>,
}

/// A topic of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its whole name.
    pub name: String,
    /// Whether it is there already: it is left as it is.
    pub is_there: bool,
    /// How it is set when it is made.
    pub settings: Vec<(&'static str, String)>,
}

/// What became of a plan's topic that was missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It was made.
    Now,
    /// Somebody else made it just before.
    ByAnother,
    /// The cluster would make it.
    Would,
}

impl Cluster {
    /// What there is to make; `partitions` and `copies` where the operator says so.
    ///
    /// # Errors
    ///
    /// As [`look`](Self::look). [`KafkaFault::Topics`]: what is there does not go with what is wanted.
    pub fn plan(&self, partitions: Option<u32>, copies: Option<u32>) -> Result<Plan, KafkaFault> {
        let view = self.look()?;
        let has = self.partitions(&view).map_err(KafkaFault::Topics)?;
        let wanted = match (has, partitions) {
            (0, wanted) => wanted.unwrap_or(PARTITIONS),
            (has, Some(wanted)) if has != wanted => {
                return Err(KafkaFault::Topics(format!(
                    "the topics that are there have {has} partitions and not {wanted}: type \
                     --partitions {has}, or choose another kafka.prefix for new ones"
                )));
            }
            (has, _) => has,
        };
        let brokers = u32::try_from(view.brokers).unwrap_or(u32::MAX);
        let copies = copies.unwrap_or_else(|| COPIES.min(brokers).max(1));
        if copies > brokers {
            return Err(KafkaFault::Topics(format!(
                "{copies} copies need as many brokers, and there are {brokers}: type --replication \
                 {brokers}"
            )));
        }
        let planned = |topic: &Topic| {
            let name = self.topic(*topic);
            // One that we may not see may be there; the cluster says so when it is to make it.
            let is_there = matches!(view.topic(&name), Seen::There(_));
            Planned { name, is_there, settings: topic.settings(copies) }
        };
        Ok(Plan { partitions: wanted, copies, topics: Topic::ALL.iter().map(planned).collect() })
    }

    /// Makes what is missing, and waits until the cluster knows it; or only asks whether it would.
    ///
    /// # Errors
    ///
    /// As [`look`](Self::look); [`KafkaFault::Refused`] names the first topic that was not made, and the
    /// others may be.
    pub fn create(&self, plan: &Plan, is_dry: bool) -> Result<Vec<(String, Made)>, KafkaFault> {
        let missing: Vec<&Planned> = plan.topics.iter().filter(|topic| !topic.is_there).collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let count = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
        let (partitions, copies) = (count(plan.partitions), count(plan.copies));
        let new: Vec<NewTopic<'_>> = missing
            .iter()
            .map(|planned| {
                let replication = TopicReplication::Fixed(copies);
                let new = NewTopic::new(&planned.name, partitions, replication);
                planned.settings.iter().fold(new, |new, (key, value)| new.set(key, value))
            })
            .collect();
        let options = AdminOptions::new()
            .request_timeout(Some(PATIENCE))
            .operation_timeout(Some(PATIENCE))
            .validate_only(is_dry);
        let admin = self.admin()?;
        let answer = wait(admin.create_topics(&new, &options))
            .map_err(|error| self.unreachable(admin.inner().context(), &error))?;
        let mut made = Vec::new();
        for result in answer {
            match result {
                Ok(name) => made.push((name, if is_dry { Made::Would } else { Made::Now })),
                Err((name, RDKafkaErrorCode::TopicAlreadyExists)) => {
                    made.push((name, Made::ByAnother));
                }
                Err((name, code)) => return Err(self.not_made(&name, code)),
            }
        }
        if !is_dry {
            self.settle()?;
        }
        Ok(made)
    }

    /// Waits until what was made is known and led everywhere we ask.
    fn settle(&self) -> Result<(), KafkaFault> {
        for _ in 0..ASKED {
            let view = self.look()?;
            let is_led = |topic: &Topic| match view.topic(&self.topic(*topic)) {
                Seen::There(all) => !all.is_empty() && all.iter().all(|one| one.has_leader),
                Seen::Forbidden => true,
                Seen::Missing => false,
            };
            if Topic::ALL.iter().all(is_led) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let what = "see the topics that were made".to_owned();
        let why = "some have no leader yet: ask `deferd topics check` in a while".to_owned();
        Err(KafkaFault::Refused { what, why })
    }

    fn not_made(&self, name: &str, code: RDKafkaErrorCode) -> KafkaFault {
        use RDKafkaErrorCode as Code;
        let is_forbidden =
            matches!(code, Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed);
        let why = if is_forbidden {
            let grant = self.grant("Create", &format!("--topic {name}"));
            format!("we may not; whoever looks after the cluster types\n  {grant}")
        } else {
            KafkaError::AdminOp(code).to_string()
        };
        KafkaFault::Refused { what: format!("make {name}"), why }
    }
}

/// Waits for what an admin client answers: it has threads of its own.
pub(super) fn wait<T>(answer: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut answer = std::pin::pin!(answer);
    loop {
        match answer.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::park(),
        }
    }
}
