//! Which of a user's registered clients get a message: step 8a.
//!
//! Source: OMA CPM 2.1 change requests, 6.6 and 8.3.1.1 step 8a; `rules.md` SEED0-63 to SEED0-67, SEED4-6 to
//! SEED4-9, A-27 to.

use crate::domain::message::Content;
use crate::domain::open::View;
use crate::domain::policy::AccessSwitch;
use crate::domain::reachability::DeviceName;
use crate::domain::user::{Contact, Device};

/// A registered client, and what step 8a says of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Client<'a> {
    /// Its device.
    pub device: &'a DeviceName,
    /// What is said of it.
    pub verdict: Verdict<'a>,
}

/// Whether a client gets the message, or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It does.
    Suitable,
    /// A rule excludes its active profile (8a-i).
    Profile(&'a str),
    /// It did not answer last time, so there is no connectivity (8a-ii).
    Connectivity,
    /// It cannot take this kind of message (8a-iii); where nobody told, it is tried.
    Capability,
    /// The operator has switched IP off or holds it (8a-iv).
    Policy,
}

/// All registered clients.
pub(super) fn judged<'a>(view: &View<'a>, content: &Content) -> Vec<Client<'a>> {
    let judge = |(device, contact): (&'a Device, &'a Contact)| Client {
        device: &device.name,
        verdict: verdict(view, contact, content),
    };
    view.contacts().map(judge).collect()
}

fn verdict<'a>(view: &View<'a>, contact: &Contact, content: &Content) -> Verdict<'a> {
    if let Some(rule) = view.excluding(contact, content) {
        Verdict::Profile(&rule.name)
    } else if contact.suspect {
        Verdict::Connectivity
    } else if !View::capable(contact, content.kind) {
        Verdict::Capability
    } else if view.policy.access_cpm != AccessSwitch::On {
        Verdict::Policy
    } else {
        Verdict::Suitable
    }
}
