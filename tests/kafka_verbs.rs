//! The verbs on a Kafka log, as their user sees them: what reads reads the topics, what hands in writes
//! them, and no daemon is needed for either.
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, reason = "a test: what is not there fails it")]

mod kafka_place;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use deferd::engine::intake::partition_of;
use deferd::log::kafka::Topic;
use serde_json::{Value, json};

use self::kafka_place::{Place, journal_of};

const PARTITIONS: u32 = 3;

/// A user whose journal is in this partition, and no other test number of it.
fn user(partition: u32, number: usize) -> String {
    let all = (0..1000).map(|n| format!("tel:+1514555{n:04}"));
    all.filter(|user| partition_of(user, PARTITIONS) == partition).nth(number).unwrap()
}

fn event(id: &str, kind: &str, user: &str, at: u64, data: &Value) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/test", "type": kind, "subject": user,
        "time": format!("2026-11-21T08:{:02}:{:02}Z", at / 60, at % 60), "data": data,
    })
}

fn submitted(id: &str, user: &str, at: u64) -> Value {
    let data = json!({
        "message_id": id, "from": "tel:+15145550199", "kind": "pager", "content_type": "text/plain",
        "body": "secret words",
    });
    event(id, "cpm.message.submitted.v1", user, at, &data)
}

/// What happened in a partition: three users, of whom one comes back.
fn inputs(partition: u32) -> Vec<Value> {
    let mut inputs = Vec::new();
    for n in 0..3 {
        let user = user(partition, n);
        for m in 0..4 {
            let at = n as u64 * 100 + m;
            inputs.push(submitted(&format!("m{partition}-{n}-{m}"), &user, at));
        }
    }
    let back = event("a", "cpm.cs.attached.v1", &user(partition, 0), 400, &json!({}));
    inputs.push(back);
    inputs
}

struct Run<'a> {
    place: &'a Place,
}

impl Run<'_> {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deferd"));
        let cluster = &self.place.cluster;
        command.args(args).env("NO_COLOR", "1");
        for set in [
            "log=kafka".to_owned(),
            format!("kafka.brokers={}", cluster.brokers),
            format!("kafka.prefix={}", cluster.prefix),
            format!("kafka.group={}", cluster.group),
        ] {
            command.args(["--set", &set]);
        }
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Its answer; it ends with this code.
    fn answers(&self, args: &[&str], code: i32) -> String {
        let output = self.run(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.answers(&[args, &["--output", "json"]].concat(), 0)).unwrap()
    }

    fn records(&self, topic: Topic) -> Vec<(Option<String>, Value)> {
        let records = self.place.records(topic);
        records.into_iter().map(|(_, _, key, event)| (key, event)).collect()
    }
}

/// Three partitions, each with its journal as members write it; and the same in files.
fn journals(place: &Place) -> Vec<PathBuf> {
    (0..PARTITIONS)
        .map(|partition| {
            let lines = journal_of(&inputs(partition));
            place.write_journal(partition.try_into().unwrap(), &lines);
            let name = format!("{}{partition}.jsonl", place.cluster.prefix);
            let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
            std::fs::write(&file, lines.join("\n") + "\n").unwrap();
            file
        })
        .collect()
}

/// Whatever is asked, the answer is that of a file with the same records.
#[test]
fn a_journal_on_kafka_answers_as_a_file_does() {
    let place = Place::new("verbs", 3);
    let run = Run { place: &place };
    let files = journals(&place);
    for partition in 0..PARTITIONS {
        let file = files[partition as usize].to_str().unwrap();
        let (ann, number) = (user(partition, 0), partition.to_string());
        let id = format!("m{partition}-1-2");
        let same = |on_kafka: &[&str], in_file: &[&str]| {
            let both = [on_kafka, in_file].map(|args| run.answers(args, 0));
            // The place is named, and the partition.
            let [a, b] = both.map(|text| {
                text.replace(file, "kafka:").replace(&format!("\"partition\":{number},"), "")
            });
            assert_eq!(a, b, "{on_kafka:?}");
        };
        for more in [
            &["--output", "json"][..],
            &["--verify", "--output", "json"],
            &["--at", "2026-11-21T08:06:45Z", "--output", "json"],
            &["--at", "7", "--output", "json"],
            &["--diff", "5", "9", "--output", "json"],
        ] {
            let on_kafka = [&["replay", "kafka:", "--partition", &number][..], more].concat();
            same(&on_kafka, &[&["replay", file][..], more].concat());
        }
        for more in [
            &["--user", &ann][..],
            &["--user", &ann, "--output", "jsonl", "--with-content"],
            &["--user", &ann, "--at", "2026-11-21T08:06:45Z"],
            &["--message", &id],
        ] {
            // Without a path: the journal of this configuration.
            same(&[&["replay"][..], more].concat(), &[&["replay", file][..], more].concat());
        }
        same(&["why", &id], &["why", &id, "--journal", file]);
        let at = ["--at", "2026-11-21T08:01:50Z"];
        same(
            &[&["why", &id, "--journal", "kafka:"][..], &at].concat(),
            &[&["why", &id, "--journal", file][..], &at].concat(),
        );
        let out = files[partition as usize].with_extension("export");
        let out = out.to_str().unwrap();
        run.answers(&["replay", "--user", &ann, "--with-content", "--export", out], 0);
        let exported = run.json(&["replay", out, "--verify"]);
        assert_eq!(exported["equal"], true);
    }

    let all = run.json(&["replay", "--verify"]);
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), 3);
    assert!(
        all.iter().all(|one| one["equal"] == true && one["same"].as_u64() > Some(10)),
        "{all:?}"
    );
    let summary = run.json(&["replay"]);
    assert_eq!(
        (&summary["file"], &summary["messages"]["accepted"]),
        (&json!("kafka:"), &json!(36))
    );
    let output = run.run(&["replay", "--at", "7"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cpm.journal has 3: say which with --partition N"), "{said}");
    run.answers(&["why", "nobody-has-it"], 1);
}

/// What a journal cannot say it does not say: a gap, and a beginning that retention removed.
#[test]
fn what_is_missing_is_told() {
    let place = Place::new("missing", 1);
    let run = Run { place: &place };
    let mut lines = journal_of(
        &(0..40).map(|n| submitted(&format!("m{n}"), "+15145550100", n)).collect::<Vec<_>>(),
    );
    lines.remove(30);
    place.write_journal(0, &lines);
    let output = run.run(&["replay", "--verify"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("seq 31 where 30 must follow"), "{said}");

    let place = Place::new("removed", 1);
    let run = Run { place: &place };
    let lines = journal_of(
        &(0..40).map(|n| submitted(&format!("m{n}"), "+15145550100", n)).collect::<Vec<_>>(),
    );
    place.write_journal(0, &lines);
    place.remove_before(Topic::Journal, 0, 30);
    let output = run.run(&["replay", "--user", "+15145550100"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("were removed; what is shown rests on the others"), "{said}");
    let output = run.run(&["replay", "--verify"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("nobody knows the state that they left"), "{said}");
    let output = run.run(&["replay", "--at", "3"]);
    assert_eq!(output.status.code(), Some(2));

    let empty = Place::new("empty", 2);
    let output = Run { place: &empty }.run(&["replay"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0));
    assert!(said.contains("no journal record in it"), "{said}");
}

/// A daemon's answers about users and messages, without a daemon.
#[test]
fn users_and_messages_are_shown() {
    let place = Place::new("shown", 3);
    let run = Run { place: &place };
    let inputs: Vec<Vec<Value>> = (0..PARTITIONS).map(inputs).collect();
    for (partition, inputs) in (0..).zip(&inputs) {
        // Until the last input and no further: what waits then waits.
        let until = ["--until", "2026-11-21T08:06:41Z"];
        place.write_journal(partition, &kafka_place::journal_until(inputs, &until));
    }
    let ann = user(1, 0);
    let shown = run.json(&["user", "show", &ann]);
    assert_eq!(shown["user"], ann);
    assert_eq!(shown["messages_in_all"], 4);
    assert_eq!(shown["messages"][0]["message_id"], "m1-0-0");
    assert_eq!(shown["messages"][0].get("body"), None);
    assert_eq!(
        run.json(&["user", "show", &ann, "--with-content"])["messages"][0]["body"],
        "secret words"
    );
    run.answers(&["user", "show", "+15145559999"], 1);

    let list = run.json(&["user", "list"]);
    let mut users: Vec<&str> =
        list.as_array().unwrap().iter().map(|one| one["user"].as_str().unwrap()).collect();
    users.sort_unstable();
    let mut expected: Vec<String> =
        (0..PARTITIONS).flat_map(|p| (0..3).map(move |n| user(p, n))).collect();
    expected.sort_unstable();
    assert_eq!(users, expected);
    assert_eq!(run.json(&["user", "list", "--limit", "2"]).as_array().unwrap().len(), 2);

    let message = run.json(&["message", "show", "m2-1-3"]);
    assert_eq!(
        (&message["user"], &message["messages"][0]["message_id"]),
        (&json!(user(2, 1)), &json!("m2-1-3"))
    );
    run.answers(&["message", "show", "nobody-has-it"], 1);
}

/// What is handed in stands on its topic; who reads a refusal can hand it in again.
#[test]
fn inputs_go_to_their_topics() {
    let place = Place::new("inputs", 3);
    let run = Run { place: &place };
    let told = run.json(&[
        "submit",
        "+1 514 555 0100",
        "--from",
        "tel:+15145550199",
        "--text",
        "hi",
        "--id",
        "m1",
        "--to",
        "kafka",
    ]);
    assert_eq!(told["topic"], place.cluster.topic(Topic::Messages));
    run.answers(&["observe", "cs-attached", "+15145550100", "--to", "kafka"], 0);
    let attempt = "e92ba5bbef7dde69-1-cpm-message";
    let delivery = json!({ "id": attempt, "subject": "tel:+15145550100" });
    place.write(Topic::Deliveries, 1, &delivery.to_string());
    run.answers(&["outcome", attempt, "delivered", "--to", "kafka"], 0);
    run.answers(&["outcome", "unknown-1-cpm-message", "delivered", "--to", "kafka"], 1);
    run.answers(
        &["submit", "nobody", "--from", "tel:+15145550199", "--text", "hi", "--to", "kafka"],
        1,
    );
    run.answers(
        &["user", "hold", "+15145550100", "--operator", "ann", "--reason", "x", "--to", "kafka"],
        0,
    );
    let key = Some("tel:+15145550100".to_owned());
    let kinds = |topic| -> Vec<(Option<String>, String)> {
        let records = run.records(topic).into_iter();
        records.map(|(key, event)| (key, event["type"].as_str().unwrap().to_owned())).collect()
    };
    assert_eq!(
        kinds(Topic::Messages),
        [
            (key.clone(), "cpm.message.submitted.v1".into()),
            (key.clone(), "cpm.user.held.v1".into())
        ]
    );
    assert_eq!(kinds(Topic::Reachability), [(key.clone(), "cpm.cs.attached.v1".into())]);
    assert_eq!(kinds(Topic::Outcomes), [(key, "cpm.delivery.outcome.v1".into())]);

    let file =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}in", place.cluster.prefix));
    let good = event("7", "cpm.cs.attached.v1", "+1 (514) 555-0101", 0, &json!({}));
    std::fs::write(&file, format!("{good}\nnot json\n")).unwrap();
    let output = run.run(&["ingest", "jsonl", file.to_str().unwrap(), "--to", "kafka"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0), "{said}");
    assert!(said.contains("cpm.cs.attached  1") && said.contains("lines refused    1"), "{said}");
    let all = run.records(Topic::Reachability);
    // Normalised, as it would have been printed.
    assert!(all.iter().any(|(_, event)| event["subject"] == "tel:+15145550101"), "{all:?}");

    let letters = run.json(&["dead-letters", "list"]);
    let letter = &letters.as_array().unwrap()[0];
    assert_eq!(
        (letters.as_array().unwrap().len(), &letter["type"]),
        (1, &json!("cpm.input.rejected.v1"))
    );
    // No mending has helped this one; an input that was refused for its time is taken.
    run.answers(&["dead-letters", "retry", letter["id"].as_str().unwrap()], 1);
    let again = event("8", "cpm.cs.attached.v1", "tel:+15145550102", 0, &json!({}));
    let letter = json!({ "id": "x", "data": { "reason": "late", "input": again } });
    place.write(Topic::DeadLetters, 2, &letter.to_string());
    run.answers(&["dead-letters", "retry", "x"], 0);
    let all = run.records(Topic::Reachability);
    assert!(all.iter().any(|(_, event)| *event == again), "{all:?}");
    run.answers(&["dead-letters", "retry", "y"], 1);
}

/// Ctrl-C ends it when what was read is there, also while its pipe says nothing.
#[test]
fn an_ingest_is_stopped_by_hand() {
    let place = Place::new("stopped", 3);
    let run = Run { place: &place };
    let mut ingest = run
        .command(&["ingest", "jsonl", "-", "--to", "kafka"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = ingest.stdin.take().unwrap();
    for n in 0..1234_u64 {
        let user = format!("tel:+1514555{n:04}");
        let seen = event(&n.to_string(), "cpm.cs.attached.v1", &user, 0, &json!({}));
        writeln!(stdin, "{seen}").unwrap();
    }
    stdin.flush().unwrap();
    // All are sent although the pipe is open and more may come.
    let arrived = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        run.records(Topic::Reachability).len() == 1234
    });
    assert!(arrived);
    let pid = ingest.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let done = ingest.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(
        said.contains("stopped after 1234 lines") && said.contains("cpm.cs.attached  1234"),
        "{said}"
    );
    drop(stdin);
}

#[test]
fn a_cluster_that_is_not_there_is_told() {
    let nowhere = ["--set", "log=kafka", "--set", "kafka.brokers=127.0.0.1:1"];
    let commands: [&[&str]; 4] = [
        &["replay"],
        &["user", "list"],
        &["dead-letters", "list"],
        &["observe", "cs-attached", "+15145550100", "--to", "kafka"],
    ];
    let all = commands.map(|args| {
        std::thread::spawn(move || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_deferd"));
            (args, command.args(args).args(nowhere).output().unwrap())
        })
    });
    for one in all {
        let (args, output) = one.join().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains("127.0.0.1:1") && said.contains("kafka.brokers"), "{args:?}: {said}");
    }
}
