//! The user's own rules changed: what they hold waits, what they held goes.
//!
//! Source: OMA CPM 2.1 change requests, 8.3.1.1 steps 4e and 5; `rules.md` T-20, T-21, R-27, D-6, P-6,
//! P-22.

use super::{Ignored, Step};
use crate::domain::event::{Event, Hold, HoldBy, MessageRef};
use crate::domain::input::{Action, Change, PreferencesChanged};
use crate::domain::pager::keeps;
use crate::domain::time::Timestamp;
use crate::domain::user::StoredRule;

impl Step<'_> {
    /// T-20, T-21.
    pub(super) fn preferences_changed(
        &mut self,
        change: &PreferencesChanged,
    ) -> Result<(), Ignored> {
        let known = self.user.prefs.as_ref().and_then(|prefs| prefs.version);
        if change.version.zip(known).is_some_and(|(version, known)| version <= known) {
            return Err(Ignored::NotNewer);
        }
        let dnd_by_rule = self.user.prefs.iter().flat_map(|prefs| &prefs.rules).any(|rule| {
            rule.profiles.is_empty() && rule.actions.contains(&Action::AllowDoNotDisturb)
        });
        self.emit(Event::Preferred { change: Some(Box::new(change.clone())) });
        self.hold_by_dnd(change);
        if dnd_by_rule || !matches!(change.rules, Change::Keep) {
            self.hold_by_rules(dnd_by_rule);
        }
        Ok(())
    }

    /// DND on holds all that wait; DND off lets go of what it held (P-6: the rest holds on).
    fn hold_by_dnd(&mut self, change: &PreferencesChanged) {
        let until = self.user.prefs.as_ref().and_then(|prefs| prefs.dnd_until);
        let held = self.user.messages.iter().any(|m| m.is_held_by(&HoldBy::Dnd));
        if self.dnd_on() {
            let until = until.filter(|until| *until < Timestamp::MAX);
            if !self.user.messages.is_empty() {
                self.emit(Event::HoldSet { ms: Vec::new(), hold: Hold { by: HoldBy::Dnd, until } });
            }
        } else if held && !matches!(change.do_not_disturb, Change::Keep) {
            self.emit(Event::HoldEnded { ms: Vec::new(), by: HoldBy::Dnd });
        }
    }

    fn dnd_on(&self) -> bool {
        self.user.prefs.as_ref().is_some_and(|prefs| prefs.undisturbed(self.now))
    }

    /// Each waiting message against the rules of now: allow-defer holds, and what no longer matches
    /// lets go. Those that a front held by a rule we do not know keep to it until rules are told; so do
    /// those that it held for DND, unless a rule of ours did (`dnd_by_rule`).
    fn hold_by_rules(&mut self, dnd_by_rule: bool) {
        let view = self.view();
        let undisturbed = self.dnd_on();
        let hold_of = |rule: &StoredRule| {
            let by = if rule.actions.contains(&Action::AllowDefer) {
                HoldBy::Rule(rule.name.clone())
            } else if rule.actions.contains(&Action::AllowDoNotDisturb) && !undisturbed {
                HoldBy::Dnd
            } else {
                return None;
            };
            Some(Hold { by, until: rule.valid_until })
        };
        let may_end = |by: &HoldBy| match by {
            HoldBy::Rule(_) => true,
            HoldBy::Dnd => dnd_by_rule && !undisturbed,
            HoldBy::Operator => false,
        };
        let mut over: Vec<(HoldBy, Vec<MessageRef>)> = Vec::new();
        let mut new: Vec<(Hold, Vec<MessageRef>)> = Vec::new();
        for m in &self.user.messages {
            let counts = keeps(m.content.kind, self.policy);
            let matching = view.matching(&m.content).filter(|_| counts);
            let wanted = matching.filter_map(hold_of).fold(Vec::new(), longest);
            for hold in m.holds.iter().filter(|hold| may_end(&hold.by)) {
                if !wanted.iter().any(|wanted| wanted.by == hold.by) {
                    group(&mut over, hold.by.clone(), m.m());
                }
            }
            // A rule may hold on, and end at another time.
            for hold in wanted.into_iter().filter(|wanted| !m.holds.contains(wanted)) {
                group(&mut new, hold, m.m());
            }
        }
        for (by, ms) in over {
            self.emit(Event::HoldEnded { ms, by });
        }
        for (hold, ms) in new {
            self.emit(Event::HoldSet { ms, hold });
        }
    }
}

/// The holds of rules that match, each once: rules of one name are periods of one rule.
fn longest(mut holds: Vec<Hold>, hold: Hold) -> Vec<Hold> {
    match holds.iter_mut().find(|known| known.by == hold.by) {
        Some(known) => known.until = known.until.zip(hold.until).map(|(one, other)| one.max(other)),
        None => holds.push(hold),
    }
    holds
}

/// One event a hold, however many messages it is about.
fn group<T: PartialEq>(groups: &mut Vec<(T, Vec<MessageRef>)>, of: T, m: MessageRef) {
    match groups.iter_mut().find(|(known, _)| *known == of) {
        Some((_, ms)) => ms.push(m),
        None => groups.push((of, vec![m])),
    }
}
