//! What gateways and clients tell, in all their spellings; helpers below.

use super::*;
use crate::cpm::xml::{Layout, Limits};
use crate::cpm::{DocumentError, Fault};
use crate::domain::address::Home;

/// The document that rules.md 2.7 asks for, octet by octet. (SEED0-23, SEED0-28 to SEED0-36, A-3)
const INTERWORKING: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<cpm-evfw xmlns="urn:oma:xml:cpm:evfw">
  <cpm-event-iw>
    <failed-iw>
      <cpm-user-address>tel:+15145550100</cpm-user-address>
      <message-id>7QsgkAl8QZvr9XPF</message-id>
      <Message-Context>pager-message</Message-Context>
      <domain>CS</domain>
    </failed-iw>
    <ready-for-sms>
      <cpm-user-address>tel:+15145550100</cpm-user-address>
      <domain>CS</domain>
    </ready-for-sms>
  </cpm-event-iw>
</cpm-evfw>
"#;

/// The same for flags. (SEED4-62 to SEED4-75)
const IMAP: &str = r#"<event-cpm-imap type="flags" index="e1"><operation name="add" flags="\Seen"><object uid="58175" folder-path="Default/conv1/contrib1/"><message-id>7QsgkAl8QZvr9XPF</message-id></object></operation></event-cpm-imap>"#;

/// SEED4-59, A-43: by type and subtype, whatever the letters and parameters.
#[test]
fn an_event_report_is_known_by_its_type() {
    assert!(is_event_report("application/vnd.oma.cpm-eventfw+xml"));
    assert!(is_event_report(" Application/VND.oma.cpm-EventFW+xml; charset=\"utf-8\""));
    assert!(!is_event_report("application/xml"));
    assert!(!is_event_report("application/vnd.oma.cpm-eventfw+xml2"));
}

#[test]
fn a_gateway_says_that_an_sms_failed_and_that_sms_is_back() {
    let report = report(INTERWORKING);
    let Event::Interworking(iw) = &report.events[0] else { panic!("{report:?}") };
    let IwReport::Failed(failed) = &iw.reports[0] else { panic!("{report:?}") };
    assert_eq!(failed.user.as_ref().unwrap().to_string(), "tel:+15145550100");
    assert_eq!(&*failed.message_id, "7QsgkAl8QZvr9XPF");
    assert_eq!((&failed.context, failed.domain), (&Context::Pager, Some(Domain::Cs)));
    let IwReport::Ready(ready) = &iw.reports[1] else { panic!("{report:?}") };
    assert_eq!((&ready.user, ready.domain), (&failed.user, Some(Domain::Cs)));

    assert_eq!(report.write(&Writing::default()).unwrap(), INTERWORKING);
}

#[test]
fn a_client_says_that_a_message_was_read_elsewhere() {
    let report = report(&in_root(IMAP));
    let imap = report.imap().next().unwrap();
    assert_eq!(&*imap.index, "e1");
    let (asked, object) = imap.objects().next().unwrap();
    assert_eq!(asked, &Asked::Add([Flag::Seen].into()));
    let (folder, uid) = object.place().unwrap();
    assert_eq!((folder, uid.get()), ("Default/conv1/contrib1/", 58175));
    assert_eq!(object.message_id.as_deref(), Some("7QsgkAl8QZvr9XPF"));

    let compact = Writing { layout: Layout::Compact, ..Writing::default() };
    assert!(report.write(&compact).unwrap().contains(IMAP));
    let old = Writing { flag_attribute: FlagAttribute::Flag, ..compact };
    assert!(report.write(&old).unwrap().contains("<operation name=\"add\" flag=\"\\Seen\">"));
}

/// A-3: every name that the two change requests have for the same two events, anywhere.
#[test]
fn a_spelling_is_no_reason_to_miss_an_event() {
    let failed = "<message-id>m1</message-id>";
    let names = [
        ("failed-iw", failed),
        ("iw-failed", failed),
        ("cpm-event-iw-failed", failed),
        ("event-cpm-iw-failed", failed),
        ("FAILED-IW", "<Message-ID>m1</Message-ID>"),
        ("ready-for-sms", ""),
        ("event-cpm-ready-for-sms", ""),
        ("cpm-event-ready-for-sms", ""),
        ("Ready-For-Sms", ""),
    ];
    for (name, inside) in names {
        let event = format!("<{name}>{inside}</{name}>");
        for around in ["cpm-event-iw", "event-cpm-iw", "CPM-Event-IW", "report-data"] {
            for root in ["<cpm-evfw>", "<cpm-evfw xmlns='urn:oma:xml:cpm:evfw'>", "<CPM-EVFW>"] {
                let close = if root == "<CPM-EVFW>" { "</CPM-EVFW>" } else { "</cpm-evfw>" };
                let document = format!("{root}<{around}>{event}</{around}>{close}");
                let reports = report(&document).events;
                let Event::Interworking(iw) = &reports[0] else { panic!("{document}") };
                let is_failed =
                    matches!(&iw.reports[0], IwReport::Failed(f) if &*f.message_id == "m1");
                assert_eq!(is_failed, !inside.is_empty(), "{document}");
                assert_eq!(iw.reports.len(), 1);
            }
        }
        let prefixed = format!(
            "<e:cpm-evfw xmlns:e='urn:oma:xml:cpm:evfw'><e:{name}>{}</e:{name}></e:cpm-evfw>",
            inside.replace("</", "</e:").replace("<M", "<e:M").replace("<m", "<e:m")
        );
        assert_eq!(report(&prefixed).interworking().len(), 1, "{prefixed}");
    }
}

/// A-11, A-13, A-14, A-16.
#[test]
fn a_value_has_many_spellings_and_one_meaning() {
    let failed = |address: &str, context: &str, domain: &str| {
        let document = in_root(&format!(
            "<failed-iw><cpm-user-address>{address}</cpm-user-address><message-id>m</message-id>\
             <message-context>{context}</message-context><domain>{domain}</domain></failed-iw>"
        ));
        match report(&document).interworking().remove(0) {
            (0, IwReport::Failed(failed)) => failed.clone(),
            other => panic!("{other:?}"),
        }
    };
    for address in [
        "tel:+15145550100",
        " sip:+15145550100@ims.example;user=phone\n",
        "+1 514 555 0100",
        "5145550100",
        "tel:<!-- who -->+1514<![CDATA[5550100]]>",
        "+ 1 5 1 4 5 5 5 0 1 0 0",
    ] {
        let user = failed(address, "", "").user.unwrap();
        assert_eq!(user.to_string(), "tel:+15145550100", "{address}");
    }
    for (word, context) in [
        ("Pager-Message", Context::Pager),
        ("multimedia-MESSAGE", Context::Multimedia),
        ("", Context::Pager),
        ("fax-message", Context::Other("fax-message".into())),
    ] {
        assert_eq!(failed("", word, "").context, context);
    }
    for (word, domain, written) in [
        ("CS", Some(Domain::Cs), Some("CS")),
        ("SGs", Some(Domain::Cs), Some("CS")),
        ("ps", Some(Domain::Ps), Some("PS")),
        ("SGd", Some(Domain::Ps), Some("PS")),
        ("Gdd", Some(Domain::Ps), Some("PS")),
        ("5G NAS", Some(Domain::Nas5g), Some("PS")),
        ("SMS-over-IP", Some(Domain::ImsSmsIp), Some("PS")),
        ("satellite", Some(Domain::Unknown), None),
        ("", None, None),
    ] {
        assert_eq!(failed("", "", word).domain, domain, "{word}");
        assert_eq!(domain.and_then(Domain::written), written, "{word}");
        if let Some(domain) = domain {
            let slot = crate::domain::reachability::SlotName::of_domain;
            assert_eq!(slot(Some(domain.word())), slot(written), "{word}");
            assert_eq!(Domain::of(domain.word()), domain);
        }
    }
}

/// A-15: a gateway may leave out who, or where.
#[test]
fn a_readiness_may_say_nothing_but_itself() {
    let report = report(&in_root("<cpm-event-iw><ready-for-sms/></cpm-event-iw>"));
    let ready = IwReport::Ready(ReadyForSms::default());
    assert_eq!(report.interworking(), [(0, &ready)]);
    assert!(!report.does_nothing());
    let error = report.write(&Writing::default()).unwrap_err();
    assert_eq!(error.to_string(), "`ready-for-sms` without an address, expected both");
}

/// A-3: what failed, failed before SMS came back, however the document orders them; A-17: each keeps
/// its number.
#[test]
fn failures_are_older_than_readiness() {
    let report = report(&in_root(
        "<ready-for-sms/><cpm-event-iw><ready-for-sms/>\
         <failed-iw><message-id>m1</message-id></failed-iw></cpm-event-iw>\
         <x:iw-result xmlns:x='urn:deferd:xml:cpm:evfw'><x:message-id>m2</x:message-id></x:iw-result>",
    ));
    let numbers: Vec<usize> = report.interworking().iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [2, 3, 0, 1]);
    assert_eq!(report.events.len(), 3);
}

/// A-4, A-17: our own extensions, and nobody else's of that name.
#[test]
fn a_gateway_of_ours_says_why_and_that_it_worked() {
    let failed =
        |cause: &str| in_root(&format!("<failed-iw><message-id>m</message-id>{cause}</failed-iw>"));
    let of = |document: &str| match report(document).interworking().remove(0).1 {
        IwReport::Failed(failed) => failed.clone(),
        other @ (IwReport::Ready(_) | IwReport::Result(_)) => panic!("{other:?}"),
    };
    let ours = "xmlns:x='urn:deferd:xml:cpm:evfw'";
    let told = of(&failed(&format!("<x:cause {ours} diagnostic='6'>Absent</x:cause>")));
    assert_eq!(told.cause, Some(crate::domain::failure::Cause::Absent));
    assert_eq!(told.diagnostic.unwrap().get(), 6);
    for other in ["<cause>absent</cause>", "<x:cause xmlns:x='urn:x'>absent</x:cause>"] {
        let told = of(&failed(other));
        assert_eq!((told.cause, told.unknown.len()), (None, 1), "{other}");
    }
    let error = fault(&failed(&format!("<x:cause {ours}> moody</x:cause>")));
    assert!(error.to_string().contains("an unknown cause, expected \"moody\" is none of absent"));

    let result = in_root(&format!(
        "<x:iw-result {ours}><message-id>m</message-id><x:status>delayed</x:status></x:iw-result>"
    ));
    let report = report(&result);
    let (_, IwReport::Result(result)) = report.interworking()[0] else { panic!("{report:?}") };
    assert_eq!(result.outcome, IwOutcome::Delayed);
}

/// A-39, SEED4-66, SEED4-67: what is tolerated, and what has a negative result for each object.
#[test]
fn flags_are_meant_however_they_are_written() {
    let add = |flags: &[Flag]| Asked::Add(flags.iter().copied().collect());
    let both = [Flag::Seen, Flag::Deleted];
    for (attributes, asked) in [
        (r#"name="add" flags="\Seen""#, add(&both[..1])),
        (r#"name="ADD" flags="\\deleted""#, add(&both[1..])),
        (r#"name="add" flag="seen""#, add(&both[..1])),
        (r#"name="add" flag="\SEEN" flags="seen""#, add(&both[..1])),
        (r#"name="add" flags="\Seen, Deleted  \Seen""#, add(&both)),
        (r#"name="add" flags="\Seen" flag="\Deleted""#, Asked::Refused(Refusal::FlagsDiffer)),
        (r#"name="add" flags="\Seen" flag="x""#, Asked::Refused(Refusal::FlagsDiffer)),
        (r#"name="add" flags="\Flagged""#, Asked::Refused(Refusal::Flags("\\Flagged".into()))),
        (r#"name="remove" flags="\Seen""#, Asked::Refused(Refusal::Name("remove".into()))),
    ] {
        assert_eq!(operation(attributes).asked, asked, "{attributes}");
    }
    for attributes in ["name='add'", "name='add' flags=' '", "flags='\\Seen'"] {
        let document = in_root(&format!(
            "<event-cpm-imap type='flags' index='0'><operation {attributes}/></event-cpm-imap>"
        ));
        assert!(fault(&document).to_string().contains("an operation without `"), "{document}");
    }
    let other = in_root(
        "<event-cpm-imap type='folders' index='0'><operation name='add' flags='\\Seen'><object/></operation></event-cpm-imap>",
    );
    let report = report(&other);
    let asked = &report.imap().next().unwrap().operations[0].asked;
    assert_eq!(asked, &Asked::Refused(Refusal::Type("folders".into())));
    assert!(
        matches!(asked, Asked::Refused(why) if why.to_string().starts_with("the type `folders`"))
    );
}

/// SEED4-69, SEED4-70, A-40: a UID is a number of IMAP, or no help.
#[test]
fn a_uid_that_is_none_is_passed_over() {
    for (uid, number) in [
        ("58175", Some(58175)),
        (" 1 ", Some(1)),
        ("4294967295", Some(u32::MAX)),
        ("4294967296", None),
        ("0", None),
        ("+1", None),
        ("1:*", None),
        ("1 2", None),
        ("", None),
    ] {
        let object = object(&format!("<object uid='{uid}' folder-path='INBOX'/>"));
        assert_eq!(object.uid.map(std::num::NonZeroU32::get), number, "{uid}");
    }
}

/// SEED4-74, SEED4-75, A-41.
#[test]
fn without_a_uid_ids_say_which_message() {
    let object = object(
        "<object><conversation-id>c1</conversation-id><contribution-id>c2</contribution-id>\
         <other-party>sip:+15145554321@ims.example;user=phone</other-party><message-id>m</message-id>\
         </object>",
    );
    assert_eq!(object.conversation_id.as_deref(), Some("c1"));
    assert_eq!(object.contribution_id.as_deref(), Some("c2"));
    assert_eq!(object.other_party.as_deref(), Some("tel:+15145554321"));
    assert_eq!(object.place(), None);
}

/// Folders are any text in one line: IMAP's own syntax is none of ours. What could end its line is
/// refused, and with it the document.
#[test]
fn no_value_can_end_a_line_of_imap() {
    for folder in ["../x", "a\"b", "{5}", "&AOk-t&AOk-", "a\\b", "*%", "A1 LOGOUT"] {
        let escaped = folder.replace('&', "&amp;").replace('"', "&quot;");
        let object = object(&format!("<object uid='1' folder-path='{escaped}'/>"));
        assert_eq!(object.folder_path.as_deref(), Some(folder));
    }
    for bad in ["&#13;&#10;", "&#10;", "&#9;", "&#x7F;", "&#x85;"] {
        for document in [
            format!("<object folder-path='INBOX{bad}A1 LOGOUT' uid='1'/>"),
            format!("<object uid='1{bad}A1'/>"),
            format!("<object><message-id>m{bad}A1 LOGOUT</message-id></object>"),
            format!("<object><conversation-id>m{bad}A1 LOGOUT</conversation-id></object>"),
            format!("<object><contribution-id>m{bad}\nA1 LOGOUT</contribution-id></object>"),
            format!("<object><other-party>m{bad}A1 LOGOUT</other-party></object>"),
        ] {
            let error = fault(&in_operation(&document));
            assert_eq!(error.fault, Fault::Content);
            assert!(error.to_string().contains("a control character"), "{document}: {error}");
        }
    }
}

/// SEED0-33, SEED0-37, SEED4-60, SEED4-83, A-38: kept as it came, counted, and written again.
#[test]
fn what_we_do_not_know_is_kept() {
    let document = "<cpm-evfw xmlns='urn:oma:xml:cpm:evfw' xmlns:f='urn:f' xmlns:i='urn:i'>\
        <f:event-evc-call a='1'><f:x/></f:event-evc-call>\
        <cpm-event-iw i:a='1'><failed-iw a='1'><message-id>m</message-id><f:more>&amp;</f:more>\
        <cpm-user-address>+15145550100</cpm-user-address><domain>CS</domain></failed-iw>\
        <ready-for-sms><cpm-user-address>+15145550100</cpm-user-address><domain>PS</domain>\
        <message-id>why</message-id></ready-for-sms><later/></cpm-event-iw>\
        <event-cpm-imap type='flags' index='0'><operation name='add' flags='\\Seen'><object><message-id>m\
        </message-id><f:o/></object><f:p/></operation><f:q/></event-cpm-imap></cpm-evfw>";
    let home = Home::default();
    let first = read(document.as_bytes(), &reading(&home)).unwrap();
    assert_eq!(first.unknown, 7);
    let Event::Other(kept) = &first.report.events[0] else { panic!("{first:?}") };
    assert_eq!(
        kept.as_xml(),
        "<f:event-evc-call xmlns:f=\"urn:f\" a='1'><f:x/></f:event-evc-call>"
    );
    let written = first.report.write(&Writing::default()).unwrap();
    let again = read(written.as_bytes(), &reading(&home)).unwrap();
    assert_eq!(again.report, first.report, "{written}");
    assert_eq!(again.unknown, 7);
}

/// A-8, A-37: nothing asked for, nothing done, nothing refused; and never written.
#[test]
fn an_empty_document_does_nothing() {
    for document in [
        "<cpm-evfw/>",
        "<cpm-evfw xmlns='urn:oma:xml:cpm:evfw'><cpm-event-iw/></cpm-evfw>",
        "<cpm-evfw><event-cpm-imap type='flags' index='0'/></cpm-evfw>",
        "<cpm-evfw><event-cpm-imap type='flags' index='0'><operation name='add' flags='seen'/></event-cpm-imap></cpm-evfw>",
        "<cpm-evfw><report-data/></cpm-evfw>",
    ] {
        let home = Home::default();
        let read = read(document.as_bytes(), &reading(&home)).unwrap();
        assert!(read.report.does_nothing(), "{document}");
        assert!(read.notes[0].text.contains("it does nothing"), "{document}");
        let error = read.report.write(&Writing::default()).unwrap_err();
        assert!(matches!(error, WriteError::Empty(..)), "{document}: {error}");
    }
}

/// Sound XML that says what an event report cannot say.
#[test]
fn what_must_be_there_is_there_once() {
    for (document, kind, says) in [
        ("<evfw/>", Fault::Root, "the root element `evfw`, expected `cpm-evfw`"),
        ("<cpm-evfw xmlns='urn:x'/>", Fault::Root, "expected `cpm-evfw` of urn:oma:xml:cpm:evfw"),
        (
            "<cpm-evfw><failed-iw/></cpm-evfw>",
            Fault::Content,
            "line 1, column 11: `failed-iw` without `message-id`, expected one",
        ),
        (
            "<cpm-evfw><failed-iw><message-id>a</message-id><message-id>a</message-id></failed-iw></cpm-evfw>",
            Fault::Content,
            "line 1, column 48: a second `message-id`, expected one",
        ),
        (
            "<cpm-evfw><ready-for-sms><cpm-user-address>\n  bob</cpm-user-address></ready-for-sms></cpm-evfw>",
            Fault::Content,
            "line 2, column 3: no address of a user, expected a character that is no digit",
        ),
        (
            "<cpm-evfw><event-cpm-imap type='flags'/></cpm-evfw>",
            Fault::Content,
            "`event-cpm-imap` without `index`",
        ),
    ] {
        let error = fault(document);
        assert_eq!(error.fault, kind, "{document}");
        assert!(error.to_string().contains(says), "{document}: {error}");
    }
    let long = format!(
        "<cpm-evfw><failed-iw><message-id>{}</message-id></failed-iw></cpm-evfw>",
        "m".repeat(1025)
    );
    assert!(fault(&long).to_string().contains("a value of 1025 octets, expected at most 1024"));
}

/// One document asks for so much and no more; the bound is the operator's.
#[test]
fn ten_thousand_objects_are_too_many() {
    let objects = "<object uid='1' folder-path='f'/>".repeat(10_000);
    let document = in_operation(&objects);
    let limits = Limits { octets: 1 << 20, elements: 20_000, ..Limits::default() };
    let home = Home::default();
    let error = read(document.as_bytes(), &Reading { limits, ..reading(&home) }).unwrap_err();
    assert_eq!(error.fault, Fault::TooLarge);
    assert!(error.to_string().contains("more than 1000 events and objects"), "{error}");
    let limits = Limits { items: 10_000, ..limits };
    let read = read(document.as_bytes(), &Reading { limits, ..reading(&home) }).unwrap();
    assert_eq!(read.report.imap().next().unwrap().objects().count(), 10_000);
}

/// W: only what a strict document has.
#[test]
fn strict_writing_says_what_it_will_not_write() {
    let ready = |user: &str, domain: &str| {
        report(&in_root(&format!(
            "<ready-for-sms><cpm-user-address>{user}</cpm-user-address><domain>{domain}</domain>\
             </ready-for-sms>"
        )))
    };
    for (report, says) in [
        (ready("+15145550100", ""), "without a domain"),
        (ready("+15145550100", "moon"), "the domain `unknown`, expected `CS` or `PS`"),
        (ready("sip:bob@example.org", "CS"), "expected a number, as SMS needs one"),
        (
            report(&in_root(
                "<failed-iw><cpm-user-address>+15145550100</cpm-user-address><message-id>m</message-id><message-context>fax</message-context><domain>CS</domain></failed-iw>",
            )),
            "the Message-Context `fax`",
        ),
        (report(&in_operation("<object uid='1'/>")), "an object without message id or place"),
    ] {
        let error = report.write(&Writing::default()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

/// People write documents as JSON, and read them so.
#[test]
fn a_report_is_json_for_programs() {
    let whole = report(INTERWORKING);
    let json = serde_json::to_value(&whole).unwrap();
    assert_eq!(json["events"][0]["interworking"]["reports"][0]["failed"]["domain"], "CS");
    assert_eq!(serde_json::from_value::<EventReport>(json).unwrap(), whole);
    let other: EventReport =
        serde_json::from_str(r#"{"events": [{"other": "<x xmlns='urn:x'/>"}]}"#).unwrap();
    assert!(other.write(&Writing::default()).unwrap().contains("<x xmlns='urn:x'/>"));
    let bad = serde_json::from_str::<EventReport>(r#"{"events": [{"other": "<x>"}]}"#);
    assert!(bad.unwrap_err().to_string().contains("the end of the document"));
}

fn in_root(inside: &str) -> String {
    format!("<cpm-evfw xmlns=\"{NAMESPACE}\">{inside}</cpm-evfw>")
}

fn in_operation(objects: &str) -> String {
    in_root(&format!(
        "<event-cpm-imap type='flags' index='0'><operation name='add' flags='\\Seen'>{objects}\
         </operation></event-cpm-imap>"
    ))
}

fn reading(home: &Home) -> Reading<'_> {
    Reading { limits: Limits::default(), repair: false, home }
}

fn report(document: &str) -> EventReport {
    let home = Home::new(Some("1"), &[]).unwrap();
    read(document.as_bytes(), &reading(&home)).expect(document).report
}

fn fault(document: &str) -> DocumentError {
    read(document.as_bytes(), &reading(&Home::default())).expect_err(document)
}

fn operation(attributes: &str) -> Operation {
    let document = in_root(&format!(
        "<event-cpm-imap type='flags' index='0'><operation {attributes}><object/></operation>\
         </event-cpm-imap>"
    ));
    report(&document).imap().next().unwrap().operations[0].clone()
}

fn object(object: &str) -> Object {
    report(&in_operation(object)).imap().next().unwrap().operations[0].objects[0].clone()
}
