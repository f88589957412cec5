//! Lines as tshark writes them, and what they must come to, whatever the protocol.

use serde_json::json;

use super::*;

mod protocols;

const START: i64 = 1_795_225_600_000;

/// Time goes by the capture: after 60 s without an alias the fact is dropped, and counted. (5.3)
#[test]
fn an_imsi_waits_for_its_alias() {
    let attach = |tap: &mut Tap| {
        tap.ask(&update_location(0, "01"));
        assert_eq!(tap.tell(&updated(1000, "01")), [""; 0]);
    };
    let mut soon = tap();
    attach(&mut soon);
    assert_eq!(soon.tell(&subscriber(60_000)), ["cpm.cs.attached tel:+14155550101 passive"]);
    let mut late = tap();
    attach(&mut late);
    assert_eq!(late.tell(&subscriber(61_001 + 60_000)), ["imsi without an alias"]);
    let mut never = tap();
    attach(&mut never);
    assert_eq!(never.end(), ["imsi without an alias"]);
}

/// A notice tells what its sender knows: unanswered it is inferred, a procedure is nothing. (E-5,
/// E-6)
#[test]
fn unanswered_notices_are_inferred() {
    let mut tap = bound();
    let ready = json!({ "gsm_old_localValue": ["66"], "e212_imsi": [IMSI], "tcap_otid": ["02"] });
    tap.ask(&map(0, ready));
    tap.ask(&update_location(0, "03"));

    assert_eq!(tap.tell(&other(10_000)), ["not one of ours"]);
    assert_eq!(
        tap.tell(&other(10_001)),
        ["cpm.sms.ready tel:+14155550101 inferred", "request without an answer", "not one of ours"]
    );
}

/// At-least-once taps: the same packets give the same ids, another tap's source others.
#[test]
fn ids_are_stable() {
    let events = |source: &str| {
        let mut tap =
            Tap(Ek::new(Home::default(), source.to_owned(), Limits::default()), Vec::new());
        tap.tell(&register(0, 1, ""));
        tap.tell(&answer(1, 1, "200 OK", ";expires=60"));
        tap.events()
    };

    assert_eq!(events("/probe/ek/a"), events("/probe/ek/a"));
    assert_ne!(events("/probe/ek/a")[0]["id"], events("/probe/ek/b")[0]["id"]);
}

#[test]
fn memory_is_bounded() {
    let limits = Limits { open_requests: 1, parked: 1, registrations: 1, ..Limits::default() };
    let mut tap = Tap(Ek::new(Home::default(), "/probe/ek/test".to_owned(), limits), Vec::new());
    tap.ask(&update_location(0, "01"));
    assert_eq!(tap.tell(&update_location(0, "02")), ["too many requests open"]);
    assert_eq!(tap.tell(&updated(1, "02")), [""; 0]);
    tap.ask(&update_location(2, "03"));
    assert_eq!(tap.tell(&updated(3, "03")), ["imsi without an alias"]);
}

/// Goal: no line panics. Method: good lines, cut at every byte and with every byte changed in turn.
#[test]
fn nothing_panics() {
    let lines = [
        register(0, 1, ";expires=600"),
        answer(0, 1, "200 OK", ";expires=600;x=\"é\\\"\""),
        update_location(0, "01"),
        updated(0, "01"),
        subscriber(0),
        packet(
            0,
            json!({ "diameter_cmd_code": ["309"], "diameter_flags_request": ["1"],
            "diameter_Public-Identity": ["tel:+14155550101"],
            "diameter_Sh-User-Data": ["3c494d5355736572 53746174653e31"],
            "diameter_MSISDN": ["4"], "diameter_Maximum-UE-Availability-Time": ["é 1, UTC"] }),
        ),
        packet(0, json!({ "gsup_msg_type": ["999999999999999999999"], "e212_imsi": ["é"] })),
    ];
    for line in lines {
        for at in 0..line.len() {
            let mut tap = tap();
            tap.0.line(1, &line[..at]);
            for byte in [0, b'"', b'0', 0xff] {
                let mut changed = line.clone();
                changed[at] = byte;
                tap.0.line(2, &changed);
            }
            tap.0.finish();
        }
    }
}

#[test]
fn bad_lines_are_rejected_by_number() {
    let facts = tap().0.line(17, b"{\"timestamp\":\"1\",\"layers\":{\"sip_msg");

    let [Fact::Rejected { line: 17, reason }] = facts.as_slice() else { panic!("{facts:?}") };
    assert!(reason.starts_with("not JSON: EOF"), "{reason}");
}

const IMSI: &str = "001010000000101";

/// A tap and the events it gave.
struct Tap(Ek, Vec<Value>);

fn tap() -> Tap {
    Tap(Ek::new(Home::default(), "/probe/ek/test".to_owned(), Limits::default()), Vec::new())
}

/// A tap that knows whose [`IMSI`] is.
fn bound() -> Tap {
    let mut tap = tap();
    assert_eq!(tap.tell(&subscriber(0)), [""; 0]);
    tap
}

impl Tap {
    /// A line that must come to nothing yet.
    fn ask(&mut self, line: &[u8]) {
        assert_eq!(self.tell(line), [""; 0]);
    }

    /// Events as type, user and trust; the rest by their reasons.
    fn tell(&mut self, line: &[u8]) -> Vec<String> {
        let facts = self.0.line(1, line);
        self.words(facts)
    }

    fn end(&mut self) -> Vec<String> {
        let facts = self.0.finish();
        self.words(facts)
    }

    /// All events so far, after the end.
    fn events(&mut self) -> Vec<Value> {
        self.end();
        self.1.clone()
    }

    fn words(&mut self, facts: Vec<Fact>) -> Vec<String> {
        let word = |fact| match fact {
            Fact::Event(event) => {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let kind = text(&event["type"]);
                let kind = kind.trim_end_matches(".v1");
                let words =
                    format!("{kind} {} {}", text(&event["subject"]), text(&event["data"]["trust"]));
                self.1.push(event);
                words
            }
            Fact::Skipped(skip) => skip.to_string(),
            Fact::Rejected { line, reason } => format!("line {line}: {reason}"),
        };
        facts.into_iter().map(word).collect()
    }
}

fn packet(millis: i64, layers: Value) -> Vec<u8> {
    json!({ "timestamp": (START + millis).to_string(), "layers": layers }).to_string().into_bytes()
}

/// A message of MAP: an invoke from 101 to 100, where `fields` do not say otherwise.
fn map(millis: i64, fields: Value) -> Vec<u8> {
    let mut all = json!({ "sccp_message_type": ["0x09"], "gsm_map_old_Component": ["1"],
        "gsm_old_invokeID": ["1"], "mtp3_opc": ["101"], "mtp3_dpc": ["100"] });
    extend(&mut all, &fields);
    packet(millis, all)
}

fn update_location(millis: i64, tid: &str) -> Vec<u8> {
    map(
        millis,
        json!({ "tcap_otid": [tid], "gsm_old_localValue": ["2"], "e212_imsi": [IMSI],
        "sccp_calling_ssn": ["7"], "e164_msisdn": ["14155559003", "14155559002"] }),
    )
}

fn updated(millis: i64, tid: &str) -> Vec<u8> {
    map(
        millis,
        json!({ "tcap_dtid": [tid], "gsm_map_old_Component": ["2"], "gsm_old_localValue": ["2"],
        "mtp3_opc": ["100"], "mtp3_dpc": ["101"] }),
    )
}

fn subscriber(millis: i64) -> Vec<u8> {
    packet(
        millis,
        json!({ "gsup_msg_type": ["16"], "e212_imsi": [IMSI], "e164_msisdn": ["14155550101"] }),
    )
}

/// An SMPP enquire_link, which only passes the time.
fn other(millis: i64) -> Vec<u8> {
    packet(millis, json!({ "smpp_command_id": ["0x00000015"] }))
}

fn register(millis: i64, cseq: u32, params: &str) -> Vec<u8> {
    sip(millis, cseq, params, "sip_Request-Line", "REGISTER sip:h SIP/2.0")
}

fn answer(millis: i64, cseq: u32, status: &str, params: &str) -> Vec<u8> {
    sip(millis, cseq, params, "sip_Status-Line", &format!("SIP/2.0 {status}"))
}

fn sip(millis: i64, cseq: u32, params: &str, start: &str, line: &str) -> Vec<u8> {
    let headers = format!(
        "From: <sip:+14155550101@h>;tag=1\r\nTo: <sip:+14155550101@h>\r\nCall-ID: 1@h\r\n\
         CSeq: {cseq} REGISTER\r\nContact: <sip:a@h>{params}\r\n\r\n"
    );
    let mut layers = json!({ "sip_msg_hdr": [headers] });
    layers[start] = json!([line]);
    packet(millis, layers)
}

fn extend(fields: &mut Value, more: &Value) {
    let more = more.as_object().into_iter().flatten();
    fields.as_object_mut().unwrap().extend(more.map(|(key, value)| (key.clone(), value.clone())));
}
