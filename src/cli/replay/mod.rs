//! `deferd replay`: a journal in one direction, never acting.

mod diff;
mod export;
mod input_words;
pub(super) mod paint;
mod picture;
mod point;
mod rows;
pub(super) mod summary;
pub(super) mod timeline;
mod verify;

use std::io::Write;
use std::ops::ControlFlow;

use anyhow::{Context, bail};

pub(super) use self::point::Point;
use super::args::{self, Output};
use super::config::Loaded;
use super::journal::{Asked, Source};
use super::{Answer, settings};
use crate::domain::address::Address;
use crate::engine::history::Holders;
use crate::record::input::Reader;

/// Runs it.
///
/// # Errors
///
/// The file cannot be read or is no journal, an option is wrong, or standard output cannot be written.
pub(super) fn replay(
    args: &args::Replay,
    config: &Loaded,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let reader = settings(config)?.reader;
    let source = Source::of(args.file.as_deref(), config, &reader)?;
    let user = args.user.as_deref().map(|user| address(user, &reader)).transpose()?;
    let span = Span { from: point(args.from.as_ref())?, until: point(args.until.as_ref())? };
    if args.verify {
        if user.is_some() || args.message.is_some() {
            bail!("--verify decides the whole file again: leave --user and --message out");
        }
        return verify::verify(args, &span, &source, out);
    }
    let user = match (&args.message, user) {
        (Some(message), None) => {
            let found = find(&source, args.partition, message)?;
            match found.as_slice() {
                [] => {
                    super::warn(&unknown(message, &source));
                    return Ok(Answer::No);
                }
                [(first, _), more @ ..] if more.iter().all(|(user, _)| user == first) => {
                    Some(named(first, &reader)?)
                }
                several => bail!(ambiguous(message, several)),
            }
        }
        (_, user) => user,
    };
    if let Some(to) = &args.export {
        return export::export(args, &span, user.as_ref(), to, &source);
    }
    if let Some(at) = point(args.at.as_ref())? {
        return picture::at(args, user.as_ref(), at, &source, out);
    }
    if let Some(points) = &args.diff {
        let (a, b) = (point(points.first())?, point(points.get(1))?);
        let (Some(a), Some(b)) = (a, b) else { bail!("--diff takes two points") };
        return diff::diff(args, user.as_ref(), [a, b], &source, out);
    }
    match user {
        Some(user) => timeline::timeline(args, &span, &user, &source, out),
        None if args.output == Output::Jsonl => timeline::everything(args, &span, &source, out),
        None => summary::summary(args, &span, &source, out),
    }
}

/// What part of a journal is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    from: Option<Point>,
    until: Option<Point>,
}

impl Span {
    /// The option that names a seq, which means one partition.
    fn by_seq(&self) -> Option<&'static str> {
        let is_seq = |point: Option<Point>| matches!(point, Some(Point::Seq(_)));
        match (is_seq(self.from), is_seq(self.until)) {
            (true, _) => Some("--from with a seq"),
            (_, true) => Some("--until with a seq"),
            (false, false) => None,
        }
    }

    fn is_before(&self, seq: u64, at: crate::domain::time::Timestamp) -> bool {
        self.from.is_some_and(|from| from.is_after(seq, at))
    }

    fn is_over(&self, seq: u64, at: crate::domain::time::Timestamp) -> bool {
        self.until.is_some_and(|until| until.is_before(seq, at))
    }
}

fn point(text: Option<&String>) -> anyhow::Result<Option<Point>> {
    text.map(|text| text.parse()).transpose()
}

/// A user as typed.
pub(super) fn address(text: &str, reader: &Reader) -> anyhow::Result<Address> {
    Address::parse(text, &reader.home).with_context(|| format!("--user `{text}`"))
}

/// A user as a journal names it.
pub(super) fn named(user: &str, reader: &Reader) -> anyhow::Result<Address> {
    Address::parse(user, &reader.home).with_context(|| format!("user `{user}`"))
}

/// Whose the messages of this id are, and who sent them, in order: a first pass of two.
pub(super) fn find(
    source: &Source<'_>,
    partition: Option<u32>,
    message: &str,
) -> anyhow::Result<Vec<(String, String)>> {
    if source.is_stdin() {
        bail!("standard input is read once: say whose message it is with --user");
    }
    let mut holders = Holders::of(message);
    for mut journal in source.open(Asked { partition, ..Asked::default() })? {
        for (_, user) in journal.state().users.iter() {
            for m in user.messages.iter().filter(|m| *m.content.message_id == *message) {
                holders.note(&user.address.to_string(), &m.content.from);
            }
        }
        journal.read(|entry| {
            holders.take(entry, source.reader)?;
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(holders.found().to_vec())
}

/// What to say of an id that nobody knows.
pub(super) fn unknown(message: &str, source: &Source<'_>) -> String {
    format!(
        "no message `{message}` was accepted in {source}; `deferd replay {source}` shows what is in it"
    )
}

/// What to say of an id that several users have.
pub(super) fn ambiguous(message: &str, found: &[(String, String)]) -> String {
    let list: Vec<String> =
        found.iter().map(|(user, from)| format!("  {user} from {from}")).collect();
    format!("several users have a message `{message}`; add --user:\n{}", list.join("\n"))
}
