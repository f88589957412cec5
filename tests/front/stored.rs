//! Step 4c: 200 when the store has it, 503 or 202 when it does not, and nothing hangs. (SEED0-56, T-30, A-22)

use deferd::domain::policy::OnStoreFailure;
use deferd::edge::http::Limits;

use super::*;

fn daemon(on_store_failure: OnStoreFailure) -> Daemon {
    deciding(on_store_failure, None)
}

fn deciding(on_store_failure: OnStoreFailure, decides_after: Option<Duration>) -> Daemon {
    let mut setup = Setup { decides_after, ..setup() };
    setup.settings.policy.on_store_failure = on_store_failure;
    setup.http = Limits { timeout: Duration::from_millis(1500), ..Limits::default() };
    let daemon = Daemon::start(setup);
    let rule = json!({ "name": "quiet", "actions": ["allow-store"] });
    give(&daemon, "cpm.preferences.changed.v1", USER, json!({ "rules": [rule] }));
    daemon
}

/// Sends a message, and meanwhile says what the store said of it.
fn sent(daemon: &Daemon, id: &str, outcome: Option<&str>) -> Answer {
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| send(daemon, id, "hello"));
        let asked = || told(daemon, "deliveries").iter().any(|asked| asked["message_id"] == id);
        for _ in 0..1000 {
            if asked() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(asked(), "the store is asked");
        assert!(!sending.is_finished(), "the sender hears nothing before the store has answered");
        if let Some(outcome) = outcome {
            let data = json!({ "message_id": id, "from": SENDER, "outcome": outcome });
            give(daemon, "cpm.storage.outcome.v1", USER, data);
        }
        sending.join().unwrap()
    })
}

/// The same once more: the store is asked a second time.
fn sent_again(daemon: &Daemon, id: &str, outcome: &str) -> Answer {
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| send(daemon, id, "hello"));
        for _ in 0..1000 {
            if told(daemon, "deliveries").len() == 2 {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let data = json!({ "message_id": id, "from": SENDER, "outcome": outcome });
        give(daemon, "cpm.storage.outcome.v1", USER, data);
        sending.join().unwrap()
    })
}

#[test]
fn stored_is_said_when_it_is() {
    let daemon = daemon(OnStoreFailure::Reject);
    let answer = sent(&daemon, "m1", Some("stored"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["sip"], json!({ "status": 200, "reason": "OK" }));
    let notices = told(&daemon, "notifications");
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0]["disposition"], "delivered");
    // Told again: the same answer, and nothing is stored twice.
    assert_eq!(send(&daemon, "m1", "hello").status, 200);
    assert_eq!(told(&daemon, "deliveries").len(), 1);
    let trace = &get(&daemon, &format!("/v1/messages/m1/why?user={USER}"))[0]["trace"];
    assert_eq!(trace[1], "4c rule `quiet`: into the message store, 200 [SEED0-56]");
}

#[test]
fn a_store_that_refuses_is_told_to_the_sender() {
    let daemon = daemon(OnStoreFailure::Reject);
    let answer = sent(&daemon, "m1", Some("failed"));
    assert_eq!(
        (answer.status, answer.error().1.as_str()),
        (503, "not-stored"),
        "{}",
        answer.text()
    );
    assert_eq!(answer.json()["sip"]["reason"], "Service Unavailable");
    assert_eq!(told(&daemon, "notifications"), [Value::Null; 0], "the sender has heard it");
    // The store works again, and the sender tries again.
    let answer = sent_again(&daemon, "m1", "stored");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(told(&daemon, "notifications").len(), 1);
}

/// Q-23 where inputs are decided in their turn: the refusal before is not the answer to the next try.
#[test]
fn an_old_refusal_is_not_the_answer() {
    let daemon = deciding(OnStoreFailure::Reject, Some(Duration::from_millis(200)));
    assert_eq!(sent(&daemon, "m1", Some("failed")).status, 503);
    let answer = sent_again(&daemon, "m1", "stored");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// A store that never answers: the sender's transaction ends, and so does the message. What the store says
/// later changes nothing.
#[test]
fn a_store_that_is_silent_holds_nobody_up() {
    let daemon = daemon(OnStoreFailure::Reject);
    let answer = sent(&daemon, "m1", None);
    assert_eq!((answer.status, answer.error().1.as_str()), (503, "not-stored"));
    let late = json!({ "message_id": "m1", "from": SENDER, "outcome": "stored" });
    give(&daemon, "cpm.storage.outcome.v1", USER, late);
    let why = get(&daemon, &format!("/v1/messages/m1/why?user={USER}"));
    assert_eq!(why[0]["ended"]["how"], "rejected", "{why}");
    assert_eq!(told(&daemon, "notifications"), [Value::Null; 0]);
}

/// `pager.on_store_failure=defer`: it is kept instead, and delivered like any other.
#[test]
fn what_is_not_stored_may_be_deferred() {
    for outcome in [Some("failed"), None] {
        let daemon = daemon(OnStoreFailure::Defer);
        let answer = sent(&daemon, "m1", outcome);
        assert_eq!(answer.status, 202, "{}", answer.text());
        register(&daemon, USER, "oma.cpm.msg");
        let last = told(&daemon, "deliveries").pop().unwrap();
        assert_eq!((&last["access"], &last["message_id"]), (&json!("cpm"), &json!("m1")));
    }
}
