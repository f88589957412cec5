//! `deferd config`: is the configuration good, and what is it?

use std::io::Write;

use serde_json::{Map, Value, json};

use super::config::{ConfigError, Loaded, LogKind, Origin, is_passed, keys};
use super::{Answer, args, cluster, settings};

/// Runs it. A bad configuration is an answer of `check`, and stops the others.
///
/// # Errors
///
/// The file cannot be read, or standard output not be written.
pub(super) fn configuration(
    args: &args::Config,
    config: Result<Loaded, ConfigError>,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    match &args.action {
        args::ConfigAction::Check => check(config, out),
        args::ConfigAction::Show(args) => show(args, &config?, out),
    }
}

fn check(config: Result<Loaded, ConfigError>, out: &mut dyn Write) -> anyhow::Result<Answer> {
    let loaded = match config {
        Ok(loaded) => loaded,
        Err(error @ ConfigError::Unreadable { .. }) => return Err(error.into()),
        Err(error) => {
            writeln!(out, "{error}")?;
            return Ok(Answer::No);
        }
    };
    let judged = settings(&loaded)
        .and_then(|_| match loaded.config.log {
            LogKind::Embedded => Ok(()),
            LogKind::Kafka => cluster(&loaded.config).map(drop),
        })
        .and_then(|()| Ok(loaded.config.imap.store().map(drop)?));
    if let Err(error) = judged {
        writeln!(out, "{error:#}")?;
        return Ok(Answer::No);
    }
    let given = loaded.origins.values().filter(|(_, origin)| *origin != Origin::Default).count();
    writeln!(out, "good: {given} of {} keys given, the others at their defaults", keys().count())?;
    Ok(Answer::Done)
}

fn show(args: &args::ConfigShow, config: &Loaded, out: &mut dyn Write) -> anyhow::Result<Answer> {
    let of_all = || {
        let known = keys().map(|(key, _)| key);
        // What librdkafka gets has no list of ours.
        let passed = config.origins.keys().filter(|key| is_passed(key)).cloned();
        known.chain(passed).filter_map(|key| {
            let (value, origin) = config.origins.get(&key)?;
            Some((key, value, origin))
        })
    };
    match args.output {
        args::ShowAs::Table => {
            let lines = of_all().map(|(key, value, origin)| (format!("{key} = {value}"), origin));
            let width = of_all().map(|(key, value, _)| key.len() + 3 + value.chars().count()).max();
            for (line, origin) in lines {
                if args.origin {
                    writeln!(out, "{line:width$}  # {origin}", width = width.unwrap_or(0))?;
                } else {
                    writeln!(out, "{line}")?;
                }
            }
        }
        args::ShowAs::Json => {
            let values = flat(&serde_json::to_value(&config.config)?);
            let object: Map<String, Value> = of_all()
                .map(|(key, _, origin)| {
                    let value = values.get(&key).cloned().unwrap_or_default();
                    let shown = if args.origin {
                        json!({ "value": value, "origin": origin.to_string() })
                    } else {
                        value
                    };
                    (key, shown)
                })
                .collect();
            serde_json::to_writer_pretty(&mut *out, &object)?;
            writeln!(out)?;
        }
    }
    Ok(Answer::Done)
}

/// The values of a config by their full keys.
fn flat(config: &Value) -> Map<String, Value> {
    let mut flat = Map::new();
    flatten("", config, &mut flat);
    flat
}

fn flatten(prefix: &str, table: &Value, into: &mut Map<String, Value>) {
    for (name, value) in table.as_object().into_iter().flatten() {
        let key = format!("{prefix}{name}");
        if value.is_object() {
            flatten(&format!("{key}."), value, into);
        } else {
            into.insert(key, value.clone());
        }
    }
}
