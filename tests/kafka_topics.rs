//! `deferd topics`, `run` and `doctor` as a person meets them at a cluster that is not as it must be: what
//! each says, on a real broker with users, TLS and ACLs, and that it says so within seconds.
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, reason = "a test: what is not there fails it")]
#![allow(clippy::indexing_slicing, reason = "the same")]

mod kafka_place;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use deferd::cli::clock::Stopwatch;
use rdkafka::ClientConfig;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::Value;

use self::kafka_place::Broker;

/// The listeners of a secure broker, as far above its plain one.
const PLAIN: u16 = 0;
const SASL: u16 = 2;
const SASL_TLS: u16 = 3;
const TLS: u16 = 4;
/// A person waits so long for an answer, even on a machine that has much to do.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn what_is_missing_is_made_once_and_is_sound() {
    let place = Place::new("made");
    let run = place.deferd(PLAIN, &["run", "--listen", "127.0.0.1:0"], &["log=kafka"]);
    assert_eq!(run.code, 2, "{run:?}");
    run.says(&["cpm.journal", "are not there: type `deferd topics create`"]);
    let check = place.deferd(PLAIN, &["topics", "check"], &[]);
    assert_eq!(check.code, 1, "{check:?}");
    check.says(&["not there: ", "cpm.snapshots", "→ deferd topics create"]);

    let dry = place.deferd(PLAIN, &["topics", "create", "--partitions", "3", "--dry-run"], &[]);
    assert_eq!(dry.code, 0, "{dry:?}");
    dry.says(&["cpm.messages", "would be made: 3 partitions, 1 copy"]);
    let made = place.deferd(PLAIN, &["topics", "create", "--partitions", "3"], &[]);
    assert_eq!(made.code, 0, "{made:?}");
    made.says(&["made: 3 partitions, 1 copy", "message.timestamp.type=LogAppendTime"]);
    let again = place.deferd(PLAIN, &["topics", "create"], &[]);
    assert_eq!(again.code, 0, "{again:?}");
    again.says(&["cpm.journal", "was there: 3 partitions"]);
    let other = place.deferd(PLAIN, &["topics", "create", "--partitions", "4"], &[]);
    assert_eq!(other.code, 2, "{other:?}");
    other.says(&["have 3 partitions and not 4"]);
    let many = place.deferd(PLAIN, &["topics", "create", "--replication", "3"], &[]);
    assert_eq!(many.code, 2, "{many:?}");
    many.says(&["3 copies need as many brokers, and there are 1: type --replication 1"]);

    let found = place.check(PLAIN, &[]);
    let verdicts: Vec<_> = found.iter().map(|found| found["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, [&["warning"][..], &["ok"; 9]].concat(), "{found:?}");
    assert_eq!(found[0]["says"], "one broker");
    assert_eq!(found[9]["about"], "rights");
}

/// What asks for the right to write is held back, and nobody ever reads it: not even one who reads what
/// is not committed.
#[test]
fn a_check_leaves_no_record() {
    let place = Place::made("traces");
    assert!(place.check(PLAIN, &[]).iter().any(|found| found["about"] == "rights"));
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", Broker::secure().at(PLAIN))
        .set("group.id", "traces")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_uncommitted")
        .set("enable.partition.eof", "true");
    let reader: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    for topic in ["cpm.messages", "cpm.journal", "cpm.deliveries", "cpm.snapshots"] {
        list.add_partition(&format!("{}{topic}", place.prefix), 0);
    }
    reader.assign(&list).unwrap();
    let mut ends = 0;
    let watch = Stopwatch::start();
    while ends < list.count() {
        match reader.poll(Duration::from_millis(100)) {
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => ends += 1,
            Some(Ok(record)) => panic!("{record:?}"),
            Some(Err(_)) | None => assert!(watch.elapsed() < SOON, "{ends} ends were reached"),
        }
    }
}

#[test]
fn an_unsafe_setting_is_found_and_the_command_mends_it() {
    let place = Place::made("unsafe");
    let journal = format!("{}cpm.journal", place.prefix);
    place.tool(&["--alter", "--entity-type", "topics", "--entity-name", &journal], |command| {
        command.args(["--add-config", "cleanup.policy=compact"]);
    });
    let bad = |found: &[Value]| -> Vec<Value> {
        found.iter().filter(|found| found["verdict"] == "bad").cloned().collect()
    };
    let found = bad(&place.check(PLAIN, &[]));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0]["about"].as_str(), &found[0]["says"]),
        (Some(&*journal), &"cleanup.policy is compact".into())
    );
    let command = found[0]["do"].as_str().unwrap();
    let typed = command.strip_prefix("kafka-configs.sh ").unwrap();
    place.tool(&[], |tool| {
        tool.args(typed.split(' '));
    });
    assert_eq!(bad(&place.check(PLAIN, &[])), [Value::Null; 0]);
    let found = bad(&place.check(PLAIN, &["policy.lifetime_seconds=2591999"]));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["says"], "retention.ms is 2592000000");
}

#[test]
fn unequal_partitions_are_refused_with_their_counts() {
    let place = Place::made("unequal");
    let topic = format!("{}cpm.outcomes", place.prefix);
    let done = Command::new(tool())
        .args(["topics", "--bootstrap-server", &Broker::secure().at(PLAIN), "--alter"])
        .args(["--topic", &topic, "--partitions", "5"])
        .output();
    assert!(done.unwrap().status.success());
    let counts = format!("{}cpm.reachability 2, {topic} 5", place.prefix);
    let run = place.deferd(PLAIN, &["run", "--listen", "127.0.0.1:0"], &["log=kafka"]);
    assert_eq!(run.code, 2, "{run:?}");
    run.says(&["different numbers of partitions", &counts]);
    let check = place.deferd(PLAIN, &["topics", "check"], &[]);
    assert_eq!(check.code, 1, "{check:?}");
    check.says(&["different numbers of partitions", &counts]);
    let doctor = place.deferd(PLAIN, &["doctor", "--listen", "127.0.0.1:0"], &["log=kafka"]);
    assert_eq!(doctor.code, 1, "{doctor:?}");
    doctor.says(&["different numbers of partitions", &counts]);
}

/// Rights come one after the other, each as the check asks for it.
#[test]
fn what_a_user_may_not_is_told_with_the_command_that_allows_it() {
    let place = Place::made("rights");
    let nobody = place.user("nobody", "nobody-secret");
    let nobody: Vec<&str> = nobody.iter().map(String::as_str).collect();
    let run = place.deferd(
        SASL,
        &["run", "--listen", "127.0.0.1:0"],
        &[&nobody[..], &["log=kafka"]].concat(),
    );
    assert_eq!(run.code, 2, "{run:?}");
    run.says(&["may not see ", "cpm.journal", "deferd topics check"]);

    let mut asked = Vec::new();
    for _ in 0..5 {
        let found = place.check(SASL, &nobody);
        let advice = found.iter().filter_map(|found| found["do"].as_str()).flat_map(str::lines);
        let grants: Vec<_> = advice
            .filter_map(|line| line.strip_prefix("kafka-acls.sh "))
            .map(str::to_owned)
            .collect();
        asked.push(grants.len());
        if grants.is_empty() {
            assert_eq!(
                found.last().unwrap()["says"],
                "we may read, commit and write all that we must"
            );
            break;
        }
        for grant in grants {
            assert!(grant.contains("--allow-principal User:nobody"), "{grant}");
            // He may not give himself rights: it is done on the plain listener, where anybody may.
            let grant = grant
                .replace(&Broker::secure().at(SASL), &Broker::secure().at(PLAIN))
                .replace(" --command-config client.properties", "");
            let done = Command::new(tool()).arg("acls").args(grant.split(' ')).output().unwrap();
            assert!(done.status.success(), "{grant}: {done:?}");
        }
    }
    assert_eq!(asked.last(), Some(&0), "it never was content: {asked:?}");
    let run = place.deferd(SASL, &["topics", "create"], &nobody);
    assert_eq!(run.code, 0, "{run:?}");
}

/// Each in one sentence: who was asked, what was said, which key to look at.
#[test]
fn who_does_not_get_through_hears_why() {
    let place = Place::new("through");
    let broker = Broker::secure();
    let ca = format!("kafka.ca_file={}", broker.ca());
    let another_ca = format!("kafka.ca_file={}", place.file("another.pem", ANOTHER_CA));
    let wrong = place.user("deferd", "wrong");
    let right = place.user("deferd", "deferd-secret");
    let user = |user: &[String], more: &[&str]| -> Vec<String> {
        let more = more.iter().map(|&set| set.to_owned());
        user.iter().cloned().chain(more).collect()
    };
    let sets = |sets: &[&str]| -> Vec<String> { sets.iter().map(|&set| set.to_owned()).collect() };
    let nobody_there = free_port();
    let away = format!("kafka.brokers=127.0.0.1:{nobody_there}");
    let cases: Vec<(&str, u16, Vec<String>, &[&str])> = vec![
        ("nobody listens", PLAIN, sets(&[&away]), &["Connection refused", "See kafka.brokers"]),
        (
            "no such host",
            PLAIN,
            sets(&["kafka.brokers=k1.invalid:9092"]),
            &["cannot reach Kafka at k1.invalid:9092: ", "k1.invalid", "See kafka.brokers"],
        ),
        (
            "a wrong password",
            SASL,
            wrong.clone(),
            &["SASL authentication error", "kafka.sasl_user, kafka.sasl_password_file"],
        ),
        (
            "a wrong password, PLAIN",
            SASL,
            user(&wrong, &["kafka.sasl_mechanism=PLAIN"]),
            &["Invalid username or password", "kafka.sasl_password_file"],
        ),
        (
            "TLS to a plain port",
            PLAIN,
            sets(&["kafka.security=ssl", &ca]),
            &["that port has no TLS: see kafka.brokers and kafka.security"],
        ),
        ("plain to a TLS port", TLS, sets(&[]), &["is that a port for TLS?", "kafka.security"]),
        (
            "plain to a users' port",
            SASL,
            sets(&[]),
            &["does that port want a user?", "kafka.security"],
        ),
        (
            "a user to a plain port",
            PLAIN,
            right.clone(),
            &["that port knows no users: see kafka.brokers and kafka.security"],
        ),
        (
            "a certificate of somebody else's",
            SASL_TLS,
            user(&right, &["kafka.security=sasl-ssl", &another_ca]),
            &["certificate verify failed", "see kafka.ca_file"],
        ),
    ];
    // All at once: most of it is waiting.
    std::thread::scope(|scope| {
        for (what, port, sets, told) in &cases {
            let place = &place;
            scope.spawn(move || {
                let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
                let check = place.deferd(*port, &["topics", "check"], &sets);
                assert_eq!(check.code, 2, "{what}: {check:?}");
                assert!(
                    check.text.starts_with("error: cannot reach Kafka at "),
                    "{what}: {check:?}"
                );
                assert_eq!(check.text.trim().lines().count(), 1, "{what}: {check:?}");
                check.says(told);
            });
        }
    });
    let good = user(&right, &["kafka.security=sasl-ssl", &ca]);
    let good: Vec<&str> = good.iter().map(String::as_str).collect();
    place.deferd(SASL_TLS, &["topics", "check"], &good).says(&["not there: "]);
}

/// Nobody is asked: the configuration is wrong by itself.
#[test]
fn a_configuration_that_cannot_be_used_is_refused_at_once() {
    let place = Place::new("wrong");
    let cases = [
        (&["kafka.librdkafka.socket.timeout=1"][..], "No such configuration property"),
        (&["kafka.librdkafka.socket.timeout.ms=soon"], "Invalid value"),
        (&["kafka.librdkafka.message.timeout.ms=900000"], "kafka.session_timeout_seconds"),
        (&["kafka.security=sasl-ssl"], "needs kafka.sasl_user and kafka.sasl_password_file"),
        (
            &["kafka.security=ssl", "kafka.ca_file=/nowhere/ca.pem"],
            "kafka.ca_file: cannot read /nowhere/ca.pem",
        ),
        (&["kafka.security=ssl", "kafka.ca_file=/etc/passwd"], "kafka.ca_file failed"),
        (
            &["kafka.sasl_mechanism=GSSAPI"],
            "expected one of SCRAM-SHA-512, SCRAM-SHA-256, PLAIN, OAUTHBEARER",
        ),
    ];
    for (sets, told) in cases {
        let sets = [sets, &["log=kafka"]].concat();
        let run = place.deferd(PLAIN, &["run", "--listen", "127.0.0.1:0"], &sets);
        assert_eq!(run.code, 78, "{run:?}");
        run.says(&[told]);
        let check = place.deferd(PLAIN, &["config", "check"], &sets);
        assert_eq!(check.code, 1, "{check:?}");
        check.says(&[told]);
    }
}

/// Of an authority that has signed nothing here.
const ANOTHER_CA: &str = "\
-----BEGIN CERTIFICATE-----
MIIBjzCCATWgAwIBAgIUZrLx6I9Qnf2ut2/uIBT1Fb7MgH8wCgYIKoZIzj0EAwIw
HDEaMBgGA1UEAwwRYW5vdGhlciBhdXRob3JpdHkwIBcNMjYxMTIxMTU0NTIwWhgP
MjEyNjEwMjgxNTQ1MjBaMBwxGjAYBgNVBAMMEWFub3RoZXIgYXV0aG9yaXR5MFkw
EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEFAcytkyToCSrmsc2u2gSe1cP+PdVhbxY
0ERp94fGDdwkQXfG+rd2CBRl1G/7Qh4rmljIT+LZjdUlAkmze/Q796NTMFEwHQYD
VR0OBBYEFPH219ltuFU5RYLtsSnE86d3sDkIMB8GA1UdIwQYMBaAFPH219ltuFU5
RYLtsSnE86d3sDkIMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIh
APJvFxpQ8rWZG32jlTvBXo9LqQMcjWHvtqyyKVVQGiFHAiBc0gaiZwr3kRq+zYUE
sTJTvOtx8l4pdr26ekThjova+A==
-----END CERTIFICATE-----";

/// What was typed came to.
#[derive(Debug)]
struct Said {
    code: i32,
    /// Standard output and standard error.
    text: String,
}

impl Said {
    fn says(&self, all: &[&str]) {
        for what in all {
            assert!(self.text.contains(what), "`{what}` is not in\n{}", self.text);
        }
    }
}

/// A prefix and a folder of a test's own.
struct Place {
    prefix: String,
    folder: PathBuf,
}

impl Place {
    fn new(name: &str) -> Self {
        let prefix = format!("{name}-{}.", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("topics-{prefix}"));
        std::fs::create_dir_all(&folder).unwrap();
        Self { prefix, folder }
    }

    /// With topics of two partitions.
    fn made(name: &str) -> Self {
        let place = Self::new(name);
        let made = place.deferd(PLAIN, &["topics", "create", "--partitions", "2"], &[]);
        assert_eq!(made.code, 0, "{made:?}");
        place
    }

    /// Runs it against a listener of the secure broker, and not for long.
    fn deferd(&self, above: u16, args: &[&str], sets: &[&str]) -> Said {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let brokers = format!("kafka.brokers={}", Broker::secure().at(above));
        let prefix = format!("kafka.prefix={}", self.prefix);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let data = format!("run.data_dir={}", self.folder.join(number.to_string()).display());
        let group = format!("kafka.group={}", self.prefix);
        let mut command = Command::new(env!("CARGO_BIN_EXE_deferd"));
        command.env_clear().args(args);
        for set in [&brokers, &prefix, &data, &group].map(String::as_str).iter().chain(sets) {
            command.args(["--set", set]);
        }
        let watch = Stopwatch::start();
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = String::from_utf8([stdout, stderr].concat()).unwrap();
        assert!(watch.elapsed() < SOON, "{:?} for {command:?}: {text}", watch.elapsed());
        Said { code: status.code().unwrap(), text }
    }

    /// What the check finds.
    fn check(&self, above: u16, sets: &[&str]) -> Vec<Value> {
        let said = self.deferd(above, &["topics", "check", "--output", "json"], sets);
        assert!([0, 1].contains(&said.code), "{said:?}");
        serde_json::from_str(&said.text).unwrap()
    }

    /// The settings with which a user comes in.
    fn user(&self, user: &str, password: &str) -> Vec<String> {
        let file = self.file(&format!("{user}-{password}"), &format!("{password}\n"));
        vec![
            "kafka.security=sasl-plaintext".to_owned(),
            format!("kafka.sasl_user={user}"),
            format!("kafka.sasl_password_file={file}"),
        ]
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.folder.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Kafka's own tool for settings.
    fn tool(&self, args: &[&str], more: impl FnOnce(&mut Command)) {
        let mut command = Command::new(tool());
        command.arg("configs");
        if !args.is_empty() {
            command.args(["--bootstrap-server", &Broker::secure().at(PLAIN)]).args(args);
        }
        more(&mut command);
        let done = command.output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn tool() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("ops/kafka/tool")
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
