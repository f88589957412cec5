//! What the topics of a cluster say of users, messages and dead letters: the answers that a daemon would
//! give, without one.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use serde_json::Value;

use super::args::Daemon;
use super::clock::WallClock;
use super::config::{Loaded, LogKind};
use super::journal::{Asked, Begin, KAFKA, Source};
use super::replay::{address, ambiguous, find, named, unknown};
use super::settings;
use crate::engine::history::Stories;
use crate::engine::picture::{self, Shown};
use crate::engine::ports::Clock;
use crate::engine::users::TABLES;
use crate::log::kafka::{Next, Reader, Topic};

/// The longest wait for a record that must be there.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether the topics are read instead of asking a daemon: none was named, and the log is on Kafka.
pub(super) fn is_on_topics(daemon: &Daemon, config: &Loaded) -> bool {
    daemon.url.is_none() && config.config.log == LogKind::Kafka
}

/// A user; `None`: nothing is known, which is said.
///
/// # Errors
///
/// The journal cannot be read.
pub(super) fn user(config: &Loaded, name: &str, shown: Shown) -> anyhow::Result<Option<Value>> {
    let reader = settings(config)?.reader;
    let source = Source::of(Some(Path::new(KAFKA)), config, &reader)?;
    let user = address(name, &reader)?;
    let asked = Asked { user: Some(&user), begin: Begin::Newest, ..Asked::default() };
    let mut journals = source.open(asked)?;
    let Some(journal) = journals.first_mut() else { bail!("there is no partition") };
    let mut followed = journal.followed(&user);
    journal.read(|entry| {
        followed.pass(entry);
        if followed.concerns(entry) {
            followed.apply(&entry.record()?, drop)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    journals.iter().for_each(|journal| journal.warn());
    let now = now(followed.last.map(|(_, at)| at));
    if followed.records == 0 || followed.user.is_forgettable(now, &followed.policy) {
        super::warn(&format!(
            "nothing is known of {user}: no message waits, and no fact is fresh; its journal may say \
             more: deferd replay {KAFKA} --user {user}"
        ));
        return Ok(None);
    }
    Ok(Some(picture::of(&followed.user, &followed.policy, now, shown)))
}

/// The users for whom messages wait, at most so many.
///
/// # Errors
///
/// The journal cannot be read, or `each` says so.
pub(super) fn users(
    config: &Loaded,
    most: usize,
    mut each: impl FnMut(Value) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let reader = settings(config)?.reader;
    let source = Source::of(Some(Path::new(KAFKA)), config, &reader)?;
    let mut left = most;
    for mut journal in source.open(Asked { begin: Begin::Newest, ..Asked::default() })? {
        if left == 0 {
            break;
        }
        let mut state = journal.state();
        journal.read(|entry| {
            entry.apply(&mut state)?;
            Ok(ControlFlow::Continue(()))
        })?;
        journal.warn();
        let now = now(Some(state.at));
        let keys = (0..TABLES).flat_map(|table| state.users.waiting(table).1);
        for key in keys.take(left) {
            let shown = state.users.see(key, |user| picture::in_brief(user, &state.policy, now));
            if let Some(shown) = shown {
                left -= 1;
                each(shown)?;
            }
        }
    }
    Ok(())
}

/// The messages of one id: where they stand, or how they ended; `None`: nobody knows any, which is said.
///
/// # Errors
///
/// The journal cannot be read, or several users have such a message.
pub(super) fn message(
    config: &Loaded,
    id: &str,
    user: Option<&str>,
    with_content: bool,
) -> anyhow::Result<Option<Value>> {
    let reader = settings(config)?.reader;
    let source = Source::of(Some(Path::new(KAFKA)), config, &reader)?;
    let nobody = || {
        super::warn(&unknown(id, &source));
        Ok(None)
    };
    let user = match user {
        Some(user) => address(user, &reader)?,
        None => {
            let found = find(&source, None, id)?;
            let Some((first, _)) = found.first() else { return nobody() };
            if found.iter().any(|(user, _)| user != first) {
                bail!(ambiguous(id, &found));
            }
            named(first, &reader)?
        }
    };
    let mut journal = source.open_for(&user)?;
    let mut stories = Stories::after(journal.followed(&user), id);
    journal.read(|entry| {
        stories.take(entry, &reader)?;
        Ok(ControlFlow::Continue(()))
    })?;
    journal.warn();
    let now = now(Some(stories.at()));
    let known = stories.followed();
    if let Some(waiting) = picture::waiting(&known.user, &known.policy, now, id, with_content) {
        return Ok(Some(waiting));
    }
    if stories.is_empty() {
        return nobody();
    }
    Ok(Some(picture::ended(&user, &stories.answers(now))))
}

/// Hands out every record of a topic that is there now, partition by partition, until `each` says false.
///
/// # Errors
///
/// The topic cannot be read, or `each` says so.
pub(super) fn records(
    config: &Loaded,
    topic: Topic,
    mut each: impl FnMut(&[u8]) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let mut reader = Reader::new(&super::cluster(&config.config)?, topic)?;
    for partition in 0..reader.partitions() {
        let ends = reader.ends(partition)?;
        if ends.oldest == ends.stable {
            continue;
        }
        reader.go_to(partition, ends.oldest)?;
        loop {
            match reader.next(PATIENCE)? {
                Next::Record(message) if message.offset() < ends.stable => {
                    if let Some(bytes) = message.bytes()
                        && !each(bytes)?
                    {
                        return Ok(());
                    }
                }
                Next::Record(_) | Next::End { .. } => break,
                Next::Nothing => {
                    let seconds = PATIENCE.as_secs();
                    bail!("{}: the brokers gave no record in {seconds} s", reader.topic());
                }
            }
        }
        reader.leave(partition)?;
    }
    Ok(())
}

/// What time it is, never before the last record.
fn now(last: Option<crate::domain::time::Timestamp>) -> crate::domain::time::Timestamp {
    let now = WallClock.now();
    last.map_or(now, |last| now.max(last))
}
