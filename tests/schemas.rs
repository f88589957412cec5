//! The contract as files: `schemas/` is what the types say, what we read and write keeps to it, and
//! what was published stays true.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and says so"
)]

mod samples;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use deferd::cli::simulation::{Outcomes, Simulation};
use deferd::engine::worker::Settings;
use deferd::record::envelope::Envelope;
use deferd::record::input::{Kind, Reader};
use deferd::record::schema::{self, Contract};
use serde_json::Value;

#[test]
fn files_are_what_the_types_say() {
    let mut files: BTreeSet<_> = std::fs::read_dir(path(""))
        .expect("schemas/ is there")
        .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".json"))
        .collect();
    for contract in schema::all() {
        let name = format!("{}.json", contract.name);
        let file = std::fs::read_to_string(path(&name)).unwrap_or_default();
        assert!(
            file == contract.text(),
            "schemas/{name} is not what the types say. If the change is meant, run \
             `cargo run -- schema --dir schemas`, and read the difference before you keep it."
        );
        files.remove(&name);
    }
    assert!(files.is_empty(), "no type has these schemas: {files:?}");
}

/// What was published once is promised: whoever reads or writes by it must never notice a change. New
/// fields that may be absent, and new words, are free; they are promised from then on.
#[test]
fn what_was_published_stays_true() {
    let mut now = BTreeSet::new();
    for Contract { name, schema, .. } in schema::all() {
        promises(&name, schema.as_value(), true, &mut now);
    }
    let file = path("PUBLISHED");
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let published: BTreeSet<_> =
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();

    let broken: Vec<_> = published.difference(&now).cloned().collect();
    assert!(
        broken.is_empty(),
        "these promises of schemas/PUBLISHED hold no longer:\n  {}\nSomebody's program relies on \
         them. Add a field that may be absent beside the old one, or a version 2 of the type beside \
         version 1, and keep reading both. Lines are only ever added to schemas/PUBLISHED.",
        broken.join("\n  ")
    );
    let new: Vec<_> = now.difference(&published).cloned().collect();
    let types: BTreeSet<_> = published.iter().filter_map(|line| line.split(' ').next()).collect();
    let demands: Vec<_> = new
        .iter()
        .filter(|line| line.contains(" required "))
        .filter(|line| line.split(' ').next().is_some_and(|kind| types.contains(kind)))
        .filter(|line| is_in_old_object(line, &published))
        .collect();
    assert!(
        demands.is_empty(),
        "a new field that must be there breaks every writer of today: {demands:?}. Let it be absent, \
         or make a version 2 of the type."
    );
    if std::env::var_os("DEFERD_WRITE_EXPECTED").is_some() && !new.is_empty() {
        let all: BTreeSet<_> = published.union(&now).cloned().collect();
        let head: String =
            text.lines().filter(|l| l.starts_with('#')).map(|l| format!("{l}\n")).collect();
        let lines: Vec<_> = all.into_iter().collect();
        std::fs::write(&file, format!("{head}{}\n", lines.join("\n"))).expect("it is written");
        return;
    }
    assert!(
        new.is_empty(),
        "new, and free to add: {new:?}. Run this test with DEFERD_WRITE_EXPECTED=1 to promise them \
         in schemas/PUBLISHED."
    );
}

/// Whether the object that a new field stands in was published: a field of a new object is free.
fn is_in_old_object(line: &str, published: &BTreeSet<String>) -> bool {
    let mut words = line.split(' ');
    let (Some(kind), Some(path)) = (words.next(), words.next()) else { return false };
    let Some((object, _)) = path.rsplit_once('.') else { return true };
    published.iter().any(|old| old.starts_with(&format!("{kind} {object} ")))
}

/// The promises of a schema, a line each: what a field is called, whether it must be there, what it may
/// be. Bounds and descriptions are none.
fn promises(path: &str, schema: &Value, required: bool, into: &mut BTreeSet<String>) {
    let (kind, place) = path.split_once(' ').unwrap_or((path, "."));
    let must = if required { "required" } else { "optional" };
    let mut types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    types.sort_unstable();
    let format = schema["format"].as_str().filter(|format| !format.starts_with("uint"));
    for one in types {
        let format = format.filter(|_| one == "string").map(|f| format!(" {f}"));
        into.insert(format!("{kind} {place} {must} {one}{}", format.unwrap_or_default()));
    }
    if schema == &Value::Bool(true) || schema["type"].is_null() && !is_composed(schema) {
        into.insert(format!("{kind} {place} {must} anything"));
    }
    let words = schema["enum"].as_array().into_iter().flatten().chain(schema.get("const"));
    for word in words {
        into.insert(format!("{kind} {place} = {word}"));
    }
    for branch in ["oneOf", "anyOf"].iter().filter_map(|of| schema[of].as_array()).flatten() {
        promises(path, branch, required, into);
    }
    let must: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let inside = if place == "." { name.clone() } else { format!("{place}.{name}") };
        promises(&format!("{kind} {inside}"), inner, must.contains(&name.as_str()), into);
    }
    if let Some(items) = schema.get("items") {
        promises(&format!("{kind} {place}[]"), items, false, into);
    }
    if let Some(values) = schema.get("additionalProperties").filter(|v| v.is_object()) {
        promises(&format!("{kind} {place}{{}}"), values, false, into);
    }
}

fn is_composed(schema: &Value) -> bool {
    ["oneOf", "anyOf", "const", "enum"].iter().any(|key| !schema[key].is_null())
}

#[test]
fn samples_keep_to_their_schemas() {
    let schemas = Schemas::new();
    for line in samples::inputs() {
        schemas.check(line.as_bytes());
    }
}

/// The samples have every type and every field, so what holds for them holds for all.
#[test]
fn samples_have_every_field() {
    let mut said: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in samples::inputs() {
        let event: Value = serde_json::from_str(line).unwrap();
        let fields = event["data"].as_object().into_iter().flatten().map(|(name, _)| name.clone());
        said.entry(event["type"].as_str().unwrap().to_owned()).or_default().extend(fields);
    }
    for Contract { name, schema, .. } in schema::all() {
        if Kind::of(&name).is_err() || name == "cpm.timer.fired.v1" {
            continue;
        }
        let fields = schema.as_value()["properties"]["data"]["properties"].as_object();
        let fields: BTreeSet<_> =
            fields.into_iter().flatten().map(|(name, _)| name.clone()).collect();
        assert_eq!(said.get(&name), Some(&fields), "{name}");
    }
}

/// A schema refuses what the reader refuses for its shape.
#[test]
fn schemas_refuse_what_is_not_there_or_wrong() {
    let schemas = Schemas::new();
    let sample: Value = serde_json::from_str(samples::inputs().next().unwrap()).unwrap();
    for (pointer, wrong) in [
        ("/specversion", Value::from("0.3")),
        ("/id", Value::from(7)),
        ("/data/message_id", Value::Null),
        ("/data/kind", Value::from("fax")),
    ] {
        let mut event = sample.clone();
        *event.pointer_mut(pointer).unwrap() = wrong;
        assert!(!schemas.admits(&event), "{pointer}");
        let bytes = serde_json::to_vec(&event).unwrap();
        assert!(Reader::default().read(&bytes, "2026-11-21T08:00:00Z".parse().unwrap()).is_err());
    }
}

#[test]
fn what_we_write_keeps_to_its_schema() {
    let schemas = Schemas::new();
    let mut kinds = BTreeSet::new();
    let mut all = samples::traces();
    all.push(("inputs".to_owned(), samples::inputs().map(str::to_owned).collect()));
    all.push(("bad".to_owned(), vec!["{".to_owned(), "\u{1}".to_owned(), "[1]".to_owned()]));
    for (name, lines) in all {
        for outcomes in [Outcomes::None, Outcomes::Delivered, Outcomes::Absent] {
            let mut simulation = Simulation::new(Settings::default(), outcomes).unwrap();
            let mut progress = Vec::new();
            for (number, line) in (1..).zip(&lines) {
                progress.push(simulation.take(&name, number, line.as_bytes()).unwrap());
            }
            progress.push(simulation.finish(None).unwrap());
            for progress in progress {
                for output in &progress.outputs {
                    kinds.insert(schemas.check(&output.bytes));
                }
                for line in &progress.journal {
                    schemas.check(line);
                }
            }
        }
    }
    let asked = |kind: &&Contract| kind.topic != "cpm.journal" && Kind::of(&kind.name).is_err();
    let all: BTreeSet<_> = schema::all().iter().filter(asked).map(|c| c.name.clone()).collect();
    assert_eq!(kinds, all, "not every output was seen");
}

/// Binary mode says the same as structured mode: attributes in headers, data as the body.
#[test]
fn binary_mode_is_the_same_event() {
    let reader = Reader::default();
    let now = "2026-11-21T08:00:00Z".parse().unwrap();
    for line in samples::inputs() {
        let structured: Value = serde_json::from_str(line).unwrap();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        for (prefix, type_header) in [("ce_", "content-type"), ("Ce-", "Content-Type")] {
            let mut headers = vec![(type_header.to_owned(), "application/json".to_owned())];
            for (name, value) in structured.as_object().unwrap() {
                if name != "data" {
                    headers.push((format!("{prefix}{name}"), text(value)));
                }
            }
            let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
            let body = structured.get("data").map_or_else(String::new, Value::to_string);
            let binary = Envelope::from_binary(headers, body.as_bytes()).unwrap();

            assert_eq!(reader.normalise(&binary, now), reader.normalise(line.as_bytes(), now));
        }
    }
}

/// All schemas, ready to judge.
struct Schemas(BTreeMap<String, jsonschema::Validator>);

impl Schemas {
    fn new() -> Self {
        let validator = |contract: &Contract| {
            jsonschema::options()
                .should_validate_formats(true)
                .build(contract.schema.as_value())
                .unwrap_or_else(|error| panic!("{}: {error}", contract.name))
        };
        Self(schema::all().iter().map(|c| (c.name.clone(), validator(c))).collect())
    }

    fn admits(&self, event: &Value) -> bool {
        event["type"].as_str().and_then(|kind| self.0.get(kind)).is_some_and(|v| v.is_valid(event))
    }

    /// The type of a record; it keeps to its schema, and so does the input inside it.
    fn check(&self, bytes: &[u8]) -> String {
        let record: Value = serde_json::from_slice(bytes).expect("it is JSON");
        let kind = record["type"].as_str().unwrap_or("cpm.journal.v1").to_owned();
        let errors: Vec<_> = self.0[&kind].iter_errors(&record).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{kind}: {errors:?}: {record}");
        if kind == "cpm.journal.v1" && !record["input"].is_null() {
            self.check(record["input"].to_string().as_bytes());
        }
        kind
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(name)
}
