//! Event reports, `application/vnd.oma.cpm-eventfw+xml`: what gateways and clients tell of events.
//!
//! ```text
//! cpm-evfw ─┬─ cpm-event-iw ──── failed-iw, ready-for-sms (a gateway: SMS failed, SMS is back)
//!           ├─ event-cpm-imap ── operation ── object      (a client: flags of stored messages)
//!           └─ anything else                               kept as it came
//! ```
//!
//! [`read`] takes every spelling that the change requests have, [`EventReport::write`] writes one. What
//! an unknown element says is kept and counted, never guessed at.
//!
//! Source: OMA CPM 2.1 change requests, 6.7.4, 6.7.5 and Appendix M; `rules.md` SEED0-20 to SEED0-38,
//! SEED4-58 to SEED4-83, A-3 to A-17, A-37 to A-42.

mod imap_event;
mod interworking;
mod read;
mod write;

use serde::{Deserialize, Serialize};

pub use imap_event::{Asked, Flag, ImapEvent, Object, Operation, Refusal};
pub use interworking::{
    Context, Domain, FailedIw, Interworking, IwOutcome, IwReport, IwResult, ReadyForSms,
};
pub use read::{Note, Read, Reading, read};
pub use write::{FlagAttribute, WriteError, Writing};

use super::xml::Kept;

/// The MIME type of an event report (SEED4-59). Parameters do not count, nor does case (A-43).
pub const MIME: &str = "application/vnd.oma.cpm-eventfw+xml";

/// The namespace of its elements (SEED4-60).
pub const NAMESPACE: &str = "urn:oma:xml:cpm:evfw";

/// The namespace of our own extensions: `cause` and `iw-result` (A-4, A-17).
pub const OWN_NAMESPACE: &str = "urn:deferd:xml:cpm:evfw";

/// Whether a Content-Type is that of an event report. (A-43)
#[must_use]
pub fn is_event_report(content_type: &str) -> bool {
    super::is_type(content_type, MIME)
}

/// All of a document. One without events does nothing (A-37).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventReport {
    /// In the order of the document.
    pub events: Vec<Event>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// `cpm-event-iw`, or its events directly under the root (A-3). Only a configured gateway may say
    /// it (A-7).
    Interworking(Interworking),
    /// `event-cpm-imap`: a client asks for flags in the message store.
    Imap(ImapEvent),
    /// Another enabler's or application's (SEED4-60, SEED4-82).
    Other(Kept),
}

impl EventReport {
    /// The interworking events with their number in the document, from 0 (A-17), in the order in which
    /// they happened: failures and results before what is ready, as they are older (A-3).
    #[must_use]
    pub fn interworking(&self) -> Vec<(usize, &IwReport)> {
        let all = self.events.iter().flat_map(|event| match event {
            Event::Interworking(iw) => &*iw.reports,
            Event::Imap(_) | Event::Other(_) => &[],
        });
        let mut all: Vec<_> = all.enumerate().collect();
        all.sort_by_key(|(_, report)| matches!(report, IwReport::Ready(_)));
        all
    }

    /// The IMAP events, in order.
    pub fn imap(&self) -> impl Iterator<Item = &ImapEvent> {
        self.events.iter().filter_map(|event| match event {
            Event::Imap(imap) => Some(imap),
            Event::Interworking(_) | Event::Other(_) => None,
        })
    }

    /// Whether it asks for nothing that we know: an empty document, empty containers, foreign events.
    #[must_use]
    pub fn does_nothing(&self) -> bool {
        self.interworking().is_empty() && self.imap().all(|imap| imap.objects().next().is_none())
    }
}

#[cfg(test)]
mod tests;
