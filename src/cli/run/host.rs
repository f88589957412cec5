//! What the HTTP server asks of the process around it: readiness, metrics, kill switches.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::seen::Seen;
use super::shards::Shards;
use super::sinks::Sinks;
use super::switches::{Switches, key};
use crate::cli::clock::{SteadyClock, Stopwatch};
use crate::cli::measures::{self, Registry};
use crate::domain::event::Access;
use crate::domain::standing::Standing;
use crate::edge::http::{Change, Check, Host, Switch};
use crate::engine::ports::Clock;
use crate::engine::worker::Hand;
use crate::log::embedded::Inboxes;

/// How long a moved switch may take until every journal holds it.
const JOURNALLED: Duration = Duration::from_secs(10);
/// Below this much free disk it is not ready.
const DISK: u64 = 16 << 20;

/// The daemon, as its HTTP server sees it.
pub(super) struct Daemon {
    pub(super) shards: Arc<Shards>,
    /// What waits for each partition of a data directory; none with Kafka.
    pub(super) inboxes: Option<Arc<Inboxes<SteadyClock>>>,
    pub(super) switches: Arc<Switches>,
    pub(super) sinks: Sinks,
    pub(super) registry: Registry,
    pub(super) clock: SteadyClock,
    pub(super) data_dir: PathBuf,
    pub(super) queue_limit: u32,
    pub(super) stopping: Arc<std::sync::atomic::AtomicBool>,
}

impl Daemon {
    fn is_stopping(&self) -> bool {
        self.stopping.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Whether every shard decides by this policy, and its journal says so.
    fn is_journalled(&self, digest: &str) -> bool {
        self.shards.seen().iter().all(|(partition, _)| {
            let Some(asks) = self.shards.asks.get(*partition as usize) else { return true };
            let (tell, told) = channel();
            asks.ask(Box::new(move |desk| {
                tell.send(desk.state().policy.digest()).unwrap_or_default();
            }));
            told.recv_timeout(JOURNALLED).is_ok_and(|found| found == digest)
        })
    }
}

impl Host for Daemon {
    fn dead(&self) -> Option<String> {
        self.shards.dead()
    }

    fn trouble(&self) -> Option<String> {
        self.shards.health.iter().find_map(|health| health.trouble())
    }

    fn checks(&self) -> Vec<Check> {
        let check = |name: &str, fault: Option<String>| Check { name: name.to_owned(), fault };
        let behind = self.shards.behind(self.clock.now());
        let disk = measures::disk_free_bytes(&self.data_dir).filter(|free| *free < DISK);
        vec![
            check("restored", self.shards.pending.first()),
            check("journal", self.trouble()),
            check("disk", disk.map(|free| format!("{free} bytes are free in the data directory"))),
            check(
                "clock",
                if self.clock.is_held() {
                    Some(
                        "it leapt ahead: nothing rings or expires until it has stood for 300 s"
                            .into(),
                    )
                } else {
                    behind.map(|by| {
                        format!(
                            "it is {} s behind the journal: nothing rings until then",
                            by.as_secs()
                        )
                    })
                },
            ),
            check("running", self.is_stopping().then(|| "it is stopping".to_owned())),
        ]
    }

    fn metrics(&self) -> String {
        use measures as m;
        let registry = &self.registry;
        let set = |measure, labels: &[&str], value: f64| registry.gauge(measure, labels).set(value);
        let count = |value: usize| value as f64;
        let seen: Vec<(u32, Seen)> = self.shards.seen();
        let now = self.clock.now();
        set(&m::READY, &[], f64::from(u8::from(self.checks().iter().all(|c| c.fault.is_none()))));
        set(&m::USERS, &[], count(seen.iter().map(|(_, seen)| seen.users).sum()));
        set(&m::TIMERS, &[], count(seen.iter().map(|(_, seen)| seen.timers).sum()));
        for (place, standing) in Standing::ALL.iter().enumerate() {
            let waiting =
                |(_, seen): &(u32, Seen)| seen.counted.standing.get(place).copied().unwrap_or(0);
            set(&m::WAITING, &[standing.name()], seen.iter().map(waiting).sum::<u64>() as f64);
        }
        let oldest = seen.iter().filter_map(|(_, seen)| seen.counted.oldest).min();
        set(&m::OLDEST, &[], oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64()));
        for (number, seen) in &seen {
            let partition = number.to_string();
            let labels = [partition.as_str()];
            match &self.inboxes {
                Some(inboxes) => {
                    let inbox = inboxes.all.get(*number as usize);
                    set(&m::QUEUE, &labels, count(inbox.map_or(0, |inbox| inbox.len())));
                }
                None => set(&m::LAG, &labels, seen.lag as f64),
            }
            set(&m::JOURNAL_SEQ, &labels, seen.seq as f64);
            set(&m::JOURNAL_BYTES, &labels, seen.bytes as f64);
            let (at, took) = seen.kept.checkpoint.unwrap_or_default();
            set(&m::CHECKPOINT_AT, &labels, measures::seconds(at));
            set(&m::CHECKPOINT, &labels, took.as_secs_f64());
        }
        set(&m::QUEUE_LIMIT, &[], f64::from(self.queue_limit));
        if let Some(free) = measures::disk_free_bytes(&self.data_dir) {
            set(&m::DISK_FREE, &[], free as f64);
        }
        if let Some(memory) = measures::memory_bytes() {
            set(&m::MEMORY, &[], memory as f64);
        }
        for digest in self.shards.policies() {
            let in_force = seen.iter().any(|(_, seen)| seen.policy == digest);
            set(&m::POLICY, &[&digest], f64::from(u8::from(in_force)));
        }
        for access in [Access::Cpm, Access::Sms] {
            let moved = self.switches.get(access).moved.is_some();
            set(&m::SWITCH, &[key(access)], f64::from(u8::from(moved)));
        }
        self.sinks.measure(registry, now);
        set(&m::CLOCK_HELD, &[], f64::from(u8::from(self.clock.is_held())));
        registry.render()
    }

    fn answered(&self, route: &str, status: u16) {
        self.registry.counter(&measures::HTTP, &[route, &status.to_string()]).increment(1);
    }

    fn switch(&self, access: Access) -> Option<Switch> {
        Some(self.switches.get(access))
    }

    fn set_switch(&self, access: Access, change: &Change) -> Result<Switch, String> {
        let policy = self
            .switches
            .set(access, change, self.clock.now())
            .map_err(|error| format!("{error:#}"))?;
        let (operator, reason) = (change.operator.clone(), change.reason.clone());
        tracing::warn!(
            switch = key(access),
            value = ?change.value,
            operator,
            reason,
            "a kill switch was moved"
        );
        self.shards.change_policy(&policy, Some(&Hand { operator, reason }));
        let digest = policy.digest();
        let watch = Stopwatch::start();
        while !self.is_journalled(&digest) {
            if watch.elapsed() >= JOURNALLED {
                return Err("it is moved, but not journalled yet: see /readyz?verbose".to_owned());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(self.switches.get(access))
    }
}
