//! The README's console blocks are run as a reader would type them, and must print what stands there.
//!
//! A block fenced with `console` holds commands, each behind `$ `, and what they print. `...` on a line
//! stands for any lines, `[..]` for anything within a line. A block fenced with `console pending` waits
//! for a command that is still being built: the day it exists, this test asks for its output.
//! `UPDATE_README=1 cargo test --test readme` writes the outputs anew; whoever does so reads them.
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, reason = "a test: what is not there fails it")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[test]
fn the_readme_prints_what_it_says() {
    let update = std::env::var_os("UPDATE_README").is_some();
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(&readme).unwrap();
    let folder = as_cloned();
    let (mut new, mut wrong) = (String::new(), String::new());
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        writeln!(new, "{line}").unwrap();
        let Some(kind) = line.strip_prefix("```console") else { continue };
        let block: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        for Said { command, output } in said(&block) {
            let found = run(&folder, command);
            let unknown = found.contains("unrecognized subcommand");
            if kind.trim() == "pending" {
                if !unknown {
                    let line = number + 1;
                    writeln!(wrong, "line {line}: no longer pending: {command}\n{found}").unwrap();
                }
                writeln!(new, "$ {command}").unwrap();
                continue;
            }
            let same = matches(&output, &found);
            writeln!(new, "$ {command}").unwrap();
            new += if same { &output } else { &found };
            if !same {
                writeln!(wrong, "line {}: $ {command}\n{}", number + 1, both(&output, &found))
                    .unwrap();
            }
        }
        writeln!(new, "```").unwrap();
    }
    // The daemon of the tour, where a block went wrong before it was stopped.
    run(&folder, "kill -9 $(cat run.pid)");
    std::fs::remove_dir_all(folder).unwrap();
    if update {
        std::fs::write(&readme, new).unwrap();
    } else {
        assert!(wrong.is_empty(), "{wrong}");
        assert_eq!(new, text, "the README is not put together as it was taken apart");
    }
}

/// A command and what it prints.
struct Said<'a> {
    command: &'a str,
    output: String,
}

fn said<'a>(block: &[&'a str]) -> Vec<Said<'a>> {
    let mut said: Vec<Said<'a>> = Vec::new();
    for line in block {
        match (line.strip_prefix("$ "), said.last_mut()) {
            (Some(command), _) => said.push(Said { command, output: String::new() }),
            (None, Some(last)) => writeln!(last.output, "{line}").unwrap(),
            (None, None) => panic!("output ahead of any command: {line}"),
        }
    }
    said
}

/// A folder that holds what a clone holds, as far as the tour needs it.
fn as_cloned() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("readme");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    std::fs::create_dir_all(&folder).unwrap();
    for part in ["ops", "schemas", "src", "tests"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(part);
        std::os::unix::fs::symlink(from, folder.join(part)).unwrap();
    }
    folder
}

/// What a person sees who types it: both streams, as one.
fn run(folder: &Path, command: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_deferd")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let ran = Command::new("timeout")
        .args(["60", "bash", "-o", "pipefail", "-c", &format!("{{ {command}\n}} 2>&1")])
        .current_dir(folder)
        .env("PATH", path)
        .env_remove("DEFERD_CONFIG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(ran.stdout).unwrap()
}

/// Whether `found` is what `expected` says, with its `...` and `[..]`.
fn matches(expected: &str, found: &str) -> bool {
    let (expected, found): (Vec<&str>, Vec<&str>) =
        (expected.lines().collect(), found.lines().collect());
    lines_match(&expected, &found)
}

fn lines_match(expected: &[&str], found: &[&str]) -> bool {
    match (expected.split_first(), found.split_first()) {
        (None, None) => true,
        (Some((&"...", rest)), _) => (0..=found.len())
            .any(|skipped| lines_match(rest, found.get(skipped..).unwrap_or_default())),
        (Some((line, rest)), Some((other, others))) => {
            line_matches(line, other) && lines_match(rest, others)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn line_matches(expected: &str, found: &str) -> bool {
    let mut parts = expected.split("[..]");
    let Some(mut rest) = found.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

fn both(expected: &str, found: &str) -> String {
    format!("written:\n{expected}printed:\n{found}")
}

#[test]
fn dots_stand_for_what_was_left_out() {
    assert!(matches("a\n...\nd\n", "a\nb\nc\nd\n"));
    assert!(matches("...\nd\n", "d\n"));
    assert!(!matches("a\n...\nd\n", "a\nb\n"));
    assert!(matches("id [..] at [..]\n", "id 7 at noon\n"));
    assert!(!matches("id [..] at noon\n", "id 7 at one\n"));
}
