//! `deferd ingest …`, as typed.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::To;

/// `deferd ingest`.
#[derive(Debug, clap::Args)]
pub struct Ingest {
    /// What comes in
    #[command(subcommand)]
    pub from: From,
}

/// The forms that facts come in.
#[derive(Debug, Subcommand)]
pub enum From {
    /// Turn what tshark sees on a tap into reachability
    Ek(Ek),
    /// Check and normalise CloudEvents of ours
    Jsonl(Jsonl),
}

/// `deferd ingest ek`.
#[derive(Debug, clap::Args)]
#[command(after_help = EK_HELP)]
pub struct Ek {
    /// Lines of `tshark -T ek`; `-` reads standard input
    #[arg(value_name = "FILE", required_unless_present = "tshark")]
    pub file: Option<PathBuf>,

    /// The `source` of the events: which tap this is
    #[arg(long, value_name = "NAME", default_value = "/probe/ek")]
    pub source: String,

    /// Write refused lines here, and not among the events
    #[arg(long, value_name = "FILE")]
    pub rejected: Option<PathBuf>,

    /// Hand the events to their topics instead of writing them out; refused lines go to cpm.dead-letters
    #[arg(long, value_enum, value_name = "WHERE")]
    pub to: Option<To>,

    /// Print the tshark command whose output this reads, and do nothing else
    #[arg(
        long,
        value_enum,
        value_name = "SHAPE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "fields"
    )]
    pub tshark: Option<Shape>,
}

/// The shapes in which tshark writes a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// One value after the other: small, for packets of one message each
    Fields,
    /// A layer a protocol: up to twelve times as much, for links that pack several messages
    Layers,
}

const EK_HELP: &str = "\
SIP registrations, MAP, Diameter (S6a, S6c, Cx, Sh), GSUP and SMPP become cpm.ims.*, cpm.cs.*, cpm.ps.*
and cpm.sms.* events on standard output, one a line. A fact is told when its procedure succeeded; one
about an IMSI waits up to 60 s of the capture until its number is seen. Lines that are no output of
tshark come out as cpm.input.rejected. What was counted stands on standard error at the end.

Examples:
  # The command whose output this reads; add -r FILE or -i INTERFACE:
  deferd ingest ek --tshark
  # A capture, turned into events:
  eval \"$(deferd ingest ek --tshark)\" -r trace.pcap | deferd ingest ek - > reachability.jsonl
  # The same, run through the engine behind some messages:
  eval \"$(deferd ingest ek --tshark)\" -r trace.pcap | deferd ingest ek - \\
      | cat messages.jsonl - | deferd simulate - --outcomes delivered
  # A tap that feeds a cluster; Ctrl-C ends it when all that was seen is there:
  eval \"$(deferd ingest ek --tshark)\" -i any -l | deferd ingest ek - --to kafka
  # Numbers without a country code, seen in Canada:
  deferd ingest ek packets.jsonl --set home_country_code=1 --source /probe/ek/montreal";

/// `deferd ingest jsonl`.
#[derive(Debug, clap::Args)]
#[command(after_help = JSONL_HELP)]
pub struct Jsonl {
    /// CloudEvents, one a line; `-` reads standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Write refused lines here, and not among the others
    #[arg(long, value_name = "FILE")]
    pub rejected: Option<PathBuf>,

    /// Hand the events to their topics instead of writing them out; refused lines go to cpm.dead-letters
    #[arg(long, value_enum, value_name = "WHERE")]
    pub to: Option<To>,

    /// Exit with 1 if a line was refused
    #[arg(long)]
    pub strict: bool,
}

const JSONL_HELP: &str = "\
Each line is checked as the engine would check it, now. What can be used comes out in the same order,
in one form: the user as tel:+15145550100, times in UTC, the fields that are known and no others. What
cannot be used comes out as cpm.input.rejected with the reason and its line. How many there were of
each stands on standard error.

Examples:
  deferd ingest jsonl events.jsonl > clean.jsonl
  deferd ingest jsonl events.jsonl --rejected refused.jsonl | deferd simulate -
  deferd ingest jsonl events.jsonl --strict > /dev/null && echo good
  deferd ingest jsonl events.jsonl --to kafka";
