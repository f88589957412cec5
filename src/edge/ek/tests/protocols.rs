//! What each protocol says, and what it must not be taken for.

use super::*;

/// In a returnError, `localValue` is the error: 2 there is no updateLocation, 6 no operation.

#[test]
fn error_codes_are_not_operations() {
    let mut tap = tap();
    tap.ask(&update_location(0, "01"));

    let facts = tap.tell(&map(
        100,
        json!({ "tcap_dtid": ["01"], "gsm_map_old_Component": ["3"],
        "gsm_old_localValue": ["2"], "gsm_old_invokeID": ["1"], "mtp3_dpc": ["101"] }),
    ));

    assert_eq!(facts, ["request refused"]);
    assert_eq!(tap.end(), [""; 0]);
}

/// `e164_msisdn` lists the service centre beside the user, and in updateLocation only switches.

#[test]
fn numbers_of_switches_are_not_users() {
    let mut tap = tap();
    let alert = map(
        0,
        json!({ "tcap_otid": ["08"], "gsm_old_localValue": ["64"], "mtp3_opc": ["100"],
        "e164_msisdn": ["14155559005", "14155550101"], "gsm_map_sm_msisdn": ["914151550501f1"] }),
    );
    tap.ask(&alert);
    tap.ask(&update_location(10, "09"));

    let facts = tap.end();

    assert_eq!(facts, ["cpm.sms.ready tel:+14155550101 inferred", "request without an answer"]);
}

/// Who calls tells the domain, unless an indicator does. (6.5)

#[test]
fn the_caller_tells_the_domain() {
    let cases = [
        (json!({ "sccp_calling_ssn": ["7"] }), Some("CS")),
        (json!({ "sccp_calling_ssn": ["149"] }), Some("PS")),
        (json!({ "sccp_calling_ssn": ["8"] }), None),
        (json!({}), None),
        (
            json!({ "sccp_calling_ssn": ["7"], "gsm_map_sm_alertReasonIndicator_element": [""] }),
            Some("PS"),
        ),
        (json!({ "gsm_map_sm_additionalAlertReasonIndicator_element": [""] }), Some("IMS")),
    ];
    for (fields, domain) in cases {
        let mut tap = bound();
        let mut ready = json!({ "gsm_old_localValue": ["66"], "gsm_map_sm_alertReason": ["1"],
            "e212_imsi": [IMSI], "tcap_otid": ["0a"] });
        extend(&mut ready, &fields);
        tap.ask(&map(0, ready));

        let events = tap.events();

        assert_eq!(events[0]["data"]["domain"].as_str(), domain, "{fields}");
        assert_eq!(events[0]["data"]["alert_reason"], "memory");
    }
}

/// A phone that sleeps most of the time says until when it listens. (6.5)

#[test]
fn an_alert_may_end() {
    let mut tap = bound();
    tap.ask(&map(
        0,
        json!({ "gsm_old_localValue": ["66"], "e212_imsi": [IMSI],
        "gsm_map_sm_maximumUeAvailabilityTime": ["eeacc61f"] }),
    ));

    assert_eq!(tap.events()[0]["data"]["available_until"], "2026-11-22T01:38:39Z");
}

/// An S-CSCF registers a user with a server: the user has no device there, nor has the S-CSCF.
/// (6.2)

#[test]
fn a_third_party_registers_no_device() {
    for (expires, kind) in [(600, "cpm.ims.registered"), (0, "cpm.ims.deregistered")] {
        let headers = format!(
            "From: <sip:scscf1.h>;tag=1\r\nTo: <sip:+14155550101@h>\r\nCall-ID: 1@h\r\n\
             CSeq: 1 REGISTER\r\nContact: <sip:scscf1.h>\r\nExpires: {expires}\r\n\r\n"
        );
        let (answer, _) = headers.split_once("Contact").unwrap();
        let mut tap = tap();
        let request =
            json!({ "sip_Request-Line": ["REGISTER sip:as SIP/2.0"], "sip_msg_hdr": [headers] });
        tap.ask(&packet(0, request));
        let answer = json!({ "sip_Status-Line": ["SIP/2.0 200 OK"], "sip_msg_hdr": [answer] });

        assert_eq!(tap.tell(&packet(1, answer)), [format!("{kind} tel:+14155550101 passive")]);
        assert_eq!(tap.events()[0]["data"].get("device"), None);
    }
}

/// A Diameter agent passes the request on: one request, told once. (E-5)

#[test]
fn another_hop_is_no_second_request() {
    let mut tap = bound();
    let notify = |hop: &str| {
        packet(
            0,
            json!({ "diameter_cmd_code": ["323"], "diameter_flags_request": ["1"],
            "diameter_Session-Id": ["mme1;1"], "diameter_endtoendid": ["0x01"],
            "diameter_hopbyhopid": [hop], "diameter_User-Name": [IMSI],
            "diameter_Alert-Reason": ["0"] }),
        )
    };
    tap.ask(&notify("0x01"));

    assert_eq!(tap.tell(&notify("0x02")), ["seen before"]);
    assert_eq!(tap.end(), ["cpm.sms.ready tel:+14155550101 inferred"]);
}

/// A purge from nobody knows where would detach the wrong slot.

#[test]
fn a_purge_needs_its_caller() {
    let purge = |ssn: Value| {
        let mut fields = json!({ "gsm_old_localValue": ["67"], "e212_imsi": [IMSI] });
        extend(&mut fields, &ssn);
        bound().tell(&map(0, fields))
    };

    assert_eq!(purge(json!({})), ["field missing or malformed"]);
    assert_eq!(purge(json!({ "sccp_calling_ssn": ["149"] })), [""; 0]);
}

/// 401 comes first, the time is granted in the answer's contact, and a request alone is nothing.
/// (6.2)

#[test]
fn only_the_answer_registers() {
    let mut tap = tap();
    assert_eq!(tap.tell(&register(0, 1, ";expires=600000")), [""; 0]);
    assert_eq!(tap.tell(&answer(1, 1, "401 Unauthorized", "")), ["not one of ours"]);
    assert_eq!(tap.tell(&register(2, 2, ";expires=600000")), [""; 0]);

    let facts = tap.tell(&answer(3, 2, "200 OK", ";expires=60"));

    assert_eq!(facts, ["cpm.ims.registered tel:+14155550101 passive"]);
    assert_eq!(tap.events()[0]["data"]["expires_at"], "2026-11-21T01:47:40.003Z");
    assert_eq!(tap.tell(&register(4, 3, ";expires=60")), [""; 0]);
    assert_eq!(tap.end(), ["request without an answer"]);
}

/// The same transaction is seen at every hop.

#[test]
fn another_hop_is_no_news() {
    let mut tap = tap();
    tap.ask(&register(0, 1, ""));
    tap.ask(&register(1, 1, ""));
    tap.tell(&answer(2, 1, "200 OK", ";expires=60"));

    assert_eq!(tap.tell(&answer(3, 1, "200 OK", ";expires=60")), ["seen before"]);
}

/// Several devices in an answer of which the tap saw no request: all are there, none is described.

#[test]
fn a_tap_that_starts_late_learns_from_the_answer() {
    let mut tap = tap();

    let facts =
        tap.tell(&answer(0, 7, "200 OK", ";expires=60, <sip:b@h>;expires=0, <sip:c@h>;expires=5"));

    let registered = "cpm.ims.registered tel:+14155550101 passive";
    assert_eq!(facts, [registered, registered]);
    let events = tap.events();
    assert_eq!(events[1]["data"]["device"], json!({ "contact": "sip:c@h" }));
    assert_eq!(events[1]["data"]["change"], "unknown");
    assert_eq!(events[1]["data"].get("cpm_capable"), None);
}

/// The SMSC's load is no failure of a message.
#[test]
fn back_pressure_is_not_a_failure() {
    for (status, reason) in [
        ("0x00000058", "back-pressure of the smsc"),
        ("0x00000014", "back-pressure of the smsc"),
        ("0x0000000b", "sms outcome that names no message"),
        ("0x00000000", "not one of ours"),
    ] {
        let response = packet(
            0,
            json!({ "smpp_command_id": ["0x80000004"],
            "smpp_command_status": [status] }),
        );
        assert_eq!(tap().tell(&response), [reason]);
    }
}

/// Old centres write the receipt as text; what the user wrote comes last and is none of it.

#[test]
fn receipts_are_read_from_text_too() {
    for (text, facts) in [
        (
            "id:a1 sub:001 stat:EXPIRED err:000 text:id:b2",
            ["cpm.sms.failed tel:+14155550101 passive"],
        ),
        ("id:a1 stat:ENROUTE err:0 text:", ["cpm.sms.delayed tel:+14155550101 passive"]),
        ("stat:DELIVRD err:000 text:look id:b2", ["field missing or malformed"]),
    ] {
        let receipt = packet(
            0,
            json!({ "smpp_command_id": ["0x00000005"], "smpp_source_addr_ton": ["0x01"],
            "smpp_source_addr": ["14155550101"], "smpp_esm_submit_msg_type": ["0x01"],
            "smpp_message_text": [text] }),
        );
        assert_eq!(tap().tell(&receipt), facts, "{text}");
    }
}

/// A MO message looks like a receipt, but for its class; a phone that is not there gives no alert.

#[test]
fn other_pdus_are_not_ours() {
    let from = json!({ "smpp_source_addr": ["14155550101"], "smpp_source_addr_ton": ["1"] });
    for fields in [
        json!({ "smpp_command_id": ["0x05"], "smpp_esm_submit_msg_type": ["0x00"] }),
        json!({ "smpp_command_id": ["0x102"], "smpp_ms_availability_status": ["2"] }),
    ] {
        let mut all = from.clone();
        extend(&mut all, &fields);
        assert_eq!(tap().tell(&packet(0, all)), ["not one of ours"]);
    }
}
