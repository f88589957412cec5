//! `deferd replay` and `deferd why` as their user sees them, on journals that `simulate` wrote.
//!
//! `UPDATE_GOLDEN=1 cargo test --test replay` writes the golden answers anew; whoever does so reads
//! them as the person on call would before they are kept.
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, reason = "a test: what is not there fails it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const USER: &str = "+15145550100";

#[test]
fn a_summary_says_what_is_in_a_journal() {
    let run = Run::new("summary", "delivered");
    let answer = run.replay(&[]);

    golden("summary.txt", &run.shown(&answer));
    let json = run.json(&run.replay(&["--output", "json"]));
    assert_eq!(json["messages"]["accepted"], 3);
    assert_eq!(json["messages"]["ended"]["delivered by cpm"], 2);
    assert_eq!(json["rejected"].as_object().unwrap().len(), 1);
}

#[test]
fn a_users_timeline_reads_as_it_happened() {
    let run = Run::new("timeline", "absent");

    golden("user.txt", &run.shown(&run.replay(&["--user", USER])));
    golden("message.txt", &run.shown(&run.replay(&["--user", USER, "--message", "m2"])));
    let span = ["--user", USER, "--from", "3", "--until", "2026-11-21T08:10:06Z"];
    golden("span.txt", &run.shown(&run.replay(&span)));
}

#[test]
fn a_timeline_is_json_too() {
    let run = Run::new("json", "delivered");
    let all = run.json(&run.replay(&["--user", USER, "--output", "json"]));
    let lines = stdout(&run.replay(&["--user", USER, "--output", "jsonl"]));

    let each: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(all.as_array().unwrap(), &each);
    let attempt = each.iter().find(|step| !step["commands"].as_array().unwrap().is_empty());
    assert_eq!(attempt.unwrap()["commands"][0]["type"], "cpm.delivery.requested.v1");
    let everybody = stdout(&run.replay(&["--output", "jsonl"]));
    assert_eq!(everybody.lines().count() as u64, run.records());
}

/// What people wrote to each other is shown to nobody who did not ask for it.
#[test]
fn content_is_left_out_unless_asked_for() {
    let run = Run::new("content", "delivered");
    for args in
        [&["--user", USER][..], &["--user", USER, "--output", "json"], &["--output", "jsonl"]]
    {
        assert!(!stdout(&run.replay(args)).contains("secret"), "{args:?}");
    }
    let with = run.replay(&["--user", USER, "--output", "json", "--with-content"]);
    assert!(stdout(&with).contains("secret"));
    let out = run.path("export.jsonl");
    run.replay(&["--user", USER, "--export", &out]);
    let exported = std::fs::read_to_string(&out).unwrap();
    assert!(!exported.contains("secret") && exported.contains("\"body_omitted\":12"));
}

#[test]
fn a_picture_says_what_was_known_and_how_old_it_was() {
    let run = Run::new("at", "absent");

    let at = ["--user", USER, "--at", "2026-11-21T08:10:08.5Z"];
    golden("at.txt", &run.shown(&run.replay(&at)));
    let json = run.json(&run.replay(&["--user", USER, "--at", "3", "--output", "json"]));
    assert_eq!(json["messages"][0]["state"], "IpWait");
    assert_eq!(json["slots"][0]["because"]["source"], "/probe/msc1");
    let all = run.json(&run.replay(&["--at", "3", "--output", "json"]));
    assert_eq!(all["users"][0]["state"], 1);
}

#[test]
fn a_difference_names_each_field() {
    let run = Run::new("diff", "absent");

    golden("diff.txt", &run.shown(&run.replay(&["--user", USER, "--diff", "3", "10"])));
    let same = run.json(&run.replay(&["--user", USER, "--diff", "3", "3", "--output", "json"]));
    assert_eq!(same["changes"].as_array().unwrap().len(), 0);
    let back = run.replay(&["--diff", "10", "3"]);
    assert_eq!(code(&back), 2);
}

#[test]
fn an_honest_journal_is_equal() {
    for outcomes in ["none", "delivered", "absent"] {
        let run = Run::new(&format!("verify-{outcomes}"), outcomes);
        let answer = run.replay(&["--verify", "--strict"]);
        assert_eq!(code(&answer), 0, "{}", stdout(&answer));
    }
}

#[test]
fn a_changed_event_is_found_and_shown() {
    let run = Run::new("tampered", "absent");
    run.change(|text| text.replacen("\"n\":2,\"by\":\"sms\"", "\"n\":2,\"by\":\"cpm\"", 1));
    let answer = run.replay(&["--verify"]);

    assert_eq!(code(&answer), 1);
    golden("tampered.txt", &run.shown(&answer));
    let answer = run.replay(&["--verify", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(json["first_difference"]["seq"], 8);
}

/// The words of an event leave some fields out; a change of those shows all the same.
#[test]
fn a_changed_field_that_words_leave_out_is_shown() {
    let run = Run::new("deadline", "none");
    run.change(|text| text.replacen("\"deadline\":17952", "\"deadline\":17953", 1));
    let answer = run.replay(&["--verify"]);

    assert_eq!(code(&answer), 1);
    assert!(stdout(&answer).contains("- {\"attempt_started\""), "{}", stdout(&answer));
}

#[test]
fn a_changed_policy_is_found() {
    let run = Run::new("policy", "none");
    let from = "\"ip_wait_after_attach_seconds\":30";
    run.change(|text| text.replacen(from, "\"ip_wait_after_attach_seconds\":31", 1));
    let answer = run.replay(&["--verify"]);

    assert_eq!(code(&answer), 1);
    assert!(stdout(&answer).contains("was decided by policy"));
}

#[test]
fn a_dropped_a_swapped_and_a_repeated_record_are_found() {
    for (name, wrong) in [("dropped", 0), ("swapped", 1), ("repeated", 2)] {
        let run = Run::new(name, "absent");
        run.change(|text| {
            let mut lines: Vec<&str> = text.lines().filter(|l| l.starts_with("{\"seq\"")).collect();
            match wrong {
                0 => drop(lines.remove(4)),
                1 => lines.swap(4, 5),
                _ => lines.insert(4, lines[4]),
            }
            lines.join("\n") + "\n"
        });
        let answer = run.replay(&["--verify"]);
        assert_eq!(code(&answer), 1, "{name}");
        assert!(stdout(&answer).contains("must follow: a record is missing, repeated or moved"));
        // To look at it is still possible, with a warning.
        let answer = run.replay(&["--user", USER]);
        assert_eq!(code(&answer), 0);
        assert!(stderr(&answer).contains("what is shown after it may be wrong"));
    }
}

#[test]
fn an_epoch_that_goes_back_is_found() {
    let run = Run::new("epoch", "absent");
    run.change(|text| text.replacen("{\"seq\":2,\"epoch\":0", "{\"seq\":2,\"epoch\":3", 1));
    let answer = run.replay(&["--verify"]);

    assert_eq!(code(&answer), 1);
    assert!(stdout(&answer).contains("has epoch 0 after epoch 3"));
}

#[test]
fn records_of_other_rules_are_counted_apart() {
    let run = Run::new("rules", "absent");
    run.change(|text| text.replace("\"rules\":1", "\"rules\":0"));

    let answer = run.replay(&["--verify"]);
    assert_eq!(code(&answer), 0);
    assert!(stdout(&answer).contains("decided by other rules"));
    assert_eq!(code(&run.replay(&["--verify", "--strict"])), 1);

    run.change(|text| text.replace("\"rules\":0", "\"rules\":99"));
    let answer = run.replay(&["--user", USER]);
    assert_eq!(code(&answer), 2);
    assert!(stderr(&answer).contains(":1: its rules are version 99"), "{}", stderr(&answer));
}

#[test]
fn an_export_is_read_and_decided_again() {
    let run = Run::new("export", "absent");
    let (bare, whole) = (run.path("bare.jsonl"), run.path("whole.jsonl"));
    run.replay(&["--user", USER, "--export", &bare]);
    run.replay(&["--user", USER, "--export", &whole, "--with-content"]);

    let answer = deferd(&["replay", &whole, "--verify", "--strict"]);
    assert_eq!((code(&answer), stdout(&answer).contains("cannot be decided")), (0, false));
    let answer = deferd(&["replay", &bare, "--verify"]);
    assert_eq!(code(&answer), 0);
    assert!(stdout(&answer).contains("2 submissions cannot be decided again"));
    let again = deferd(&["replay", &whole, "--user", USER]);
    assert_eq!(stdout(&again), stdout(&run.replay(&["--user", USER])));

    let text = std::fs::read_to_string(&whole).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let without: Vec<&str> =
        lines.iter().enumerate().filter(|(n, _)| *n != 3).map(|(_, l)| *l).collect();
    std::fs::write(&whole, without.join("\n")).unwrap();
    let answer = deferd(&["replay", &whole, "--verify"]);
    assert_eq!(code(&answer), 1);
    assert!(stdout(&answer).contains("was exported after"));
}

#[test]
fn part_of_a_history_cannot_be_decided_again() {
    let run = Run::new("part", "absent");
    for args in [&["--user", USER, "--from", "4"][..], &["--user", USER, "--message", "m2"]] {
        let out = run.path("part.jsonl");
        run.replay(&[args, &["--export", &out, "--with-content"]].concat());
        let answer = deferd(&["replay", &out, "--verify"]);
        assert_eq!(code(&answer), 2);
        assert!(stderr(&answer).contains("so it cannot be decided again"), "{}", stderr(&answer));
        assert_eq!(code(&deferd(&["replay", &out, "--user", USER])), 0);
    }
}

#[test]
fn a_file_that_ends_inside_a_record_says_so() {
    let run = Run::new("cut", "absent");
    run.change(|text| text[..text.find("{\"seq\":7").unwrap() + 40].to_owned());

    for args in [&[][..], &["--user", USER], &["--verify"]] {
        let answer = run.replay(args);
        assert_eq!(code(&answer), 0, "{args:?}");
        assert!(stderr(&answer).contains("the file ends inside record 7"), "{}", stderr(&answer));
    }
    assert_eq!(code(&run.replay(&["--verify", "--strict"])), 1);
}

#[test]
fn what_is_no_journal_is_refused_with_its_place() {
    let run = Run::new("wrong", "none");
    for (wrong, says) in [
        ("not json", ":1: neither a journal record nor a CloudEvent"),
        ("{\"a\":1}", ":1: neither a journal record (no `seq`) nor a CloudEvent"),
        ("{\"seq\":0}", ":1: not a journal record: it has a `seq`, but no `epoch`"),
        ("{\"seq\":0,\n{}", ":1: not a journal record: it ends too soon"),
    ] {
        std::fs::write(&run.journal, format!("{wrong}\n")).unwrap();
        let answer = run.replay(&[]);
        assert_eq!(code(&answer), 2, "{wrong}");
        assert!(stderr(&answer).contains(says), "{wrong}: {}", stderr(&answer));
    }
    std::fs::write(&run.journal, "").unwrap();
    assert!(stderr(&run.replay(&[])).contains("no journal record in it"));
}

#[test]
fn a_wrong_option_is_named() {
    let run = Run::new("options", "none");
    for (args, says) in [
        (&["--user", "nobody"][..], "--user `nobody`"),
        (&["--at", "yesterday"], "neither a seq such as 17 nor a time"),
        (&["--at", "3", "--verify"], "cannot be used with"),
        (&["--strict"], "--verify"),
        (&["--verify", "--user", USER], "leave --user and --message out"),
        (&["--export", &run.journal_name()], "is the file being read"),
    ] {
        let answer = run.replay(args);
        assert_eq!(code(&answer), 2, "{args:?}");
        assert!(stderr(&answer).contains(says), "{args:?}: {}", stderr(&answer));
    }
}

#[test]
fn a_message_of_several_users_needs_one() {
    let run = Run::new("several", "none");
    for args in [vec!["replay", &run.journal_name(), "--message", "m1"], run.asks("m1")] {
        let answer = deferd(&args);
        assert_eq!(code(&answer), 2);
        let says = stderr(&answer);
        assert!(says.contains("add --user") && says.contains("tel:+15145550101 from"), "{says}");
    }
    let answer = deferd(&run.asks("m9"));
    assert_eq!(code(&answer), 1);
    assert!(stderr(&answer).contains("no message `m9` was accepted"));
}

#[test]
fn why_a_message_waits() {
    let run = Run::new("why", "absent");
    for (name, at) in
        [("wait", "3"), ("settles", "4"), ("runs", "6"), ("failed", "7"), ("sms", "9")]
    {
        let mut args = run.asks("m1");
        args.extend(["--user", USER, "--at", at]);
        golden(&format!("why-{name}.txt"), &run.shown(&deferd(&args)));
    }
    let mut args = run.asks("m2");
    golden("why-behind.txt", &run.shown(&deferd(&args)));
    args.extend(["--output", "json"]);
    let json = run.json(&deferd(&args));
    assert_eq!(json[0]["stands"][0], "Pending");
    assert!(json[0]["would_move_it"].as_array().unwrap().iter().any(|r| r["at"].is_string()));
}

/// What a program is told is all that a person is shown: it can be read back and shown elsewhere.
#[test]
fn an_answer_travels() {
    let run = Run::new("travels", "absent");
    for at in 1..run.records() {
        let at = at.to_string();
        let mut args = run.asks("m1");
        args.extend(["--user", USER, "--at", &at, "--output", "json"]);
        let json = run.json(&deferd(&args));
        let answers: Vec<deferd::engine::history::Answer> =
            serde_json::from_value(json.clone()).unwrap();
        assert_eq!(answers[0].waits.is_none(), json[0].get("stands").is_none(), "{at}");
        assert_eq!(serde_json::to_value(answers).unwrap(), json, "{at}");
    }
}

#[test]
fn why_a_message_ended() {
    let run = Run::new("ended", "delivered");
    let mut args = run.asks("m1");
    args.extend(["--user", USER]);

    golden("why-ended.txt", &run.shown(&deferd(&args)));
}

/// Numbers that only our own country code completes are read as they were when they were decided.
#[test]
fn numbers_at_home_are_read_again() {
    let run = Run::new("home", "none");
    let events = EVENTS.replace("tel:+1514", "514");
    std::fs::write(run.path("events.jsonl"), events).unwrap();
    let home = ["--set", "home_country_code=1"];
    let written =
        deferd(&[&["simulate", &run.path("events.jsonl"), "--journal"][..], &home].concat());
    std::fs::write(&run.journal, written.stdout).unwrap();

    assert_eq!(code(&run.replay(&[&["--verify"][..], &home].concat())), 0);
    let shown = stdout(&run.replay(&[&["--user", "5145550100"][..], &home].concat()));
    assert!(shown.contains("tel:+15145550100"), "{shown}");
}

/// A reader that has seen enough is no error.
#[test]
fn a_closed_pipe_is_no_error() {
    let run = Run::new("pipe", "absent");
    let mut child = Command::new(env!("CARGO_BIN_EXE_deferd"))
        .args(["replay", &run.journal_name(), "--output", "jsonl"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();

    assert_eq!((code(&output), stderr(&output)), (0, String::new()));
}

const EVENTS: &str = include_str!("replay/events.jsonl");

/// A journal of its own for each test.
struct Run {
    folder: PathBuf,
    journal: PathBuf,
}

impl Run {
    fn new(name: &str, outcomes: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("replay-{name}"));
        std::fs::create_dir_all(&folder).unwrap();
        let (events, journal) = (folder.join("events.jsonl"), folder.join("run.jsonl"));
        std::fs::write(&events, EVENTS).unwrap();
        let answer = deferd(&[
            "simulate",
            &events.to_string_lossy(),
            "--journal",
            "--outcomes",
            outcomes,
            "--until",
            "2026-11-21T08:45:00Z",
        ]);
        assert_eq!(code(&answer), 0, "{}", stderr(&answer));
        std::fs::write(&journal, &answer.stdout).unwrap();
        Self { folder, journal }
    }

    fn journal_name(&self) -> String {
        self.journal.to_string_lossy().into_owned()
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }

    fn change(&self, how: impl Fn(&str) -> String) {
        let text = std::fs::read_to_string(&self.journal).unwrap();
        let changed = how(&text);
        assert!(text != changed, "nothing changed");
        std::fs::write(&self.journal, changed).unwrap();
    }

    fn records(&self) -> u64 {
        let text = std::fs::read_to_string(&self.journal).unwrap();
        text.lines().filter(|line| line.starts_with("{\"seq\"")).count() as u64
    }

    fn replay(&self, args: &[&str]) -> Output {
        deferd(&[&["replay", &self.journal_name()], args].concat())
    }

    fn asks<'a>(&self, message: &'a str) -> Vec<&'a str> {
        let journal: &'static str = Box::leak(self.journal_name().into_boxed_str());
        vec!["why", message, "--journal", journal]
    }

    fn json(&self, answer: &Output) -> serde_json::Value {
        assert_eq!(code(answer), 0, "{}", stderr(answer));
        serde_json::from_slice(&answer.stdout).unwrap()
    }

    /// What a person sees, wherever the test runs.
    fn shown(&self, answer: &Output) -> String {
        let folder = format!("{}/", self.folder.display());
        format!("{}{}", stdout(answer), stderr(answer)).replace(&folder, "")
    }
}

fn deferd(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_deferd")).args(args).output().unwrap()
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

/// An answer as it was read by a person and found good.
fn golden(name: &str, answer: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replay").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, answer).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(kept, answer, "{name}");
}
