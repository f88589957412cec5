//! What was typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

mod about;
mod client;
mod doctor;
mod evfw;
mod ingest;
mod pager;
mod run;
mod topics;

pub use about::{Completions, Config, ConfigAction, ConfigShow, Man, Schema, ShowAs};
pub use client::{
    Daemon, DeadLetters, Ended, Hand, LettersAction, LettersList, LettersRetry, Message,
    MessageAction, MessageChange, MessageShow, Observe, Outcome, PreferencesAction, PreferencesSet,
    Seen, Submit, To, Toward, User, UserAction, UserChange, UserList, UserPreferences, UserShow,
};
pub use doctor::Doctor;
pub use evfw::{Evfw, EvfwAction, EvfwCheck, EvfwShow, EvfwWrite};
pub use ingest::{Ek, From, Ingest, Jsonl, Shape};
pub use pager::Pager;
pub use run::Run;
pub use topics::{Topics, TopicsAction, TopicsCheck, TopicsCreate};

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
    /// Run the daemon
    Run(Run),
    /// Hand a message in to the daemon
    Submit(Submit),
    /// Tell the daemon what was seen of a phone
    Observe(Observe),
    /// Tell the daemon how a delivery ended
    Outcome(Outcome),
    /// What the daemon knows of a user; hold, release or retry
    User(User),
    /// Where a message stands; cancel, retry or expire it
    Message(Message),
    /// Inputs that nobody could use: list them, or hand them in again
    DeadLetters(DeadLetters),
    /// Run inputs through the engine in virtual time
    Simulate(Simulate),
    /// Turn what others know into inputs, or check inputs
    Ingest(Ingest),
    /// Event reports of gateways and clients: check, show or write one
    Evfw(Evfw),
    /// Say what becomes of a message in pager mode, step by step
    Pager(Pager),
    /// Check or show the configuration
    Config(Config),
    /// Say whether this set-up is sound, and what to do where it is not
    Doctor(Doctor),
    /// The topics of a Kafka cluster: make them, or say whether they are safe
    Topics(Topics),
    /// List the record types, or print their JSON Schemas
    Schema(Schema),
    /// Print the completions for a shell
    Completions(Completions),
    /// Print the manual
    Man(Man),
    /// Watch it work: short stories in virtual time, told in plain words
    Demo(Demo),
    /// Read a journal: what happened, what was decided, what was known when; it never acts
    Replay(Replay),
    /// Why a message still waits, and what would release it; or how it ended
    Why(Why),
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
/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Table,
    /// One JSON value
    Json,
    /// One JSON object a line
    Jsonl,
}

/// `deferd replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = REPLAY_HELP)]
pub struct Replay {
    /// A data directory, whether or not its daemon runs; `kafka:`, the journal topic of [kafka]; or a
    /// file, one record a line, as `simulate --journal` and `replay --export` write it; `-` reads standard
    /// input. Without this, the journal of this configuration
    #[arg(value_name = "DIR|kafka:|FILE.jsonl")]
    pub file: Option<PathBuf>,

    /// Only this partition of a data directory or a topic: a seq is counted in each
    #[arg(long, value_name = "N", conflicts_with = "user")]
    pub partition: Option<u32>,

    /// Only this user, in any form: tel:+15145550100, +1 514 555 0100, sip:alice@example.com
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,

    /// Only this message, and what was known of its user while it waited
    #[arg(long, value_name = "ID")]
    pub message: Option<String>,

    /// From here: a time (RFC 3339) or a seq
    #[arg(long, value_name = "TIME|SEQ", conflicts_with_all = ["at", "diff", "verify"])]
    pub from: Option<String>,

    /// Up to and including here: a time or a seq
    #[arg(long, value_name = "TIME|SEQ", conflicts_with_all = ["at", "diff"])]
    pub until: Option<String>,

    /// What was known then, how old it was, and what was due when: after this seq, or at this time
    #[arg(long, value_name = "TIME|SEQ", conflicts_with_all = ["diff", "verify", "export"])]
    pub at: Option<String>,

    /// What changed between two points, each a time or a seq
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["verify", "export"])]
    pub diff: Option<Vec<String>>,

    /// Decide every recorded input again and compare; exit code 1 where anything differs
    #[arg(long, conflicts_with = "export")]
    pub verify: bool,

    /// With --verify: records of other rules and a file that ends inside a record count as differences
    #[arg(long, requires = "verify")]
    pub strict: bool,

    /// Write the records of a user or a message, or of a span, to a file that replay reads again
    #[arg(long, value_name = "OUT.jsonl")]
    pub export: Option<PathBuf>,

    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,

    /// Show and export the content of messages too; without this only its size
    #[arg(long)]
    pub with_content: bool,
}

const REPLAY_HELP: &str = "\
A journal says what happened, and what followed. Without --user and --message this shows what is in it.
Outputs that stand between its records, as `simulate --journal` prints them, are passed over. Of a data
directory that a daemon writes, what is durable when the command starts is read, and nothing is changed.

Exit codes: 0 done; 1 --verify found a difference; 2 the journal cannot be read, or a wrong option.

Examples:
  deferd simulate events.jsonl --journal > run.jsonl
  deferd replay run.jsonl
  deferd replay run.jsonl --user +15145550100
  deferd replay run.jsonl --message m1 --output jsonl
  deferd replay run.jsonl --user +15145550100 --at 2026-11-21T08:10:05Z
  deferd replay run.jsonl --user +15145550100 --diff 3 5
  deferd replay run.jsonl --verify
  deferd replay /var/lib/deferd --user +15145550100
  deferd replay kafka: --verify --config /etc/deferd.toml
  deferd replay run.jsonl --user +15145550100 --export one-user.jsonl";

/// `deferd why`.
#[derive(Debug, clap::Args)]
#[command(after_help = WHY_HELP)]
pub struct Why {
    /// The message, by the id its sender gave it
    #[arg(value_name = "MESSAGE")]
    pub message: String,

    /// Its user, where several have a message of this id
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,

    /// The journal to read instead of asking the daemon: a data directory, whether or not its daemon
    /// runs, `kafka:`, or a file; `-` reads standard input, and needs --user. With log=kafka, and without
    /// --url, the journal topic is read
    #[arg(long, value_name = "DIR|kafka:|FILE.jsonl", conflicts_with = "url")]
    pub journal: Option<PathBuf>,

    /// As things stood then: after this seq, or at this time; absent: at the journal's end
    #[arg(long, value_name = "TIME|SEQ", conflicts_with = "url")]
    pub at: Option<String>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "the help of each argument is its own")]
    pub daemon: Daemon,

    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

const WHY_HELP: &str = "\
Says where the message stands, since when and because of what, what stands in its way, and what would
release it, each with the rule it comes from. Of a message that ended: how, when, and by which step.

Exit codes: 0 answered; 1 the journal knows no such message; 2 it could not be answered.

Examples:
  deferd why m1
  deferd why m1 --journal run.jsonl
  deferd why m1 --journal /var/lib/deferd
  deferd why m1 --journal run.jsonl --user +15145550100 --at 2026-11-21T08:10:05Z
  deferd why m1 --journal run.jsonl --output json";
