//! Envelopes of clients and gateways; helpers below.

use super::*;
use crate::cpm::xml::Limits;
use crate::cpm::{DocumentError, Fault};

const MESSAGE: &str = "From: \"Al \\\"A\\\" <x>\" <sip:alice@example.org>\r\n\
    To: Bob Builder <tel:+15145550100>\r\n\
    To: <sip:carol@example.org>\r\n\
    DateTime: 2026-11-21T09:00:00+01:00\r\n\
    Subject:;lang=fr;q=\"a b\" D\\u00e9j\\u00E0 \\\\o/\r\n\
    NS: imdn <urn:ietf:params:imdn>\r\n\
    NS: my <urn:example:features>\r\n\
    imdn.Message-ID: Msg34jk\r\n\
    my.Colour: blue\r\n\
    imdn.Disposition-Notification: positive-delivery, display\r\n\
    imdn.IMDN-Record-Route: <sip:one@example.org>\r\n\
    imdn.IMDN-Record-Route: <sip:two@example.org>\r\n\
    \r\n\
    Content-type: text/plain;\r\n\tcharset=utf-8\r\n\
    Content-ID: <1@x>\r\n\
    \r\n\
    Hello\r\n\r\nWorld";

#[test]
fn an_envelope_says_who_to_whom_when_and_which() {
    let cpim = read(MESSAGE.as_bytes());
    let from = cpim.from().unwrap();
    assert_eq!((from.name.as_deref(), &*from.uri), (Some("Al \"A\" <x>"), "sip:alice@example.org"));
    let to = cpim.to();
    assert_eq!(to[0], Party { name: Some("Bob Builder".into()), uri: "tel:+15145550100".into() });
    assert_eq!(to[1], Party { name: None, uri: "sip:carol@example.org".into() });
    assert_eq!(cpim.date_time().unwrap().to_string(), "2026-11-21T08:00:00Z");
    assert_eq!(cpim.message_id(), Some("Msg34jk"));
    assert_eq!(cpim.values("urn:example:features", "colour").collect::<Vec<_>>(), ["blue"]);
    let subject = cpim.headers().iter().find(|header| header.name() == "Subject").unwrap();
    assert_eq!(subject.parameters(), ";lang=fr;q=\"a b\"");
    assert_eq!(subject.text(), "Déjà \\o/");
    let asked = cpim.disposition();
    assert_eq!(asked.tokens().collect::<Vec<_>>(), ["positive-delivery", "display"]);
    assert_eq!(cpim.content_type(), "text/plain; charset=utf-8");
    assert_eq!(cpim.body(), b"Hello\r\n\r\nWorld");
    assert!(!cpim.is_imdn());
    assert_eq!(cpim.way_back(), ["sip:two@example.org".into(), "sip:one@example.org".into()]);
}

/// SEED0-56.1, A-21: delivery values go, the wish to hear of reading stays.
#[test]
fn what_is_stored_asks_only_whether_it_was_read() {
    for (before, after) in [
        ("positive-delivery, negative-delivery, display", Some("display")),
        ("Display,POSITIVE-DELIVERY", Some("Display")),
        ("positive-delivery,negative-delivery, processing,interworking", None),
        ("display, x-smell", Some("display, x-smell")),
    ] {
        let wishes = format!("imdn.Disposition-Notification: {before}");
        let mut cpim = read(format!("NS: imdn <{IMDN}>\r\n{wishes}\r\n\r\n\r\n").as_bytes());
        let asked = cpim.strip_delivery();
        assert_eq!(asked, Dispositions::of(before.split(',')), "{before}");
        let left: Vec<&str> = cpim.values(IMDN, "Disposition-Notification").collect();
        assert_eq!(left, after.into_iter().collect::<Vec<_>>(), "{before}");
        assert_eq!(cpim.headers().len(), 1 + usize::from(after.is_some()));
    }
}

/// on the SMS leg we ask for both, and have the answer come by us.
#[test]
fn on_the_sms_leg_we_ask_ourselves() {
    let mut cpim = read(MESSAGE.as_bytes());
    cpim.ask(Dispositions::of(["positive-delivery", "negative-delivery"]));
    cpim.add_record_route("sip:pf.example.org");
    let written = String::from_utf8(cpim.write()).unwrap();
    assert!(written.contains(
        "imdn.IMDN-Record-Route: <sip:two@example.org>\r\n\
         imdn.Disposition-Notification: positive-delivery, negative-delivery\r\n\
         imdn.IMDN-Record-Route: <sip:pf.example.org>\r\n\r\nContent-type"
    ));
    assert_eq!(&*cpim.way_back()[0], "sip:pf.example.org");
    cpim.ask(Dispositions::default());
    assert_eq!(cpim.disposition(), Dispositions::default());
}

/// A prefix means what its NS says; `imdn` is what everybody means by it.
#[test]
fn a_prefix_is_only_a_prefix() {
    let of = |text: &str| read(text.replace('|', "\r\n").as_bytes());
    let id = |text: &str| of(text).message_id().map(str::to_owned);
    assert_eq!(id("NS: n <urn:ietf:params:imdn>|n.Message-ID: a||||").as_deref(), Some("a"));
    assert_eq!(id("imdn.message-id: a||||").as_deref(), Some("a"));
    assert_eq!(id("NS: imdn <urn:other>|imdn.Message-ID: a||||"), None);
    assert_eq!(id("Message-ID: a||||"), None);
    assert_eq!(id("NS: <urn:ietf:params:imdn>|Message-ID: a||||").as_deref(), Some("a"));
    assert!(of("NS: <urn:ietf:params:imdn>|From: <sip:a@x>||||").from().is_none());
    let mut cpim = of("NS: n <urn:ietf:params:imdn>|n.Message-ID: a||||");
    cpim.add_record_route("sip:x");
    assert!(
        String::from_utf8(cpim.write()).unwrap().contains("\r\nn.IMDN-Record-Route: <sip:x>\r\n")
    );
}

/// a notification is one by what is inside.
#[test]
fn an_imdn_is_known_by_its_inside() {
    for (content_type, is) in [
        ("message/imdn+xml", true),
        ("Message/IMDN+XML; charset=\"UTF-8\"", true),
        ("text/plain", false),
        ("message/imdn+xmlx", false),
    ] {
        let cpim =
            read(format!("From: <sip:a@x>\n\ncontent-TYPE:{content_type}\n\n<x/>").as_bytes());
        assert_eq!(cpim.is_imdn(), is, "{content_type}");
        assert_eq!(cpim.body(), b"<x/>");
    }
}

#[test]
fn a_wrong_envelope_is_told_with_its_place() {
    let many = "A: b\r\n".repeat(65);
    for (text, fault, says) in [
        (
            "From: <sip:a@x>\r\n",
            Fault::Syntax,
            "line 2, column 1: the end of the document, expected a blank line after the headers of the message",
        ),
        (
            "From: <sip:a@x>\r\n\r\nHello",
            Fault::Syntax,
            "line 3, column 1: the end of the document, expected a blank line after the headers of the content",
        ),
        (
            "From: <sip:a@x>\r\n <sip:b@x>\r\n\r\n",
            Fault::Syntax,
            "line 2, column 1: a folded header",
        ),
        ("From <sip:a@x>\r\n\r\n\r\n", Fault::Syntax, "line 1, column 5: no header name"),
        ("Hello\r\n\r\n\r\n", Fault::Syntax, "line 1, column 1: a line without a colon"),
        (": x\r\n\r\n\r\n", Fault::Syntax, "line 1, column 1: no header name"),
        ("a.b.c: x\r\n\r\n\r\n", Fault::Syntax, "the header name `a.b.c`"),
        (".c: x\r\n\r\n\r\n", Fault::Syntax, "the header name `.c`"),
        ("A:;b=\"c d\r\n\r\n\r\n", Fault::Syntax, "line 1, column 10: a parameter's quote"),
        ("A: x\u{7}\r\n\r\n\r\n", Fault::Syntax, "line 1, column 5: a control character"),
        ("A: x\r\r\n\r\n\r\n", Fault::Syntax, "line 1, column 5: a control character"),
        ("A: x\r\n\r\n folded\r\n\r\n", Fault::Syntax, "line 3, column 1: white space before"),
        (&many, Fault::TooLarge, "line 65, column 1: more than 64 headers"),
    ] {
        let error = refused(text.as_bytes());
        assert_eq!(error.fault, fault, "{text:?}");
        assert!(
            error.to_string().starts_with(says) || error.to_string().contains(says),
            "{text:?}: {error}"
        );
    }
    let error = refused(b"A: x\r\nB: \xE9t\r\n\r\n\r\n");
    assert_eq!(error.fault, Fault::Charset);
    assert!(
        error.to_string().starts_with("line 2, column 4: an octet that is not UTF-8"),
        "{error}"
    );
    let error = refused(b"A: x\rB: \xE9t\r\n\r\n\r\n");
    assert!(error.to_string().starts_with("line 1, column 5: a control character"), "{error}");
    let small = Limits { octets: 3, ..Limits::default() };
    assert_eq!(super::read(b"A: x", &small).unwrap_err().fault, Fault::TooLarge);
}

/// Nobody writes a second header through the value of the first.
#[test]
fn no_value_ends_its_line() {
    let mut cpim = Cpim::new("sip:a@x>\r\nTo: <sip:b@x", "sip:c@x");
    cpim.imdn("Message-ID", "m\r\nimdn.Disposition-Notification: display\u{7}");
    cpim.set_content(&[("Content-Type", "text/plain\r\nX: y")], "z");
    let again = read(&cpim.write());
    assert_eq!(again, cpim);
    assert_eq!(again.headers().len(), 4);
    assert_eq!(again.content_headers().len(), 1);
    assert_eq!(again.disposition(), Dispositions::default());
    let id = again.headers()[3].text();
    assert_eq!(id, "m\r\nimdn.Disposition-Notification: display\u{7}");
}

/// What was read is written the same way again, and reads the same.
#[test]
fn an_envelope_passes_through_unchanged() {
    let once = read(MESSAGE.as_bytes());
    let expected = MESSAGE.replace(";\r\n\tcharset", "; charset");
    assert_eq!(String::from_utf8(once.write()).unwrap(), expected);
    assert_eq!(read(&once.write()), once);
}

fn read(bytes: &[u8]) -> Cpim {
    super::read(bytes, &Limits::default()).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(bytes));
    })
}

fn refused(bytes: &[u8]) -> DocumentError {
    super::read(bytes, &Limits::default()).unwrap_err()
}
