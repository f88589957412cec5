//! Bad documents: each is refused with a place and a sentence, and nothing of it is done.

use super::*;

/// What the change request's own example is like, and worse; by hand, what each is answered.
#[test]
fn a_bad_event_report_is_told_where_and_changes_nothing() {
    let daemon = Daemon::start(setup());
    let ready =
        "<ready-for-sms><cpm-user-address>tel:+15145550100</cpm-user-address></ready-for-sms>";
    let deep = format!("<cpm-evfw>{}{}</cpm-evfw>", "<a>".repeat(1000), "</a>".repeat(1000));
    let many = format!("<cpm-evfw>{}</cpm-evfw>", ready.repeat(1001));
    let long = format!("<cpm-evfw>{ready}<!--{}--></cpm-evfw>", "x".repeat(300_000));
    let bomb = "<!DOCTYPE x [<!ENTITY a \"b\">]><cpm-evfw>&a;</cpm-evfw>";
    for (status, what, body) in [
        (400, "a tag never closed", format!("<cpm-evfw>\n<report-data>{ready}</cpm-evfw>")),
        (
            400,
            "curly quotes",
            format!("<cpm-evfw>{ready}<event-cpm-imap type=\u{201c}flags\u{201d}/></cpm-evfw>"),
        ),
        (400, "an attribute without quotes", "<cpm-evfw><a uid=58175/></cpm-evfw>".to_owned()),
        (400, "closed twice", format!("<cpm-evfw>{ready}<operation/></operation></cpm-evfw>")),
        (400, "an attribute twice", format!("<cpm-evfw a='1' a='2'>{ready}</cpm-evfw>")),
        (400, "a DTD", bomb.to_owned()),
        (400, "an entity", format!("<cpm-evfw>{ready}&lol;</cpm-evfw>")),
        (
            400,
            "no number",
            ready.replace("+15145550100", "nobody at all").replace("<ready", "<cpm-evfw><ready")
                + "</cpm-evfw>",
        ),
        (415, "another root", "<imdn/>".to_owned()),
        (413, "too deep", deep),
        (413, "too many", many),
        (413, "too long", long),
        (400, "nothing", String::new()),
        (400, "no XML", "hello".to_owned()),
    ] {
        let answer =
            call(&daemon, "gateway-token", "/v1/cpm/events", &[("content-type", EVENTS)], &body);
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        let (_, _, says) = answer.error();
        let error = &answer.json()["error"];
        assert!(error["line"].is_u64() && error["column"].is_u64(), "{what}: {error}");
        assert!(says.contains("nothing of it was done"), "{what}: {says}");
        assert_eq!(answer.json()["sip"]["status"], status, "{what}");
    }
    let utf16: Vec<u8> = "<cpm-evfw/>".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bytes = [&[0xff, 0xfe], &utf16[..]].concat();
    let headers = [("authorization", "Bearer gateway-token"), ("content-type", EVENTS)];
    assert_eq!(daemon.call("POST", "/v1/cpm/events", &headers, &bytes).status, 415);
    let latin = b"<?xml version='1.0' encoding='ISO-8859-1'?><cpm-evfw>\xe9</cpm-evfw>";
    assert_eq!(daemon.call("POST", "/v1/cpm/events", &headers, latin).status, 415);
    let huge = vec![b' '; 10 << 20];
    assert_eq!(daemon.call("POST", "/v1/cpm/events", &headers, &huge).status, 413);
    for of in ["text/xml", "message/cpim", "application/json"] {
        let answer = call(
            &daemon,
            "gateway-token",
            "/v1/cpm/events",
            &[("content-type", of)],
            "<cpm-evfw/>",
        );
        assert_eq!(answer.status, 415, "{of}");
    }
    assert_eq!(inputs(&daemon, USER), [""; 0]);
}

/// with `xml.repair` quotes are mended, and unbalanced tags are refused all the same.
#[test]
fn the_repair_pass_is_off_until_an_operator_wants_it() {
    let curly = "<cpm-evfw xmlns=\u{201c}urn:oma:xml:cpm:evfw\u{201c}><cpm-event-iw><ready-for-sms>\
                 <cpm-user-address>tel:+15145550100</cpm-user-address></ready-for-sms></cpm-event-iw>";
    for (repair, end, status) in
        [(false, "</cpm-evfw>", 400), (true, "</cpm-evfw>", 200), (true, "", 400)]
    {
        let daemon = Daemon::start(Setup { rules: Rules { repair, ..rules() }, ..setup() });
        let body = format!("{curly}{end}");
        let answer =
            call(&daemon, "gateway-token", "/v1/cpm/events", &[("content-type", EVENTS)], &body);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(inputs(&daemon, USER).len(), usize::from(status == 200));
    }
}

#[test]
fn a_bad_message_is_told_what_is_wrong() {
    let daemon = Daemon::start(setup());
    let whole = cpim("m1", "text/plain", "hello");
    let base64 = whole.replace("Content-Type", "Content-Transfer-Encoding: base64\r\nContent-Type");
    for (status, code, what, of, body) in [
        (400, "syntax", "no blank line", "message/cpim", whole.replace("\r\n\r\n", "\r\n")),
        (400, "syntax", "a folded header", "message/cpim", whole.replace("NS:", " x\r\nNS:")),
        (400, "message-id", "no id", "message/cpim", whole.replace("imdn.Message-ID", "imdn.X")),
        (400, "content", "no Base64", "message/cpim", base64),
        (
            400,
            "subject",
            "nobody",
            "message/cpim",
            whole.replace("To: <tel:+15145550100>", "To: <tel:abc>"),
        ),
        (400, "subject", "no To", "message/cpim", whole.replace("To: <tel:+15145550100>\r\n", "")),
        (415, "content-type", "another type", "text/plain", whole.clone()),
        (413, "too-large", "too long", "message/cpim", whole + &"x".repeat(300_000)),
    ] {
        let answer =
            call(&daemon, "sender-token", "/v1/cpm/messages", &[("content-type", of)], &body);
        let found = (answer.status, answer.error().1);
        assert_eq!(found, (status, code.to_owned()), "{what}: {}", answer.text());
    }
    let headers = [("content-type", "message/cpim"), ("expires", "tomorrow")];
    let answer =
        call(&daemon, "sender-token", "/v1/cpm/messages", &headers, &cpim("m1", "text/plain", "x"));
    assert_eq!((answer.status, answer.error().1.as_str()), (400, "expires"));
    assert_eq!(inputs(&daemon, USER), [""; 0]);
}

/// SEED0-52, SEED0-53: a document replaces what it is about; a bad one changes nothing.
#[test]
fn preferences_are_documents() {
    let daemon = Daemon::start(setup());
    let path = format!("/v1/users/{USER}/preferences");
    let blacklist = "<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list>\
                     <entry uri=\"sip:+15145550199@example.org;user=phone\"/></list></resource-lists>";
    let answer = call(&daemon, "own", &path, &[], blacklist);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["events"][0]["fate"], "decided");
    assert_eq!(send(&daemon, "m1", "hello").status, 403);

    let rules = "<ruleset xmlns=\"urn:ietf:params:xml:ns:common-policy\"><rule id=\"later\"><conditions>\
                 <service-list><service enabler=\"CPM\"/></service-list>\
                 <media-list><standalone-message/></media-list><sphere value=\"home\"/></conditions>\
                 <actions><allow-defer>true</allow-defer></actions></rule></ruleset>";
    assert_eq!(call(&daemon, "own", &path, &[], rules).status, 200);
    assert_eq!(send(&daemon, "m2", "hello").status, 403, "the blacklist stays as it was");
    let nobody =
        "<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list/></resource-lists>";
    assert_eq!(call(&daemon, "own", &path, &[], nobody).status, 200);
    assert_eq!(send(&daemon, "m3", "hello").status, 202);

    for (status, body) in
        [(415, "<cpm-evfw/>"), (400, "<ruleset><rule/></ruleset>"), (400, "<ruleset>")]
    {
        let answer = call(&daemon, "own", &path, &[], body);
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        answer.error();
    }
    let answer = call(&daemon, "own", "/v1/users/nobody/preferences", &[], nobody);
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(call(&daemon, "user-token", &path, &[], nobody).status, 403, "an operator's to set");
}
