//! MAP: what VLR, SGSN, SMSC and HLR tell each other about a phone.
//!
//! Each component is an invoke, or answers one; they meet on the point code and the transaction id
//! of who invoked, and the invoke id. `localValue` is the operation in an invoke and the error in a
//! returnError, so it is never read without the component's type.
//!
//! Source: TS 29.002 12, 17.6; ITU-T Q.773 for the ids; `rules.md` 4.6, 6.3 to 6.6, N-2, N-7.

use crate::domain::address::{Address, Imsi, Msisdn, TypeOfNumber};
use crate::domain::time::Timestamp;

use super::layers::Message;
use super::waiting::{Kind, Request, Requests, Waiting};
use super::{Limits, Seen, Sighting, Skip, Who};

const UPDATE_LOCATION: u64 = 2;
const CANCEL_LOCATION: u64 = 3;
const INSERT_SUBSCRIBER_DATA: u64 = 7;
const UPDATE_GPRS_LOCATION: u64 = 23;
const MT_FORWARD_SM: u64 = 44;
const MO_FORWARD_SM: u64 = 46;
const REPORT_SM_DELIVERY_STATUS: u64 = 47;
const INFORM_SERVICE_CENTRE: u64 = 63;
const ALERT_SERVICE_CENTRE: u64 = 64;
const READY_FOR_SM: u64 = 66;
const PURGE_MS: u64 = 67;

/// `ABSENT_SUBSCRIBER_SM` as an error.
const ABSENT_SUBSCRIBER_SM: u64 = 6;

/// Subsystem numbers of who calls.
const VLR: u64 = 7;
const SGSN: u64 = 149;

/// The operations still open.
#[derive(Debug)]
pub(super) struct Map {
    pub(super) open: Requests,
    /// Whom a dialogue is about, by who began it: insertSubscriberData inside it does not say.
    dialogues: Waiting<Imsi>,
    /// Whom an SMS was for, by its operation.
    deliveries: Waiting<Option<Imsi>>,
}

/// Where a component belongs.
struct Place {
    /// The operation that the sender opens.
    asks: String,
    /// The operation of the receiver that the sender answers.
    answers: String,
    /// The dialogue that the receiver began.
    dialogue: String,
}

impl Map {
    pub(super) fn new(limits: &Limits) -> Self {
        let (wait, room) = (limits.answer_wait, limits.open_requests);
        Self {
            open: Requests::new(wait, room),
            dialogues: Waiting::new(wait, room),
            deliveries: Waiting::new(wait, room),
        }
    }

    pub(super) fn expire(&mut self, now: Option<Timestamp>, seen: &mut Seen) {
        self.open.expire(now, seen);
        while self.dialogues.overdue(now).is_some() {}
        while self.deliveries.overdue(now).is_some() {
            seen.skip(Skip::Unanswered);
        }
    }

    /// Several components in a message share its fields, so that only answers are read from it:
    /// they need none but their invoke id.
    pub(super) fn message(&mut self, message: &Message, seen: &mut Seen) {
        let components = message.all("gsm_map.old.Component");
        let invokes = message.all("gsm_old.invokeID");
        if components.is_empty() {
            return seen.skip(Skip::NotOurs);
        }
        if components.len() != invokes.len() {
            return seen.skip(Skip::Incomplete);
        }
        let alone = components.len() == 1;
        for (component, invoke) in components.iter().zip(invokes) {
            let place = Place::of(message, invoke);
            match (component.as_str(), message.number("gsm_old.localValue")) {
                ("1", Some(operation)) if alone => self.invoke(operation, &place, message, seen),
                ("1", Some(INSERT_SUBSCRIBER_DATA)) => self.subscriber(&place, message, seen),
                ("2", _) if self.deliveries.take(&place.answers).is_some() => {
                    seen.skip(Skip::NamesNoMessage);
                }
                ("2", _) => self.open.close(&place.answers, true, seen),
                ("3", Some(error)) if alone => self.error(error, &place, message, seen),
                ("3" | "4", _) => {
                    self.deliveries.take(&place.answers);
                    self.open.close(&place.answers, false, seen);
                }
                ("1", _) => seen.skip(Skip::SeveralInOnePacket),
                _ => seen.skip(Skip::NotOurs),
            }
        }
    }

    fn invoke(&mut self, operation: u64, place: &Place, message: &Message, seen: &mut Seen) {
        match operation {
            UPDATE_LOCATION => {
                self.attach("cpm.cs.attached", "updateLocation", place, message, seen);
            }
            UPDATE_GPRS_LOCATION => {
                self.attach("cpm.ps.attached", "updateGprsLocation", place, message, seen);
            }
            PURGE_MS => {
                let kind = match message.number("sccp.calling.ssn") {
                    Some(VLR) => "cpm.cs.detached",
                    Some(SGSN) => "cpm.ps.detached",
                    _ => return seen.skip(Skip::Incomplete),
                };
                self.attach(kind, "purgeMS", place, message, seen);
            }
            CANCEL_LOCATION => self.cancel(place, message, seen),
            INSERT_SUBSCRIBER_DATA => self.subscriber(place, message, seen),
            READY_FOR_SM => self.ready(place, message, seen),
            ALERT_SERVICE_CENTRE => {
                let Some(user) = msisdn("gsm_map.sm.msisdn", message, seen) else {
                    return seen.skip(Skip::NotAUser);
                };
                // The HLR says neither why nor where.
                let fact = place
                    .sighting(Who::User(user), "cpm.sms.ready", seen)
                    .with("available_until", until(message));
                self.open(Kind::Notice, fact, place, seen);
            }
            REPORT_SM_DELIVERY_STATUS => {
                let user = msisdn("gsm_map.sm.msisdn", message, seen).map(Who::User);
                let absent = message.number("gsm_map.sm.sm_DeliveryOutcome") == Some(1);
                let diagnostic = message.number("gsm_map.sm.absentSubscriberDiagnosticSM");
                absence(
                    user.filter(|_| absent),
                    diagnostic,
                    "reportSM-DeliveryStatus",
                    place,
                    seen,
                );
            }
            MT_FORWARD_SM | MO_FORWARD_SM => {
                let gone = self.deliveries.put(place.asks.clone(), seen.now, imsi(message));
                if gone.is_some() {
                    seen.skip(Skip::TooManyOpen);
                }
            }
            // A flag in the HLR, set by whatever failed before.
            INFORM_SERVICE_CENTRE => seen.skip(Skip::NamesNoMessage),
            _ => seen.skip(Skip::NotOurs),
        }
    }

    fn attach(
        &mut self,
        kind: &'static str,
        procedure: &'static str,
        place: &Place,
        message: &Message,
        seen: &mut Seen,
    ) {
        let Some(imsi) = imsi(message) else { return seen.skip(Skip::Incomplete) };
        self.dialogues.put(dialogue(&place.asks), seen.now, imsi);
        let fact =
            place.sighting(Who::Imsi(imsi), kind, seen).with("procedure", Some(procedure)).with(
                "node",
                message.one("sccp.calling.digits").filter(|_| procedure != "cancelLocation"),
            );
        self.open(Kind::Procedure, fact, place, seen);
    }

    /// The HLR tells the old node to forget the phone: it moved, or its subscription ended (1).
    fn cancel(&mut self, place: &Place, message: &Message, seen: &mut Seen) {
        let kind = match (
            message.number("gsm_map.ms.cancellationType"),
            message.number("sccp.called.ssn"),
        ) {
            (Some(1), Some(VLR)) => "cpm.cs.detached",
            (Some(1), Some(SGSN)) => "cpm.ps.detached",
            _ => return seen.skip(Skip::Moved),
        };
        self.attach(kind, "cancelLocation", place, message, seen);
    }

    /// An IMSI and its number: the IMSI stands in the dialogue's first message, where not in this
    /// one.
    fn subscriber(&self, place: &Place, message: &Message, seen: &mut Seen) {
        let imsi = imsi(message).or_else(|| self.dialogues.get(&place.dialogue).copied());
        let user = msisdn("gsm_map.ms.msisdn", message, seen);
        if imsi.is_none() || user.is_none() {
            return seen.skip(Skip::Incomplete);
        }
        seen.bind(imsi, user);
    }

    /// The indicators say which network; where there are none, the subsystem that calls does.
    fn ready(&mut self, place: &Place, message: &Message, seen: &mut Seen) {
        let Some(imsi) = imsi(message) else { return seen.skip(Skip::Incomplete) };
        let domain = if message.has("gsm_map.sm.additionalAlertReasonIndicator_element") {
            Some("IMS")
        } else if message.has("gsm_map.sm.alertReasonIndicator_element") {
            Some("PS")
        } else {
            match message.number("sccp.calling.ssn") {
                Some(VLR) => Some("CS"),
                Some(SGSN) => Some("PS"),
                _ => None,
            }
        };
        let reason = match message.number("gsm_map.sm.alertReason") {
            Some(0) => Some("present"),
            Some(1) => Some("memory"),
            _ => None,
        };
        let fact = place
            .sighting(Who::Imsi(imsi), "cpm.sms.ready", seen)
            .with("domain", domain)
            .with("alert_reason", reason)
            .with("available_until", until(message));
        self.open(Kind::Notice, fact, place, seen);
    }

    fn error(&mut self, error: u64, place: &Place, message: &Message, seen: &mut Seen) {
        let Some(imsi) = self.deliveries.take(&place.answers) else {
            return self.open.close(&place.answers, false, seen);
        };
        let who = imsi.map(Who::Imsi).filter(|_| error == ABSENT_SUBSCRIBER_SM);
        let diagnostic = message.number("gsm_map.er.absentSubscriberDiagnosticSM");
        absence(who, diagnostic, "mt-forwardSM", place, seen);
    }

    fn open(&mut self, kind: Kind, fact: Sighting, place: &Place, seen: &mut Seen) {
        self.open.open(place.asks.clone(), Request { sightings: vec![fact], kind }, seen);
    }
}

/// An SMS found nobody. Which message it was, MAP does not say; but a diagnostic that names a
/// detach is news of the phone, concluded (4.6).
fn absence(
    who: Option<Who>,
    diagnostic: Option<u64>,
    procedure: &'static str,
    place: &Place,
    seen: &mut Seen,
) {
    match (who, diagnostic.and_then(super::detached_by)) {
        (Some(who), Some(kind)) => {
            let fact =
                place.sighting(who, kind, seen).with("procedure", Some(procedure)).inferred();
            seen.tell(fact);
        }
        _ => seen.skip(Skip::NamesNoMessage),
    }
}

impl Place {
    fn of(message: &Message, invoke: &str) -> Self {
        let end = |code, id| {
            let code = message.one(code).unwrap_or_default();
            format!("{code}/{}", message.hex(id).unwrap_or_default())
        };
        let (origin, destination) = (end("mtp3.opc", "tcap.otid"), end("mtp3.dpc", "tcap.dtid"));
        Self {
            asks: format!("{origin}/{invoke}"),
            answers: format!("{destination}/{invoke}"),
            dialogue: destination,
        }
    }

    /// Transaction ids are used again within hours, so the time is part of what makes it the same.
    fn sighting(&self, who: Who, kind: &'static str, seen: &Seen) -> Sighting {
        let at = seen.now.as_millis().to_string();
        Sighting::new(who, kind, seen.now, &["map", &self.asks, &self.answers, &at])
    }
}

/// The place of an operation without its invoke id.
fn dialogue(operation: &str) -> String {
    operation.rsplit_once('/').map_or(operation, |(dialogue, _)| dialogue).to_owned()
}

fn imsi(message: &Message) -> Option<Imsi> {
    message.one("e212.imsi")?.parse().ok()
}

/// Until when the phone listens: seconds since 1900, as in NTP (TS 29.002 17.7.8).
fn until(message: &Message) -> Option<String> {
    const NTP: i64 = 2_208_988_800;
    let hex = message.hex("gsm_map.sm.maximumUeAvailabilityTime")?;
    let seconds = i64::from(u32::from_str_radix(&hex, 16).ok()?);
    Some(Timestamp::from_millis((seconds - NTP) * 1000).to_string())
}

/// An ISDN-AddressString: an octet with the type of number, then the digits.
fn msisdn(field: &str, message: &Message, seen: &Seen) -> Option<Address> {
    let bytes = super::bytes(&message.hex(field)?)?;
    let (nature, digits) = bytes.split_first()?;
    let ton = TypeOfNumber::try_from(nature >> 4 & 7).ok()?;
    Msisdn::from_tbcd(digits, ton, &seen.home).ok().map(Address::Tel)
}
