//! Whom a rule of the user's is about.
//!
//! Source: RFC 4745 7.1 (`identity`); `rules.md` 5.1 and 5.2: canonical addresses are compared.

use schemars::JsonSchema;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

/// The senders that an `identity` means: one of these is enough, and without any it means nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Senders {
    /// `one`: as the records hold senders, the canonical address
    /// ([`Address`](super::address::Address)), or the text as it stands where that is none (a short
    /// code, a name).
    pub one: Vec<Box<str>>,
    /// `many`.
    pub many: Vec<Many>,
}

/// All senders, or those of a domain, but for the exceptions.
///
/// A number is of no domain, also where it came in a SIP URI.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Many {
    /// Only those of this domain; absent: of any, and of none. Kept in lower case.
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub domain: Option<Box<str>>,
    /// Not these senders.
    #[schemars(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<Box<str>>,
    /// Not those of these domains. Kept in lower case.
    #[schemars(skip_serializing_if = "Vec::is_empty")]
    pub except_domains: Vec<Box<str>>,
}

impl Senders {
    /// Whether this sender, in the form of [`Self::one`], is one of them.
    #[must_use]
    pub fn mean(&self, sender: &str) -> bool {
        self.one.iter().any(|one| **one == *sender)
            || self.many.iter().any(|many| many.means(sender))
    }

    /// Whether they are nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.one.is_empty() && self.many.is_empty()
    }
}

impl Many {
    fn means(&self, sender: &str) -> bool {
        let of = domain_of(sender);
        self.domain.as_deref().is_none_or(|domain| of == Some(domain))
            && !self.except.iter().any(|one| **one == *sender)
            && !self.except_domains.iter().any(|domain| of == Some(&**domain))
    }
}

/// What is not said is left out of a record; the packed state has a place for each.
impl Serialize for Many {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { domain, except, except_domains } = self;
        if !to.is_human_readable() {
            return (domain, except, except_domains).serialize(to);
        }
        let mut map = to.serialize_map(None)?;
        if let Some(domain) = domain {
            map.serialize_entry("domain", domain)?;
        }
        for (name, all) in [("except", except), ("except_domains", except_domains)] {
            if !all.is_empty() {
                map.serialize_entry(name, all)?;
            }
        }
        map.end()
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

    /// RFC 4745 7.1: domains and exceptions.
    #[test]
    fn everybody_but_the_spammers() {
        let everybody = many(Many {
            domain: None,
            except: vec!["tel:+15145550101".into()],
            except_domains: vec!["spam.example".into()],
        });
        for (sender, meant) in [
            ("tel:+15145550100", true),
            ("tel:+15145550101", false),
            ("sip:eve@spam.example", false),
            ("sip:eve@spam.example:5080", false),
            ("sip:eve@not-spam.example", true),
            ("sip:bob@ham.example", true),
            ("INFO", true),
        ] {
            assert_eq!(everybody.mean(sender), meant, "{sender}");
        }
    }

    #[test]
    fn a_domain_is_of_those_who_have_one() {
        let of = |domain: &str| many(Many { domain: Some(domain.into()), ..Many::default() });
        let ours = of("ham.example");
        assert!(ours.mean("sip:bob@ham.example") && ours.mean("sip:bob@ham.example:5080"));
        assert!(!ours.mean("tel:+15145550100") && !ours.mean("sip:bob@a.ham.example"));
        assert!(of("[2001:db8::1]").mean("sip:bob@[2001:db8::1]:5080"));
        assert!(!Senders::default().mean("sip:bob@ham.example"));
    }

    /// An exception is one of its own `many`: what another means stays meant.
    #[test]
    fn one_of_them_is_enough() {
        let mut senders = many(Many {
            domain: Some("ham.example".into()),
            except: vec!["sip:bob@ham.example".into()],
            except_domains: vec![],
        });
        assert!(!senders.mean("sip:bob@ham.example") && senders.mean("sip:eve@ham.example"));
        senders.one.push("sip:bob@ham.example".into());
        assert!(senders.mean("sip:bob@ham.example"));
    }

    #[test]
    fn a_record_has_what_is_said_and_the_state_has_all() {
        for (text, said) in [
            ("{}", Many::default()),
            (
                r#"{"domain":"a.example","except":["INFO"]}"#,
                Many {
                    domain: Some("a.example".into()),
                    except: vec!["INFO".into()],
                    except_domains: vec![],
                },
            ),
        ] {
            assert_eq!(serde_json::to_string(&said).unwrap(), text);
            assert_eq!(serde_json::from_str::<Many>(text).unwrap(), said);
            let packed = postcard::to_stdvec(&said).unwrap();
            assert_eq!(postcard::from_bytes::<Many>(&packed).unwrap(), said);
        }
    }

    fn many(many: Many) -> Senders {
        Senders { one: Vec::new(), many: vec![many] }
    }
}
