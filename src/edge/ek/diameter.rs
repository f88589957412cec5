//! Diameter: S6a of MMEs, S6c of SMSCs, Cx and Sh of the HSS.
//!
//! Source: RFC 6733 3 for the ids; TS 29.272 7.2 (S6a), TS 29.338 5 (S6c), TS 29.229 6.1 (Cx), TS
//! 29.328 7.6 (Sh data); `rules.md` 4.6, 6.2, 6.4 to 6.6.

use serde_json::Value;

use crate::domain::address::{Address, Imsi, Msisdn, TypeOfNumber};
use crate::domain::alias::Alias;
use crate::domain::time::Timestamp;

use super::layers::Message;
use super::waiting::{Kind, Request, Requests};
use super::{Limits, Seen, Sighting, Skip, Who};

const SERVER_ASSIGNMENT: u64 = 301;
const REGISTRATION_TERMINATION: u64 = 304;
const PUSH_NOTIFICATION: u64 = 309;
const UPDATE_LOCATION: u64 = 316;
const CANCEL_LOCATION: u64 = 317;
const INSERT_SUBSCRIBER_DATA: u64 = 319;
const PURGE_UE: u64 = 321;
const NOTIFY: u64 = 323;
const ALERT_SERVICE_CENTRE: u64 = 8_388_648;
const REPORT_SM_DELIVERY_STATUS: u64 = 8_388_649;
const TRANSFER_FORWARD: u64 = 8_388_646;

/// The requests still open.
#[derive(Debug)]
pub(super) struct Diameter {
    pub(super) open: Requests,
    registration_life: std::time::Duration,
}

impl Diameter {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            open: Requests::new(limits.answer_wait, limits.open_requests),
            registration_life: limits.registration_life,
        }
    }

    pub(super) fn message(&mut self, message: &Message, seen: &mut Seen) {
        let (Some(command), Some(request)) =
            (message.number("diameter.cmd.code"), message.number("diameter.flags.request"))
        else {
            return seen.skip(Skip::Incomplete);
        };
        let key = key(message);
        if request == 0 {
            return self.answer(command, &key, message, seen);
        }
        let (kind, facts) = match command {
            UPDATE_LOCATION => (Kind::Procedure, attach("cpm.ps.attached", "ULR", message, seen)),
            PURGE_UE => (Kind::Procedure, attach("cpm.ps.detached", "PUR", message, seen)),
            CANCEL_LOCATION if message.number("diameter.Cancellation-Type") == Some(2) => {
                (Kind::Procedure, attach("cpm.ps.detached", "CLR", message, seen))
            }
            CANCEL_LOCATION => return seen.skip(Skip::Moved),
            NOTIFY => match ready(message) {
                Some(reason) => (Kind::Notice, notified(reason, message, seen)),
                None => return seen.skip(Skip::NotOurs),
            },
            ALERT_SERVICE_CENTRE => (Kind::Notice, alert(message, seen)),
            SERVER_ASSIGNMENT => match self.assignment(message, seen) {
                Some(facts) => (Kind::Procedure, facts),
                None => return seen.skip(Skip::NotOurs),
            },
            REGISTRATION_TERMINATION => {
                (Kind::Procedure, registration(Ended("deactivated"), message, seen))
            }
            PUSH_NOTIFICATION => match ims_user_state(message) {
                Some(b'0') => (Kind::Notice, registration(Ended("unregistered"), message, seen)),
                Some(b'1') => {
                    (Kind::Notice, registration(self.lasting("unknown", seen), message, seen))
                }
                _ => return seen.skip(Skip::NotOurs),
            },
            INSERT_SUBSCRIBER_DATA => return seen.bind(imsi(message), msisdn(message, seen)),
            REPORT_SM_DELIVERY_STATUS => return absence(message, seen),
            TRANSFER_FORWARD => return seen.skip(Skip::NamesNoMessage),
            _ => return seen.skip(Skip::NotOurs),
        };
        if facts.is_empty() {
            return seen.skip(Skip::NotAUser);
        }
        self.open.open(key, Request { sightings: facts, kind }, seen);
    }

    /// The Subscription-Data of an update's answer holds the number of its IMSI.
    fn answer(&mut self, command: u64, key: &str, message: &Message, seen: &mut Seen) {
        match command {
            UPDATE_LOCATION => {
                if let Some(Who::Imsi(imsi)) = self.open.about(key) {
                    seen.bind(Some(*imsi), msisdn(message, seen));
                }
            }
            SERVER_ASSIGNMENT
            | REGISTRATION_TERMINATION
            | PUSH_NOTIFICATION
            | PURGE_UE
            | CANCEL_LOCATION
            | NOTIFY
            | ALERT_SERVICE_CENTRE => {}
            _ => return seen.skip(Skip::NotOurs),
        }
        let code = message
            .number("diameter.Result-Code")
            .or_else(|| message.number("diameter.Experimental-Result-Code"));
        let Some(code) = code else { return seen.skip(Skip::Incomplete) };
        self.open.close(key, (2000..3000).contains(&code), seen);
    }

    /// Cx: the S-CSCF tells the HSS what became of a registration (TS 29.229 6.3.15).
    fn assignment(&self, message: &Message, seen: &mut Seen) -> Option<Vec<Sighting>> {
        let change = match message.number("diameter.Server-Assignment-Type")? {
            1 => self.lasting("initial", seen),
            2 => self.lasting("refreshed", seen),
            4 | 6 => Ended("expired"),
            5 | 7 => Ended("unregistered"),
            8 | 11 => Ended("deactivated"),
            _ => return None,
        };
        Some(registration(change, message, seen))
    }

    fn lasting(&self, change: &'static str, seen: &Seen) -> Registration {
        Lasts { until: seen.now + self.registration_life, change }
    }
}

/// What Cx and Sh tell of a registration: neither knows devices.
enum Registration {
    Lasts { until: Timestamp, change: &'static str },
    Ended(&'static str),
}
use Registration::{Ended, Lasts};

fn registration(what: Registration, message: &Message, seen: &mut Seen) -> Vec<Sighting> {
    let mut users: Vec<Address> = Vec::new();
    for name in message.all("diameter.Public-Identity") {
        if let Ok(user) = Address::parse(name, &seen.home)
            && !users.contains(&user)
        {
            users.push(user);
        }
    }
    let imsi = imsi(message);
    let main = users.iter().position(|user| matches!(user, Address::Tel(_))).unwrap_or(0);
    let who = if users.is_empty() {
        match imsi {
            Some(imsi) => Who::Imsi(imsi),
            None => return Vec::new(),
        }
    } else {
        let user = users.remove(main);
        seen.bind(imsi, Some(user.clone()));
        Who::User(user)
    };
    let aliases: Vec<Value> = users.iter().map(|user| user.to_string().into()).collect();
    vec![match what {
        Lasts { until, change } => sighting(who, "cpm.ims.registered", message, seen)
            .with("expires_at", Some(until.to_string()))
            .with("change", Some(change))
            .with("aliases", (!aliases.is_empty()).then_some(aliases))
            .with("imsi", imsi.map(|imsi| imsi.to_string())),
        Ended(reason) => {
            sighting(who, "cpm.ims.deregistered", message, seen).with("reason", Some(reason))
        }
    }]
}

/// S6a. An MME that gives its number for MT-SMS takes SMS itself; that is no attach to a VLR.
fn attach(
    kind: &'static str,
    procedure: &'static str,
    message: &Message,
    seen: &Seen,
) -> Vec<Sighting> {
    let Some(imsi) = imsi(message) else { return Vec::new() };
    let wanted = message.number("diameter.SMS-Register-Request") != Some(1);
    let sms = message.has("diameter.MME-Number-for-MT-SMS") && wanted;
    let rat = match message.number("diameter.RAT-Type") {
        Some(1000) => Some("UTRAN"),
        Some(1001) => Some("GERAN"),
        Some(1004) => Some("E-UTRAN"),
        Some(1005) => Some("NB-IoT"),
        _ => None,
    };
    vec![
        sighting(Who::Imsi(imsi), kind, message, seen)
            .with("procedure", Some(procedure))
            .with("node", message.one("diameter.Origin-Host").filter(|_| procedure != "CLR"))
            .with("rat", rat)
            .with("sms_capable", sms.then_some(true)),
    ]
}

/// A NOR without an Alert-Reason is about something else.
fn ready(message: &Message) -> Option<&'static str> {
    match message.number("diameter.Alert-Reason")? {
        0 => Some("present"),
        1 => Some("memory"),
        _ => None,
    }
}

fn notified(reason: &'static str, message: &Message, seen: &Seen) -> Vec<Sighting> {
    let Some(imsi) = imsi(message) else { return Vec::new() };
    vec![
        sighting(Who::Imsi(imsi), "cpm.sms.ready", message, seen)
            .with("domain", Some("PS"))
            .with("alert_reason", Some(reason))
            .with("available_until", until(message)),
    ]
}

/// S6c: no reason, no domain. (6.5)
fn alert(message: &Message, seen: &Seen) -> Vec<Sighting> {
    let Some(who) = identified(message, seen) else { return Vec::new() };
    vec![sighting(who, "cpm.sms.ready", message, seen).with("available_until", until(message))]
}

/// S6c: how somebody's SMS ended. As in MAP, a diagnostic may name a detach, and no message is
/// named.
fn absence(message: &Message, seen: &mut Seen) {
    let diagnostic = message.number("diameter.Absent-User-Diagnostic-SM");
    match (identified(message, seen), diagnostic.and_then(super::detached_by)) {
        (Some(who), Some(kind)) => {
            let fact = sighting(who, kind, message, seen).with("procedure", Some("RDR")).inferred();
            seen.tell(fact);
        }
        _ => seen.skip(Skip::NamesNoMessage),
    }
}

/// The request is the same at every hop: its Session-Id and end-to-end id stay, hop by hop does
/// not.
fn key(message: &Message) -> String {
    let part = |field| message.one(field).unwrap_or_default();
    match message.one("diameter.Session-Id") {
        Some(session) => format!("{} {session}", part("diameter.endtoendid")),
        None => format!("{} {}", part("diameter.endtoendid"), part("diameter.hopbyhopid")),
    }
}

fn sighting(who: Who, kind: &'static str, message: &Message, seen: &Seen) -> Sighting {
    let host = message.one("diameter.Origin-Host").unwrap_or_default();
    Sighting::new(who, kind, seen.now, &["diameter", host, &key(message)])
}

/// User-Identifier: a number, or an IMSI.
fn identified(message: &Message, seen: &Seen) -> Option<Who> {
    msisdn(message, seen).map(Who::User).or_else(|| imsi(message).map(Who::Imsi))
}

/// User-Name: the IMSI on S6a; on Cx a private identity, which may be made from it.
fn imsi(message: &Message) -> Option<Imsi> {
    let name = message.one("diameter.User-Name")?;
    match Alias::impi(name) {
        Some(Alias::Imsi(imsi)) => Some(imsi),
        Some(Alias::Impu(_) | Alias::Impi(_) | Alias::Instance(_)) => None,
        None => name.parse().ok(),
    }
}

fn msisdn(message: &Message, seen: &Seen) -> Option<Address> {
    let digits = super::bytes(&message.hex("diameter.MSISDN")?)?;
    Msisdn::from_tbcd(&digits, TypeOfNumber::International, &seen.home).ok().map(Address::Tel)
}

/// AVPs of type Time, which the layered shape writes as RFC 3339, the flat one as
/// `Nov 21, 2026 03:01:00.000000000 UTC`.
fn until(message: &Message) -> Option<String> {
    let text = message.one("diameter.Maximum-UE-Availability-Time")?;
    let time = text.parse::<Timestamp>().ok().or_else(|| in_words(text)?.parse().ok())?;
    Some(time.to_string())
}

fn in_words(text: &str) -> Option<String> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (date, clock) = text.strip_suffix(" UTC")?.split_once(", ")?;
    let (month, day) = date.split_once(' ')?;
    let (year, clock) = clock.split_once(' ')?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    Some(format!("{year}-{month:02}-{:0>2}T{clock}Z", day.trim()))
}

/// `<IMSUserState>1</IMSUserState>` in the Sh-Data document.
fn ims_user_state(message: &Message) -> Option<u8> {
    let hex = message.hex("diameter.Sh-User-Data")?;
    let tag = b"<IMSUserState>".iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (_, rest) = hex.split_once(&tag)?;
    u8::from_str_radix(rest.get(..2)?, 16).ok()
}
