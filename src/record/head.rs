//! The first fields of a journal record, and those of its input, read without the rest: what tells
//! whether it is wanted.

/// What a record's line begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// Its number in its partition.
    pub seq: u64,
    /// How often its partition has changed hands.
    pub epoch: u64,
    /// When it was decided, as it stands there.
    pub at: Option<&'a str>,
    /// The user, canonical.
    pub user: Option<&'a str>,
    /// It changes the policy: it has an input, and no user.
    pub is_policy: bool,
}

impl<'a> Head<'a> {
    /// Reads as far as the input of a record in the form that we write; `None` where it has another
    /// form: it may be a record all the same.
    #[must_use]
    pub fn skim(line: &'a [u8]) -> Option<Self> {
        let (seq, rest) = number(line.strip_prefix(b"{\"seq\":")?)?;
        let (epoch, mut rest) = number(rest.strip_prefix(b",\"epoch\":")?)?;
        let mut head = Self { seq, epoch, at: None, user: None, is_policy: false };
        loop {
            let Some(field) = rest.strip_prefix(b",\"") else {
                return (rest.first() == Some(&b'}')).then_some(head);
            };
            let (name, value) = field.split_at_checked(field.iter().position(|b| *b == b'"')?)?;
            let value = value.strip_prefix(b"\":")?;
            match name {
                b"user" => {
                    let (user, _) = plain(value.strip_prefix(b"\"")?)?;
                    head.user = Some(std::str::from_utf8(user).ok()?);
                    return Some(head);
                }
                b"input" => {
                    head.is_policy = true;
                    return Some(head);
                }
                // They stand behind both.
                b"events" | b"ignored" | b"source" | b"id" | b"rejected" => return Some(head),
                b"rules" => rest = number(value)?.1,
                b"at" => {
                    let (at, behind) = plain(value.strip_prefix(b"\"")?)?;
                    head.at = Some(std::str::from_utf8(at).ok()?);
                    rest = behind;
                }
                b"ingested_at" | b"policy" | b"pos" => {
                    rest = plain(value.strip_prefix(b"\"")?)?.1;
                }
                _ => return None,
            }
        }
    }
}

/// The name of an input, and what kind it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// Who says it.
    pub source: &'a str,
    /// Its name there.
    pub id: &'a str,
    /// Its type.
    pub kind: &'a str,
}

impl<'a> Named<'a> {
    /// Reads an input that was let in once as far as its source, id and type; `None` where anything
    /// but plain text stands before the last of them.
    #[must_use]
    pub fn skim(input: &'a str) -> Option<Self> {
        let (mut source, mut id, mut kind) = (None, None, None);
        let mut rest = input.as_bytes().strip_prefix(b"{")?;
        loop {
            let (name, behind) = plain(rest.trim_ascii_start().strip_prefix(b"\"")?)?;
            let value = behind.trim_ascii_start().strip_prefix(b":")?;
            let (value, behind) = plain(value.trim_ascii_start().strip_prefix(b"\"")?)?;
            match name {
                b"source" => source = Some(value),
                b"id" => id = Some(value),
                b"type" => kind = Some(value),
                _ => {}
            }
            if let (Some(source), Some(id), Some(kind)) = (source, id, kind) {
                let text = |bytes| std::str::from_utf8(bytes).ok();
                return Some(Self { source: text(source)?, id: text(id)?, kind: text(kind)? });
            }
            rest = behind.trim_ascii_start().strip_prefix(b",")?;
        }
    }
}

/// A number, and what stands behind it.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = bytes.split_at_checked(end)?;
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, rest))
}

/// The text of a string without escapes, and what stands behind its closing quote.
fn plain(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    let (text, rest) = bytes.split_at_checked(end)?;
    Some((text, rest.strip_prefix(b"\"")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_read_as_far_as_its_name() {
        let skim = |input| Named::skim(input).map(|named| (named.source, named.id, named.kind));

        let named = Some(("/as/1", "7", "cpm.user.held.v1"));
        assert_eq!(skim(r#"{"id":"7","source":"/as/1","type":"cpm.user.held.v1","data":{"#), named);
        let spaced = "{ \"type\" : \"cpm.user.held.v1\",\t\"subject\":\"tel:+1\", \"id\":\"7\", \
                      \"source\": \"/as/1\"}";
        assert_eq!(skim(spaced), named);
        // Whoever meets these reads the whole envelope.
        assert_eq!(
            skim(r#"{"id":"7","data":{},"source":"/as/1","type":"cpm.user.held.v1"}"#),
            None
        );
        assert_eq!(skim(r#"{"id":"7","source":"\u002fas","type":"cpm.user.held.v1"}"#), None);
        assert_eq!(skim(r#"{"id":"7","source":"/as/1"}"#), None);
    }

    #[test]
    fn a_head_is_read_as_far_as_the_input() {
        let start = r#"{"seq":7,"epoch":2,"at":"2026-11-21T08:00:00Z","rules":1,"policy":"ab12""#;
        let skim = |rest: &str| {
            let line = format!("{start}{rest}");
            Head::skim(line.as_bytes()).map(|h| {
                assert_eq!((h.seq, h.epoch, h.at), (7, 2, Some("2026-11-21T08:00:00Z")));
                (h.user.map(str::to_owned), h.is_policy)
            })
        };
        let user = |user: &str| Some((Some(user.to_owned()), false));

        assert_eq!(skim(r#","pos":"a/0/1","user":"tel:+1","input":{}}"#), user("tel:+1"));
        assert_eq!(skim(r#","user":"tel:+1","events":[]}"#), user("tel:+1"));
        assert_eq!(skim(r#","input":{"user":"tel:+1"}}"#), Some((None, true)));
        assert_eq!(skim(r#","pos":"a/0/1","source":"x","id":"user"}"#), Some((None, false)));
        assert_eq!(skim("}"), Some((None, false)));
        // Another form is no head: whoever asks reads it whole.
        assert_eq!(skim(r#","pos":"a\"b/0/1","user":"tel:+1"}"#), None);
        assert_eq!(skim(r#", "user":"tel:+1"}"#), None);
        assert_eq!(skim(r#","new":1,"user":"tel:+1"}"#), None);
        assert_eq!(skim(r#","user":"tel:+1"#), None);
    }
}
