//! `requirements.md`: every row of the change requests, and the tests that it names.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, and says so")]

use std::collections::BTreeSet;
use std::path::Path;

const STATUSES: [&str; 6] = ["ours", "client", "later", "may", "ffs", "info"];

struct Row {
    id: String,
    status: String,
    places: Vec<String>,
    tests: Vec<String>,
}

#[test]
fn every_row_of_the_rules_is_there_once() {
    let rules = text("src/domain/rules.md");
    let asked: BTreeSet<&str> = rules.lines().filter_map(id).collect();
    let rows = rows();
    let told: BTreeSet<&str> = rows.iter().map(|row| &*row.id).collect();
    let left = |one: &BTreeSet<&str>, other: &BTreeSet<&str>| {
        one.difference(other).map(|id| (*id).to_owned()).collect::<Vec<_>>().join(" ")
    };

    assert!(asked.len() > 100, "{} rows in rules.md", asked.len());
    assert_eq!(left(&asked, &told), "", "not told of");
    assert_eq!(left(&told, &asked), "", "not asked for");
    assert_eq!(rows.len(), told.len(), "a row stands there twice");
}

#[test]
fn what_is_done_names_its_place_and_its_tests() {
    for row in rows() {
        assert!(STATUSES.contains(&&*row.status), "{}: {} is no status", row.id, row.status);
        let is_done = row.status == "ours";
        assert!(!is_done || !row.places.is_empty(), "{}: where is it?", row.id);
        let is_tested = is_done || row.status == "client";
        assert!(!is_tested || !row.tests.is_empty(), "{}: which test shows it?", row.id);
        for place in &row.places {
            assert!(root().join(place).exists(), "{}: there is no {place}", row.id);
        }
        for test in &row.tests {
            assert!(is_a_test(test), "{}: there is no test {test}", row.id);
        }
    }
}

#[test]
fn a_test_is_known_from_what_is_none() {
    assert!(is_a_test("scenarios/w-01.txt"));
    assert!(is_a_test("tests/requirements.rs::a_test_is_known_from_what_is_none"));
    assert!(!is_a_test("scenarios/w-99.txt"));
    assert!(!is_a_test("tests/requirements.rs::no_such_test"));
    assert!(!is_a_test("tests/requirements.rs::is_a_test"), "a function, and no test");
}

/// A story, or a function under `#[test]`: `file::name`.
fn is_a_test(name: &str) -> bool {
    if name.starts_with("scenarios/") {
        return root().join("tests").join(name).is_file();
    }
    let Some((file, name)) = name.split_once("::") else { return false };
    if !root().join(file).is_file() {
        return false;
    }
    let (text, mut under) = (text(file), false);
    for line in text.lines().map(str::trim) {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            under = true;
        } else if let Some(function) =
            line.strip_prefix("fn ").or_else(|| line.strip_prefix("async fn "))
        {
            if under && function.strip_prefix(name).is_some_and(|rest| rest.starts_with('(')) {
                return true;
            }
            under = false;
        }
    }
    false
}

fn rows() -> Vec<Row> {
    let words = |cell: &str| cell.split_whitespace().map(str::to_owned).collect();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", id, status, places, tests, ""] = &*cells else { panic!("four cells: {line}") };
        Row {
            id: (*id).to_owned(),
            status: (*status).to_owned(),
            places: words(places),
            tests: words(tests),
        }
    };
    text("tests/requirements.md").lines().filter(|line| id(line).is_some()).map(row).collect()
}

/// The number that opens a row of a change request.
fn id(line: &str) -> Option<&str> {
    let id = line.strip_prefix("| ")?.split(" |").next()?;
    (id.starts_with("SEED0-") || id.starts_with("SEED4-")).then_some(id)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
