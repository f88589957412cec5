//! What the standard's documents, its decision and its message store cost: `ops/bench cpm` runs this.
//!
//! Reading and flagging stand beside somebody who does only what cannot be left out: walks over the tokens, sends
//! the commands. Figures of one run are compared with each other, never with those of another: machines are
//! noisy. Each row is the median of its rounds, and rounds that are compared alternate.

#![allow(clippy::disallowed_methods, reason = "a bench reads clocks")]
#![allow(clippy::print_stdout, reason = "a bench prints")]
#![allow(clippy::cast_possible_truncation, reason = "figures for people")]

mod bare;
mod decisions;
mod documents;
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "the tests' own server: they ask more of it, and fail by panicking"
)]
#[path = "../../tests/imap/dovecot.rs"]
mod dovecot;
mod flags;
#[path = "../common/measure.rs"]
mod measure;

use measure::argument;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let rounds = argument("--rounds").unwrap_or(9);
    let only: Option<String> = argument("--only");
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    println!("medians of {rounds} rounds; of flags, of {}", rounds.min(flags::ROUNDS));
    if wanted("documents") {
        documents::report(rounds);
    }
    if wanted("decisions") {
        decisions::report(rounds);
    }
    if wanted("flags") {
        flags::report(rounds);
    }
}
