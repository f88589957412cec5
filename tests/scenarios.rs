//! Stories: what happened | what we decided, with every alarm in between. See `scenarios/README.md`.
//!
//! `UPDATE_STORIES=1 cargo test --test scenarios` writes the right sides anew; whoever does so holds
//! each line against `rules.md` before it is kept.
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, reason = "a test: what is not there fails it")]

mod story;

use std::path::{Path, PathBuf};

use story::{Line, Story};

#[test]
fn every_story_comes_out_as_written() {
    let update = std::env::var_os("UPDATE_STORIES").is_some();
    let mut wrong = Vec::new();
    for path in files() {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match played(&text) {
            Ok(new) if new == text => {}
            Ok(new) if update => std::fs::write(&path, new).unwrap(),
            Ok(new) => wrong.push(format!("{name}:\n{}", difference(&text, &new))),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no story found");
    files
}

/// The file as it would stand if every right side were what we decide.
fn played(text: &str) -> Result<String, String> {
    let mut story = Story::default();
    let mut out = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let number = at + 1;
        match Line::read(line).map_err(|error| format!("line {number}: {error}"))? {
            Line::Comment => out.push(line.to_owned()),
            Line::Case => {
                story = Story::default();
                out.push(line.to_owned());
            }
            Line::Setting(words) => {
                story.set(&words).map_err(|error| format!("line {number}: {error}"))?;
                out.push(line.to_owned());
            }
            // What alarms decide is put where it belongs, whatever the file says.
            Line::Timer | Line::More => {}
            Line::Step { left, at, words } => {
                let (rung, decided) = story
                    .step(&at, &words)
                    .map_err(|error| format!("line {number}: {left}: {error}"))?;
                for (time, events) in rung {
                    out.extend(written(&format!("{time:>7}  timer"), &events));
                }
                out.extend(written(&left, &decided));
            }
        }
    }
    Ok(out.join("\n") + "\n")
}

const COLUMN: usize = 58;

fn written(left: &str, events: &[String]) -> Vec<String> {
    let Some((first, more)) = events.split_first() else {
        return vec![format!("{left:COLUMN$} |")];
    };
    std::iter::once(format!("{left:COLUMN$} | {first}"))
        .chain(more.iter().map(|event| format!("{:COLUMN$} | {event}", "")))
        .collect()
}

/// Where two texts part, with what stands around.
fn difference(written: &str, decided: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (written.lines().collect(), decided.lines().collect());
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let until = same + 6;
    let part = |lines: &[&str], from: usize, sign: &str| -> String {
        let some = lines.iter().enumerate().take(until).skip(from);
        some.map(|(at, line)| format!("{sign}{:4} {line}\n", at + 1)).collect()
    };
    let before: String = (old.iter().enumerate().take(same).skip(same.saturating_sub(4)))
        .map(|(at, line)| format!(" {:4} {line}\n", at + 1))
        .collect();
    format!("{before}written:\n{}decided:\n{}", part(&old, same, "-"), part(&new, same, "+"))
}
