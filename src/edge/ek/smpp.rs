//! SMPP: receipts and alerts of an SMSC. What a client submits is told by the client itself.
//!
//! Source: SMPP 3.4, 4.6 `deliver_sm`, 4.12 `alert_notification`, 5.2.28 `message_state`;
//! `rules.md` 4.7, 6.5, 6.6.

use serde_json::json;

use crate::domain::address::{Address, Msisdn};

use super::layers::Message;
use super::{Seen, Sighting, Skip, Who};

const DELIVER_SM: u64 = 0x05;
const DATA_SM: u64 = 0x103;
const ALERT_NOTIFICATION: u64 = 0x102;
const SUBMIT_SM_RESP: u64 = 0x8000_0004;

pub(super) fn message(message: &Message, seen: &mut Seen) {
    match message.number("smpp.command_id") {
        Some(DELIVER_SM | DATA_SM) => receipt(message, seen),
        Some(ALERT_NOTIFICATION) => alert(message, seen),
        Some(SUBMIT_SM_RESP) => match message.number("smpp.command_status") {
            // ESME_RMSGQFUL, ESME_RTHROTTLED: come again later, and it is about the client.
            Some(0x14 | 0x58) => seen.skip(Skip::BackPressure),
            Some(0) => seen.skip(Skip::NotOurs),
            _ => seen.skip(Skip::NamesNoMessage),
        },
        Some(_) => seen.skip(Skip::NotOurs),
        None => seen.skip(Skip::Incomplete),
    }
}

/// `deliver_sm` whose `esm_class` says receipt (1) or intermediate notification (8); `data_sm` too.
fn receipt(message: &Message, seen: &mut Seen) {
    if !matches!(message.number("smpp.esm.submit.msg_type"), Some(1 | 8)) {
        return seen.skip(Skip::NotOurs);
    }
    let text = message.one("smpp.message_text").unwrap_or_default();
    let id = message.one("smpp.receipted_message_id").or_else(|| in_text(text, "id:"));
    let state = match message.number("smpp.message_state") {
        Some(state) => Some(state),
        None => in_text(text, "stat:").and_then(state),
    };
    let (Some(id), Some(state)) = (id, state) else { return seen.skip(Skip::Incomplete) };
    let Some(user) = sender(message, seen) else { return seen.skip(Skip::NotAUser) };
    // What the state means for the message is the engine's table to say (4.7).
    let kind = match state {
        2 => "cpm.sms.delivered",
        0 | 1 | 6 => "cpm.sms.delayed",
        _ => "cpm.sms.failed",
    };
    let identity = ["smpp", id, &state.to_string(), &user.to_string()];
    let failed = kind == "cpm.sms.failed";
    let error = failed.then(|| json!({ "protocol": "smpp", "code": state.to_string() }));
    seen.tell(
        Sighting::new(Who::User(user), kind, seen.now, &identity)
            .with("legacy_id", Some(id))
            .with("error", error),
    );
}

/// A phone is there again. The tag is left out by old centres, which means available.
fn alert(message: &Message, seen: &mut Seen) {
    if message.number("smpp.ms_availability_status").unwrap_or(0) != 0 {
        return seen.skip(Skip::NotOurs);
    }
    let Some(user) = sender(message, seen) else { return seen.skip(Skip::NotAUser) };
    let number = message.one("smpp.sequence_number").unwrap_or_default();
    let identity = ["smpp", &seen.now.as_millis().to_string(), number, &user.to_string()];
    seen.tell(Sighting::new(Who::User(user), "cpm.sms.ready", seen.now, &identity));
}

/// `source_addr`: the phone, in what an SMSC sends.
fn sender(message: &Message, seen: &Seen) -> Option<Address> {
    let ton = u8::try_from(message.number("smpp.source_addr_ton").unwrap_or(0)).ok()?;
    let digits = message.one("smpp.source_addr")?;
    Msisdn::from_ton(digits, ton, &seen.home).ok().map(Address::Tel)
}

/// What follows a word of the receipt's text, up to the next space (SMPP 3.4, appendix B).
fn in_text<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let fields = text.split("text:").next()?;
    fields.split(' ').find_map(|field| field.strip_prefix(word)).filter(|value| !value.is_empty())
}

/// `message_state` by its name in the text.
fn state(name: &str) -> Option<u64> {
    Some(match name {
        "ENROUTE" => 1,
        "DELIVRD" => 2,
        "EXPIRED" => 3,
        "DELETED" => 4,
        "UNDELIV" => 5,
        "ACCEPTD" => 6,
        "UNKNOWN" => 7,
        "REJECTD" => 8,
        _ => return None,
    })
}
