//! The message store against a real Dovecot on the loopback: flags, records, and all that goes wrong.
#![allow(missing_docs, reason = "a test")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and says so; it measures what a call takes"
)]

mod data;
#[path = "imap/doctor.rs"]
mod doctor;
#[path = "imap/dovecot.rs"]
mod dovecot;
mod process;
#[path = "imap/records.rs"]
mod records;
#[path = "imap/reports.rs"]
mod reports;
mod samples;
mod seeded;
#[path = "imap/sink.rs"]
mod sink;

use std::time::{Duration, Instant};

use deferd::domain::address::{Address, Home};
use deferd::edge::imap::{Imap, Security, Settings};
use deferd::edge::store::{Flag, MessageStore, Object, StoreError};
use dovecot::Dovecot;
use tokio::runtime::Runtime;

const NUMBER: &str = "+15145550100";
const FOLDER: &str = "Default/c1/k1";

type Results = Vec<Result<(), StoreError>>;

/// SEED4-69 to SEED4-71, SEED4-78: by UID and folder; what was set is read back, and stays.
#[test]
fn flags_are_set_by_uid_and_folder() {
    let case = Case::new();
    let mut user = case.with(&[("Mx1", "+15145550199"), ("Mx2", "+15145550199")]);
    let seen = case.flag(Flag::Seen, &[at(1, Some("Mx1"))]);
    assert_eq!(seen, [Ok(())]);
    // With no id there is nothing to hold the UID against; the path may end with its delimiter.
    let by_uid = Object { folder: Some(format!("{FOLDER}/")), ..at(1, None) };
    assert_eq!(case.flag(Flag::Deleted, &[by_uid.clone(), by_uid]), [Ok(()), Ok(())]);
    assert_eq!(user.flags(FOLDER), [(1, "\\Deleted \\Seen".into()), (2, String::new())]);
    // Again: it is there, and it is so.
    assert_eq!(case.flag(Flag::Seen, &[at(1, Some("Mx1"))]), [Ok(())]);
}

/// A UID that is of another message now must not flag that one.
#[test]
fn a_stale_uid_is_found_out() {
    let case = Case::new();
    let mut user = case.with(&[("Mx1", "+15145550199"), ("Mx2", "+15145550199")]);
    let objects = [at(1, Some("Mx2")), at(99, Some("Mx1")), at(2, Some("Mx3")), at(77, None)];
    let results = case.flag(Flag::Deleted, &objects[..1]);
    assert_eq!(results, [Ok(())]);
    assert_eq!(user.flags(FOLDER), [(1, String::new()), (2, "\\Deleted".into())]);
    let results = case.flag(Flag::Deleted, &objects[1..]);
    assert_eq!(words(&results), ["ok", "not-found", "not-found"]);
    assert_eq!(user.flags(FOLDER), [(1, "\\Deleted".into()), (2, "\\Deleted".into())]);
}

/// The server finds whatever contains an id: only that id, exactly, is meant. (SEED4-72, SEED4-74)
#[test]
fn an_id_alone_is_found_exactly_and_anywhere() {
    let case = Case::new();
    let mut user = case.with(&[("Mx10", "+15145550199"), ("aMx1", "+15145550199")]);
    user.make("Default/other");
    user.add("Default/other", &message("Mx1-more", "+15145550199"));
    user.add("Default/other", &message("Mx1", "+15145550199"));
    user.make("Elsewhere");
    user.add("Elsewhere", &message("Mx7", "+15145550199"));
    user.add("Default/other", "From: <tel:+15145550199>\r\nMessage-ID: <Mx8@h>\r\n\r\nx");
    let id = |id: &str| Object { message_id: Some(id.into()), ..Object::default() };
    // Clients make these up: no match is asked for.
    let made_up = Object {
        conversation_id: Some("Mx1".into()),
        contribution_id: Some("none".into()),
        other_party: Some("tel:+15145550188".into()),
        uid: Some(1),
        ..id("Mx1")
    };
    let objects = [made_up, id("Mx"), id("Mx7"), id("Mx8@h")];
    let results = case.flag(Flag::Seen, &objects);
    assert_eq!(words(&results), ["ok", "not-found", "not-found", "ok"]);
    let seen = "\\Seen".to_owned();
    assert_eq!(user.flags(FOLDER), [(1, String::new()), (2, String::new())]);
    assert_eq!(user.flags("Default/other"), [(1, String::new()), (2, seen.clone()), (3, seen)]);
    assert_eq!(user.flags("Elsewhere"), [(1, String::new())]);
}

/// Two senders chose one id: nothing is flagged unless it is said whose. (P-19)
#[test]
fn messages_of_one_id_are_told_apart_by_the_other_party() {
    let case = Case::new();
    let mut user = case.with(&[("Mx1", "+15145550199"), ("Mx1", "+15145550188")]);
    let one = Object { uid: None, ..at(0, Some("Mx1")) };
    let named = Object { other_party: Some("sip:+15145550188@ims.example".into()), ..one.clone() };
    assert_eq!(words(&case.flag(Flag::Seen, &[one])), ["invalid"]);
    assert_eq!(words(&case.flag(Flag::Seen, &[named])), ["ok"]);
    assert_eq!(user.flags(FOLDER), [(1, String::new()), (2, "\\Seen".into())]);
}

#[test]
fn what_is_not_there_is_not_found() {
    let case = Case::new();
    case.with(&[("Mx1", "+15145550199")]);
    let objects = [
        at(9, None),
        at(9, Some("Mx9")),
        Object { folder: Some("Default/none".into()), ..at(1, Some("Mx1")) },
        Object { folder: Some("Default/none".into()), uid: None, ..at(1, Some("Mx1")) },
        Object { message_id: Some("Mx9".into()), ..Object::default() },
    ];
    assert_eq!(words(&case.flag(Flag::Seen, &objects)), ["not-found"; 5]);
    let none = [Object::default(), Object { uid: Some(1), ..Object::default() }];
    assert_eq!(words(&case.flag(Flag::Seen, &none)), ["invalid"; 2]);
    // A user who has no store yet.
    let other = address("+15145550101");
    let results = case.runtime.block_on(case.store.flag(&other, Flag::Seen, &objects[4..]));
    assert_eq!(words(&results), ["not-found"]);
}

#[test]
fn a_folder_that_may_not_be_changed_is_denied() {
    let case = Case::new();
    let mut user = case.server.user(NUMBER);
    user.make("Default/locked");
    // Nobody may add to it either, so it is put there as a delivery would.
    let file = case.server.directory.join(format!("mail/{NUMBER}/Default/locked/cur/1.a:2,"));
    std::fs::write(file, message("Mx1", "+15145550199")).unwrap();
    let object = Object { folder: Some("Default/locked".into()), ..at(1, Some("Mx1")) };
    assert_eq!(words(&case.flag(Flag::Seen, &[object])), ["denied"]);
    assert_eq!(user.flags("Default/locked"), [(1, String::new())]);
}

#[test]
fn folders_of_all_alphabets_and_signs_are_reached() {
    let case = Case::new();
    let mut user = case.server.user(NUMBER);
    for (path, coded) in [
        ("Default/Entwürfe", "Default/Entw&APw-rfe"),
        ("Default/日本語/台北", "Default/&ZeVnLIqe-/&U,BTFw-"),
        ("Default/a {3} \"b\" \\ (c)", "Default/a {3} \\\"b\\\" \\\\ (c)"),
        ("Default/R&D", "Default/R&-D"),
    ] {
        user.make(coded);
        user.add(coded, &message("Mx1", "+15145550199"));
        let object = Object { folder: Some(path.into()), ..at(1, Some("Mx1")) };
        assert_eq!(case.flag(Flag::Seen, &[object]), [Ok(())], "{path}");
        assert_eq!(user.flags(coded), [(1, "\\Seen".into())]);
    }
    let coded = Object { folder: Some("Default/Entw&APw-rfe".into()), ..at(1, Some("Mx1")) };
    assert_eq!(case.flag(Flag::Seen, &[coded]), [Ok(())]);
}

/// Nothing that a client writes becomes a command, and the connection stays good.
#[test]
fn what_a_client_writes_is_no_command() {
    let case = Case::new();
    let mut user = case.with(&[("Mx1", "+15145550199"), ("Mx2", "+15145550199")]);
    let bad = [
        "x\r\nt9 UID STORE 1:* +FLAGS (\\Deleted)",
        "x\nt9 DELETE Default",
        "x\0",
        "x\" OR ALL",
        "x {3+}",
        "{3}",
        "\\",
        "\"",
        "*",
        "%",
        "Default/*",
        "../+15145550101/Default",
        "Default/../..",
        "~a",
        "(",
        ")",
        "NIL",
        "é\r\n",
        "\u{0}\u{85}\u{2028}",
        "&AA-",
        "",
    ];
    for text in bad {
        let objects = [
            Object { folder: Some(text.into()), ..at(1, Some("Mx1")) },
            Object { folder: Some(text.into()), ..at(1, None) },
            Object { message_id: Some(text.into()), ..Object::default() },
            Object { message_id: Some(text.into()), ..at(1, None) },
        ];
        for result in case.flag(Flag::Deleted, &objects) {
            let word = result.as_ref().err().map_or("ok", StoreError::word);
            assert!(matches!(word, "invalid" | "not-found"), "{text:?}: {result:?}");
        }
        let hints = Object {
            conversation_id: Some(text.into()),
            contribution_id: Some(text.into()),
            other_party: Some(text.into()),
            message_id: Some("Mx2".into()),
            ..Object::default()
        };
        assert_eq!(case.flag(Flag::Seen, &[hints]), [Ok(())], "{text:?}");
    }
    assert_eq!(user.flags(FOLDER), [(1, String::new()), (2, "\\Seen".into())]);
}

#[test]
fn a_thousand_items_are_one_call_within_its_time() {
    let case = Case::new();
    let mut user = case.server.user(NUMBER);
    user.make(FOLDER);
    for number in 1..=500 {
        user.add(FOLDER, &message(&format!("M{number:04}"), "+15145550199"));
    }
    let by_uid = (1..=500).map(|uid| at(uid, Some(&format!("M{uid:04}"))));
    let by_id = (1..=500).map(|number| Object {
        message_id: Some(format!("M{:04}", number + 1)),
        ..Object::default()
    });
    let objects: Vec<_> = by_uid.chain(by_id).collect();
    let began = Instant::now();
    let results = case.flag(Flag::Seen, &objects);
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 999, "{results:?}");
    assert_eq!(words(&results[999..]), ["not-found"]);
    assert!(user.flags(FOLDER).iter().all(|(_, flags)| flags == "\\Seen"));
    // No time for all of them: what was done is said, and the rest is not known.
    let hurried = Settings { timeout: Duration::from_millis(30), ..case.server.settings() };
    let store = Imap::new(hurried).unwrap();
    let user = address(NUMBER);
    let began = Instant::now();
    let results = case.runtime.block_on(store.flag(&user, Flag::Deleted, &objects));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(words(&results).iter().all(|word| ["ok", "unavailable", "not-found"].contains(word)));
}

#[test]
fn tls_is_spoken_and_only_to_whom_we_trust() {
    let case = Case::new();
    case.with(&[("Mx1", "+15145550199")]);
    let directory = &case.server.directory;
    let (plain, tls) = (case.server.port, case.server.tls_port);
    let user = address(NUMBER);
    for (port, security, ca, wanted) in [
        (tls, Security::Tls, "ca.pem", "ok"),
        (plain, Security::Starttls, "ca.pem", "ok"),
        (tls, Security::Tls, "other.pem", "denied"),
        (plain, Security::Starttls, "other.pem", "denied"),
        // Spoken to in clear where it waits for TLS, and the other way round.
        (tls, Security::Plain, "ca.pem", "unavailable"),
        (plain, Security::Tls, "ca.pem", "denied"),
    ] {
        let store = Imap::new(Settings {
            server: format!("127.0.0.1:{port}"),
            security,
            ca_file: directory.join(ca),
            login: "{msisdn}".to_owned(),
            password_file: directory.join("own-password"),
            timeout: Duration::from_secs(5),
            ..case.server.settings()
        });
        let results =
            case.runtime.block_on(store.unwrap().flag(&user, Flag::Seen, &[at(1, Some("Mx1"))]));
        assert_eq!(words(&results), [wanted], "{security:?} {ca} {results:?}");
    }
}

#[test]
fn a_wrong_password_is_the_operators() {
    let case = Case::new();
    case.with(&[("Mx1", "+15145550199")]);
    let password_file = case.server.directory.join("wrong-password");
    let store =
        Imap::new(Settings { password_file: password_file.clone(), ..case.server.settings() });
    let (store, user) = (store.unwrap(), address(NUMBER));
    let flag =
        || words(&case.runtime.block_on(store.flag(&user, Flag::Seen, &[at(1, Some("Mx1"))])));
    assert_eq!(flag(), ["denied"]);
    std::fs::write(&password_file, "master secret").unwrap();
    store.reload().unwrap();
    assert_eq!(flag(), ["ok"]);
}

/// A server that is held answers nobody: each call ends in its time, and no more than so many wait.
#[test]
fn a_server_that_hangs_holds_nobody() {
    let case = Case::new();
    case.with(&[("Mx1", "+15145550199")]);
    let store = Imap::new(Settings {
        timeout: Duration::from_millis(1500),
        connections: 2,
        waiting: 3,
        ..case.server.settings()
    });
    let store = std::sync::Arc::new(store.unwrap());
    let call = || {
        let store = std::sync::Arc::clone(&store);
        async move { store.flag(&address(NUMBER), Flag::Seen, &[at(1, Some("Mx1"))]).await }
    };
    assert_eq!(case.runtime.block_on(call()), [Ok(())]);
    case.server.signal("STOP");
    let began = Instant::now();
    let calls: Vec<_> = (0..20).map(|_| case.runtime.spawn(call())).collect();
    let results: Vec<Results> =
        calls.into_iter().map(|call| case.runtime.block_on(call).unwrap()).collect();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(results.iter().all(|result| words(result) == ["unavailable"]), "{results:?}");
    let full = results.iter().filter(|r| format!("{r:?}").contains("too many calls wait")).count();
    assert_eq!(full, 15, "two at work and three waiting: {results:?}");
    case.server.signal("CONT");
    until("it answers again", || case.runtime.block_on(call()) == [Ok(())]);
}

#[test]
fn a_server_that_was_away_is_found_again() {
    let mut case = Case::new();
    case.with(&[("Mx1", "+15145550199")]);
    let flag = |case: &Case| case.flag(Flag::Seen, &[at(1, Some("Mx1"))]);
    assert_eq!(flag(&case), [Ok(())]);
    // It comes back before anybody noticed: the old connection is no good, and nobody is told.
    case.server.stop();
    case.server.run();
    assert_eq!(flag(&case), [Ok(())]);
    case.server.stop();
    assert_eq!(words(&flag(&case)), ["unavailable"]);
    // Nobody knocks at every call.
    let results = flag(&case);
    assert!(format!("{results:?}").contains("tried a moment ago"), "{results:?}");
    case.server.run();
    until("it is found", || flag(&case) == [Ok(())]);
}

/// A server, a store that speaks to it, and where that runs.
struct Case {
    runtime: Runtime,
    server: Dovecot,
    store: Imap,
}

impl Case {
    fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let server = Dovecot::start();
        let store = Settings { timeout: Duration::from_secs(20), ..server.settings() };
        Self { runtime: runtime.unwrap(), store: Imap::new(store).unwrap(), server }
    }

    /// With messages in the user's folder, by their ids and senders.
    fn with(&self, messages: &[(&str, &str)]) -> dovecot::User {
        let mut user = self.server.user(NUMBER);
        user.make(FOLDER);
        for (id, from) in messages {
            user.add(FOLDER, &message(id, from));
        }
        user
    }

    fn flag(&self, flag: Flag, objects: &[Object]) -> Results {
        self.runtime.block_on(self.store.flag(&address(NUMBER), flag, objects))
    }
}

fn address(number: &str) -> Address {
    Address::parse(number, &Home::default()).unwrap()
}

fn message(id: &str, from: &str) -> String {
    format!("From: <tel:{from}>\r\nTo: <tel:{NUMBER}>\r\nIMDN-Message-ID: {id}\r\n\r\nhello")
}

fn at(uid: u32, id: Option<&str>) -> Object {
    Object {
        uid: Some(uid),
        folder: Some(FOLDER.into()),
        message_id: id.map(str::to_owned),
        ..Object::default()
    }
}

fn words(results: &[Result<(), StoreError>]) -> Vec<&'static str> {
    results.iter().map(|result| result.as_ref().err().map_or("ok", StoreError::word)).collect()
}

/// Waits for something, and not for ever.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(40), "not in time: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
