//! `deferd why`: where a message stands, because of what, and what would release it.

use std::io::Write;
use std::ops::ControlFlow;

use anyhow::bail;

use super::args::{self, Output};
use super::client::{Client, encoded};
use super::config::{Loaded, LogKind};
use super::journal::Source;
use super::replay::paint::{BAD, BOLD, DIM, GOOD, WAITS, beside, paint, span};
use super::replay::{Point, address, ambiguous, find, named, unknown};
use super::{Answer, settings};
use crate::domain::time::Timestamp;
use crate::engine::history::{self, Basis, Stories, Waits};

/// Lines of history shown to people.
const HISTORY: usize = 8;

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
    let asks = args.journal.is_none()
        && (args.daemon.url.is_some() || config.config.log == LogKind::Embedded);
    if !asks {
        return read(args, config, out);
    }
    if args.at.is_some() {
        bail!("--at reads a journal: name one with --journal");
    }
    ask(args, config, out)
}

/// Asks the daemon.
fn ask(args: &args::Why, config: &Loaded, out: &mut dyn Write) -> anyhow::Result<Answer> {
    let client = Client::new(&args.daemon, config)?;
    let user = args.user.as_ref().map_or_else(String::new, |u| format!("?user={}", encoded(u)));
    let reply = client.get(&format!("/v1/messages/{}/why{user}", encoded(&args.message)))?;
    if reply.status == 300 {
        bail!("{}", reply.error().replace("?user=", "--user"));
    }
    if reply.known()?.is_none() {
        return Ok(Answer::No);
    }
    let answers: Vec<history::Answer> = reply.read()?;
    write(&answers, args.output, out)?;
    Ok(Answer::Done)
}

/// Reads a journal.
fn read(args: &args::Why, config: &Loaded, out: &mut dyn Write) -> anyhow::Result<Answer> {
    let reader = settings(config)?.reader;
    let source = Source::of(args.journal.as_deref(), config, &reader)?;
    let user = match &args.user {
        Some(user) => address(user, &reader)?,
        None => {
            let found = find(&source, None, &args.message)?;
            let Some((first, _)) = found.first() else { return Ok(nobody(args, &source)) };
            if found.iter().any(|(user, _)| user != first) {
                bail!(ambiguous(&args.message, &found));
            }
            named(first, &reader)?
        }
    };
    let point: Option<Point> = args.at.as_deref().map(str::parse).transpose()?;
    let mut journal = source.open_for(&user)?;
    if let Some(point) = point {
        journal.reaches(point)?;
    }
    let mut stories = Stories::after(journal.followed(&user), &args.message);
    journal.read(|entry| {
        if point.is_some_and(|point| point.is_before(entry.seq, entry.at)) {
            return Ok(ControlFlow::Break(()));
        }
        stories.take(entry, &reader)?;
        Ok(ControlFlow::Continue(()))
    })?;
    source.warn(&[journal]);
    if stories.is_empty() {
        return Ok(nobody(args, &source));
    }
    let at = stories.at();
    let answers = stories.answers(point.map_or(at, |point| point.instant(at)));
    write(&answers, args.output, out)?;
    Ok(Answer::Done)
}

fn nobody(args: &args::Why, source: &Source<'_>) -> Answer {
    super::warn(&unknown(&args.message, source));
    Answer::No
}

/// Writes answers, from wherever they come.
///
/// # Errors
///
/// They cannot be written.
pub(super) fn write(
    answers: &[history::Answer],
    output: Output,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    match output {
        Output::Table => answers.iter().try_for_each(|answer| for_people(answer, out))?,
        Output::Json => writeln!(out, "{}", serde_json::to_value(answers)?)?,
        Output::Jsonl => {
            for answer in answers {
                writeln!(out, "{}", serde_json::to_value(answer)?)?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

fn for_people(answer: &history::Answer, out: &mut dyn Write) -> anyhow::Result<()> {
    let history::Answer { message_id, user, from, at: now, ended, waits, trace, history, .. } =
        answer;
    writeln!(out, "{} to {user} from {from}", paint(BOLD, message_id))?;
    if let Some(ended) = ended {
        let how = paint(if is_good(&ended.how) { GOOD } else { BAD }, &ended.how);
        let by = ended.because.as_ref().map_or_else(String::new, |b| format!(", {}", b.words()));
        writeln!(out, "  ended: {how} at {}{}", ended.at, paint(DIM, by))?;
    }
    if let Some(waits) = waits {
        waiting(waits, *now, out)?;
    } else if ended.is_none() {
        writeln!(out, "  its user is not known any more")?;
    }
    if !trace.is_empty() {
        writeln!(out, "\n{}", paint(WAITS, "  preferences (8.3.1.1)"))?;
    }
    for line in trace {
        writeln!(out, "    {line}")?;
    }
    if !history.is_empty() {
        writeln!(out, "\n{}", paint(WAITS, "  history"))?;
    }
    let skipped = history.len().saturating_sub(HISTORY);
    if skipped > 0 {
        let hint = format!("    … {skipped} before: deferd replay --message {message_id}");
        writeln!(out, "{}", paint(DIM, hint))?;
    }
    for step in history.iter().skip(skipped) {
        let (at, words) = (beside(step.at, *now), &step.words);
        writeln!(out, "    {at:<20} {words}  {}", paint(DIM, format!("#{}", step.seq)))?;
    }
    Ok(())
}

/// Whether the user has it, or another store does.
fn is_good(how: &str) -> bool {
    how.starts_with("delivered") || ["stored", "forwarded"].contains(&how)
}

fn waiting(waits: &Waits, now: Timestamp, out: &mut dyn Write) -> anyhow::Result<()> {
    let clock = |time: Timestamp| beside(time, now);
    let words = |basis: &Basis| format!("{} {}", basis.words(), clock(basis.at));
    let since = waits.since.as_ref().map_or_else(String::new, |basis| {
        let age = span(now.since(basis.at));
        paint(DIM, format!("  since {}, {age}: {}", clock(basis.at), basis.words()))
    });
    writeln!(out, "  stands: {}{since}", paint(WAITS, waits.stands.join(", ")))?;
    writeln!(out, "  as of {now}; its lifetime ends {}", clock(waits.expires_at))?;
    for (closes, title) in [("all", "nothing starts for it"), ("cpm", "by IP"), ("sms", "by SMS")] {
        let mut obstacles = waits.in_the_way.iter().filter(|o| o.closes == closes).peekable();
        if obstacles.peek().is_some() {
            writeln!(out, "\n{}", paint(WAITS, format!("  {title}")))?;
        }
        for obstacle in obstacles {
            let basis = obstacle.because.as_ref();
            let basis = basis.map_or_else(String::new, |basis| format!("; {}", words(basis)));
            let rule = paint(DIM, format!("  [{}]{basis}", obstacle.rule));
            writeln!(out, "    {}{rule}", shortened(&obstacle.words, now))?;
        }
    }
    writeln!(out, "\n{}", paint(WAITS, "  what would move it"))?;
    if waits.in_the_way.is_empty() {
        writeln!(out, "    nothing is in its way: it goes with the next step")?;
    } else if waits.would_move_it.is_empty() {
        writeln!(out, "    nothing but the end of its lifetime")?;
    }
    for release in &waits.would_move_it {
        let left = release.at.map_or_else(String::new, |at| {
            if at > now { format!(", in {}", span(at.since(now))) } else { ", due now".into() }
        });
        let rule = paint(DIM, format!("{left}  [{}]", release.rule));
        writeln!(out, "    {}{rule}", shortened(&release.words, now))?;
    }
    Ok(())
}

/// Words whose times are RFC 3339, with each as it reads beside `now`.
fn shortened(words: &str, now: Timestamp) -> String {
    let is_of_time = |c: char| c.is_ascii_digit() || "-:.TZ".contains(c);
    let (mut short, mut rest) = (String::with_capacity(words.len()), words);
    while let Some(start) = rest.find(is_of_time) {
        let (before, found) = rest.split_at(start);
        let end = found.find(|c| !is_of_time(c)).unwrap_or(found.len());
        let (text, after) = found.split_at(end);
        short.push_str(before);
        match text.parse::<Timestamp>().ok().filter(|at| at.to_string() == text) {
            // The last instant that can be written stands for no end.
            Some(_) if text == Timestamp::MAX.to_string() => {
                short.push_str(&beside(Timestamp::MAX, now));
            }
            Some(at) => short.push_str(&beside(at, now)),
            None => short.push_str(text),
        }
        rest = after;
    }
    short + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_words_read_as_beside_now() {
        let now = Timestamp::EPOCH + std::time::Duration::from_secs(3600);
        let max = Timestamp::MAX;
        let words = format!("it (1970-01-01T00:30:00Z) waits until 1970-01-02T00:00:00Z, or {max}");

        let short = "it (00:30:00) waits until 1970-01-02T00:00:00Z, or further notice";
        assert_eq!(shortened(&words, now), short);
        for same in ["", "m-1 T-14 Z", "urn:gsma:imei:35622410-483840-0 is", "1970-01-01T00:30Z"] {
            assert_eq!(shortened(same, now), same);
        }
    }
}
