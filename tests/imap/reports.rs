//! The daemon before its store: what a client reports is done there, and a message that its user wants
//! stored is answered when it is.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::process::{self, Process};
use super::{Case, FOLDER, NUMBER, until};

const EVENTS: &str = "application/vnd.oma.cpm-eventfw+xml";

/// A daemon on this store, with callers of its own.
fn daemon(case: &Case, name: &str) -> (Process, std::path::PathBuf) {
    let scratch = process::scratch(name);
    let callers = scratch.join("callers");
    std::fs::write(&callers, format!("# who\nsip:iwf@example.org iwf\ntel:{NUMBER} user\n"))
        .unwrap();
    std::fs::write(scratch.join("token"), "own\n").unwrap();
    let sets = [
        format!("imap.server=127.0.0.1:{}", case.server.port),
        "imap.security=plain".to_owned(),
        "imap.login={msisdn}*deferd".to_owned(),
        format!("imap.password_file={}", case.server.directory.join("password").display()),
        "sinks.imap=true".to_owned(),
        format!("http.callers_file={}", callers.display()),
        format!("http.token_file={}", scratch.join("token").display()),
        "cpm.gateways=sip:iwf@example.org".to_owned(),
        "cpm.address=sip:pf@ims.example.org".to_owned(),
    ];
    let more: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    (Process::start(&scratch.join("data"), &more), scratch)
}

fn call(daemon: &Process, token: &str, path: &str, of: &str, body: &str) -> (u16, Value) {
    let answer =
        ureq::Agent::from(ureq::Agent::config_builder().http_status_as_error(false).build())
            .post(format!("{}{path}", daemon.url))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", of)
            .send(body)
            .unwrap();
    let status = answer.status().as_u16();
    let text = answer.into_body().read_to_string().unwrap();
    (status, serde_json::from_str(&text).unwrap())
}

/// SEED4-78: the flags are set in the store, and each item's result says whether.
#[test]
fn what_a_client_reports_is_done_in_its_store() {
    let case = Case::new();
    let mut user = case.with(&[("Mx1", "+15145550199"), ("Mx2", "+15145550199")]);
    let (daemon, _) = daemon(&case, "imap-reports");
    let body = format!(
        "<cpm-evfw xmlns=\"urn:oma:xml:cpm:evfw\"><event-cpm-imap type=\"flags\" index=\"0\">\
         <operation name=\"add\" flags=\"\\Seen\"><object uid=\"1\" folder-path=\"{FOLDER}\">\
         <message-id>Mx1</message-id></object><object><message-id>Mx9</message-id></object>\
         <object uid=\"2\" folder-path=\"../{FOLDER}&quot;){{5}}\"><message-id>Mx8</message-id></object>\
         </operation></event-cpm-imap></cpm-evfw>"
    );

    let (status, said) = call(&daemon, "user", "/v1/cpm/events", EVENTS, &body);

    assert_eq!(status, 200, "{said}");
    let results: Vec<_> = said["results"].as_array().unwrap().iter().collect();
    let of = |at: usize| (&results[at]["message_id"], &results[at]["disposition"]);
    assert_eq!(results.len(), 3, "{said}");
    assert_eq!(of(0), (&json!("Mx1"), &json!("delivered")));
    assert_eq!(of(1), (&json!("Mx9"), &json!("failed")));
    assert_eq!(of(2), (&json!("Mx8"), &json!("failed")));
    assert_eq!(user.flags(FOLDER), [(1, "\\Seen".into()), (2, String::new())]);
    daemon.stop();
}

/// SEED0-56: the sender of a message that its user wants stored hears 200 once the store has it; from a
/// gateway's token nobody sends messages as another.
#[test]
fn a_message_is_stored_before_its_sender_hears_so() {
    let case = Case::new();
    let mut user = case.server.user(NUMBER);
    user.make("Default/c1");
    let (daemon, scratch) = daemon(&case, "imap-stored");
    let rules = scratch.join("rules.xml");
    std::fs::write(
        &rules,
        "<ruleset xmlns=\"urn:ietf:params:xml:ns:common-policy\"><rule id=\"quiet\"><conditions>\
         <service-list><service enabler=\"CPM\"/></service-list>\
         <media-list><standalone-message/></media-list></conditions>\
         <actions><allow-store>true</allow-store></actions></rule></ruleset>",
    )
    .unwrap();
    let set = |token: &str, file: &Path| {
        let ended = Command::new(env!("CARGO_BIN_EXE_deferd"))
            .args(["user", "preferences", "set", NUMBER])
            .arg(file)
            .args(["--url", &daemon.url, "--set"])
            .arg(format!("http.token_file={}", scratch.join(token).display()))
            .output()
            .unwrap();
        let said = [ended.stdout, ended.stderr].concat();
        (ended.status.code(), String::from_utf8(said).unwrap())
    };
    let (code, said) = set("token", &rules);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 rule: decided"), "{said}");
    let wrong = scratch.join("wrong.xml");
    std::fs::write(&wrong, "<ruleset>\n  <rule id='x'>\n</ruleset>").unwrap();
    let (code, said) = set("token", &wrong);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("wrong.xml:3:1: "), "{said}");

    let message = format!(
        "From: <tel:+15145550199>\r\nTo: <tel:{NUMBER}>\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
         imdn.Message-ID: Mx1\r\nimdn.Disposition-Notification: positive-delivery, display\r\n\r\n\
         Content-Type: text/plain\r\n\r\nhello"
    );
    let (status, said) = call(&daemon, "own", "/v1/cpm/messages", "message/cpim", &message);
    assert_eq!((status, &said["sip"]["reason"]), (200, &json!("OK")), "{said}");
    let all = |user: &mut super::dovecot::User| user.flags("Default").len();
    assert_eq!(all(&mut user), 1, "it is there when the sender hears it");

    // Away for a while: no second copy, and the sender is not left waiting for ever.
    let (status, said) = call(&daemon, "own", "/v1/cpm/messages", "message/cpim", &message);
    assert_eq!(status, 200, "{said}");
    assert_eq!(all(&mut user), 1);
    daemon.stop();
}

/// Callers are read again on SIGHUP; a list that is none is told at the start, and later changes nothing.
#[test]
fn callers_come_and_go_while_it_runs() {
    let case = Case::new();
    let (daemon, scratch) = daemon(&case, "imap-callers");
    let nothing = "<cpm-evfw xmlns=\"urn:oma:xml:cpm:evfw\"/>";
    let status = |token: &str| call(&daemon, token, "/v1/cpm/events", EVENTS, nothing).0;
    assert_eq!((status("user"), status("other")), (200, 401));
    let reload = |list: &str, words: &str| {
        let before = daemon.said().matches(words).count();
        std::fs::write(scratch.join("callers"), list).unwrap();
        daemon.signal("HUP");
        until(words, || daemon.said().matches(words).count() > before);
    };
    reload("tel:+15145550101 other\n", "configuration read again");
    assert_eq!((status("user"), status("other")), (401, 200));
    reload("nonsense\n", "line 1: expected an address");
    assert_eq!((status("user"), status("other")), (401, 200), "a bad list changes nothing");
    daemon.stop();

    let ended = Command::new(env!("CARGO_BIN_EXE_deferd"))
        .args(["run", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(scratch.join("other"))
        .args(["--set", &format!("http.callers_file={}", scratch.join("callers").display())])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(78), "{said}");
    assert!(said.contains("http.callers_file") && said.contains("line 1"), "{said}");
}
