//! Chance from a seed, and traces made of it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and says so"
)]
#![allow(dead_code, reason = "each test takes what it needs")]

use deferd::domain::time::Timestamp;
use serde_json::{Value, json};

/// 2026-11-21T08:00:00Z.
pub(crate) const START: i64 = 1_795_248_000_000;

/// xorshift64*: small, good enough, and the same everywhere.
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 16).expect("a 64-bit machine") % bound.max(1)
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// An input at `at`: a sample, given another user, time and name, and an attempt that was asked for.
pub(crate) fn input(
    chance: &mut Chance,
    samples: &[Value],
    number: usize,
    at: Timestamp,
    attempts: &[(String, String)],
) -> Vec<u8> {
    let mut event = chance.pick(samples).clone();
    let user = format!("tel:+1514555010{}", chance.below(3));
    event["subject"] = json!(user);
    event["id"] = json!(format!("i{}", if chance.one_in(12) { number / 2 } else { number }));
    let before = i64::try_from(chance.below(6000)).unwrap();
    event["time"] = json!(Timestamp::from_millis(at.as_millis() - before).to_string());
    let until = i64::try_from(chance.below(7_200_000)).unwrap();
    let later = json!(Timestamp::from_millis(at.as_millis() + until).to_string());
    let attempt = (!attempts.is_empty()).then(|| chance.pick(attempts).clone());
    let Some(data) = event["data"].as_object_mut() else {
        return serde_json::to_vec(&event).unwrap();
    };
    if data.contains_key("message_id") {
        data.insert("message_id".to_owned(), json!(format!("m{}", chance.below(12))));
    }
    for field in ["expires_at", "available_until", "held_until"] {
        if data.contains_key(field) {
            data.insert(field.to_owned(), later.clone());
        }
    }
    if data.contains_key("attempt_id")
        && let Some((id, user)) = attempt
    {
        data.insert("attempt_id".to_owned(), json!(id));
        event["subject"] = json!(user);
    }
    serde_json::to_vec(&event).unwrap()
}

/// The samples that do something in a trace: people and purges less often than phones and outcomes.
pub(crate) fn weighted(samples: impl Iterator<Item = &'static str>) -> Vec<Value> {
    let mut all = Vec::new();
    for line in samples {
        let event: Value = serde_json::from_str(line).unwrap();
        let times = match event["type"].as_str().unwrap() {
            "cpm.message.submitted.v1" => 12,
            "cpm.ims.registered.v1" | "cpm.cs.attached.v1" => 12,
            "cpm.delivery.outcome.v1" => 4,
            "cpm.user.purged.v1" | "cpm.identity.changed.v1" | "cpm.user.held.v1" => 0,
            _ => 1,
        };
        // One in all of the rare ones stays.
        let times = if times == 0 && all.len().is_multiple_of(2) { 1 } else { times };
        all.extend(std::iter::repeat_n(event, times));
    }
    all
}
