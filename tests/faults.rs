//! The real daemon and a world that fails: a full disk, a clock that leaps, a crowd, an hour's absence.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says so; it waits by a clock"
)]

mod process;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use process::{Audit, Process, scratch};
use serde_json::Value;

/// The library that `faketime` puts under a program.
fn faketime() -> String {
    let asked =
        Command::new("faketime").args(["-m", "-f", "+0", "printenv", "LD_PRELOAD"]).output();
    let said = asked.expect("faketime is missing: apt-get install faketime").stdout;
    String::from_utf8(said).unwrap().trim().to_owned()
}

fn event(id: &str, user: &str, kind: &str, data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/test","type":"cpm.{kind}.v1","subject":"{user}","data":{data}}}"#
    )
}

fn message(id: &str, user: &str) -> String {
    let data = format!(
        r#"{{"message_id":"{id}","from":"tel:+15145550199","kind":"pager","content_type":"text/plain","body":"hello"}}"#
    );
    event(id, user, "message.submitted", &data)
}

fn registration(id: &str, user: &str) -> String {
    let data = r#"{"device":{"contact":"sip:a@192.0.2.1"},"expires_at":"2099-01-01T00:00:00Z","cpm_capable":true}"#;
    event(id, user, "ims.registered", data)
}

fn user(n: usize) -> String {
    format!("tel:+1514{n:07}")
}

fn taken(process: &Process, events: &[String]) {
    for batch in events.chunks(500) {
        let (status, body) = process.post(&format!("[{}]", batch.join(","))).unwrap();
        assert_eq!(status, 202, "{body}");
    }
}

/// All deliveries so far, from the first on.
fn deliveries(process: &Process) -> Vec<Value> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let (status, body) = process.get(&format!("/v1/deliveries?limit=1000{after}"));
        assert_eq!(status, 200, "{body}");
        let page: Value = serde_json::from_str(&body).unwrap();
        let events = page["events"].as_array().unwrap();
        if events.is_empty() {
            return all;
        }
        all.extend(events.iter().cloned());
        after = format!("&after={}", page["next"].as_str().unwrap());
    }
}

/// Waits until it holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "it never came: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs the binary to its end; its exit code, and what it said.
fn ends(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_deferd"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What stands in the way of a start is told, and nothing is touched.
#[test]
fn a_start_that_cannot_be_is_refused_with_what_to_do() {
    let data = scratch("refused");
    let mut first = Process::start(&data, &[]);
    let dir = data.to_str().unwrap();
    let port = first.url.strip_prefix("http://").unwrap().to_owned();
    let other = scratch("refused-other");
    let other = other.to_str().unwrap();

    let (code, said) = ends(&["run", "--data-dir", dir, "--listen", "127.0.0.1:0"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(&format!("in use by process {}", first.pid())), "{said}");
    let (code, said) = ends(&["run", "--data-dir", other, "--listen", &port]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(&format!("cannot listen on {port}")), "{said}");
    for (set, words) in [
        ("http.lisen=1", "is no key; the nearest is http.listen"),
        ("policy.settle_seconds=100", "expected whole seconds from 0 to 60"),
        ("http.listen=0.0.0.0:0", "name a file with a token in http.token_file"),
        ("http.token_file=/nonexistent", "cannot read /nonexistent"),
    ] {
        let (code, said) = ends(&["run", "--data-dir", other, "--set", set]);
        assert_eq!(code, Some(78), "{set}: {said}");
        assert!(said.contains(words), "{set}: {said}");
    }
    let kafka = ["run", "--data-dir", other, "--set", "log=kafka", "--set"];
    let (code, said) = ends(&[&kafka[..], &["sinks.webhook_deliveries=http://h/"]].concat());
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("run a consumer of cpm.deliveries"), "{said}");
    let (code, said) = ends(&["run", "--data-dir", other, "--input", "/nonexistent"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("cannot read /nonexistent"), "{said}");
    assert!(std::fs::read_dir(other).unwrap().next().is_none(), "nothing was touched");

    // The first one never noticed.
    taken(&first, &[message("m1", &user(1))]);
    first.signal("TERM");
    assert_eq!(first.ended().code(), Some(0));
    let (code, said) =
        ends(&["run", "--data-dir", dir, "--listen", "127.0.0.1:0", "--set=embedded.partitions=3"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("has 1 partitions"), "{said}");
    let layout = data.join("layout.json");
    let text = std::fs::read_to_string(&layout).unwrap();
    std::fs::write(&layout, text.replace("\"version\":1", "\"version\":9")).unwrap();
    let (code, said) = ends(&["run", "--data-dir", dir, "--listen", "127.0.0.1:0"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("version 9, newer than 1"), "{said}");
}

/// What was acknowledged before a clean stop is there, and a second signal does not wait.
#[test]
fn a_stop_is_clean_and_a_second_one_at_once() {
    let data = scratch("stop");
    let process = Process::start(&data, &[]);
    let events: Vec<_> = (0..2000).map(|n| message(&format!("m{n}"), &user(n))).collect();
    taken(&process, &events);
    process.stop();
    let mut audit = Audit::default();
    audit.read_on(&data, 0);
    audit.same_as_restored(&data, 0);
    assert_eq!(audit.taken.len(), 2000);

    // A pipe that never ends holds nobody up; neither does a reader that waits for news.
    let mut process = Process::start(&data, &[]);
    assert!(process.said().contains("replayed=0"), "the checkpoint held all: {}", process.said());
    let url = process.url.clone();
    let waiting = std::thread::spawn(move || {
        drop(ureq::get(format!("{url}/v1/deliveries?after=now&wait=60")).call());
    });
    std::thread::sleep(Duration::from_millis(300));
    process.signal("TERM");
    assert_eq!(process.ended().code(), Some(0), "{}", process.said());
    waiting.join().unwrap();
}

/// A reload changes the policy and journals it; a wrong file changes nothing.
#[test]
fn a_reload_is_journalled() {
    let data = scratch("reload");
    let config = data.with_extension("toml");
    std::fs::write(&config, "[policy]\nsettle_seconds = 1\n").unwrap();
    let file = format!("--config={}", config.display());
    let mut process = Process::start(&data, &[&file]);
    std::fs::write(&config, "[policy]\nsettle_seconds = 3\n").unwrap();
    process.signal("HUP");
    process.wait_for("configuration read again");
    std::fs::write(&config, "[policy]\nsettle_seconds = \"x\"\n").unwrap();
    process.signal("HUP");
    process.wait_for("the configuration stays as it was");
    let (status, body) = put(
        &process,
        "/v1/switches/access_sms",
        r#"{"value":"off","operator":"ann","reason":"a storm of SMS"}"#,
    );
    assert_eq!(status, 200, "{body}");
    process.stop();
    let (code, out) = replayed(&data, &["--output", "jsonl"]);
    assert_eq!(code, Some(0));
    let policies: Vec<_> = out.lines().filter(|line| line.contains("cpm.policy.changed")).collect();
    assert_eq!(policies.len(), 3, "{out}");
    assert!(policies[1].contains("\"settle_seconds\":3"), "{}", policies[1]);
    assert!(policies[2].contains("\"access_sms\":\"off\""), "{}", policies[2]);
    assert!(policies[2].contains("a storm of SMS") && policies[2].contains("ann"));

    // It holds over a restart, until somebody lifts it.
    let process = Process::start(&data, &[]);
    assert!(process.said().contains("a kill switch is set by hand"), "{}", process.said());
    let (_, body) = process.get("/v1/switches/access_sms");
    assert!(body.contains("\"off\""), "{body}");
}

fn put(process: &Process, path: &str, body: &str) -> (u16, String) {
    let answer = ureq::put(format!("{}{path}", process.url)).send(body).unwrap();
    (answer.status().as_u16(), answer.into_body().read_to_string().unwrap())
}

fn replayed(data: &Path, more: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_deferd"))
        .arg("replay")
        .arg(data)
        .args(more)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The disk is full at an append and at a checkpoint: inputs are answered 503, nothing acknowledged is
/// lost, and it goes on by itself when there is room.
#[test]
fn a_full_disk_stops_nothing_for_good() {
    let data = scratch("full");
    // Its own small disk, in a mount namespace of its own.
    let script = "mount -t tmpfs -o size=48m tmpfs \"$0\" && head -c 46000000 /dev/zero > \"$0/ballast\" && exec \"$@\"";
    let log = data.with_extension("log");
    let child = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script])
        .arg(&data)
        .arg(env!("CARGO_BIN_EXE_deferd"))
        .args(["run", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&data)
        .args(["--set=http.timeout_seconds=2", "--set=embedded.checkpoint_seconds=1"])
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut process = Process::of(child, log);
    process.wait_for("ready");
    let inside = PathBuf::from(format!("/proc/{}/root{}", process.pid(), data.display()));

    let body = "x".repeat(2000);
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    for n in 0..3000 {
        let id = format!("m{n}");
        let event = message(&id, &user(n)).replace("hello", &body);
        match process.post(&event).unwrap() {
            (202, _) => acknowledged.push(id),
            (503, said) => {
                assert!(said.contains("No space left") || said.contains("again"), "{said}");
                refused += 1;
                if refused == 5 {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(refused == 5 && acknowledged.len() > 100, "{} taken", acknowledged.len());
    let (status, said) = process.get("/readyz?verbose");
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("No space left"), "{said}");
    assert_eq!(process.get("/livez").0, 200);

    std::fs::remove_file(inside.join("ballast")).unwrap();
    until("readiness after room was made", || process.get("/readyz").0 == 200);
    let (status, said) = process.post(&message("after", &user(9999))).unwrap();
    assert_eq!(status, 202, "{said}");
    acknowledged.push("after".to_owned());

    // What is on its disk, as the next process would find it.
    process.signal("STOP");
    let copy = scratch("full-copy");
    assert!(Command::new("cp").arg("-r").arg(&inside).arg(&copy).status().unwrap().success());
    process.signal("KILL");
    let mut audit = Audit::default();
    audit.read_on(&copy.join(data.file_name().unwrap()), 0);
    for id in acknowledged {
        assert_eq!(audit.taken.get(&("/test".to_owned(), id.clone())), Some(&1), "{id}");
    }
}

/// A disk that may only be read: refused, with what the system says.
#[test]
fn a_read_only_directory_is_refused() {
    let data = scratch("read-only");
    let script = "mount -t tmpfs -o size=1m,ro tmpfs \"$0\" && exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script])
        .arg(&data)
        .arg(env!("CARGO_BIN_EXE_deferd"))
        .args(["run", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&data)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("Read-only file system"), "{said}");
}

/// Rule 6: a clock that leaps ahead fires nothing, and says so; one that leaps back fires nothing early.
#[test]
fn a_clock_that_leaps_fires_nothing() {
    let data = scratch("leap");
    let stamp = data.with_extension("faketime");
    let leap = |by: &str| {
        let new = stamp.with_extension("new");
        std::fs::write(&new, by).unwrap();
        std::fs::rename(new, &stamp).unwrap();
    };
    leap("+0");
    let faketime = faketime();
    let env = [
        ("LD_PRELOAD", &*faketime),
        ("FAKETIME_TIMESTAMP_FILE", stamp.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let wait = "--set=policy.ip_wait_after_attach_seconds=6";
    let mut process = Process::spawn(&data, &[wait, "--set=embedded.catch_up_seconds=0"], &env);
    process.wait_for("ready");
    taken(&process, &[message("m1", &user(1)), event("a1", &user(1), "cs.attached", "{}")]);
    let attached = Instant::now();

    leap("+3600");
    until("the leap is seen", || process.get("/readyz?verbose").1.contains("leapt ahead"));
    assert!(process.get("/metrics").1.contains("deferd_clock_held 1"));
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(deliveries(&process).len(), 0, "an hour ahead, and nothing may ring");
    leap("+0");
    until("the leap is over", || process.get("/readyz").0 == 200);
    leap("-3600");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(deliveries(&process).len(), 0);
    let (_, said) = process.get("/readyz?verbose");
    assert!(said.contains("behind the journal"), "{said}");
    leap("+0");
    until("the SMS, in its time", || deliveries(&process).len() == 1);
    let after = attached.elapsed();
    assert!(after >= Duration::from_millis(5900), "after {after:?}");
    process.stop();
    let mut audit = Audit::default();
    audit.read_on(&data, 0);
}

/// W-5, L-13: down for an hour. What came meanwhile is heard before what fell due meanwhile rings.
#[test]
fn an_hours_absence_is_caught_up_first() {
    for registers in [true, false] {
        let data = scratch(&format!("absent-{registers}"));
        let process = Process::start(&data, &["--set=policy.settle_seconds=0"]);
        taken(&process, &[message("m1", &user(1)), event("a1", &user(1), "cs.attached", "{}")]);
        process.stop();
        let backlog = data.with_extension("jsonl");
        let mut lines: Vec<_> =
            (2..2000).map(|n| event(&format!("b{n}"), &user(n), "ps.attached", "{}")).collect();
        if registers {
            lines.push(registration("r1", &user(1)));
        }
        std::fs::write(&backlog, lines.join("\n")).unwrap();
        let input = format!("--input={}", backlog.display());
        let faketime = faketime();
        let hour = [
            ("LD_PRELOAD", &*faketime),
            ("FAKETIME", "+3600"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        let more = [&*input, "--set=policy.settle_seconds=0", "--set=embedded.catch_up_seconds=0"];
        let mut process = Process::spawn(&data, &more, &hour);
        process.wait_for("input read to its end");
        until("a delivery", || !deliveries(&process).is_empty());
        let first = &deliveries(&process)[0];
        let access = if registers { "cpm" } else { "sms" };
        assert_eq!(first["data"]["access"], access, "{first}");
    }
}

/// A city comes back at once: 100,000 users, a message each.
#[test]
fn a_hundred_thousand_users_at_once() {
    const USERS: usize = 100_000;
    let data = scratch("crowd");
    // Nobody answers, however slow this machine is: an attempt each.
    let patient = "--set=policy.ip_attempt_timeout_seconds=3600";
    let start = "--set=policy.start_within_seconds=3600";
    let process = Process::start(&data, &["--set=policy.settle_seconds=0", patient, start]);
    let began = Instant::now();
    taken(&process, &(0..USERS).map(|n| message(&format!("m{n}"), &user(n))).collect::<Vec<_>>());
    taken(
        &process,
        &(0..USERS).map(|n| registration(&format!("r{n}"), &user(n))).collect::<Vec<_>>(),
    );
    until("their deliveries", || {
        let seen = process.get("/metrics").1;
        let line =
            seen.lines().find(|l| l.starts_with("deferd_messages_waiting{state=\"IpInFlight\"}"));
        line.is_some_and(|line| line.ends_with(&format!(" {USERS}")))
    });
    let all = deliveries(&process);
    let mut ids: Vec<_> = all.iter().map(|e| e["data"]["attempt_id"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((all.len(), ids.len()), (USERS, USERS));
    println!("{USERS} users in {:?}", began.elapsed());
    process.stop();
    assert_eq!(replayed(&data, &["--verify"]).0, Some(0));
}

/// One user with 10,000 messages: taken, delivered in their order, never more at once than the policy says.
#[test]
fn ten_thousand_messages_for_one_user() {
    const MESSAGES: usize = 10_000;
    let data = scratch("heap");
    let process = Process::start(
        &data,
        &["--set=policy.settle_seconds=0", "--set=policy.max_deferred_per_user=20000"],
    );
    let began = Instant::now();
    let all: Vec<_> = (0..MESSAGES).map(|n| message(&format!("m{n}"), &user(1))).collect();
    taken(&process, &all);
    taken(&process, &[registration("r1", &user(1))]);
    let mut next = 0;
    let mut after = String::new();
    // The first 200 are answered; the rest waits its turn.
    while next < 200 {
        let (_, body) = process.get(&format!("/v1/deliveries?wait=10{after}"));
        let page: Value = serde_json::from_str(&body).unwrap();
        after = format!("&after={}", page["next"].as_str().unwrap());
        let events = page["events"].as_array().unwrap();
        assert!(!events.is_empty() && events.len() <= 5, "{} at once", events.len());
        let outcomes: Vec<_> = events
            .iter()
            .map(|delivery| {
                assert_eq!(delivery["data"]["message_id"], format!("m{next}"));
                next += 1;
                let attempt = delivery["data"]["attempt_id"].as_str().unwrap();
                let data = format!(r#"{{"attempt_id":"{attempt}","outcome":"delivered"}}"#);
                event(&format!("o{next}"), &user(1), "delivery.outcome", &data)
            })
            .collect();
        taken(&process, &outcomes);
    }
    println!("{MESSAGES} messages, {next} delivered in {:?}", began.elapsed());
    process.stop();
    assert_eq!(replayed(&data, &["--verify"]).0, Some(0));
}
