//! What a user prefers, as the policy document of the XDM server says it.
//!
//! The reader stands beside this; [`Rule::recorded`] makes of a rule what `cpm.preferences.changed`
//! keeps, which is what the procedure asks: rules of CPM alone, one for each period. Words shared with the record
//! are its own: [`Action`], `Kind`, [`Senders`].
//!
//! Source: OMA CPM 2.1 change requests, 8.3.1.1; RFC 4745 (conditions and how they combine); RFC 4826
//! (lists); `rules.md` SEED0-52 to SEED0-66, A-19, A-25, A-47.

use std::collections::BTreeSet;

use crate::domain::input::{self, Action};
use crate::domain::message::Kind;
use crate::domain::senders::Senders;
use crate::domain::time::Timestamp;

/// The enabler whose rules are ours (SEED0-53); documents write it in any case.
const CPM: &str = "CPM";

/// A rule: all its conditions hold, or it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Its `id`, as holds and `why` tell it. Unique in a document.
    pub id: Box<str>,
    /// When it speaks.
    pub conditions: Conditions,
    /// What it then says.
    pub actions: Actions,
}

/// The conditions of a rule. One that is absent holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// `service-list`: enablers. Steps 4 to 8a look for rules that have one: [`Self::is_of_cpm`].
    pub services: Option<Listed<Box<str>>>,
    /// `media-list`. Step 4 looks for rules that have one: [`Self::is_of_standalone`].
    pub media: Option<Listed<Medium>>,
    /// `upp-list`: names of User Preference Profiles. Not empty: the rule speaks of clients with such an
    /// active profile, in 8a alone. Names compare exactly.
    pub profiles: Vec<Box<str>>,
    /// `identity`: whom it names. `None`: no such condition.
    pub senders: Option<Senders>,
    /// `other-identity`: holds for a sender whom no rule of the document names by `identity`, be that rule
    /// about another service, or such that it never matches.
    pub other_identity: bool,
    /// `anonymous-request`: holds if the sender wants anonymity (as in step 2).
    pub anonymous: bool,
    /// `validity`: holds within any of these. `None`: no such condition. An empty list is never.
    pub validity: Option<Vec<Period>>,
    /// `sphere`: its values. Nobody tells us a user's sphere, so a rule with one never matches.
    pub spheres: Vec<Box<str>>,
    /// Names of conditions that we do not know. RFC 4745 10.1 has them not hold, so such a rule never
    /// matches; `why` and `deferd evfw` name them.
    pub unknown: Vec<Box<str>>,
}

/// A list that names what it means, or what it does not mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed<T> {
    /// These.
    Only(Vec<T>),
    /// All but these (`all-services-except`, `all-media-except`).
    AllExcept(Vec<T>),
}

/// An entry of a `media-list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Medium {
    /// `standalone-message` (and `pager-mode-message`, its older name): [`Kind::Pager`],
    /// [`Kind::Large`] and the notifications that travel the same way.
    StandaloneMessage,
    /// `message-session`: [`Kind::Chat`].
    Session,
    /// `file-transfer`: [`Kind::File`].
    FileTransfer,
    /// Any other, by its name: audio, video, …. It is none of our kinds.
    Other(Box<str>),
}

/// A stretch of time: `from` belongs to it, `until` does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its first instant.
    pub from: Timestamp,
    /// The first instant after it. Not before `from`.
    pub until: Timestamp,
}

/// What a rule says, each action at most once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    /// Actions set to `true`, in the order of [`Action`], which is the printed one.
    pub allowed: BTreeSet<Action>,
    /// Actions set to `false` in so many words. For the procedure they are absent; people may ask why.
    pub denied: BTreeSet<Action>,
    /// Where this rule's `allow-forward` sends messages.
    pub forward_to: Option<Box<str>>,
    /// Names of actions that we do not know. They do nothing.
    pub unknown: Vec<Box<str>>,
}

impl Rule {
    /// The rule as the record holds it: one for each of its periods, none if it never matches a CPM
    /// message. The rule's own `forward_to` stands in the record beside the rules: the caller sees to it.
    #[must_use]
    pub fn recorded(&self) -> Vec<input::Rule> {
        let conditions = &self.conditions;
        if !conditions.can_hold() || !conditions.is_of_cpm() {
            return Vec::new();
        }
        let kinds = match &conditions.media {
            None => Vec::new(),
            Some(media) => {
                let kinds: Vec<Kind> =
                    Medium::KINDS.into_iter().filter(|kind| media.covers(*kind)).collect();
                match kinds.len() {
                    0 => return Vec::new(),
                    all if all == Medium::KINDS.len() => Vec::new(),
                    _ => kinds,
                }
            }
        };
        // Step 4 looks for rules that name a medium; steps 5, 6 and 8a for those of CPM (SEED0-53).
        let counts = |action: &Action| {
            conditions.media.is_some()
                || !conditions.profiles.is_empty()
                || matches!(action, Action::AllowDoNotDisturb | Action::AllowOfflineStorage)
        };
        let actions: Vec<Action> = self.actions.allowed.iter().copied().filter(counts).collect();
        let rule = |valid_from, valid_until| input::Rule {
            actions: actions.clone(),
            kinds: kinds.clone(),
            profiles: conditions.profiles.clone(),
            other_identity: conditions.other_identity,
            anonymous_request: conditions.anonymous,
            valid_from,
            valid_until,
            ..self.naming()
        };
        match &conditions.validity {
            None => vec![rule(None, None)],
            Some(periods) => {
                let told = |period: &Period| {
                    let from = (period.from > Timestamp::EPOCH).then_some(period.from);
                    let until = (period.until < Timestamp::MAX).then_some(period.until);
                    rule(from, until)
                };
                periods.iter().map(told).collect()
            }
        }
    }

    /// A rule that does nothing, and names whom this one names: for the `other-identity` of others.
    pub(super) fn naming(&self) -> input::Rule {
        let Senders { one, many } = self.conditions.senders.clone().unwrap_or_default();
        input::Rule { name: self.id.clone(), senders: one, many, ..input::Rule::default() }
    }
}

impl Conditions {
    /// Whether there is a message for which all of them hold: nothing unknown, no sphere, and no list
    /// that matches nobody or never.
    #[must_use]
    pub fn can_hold(&self) -> bool {
        self.unknown.is_empty()
            && self.spheres.is_empty()
            && self.senders.as_ref().is_none_or(|senders| !senders.is_empty())
            && self.validity.as_ref().is_none_or(|periods| !periods.is_empty())
    }

    /// Whether its `service-list` is there and means CPM (SEED0-53, SEED0-59, SEED0-60, SEED0-63).
    #[must_use]
    pub fn is_of_cpm(&self) -> bool {
        let names_cpm = |enablers: &[Box<str>]| {
            enablers.iter().any(|enabler| enabler.eq_ignore_ascii_case(CPM))
        };
        match &self.services {
            None => false,
            Some(Listed::Only(enablers)) => names_cpm(enablers),
            Some(Listed::AllExcept(enablers)) => !names_cpm(enablers),
        }
    }

    /// Whether its `media-list` is there and means standalone messages (SEED0-53).
    #[must_use]
    pub fn is_of_standalone(&self) -> bool {
        self.media.as_ref().is_some_and(|media| media.covers(Kind::Pager))
    }

    /// Whether the rule is in force at this instant.
    #[must_use]
    pub fn in_force(&self, at: Timestamp) -> bool {
        self.validity.as_ref().is_none_or(|periods| periods.iter().any(|period| period.has(at)))
    }
}

impl Listed<Medium> {
    /// Whether it means messages of this kind.
    #[must_use]
    pub fn covers(&self, kind: Kind) -> bool {
        match self {
            Self::Only(media) => media.iter().any(|medium| medium.covers(kind)),
            Self::AllExcept(media) => !media.iter().any(|medium| medium.covers(kind)),
        }
    }
}

impl Medium {
    /// The kinds that a rule may be about; what goes from machine to machine is none of them.
    const KINDS: [Kind; 6] =
        [Kind::Pager, Kind::Large, Kind::Chat, Kind::File, Kind::Geolocation, Kind::Imdn];

    /// What a document calls messages of this kind. A place on the map travels as a file does, and a
    /// notification as a standalone message.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Pager | Kind::Large | Kind::Imdn | Kind::System => Self::StandaloneMessage,
            Kind::Chat => Self::Session,
            Kind::File | Kind::Geolocation => Self::FileTransfer,
        }
    }

    fn covers(&self, kind: Kind) -> bool {
        *self == Self::of(kind)
    }
}

impl Period {
    /// Whether an instant lies in it.
    #[must_use]
    pub fn has(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;
    use crate::domain::senders::Many;

    /// SEED0-53: a rule counts in step 4 if it names both the enabler, in any case, and the medium.
    #[test]
    fn a_rule_of_step_4_names_cpm_and_standalone_messages() {
        let mut conditions = Conditions::default();
        assert!(!conditions.is_of_cpm() && !conditions.is_of_standalone());
        conditions.services = Some(Listed::Only(vec!["POC".into(), "cpm".into()]));
        conditions.media = Some(Listed::Only(vec![Medium::StandaloneMessage]));
        assert!(conditions.is_of_cpm() && conditions.is_of_standalone());
        conditions.services = Some(Listed::AllExcept(vec!["CPM".into()]));
        conditions.media = Some(Listed::AllExcept(vec![Medium::FileTransfer]));
        assert!(!conditions.is_of_cpm() && conditions.is_of_standalone());
    }

    /// A condition that nobody can judge never holds, and neither does an empty list.
    #[test]
    fn what_is_not_understood_matches_nothing() {
        let nothing = [
            Conditions { unknown: vec!["moon-phase".into()], ..Conditions::default() },
            Conditions { spheres: vec!["work".into()], ..Conditions::default() },
            Conditions { senders: Some(Senders::default()), ..Conditions::default() },
            Conditions { validity: Some(vec![]), ..Conditions::default() },
        ];
        for conditions in nothing {
            assert!(!conditions.can_hold(), "{conditions:?}");
            let mut rule = Rule { conditions, ..a_rule() };
            rule.conditions.services = a_rule().conditions.services;
            assert_eq!(rule.recorded(), vec![]);
        }
    }

    /// What the record can say is kept; each period is a rule of its own.
    #[test]
    fn the_record_keeps_what_it_has_fields_for() {
        let rule = a_rule();
        let recorded = rule.recorded();
        assert_eq!(recorded.len(), 2);
        for (recorded, period) in recorded.iter().zip(a_rule().conditions.validity.unwrap()) {
            let expected = input::Rule {
                name: "nights".into(),
                actions: vec![Action::AllowDefer],
                kinds: vec![Kind::Pager, Kind::Large, Kind::Imdn],
                senders: vec!["tel:+15145550101".into()],
                valid_from: Some(period.from),
                valid_until: Some(period.until),
                ..input::Rule::default()
            };
            assert_eq!(*recorded, expected);
        }

        let mut far = rule;
        let many = Many { domain: Some("x.example".into()), ..Many::default() };
        far.conditions.senders = Some(Senders { one: vec![], many: vec![many.clone()] });
        (far.conditions.anonymous, far.conditions.other_identity) = (true, true);
        for rule in far.recorded() {
            assert!(rule.senders.is_empty() && rule.anonymous_request && rule.other_identity);
            assert_eq!(rule.many, slice::from_ref(&many));
        }
        far.conditions.services = Some(Listed::Only(vec!["POC".into()]));
        assert_eq!(far.recorded(), vec![]);
    }

    /// SEED0-53, SEED0-59: without a medium a rule says nothing in step 4, and is heard in step 5.
    #[test]
    fn a_rule_without_a_medium_is_none_of_step_4() {
        let mut rule = a_rule();
        rule.conditions.media = None;
        rule.actions.allowed = [Action::AllowStore, Action::AllowDoNotDisturb].into();

        let recorded = rule.recorded();

        assert!(recorded.iter().all(|rule| rule.actions == [Action::AllowDoNotDisturb]));
        assert_eq!(recorded.len(), 2);
    }

    fn a_rule() -> Rule {
        let period = |from, until| Period {
            from: Timestamp::from_millis(from),
            until: Timestamp::from_millis(until),
        };
        Rule {
            id: "nights".into(),
            conditions: Conditions {
                services: Some(Listed::Only(vec![CPM.into()])),
                media: Some(Listed::Only(vec![Medium::StandaloneMessage])),
                senders: Some(Senders { one: vec!["tel:+15145550101".into()], many: vec![] }),
                validity: Some(vec![period(1, 2), period(3, 4)]),
                ..Conditions::default()
            },
            actions: Actions { allowed: [Action::AllowDefer].into(), ..Actions::default() },
        }
    }
}
