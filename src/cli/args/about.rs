//! What the program says about itself, as typed: `config`, `schema`, `completions`, `man`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

/// `deferd config`.
#[derive(Debug, clap::Args)]
pub struct Config {
    /// What to do with it
    #[command(subcommand)]
    pub action: ConfigAction,
}

/// What can be done with a configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Say whether the configuration is good
    #[command(after_help = CHECK_HELP)]
    Check,
    /// Print what is in force
    Show(ConfigShow),
}

const CHECK_HELP: &str = "\
The file, the environment and --set are read as every command reads them. Exits with 0 if all is well,
1 if something must change (the line says what and where), 2 if the file cannot be read.

Examples:
  deferd --config /etc/deferd/deferd.toml config check
  deferd config check --set policy.settle_seconds=5";

/// `deferd config show`.
#[derive(Debug, clap::Args)]
#[command(after_help = SHOW_HELP)]
pub struct ConfigShow {
    /// Say of each key who gave it its value
    #[arg(long)]
    pub origin: bool,

    /// The form of the answer
    #[arg(long, short, value_enum, default_value_t = ShowAs::Table)]
    pub output: ShowAs,
}

/// Forms of `config show` and `doctor`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ShowAs {
    /// Lines for people; of `config show` they are a config file too
    #[default]
    Table,
    /// One JSON value
    Json,
}

const SHOW_HELP: &str = "\
Examples:
  deferd config show
  DEFERD_POLICY__SETTLE_SECONDS=5 deferd config show --origin
  deferd config show --output json | jq '.\"policy.settle_seconds\"'";

/// `deferd schema`.
#[derive(Debug, clap::Args)]
#[command(after_help = SCHEMA_HELP)]
pub struct Schema {
    /// Print the JSON Schema of this type, such as cpm.message.submitted
    #[arg(value_name = "TYPE", conflicts_with = "dir")]
    pub kind: Option<String>,

    /// Write every schema into this directory, a file a type
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

const SCHEMA_HELP: &str = "\
Without TYPE and --dir it lists the types, each with the topic it belongs on.

Examples:
  deferd schema
  deferd schema cpm.message.submitted
  deferd schema --dir schemas";

/// `deferd completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = COMPLETIONS_HELP)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: clap_complete::Shell,
}

const COMPLETIONS_HELP: &str = "\
Examples:
  deferd completions bash > ~/.local/share/bash-completion/completions/deferd
  deferd completions zsh > ~/.zfunc/_deferd
  deferd completions fish > ~/.config/fish/completions/deferd.fish";

/// `deferd man`.
#[derive(Debug, clap::Args)]
#[command(after_help = MAN_HELP)]
pub struct Man {
    /// Write the pages of all commands into this directory
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

const MAN_HELP: &str = "\
Without --dir it prints the page of deferd itself.

Examples:
  deferd man | man -l -
  deferd man --dir ~/.local/share/man/man1";
