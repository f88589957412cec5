//! What a user prefers, as the policy document of the XDM server says it.
//!
//! The reader stands beside this; [`Rule::recorded`] makes of a rule what `cpm.preferences.changed`
//! keeps, which is what the procedure asks. The record can say less than a document: no service but CPM, one
//! period a rule, senders one by one; what it cannot say is refused. Words shared with the record are its own:
//! [`Action`], `Kind`.
//!
//! Source: OMA CPM 2.1 change requests, 8.3.1.1; RFC 4745 (conditions and how they combine); RFC 4826
//! (lists); `rules.md` SEED0-52 to SEED0-66, A-19, A-25, A-47.

use std::collections::BTreeSet;

use crate::domain::input::{self, Action};
use crate::domain::message::Kind;
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
    /// `identity`: senders, of which one match is enough. `None`: no such condition. An empty list
    /// matches nobody.
    pub senders: Option<Vec<Identity>>,
    /// `other-identity`: holds for a sender whom no rule of the document names by `identity`.
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

/// Senders that an `identity` condition means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// `one`: this sender. As the records hold senders: the canonical address
    /// ([`Address`](crate::domain::address::Address)), or the text as it stands where that is none (a
    /// short code, a name).
    One(Box<str>),
    /// `many`: all senders with an identity, but for the exceptions.
    Many {
        /// Only those of this domain, in lower case. A number has none, also where it came in a SIP URI.
        domain: Option<Box<str>>,
        /// `except`.
        except: Vec<Except>,
    },
}

/// Whom a `many` does not mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Except {
    /// This sender, as [`Identity::One`] has it.
    One(Box<str>),
    /// All of this domain, in lower case.
    Domain(Box<str>),
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

/// Why the record `cpm.preferences.changed` cannot keep a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Beyond {
    /// `many` with a domain or exceptions.
    #[error("it names senders by domain or exception, expected each sender by itself")]
    Senders,
    /// `other-identity`.
    #[error("it is about senders that no other rule names, expected each sender by itself")]
    OtherIdentity,
    /// `anonymous-request`.
    #[error("it is about anonymous senders, which a record does not tell apart")]
    Anonymous,
}

impl Rule {
    /// The rule as the record holds it: one for each of its periods, none if it never matches a CPM
    /// message. The rule's own `forward_to` stands in the record beside the rules: the caller sees to it.
    ///
    /// # Errors
    ///
    /// [`Beyond`] names the condition that a record has no field for: refuse the document.
    pub fn recorded(&self) -> Result<Vec<input::Rule>, Beyond> {
        let conditions = &self.conditions;
        if !conditions.can_hold() || !conditions.is_of_cpm() {
            return Ok(Vec::new());
        }
        if conditions.anonymous {
            return Err(Beyond::Anonymous);
        }
        if conditions.other_identity {
            return Err(Beyond::OtherIdentity);
        }
        let mut senders = Vec::new();
        for identity in conditions.senders.iter().flatten() {
            match identity {
                Identity::One(sender) => senders.push(sender.clone()),
                Identity::Many { domain: None, except } if except.is_empty() => {
                    senders.clear();
                    break;
                }
                Identity::Many { .. } => return Err(Beyond::Senders),
            }
        }
        let kinds = match &conditions.media {
            None => Vec::new(),
            Some(media) => {
                let kinds: Vec<Kind> =
                    Medium::KINDS.into_iter().filter(|kind| media.covers(*kind)).collect();
                match kinds.len() {
                    0 => return Ok(Vec::new()),
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
            name: self.id.clone(),
            actions: actions.clone(),
            kinds: kinds.clone(),
            senders: senders.clone(),
            profiles: conditions.profiles.clone(),
            valid_from,
            valid_until,
        };
        Ok(match &conditions.validity {
            None => vec![rule(None, None)],
            Some(periods) => {
                let told = |period: &Period| {
                    let from = (period.from > Timestamp::EPOCH).then_some(period.from);
                    let until = (period.until < Timestamp::MAX).then_some(period.until);
                    rule(from, until)
                };
                periods.iter().map(told).collect()
            }
        })
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

impl Identity {
    /// Whether it means this sender, in the form of [`Identity::One`].
    #[must_use]
    pub fn means(&self, sender: &str) -> bool {
        match self {
            Self::One(one) => **one == *sender,
            Self::Many { domain, except } => {
                domain.as_ref().is_none_or(|domain| domain_of(sender) == Some(&**domain))
                    && !except.iter().any(|except| match except {
                        Except::One(one) => **one == *sender,
                        Except::Domain(domain) => domain_of(sender) == Some(&**domain),
                    })
            }
        }
    }
}

impl Period {
    /// Whether an instant lies in it.
    #[must_use]
    pub fn has(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }
}

/// The host of a canonical SIP URI, without its port; numbers and names have none.
fn domain_of(sender: &str) -> Option<&str> {
    let (_, place) = sender.strip_prefix("sip:")?.rsplit_once('@')?;
    let end = place.find(']').map_or_else(|| place.find(':'), |end| Some(end + 1));
    place.get(..end.unwrap_or(place.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// RFC 4745 7.1: domains and exceptions.
    #[test]
    fn everybody_but_the_spammers() {
        let many = |domain: Option<&str>, except| Identity::Many {
            domain: domain.map(Into::into),
            except,
        };
        let but =
            vec![Except::Domain("spam.example".into()), Except::One("tel:+15145550101".into())];
        let everybody = many(None, but);
        for (sender, meant) in [
            ("tel:+15145550100", true),
            ("tel:+15145550101", false),
            ("sip:eve@spam.example", false),
            ("sip:eve@spam.example:5080", false),
            ("sip:bob@ham.example", true),
            ("INFO", true),
        ] {
            assert_eq!(everybody.means(sender), meant, "{sender}");
        }
        let ours = many(Some("ham.example"), vec![]);
        assert!(ours.means("sip:bob@ham.example") && !ours.means("tel:+15145550100"));
        assert!(many(Some("[2001:db8::1]"), vec![]).means("sip:bob@[2001:db8::1]:5080"));
    }

    /// A condition that nobody can judge never holds, and neither does an empty list.
    #[test]
    fn what_is_not_understood_matches_nothing() {
        let nothing = [
            Conditions { unknown: vec!["moon-phase".into()], ..Conditions::default() },
            Conditions { spheres: vec!["work".into()], ..Conditions::default() },
            Conditions { senders: Some(vec![]), ..Conditions::default() },
            Conditions { validity: Some(vec![]), ..Conditions::default() },
        ];
        for conditions in nothing {
            assert!(!conditions.can_hold(), "{conditions:?}");
            let mut rule = Rule { conditions, ..a_rule() };
            rule.conditions.services = a_rule().conditions.services;
            assert_eq!(rule.recorded(), Ok(vec![]));
        }
    }

    /// What the record can say is kept; each period is a rule of its own.
    #[test]
    fn the_record_keeps_what_it_has_fields_for() {
        let rule = a_rule();
        let recorded = rule.recorded().unwrap();
        assert_eq!(recorded.len(), 2);
        for (recorded, period) in recorded.iter().zip(a_rule().conditions.validity.unwrap()) {
            let expected = input::Rule {
                name: "nights".into(),
                actions: vec![Action::AllowDefer],
                kinds: vec![Kind::Pager, Kind::Large, Kind::Imdn],
                senders: vec!["tel:+15145550101".into()],
                profiles: Vec::new(),
                valid_from: Some(period.from),
                valid_until: Some(period.until),
            };
            assert_eq!(*recorded, expected);
        }

        let mut far = rule;
        far.conditions.senders = Some(vec![Identity::Many { domain: None, except: vec![] }]);
        assert!(far.recorded().unwrap().iter().all(|rule| rule.senders.is_empty()));
        far.conditions.senders =
            Some(vec![Identity::Many { domain: Some("x.org".into()), except: vec![] }]);
        assert_eq!(far.recorded(), Err(Beyond::Senders));
        far.conditions.anonymous = true;
        assert_eq!(far.recorded(), Err(Beyond::Anonymous));
        far.conditions.anonymous = false;
        far.conditions.other_identity = true;
        assert_eq!(far.recorded(), Err(Beyond::OtherIdentity));
        far.conditions.services = Some(Listed::Only(vec!["POC".into()]));
        assert_eq!(far.recorded(), Ok(vec![]));
    }

    /// SEED0-53, SEED0-59: without a medium a rule says nothing in step 4, and is heard in step 5.
    #[test]
    fn a_rule_without_a_medium_is_none_of_step_4() {
        let mut rule = a_rule();
        rule.conditions.media = None;
        rule.actions.allowed = [Action::AllowStore, Action::AllowDoNotDisturb].into();

        let recorded = rule.recorded().unwrap();

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
                senders: Some(vec![Identity::One("tel:+15145550101".into())]),
                validity: Some(vec![period(1, 2), period(3, 4)]),
                ..Conditions::default()
            },
            actions: Actions { allowed: [Action::AllowDefer].into(), ..Actions::default() },
        }
    }
}
