//! `deferd why`: where a message stands, because of what, and what would release it.

use std::io::Write;
use std::ops::ControlFlow;

use anyhow::bail;
use serde_json::{Map, Value, json};

use super::args::{self, Output};
use super::config::Loaded;
use super::journal_file::JournalFile;
use super::replay::facts::{Basis, Belief};
use super::replay::follow::Followed;
use super::replay::paint::{BAD, BOLD, DIM, GOOD, WAITS, beside, is_good, paint, span};
use super::replay::summary::end_word;
use super::replay::{Point, UserName, address, ambiguous, find, unknown};
use super::{Answer, settings};
use crate::domain::command::about;
use crate::domain::event::{End, Event};
use crate::domain::standing::Standing;
use crate::domain::time::Timestamp;
use crate::domain::why::{Closes, Why, why as reasons};
use crate::record::journal::Record;

/// Lines of history shown to people.
const HISTORY: usize = 8;

/// What the journal says of one message, from its acceptance on.
#[derive(Debug, Default)]
struct Story {
    from: String,
    place: Option<u32>,
    accepted: Option<Basis>,
    end: Option<(End, Timestamp, Option<Basis>)>,
    history: Vec<(u64, Timestamp, String)>,
}

/// Answers.
///
/// # Errors
///
/// The journal cannot be read, or several users have such a message.
pub(super) fn why(
    args: &args::Why,
    config: &Loaded,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let reader = settings(config)?.reader;
    let user = match &args.user {
        Some(user) => address(user, &reader)?,
        None => {
            let found = find(&args.journal, &args.message, &reader)?;
            let Some((first, _)) = found.first() else { return Ok(nobody(args)) };
            if found.iter().any(|(user, _)| user != first) {
                bail!(ambiguous(&args.message, &found));
            }
            let first: &UserName = first;
            first.parse_as(&reader)?
        }
    };
    let point: Option<Point> = args.at.as_deref().map(str::parse).transpose()?;
    let mut file = JournalFile::open(&args.journal, &reader)?;
    let mut followed = Followed::new(&user);
    let mut stories: Vec<Story> = Vec::new();
    file.read(|entry| {
        if point.is_some_and(|point| point.is_before(entry.seq, entry.at)) {
            return Ok(ControlFlow::Break(()));
        }
        followed.pass(entry);
        if followed.concerns(entry) {
            let record = entry.record()?;
            followed.apply(&record, drop)?;
            for event in &record.events {
                note(&mut stories, &args.message, &record, event, &followed);
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    file.warn();
    if stories.is_empty() {
        return Ok(nobody(args));
    }
    let at = followed.last.map_or(Timestamp::EPOCH, |(_, at)| at);
    let now = point.map_or(at, |point| point.instant(at));
    let mut answers = Vec::new();
    for story in &stories {
        let place = story.place.filter(|_| story.end.is_none());
        let why = place.and_then(|place| reasons(&followed.view(now), place));
        if args.output == Output::Table {
            for_people(args, &followed, story, why.as_ref(), now, out)?;
        } else {
            answers.push(for_programs(args, &followed, story, why.as_ref(), now));
        }
    }
    match args.output {
        Output::Table => {}
        Output::Json => writeln!(out, "{}", Value::Array(answers))?,
        Output::Jsonl => answers.iter().try_for_each(|answer| writeln!(out, "{answer}"))?,
    }
    out.flush()?;
    Ok(Answer::Done)
}

fn nobody(args: &args::Why) -> Answer {
    super::warn(&unknown(&args.message, &args.journal));
    Answer::No
}

/// Adds an event to the story of the message it is about.
fn note(
    stories: &mut Vec<Story>,
    message: &str,
    record: &Record<'_>,
    event: &Event,
    followed: &Followed,
) {
    if let Event::Deferred { m, content: Some(content), .. } = event
        && *m.1 == *message
    {
        stories.retain(|story| story.from != *content.from);
        stories.push(Story {
            from: content.from.to_string(),
            place: Some(m.place()),
            accepted: followed.facts.basis(Belief::Accepted(m.place())).cloned(),
            ..Story::default()
        });
    }
    if let Event::Handled { id, from, end, at } = event
        && **id == *message
    {
        stories.push(Story {
            from: from.to_string(),
            end: Some((*end, *at, Some(Basis::of(record)))),
            ..Story::default()
        });
    }
    let Some(place) = about(event).map(|m| m.place()) else { return };
    let Some(story) = stories.iter_mut().rev().find(|story| story.place == Some(place)) else {
        return;
    };
    if let Event::Ended { m, end, at } = event
        && *m.1 == *message
    {
        story.end = Some((*end, *at, Some(Basis::of(record))));
    }
    let at = record.at;
    story.history.push((record.seq, at, event.words(&|time| beside(time, at))));
}

fn for_people(
    args: &args::Why,
    followed: &Followed,
    story: &Story,
    why: Option<&Why>,
    now: Timestamp,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let clock = |time: Timestamp| beside(time, now);
    let (user, from) = (&followed.user.address, &story.from);
    writeln!(out, "{} to {user} from {from}", paint(BOLD, &args.message))?;
    if let Some((end, at, basis)) = &story.end {
        let end = paint(if is_good(*end) { GOOD } else { BAD }, end_word(*end));
        let by = basis.as_ref().map_or_else(String::new, |basis| format!(", {}", basis.words()));
        writeln!(out, "  ended: {end} at {at}{}", paint(DIM, by))?;
    }
    if let Some(why) = why {
        waiting(followed, story, why, now, out)?;
    } else if story.end.is_none() {
        writeln!(out, "  its user is not known any more")?;
    }
    if !story.history.is_empty() {
        writeln!(out, "\n{}", paint(WAITS, "  history"))?;
    }
    let skipped = story.history.len().saturating_sub(HISTORY);
    if skipped > 0 {
        let hint = format!("    … {skipped} before: deferd replay --message {}", args.message);
        writeln!(out, "{}", paint(DIM, hint))?;
    }
    for (seq, at, words) in story.history.iter().skip(skipped) {
        writeln!(out, "    {:<20} {words}  {}", clock(*at), paint(DIM, format!("#{seq}")))?;
    }
    Ok(())
}

/// The record since which a message stands where it does.
fn since<'a>(followed: &'a Followed, why: &Why, place: u32) -> Option<&'a Basis> {
    let also = why.standing.first().and_then(|standing| match standing {
        Standing::IpWait => Some(Belief::Episode),
        Standing::Backoff => Some(Belief::Backoff(place)),
        Standing::Held => Some(Belief::Hold),
        Standing::Storing
        | Standing::IpInFlight
        | Standing::IpAwaitImdn
        | Standing::IwInFlight
        | Standing::IwAwaitReport
        | Standing::Pending
        | Standing::Parked => None,
    });
    let own = followed.facts.basis(Belief::Message(place));
    own.into_iter()
        .chain(also.and_then(|belief| followed.facts.basis(belief)))
        .max_by_key(|basis| basis.seq)
}

fn waiting(
    followed: &Followed,
    story: &Story,
    why: &Why,
    now: Timestamp,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let clock = |time: Timestamp| beside(time, now);
    let place = story.place.unwrap_or_default();
    let names: Vec<&str> = why.standing.iter().map(|standing| standing.name()).collect();
    let since = since(followed, why, place).map_or_else(String::new, |basis| {
        let age = span(now.since(basis.at));
        paint(DIM, format!("  since {}, {age}: {}", clock(basis.at), basis.words()))
    });
    writeln!(out, "  stands: {}{since}", paint(WAITS, names.join(", ")))?;
    writeln!(out, "  as of {now}; its lifetime ends {}", clock(why.expires_at))?;
    for (closes, title) in
        [(Closes::All, "nothing starts for it"), (Closes::Ip, "by IP"), (Closes::Sms, "by SMS")]
    {
        let mut obstacles = why.obstacles.iter().filter(|o| o.closes() == closes).peekable();
        if obstacles.peek().is_some() {
            writeln!(out, "\n{}", paint(WAITS, format!("  {title}")))?;
        }
        for obstacle in obstacles {
            let basis = followed.facts.behind(obstacle, place);
            let basis = basis.map_or_else(String::new, |basis| {
                format!("; {} {}", basis.words(), clock(basis.at))
            });
            let rule = paint(DIM, format!("  [{}]{basis}", obstacle.rule()));
            writeln!(out, "    {}{rule}", obstacle.words(&clock))?;
        }
    }
    writeln!(out, "\n{}", paint(WAITS, "  what would move it"))?;
    if why.obstacles.is_empty() {
        writeln!(out, "    nothing is in its way: it goes with the next step")?;
    } else if why.releases.is_empty() {
        writeln!(out, "    nothing but the end of its lifetime")?;
    }
    for release in &why.releases {
        let left = release.at().map_or_else(String::new, |at| {
            if at > now { format!(", in {}", span(at.since(now))) } else { ", due now".into() }
        });
        let rule = paint(DIM, format!("{left}  [{}]", release.rule()));
        writeln!(out, "    {}{rule}", release.words(&clock))?;
    }
    Ok(())
}

fn for_programs(
    args: &args::Why,
    followed: &Followed,
    story: &Story,
    why: Option<&Why>,
    now: Timestamp,
) -> Value {
    let clock = |time: Timestamp| time.to_string();
    let mut answer = Map::new();
    let mut put = |name: &str, value: Value| answer.insert(name.to_owned(), value);
    put("message_id", args.message.as_str().into());
    put("user", followed.user.address.to_string().into());
    put("from", story.from.as_str().into());
    put("at", now.to_string().into());
    if let Some(accepted) = &story.accepted {
        put("accepted", json!(accepted));
    }
    if let Some((end, at, basis)) = &story.end {
        put("ended", json!({ "how": end_word(*end), "at": at.to_string(), "because": basis }));
    }
    if let Some(why) = why {
        let place = story.place.unwrap_or_default();
        let names: Vec<&str> = why.standing.iter().map(|standing| standing.name()).collect();
        put("stands", json!(names));
        put("since", json!(since(followed, why, place)));
        put("expires_at", why.expires_at.to_string().into());
        let obstacles = why.obstacles.iter().map(|obstacle| {
            let closes = match obstacle.closes() {
                Closes::All => "all",
                Closes::Ip => "cpm",
                Closes::Sms => "sms",
            };
            json!({
                "closes": closes, "rule": obstacle.rule(), "words": obstacle.words(&clock),
                "because": followed.facts.behind(obstacle, place),
            })
        });
        put("in_the_way", Value::Array(obstacles.collect()));
        let releases = why.releases.iter().map(|release| {
            let at = release.at().map(|at| at.to_string());
            json!({ "rule": release.rule(), "words": release.words(&clock), "at": at })
        });
        put("would_move_it", Value::Array(releases.collect()));
    }
    let history = story
        .history
        .iter()
        .map(|(seq, at, words)| json!({ "seq": seq, "at": at.to_string(), "words": words }));
    put("history", Value::Array(history.collect()));
    Value::Object(answer)
}
