//! The feeds: page by page, with a wait, across restarts.

use std::time::Duration;

use deferd::cli::clock::Stopwatch;
use serde_json::json;

use super::daemon::{Daemon, Setup, deliverable};

#[test]
fn a_feed_is_read_page_by_page_and_waited_for() {
    let daemon = Daemon::start(Setup { partitions: 3, ..Setup::default() });
    assert_eq!(
        daemon.get("/v1/deliveries").json(),
        json!({"events": [], "next": daemon.get("/v1/deliveries?after=now").json()["next"]})
    );

    // Nothing comes: an empty page when the time is over.
    let begun = Stopwatch::start();
    let page = daemon.get("/v1/deliveries?wait=1").json();
    assert_eq!(page["events"], json!([]));
    assert!(begun.elapsed() >= Duration::from_millis(900));

    // Something comes: at once.
    let next = page["next"].as_str().unwrap().to_owned();
    let begun = Stopwatch::start();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| daemon.get(&format!("/v1/deliveries?wait=20&after={next}")));
        std::thread::sleep(Duration::from_millis(200));
        deliverable(&daemon, 0);
        let page = waiting.join().unwrap().json();
        assert_eq!(page["events"][0]["type"], "cpm.delivery.requested.v1", "{page}");
    });
    assert!(begun.elapsed() < Duration::from_secs(10));

    for user in 1..40 {
        deliverable(&daemon, user);
    }
    let mut seen: Vec<String> = Vec::new();
    let mut after = "0:0".to_owned();
    loop {
        let page = daemon.get(&format!("/v1/deliveries?limit=7&after={after}")).json();
        let events = page["events"].as_array().unwrap();
        if events.is_empty() {
            break;
        }
        assert!(events.len() <= 8, "a page and what belongs to its last record");
        seen.extend(
            events.iter().map(|event| event["data"]["message_id"].as_str().unwrap().to_owned()),
        );
        // The same page again is the same page: the reader keeps its place.
        let again = daemon.get(&format!("/v1/deliveries?limit=7&after={after}")).json();
        assert_eq!(again, page);
        after = page["next"].as_str().unwrap().to_owned();
    }
    seen.sort();
    let mut all: Vec<String> = (0..40).map(|user| format!("m{user}")).collect();
    all.sort();
    assert_eq!(seen, all, "each once");

    let lines =
        daemon.call("GET", "/v1/deliveries?limit=3", &[("accept", "application/x-ndjson")], b"");
    assert_eq!(lines.text().lines().count(), 3);
    let next = lines.header("deferd-next").unwrap();
    assert_eq!(
        daemon.get(&format!("/v1/deliveries?after={next}")).json()["events"]
            .as_array()
            .unwrap()
            .len(),
        37
    );
}

#[test]
fn a_cursor_survives_a_restart() {
    let daemon = Daemon::start(Setup::default());
    deliverable(&daemon, 1);
    let page = daemon.get("/v1/deliveries").json();
    assert_eq!(page["events"].as_array().unwrap().len(), 1);
    let next = page["next"].as_str().unwrap().to_owned();
    deliverable(&daemon, 2);
    let directory = daemon.directory.clone();
    drop(daemon);

    let daemon = Daemon::on(&directory, Setup::default());
    let page = daemon.get(&format!("/v1/deliveries?after={next}")).json();
    assert_eq!(page["events"][0]["data"]["message_id"], "m2");
    assert_eq!(page["events"].as_array().unwrap().len(), 1);
}

#[test]
fn a_cursor_that_leads_nowhere_is_told() {
    let daemon = Daemon::start(Setup { partitions: 2, ..Setup::default() });
    for bad in ["x", "0", "0:", "2:0", "0:0,0:0", "0:999"] {
        let answer = daemon.get(&format!("/v1/deliveries?after={bad}"));
        let (status, code, message) = answer.error();
        assert_eq!((status, code.as_str()), (400, "cursor"), "{bad}");
        assert!(message.contains("`next`"), "{message}");
    }
}
