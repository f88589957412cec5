//! Inputs of every type, for tests that need some.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::path::Path;

/// A line for each type at its least and at its fullest, and for each word that a field may be.
pub(crate) fn inputs() -> impl Iterator<Item = &'static str> {
    include_str!("inputs.jsonl").lines()
}

/// The traces under `tests/samples/traces`: by their names, their inputs.
pub(crate) fn traces() -> Vec<(String, Vec<String>)> {
    lines_of("tests/samples/traces")
}

/// Every JSONL file of a directory, by its name: its lines.
pub(crate) fn lines_of(directory: &str) -> Vec<(String, Vec<String>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut files: Vec<_> = std::fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("a directory can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).expect("a fixture is text");
        let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        (name, text.lines().map(str::to_owned).collect())
    };
    files.iter().map(read).collect()
}
