//! What may be typed after `deferd topics`.

use clap::Subcommand;

use super::ShowAs;

/// `deferd topics`.
#[derive(Debug, clap::Args)]
pub struct Topics {
    /// What about them
    #[command(subcommand)]
    pub action: TopicsAction,
}

/// What can be done about topics.
#[derive(Debug, Subcommand)]
pub enum TopicsAction {
    /// Make those that are missing, set so that nothing is lost
    Create(TopicsCreate),
    /// Say whether they are there, safe, and ours to use, and what to do where they are not
    Check(TopicsCheck),
}

/// `deferd topics create`.
#[derive(Debug, clap::Args)]
#[command(after_help = CREATE_HELP)]
pub struct TopicsCreate {
    /// How many partitions each gets; 8, or as many as those have that are there. They cannot be
    /// changed later: each is served by one thread, so have as many as there may ever be threads
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub partitions: Option<u32>,

    /// How many brokers have a copy; 3, or as many as there are brokers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub replication: Option<u32>,

    /// Only ask the cluster whether it would
    #[arg(long)]
    pub dry_run: bool,

    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t = ShowAs::Table)]
    pub output: ShowAs,
}

const CREATE_HELP: &str = "\
The cluster is that of the keys of [kafka]. What is there already is left as it is: `deferd topics
check` judges it.

Exit codes: 0 all are there; 2 it could not be done.

Examples:
  deferd topics create --set kafka.brokers=k1:9092,k2:9092 --partitions 12
  deferd --config /etc/deferd/deferd.toml topics create --dry-run
  deferd topics create --set kafka.prefix=lab. --replication 1";

/// `deferd topics check`.
#[derive(Debug, clap::Args)]
#[command(after_help = CHECK_HELP)]
pub struct TopicsCheck {
    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t = ShowAs::Table)]
    pub output: ShowAs,
}

const CHECK_HELP: &str = "\
Looks at partitions, copies and settings of each topic, and tries whether this user may read, commit and
write what the daemon must: with transactions that are aborted, so that nobody reads anything of it. Each
finding says what is wrong, what comes of it, and what to type; the commands are Kafka's own.

Exit codes: 0 nothing is bad; 1 something is; 2 it could not be looked at.

Examples:
  deferd topics check
  deferd --config /etc/deferd/deferd.toml topics check
  deferd topics check --output json | jq '.[] | select(.verdict == \"bad\")'";
