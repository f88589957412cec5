//! What is no user's key but leads to one: SIMs, private names, devices. (ID-3)
//!
//! An edge may know only such a name. [`AliasTable`] says whose it was at the time; [`Unresolved`]
//! keeps what came before its binding did.
//!
//! Source: `rules.md` ID-3, 5.3, 5.6; TS 23.003 2.2 and 13.4 (IMSI), RFC 5626, RFC 7254 (IMEI).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::address::{
    Address, AddressError, Home, LONGEST_INPUT, addr_spec, host_port, malformed,
};
use crate::domain::time::Timestamp;

/// How long a fact may be ahead of the binding it needs: sources have no common order. (5.3)
pub const WAIT: Duration = Duration::from_secs(60);

/// Earlier than every binding.
const MIN: Timestamp = Timestamp::from_millis(i64::MIN);

/// A name by which some network knows a user, or a device of theirs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alias {
    /// A public name; an MSISDN is [`Address::Tel`].
    Impu(Address),
    /// A SIM.
    Imsi(Imsi),
    /// A private name: `user@realm`, realm in lower case.
    Impi(Arc<str>),
    /// A device, as [`instance_key`] writes it.
    Instance(Arc<str>),
}

impl Alias {
    /// A public name; one made from an IMSI is that IMSI.
    ///
    /// # Errors
    ///
    /// As [`Address::parse`], but never `ImsiDerived`.
    pub fn impu(raw: &str, home: &Home) -> Result<Self, AddressError> {
        match Address::parse(raw, home) {
            Ok(address) => Ok(Self::Impu(address)),
            Err(AddressError::ImsiDerived(imsi)) => Ok(Self::Imsi(imsi)),
            Err(error) => Err(error),
        }
    }

    /// A private name; one made from an IMSI is that IMSI. None where it is not `user@realm`.
    #[must_use]
    pub fn impi(raw: &str) -> Option<Self> {
        let (user, realm) = raw.trim().split_once('@').filter(|(user, _)| !user.is_empty())?;
        let realm = host_port(realm).ok()?.0;
        let plain = raw.len() <= LONGEST_INPUT && user.bytes().all(|byte| byte.is_ascii_graphic());
        let name = || Self::Impi(format!("{user}@{realm}").into());
        plain.then(|| Imsi::derived(user, &realm).map_or_else(name, Self::Imsi))
    }

    /// A device; none where `raw` is no `+sip.instance`.
    #[must_use]
    pub fn instance(raw: &str) -> Option<Self> {
        instance_key(raw).map(|key| Self::Instance(key.into()))
    }
}

/// Whose an alias is, and was.
///
/// Order: bindings may come in any order; of two for one instant, the one told last holds.
/// Bounds: `limit` bindings. One more drops the one not told again for the longest, and counts it.
#[derive(Clone, Debug)]
pub struct AliasTable {
    limit: usize,
    dropped: u64,
    bindings: BTreeMap<(Alias, Timestamp), Binding>,
    /// The same by when they were last told.
    ages: BTreeSet<(Timestamp, Alias, Timestamp)>,
}

#[derive(Clone, Debug)]
struct Binding {
    user: Address,
    told: Timestamp,
}

impl AliasTable {
    /// An empty one.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, dropped: 0, bindings: BTreeMap::new(), ages: BTreeSet::new() }
    }

    /// From `at` on, `alias` is `user`. Returns whose it was until then, if another.
    pub fn bind(&mut self, alias: &Alias, user: &Address, at: Timestamp) -> Option<Address> {
        let held = self.in_force(alias, at).map(|(since, held)| (since, held.clone()));
        let next = self.next_after(alias, at).map(|(since, next)| (since, next.clone()));
        let (since, told) = match (&held, next) {
            // Told again, as each REGISTER does: no new version.
            (Some((since, held)), _) if held.user == *user => (*since, held.told.max(at)),
            // Known already, but from later on.
            (_, Some((since, next))) if next.user == *user => {
                self.remove(alias, since);
                (at, next.told)
            }
            (_, _) => (at, at),
        };
        self.remove(alias, since);
        self.ages.insert((told, alias.clone(), since));
        self.bindings.insert((alias.clone(), since), Binding { user: user.clone(), told });
        while self.bindings.len() > self.limit {
            let Some((_, alias, since)) = self.ages.pop_first() else { break };
            self.bindings.remove(&(alias, since));
            self.dropped = self.dropped.saturating_add(1);
        }
        held.map(|(_, held)| held.user).filter(|other| other != user)
    }

    /// Whose `alias` was at `at`: by the newest binding not later, else by one up to [`WAIT`] later.
    ///
    /// What is later still says nothing: before that, the SIM may have been somebody else's.
    #[must_use]
    pub fn lookup(&self, alias: &Alias, at: Timestamp) -> Option<Address> {
        let soon = || self.next_after(alias, at).filter(|(since, _)| *since <= at + WAIT);
        self.in_force(alias, at).or_else(soon).map(|(_, binding)| binding.user.clone())
    }

    /// The users a SIM has been bound to and since when, oldest binding first.
    pub fn users_of(&self, imsi: Imsi) -> impl Iterator<Item = (Timestamp, &Address)> {
        let (first, last) = ((Alias::Imsi(imsi), MIN), (Alias::Imsi(imsi), Timestamp::MAX));
        self.bindings.range(first..=last).map(|((_, since), binding)| (*since, &binding.user))
    }

    /// Bindings held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.bindings.len()
    }

    /// Bindings dropped for want of room, since the start.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    fn in_force(&self, alias: &Alias, at: Timestamp) -> Option<(Timestamp, &Binding)> {
        let mut range = self.bindings.range((alias.clone(), MIN)..=(alias.clone(), at));
        range.next_back().map(|((_, since), binding)| (*since, binding))
    }

    fn next_after(&self, alias: &Alias, at: Timestamp) -> Option<(Timestamp, &Binding)> {
        let mut range = self.bindings.range((alias.clone(), at)..=(alias.clone(), Timestamp::MAX));
        let later = range.find(|((_, since), _)| *since > at);
        later.map(|((_, since), binding)| (*since, binding))
    }

    fn remove(&mut self, alias: &Alias, since: Timestamp) {
        if let Some(binding) = self.bindings.remove(&(alias.clone(), since)) {
            self.ages.remove(&(binding.told, alias.clone(), since));
        }
    }
}

/// Facts known by IMSI only, waiting for their binding. (5.3)
///
/// Bounds: `limit` facts. One more drops the oldest, and counts it.
#[derive(Clone, Debug)]
pub struct Unresolved<T> {
    limit: usize,
    dropped: u64,
    /// Tells facts of one instant apart, in the order they came.
    next: u64,
    facts: BTreeMap<(Timestamp, u64), (Imsi, T)>,
    by_imsi: BTreeSet<(Imsi, Timestamp, u64)>,
}

impl<T> Unresolved<T> {
    /// An empty one.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, dropped: 0, next: 0, facts: BTreeMap::new(), by_imsi: BTreeSet::new() }
    }

    /// Keeps `fact` until its IMSI is bound. `at` is by the clock that [`expire`](Self::expire)
    /// will be asked with.
    pub fn park(&mut self, imsi: Imsi, at: Timestamp, fact: T) {
        self.facts.insert((at, self.next), (imsi, fact));
        self.by_imsi.insert((imsi, at, self.next));
        self.next = self.next.saturating_add(1);
        while self.facts.len() > self.limit && self.pop().is_some() {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// What waited for `imsi`, oldest first: it has been bound.
    pub fn take(&mut self, imsi: Imsi) -> Vec<(Timestamp, T)> {
        let range = (imsi, MIN, 0)..=(imsi, Timestamp::MAX, u64::MAX);
        let keys: Vec<_> = self.by_imsi.range(range).copied().collect();
        let mut taken = Vec::with_capacity(keys.len());
        for key @ (_, at, number) in keys {
            self.by_imsi.remove(&key);
            taken.extend(self.facts.remove(&(at, number)).map(|(_, fact)| (at, fact)));
        }
        taken
    }

    /// What came earlier than `before` (now less [`WAIT`]), oldest first: the caller drops and
    /// counts it.
    pub fn expire(&mut self, before: Timestamp) -> Vec<(Imsi, Timestamp, T)> {
        let mut expired = Vec::new();
        while self.oldest().is_some_and(|at| at < before) {
            expired.extend(self.pop());
        }
        expired
    }

    /// When the oldest came: it is due [`WAIT`] later.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        self.facts.first_key_value().map(|((at, _), _)| *at)
    }

    /// Facts waiting.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.facts.len()
    }

    /// Facts dropped for want of room so far; what [`expire`](Self::expire) returned is not
    /// among them.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    fn pop(&mut self) -> Option<(Imsi, Timestamp, T)> {
        let ((at, number), (imsi, fact)) = self.facts.pop_first()?;
        self.by_imsi.remove(&(imsi, at, number));
        Some((imsi, at, fact))
    }
}

/// What a network says an address is, beside its digits: TS 29.002 nature of address, SMPP ton.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeOfNumber {
    /// 0: as dialled.
    Unknown,
    /// 1: country code first.
    International,
    /// 2: without country code.
    National,
}

impl TryFrom<u8> for TypeOfNumber {
    type Error = AddressError;
    fn try_from(code: u8) -> Result<Self, AddressError> {
        match code {
            0 => Ok(Self::Unknown),
            1 => Ok(Self::International),
            2 => Ok(Self::National),
            _ => Err(malformed(
                "a type of number that no user has",
                "unknown, national or international",
            )),
        }
    }
}

/// A SIM's number: country, network and subscriber. Not a key, an alias. (5.3)
///
/// Bounds: 6 to 15 digits. Zeros in front count: test networks have country 001.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Imsi {
    digits: u64,
    count: u8,
}

impl Imsi {
    /// From the TBCD that MAP carries.
    ///
    /// # Errors
    ///
    /// As for [`from_str`](Self::from_str).
    pub fn from_tbcd(bytes: &[u8]) -> Result<Self, AddressError> {
        tbcd(bytes)?.parse()
    }

    /// The IMSI that the user part of `user@host` is, where the host is a network's own name.
    ///
    /// Shorter than 14 digits it is a number dialled at home: there too the host may be this.
    pub(crate) fn derived(user: &str, host: &str) -> Option<Self> {
        let network = host.strip_prefix("ims.mnc")?.strip_suffix(".3gppnetwork.org")?;
        let (mnc, mcc) = network.split_once(".mcc")?;
        let codes = [mnc, mcc].iter().all(|code| code.len() == 3 && decimal(code).is_ok());
        (codes && user.len() >= 14).then(|| user.parse().ok())?
    }
}

impl FromStr for Imsi {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        match u8::try_from(text.len()) {
            Ok(count @ 6..=15) => Ok(Self { digits: decimal(text)?, count }),
            Ok(_) | Err(_) => Err(malformed("an IMSI of another length", "6 to 15 digits")),
        }
    }
}

impl fmt::Display for Imsi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0width$}", self.digits, width = usize::from(self.count))
    }
}

/// `sip.instance` as a key: what is between `"<` and `>"`, in lower case; none if no URN. (5.6)
#[must_use]
pub fn instance_key(raw: &str) -> Option<String> {
    let urn = raw.trim_matches([' ', '\t', '"', '<', '>']).to_ascii_lowercase();
    let plain = urn.len() <= LONGEST_INPUT && urn.bytes().all(|byte| byte.is_ascii_graphic());
    (plain && urn.len() > 4 && urn.starts_with("urn:")).then_some(urn)
}

/// A Contact as a key, for a device without instance: its URI up to the parameters. (5.6)
///
/// The port stays, unlike in an [`Address`]: behind a NAT it is all that tells two devices apart.
#[must_use]
pub fn contact_key(raw: &str) -> Option<String> {
    let (scheme, rest) = addr_spec(raw).ok()?.split_once(':')?;
    let scheme = Some(scheme.to_ascii_lowercase()).filter(|s| s == "sip" || s == "sips")?;
    let (user, host) = rest.split_once('@').map_or(("", rest), |(user, host)| (user, host));
    let (host, port) = host_port(host).ok()?;
    let at = if user.is_empty() { "" } else { "@" };
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{scheme}:{user}{at}{host}{port}"))
}

/// Whether the instance is a phone's IMEI: such a device may hold the SIM. (5.6, RFC 7254)
#[must_use]
pub fn is_imei(instance: &str) -> bool {
    let key = instance_key(instance);
    let imei = key.as_deref().and_then(|key| key.strip_prefix("urn:gsma:imei:"));
    let imei = imei.and_then(|imei| imei.split(';').next()).unwrap_or_default();
    let digits = imei.bytes().filter(u8::is_ascii_digit).count();
    (14..=15).contains(&digits) && imei.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

/// Digits from swapped half-octets; what `F` fills up falls away. (5.1 step 5)
pub(super) fn tbcd(bytes: &[u8]) -> Result<String, AddressError> {
    let mut digits = String::with_capacity(2 * bytes.len().min(16));
    let mut filled = false;
    for half in bytes.iter().flat_map(|byte| [byte & 0x0f, byte >> 4]) {
        match half {
            0x0..=0x9 if !filled => digits.push(char::from(b'0' + half)),
            0xf => filled = true,
            _ => return Err(malformed("a half-octet that is no digit", "0 to 9, then F")),
        }
    }
    Ok(digits)
}

/// The value of ASCII digits; no sign, no more than fit.
pub(super) fn decimal(digits: &str) -> Result<u64, AddressError> {
    let value = digits.bytes().try_fold(0_u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    });
    value.ok_or(malformed("a character that is no digit", "digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A SIM swap: facts of before it stay with the first user. (ID-3, 5.3)
    #[test]
    fn the_binding_of_the_time_holds() {
        let mut table = AliasTable::new(10);
        assert_eq!(table.bind(&sim(), &user(1), s(100)), None);
        assert_eq!(table.bind(&sim(), &user(2), s(200)), Some(user(1)));

        assert_eq!(table.lookup(&sim(), s(100)), Some(user(1)));
        assert_eq!(table.lookup(&sim(), s(199)), Some(user(1)));
        assert_eq!(table.lookup(&sim(), s(200)), Some(user(2)));
        assert_eq!(table.lookup(&sim(), s(9000)), Some(user(2)));
        let users: Vec<_> = table.users_of(imsi()).map(|(at, user)| (at, user.clone())).collect();
        assert_eq!(users, [(s(100), user(1)), (s(200), user(2))]);
    }

    /// An attach may be seen before the InsertSubscriberData that says whose it is. (5.3)
    #[test]
    fn a_fact_just_before_its_binding_resolves() {
        let mut table = AliasTable::new(10);
        table.bind(&sim(), &user(1), s(100));

        assert_eq!(table.lookup(&sim(), s(99)), Some(user(1)));
        assert_eq!(table.lookup(&sim(), s(40)), Some(user(1)));
        assert_eq!(table.lookup(&sim(), s(39)), None);
        assert_eq!(table.lookup(&Alias::Imsi("302720123456788".parse().unwrap()), s(100)), None);
    }

    #[test]
    fn told_again_is_one_binding_in_any_order() {
        let mut table = AliasTable::new(10);
        for at in [300, 100, 500, 100] {
            assert_eq!(table.bind(&sim(), &user(1), s(at)), None);
        }
        assert_eq!(table.users_of(imsi()).collect::<Vec<_>>(), [(s(100), &user(1))]);

        assert_eq!(table.bind(&sim(), &user(2), s(100)), Some(user(1)), "the one told last holds");
        assert_eq!((table.held(), table.lookup(&sim(), s(600))), (1, Some(user(2))));
    }

    #[test]
    fn the_binding_not_told_for_longest_makes_room() {
        let mut table = AliasTable::new(2);
        let phone = Alias::instance("\"<urn:gsma:imei:12345678-123456-0>\"").unwrap();
        table.bind(&sim(), &user(1), s(1));
        table.bind(&phone, &user(1), s(2));
        table.bind(&sim(), &user(1), s(3));
        table.bind(&Alias::impi("alice@ims.x").unwrap(), &user(1), s(4));

        assert_eq!((table.held(), table.ages.len(), table.dropped()), (2, 2, 1));
        assert_eq!(table.lookup(&phone, s(4)), None);
        assert_eq!(table.lookup(&sim(), s(4)), Some(user(1)));
    }

    #[test]
    fn names_made_from_an_imsi_are_the_imsi() {
        let private = "302720123456789@ims.mnc720.mcc302.3gppnetwork.org";
        let home = Home::default();

        assert_eq!(Alias::impi(private), Some(sim()));
        assert_eq!(Alias::impu(&format!("sip:{private}"), &home), Ok(sim()));
        assert_eq!(Alias::impu("tel:+15145550101", &home), Ok(Alias::Impu(user(1))));
        assert_eq!(Alias::impi("Al@IMS.x"), Some(Alias::Impi("Al@ims.x".into())));
        assert!(["alice", "@x", "a b@x", "a@"].into_iter().all(|raw| Alias::impi(raw).is_none()));
    }

    #[test]
    fn waiting_facts_are_taken_expired_or_crowded_out() {
        let mut room = Unresolved::new(3);
        let other = Imsi::from_tbcd(&[0x00, 0x01, 0x01, 0x21, 0x43, 0xf5]).unwrap();
        room.park(imsi(), s(2), "b");
        room.park(other, s(1), "a");
        room.park(imsi(), s(2), "c");
        room.park(other, s(62), "d");

        assert_eq!((room.waiting(), room.dropped(), room.oldest()), (3, 1, Some(s(2))));
        assert_eq!(room.take(imsi()), [(s(2), "b"), (s(2), "c")]);
        assert_eq!(room.take(imsi()), []);
        assert_eq!(room.expire(s(122) - WAIT), [], "sixty seconds are not over yet");
        assert_eq!(room.expire(s(123) - WAIT), [(other, s(62), "d")]);
        assert_eq!((room.waiting(), room.by_imsi.len()), (0, 0));
    }

    #[test]
    fn imsis_are_6_to_15_digits() {
        for text in ["", "12345", "1234567890123456", "+12345678", "30272012345678x"] {
            assert!(text.parse::<Imsi>().is_err(), "{text}");
        }
        let test_network = Imsi::from_tbcd(&[0x00, 0x01, 0x01, 0x21, 0x43, 0xf5]).unwrap();
        assert_eq!(test_network.to_string(), "00101012345", "zeros in front count");
        assert!(Imsi::from_tbcd(&[0x03, 0x27, 0xf2, 0x10]).is_err(), "filler in the middle");
    }

    /// 5.6: one device, however its instance is written.
    #[test]
    fn devices_have_one_key() {
        let key = "urn:gsma:imei:12345678-123456-0";
        assert_eq!(instance_key("\"<URN:gsma:imei:12345678-123456-0>\"").as_deref(), Some(key));
        assert_eq!(instance_key(key).as_deref(), Some(key));
        assert_eq!((instance_key("phone"), instance_key("<urn:>")), (None, None));
        assert!(is_imei("<urn:gsma:imei:12345678-123456-0>"));
        assert!(!is_imei("<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>"));
        assert!(!is_imei("urn:gsma:imei:1234") && !is_imei("urn:gsma:imei:é"));

        let contact = contact_key("\"A <b>\" <SIP:Al@Host.X:5060;transport=tcp?q=1>;expires=60");
        assert_eq!(contact.as_deref(), Some("sip:Al@host.x:5060"));
        assert_eq!(contact_key("sips:[2001:DB8::1]:9").as_deref(), Some("sips:[2001:db8::1]:9"));
        assert!(["*", "<sip:a@b", "tel:+1"].into_iter().all(|raw| contact_key(raw).is_none()));
    }

    fn s(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn imsi() -> Imsi {
        "302720123456789".parse().unwrap()
    }

    fn sim() -> Alias {
        Alias::Imsi(imsi())
    }

    fn user(last: u32) -> Address {
        Address::parse(&format!("tel:+1514555010{last}"), &Home::default()).unwrap()
    }
}
