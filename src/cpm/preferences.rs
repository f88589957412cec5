//! What a user prefers, as an XDM server keeps it: a policy document, or lists of addresses.
//!
//! ```text
//! ruleset ── rule id ─┬─ conditions ─ service-list, media-list, upp-list, identity, validity, …
//!                     └─ actions ──── allow-…, each true or false
//! resource-lists ── list ── entry uri          the senders of a blacklist
//! ```
//!
//! Elements are known by their local names, as each comes from a namespace of its own. A condition that
//! we do not know makes its rule match nothing; an action that we do not know does nothing.
//!
//! Source: RFC 4745 7 and 10, RFC 4826 3; OMA XDM policy as far as the CPM change requests cite it;
//! `rules.md` SEED0-52 to SEED0-66, A-25, A-47. Where those leave the syntax open (the words inside an
//! `upp-list`, the address of `allow-forward`), what is read here is our reading.

mod rule;

use std::collections::BTreeSet;

use super::xml::{Document, Element, Limits, Source};
use super::{DocumentError, Fault, Position};
use crate::domain::address::{Address, AddressError, Home};
use crate::domain::input::{Action, Change, PreferencesChanged};
use crate::domain::senders::{Many, Senders};
use crate::domain::time::Timestamp;

pub use rule::{Actions, Conditions, Listed, Medium, Period, Rule};

/// How a document is to be read.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'h> {
    /// How much it may hold.
    pub limits: Limits,
    /// The network whose people wrote the addresses in it.
    pub home: &'h Home,
}

/// What a document says, by what kind of document it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// `ruleset`: all rules of the user, in order.
    Rules(Vec<Rule>),
    /// `resource-lists`: every entry of every list, nested ones too.
    Blacklist(BTreeSet<Box<str>>),
}

impl Said {
    /// What the document changes of what is known: all rules, or all refused senders.
    #[must_use]
    pub fn change(&self) -> PreferencesChanged {
        match self {
            Self::Rules(rules) => {
                let mut all = Vec::new();
                let mut forward_to = Change::Keep;
                for rule in rules {
                    all.extend(rule.recorded());
                    if let Some(to) = &rule.actions.forward_to {
                        forward_to = Change::Set(to.clone());
                    }
                }
                // Others are whom no rule names, so those that never match are heard that far.
                if all.iter().any(|rule| rule.other_identity) {
                    let silent = rules.iter().filter(|rule| rule.recorded().is_empty());
                    all.extend(silent.map(Rule::naming).filter(|rule| rule.named().is_some()));
                }
                let rules = Change::Set(all);
                PreferencesChanged { rules, forward_to, ..PreferencesChanged::default() }
            }
            Self::Blacklist(senders) => PreferencesChanged {
                blacklist: Change::Set(senders.iter().cloned().collect()),
                ..PreferencesChanged::default()
            },
        }
    }
}

/// A document that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// What it says.
    pub said: Said,
    /// What never matches or does nothing, and why: place and sentence.
    pub notes: Vec<(Position, Box<str>)>,
}

/// Reads a policy document or lists of addresses, whole or not at all.
///
/// # Errors
///
/// As [`Document::read`]; [`Fault::Root`] if it is another document; [`Fault::TooLarge`] beyond
/// `limits.items` rules, senders and entries; [`Fault::Content`] if something that must be there is
/// missing, twice, or no such thing.
pub fn read(bytes: &[u8], reading: &Reading<'_>) -> Result<Read, DocumentError> {
    let source = Source::new(bytes, &reading.limits)?;
    let document = Document::read(&source, &reading.limits)?;
    let root = document.root();
    let mut reader = Reader { reading, items: 0, notes: Vec::new() };
    let said = if root.is("ruleset") {
        let mut rules: Vec<Rule> = Vec::new();
        for child in root.children() {
            if !child.is("rule") {
                reader.unknown(&child, "it is passed over");
                continue;
            }
            let rule = reader.rule(child)?;
            if rules.iter().any(|known| known.id == rule.id) {
                let found = format!("a second rule `{}`", rule.id);
                return Err(child.value_error("id", found, "each id once"));
            }
            rules.push(rule);
        }
        Said::Rules(rules)
    } else if root.is("resource-lists") {
        let mut blacklist = BTreeSet::new();
        reader.list(root, &mut blacklist)?;
        Said::Blacklist(blacklist)
    } else {
        let found = format!("the root element `{}`", root.name());
        return Err(root.fault(Fault::Root, found, "`ruleset` or `resource-lists`"));
    };
    Ok(Read { said, notes: reader.notes })
}

struct Reader<'r> {
    reading: &'r Reading<'r>,
    items: usize,
    notes: Vec<(Position, Box<str>)>,
}

impl Reader<'_> {
    fn note(&mut self, element: &Element<'_, '_>, text: impl Into<Box<str>>) {
        if self.notes.len() < 64 {
            self.notes.push((element.position(), text.into()));
        }
    }

    fn unknown(&mut self, element: &Element<'_, '_>, so: &str) {
        self.note(element, format!("`{}` is unknown: {so}", element.name()));
    }

    fn item(&mut self, element: &Element<'_, '_>) -> Result<(), DocumentError> {
        self.items += 1;
        let most = self.reading.limits.items;
        if self.items > most {
            let found = format!("more than {most} rules, senders and entries");
            return Err(element.fault(Fault::TooLarge, found, format!("at most {most}")));
        }
        Ok(())
    }

    /// The entries of a list and of the lists in it; no deeper than the document.
    fn list(
        &mut self,
        list: Element<'_, '_>,
        senders: &mut BTreeSet<Box<str>>,
    ) -> Result<(), DocumentError> {
        for child in list.children() {
            if child.is("list") {
                self.list(child, senders)?;
            } else if child.is("entry") {
                self.item(&child)?;
                let sender = self.sender(&child, "uri")?;
                senders.insert(sender);
            } else if child.is("external") || child.is("entry-ref") {
                self.note(
                    &child,
                    format!("`{}` points elsewhere: it is not followed", child.local()),
                );
            } else if !child.is("display-name") {
                self.unknown(&child, "it is passed over");
            }
        }
        Ok(())
    }

    fn rule(&mut self, element: Element<'_, '_>) -> Result<Rule, DocumentError> {
        self.item(&element)?;
        let id = required(&element, "id")?;
        let mut rule = Rule { id: id.into(), ..Rule::default() };
        let (mut conditions, mut actions) = (false, false);
        for child in element.children() {
            if child.is("conditions") {
                once(&child, &mut conditions)?;
                for condition in child.children() {
                    self.condition(condition, &mut rule.conditions)?;
                }
            } else if child.is("actions") || child.is("action") {
                once(&child, &mut actions)?;
                rule.actions = self.actions(child)?;
            } else if !child.is("transformations") {
                self.unknown(&child, "it is passed over");
            }
        }
        Ok(rule)
    }

    fn condition(
        &mut self,
        element: Element<'_, '_>,
        conditions: &mut Conditions,
    ) -> Result<(), DocumentError> {
        match element.local().to_ascii_lowercase().as_str() {
            "service-list" => {
                vacant(&element, conditions.services.is_none())?;
                conditions.services =
                    Some(listed(element, "all-services-except", &mut |service| {
                        if !service.is("service") {
                            return Err(service.error(found(&service), "`service`"));
                        }
                        required(&service, "enabler").map(Into::into)
                    })?);
            }
            "media-list" => {
                vacant(&element, conditions.media.is_none())?;
                conditions.media = Some(listed(element, "all-media-except", &mut |medium| {
                    Ok(match medium.local().to_ascii_lowercase().as_str() {
                        "standalone-message" | "pager-mode-message" => Medium::StandaloneMessage,
                        "message-session" | "chat" => Medium::Session,
                        "file-transfer" => Medium::FileTransfer,
                        other => Medium::Other(other.into()),
                    })
                })?);
            }
            "upp-list" => {
                let before = conditions.profiles.len();
                let names = element.children().filter_map(|child| {
                    let named = child.attribute("name").or_else(|| child.attribute("id"));
                    named.or_else(|| Some(child.text())).filter(|name| !name.is_empty())
                });
                conditions.profiles.extend(names.map(Into::into));
                let alone = Some(element.text()).filter(|name| !name.is_empty());
                conditions.profiles.extend(alone.map(Into::into));
                if conditions.profiles.len() == before {
                    return Err(element.error("an `upp-list` without a profile", "one at least"));
                }
            }
            "identity" => {
                vacant(&element, conditions.senders.is_none())?;
                let mut senders = Senders::default();
                for child in element.children() {
                    self.identity(child, &mut senders)?;
                }
                if senders.is_empty() {
                    self.note(&element, "`identity` without anybody: the rule never matches");
                }
                conditions.senders = Some(senders);
            }
            "validity" => {
                vacant(&element, conditions.validity.is_none())?;
                conditions.validity = Some(periods(&element)?);
            }
            "sphere" => {
                let value = element.attribute("value").unwrap_or_else(|| element.text());
                conditions.spheres.push(value.into());
                self.note(&element, "nobody tells us a user's sphere: the rule never matches");
            }
            "other-identity" => conditions.other_identity = true,
            "anonymous-request" => conditions.anonymous = true,
            unknown => {
                conditions.unknown.push(unknown.into());
                self.unknown(&element, "the rule never matches");
            }
        }
        Ok(())
    }

    fn identity(
        &mut self,
        element: Element<'_, '_>,
        senders: &mut Senders,
    ) -> Result<(), DocumentError> {
        self.item(&element)?;
        let domain = |element: &Element<'_, '_>| -> Option<Box<str>> {
            element.attribute("domain").map(|domain| domain.trim().to_ascii_lowercase().into())
        };
        if element.is("one") {
            senders.one.push(self.sender(&element, "id")?);
            return Ok(());
        }
        if !element.is("many") {
            return Err(element.error(found(&element), "`one` or `many`"));
        }
        let mut many = Many { domain: domain(&element), ..Many::default() };
        for child in element.children() {
            self.item(&child)?;
            if !child.is("except") {
                return Err(child.error(found(&child), "`except`"));
            }
            match (child.attribute("id"), domain(&child)) {
                (Some(_), None) => many.except.push(self.sender(&child, "id")?),
                (None, Some(domain)) => many.except_domains.push(domain),
                (Some(_), Some(_)) | (None, None) => {
                    return Err(child.error("an `except`", "either an id or a domain in it"));
                }
            }
        }
        senders.many.push(many);
        Ok(())
    }

    /// A sender as the records hold it: canonical where it is an address of a user.
    fn sender(
        &mut self,
        element: &Element<'_, '_>,
        attribute: &str,
    ) -> Result<Box<str>, DocumentError> {
        let text = required(element, attribute)?;
        match Address::parse(text, self.reading.home) {
            Ok(address) => Ok(address.to_string().into()),
            Err(error) => {
                if error == AddressError::NoHomeCountry {
                    self.note(element, format!("`{attribute}` is {error}: it matches nobody"));
                }
                Ok(text.into())
            }
        }
    }

    fn actions(&mut self, element: Element<'_, '_>) -> Result<Actions, DocumentError> {
        let mut actions = Actions::default();
        for child in element.children() {
            if child.is("forward-to") {
                let to = Some(child.text()).filter(|to| !to.is_empty());
                let to = to.ok_or_else(|| child.error("no address to forward to", "one"))?;
                actions.forward_to = Some(self.target(&child, to)?);
                continue;
            }
            let Some(action) = action(child.local()) else {
                actions.unknown.push(child.local().into());
                self.unknown(&child, "it does nothing");
                continue;
            };
            let allowed = match child.text() {
                yes if yes == "1" || yes.eq_ignore_ascii_case("true") => true,
                no if no == "0" || no.eq_ignore_ascii_case("false") => false,
                _ => return Err(child.text_error("no truth value", "`true` or `false`")),
            };
            if let Some(to) = child.attribute("to").filter(|_| action == Action::AllowForward) {
                actions.forward_to = Some(self.target(&child, to)?);
            }
            if allowed {
                actions.allowed.insert(action);
            } else {
                actions.denied.insert(action);
            }
        }
        // Said both ways under two spellings: what is allowed once is allowed (RFC 4745 10.2).
        actions.denied.retain(|action| !actions.allowed.contains(action));
        Ok(actions)
    }

    fn target(&self, element: &Element<'_, '_>, to: &str) -> Result<Box<str>, DocumentError> {
        Address::parse(to.trim(), self.reading.home)
            .map(|address| address.to_string().into())
            .map_err(|error| element.error("no address to forward to", error.to_string()))
    }
}

/// The action of this name, in any case of letters (A-25).
fn action(name: &str) -> Option<Action> {
    Some(match name.to_ascii_lowercase().as_str() {
        "allow-reject-invite" => Action::AllowRejectInvite,
        "allow-interwork" | "allow-interworking" => Action::AllowInterwork,
        "allow-deliver-and-interwork" => Action::AllowDeliverAndInterwork,
        "allow-store" => Action::AllowStore,
        "allow-forward" => Action::AllowForward,
        "allow-defer" => Action::AllowDefer,
        "allow-do-not-disturb" => Action::AllowDoNotDisturb,
        "allow-offline-storage" => Action::AllowOfflineStorage,
        _ => return None,
    })
}

/// A list's entries, or those of the one element in it that turns it round.
fn listed<'d, 's, T>(
    element: Element<'d, 's>,
    turned: &str,
    entry: &mut dyn FnMut(Element<'d, 's>) -> Result<T, DocumentError>,
) -> Result<Listed<T>, DocumentError> {
    let mut only = Vec::new();
    let mut except: Option<Vec<T>> = None;
    for child in element.children() {
        if child.is(turned) {
            vacant(&child, except.is_none())?;
            except = Some(child.children().map(&mut *entry).collect::<Result<_, _>>()?);
        } else {
            only.push(entry(child)?);
        }
    }
    match except {
        None => Ok(Listed::Only(only)),
        Some(except) if only.is_empty() => Ok(Listed::AllExcept(except)),
        Some(_) => {
            let expected = format!("either some, or `{turned}`");
            Err(element.error(format!("`{}` that says both", element.local()), expected))
        }
    }
}

/// `from` and `until`, pair by pair.
fn periods(element: &Element<'_, '_>) -> Result<Vec<Period>, DocumentError> {
    let mut periods = Vec::new();
    let mut open: Option<Timestamp> = None;
    for child in element.children() {
        let time = |child: &Element<'_, '_>| {
            child
                .text()
                .parse::<Timestamp>()
                .map_err(|error| child.text_error("no time with its zone", error.to_string()))
        };
        match (child.is("from"), child.is("until"), open) {
            (true, _, None) => open = Some(time(&child)?),
            (_, true, Some(from)) => {
                let until = time(&child)?;
                if until < from {
                    return Err(child.text_error("an end before its beginning", "a later time"));
                }
                periods.push(Period { from, until });
                open = None;
            }
            (true, _, Some(_)) => return Err(child.error(found(&child), "`until`")),
            (false, _, _) => return Err(child.error(found(&child), "`from`")),
        }
    }
    match open {
        None => Ok(periods),
        Some(_) => Err(element.error("`from` without `until`", "both")),
    }
}

fn found(element: &Element<'_, '_>) -> String {
    format!("`{}`", element.name())
}

fn vacant(element: &Element<'_, '_>, is_vacant: bool) -> Result<(), DocumentError> {
    if is_vacant {
        return Ok(());
    }
    Err(element.error(format!("a second `{}`", element.local()), "one"))
}

fn once(element: &Element<'_, '_>, seen: &mut bool) -> Result<(), DocumentError> {
    vacant(element, !std::mem::replace(seen, true))
}

fn required<'d>(element: &Element<'d, '_>, name: &str) -> Result<&'d str, DocumentError> {
    let value = element.attribute(name).map(str::trim).filter(|value| !value.is_empty());
    value.ok_or_else(|| {
        element.error(format!("`{}` without `{name}`", element.local()), format!("{name}=\"…\""))
    })
}

#[cfg(test)]
mod tests;
