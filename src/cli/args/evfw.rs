//! What may be typed after `deferd evfw`.

use std::path::PathBuf;

use clap::Subcommand;

use super::ShowAs;

/// `deferd evfw`.
#[derive(Debug, clap::Args)]
pub struct Evfw {
    /// What to do with one
    #[command(subcommand)]
    pub action: EvfwAction,
}

/// What can be done with event reports.
#[derive(Debug, Subcommand)]
pub enum EvfwAction {
    /// Say whether a document can be read, and what is wrong with it where it cannot
    Check(EvfwCheck),
    /// Say what a document asks for, and what would follow
    Show(EvfwShow),
    /// Make a document
    Write(EvfwWrite),
}

/// `deferd evfw check`.
#[derive(Debug, clap::Args)]
#[command(after_help = CHECK_HELP)]
pub struct EvfwCheck {
    /// The document, application/vnd.oma.cpm-eventfw+xml; `-` reads standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Mend quotes first: curly ones in tags become straight, bare values get some; nothing else
    #[arg(long)]
    pub repair: bool,

    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t = ShowAs::Table)]
    pub output: ShowAs,
}

const CHECK_HELP: &str = "\
A document is read whole or not at all. What is sound, but not as we would write it, is said too:
other spellings, unknown elements, values that are passed over. What we write has the schema
schemas/cpm-evfw.xsd.

Exit codes: 0 it can be read; 1 it cannot, and the line says where and why; 2 there is no such file.

Examples:
  deferd evfw check report.xml
  deferd evfw check report.xml --repair
  deferd evfw check - --output json < report.xml";

/// `deferd evfw show`.
#[derive(Debug, clap::Args)]
#[command(after_help = SHOW_HELP)]
pub struct EvfwShow {
    /// The document; `-` reads standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Mend quotes first, as `check` does
    #[arg(long)]
    pub repair: bool,

    /// How the answer is written; JSON is what `write` takes
    #[arg(long, short, value_enum, default_value_t = ShowAs::Table)]
    pub output: ShowAs,
}

const SHOW_HELP: &str = "\
Events are listed in the order in which they count: what failed before what is ready. Nothing is
done.

Exit codes: 0 shown; 1 it cannot be read; 2 there is no such file.

Examples:
  deferd evfw show report.xml
  deferd evfw show report.xml --output json | deferd evfw write -";

/// `deferd evfw write`.
#[derive(Debug, clap::Args)]
#[command(after_help = WRITE_HELP)]
pub struct EvfwWrite {
    /// The report as JSON, as `show --output json` prints it; `-` reads standard input
    #[arg(value_name = "FILE.json", required_unless_present_any = ["failed", "ready"])]
    pub file: Option<PathBuf>,

    /// One event instead: the SMS of this message failed
    #[arg(long, value_name = "MESSAGE", conflicts_with_all = ["file", "ready"], requires = "user")]
    pub failed: Option<String>,

    /// One event instead: SMS works again for the user
    #[arg(long, conflicts_with = "file", requires = "user")]
    pub ready: bool,

    /// The user, in any form: tel:+15145550100, +1 514 555 0100
    #[arg(long, value_name = "USER", conflicts_with = "file")]
    pub user: Option<String>,

    /// Where: CS or PS, or a network's word such as SGs
    #[arg(long, value_name = "DOMAIN", default_value = "CS", conflicts_with = "file")]
    pub domain: String,

    /// Why it failed: absent, memory-full, …; an extension of ours
    #[arg(long, value_name = "CAUSE", requires = "failed")]
    pub cause: Option<String>,

    /// It was an MMS
    #[arg(long, requires = "failed")]
    pub mms: bool,

    /// Write `flag` instead of `flags`, for old peers
    #[arg(long)]
    pub flag: bool,

    /// Without white space between elements, for a SIP MESSAGE
    #[arg(long)]
    pub compact: bool,
}

const WRITE_HELP: &str = "\
Only what a strict document can say is written; what is missing for that is an error.

Examples:
  deferd evfw write --ready --user +15145550100 --domain PS
  deferd evfw write --failed m1 --user +15145550100 --cause absent
  deferd evfw show report.xml --output json | deferd evfw write - --compact";
