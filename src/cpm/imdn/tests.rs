//! What a sender hears, octet by octet; helpers below.

use super::*;

const AT: Timestamp = Timestamp::from_millis(1_795_248_000_000);

/// IMDN-6 to IMDN-9: each notice of the rules, as it leaves us.
#[test]
fn a_sender_hears_what_the_rules_decided() {
    for (notice, element, status) in [
        (Notice::Stored, "processing-notification", "stored"),
        (Notice::Delivered, "delivery-notification", "delivered"),
        (Notice::Failed, "delivery-notification", "failed"),
        (Notice::Error, "delivery-notification", "error"),
        (Notice::Forbidden, "delivery-notification", "forbidden"),
    ] {
        assert_eq!(
            written(notice, Form::Oma),
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                 <imdn xmlns=\"urn:ietf:params:xml:ns:imdn\">\n  \
                   <message-id>m1</message-id>\n  \
                   <datetime>2026-11-21T08:00:00Z</datetime>\n  \
                   <recipient-uri>tel:+15145550100</recipient-uri>\n  \
                   <{element}>\n    <status>\n      <{status}/>\n    </status>\n  </{element}>\n\
                 </imdn>\n"
            )
        );
    }
}

/// IMDN-3, IMDN-4, A-31: the extension in both serialisations, which mean the same.
#[test]
fn went_as_sms_in_both_forms() {
    let oma = written(Notice::LegacySms, Form::Oma);
    assert!(oma.contains(
        "  <x:interworking-notification xmlns:x=\"urn:oma:xml:cpm:imdn-extensions:1.0\">\n    \
         <x:status>\n      <x:legacy-sms/>\n    </x:status>\n  </x:interworking-notification>\n"
    ));
    let ietf = written(Notice::LegacyMms, Form::Ietf);
    assert!(ietf.contains(
        "  <interworking-notification>\n    <status>\n      \
         <x:legacy-mms xmlns:x=\"urn:oma:xml:cpm:imdn-extensions:1.0\"/>\n    </status>\n"
    ));
    for (form, notice) in [(Form::Oma, Notice::LegacySms), (Form::Ietf, Notice::LegacyMms)] {
        let read = read(written(notice, form).as_bytes(), &Limits::default()).unwrap();
        assert_eq!((read.kind, read.status), words(notice));
    }
    let bare = "<imdn><message-id>m</message-id><interworking-notification><status><legacy-sms/>\
                </status></interworking-notification></imdn>";
    assert_eq!(read(bare.as_bytes(), &Limits::default()).unwrap().status, Status::LegacySms);
}

/// IMDN-2: every status comes back as it went.
#[test]
fn what_is_written_reads_back() {
    for kind in Kind::ALL {
        for status in kind.statuses() {
            for form in [Form::Oma, Form::Ietf] {
                for layout in [Layout::Lines, Layout::Compact] {
                    let imdn = Imdn {
                        original_recipient_uri: Some("sip:bob@example.org".into()),
                        subject: Some("<&>".into()),
                        kind,
                        status: status.clone(),
                        ..Imdn::of(Notice::Delivered, "m&1", AT, "tel:+15145550100")
                    };
                    let document = imdn.write(form, layout).unwrap();
                    let again = read(document.as_bytes(), &Limits::default()).unwrap();
                    assert_eq!(again, imdn, "{document}");
                }
            }
        }
    }
    let other = Imdn { kind: Kind::Display, ..Imdn::of(Notice::Delivered, "m", AT, "tel:+1") };
    assert_eq!(other.write(Form::Oma, Layout::Lines), None);
}

/// Clients write prefixes, zones and additions of their own.
#[test]
fn a_client_is_understood() {
    let document = "<?xml version='1.0'?><i:imdn xmlns:i='urn:ietf:params:xml:ns:imdn' xmlns:c='urn:c'>\
        <i:message-id> 34jk324j </i:message-id><i:datetime>2008-04-04T12:16:49-05:00</i:datetime>\
        <i:display-notification><i:status><i:displayed/></i:status></i:display-notification>\
        <c:note>!</c:note></i:imdn>";
    let imdn = read(document.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(&*imdn.message_id, "34jk324j");
    assert_eq!(imdn.datetime.unwrap().to_string(), "2008-04-04T17:16:49Z");
    assert_eq!((imdn.kind, imdn.status.word()), (Kind::Display, "displayed"));
    assert_eq!(imdn.unknown.len(), 1);
    let odd = document.replace("displayed", "danced");
    let imdn = read(odd.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(imdn.status, Status::Other("danced".into()));
}

#[test]
fn a_notification_without_a_message_or_a_status_is_none() {
    for (inside, says) in [
        ("<message-id>m</message-id>", "`imdn` without a notification"),
        (
            "<delivery-notification><status><error/></status></delivery-notification>",
            "without `message-id`",
        ),
        ("<message-id>m</message-id><delivery-notification/>", "without a status"),
        ("<message-id>m</message-id><message-id>n</message-id>", "a second `message-id`"),
        ("<message-id>m&#10;n</message-id>", "a control character"),
        (
            "<display-notification><status><error/><displayed/></status></display-notification>",
            "a second status",
        ),
    ] {
        let document = format!("<imdn>{inside}</imdn>");
        let error = read(document.as_bytes(), &Limits::default()).unwrap_err();
        assert!(error.to_string().contains(says), "{document}: {error}");
    }
    assert_eq!(read(b"<a/>", &Limits::default()).unwrap_err().fault, Fault::Root);
}

/// IMDN-10, A-9: back to the sender, along those who recorded themselves, asking for nothing.
#[test]
fn an_imdn_travels_in_an_envelope() {
    let document = written(Notice::Delivered, Form::Oma);
    let envelope = Envelope {
        from: "tel:+15145550100",
        to: "sip:alice@example.org",
        id: "i1",
        at: AT,
        route: &["sip:two@example.org", "sip:one@example.org"],
    };
    let expected = format!(
        "From: <tel:+15145550100>\r\nTo: <sip:alice@example.org>\r\n\
         NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: i1\r\n\
         DateTime: 2026-11-21T08:00:00Z\r\n\
         imdn.IMDN-Route: <sip:two@example.org>\r\nimdn.IMDN-Route: <sip:one@example.org>\r\n\r\n\
         Content-Type: message/imdn+xml\r\nContent-Disposition: notification\r\n\
         Content-Length: {}\r\n\r\n{document}",
        document.len()
    );
    let cpim = envelope.around(&document);
    assert_eq!(String::from_utf8(cpim.write()).unwrap(), expected);
    assert!(cpim.is_imdn());
    assert_eq!(cpim.disposition(), crate::domain::message::Dispositions::default());
}

fn written(notice: Notice, form: Form) -> String {
    Imdn::of(notice, "m1", AT, "tel:+15145550100").write(form, Layout::Lines).unwrap()
}
