//! `deferd doctor`: is this set-up sound? Everything is looked at, nothing is changed.

mod facts;
mod imap;
mod kafka;
mod machine;
mod place;
mod reach;

use std::io::Write;

use serde::Serialize;

use super::config::{ConfigError, Loaded, LogKind, Origin, keys};
use super::{Answer, args, settings};

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Ok,
    /// It cannot be told from here.
    Unknown,
    /// It runs, and somebody will be sorry.
    Warning,
    /// It will not run, or not safely.
    Bad,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }

    fn style(self) -> anstyle::Style {
        let color = match self {
            Self::Ok => anstyle::AnsiColor::Green,
            Self::Unknown => anstyle::AnsiColor::Blue,
            Self::Warning => anstyle::AnsiColor::Yellow,
            Self::Bad => anstyle::AnsiColor::Red,
        };
        color.on_default()
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    /// What was found.
    says: String,
    /// What to do about it.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, says: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, says: says.into(), advice: None }
    }

    fn new(
        verdict: Verdict,
        check: &'static str,
        says: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { check, verdict, says: says.into(), advice: Some(advice.into()) }
    }

    fn unknown(check: &'static str, says: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Verdict::Unknown, check, says, advice)
    }

    fn warning(check: &'static str, says: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Verdict::Warning, check, says, advice)
    }

    fn bad(check: &'static str, says: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Verdict::Bad, check, says, advice)
    }
}

/// Looks at everything.
///
/// # Errors
///
/// Standard output cannot be written.
pub(super) fn doctor(
    args: &args::Doctor,
    config: Result<Loaded, ConfigError>,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    if args.live {
        return live(config, out);
    }
    let findings = look(config, args.user.as_deref());
    match args.output {
        args::ShowAs::Json => writeln!(out, "{}", serde_json::to_string_pretty(&findings)?)?,
        args::ShowAs::Table => print(&findings, out)?,
    }
    let is_bad = findings.iter().any(|finding| finding.verdict == Verdict::Bad);
    Ok(if is_bad { Answer::No } else { Answer::Done })
}

fn look(config: Result<Loaded, ConfigError>, user: Option<&str>) -> Vec<Finding> {
    const CONFIGURATION: &str = "configuration";
    let loaded = match config {
        Ok(loaded) => loaded,
        Err(error) => {
            let says = format!("{:#}", anyhow::Error::from(error));
            let advice = "mend that line; the rest was not looked at";
            return vec![Finding::bad(CONFIGURATION, says, advice)];
        }
    };
    let home = match settings(&loaded) {
        Ok(settings) => settings.reader.home,
        Err(error) => {
            let advice = "mend that key; the rest was not looked at";
            return vec![Finding::bad(CONFIGURATION, format!("{error:#}"), advice)];
        }
    };
    let given = loaded.origins.values().filter(|(_, origin)| *origin != Origin::Default).count();
    let all = keys().count();
    let mut findings = vec![match loaded.warnings.as_slice() {
        [] => Finding::ok(CONFIGURATION, format!("good; {given} of {all} keys given")),
        warnings => Finding::warning(CONFIGURATION, warnings.join("; "), "see ops/deferd.toml"),
    }];
    let config = &loaded.config;
    findings.extend(place::look(config));
    findings.extend(machine::clock(config));
    findings.extend(reach::look(config));
    findings.push(facts::look(config));
    findings.extend(machine::limits(config));
    if config.log == LogKind::Kafka {
        findings.extend(kafka::look(config));
    }
    findings.extend(imap::look(&config.imap, user, &home));
    findings
}

fn print(findings: &[Finding], out: &mut dyn Write) -> std::io::Result<()> {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    for Finding { check, verdict, says, advice } in findings {
        let (style, word) = (verdict.style(), verdict.word());
        writeln!(out, "{style}{word:7}{style:#}  {check:width$}  {says}")?;
        if let Some(advice) = advice {
            writeln!(out, "{:7}  {:width$}  → {advice}", "", "")?;
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (bad, warnings) = (count(Verdict::Bad), count(Verdict::Warning));
    match (bad, warnings) {
        (0, 0) => writeln!(out, "sound"),
        _ => writeln!(out, "{bad} bad, {warnings} to be warned of"),
    }
}

/// Whether the daemon answers.
fn live(config: Result<Loaded, ConfigError>, out: &mut dyn Write) -> anyhow::Result<Answer> {
    let answer = match config {
        Ok(loaded) => reach::get(&loaded.config.http, "/livez"),
        Err(error) => Err(format!("{:#}", anyhow::Error::from(error))),
    };
    match answer {
        Ok((200, _)) => {
            writeln!(out, "alive")?;
            Ok(Answer::Done)
        }
        Ok((status, body)) => {
            writeln!(out, "not alive: {status} {}", body.trim())?;
            Ok(Answer::No)
        }
        Err(why) => {
            writeln!(out, "not alive: {why}")?;
            Ok(Answer::No)
        }
    }
}

/// Bytes for people.
fn bytes(count: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (unit, shift) in UNITS {
        let one = 1_u64 << shift;
        if count >= one {
            let tenths = count % one * 10 / one;
            return format!("{}.{tenths} {unit}", count / one);
        }
    }
    format!("{count} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_configuration_is_all_that_is_said() {
        let config = super::super::config::Config::load(
            None,
            std::iter::empty(),
            &["policy.settle_seconds=soon".to_owned()],
        );
        let mut out = Vec::new();
        let answer = doctor(&args::Doctor::default(), config, &mut out);
        assert_eq!(answer.ok(), Some(Answer::No));
        let said = String::from_utf8_lossy(&out).into_owned();
        assert!(said.contains("settle_seconds is `soon`") && said.lines().count() == 3, "{said}");
    }

    #[test]
    fn bytes_are_written_for_people() {
        assert_eq!(bytes(512), "512 bytes");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
    }
}
