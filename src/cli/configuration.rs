//! `deferd config`: is the configuration good, and what is it?

use std::io::Write;

use serde_json::{Map, Value, json};

use super::config::{ConfigError, Loaded, Origin, keys};
use super::{Answer, args, settings};

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
    if let Err(error) = settings(&loaded) {
        writeln!(out, "{error:#}")?;
        return Ok(Answer::No);
    }
    let given = loaded.origins.values().filter(|(_, origin)| *origin != Origin::Default).count();
    writeln!(out, "good: {given} of {} keys given, the others at their defaults", keys().count())?;
    Ok(Answer::Done)
}

fn show(args: &args::ConfigShow, config: &Loaded, out: &mut dyn Write) -> anyhow::Result<Answer> {
    let of_all = || {
        keys().filter_map(|(key, _)| {
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
    for (key, value) in config.as_object().into_iter().flatten() {
        match value.as_object() {
            Some(group) => {
                let named = group.iter().map(|(name, v)| (format!("{key}.{name}"), v.clone()));
                flat.extend(named);
            }
            None => {
                flat.insert(key.clone(), value.clone());
            }
        }
    }
    flat
}
