//! The repository stands alone: nothing in it points outside it, every number that code and tests cite
//! stands in `src/domain/rules.md`, and every transition, timer, race, invariant, walk-through and piece of
//! small print there is cited by code or tests.
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, reason = "a test: what is not there fails it")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The sheet of all numbers.
const RULES: &str = "src/domain/rules.md";
/// The families of numbers, longest first where one ends another.
const FAMILIES: [&str; 18] = [
    "SEED0", "SEED4", "IMDN", "TM", "ID", "A", "V", "T", "I", "R", "D", "W", "P", "S", "E", "N",
    "L", "Q",
];
/// Of these, each number must be cited.
const CITED: [&str; 6] = ["T", "TM", "R", "I", "W", "P"];
/// Numbers of the sheet that nothing here cites yet, and why.
const NOT_YET: [(&str, &str); 1] =
    [("R-32", "rate limits are the gateways': they come with the SIP and SMPP edges")];

/// What has no business here. Each is written in two parts, so that this file holds none of them.
const OUTSIDE: [(&str, &str); 6] = [
    ("../sha", "red"),
    ("/wo", "rk/"),
    ("/ro", "ot/"),
    ("/ho", "me/"),
    ("far", "m-"),
    ("far", "m_"),
];

#[test]
fn nothing_points_outside() {
    let mut found = Vec::new();
    for path in files() {
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            for (one, two) in OUTSIDE {
                if line.contains(&format!("{one}{two}")) {
                    let place = format!("{}:{}", path.display(), number + 1);
                    found.push(format!("{place}: {one}{two}: {}", line.trim()));
                }
            }
        }
    }
    assert!(found.is_empty(), "these point outside the repository:\n{}", found.join("\n"));
}

/// A link or an include that climbs out of the repository.
#[test]
fn links_of_the_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for path in files().into_iter().filter(|path| has_extension(path, &["md"])) {
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        let folder = root().join(&path).parent().unwrap().to_owned();
        for target in links(&text) {
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") && !folder.join(file).exists() {
                broken.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "these links lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn every_number_cited_is_in_the_rules() {
    let defined = defined();
    let unknown: Vec<String> = cited()
        .into_iter()
        .filter(|(number, _)| !defined.contains(number))
        .map(|(number, places)| format!("{number}: {}", places.join(", ")))
        .collect();
    assert!(unknown.is_empty(), "cited, and not in {RULES}:\n{}", unknown.join("\n"));
}

#[test]
fn every_rule_is_cited_by_code_or_tests() {
    let cited = cited();
    let excused: BTreeMap<&str, &str> = NOT_YET.into_iter().collect();
    let missing: Vec<String> = defined()
        .into_iter()
        .filter(|number| CITED.iter().any(|family| family_of(number) == *family))
        .filter(|number| !cited.contains_key(number) && !excused.contains_key(number.as_str()))
        .collect();
    assert!(missing.is_empty(), "in {RULES}, and cited by nothing: {}", missing.join(" "));

    let idle: Vec<&str> =
        excused.into_keys().filter(|number| cited.contains_key(*number)).collect();
    assert!(idle.is_empty(), "excused, and cited by now: {}", idle.join(" "));
}

#[test]
fn every_section_cited_is_in_the_rules() {
    let rules = std::fs::read_to_string(root().join(RULES)).unwrap();
    let headings: BTreeSet<&str> = rules
        .lines()
        .filter(|line| line.starts_with('#'))
        .filter_map(|line| line.trim_start_matches('#').split_whitespace().next())
        .map(|number| number.trim_end_matches('.'))
        .collect();
    let mut unknown = Vec::new();
    for path in citing_files() {
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        for (_, after) in text.match_indices("rules.md").map(|(at, word)| {
            (at, text.get(at + word.len()..).unwrap_or_default().trim_start_matches(['`', ' ']))
        }) {
            let section: String =
                after.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
            let section = section.trim_end_matches('.');
            if !section.is_empty() && !headings.contains(section) {
                unknown.push(format!("{}: {section}", path.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "sections that {RULES} does not have:\n{}", unknown.join("\n"));
}

#[test]
fn a_number_is_read_as_it_is_written() {
    let read = |text| numbers(text).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(read("T-7b, R-2 and (I-12); SEED4-6."), "I-12 R-2 SEED4-6 T-7b");
    assert_eq!(read("UTF-8, urn-7, x-1, TS-2, E-164 and US-T-3"), "E-164");
    assert_eq!(read("T-6 to T-9"), "T-6 T-7 T-8 T-9");
    assert_eq!(read("SEED4-6 … SEED4-8"), "SEED4-6 SEED4-7 SEED4-8");
    assert_eq!(read("SEED0-56.1"), "SEED0-56.1");
    assert_eq!(read("W-1 to W-15 of rules").split(' ').count(), 15);
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What git would keep: everything but its own folder, what it ignores, and packets.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            let name = path.to_string_lossy();
            let passed = name == ".git" || name.starts_with("target") || name.ends_with(".pcap");
            if passed || name == "deferd-demo.jsonl" {
                continue;
            }
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => folders.push(path),
                _ => found.push(path),
            }
        }
    }
    found.sort();
    found
}

fn has_extension(path: &Path, any: &[&str]) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| any.contains(&e))
}

/// Code, tests and the config's comments; of the tests not the records, whose ids may be anything.
fn citing_files() -> Vec<PathBuf> {
    let cites = |path: &PathBuf| {
        let place = ["src", "tests", "benches", "ops"].iter().any(|part| path.starts_with(part));
        let this = Path::new(file!()).file_name() == path.file_name();
        place
            && !this
            && path != Path::new(RULES)
            && has_extension(path, &["rs", "txt", "md", "toml", "trycmd"])
    };
    files().into_iter().filter(cites).collect()
}

/// Numbers cited, each with the files that do.
fn cited() -> BTreeMap<String, Vec<String>> {
    let mut cited: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in citing_files() {
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        for number in numbers(&text) {
            cited.entry(number).or_default().push(path.display().to_string());
        }
    }
    cited
}

/// Numbers that open a table row or a list item of the sheet.
fn defined() -> BTreeSet<String> {
    let rules = std::fs::read_to_string(root().join(RULES)).unwrap();
    let opens = |line: &str| -> Option<String> {
        let row = line.strip_prefix("| ").and_then(|row| row.split(" |").next());
        let item = line.strip_prefix("- **").and_then(|item| item.split("**").next());
        let number = row.or(item)?.trim();
        let (family, rest) = number.split_once('-')?;
        let is_number = FAMILIES.contains(&family)
            && rest.starts_with(|c: char| c.is_ascii_digit())
            && !rest.contains(' ');
        is_number.then(|| number.to_owned())
    };
    let defined: BTreeSet<String> = rules.lines().filter_map(opens).collect();
    assert!(defined.len() > 100, "{RULES} is not read as it is written: {defined:?}");
    defined
}

fn family_of(number: &str) -> &str {
    number.split_once('-').map_or(number, |(family, _)| family)
}

/// The numbers in a text; `T-6 to T-9` and `T-6 … T-9` are four.
fn numbers(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut last: Option<(String, u32, usize)> = None;
    for (at, _) in text.match_indices('-') {
        let (before, after) = text.split_at(at);
        let Some(family) = FAMILIES.iter().find(|family| ends_with_word(before, family)) else {
            continue;
        };
        let after = &after[1..];
        let digits = after.chars().take_while(char::is_ascii_digit).count();
        let Ok(number) = after[..digits].parse::<u32>() else { continue };
        let mut end = digits;
        let mut rest = after[end..].chars();
        match (rest.next(), rest.next()) {
            (Some(letter), next)
                if letter.is_ascii_lowercase() && !next.is_some_and(char::is_alphanumeric) =>
            {
                end += 1;
            }
            (Some('.'), Some(digit)) if digit.is_ascii_digit() => {
                let more = after[end + 1..].chars().take_while(char::is_ascii_digit).count();
                end += 1 + more;
            }
            (Some(next), _) if next.is_alphanumeric() || next == '-' || next == '_' => continue,
            _ => {}
        }
        let start = at - family.len();
        if let Some((from_family, from, from_end)) = &last {
            let between = text[*from_end..start].trim_matches([' ', '\n', '/', '!', '#']);
            if from_family == family && ["to", "…", "–"].contains(&between) {
                found.extend((*from..number).map(|n| format!("{family}-{n}")));
            }
        }
        let end_at = at + 1 + end;
        found.insert(text[start..end_at].to_owned());
        last = Some(((*family).to_owned(), number, end_at));
    }
    found
}

/// Whether a text ends with this word, and not with a longer one.
fn ends_with_word(text: &str, word: &str) -> bool {
    text.strip_suffix(word).is_some_and(|rest| {
        !rest.ends_with(|c: char| c.is_alphanumeric() || c == '-' || c == '_' || c == '.')
    })
}

/// What stands between `](` and `)`.
fn links(text: &str) -> Vec<&str> {
    let mut links = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("](") {
        let (target, more) = after.split_once(')').unwrap_or((after, ""));
        if !target.contains(char::is_whitespace) {
            links.push(target);
        }
        rest = more;
    }
    links
}
