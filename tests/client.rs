//! The verbs that ask a daemon, as a person types them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and says so"
)]

mod daemon;

use std::path::Path;
use std::process::Command;

use daemon::{BATCH, Daemon, ONE, Setup, USER, attach, deliverable, submitted};
use serde_json::{Value, json};

const NUMBER: &str = "+15145550100";

#[test]
fn a_message_is_handed_in_delivered_and_asked_for() {
    let daemon = Daemon::start(Setup::default());
    let run = |arguments: &[&str]| deferd(&daemon, arguments);
    let sent = run(&["submit", NUMBER, "--from", "tel:+15145550199", "--text", "hi", "--id", "m1"]);
    assert_eq!((sent.code, sent.err.as_str()), (0, ""));
    assert!(sent.out.starts_with("message m1: decided"), "{}", sent.out);
    let again =
        run(&["submit", NUMBER, "--from", "tel:+15145550199", "--text", "hi", "--id", "m1"]);
    assert!(again.code == 0 && again.out.contains("duplicate"), "{}", again.out);

    let listed = run(&["user", "list"]);
    assert!(listed.out.starts_with(USER), "{}", listed.out);
    let shown = run(&["user", "show", NUMBER]);
    for words in [USER, "m1 from tel:+15145550199: Pending", "in the way", "would move it", "due"] {
        assert!(shown.out.contains(words), "{words}: {}", shown.out);
    }
    assert!(
        !shown.out.contains("body hi")
            && run(&["user", "show", NUMBER, "--with-content"]).out.contains("body hi")
    );
    let why = run(&["message", "show", "m1"]);
    assert!(why.out.contains("Pending"), "{}", why.out);

    let seen = run(&[
        "observe",
        "ims-registered",
        NUMBER,
        "--device",
        "sip:a@192.0.2.1",
        "--output",
        "json",
    ]);
    assert_eq!(seen.json()["fate"], "decided");
    let page = daemon.get("/v1/deliveries").json();
    let attempt = page["events"][0]["id"].as_str().unwrap().to_owned();
    let ended = run(&["outcome", &attempt, "delivered"]);
    assert!(ended.code == 0 && ended.out.contains("delivered: decided"), "{}", ended.out);
    let shown = run(&["message", "show", "m1", "--user", NUMBER, "--output", "json"]).json();
    assert_eq!(shown["messages"][0]["ended"]["how"], "delivered by cpm");
    let none = run(&["outcome", "0-1-cpm-message", "delivered"]);
    assert!(none.code == 1 && none.err.contains("--user"), "{}", none.err);
}

#[test]
fn every_sighting_is_taken() {
    let daemon = Daemon::start(Setup::default());
    for (what, more) in [
        ("cs-attached", vec![]),
        ("cs-detached", vec![]),
        ("ps-attached", vec![]),
        ("ps-detached", vec![]),
        ("ims-registered", vec!["--expires", "60", "--features", "+g.oma.cpm.msg"]),
        ("ims-deregistered", vec!["--device", "urn:gsma:imei:35622410-483840-0"]),
        ("sms-ready", vec!["--alert-reason", "memory", "--domain", "CS"]),
    ] {
        let mut arguments = vec!["observe", what, NUMBER, "--output", "json"];
        arguments.extend(more);
        let told = deferd(&daemon, &arguments);
        assert_eq!(told.code, 0, "{what}: {}{}", told.out, told.err);
    }
    let bad = deferd(&daemon, &["observe", "cs-attached", "55555"]);
    assert_eq!(bad.code, 1);
    assert!(bad.out.contains("rejected, subject: a short code"), "{}", bad.out);
}

#[test]
fn what_a_person_does_is_kept_with_name_and_reason() {
    let daemon = Daemon::start(Setup::default());
    let run = |arguments: &[&str]| deferd(&daemon, arguments);
    for id in ["m1", "m2", "m3"] {
        daemon.post(ONE, submitted(id).to_string().as_bytes());
    }
    let hand = ["--operator", "ann", "--reason", "ticket 4711"];
    let held = run(&[["user", "hold", NUMBER].as_slice(), &hand].concat());
    assert!(held.code == 0 && held.out.starts_with("+15145550100 held: decided"), "{}", held.out);
    assert!(run(&["user", "show", NUMBER]).out.contains("held by a person"));
    assert_eq!(run(&[["user", "release", NUMBER].as_slice(), &hand].concat()).code, 0);
    assert_eq!(run(&[["user", "retry", NUMBER].as_slice(), &hand].concat()).code, 0);
    for (verb, id) in [("cancel", "m1"), ("expire", "m2"), ("retry", "m3")] {
        let told = run(&[["message", verb, id].as_slice(), &hand].concat());
        assert_eq!(told.code, 0, "{verb}: {}{}", told.out, told.err);
    }
    assert!(run(&["message", "show", "m1"]).out.contains("cancelled"));
    assert!(run(&["message", "show", "m2"]).out.contains("expired"));
    assert!(daemon.journal_holds("ticket 4711") && daemon.journal_holds("\"operator\":\"ann\""));
    assert_eq!(run(&["message", "cancel", "m3"]).code, 2, "no reason given");
    let nobody = run(&[["message", "cancel", "m9"].as_slice(), &hand].concat());
    assert!(nobody.code == 1 && nobody.err.contains("no message `m9`"), "{}", nobody.err);
}

#[test]
fn a_dead_letter_is_handed_in_again() {
    let daemon = Daemon::start(Setup::default());
    let run = |arguments: &[&str]| deferd(&daemon, arguments);
    assert_eq!(run(&["dead-letters", "list"]).out, "");
    let mut other = submitted("m1");
    other["id"] = json!("another");
    other["data"]["body"] = json!("another text");
    daemon.post(BATCH, json!([submitted("m1"), other]).to_string().as_bytes());
    let listed = run(&["dead-letters", "list", "--output", "json"]).json();
    assert_eq!(listed[0]["data"]["code"], "conflict");
    let id = listed[0]["id"].as_str().unwrap();
    assert!(run(&["dead-letters", "list"]).out.contains("conflict: the same message_id"));
    let again = run(&["dead-letters", "retry", id]);
    assert_eq!(again.code, 1, "{}", again.out);
    assert!(again.out.contains("rejected, conflict"), "{}", again.out);

    let cancel = json!({
        "specversion": "1.0", "id": "c", "source": "/o", "type": "cpm.user.purged.v1", "subject": USER,
        "data": {},
    });
    daemon.post(ONE, cancel.to_string().as_bytes());
    let again = run(&["dead-letters", "retry", id]);
    assert_eq!(again.code, 0, "{}", again.out);
    let none = run(&["dead-letters", "retry", "http/0/999"]);
    assert!(none.code == 1 && none.err.contains("dead-letters list"), "{}", none.err);
}

#[test]
fn why_asks_the_daemon() {
    let daemon = Daemon::start(Setup::default());
    deliverable(&daemon, 1);
    daemon.post(ONE, submitted("waits").to_string().as_bytes());
    daemon.post(ONE, attach("a").to_string().as_bytes());
    let why = deferd(&daemon, &["why", "waits"]);
    assert_eq!((why.code, why.err.as_str()), (0, ""));
    assert!(
        why.out.contains("waits to tel:+15145550100") && why.out.contains("IpWait"),
        "{}",
        why.out
    );
    assert!(why.out.contains("what would move it"));
    let json = deferd(&daemon, &["why", "waits", "--user", NUMBER, "--output", "json"]).json();
    assert_eq!(json[0]["stands"], json!(["IpWait"]));
    let nobody = deferd(&daemon, &["why", "nobody"]);
    assert!(nobody.code == 1 && nobody.err.contains("no message `nobody`"), "{}", nobody.err);
}

#[test]
fn who_cannot_be_asked_is_told() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    let run = |arguments: &[&str]| ran(Command::new(env!("CARGO_BIN_EXE_deferd")).args(arguments));
    let nobody = run(&["user", "list", "--url", &url]);
    let words =
        format!("error: no daemon at {url}: start one with `deferd run`, or name it with --url\n");
    assert_eq!((nobody.code, nobody.err), (2, words));
    let listen = format!("http.listen={free}");
    assert_eq!(run(&["user", "list", "--set", &listen]).code, 2);
    assert!(run(&["user", "list", "--url", "ftp://a"]).err.contains("expected http://HOST:PORT"));

    let daemon = Daemon::start(Setup { token: Some("s3cret"), ..Setup::default() });
    let refused = deferd(&daemon, &["user", "list"]);
    assert!(refused.code == 2 && refused.err.contains("http.token_file"), "{}", refused.err);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("client-token");
    std::fs::write(&file, "s3cret\n").unwrap();
    let key = format!("http.token_file={}", file.display());
    assert_eq!(deferd(&daemon, &["user", "list", "--set", &key]).code, 0);
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}{}", self.out, self.err))
    }
}

fn deferd(daemon: &Daemon, arguments: &[&str]) -> Ran {
    let url = format!("http://{}", daemon.address);
    ran(Command::new(env!("CARGO_BIN_EXE_deferd")).args(arguments).args(["--url", &url]))
}

fn ran(command: &mut Command) -> Ran {
    let done = command.env_remove("DEFERD_CONFIG").env_remove("USER").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: done.status.code().unwrap(), out: text(done.stdout), err: text(done.stderr) }
}
