//! The machine: clock, open files, memory.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{Finding, bytes};
use crate::cli::clock::WallClock;
use crate::cli::config::Config;
use crate::domain::time::Timestamp;
use crate::engine::ports::Clock;
use crate::log::embedded::{Directory, Frames, Place, Until};

/// The first instant at which this program can run, and the last that is no mistake.
const PLAUSIBLE: [&str; 2] = ["2026-01-01T00:00:00Z", "2100-01-01T00:00:00Z"];
/// How far behind the journal the clock may be; as much as two machines' clocks may differ.
const BEHIND: Duration = Duration::from_secs(60);
/// A journal that ends longer ago is worth a question.
const LONG_AGO: Duration = Duration::from_secs(30 * 86_400);
/// Less than this, and the next burst may end the daemon.
const LITTLE: u64 = 512 << 20;

pub(super) fn clock(config: &Config) -> Vec<Finding> {
    let now = WallClock.now();
    let last = last_record(&config.run.data_dir);
    vec![judged(now, last), synchronised(Path::new("/run/systemd/timesync/synchronized"))]
}

fn judged(now: Timestamp, last: Option<Timestamp>) -> Finding {
    const CHECK: &str = "clock";
    let [from, to] = PLAUSIBLE.map(|time| time.parse().unwrap_or_default());
    if now < from || now > to {
        return Finding::bad(CHECK, format!("it says {now}"), "set it: timers go by it");
    }
    match last {
        Some(last) if last.since(now) > BEHIND => {
            let behind = last.since(now).as_secs();
            let says = format!("{now}, {behind} s before the journal's last record, {last}");
            let advice = "see `Clock wrong` in ops/runbook.md: nothing is due until it gets there";
            Finding::bad(CHECK, says, advice)
        }
        Some(last) if now.since(last) > LONG_AGO => {
            let days = now.since(last).as_secs() / 86_400;
            let says = format!("{now}; the journal ends {days} days ago");
            let advice =
                "if it ran since then, the clock is wrong: at a start all that is due expires";
            Finding::warning(CHECK, says, advice)
        }
        Some(last) => Finding::ok(CHECK, format!("{now}; the journal ends {last}")),
        None => Finding::ok(CHECK, now.to_string()),
    }
}

/// When the last record of any partition was decided.
fn last_record(path: &Path) -> Option<Timestamp> {
    let directory = Directory::open(path).ok()?;
    let last = |number| {
        let end = Place::published(&directory.partition(number))?;
        let mut frames = Frames::open(&directory, number, end.seq.checked_sub(1)?).ok()?;
        frames.next(Until::Place(end)).ok().flatten().map(|frame| frame.at)
    };
    (0..directory.layout.partitions).filter_map(last).max()
}

/// Whether somebody keeps the clock right. Asking the kernel itself takes more than std has.
fn synchronised(timesyncd: &Path) -> Finding {
    const CHECK: &str = "time source";
    if timesyncd.exists() {
        return Finding::ok(CHECK, "systemd-timesyncd has set the clock");
    }
    for (name, socket) in [("chronyd", "/run/chrony/chronyd.sock"), ("ntpd", "/run/ntpd.pid")] {
        if Path::new(socket).exists() {
            let says = format!("{name} runs; whether it has a source it does not tell here");
            return Finding::unknown(CHECK, says, "chronyc tracking, or ntpq -p");
        }
    }
    let advice = "timedatectl: `System clock synchronized` must be yes";
    Finding::unknown(CHECK, "cannot tell whether it is set by NTP", advice)
}

pub(super) fn limits(config: &Config) -> Vec<Finding> {
    let pid = Directory::open(&config.run.data_dir).ok().and_then(|directory| directory.writer());
    vec![files(config, pid.as_deref()), memory(config)]
}

/// Of the daemon where it runs and lets itself be asked, else of this shell.
fn files(config: &Config, pid: Option<&str>) -> Finding {
    const CHECK: &str = "open files";
    let of = |pid: &str| fs::read_to_string(format!("/proc/{pid}/limits")).ok();
    let running = pid.and_then(|pid| Some((of(pid)?, "of the running daemon")));
    let Some((limits, whose)) = running.or_else(|| Some((of("self")?, "of this shell"))) else {
        return Finding::unknown(CHECK, "the system does not tell", "ulimit -n");
    };
    let Some(limit) = soft_limit(&limits) else {
        return Finding::ok(CHECK, format!("no limit, {whose}"));
    };
    let wants = u64::from(config.http.max_connections) + 256;
    let says = format!("{limit}, {whose}; {wants} may be wanted (http.max_connections and 256)");
    if limit < wants {
        return Finding::warning(CHECK, says, "raise it: LimitNOFILE= in the unit, or ulimit -n");
    }
    Finding::ok(CHECK, says)
}

/// The limit in force; `None` where there is none.
fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn memory(config: &Config) -> Finding {
    const CHECK: &str = "memory";
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let Some(available) = available(&meminfo) else {
        return Finding::unknown(CHECK, "the system does not tell", "free -m");
    };
    let queues = config.embedded.queue_bytes * u64::from(config.embedded.partitions);
    let says = format!("{} available; full queues take {}", bytes(available), bytes(queues));
    if available < LITTLE.saturating_add(queues) {
        let advice = "more memory, or a smaller embedded.queue_bytes";
        return Finding::warning(CHECK, says, advice);
    }
    Finding::ok(CHECK, says)
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Verdict;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap_or_default()
    }

    #[test]
    fn a_clock_is_held_against_the_journal() {
        let now = at("2026-11-21T08:00:00Z");
        let verdict = |now, last| judged(now, last).verdict;
        assert_eq!(verdict(now, None), Verdict::Ok);
        assert_eq!(verdict(now, Some(at("2026-11-21T07:00:00Z"))), Verdict::Ok);
        assert_eq!(verdict(now, Some(at("2026-11-21T08:00:30Z"))), Verdict::Ok);
        assert_eq!(verdict(now, Some(at("2026-11-21T09:00:00Z"))), Verdict::Bad);
        assert_eq!(verdict(now, Some(at("2026-09-21T09:00:00Z"))), Verdict::Warning);
        assert_eq!(verdict(Timestamp::EPOCH, None), Verdict::Bad);
        assert_eq!(verdict(at("2126-11-21T08:00:00Z"), None), Verdict::Bad);
    }

    #[test]
    fn what_the_system_says_is_read_as_it_says_it() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(soft_limit(&limits.replace("1024 ", "unlimited ")), None);
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), Some(2 << 20));
    }
}
