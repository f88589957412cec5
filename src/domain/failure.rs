//! What a code from a network means: a class of failure, and what it says of the user besides.
//!
//! Source: `rules.md` 3.8 (the classes), 4.6 to 4.9 (which code is which), P-10. The numbers are those
//! of 3GPP TS 23.040, 24.011, 29.002 and 29.338, of SMPP 3.4 and of RFC 3261.
//!
//! Here are the words; `codes` and `sip` hold the tables, and look things up in them.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod codes;
mod sip;

pub use self::codes::{classify, diagnose, is_expired};
pub use self::sip::{sip_from_client, sip_from_gateway};

/// Declares an enum whose variants are words on the wire, each spelt in one place.
macro_rules! words {
    ($(#[$about:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(Serialize, Deserialize, JsonSchema)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// All of them, in the order of `rules.md`.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];
            const WORDS: &[&str] = &[$($word,)+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $word,)+ })
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { found: word.to_owned(), expected: Self::WORDS }),
                }
            }
        }
    };
}

words! {
    /// The class of a failure: it decides what becomes of the message (rules.md 3.8).
    pub enum Class {
        /// Nobody answers there now.
        Absent = "absent",
        /// The phone has no room for another SMS.
        MemoryFull = "memory-full",
        /// It is there, and answers "not now".
        Busy = "busy",
        /// Overload on the way.
        Congestion = "congestion",
        /// Something between us and the phone is broken, or the attempt never started.
        Infrastructure = "infrastructure",
        /// A person said no, for good.
        Declined = "declined",
        /// Not acceptable to that device, or too large for it.
        Content = "content",
        /// That device, or by SMS that user, will never take it.
        Permanent = "permanent",
        /// A network refused this message by its own rules.
        Policy = "policy",
        /// Nobody knows how it ended.
        Unknown = "unknown",
    }
}

words! {
    /// The `cause` that a gateway reports: a class, or `late`.
    ///
    /// `late` stays visible because an operator looks for it elsewhere: nothing broke, the gateway was
    /// behind and did not start.
    #[expect(missing_docs, reason = "each is the class of its name")]
    pub enum Cause {
        Absent = "absent",
        MemoryFull = "memory-full",
        Busy = "busy",
        Congestion = "congestion",
        Infrastructure = "infrastructure",
        Late = "late",
        Declined = "declined",
        Content = "content",
        Permanent = "permanent",
        Policy = "policy",
        Unknown = "unknown",
    }
}

words! {
    /// Whose `error.code` it is (rules.md P-10).
    pub enum Protocol {
        /// A MAP user error (TS 29.002), by number or name.
        Map = "map",
        /// A result of S6c or SGd (TS 29.338), by number or name.
        Diameter = "diameter",
        /// A receipt's `message_state` or `stat`; a `command_status` of overload.
        Smpp = "smpp",
        /// TP-Status of a status report (TS 23.040).
        TpStatus = "tp-status",
        /// RP-Cause (TS 24.011); from 0x80 on, the TP-FCS that came inside the RP-ERROR.
        Rp = "rp",
        /// The ISF/IWF's final response.
        Sip = "sip",
    }
}

impl Cause {
    /// The class that the rules speak of: `late` is infrastructure.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Absent => Class::Absent,
            Self::MemoryFull => Class::MemoryFull,
            Self::Busy => Class::Busy,
            Self::Congestion => Class::Congestion,
            Self::Infrastructure | Self::Late => Class::Infrastructure,
            Self::Declined => Class::Declined,
            Self::Content => Class::Content,
            Self::Permanent => Class::Permanent,
            Self::Policy => Class::Policy,
            Self::Unknown => Class::Unknown,
        }
    }
}

/// A word that is none of those expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownWord {
    found: String,
    expected: &'static [&'static str],
}

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is none of {}", self.found, self.expected.join(", "))
    }
}

impl std::error::Error for UnknownWord {}

/// What an SMS that failed for good closes, beyond its own message (rules.md 3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// The user may not have SMS, here or now.
    Barred,
    /// The user or the phone cannot have SMS.
    NotCapable,
}

/// What a failure says of a slot. Never that it is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotNews {
    /// The network has let it go.
    Detached,
    /// Out of coverage, or so it looks.
    Unknown,
}

/// What an absent-subscriber diagnostic says. A slot it does not name stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The class it makes of an absent.
    pub class: Class,
    /// News of the CS slot.
    pub cs: Option<SlotNews>,
    /// News of the PS slot.
    pub ps: Option<SlotNews>,
    /// Barred where the phone roams: shorter than other bars, for it may move on.
    pub barred_roaming: bool,
}

/// What a failure by SMS means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What becomes of the message.
    pub class: Class,
    /// What is closed to the user's other messages too.
    pub block: Option<BlockKind>,
    /// An operator must look: our set-up is wrong, not the user's phone.
    pub alarm: bool,
    /// The HLR will not alert us: only the ladder or another event helps.
    pub no_alert: bool,
    /// What the diagnostic said, where one came with an absent.
    pub diagnosis: Option<Diagnosis>,
}

impl Verdict {
    /// What a gateway's own word means, with the diagnostic that came with it.
    #[must_use]
    pub fn of(class: Class, diagnostic: Option<u8>) -> Self {
        let closes = matches!(class, Class::Permanent | Class::Declined);
        Self { block: closes.then_some(BlockKind::NotCapable), ..Self::plain(class) }
            .with(diagnostic)
    }

    const fn plain(class: Class) -> Self {
        Self { class, block: None, alarm: false, no_alert: false, diagnosis: None }
    }

    /// An absent as its diagnostic explains it; any other verdict as it is.
    fn with(self, diagnostic: Option<u8>) -> Self {
        match diagnostic.map(diagnose) {
            Some(diagnosis) if self.class == Class::Absent => Self {
                class: diagnosis.class,
                block: diagnosis.barred_roaming.then_some(BlockKind::Barred),
                diagnosis: Some(diagnosis),
                ..self
            },
            Some(_) | None => self,
        }
    }
}

/// How an SMS fares, as its code tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The phone has it; `assumed` where only the centre's word stands for that.
    Delivered {
        /// Forwarded or replaced, but not confirmed by the phone.
        assumed: bool,
    },
    /// The centre goes on trying: no failure.
    Trying,
    /// It failed.
    Failed(Verdict),
    /// Nobody knows.
    Unknown,
}

/// What a SIP answer to an attempt means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SipVerdict {
    /// The client has it.
    Delivered,
    /// Another store or the gateway has it: how it ended comes later.
    Accepted,
    /// A race of dialogs: as absent, but the contact is not suspect and IP is tried again at once.
    Artefact,
    /// It failed, or by SMS nobody knows (`Class::Unknown`).
    Failed {
        /// What becomes of the message.
        class: Class,
        /// An operator must look.
        alarm: bool,
        /// The contact's connection is dead: drop it rather than suspect it.
        drop_contact: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_wire() {
        for &class in Class::ALL {
            let json = serde_json::to_string(&class).unwrap();
            assert_eq!(json, format!("\"{class}\""));
            assert_eq!(serde_json::from_str::<Cause>(&json).unwrap().class(), class);
            assert_eq!(class.to_string().parse(), Ok(class));
        }
        assert_eq!("late".parse().map(Cause::class), Ok(Class::Infrastructure));
        assert_eq!("tp-status".parse(), Ok(Protocol::TpStatus));
        let error = "SMPP".parse::<Protocol>().unwrap_err().to_string();
        assert_eq!(error, "\"SMPP\" is none of map, diameter, smpp, tp-status, rp, sip");
    }
}
