//! What clients ask of their stores, on a store that does as it is told; `tests/imap.rs` has a real one.

use std::sync::{Arc, Mutex};

use deferd::domain::address::Address;
use deferd::edge::store::{self, Flag, Kept, MessageStore, Object, StoreError, Stored};

use super::*;

/// A store that knows some messages, and notes what it is asked.
#[derive(Debug, Default)]
struct Notes {
    asked: Mutex<Vec<(String, Flag, Vec<Object>)>>,
}

impl MessageStore for Notes {
    fn flag<'a>(
        &'a self,
        user: &'a Address,
        flag: Flag,
        objects: &'a [Object],
    ) -> store::Answer<'a, Vec<Result<(), StoreError>>> {
        let answer = |object: &Object| match object.message_id.as_deref() {
            Some("gone") => Err(StoreError::NotFound("no such message".into())),
            Some("breaks") => panic!("a store that breaks breaks nothing else"),
            _ => Ok(()),
        };
        Box::pin(async move {
            self.asked.lock().unwrap().push((user.to_string(), flag, objects.to_vec()));
            objects.iter().map(answer).collect()
        })
    }

    fn append<'a>(
        &'a self,
        _: &'a Address,
        _: &'a Stored,
    ) -> store::Answer<'a, Result<Kept, StoreError>> {
        Box::pin(async { Err(StoreError::Denied("not asked here".into())) })
    }
}

fn report(daemon: &Daemon, token: &str, events: &str) -> Answer {
    let body = format!("<cpm-evfw xmlns=\"urn:oma:xml:cpm:evfw\">{events}</cpm-evfw>");
    call(daemon, token, "/v1/cpm/events", &[("content-type", EVENTS), ("call-id", "c1")], &body)
}

fn operation(name: &str, flags: &str, objects: &str) -> String {
    format!(
        "<event-cpm-imap type=\"flags\" index=\"e1\"><operation name=\"{name}\" flags=\"{flags}\">\
         {objects}</operation></event-cpm-imap>"
    )
}

fn message(id: &str) -> String {
    format!("<object><message-id>{id}</message-id></object>")
}

/// SEED4-78, A-36: one IMDN an item that has a message id, positive or negative, from us, to the reporting
/// client: nobody else hears of it.
#[test]
fn each_item_with_an_id_has_its_result() {
    let notes = Arc::new(Notes::default());
    let daemon = Daemon::start(Setup { store: Some(notes.clone()), ..setup() });
    let uid = "<object uid=\"7\" folder-path=\"Default/c1\"/>";
    let objects = format!("{}{uid}{}", message("m1"), message("gone"));
    let events =
        operation("add", "\\Seen", &objects) + &operation("remove", "\\Seen", &message("m2"));

    let answer = report(&daemon, "user-token", &events);

    assert_eq!(answer.status, 200, "{}", answer.text());
    let said = answer.json();
    let results = said["results"].as_array().unwrap();
    let of = |at: usize| {
        let result = &results[at];
        (result["message_id"].as_str().unwrap(), result["disposition"].as_str().unwrap())
    };
    assert_eq!(results.len(), 3, "{said}");
    assert_eq!([of(0), of(1), of(2)], [("m1", "delivered"), ("gone", "failed"), ("m2", "failed")]);
    assert_eq!(results[1]["reason"]["code"], "not-found");
    assert_eq!(results[0]["index"], "e1");
    assert_eq!(results[0]["service"], "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.systemmsg");
    let imdn = results[1]["imdn"].as_str().unwrap();
    for part in [
        "From: <sip:pf@ims.example.org>\r\n",
        "To: <tel:+15145550100>\r\n",
        "Content-Disposition: notification\r\n",
        "<message-id>gone</message-id>",
        "<delivery-notification><status><failed/>",
    ] {
        assert!(imdn.contains(part), "{part}: {imdn}");
    }
    assert!(!imdn.contains("Disposition-Notification"), "an IMDN asks for none (IMDN-10)");
    let asked = notes.asked.lock().unwrap();
    assert_eq!(asked.len(), 1, "what nobody does is not asked of the store");
    let (user, flag, objects) = &asked[0];
    assert_eq!((user.as_str(), *flag, objects.len()), (USER, Flag::Seen, 3));
    assert_eq!((objects[1].uid, objects[1].folder.as_deref()), (Some(7), Some("Default/c1")));
    drop(asked);
    assert_eq!(told(&daemon, "notifications"), [Value::Null; 0], "not to the partner (A-36)");
    assert_eq!(told(&daemon, "deliveries"), [Value::Null; 0], "to no other client (SEED4-77)");
    assert_eq!(inputs(&daemon, USER), [""; 0], "nothing of it is deferred (SEED4-41)");
}

/// A store that breaks, and none at all: negative results, and the daemon goes on.
#[test]
fn a_store_that_cannot_has_negative_results() {
    let notes: Arc<dyn MessageStore> = Arc::new(Notes::default());
    for (store, id) in [(Some(notes), "breaks"), (None, "m1")] {
        let daemon = Daemon::start(Setup { store, ..setup() });
        let answer = report(&daemon, "user-token", &operation("add", "\\Deleted", &message(id)));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let result = &answer.json()["results"][0];
        assert_eq!(
            (&result["disposition"], &result["reason"]["code"]),
            (&json!("failed"), &json!("unavailable"))
        );
        assert_eq!(report(&daemon, "user-token", "").status, 200);
    }
}

/// Flags are a user's own to set: a gateway has no store, and one document is done whole or not at all.
#[test]
fn nobody_sets_the_flags_of_another() {
    let notes = Arc::new(Notes::default());
    let daemon = Daemon::start(Setup { store: Some(notes.clone()), ..setup() });
    let flags = operation("add", "\\Seen", &message("m1"));
    let ready = "<cpm-event-iw><ready-for-sms><cpm-user-address>tel:+15145550100</cpm-user-address>\
                 </ready-for-sms></cpm-event-iw>";
    for (token, events) in [
        ("gateway-token", flags.clone()),
        ("server-token", flags.clone()),
        ("gateway-token", format!("{ready}{flags}")),
        ("user-token", format!("{flags}{ready}")),
    ] {
        let answer = report(&daemon, token, &events);
        assert_eq!(answer.status, 403, "{token}: {}", answer.text());
    }
    assert!(notes.asked.lock().unwrap().is_empty());
    assert_eq!(inputs(&daemon, USER), [""; 0]);
}
