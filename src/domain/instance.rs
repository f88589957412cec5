//! The instance of a device in the packed state: most are an IMEI or a UUID, and a number is a quarter of
//! the text.
//!
//! Source: `rules.md` 5.6; RFC 7254 (IMEI), RFC 4122 (UUID).

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const IMEI: &str = "urn:gsma:imei:";
const UUID: &str = "urn:uuid:";

/// `+sip.instance`: text or null in JSON; packed, a number where that says every letter of it.
#[derive(Debug)]
pub(super) struct Instance(pub(super) Option<Arc<str>>);

/// How it is packed. The order is part of the checkpoint's version.
#[derive(Serialize, Deserialize)]
enum Packed<'a> {
    None,
    Text(#[serde(borrow)] Cow<'a, str>),
    /// `urn:gsma:imei:12345678-123456-1`: the digits.
    Imei(u64),
    /// `urn:uuid:` in lower case: the octets.
    Uuid([u8; 16]),
}

impl Packed<'_> {
    fn of(text: &str) -> Packed<'_> {
        let imei = || text.strip_prefix(IMEI).and_then(imei).map(Packed::Imei);
        let uuid = || text.strip_prefix(UUID).and_then(uuid).map(Packed::Uuid);
        imei().or_else(uuid).unwrap_or(Packed::Text(Cow::Borrowed(text)))
    }

    fn text(self) -> Option<Arc<str>> {
        match self {
            Self::None => None,
            Self::Text(text) => Some(text.into()),
            Self::Imei(digits) => {
                let (tac, rest) = (digits / 10_000_000, digits % 10_000_000);
                Some(format!("{IMEI}{tac:08}-{:06}-{}", rest / 10, rest % 10).into())
            }
            Self::Uuid(octets) => {
                let all = u128::from_be_bytes(octets);
                let (a, b, c) = (all >> 96, all >> 80 & 0xffff, all >> 64 & 0xffff);
                let (d, e) = (all >> 48 & 0xffff, all & 0xffff_ffff_ffff);
                Some(format!("{UUID}{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}").into())
            }
        }
    }
}

/// The digits of `12345678-123456-1`.
fn imei(text: &str) -> Option<u64> {
    let lengths = text.split('-').map(str::len);
    if !lengths.eq([8, 6, 1]) {
        return None;
    }
    text.bytes()
        .filter(|byte| *byte != b'-')
        .try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
}

/// The octets of a UUID in lower case.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let lengths = text.split('-').map(str::len);
    if !lengths.eq([8, 4, 4, 4, 12]) {
        return None;
    }
    let digits = text.bytes().filter(|byte| *byte != b'-');
    let all = digits.map(|byte| match byte {
        b'0'..=b'9' => Some(u128::from(byte - b'0')),
        b'a'..=b'f' => Some(u128::from(byte - b'a') + 10),
        _ => None,
    });
    let all = all.into_iter().try_fold(0_u128, |sum, digit| Some(sum << 4 | digit?))?;
    Some(all.to_be_bytes())
}

impl Serialize for Instance {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            return self.0.serialize(to);
        }
        self.0.as_deref().map_or(Packed::None, Packed::of).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Instance {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            return Deserialize::deserialize(from).map(Self);
        }
        Ok(Self(Packed::deserialize(from)?.text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever an instance is, it comes back letter by letter; numbers where they say it all.
    #[test]
    fn an_instance_is_packed_and_comes_back() {
        for (text, size) in [
            ("urn:gsma:imei:35622410-483840-0", 8),
            ("urn:gsma:imei:00000000-000001-0", 2),
            ("urn:uuid:4248bc23-1234-1234-1234-123456789012", 17),
            ("urn:uuid:00000000-0000-0000-0000-00000000000f", 17),
            ("urn:uuid:4248BC23-1234-1234-1234-123456789012", 47),
            ("urn:gsma:imei:35622410-483840-x", 33),
            ("urn:gsma:imei:35622410-4838400", 32),
            ("urn:gsma:imei:3562241é-483840-0", 34),
            ("urn:gsma:imei:35622410-483840-0;svn=2", 39),
            ("", 2),
        ] {
            let bytes = postcard::to_stdvec(&Instance(Some(text.into()))).unwrap();
            let Instance(back) = postcard::from_bytes(&bytes).unwrap();
            assert_eq!((back.as_deref(), bytes.len()), (Some(text), size));
            let json = serde_json::to_string(&Instance(Some(text.into()))).unwrap();
            assert_eq!(json, format!("\"{text}\""));
        }
        let bytes = postcard::to_stdvec(&Instance(None)).unwrap();
        assert_eq!(bytes, [0]);
        assert_eq!(postcard::from_bytes::<Instance>(&bytes).unwrap().0, None);
    }
}
