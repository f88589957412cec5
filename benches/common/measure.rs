//! How a figure comes about: rounds, medians, CPU beside wall time, arguments, rows of a table.

use std::str::FromStr;
use std::time::Instant;

/// One measured round, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
}

/// One round: what the work leaves behind is dropped after the clock has stopped.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> Round {
    let (wall, cpu) = (Instant::now(), cpu_seconds());
    let left = std::hint::black_box(work());
    let round = Round { wall: wall.elapsed().as_secs_f64(), cpu: cpu_seconds() - cpu };
    drop(left);
    round
}

/// The round in the middle, by wall time.
pub(crate) fn median(rounds: &[Round]) -> Round {
    let mut sorted = rounds.to_vec();
    sorted.sort_by(|one, other| one.wall.total_cmp(&other.wall));
    sorted.get(sorted.len() / 2).copied().unwrap_or(Round { wall: f64::NAN, cpu: f64::NAN })
}

/// A figure beside what it is to be.
pub(crate) fn target(name: &str, value: f64, unit: &str, target: f64, at_least: bool) {
    let met = if at_least { value >= target } else { value <= target };
    let (sign, word) = (if at_least { "≥" } else { "≤" }, if met { "met" } else { "NOT MET" });
    println!("{name:<34}{value:>8.2} {unit:<5} target {sign} {target:<7.2} {word}");
}

/// CPU time of this process so far: user and system, all threads.
pub(crate) fn cpu_seconds() -> f64 {
    cpu_seconds_of("self")
}

/// The same of any process.
pub(crate) fn cpu_seconds_of(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// What was given as `--name=value` or `--name value`.
pub(crate) fn argument<T: FromStr>(name: &str) -> Option<T> {
    let mut given = std::env::args().skip_while(|arg| arg.split('=').next() != Some(name));
    let first = given.next()?;
    let value =
        first.split_once('=').map(|(_, value)| value.to_owned()).or_else(|| given.next())?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} cannot be {value}")))
}
