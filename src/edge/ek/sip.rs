//! REGISTER and its 200: which devices of a user are registered, until when, and for what.
//!
//! The answer lists every contact with the time granted to it; the request says what the device can
//! do, which registrars do not echo. They are joined on Call-ID and CSeq, not on the branch, which
//! changes at every hop.
//!
//! Source: RFC 3261 10.3; RFC 5626 for `reg-id`; TS 24.229 5.4.1; `rules.md` 5.6, 6.2, N-6.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::domain::address::{Address, AddressError, Imsi};
use crate::domain::alias::Alias;
use crate::domain::reachability::Caps;
use crate::domain::time::Timestamp;

use super::layers::Message;
use super::sip_text::{Headers, NameAddr, unquoted};
use super::waiting::Waiting;
use super::{Limits, Seen, Sighting, Skip, Who};

/// How long a client waits for a final answer (RFC 3261, Timer F).
const TIMER_F: Duration = Duration::from_secs(32);

/// Open REGISTERs, and what users had registered.
#[derive(Debug)]
pub(super) struct Sip {
    open: Waiting<Register>,
    users: HashMap<String, User>,
    swept: Timestamp,
    limit: usize,
}

/// What the answer leaves out.
#[derive(Clone, Debug, Default)]
struct Register {
    contacts: Vec<NameAddr>,
    expires: Option<u64>,
    third_party: bool,
    access: Option<String>,
    user_agent: Option<String>,
    imsi: Option<Imsi>,
}

/// The contacts of an address, as its last answer listed them.
#[derive(Debug, Default)]
struct User {
    last: Option<(String, u32)>,
    bindings: Vec<Binding>,
}

#[derive(Clone, Debug)]
struct Binding {
    device: Value,
    call_id: Option<String>,
    expires_at: Timestamp,
}

impl Sip {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            open: Waiting::new(TIMER_F, limits.open_requests),
            users: HashMap::new(),
            swept: Timestamp::EPOCH,
            limit: limits.registrations,
        }
    }

    pub(super) fn expire(&mut self, now: Option<Timestamp>, seen: &mut Seen) {
        while self.open.overdue(now).is_some() {
            seen.skip(Skip::Unanswered);
        }
    }

    /// A packet of SIP. In the flat shape a message in the body of another comes after it, and is
    /// the end of it; other company would mix requests with answers.
    pub(super) fn message(&mut self, message: &Message, seen: &mut Seen) {
        let texts = message.all("sip.msg_hdr");
        let Some((outer, rest)) = texts.split_first() else { return seen.skip(Skip::Incomplete) };
        if rest.iter().any(|text| !outer.ends_with(text.as_str())) {
            for _ in texts {
                seen.skip(Skip::SeveralInOnePacket);
            }
            return;
        }
        let headers = Headers::parse(outer);
        let Some((cseq, "REGISTER")) = headers.first("CSeq").and_then(cseq) else {
            return seen.skip(Skip::NotOurs);
        };
        let Some(call_id) = headers.first("Call-ID") else { return seen.skip(Skip::Incomplete) };
        let key = format!("{cseq} {call_id}");
        match status(message, rest.is_empty()) {
            Some(100..=199) => seen.skip(Skip::NotOurs),
            Some(200..=299) => self.answer(&headers, &key, call_id, cseq, seen),
            Some(code) => {
                self.open.take(&key);
                // A challenge comes first in IMS, and is no refusal yet.
                let challenged = matches!(code, 401 | 407);
                seen.skip(if challenged { Skip::NotOurs } else { Skip::Refused });
            }
            None => self.request(&headers, key, seen),
        }
    }

    fn request(&mut self, headers: &Headers<'_>, key: String, seen: &mut Seen) {
        // At the next hop the same request comes again, dressed differently: the first is the UE's.
        if self.open.get(&key).is_some() {
            return;
        }
        let address = |name| headers.addresses(name).into_iter().next();
        let party = |name| address(name).map(|it| it.contact());
        let register = Register {
            contacts: headers.addresses("Contact"),
            expires: headers.first("Expires").and_then(|seconds| seconds.parse().ok()),
            third_party: party("From") != party("To"),
            access: headers.first("P-Access-Network-Info").map(access),
            user_agent: headers.first("User-Agent").map(str::to_owned),
            imsi: headers.first("Authorization").and_then(imsi),
        };
        if self.open.put(key, seen.now, register).is_some() {
            seen.skip(Skip::TooManyOpen);
        }
    }

    fn answer(
        &mut self,
        headers: &Headers<'_>,
        key: &str,
        call_id: &str,
        cseq: u32,
        seen: &mut Seen,
    ) {
        let Some(to) = headers.addresses("To").into_iter().next() else {
            return seen.skip(Skip::Incomplete);
        };
        let register = self.open.take(key);
        let last = self.users.get(&to.uri).and_then(|user| user.last.as_ref());
        if last.is_some_and(|(call, number)| call == call_id && cseq <= *number) {
            return seen.skip(Skip::Repeated);
        }
        let listed = headers.addresses("Contact");
        if register.is_none() && listed.is_empty() {
            return seen.skip(Skip::NoRequest);
        }
        let Some(names) = names(&to, headers, register.as_ref(), seen) else {
            return seen.skip(Skip::NotAUser);
        };
        let told = Told { names, call_id, cseq, now: seen.now, register: register.as_ref() };
        if register.as_ref().is_some_and(|register| register.third_party) {
            return third_party(&told, headers, seen);
        }
        let granted = headers.first("Expires").and_then(|seconds| seconds.parse().ok());
        let before = self.users.get(&to.uri).map(|user| user.bindings.clone()).unwrap_or_default();
        let after = diff(&told, &before, &listed, granted, seen);
        self.remember(
            to.uri,
            User { last: Some((call_id.to_owned(), cseq)), bindings: after },
            seen,
        );
    }

    /// Where there is no room, those go whose contacts are over; then nothing more is remembered.
    fn remember(&mut self, aor: String, user: User, seen: &Seen) {
        let now = seen.now;
        if self.users.len() >= self.limit && now.since(self.swept) > TIMER_F {
            self.swept = now;
            self.users.retain(|_, user| user.bindings.iter().any(|it| it.expires_at > now));
        }
        if self.users.len() < self.limit || self.users.contains_key(&aor) {
            self.users.insert(aor, user);
        }
    }
}

/// What all events of an answer have in common.
struct Told<'a> {
    names: Names,
    call_id: &'a str,
    cseq: u32,
    now: Timestamp,
    register: Option<&'a Register>,
}

struct Names {
    who: Who,
    aliases: Vec<String>,
    imsi: Option<Imsi>,
}

impl Told<'_> {
    fn sighting(&self, kind: &'static str, device: Option<&Value>) -> Sighting {
        let device_text = device.map(Value::to_string).unwrap_or_default();
        let identity = [self.call_id, &self.cseq.to_string(), "200", &device_text];
        Sighting::new(self.names.who.clone(), kind, self.now, &identity)
            .with("device", device.cloned())
            .with("call_id", Some(self.call_id))
            .with("cseq", Some(self.cseq))
    }

    fn registered(&self, device: Option<&Value>, until: Timestamp, change: &str) -> Sighting {
        let aliases = &self.names.aliases;
        self.sighting("cpm.ims.registered", device)
            .with("expires_at", Some(until.to_string()))
            .with("change", Some(change))
            .with("aliases", (!aliases.is_empty()).then(|| aliases.clone()))
    }

    fn deregistered(&self, device: Option<&Value>) -> Sighting {
        self.sighting("cpm.ims.deregistered", device).with("reason", Some("unregistered"))
    }
}

/// The S-CSCF registers the user with an application server: a user, and no device. (6.2)
fn third_party(told: &Told<'_>, headers: &Headers<'_>, seen: &mut Seen) {
    let asked = told.register.and_then(|register| register.expires);
    let granted = headers.first("Expires").and_then(|seconds| seconds.parse().ok());
    match granted.or(asked) {
        // Why the registration ended is not told.
        Some(0) => seen.tell(told.sighting("cpm.ims.deregistered", None)),
        Some(seconds) => {
            let until = told.now + Duration::from_secs(seconds);
            seen.tell(told.registered(None, until, "unknown"));
        }
        None => seen.skip(Skip::Incomplete),
    }
}

/// What the answer's contacts change, against those that the user had before; and what it has now.
fn diff(
    told: &Told<'_>,
    before: &[Binding],
    listed: &[NameAddr],
    granted: Option<u64>,
    seen: &mut Seen,
) -> Vec<Binding> {
    let had = |device: &Value| {
        before.iter().find(|old| old.device == *device && old.expires_at > told.now)
    };
    let asked = told.register.map(|register| register.contacts.as_slice()).unwrap_or_default();
    let mut after = Vec::new();
    for contact in listed {
        let Some(seconds) = contact.expires().or(granted) else {
            seen.skip(Skip::Incomplete);
            continue;
        };
        if seconds == 0 {
            continue;
        }
        let until = told.now + Duration::from_secs(seconds);
        // Some registrars echo the URI and no instance.
        let own = asked.iter().find(|mine| match contact.instance() {
            Some(_) => device(mine) == device(contact),
            None => mine.contact() == contact.contact(),
        });
        let device = device(own.unwrap_or(contact));
        let old = had(&device);
        // A device's own request renews it; the other contacts are listed, and news to a new tap
        // only.
        let change = match (own, old) {
            (Some(_), Some(old)) if old.call_id.as_deref() == Some(told.call_id) => "refreshed",
            (Some(_), _) => "initial",
            (None, None) => "unknown",
            (None, Some(_)) => "",
        };
        let call_id = match own {
            Some(_) => Some(told.call_id.to_owned()),
            None => old.and_then(|old| old.call_id.clone()),
        };
        if !change.is_empty() {
            seen.tell(described(told.registered(Some(&device), until, change), told, own));
        }
        after.push(Binding { device, call_id, expires_at: until });
    }
    let gone = |device: &Value| !after.iter().any(|now| now.device == *device);
    if asked.iter().any(|contact| contact.uri == "*") && after.is_empty() {
        seen.tell(told.deregistered(None));
        return after;
    }
    let all_asked = told.register.and_then(|register| register.expires);
    let mut lost: Vec<Value> = Vec::new();
    for contact in asked.iter().filter(|mine| mine.expires().or(all_asked) == Some(0)) {
        lost.push(device(contact));
    }
    for old in before.iter().filter(|old| old.expires_at > told.now) {
        if !lost.contains(&old.device) {
            lost.push(old.device.clone());
        }
    }
    lost.retain(gone);
    if lost.is_empty() && after.is_empty() {
        seen.skip(Skip::NotOurs);
    }
    for device in &lost {
        seen.tell(told.deregistered(Some(device)));
    }
    after
}

/// With what the device's own request says of it.
fn described(sighting: Sighting, told: &Told<'_>, own: Option<&NameAddr>) -> Sighting {
    let (Some(own), Some(register)) = (own, told.register) else { return sighting };
    let features = own.features();
    let capable = Caps::of(features.iter().map(String::as_str)).any_cpm();
    sighting
        .with("features", Some(features))
        .with("cpm_capable", Some(capable))
        .with("imsi", told.names.imsi.map(|imsi| imsi.to_string()))
        .with("access", register.access.clone())
        .with("user_agent", register.user_agent.clone())
}

/// `{instance, reg_id}`, or `{contact}` where there is no instance (5.6).
fn device(contact: &NameAddr) -> Value {
    match (contact.instance(), contact.reg_id()) {
        (Some(instance), Some(reg_id)) => json!({ "instance": instance, "reg_id": reg_id }),
        (Some(instance), None) => json!({ "instance": instance }),
        (None, _) => json!({ "contact": contact.contact() }),
    }
}

/// Who registered: a number of P-Associated-URI before the address itself, which may be made from
/// the IMSI. The rest are aliases. (ID-3)
fn names(
    to: &NameAddr,
    headers: &Headers<'_>,
    register: Option<&Register>,
    seen: &mut Seen,
) -> Option<Names> {
    let mut imsi = register.and_then(|register| register.imsi);
    let mut users: Vec<Address> = Vec::new();
    for name in headers.addresses("P-Associated-URI").iter().chain([to]) {
        match Address::parse(&name.uri, &seen.home) {
            Ok(user) if !users.contains(&user) => users.push(user),
            Err(AddressError::ImsiDerived(derived)) => imsi = imsi.or(Some(derived)),
            Ok(_) | Err(_) => {}
        }
    }
    if users.is_empty() {
        return Some(Names { who: Who::Imsi(imsi?), aliases: Vec::new(), imsi });
    }
    let main = users.iter().position(|user| matches!(user, Address::Tel(_))).unwrap_or(0);
    let user = users.remove(main);
    seen.bind(imsi, Some(user.clone()));
    let aliases = users.iter().map(Address::to_string).collect();
    Some(Names { who: Who::User(user), aliases, imsi })
}

/// `Digest username="<IMPI>", …`, where the private identity is made from the IMSI.
fn imsi(authorization: &str) -> Option<Imsi> {
    let (_, rest) = authorization.split_once("username=")?;
    match Alias::impi(unquoted(rest.split(',').next()?))? {
        Alias::Imsi(imsi) => Some(imsi),
        Alias::Impu(_) | Alias::Impi(_) | Alias::Instance(_) => None,
    }
}

/// The access type, without the cell.
fn access(header: &str) -> String {
    header.split(';').next().unwrap_or(header).trim().to_owned()
}

fn cseq(value: &str) -> Option<(u32, &str)> {
    let (number, method) = value.split_once(' ')?;
    Some((number.parse().ok()?, method.trim()))
}

/// The status, where the message is an answer. An answer never carries another message here.
fn status(message: &Message, alone: bool) -> Option<u16> {
    let line = message.all("sip.Status-Line").first().filter(|_| alone)?;
    line.split(' ').nth(1)?.parse().ok()
}
