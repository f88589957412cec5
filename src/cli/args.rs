//! What was typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

mod about;
mod ingest;

pub use about::{Completions, Config, ConfigAction, ConfigShow, Man, Schema, ShowAs};
pub use ingest::{Ek, From, Ingest, Jsonl, Shape};

/// Deferred delivery for telecom messaging: keeps messages for RCS/CPM users who cannot be reached,
/// watches their phones come back, and delivers by IP or by SMS at the right moment.
#[derive(Debug, Parser)]
#[command(name = "deferd", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Start with `deferd demo`. Every command has --help with examples.")]
pub struct Args {
    /// The config file; without one every key is at its default
    #[arg(long, global = true, value_name = "FILE", env = "DEFERD_CONFIG")]
    pub config: Option<PathBuf>,

    /// Set one key, such as policy.settle_seconds=0; beats environment and file
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Colour: on terminals only, unless NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run inputs through the engine in virtual time
    Simulate(Simulate),
    /// Turn what others know into inputs, or check inputs
    Ingest(Ingest),
    /// Check or show the configuration
    Config(Config),
    /// List the record types, or print their JSON Schemas
    Schema(Schema),
    /// Print the completions for a shell
    Completions(Completions),
    /// Print the manual
    Man(Man),
    /// Watch it work: short stories in virtual time, told in plain words
    Demo(Demo),
}

/// `deferd simulate`.
#[derive(Debug, clap::Args)]
#[command(after_help = SIMULATE_HELP)]
pub struct Simulate {
    /// CloudEvents, one a line; `-` reads standard input
    #[arg(value_name = "FILE.jsonl")]
    pub file: PathBuf,

    /// What becomes of attempts that the file says nothing of
    #[arg(long, value_enum, default_value_t = Outcomes::None)]
    pub outcomes: Outcomes,

    /// Print the journal records too
    #[arg(long)]
    pub journal: bool,

    /// Stop at this instant (RFC 3339) instead of when nothing is due any more
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

const SIMULATE_HELP: &str = "\
Inputs are taken in file order; alarms ring when they are due; nothing sleeps. What would have been
published comes out on standard output, one CloudEvent a line. Lines that cannot be used come out as
cpm.input.rejected, and their number on standard error. The same file gives the same output, byte for
byte.

Examples:
  deferd simulate events.jsonl
  deferd simulate events.jsonl --outcomes delivered --journal > run.jsonl
  deferd simulate events.jsonl --set policy.ip_wait_after_attach_seconds=10
  tshark -r trace.pcap -T ek … | deferd ingest ek - | deferd simulate -";

/// Modelled outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Outcomes {
    /// They time out
    None,
    /// Started at once, delivered a second later
    Delivered,
    /// Started at once, nobody answers a second later
    Absent,
}

/// `deferd demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = DEMO_HELP)]
pub struct Demo {
    /// Stories to tell, by name or number, with all their turns; without one: five for a first look
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    /// Tell all fifteen, with all their turns
    #[arg(long, conflicts_with = "names")]
    pub all: bool,

    /// List the stories and tell none
    #[arg(long)]
    pub list: bool,

    /// Where the journal goes; a file that is no journal of a demo is left alone
    #[arg(long, value_name = "FILE", default_value = "deferd-demo.jsonl")]
    pub journal: PathBuf,
}

const DEMO_HELP: &str = "\
The stories are the walk-throughs W-1 to W-15 of src/domain/rules.md, played by the engine that also
runs live: what the world does is given, what deferd does about it is what the engine decides. Nothing
sleeps. The journal that is left behind can be asked and replayed.

Examples:
  deferd demo
  deferd demo --list
  deferd demo airplane 4 W-8
  deferd demo --all --journal /tmp/all.jsonl";
