//! Records are added once, whatever happens meanwhile; and hold what they should.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deferd::domain::time::Timestamp;
use deferd::edge::imap::{Imap, Settings};
use deferd::edge::store::{Content, Flag, Kept, MessageStore, StoreError, Stored};

use super::{Case, FOLDER, NUMBER, address, message, until};

/// A-5, SEED0-56.2, SEED0-60: the headers of CPM, its content, its flags; the folder is made.
#[test]
fn a_record_is_kept_as_cpm_wants_it() {
    let case = Case::new();
    let one = Stored { flags: vec![Flag::Seen], ..record("Mx1") };
    assert_eq!(append(&case, &one), Ok(Kept::Added(Some(1))));
    let mut user = case.server.user(NUMBER);
    assert_eq!(user.flags(FOLDER), [(1, "\\Seen".into())]);
    user.say(&format!("EXAMINE \"{FOLDER}\""));
    let text = user.say("UID FETCH 1 (BODY.PEEK[])");
    for line in [
        "From: <tel:+15145550199>",
        "To: <tel:+15145550100>",
        "IMDN-Message-ID: Mx1",
        "Message-Context: pager-message",
        "Conversation-ID: c1",
        "Contribution-ID: k1",
        "Content-Type: text/plain;charset=utf-8",
        "Content-Transfer-Encoding: base64",
        "P-Asserted-Service: urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg",
        "Date: Sat, 21 Nov 2026 08:00:00 +0000",
        "w6l0w6kK",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}: {text}");
    }
    // With no ids there are no folders of them.
    let bare =
        Stored { conversation_id: None, contribution_id: Some(String::new()), ..record("Mx2") };
    assert_eq!(append(&case, &bare), Ok(Kept::Added(Some(1))));
    assert_eq!(user.flags("Default").len(), 1);
    // An id is one name of a path, whatever is in it.
    let odd = Stored { conversation_id: Some("../*/%\"\\".into()), ..record("Mx3") };
    assert_eq!(append(&case, &odd), Ok(Kept::Added(Some(1))));
    assert_eq!(user.flags("Default/_..______/k1").len(), 1);
    let named = Stored { folder: Some("Default/Entwürfe".into()), ..record("Mx4") };
    assert_eq!(append(&case, &named), Ok(Kept::Added(Some(1))));
    assert_eq!(user.flags("Default/Entw&APw-rfe").len(), 1);
}

/// once for each sender and id; what comes later updates it. (P-19)
#[test]
fn a_record_is_added_once() {
    let case = Case::new();
    let mut user = case.with(&[("Mx10", "+15145550199")]);
    assert_eq!(
        append(&case, &record("Mx1")),
        Ok(Kept::Added(Some(2))),
        "an id that only begins so"
    );
    assert_eq!(append(&case, &record("Mx1")), Ok(Kept::Updated(2)));
    let delivered = Stored { flags: vec![Flag::Seen, Flag::Deleted], ..record("Mx1") };
    assert_eq!(append(&case, &delivered), Ok(Kept::Updated(2)));
    let other = Stored { from: "tel:+15145550188".into(), ..record("Mx1") };
    assert_eq!(append(&case, &other), Ok(Kept::Added(Some(3))));
    let known = [(1, String::new()), (2, "\\Deleted \\Seen".into()), (3, String::new())];
    assert_eq!(user.flags(FOLDER), known);

    // Many at once, as after a restart that crossed a slow answer: one is left, the oldest.
    let store = Arc::new(Imap::new(case.server.settings()).unwrap());
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&store);
            case.runtime.spawn(async move { store.append(&address(NUMBER), &record("Mx2")).await })
        })
        .collect();
    for call in calls {
        let kept = case.runtime.block_on(call).unwrap();
        assert!(kept.is_ok(), "{kept:?}");
    }
    assert_eq!(user.flags(FOLDER).len(), 4);
}

/// The server took the record and could not say so: the next try finds it.
#[test]
fn a_record_whose_answer_was_lost_is_not_doubled() {
    let case = Case::new();
    let store = Settings { timeout: Duration::from_millis(400), ..case.server.settings() };
    let store = Arc::new(Imap::new(store).unwrap());
    let mut user = case.with(&[("Mx0", "+15145550199")]);
    for round in 0..6 {
        let id = format!("Mr{round}");
        let call = {
            let (store, id) = (Arc::clone(&store), id.clone());
            case.runtime.spawn(async move { store.append(&address(NUMBER), &record(&id)).await })
        };
        std::thread::sleep(Duration::from_millis(round * 3));
        case.server.signal("STOP");
        let _ = case.runtime.block_on(call).unwrap();
        case.server.signal("CONT");
        until("it is kept", || {
            case.runtime.block_on(store.append(&address(NUMBER), &record(&id))).is_ok()
        });
    }
    let all = user.flags(FOLDER);
    assert_eq!(all.len(), 7, "{all:?}");
}

#[test]
fn a_full_store_says_so() {
    let case = Case::new();
    let large = Content::Octets("0123456789\r\n".repeat(200_000).into_bytes());
    let large = Stored { content: large, ..record("Mx1") };
    let error = append(&case, &large).unwrap_err();
    assert!(matches!(error, StoreError::Full(_)), "{error:?}");
    // The connection is as good as before.
    assert!(append(&case, &record("Mx2")).is_ok());
}

#[test]
fn what_cannot_be_said_is_refused_and_nothing_is_added() {
    let case = Case::new();
    let mut user = case.with(&[]);
    let bad = "x\r\nt9 DELETE Default";
    let text = || Some(bad.to_owned());
    for one in [
        Stored { message_id: bad.into(), ..record("Mx1") },
        Stored { message_id: String::new(), ..record("Mx1") },
        Stored { message_id: "é".into(), ..record("Mx1") },
        Stored { message_id: "x".repeat(256), ..record("Mx1") },
        Stored { from: bad.into(), ..record("Mx1") },
        Stored { context: bad.into(), ..record("Mx1") },
        Stored { conversation_id: text(), ..record("Mx1") },
        Stored { contribution_id: text(), ..record("Mx1") },
        Stored { content_type: bad.into(), ..record("Mx1") },
        Stored { content: Content::Link(bad.into()), ..record("Mx1") },
        Stored { headers: [("Subject".into(), bad.into())].into(), ..record("Mx1") },
        Stored { folder: text(), ..record("Mx1") },
        Stored { folder: Some("../x".into()), ..record("Mx1") },
        Stored { folder: Some("Default/*".into()), ..record("Mx1") },
    ] {
        let error = append(&case, &one).unwrap_err();
        assert!(matches!(error, StoreError::Invalid(_)), "{one:?}: {error:?}");
    }
    assert_eq!(user.flags(FOLDER), []);
    // A body is a literal: whatever is in it stays in it.
    let content = Content::Octets(b")\r\nt9 DELETE Default\r\n.\r\n\0\xff{3}\r\n".to_vec());
    assert!(append(&case, &Stored { content, ..record("Mx1") }).is_ok());
    assert_eq!(user.flags(FOLDER).len(), 1);
}

/// All users in one account: nobody reaches another's folders.
#[test]
fn users_of_one_account_are_kept_apart() {
    let case = Case::new();
    let store = Imap::new(Settings {
        login: "all*deferd".to_owned(),
        root: "users/{msisdn}".to_owned(),
        folder: "users/{msisdn}/{conversation_id}".to_owned(),
        ..case.server.settings()
    });
    let store = store.unwrap();
    let theirs = address("+15145550101");
    let kept = case.runtime.block_on(store.append(&theirs, &record("Mx1")));
    assert_eq!(kept, Ok(Kept::Added(Some(1))));
    let mut all = case.server.user("all");
    all.make("users/+15145550100/c1");
    all.add("users/+15145550100/c1", &message("Mx2", "+15145550199"));
    let flag = |object: &deferd::edge::store::Object| {
        let results = store.flag(&theirs, Flag::Seen, std::slice::from_ref(object));
        super::words(&case.runtime.block_on(results))
    };
    let object = super::at(1, Some("Mx2"));
    for folder in ["users/+15145550100/c1", "users", "INBOX", "users/+151455501010"] {
        let object = deferd::edge::store::Object { folder: Some(folder.into()), ..object.clone() };
        assert_eq!(flag(&object), ["not-found"], "{folder}");
    }
    let anywhere = deferd::edge::store::Object { folder: None, uid: None, ..object };
    assert_eq!(flag(&anywhere), ["not-found"]);
    let own = deferd::edge::store::Object {
        folder: Some("users/+15145550101/c1".into()),
        ..super::at(1, Some("Mx1"))
    };
    assert_eq!(flag(&own), ["ok"]);
}

fn append(case: &Case, record: &Stored) -> Result<Kept, StoreError> {
    let began = Instant::now();
    let kept = case.runtime.block_on(case.store.append(&address(NUMBER), record));
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    kept
}

fn record(id: &str) -> Stored {
    Stored {
        message_id: id.to_owned(),
        from: "tel:+15145550199".into(),
        anonymous: false,
        context: "pager-message".into(),
        date: Timestamp::from_millis(1_795_248_000_000),
        conversation_id: Some("c1".into()),
        contribution_id: Some("k1".into()),
        in_reply_to_contribution_id: None,
        headers: BTreeMap::from([(
            "p-asserted-service".into(),
            "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg".into(),
        )]),
        wants_display: false,
        content_type: "text/plain;charset=utf-8".into(),
        content: Content::Octets("été\n".into()),
        flags: Vec::new(),
        folder: None,
    }
}
