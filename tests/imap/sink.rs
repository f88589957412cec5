//! The sink that keeps records: from a rule of the user to a message in the store, and the outcome back.

use std::sync::Arc;
use std::time::Duration;

use deferd::edge::imap::{Imap, Settings as Imaps};
use deferd::edge::sink::{Settings, SinkHandle, Storing, Webhook, World, start};
use deferd::engine::tail::Tails;
use deferd::log::embedded::{Frames, Place, Until};
use serde_json::{Value, json};

use super::data::DataDirectory;
use super::process::{self, Process};
use super::{Case, NUMBER, until};

/// T-30, A-5, SEED0-56.2, SEED0-56.4: stored is said when it is; what cannot be stored is said, too.
#[test]
fn what_is_to_be_stored_is_and_the_engine_hears_of_it() {
    let mut case = Case::new();
    let mut full = case.server.user("+15145550101");
    full.make("Default/c1");
    full.add("Default/c1", &"0123456789abcd\r\n".repeat(65_000));
    let mut daemon = Daemon::new("imap-sink");
    let sinks = daemon.start(&case);
    daemon.submit(NUMBER, "m1", json!({ "body": "hello" }));
    daemon.submit(NUMBER, "m2", json!({ "body": "x", "content_type": "text/plain\r\nBcc: all" }));
    daemon.submit("+15145550101", "m3", json!({ "body": "hello ".repeat(10_000) }));
    let outcomes = daemon.hear(3);
    assert_eq!(outcomes["m1"], json!(["stored", null]));
    for (id, why) in [("m2", "control character"), ("m3", "full")] {
        assert_eq!(outcomes[id][0], "failed");
        assert!(outcomes[id][1].as_str().unwrap().contains(why), "{}", outcomes[id]);
    }
    let mut user = case.server.user(NUMBER);
    assert_eq!(user.flags("Default/c1").len(), 1);

    // Down: it is tried again, and nothing is doubled. What is too late is not stored any more.
    case.server.stop();
    daemon.submit(NUMBER, "m4", json!({ "body": "hello" }));
    daemon.work("it says what is wrong", || sinks[0].health().is_some());
    case.server.run();
    assert_eq!(daemon.hear(4)["m4"], json!(["stored", null]));
    stop(sinks);
    case.server.stop();
    daemon.submit(NUMBER, "m5", json!({ "body": "hello" }));
    let sinks = daemon.start(&case);
    daemon.made.clock.pass(3_600_000);
    assert_eq!(daemon.hear(5)["m5"], json!(["failed", "late"]));
    stop(sinks);
    case.server.run();
    let mut user = case.server.user(NUMBER);
    assert_eq!(user.flags("Default/c1").len(), 2);
}

/// The daemon itself, by its configuration: a record is there once, also after a restart.
#[test]
fn the_daemon_keeps_records() {
    let case = Case::new();
    let data = process::scratch("imap-daemon").join("data");
    let more = sets(&case);
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let mut user = case.server.user(NUMBER);
    user.make("Default/c1");
    let daemon = Process::start(&data, &more);
    let rules = json!({ "rules": [{ "name": "quiet", "actions": ["allow-store"] }] });
    let message = json!({
        "message_id": "m1", "from": "tel:+15145550199", "kind": "pager", "content_type": "text/plain",
        "body": "hello", "conversation_id": "c1",
    });
    tell(&daemon, "1", "cpm.preferences.changed.v1", &rules);
    tell(&daemon, "2", "cpm.message.submitted.v1", &message);
    until("it is kept and told", || daemon.get("/metrics").1.contains(&kept(1)));
    assert_eq!(user.flags("Default/c1").len(), 1);
    daemon.stop();
    let daemon = Process::start(&data, &more);
    daemon.stop();
    assert_eq!(user.flags("Default/c1").len(), 1);
}

/// SEED0-60: a rule with allow-offline-storage has a message recorded in the history, and it is delivered all
/// the same; the record is there once, also where the daemon is killed, and asks the store again.
#[test]
fn the_daemon_records_what_it_delivers() {
    let case = Case::new();
    let data = process::scratch("imap-history").join("data");
    let mut more = sets(&case);
    more.extend(["--set".to_owned(), "policy.settle_seconds=0".to_owned()]);
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let mut user = case.server.user(NUMBER);
    user.make("Default/c1");
    let message = |id: &str| {
        json!({
            "message_id": id, "from": "tel:+15145550199", "kind": "pager", "content_type": "text/plain",
            "body": "hello", "conversation_id": "c1",
        })
    };
    let daemon = Process::start(&data, &more);
    let cursor = data.join("sinks/imap");
    let not_begun = std::fs::read(&cursor).unwrap();
    let rules = json!({ "rules": [{ "name": "history", "actions": ["allow-offline-storage"] }] });
    tell(&daemon, "1", "cpm.preferences.changed.v1", &rules);
    let phone = json!({
        "registration": "initial", "device": { "instance": "phone1" }, "features": ["oma.cpm.msg"],
        "expires_at": "2099-01-01T00:00:00Z",
    });
    tell(&daemon, "2", "cpm.ims.registered.v1", &phone);
    tell(&daemon, "3", "cpm.message.submitted.v1", &message("m1"));

    let deliveries = || -> Vec<Value> {
        let page: Value = serde_json::from_str(&daemon.get("/v1/deliveries").1).unwrap();
        let all = page["events"].as_array().cloned().unwrap_or_default();
        all.into_iter().filter(|event| event["type"] == "cpm.delivery.requested.v1").collect()
    };
    until("it is to be delivered", || !deliveries().is_empty());
    let delivery = deliveries().remove(0);
    assert_eq!(delivery["data"]["message_id"], "m1");
    let outcome = json!({ "attempt_id": delivery["data"]["attempt_id"], "outcome": "delivered" });
    tell(&daemon, "4", "cpm.delivery.outcome.v1", &outcome);
    let (_, why) = daemon.get("/v1/messages/m1/why");
    assert!(why.contains("delivered"), "{why}");
    until("it is recorded", || daemon.get("/metrics").1.contains(&kept(1)));
    assert_eq!(deliveries().len(), 1);
    assert_eq!(user.flags("Default/c1"), [(1, String::new())]);

    // It was killed before it had noted what it had done.
    daemon.kill();
    std::fs::write(&cursor, not_begun).unwrap();
    let daemon = Process::start(&data, &more);
    tell(&daemon, "5", "cpm.message.submitted.v1", &message("m2"));
    let records = || case.server.user(NUMBER).flags("Default/c1").len();
    until("both are recorded", || daemon.get("/metrics").1.contains(&kept(2)));
    daemon.stop();
    assert_eq!(records(), 2);
}

/// Wrong configuration ends the daemon before it does anything, and says which key.
#[test]
fn a_daemon_without_its_store_does_not_start() {
    let data = process::scratch("imap-wrong").join("data");
    for (sets, says) in [
        (&["sinks.imap=true"][..], "imap.server is not"),
        (&["imap.server=192.0.2.1:143", "imap.security=plain"], "imap.plain_anywhere"),
        (&["imap.server=127.0.0.1:143", "imap.security=plain"], "holds no password"),
        (&["imap.server=127.0.0.1:993", "imap.ca_file=/none"], "imap.ca_file: /none"),
    ] {
        let ended = std::process::Command::new(env!("CARGO_BIN_EXE_deferd"))
            .args(["run", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&data)
            .args(sets.iter().flat_map(|set| ["--set", set]))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(78), "{sets:?}: {said}");
        assert!(said.contains(says), "{sets:?}: {said}");
    }
}

/// What the daemon is told of the store.
fn sets(case: &Case) -> Vec<String> {
    let password = case.server.directory.join("password");
    let sets = [
        format!("imap.server=127.0.0.1:{}", case.server.port),
        "imap.security=plain".to_owned(),
        "imap.login={msisdn}*deferd".to_owned(),
        format!("imap.password_file={}", password.display()),
        "sinks.imap=true".to_owned(),
    ];
    sets.into_iter().flat_map(|set| ["--set".to_owned(), set]).collect()
}

fn tell(daemon: &Process, id: &str, kind: &str, data: &Value) {
    let event = json!({
        "specversion": "1.0", "id": id, "source": "/test", "type": kind,
        "subject": format!("tel:{NUMBER}"), "data": data,
    });
    let (status, said) = daemon.post(&event.to_string()).unwrap();
    assert_eq!(status, 202, "{kind}: {said}");
}

/// How metrics say that so many requests to store are done.
fn kept(count: u32) -> String {
    format!("deferd_sink_sent_total{{sink=\"imap\",result=\"ok\"}} {count}\n")
}

fn stop(sinks: Vec<SinkHandle>) {
    for sink in sinks {
        assert!(sink.stop(Duration::from_secs(30)));
    }
}

/// A data directory whose users' rules say that messages are stored.
struct Daemon {
    made: DataDirectory,
    tails: Arc<dyn Tails>,
    numbers: Vec<String>,
}

impl Daemon {
    fn new(name: &str) -> Self {
        let mut made = DataDirectory::new(name, 1, 1 << 20);
        let tails = Arc::new(made.tails());
        Self { made, tails, numbers: Vec::new() }
    }

    fn submit(&mut self, number: &str, id: &str, mut data: Value) {
        let now = deferd::engine::ports::Clock::now(&self.made.clock).to_string();
        let event = |id: &str, kind: &str, data: Value| {
            json!({
                "specversion": "1.0", "id": id, "source": "/test", "type": kind,
                "subject": format!("tel:{number}"), "time": now, "data": data,
            })
            .to_string()
        };
        let mut events = Vec::new();
        if !self.numbers.iter().any(|known| known == number) {
            self.numbers.push(number.to_owned());
            let rules = json!({ "rules": [{ "name": "quiet", "actions": ["allow-store"] }] });
            events.push(event(&format!("prefs-{number}"), "cpm.preferences.changed.v1", rules));
        }
        for (name, value) in [
            ("message_id", id),
            ("from", "tel:+15145550199"),
            ("kind", "pager"),
            ("conversation_id", "c1"),
        ] {
            data[name] = value.into();
        }
        if data["content_type"].is_null() {
            data["content_type"] = "text/plain".into();
        }
        events.push(event(id, "cpm.message.submitted.v1", data));
        self.made.take(&events);
    }

    fn start(&self, case: &Case) -> Vec<SinkHandle> {
        let store = Imap::new(Imaps { timeout: Duration::from_secs(5), ..case.server.settings() });
        let storing = Storing {
            store: Arc::new(store.unwrap()),
            runtime: case.runtime.handle().clone(),
            concurrency: 2,
        };
        let settings = Settings {
            webhook: Webhook {
                first_wait: Duration::from_millis(50),
                lifetime: Duration::from_secs(1800),
                ..Webhook::default()
            },
            storing: Some(storing),
            ..Settings::default()
        };
        let world = World {
            tails: Arc::clone(&self.tails),
            intake: Arc::clone(&self.made.inboxes) as _,
            clock: Arc::new(self.made.clock.clone()),
            watch: Arc::new(()),
        };
        start(&settings, &self.made.path().join("sinks"), &world).unwrap()
    }

    /// Takes what is handed in, and lets time pass, until something is so.
    fn work(&mut self, what: &str, is_so: impl Fn() -> bool) {
        let made = std::cell::RefCell::new(&mut self.made);
        until(what, || {
            let mut made = made.borrow_mut();
            made.step();
            made.clock.pass(100);
            is_so()
        });
    }

    /// Waits for so many outcomes: of each message, what and why.
    fn hear(&mut self, count: usize) -> serde_json::Map<String, Value> {
        let directory = self.made.path();
        self.work("outcomes come", || outcomes(&directory).len() >= count);
        outcomes(&directory)
    }
}

fn outcomes(path: &std::path::Path) -> serde_json::Map<String, Value> {
    let directory = deferd::log::embedded::Directory::open(path).unwrap();
    let place = Place::published(&directory.partition(0)).unwrap_or_default();
    let mut frames = Frames::oldest(&directory, 0).unwrap();
    let mut all = serde_json::Map::new();
    while let Some(frame) = frames.next(Until::Place(place)).unwrap() {
        let record: Value = serde_json::from_slice(frame.line).unwrap();
        let input = &record["input"];
        if input["type"] == "cpm.storage.outcome.v1" {
            let id = input["data"]["message_id"].as_str().unwrap().to_owned();
            let said = json!([input["data"]["outcome"], input["data"]["reason"]]);
            assert!(all.insert(id, said).is_none(), "told twice: {input}");
        }
    }
    all
}
