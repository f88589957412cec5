//! `deferd replay` and `deferd why` on a data directory: stopped, damaged, and while somebody writes it.
#![allow(missing_docs, reason = "a test")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test: what is not there fails it"
)]

mod data;
mod samples;
mod seeded;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use data::{DataDirectory, segments};
use serde_json::Value;

const USERS: [&str; 3] = ["+15145550100", "+15145550101", "+15145550102"];
const SMALL: u64 = 65_536;

/// Whatever is asked, a directory answers as the lines of its journal do.
#[test]
fn a_directory_reads_as_its_lines() {
    for partitions in [1, 2] {
        let mut made = DataDirectory::new(&format!("verbs-{partitions}"), partitions, SMALL);
        made.live(150);
        let path = made.path();
        let raw: Vec<PathBuf> = (0..partitions).map(|number| lines_of(&made, number)).collect();
        drop(made);
        for (number, raw) in (0..partitions).zip(&raw) {
            let number = number.to_string();
            let one = ["--partition", &number];
            for asked in [
                &["--output", "json"][..],
                &[],
                &["--output", "jsonl"],
                &["--at", "40"],
                &["--at", "2026-11-21T09:00:00Z", "--output", "json"],
                &["--diff", "10", "60"],
                &["--diff", "2026-11-21T08:30:00Z", "2026-11-21T12:00:00Z"],
                &["--from", "5", "--until", "20"],
                &["--verify", "--strict"],
                &["--verify", "--output", "json"],
            ] {
                same(&path, raw, &[asked, &one].concat(), asked);
            }
        }
        for user in USERS {
            let raw = raw.iter().find(|raw| {
                let text = std::fs::read_to_string(raw).unwrap();
                text.contains(&format!("\"user\":\"tel:{user}\""))
            });
            for asked in [
                &["--user", user][..],
                &["--user", user, "--output", "json"],
                &["--user", user, "--at", "2026-11-21T10:00:00Z"],
                &["--user", user, "--at", "30", "--output", "json"],
                &["--user", user, "--diff", "10", "60"],
                &["--user", user, "--message", "m3"],
            ] {
                same(&path, raw.unwrap(), asked, asked);
            }
            let why = |journal: &Path| {
                let journal = journal.to_string_lossy().into_owned();
                deferd(&["why", "m3", "--journal", &journal, "--user", user])
            };
            assert_eq!(why(&path).stdout, why(raw.unwrap()).stdout, "{user}");
        }
    }
}

/// All partitions at once are the sum of each.
#[test]
fn partitions_add_up() {
    let mut made = DataDirectory::new("sum", 2, SMALL);
    made.live(120);
    let path = made.path();
    drop(made);
    let all = json(&replay(&path, &["--output", "json"]));
    let each: Vec<Value> = ["0", "1"]
        .iter()
        .map(|number| json(&replay(&path, &["--output", "json", "--partition", number])))
        .collect();
    for field in ["/records", "/duplicates", "/messages/accepted", "/attempts_by/cpm"] {
        let sum: u64 = each.iter().map(|one| one.pointer(field).unwrap().as_u64().unwrap()).sum();
        assert_eq!(all.pointer(field).unwrap().as_u64(), Some(sum), "{field}");
        assert!(sum > 0 || field == "/duplicates", "{field}");
    }
    let shown = stdout(&replay(&path, &[]));
    assert!(shown.contains("in 2 partitions"), "{shown}");

    let verified = replay(&path, &["--verify", "--output", "json"]);
    let verified: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!(verified[1]["partition"], 1);
    assert_eq!(verified[1]["records"], each[1]["records"]);
    let steps = stdout(&replay(&path, &["--output", "jsonl"]));
    assert_eq!(steps.lines().count() as u64, all["records"].as_u64().unwrap());
    assert!(steps.lines().last().unwrap().contains("\"partition\":1"));
    // A message is found wherever it is.
    let holders = deferd(&["why", "m3", "--journal", &path.to_string_lossy()]);
    assert_ne!(code(&holders), 1, "{}", stderr(&holders));
}

/// An export of a directory is read and decided again.
#[test]
fn an_export_of_a_directory_is_whole() {
    let mut made = DataDirectory::new("export", 2, SMALL);
    made.live(120);
    let path = made.path();
    let export = folder("export-out").join("one.jsonl");
    let to = export.to_string_lossy().into_owned();
    drop(made);
    for asked in [&["--partition", "1"][..], &["--user", USERS[0]]] {
        let answer = replay(&path, &[asked, &["--export", &to, "--with-content"]].concat());
        assert_eq!(code(&answer), 0, "{}", stderr(&answer));
        let again = replay(&export, &["--verify", "--strict"]);
        assert_eq!(code(&again), 0, "{}{}", stdout(&again), stderr(&again));
    }
    let shown = |journal: &Path| stdout(&replay(journal, &["--user", USERS[0]]));
    assert_eq!(shown(&path), shown(&export));
    for (asked, says) in [
        (vec!["--export", &to], "--export means one partition"),
        (vec!["--at", "4"], "--at with a seq means one partition"),
        (vec!["--diff", "1", "4"], "--diff with a seq means one partition"),
        (vec!["--from", "4"], "--from with a seq means one partition"),
        (vec!["--partition", "2"], "has 2 partitions, counted from 0"),
        (vec!["--partition", "0", "--user", USERS[0]], "cannot be used with"),
    ] {
        let answer = replay(&path, &asked);
        assert_eq!(code(&answer), 2, "{asked:?}");
        assert!(stderr(&answer).contains(says), "{asked:?}: {}", stderr(&answer));
    }
    let inside = path.join("partition-0/00000000000000000000.journal");
    let before = std::fs::read(&inside).unwrap();
    let inside_name = inside.to_string_lossy().into_owned();
    let answer = replay(&path, &["--user", USERS[0], "--export", &inside_name]);
    assert_eq!((code(&answer), std::fs::read(&inside).unwrap() == before), (2, true));
    assert!(stderr(&answer).contains("in the data directory being read"));
}

#[test]
fn a_torn_end_is_told_and_passed_over() {
    let mut made = DataDirectory::new("torn", 1, 1 << 30);
    made.live(60);
    let path = made.path();
    drop(made);
    let whole = replay(&path, &["--output", "jsonl"]);
    let segment = segments(&path, 0).pop().unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let end = bytes.len();
    bytes.extend_from_slice(b"dfrd\x40\x00\x00\x00 and what a crash left");
    std::fs::write(&segment, bytes).unwrap();

    let torn = replay(&path, &["--output", "jsonl"]);
    assert_eq!((code(&torn), stdout(&torn)), (0, stdout(&whole)));
    assert!(stderr(&torn).contains(&format!("torn at byte {end}")), "{}", stderr(&torn));
    assert_eq!(code(&replay(&path, &["--verify"])), 0);
    assert_eq!(code(&replay(&path, &["--verify", "--strict"])), 1);
}

#[test]
fn damage_is_told_with_its_segment_and_byte() {
    let mut made = DataDirectory::new("damaged", 1, SMALL);
    made.live(150);
    let path = made.path();
    drop(made);
    let all = segments(&path, 0);
    assert!(all.len() > 2, "{all:?}");
    for segment in [&all[1], &all[all.len() - 1]] {
        let before = std::fs::read(segment).unwrap();
        let mut bytes = before.clone();
        // In the first frame of the segment, so that others stand behind it.
        bytes[100] ^= 4;
        std::fs::write(segment, bytes).unwrap();
        for asked in [&[][..], &["--verify"], &["--output", "jsonl"], &["--user", USERS[0]]] {
            let answer = replay(&path, asked);
            let place = format!("{}, byte 40:", segment.display());
            assert_eq!(code(&answer), 2, "{asked:?}");
            assert!(stderr(&answer).contains(&place), "{asked:?}: {}", stderr(&answer));
        }
        std::fs::write(segment, before).unwrap();
    }
    std::fs::rename(&all[1], folder("damaged-out").join("gone")).unwrap();
    let answer = replay(&path, &["--verify"]);
    assert_eq!(code(&answer), 2);
    assert!(stderr(&answer).contains("are missing: bring their segment back"));
}

/// Where the retention has removed the beginning, nothing is made up.
#[test]
fn a_removed_beginning_is_told() {
    let mut made = DataDirectory::new("removed", 1, SMALL);
    made.live(150);
    let path = made.path();
    drop(made);
    let all = segments(&path, 0);
    std::fs::remove_file(&all[0]).unwrap();
    let first: u64 = all[1].file_stem().unwrap().to_string_lossy().parse().unwrap();
    let removed = format!("the records before seq {first} were removed");
    for asked in [&["--user", USERS[0]][..], &["--at", "2027-01-01T00:00:00Z"], &[]] {
        let answer = replay(&path, asked);
        assert_eq!(code(&answer), 0, "{asked:?}");
        assert!(stderr(&answer).contains(&removed), "{asked:?}: {}", stderr(&answer));
    }
    for asked in [&["--verify"][..], &["--at", "3"], &["--diff", "3", "300"]] {
        let answer = replay(&path, asked);
        assert_eq!(code(&answer), 2, "{asked:?}");
        assert!(stderr(&answer).contains(&removed), "{asked:?}: {}", stderr(&answer));
    }
}

/// What is kept begins with a snapshot: all that can be known is known again, and decided again.
#[test]
fn a_removed_beginning_is_known_from_its_snapshot() {
    let mut made = DataDirectory::new("snapshot", 1, SMALL);
    made.live(60);
    while segments(&made.path(), 0).len() < 3 {
        made.live(1);
    }
    made.live(5);
    let seq = made.keep_snapshot(0);
    made.live(60);
    let path = made.path();
    let whole = lines_of(&made, 0);
    drop(made);
    let all = segments(&path, 0);
    let first =
        |segment: &Path| -> u64 { segment.file_stem().unwrap().to_string_lossy().parse().unwrap() };
    // The snapshot stands inside of a segment: what is before it there tells nothing.
    all.iter().zip(&all[1..]).filter(|(_, next)| first(next) <= seq).for_each(|(old, _)| {
        std::fs::remove_file(old).unwrap();
    });
    let kept = segments(&path, 0);
    assert!(kept.len() < all.len() && first(&kept[0]) < seq);

    let end = "2027-01-01T00:00:00Z";
    for asked in [&["--at", end][..], &["--at", &(seq + 30).to_string(), "--output", "json"]] {
        assert_eq!(stdout(&replay(&path, asked)), stdout(&replay(&whole, asked)), "{asked:?}");
    }
    let verified = json(&replay(&path, &["--verify", "--strict", "--output", "json"]));
    assert_eq!(verified["equal"], true, "{verified}");
    assert_eq!(verified["from_seq"], seq);
    let records = json(&replay(&whole, &["--output", "json"]))["records"].as_u64().unwrap();
    assert_eq!(verified["records"].as_u64(), Some(records - seq));
    for user in USERS {
        let (from, until) = (seq.to_string(), (seq + 40).to_string());
        let asked = ["--user", user, "--from", &from, "--until", &until, "--output", "jsonl"];
        assert_eq!(stdout(&replay(&path, &asked)), stdout(&replay(&whole, &asked)), "{user}");
        // Where a message waits is known, though not because of what; one that ended before is not.
        let stands = |journal: &Path| -> Vec<Vec<Value>> {
            (0..12)
                .filter_map(|number| {
                    let (name, at) = (journal.to_string_lossy(), (seq + 1).to_string());
                    let id = format!("m{number}");
                    let answer = deferd(&[
                        "why",
                        &id,
                        "--journal",
                        &name,
                        "--user",
                        user,
                        "--at",
                        &at,
                        "-o",
                        "json",
                    ]);
                    let answer: Value = serde_json::from_slice(&answer.stdout).ok()?;
                    let waits = answer.as_array()?.iter().filter(|one| one.get("stands").is_some());
                    Some(waits.map(|one| one["stands"].clone()).collect::<Vec<Value>>())
                })
                .filter(|waits| !waits.is_empty())
                .collect()
        };
        assert_eq!(stands(&path), stands(&whole), "{user}");
    }
    let before = replay(&path, &["--at", "3"]);
    assert_eq!(code(&before), 2);
    assert!(stderr(&before).contains(&format!("before seq {seq} were removed")));
}

/// A reader beside the writer sees whole records, none twice, no fewer than the reader before it, and
/// what it sees is equal when it is decided again.
#[test]
fn it_is_read_while_somebody_writes_it() {
    let mut made = DataDirectory::new("live", 1, SMALL);
    made.live(5);
    let path = made.path();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let writer = std::thread::spawn(move || {
        while !stopped.load(Ordering::SeqCst) {
            made.live(1);
            // What was begun and is not published is nobody's business.
            let segment = segments(&made.path(), 0).pop().unwrap();
            let length = std::fs::metadata(&segment).unwrap().len();
            let mut file = std::fs::File::options().append(true).open(&segment).unwrap();
            std::io::Write::write_all(&mut file, b"dfrd\xff").unwrap();
            std::thread::sleep(std::time::Duration::from_millis(2));
            file.set_len(length).unwrap();
        }
        made
    });
    let mut seen = 0;
    for _ in 0..15 {
        let answer = replay(&path, &["--verify", "--strict", "--output", "json"]);
        let json: Value = serde_json::from_slice(&answer.stdout)
            .unwrap_or_else(|_| panic!("{}", stderr(&answer)));
        assert_eq!((code(&answer), &json["equal"]), (0, &true.into()), "{json}");
        let records = json["records"].as_u64().unwrap();
        assert!(records >= seen, "{records} after {seen}");
        seen = records;
    }
    stop.store(true, Ordering::SeqCst);
    let made = writer.join().unwrap();
    let lines = made.lines(0).len() as u64;
    assert!(seen > 5 && seen <= lines, "{seen} of {lines}");
    let last = json(&replay(&path, &["--output", "json"]));
    assert_eq!(last["records"].as_u64(), Some(lines));
}

#[test]
fn what_is_no_data_directory_is_refused() {
    let made = DataDirectory::new("layout", 1, SMALL);
    let path = made.path();
    drop(made);
    let empty = replay(&path, &[]);
    assert_eq!(code(&empty), 0);
    assert!(stderr(&empty).contains("no journal record in it"), "{}", stderr(&empty));

    let layout = path.join("layout.json");
    let text = std::fs::read_to_string(&layout).unwrap();
    std::fs::write(&layout, text.replace("\"version\":1", "\"version\":2")).unwrap();
    let answer = replay(&path, &[]);
    assert_eq!(code(&answer), 2);
    assert!(stderr(&answer).contains("has version 2, newer than 1"), "{}", stderr(&answer));

    let answer = replay(&folder("no-layout"), &["--user", USERS[0]]);
    assert_eq!(code(&answer), 2);
    assert!(stderr(&answer).contains("is no data directory"), "{}", stderr(&answer));
    let file = folder("no-layout").join("file.jsonl");
    std::fs::write(&file, "").unwrap();
    let answer = replay(&file, &["--partition", "0"]);
    assert_eq!(code(&answer), 2);
    assert!(stderr(&answer).contains("--partition is for a data directory"));
}

/// Both answers, but for the name of what was read.
fn same(directory: &Path, lines: &Path, of_directory: &[&str], of_lines: &[&str]) {
    let (one, other) = (replay(directory, of_directory), replay(lines, of_lines));
    let bare = |answer: &Output, path: &Path| {
        let text = stdout(answer);
        let text = text.replace(&*path.to_string_lossy(), "JOURNAL");
        let text = text.lines().filter(|line| !line.starts_with("partition ")).collect::<Vec<_>>();
        // Only one of several partitions says which it is.
        let text = text.join("\n").replace(",\"partition\":0", "").replace(",\"partition\":1", "");
        (code(answer), text)
    };
    let (one, other) = (bare(&one, directory), bare(&other, lines));
    assert!(!one.1.is_empty());
    assert_eq!(one, other, "{of_directory:?}");
}

/// The lines of a partition, in a file.
fn lines_of(made: &DataDirectory, partition: u32) -> PathBuf {
    let mut name = made.path().into_os_string();
    name.push(format!("-{partition}.jsonl"));
    let mut lines = made.lines(partition).join(&b'\n');
    lines.push(b'\n');
    std::fs::write(&name, lines).unwrap();
    name.into()
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn replay(journal: &Path, args: &[&str]) -> Output {
    deferd(&[&["replay", &journal.to_string_lossy()], args].concat())
}

fn deferd(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_deferd")).args(args).output().unwrap()
}

fn json(answer: &Output) -> Value {
    assert_eq!(code(answer), 0, "{}", stderr(answer));
    serde_json::from_slice(&answer.stdout).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
