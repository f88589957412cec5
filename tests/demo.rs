//! The demo tells the walk-throughs of `rules.md` 3.11, W-1 to W-15, as they are written there: who gets
//! what, by which access, at which second.
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, reason = "a test: what is not there fails it")]
#![allow(clippy::wildcard_enum_match_arm, reason = "what a walk-through does not tell")]

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Parser;
use deferd::cli::args::Args;
use deferd::cli::{Answer, run};
use deferd::domain::event::{Access, End, Event, Notice};
use deferd::domain::input::What;
use deferd::domain::time::Timestamp;
use deferd::record::journal::Record;

/// What each walk-through says, one line a tale: the last two digits of its user, its midnight, and what
/// goes out or ends, in seconds from there.
const TOLD: &str = "\
W-1   01  2025-01-01  8 cpm m-lunch; 9 delivered cpm m-lunch
W-2   02  2025-02-01  30 sms m-2g; 31 legacy-sms; 36 delivered; 36 stored; 36 delivered sms m-2g
W-3   03  2025-03-01  30 sms m-again; 415 sms m-again; 420 stored; 420 delivered sms m-again
W-4   04  2025-04-01  30 ucn m-file; 86402 cpm m-file; 86403 delivered cpm m-file
W-5   05  2025-05-01  46800 cpm m-outage; 46801 delivered cpm m-outage
W-5   25  2025-05-07  46800 sms m-outage-b; 46806 stored; 46806 delivered sms m-outage-b
W-6   06  2025-06-01  30 sms m-blip; 36 stored; 36 delivered sms m-blip
W-6   26  2025-06-07  30.5 sms m-blip-b; 36 stored; 36 delivered sms m-blip-b
W-6   46  2025-06-13  12 cpm m-loss; 13 delivered cpm m-loss; 55 sms m-loss-2; 60 stored; 60 delivered sms m-loss-2
W-7   07  2025-07-01  0 cpm m-tablet; 0.3 delivered cpm m-tablet; 7202 copy m-tablet; 7203 copied m-tablet
W-7   27  2025-07-07  0 cpm m-tablet-b; 0.3 delivered cpm m-tablet-b; 2.1 copy m-tablet-b; 3 copied m-tablet-b
W-8   08  2025-08-01  0 cpm m-gateway; 42 cpm m-gateway; 94 cpm m-gateway; 126 sms m-gateway; 131 stored; 131 delivered sms m-gateway
W-8   28  2025-08-07  0 cpm m-late; 40 cpm m-late; 90 cpm m-late; 120 sms m-late; 125 stored; 125 delivered sms m-late
W-8   48  2025-08-13  0 cpm m-dead; 36 sms m-dead; 41 stored; 41 delivered sms m-dead
W-8   68  2025-08-19  -3000 cpm m-lost-0; -2999 delivered cpm m-lost-0; 0 cpm m-lost; 51 sms m-lost; 56 stored; 56 delivered sms m-lost
W-8   88  2025-08-25  0 cpm m-silent; 65 parked m-silent; 65 cpm m-silent; 66 delivered cpm m-silent
W-9   09  2025-09-01  30 sms m-memory; 900 sms m-memory; 905 stored; 905 delivered sms m-memory
W-9   29  2025-09-07  30 sms m-full; 3633 sms m-full; 25330 sms m-full; 25336 stored; 25336 delivered sms m-full
W-10  10  2025-10-01  0 sms m-quiet; 1 legacy-sms; 121 parked m-quiet; 121 stored; 121 sms m-quiet-2; 125 stored; 125 delivered sms m-quiet-2; 602 cpm m-quiet; 603 delivered cpm m-quiet
W-10  30  2025-10-07  0 sms m-quiet-b; 1 legacy-sms; 121 parked m-quiet-b; 121 stored; 300 delivered; 300 delivered sms m-quiet-b
W-10  50  2025-10-13  0 sms m-quiet-c; 1 legacy-sms; 121 parked m-quiet-c; 121 stored; 3600 error; 3600 expired m-quiet-c
W-11  11  2025-11-01  30 sms m-kept; 31 legacy-sms; 31 stored; 31 sms m-kept-2; 32 legacy-sms; 32 stored; 7200 delivered; 7200 delivered sms m-kept; 86400 failed; 86400 expired m-kept-2
W-11  31  2025-11-07  30 sms m-kept-b; 31 legacy-sms; 31 stored; 86700 assumed sms m-kept-b
W-12  12  2025-12-01  0 sms m-cross; 9 stored; 9 delivered sms m-cross; 9 cpm m-cross-2; 10 delivered cpm m-cross-2
W-12  32  2025-12-07  0 sms m-cross-b; 9 cpm m-cross-b; 10 delivered cpm m-cross-b; 10 cpm m-cross-b2; 11 delivered cpm m-cross-b2
W-12  52  2025-12-13  0 sms m-cross-c; 13 cpm m-cross-c2; 14 delivered cpm m-cross-c2; 20 cpm m-cross-c late; 21 delivered cpm m-cross-c
W-13  13  2026-01-01  20 failed; 20 expired m-taxi; 30 sms m-tomorrow; 36 stored; 36 delivered sms m-tomorrow
W-14  14  2026-02-01  900 sms m-nonews; 2705 sms m-nonews; 6310 sms m-nonews; 20015 sms m-nonews; 20020 stored; 20020 delivered sms m-nonews
W-14  34  2026-02-07  0 sms m-atonce; 5 stored; 5 delivered sms m-atonce
W-14  54  2026-02-13  900 sms m-eight; 2705 sms m-eight; 6310 sms m-eight; 20715 sms m-eight; 35120 sms m-eight; 49525 sms m-eight; 63930 sms m-eight; 78335 sms m-eight; 200015 sms m-eight; 200020 stored; 200020 delivered sms m-eight
W-15  15  2026-03-01  0 cpm m-both; 0 sms m-both; 1 delivered cpm m-both
W-15  35  2026-03-07  0 cpm m-both-b; 0 sms m-both-b; 908 cpm m-both-b; 909 delivered cpm m-both-b
";

#[test]
fn every_walk_through_ends_as_the_rules_say() {
    let (told, journal) = demo(&["--all"], "all");
    let mut wrong = String::new();
    for line in TOLD.lines() {
        let [rule, user, midnight, expected] = columns(line);
        let user = format!("tel:+141555501{user}");
        let midnight: Timestamp = format!("{midnight}T00:00:00Z").parse().unwrap();
        let found = decided(&journal, &user, midnight);
        if found != expected {
            writeln!(wrong, "{rule} {user}\n  rules.md {expected}\n  engine   {found}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");

    let tales = told.lines().filter(|line| line.contains("To +1415555")).count();
    assert_eq!(tales, TOLD.lines().count(), "a tale without its line above, or the reverse");
}

/// Rejected inputs would be inputs of ours that we did not test.
#[test]
fn the_journal_is_whole_and_refuses_nothing() {
    let (_, journal) = demo(&["--all"], "whole");
    for (seq, line) in journal.lines().enumerate() {
        let record = Record::read(line.as_bytes()).unwrap();
        assert_eq!(record.seq, seq as u64);
        assert_eq!(record.rejected, None, "{line}");
    }
}

/// A terminal of 100 columns shows every line whole.
#[test]
fn lines_are_at_most_100_columns() {
    let (told, _) = demo(&["--all"], "columns");
    let lines = told.lines().filter(|line| !line.contains(".jsonl"));
    let long: Vec<&str> = lines.filter(|line| line.chars().count() > 100).collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// The same words and the same journal, whenever and wherever it runs.
#[test]
fn it_is_told_the_same_twice() {
    assert_eq!(demo(&[], "twice"), demo(&[], "twice"));
}

#[test]
fn a_story_has_a_name_and_a_number() {
    let (by_name, _) = demo(&["memory"], "named");
    assert!(by_name.contains("Memory full"));
    assert_eq!(demo(&["9"], "named").0, by_name);
    assert_eq!(demo(&["W-9"], "named").0, by_name);
}

/// It ends by naming commands; whoever types them gets an answer.
#[test]
fn the_commands_that_it_names_work() {
    let path = journal_path("named-commands");
    let (told, journal) = demo(&[], "named-commands");
    std::fs::write(&path, journal).unwrap();
    let named: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("  deferd ")).collect();
    assert_eq!(named.len(), 4, "{told}");
    for command in named {
        let args = Args::parse_from(std::iter::once("deferd").chain(command.split(' ')));
        let mut out = Vec::new();
        let answer = run(&args, std::iter::empty(), &mut out);
        assert_eq!(answer.unwrap(), Answer::Done, "{command}");
        assert!(!out.is_empty(), "{command}");
    }
    std::fs::remove_file(path).unwrap();
}

/// Somebody's file is not overwritten; the demo's own is.
#[test]
fn a_file_that_is_no_demo_journal_is_left_alone() {
    let path = journal_path("precious");
    std::fs::write(&path, "precious\n").unwrap();
    let args = Args::parse_from(["deferd", "demo", "--journal", path.to_str().unwrap()]);
    let mut out = Vec::new();

    let error = run(&args, std::iter::empty(), &mut out).unwrap_err();

    assert!(error.to_string().contains("no journal of a demo"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious\n");
    assert!(out.is_empty(), "it tells before it knows");
    std::fs::remove_file(path).unwrap();
}

/// Runs it: what it says, and the journal that it leaves.
fn demo(more: &[&str], name: &str) -> (String, String) {
    let path = journal_path(name);
    let fixed = ["deferd", "demo", "--journal", path.to_str().unwrap()];
    let args = Args::parse_from(fixed.iter().chain(more));
    let mut out = Vec::new();

    let answer = run(&args, std::iter::empty(), &mut out).unwrap();

    assert_eq!(answer, Answer::Done);
    let journal = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    (without_colour(&String::from_utf8(out).unwrap()), journal)
}

fn journal_path(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    // A test of the same binary in another thread has a name of its own.
    folder.join(format!("demo-{name}-{:?}.jsonl", std::thread::current().id()))
}

fn without_colour(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain + rest
}

fn columns(line: &str) -> [&str; 4] {
    let mut rest = line;
    std::array::from_fn(|column| {
        let (word, after) =
            if column == 3 { (rest, "") } else { rest.split_once(' ').unwrap_or((rest, "")) };
        rest = after.trim_start();
        word
    })
}

/// What went out to a user, what its senders heard, and how its messages ended, in `TOLD`'s words.
fn decided(journal: &str, user: &str, midnight: Timestamp) -> String {
    let mut words = Vec::new();
    for line in journal.lines() {
        let record = Record::read(line.as_bytes()).unwrap();
        if record.user.as_deref() != Some(user) {
            continue;
        }
        let millis = record.at.as_millis() - midnight.as_millis();
        let at = format!("{:.1}", millis as f64 / 1000.0).trim_end_matches(".0").to_owned();
        let said = record.events.iter().filter_map(word);
        words.extend(said.map(|word| format!("{at} {word}")));
    }
    words.join("; ")
}

fn word(event: &Event) -> Option<String> {
    let access = |access: &Access| match access {
        Access::Cpm => "cpm",
        Access::Sms => "sms",
    };
    Some(match event {
        Event::AttemptStarted { m, by, what, late, .. } => {
            let how = match what {
                What::Message | What::Forward => access(by),
                What::Ucn => "ucn",
                What::Copy => "copy",
            };
            format!("{how} {m}{}", if *late { " late" } else { "" })
        }
        Event::Notified { notice, .. } => match notice {
            Notice::Delivered => "delivered".into(),
            Notice::Failed => "failed".into(),
            Notice::Error => "error".into(),
            Notice::LegacySms => "legacy-sms".into(),
            Notice::LegacyMms | Notice::Forbidden | Notice::Stored => format!("{notice:?}"),
        },
        Event::StorageRequested { .. } => "stored".into(),
        Event::Parked { m, .. } => format!("parked {m}"),
        Event::CopyClosed { m, d: Some(_) } => format!("copied {m}"),
        Event::Ended { m, end: End::Delivered(by), .. } => format!("delivered {} {m}", access(by)),
        Event::Ended { m, end: End::Assumed, .. } => format!("assumed sms {m}"),
        Event::Ended { m, end: End::Expired(_), .. } => format!("expired {m}"),
        Event::Ended { m, end, .. } => format!("{end:?} {m}"),
        _ => return None,
    })
}
