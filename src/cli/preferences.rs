//! `deferd user preferences`: what a user prefers, as an XDM server has it.

use std::io::Write;

use super::args::{Output, PreferencesAction, PreferencesSet, ShowAs, UserPreferences};
use super::client::{event, tell};
use super::config::Loaded;
use super::evfw::{octets, refused};
use super::recipient::Recipient;
use super::{Answer, settings, warn};
use crate::cpm::preferences::{Reading, Said, read};
use crate::cpm::xml::Limits;

/// Sets them.
///
/// # Errors
///
/// The file cannot be read or kept, or nobody takes it.
pub(super) fn preferences(
    args: &UserPreferences,
    config: &Loaded,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let PreferencesAction::Set(PreferencesSet { user, file, toward, output }) = &args.action;
    let reader = settings(config)?.reader;
    let limits = Limits { octets: reader.max_input_bytes, ..Limits::default() };
    let bytes = octets(file)?;
    let document = match read(&bytes, &Reading { limits, home: &reader.home }) {
        Ok(document) => document,
        Err(error) => {
            let output = if *output == Output::Table { ShowAs::Table } else { ShowAs::Json };
            return refused(file, &bytes, &error, output, out);
        }
    };
    for (at, note) in &document.notes {
        warn(&format!("{}:{}:{}: {note}", file.display(), at.line, at.column));
    }
    let (count, of) = match &document.said {
        Said::Rules(rules) => (rules.len(), "rule"),
        Said::Blacklist(senders) => (senders.len(), "refused sender"),
    };
    let what = format!("{user}: {count} {of}{}", if count == 1 { "" } else { "s" });
    let change = serde_json::to_value(document.said.change())?;
    let event = event("cpm.preferences.changed.v1", user, &change)?;
    let told = Recipient::of(toward, config)?.give(event.to_string().as_bytes())?;
    tell(&told, &what, *output, out)
}
