//! Are the topics set so that nothing is lost? Each finding says what is wrong, what comes of it, and what
//! to type.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::error::RDKafkaErrorCode;

use super::client::{Cluster, KafkaFault};
use super::create::wait;
use super::look::{INTERNAL, Partition, Seen, View};
use super::safe::{kept, spell};
use super::topics::Topic;

/// How long the cluster may take to say how topics are set.
const PATIENCE: Duration = Duration::from_secs(10);
/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It cannot be told from here.
    Unknown,
    /// It runs, and somebody will be sorry.
    Warning,
    /// It will not run, or not safely.
    Bad,
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about: a topic's name, or `cluster`, `group`, `transactions`, `rights`.
    pub about: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub says: String,
    /// What comes of it.
    pub why: Option<String>,
    /// What to do: mostly a command to type.
    pub advice: Option<String>,
}

/// What is wanted of a cluster, by the rest of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// How long a message may wait.
    pub lifetime: Duration,
    /// How often a round of snapshots begins; zero: never.
    pub snapshot_round: Duration,
}

impl Finding {
    pub(super) fn ok(about: impl Into<String>, says: impl Into<String>) -> Self {
        let (about, says) = (about.into(), says.into());
        Self { about, verdict: Verdict::Ok, says, why: None, advice: None }
    }

    pub(super) fn new(
        verdict: Verdict,
        about: impl Into<String>,
        says: impl Into<String>,
        why: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            about: about.into(),
            verdict,
            says: says.into(),
            why: Some(why.into()),
            advice: Some(advice.into()),
        }
    }
}

/// How a topic is set: each setting in force; or why we are not told.
type Settings = Result<BTreeMap<String, String>, RDKafkaErrorCode>;

impl Cluster {
    /// Whether the topics are there and safe. It changes nothing.
    ///
    /// # Errors
    ///
    /// As [`look`](Self::look).
    pub fn review(&self, needs: &Needs) -> Result<Vec<Finding>, KafkaFault> {
        let view = self.look()?;
        let settings = self.settings_of(&view)?;
        Ok(self.judge(&view, &settings, needs))
    }

    /// How the topics that are there are set, and the broker that answered, by its empty name.
    fn settings_of(&self, view: &View) -> Result<BTreeMap<String, Settings>, KafkaFault> {
        let names: Vec<String> = Topic::ALL
            .iter()
            .map(|topic| self.topic(*topic))
            .filter(|name| matches!(view.topic(name), Seen::There(_)))
            .collect();
        let admin = self.admin()?;
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let ask = |asked: &[ResourceSpecifier<'_>]| {
            wait(admin.describe_configs(asked, &options))
                .map_err(|error| self.unreachable(admin.inner().context(), &error))
        };
        let mut settings = BTreeMap::new();
        // One at a time: a refusal does not say of what.
        for name in names {
            let answer = ask(&[ResourceSpecifier::Topic(&name)])?;
            settings.extend(answer.into_iter().next().map(|answer| (name, in_force(answer))));
        }
        if let Some(id) = view.broker {
            let answer = ask(&[ResourceSpecifier::Broker(id)])?;
            let answer = answer.into_iter().next();
            settings.extend(answer.map(|answer| (String::new(), in_force(answer))));
        }
        Ok(settings)
    }

    fn judge(
        &self,
        view: &View,
        settings: &BTreeMap<String, Settings>,
        needs: &Needs,
    ) -> Vec<Finding> {
        let mut found = self.of_cluster(view, settings.get(""));
        let (mut missing, mut forbidden, mut untold) = (Vec::new(), Vec::new(), Vec::new());
        for topic in Topic::ALL {
            let name = self.topic(topic);
            let partitions = match view.topic(&name) {
                Seen::There(partitions) => partitions,
                Seen::Missing => {
                    missing.push(name);
                    continue;
                }
                Seen::Forbidden => {
                    forbidden.push(topic);
                    continue;
                }
            };
            let mut its = self.of_copies(&name, view.brokers, partitions);
            let copies = partitions.iter().map(|one| one.copies).min().unwrap_or(0);
            let mut told = format!(
                "{} partitions, {copies} {}",
                partitions.len(),
                if copies == 1 { "copy" } else { "copies" }
            );
            match settings.get(&name) {
                Some(Ok(set)) => {
                    its.extend(self.of_settings(topic, &name, copies, set, needs));
                    if let Some(kept) = kept(set).filter(|_| topic.cleanup() == "delete") {
                        told += &format!(", kept for {}", spell(kept));
                    }
                }
                Some(Err(_)) | None => {
                    untold.push(name);
                    found.extend(its);
                    continue;
                }
            }
            if its.is_empty() {
                its.push(Finding::ok(name, told));
            }
            found.extend(its);
        }
        if !missing.is_empty() {
            let says = format!("not there: {}", missing.join(", "));
            let why = "nothing begins without them";
            let advice = "deferd topics create";
            found.push(Finding::new(Verdict::Bad, "topics", says, why, advice));
        }
        if !forbidden.is_empty() {
            found.push(self.of_forbidden(&forbidden));
        }
        if !untold.is_empty() {
            let says = format!("we may not see the settings of {}", untold.join(", "));
            let advice = self.grant_topics("DescribeConfigs", &untold);
            let why = "whether they are safe is not known";
            found.push(Finding::new(Verdict::Unknown, "topics", says, why, advice));
        }
        found
    }

    /// Topics that we may not even see: all that we must be allowed to do with them.
    fn of_forbidden(&self, forbidden: &[Topic]) -> Finding {
        let names = |wanted: &dyn Fn(Topic) -> bool| -> Vec<String> {
            let topics = forbidden.iter().filter(|topic| wanted(**topic));
            topics.map(|topic| self.topic(*topic)).collect()
        };
        let says = format!("not there, or not for us to see: {}", names(&|_| true).join(", "));
        let grants = [
            ("Read", names(&|topic| Topic::READ.contains(&topic))),
            ("Write", names(&|topic| !Topic::INPUTS.contains(&topic))),
        ];
        let grants: Vec<String> = grants
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(operation, names)| self.grant_topics(operation, names))
            .collect();
        let why = "nothing begins without them";
        Finding::new(Verdict::Bad, "topics", says, why, grants.join("\n"))
    }

    /// What is said once for all topics.
    fn of_cluster(&self, view: &View, broker: Option<&Settings>) -> Vec<Finding> {
        const CLUSTER: &str = "cluster";
        let mut found = Vec::new();
        if view.brokers <= 1 {
            found.push(Finding::new(
                Verdict::Warning,
                CLUSTER,
                "one broker",
                "there is one copy of everything, and with its disk all is gone",
                "for anything but trying out have three brokers and three copies",
            ));
        } else {
            found.push(Finding::ok(CLUSTER, format!("{} brokers", view.brokers)));
        }
        if let Err(says) = self.partitions(view) {
            let why = "a user's inputs, journal and snapshots must meet in one process";
            let advice = "deferd topics create --set kafka.prefix=new.";
            found.push(Finding::new(Verdict::Bad, CLUSTER, says, why, advice));
        }
        for name in INTERNAL {
            let Seen::There(partitions) = view.topic(name) else { continue };
            if view.brokers > 1 && partitions.iter().any(|one| one.copies < 2) {
                found.push(Finding::new(
                    Verdict::Bad,
                    name,
                    "one copy",
                    "with one broker gone positions or transactions are lost, and nothing goes on",
                    format!(
                        "raise its copies to 3: {}",
                        self.tool("reassign-partitions", "--execute --reassignment-json-file FILE")
                    ),
                ));
            }
        }
        if let Some(Ok(set)) = broker {
            found.extend(self.of_sessions(set));
        }
        found
    }

    /// Whether brokers take our time-outs.
    fn of_sessions(&self, set: &BTreeMap<String, String>) -> Option<Finding> {
        let ours = u64::try_from(self.session_timeout.as_millis()).unwrap_or(u64::MAX);
        let limit = |name: &str| set.get(name).and_then(|value| value.parse::<u64>().ok());
        let least = limit("group.min.session.timeout.ms").unwrap_or(0);
        let most = ["group.max.session.timeout.ms", "transaction.max.timeout.ms"]
            .iter()
            .filter_map(|name| limit(name))
            .min()
            .unwrap_or(u64::MAX);
        (ours < least || ours > most).then(|| {
            let says = format!(
                "the brokers take sessions and transactions from {least} to {most} ms, and \
                 kafka.session_timeout_seconds is {}",
                self.session_timeout.as_secs()
            );
            let advice = format!("set kafka.session_timeout_seconds to {}", least.div_ceil(1000));
            Finding::new(Verdict::Bad, "cluster", says, "no process could join the group", advice)
        })
    }

    fn of_copies(&self, name: &str, brokers: usize, all: &[Partition]) -> Vec<Finding> {
        let mut found = Vec::new();
        let led = all.iter().filter(|one| one.has_leader).count();
        if led < all.len() {
            found.push(Finding::new(
                Verdict::Bad,
                name,
                format!("{} of {} partitions have no leader", all.len() - led, all.len()),
                "their users' messages wait",
                self.tool("topics", &format!("--describe --topic {name} --unavailable-partitions")),
            ));
        }
        let behind = all.iter().filter(|one| one.in_sync < one.copies).count();
        if behind > 0 {
            found.push(Finding::new(
                Verdict::Warning,
                name,
                format!("{behind} of {} partitions have a copy that is behind", all.len()),
                "until it has caught up, another broker's loss costs more",
                self.tool(
                    "topics",
                    &format!("--describe --topic {name} --under-replicated-partitions"),
                ),
            ));
        }
        if brokers > 1 && all.iter().any(|one| one.copies < 2) {
            found.push(Finding::new(
                Verdict::Bad,
                name,
                "one copy",
                "what is acknowledged is lost with one broker's disk",
                format!(
                    "raise its copies: {}; or, where it is empty, delete it and type `deferd topics \
                     create`",
                    self.tool("reassign-partitions", "--execute --reassignment-json-file FILE")
                ),
            ));
        }
        found
    }

    /// One of Kafka's own tools, as it is called for this cluster.
    pub(super) fn tool(&self, tool: &str, rest: &str) -> String {
        let who =
            if self.security() == "plaintext" { "" } else { " --command-config client.properties" };
        format!("kafka-{tool}.sh --bootstrap-server {}{who} {rest}", self.brokers)
    }

    /// The command that lets us do something with topics.
    pub(super) fn grant_topics(&self, operation: &str, names: &[String]) -> String {
        let names: Vec<String> = names.iter().map(|name| format!("--topic {name}")).collect();
        self.grant(operation, &names.join(" "))
    }

    /// The command that lets us do something.
    pub(super) fn grant(&self, operation: &str, what: &str) -> String {
        let user = self.properties.iter().find(|(name, _)| name == "sasl.username");
        let user = user.map_or("NAME", |(_, user)| user);
        self.tool(
            "acls",
            &format!("--add --allow-principal User:{user} --operation {operation} {what}"),
        )
    }
}

/// The client keeps it to itself when a resource is refused, and then there is nothing in it.
fn in_force(resource: Result<ConfigResource, RDKafkaErrorCode>) -> Settings {
    let entries = resource?.entries.into_iter();
    let set: BTreeMap<String, String> =
        entries.filter_map(|entry| Some((entry.name, entry.value?))).collect();
    if set.is_empty() { Err(RDKafkaErrorCode::TopicAuthorizationFailed) } else { Ok(set) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A_DAY: Duration = Duration::from_secs(86_400);

    /// Three brokers, and the topics as `deferd topics create` makes them.
    fn sound() -> (Cluster, View, BTreeMap<String, Settings>) {
        let cluster = Cluster {
            brokers: "k:9092".to_owned(),
            group: "deferd".to_owned(),
            instance: "a".to_owned(),
            prefix: String::new(),
            session_timeout: Duration::from_secs(15),
            properties: Vec::new(),
        };
        let mut view = View { brokers: 3, broker: Some(1), ..View::default() };
        let mut settings = BTreeMap::new();
        for topic in Topic::ALL {
            let partition = Partition { has_leader: true, copies: 3, in_sync: 3 };
            view.topics.insert(cluster.topic(topic), Seen::There(vec![partition; 4]));
            let set = topic.settings(3).into_iter();
            let set = set.map(|(name, value)| (name.to_owned(), value)).collect();
            settings.insert(cluster.topic(topic), Ok(set));
        }
        (cluster, view, settings)
    }

    fn needs() -> Needs {
        Needs { lifetime: A_DAY * 7, snapshot_round: Duration::from_secs(3600) }
    }

    /// What is not well, after something was set otherwise.
    fn after(topic: &str, setting: &str, value: &str) -> Vec<Finding> {
        let (cluster, view, mut settings) = sound();
        if let Some(Ok(set)) = settings.get_mut(topic) {
            set.insert(setting.to_owned(), value.to_owned());
        }
        let found = cluster.judge(&view, &settings, &needs()).into_iter();
        found.filter(|finding| finding.verdict != Verdict::Ok).collect()
    }

    #[test]
    fn what_create_makes_is_sound() {
        let (cluster, view, settings) = sound();
        let found = cluster.judge(&view, &settings, &needs());
        assert!(found.iter().all(|finding| finding.verdict == Verdict::Ok), "{found:?}");
        assert_eq!(found.len(), 9, "a line for the cluster and one for each topic: {found:?}");
    }

    #[test]
    fn what_is_unsafe_is_told_with_the_command() {
        let cases = [
            ("cpm.journal", "cleanup.policy", "compact", Verdict::Bad, "delete"),
            ("cpm.snapshots", "cleanup.policy", "compact,delete", Verdict::Bad, "compact"),
            ("cpm.outcomes", "message.timestamp.type", "CreateTime", Verdict::Bad, "LogAppendTime"),
            ("cpm.journal", "retention.ms", "604800000", Verdict::Bad, "2592000000"),
            ("cpm.journal", "retention.bytes", "1000", Verdict::Bad, "-1"),
            ("cpm.messages", "retention.ms", "3600000", Verdict::Warning, "604800000"),
            ("cpm.journal", "max.message.bytes", "1000000", Verdict::Bad, "1048588"),
            ("cpm.dead-letters", "max.message.bytes", "1000000", Verdict::Bad, "1048588"),
            ("cpm.journal", "min.insync.replicas", "1", Verdict::Bad, "2"),
            ("cpm.journal", "min.insync.replicas", "3", Verdict::Warning, "2"),
            ("cpm.journal", "min.insync.replicas", "4", Verdict::Bad, "2"),
            ("cpm.journal", "unclean.leader.election.enable", "true", Verdict::Bad, "false"),
        ];
        for (topic, setting, value, verdict, wanted) in cases {
            let found = after(topic, setting, value);
            let [finding] = found.as_slice() else { panic!("{setting}={value}: {found:?}") };
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert_eq!(
                (finding.about.as_str(), &finding.says),
                (topic, &format!("{setting} is {value}"))
            );
            let command = format!(
                "kafka-configs.sh --bootstrap-server k:9092 --alter --entity-type topics --entity-name \
                 {topic} --add-config {setting}={wanted}"
            );
            assert_eq!(finding.advice.as_deref(), Some(command.as_str()));
        }
        assert_eq!(after("cpm.journal", "retention.ms", "-1"), []);
    }

    #[test]
    fn a_journal_reaches_back_three_rounds_of_snapshots() {
        let (cluster, view, settings) = sound();
        let needs = Needs { snapshot_round: A_DAY * 11, ..needs() };
        let found = cluster.judge(&view, &settings, &needs);
        let bad = found.iter().find(|finding| finding.verdict == Verdict::Bad).expect("one is bad");
        assert_eq!(
            (bad.about.as_str(), bad.says.as_str()),
            ("cpm.journal", "retention.ms is 2592000000")
        );
        assert!(
            bad.advice.as_ref().is_some_and(|advice| advice.ends_with("=2851200000")),
            "{bad:?}"
        );
    }

    #[test]
    fn copies_and_counts_are_looked_at() {
        let (cluster, mut view, settings) = sound();
        let one = Partition { has_leader: true, copies: 1, in_sync: 1 };
        let away = Partition { has_leader: false, copies: 3, in_sync: 2 };
        view.topics.insert("cpm.journal".to_owned(), Seen::There(vec![one; 4]));
        view.topics.insert("cpm.outcomes".to_owned(), Seen::There(vec![away; 5]));
        view.topics.insert("cpm.messages".to_owned(), Seen::Missing);
        view.topics.insert("__transaction_state".to_owned(), Seen::There(vec![one; 5]));
        let found = cluster.judge(&view, &settings, &needs());
        let says = |about: &str, what: &str| {
            found.iter().any(|finding| finding.about == about && finding.says.contains(what))
        };
        assert!(says("cpm.journal", "one copy"), "{found:?}");
        assert!(says("__transaction_state", "one copy"), "{found:?}");
        assert!(says("cpm.outcomes", "5 of 5 partitions have no leader"), "{found:?}");
        assert!(says("cpm.outcomes", "5 of 5 partitions have a copy that is behind"), "{found:?}");
        assert!(says("cluster", "cpm.reachability 4, cpm.outcomes 5"), "{found:?}");
        assert!(says("topics", "not there: cpm.messages"), "{found:?}");
    }

    #[test]
    fn a_session_that_brokers_refuse_is_told() {
        let (cluster, view, mut settings) = sound();
        let set = [("group.min.session.timeout.ms", "20000")];
        let set = set.map(|(name, value)| (name.to_owned(), value.to_owned()));
        settings.insert(String::new(), Ok(set.into_iter().collect()));
        let found = cluster.judge(&view, &settings, &needs());
        let advice: Vec<_> = found.iter().filter_map(|finding| finding.advice.as_deref()).collect();
        assert_eq!(advice, ["set kafka.session_timeout_seconds to 20"]);
    }
}
