//! What the journal says of a user or a message, and who waits.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::daemon::{BATCH, Daemon, ONE, Setup, USER, answer_of, attach, request, submitted};

#[test]
fn the_journal_of_a_user_is_read_from_either_end() {
    let daemon = Daemon::start(Setup { partitions: 2, ..Setup::default() });
    let batch: Vec<Value> = (0..20).map(|number| submitted(&format!("m{number}"))).collect();
    daemon.post(BATCH, Value::Array(batch).to_string().as_bytes());
    let mut other = attach("other");
    other["subject"] = "tel:+15145550188".into();
    daemon.post(ONE, other.to_string().as_bytes());

    let lines = |path: &str| -> (Vec<Value>, u64) {
        let answer = daemon.get(&format!("/v1/users/{USER}/journal{path}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let next = answer.header("deferd-next").unwrap().parse().unwrap();
        (answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect(), next)
    };
    let id = |record: &Value| record["input"]["data"]["message_id"].as_str().unwrap().to_owned();
    let (newest, next) = lines("?limit=3");
    assert_eq!(newest.iter().map(id).collect::<Vec<_>>(), ["m17", "m18", "m19"]);
    assert!(newest.iter().all(|record| record["user"] == USER));
    assert!(newest[0]["input"]["data"]["body"].is_null(), "content is asked for by name");
    assert_eq!(newest[0]["input"]["data"]["body_omitted"], "hello m17".len());
    assert_eq!(lines("?limit=1&with_content").0[0]["input"]["data"]["body"], "hello m19");
    assert_eq!(lines(&format!("?from={next}")), (Vec::new(), next));

    let (mut from, mut all) = (0, Vec::new());
    loop {
        let (page, next) = lines(&format!("?from={from}&limit=7"));
        assert!(page.len() <= 7);
        if page.is_empty() {
            break;
        }
        all.extend(page.iter().map(id));
        from = next;
    }
    assert_eq!(all, (0..20).map(|number| format!("m{number}")).collect::<Vec<_>>());
}

#[test]
fn a_message_says_why_it_waits_and_how_it_ended() {
    let daemon = Daemon::start(Setup { partitions: 2, ..Setup::default() });
    daemon.post(ONE, submitted("m1").to_string().as_bytes());
    for query in ["", "?user=%2B15145550100", "?user=+15145550100", "?user=tel:+15145550100"] {
        let shown = daemon.get(&format!("/v1/messages/m1{query}")).json();
        assert_eq!(shown["user"], USER, "{query}");
        assert_eq!(shown["messages"][0]["stands"], json!(["Pending"]));
        let why = daemon.get(&format!("/v1/messages/m1/why{query}")).json();
        assert_eq!(why[0]["stands"], json!(["Pending"]));
        assert_eq!(why[0]["in_the_way"][0]["rule"], "T-3");
        assert_eq!(why[0]["accepted"]["type"], "message.submitted");
        assert_eq!(why[0]["history"].as_array().unwrap().len(), 1);
    }
    let cancelled = json!({
        "specversion": "1.0", "id": "c", "source": "/o", "type": "cpm.message.cancelled.v1",
        "subject": USER, "data": {"message_id": "m1", "operator": "ann", "reason": "test"},
    });
    daemon.post(ONE, cancelled.to_string().as_bytes());
    let shown = daemon.get("/v1/messages/m1").json();
    assert_eq!(shown["messages"][0]["ended"]["how"], "cancelled", "{shown}");
    assert_eq!(daemon.get("/v1/messages/m1/why").json()[0]["ended"]["how"], "cancelled");
    for path in
        ["/v1/messages/nobody", "/v1/messages/nobody/why", "/v1/messages/m1?user=%2B15145550188"]
    {
        assert_eq!(daemon.get(path).error().0, 404, "{path}");
    }
    assert_eq!(daemon.get("/v1/messages/m1?user=55555").error().0, 400);

    let mut other = submitted("m1");
    other["subject"] = "tel:+15145550188".into();
    other["id"] = "of another user".into();
    daemon.post(ONE, other.to_string().as_bytes());
    let several = daemon.get("/v1/messages/m1");
    assert_eq!(several.error().0, 300);
    let users = &several.json()["error"]["users"];
    assert_eq!(users.as_array().unwrap().len(), 2, "{users}");
    assert_eq!(daemon.get("/v1/messages/m1?user=%2B15145550188").status, 200);
}

/// Once the beginning of the journal is removed: what is kept is told, and what is not is said.
#[test]
fn what_was_removed_is_said() {
    let daemon = Daemon::start(Setup { segment_bytes: 20_000, ..Setup::default() });
    daemon.post(ONE, submitted("old").to_string().as_bytes());
    for number in 0..100 {
        daemon.post(ONE, attach(&number.to_string()).to_string().as_bytes());
    }
    daemon.cut.store(90, Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(300));

    let gone = daemon.get("/v1/deliveries?after=0:1");
    let (status, code, _) = gone.error();
    assert_eq!((status, code.as_str()), (410, "removed"));
    let oldest = gone.json()["error"]["oldest"].as_str().unwrap().to_owned();
    assert_eq!(daemon.get(&format!("/v1/deliveries?after={oldest}")).status, 200);
    assert_eq!(daemon.get("/v1/deliveries?after=0:0").error().0, 410, "record 0 is not the oldest");
    assert_eq!(daemon.get("/v1/deliveries").status, 200);

    let gone = daemon.get(&format!("/v1/users/{USER}/journal?from=1"));
    assert_eq!(gone.error().0, 410);
    let oldest = gone.json()["error"]["oldest"].as_u64().unwrap();
    assert_eq!(daemon.get(&format!("/v1/users/{USER}/journal?from={oldest}")).status, 200);
    assert_eq!(daemon.get(&format!("/v1/users/{USER}/journal")).status, 200);

    // It still waits, and its shard knows why.
    let why = daemon.get(&format!("/v1/messages/old/why?user={USER}"));
    assert_eq!(why.status, 200, "{}", why.text());
    assert_eq!(why.json()[0]["from"], "tel:+15145550199");
    assert!(!why.json()[0]["in_the_way"].as_array().unwrap().is_empty(), "{}", why.text());
}

/// An id with anything in it.
#[test]
fn an_id_is_any_text() {
    let daemon = Daemon::start(Setup::default());
    daemon.post(ONE, submitted("a/b c?é\"").to_string().as_bytes());
    let shown = daemon.get("/v1/messages/a%2Fb%20c%3F%C3%A9%22").json();
    assert_eq!(shown["messages"][0]["message_id"], "a/b c?é\"");
}

/// Readings of whole journals are few; the others are told to come back.
#[test]
fn readings_are_few_at_once() {
    let daemon = Daemon::start(Setup { segment_bytes: 64 << 20, ..Setup::default() });
    for batch in 0..40 {
        let batch: Vec<Value> = (0..500)
            .map(|number| {
                let mut event = attach(&format!("{batch}-{number}"));
                event["subject"] = format!("tel:+1514555{number:04}").into();
                event
            })
            .collect();
        daemon.post(BATCH, Value::Array(batch).to_string().as_bytes());
    }
    let mut asking: Vec<_> = (0..12)
        .map(|_| {
            let mut stream = daemon.connect();
            stream.write_all(&request("GET", "/v1/messages/none", &[], b"")).unwrap();
            stream
        })
        .collect();
    let told: Vec<u16> = asking.iter_mut().map(answer_of).collect();
    assert!(told.contains(&429) && told.contains(&404), "{told:?}");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(daemon.get("/v1/messages/none").status, 404, "and later it is free again");
}

#[test]
fn who_waits_is_listed_page_by_page() {
    let daemon = Daemon::start(Setup { partitions: 2, ..Setup::default() });
    let mut expected: Vec<String> = Vec::new();
    let batch: Vec<Value> = (0..1500)
        .map(|number| {
            let user = format!("tel:+1514555{number:04}");
            let mut event = submitted(&format!("m{number}"));
            event["subject"] = user.as_str().into();
            expected.push(user);
            event
        })
        .chain([attach("nothing waits for this one")])
        .collect();
    daemon.post(BATCH, Value::Array(batch).to_string().as_bytes());
    let (mut after, mut seen) = (String::new(), Vec::new());
    loop {
        let page = daemon.get(&format!("/v1/users?waiting&limit=50{after}")).json();
        let users = page["users"].as_array().unwrap();
        assert!(users.len() <= 50);
        assert!(users.iter().all(|user| user["messages"] == 1 && user["held"] == false));
        seen.extend(users.iter().map(|user| user["user"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    seen.sort();
    assert_eq!(seen, expected, "each once");
    for bad in ["?after=x", "?after=1.2", "?limit=0", "?sort=up"] {
        assert_eq!(daemon.get(&format!("/v1/users{bad}")).error().0, 400, "{bad}");
    }
}
