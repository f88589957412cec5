//! Where a user can be reached, as far as anybody told us: devices over IP, slots for SMS.
//!
//! Source: `rules.md` 3.2, 5.6, R-5, P-5, P-17.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::address::{contact_key, instance_key, is_imei};
use super::input::{DeviceRef, Told};
use super::instance::Instance;
use super::message::Kind;
use super::time::Timestamp;

/// When, by whom and in which order a fact was told: what decides which of two facts is newer.
///
/// Written as an array of its fields, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StampFields", into = "StampFields")]
pub struct Stamp {
    /// When it was observed, as told.
    pub time: Timestamp,
    /// Hash of its source.
    pub source: u32,
    /// Hash of its id.
    pub id: u32,
    /// Whether it says that the user is there.
    pub there: bool,
    /// The probe's restart count and number, if it has both.
    pub order: Option<(u64, u64)>,
    /// Hash of the Call-ID, and the CSeq.
    pub dialog: Option<(u32, u32)>,
}

type StampFields = (Timestamp, u32, u32, bool, Option<(u64, u64)>, Option<(u32, u32)>);

impl From<StampFields> for Stamp {
    fn from((time, source, id, there, order, dialog): StampFields) -> Self {
        Self { time, source, id, there, order, dialog }
    }
}

impl From<Stamp> for StampFields {
    fn from(stamp: Stamp) -> Self {
        (stamp.time, stamp.source, stamp.id, stamp.there, stamp.order, stamp.dialog)
    }
}

impl Stamp {
    /// The stamp of a fact.
    #[must_use]
    pub fn of(told: &Told, there: bool) -> Self {
        Self {
            time: told.time,
            source: told.source,
            id: told.id,
            order: told.order,
            dialog: None,
            there,
        }
    }

    /// The same, of a REGISTER.
    #[must_use]
    pub fn with_dialog(self, call_id: Option<&str>, cseq: Option<u32>) -> Self {
        let dialog = call_id.zip(cseq).map(|(call_id, cseq)| (hash(call_id), cseq));
        Self { dialog, ..self }
    }

    /// Whether this fact is newer than `old`, the one that the state rests on.
    ///
    /// One dialog goes by CSeq, one source by its own numbers, else by its clock. Two sources go by
    /// time, and within `tolerance` the hopeful fact wins: an attempt is cheap and corrects itself.
    #[must_use]
    pub fn is_newer_than(&self, old: &Self, tolerance: Duration) -> bool {
        if let (Some((dialog, cseq)), Some((old_dialog, old_cseq))) = (self.dialog, old.dialog)
            && dialog == old_dialog
        {
            return cseq > old_cseq;
        }
        if self.source == old.source {
            if self.id == old.id {
                return false;
            }
            if let (Some(order), Some(old_order)) = (self.order, old.order) {
                return order > old_order;
            }
            return self.time > old.time || (self.time == old.time && self.there != old.there);
        }
        let apart = self.time.since(old.time).max(old.time.since(self.time));
        if apart > tolerance {
            return self.time > old.time;
        }
        self.there && !old.there
    }
}

/// FNV-1a, folded to 32 bits: a short name for text inside one user's state, where nobody gains by
/// a collision.
#[must_use]
pub fn hash(text: &str) -> u32 {
    let wide = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    #[allow(clippy::cast_possible_truncation, reason = "folded to 32 bits on purpose")]
    {
        (wide ^ wide >> 32) as u32
    }
}

/// A device inside one user's state: a hash of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceId(u32);

impl DeviceId {
    /// The id of the device with this key.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(hash(key))
    }
}

/// A device as commands name it: its key, and what it is made of.
///
/// Written as an array of its fields, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "NameFields", into = "NameFields")]
pub struct DeviceName {
    /// `+sip.instance`, canonical (5.6).
    pub instance: Option<Arc<str>>,
    /// `reg-id`.
    pub reg_id: Option<u32>,
    /// The Contact URI: the key where there is no instance.
    pub contact: Option<Arc<str>>,
}

type NameFields = (Instance, Option<u32>, Option<Arc<str>>);

impl From<NameFields> for DeviceName {
    fn from((Instance(instance), reg_id, contact): NameFields) -> Self {
        Self { instance, reg_id, contact }
    }
}

impl From<DeviceName> for NameFields {
    fn from(name: DeviceName) -> Self {
        (Instance(name.instance), name.reg_id, name.contact)
    }
}

impl DeviceName {
    /// The name of the device that a record speaks of; without one, the address itself (a
    /// third-party REGISTER tells no device).
    #[must_use]
    pub fn of(device: Option<&DeviceRef<'_>>, aor: impl std::fmt::Display) -> Self {
        let instance = device
            .and_then(|device| device.instance.as_deref())
            .map(|raw| instance_key(raw).unwrap_or_else(|| raw.trim().to_owned()));
        let contact = device
            .and_then(|device| device.contact.as_deref())
            .map(|raw| contact_key(raw).unwrap_or_else(|| raw.trim().to_owned()));
        let contact = match (&instance, contact) {
            (None, None) => Some(aor.to_string()),
            (_, contact) => contact,
        };
        Self {
            reg_id: device.and_then(|device| device.reg_id),
            instance: instance.map(Arc::from),
            contact: contact.map(Arc::from),
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        match (&self.instance, self.reg_id, &self.contact) {
            (Some(instance), None, _) => DeviceId::of(instance),
            (Some(instance), Some(reg_id), _) => DeviceId::of(&format!("{instance};{reg_id}")),
            (None, _, contact) => DeviceId::of(contact.as_deref().unwrap_or_default()),
        }
    }

    /// Whether its instance is an IMEI.
    #[must_use]
    pub fn is_imei(&self) -> bool {
        self.instance.as_deref().is_some_and(is_imei)
    }
}

impl std::fmt::Display for DeviceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = self.instance.as_deref().or(self.contact.as_deref()).unwrap_or("?");
        f.write_str(key)?;
        match (&self.instance, self.reg_id) {
            (Some(_), Some(reg_id)) => write!(f, ";{reg_id}"),
            _ => Ok(()),
        }
    }
}

/// What a client can do, by its feature tags (1.4, SEED4-6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Caps(u8);

impl Caps {
    const TAGS: [(u8, &'static str); 7] = [
        (1, "oma.cpm.msg"),
        (2, "oma.cpm.largemsg"),
        (4, "oma.cpm.session"),
        (8, "oma.cpm.filetransfer"),
        (16, "oma.cpm.systemmsg"),
        (32, "oma.cpm.deferred"),
        (64, "rcs.cpm.pager-large"),
    ];

    /// What these tags say: percent-decoded, in any case, misspelt around the edges.
    pub fn of<'a>(features: impl IntoIterator<Item = &'a str>) -> Self {
        let mut caps = 0;
        for feature in features {
            // Most are a tag and nothing else, and no tag stands in another.
            let known = Self::TAGS.iter().find(|(_, tag)| feature.eq_ignore_ascii_case(tag));
            if let Some((bit, _)) = known {
                caps |= bit;
                continue;
            }
            let feature = feature.to_ascii_lowercase().replace("%3a", ":").replace("%2d", "-");
            for (bit, tag) in Self::TAGS {
                let whole = feature.match_indices(tag).any(|(at, _)| {
                    let next = feature.get(at + tag.len()..).and_then(|rest| rest.chars().next());
                    !next.is_some_and(|next| next.is_ascii_alphanumeric() || next == '-')
                });
                if whole {
                    caps |= bit;
                }
            }
        }
        Self(caps)
    }

    /// Whether there is any CPM tag at all (N-6: being registered for voice is none).
    #[must_use]
    pub fn any_cpm(self) -> bool {
        self.0 != 0
    }

    /// Whether a client with these takes a message of this kind (SEED4-6, P-5).
    #[must_use]
    pub fn take(self, kind: Kind) -> bool {
        let needed = match kind {
            Kind::Pager => 1 | 64,
            Kind::Large => 2 | 64,
            Kind::Chat => 4,
            Kind::File => 8,
            Kind::Geolocation | Kind::Imdn => 1,
            Kind::System => 16,
        };
        self.0 & needed != 0
    }
}

/// Where an SMS can reach the phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlotName {
    /// The circuit-switched domain.
    Cs,
    /// The packet-switched domain.
    Ps,
    /// Somewhere: an alert without a domain, or an SMS that arrived.
    Any,
}

impl SlotName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cs, Self::Ps, Self::Any];

    /// The slot of a domain's word: SGs is CS; SGd, Gdd, 5G NAS and SMS over IP are PS.
    #[must_use]
    pub fn of_domain(domain: Option<&str>) -> Self {
        let Some(domain) = domain else { return Self::Any };
        let word: String = domain
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        match word.as_str() {
            "cs" | "sgs" => Self::Cs,
            "ps" | "sgd" | "gdd" | "nas5g" | "5gnas" | "5g" | "imssmsip" | "smsip" | "ims" => {
                Self::Ps
            }
            _ => Self::Any,
        }
    }

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Cs => "cs",
            Self::Ps => "ps",
            Self::Any => "any",
        }
    }
}

/// Whether the phone is attached there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlotState {
    /// Nobody knows.
    #[default]
    Unknown,
    /// It is.
    Attached,
    /// It is not.
    Detached,
}

/// What is known of one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Whether the phone is attached.
    #[serde(rename = "s")]
    pub state: SlotState,
    /// Whether SMS works there.
    #[serde(rename = "c")]
    pub sms_capable: bool,
    /// The fact it rests on.
    #[serde(rename = "f")]
    pub stamp: Stamp,
    /// What it ages from: the fact's time, never in the future.
    #[serde(rename = "t")]
    pub since: Timestamp,
}

impl Slot {
    /// Attached, and not longer ago than `stale`.
    #[must_use]
    pub fn is_attached(&self, now: Timestamp, stale: Duration) -> bool {
        self.state == SlotState::Attached && now < self.since + stale
    }

    /// Attached, fresh, and of use for SMS.
    #[must_use]
    pub fn takes_sms(&self, now: Timestamp, stale: Duration) -> bool {
        self.sms_capable && self.is_attached(now, stale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: Duration = Duration::from_secs(2);

    fn stamp(source: u32, id: u32, seconds: i64, there: bool) -> Stamp {
        Stamp {
            source,
            id,
            there,
            time: Timestamp::from_millis(seconds * 1000),
            ..Stamp::default()
        }
    }

    /// one dialog goes by CSeq, whatever the clocks say.
    #[test]
    fn in_one_dialog_cseq_orders() {
        let first = Stamp { dialog: Some((7, 1)), ..stamp(1, 1, 100, true) };
        let second = Stamp { dialog: Some((7, 2)), ..stamp(1, 2, 100, false) };
        let earlier_clock = Stamp { time: Timestamp::from_millis(1), ..second };

        assert!(second.is_newer_than(&first, TOLERANCE));
        assert!(earlier_clock.is_newer_than(&first, TOLERANCE));
        assert!(!first.is_newer_than(&second, TOLERANCE));
        assert!(!first.is_newer_than(&first, TOLERANCE));
    }

    /// one source goes by its own numbers, a restart included (E-1).
    #[test]
    fn in_one_source_the_sequence_orders_across_restarts() {
        let before = Stamp { order: Some((1, 900)), ..stamp(1, 1, 100, true) };
        let after = Stamp { order: Some((2, 1)), ..stamp(1, 2, 99, false) };

        assert!(after.is_newer_than(&before, TOLERANCE));
        assert!(!before.is_newer_than(&after, TOLERANCE));
    }

    /// without numbers one source goes by time; at one time log order tells two kinds apart,
    /// and the same kind is not news.
    #[test]
    fn in_one_source_time_then_log_order() {
        let attached = stamp(1, 1, 100, true);

        assert!(stamp(1, 2, 101, true).is_newer_than(&attached, TOLERANCE));
        assert!(!stamp(1, 2, 99, false).is_newer_than(&attached, TOLERANCE));
        assert!(stamp(1, 2, 100, false).is_newer_than(&attached, TOLERANCE));
        assert!(!stamp(1, 2, 100, true).is_newer_than(&attached, TOLERANCE));
        assert!(!stamp(1, 1, 105, false).is_newer_than(&attached, TOLERANCE), "the same id");
    }

    /// between two sources two seconds do not count, and hope wins.
    #[test]
    fn between_sources_hope_wins_within_the_tolerance() {
        let (attached, detached) = (stamp(1, 1, 100, true), stamp(1, 1, 100, false));

        assert!(stamp(2, 1, 99, true).is_newer_than(&detached, TOLERANCE));
        assert!(!stamp(2, 1, 102, false).is_newer_than(&attached, TOLERANCE));
        assert!(stamp(2, 1, 103, false).is_newer_than(&attached, TOLERANCE));
        assert!(!stamp(2, 1, 101, true).is_newer_than(&attached, TOLERANCE), "the same fact");
        assert!(!stamp(2, 1, 97, true).is_newer_than(&detached, TOLERANCE));
    }

    /// P-5, and the tolerant reading of tags: encoded, misspelt, in any case.
    #[test]
    fn tags_say_what_a_client_takes() {
        let caps =
            Caps::of(["+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gppservice.ims.icsi.OMA.CPM.msg\""]);
        assert!(caps.take(Kind::Pager) && caps.take(Kind::Geolocation) && caps.take(Kind::Imdn));
        assert!(!caps.take(Kind::Chat) && !caps.take(Kind::Large));

        let both = Caps::of(["+g.gsma.rcs.cpm.pager-large"]);
        assert!(both.take(Kind::Pager) && both.take(Kind::Large) && !both.take(Kind::Imdn));

        assert!(!Caps::of(["+g.3gpp.smsip", "mmtel", "oma.cpm.msgs"]).any_cpm());
    }

    /// every network's word has a slot.
    #[test]
    fn every_domain_has_a_slot() {
        for (word, slot) in [
            (Some("CS"), SlotName::Cs),
            (Some("SGs"), SlotName::Cs),
            (Some("PS"), SlotName::Ps),
            (Some("NAS5G"), SlotName::Ps),
            (Some("5G-NAS"), SlotName::Ps),
            (Some("IMS_SMSIP"), SlotName::Ps),
            (Some("carrier pigeon"), SlotName::Any),
            (None, SlotName::Any),
        ] {
            assert_eq!(SlotName::of_domain(word), slot, "{word:?}");
        }
    }

    /// 5.6: the same instance and reg-id, else the same contact.
    #[test]
    fn a_device_is_its_instance_else_its_contact() {
        let told = |instance: Option<&'static str>, contact: Option<&'static str>| {
            let device = DeviceRef {
                instance: instance.map(Text::from),
                contact: contact.map(Text::from),
                ..DeviceRef::default()
            };
            DeviceName::of(Some(&device), "tel:+1").id()
        };
        use crate::domain::message::Text;

        let quoted = "\"<urn:gsma:imei:35622410-483840-0>\"";
        assert_eq!(
            told(Some(quoted), Some("sip:a@1.2.3.4")),
            told(Some("urn:gsma:imei:35622410-483840-0"), Some("sip:a@5.6.7.8"))
        );
        assert_eq!(
            told(None, Some("<sip:a@H.example;transport=tcp>")),
            told(None, Some("sip:a@h.example"))
        );
        assert_ne!(told(None, None), told(None, Some("sip:a@h.example")));
    }
}
