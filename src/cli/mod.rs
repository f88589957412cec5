//! What a person types: parse, run, print; everything else stands in the rooms to the left.

mod about;
pub mod args;
mod by_hand;
mod client;
pub mod clock;
pub mod config;
mod configuration;
mod demo;
mod doctor;
mod evfw;
mod hand_in;
mod ingest;
mod journal;
mod known;
mod letters;
mod lines;
pub mod measures;
mod pager;
mod preferences;
mod progress;
mod recipient;
mod replay;
mod run;
mod simulate;
pub mod simulation;
mod topics;
mod why;

use std::io::Write;

use anyhow::Context;

use self::args::{Args, Command};
use self::config::{Config, Loaded};
use crate::domain::address::Home;
use crate::engine::worker::Settings;
use crate::log::kafka::Cluster;
use crate::record::input::Reader;

/// What a command has to say with its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done: 0.
    Done,
    /// It ran, and the answer is no: 1.
    No,
}

/// Runs what was typed; answers go to `out`.
///
/// # Errors
///
/// It could not be done, or was typed wrong: exit code 2.
pub fn run(
    args: &Args,
    env: impl Iterator<Item = (String, String)>,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    // DEFERD_CONFIG is the flag's, and no key.
    let env: Vec<_> = env.filter(|(name, _)| name != "DEFERD_CONFIG").collect();
    let mut sets = args.set.clone();
    if let Command::Run(args) = &args.command {
        sets.extend(args.sets());
    }
    if let Command::Doctor(args) = &args.command {
        sets.extend(args.sets());
    }
    let load = || Config::load(args.config.as_deref(), env.iter().cloned(), &sets);
    let config = load();
    for warning in config.iter().flat_map(|config| &config.warnings) {
        warn(warning);
    }
    match &args.command {
        Command::Run(args) => run::run(args, config, &load),
        Command::Submit(args) => hand_in::submit(args, &config?, out),
        Command::Observe(args) => hand_in::observe(args, &config?, out),
        Command::Outcome(args) => hand_in::outcome(args, &config?, out),
        Command::User(args) => by_hand::user(args, &config?, out),
        Command::Message(args) => by_hand::message(args, &config?, out),
        Command::DeadLetters(args) => letters::dead_letters(args, &config?, out),
        Command::Simulate(args) => simulate::simulate(args, &config?, out),
        Command::Ingest(args) => ingest::ingest(args, &config?, out),
        Command::Evfw(args) => evfw::evfw(args, &config?, out),
        Command::Pager(args) => pager::pager(args, &config?, out),
        Command::Config(args) => configuration::configuration(args, config, out),
        Command::Doctor(args) => doctor::doctor(args, config, out),
        Command::Topics(args) => topics::topics(args, &config?, out),
        // These say the same whatever is configured, so a bad config does not stop them.
        Command::Schema(args) => about::schema(args, out),
        Command::Completions(args) => about::completions(args, out),
        Command::Man(args) => about::man(args, out),
        Command::Demo(args) => demo::demo(args, &config?, out),
        Command::Replay(args) => replay::replay(args, &config?, out),
        Command::Why(args) => why::why(args, &config?, out),
    }
}

/// A configuration that no daemon can run with: exit code 78.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct BadConfig(pub anyhow::Error);

/// What the engine is started with, by this config.
fn settings(config: &Loaded) -> anyhow::Result<Settings> {
    let config = &config.config;
    let home = Home::new(config.home_country_code.as_deref(), &config.home_domains)
        .context("home_country_code, home_domains")?;
    let reader = Reader { home, max_input_bytes: config.max_input_bytes as usize };
    let mut policy = config.policy.clone();
    policy.on_store_failure = config.pager.on_store_failure;
    policy.literal_imdn_rules = config.pager.literal_imdn_rules;
    policy.ucn_texts = config.ucn.texts.iter().map(|text| text.as_str().into()).collect();
    Ok(Settings { reader, policy, partitions: None })
}

/// The Kafka cluster of this config; nobody is asked anything yet.
fn cluster(config: &Config) -> anyhow::Result<Cluster> {
    let cluster = config.kafka.cluster()?;
    cluster.check_settings().context("[kafka]")?;
    Ok(cluster)
}

/// Says something to the person, beside the answer.
fn warn(text: &str) {
    anstream::eprintln!("deferd: {text}");
}
