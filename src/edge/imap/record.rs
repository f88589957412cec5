//! A message as the store keeps it: RFC 5322 with the headers of CPM.
//!
//! Source: OMA CPM Message Storage, as far as SEED0-56.2, SEED0-60 and `rules.md` A-5 use it.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::edge::store::{Content, StoreError, Stored};

/// The IMDN Message-ID of a record: what it is found by.
pub(super) const ID: &str = "IMDN-Message-ID";
/// The longest value of a header, in octets: a line may have 998.
const LONGEST: usize = 900;
/// The longest line of a body that goes as it is.
const LONGEST_LINE: usize = 998;
/// Of the headers that came with a message, a record has these.
const CARRIED: [&str; 2] = ["Subject", "P-Asserted-Service"];
/// Who sent it, where nobody may know.
const ANONYMOUS: &str = "sip:anonymous@anonymous.invalid";

/// The octets of a record for `user`.
pub(super) fn written(record: &Stored, user: &str) -> Result<Vec<u8>, StoreError> {
    let from = if record.anonymous { ANONYMOUS } else { &record.from };
    let mut head = String::with_capacity(1024);
    let mut put = |name: &str, value: &str| header(&mut head, name, value);
    put("From", &format!("<{from}>"))?;
    put("To", &format!("<{user}>"))?;
    put("Date", &date(record))?;
    put(ID, &record.message_id)?;
    put("Message-Context", &record.context)?;
    for (name, value) in [
        ("Conversation-ID", &record.conversation_id),
        ("Contribution-ID", &record.contribution_id),
        ("InReplyTo-Contribution-ID", &record.in_reply_to_contribution_id),
    ] {
        if let Some(value) = value {
            put(name, value)?;
        }
    }
    for name in CARRIED {
        let of = record.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        if let Some((_, value)) = of {
            put(name, value)?;
        }
    }
    if record.wants_display {
        put("Disposition-Notification", "display")?;
    }
    put("MIME-Version", "1.0")?;
    let body = match &record.content {
        Content::Octets(octets) => {
            put("Content-Type", &record.content_type)?;
            let is_plain = goes_as_it_is(octets);
            put("Content-Transfer-Encoding", if is_plain { "7bit" } else { "base64" })?;
            if is_plain { octets.clone() } else { base64(octets) }
        }
        // RFC 2017: what it is stands in the body, where it is in the header.
        Content::Link(url) => {
            if url.contains('"') {
                return Err(StoreError::Invalid("a quote in the link to the content".into()));
            }
            let place = format!("message/external-body; access-type=URL; URL=\"{url}\"");
            put("Content-Type", &place)?;
            let mut inner = String::new();
            header(&mut inner, "Content-Type", &record.content_type)?;
            inner.push_str("\r\n");
            inner.into_bytes()
        }
    };
    head.push_str("\r\n");
    Ok([head.into_bytes(), body].concat())
}

/// A header. What is not ASCII is an encoded word (RFC 2047); what would end the line is refused.
fn header(head: &mut String, name: &str, value: &str) -> Result<(), StoreError> {
    let value = value.trim();
    if value.contains(|c: char| c.is_control() && c != '\t') {
        return Err(StoreError::Invalid(format!("{name} has a control character")));
    }
    let encoded;
    let value = if value.is_ascii() {
        value
    } else if name == ID || name == "Content-Type" {
        return Err(StoreError::Invalid(format!("{name} is not ASCII")));
    } else {
        encoded = words(value);
        &encoded
    };
    if value.lines().any(|line| line.len() > LONGEST) {
        return Err(StoreError::Invalid(format!("{name} is longer than {LONGEST} octets")));
    }
    write!(head, "{name}: {value}\r\n").expect("a string takes all");
    Ok(())
}

/// Encoded words, a folded line each.
fn words(text: &str) -> String {
    let (mut all, mut word) = (Vec::new(), String::new());
    for c in text.chars() {
        // An encoded word has 75 octets at most.
        if word.len() + c.len_utf8() > 42 {
            all.push(std::mem::take(&mut word));
        }
        word.push(c);
    }
    all.push(word);
    let coded: Vec<_> = all.iter().map(|w| format!("=?utf-8?B?{}?=", STANDARD.encode(w))).collect();
    coded.join("\r\n ")
}

fn date(record: &Stored) -> String {
    let millis = record.date.as_millis();
    chrono::DateTime::from_timestamp_millis(millis).unwrap_or_default().to_rfc2822()
}

/// Lines of ASCII that end as lines of mail end.
fn goes_as_it_is(octets: &[u8]) -> bool {
    octets.split(|octet| *octet == b'\n').all(|line| {
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        text.len() <= LONGEST_LINE && text.iter().all(|octet| matches!(octet, b'\t' | b' '..=b'~'))
    }) && !octets.windows(2).any(|two| matches!(two, [before, b'\n'] if *before != b'\r'))
        && octets.first() != Some(&b'\n')
}

fn base64(octets: &[u8]) -> Vec<u8> {
    let coded = STANDARD.encode(octets);
    let mut lines = Vec::with_capacity(coded.len() + coded.len() / 38 + 2);
    for line in coded.as_bytes().chunks(76) {
        lines.extend_from_slice(line);
        lines.extend_from_slice(b"\r\n");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    #[test]
    fn a_record_has_the_headers_of_cpm() {
        let text = String::from_utf8(written(&record(), "tel:+15145550100").unwrap()).unwrap();
        assert_eq!(
            text,
            "From: <tel:+15145550199>\r\n\
             To: <tel:+15145550100>\r\n\
             Date: Sat, 21 Nov 2026 08:00:00 +0000\r\n\
             IMDN-Message-ID: Mx1\r\n\
             Message-Context: pager-message\r\n\
             Conversation-ID: c1\r\n\
             Contribution-ID: k1\r\n\
             Subject: =?utf-8?B?w6l0w6k=?=\r\n\
             Disposition-Notification: display\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: text/plain;charset=utf-8\r\n\
             Content-Transfer-Encoding: 7bit\r\n\
             \r\n\
             hello"
        );
    }

    #[test]
    fn what_is_not_plain_goes_as_base64() {
        for (octets, is_plain) in [
            (&b"a\r\nb\r\n"[..], true),
            (b"", true),
            (b"a\nb", false),
            (b"\n", false),
            (b"a\0", false),
            (b"a\rb", false),
            ("é".as_bytes(), false),
            (&[b'x'; 999], false),
        ] {
            let one = Stored { content: Content::Octets(octets.to_vec()), ..record() };
            let text = String::from_utf8(written(&one, "tel:+15145550100").unwrap()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!(head.ends_with("7bit"), is_plain, "{octets:?}");
            if !is_plain {
                assert_eq!(STANDARD.decode(body.replace("\r\n", "")).unwrap(), octets);
            }
        }
    }

    #[test]
    fn nobody_learns_who_wrote_anonymously() {
        let one = Stored { anonymous: true, ..record() };
        let text = String::from_utf8(written(&one, "tel:+15145550100").unwrap()).unwrap();
        assert!(text.contains("From: <sip:anonymous@anonymous.invalid>"), "{text}");
        assert!(!text.contains("5550199"), "{text}");
    }

    #[test]
    fn what_would_add_a_header_is_refused() {
        let bad = "x\r\nBcc: all";
        let text = || Some(bad.to_owned());
        let headers = [("subject".to_owned(), bad.to_owned())].into();
        for one in [
            Stored { message_id: bad.into(), ..record() },
            Stored { message_id: "é".into(), ..record() },
            Stored { from: bad.into(), ..record() },
            Stored { context: bad.into(), ..record() },
            Stored { conversation_id: text(), ..record() },
            Stored { contribution_id: text(), ..record() },
            Stored { in_reply_to_contribution_id: text(), ..record() },
            Stored { content_type: bad.into(), ..record() },
            Stored { content_type: "x".repeat(901), ..record() },
            Stored { content: Content::Link(bad.into()), ..record() },
            Stored { content: Content::Link("http://a\"b".into()), ..record() },
            Stored { headers, ..record() },
        ] {
            let refused = written(&one, "tel:+15145550100");
            assert!(matches!(refused, Err(StoreError::Invalid(_))), "{one:?}");
        }
    }

    fn record() -> Stored {
        Stored {
            message_id: "Mx1".into(),
            from: "tel:+15145550199".into(),
            anonymous: false,
            context: "pager-message".into(),
            date: Timestamp::from_millis(1_795_248_000_000),
            conversation_id: Some("c1".into()),
            contribution_id: Some("k1".into()),
            in_reply_to_contribution_id: None,
            headers: [("subject".into(), "été".into()), ("Bcc".into(), "x".into())].into(),
            wants_display: true,
            content_type: "text/plain;charset=utf-8".into(),
            content: Content::Octets(b"hello".to_vec()),
            flags: Vec::new(),
            folder: None,
        }
    }
}
