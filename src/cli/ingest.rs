//! `deferd ingest`: what others know becomes inputs, what cannot be used becomes a dead letter.

mod topics;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use self::topics::{Came, Incoming, Topics};
use super::args::{self, From, Shape};
use super::clock::WallClock;
use super::config::Loaded;
use super::lines::{Line, Lines};
use super::progress::Progress;
use super::{Answer, settings};
use crate::domain::time::Timestamp;
use crate::edge::ek::{Ek, Fact, Limits, tshark_arguments, tshark_arguments_layered};
use crate::engine::ports::Clock;
use crate::record::input::Rejected;
use crate::record::output::{Place, rejected};

/// Runs it.
///
/// # Errors
///
/// The file cannot be read, or an answer not be written.
pub(super) fn ingest(
    args: &args::Ingest,
    config: &Loaded,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    match &args.from {
        From::Ek(args) => ek(args, config, out),
        From::Jsonl(args) => jsonl(args, config, out),
    }
}

/// Packets in, reachability out. The time of a dead letter is that of the capture, so the same capture
/// gives the same bytes.
fn ek(args: &args::Ek, config: &Loaded, out: &mut dyn Write) -> anyhow::Result<Answer> {
    if let Some(shape) = args.tshark {
        writeln!(out, "{}", tshark(shape))?;
        return Ok(Answer::Done);
    }
    let Some(file) = &args.file else { return Ok(Answer::Done) };
    let limits = Limits::default();
    let lines = Lines::open(file, limits.line_bytes)?;
    let mut ek = Ek::new(settings(config)?.reader.home, args.source.clone(), limits);
    let to = way(args.to, config, out)?;
    let mut sink = Sink::new(lines.name(), args.rejected.as_deref(), to)?;
    let mut now = Timestamp::EPOCH;
    let answer = each(lines, &mut sink, |Line { number, bytes }, sink| {
        ek.line(number, &bytes).into_iter().try_for_each(|fact| sink.fact(fact, &bytes, &mut now))
    })?;
    for fact in ek.finish() {
        sink.fact(fact, &[], &mut now)?;
    }
    sink.finish("lines refused")?;
    Ok(answer)
}

/// The command whose output is read, for a shell.
fn tshark(shape: Shape) -> String {
    let arguments: Vec<_> = match shape {
        Shape::Fields => tshark_arguments().collect(),
        Shape::Layers => tshark_arguments_layered().collect(),
    };
    let mut command = "tshark".to_owned();
    for argument in arguments {
        command.push(' ');
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if argument.bytes().all(plain) {
            command.push_str(argument);
        } else {
            command.push_str(&format!("'{argument}'"));
        }
    }
    command
}

/// Inputs in, the same out in one form.
fn jsonl(args: &args::Jsonl, config: &Loaded, out: &mut dyn Write) -> anyhow::Result<Answer> {
    let reader = settings(config)?.reader;
    let lines = Lines::open(&args.file, reader.max_input_bytes)?;
    let to = way(args.to, config, out)?;
    let mut sink = Sink::new(lines.name(), args.rejected.as_deref(), to)?;
    let answer = each(lines, &mut sink, |Line { number, bytes }, sink| {
        let now = WallClock.now();
        match reader.normalise(&bytes, now) {
            Ok((kind, event)) => sink.event(kind.name(), &event),
            Err(why) => sink.refuse(&why, number, &bytes, now),
        }
    })?;
    let refused = sink.finish("lines refused")?;
    Ok(if args.strict && refused > 0 { Answer::No } else { answer })
}

fn way<'a>(
    to: Option<args::To>,
    config: &Loaded,
    out: &'a mut dyn Write,
) -> anyhow::Result<Way<'a>> {
    Ok(match to {
        None => Way::Out(out),
        Some(args::To::Kafka) => Way::Topics(Box::new(Topics::new(config)?)),
    })
}

/// Hands out every line; on the way to topics, until a person has had enough.
fn each(
    mut lines: Lines,
    sink: &mut Sink<'_>,
    mut each: impl FnMut(Line, &mut Sink<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<Answer> {
    let progress = Progress::of(&lines);
    if let Way::Topics(_) = sink.to {
        let mut incoming = Incoming::new(lines)?;
        let mut count = 0;
        loop {
            match incoming.next()? {
                Came::Line(line, bytes) => {
                    count += 1;
                    progress.passed(count, bytes);
                    each(line, sink)?;
                }
                // A tap may be quiet for long: what it said is sent now.
                Came::Nothing => sink.send()?,
                Came::End => return Ok(Answer::Done),
                Came::Enough => {
                    super::warn(&format!("stopped after {count} lines"));
                    return Ok(Answer::No);
                }
            }
        }
    }
    while let Some(line) = lines.next_line()? {
        each(line, sink)?;
        progress.tick(&lines);
    }
    Ok(Answer::Done)
}

/// Where events go.
enum Way<'a> {
    Out(&'a mut dyn Write),
    Topics(Box<Topics>),
}

/// Where events and dead letters go, and what was counted of them.
struct Sink<'a> {
    file: String,
    to: Way<'a>,
    letters: Option<(PathBuf, BufWriter<File>)>,
    events: BTreeMap<String, u64>,
    skipped: BTreeMap<String, u64>,
    refused: u64,
}

impl<'a> Sink<'a> {
    fn new(file: &str, letters: Option<&Path>, to: Way<'a>) -> anyhow::Result<Self> {
        let open = |path: &Path| -> anyhow::Result<_> {
            let file =
                File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            Ok((path.to_owned(), BufWriter::new(file)))
        };
        let letters = letters.map(open).transpose()?;
        let (events, skipped) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { file: file.to_owned(), to, letters, events, skipped, refused: 0 })
    }

    fn event(&mut self, kind: &str, event: &[u8]) -> anyhow::Result<()> {
        count(&mut self.events, kind);
        match &mut self.to {
            Way::Out(out) => {
                out.write_all(event)?;
                out.write_all(b"\n")?;
                Ok(())
            }
            Way::Topics(topics) => topics.event(event),
        }
    }

    /// Sends what waits for more.
    fn send(&mut self) -> anyhow::Result<()> {
        match &mut self.to {
            Way::Out(_) => Ok(()),
            Way::Topics(topics) => topics.send(),
        }
    }

    fn fact(&mut self, fact: Fact, line: &[u8], now: &mut Timestamp) -> anyhow::Result<()> {
        match fact {
            Fact::Event(event) => {
                let text = |field: &str| event.get(field)?.as_str();
                *now = text("time").and_then(|time| time.parse().ok()).unwrap_or(*now);
                let kind = text("type").unwrap_or_default();
                let kind = kind.strip_suffix(".v1").unwrap_or(kind);
                self.event(kind, event.to_string().as_bytes())
            }
            Fact::Rejected { line: number, reason } => {
                self.refuse(&Rejected::Probe(reason), number, line, *now)
            }
            Fact::Skipped(why) => {
                count(&mut self.skipped, &why.to_string());
                Ok(())
            }
        }
    }

    fn refuse(
        &mut self,
        why: &Rejected,
        line: u64,
        bytes: &[u8],
        at: Timestamp,
    ) -> anyhow::Result<()> {
        self.refused += 1;
        let place = Place::File { file: self.file.as_str().into(), line };
        let mut letter = rejected(why, &place, bytes, at).bytes;
        if let (None, Way::Topics(topics)) = (&self.letters, &mut self.to) {
            return topics.letter(&letter);
        }
        letter.push(b'\n');
        match (&mut self.letters, &mut self.to) {
            (Some((path, file)), _) => {
                let written = file.write_all(&letter);
                written.with_context(|| format!("cannot write {}", path.display()))
            }
            (None, Way::Out(out)) => Ok(out.write_all(&letter)?),
            (None, Way::Topics(_)) => Ok(()),
        }
    }

    /// Writes out what is left, and tells what was counted. How many lines were refused.
    fn finish(self, refused: &str) -> anyhow::Result<u64> {
        let arrived = match self.to {
            Way::Out(out) => out.flush().map_err(anyhow::Error::from),
            Way::Topics(topics) => topics.finish(),
        };
        if let Some((path, mut file)) = self.letters {
            file.flush().with_context(|| format!("cannot write {}", path.display()))?;
        }
        let skipped = self.skipped.into_iter().map(|(why, n)| (format!("skipped: {why}"), n));
        let mut rows: Vec<(String, u64)> = self.events.into_iter().chain(skipped).collect();
        if self.refused > 0 {
            rows.push((refused.to_owned(), self.refused));
        }
        if rows.is_empty() {
            rows.push(("nothing to read".to_owned(), 0));
        }
        let name = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let digits = rows.iter().map(|(_, n)| n.to_string().len()).max().unwrap_or(0);
        for (what, n) in rows {
            anstream::eprintln!("{what:name$}  {n:>digits$}");
        }
        arrived.map(|()| self.refused)
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(n) => *n += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}
