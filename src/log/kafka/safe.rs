//! How a topic must be set so that nothing is lost, and what comes of it otherwise.

use std::collections::BTreeMap;
use std::time::Duration;

use super::client::Cluster;
use super::review::{Finding, Needs, Verdict};
use super::topics::{KEPT, KEPT_LONG, LARGEST, Topic};

/// The smallest limit of a topic that our records go to: the largest is below 1,000,000 bytes, and comes
/// with its key, in a batch.
const ROOM: u64 = 1_001_000;
/// An outage shorter than this may lose nothing: a weekend.
const WEEKEND: Duration = Duration::from_secs(3 * 86_400);
const A_DAY: Duration = Duration::from_secs(86_400);

impl Cluster {
    /// What is not safe about the settings of a topic with so many copies.
    pub(super) fn of_settings(
        &self,
        topic: Topic,
        name: &str,
        copies: usize,
        set: &BTreeMap<String, String>,
        needs: &Needs,
    ) -> Vec<Finding> {
        let is_input = Topic::INPUTS.contains(&topic);
        let value = |setting: &str| set.get(setting).map_or("", String::as_str);
        let number = |setting: &str| value(setting).parse::<i64>().ok();
        let mut found = Vec::new();
        let mut put = |verdict, setting: &str, why: &str, wanted: &str| {
            let says = format!("{setting} is {}", value(setting));
            let advice = self.tool(
                "configs",
                &format!(
                    "--alter --entity-type topics --entity-name {name} --add-config {setting}={wanted}"
                ),
            );
            found.push(Finding::new(verdict, name, says, why, advice));
        };

        if value("cleanup.policy") != topic.cleanup() {
            let why = match topic {
                Topic::Journal => "each of its records counts, not only a user's last",
                Topic::Snapshots => "a user who was quiet for long would be lost with his messages",
                Topic::Messages
                | Topic::Reachability
                | Topic::Outcomes
                | Topic::Deliveries
                | Topic::Notifications
                | Topic::DeadLetters => "records that nobody has read yet would be removed",
            };
            put(Verdict::Bad, "cleanup.policy", why, topic.cleanup());
        }
        if is_input && value("message.timestamp.type") != "LogAppendTime" {
            let why = "timers go by the log's time: a producer's clock that is off would fire them early, \
                       or hold them up";
            put(Verdict::Bad, "message.timestamp.type", why, "LogAppendTime");
        }
        if value("unclean.leader.election.enable") == "true" {
            let why =
                "a broker that is behind may take over, and what was acknowledged is forgotten";
            put(Verdict::Bad, "unclean.leader.election.enable", why, "false");
        }
        let in_sync = number("min.insync.replicas").unwrap_or(1);
        let copies = i64::try_from(copies).unwrap_or(i64::MAX);
        if in_sync > copies {
            let why = "nothing can be written: there are not so many copies";
            put(Verdict::Bad, "min.insync.replicas", why, &(copies - 1).max(1).to_string());
        } else if copies >= 3 && in_sync < 2 {
            let why = "what one broker alone has taken counts as written, and is lost with it";
            put(Verdict::Bad, "min.insync.replicas", why, "2");
        } else if copies == 2 && in_sync < 2 {
            let why = "while one of two brokers is away, what the other takes is there once; have three \
                       copies";
            put(Verdict::Warning, "min.insync.replicas", why, "2");
        } else if copies >= 2 && in_sync == copies {
            let why =
                "one broker away stops everything; have three copies, and two of them suffice";
            put(Verdict::Warning, "min.insync.replicas", why, &(copies - 1).to_string());
        }
        let limit = number("max.message.bytes").and_then(|limit| u64::try_from(limit).ok());
        if limit.is_some_and(|limit| limit < ROOM) {
            let why =
                "a large message stops its partition: the same transaction fails again and again";
            let verdict = if is_input { Verdict::Warning } else { Verdict::Bad };
            put(verdict, "max.message.bytes", why, &LARGEST.to_string());
        }
        if topic.cleanup() != "delete" {
            return found;
        }

        let (verdict, least, wanted, why) = retention(topic, needs);
        if kept(set).is_some_and(|kept| kept < least) {
            put(verdict, "retention.ms", &why, &wanted.max(least).as_millis().to_string());
        }
        if number("retention.bytes").is_some_and(|bytes| bytes >= 0) {
            let verdict = if topic == Topic::Journal { Verdict::Bad } else { Verdict::Warning };
            put(verdict, "retention.bytes", "a busy day removes what is still needed", "-1");
        }
        found
    }
}

/// How long a topic must keep records at least, how long it should, and what comes of less.
fn retention(topic: Topic, needs: &Needs) -> (Verdict, Duration, Duration, String) {
    match topic {
        Topic::Messages | Topic::Reachability | Topic::Outcomes => {
            let why = "what was not read in that time is lost, and nobody is told: an outage must fit in it";
            (Verdict::Warning, WEEKEND, KEPT, why.to_owned())
        }
        Topic::Journal | Topic::Snapshots => {
            let least = (needs.lifetime + A_DAY).max(needs.snapshot_round * 3);
            let why = format!(
                "messages and state are made from it: it must reach back {}, the longest life of a \
                 message and a day, or three rounds of snapshots",
                spell(least)
            );
            (Verdict::Bad, least, KEPT_LONG, why)
        }
        Topic::Deliveries | Topic::Notifications => {
            let why = "what a gateway has not taken in that time it never gets";
            (Verdict::Warning, A_DAY, KEPT, why.to_owned())
        }
        Topic::DeadLetters => {
            let why = "somebody has to find the time to look";
            (Verdict::Warning, KEPT, KEPT_LONG, why.to_owned())
        }
    }
}

/// How long records are kept; `None`: for ever, or it is not said.
pub(super) fn kept(set: &BTreeMap<String, String>) -> Option<Duration> {
    let kept = set.get("retention.ms")?.parse::<i64>().ok()?;
    u64::try_from(kept).ok().map(Duration::from_millis)
}

/// A time in the largest unit that is not too coarse.
pub(super) fn spell(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        _ if seconds >= 86_400 && seconds.is_multiple_of(86_400) => {
            format!("{} d", seconds / 86_400)
        }
        _ if seconds >= 3600 => format!("{} h", seconds / 3600),
        _ => format!("{seconds} s"),
    }
}
