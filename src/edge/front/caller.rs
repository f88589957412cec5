//! Who says something: the authenticated address, never what a From header claims.
//!
//! Source: RFC 3325; `rules.md` 5.4, A-7, SEED0-51.

use std::collections::BTreeMap;

use super::{Denial, Request, Rules};
use crate::cpm::cpim::Party;
use crate::domain::address::{Address, Home};

/// Who is asking, as a carrier knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The holder of this address, by a token or certificate of its own.
    Known(Box<str>),
    /// An element of ours: it says in P-Asserted-Identity for whom it asks.
    Trusted,
}

/// The headers of a request: names in any case, repeated ones joined by commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(BTreeMap<String, String>);

impl Headers {
    /// These.
    pub fn of<'h>(all: impl IntoIterator<Item = (&'h str, &'h str)>) -> Self {
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in all {
            let value = value.trim();
            if !value.is_empty() {
                let known = headers.entry(name.to_ascii_lowercase()).or_default();
                if !known.is_empty() {
                    known.push_str(", ");
                }
                known.push_str(value);
            }
        }
        Self(headers)
    }

    /// The value of this header; its name in lower case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// The authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its address, canonical.
    pub address: Box<str>,
    /// P-Asserted-Identity as it came.
    pub asserted: Option<Box<str>>,
}

/// What a caller may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A configured gateway: SMS reports.
    Gateway,
    /// A configured application server: system messages.
    ApplicationServer,
    /// A user: messages, and flags of its own store.
    User,
}

impl Request {
    /// Whose request it is; `None`: nobody says, which is a wish to stay anonymous.
    ///
    /// # Errors
    ///
    /// A caller that is known by its own token names another.
    pub(super) fn identity(&self, home: &Home) -> Result<Option<Identity>, Denial> {
        let header = self.headers.get("p-asserted-identity");
        let asserted = header.and_then(|header| preferred(header, home));
        match (&self.caller, asserted) {
            (Caller::Trusted, None) => Ok(None),
            (Caller::Trusted, Some(address)) => {
                Ok(Some(Identity { address, asserted: header.map(Into::into) }))
            }
            (Caller::Known(own), Some(other)) if **own != *other => Err(Denial::forbidden(
                "identity",
                "P-Asserted-Identity names somebody else than the token does: leave it out",
            )),
            (Caller::Known(own), _) => {
                Ok(Some(Identity { address: own.clone(), asserted: header.map(Into::into) }))
            }
        }
    }
}

impl Rules {
    /// The role of a caller.
    pub(super) fn role(&self, identity: &Identity) -> Role {
        let is_one = |all: &[Box<str>]| all.contains(&identity.address);
        if is_one(&self.gateways) {
            Role::Gateway
        } else if is_one(&self.application_servers) {
            Role::ApplicationServer
        } else {
            Role::User
        }
    }
}

/// An address in the one form that is compared; what is no user's stays as it is.
#[must_use]
pub fn canonical(uri: &str, home: &Home) -> Box<str> {
    Address::parse(uri, home).map_or_else(|_| uri.trim().into(), |found| found.to_string().into())
}

/// Of the identities in P-Asserted-Identity the first tel URI, else the first. (5.4)
fn preferred(header: &str, home: &Home) -> Option<Box<str>> {
    let parties = parts(header).map(Party::of).filter(|party| !party.uri.is_empty());
    let parties: Vec<Party> = parties.collect();
    let is_tel = |party: &&Party| {
        let scheme = party.uri.split(':').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case("tel")
    };
    let party = parties.iter().find(is_tel).or_else(|| parties.first())?;
    Some(canonical(&party.uri, home))
}

/// The parts of a header between its commas; one in quotes or brackets parts nothing.
fn parts(header: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped, mut bracketed) = (false, false, false);
    header.split(move |c| {
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
        if !quoted {
            bracketed = c == '<' || (bracketed && c != '>');
        }
        c == ',' && !quoted && !bracketed
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(caller: Caller, header: Option<&str>) -> Result<Option<Box<str>>, u16> {
        let headers = Headers::of(header.map(|value| ("P-Asserted-Identity", value)));
        let request = Request { caller, headers, body: Vec::new() };
        let identity = request.identity(&Home::default());
        identity.map(|found| found.map(|found| found.address)).map_err(|denial| denial.status)
    }

    /// 5.4: the first tel URI, else the first SIP URI; never From.
    #[test]
    fn an_asserted_identity_is_its_number_if_it_has_one() {
        let trusted = |header: &str| identity(Caller::Trusted, Some(header)).unwrap().unwrap();
        let both = "\"Bob, \\\"B\\\" <x>\" <sip:bob@example.org;user=a,b>, <tel:+1-514-555-0100>";
        assert_eq!(&*trusted(both), "tel:+15145550100");
        assert_eq!(&*trusted("<sip:bob@Example.org>"), "sip:bob@example.org");
        assert_eq!(&*trusted("sip:a@x.org, sip:b@x.org"), "sip:a@x.org");
        assert_eq!(identity(Caller::Trusted, None), Ok(None));
        assert_eq!(identity(Caller::Trusted, Some(" , ")), Ok(None));
    }

    /// A token speaks for its holder, and for nobody else.
    #[test]
    fn a_token_of_its_own_speaks_for_nobody_else() {
        let own = || Caller::Known("tel:+15145550100".into());
        let same = Ok(Some("tel:+15145550100".into()));
        assert_eq!(identity(own(), None), same);
        assert_eq!(identity(own(), Some("<tel:+15145550100>")), same);
        assert_eq!(identity(own(), Some("<tel:+15145550101>")), Err(403));
    }

    #[test]
    fn headers_come_in_any_case_and_more_than_once() {
        let headers = Headers::of([("To", " a "), ("to", "b"), ("FROM", "")]);
        assert_eq!(headers.get("to"), Some("a, b"));
        assert_eq!(headers.get("from"), None);
    }
}
