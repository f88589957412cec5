//! What a notice (UCN) says: that something waits, in the user's language, and no word of it.
//!
//! Who sent it the phone shows by itself, as the SMS's sender (D-7). Source: `rules.md` R-20, P-2.

use super::sms;

/// Where no text is configured.
const DEFAULT: &str =
    "You have a message that needs a data connection. It arrives when your phone is online.";
/// Stands for the number of messages.
const COUNT: &str = "{count}";
/// A notice has this many SMS at most.
const MOST_SEGMENTS: u8 = 3;
/// No more messages than these are counted out when a text is checked.
const MANY: &str = "100000";

/// The text for a language (`fr-CA`) and so many messages, of `texts` such as `fr=Vous avez {count} …`.
///
/// The language itself comes first, then its first part (`fr`), then the first text there is.
#[must_use]
pub fn text(texts: &[Box<str>], language: Option<&str>, count: usize) -> String {
    let of = |wanted: &str| {
        let mut texts = texts.iter().filter_map(|text| parts(text));
        texts.find(|(language, _)| language.eq_ignore_ascii_case(wanted))
    };
    let language = language.unwrap_or_default();
    let primary = language.split('-').next().unwrap_or_default();
    let found = of(language).or_else(|| of(primary)).or_else(|| parts(texts.first()?));
    found.map_or(DEFAULT, |(_, text)| text).replace(COUNT, &count.to_string())
}

/// Whether it is such a text: a language, an equals sign, and what fits into three SMS.
#[must_use]
pub fn is_text(item: &str) -> bool {
    parts(item).is_some_and(|(language, text)| {
        let is_part = |part: &str| {
            (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        language.split('-').all(is_part)
            && !text.trim().is_empty()
            && sms::fits(&text.replace(COUNT, MANY), MOST_SEGMENTS)
    })
}

fn parts(item: &str) -> Option<(&str, &str)> {
    let (language, text) = item.split_once('=')?;
    Some((language.trim(), text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nearest language there is, and the operator's first where there is none.
    #[test]
    fn a_notice_speaks_the_users_language() {
        let texts = ["en={count} waiting".into(), "FR=Vous avez {count} messages".into()];
        let says = |language| text(&texts, language, 2);

        assert_eq!(says(Some("fr")), "Vous avez 2 messages");
        assert_eq!(says(Some("fr-CA")), "Vous avez 2 messages");
        assert_eq!(says(Some("de")), "2 waiting");
        assert_eq!(says(None), "2 waiting");
        assert_eq!(text(&[], Some("fr"), 2), DEFAULT);
    }

    #[test]
    fn a_text_is_a_language_and_what_three_sms_hold() {
        assert!(is_text("en=hello"));
        assert!(is_text("zh-Hans-CN = 您有 {count} 条消息"));
        for wrong in ["", "hello", "=hello", "en=", "en= ", "e n=hello", "français=bonjour"] {
            assert!(!is_text(wrong), "{wrong}");
        }
        assert!(is_text(&format!("en={}", "x".repeat(459))));
        assert!(!is_text(&format!("en={}", "x".repeat(460))));
        assert!(!is_text(&format!("en={{count}}{}", "x".repeat(454))), "a large number is longer");
    }
}
