//! Bad input: what a person typed is told clearly, what a stream brought becomes a dead letter with its
//! reason and line, and the rest goes on. No input may panic.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and says so"
)]

mod samples;
mod seeded;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use deferd::cli::config::Config;
use deferd::cli::simulation::{Outcomes, Simulation};
use deferd::domain::address::Home;
use deferd::domain::time::Timestamp;
use deferd::edge::ek::{Ek, Limits};
use deferd::engine::checkpoint;
use deferd::engine::replay::apply_line;
use deferd::engine::state::State;
use deferd::engine::worker::Settings;
use deferd::record::envelope::Envelope;
use deferd::record::input::Reader;
use seeded::{Chance, START};
use serde_json::Value;

/// What each bad line is told, in the words that stand in its dead letter.
#[test]
fn a_bad_line_is_told_what_is_wrong() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let long = event(&format!(r#""data":{{"node":"{}"}}"#, "x".repeat(300_000)));
    let cases: Vec<(Vec<u8>, &str, &str)> = vec![
        (b"hello".into(), "not-json", "not JSON: expected value at line 1 column 1"),
        (b"\0\0\0".into(), "not-json", "not JSON: expected value at line 1 column 1"),
        (b"[1,2]".into(), "not-cloudevent", "not a CloudEvent: an array, expected one object"),
        (b"{\"a\":1}".into(), "not-cloudevent", "not a CloudEvent: missing field `specversion`"),
        (with("specversion", "0.3"), "not-cloudevent", "specversion is `0.3`, expected 1.0"),
        (with("id", ""), "not-cloudevent", "not a CloudEvent: id is empty"),
        (
            with("type", "cpm.fax.received.v1"),
            "unknown-type",
            "unknown type `cpm.fax.received.v1`; `deferd schema` lists the types",
        ),
        (
            with("type", "cpm.cs.attached"),
            "unknown-type",
            "type `cpm.cs.attached` has no version, expected `cpm.cs.attached.v1`",
        ),
        (
            with("type", "cpm.cs.attached.v2"),
            "newer-version",
            "version 2 of `cpm.cs.attached` is newer than 1, the newest this program reads",
        ),
        (
            with("type", "cpm.input.rejected.v1"),
            "not-from-outside",
            "`cpm.input.rejected.v1` is written by the engine, and never read from outside",
        ),
        (
            with("subject", "55555"),
            "subject",
            "subject: a short code, expected a user's number of 7 digits or more",
        ),
        (
            with("time", "yesterday"),
            "not-cloudevent",
            "not a CloudEvent: time: invalid value: string \"yesterday\", expected an RFC 3339 time such as 2026-11-21T08:00:00Z",
        ),
        (
            with("time", "2399-01-01T00:00:00Z"),
            "ahead",
            "time is 2399-01-01T00:00:00Z, more than a day ahead of the log",
        ),
        (
            event(r#""data":{"rat":7}"#),
            "data",
            "data: rat: invalid type: integer `7`, expected a string",
        ),
        (event(r#""data":[]"#), "data", "data: not an object, expected {\"field\": …}"),
        (
            event(r#""data":{"trust":"blind"}"#),
            "data",
            "data: trust: unknown variant `blind`, expected one of `inferred`, `passive`, `authoritative`",
        ),
        (
            of("cpm.message.submitted.v1", r#"{"from":"a"}"#),
            "data",
            "data: missing field `message_id`",
        ),
        (
            of(
                "cpm.delivery.outcome.v1",
                r#"{"attempt_id":"a","outcome":"failed","sip_status":-4}"#,
            ),
            "data",
            "data: sip_status: invalid value: integer `-4`, expected a whole number, 0 to 65535",
        ),
        (
            of("cpm.sms.failed.v1", "{}"),
            "data",
            "data: it names no message: expected message_id, attempt_id or legacy_id",
        ),
        (b"{\"id\":\"\xff\"}".into(), "not-utf8", "not UTF-8: byte 7 starts no character"),
        (deep.into(), "too-deep", "nested deeper than 64 levels"),
        (long, "too-large", "larger than 262144 bytes, which is max_input_bytes"),
        (
            event("")[..60].into(),
            "not-json",
            "not JSON: EOF while parsing a string at line 1 column 60",
        ),
    ];
    let mut lines: Vec<u8> = b"\xEF\xBB\xBF".to_vec();
    for (line, ..) in &cases {
        lines.extend_from_slice(line);
        lines.extend_from_slice(b"\r\n\r\n");
        lines.extend_from_slice(&event(""));
        lines.push(b'\n');
    }
    let file = written("bad.jsonl", &lines);
    let answer = deferd(&["ingest", "jsonl", &file]);
    assert_eq!(answer.status.code(), Some(0));
    let told: Vec<Value> = json_lines(&answer.stdout);
    assert_eq!(told.len(), 2 * cases.len(), "every other line is good");
    for (number, (_, code, reason)) in cases.iter().enumerate() {
        let data = &told[2 * number]["data"];
        assert_eq!(data["reason"], *reason);
        assert_eq!(data["code"], *code, "{reason}");
        assert_eq!(data["where"]["line"], 3 * number + 1, "{reason}");
        assert_eq!(told[2 * number + 1]["type"], "cpm.cs.attached.v1");
    }
    let talk = String::from_utf8(answer.stderr).unwrap();
    assert_eq!(talk, format!("cpm.cs.attached  {0}\nlines refused    {0}\n", cases.len()));

    assert_eq!(deferd(&["ingest", "jsonl", &file, "--strict"]).status.code(), Some(1));
    let answer = deferd(&["simulate", &file]);
    assert_eq!(answer.status.code(), Some(0));
    let talk = String::from_utf8(answer.stderr).unwrap();
    assert!(talk.contains(" inputs rejected\n"), "{talk}");
}

#[test]
fn dead_letters_go_where_they_are_wanted() {
    let file = written("mixed.jsonl", &[b"{\n".to_vec(), event("")].concat());
    let letters = temporary("letters.jsonl");
    let answer = deferd(&["ingest", "jsonl", &file, "--rejected", &letters.display().to_string()]);
    assert_eq!(json_lines(&answer.stdout).len(), 1);
    let letters = json_lines(&std::fs::read(letters).unwrap());
    assert_eq!(
        letters[0]["data"]["reason"],
        "not JSON: EOF while parsing an object at line 1 column 1"
    );
}

/// An old fact, an outcome of somebody else's attempt and a second copy are no errors: the engine says
/// in its journal why nothing followed.
#[test]
fn what_is_late_or_not_theirs_is_ignored() {
    let lines = [
        event(""),
        event(""),
        of(
            "cpm.delivery.outcome.v1",
            r#"{"attempt_id":"e92ba5bbef7dde69-1-cpm-message","outcome":"delivered"}"#,
        ),
        String::from_utf8(event(""))
            .unwrap()
            .replace("2026", "2025")
            .replace("\"1\"", "\"2\"")
            .into_bytes(),
    ];
    let file =
        written("ignored.jsonl", &lines.map(|line| [line, b"\n".to_vec()].concat()).concat());
    let answer = deferd(&["simulate", &file, "--journal"]);
    let why: Vec<_> =
        json_lines(&answer.stdout).iter().skip(2).map(|r| r["ignored"].clone()).collect();
    assert_eq!(
        why,
        ["not newer than what is known", "no such message or attempt", "too old to be evidence"]
    );
}

/// What a person typed wrong ends with 2 and one line that says what.
#[test]
fn a_file_that_cannot_be_read_is_named() {
    let directory = env!("CARGO_TARGET_TMPDIR");
    for command in [vec!["simulate"], vec!["ingest", "jsonl"], vec!["ingest", "ek"]] {
        let run = |file: &str| {
            let mut arguments = command.clone();
            arguments.push(file);
            let answer = deferd(&arguments);
            assert_eq!(answer.status.code(), Some(2), "{arguments:?}");
            assert!(answer.stdout.is_empty());
            String::from_utf8(answer.stderr).unwrap()
        };
        assert_eq!(
            run("/nowhere/x.jsonl"),
            "error: cannot read /nowhere/x.jsonl: No such file or directory (os error 2)\n"
        );
        assert_eq!(
            run(directory),
            format!(
                "error: {directory} is a directory, expected a file with one JSON object a line\n"
            )
        );
    }
    let told = |arguments: &[&str]| {
        let answer = deferd(arguments);
        assert_eq!(answer.status.code(), Some(2), "{arguments:?}");
        String::from_utf8(answer.stderr).unwrap()
    };
    let empty = written("empty.jsonl", b"");
    assert_eq!(
        told(&["simulate", &empty, "--until", "noon"]),
        "error: `noon`: not an RFC 3339 time such as 2026-11-21T08:00:00Z\n"
    );
    assert_eq!(
        told(&["schema", "cpm.cs.atached"]),
        "error: no type is called `cpm.cs.atached`; the nearest is cpm.cs.attached.v1, and `deferd schema` lists all\n"
    );
    assert_eq!(
        told(&["simulate", &empty, "--set", "policy.settle_second=1"]),
        "error: --set: policy.settle_second is no key; the nearest is policy.settle_seconds\n"
    );
}

#[test]
fn an_empty_file_is_no_error() {
    let empty = written("nothing.jsonl", b"\xEF\xBB\xBF\r\n\n  \n");
    for command in [vec!["simulate"], vec!["ingest", "jsonl"], vec!["ingest", "ek"]] {
        let answer = deferd(&[command, vec![&empty]].concat());
        assert_eq!(answer.status.code(), Some(0));
        assert!(answer.stdout.is_empty());
    }
}

/// A line of any length takes bounded memory, and the lines after it are read.
#[test]
fn a_huge_line_is_passed_over() {
    let mut text = vec![b'x'; 10 << 20];
    text.push(b'\n');
    text.extend(event(""));
    let file = written("huge.jsonl", &text);
    let told = json_lines(&deferd(&["ingest", "jsonl", &file]).stdout);
    assert_eq!(told[0]["data"]["code"], "too-large");
    assert_eq!(told[1]["type"], "cpm.cs.attached.v1");
}

/// Whoever reads our output has seen enough: no error, no noise.
#[test]
fn a_closed_pipe_is_no_error() {
    let lines = [event(""), b"\n".to_vec()].concat().repeat(20_000);
    let file = written("many.jsonl", &lines);
    for arguments in [
        vec!["ingest", "jsonl", &file],
        vec!["simulate", &file, "--journal"],
        vec!["config", "show"],
        vec!["schema", "cpm.message.submitted"],
        vec!["completions", "zsh"],
        vec!["man"],
    ] {
        let mut child =
            command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let answer = child.wait_with_output().unwrap();
        assert_eq!(answer.status.code(), Some(0), "{arguments:?}");
        let talk = String::from_utf8_lossy(&answer.stderr);
        assert!(!talk.contains("panic") && !talk.contains("error"), "{arguments:?}: {talk}");
    }
}

#[test]
fn standard_input_is_read() {
    let mut child = command(&["ingest", "jsonl", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&event("")).unwrap();
    assert_eq!(json_lines(&child.wait_with_output().unwrap().stdout).len(), 1);
}

/// Inputs, journal lines, packets and config files, damaged at random: read or refused, never a panic.
#[test]
fn damaged_bytes_never_panic() {
    let inputs: Vec<Vec<u8>> = samples::inputs().map(|line| line.as_bytes().to_vec()).collect();
    let journal: Vec<Vec<u8>> = samples::lines_of("tests/journals/v1")
        .into_iter()
        .flat_map(|(_, lines)| lines.into_iter().map(String::into_bytes))
        .collect();
    let packets = packets();
    let config = include_bytes!("../ops/deferd.toml").to_vec();
    let now = Timestamp::from_millis(START);
    let reader = Reader::default();
    for seed in 1..=4000 {
        let mut chance = Chance::new(seed);
        let input = damaged(&mut chance, &inputs);
        let line = damaged(&mut chance, &journal);
        let packet = damaged(&mut chance, &packets);
        let toml = chance.one_in(20).then(|| damaged(&mut chance, std::slice::from_ref(&config)));
        let run = || {
            let _ = reader.read(&input, now);
            let _ = reader.normalise(&input, now);
            let _ = Envelope::from_binary([("ce_id", input.as_slice())], &input);
            let _ = apply_line(&mut State::default(), &line);
            let _ = checkpoint::restore(0, [&line]);
            let mut ek = Ek::new(Home::default(), "/p".to_owned(), Limits::default());
            let _ = (ek.line(1, &packet), ek.line(2, &packet), ek.finish());
            if let Some(toml) = &toml {
                let path = temporary("damaged.toml");
                std::fs::write(&path, toml).unwrap();
                let _ = Config::load(Some(&path), [].into_iter(), &[]);
            }
        };
        assert!(catch_unwind(AssertUnwindSafe(run)).is_ok(), "seed {seed} panics");
    }
}

/// Whole traces with damaged, lost, repeated and swapped lines: no panic, the journal adds up, and the
/// same file gives the same bytes.
#[test]
fn damaged_traces_run_through() {
    let traces = samples::traces();
    for seed in 1..=150 {
        let mut chance = Chance::new(seed);
        let mut lines: Vec<Vec<u8>> =
            chance.pick(&traces).1.iter().map(|line| line.as_bytes().to_vec()).collect();
        for _ in 0..=chance.below(8) {
            let (one, other) = (chance.below(lines.len()), chance.below(lines.len()));
            match chance.below(4) {
                0 => lines[one] = damaged(&mut chance, &lines),
                1 => lines.swap(one, other),
                2 => lines.insert(one, lines[other].clone()),
                _ => lines[one] = samples::inputs().nth(other).unwrap().as_bytes().to_vec(),
            }
        }
        let outcomes = *chance.pick(&[Outcomes::None, Outcomes::Delivered, Outcomes::Absent]);
        let once = catch_unwind(AssertUnwindSafe(|| ran(&lines, outcomes)));
        let Ok(once) = once else { panic!("seed {seed} panics") };
        assert!(once == ran(&lines, outcomes), "seed {seed}: other bytes the second time");
    }
}

fn ran(lines: &[Vec<u8>], outcomes: Outcomes) -> Vec<Vec<u8>> {
    let mut simulation = Simulation::new(Settings::default(), outcomes).unwrap();
    let (mut all, mut state) = (Vec::new(), State::default());
    let mut keep = |progress: deferd::cli::simulation::Progress| {
        for line in progress.journal {
            apply_line(&mut state, &line).unwrap();
            all.push(line.to_vec());
        }
        all.extend(progress.outputs.into_iter().map(|output| output.bytes));
    };
    for (number, line) in (1..).zip(lines) {
        keep(simulation.take("f", number, line).unwrap());
    }
    let end = simulation.now() + std::time::Duration::from_secs(30 * 86_400);
    keep(simulation.finish(Some(end)).unwrap());
    all
}

/// One of `lines` with some bytes changed, cut, doubled, or taken from another.
fn damaged(chance: &mut Chance, lines: &[Vec<u8>]) -> Vec<u8> {
    const DIGITS: [&str; 8] =
        ["-1", "0", "1e999", "99999999999999999999", "null", "true", "[]", "\"\""];
    let mut line = chance.pick(lines).clone();
    for _ in 0..=chance.below(4) {
        let at = chance.below(line.len().max(1));
        match chance.below(7) {
            0 => line.truncate(at),
            1 => line.insert(at.min(line.len()), u8::try_from(chance.below(256)).unwrap()),
            2 if !line.is_empty() => line[at] ^= 1 << chance.below(8),
            3 if !line.is_empty() => drop(line.remove(at)),
            4 => {
                let other = chance.pick(lines);
                let (from, size) = (chance.below(other.len().max(1)), chance.below(40));
                let piece: Vec<u8> = other.iter().skip(from).take(size).copied().collect();
                line.splice(at.min(line.len())..at.min(line.len()), piece);
            }
            // Another value behind a colon.
            _ => {
                if let Some(colon) = line.iter().skip(at).position(|byte| *byte == b':') {
                    let from = at + colon + 1;
                    let size = line.iter().skip(from).position(|b| b",}".contains(b)).unwrap_or(0);
                    line.splice(from..from + size, chance.pick(&DIGITS).bytes());
                }
            }
        }
    }
    line
}

/// Packets as tshark prints them, of the captures' kinds.
fn packets() -> Vec<Vec<u8>> {
    [
        r#"{"timestamp":"1795248000000","layers":{"gsup_msg_type":["44"],"e212_imsi":["001010000000101"],"e164_msisdn":["15145550100"]}}"#,
        r#"{"timestamp":"1795248000000","layers":{"sip_Status-Line":["SIP/2.0 200 OK"],"sip_msg_hdr":["To: <sip:+15145550100@ims.example.com>;tag=1\r\nCSeq: 2 REGISTER\r\nCall-ID: a@b\r\nContact: <sip:a@192.0.2.1>;expires=600\r\n"]}}"#,
        r#"{"timestamp":"1795248000000","layers":{"gsm_map_old_Component":["1"],"gsm_old_localValue":["66"],"gsm_old_invokeID":["1"],"tcap_otid":["00:01"],"e212_imsi":["302720000000100"],"sccp_calling_ssn":["7"],"gsm_map_sm_alertReason":["0"]}}"#,
        r#"{"timestamp":"1795248000000","layers":{"diameter_cmd_code":["316"],"diameter_flags_request":["True"],"diameter_hopbyhopid":["0x1"],"diameter_endtoendid":["0x2"],"diameter_User-Name":["302720000000100"],"diameter_RAT-Type":["1004"]}}"#,
        r#"{"timestamp":"1795248000000","layers":{"smpp_command_id":["0x00000102"],"smpp_source_addr_ton":["0x01"],"smpp_source_addr":["15145550100"],"smpp_ms_availability_status":["0"]}}"#,
        r#"{"timestamp":"1795248000000","layers":{"gsup":{"gsup_gsup_msg_type":"44","e212_e212_imsi":"001010000000101"}}}"#,
    ]
    .iter()
    .map(|line| line.as_bytes().to_vec())
    .collect()
}

/// An attach; `more` stands behind its attributes.
fn event(more: &str) -> Vec<u8> {
    let comma = if more.is_empty() { "" } else { "," };
    format!(
        r#"{{"specversion":"1.0","id":"1","source":"/s","type":"cpm.cs.attached.v1","subject":"tel:+15145550100","time":"2026-11-21T08:00:00Z"{comma}{more}}}"#
    )
    .into_bytes()
}

fn with(attribute: &str, value: &str) -> Vec<u8> {
    let mut event: Value = serde_json::from_slice(&event("")).unwrap();
    event[attribute] = value.into();
    serde_json::to_vec(&event).unwrap()
}

fn of(kind: &str, data: &str) -> Vec<u8> {
    let mut event: Value = serde_json::from_slice(&with("type", kind)).unwrap();
    event["data"] = serde_json::from_str(data).unwrap();
    serde_json::to_vec(&event).unwrap()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deferd"));
    command.args(arguments).env_remove("DEFERD_CONFIG");
    command
}

fn deferd(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn temporary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bad-input-{name}"))
}

fn written(name: &str, text: &[u8]) -> String {
    let path = temporary(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn json_lines(bytes: &[u8]) -> Vec<Value> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}
