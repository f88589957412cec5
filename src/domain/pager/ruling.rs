//! What a user's rules say of a message: steps 4 to 6 of the procedure, each with the rule that says so.
//!
//! The engine keeps a message by it, and the procedure answers by it. Source: OMA CPM 2.1 change requests,
//! 8.3.1.1; `rules.md`, SEED4-41, P-6, Q-18.

use crate::domain::event::{Hold, HoldBy};
use crate::domain::input::Action;
use crate::domain::message::{Content, Interwork, Kind};
use crate::domain::open::View;
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;
use crate::domain::user::StoredRule;

/// What step 4 does with a message apart from interworking: one of them, by the printed order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Then<'a> {
    /// None of them matched.
    #[default]
    Nothing,
    /// 4c: into the message store.
    Store(&'a StoredRule),
    /// 4d: to another address.
    Forward {
        /// The rule.
        rule: &'a StoredRule,
        /// The address.
        to: &'a str,
    },
    /// 4e: kept as long as the rule matches.
    Defer(&'a StoredRule),
}

/// Do not disturb, and what says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Undisturbed<'a> {
    /// The rule; `None`: the user's own switch.
    pub rule: Option<&'a StoredRule>,
    /// Until when, if that is known.
    pub until: Option<Timestamp>,
}

/// What the rules say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ruling<'a> {
    /// 4a: the front refuses it.
    pub reject: Option<&'a StoredRule>,
    /// 4b: only by SMS, or by SMS too.
    pub interwork: Option<(Interwork, &'a StoredRule)>,
    /// 4c to 4e.
    pub then: Then<'a>,
    /// 5: `None` too where the printed order comes past it.
    pub undisturbed: Option<Undisturbed<'a>>,
    /// 6: it is recorded in the history as well.
    pub record: Option<&'a StoredRule>,
}

/// Whether preferences keep a message of this kind back: an event report only by policy (SEED4-41).
#[must_use]
pub fn keeps(kind: Kind, policy: &Policy) -> bool {
    Counts::of(kind, policy).keep
}

/// Which steps count for a kind of message.
struct Counts {
    interwork: bool,
    store: bool,
    forward: bool,
    keep: bool,
}

impl Counts {
    fn of(kind: Kind, policy: &Policy) -> Self {
        match kind {
            Kind::Imdn => {
                let literal = policy.literal_imdn_rules;
                Self { interwork: literal, store: literal, forward: false, keep: true }
            }
            Kind::System => Self {
                interwork: policy.events_interwork,
                store: policy.events_store,
                forward: true,
                keep: policy.events_defer,
            },
            Kind::Pager | Kind::Large | Kind::Chat | Kind::File | Kind::Geolocation => {
                Self { interwork: true, store: true, forward: true, keep: true }
            }
        }
    }
}

impl<'a> Ruling<'a> {
    /// What the rules of this user say of this message now.
    #[must_use]
    pub fn of(view: &View<'a>, content: &'a Content) -> Self {
        let Some(prefs) = &view.user.prefs else { return Self::default() };
        let counts = Counts::of(content.kind, view.policy);
        let rules: Vec<_> = view.matching(content).collect();
        let has =
            |action: Action| rules.iter().copied().find(|rule| rule.actions.contains(&action));
        let only = has(Action::AllowInterwork).filter(|_| counts.interwork);
        let also = has(Action::AllowDeliverAndInterwork).filter(|_| counts.interwork);
        let interwork = only
            .map(|rule| (Interwork::Only, rule))
            .or_else(|| also.map(|rule| (Interwork::Also, rule)));
        let store = has(Action::AllowStore).filter(|_| counts.store);
        let forward = has(Action::AllowForward).filter(|_| counts.forward);
        let defer = has(Action::AllowDefer).filter(|_| counts.keep);
        let then = match (only, store, forward.zip(prefs.forward_to.as_deref()), defer) {
            // without delivering to CPM clients, and nothing of what follows.
            (Some(_), ..) | (None, None, None, None) => Then::Nothing,
            (None, Some(rule), ..) => Then::Store(rule),
            (None, None, Some((rule, to)), _) => Then::Forward { rule, to },
            (None, None, None, Some(rule)) => Then::Defer(rule),
        };
        // DND is looked at before 4b, unless the operator wants the printed order.
        let reached = only.is_none() || view.policy.dnd_blocks_interwork;
        let undisturbed = if counts.keep && reached {
            let until = |until: &Timestamp| *until < Timestamp::MAX;
            if prefs.undisturbed(view.now) {
                Some(Undisturbed { rule: None, until: prefs.dnd_until.filter(until) })
            } else {
                has(Action::AllowDoNotDisturb)
                    .map(|rule| Undisturbed { rule: Some(rule), until: rule.valid_until })
            }
        } else {
            None
        };
        let goes_on = then == Then::Nothing && undisturbed.is_none();
        let record = has(Action::AllowOfflineStorage).filter(|_| goes_on && counts.store);
        Self { reject: has(Action::AllowRejectInvite), interwork, then, undisturbed, record }
    }

    /// What keeps the message: DND, and a rule that defers. Both hold where both are said.
    pub fn holds(&self) -> impl Iterator<Item = Hold> {
        let dnd = self.undisturbed.map(|dnd| Hold { by: HoldBy::Dnd, until: dnd.until });
        let rule = match self.then {
            Then::Defer(rule) => {
                Some(Hold { by: HoldBy::Rule(rule.name.clone()), until: rule.valid_until })
            }
            Then::Nothing | Then::Store(_) | Then::Forward { .. } => None,
        };
        dnd.into_iter().chain(rule)
    }
}
