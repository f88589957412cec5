//! The standards' documents over HTTP, on the real engine and log: what gateways, clients and application
//! servers say, and what the right answer and the right delivery are.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and says so"
)]

mod daemon;
#[path = "front/documents.rs"]
mod documents;
#[path = "front/events.rs"]
mod events;
#[path = "front/flags.rs"]
mod flags;
#[path = "front/messages.rs"]
mod messages;
#[path = "front/stored.rs"]
mod stored;

use std::time::Duration;

use daemon::{Answer, Daemon, Setup, USER};
use deferd::cli::config::Config;
use deferd::domain::address::Home;
use deferd::domain::policy::Policy;
use deferd::edge::front::Rules;
use deferd::engine::worker::Settings;
use serde_json::{Value, json};

/// Who the others are.
const GATEWAY: &str = "sip:iwf@example.org";
const SERVER: &str = "sip:as@example.org";
const SENDER: &str = "tel:+15145550199";
/// Their tokens.
const CALLERS: &str = "sip:iwf@example.org gateway-token\nsip:as@example.org server-token\n\
                       tel:+15145550100 user-token\ntel:+15145550199 sender-token\n";
const EVENTS: &str = "application/vnd.oma.cpm-eventfw+xml";

fn rules() -> Rules {
    Rules {
        address: "sip:pf@ims.example.org".into(),
        gateways: vec![GATEWAY.into()],
        application_servers: vec![SERVER.into()],
        ..Config::default().front(&Home::default())
    }
}

/// A daemon that waits for nothing, so that tests need not.
fn setup() -> Setup {
    let policy = Policy {
        settle: Duration::ZERO,
        ip_wait_after_attach: Duration::ZERO,
        ip_wait_after_sms_ready: Duration::ZERO,
        // What happens within two seconds here takes minutes outside.
        clock_tolerance: Duration::ZERO,
        ..Policy::default()
    };
    Setup {
        callers: CALLERS,
        token: Some("own"),
        rules: rules(),
        settings: Settings { policy, ..Settings::default() },
        ..Setup::default()
    }
}

/// A request with a token, and headers.
fn call(daemon: &Daemon, token: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let token = format!("Bearer {token}");
    let mut all = vec![("authorization", token.as_str())];
    all.extend_from_slice(headers);
    let method = if path.ends_with("/preferences") { "PUT" } else { "POST" };
    daemon.call(method, path, &all, body.as_bytes())
}

/// What the daemon says to its operator.
fn get(daemon: &Daemon, path: &str) -> Value {
    let answer = daemon.call("GET", path, &[("authorization", "Bearer own")], b"");
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// What was asked of others so far: the data of each event of a feed.
fn told(daemon: &Daemon, feed: &str) -> Vec<Value> {
    let page = get(daemon, &format!("/v1/{feed}?limit=1000"));
    page["events"].as_array().unwrap().iter().map(|event| event["data"].clone()).collect()
}

/// The records of a user: the types of their inputs, alarms aside.
fn inputs(daemon: &Daemon, user: &str) -> Vec<String> {
    let path = format!("/v1/users/{user}/journal?limit=1000");
    let answer = daemon.call("GET", &path, &[("authorization", "Bearer own")], b"");
    let of = |line: &str| -> Option<String> {
        let record: Value = serde_json::from_str(line).unwrap();
        let kind = record["input"]["type"].as_str()?;
        (kind != "cpm.timer.fired.v1").then(|| kind.to_owned())
    };
    answer.text().lines().filter_map(of).collect()
}

/// An input as gateways and probes hand it in.
fn give(daemon: &Daemon, kind: &str, user: &str, data: Value) {
    static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let id = NUMBER.fetch_add(1, std::sync::atomic::Ordering::SeqCst).to_string();
    let event = json!({
        "specversion": "1.0", "id": id, "source": "/test", "type": kind, "subject": user,
        "data": data,
    });
    let headers = [("authorization", "Bearer own"), ("content-type", "application/json")];
    let answer = daemon.call("POST", "/v1/events", &headers, event.to_string().as_bytes());
    assert_eq!(answer.status, 202, "{}", answer.text());
}

/// A phone that takes messages by IP.
fn register(daemon: &Daemon, user: &str, tag: &str) {
    let data = json!({
        "expires_at": "2099-01-01T00:00:00Z", "device": { "contact": "sip:a@192.0.2.1" },
        "change": "refreshed", "features": [tag],
    });
    give(daemon, "cpm.ims.registered.v1", user, data);
}

/// A message in its envelope.
fn cpim(id: &str, content_type: &str, body: &str) -> String {
    format!(
        "From: <sip:+15145550199@example.org;user=phone>\r\nTo: <{USER}>\r\n\
         DateTime: 2026-11-21T08:00:00Z\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
         imdn.Message-ID: {id}\r\nimdn.Disposition-Notification: positive-delivery, display\r\n\r\n\
         Content-Type: {content_type}\r\n\r\n{body}"
    )
}

/// A message from the sender, by its own token.
fn send(daemon: &Daemon, id: &str, body: &str) -> Answer {
    let body = cpim(id, "text/plain; charset=utf-8", body);
    call(daemon, "sender-token", "/v1/cpm/messages", &[("content-type", "message/cpim")], &body)
}
