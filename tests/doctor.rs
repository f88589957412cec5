//! `deferd doctor` as its user sees it: what is bad, and what it exits with.
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, reason = "a test: what is not there fails it")]
#![allow(clippy::indexing_slicing, reason = "the same")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use deferd::log::embedded::Directory;
use serde_json::Value;

/// A directory that is gone afterwards.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("doctor-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn deferd(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_deferd")).args(args).env_clear().output().unwrap()
}

/// What it finds, by check, and whether it is content.
fn doctor(args: &[&str]) -> (BTreeMap<String, Value>, bool) {
    // Port 0 is free, whoever else runs here.
    let common = ["doctor", "--output", "json", "--listen", "127.0.0.1:0"];
    let output = deferd(&[&common[..], args].concat());
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let by_check = |finding: Value| (finding["check"].as_str().unwrap().to_owned(), finding);
    let code = output.status.code().unwrap();
    assert!([0, 1].contains(&code), "{output:?}");
    (findings.into_iter().map(by_check).collect(), code == 0)
}

#[test]
fn a_set_up_that_is_sound_is_left_as_it_was() {
    let place = Place::new("sound");
    let (found, content) = doctor(&["--data-dir", place.path()]);
    assert!(content, "{found:?}");
    for check in ["configuration", "data directory", "layout", "port", "token"] {
        assert_eq!(found[check]["verdict"], "ok", "{found:?}");
    }
    assert!(found["fdatasync"]["says"].as_str().unwrap().contains("20 times"), "{found:?}");
    assert_eq!(fs::read_dir(&place.0).unwrap().count(), 0, "it left something behind");
}

#[test]
fn a_directory_that_is_not_there_is_not_made() {
    let place = Place::new("missing");
    let missing = place.0.join("a/b");
    let (found, content) = doctor(&["--data-dir", missing.to_str().unwrap()]);
    assert!(content, "{found:?}");
    assert_eq!(found["data directory"]["verdict"], "ok");
    assert!(!place.0.join("a").exists());
}

#[test]
fn who_writes_a_directory_is_told() {
    let place = Place::new("held");
    let (_, lock) = Directory::claim(&place.0, 2, 7).unwrap();
    let args = ["--data-dir", place.path(), "--set", "embedded.partitions=2"];
    let says =
        |found: &BTreeMap<String, Value>| found["layout"]["says"].as_str().unwrap().to_owned();
    let (found, content) = doctor(&args);
    assert!(content, "{found:?}");
    let us = format!("written by process {}", std::process::id());
    assert!(says(&found).contains(&us), "{found:?}");
    drop(lock);
    assert!(says(&doctor(&args).0).contains("nobody writes it"));

    let (found, content) = doctor(&["--data-dir", place.path()]);
    assert_eq!((&found["layout"]["verdict"], content), (&Value::from("bad"), false), "{found:?}");
    assert!(found["layout"]["do"].as_str().unwrap().contains("embedded.partitions to 2"));
}

#[test]
fn a_directory_of_a_newer_program_is_bad() {
    let place = Place::new("newer");
    fs::write(place.0.join("layout.json"), r#"{"version":9,"id":1,"partitions":1}"#).unwrap();
    let (found, content) = doctor(&["--data-dir", place.path()]);
    assert!(!content);
    assert_eq!(found["layout"]["verdict"], "bad");
    assert!(found["layout"]["says"].as_str().unwrap().contains("version 9"), "{found:?}");
}

#[test]
fn a_token_for_everybody_is_bad() {
    let place = Place::new("token");
    let token = place.0.join("token");
    fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
    let set = format!("http.token_file={}", token.display());
    let verdict = |mode| {
        fs::set_permissions(&token, fs::Permissions::from_mode(mode)).unwrap();
        let (found, content) = doctor(&["--data-dir", place.path(), "--set", &set]);
        (found["token"]["verdict"].as_str().unwrap().to_owned(), content)
    };
    assert_eq!(verdict(0o600), ("ok".to_owned(), true));
    assert_eq!(verdict(0o644), ("bad".to_owned(), false));
}

#[test]
fn nobody_there_is_not_alive() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = deferd(&["doctor", "--live", "--listen", &port.to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("not alive: "), "{output:?}");
}
