//! `deferd demo`: the walk-throughs of `rules.md` 3.11, played by the real engine in virtual time.
//!
//! What the world does is written down; what deferd does about it is what the engine decided, in plain
//! words. Each story has a user and a stretch of time of its own: they share one journal.

mod more_stories;
mod narrator;
mod stories;
mod story;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::json;

use self::narrator::Narrator;
use self::story::{Attempt, Say, Step, Story, Tale};
use super::args;
use super::config::Loaded;
use super::simulation::{Missed, Outcomes, Progress, Simulation};
use super::{Answer, settings};
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;
use crate::record::journal::Record;

/// The five that say most, for a first look.
const FIRST_LOOK: [u8; 5] = [1, 2, 3, 4, 8];
/// Inputs come from a "file" of this name: it tells a demo's journal from any other.
const NAME: &str = "demo";
/// In which a demo's journal has that name.
const MARK: &str = "\"pos\":\"file:demo/";

/// Tells the stories.
///
/// # Errors
///
/// There is no such story; the journal is not the demo's, or cannot be written.
pub(super) fn demo(
    args: &args::Demo,
    config: &Loaded,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let chosen = chosen(args)?;
    if args.list {
        narrator::list(&chosen, out)?;
        return Ok(Answer::Done);
    }
    check_journal(&args.journal)?;
    let mut settings = settings(config)?;
    // Without jitter, so that every time is the one that the rules name.
    settings.policy = settings.policy.with("jitter_percent", "0")?;
    let policy = settings.policy.clone();
    let mut stage = Stage::new(policy, Simulation::new(settings, Outcomes::None)?);
    narrator::opening(out)?;
    let whole = args.all || !args.names.is_empty();
    for story in &chosen {
        narrator::headline(story, out)?;
        let tales = if whole { story.tales } else { story.tales.get(..1).unwrap_or_default() };
        for (variant, tale) in tales.iter().enumerate() {
            stage.play(story, variant, tale, out)?;
        }
    }
    stage.close()?;
    std::fs::write(&args.journal, &stage.journal)
        .with_context(|| format!("cannot write {}", args.journal.display()))?;
    let last = chosen.iter().rev().find(|story| story.number == 4).or_else(|| chosen.last());
    narrator::closing(&args.journal, last.copied(), whole, stage.told, out)?;
    Ok(Answer::Done)
}

/// All stories, in order.
fn all() -> impl Iterator<Item = &'static Story> {
    stories::FIRST.iter().chain(more_stories::REST.iter())
}

/// The stories that were asked for, in the order of their numbers: their journal has one time.
fn chosen(args: &args::Demo) -> anyhow::Result<Vec<&'static Story>> {
    for name in &args.names {
        if !all().any(|story| is_called(story, name)) {
            let names: Vec<&str> = all().map(|story| story.name).collect();
            bail!("no story is called `{name}`, expected 1 to 15 or one of {}", names.join(", "));
        }
    }
    let asked = |story: &&Story| {
        if !args.names.is_empty() {
            return args.names.iter().any(|name| is_called(story, name));
        }
        args.all || args.list || FIRST_LOOK.contains(&story.number)
    };
    Ok(all().filter(asked).collect())
}

/// `airplane`, `1` or `W-1`.
fn is_called(story: &Story, name: &str) -> bool {
    let number = name.strip_prefix(['W', 'w']).map_or(name, |rest| rest.trim_start_matches('-'));
    story.name == name || number.parse() == Ok(story.number)
}

/// A journal that is there is written over only if it is a demo's.
fn check_journal(path: &Path) -> anyhow::Result<()> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
                bail!("cannot write {}: there is no folder {}", path.display(), folder.display());
            }
            return Ok(());
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot write {}", path.display()));
        }
    };
    let beginning = text.get(..text.len().min(1 << 16)).unwrap_or_default();
    if !text.is_empty() && !String::from_utf8_lossy(beginning).contains(MARK) {
        bail!(
            "{} is there and no journal of a demo: it stays as it is; name another with --journal FILE",
            path.display()
        );
    }
    Ok(())
}

/// Where the stories are played, one after the other.
struct Stage {
    simulation: Simulation,
    /// What the engine decides by while nothing else is said.
    policy: Policy,
    /// What it decides by now.
    digest: String,
    lines: u64,
    /// The journal so far, one record a line.
    journal: Vec<u8>,
    /// How messages of the stories told so far ended.
    told: Told,
}

/// Counts, for the end.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    messages: u32,
    by_ip: u32,
    by_sms: u32,
}

/// A tale under way.
struct Scene<'a> {
    narrator: Narrator<'a>,
    user: String,
    /// Midnight of the story.
    zero: Timestamp,
    /// What gateways were asked for.
    attempts: Vec<Attempt>,
    /// What nobody reads while deferd is stopped; `None` while it runs.
    missed: Option<Vec<Missed>>,
}

impl Stage {
    fn new(policy: Policy, simulation: Simulation) -> Self {
        Self {
            simulation,
            digest: policy.digest(),
            policy,
            lines: 0,
            journal: Vec::new(),
            told: Told::default(),
        }
    }

    /// Plays one tale until the last of its messages is over.
    fn play(
        &mut self,
        story: &Story,
        variant: usize,
        tale: &Tale,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let zero = zero(story, variant)?;
        let user = user(story, variant);
        let mut scene = Scene {
            narrator: Narrator::new(zero, out),
            user,
            zero,
            attempts: Vec::new(),
            missed: None,
        };
        if let Some(first) = tale.steps.first() {
            self.run_to(scene.time(first), None)?;
        }
        self.decide_by(tale)?;
        scene.narrator.tale(tale.or, tale.policy, &scene.user)?;
        for step in tale.steps {
            self.step(&mut scene, step)?;
        }
        let last = tale.steps.last().map_or(zero, |step| scene.time(step));
        // What is still open by then ends within two days, or the story would have no end.
        self.run_to(last + std::time::Duration::from_secs(2 * 86_400), Some(&mut scene))?;
        let told = scene.narrator.end()?;
        self.told.messages += told.messages;
        self.told.by_ip += told.by_ip;
        self.told.by_sms += told.by_sms;
        Ok(())
    }

    /// The policy of this tale, journalled if it is another than that of the tale before.
    fn decide_by(&mut self, tale: &Tale) -> anyhow::Result<()> {
        let mut policy = self.policy.clone();
        for (key, value) in tale.policy {
            policy = policy.with(key, value)?;
        }
        let digest = policy.digest();
        if digest != self.digest {
            self.simulation.worker().only().change_policy(policy, None);
            self.digest = digest;
        }
        Ok(())
    }

    /// One step of the world: first what falls due before it, then it, then what follows at once.
    fn step(&mut self, scene: &mut Scene<'_>, step: &Step) -> anyhow::Result<()> {
        let time = scene.time(step);
        if scene.missed.is_none() {
            self.run_to(time, Some(scene))?;
        }
        let Some((kind, data)) = step.say.input(time, &scene.attempts) else {
            return match step.say {
                Say::Stops => {
                    scene.missed = Some(Vec::new());
                    scene.narrator.world(step)
                }
                Say::Returns => {
                    scene.narrator.world(step)?;
                    let missed = scene.missed.take().unwrap_or_default();
                    let progress = self.simulation.catch_up(NAME, time, missed)?;
                    self.tell(&progress, Some(scene))
                }
                // An answer to an attempt that another policy never made.
                Say::Message(_)
                | Say::Cs
                | Say::Ps
                | Say::Registered(..)
                | Say::Gone(_)
                | Say::Ready(_)
                | Say::Outcome(..)
                | Say::Report(..) => Ok(()),
            };
        };
        scene.narrator.world(step)?;
        self.lines += 1;
        let event = json!({
            "specversion": "1.0",
            "id": self.lines.to_string(),
            "source": "/deferd/demo",
            "type": kind,
            "subject": scene.user,
            "time": time.to_string(),
            "data": data,
        });
        let bytes = event.to_string().into_bytes();
        if let Some(missed) = &mut scene.missed {
            missed.push(Missed { line: self.lines, logged: time, bytes });
            return Ok(());
        }
        let progress = self.simulation.take(NAME, self.lines, &bytes)?;
        self.tell(&progress, Some(scene))
    }

    /// Everything that falls due before `time`.
    fn run_to(&mut self, time: Timestamp, scene: Option<&mut Scene<'_>>) -> anyhow::Result<()> {
        let just_before = time - std::time::Duration::from_millis(1);
        let progress = self.simulation.finish(Some(just_before))?;
        self.tell(&progress, scene)
    }

    /// What is left to do when all stories are told goes into the journal, untold.
    fn close(&mut self) -> anyhow::Result<()> {
        let progress = self.simulation.finish(None)?;
        self.tell(&progress, None)
    }

    /// Keeps the records, and has those of the tale told.
    fn tell(
        &mut self,
        progress: &Progress,
        mut scene: Option<&mut Scene<'_>>,
    ) -> anyhow::Result<()> {
        if let Some(scene) = &mut scene {
            for output in &progress.outputs {
                scene.note(&output.bytes);
            }
        }
        for line in &progress.journal {
            self.journal.extend_from_slice(line);
            self.journal.push(b'\n');
            let Some(scene) = &mut scene else { continue };
            let record = Record::read(line)?;
            if record.user.as_deref() == Some(&*scene.user) {
                scene.narrator.deferd(&record)?;
            }
        }
        Ok(())
    }
}

impl Scene<'_> {
    fn time(&self, step: &Step) -> Timestamp {
        Timestamp::from_millis(self.zero.as_millis() + step.at)
    }

    /// Remembers under which id a gateway will answer.
    fn note(&mut self, output: &[u8]) {
        #[derive(Deserialize)]
        struct Command {
            data: Attempt,
        }
        if let Ok(Command { data }) = serde_json::from_slice(output) {
            self.attempts.push(data);
        }
    }
}

/// Midnight of a story: the first of a month, and every sixth day from there where it goes otherwise.
fn zero(story: &Story, variant: usize) -> anyhow::Result<Timestamp> {
    let months = usize::from(story.number - 1);
    let (year, month, day) = (2025 + months / 12, months % 12 + 1, 1 + 6 * variant);
    Ok(format!("{year}-{month:02}-{day:02}T00:00:00Z").parse()?)
}

/// The fictional number of a story's user.
fn user(story: &Story, variant: usize) -> String {
    format!("tel:+141555501{:02}", usize::from(story.number) + 20 * variant)
}
