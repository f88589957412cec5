//! Signalling seen on a tap becomes reachability: the lines of `tshark -T ek` in, CloudEvents out.
//!
//! ```text
//! line ──► layers ──► sip, map, diameter, gsup, smpp ──► sightings ──► who ──► events
//!                     (a request meets its answer)       (an IMSI waits for its alias)
//! ```
//!
//! The tap is read like this:
//!
//! ```text
//! tshark -n -l -i any -T ek -e … \
//!     -Y 'sip.CSeq.method == "REGISTER" || gsm_map || diameter || gsup || smpp'
//! ```
//!
//! with an `-e` for each of [`FIELDS`] ([`tshark_arguments`]). Where packets carry several
//! messages, as on busy SCTP and SMPP links, `-J` with [`LAYERS`] in the place of the `-e` keeps
//! them apart ([`tshark_arguments_layered`]); it writes up to twelve times as much.
//!
//! A procedure counts when its answer is a success (E-6). A notice, such as readyForSM, tells what
//! its sender knows already: an error takes it back, and where no answer is seen it counts as
//! inferred. The time is that of the capture; no clock is read.
//!
//! Source: `rules.md` E-1 to E-6, N-1 to N-7, ID-1 to ID-3; each protocol's file names its own.

mod diameter;
mod fields;
mod gsup;
mod layers;
mod map;
mod sighting;
mod sip;
mod sip_text;
mod smpp;
mod waiting;
mod who;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::domain::address::{Address, Home, Imsi};
use crate::domain::time::Timestamp;

pub use fields::{DISPLAY_FILTER, FIELDS, LAYERS, tshark_arguments, tshark_arguments_layered};

use layers::{Packet, Protocol, Reader};
use sighting::{Sighting, Who};
use who::Directory;

/// What a line of the tap came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// A CloudEvent in structured form, to be published as it is.
    Event(Value),
    /// A line that is no packet of tshark: for the dead letters.
    Rejected {
        /// Which, as the caller counts.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A message that says nothing to us: to be counted by its reason.
    Skipped(Skip),
}

/// Why a message became no event. The text is the label it is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Skip {
    /// A message that tells nothing about reachability.
    NotOurs,
    /// The flat shape cannot tell several messages in a packet apart: use the layered one.
    SeveralInOnePacket,
    /// A field that the message cannot do without is missing or malformed.
    Incomplete,
    /// Nobody answered the request, and a request alone proves nothing (E-6).
    Unanswered,
    /// Its request was not captured, so nobody knows what was answered.
    NoRequest,
    /// The answer was an error.
    Refused,
    /// More requests are open than we remember: the oldest was let go.
    TooManyOpen,
    /// An answer that was seen before, at another hop or again.
    Repeated,
    /// The phone moved to another node: no detach.
    Moved,
    /// How an SMS of somebody ended, with nothing to say which message it was.
    NamesNoMessage,
    /// Back-pressure of the SMSC against its client, not news of a phone.
    BackPressure,
    /// The user is named in a way that is no address.
    NotAUser,
    /// No alias of the IMSI turned up in time.
    ImsiUnresolved,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOurs => "not one of ours",
            Self::SeveralInOnePacket => "several messages in one packet",
            Self::Incomplete => "field missing or malformed",
            Self::Unanswered => "request without an answer",
            Self::NoRequest => "answer without a request",
            Self::Refused => "request refused",
            Self::TooManyOpen => "too many requests open",
            Self::Repeated => "seen before",
            Self::Moved => "moved, not detached",
            Self::NamesNoMessage => "sms outcome that names no message",
            Self::BackPressure => "back-pressure of the smsc",
            Self::NotAUser => "not an address of a user",
            Self::ImsiUnresolved => "imsi without an alias",
        })
    }
}

/// How much is remembered, and for how long, in time of the capture.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest line read, in bytes.
    pub line_bytes: usize,
    /// How long a request waits for its answer; SIP has its own 32 s (RFC 3261, Timer F).
    pub answer_wait: Duration,
    /// How many requests of a protocol are open at a time.
    pub open_requests: usize,
    /// How many facts wait for an alias; 60 s each (`rules.md` 5.3).
    pub parked: usize,
    /// How many aliases are remembered.
    pub aliases: usize,
    /// How many users' contacts are remembered, to tell a refresh from a registration.
    pub registrations: usize,
    /// What Cx and Sh do not say: how long a registration lasts. TS 24.229 5.1.1.2 lets a phone ask
    /// for 600 000 s, and the end is told by the same interface.
    pub registration_life: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes: 1 << 20,
            answer_wait: Duration::from_secs(10),
            open_requests: 100_000,
            parked: 100_000,
            aliases: 2_000_000,
            registrations: 1_000_000,
            registration_life: Duration::from_secs(600_000),
        }
    }
}

/// Reads a tap, line by line.
#[derive(Debug)]
pub struct Ek {
    home: Arc<Home>,
    source: String,
    reader: Reader,
    sip: sip::Sip,
    map: map::Map,
    diameter: diameter::Diameter,
    gsup: gsup::Gsup,
    directory: Directory,
}

impl Ek {
    /// A reader that knows nothing yet. `source` is the events' source, such as `/probe/ek/mme-3`.
    #[must_use]
    pub fn new(home: Home, source: String, limits: Limits) -> Self {
        Self {
            home: Arc::new(home),
            source,
            reader: Reader::new(limits.line_bytes),
            sip: sip::Sip::new(&limits),
            map: map::Map::new(&limits),
            diameter: diameter::Diameter::new(&limits),
            gsup: gsup::Gsup::new(&limits),
            directory: Directory::new(&limits),
        }
    }

    /// What the line tells, and what it lets us know about earlier ones. `number` is for the report
    /// on a bad line.
    pub fn line(&mut self, number: u64, line: &[u8]) -> Vec<Fact> {
        let packet = match self.reader.read(line) {
            Ok(Some(packet)) => packet,
            Ok(None) => return Vec::new(),
            Err(bad) => return vec![Fact::Rejected { line: number, reason: bad.to_string() }],
        };
        let Packet { at, messages, mixed } = packet;
        let mut seen = Seen::new(at, Arc::clone(&self.home));
        for _ in 0..mixed {
            seen.skip(Skip::SeveralInOnePacket);
        }
        self.expire(&mut seen, Some(at));
        for message in &messages {
            match message.protocol {
                Protocol::Sip => self.sip.message(message, &mut seen),
                Protocol::Map => self.map.message(message, &mut seen),
                Protocol::Diameter => self.diameter.message(message, &mut seen),
                Protocol::Gsup => self.gsup.message(message, &mut seen),
                Protocol::Smpp => smpp::message(message, &mut seen),
            }
        }
        self.settle(seen, Some(at))
    }

    /// What the end of the capture lets us know: requests that nobody answered, users that nobody
    /// named.
    pub fn finish(&mut self) -> Vec<Fact> {
        let mut seen = Seen::new(Timestamp::MAX, Arc::clone(&self.home));
        self.expire(&mut seen, None);
        self.settle(seen, None)
    }

    /// Closes what has waited long enough at `now`; all that waits where there is no more time.
    fn expire(&mut self, seen: &mut Seen, now: Option<Timestamp>) {
        self.sip.expire(now, seen);
        self.map.expire(now, seen);
        self.diameter.open.expire(now, seen);
        self.gsup.open.expire(now, seen);
    }

    /// Gives each sighting its user. A binding comes before what it explains, and what waited for
    /// it before what came with it.
    fn settle(&mut self, seen: Seen, now: Option<Timestamp>) -> Vec<Fact> {
        let Seen { bindings, sightings, skips, now: at, .. } = seen;
        let mut forgotten = now.map_or(0, |now| self.directory.expire(Some(now)));
        let mut facts = Vec::new();
        for (imsi, user) in bindings {
            for sighting in self.directory.bind(imsi, &user, at) {
                facts.push(Fact::Event(sighting.event(&self.source, &user)));
            }
        }
        for sighting in sightings {
            let user = match &sighting.who {
                Who::User(user) => Ok(user.clone()),
                Who::Imsi(imsi) => self.directory.lookup(*imsi, sighting.at).ok_or(*imsi),
            };
            match user {
                Ok(user) => facts.push(Fact::Event(sighting.event(&self.source, &user))),
                Err(imsi) => self.directory.park(imsi, sighting),
            }
        }
        forgotten += self.directory.expire(now);
        facts.extend(skips.into_iter().map(Fact::Skipped));
        facts.extend((0..forgotten).map(|_| Fact::Skipped(Skip::ImsiUnresolved)));
        facts
    }
}

/// What a failed SMS's absent-subscriber diagnostic says of the phone; the others name no detach,
/// or not where. (`rules.md` 4.6)
fn detached_by(diagnostic: u64) -> Option<&'static str> {
    match diagnostic {
        1 | 3 | 4 | 9 => Some("cpm.cs.detached"),
        6 | 7 | 8 | 10 => Some("cpm.ps.detached"),
        _ => None,
    }
}

/// Bytes written in hexadecimal.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

/// What the messages of a line tell, as their readers find it.
#[derive(Debug)]
struct Seen {
    /// When.
    now: Timestamp,
    home: Arc<Home>,
    bindings: Vec<(Imsi, Address)>,
    sightings: Vec<Sighting>,
    skips: Vec<Skip>,
}

impl Seen {
    fn new(now: Timestamp, home: Arc<Home>) -> Self {
        Self { now, home, bindings: Vec::new(), sightings: Vec::new(), skips: Vec::new() }
    }

    fn tell(&mut self, sighting: Sighting) {
        self.sightings.push(sighting);
    }

    fn skip(&mut self, reason: Skip) {
        self.skips.push(reason);
    }

    /// The IMSI is that user's (ID-3).
    fn bind(&mut self, imsi: Option<Imsi>, user: Option<Address>) {
        if let (Some(imsi), Some(user)) = (imsi, user) {
            self.bindings.push((imsi, user));
        }
    }
}

#[cfg(test)]
mod tests;
