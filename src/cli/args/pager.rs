//! What may be typed after `deferd pager`.

use std::path::PathBuf;

use super::ShowAs;

/// `deferd pager`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Pager {
    /// The message, message/cpim; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub explain: PathBuf,

    /// The user's documents: rules and lists of refused senders, in any order
    #[arg(long, value_name = "FILE")]
    pub preferences: Vec<PathBuf>,

    /// A registered client, and its feature tags if they were told
    #[arg(long = "client", value_name = "NAME[=TAG,…]")]
    pub clients: Vec<String>,

    /// The user asked not to be disturbed
    #[arg(long)]
    pub undisturbed: bool,

    /// The authenticated sender; absent: who the message says it is from
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<String>,

    /// The sender's User-Agent
    #[arg(long, value_name = "TEXT")]
    pub user_agent: Option<String>,

    /// The sender wants to be anonymous
    #[arg(long)]
    pub anonymous: bool,

    /// As things are then; absent: now
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,

    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t = ShowAs::Table)]
    pub output: ShowAs,
}

const HELP: &str = "\
Says step by step what OMA CPM's procedure for pager mode comes to for this message: the answer to its
sender, and what is done with it, by which rule. Nothing is done. Keys of [pager] and [policy] count.

Exit codes: 0 it is taken; 1 it is refused, or a document cannot be read; 2 there is no such file.

Examples:
  deferd pager --explain hello.cpim --preferences rules.xml --client phone1=oma.cpm.msg
  deferd pager --explain hello.cpim --undisturbed --at 2026-11-21T23:00:00Z
  deferd pager --explain - --from tel:+15145550111 --output json < hello.cpim";
