//! `deferd topics`: the topics of a Kafka cluster, made and judged.

use std::io::Write;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::args::{ShowAs, Topics, TopicsAction, TopicsCheck, TopicsCreate};
use super::config::{Config, Loaded};
use super::replay::paint::{DIM, GOOD, paint};
use super::{Answer, cluster};
use crate::log::kafka::{Cluster, Finding, KafkaFault, Made, Needs, Verdict};

/// Makes or judges the topics.
///
/// # Errors
///
/// The configuration does not hold together; the cluster cannot be reached, or refuses.
pub(super) fn topics(
    args: &Topics,
    config: &Loaded,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let cluster = cluster(&config.config)?;
    match &args.action {
        TopicsAction::Create(args) => create(args, &cluster, out),
        TopicsAction::Check(args) => check(args, &cluster, &config.config, out),
    }
}

fn create(args: &TopicsCreate, cluster: &Cluster, out: &mut dyn Write) -> anyhow::Result<Answer> {
    let plan = cluster.plan(args.partitions, args.replication)?;
    let made = cluster.create(&plan, args.dry_run)?;
    let fate = |name: &str| match made.iter().find(|(made, _)| made == name) {
        Some((_, Made::Now)) => "made",
        Some((_, Made::Would)) => "would be made",
        Some((_, Made::ByAnother)) | None => "was there",
    };
    if args.output == ShowAs::Json {
        let topics: Vec<Value> = plan
            .topics
            .iter()
            .map(|topic| {
                // Of one that was there, how it would be made.
                let settings: serde_json::Map<String, Value> = topic
                    .settings
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), Value::from(value.as_str())))
                    .collect();
                json!({ "topic": topic.name, "fate": fate(&topic.name), "settings": settings })
            })
            .collect();
        let whole = json!({
            "partitions": plan.partitions, "replication": plan.copies, "topics": topics
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&whole)?)?;
        return Ok(Answer::Done);
    }
    let width = plan.topics.iter().map(|topic| topic.name.len()).max().unwrap_or(0);
    for topic in &plan.topics {
        let (fate, name) = (fate(&topic.name), &topic.name);
        if fate == "was there" {
            writeln!(out, "{name:width$}  {fate}: {} partitions", plan.partitions)?;
            continue;
        }
        let settings: Vec<String> =
            topic.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let copies = if plan.copies == 1 { "copy" } else { "copies" };
        writeln!(
            out,
            "{name:width$}  {}: {} partitions, {} {copies}",
            paint(GOOD, fate),
            plan.partitions,
            plan.copies
        )?;
        writeln!(out, "{:width$}  {}", "", paint(DIM, settings.join(" ")))?;
    }
    Ok(Answer::Done)
}

fn check(
    args: &TopicsCheck,
    cluster: &Cluster,
    config: &Config,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let mut findings = review(cluster, config)?;
    findings.extend(cluster.rights()?);
    match args.output {
        ShowAs::Json => {
            let all: Vec<Value> = findings.iter().map(as_json).collect();
            writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        }
        ShowAs::Table => print(&findings, out)?,
    }
    let is_bad = findings.iter().any(|finding| finding.verdict == Verdict::Bad);
    Ok(if is_bad { Answer::No } else { Answer::Done })
}

/// The topics, held against what this config needs of them.
pub(super) fn review(cluster: &Cluster, config: &Config) -> Result<Vec<Finding>, KafkaFault> {
    cluster.review(&Needs {
        lifetime: config.policy.lifetime,
        snapshot_round: Duration::from_secs(config.kafka.snapshot_seconds.into()),
    })
}

fn as_json(finding: &Finding) -> Value {
    let Finding { about, verdict, says, why, advice } = finding;
    json!({ "about": about, "verdict": word(*verdict), "says": says, "why": why, "do": advice })
}

fn print(findings: &[Finding], out: &mut dyn Write) -> std::io::Result<()> {
    let width = findings.iter().map(|finding| finding.about.len()).max().unwrap_or(0);
    for Finding { about, verdict, says, why, advice } in findings {
        let (style, word) = (style(*verdict), word(*verdict));
        writeln!(out, "{style}{word:7}{style:#}  {about:width$}  {says}")?;
        if let Some(why) = why {
            writeln!(out, "{:7}  {:width$}  {why}", "", "")?;
        }
        for line in advice.iter().flat_map(|advice| advice.lines()) {
            writeln!(out, "{:7}  {:width$}  → {line}", "", "")?;
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    match (count(Verdict::Bad), count(Verdict::Warning), count(Verdict::Unknown)) {
        (0, 0, 0) => writeln!(out, "sound"),
        (bad, warnings, unknown) => {
            writeln!(out, "{bad} bad, {warnings} to be warned of, {unknown} unknown")
        }
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Unknown => "unknown",
        Verdict::Warning => "warning",
        Verdict::Bad => "bad",
    }
}

fn style(verdict: Verdict) -> Style {
    let color = match verdict {
        Verdict::Ok => AnsiColor::Green,
        Verdict::Unknown => AnsiColor::Blue,
        Verdict::Warning => AnsiColor::Yellow,
        Verdict::Bad => AnsiColor::Red,
    };
    color.on_default()
}
