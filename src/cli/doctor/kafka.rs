//! With `log = "kafka"`: is the cluster reached, are its topics right, and are secrets secret?

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Finding, Verdict};
use crate::cli::cluster;
use crate::cli::config::{Config, Kafka};
use crate::cli::topics::review;
use crate::log::kafka;

const CHECK: &str = "kafka";

pub(super) fn look(config: &Config) -> Vec<Finding> {
    let mut findings = secrets(&config.kafka);
    let cluster = match cluster(config) {
        Ok(cluster) => cluster,
        Err(error) => {
            let says = format!("{error:#}");
            findings.push(Finding::bad(CHECK, says, "mend that key; nobody was asked"));
            return findings;
        }
    };
    match review(&cluster, config) {
        Ok(found) => findings.extend(found.into_iter().filter_map(of_topics)),
        Err(fault) => {
            let advice = "see to that; `deferd topics check` asks again";
            findings.push(Finding::bad(CHECK, fault.to_string(), advice));
            return findings;
        }
    }
    if findings.iter().all(|finding| finding.verdict < Verdict::Warning) {
        let says = format!("{}: the topics are there, and safe", cluster.brokers);
        findings.push(Finding::ok(CHECK, says));
    }
    findings.push(Finding::unknown(
        "rights",
        "were not tried, as that begins transactions",
        "deferd topics check",
    ));
    findings
}

/// What was found of a topic, where there is something to say.
fn of_topics(found: kafka::Finding) -> Option<Finding> {
    let verdict = match found.verdict {
        kafka::Verdict::Ok => return None,
        kafka::Verdict::Unknown => Verdict::Unknown,
        kafka::Verdict::Warning => Verdict::Warning,
        kafka::Verdict::Bad => Verdict::Bad,
    };
    let why = found.why.map(|why| format!(": {why}")).unwrap_or_default();
    let says = format!("{}: {}{why}", found.about, found.says);
    Some(Finding { check: CHECK, verdict, says, advice: found.advice })
}

/// Files that nobody else may read.
fn secrets(kafka: &Kafka) -> Vec<Finding> {
    let files = [
        ("kafka.sasl_password_file", &kafka.sasl_password_file),
        ("kafka.key_password_file", &kafka.key_password_file),
        ("kafka.key_file", &kafka.key_file),
    ];
    let named = files.into_iter().filter(|(_, path)| !path.as_os_str().is_empty());
    named.filter_map(|(key, path)| secret(CHECK, key, path)).collect()
}

/// One that is not there is told by who reads it.
pub(super) fn secret(check: &'static str, key: &str, path: &Path) -> Option<Finding> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    let shown = path.display();
    (mode & 0o004 != 0).then(|| {
        let says = format!("{key}: everybody may read {shown}, mode {mode:o}");
        Finding::bad(check, says, format!("chmod o= {shown}, and change the secret"))
    })
}
