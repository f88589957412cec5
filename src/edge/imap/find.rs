//! Which message is meant: heads of messages, compared exactly, since a search for a header finds what only
//! contains the words.

use std::collections::BTreeMap;

use async_imap::imap_proto::{AttributeValue, Response};

use super::record::ID;
use super::say;
use super::wire::{Connection, Failure};
use crate::edge::store::StoreError;

/// Ids of one search.
const IDS: usize = 20;
/// Messages of one command.
pub(super) const AT_ONCE: usize = 200;

/// What a message is known by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The IMDN Message-ID; where the store has none, the Message-ID without its brackets.
    pub(super) id: Option<String>,
    pub(super) from: String,
    pub(super) to: String,
}

impl Head {
    fn read(header: &[u8]) -> Self {
        let text = String::from_utf8_lossy(header);
        // Folded lines are one: the break goes, the white space stays.
        let text = text.replace("\r\n ", " ").replace("\r\n\t", "\t");
        let of = |name: &str| {
            text.lines().find_map(|line| {
                let (known, value) = line.split_once(':')?;
                known.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let plain = |id: String| {
            let inner = id.strip_prefix('<').and_then(|id| id.strip_suffix('>')).map(str::to_owned);
            inner.unwrap_or(id)
        };
        Self {
            id: of(ID).or_else(|| of("Message-ID").map(plain)),
            from: of("From").unwrap_or_default(),
            to: of("To").unwrap_or_default(),
        }
    }
}

/// The heads of messages in the open folder, by UID; those that are not there are left out.
pub(super) async fn heads(
    connection: &mut Connection,
    uids: &[u32],
) -> Result<BTreeMap<u32, Head>, Failure> {
    let mut all = BTreeMap::new();
    let what = format!("(UID BODY.PEEK[HEADER.FIELDS ({ID} MESSAGE-ID FROM TO)])");
    for some in uids.chunks(AT_ONCE) {
        connection
            .fetch(some, &what, |response| {
                let Response::Fetch(_, attributes) = response else { return };
                let (mut uid, mut head) = (None, None);
                for attribute in attributes {
                    if let AttributeValue::Uid(of) = attribute {
                        uid = Some(*of);
                    } else if let AttributeValue::BodySection { data: Some(data), .. } = attribute {
                        head = Some(Head::read(data));
                    }
                }
                if let (Some(uid), Some(head)) = (uid, head) {
                    all.insert(uid, head);
                }
            })
            .await?;
    }
    Ok(all)
}

/// The messages of the open folder that have one of these ids, exactly.
pub(super) async fn with_ids(
    connection: &mut Connection,
    ids: &[&str],
) -> Result<BTreeMap<u32, Head>, Failure> {
    let mut all = BTreeMap::new();
    for some in ids.chunks(IDS) {
        let uids = connection.search(&any_of(some)?).await?;
        let found = heads(connection, &uids).await?;
        let is_one = |head: &Head| head.id.as_deref().is_some_and(|id| some.contains(&id));
        all.extend(found.into_iter().filter(|(_, head)| is_one(head)));
    }
    Ok(all)
}

/// The search terms for messages with any of these ids.
fn any_of(ids: &[&str]) -> Result<String, StoreError> {
    let mut terms = String::new();
    for id in ids.iter().rev() {
        let id = say::id(id)?;
        for name in [ID, "Message-ID"] {
            let term = format!("HEADER {name} {id}");
            terms = if terms.is_empty() { term } else { format!("OR {term} {terms}") };
        }
    }
    Ok(terms)
}

/// Whether two addresses, each with or without brackets and scheme, are of one party.
pub(super) fn is_same_party(one: &str, other: &str) -> bool {
    party(one).eq_ignore_ascii_case(party(other))
}

/// An address without what differs between two ways of writing it: the number, or user and host.
fn party(address: &str) -> &str {
    let inner = address.split_once('<').map_or(address, |(_, rest)| rest);
    let inner = inner.split(['>', ';', '?']).next().unwrap_or(inner).trim();
    let (scheme, rest) = inner.split_once(':').unwrap_or(("", inner));
    let is_known = ["", "tel", "sip", "sips"].iter().any(|s| s.eq_ignore_ascii_case(scheme));
    let rest = if is_known { rest } else { inner };
    match rest.split_once('@') {
        Some((number, _)) if number.starts_with('+') => number,
        _ => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_whatever_its_form() {
        let head =
            Head::read(b"from: <tel:+1>\r\nIMDN-MESSAGE-ID:\r\n Mx1\r\nTo: a\r\n\t b\r\n\r\n");
        let read = Head { id: Some("Mx1".into()), from: "<tel:+1>".into(), to: "a\t b".into() };
        assert_eq!(head, read);
        assert_eq!(Head::read(b"Message-ID: <a@b>\r\n\r\n").id.as_deref(), Some("a@b"));
        let both = b"Message-ID: <a@b>\r\nImdn-Message-Id: M\r\n\r\n";
        assert_eq!(Head::read(both).id.as_deref(), Some("M"));
        assert_eq!(Head::read(b"\r\n"), Head::default());
        assert_eq!(Head::read(b"\xff\xfe: no\r\n\r\n"), Head::default());
    }

    #[test]
    fn many_ids_are_one_search() {
        assert_eq!(
            any_of(&["a", "b\""]).unwrap(),
            "OR HEADER Message-ID \"a\" OR HEADER IMDN-Message-ID \"a\" OR HEADER Message-ID \"b\\\"\" \
             HEADER IMDN-Message-ID \"b\\\"\""
        );
        assert!(any_of(&["a", "b\r\nc"]).is_err());
    }

    #[test]
    fn a_party_is_known_in_every_spelling() {
        for one in [
            "tel:+15145550199",
            "<tel:+15145550199>",
            "A <sip:+15145550199@ims.example;user=phone>",
        ] {
            assert!(is_same_party(one, "+15145550199"), "{one}");
        }
        assert!(is_same_party("sip:Bob@example.com", "<sip:bob@example.com;x=1>"));
        assert!(!is_same_party("tel:+15145550199", "tel:+151455501990"));
        assert!(!is_same_party("sip:bob@example.com", "sip:bob@example.org"));
    }
}
