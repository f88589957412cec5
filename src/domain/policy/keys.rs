//! The keys of `[policy]`: how each is spelt, and what a value of it may be.
//!
//! Bounds refuse nonsense and nothing else: a zero is allowed wherever it has a meaning, and refused
//! where the engine would try again and again within one instant.

use std::fmt;

use serde_json::Value;
use thiserror::Error;

use crate::domain::ucn;

/// What a value may be. Its `Display` is the half of an error that says what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A whole number of `unit` (which may be empty), both bounds included.
    Number {
        /// What is counted: `seconds`, `bytes`, …
        unit: &'static str,
        /// The smallest value.
        from: u64,
        /// The largest value.
        to: u64,
    },
    /// Whole seconds, one value a try; the last one repeats, so there is at least one.
    Ladder {
        /// The smallest value.
        from: u64,
        /// The largest value.
        to: u64,
    },
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any strings.
    Texts,
    /// Texts of notices, each `language=text`.
    UcnTexts,
    /// Names of domains, without scheme, user or port.
    Domains,
    /// An E.164 country code, or empty for none.
    CountryCode,
    /// Text that whoever reads the key understands, and what it is to be.
    Text(&'static str),
}

/// A key and what its value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// As it is spelt in the config, without `policy.`.
    pub name: &'static str,
    /// What its value may be.
    pub expected: Expected,
}

/// Why a policy is not taken.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PolicyError {
    /// Nobody reads such a key: it is misspelt, or a later program has it.
    #[error("{key} is no policy key; the nearest is {nearest}")]
    UnknownKey {
        /// The key as it was given.
        key: String,
        /// The key that is spelt most like it.
        nearest: &'static str,
    },
    /// The key takes other values.
    #[error("{key} is `{given}`, expected {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value as it was given.
        given: String,
        /// What its value may be.
        expected: String,
    },
}

/// Every key of `[policy]`, in the order of [`Policy`](super::Policy).
pub const KEYS: &[Key] = &[
    // Waiting for IP.
    key("ip_wait_after_attach_seconds", seconds(0, 3600)),
    key("ip_wait_after_sms_ready_seconds", seconds(0, 3600)),
    key("ip_wait_after_ip_loss_seconds", seconds(0, 3600)),
    key("settle_seconds", seconds(0, 60)),
    key("sms_hold_seconds", seconds(0, 3600)),
    key("first_try", Expected::Word(&["wait", "sms"])),
    // Lifetimes and memory.
    key("lifetime_seconds", seconds(1, 31_536_000)),
    key("notification_lifetime_seconds", seconds(1, 31_536_000)),
    key("terminal_keep_seconds", seconds(0, 2_592_000)),
    key("duplicate_window_seconds", seconds(0, 2_592_000)),
    // Attempts.
    key("gateway_reports_start", Expected::Flag),
    key("start_within_seconds", seconds(1, 3600)),
    key("ip_attempt_timeout_seconds", seconds(1, 3600)),
    key("sms_response_timeout_seconds", seconds(1, 3600)),
    key("sms_report_timeout_seconds", seconds(0, 604_800)),
    key("accept_202", Expected::Word(&["await-imdn", "delivered"])),
    key("imdn_wait_seconds", seconds(0, 86400)),
    key("ip_pipeline", Expected::Number { unit: "", from: 1, to: 100 }),
    key("ip_attempts_per_episode", Expected::Number { unit: "", from: 1, to: 100 }),
    key("infra_failures_before_sms", Expected::Number { unit: "", from: 1, to: 1000 }),
    key("sms_attempts", Expected::Number { unit: "", from: 1, to: 1000 }),
    // Trying again.
    key("absent_retry_seconds", Expected::Ladder { from: 1, to: 2_592_000 }),
    key("memory_full_retry_seconds", Expected::Ladder { from: 1, to: 2_592_000 }),
    key("backoff_seconds", seconds(1, 86400)),
    key("backoff_max_seconds", seconds(1, 604_800)),
    key("jitter_percent", Expected::Number { unit: "percent", from: 0, to: 90 }),
    key("sms_barred_seconds", seconds(1, 2_592_000)),
    // What is known of a phone.
    key("registration_grace_seconds", seconds(0, 86400)),
    key("attach_stale_seconds", seconds(1, 2_592_000)),
    key("clock_tolerance_seconds", seconds(0, 3600)),
    key("max_event_lag_seconds", seconds(0, 604_800)),
    key("imsi_change", Expected::Word(&["keep", "close"])),
    // SMS.
    key("sms_mode", Expected::Word(&["single-shot", "buffered"])),
    key("sms_reports", Expected::Word(&["ask-both", "failures-only"])),
    key("unknown_sms", Expected::Word(&["park", "resend"])),
    key("sms_over_ps", Expected::Flag),
    key("sms_even_if_secondary", Expected::Flag),
    key("sms_max_segments", Expected::Number { unit: "", from: 1, to: 255 }),
    key("file_link_by_sms", Expected::Flag),
    key("geolocation_by_sms", Expected::Flag),
    key("ucn_per_user_per_hour", Expected::Number { unit: "", from: 0, to: 1000 }),
    // Devices, quotas, preferences.
    key("device_copy_seconds", seconds(0, 2_592_000)),
    key("max_deferred_per_user", Expected::Number { unit: "", from: 1, to: 1_000_000 }),
    key(
        "max_deferred_bytes_per_user",
        Expected::Number { unit: "bytes", from: 1, to: 1_073_741_824 },
    ),
    key("dnd_blocks_interwork", Expected::Flag),
    // Switches.
    key("access_cpm", Expected::Word(&["on", "hold", "off"])),
    key("access_sms", Expected::Word(&["on", "hold", "off"])),
    key("events_defer", Expected::Flag),
    key("events_store", Expected::Flag),
    key("events_interwork", Expected::Flag),
];

const fn key(name: &'static str, expected: Expected) -> Key {
    Key { name, expected }
}

const fn seconds(from: u64, to: u64) -> Expected {
    Expected::Number { unit: "seconds", from, to }
}

impl Key {
    /// The policy key `name`.
    ///
    /// # Errors
    ///
    /// [`PolicyError::UnknownKey`], which names the key that may be meant.
    pub fn find(name: &str) -> Result<&'static Self, PolicyError> {
        KEYS.iter().find(|key| key.name == name).ok_or_else(|| PolicyError::UnknownKey {
            key: name.to_owned(),
            nearest: nearest(name, KEYS.iter().map(|key| key.name)).unwrap_or_default(),
        })
    }
}

impl Expected {
    /// The value that `text` means here, as typed after `--set KEY=` or in the environment.
    ///
    /// Lists are written `[900, 1800]` or `900,1800`; quotes around a word are taken off. What cannot
    /// be read comes back as a string, and [`admits`](Self::admits) then refuses it.
    #[must_use]
    pub fn read(self, text: &str) -> Value {
        match self {
            Self::Number { .. } => number(text),
            Self::Flag => match text.trim() {
                "true" => Value::from(true),
                "false" => Value::from(false),
                other => Value::from(other),
            },
            Self::Word(_) | Self::CountryCode | Self::Text(_) => Value::from(unquoted(text)),
            Self::Ladder { .. } => items(text).map(number).collect(),
            Self::Texts | Self::UcnTexts | Self::Domains => items(text).map(unquoted).collect(),
        }
    }

    /// Whether `value` is of this kind and within the bounds.
    #[must_use]
    pub fn admits(self, value: &Value) -> bool {
        let all =
            |fits: &dyn Fn(&Value) -> bool| value.as_array().is_some_and(|a| a.iter().all(fits));
        let within = |value: &Value, from, to| value.as_u64().is_some_and(|n| from <= n && n <= to);
        match self {
            Self::Number { from, to, .. } => within(value, from, to),
            Self::Ladder { from, to } => {
                value != &Value::Array(Vec::new()) && all(&|item| within(item, from, to))
            }
            Self::Flag => value.is_boolean(),
            Self::Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Self::Texts => all(&|item| item.as_str().is_some_and(|text| !text.is_empty())),
            Self::UcnTexts => all(&|item| item.as_str().is_some_and(ucn::is_text)),
            Self::Domains => all(&|item| item.as_str().is_some_and(is_domain)),
            Self::CountryCode => value.as_str().is_some_and(|code| {
                code.len() <= 3
                    && !code.starts_with('0')
                    && code.bytes().all(|b| b.is_ascii_digit())
            }),
            Self::Text(_) => value.is_string(),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { unit: "", from, to } => write!(f, "a whole number from {from} to {to}"),
            Self::Number { unit, from, to } => write!(f, "whole {unit} from {from} to {to}"),
            Self::Ladder { from, to } => {
                write!(f, "a list of whole seconds, at least one, each from {from} to {to}")
            }
            Self::Flag => f.write_str("true or false"),
            Self::Word(words) => write!(f, "one of {}", words.join(", ")),
            Self::Texts => f.write_str("a list of strings"),
            Self::UcnTexts => f.write_str("a list of language=text, each text at most 3 SMS long"),
            Self::Domains => f.write_str("a list of domain names"),
            Self::CountryCode => f.write_str("1 to 3 digits without +, or empty"),
            Self::Text(what) => f.write_str(what),
        }
    }
}

/// The one of `keys` that is spelt most like `key`, the first of equals.
///
/// Method: a key that goes on from what was typed, or from which that goes on, else Levenshtein's distance over the whole key, or
/// over what stands after the last dot, so that a key in the wrong table is found too.
pub fn nearest<'k>(key: &str, keys: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    fn last(key: &str) -> &str {
        key.rsplit('.').next().unwrap_or(key)
    }
    keys.into_iter().min_by_key(|known| {
        let goes_on = last(known).starts_with(last(key)) && !last(key).is_empty();
        let is_begun = key.strip_prefix(known).is_some_and(|rest| rest.starts_with('.'));
        (!goes_on && !is_begun, distance(key, known).min(1 + distance(last(key), last(known))))
    })
}

fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        for (cell, r) in row.iter_mut().skip(1).zip(right.chars()) {
            let here = (diagonal + usize::from(l != r)).min(*cell + 1).min(before + 1);
            diagonal = std::mem::replace(cell, here);
            before = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

fn number(text: &str) -> Value {
    let text = text.trim();
    text.replace('_', "").parse::<u64>().map_or_else(|_| Value::from(text), Value::from)
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    let text = text.trim();
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text).trim();
    inner.strip_suffix(',').unwrap_or(inner).split(',').filter(move |_| !inner.is_empty())
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let inside = |quote| text.strip_prefix(quote).and_then(|t| t.strip_suffix(quote));
    inside('"').or_else(|| inside('\'')).unwrap_or(text)
}

fn is_domain(text: &str) -> bool {
    !text.is_empty()
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        })
}
