//! Procedure 8.3.1.1 as its callers meet it: the status, the Warning, and what follows.

use deferd::cli::clock::WallClock;
use deferd::engine::ports::Clock as _;

use super::*;

fn submit(daemon: &Daemon, token: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut all = vec![("content-type", "Message/CPIM; charset=utf-8")];
    all.extend_from_slice(headers);
    call(daemon, token, "/v1/cpm/messages", &all, body)
}

/// SEED0-58, SEED0-70, D-3: a message is taken with all that its delivery needs again, and goes to the phone
/// as soon as that registers. Told again it is taken once.
#[test]
fn a_message_is_taken_once_and_delivered() {
    let daemon = Daemon::start(setup());
    let headers = [
        ("conversation-id", "c1"),
        ("contribution-id", "d1"),
        ("expires", "3600"),
        ("call-id", "a84b4c76e66710"),
        ("cseq", "1 MESSAGE"),
    ];
    let body = cpim("m1", "text/plain;charset=utf-8", "héllo\r\n")
        .replace("NS:", "Subject: a word\r\nimdn.IMDN-Record-Route: <sip:as1@example.org>\r\nNS:");
    for _ in 0..2 {
        let answer = submit(&daemon, "sender-token", &headers, &body);
        assert_eq!(answer.status, 202, "{}", answer.text());
        assert_eq!(answer.json()["sip"], json!({ "status": 202, "reason": "Accepted" }));
    }
    assert_eq!(told(&daemon, "deliveries"), [Value::Null; 0]);
    register(&daemon, USER, "oma.cpm.msg");
    let deliveries = told(&daemon, "deliveries");
    assert_eq!(deliveries.len(), 1, "{deliveries:?}");
    for (field, value) in [
        ("message_id", json!("m1")),
        ("from", json!(SENDER)),
        ("kind", json!("pager")),
        ("content_type", json!("text/plain;charset=utf-8")),
        ("body", json!("héllo")),
        ("sent_at", json!("2026-11-21T08:00:00Z")),
        ("disposition", json!(["positive-delivery", "display"])),
        ("conversation_id", json!("c1")),
        ("contribution_id", json!("d1")),
        ("headers", json!({ "Subject": "a word" })),
        ("imdn_route", json!(["sip:as1@example.org"])),
    ] {
        assert_eq!(deliveries[0][field], value, "{field}");
    }
    // The same id with another text is another message.
    let answer = submit(&daemon, "sender-token", &[], &cpim("m1", "text/plain", "other"));
    assert_eq!((answer.status, answer.error().1.as_str()), (400, "conflict"));
}

/// SEED0-50 to SEED0-54: 403, the Warning byte by byte; `why` knows what was refused, and by which rule.
#[test]
fn what_is_refused_hears_why() {
    let mut refusing = rules();
    refusing.service.user_agents = vec!["RCS-client/2".into()];
    refusing.service.allow_anonymous = false;
    let daemon = Daemon::start(Setup { rules: refusing, ..setup() });
    let warning = |text: &str| format!("399 ims.example.org \"{text}\"");
    let refused = |id: &str, headers: &[(&str, &str)], text: &str| {
        let answer = submit(&daemon, "sender-token", headers, &cpim(id, "text/plain", "x"));
        assert_eq!(answer.status, 403, "{id}: {}", answer.text());
        assert_eq!(answer.json()["sip"]["reason"], "Forbidden");
        assert_eq!(answer.json()["sip"]["warning"], warning(text), "{id}");
        assert_eq!(answer.header("warning"), Some(&*warning(text)), "{id}");
        let why = get(&daemon, &format!("/v1/messages/{id}/why?user={USER}"));
        assert_eq!(why[0]["ended"]["how"], "rejected", "{why}");
        why[0]["trace"][0].as_str().unwrap().to_owned()
    };
    let version = "132 Version not supported";
    let trace = refused("m1", &[("user-agent", "RCS-client/1.9")], version);
    assert_eq!(trace, warning(version));
    refused("m2", &[("privacy", "header; id")], "119 Anonymity not allowed");
    refused("m3", &[("from", "<sip:anonymous@anonymous.invalid>")], "119 Anonymity not allowed");
    let answer = submit(&daemon, "own", &[], &cpim("m4", "text/plain", "x"));
    assert_eq!(answer.error().1, "anonymity-not-allowed", "nobody asserts who it is");

    let function = "122 Function not allowed";
    let blacklist = json!({ "blacklist": ["tel:+1-514-555-0199"] });
    give(&daemon, "cpm.preferences.changed.v1", USER, blacklist);
    assert_eq!(refused("m5", &[], function), warning(function));
    let rule = json!({ "name": "nobody", "actions": ["allow-reject-invite"] });
    let rules = json!({ "blacklist": null, "rules": [rule] });
    give(&daemon, "cpm.preferences.changed.v1", USER, rules);
    assert_eq!(refused("m6", &[], function), format!("rule `nobody`: {}", warning(function)));
    assert_eq!(told(&daemon, "deliveries"), [Value::Null; 0]);
}

/// SEED0-49: what is for another service, or for another application, goes on as it is.
#[test]
fn what_is_not_ours_is_relayed() {
    let daemon = Daemon::start(setup());
    let icsi = |service: &str| {
        format!("*;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.{service}\"")
    };
    let other = icsi("mmtel");
    let iari = |service| format!("{};+g.3gpp.iari-ref=\"urn%3Ax\"", icsi(service));
    let system = iari("oma.cpm.systemmsg");
    for accept in [other.as_str(), &system] {
        let answer =
            submit(&daemon, "sender-token", &[("accept-contact", accept)], "not even CPIM");
        assert_eq!((answer.status, &answer.json()["sip"]), (200, &Value::Null), "{accept}");
    }
    let service = "urn:urn-7:3gpp-service.ims.icsi.mmtel";
    for header in ["p-asserted-service", "p-preferred-service"] {
        let answer = submit(&daemon, "sender-token", &[(header, service)], "not even CPIM");
        assert_eq!((answer.status, &answer.json()["sip"]), (200, &Value::Null), "{header}");
    }
    let ours = icsi("oma.cpm.msg");
    let answer = submit(
        &daemon,
        "sender-token",
        &[("accept-contact", &ours)],
        &cpim("m1", "text/plain", "x"),
    );
    assert_eq!(answer.status, 202, "{}", answer.text());
    // A message of an application is a message (SEED4-23 is about the event framework).
    let app = iari("oma.cpm.msg");
    let text = cpim("m2", "text/plain", "x");
    assert_eq!(submit(&daemon, "sender-token", &[("accept-contact", &app)], &text).status, 202);
    assert_eq!(inputs(&daemon, USER).len(), 2);
}

/// what was refused was never here: once the user wants it, the same message is taken and delivered.
#[test]
fn what_was_refused_may_come_again() {
    let daemon = Daemon::start(setup());
    register(&daemon, USER, "oma.cpm.msg");
    let blacklist = json!({ "blacklist": [SENDER] });
    give(&daemon, "cpm.preferences.changed.v1", USER, blacklist);
    assert_eq!(
        (send(&daemon, "m1", "hello").status, send(&daemon, "m1", "hello").status),
        (403, 403)
    );
    give(&daemon, "cpm.preferences.changed.v1", USER, json!({ "blacklist": null }));
    assert_eq!(
        (send(&daemon, "m1", "hello").status, send(&daemon, "m1", "hello").status),
        (202, 202)
    );
    assert_eq!(told(&daemon, "deliveries").len(), 1, "and once");
}

/// T-25: no room for it is said before it is taken, to a message; an IMDN makes room for itself.
#[test]
fn no_room_is_said_to_the_sender() {
    let mut setup = setup();
    setup.settings.policy.max_deferred_per_user = 2;
    let daemon = Daemon::start(setup);
    assert_eq!((send(&daemon, "m1", "x").status, send(&daemon, "m2", "x").status), (202, 202));
    let answer = send(&daemon, "m3", "x");
    assert_eq!((answer.status, answer.error().1.as_str()), (480, "quota"), "{}", answer.text());
    assert_eq!(answer.json()["sip"]["reason"], "Temporarily Unavailable");
    assert_eq!(answer.header("retry-after"), Some("300"));
    assert_eq!(send(&daemon, "m2", "x").status, 202, "what waits already is told so");
    assert_eq!(inputs(&daemon, USER).len(), 2);
    for id in ["a", "b", "c"] {
        let answer = submit(&daemon, "server-token", &[], &imdn(id, "delivered", SENDER, USER));
        assert_eq!(answer.status, 202);
    }
}

/// A sender who wants to stay unknown is kept as such, and is known to us. (SEED0-51, D-7)
#[test]
fn an_anonymous_sender_is_kept_as_one() {
    let daemon = Daemon::start(setup());
    register(&daemon, USER, "oma.cpm.msg");
    let asserted = ("p-asserted-identity", "<sip:x@y.org>, <tel:+15145550177>");
    for (id, token, headers) in [
        ("m1", "sender-token", &[("privacy", "id")][..]),
        ("m2", "own", &[]),
        ("m3", "own", &[asserted]),
    ] {
        assert_eq!(submit(&daemon, token, headers, &cpim(id, "text/plain", "x")).status, 202);
        let attempt = &told(&daemon, "deliveries").pop().unwrap()["attempt_id"];
        let outcome = json!({ "attempt_id": attempt, "outcome": "delivered", "sip_status": 200 });
        give(&daemon, "cpm.delivery.outcome.v1", USER, outcome);
    }
    let deliveries = told(&daemon, "deliveries");
    let of = |at: usize| (deliveries[at]["from"].as_str().unwrap(), &deliveries[at]["anonymous"]);
    assert_eq!(of(0), (SENDER, &json!(true)));
    assert_eq!(of(1), ("sip:anonymous@anonymous.invalid", &json!(true)));
    assert_eq!(of(2), ("tel:+15145550177", &Value::Null));
    assert_eq!(deliveries[2]["asserted_from"], "<sip:x@y.org>, <tel:+15145550177>");
}

fn imdn(id: &str, status: &str, from: &str, to: &str) -> String {
    format!(
        "From: <{from}>\r\nTo: <{to}>\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
         imdn.Message-ID: imdn-{id}\r\n\r\nContent-Type: message/imdn+xml\r\n\
         Content-Disposition: notification\r\n\r\n<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\">\
         <message-id>{id}</message-id><datetime>2026-11-21T08:00:00Z</datetime>\
         <delivery-notification><status><{status}/></status></delivery-notification></imdn>"
    )
}

/// The head of an envelope, and what it wraps.
fn body_of(message: &str) -> (String, String) {
    let (head, body) = message.rsplit_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// SEED0-61, A-26, T-31: a client's IMDN goes to whoever sent the message, and says that the client has it.
#[test]
fn a_clients_imdn_is_delivered_and_heard() {
    let daemon = Daemon::start(setup());
    register(&daemon, USER, "oma.cpm.msg");
    assert_eq!(send(&daemon, "m1", "hello").status, 202);
    let answer = submit(&daemon, "user-token", &[], &imdn("m1", "delivered", USER, SENDER));
    assert_eq!(answer.status, 202, "{}", answer.text());
    let why = get(&daemon, &format!("/v1/messages/m1/why?user={USER}"));
    assert_eq!(why[0]["ended"]["how"], "delivered by cpm", "{why}");
    // Without an envelope it is one all the same.
    let (_, document) = body_of(&imdn("m9", "displayed", USER, SENDER));
    let headers = [("content-type", "message/imdn+xml"), ("to", SENDER), ("call-id", "c9")];
    let answer = call(&daemon, "user-token", "/v1/cpm/messages", &headers, &document);
    assert_eq!(answer.status, 202, "{}", answer.text());
    // The sender is away: its notification waits, and never goes by SMS.
    give(&daemon, "cpm.cs.attached.v1", SENDER, json!({}));
    assert_eq!(told(&daemon, "deliveries").len(), 1);
    register(&daemon, SENDER, "oma.cpm.msg");
    let deliveries = told(&daemon, "deliveries");
    let imdns = || deliveries.iter().filter(|delivery| delivery["kind"] == "imdn");
    assert!(imdns().count() > 0 && deliveries[1]["kind"] == "imdn", "{deliveries:?}");
    let last = &deliveries[1];
    assert_eq!((&last["kind"], &last["message_id"]), (&json!("imdn"), &json!("imdn-m1")));
    assert_eq!(last["headers"], json!({ "Content-Disposition": "notification" }));
}

/// a gateway's IMDN is consumed: the sender hears our own, once, and none is relayed.
#[test]
fn a_gateways_imdn_goes_no_further() {
    let daemon = Daemon::start(setup());
    give(&daemon, "cpm.cs.attached.v1", USER, json!({}));
    assert_eq!(send(&daemon, "m1", "hello").status, 202);
    register(&daemon, SENDER, "oma.cpm.msg");
    for to in ["sip:pf@ims.example.org", SENDER] {
        let answer = submit(&daemon, "gateway-token", &[], &imdn("m1", "delivered", USER, to));
        assert_eq!((answer.status, answer.json()["sip"]["status"].as_u64()), (200, Some(200)));
    }
    let notices = told(&daemon, "notifications");
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert_eq!(
        (&notices[0]["disposition"], &notices[0]["to"]),
        (&json!("delivered"), &json!(SENDER))
    );
    assert_eq!(inputs(&daemon, SENDER), ["cpm.ims.registered.v1"], "nothing is relayed");
    // The gateway never saw an anonymous sender, and may write for itself.
    let text = cpim("m2", "text/plain", "x");
    assert_eq!(submit(&daemon, "sender-token", &[("privacy", "id")], &text).status, 202);
    let nobody = "sip:anonymous@anonymous.invalid";
    let own = imdn("m2", "delivered", GATEWAY, nobody);
    let own =
        own.replace("<delivery-", &format!("<recipient-uri>{USER}</recipient-uri><delivery-"));
    assert_eq!(submit(&daemon, "gateway-token", &[], &own).status, 200);
    assert_eq!(told(&daemon, "notifications").len(), 2);
    // The same of somebody else is for the sender to read, and says nothing of the SMS.
    let answer = submit(&daemon, "server-token", &[], &imdn("m1", "delivered", USER, SENDER));
    assert_eq!(answer.status, 202);
    assert_eq!(inputs(&daemon, SENDER).len(), 2);
}

/// P-20: a gateway's IMDN that comes late says when it was written, and so which SMS it is about.
#[test]
fn a_late_imdn_is_not_about_a_later_sms() {
    let daemon = Daemon::start(setup());
    give(&daemon, "cpm.cs.attached.v1", USER, json!({}));
    assert_eq!(send(&daemon, "m1", "hello").status, 202);
    std::thread::sleep(Duration::from_millis(20));
    let written = WallClock.now();
    std::thread::sleep(Duration::from_millis(20));
    give(&daemon, "cpm.sms.failed.v1", USER, json!({ "message_id": "m1" }));
    give(&daemon, "cpm.sms.ready.v1", USER, json!({ "domain": "CS" }));
    assert_eq!(told(&daemon, "deliveries").len(), 2);
    std::thread::sleep(Duration::from_millis(2200));
    let late = imdn("m1", "failed", USER, SENDER);
    let late = late.replace("NS:", &format!("DateTime: {written}\r\nNS:"));
    let answer = submit(&daemon, "gateway-token", &[], &late);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let history =
        get(&daemon, &format!("/v1/messages/m1/why?user={USER}"))[0]["history"].to_string();
    assert!(
        history.contains("failed m1#1 absent") && !history.contains("failed m1#2"),
        "{history}"
    );
}

/// SEED4-10: an application server's system message goes to the clients that take such messages, and is not
/// deferred; from anybody else it is refused.
#[test]
fn a_system_message_comes_from_an_application_server() {
    let daemon = Daemon::start(setup());
    register(&daemon, USER, "oma.cpm.systemmsg");
    let body = "<cpm-evfw xmlns=\"urn:oma:xml:cpm:evfw\"><x:hello xmlns:x=\"urn:x\"/></cpm-evfw>";
    let system = "*;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.systemmsg\"";
    let headers = [("content-type", EVENTS), ("to", USER), ("accept-contact", system)];
    for token in ["sender-token", "gateway-token", "own"] {
        let answer = call(&daemon, token, "/v1/cpm/messages", &headers, body);
        assert_eq!(answer.status, 403, "{token}: {}", answer.text());
    }
    let answer = call(&daemon, "server-token", "/v1/cpm/messages", &headers, body);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let deliveries = told(&daemon, "deliveries");
    assert_eq!(deliveries.len(), 1);
    assert_eq!((&deliveries[0]["kind"], &deliveries[0]["body"]), (&json!("system"), &json!(body)));
    assert_eq!(deliveries[0]["content_type"], EVENTS);
}

/// Content in Base64 is kept as what it is; what nobody takes apart is never shown by SMS. (P-4)
#[test]
fn content_is_decoded_where_that_can_be() {
    let daemon = Daemon::start(setup());
    give(&daemon, "cpm.cs.attached.v1", USER, json!({}));
    let coded = |id: &str, encoding: &str, body: &str| {
        let body = cpim(id, "text/plain", body);
        body.replace(
            "Content-Type",
            &format!("Content-Transfer-Encoding: {encoding}\r\nContent-Type"),
        )
    };
    assert_eq!(
        submit(&daemon, "sender-token", &[], &coded("m1", "base64", "aGVs\r\nbG8=")).status,
        202
    );
    let delivery = &told(&daemon, "deliveries")[0];
    assert_eq!((&delivery["access"], &delivery["body"]), (&json!("sms"), &json!("hello")));
    give(&daemon, "cpm.sms.delivered.v1", USER, json!({ "message_id": "m1" }));
    let quoted = coded("m2", "quoted-printable", "h=C3=A9llo");
    assert_eq!(submit(&daemon, "sender-token", &[], &quoted).status, 202);
    let last = told(&daemon, "deliveries").pop().unwrap();
    assert_eq!((&last["message_id"], &last["what"]), (&json!("m2"), &json!("ucn")), "{last}");
}

/// What preferences decided stands in `why`, step by step, with the rule that did.
#[test]
fn why_tells_the_procedure() {
    let daemon = Daemon::start(setup());
    let rule = json!({ "name": "later", "actions": ["allow-defer"] });
    give(&daemon, "cpm.preferences.changed.v1", USER, json!({ "rules": [rule] }));
    assert_eq!(send(&daemon, "m1", "hello").status, 202);
    let why = get(&daemon, &format!("/v1/messages/m1/why?user={USER}"));
    assert_eq!(
        why[0]["trace"],
        json!([
            "4a steps 1 to 4a refuse nothing [SEED0-54]",
            "4e rule `later`: deferred, 202; held [SEED0-58]",
        ])
    );
}
