//! What operates deferd holds together: alerts and their tests, dashboard, runbook, unit file, containers.
//!
//! The judges are the tools that will read them in production; one that is missing is a failure.
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, reason = "a test: what is not there fails it")]
#![allow(clippy::indexing_slicing, reason = "the same")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use clap::Parser;
use deferd::cli::args::Args;
use deferd::cli::config::{Config, keys};
use deferd::cli::measures::{ALL, Measure, Measures, Registry, Shape, Sources};
use deferd::domain::time::Timestamp;
use deferd::engine::observer::Observer;
use deferd::engine::ports::Clock;
use deferd::record::input::Kind;
use serde_json::Value;

/// Exposure as `systemd-analyze security` counts it, in tenths: 0 is a service that can do nothing.
const MOST_EXPOSURE: &str = "15";
/// Labels that Prometheus adds.
const ADDED: [&str; 3] = ["job", "instance", "le"];

#[test]
fn the_rules_are_ones_that_prometheus_takes() {
    succeeds(promtool(&["check", "rules", "--lint=all", "--lint-fatal", "alerts.yml"]));
    // The token's file is on the machine that scrapes.
    succeeds(promtool(&["check", "config", "--syntax-only", "prometheus.yml"]));
    let config = yaml("ops/prometheus/prometheus.yml");
    assert_eq!(config["rule_files"][0], "alerts.yml");
    assert_eq!(config["scrape_configs"][0]["job_name"], "deferd", "alerts look for this name");
}

#[test]
fn each_alert_fires_when_it_must_and_is_silent_when_it_must_be() {
    succeeds(promtool(&["test", "rules", "alerts_test.yml"]));
}

/// A silent test that gives an alert nothing to look at shows nothing.
#[test]
fn each_alert_is_tested_both_ways() {
    let tests = yaml("ops/prometheus/alerts_test.yml");
    let mut fires = BTreeSet::new();
    let mut silent = BTreeSet::new();
    let alerts = alerts();
    for test in array(&tests["tests"]) {
        for case in array(&test["alert_rule_test"]) {
            let name = text(&case["alertname"]).to_owned();
            if !array(&case["exp_alerts"]).is_empty() {
                fires.insert(name);
                continue;
            }
            let series = array(&test["input_series"]).iter();
            let given: BTreeSet<&str> = series
                .map(|series| text(&series["series"]).split('{').next().unwrap_or_default())
                .collect();
            let expr = text(&alerts.get(&name).unwrap()["expr"]);
            let missing: Vec<String> = metrics_in(expr)
                .into_iter()
                .filter(|metric| !given.contains(metric.as_str()))
                .collect();
            assert!(missing.is_empty(), "{}: it gives no {missing:?}", test["name"]);
            silent.insert(name);
        }
    }
    let all: BTreeSet<String> = alerts.into_keys().collect();
    assert_eq!(fires, all, "alerts that are seen firing, and alerts");
    assert_eq!(silent, all, "alerts that are seen silent, and alerts");
}

#[test]
fn each_alert_says_what_to_do() {
    let runbook = read("ops/runbook.md");
    let entries = sections(&runbook);
    for (name, rule) in alerts() {
        let severity = text(&rule["labels"]["severity"]);
        assert!(["critical", "warning"].contains(&severity), "{name}: {severity}");
        for word in ["summary", "description"] {
            assert!(!text(&rule["annotations"][word]).is_empty(), "{name} has no {word}");
        }
        let anchor = format!("ops/runbook.md#{}", name.to_lowercase());
        assert_eq!(text(&rule["annotations"]["runbook_url"]), anchor);
        let entry = entries.get(name.as_str()).unwrap_or_else(|| panic!("no entry for {name}"));
        for bullet in ["- **Means:**", "- **Users:**", "- **Look", "do"] {
            assert!(entry.to_lowercase().contains(&bullet.to_lowercase()), "{name}: no {bullet}");
        }
        assert!(entry.contains("**Not:**") || entry.contains("do, not:**"), "{name}: no Not");
    }
    let alerts = alerts();
    let (of_alerts, _) = runbook.split_once("\n# Other work").unwrap();
    for (heading, _) in sections(of_alerts) {
        assert!(alerts.contains_key(heading), "the runbook has an entry for {heading}: no alert");
    }
}

#[test]
fn links_inside_the_runbook_lead_somewhere() {
    let runbook = read("ops/runbook.md");
    let anchors: BTreeSet<String> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|heading| anchor(heading.trim_start_matches('#').trim()))
        .collect();
    let links: Vec<&str> =
        runbook.split("](#").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() > 10, "{links:?}");
    for link in links {
        assert!(anchors.contains(link), "#{link} is none of {anchors:?}");
    }
}

#[test]
fn every_metric_that_is_named_exists() {
    let known: BTreeMap<&str, &Measure> =
        ALL.iter().map(|measure| (measure.name, measure)).collect();
    let mut places: Vec<(String, String)> =
        dashboard_exprs().into_iter().map(|expr| ("dashboard".to_owned(), expr)).collect();
    for (name, rule) in alerts() {
        places.push((name, text(&rule["expr"]).to_owned()));
    }
    for (place, expr) in &places {
        for name in metrics_in(expr).iter().filter(|name| name.starts_with("deferd_")) {
            let measure = base(name).and_then(|base| known.get(base));
            let measure = measure.unwrap_or_else(|| panic!("{place}: there is no {name}"));
            for label in labels_of(expr, name) {
                let has =
                    measure.labels.contains(&label.as_str()) || ADDED.contains(&label.as_str());
                assert!(has, "{place}: {name} has no label {label}");
            }
        }
    }
    for word in words(&read("ops/runbook.md")) {
        if word.starts_with("deferd_") {
            assert!(base(word).is_some_and(|base| known.contains_key(base)), "runbook: {word}");
        }
    }
}

/// What nobody looks at need not be measured.
#[test]
fn every_metric_is_on_the_dashboard() {
    let exprs = dashboard_exprs();
    let shown: BTreeSet<String> = exprs.iter().flat_map(|expr| metrics_in(expr)).collect();
    for Measure { name, .. } in ALL {
        let is_shown = shown.iter().any(|shown| base(shown) == Some(name));
        assert!(is_shown, "{name} is on no panel");
    }
}

/// Grafana is not asked; what it would ask Prometheus is.
#[test]
fn the_dashboard_asks_what_prometheus_understands() {
    let mut rules = String::from("groups:\n  - name: dashboard\n    rules:\n");
    for (number, expr) in dashboard_exprs().iter().enumerate() {
        let expr = Value::from(expr.as_str());
        rules
            .push_str(&format!("      - record: dashboard:panel:{number}\n        expr: {expr}\n"));
    }
    let file = Scratch::new("dashboard.yml", &rules);
    succeeds(promtool(&["check", "rules", "--lint=all", "--lint-fatal", file.path()]));

    let board: Value = serde_json::from_str(&read("ops/grafana/deferd.json")).unwrap();
    let mut ids = BTreeSet::new();
    for panel in array(&board["panels"]) {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels of id {}", panel["id"]);
        let place = &panel["gridPos"];
        assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "{panel}");
    }
}

/// Each metric with something in it, as it is served.
#[test]
fn what_is_served_is_what_prometheus_reads() {
    struct At;
    impl Clock for At {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(1_800_000_000_000)
        }
    }
    let registry = Registry::new();
    registry.routes(&["/v1/events"]);
    registry.sink("file");
    for measure in ALL {
        let values = vec!["x"; measure.labels.len()];
        match measure.shape {
            Shape::Counter => registry.counter(measure, &values).increment(1),
            Shape::Gauge => registry.gauge(measure, &values).set(1.5),
            Shape::Histogram => registry.histogram(measure, &values).record(0.01),
        }
    }
    let mut seen = Measures::new(&registry, &Sources::default(), At);
    seen.input(Kind::CsAttached, "tel:+15145550100", At.now());
    seen.input(Kind::CsAttached, "/probe/\"quoted\"\n", At.now());
    seen.committing();
    seen.committed();
    let served = registry.render();

    assert!(!served.contains("5145550100"), "a subscriber's number in:\n{served}");
    succeeds(fed(tool("promtool", "prometheus").args(["check", "metrics"]), &served));
    for Measure { name, help, .. } in ALL {
        assert!(served.contains(&format!("# HELP {name} {help}")), "{name} is not described");
    }
}

#[test]
fn the_unit_is_one_that_systemd_takes_and_that_can_do_little() {
    let unit = read("ops/systemd/deferd.service");
    // Verification wants to see the program.
    let here = unit.replace("/usr/bin/deferd", env!("CARGO_BIN_EXE_deferd"));
    let file = Scratch::new("deferd.service", &here);
    let verified =
        run(tool("systemd-analyze", "systemd").args(["verify", "--man=no", file.path()]));
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && said.is_empty(), "systemd-analyze verify: {said}");
    let threshold = format!("--threshold={MOST_EXPOSURE}");
    let args = ["security", "--offline=true", "--no-pager", &threshold, file.path()];
    succeeds(run(tool("systemd-analyze", "systemd").args(args)));

    let value = |key: &str| -> &str {
        let key = format!("{key}=");
        unit.lines().find_map(|line| line.strip_prefix(&key)).unwrap_or_default()
    };
    assert_eq!(value("RestartPreventExitStatus"), "78");
    let stop: u32 = value("TimeoutStopSec").parse().unwrap();
    assert!(stop > Config::default().run.stop_seconds, "systemd kills before deferd is done");
    let command: Vec<&str> = value("ExecStart").split_whitespace().collect();
    Args::try_parse_from(&command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
    variables_are_keys("deferd.service", &unit);
}

#[test]
fn the_image_runs_our_commands_and_not_as_root() {
    let image = read("ops/Dockerfile");
    let last = image.rsplit("\nFROM ").next().unwrap();
    assert!(last.contains("\nUSER 65532:65532\n"), "who runs it?\n{last}");
    let entry = words_of(last, "ENTRYPOINT ");
    for arguments in [words_of(last, "\nCMD "), words_of(last, "    CMD ")] {
        let whole = if arguments.first() == entry.first() {
            arguments
        } else {
            [entry.clone(), arguments].concat()
        };
        assert!(whole.len() > 1, "{whole:?}");
        Args::try_parse_from(&whole).unwrap_or_else(|error| panic!("{whole:?}: {error}"));
    }
    variables_are_keys("Dockerfile", &image);
}

/// Read as YAML; there is no Docker here to build or start it.
#[test]
fn compose_takes_away_what_no_service_needs() {
    let compose = yaml("ops/compose.yaml");
    let services = compose["services"].as_object().unwrap();
    for (name, service) in services {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{name}");
        assert!(service.get("privileged").is_none(), "{name}");
        for volume in array(&service["volumes"]) {
            let from = text(volume).split(':').next().unwrap();
            let is_there = if from.starts_with('.') {
                root().join("ops").join(from).exists()
            } else {
                compose["volumes"].as_object().unwrap().contains_key(from)
            };
            assert!(is_there, "{name}: {from}");
        }
        for secret in array(&service["secrets"]) {
            assert!(compose["secrets"].get(text(&secret["source"])).is_some(), "{name}");
        }
    }
    let deferd = &services["deferd"];
    let grace = text(&deferd["stop_grace_period"]).trim_end_matches('s').parse::<u32>().unwrap();
    assert!(grace > Config::default().run.stop_seconds);
    assert!(root().join(text(&deferd["build"]["dockerfile"])).exists());
    variables_are_keys("compose.yaml", &read("ops/compose.yaml"));
    // Where Prometheus looks for the token is where it is put.
    let scrape = &yaml("ops/prometheus/prometheus.yml")["scrape_configs"][0];
    let token = &services["prometheus"]["secrets"][0]["target"];
    assert_eq!(&scrape["authorization"]["credentials_file"], token);
}

// What the tests are made of.

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Nothing, where there is none.
fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[track_caller]
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// The alerts by name.
fn alerts() -> BTreeMap<String, Value> {
    let rules = yaml("ops/prometheus/alerts.yml");
    let groups = array(&rules["groups"]).iter();
    let rules = groups.flat_map(|group| array(&group["rules"]));
    let alerts: BTreeMap<String, Value> =
        rules.map(|rule| (text(&rule["alert"]).to_owned(), rule.clone())).collect();
    assert!(alerts.len() > 20, "the rules are not read as they are written");
    alerts
}

fn dashboard_exprs() -> Vec<String> {
    let board: Value = serde_json::from_str(&read("ops/grafana/deferd.json")).unwrap();
    let panels = array(&board["panels"]).iter().flat_map(|panel| array(&panel["targets"]));
    let exprs = panels.chain(array(&board["annotations"]["list"]));
    let exprs: Vec<String> = exprs.map(|asked| text(&asked["expr"]).to_owned()).collect();
    assert!(exprs.len() > 20, "the dashboard is not read as it is written");
    exprs
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The metrics of an expression: ours, and `up`.
fn metrics_in(expr: &str) -> BTreeSet<String> {
    words(expr)
        .filter(|word| word.starts_with("deferd_") || *word == "up")
        .map(str::to_owned)
        .collect()
}

/// The metric behind a series: a histogram has several.
fn base(name: &str) -> Option<&str> {
    let known = |name: &str| ALL.iter().find(|measure| measure.name == name);
    if known(name).is_some_and(|measure| measure.shape != Shape::Histogram) {
        return Some(name);
    }
    let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end))?;
    known(base).filter(|measure| measure.shape == Shape::Histogram).map(|_| base)
}

/// The labels that an expression asks of a series, between its braces.
fn labels_of(expr: &str, name: &str) -> BTreeSet<String> {
    let mut labels = BTreeSet::new();
    for (_, after) in expr.match_indices(name).map(|(at, _)| expr.split_at(at + name.len())) {
        let Some((inside, _)) = after.strip_prefix('{').and_then(|rest| rest.split_once('}'))
        else {
            continue;
        };
        // What is between quotes may hold commas of its own.
        let outside: String = inside.split('"').step_by(2).collect();
        let named = outside.split(',').map(|one| one.trim_end_matches(['=', '~', '!']).trim());
        labels.extend(named.filter(|label| !label.is_empty()).map(str::to_owned));
    }
    labels
}

/// The second-level headings of a document, each with what stands below it.
fn sections(document: &str) -> BTreeMap<&str, &str> {
    document.split("\n## ").skip(1).filter_map(|section| section.split_once('\n')).collect()
}

/// A heading as a link has it.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || ['-', '_', ' '].contains(c);
    heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

/// The words of a JSON list behind an instruction.
fn words_of(file: &str, instruction: &str) -> Vec<String> {
    let line = file.split(instruction).nth(1).and_then(|rest| rest.lines().next());
    serde_json::from_str(line.unwrap_or_default()).unwrap_or_else(|_| panic!("{instruction}"))
}

/// Each variable that a file sets for us is a key of ours.
fn variables_are_keys(place: &str, file: &str) {
    let keys: BTreeSet<String> = keys().map(|(key, _)| key).collect();
    let mut found = 0;
    for name in words(file).filter_map(|word| word.strip_prefix("DEFERD_")) {
        let key = name.to_lowercase().replace("__", ".");
        assert!(key == "config" || keys.contains(&key), "{place}: DEFERD_{name} is no key");
        found += 1;
    }
    assert!(found > 0, "{place} sets nothing");
}

fn tool(name: &str, package: &str) -> Command {
    let is_there = Command::new(name).arg("--version").output().is_ok();
    assert!(is_there, "{name} is missing: run ops/test, which brings it, or install {package}");
    Command::new(name)
}

fn promtool(args: &[&str]) -> Output {
    run(tool("promtool", "prometheus").current_dir(root().join("ops/prometheus")).args(args))
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn fed(command: &mut Command, input: &str) -> Output {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
fn succeeds(output: Output) {
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
}

/// A file for a tool, in a directory of its own.
struct Scratch {
    directory: PathBuf,
    file: PathBuf,
}

impl Scratch {
    fn new(name: &str, content: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("operations-{}-{name}.d", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join(name);
        std::fs::write(&file, content).unwrap();
        Self { directory, file }
    }

    fn path(&self) -> &str {
        self.file.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
