//! The HTTP edge as its clients see it, good ones and bad ones, on the real engine and log.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and says so"
)]

mod daemon;
#[path = "http/feeds.rs"]
mod feeds;
#[path = "http/journals.rs"]
mod journals;
#[path = "http/rude.rs"]
mod rude;

use std::io::{Read, Write};
use std::time::Duration;

use daemon::{
    BATCH, Daemon, ONE, Setup, USER, answer, answer_of, attach, changed, request, submitted,
};
use deferd::edge::http::{Limits, ROUTES};
use deferd::log::embedded;
use serde_json::{Value, json};

#[test]
fn events_come_in_every_form() {
    let daemon = Daemon::start(Setup::default());
    let event = |id: &str| attach(id).to_string();
    let array = format!("[{},\n {}]", event("3"), event("4"));
    let lines = format!("\u{feff}{}\r\n\r\n{}\n", event("5"), event("6"));
    for (of, body, count) in [
        (ONE, event("1"), 1),
        ("application/json", event("2"), 1),
        (BATCH, array.clone(), 2),
        ("application/json; charset=utf-8", array, 2),
        ("application/x-ndjson", lines.clone(), 2),
        ("application/jsonl", lines, 2),
        (BATCH, "[]".into(), 0),
    ] {
        let answer = daemon.post(of, body.as_bytes());
        assert_eq!(answer.status, 202, "{of}: {}", answer.text());
        assert_eq!(answer.json()["taken"], count, "{of}");
        assert_eq!(answer.json()["events"].as_array().unwrap().len(), count, "{of}");
    }
    let headers = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "binary%207"),
        ("ce-source", "/probe"),
        ("ce-type", "cpm.cs.attached.v1"),
        ("ce-subject", USER),
    ];
    let answer = daemon.call("POST", "/v1/events", &headers, b"{\"node\":\"msc1\"}");
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert!(daemon.journal_holds("\"id\":\"binary 7\""));
    let answer = daemon.call("POST", "/v1/events?brief", &headers[1..], b"");
    assert_eq!(answer.json(), json!({"taken": 1, "duplicates": 0, "rejected": 0}));
}

/// 202 is said when the journal holds it, and not before.
#[test]
fn what_is_taken_is_durable() {
    let daemon = Daemon::start(Setup::default());
    daemon.pause();
    let mut stream = daemon.connect();
    let body = submitted("durable-1").to_string();
    let headers = [("content-type", ONE)];
    stream.write_all(&request("POST", "/v1/events", &headers, body.as_bytes())).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(stream.read(&mut [0; 1]).is_err(), "nothing is said before it is durable");
    assert!(!daemon.journal_holds("durable-1"));

    daemon.go_on();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let answer = answer(&mut stream);
    assert_eq!(answer.status, 202);
    assert!(daemon.journal_holds("durable-1"));
    let one = &answer.json()["events"][0];
    assert_eq!((&one["partition"], &one["fate"]), (&json!(0), &json!("decided")));
}

#[test]
fn each_event_is_told_its_fate() {
    let daemon = Daemon::start(Setup::default());
    let other = {
        let mut other = submitted("m1");
        other["id"] = json!("other");
        other["data"]["body"] = json!("another text");
        other
    };
    let mut late = attach("a2");
    late["time"] = json!("2020-01-01T00:00:00Z");
    let batch = json!([submitted("m1"), submitted("m1"), other, attach("a1"), late]);
    let answer = daemon.post("application/json", batch.to_string().as_bytes());
    assert_eq!(answer.status, 202);
    let told = answer.json();
    let fates: Vec<&str> =
        told["events"].as_array().unwrap().iter().map(|e| e["fate"].as_str().unwrap()).collect();
    assert_eq!(fates, ["decided", "duplicate", "rejected", "decided", "ignored"]);
    assert_eq!(
        (&told["taken"], &told["duplicates"], &told["rejected"]),
        (&json!(5), &json!(1), &json!(1))
    );
    let seqs: Vec<u64> =
        told["events"].as_array().unwrap().iter().map(|e| e["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted_by(|one, next| one < next), "{seqs:?}");
    assert!(told["events"][4]["reason"].as_str().unwrap().contains("too old"));
    // The same again, in another request.
    let again = daemon.post(ONE, submitted("m1").to_string().as_bytes()).json();
    assert_eq!(again["events"][0]["fate"], "duplicate");
}

/// One bad event, and nothing of its batch is taken.
#[test]
fn a_batch_is_taken_whole_or_not_at_all() {
    let daemon = Daemon::start(Setup::default());
    let mut bad = attach("x");
    bad["data"] = json!({"rat": 7});
    let batch = json!([submitted("good-1"), bad, json!({}), submitted("good-2")]);
    let answer = daemon.post(BATCH, batch.to_string().as_bytes());
    let (status, code, _) = answer.error();
    assert_eq!((status, code.as_str()), (400, "bad-events"));
    let events = &answer.json()["error"]["events"];
    assert_eq!(events[0]["index"], 1);
    assert_eq!(events[0]["field"], "data.rat");
    assert_eq!(events[0]["reason"], "data: rat: invalid type: integer `7`, expected a string");
    assert_eq!((&events[1]["index"], &events[1]["field"]), (&json!(2), &json!("specversion")));
    assert!(!daemon.journal_holds("good-1"));
    assert_eq!(daemon.get(&format!("/v1/users/{USER}")).status, 404);

    let many = Value::Array((0..1000).map(|_| json!({})).collect());
    let answer = daemon.post(BATCH, many.to_string().as_bytes());
    assert_eq!(answer.json()["error"]["events"].as_array().unwrap().len(), 100, "no endless list");
}

/// The list of bad inputs, in the words that a dead letter would have.
#[test]
fn a_bad_event_is_told_what_is_wrong() {
    let daemon = Daemon::start(Setup::default());
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
    let long = changed(|event| event["data"] = json!({"node": "x".repeat(300_000)}));
    let with = |name: &str, value: &str| changed(|event| event[name] = value.into());
    let data = |kind: &str, data: Value| {
        changed(|event| {
            event["type"] = kind.into();
            event["data"] = data;
        })
    };
    let far = with("time", "2399-01-01T00:00:00Z");
    let cases: Vec<(Vec<u8>, u16, &str, Value, &str)> = vec![
        (b"hello".into(), 400, "not-json", Value::Null, "not JSON: expected value"),
        (b"".into(), 400, "not-json", Value::Null, "not JSON: EOF"),
        (b"\0\0".into(), 400, "not-json", Value::Null, "not JSON"),
        (b"[1]".into(), 400, "not-cloudevent", Value::Null, "an array, expected one object"),
        (b"{\"a\":1}".into(), 400, "not-cloudevent", json!("specversion"), "missing field"),
        (with("specversion", "0.3"), 400, "not-cloudevent", json!("specversion"), "expected 1.0"),
        (with("id", ""), 400, "not-cloudevent", json!("id"), "id is empty"),
        (with("type", "cpm.fax.v1"), 400, "unknown-type", json!("type"), "unknown type"),
        (with("type", "cpm.cs.attached"), 400, "unknown-type", json!("type"), "has no version"),
        (with("type", "cpm.cs.attached.v2"), 400, "newer-version", json!("type"), "newer than 1"),
        (with("type", "cpm.input.rejected.v1"), 400, "not-from-outside", json!("type"), "never"),
        (with("type", "cpm.timer.fired.v1"), 400, "not-from-outside", json!("type"), "never"),
        (with("subject", "55555"), 400, "subject", json!("subject"), "a short code"),
        (
            changed(|e| drop(e.as_object_mut().unwrap().remove("subject"))),
            400,
            "subject",
            json!("subject"),
            "missing",
        ),
        (with("time", "yesterday"), 400, "not-cloudevent", json!("time"), "RFC 3339"),
        (far, 400, "ahead", json!("time"), "more than a day ahead"),
        (data("cpm.cs.attached.v1", json!([])), 400, "data", json!("data"), "not an object"),
        (
            data("cpm.message.submitted.v1", json!({"from": "a"})),
            400,
            "data",
            json!("data.message_id"),
            "missing field `message_id`",
        ),
        (data("cpm.sms.failed.v1", json!({})), 400, "data", json!("data"), "names no message"),
        (b"{\"id\":\"\xff\"}".into(), 400, "not-utf8", Value::Null, "byte 7"),
        (deep.into(), 400, "too-deep", Value::Null, "nested deeper"),
        (long, 413, "too-large", Value::Null, "max_input_bytes"),
        (changed(|_| {})[..60].into(), 400, "not-json", Value::Null, "EOF"),
    ];
    for (body, status, code, field, words) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let answer = daemon.post(ONE, &body);
        assert_eq!(answer.error().0, status, "{shown}");
        let bad = &answer.json()["error"]["events"][0];
        assert_eq!((&bad["index"], &bad["code"]), (&json!(0), &json!(code)), "{shown}");
        assert_eq!(bad["field"], field, "{shown}");
        assert!(bad["reason"].as_str().unwrap().contains(words), "{shown}: {bad}");
        // The same in a batch, behind a good one.
        if !matches!(code, "not-json" | "not-utf8") {
            let batch = [
                b"[".to_vec(),
                attach("g").to_string().into_bytes(),
                b",".to_vec(),
                body,
                b"]".to_vec(),
            ];
            let answer = daemon.post(BATCH, &batch.concat());
            assert_eq!(answer.status, status, "{shown}");
            assert_eq!(answer.json()["error"]["events"][0]["index"], 1, "{shown}");
        }
    }
    assert_eq!(
        daemon.get("/v1/dead-letters").json()["events"],
        json!([]),
        "a client was told: no letter"
    );
    assert_eq!(
        daemon.post(ONE, attach("1").to_string().as_bytes()).status,
        202,
        "the rest goes on"
    );
}

#[test]
fn what_cannot_be_read_is_refused() {
    let limits = Limits { body_bytes: 10_000, ..Limits::default() };
    let daemon = Daemon::start(Setup { http: limits, ..Setup::default() });
    let large = daemon.post("application/json", &vec![b' '; 10_001]);
    assert_eq!(large.error().0, 413);
    assert!(large.text().contains("http.max_body_bytes"));
    // Nothing says beforehand how long it is.
    let mut stream = daemon.connect();
    stream
        .write_all(b"POST /v1/events HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\n")
        .unwrap();
    for _ in 0..11 {
        let _ = stream.write_all(format!("3e8\r\n{}\r\n", " ".repeat(1000)).as_bytes());
    }
    assert_eq!(answer(&mut stream).status, 413);

    for of in ["text/plain", "application/xml", "application/x-www-form-urlencoded"] {
        let answer = daemon.post(of, b"{}");
        assert_eq!(answer.error().0, 415);
        assert!(answer.text().contains("application/cloudevents+json"));
    }
    assert_eq!(daemon.call("POST", "/v1/events", &[], b"{}").error().0, 415);
    assert_eq!(daemon.get("/v1/event").error().0, 404);
    let answer = daemon.get("/v1/events");
    assert_eq!(answer.error().0, 405);
    assert_eq!(answer.header("allow"), Some("POST"));
    let answer = daemon.call("POST", "/v1/switches/access_sms", &[], b"");
    assert_eq!(answer.error().0, 405);
    for name in ["GET", "PUT", "DELETE"] {
        assert!(answer.header("allow").unwrap().contains(name));
    }
    for path in [
        "/v1/deliveries?wait=61",
        "/v1/deliveries?limit=0",
        "/v1/deliveries?limit=x",
        "/v1/deliveries?aftr=1",
        "/v1/users/55555",
        "/v1/users/tel:+15145550100?limit=-1",
    ] {
        assert_eq!(daemon.get(path).error().0, 400, "{path}");
    }
    let head = format!("GET /livez HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    let mut stream = daemon.connect();
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(answer_of(&mut stream), 431);
    let head = format!("GET /livez HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(100));
    let mut stream = daemon.connect();
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(answer_of(&mut stream), 431);
}

#[test]
fn a_full_queue_says_when_to_come_back() {
    let queue = embedded::Limits { inputs: 3, bytes: 64 << 20 };
    let daemon = Daemon::start(Setup { queue, ..Setup::default() });
    let four = json!([attach("1"), attach("2"), attach("3"), attach("4")]);
    let answer = daemon.post(BATCH, four.to_string().as_bytes());
    assert_eq!(answer.error().0, 413, "never: more than may wait");
    assert!(answer.text().contains("embedded.queue_inputs"));

    daemon.pause();
    let mut waiting = daemon.connect();
    let three = json!([attach("1"), attach("2"), attach("3")]).to_string();
    let headers = [("content-type", BATCH)];
    waiting.write_all(&request("POST", "/v1/events", &headers, three.as_bytes())).unwrap();
    while daemon.inboxes.all[0].len() < 3 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let full = daemon.post(ONE, attach("5").to_string().as_bytes());
    let (status, code, _) = full.error();
    assert_eq!((status, code.as_str()), (503, "full"));
    assert!(full.header("retry-after").is_some());
    daemon.go_on();
    assert_eq!(answer_of(&mut waiting), 202);
    assert_eq!(daemon.post(ONE, attach("5").to_string().as_bytes()).status, 202);

    *daemon.host.trouble.lock().unwrap() = Some("no space left on device".to_owned());
    let answer = daemon.post(ONE, attach("6").to_string().as_bytes());
    assert_eq!(answer.error().0, 503);
    assert!(answer.text().contains("no space left") && answer.header("retry-after").is_some());
}

/// Who waits too long is told that nobody knows, and what to do about it.
#[test]
fn a_wait_that_is_too_long_is_told() {
    let limits = Limits { timeout: Duration::from_millis(300), ..Limits::default() };
    let daemon = Daemon::start(Setup { http: limits, ..Setup::default() });
    daemon.pause();
    let answer = daemon.post(ONE, submitted("m1").to_string().as_bytes());
    let (status, code, message) = answer.error();
    assert_eq!((status, code.as_str()), (503, "unknown"));
    assert!(message.contains("may or may not") && message.contains("duplicate"), "{message}");
    assert_eq!(daemon.get(&format!("/v1/users/{USER}")).error().0, 503, "nor is anybody asked");
    daemon.go_on();
    let again = daemon.post(ONE, submitted("m1").to_string().as_bytes());
    assert_eq!(again.json()["events"][0]["fate"], "duplicate");
}

#[test]
fn a_user_is_shown_from_any_form_of_the_address() {
    let daemon = Daemon::start(Setup { partitions: 2, ..Setup::default() });
    assert_eq!(daemon.get(&format!("/v1/users/{USER}")).error().0, 404);
    daemon.post(ONE, submitted("m1").to_string().as_bytes());
    for form in [
        "tel:+15145550100",
        "+15145550100",
        "%2B1%20514%20555%200100",
        "sip:+15145550100@ims.example.com;user=phone",
    ] {
        let answer = daemon.get(&format!("/v1/users/{form}"));
        assert_eq!(answer.status, 200, "{form}: {}", answer.text());
        let user = answer.json();
        assert_eq!(user["user"], USER);
        let message = &user["messages"][0];
        assert_eq!(message["message_id"], "m1");
        assert_eq!(message["stands"], json!(["Pending"]));
        assert!(
            message["in_the_way"].as_array().unwrap().iter().any(|o| o["rule"] == "T-3"),
            "{message}"
        );
        assert!(!message["would_move_it"].as_array().unwrap().is_empty());
        assert!(!user["due"].as_array().unwrap().is_empty());
        assert_eq!(message["body"], Value::Null, "content only where it is asked for");
    }
    let with = daemon.get(&format!("/v1/users/{USER}?with_content")).json();
    assert_eq!(with["messages"][0]["body"], "hello m1");
    assert_eq!(daemon.get(&format!("/v1/users/{USER}?limit=0")).json()["messages_in_all"], 1);
}

#[test]
fn the_token_opens_what_it_must() {
    let daemon = Daemon::start(Setup { token: Some("s3cret"), ..Setup::default() });
    for (_, path, _) in ROUTES {
        let open = matches!(*path, "/livez" | "/readyz");
        let answer = daemon.get(path);
        assert_eq!(answer.status == 401, !open, "{path}");
        if !open {
            assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
            assert!(answer.error().2.contains("http.token_file"));
        }
    }
    assert_eq!(daemon.get("/nowhere").status, 401, "what is here is nobody's business");
    let with = |token: &str| daemon.call("GET", "/", &[("authorization", token)], b"").status;
    assert_eq!(with("Bearer s3cret"), 200);
    assert_eq!(with("Bearer s3cre"), 401);
    daemon.token.set("another").unwrap();
    assert_eq!((with("Bearer s3cret"), with("Bearer another")), (401, 200));
}

#[test]
fn switches_are_moved_with_name_and_reason() {
    let daemon = Daemon::start(Setup::default());
    let path = "/v1/switches/access_sms";
    assert_eq!(
        daemon.get(path).json(),
        json!({"switch": "access_sms", "value": "on", "moved": false})
    );
    let put = |body: Value| daemon.call("PUT", path, &[], body.to_string().as_bytes());
    let moved = put(json!({"value": "hold", "operator": "ann", "reason": "SMSC on fire"})).json();
    assert_eq!((&moved["value"], &moved["operator"]), (&json!("hold"), &json!("ann")));
    assert_eq!(daemon.get(path).json()["reason"], "SMSC on fire");
    assert_eq!(daemon.get("/v1/switches/access_cpm").json()["moved"], false);
    for bad in [
        json!({"value": "maybe", "operator": "a", "reason": "b"}),
        json!({"value": "on", "operator": "", "reason": "b"}),
        json!({"value": "on", "operator": "a"}),
        json!({"operator": "a", "reason": "b"}),
        json!("on"),
    ] {
        assert_eq!(put(bad.clone()).error().0, 400, "{bad}");
    }
    assert_eq!(daemon.get("/v1/switches/access_fax").error().0, 404);
    let body = json!({"operator": "ann", "reason": "out"}).to_string();
    let back = daemon.call("DELETE", path, &[], body.as_bytes()).json();
    assert_eq!((&back["value"], &back["moved"]), (&json!("on"), &json!(false)));
}

#[test]
fn health_is_told_point_by_point() {
    let daemon = Daemon::start(Setup::default());
    assert_eq!((daemon.get("/livez").status, daemon.get("/readyz").text()), (200, "ok\n".into()));
    assert_eq!(daemon.get("/readyz?verbose").text(), "[+]log ok\nok\n");
    *daemon.host.trouble.lock().unwrap() = Some("disk full".to_owned());
    let answer = daemon.get("/readyz");
    assert_eq!(
        (answer.status, answer.text()),
        (503, "[-]log failed: disk full\nnot ready\n".into())
    );
    assert_eq!(daemon.get("/livez").status, 200, "starting it again would make no room");
    assert!(daemon.get("/metrics").text().contains("deferd_up 1"));
    *daemon.host.dead.lock().unwrap() = Some("partition 0 has ended".to_owned());
    assert_eq!(daemon.get("/livez").status, 503);
}

/// The description names what is here, and what it names is here.
#[test]
fn the_description_is_whole() {
    let daemon = Daemon::start(Setup::default());
    let described = daemon.get("/v1/openapi.json").json();
    assert_eq!(described["openapi"], "3.1.0");
    let list = daemon.get("/").text();
    for (method, path, says) in ROUTES {
        let operation = &described["paths"][*path][method.to_ascii_lowercase()];
        assert_eq!(operation["summary"], *says);
        assert!(list.contains(&format!("{method:<7}{path}")), "{path}");
    }
    let text = described.to_string();
    let mut references = 0;
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(described.pointer(pointer).is_some(), "{pointer} leads nowhere");
        references += 1;
    }
    assert!(references > 30);
    assert!(
        described["components"]["schemas"]["cpm.message.submitted.v1"]["properties"].is_object()
    );
}
