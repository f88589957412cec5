//! `deferd simulate`: inputs through the engine in virtual time.

use std::io::Write;

use anyhow::Context;

use super::args;
use super::config::Loaded;
use super::lines::{Line, Lines};
use super::simulation::{Outcomes, Progress, Simulation};
use super::{Answer, settings};
use crate::domain::time::Timestamp;

/// Runs it.
///
/// # Errors
///
/// The file cannot be read, `--until` is no time, or standard output cannot be written.
pub(super) fn simulate(
    args: &args::Simulate,
    config: &Loaded,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let until = args.until.as_deref().map(time).transpose()?;
    let outcomes = match args.outcomes {
        args::Outcomes::None => Outcomes::None,
        args::Outcomes::Delivered => Outcomes::Delivered,
        args::Outcomes::Absent => Outcomes::Absent,
    };
    let settings = settings(config)?;
    let most = settings.reader.max_input_bytes;
    let mut simulation = Simulation::new(settings, outcomes)?;
    let mut lines = Lines::open(&args.file, most)?;
    let name = lines.name().to_owned();
    let mut rejected = 0;
    let bar = super::progress::Progress::of(&lines);
    while let Some(Line { number, bytes }) = lines.next_line()? {
        bar.tick(&lines);
        let progress = simulation.take(&name, number, &bytes)?;
        rejected += progress.done.rejected;
        print(&progress, args.journal, out)?;
    }
    bar.finish();
    let progress = simulation.finish(until)?;
    print(&progress, args.journal, out)?;
    out.flush()?;
    if lines.count() == 0 {
        super::warn(&format!("{name} is empty: expected CloudEvents, one a line"));
    }
    if rejected > 0 {
        super::warn(&format!("{rejected} of {} inputs rejected", lines.count()));
    }
    Ok(Answer::Done)
}

/// A time as typed.
pub(super) fn time(text: &str) -> anyhow::Result<Timestamp> {
    text.parse().with_context(|| format!("`{text}`"))
}

fn print(progress: &Progress, journal: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    if journal {
        for line in &progress.journal {
            out.write_all(line)?;
            out.write_all(b"\n")?;
        }
    }
    for output in &progress.outputs {
        out.write_all(&output.bytes)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}
