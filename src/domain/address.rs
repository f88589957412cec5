//! Who a message is for: many spellings of a number or a SIP URI, one key.
//!
//! Source: `rules.md` ID-1, ID-2 and 5.1 to 5.6; ITU-T E.164; RFC 3966 (tel), RFC 3261 19.1 (sip),
//! TS 23.003. What is no key, but leads to one or tells devices apart, is in `alias`.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use super::alias::{Imsi, TypeOfNumber, contact_key, instance_key, is_imei};
use super::alias::{decimal, tbcd};

/// Longer than any address seen on a wire; what is longer is refused unread.
pub(super) const LONGEST_INPUT: usize = 1024;
/// Bytes that the `tel:` URI of any number fits in.
pub const LONGEST_TEL: usize = "tel:+".len() + 20;

/// The key of a user: equal if and only if it is the same user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// A user with a number, which SMS can reach. (ID-1)
    Tel(Msisdn),
    /// A user without one: `sip:user@host` in full, as [`parse`](Self::parse) made it. (ID-2)
    Sip(Arc<str>),
}

impl Address {
    /// The user that `raw` names, seen from the network `home`.
    ///
    /// Takes tel, sip and sips URIs and numbers, with or without a display name, angle brackets,
    /// parameters and visual separators. A tel that is a key already costs no allocation.
    ///
    /// # Errors
    ///
    /// [`AddressError::ImsiDerived`]: look its IMSI up. [`AddressError::NoHomeCountry`]:
    /// the operator sets `home_country_code`. All others: it never will be a user.
    pub fn parse(raw: &str, home: &Home) -> Result<Self, AddressError> {
        if let Some(Ok(msisdn)) = raw.strip_prefix("tel:+").map(Msisdn::international) {
            return Ok(Self::Tel(msisdn));
        }
        let uri = addr_spec(raw)?;
        let (scheme, rest) = uri.split_once(':').unwrap_or(("tel", uri));
        match scheme.to_ascii_lowercase().as_str() {
            "tel" => subscriber(rest, home).map(Self::Tel),
            "sip" | "sips" => sip(rest, home),
            _ => Err(malformed("another scheme", "tel:, sip: or sips:")),
        }
    }
}

impl Address {
    /// Its text, written digit by digit where it is a number: each record has it, and formatting costs.
    #[must_use]
    pub fn written<'a>(&'a self, buffer: &'a mut [u8; LONGEST_TEL]) -> &'a str {
        match self {
            Self::Tel(msisdn) => msisdn.written(buffer),
            Self::Sip(uri) => uri,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.written(&mut [0; LONGEST_TEL]))
    }
}

/// Text for people and JSON; a number, and text for what is none, in the packed state.
impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_str(self.written(&mut [0; LONGEST_TEL]));
        }
        match self {
            Self::Tel(msisdn) => (msisdn.0, "").serialize(serializer),
            Self::Sip(uri) => (0_u64, &**uri).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
        if !deserializer.is_human_readable() {
            let (number, Text(uri)) = Deserialize::deserialize(deserializer)?;
            return Ok(if number == 0 { Self::Sip(uri.into()) } else { Self::Tel(Msisdn(number)) });
        }
        let Text(text) = Deserialize::deserialize(deserializer)?;
        Self::parse(&text, &Home::default()).map_err(de::Error::custom)
    }
}

/// An E.164 number. Bounds: 7 to 15 digits, the first not 0, so that digits and value are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Msisdn(u64);

impl Msisdn {
    /// The number with these digits, country code first.
    ///
    /// # Errors
    ///
    /// [`AddressError::Length`] outside 7 to 15 digits.
    pub fn new(digits: u64) -> Result<Self, AddressError> {
        match digits.checked_ilog10().map_or(1, |power| power as usize + 1) {
            7..=15 => Ok(Self(digits)),
            count => Err(AddressError::Length(count)),
        }
    }

    /// The digits as a value, country code first.
    #[must_use]
    pub const fn digits(self) -> u64 {
        self.0
    }

    /// From the digits of a MAP address string (after its first octet). (5.1 step 5)
    ///
    /// # Errors
    ///
    /// As [`Address::parse`].
    pub fn from_tbcd(bytes: &[u8], ton: TypeOfNumber, home: &Home) -> Result<Self, AddressError> {
        Self::typed(&tbcd(bytes)?, ton, home)
    }

    /// From an SMPP address and its `ton`. (5.1 step 5)
    ///
    /// # Errors
    ///
    /// As [`Address::parse`]; an alphanumeric, abbreviated or network's own address is malformed.
    pub fn from_ton(digits: &str, ton: u8, home: &Home) -> Result<Self, AddressError> {
        let ton = TypeOfNumber::try_from(ton)?;
        match dialled(digits.trim())? {
            // Some ESMEs write the plus whatever the type of number says.
            (true, digits) => Self::international(&digits),
            (false, digits) => Self::typed(&digits, ton, home),
        }
    }

    fn typed(digits: &str, ton: TypeOfNumber, home: &Home) -> Result<Self, AddressError> {
        match ton {
            TypeOfNumber::International => Self::international(digits),
            TypeOfNumber::National => Self::local(digits, home.country(), false),
            TypeOfNumber::Unknown => Self::local(digits, home.country(), true),
        }
    }

    /// All digits there, country code first. (5.1 steps 3 and 7)
    fn international(digits: &str) -> Result<Self, AddressError> {
        match digits.len() {
            0 => Err(malformed("no digit", "7 to 15 digits")),
            7..=15 if digits.starts_with('0') => {
                Err(malformed("an international number that begins with 0", "a country code"))
            }
            7..=15 => Self::new(decimal(digits)?),
            count => Err(AddressError::Length(count)),
        }
    }

    /// As dialled inside `country`, with its trunk prefix or not; or, where it `may_be_whole`, with
    /// the country code. (5.1 steps 3 and 4)
    fn local(digits: &str, country: Known, may_be_whole: bool) -> Result<Self, AddressError> {
        if digits.len() <= 6 {
            return Err(AddressError::ShortCode);
        }
        // No country's own numbers begin so, whatever the context claims.
        if let Some(whole) = digits.strip_prefix("00") {
            return Self::international(whole);
        }
        let country = country?;
        let (trunk, lengths) = plan(country);
        let fits = |number: &str| lengths.contains(&number.len());
        if may_be_whole && digits.strip_prefix(&country.to_string()).is_some_and(fits) {
            return Self::international(digits);
        }
        // Russian numbers may begin with 8 themselves (800 …): there the length tells.
        let number = digits.strip_prefix(trunk).filter(|rest| trunk != "8" || fits(rest));
        match number.unwrap_or(digits) {
            number if fits(number) => Self::international(&format!("{country}{number}")),
            number => Err(AddressError::NotInPlan(number.len(), country)),
        }
    }
}

impl Msisdn {
    /// Its `tel:` URI.
    fn written(self, buffer: &mut [u8; LONGEST_TEL]) -> &str {
        let rests = std::iter::successors(Some(self.0), |rest| Some(rest / 10).filter(|r| *r > 0));
        let digits = rests.map(|rest| b'0' + u8::try_from(rest % 10).unwrap_or(0));
        let mut at = LONGEST_TEL;
        for (place, byte) in buffer.iter_mut().rev().zip(digits.chain(*b"+:let")) {
            *place = byte;
            at -= 1;
        }
        buffer.get(at..).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }
}

impl fmt::Display for Msisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.written(&mut [0; LONGEST_TEL]).strip_prefix("tel:").unwrap_or_default())
    }
}

/// A country code, or why there is none.
type Known = Result<u16, AddressError>;

/// The network whose people dial: what a number without its country means. Default: nobody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Home {
    country: Option<u16>,
    domains: Vec<String>,
}

impl Home {
    /// From the options `home_country_code` (`33` or `+33`) and `home_domains`.
    ///
    /// # Errors
    ///
    /// [`HomeError`] names the option that the operator has to mend.
    pub fn new(country_code: Option<&str>, domains: &[String]) -> Result<Self, HomeError> {
        let wrong = |option, found: &str, expected| HomeError(option, found.to_owned(), expected);
        let country = country_code.map(|found| match country_of(found.trim_start_matches('+')) {
            Some((country, "")) => Ok(country),
            _ => Err(wrong("home_country_code", found, "a country code such as 1, 33 or 351")),
        });
        let domains = domains.iter().map(|found| match host_port(found) {
            Ok((host, None)) if !found.contains([';', '?']) => Ok(host),
            _ => Err(wrong("home_domains", found, "a host name such as ims.example.org")),
        });
        Ok(Self { country: country.transpose()?, domains: domains.collect::<Result<_, _>>()? })
    }

    fn country(&self) -> Known {
        self.country.ok_or(AddressError::NoHomeCountry)
    }
}

/// A country's trunk prefix, and how many digits its numbers have without.
///
/// The lengths keep a national number that begins like its own country code apart from one that has
/// it; only where people write national numbers without a prefix are they narrow.
const fn plan(country: u16) -> (&'static str, RangeInclusive<usize>) {
    match country {
        1 => ("1", 10..=10),
        7 => ("8", 10..=10),
        36 => ("06", 8..=9),
        375 => ("80", 9..=10),
        39 | 379 => ("", 9..=11),
        225 | 229 => ("", 10..=10),
        242 => ("", 9..=9),
        34 | 48 => ("0", 9..=13),
        30 | 52 | 55 | 91 | 98 => ("0", 10..=13),
        _ => ("0", 7..=14),
    }
}

/// The country code that `digits` begin with, and the rest.
fn country_of(digits: &str) -> Option<(u16, &str)> {
    let two = |code: &str| {
        matches!(code.parse(), Ok(20_u16 | 27 | 30..=34 | 36 | 39..=41 | 43..=49 | 51..=58))
            || matches!(code.parse(), Ok(60_u16..=66 | 81 | 82 | 84 | 86 | 90..=95 | 98))
    };
    let length = match digits.as_bytes() {
        [b'1' | b'7', ..] => 1,
        [b'2'..=b'9', ..] if digits.get(..2).is_some_and(two) => 2,
        [b'2'..=b'9', ..] => 3,
        _ => return None,
    };
    let (code, rest) = digits.split_at_checked(length)?;
    Some((u16::try_from(decimal(code).ok()?).ok()?, rest))
}

/// A wrong option of [`Home`], which the operator has to mend: its name, its value, what may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} has `{1}`, expected {2}")]
pub struct HomeError(&'static str, String, &'static str);

/// Why something is no user's key. No text holds a number: texts reach logs. (5.5)
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Whoever wrote it has to write it otherwise: what is there, and what may be.
    #[error("{0}, expected {1}")]
    Malformed(&'static str, &'static str),
    /// No number in the world: somebody cut it, or ran two together.
    #[error("{0} digits, expected 7 to 15 with the country code")]
    Length(usize),
    /// Another country's number without its plus, most often: a gateway has to add that.
    #[error("{0} digits do not fit country code {1}, expected a national number or a `+`")]
    NotInPlan(usize, u16),
    /// A service: another route takes it.
    #[error("a short code, expected a user's number of 7 digits or more")]
    ShortCode,
    /// A desk behind an exchange, or an ISDN terminal: no device we could watch.
    #[error("a number with extension or ISDN subaddress, expected a mobile user's")]
    NotMobile,
    /// The sender hides: another header may tell.
    #[error("an anonymous address, expected a user's")]
    Anonymous,
    /// An alias: look it up in the table of aliases. (5.3)
    #[error("an address made from an IMSI, expected a public one")]
    ImsiDerived(Imsi),
    /// The operator has to say where home is.
    #[error("a number without country code, expected `+`, or option home_country_code to be set")]
    NoHomeCountry,
}

pub(super) const fn malformed(found: &'static str, expected: &'static str) -> AddressError {
    AddressError::Malformed(found, expected)
}

/// The URI in a name-addr, or all of it. (5.1 step 1)
pub(super) fn addr_spec(raw: &str) -> Result<&str, AddressError> {
    if raw.len() > LONGEST_INPUT {
        return Err(malformed("more than 1,024 bytes", "an address"));
    }
    let text = raw.trim();
    if text.contains(char::is_control) {
        return Err(malformed("a control character", "text"));
    }
    // A bracket in a quoted display name opens nothing.
    let (mut quoted, mut escaped) = (false, false);
    let open = text.find(|c| {
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && quoted && !escaped;
        c == '<' && !quoted
    });
    let uri = match open.and_then(|open| text.get(open + 1..)) {
        Some(rest) => rest.split_once('>').map(|(uri, _)| uri.trim()),
        None => Some(text).filter(|text| !text.starts_with('"')),
    };
    match uri {
        Some("") => Err(malformed("nothing", "a number, or a tel: or sip: URI")),
        Some(uri) => Ok(uri),
        None => Err(malformed("an open quote or bracket", "`\"name\" <uri>`")),
    }
}

/// What stands after `tel:`, or in a SIP URI's user part that is a number. (5.1 steps 2 to 4)
fn subscriber(text: &str, home: &Home) -> Result<Msisdn, AddressError> {
    let text = unescaped(text);
    let (number, parameters) = text.split_once(';').unwrap_or((&text, ""));
    let mut context = None;
    for parameter in parameters.split(';') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "ext" | "isub" => return Err(AddressError::NotMobile),
            "phone-context" if context.is_none() => context = Some(value.trim()),
            _ => {}
        }
    }
    let (global, digits) = dialled(number)?;
    match context {
        _ if global || digits.is_empty() => Msisdn::international(&digits),
        Some(context) if context.starts_with('+') => {
            let (_, context) = dialled(context)?;
            let (country, area) = country_of(&context)
                .ok_or(malformed("a phone-context of no country", "+ and a country code"))?;
            Msisdn::local(&format!("{area}{digits}"), Ok(country), false)
        }
        Some(_) | None => Msisdn::local(&digits, home.country(), true),
    }
}

/// What stands after `sip:`. (5.1 step 6, 5.2, 5.3)
fn sip(rest: &str, home: &Home) -> Result<Address, AddressError> {
    let (user, host) = rest.split_once('@').unwrap_or(("", rest));
    // A password is no part of who it is.
    let user = unescaped(user.split(':').next().unwrap_or_default());
    let (host, port) = host_port(host)?;
    if user.is_empty() {
        return Err(malformed("a SIP URI without user", "sip:user@host"));
    }
    // RFC 2606: nobody ever has such a name, anonymous.invalid and unknown.invalid among them.
    if host.rsplit('.').next() == Some("invalid") {
        return Err(AddressError::Anonymous);
    }
    if let Some(imsi) = Imsi::derived(&user, &host) {
        return Err(AddressError::ImsiDerived(imsi));
    }
    let number = user.split(';').next().unwrap_or_default();
    let contextual = user.to_ascii_lowercase().contains(";phone-context=");
    if let Ok((global, digits)) = dialled(number)
        && !digits.is_empty()
        && (global || contextual || home.domains.contains(&host))
    {
        return subscriber(&user, home).map(Address::Tel);
    }
    if user.contains(|c: char| !c.is_ascii_graphic() || "<>\"".contains(c)) {
        return Err(malformed("a character that no SIP user part has", "ASCII, others as %XX"));
    }
    let port = port.filter(|port| !matches!(port, 5060 | 5061));
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Ok(Address::Sip(format!("sip:{user}@{host}{port}").into()))
}

/// Host in lower case, and port, of what follows the `@`; parameters and headers fall away.
pub(super) fn host_port(text: &str) -> Result<(String, Option<u16>), AddressError> {
    let text = text.split([';', '?']).next().unwrap_or_default().trim();
    let end = text.find(']').map_or_else(|| text.find(':').unwrap_or(text.len()), |end| end + 1);
    let (host, port) = text.split_at_checked(end).unwrap_or((text, ""));
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let (address, colon) = bracketed.map_or((host, ""), |address| (address, ":"));
    let sound = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c) || colon.contains(c);
    match port.strip_prefix(':').map(|digits| decimal(digits).map(u16::try_from)) {
        _ if address.is_empty() || !address.chars().all(sound) => {}
        None if port.is_empty() => return Ok((host.to_ascii_lowercase(), None)),
        Some(Ok(Ok(port @ 1..))) => return Ok((host.to_ascii_lowercase(), Some(port))),
        Some(_) | None => {}
    }
    Err(malformed("a URI without a sound host and port", "sip:user@host"))
}

/// `%2B` decoded: senders escape the plus, which never needs it. Other escapes stay. (5.1 step 1)
fn unescaped(text: &str) -> String {
    text.replace("%2B", "+").replace("%2b", "+")
}

/// Whether a plus leads, and the digits without visual separators. (5.1 step 2)
fn dialled(text: &str) -> Result<(bool, String), AddressError> {
    let mut global = false;
    let mut digits = String::with_capacity(16);
    for found in text.chars() {
        match found {
            '0'..='9' => digits.push(found),
            '-' | '.' | '(' | ')' | ' ' => {}
            '+' if !global && digits.is_empty() => global = true,
            _ => return Err(malformed("a character that is no digit", "digits, tel: or sip:")),
        }
    }
    Ok((global, digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `home: key = spelling | spelling …`, or `! ` and why it is refused instead of a key.
    const VECTORS: &str = r#"
-: tel:+15145550100 = tel:+1-514-555-0100 | sip:+15145550100@ims.x;user=phone | 0015145550100 | +15145550100 | sip:+15145550100@ims.x
-: tel:+15145550100 = "Bob \"<x>" <sip:+1-514-555-0100@h;user=phone?a=b>;tag=1 | Bob <TEL:+1 514 555 0100> | sip:+15145550100:pw@h
-: tel:+15145550100 = tel:1-514-555-0100;phone-context=+1 | tel:555-0100;phone-context=+1-514 | sip:5145550100;phone-context=+1@h
-: tel:+15145550100 = sips:%2B15145550100@h:5061 | tel:%2b1(514)555.0100 | tel:+15145550100;npdi;phone-context=x.y
-: tel:+33612345678 = tel:06-12-34-56-78;phone-context=+33 | tel:612345678;Phone-Context=+33 | tel:0033612345678;phone-context=+1
-: tel:+390612345678 = tel:0612345678;phone-context=+39
-: tel:+79161234567 = tel:89161234567;phone-context=+7 | tel:9161234567;phone-context=+7
1: tel:+15145550100 = 5145550100 | 15145550100 | 1 (514) 555-0100 | sip:5145550100@IMS.home | tel:5145550100;phone-context=ims.home
33: tel:+33612345678 = 0612345678 | 33612345678 | 612345678 | sip:0612345678@ims.home:5060;user=phone | 00 33 6 12 34 56 78
39: tel:+393912345678 = 3912345678 | 393912345678
39: tel:+390612345678 = 0612345678 | 390612345678
7: tel:+79161234567 = 79161234567 | 9161234567 | 8 (916) 123-45-67
7: tel:+78001234567 = 8001234567 | 88001234567
55: tel:+5555912345678 = 55912345678 | 055912345678 | 5555912345678
91: tel:+919123456789 = 9123456789 | 09123456789 | 919123456789
36: tel:+36301234567 = 06301234567 | 36301234567
225: tel:+2250712345678 = 0712345678
1: sip:Alice@x.org = sip:Alice@X.ORG | sips:Alice@x.org:5061;transport=tls;a=b?h=v | "A" <sip:Alice:pw@x.org:05060>
1: sip:5145550100@x.org = sip:5145550100@X.org:5060;user=phone
1: sip:+bob@x.org:5080 = sip:%2bbob@x.org:05080
1: sip:a?b;c@[2001:db8::1] = sip:a?b;c@[2001:DB8::1]:5060;d=e@f
1: ! a short code = 12345 | tel:001234 | tel:3900;phone-context=+33 | sip:123456@ims.home
1: ! digits, expected 7 to 15 = +1234 | tel:+12-34 | +1234567890123456 | 001234567890123456
1: ! digits do not fit = 33612345678 | tel:33612345678;phone-context=+7
1: ! a number with extension = tel:+33612345678;ext=5 | tel:0612345678;isub=1 | sip:+33612345678;ext=5@h
1: ! an anonymous = sip:anonymous@anonymous.invalid | "A" <sip:anonymous@Anonymous.Invalid>;tag=x
1: ! an international number that begins with 0 = +0612345678 | tel:+0033612345678
1: ! nothing =  | <> | "A" <>
1: ! an open quote = "A | "A" | <tel:+33612345678 | "A\" <tel:+33612345678>
1: ! another scheme = mailto:a@b.c | urn:service:sos
1: ! a character = alice | alice@x.org | +33ABC | tel:+336123456789x | ++33612345678 | tel:*21#1234567 | sip:a b@x | sip:é@x
1: ! no digit = tel: | tel:+ | tel:;a | tel:--
1: ! a SIP URI without user = sip:x.org | sip:@x.org
1: ! a URI without a sound host = sip:a@ | sip:a@x:0 | sip:a@x:99999 | sip:a@x: | sip:a@x y | sip:a@[::1 | sip:a@x@y
1: ! a phone-context of no country = tel:0612345678;phone-context=+ | tel:0612345678;phone-context=+0
1: ! an address made from an IMSI = sip:302720123456789@IMS.mnc720.mcc302.3gppnetwork.org:5060;x
-: ! a number without country code = 5145550100 | tel:5145550100 | tel:0612345678;phone-context=x.y
"#;

    /// 5.1 steps 1 to 4, 6 and 7, 5.2, 5.3; and a key is its own spelling, whoever reads it.
    #[test]
    fn every_spelling_has_one_key() {
        for line in VECTORS.trim().lines() {
            let (country, vector) = line.split_once(": ").unwrap();
            let (expected, spellings) = vector.split_once(" = ").unwrap();
            for raw in spellings.split(" | ") {
                let found = Address::parse(raw, &home(country));
                if let Some(why) = expected.strip_prefix("! ") {
                    let error = found.expect_err(raw).to_string();
                    assert!(error.contains(why), "{raw} in {country}: {error}");
                    continue;
                }
                let key = found.expect(raw);
                assert_eq!(key.to_string(), expected, "{raw} in {country}");
                assert_eq!(Address::parse(expected, &home(country)).as_ref(), Ok(&key), "{raw}");
                let json = serde_json::to_string(&key).unwrap();
                assert_eq!(serde_json::from_str::<Address>(&json).unwrap(), key, "{json}");
            }
        }
        assert!(Address::parse("tel:+3361234\u{0}5678", &home("1")).is_err());
        assert!(Address::parse(&" ".repeat(1025), &home("1")).is_err());
    }

    /// 5.1 step 5.
    #[test]
    fn networks_say_what_kind_of_number_it_is() {
        let tbcd = |ton| Msisdn::from_tbcd(&[0x15, 0x54, 0x55, 0x10, 0x00], ton, &home("1"));
        assert_eq!(tbcd(TypeOfNumber::National), Msisdn::new(15_145_550_100));
        assert_eq!(tbcd(TypeOfNumber::International), Msisdn::new(5_145_550_100));
        let smpp = |ton, digits| Msisdn::from_ton(digits, ton, &home("33")).map(Msisdn::digits);
        for (ton, digits) in [(1, "33612345678"), (2, "+33612345678"), (2, "612345678")] {
            assert_eq!(smpp(ton, digits), Ok(33_612_345_678), "{ton} {digits}");
        }
        assert_eq!(smpp(0, "0612345678"), Ok(33_612_345_678));
        assert!(smpp(5, "33612345678").is_err());
        assert!(Msisdn::new(999_999).is_err() && Msisdn::new(1_000_000_000_000_000).is_err());
    }

    #[test]
    fn a_wrong_home_names_its_option() {
        for found in ["", "+", "1514:5", "sip:x", "a b", "x:5060", "a@x", "x;y"] {
            let country = Home::new(Some(found), &[]).unwrap_err().to_string();
            let domain = Home::new(None, &[found.to_owned()]).unwrap_err().to_string();
            assert!(country.starts_with("home_country_code has `"), "{country}");
            assert!(domain.starts_with("home_domains has `"), "{domain}");
        }
        assert!(["0", "333", "1514"].iter().all(|code| Home::new(Some(code), &[]).is_err()));
    }

    fn home(country: &str) -> Home {
        Home::new((country != "-").then_some(country), &["IMS.Home".to_owned()]).unwrap()
    }
}
