//! Does anybody tell us that phones come back? With `first_try = "wait"` a message for a phone of which
//! nothing is known waits for such news, or for the ladder.

use std::time::Duration;

use super::{Finding, reach};
use crate::cli::clock::WallClock;
use crate::cli::config::Config;
use crate::domain::policy::FirstTry;
use crate::domain::time::Timestamp;
use crate::engine::ports::Clock;
use crate::log::embedded::{Directory, Frames, Place, Until};

const CHECK: &str = "news of phones";
const A_DAY: Duration = Duration::from_secs(86_400);
/// How much of a journal is read.
const RECORDS: u64 = 200_000;
/// The types that say it: by name, as they stand in metrics and in records.
const NEWS: [&str; 3] = ["cpm.cs.attached", "cpm.ps.attached", "cpm.sms.ready"];

pub(super) fn look(config: &Config) -> Finding {
    if config.policy.first_try == FirstTry::Sms {
        return Finding::ok(CHECK, "not needed: policy.first_try is sms");
    }
    let now = WallClock.now();
    let metrics = match reach::get(&config.http, "/metrics") {
        Ok((200, text)) => of_metrics(&text, now),
        _ => None,
    };
    match metrics.or_else(|| of_journal(config, now)) {
        Some(true) => Finding::ok(CHECK, "CS, PS or SMS-ready was seen within a day"),
        Some(false) => Finding::warning(
            CHECK,
            "policy.first_try is wait, and no CS, PS or SMS-ready was seen for a day",
            "messages for unknown phones wait for the ladder: connect a probe, or set it to sms",
        ),
        None => {
            let says = "cannot tell: no daemon answers, and no journal goes back a day";
            Finding::unknown(CHECK, says, "ask again once it has run for a day")
        }
    }
}

/// Whether the running daemon has seen any; `None` where it has not, and has not run for a day.
fn of_metrics(text: &str, now: Timestamp) -> Option<bool> {
    let value = |name: &str| -> Option<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    let started = value("deferd_start_timestamp_seconds ")?;
    let seen = NEWS
        .iter()
        .filter_map(|kind| value(&format!("deferd_inputs_total{{type=\"{kind}\"}} ")))
        .any(|count| count > 0.0);
    let age = Duration::try_from_secs_f64(now.since(Timestamp::EPOCH).as_secs_f64() - started);
    (seen || age.is_ok_and(|age| age > A_DAY)).then_some(seen)
}

/// Whether the end of the journal has any; `None` where it has not, and what was read is not a day.
fn of_journal(config: &Config, now: Timestamp) -> Option<bool> {
    let directory = Directory::open(&config.run.data_dir).ok()?;
    let mut reaches_back = false;
    for number in 0..directory.layout.partitions {
        let end = Place::published(&directory.partition(number))?;
        let mut frames = Frames::open(&directory, number, end.seq.saturating_sub(RECORDS)).ok()?;
        while let Ok(Some(frame)) = frames.next(Until::Place(end)) {
            let is_fresh = now.since(frame.at) < A_DAY;
            reaches_back |= !is_fresh;
            if is_fresh && is_news(frame.line) {
                return Some(true);
            }
        }
    }
    reaches_back.then_some(false)
}

/// A record quotes its input; a message's content is JSON text, where a quote has a backslash before it.
fn is_news(line: &[u8]) -> bool {
    let Ok(line) = std::str::from_utf8(line) else { return false };
    NEWS.iter().any(|kind| line.contains(&format!("\"type\":\"{kind}.v1\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_tells_by_its_counters() {
        let now = Timestamp::from_millis(1_000_000_000);
        let metrics = |started: u32, seen: u32| {
            format!(
                "deferd_start_timestamp_seconds {started}\n\
                 deferd_inputs_total{{type=\"cpm.ims.registered\"}} 9\n\
                 deferd_inputs_total{{type=\"cpm.ps.attached\"}} {seen}\n"
            )
        };
        assert_eq!(of_metrics(&metrics(999_000, 3), now), Some(true));
        assert_eq!(of_metrics(&metrics(999_000, 0), now), None, "it has just started");
        assert_eq!(of_metrics(&metrics(900_000, 0), now), Some(false));
        assert_eq!(of_metrics("", now), None);
    }

    #[test]
    fn news_is_told_from_talk_of_it() {
        assert!(is_news(br#"{"seq":1,"input":{"type":"cpm.cs.attached.v1"}}"#));
        assert!(!is_news(br#"{"seq":1,"input":{"type":"cpm.cs.detached.v1"}}"#));
        assert!(!is_news(br#"{"body":"\"type\":\"cpm.cs.attached.v1\""}"#));
    }
}
