//! GSUP, what Osmocom's VLR and SGSN say to its HLR.
//!
//! Source: OsmoHLR user manual, "Generic Subscriber Update Protocol"; `rules.md` 6.1 and 6.5.

use crate::domain::address::{Address, Imsi, Msisdn};

use super::layers::Message;
use super::waiting::{Kind, Request, Requests};
use super::{Limits, Seen, Sighting, Skip, Who};

/// International, in the type-of-number of an address.
const INTERNATIONAL: u8 = 1;

/// The procedures still open.
#[derive(Debug)]
pub(super) struct Gsup {
    pub(super) open: Requests,
}

impl Gsup {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { open: Requests::new(limits.answer_wait, limits.open_requests) }
    }

    /// A type is its procedure's and its turn's: …0 request, …1 error, …2 result.
    pub(super) fn message(&mut self, message: &Message, seen: &mut Seen) {
        let imsi = message.one("e212.imsi").and_then(|digits| digits.parse().ok());
        let (Some(kind), Some(imsi)) = (message.number("gsup.msg_type"), imsi) else {
            return seen.skip(Skip::Incomplete);
        };
        let (procedure, turn) = (kind & !3, kind & 3);
        let session = message.one("gsup.session_id").unwrap_or_default();
        let stream = message.one("tcp.stream").unwrap_or_default();
        let key = format!("{stream}/{procedure}/{imsi}/{session}");
        match (procedure, turn) {
            (0x04 | 0x0c | 0x2c, 1 | 2) => self.open.close(&key, turn == 2, seen),
            (0x04, 0) => self.procedure(key, message, imsi, ATTACHED, "updateLocation", seen),
            (0x0c, 0) => self.procedure(key, message, imsi, DETACHED, "purgeMS", seen),
            (0x2c, 0) => self.ready(key, message, imsi, session, seen),
            (0x10, 0) => seen.bind(Some(imsi), msisdn(message, seen)),
            (0x1c, 0) => seen.skip(Skip::Moved),
            (0x28, 1 | 2) => seen.skip(Skip::NamesNoMessage),
            _ => seen.skip(Skip::NotOurs),
        }
    }

    fn procedure(
        &mut self,
        key: String,
        message: &Message,
        imsi: Imsi,
        [circuit, packet]: [&'static str; 2],
        name: &'static str,
        seen: &mut Seen,
    ) {
        let kind = match message.number("gsup.cn_domain") {
            Some(1) => packet,
            Some(2) => circuit,
            _ => return seen.skip(Skip::Incomplete),
        };
        let at = seen.now.as_millis().to_string();
        let sighting =
            Sighting::new(Who::Imsi(imsi), kind, seen.now, &["gsup", &at, &imsi.to_string()])
                .with("procedure", Some(name))
                .with("node", message.one("gsup.source_name.text"));
        self.open.open(key, Request { sightings: vec![sighting], kind: Kind::Procedure }, seen);
    }

    fn ready(
        &mut self,
        key: String,
        message: &Message,
        imsi: Imsi,
        session: &str,
        seen: &mut Seen,
    ) {
        let reason = match message.number("gsup.sm_alert_rsn") {
            Some(1) => Some("present"),
            Some(2) => Some("memory"),
            _ => None,
        };
        let at = seen.now.as_millis().to_string();
        let name = imsi.to_string();
        let identity = ["gsup", &at, session, &name];
        let sighting = Sighting::new(Who::Imsi(imsi), "cpm.sms.ready", seen.now, &identity)
            .with("alert_reason", reason);
        self.open.open(key, Request { sightings: vec![sighting], kind: Kind::Notice }, seen);
    }
}

const ATTACHED: [&str; 2] = ["cpm.cs.attached", "cpm.ps.attached"];
const DETACHED: [&str; 2] = ["cpm.cs.detached", "cpm.ps.detached"];

fn msisdn(message: &Message, seen: &Seen) -> Option<Address> {
    let digits = message.one("e164.msisdn")?;
    Msisdn::from_ton(digits, INTERNATIONAL, &seen.home).ok().map(Address::Tel)
}
