//! Kafka in to Kafka out, exactly once, against a loop that decides nothing: `ops/bench kafka` runs this.
//!
//! One machine, one broker of the bench's own on it. Both loops run in this process, one thread a shard, with
//! the same client and settings. Figures of one run are compared with each other, never with those of
//! another: machines are noisy. Each row is the median of its rounds, and rounds that are compared alternate.

#![allow(clippy::disallowed_methods, reason = "a bench reads clocks")]
#![allow(clippy::print_stdout, reason = "a bench prints")]
#![allow(clippy::cast_possible_truncation, reason = "figures for people")]

mod journals;
mod latency;
mod loops;
#[path = "../common/measure.rs"]
mod measure;
mod ours;
mod place;
mod raw;
mod restore;
#[path = "../common/stream.rs"]
mod stream;
mod streams;
mod takeover;
mod window;

use std::time::Duration;

use loops::Case;
use measure::argument;
use place::{Broker, inputs};
use stream::stream;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is compared with the raw loop, and what is asked of it.
const CASES: [Case; 3] = [
    Case { shards: 1, interval: Duration::from_millis(100), least: 0.85 },
    Case { shards: 1, interval: Duration::from_millis(25), least: 0.75 },
    Case { shards: 2, interval: Duration::from_millis(100), least: 0.9 },
];

fn main() {
    // One of the processes that a takeover is measured with.
    if let Some(instance) = argument::<String>("--member") {
        return takeover::member(&instance);
    }
    let count = argument("--inputs").unwrap_or(300_000);
    let users = argument("--users").unwrap_or(1_000_000);
    let seed = argument("--seed").unwrap_or(1);
    let rounds = argument("--rounds").unwrap_or(5);
    let only: Option<String> = argument("--only");
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);

    let broker = Broker::start();
    let stream = stream(count, users, seed);
    let mean = stream.bytes as f64 / count as f64;
    println!("bench stream: {count} inputs, {users} users, seed {seed}, digest {}", stream.digest);
    println!("              {mean:.0} bytes an input; medians of {rounds} rounds\n");
    if wanted("loops") {
        loops::header();
        for case in CASES {
            loops::report(&broker, case, &inputs(&stream, case.shards), rounds);
        }
    }
    if wanted("latency") {
        latency::report(&broker, &CASES.map(|case| case.interval)[..2]);
    }
    if wanted("restore") {
        restore::report(&broker, users);
    }
    if wanted("streams") {
        streams::report(&broker, &stream, rounds.min(3));
    }
    if wanted("takeover") {
        takeover::report(&broker, users / 10);
    }
}
