//! Event reports of gateways: who may, in which order, about which message.

use super::*;

fn report(daemon: &Daemon, token: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut all = vec![("content-type", EVENTS)];
    all.extend_from_slice(headers);
    call(daemon, token, "/v1/cpm/events", &all, body)
}

fn evfw(events: &str) -> String {
    format!("<cpm-evfw xmlns=\"urn:oma:xml:cpm:evfw\">{events}</cpm-evfw>")
}

fn failed(id: &str) -> String {
    format!(
        "<failed-iw><cpm-user-address>+1 514 555 0100</cpm-user-address><message-id>{id}</message-id>\
         <Message-Context>pager-message</Message-Context><domain>CS</domain></failed-iw>"
    )
}

const READY: &str = "<ready-for-sms><cpm-user-address>sip:+15145550100@example.org;user=phone\
                     </cpm-user-address><domain>CS</domain></ready-for-sms>";

/// A message whose SMS is out; the SMSC knows it as `smsc-1`. Its attempt id.
fn by_sms(daemon: &Daemon) -> String {
    give(daemon, "cpm.cs.attached.v1", USER, json!({}));
    assert_eq!(send(daemon, "m1", "hello").status, 202);
    let deliveries = told(daemon, "deliveries");
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0]["access"], "sms");
    let attempt = deliveries[0]["attempt_id"].as_str().unwrap().to_owned();
    let accepted = json!({
        "attempt_id": attempt, "outcome": "accepted", "legacy_ids": ["smsc-1"],
        "report_expected": true,
    });
    give(daemon, "cpm.delivery.outcome.v1", USER, accepted);
    attempt
}

/// A failure is older than the readiness beside it, whatever the order in the document: the SMS goes
/// again. The message is known by its own id, the attempt's or the SMSC's. (A-3, A-12, SEED0-8, SEED0-23)
#[test]
fn an_sms_that_failed_goes_again_when_the_gateway_says_ready() {
    for name in ["message", "attempt", "legacy"] {
        let daemon = Daemon::start(setup());
        let attempt = by_sms(&daemon);
        let id = match name {
            "message" => "m1",
            "attempt" => &attempt,
            _ => "smsc-1",
        };
        let body = evfw(&format!("<cpm-event-iw>{READY}{}</cpm-event-iw>", failed(id)));

        let answer = report(&daemon, "gateway-token", &[], &body);

        assert_eq!(answer.status, 200, "{}", answer.text());
        let said = answer.json();
        assert_eq!(said["sip"], json!({ "status": 200, "reason": "OK" }));
        let fates: Vec<_> = said["events"].as_array().unwrap().iter().map(|e| &e["fate"]).collect();
        assert_eq!(fates, ["decided", "decided"], "{name}: {said}");
        let inputs = inputs(&daemon, USER);
        assert_eq!(inputs[inputs.len() - 2..], ["cpm.sms.failed.v1", "cpm.sms.ready.v1"]);
        let deliveries = told(&daemon, "deliveries");
        assert_eq!(deliveries.len(), 2, "{name}");
        assert_eq!(
            (&deliveries[1]["attempt"], &deliveries[1]["access"]),
            (&json!(2), &json!("sms"))
        );
    }
}

/// every spelling of the change requests is the same event.
#[test]
fn every_spelling_is_heard() {
    let fields = |id: &str| {
        format!(
            "<cpm-user-address> tel:+15145550100 </cpm-user-address><message-id>{id}</message-id>\
             <message-context>Pager-Message</message-context><Domain>cs</Domain>"
        )
    };
    let in_iw = |event: &str| format!("<cpm-event-iw>{event}</cpm-event-iw>");
    let in_other = |event: &str| format!("<event-cpm-iw>{event}</event-cpm-iw>");
    for (name, of) in [
        ("failed-iw", "cpm.sms.failed.v1"),
        ("iw-failed", "cpm.sms.failed.v1"),
        ("cpm-event-iw-failed", "cpm.sms.failed.v1"),
        ("event-cpm-iw-failed", "cpm.sms.failed.v1"),
        ("Failed-IW", "cpm.sms.failed.v1"),
        ("ready-for-sms", "cpm.sms.ready.v1"),
        ("event-cpm-ready-for-sms", "cpm.sms.ready.v1"),
        ("cpm-event-ready-for-sms", "cpm.sms.ready.v1"),
    ] {
        let event = format!("<{name}>{}</{name}>", fields("m1"));
        for (place, body) in [
            ("inside", evfw(&in_iw(&event))),
            ("inside another", evfw(&in_other(&event))),
            ("bare", evfw(&event)),
            ("wrapped", evfw(&format!("<report-data>{}</report-data>", in_iw(&event)))),
            ("no namespace", format!("<cpm-evfw>{}</cpm-evfw>", in_iw(&event))),
        ] {
            let daemon = Daemon::start(setup());
            let attempt = by_sms(&daemon);
            let answer = report(&daemon, "gateway-token", &[], &body);
            assert_eq!(answer.status, 200, "{name} {place}: {}", answer.text());
            assert_eq!(
                inputs(&daemon, USER).last().map(String::as_str),
                Some(of),
                "{name} {place}"
            );
            if of == "cpm.sms.failed.v1" {
                let why = get(&daemon, &format!("/v1/messages/m1/why?user={USER}"));
                let history = why[0]["history"].to_string();
                assert!(history.contains("absent"), "{name} {place} {attempt}: {history}");
            }
        }
    }
}

/// an event that could make an SMS go out is taken from a configured gateway and from nobody else,
/// whoever else it says it is. Nothing of the document is done.
#[test]
fn nobody_but_a_gateway_reports_interworking() {
    let daemon = Daemon::start(setup());
    let body = evfw(&format!("<cpm-event-iw>{READY}</cpm-event-iw>"));
    let bare = evfw(READY);
    let assert = |address: &'static str| [("p-asserted-identity", address)];
    for (token, headers, body) in [
        ("user-token", &[][..], &body),
        ("user-token", &[], &bare),
        ("server-token", &[], &body),
        ("user-token", &assert("<sip:iwf@example.org>"), &body),
        ("own", &assert("<tel:+15145550100>"), &body),
        ("own", &[], &body),
    ] {
        let answer = report(&daemon, token, headers, body);
        assert_eq!(answer.status, 403, "{token} {headers:?}: {}", answer.text());
        assert_eq!(answer.json()["sip"]["status"], 403);
        answer.error();
    }
    assert_eq!(inputs(&daemon, USER), [""; 0]);
    for (token, headers) in
        [("gateway-token", &[][..]), ("own", &assert("\"IWF\" <sip:iwf@example.org>"))]
    {
        assert_eq!(report(&daemon, token, headers, &body).status, 200, "{token}");
    }
    assert_eq!(inputs(&daemon, USER).len(), 2);
}

/// A token of `http.callers_file` opens what is its holder's and nothing else; without one nobody gets in.
#[test]
fn a_callers_token_opens_nothing_else() {
    let daemon = Daemon::start(setup());
    for path in ["/v1/users", "/v1/deliveries", "/v1/messages/m1/why", "/metrics", "/"] {
        let headers = [("authorization", "Bearer gateway-token")];
        let (status, code, says) = daemon.call("GET", path, &headers, b"").error();
        assert_eq!((status, code.as_str()), (403, "forbidden"), "{path}");
        assert!(says.contains("http.token_file"), "{says}");
    }
    let answer = report(&daemon, "wrong", &[], &evfw(READY));
    assert_eq!(answer.status, 401);
}

/// who is ready may stand in the request; where it stands nowhere, nothing is done and it is said.
/// the time is the request's Date, its id that of the call: told again it is the same input.
#[test]
fn what_the_document_leaves_out_the_request_says() {
    let daemon = Daemon::start(setup());
    let body = evfw(&format!("<cpm-event-iw>{}<ready-for-sms/></cpm-event-iw>", failed("m9")));
    let (status, code, says) = report(&daemon, "gateway-token", &[], &body).error();
    assert_eq!((status, code.as_str()), (400, "subject"), "{says}");
    assert!(says.contains("event 1"), "{says}");
    assert_eq!(inputs(&daemon, USER), [""; 0], "nothing is applied in part");

    let headers = [
        ("to", USER),
        ("date", "Fri, 20 Nov 2026 08:00:00 GMT"),
        ("call-id", "c1"),
        ("cseq", "7 MESSAGE"),
    ];
    for _ in 0..2 {
        assert_eq!(report(&daemon, "gateway-token", &headers, &body).status, 200);
    }
    let path = format!("/v1/users/{USER}/journal?limit=1000");
    let lines = daemon.call("GET", &path, &[("authorization", "Bearer own")], b"").text();
    let events: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["input"].clone())
        .filter(|input| input["type"] == "cpm.sms.ready.v1")
        .collect();
    assert!(events.iter().all(|event| event["time"] == "2026-11-20T08:00:00Z"), "{events:?}");
    assert!(events.windows(2).all(|two| two[0]["id"] == two[1]["id"]), "{events:?}");
}

/// our own extension says that it arrived, and the sender hears of it.
#[test]
fn an_sms_that_arrived_is_told() {
    let daemon = Daemon::start(setup());
    by_sms(&daemon);
    let body = evfw(
        "<cpm-event-iw><x:iw-result xmlns:x=\"urn:deferd:xml:cpm:evfw\">\
         <cpm-user-address>tel:+15145550100</cpm-user-address><message-id>m1</message-id>\
         <delivered/></x:iw-result></cpm-event-iw>",
    );
    let answer = report(&daemon, "gateway-token", &[], &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let notices = told(&daemon, "notifications");
    assert_eq!(notices.last().unwrap()["disposition"], "delivered", "{notices:?}");
}

/// what asks for nothing is no error, and unknown events are counted.
#[test]
fn what_asks_for_nothing_does_nothing() {
    let daemon = Daemon::start(setup());
    for (body, unknown) in
        [(evfw(""), 0), (evfw("<event-foo-bar xmlns=\"urn:foo\"><x/></event-foo-bar>"), 1)]
    {
        let answer = report(&daemon, "user-token", &[], &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["unknown"], unknown, "{}", answer.text());
    }
    assert_eq!(report(&daemon, "gateway-token", &[], &evfw("<cpm-event-iw/>")).status, 200);
    // One that is too large for a SIP MESSAGE came all the same (SEED4-40).
    let large = evfw(&format!("<!--{}-->", "x".repeat(5000)));
    assert_eq!(report(&daemon, "user-token", &[], &large).status, 200);
    assert_eq!(inputs(&daemon, USER), [""; 0]);
}

/// SEED4-23: with an IARI it is another's to read, even where it is nonsense to us.
#[test]
fn what_names_an_application_of_its_own_is_relayed() {
    let daemon = Daemon::start(setup());
    let iari = "*;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.systemmsg\";\
                +g.3gpp.iari-ref=\"urn%3Aurn-7%3A3gpp-application.ims.iari.x\"";
    let answer = report(&daemon, "user-token", &[("accept-contact", iari)], "not even XML");
    assert_eq!((answer.status, &answer.json()["sip"]), (200, &Value::Null), "{}", answer.text());
}
