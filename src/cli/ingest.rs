//! `deferd ingest`: what others know becomes inputs, what cannot be used becomes a dead letter.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

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
    let mut lines = Lines::open(file, limits.line_bytes)?;
    let mut ek = Ek::new(settings(config)?.reader.home, args.source.clone(), limits);
    let mut sink = Sink::new(lines.name(), args.rejected.as_deref(), out)?;
    let mut now = Timestamp::EPOCH;
    let progress = Progress::of(&lines);
    while let Some(Line { number, bytes }) = lines.next_line()? {
        for fact in ek.line(number, &bytes) {
            sink.fact(fact, &bytes, &mut now)?;
        }
        progress.tick(&lines);
    }
    for fact in ek.finish() {
        sink.fact(fact, &[], &mut now)?;
    }
    progress.finish();
    sink.finish("lines refused")?;
    Ok(Answer::Done)
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
    let mut lines = Lines::open(&args.file, reader.max_input_bytes)?;
    let mut sink = Sink::new(lines.name(), args.rejected.as_deref(), out)?;
    let progress = Progress::of(&lines);
    while let Some(Line { number, bytes }) = lines.next_line()? {
        let now = WallClock.now();
        match reader.normalise(&bytes, now) {
            Ok((kind, event)) => sink.event(kind.name(), &event)?,
            Err(why) => sink.refuse(&why, number, &bytes, now)?,
        }
        progress.tick(&lines);
    }
    progress.finish();
    let refused = sink.finish("lines refused")?;
    Ok(if args.strict && refused > 0 { Answer::No } else { Answer::Done })
}

/// Where events and dead letters go, and what was counted of them.
struct Sink<'a> {
    file: String,
    out: &'a mut dyn Write,
    letters: Option<(PathBuf, BufWriter<File>)>,
    events: BTreeMap<String, u64>,
    skipped: BTreeMap<String, u64>,
    refused: u64,
}

impl<'a> Sink<'a> {
    fn new(file: &str, letters: Option<&Path>, out: &'a mut dyn Write) -> anyhow::Result<Self> {
        let open = |path: &Path| -> anyhow::Result<_> {
            let file =
                File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            Ok((path.to_owned(), BufWriter::new(file)))
        };
        let letters = letters.map(open).transpose()?;
        let (events, skipped) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { file: file.to_owned(), out, letters, events, skipped, refused: 0 })
    }

    fn event(&mut self, kind: &str, event: &[u8]) -> anyhow::Result<()> {
        count(&mut self.events, kind);
        self.out.write_all(event)?;
        self.out.write_all(b"\n")?;
        Ok(())
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
        letter.push(b'\n');
        match &mut self.letters {
            Some((path, file)) => file
                .write_all(&letter)
                .with_context(|| format!("cannot write {}", path.display()))?,
            None => self.out.write_all(&letter)?,
        }
        Ok(())
    }

    /// Writes out what is left, and tells what was counted. How many lines were refused.
    fn finish(self, refused: &str) -> anyhow::Result<u64> {
        self.out.flush()?;
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
        Ok(self.refused)
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
