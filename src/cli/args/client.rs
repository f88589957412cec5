//! What may be typed to ask a daemon that runs.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::Output;

/// Which daemon.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Daemon {
    /// The daemon to ask; without this, the one that http.listen names. Its token is read from
    /// http.token_file
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// Whom an input is handed to.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Toward {
    #[command(flatten)]
    #[allow(missing_docs, reason = "the help of each argument is its own")]
    pub daemon: Daemon,

    /// Hand it to its topic instead of to a daemon: none need run
    #[arg(long, value_enum, value_name = "WHERE", conflicts_with = "url")]
    pub to: Option<To>,
}

/// Where inputs may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum To {
    /// The input topics of [kafka]
    Kafka,
}

/// Who does something by hand, and why: both are kept in the journal.
#[derive(Clone, Debug, clap::Args)]
pub struct Hand {
    /// Who does it
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true)]
    pub operator: String,

    /// Why; it is kept in the journal
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// `deferd submit`.
#[derive(Debug, clap::Args)]
#[command(after_help = SUBMIT_HELP)]
pub struct Submit {
    /// The user it is for, in any form: tel:+15145550100, +1 514 555 0100, sip:alice@example.com
    #[arg(value_name = "USER")]
    pub user: String,

    /// Who sends it
    #[arg(long, value_name = "ADDRESS")]
    pub from: String,

    /// The content, as text
    #[arg(long, value_name = "TEXT", required_unless_present = "file", conflicts_with = "file")]
    pub text: Option<String>,

    /// The content, from a file; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Its id; the same id from the same sender is the same message. Without this a random one
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,

    /// What it is: pager, large, chat, file, geolocation, imdn, system
    #[arg(long, value_name = "KIND", default_value = "pager")]
    pub kind: String,

    /// MIME type of the content; without this text/plain, or application/octet-stream where the file is
    /// no text
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,

    /// How long it is worth delivering; without this policy.lifetime_seconds
    #[arg(long, value_name = "SECONDS")]
    pub expires: Option<u64>,

    /// What the sender wants to hear, as IMDN has it: positive-delivery, negative-delivery, …
    #[arg(long, value_name = "TOKEN,…", value_delimiter = ',')]
    pub disposition: Vec<String>,

    /// Its conversation: messages of one are delivered in order
    #[arg(long, value_name = "ID")]
    pub conversation: Option<String>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "the help of each argument is its own")]
    pub toward: Toward,

    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

const SUBMIT_HELP: &str = "\
The answer says what became of it, once that is durable.

Exit codes: 0 taken; 1 refused; 2 it could not be asked.

Examples:
  deferd submit +15145550100 --from tel:+15145550199 --text 'see you at 8'
  deferd submit +15145550100 --from tel:+15145550199 --text hi --id m1 --expires 3600
  deferd submit +15145550100 --from tel:+15145550199 --file map.png --content-type image/png";

/// What may be observed of a phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Seen {
    /// It attached where calls are switched; SMS reaches it
    CsAttached,
    /// It left there
    CsDetached,
    /// It attached where packets are switched
    PsAttached,
    /// It left there
    PsDetached,
    /// A client registered with IMS
    ImsRegistered,
    /// A client is gone from IMS; without --device all of them
    ImsDeregistered,
    /// The network says that an SMS will arrive now
    SmsReady,
}

/// `deferd observe`.
#[derive(Debug, clap::Args)]
#[command(after_help = OBSERVE_HELP)]
pub struct Observe {
    /// What was seen
    #[arg(value_name = "WHAT", value_enum)]
    pub what: Seen,

    /// Of whom
    #[arg(value_name = "USER")]
    pub user: String,

    /// The client, by its +sip.instance (urn:…) or its Contact URI
    #[arg(long, value_name = "INSTANCE|CONTACT")]
    pub device: Option<String>,

    /// ims-registered: how long the registration holds
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub expires: u64,

    /// ims-registered: its feature tags; without this it is taken for one that can all
    #[arg(long, value_name = "TAG,…", value_delimiter = ',')]
    pub features: Vec<String>,

    /// sms-ready: why: present (it is there again) or memory (it has room again)
    #[arg(long, value_name = "WORD")]
    pub alert_reason: Option<String>,

    /// sms-ready: where: CS or PS
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "the help of each argument is its own")]
    pub toward: Toward,

    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

const OBSERVE_HELP: &str = "\
Says what a probe would say, seen now.

Exit codes: 0 taken; 1 refused; 2 it could not be asked.

Examples:
  deferd observe cs-attached +15145550100
  deferd observe ims-registered +15145550100 --device sip:alice@192.0.2.1 --expires 600
  deferd observe sms-ready +15145550100 --alert-reason memory";

/// How an attempt ended, or how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ended {
    /// The gateway has started it
    Started,
    /// The other side took it, and its report is to come
    Accepted,
    /// The user has it
    Delivered,
    /// It failed; --cause says how
    Failed,
    /// Nobody can tell
    Unknown,
}

/// `deferd outcome`.
#[derive(Debug, clap::Args)]
#[command(after_help = OUTCOME_HELP)]
pub struct Outcome {
    /// The attempt, as the delivery named it
    #[arg(value_name = "ATTEMPT_ID")]
    pub attempt: String,

    /// How it ended
    #[arg(value_name = "OUTCOME", value_enum)]
    pub outcome: Ended,

    /// Its user; without this the deliveries are looked through
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,

    /// Why it failed: absent, memory-full, busy, congestion, infrastructure, late, declined, content,
    /// permanent, policy, unknown
    #[arg(long, value_name = "CLASS")]
    pub cause: Option<String>,

    /// The SIP status that it ended with
    #[arg(long, value_name = "STATUS")]
    pub sip_status: Option<u16>,

    /// One client of several, by its +sip.instance (urn:…) or its Contact URI
    #[arg(long, value_name = "INSTANCE|CONTACT")]
    pub device: Option<String>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "the help of each argument is its own")]
    pub toward: Toward,

    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

const OUTCOME_HELP: &str = "\
Says what a gateway would say of a delivery it was asked for.

Exit codes: 0 taken; 1 refused, or no such attempt; 2 it could not be asked.

Examples:
  deferd outcome e92ba5bbef7dde69-1-cpm-message delivered
  deferd outcome e92ba5bbef7dde69-2-sms-message failed --cause absent --user +15145550100";

/// `deferd user`.
#[derive(Debug, clap::Args)]
pub struct User {
    /// What about the user
    #[command(subcommand)]
    pub action: UserAction,
}

/// What may be done about a user.
#[derive(Debug, Subcommand)]
pub enum UserAction {
    /// What is known now: devices, attachments, messages and what is in their way, what is due
    Show(UserShow),
    /// The users for whom messages wait
    List(UserList),
    /// Keep all of a user's messages back until `release`
    Hold(UserChange),
    /// Let a user's messages go again
    Release(UserChange),
    /// Try a user's messages once more now, whatever is believed of the phone
    Retry(UserChange),
    /// What a user prefers, as an XDM server has it
    Preferences(UserPreferences),
}

/// `deferd user preferences`.
#[derive(Debug, clap::Args)]
pub struct UserPreferences {
    /// What about them
    #[command(subcommand)]
    pub action: PreferencesAction,
}

/// What may be done about a user's preferences.
#[derive(Debug, Subcommand)]
pub enum PreferencesAction {
    /// Replace the rules (`ruleset`), or the senders that are refused (`resource-lists`)
    Set(PreferencesSet),
}

/// `deferd user preferences set`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What it would do to a message: deferd pager --explain MESSAGE --preferences FILE

Exit codes: 0 taken; 1 refused, or the document is none; 2 it could not be asked.

Examples:
  deferd user preferences set +15145550100 rules.xml
  curl -s https://xdms.example/…/index | deferd user preferences set tel:+15145550100 -")]
pub struct PreferencesSet {
    /// The user, in any form
    #[arg(value_name = "USER")]
    pub user: String,

    /// The XDM document; `-`: standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    #[command(flatten)]
    #[allow(missing_docs, reason = "the help of each argument is its own")]
    pub toward: Toward,

    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// `deferd user show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 shown; 1 nothing is known; 2 it could not be asked.

Examples:
  deferd user show +15145550100
  deferd user show sip:alice@example.com --with-content --output json")]
pub struct UserShow {
    /// The user, in any form
    #[arg(value_name = "USER")]
    pub user: String,

    /// Show the content of messages too
    #[arg(long)]
    pub with_content: bool,

    /// Messages to show, oldest first
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,

    #[command(flatten)]
    #[allow(missing_docs, reason = "the help of each argument is its own")]
    pub daemon: Daemon,

    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// `deferd user list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deferd user list
  deferd user list --limit 100000 --output jsonl")]
pub struct UserList {
    /// How many
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,

    #[command(flatten)]
    #[allow(missing_docs, reason = "the help of each argument is its own")]
    pub daemon: Daemon,

    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// `deferd user hold`, `release` and `retry`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 taken; 1 refused; 2 it could not be asked.

Examples:
  deferd user hold +15145550100 --reason 'ticket 4711: SIM stolen'
  deferd user release +15145550100 --operator ann --reason 'ticket 4711 closed'
  deferd user retry +15145550100 --reason 'says that the phone is on'")]
pub struct UserChange {
    /// The user, in any form
    #[arg(value_name = "USER")]
    pub user: String,

    #[command(flatten)]
    #[allow(missing_docs, reason = "the help of each argument is its own")]
    pub hand: Hand,

    #[command(flatten)]
    #[allow(missing_docs, reason = "the help of each argument is its own")]
    pub toward: Toward,

    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// `deferd message`.
#[derive(Debug, clap::Args)]
pub struct Message {
    /// What about the message
    #[command(subcommand)]
    pub action: MessageAction,
}

/// What may be done about a message.
#[derive(Debug, Subcommand)]
pub enum MessageAction {
    /// Where it stands, or how it ended; `deferd why` says more
    Show(MessageShow),
    /// End it: nobody gets it
    Cancel(MessageChange),
    /// Try it once more now, whatever is believed of the phone
    Retry(MessageChange),
    /// End it as if its lifetime were over
    Expire(MessageChange),
}

/// `deferd message show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 shown; 1 nobody knows such a message; 2 it could not be asked.

Examples:
  deferd message show m1
  deferd message show m1 --user +15145550100 --output json")]
pub struct MessageShow {
    /// The message, by the id its sender gave it
    #[arg(value_name = "ID")]
    pub message: String,

    /// Its user; without this the whole journal is looked through
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,

    /// Show its content too
    #[arg(long)]
    pub with_content: bool,

    #[command(flatten)]
    #[allow(missing_docs, reason = "the help of each argument is its own")]
    pub daemon: Daemon,

    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// `deferd message cancel`, `retry` and `expire`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 taken; 1 refused, or nobody knows such a message; 2 it could not be asked.

Examples:
  deferd message cancel m1 --reason 'sent by mistake, ticket 4711'
  deferd message retry m1 --user +15145550100 --operator ann --reason 'says that the phone is on'")]
pub struct MessageChange {
    /// The message, by the id its sender gave it
    #[arg(value_name = "ID")]
    pub message: String,

    /// Its user; without this the whole journal is looked through
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,

    /// Its sender, where two gave the same id
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<String>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "the help of each argument is its own")]
    pub hand: Hand,

    #[command(flatten)]
    #[allow(missing_docs, reason = "the help of each argument is its own")]
    pub toward: Toward,

    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// `deferd dead-letters`.
#[derive(Debug, clap::Args)]
pub struct DeadLetters {
    /// What about them
    #[command(subcommand)]
    pub action: LettersAction,
}

/// What may be done about dead letters.
#[derive(Debug, Subcommand)]
pub enum LettersAction {
    /// The inputs that nobody could use, oldest first, and why
    List(LettersList),
    /// Hand them in once more, as when what refused them was mended
    Retry(LettersRetry),
}

/// `deferd dead-letters list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deferd dead-letters list
  deferd dead-letters list --limit 1000 --output jsonl")]
pub struct LettersList {
    /// How many
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,

    #[command(flatten)]
    #[allow(missing_docs, reason = "the help of each argument is its own")]
    pub daemon: Daemon,

    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// `deferd dead-letters retry`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A letter of which only the first 64 KiB were kept cannot be handed in again.

Exit codes: 0 all were taken; 1 some were refused again, or there is no such letter; 2 it could not be
asked.

Examples:
  deferd dead-letters retry file:events.jsonl:17
  deferd dead-letters retry --all")]
pub struct LettersRetry {
    /// The letter, by its id in `list`
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    pub id: Option<String>,

    /// All that are kept
    #[arg(long)]
    pub all: bool,

    #[command(flatten)]
    #[allow(missing_docs, reason = "the help of each argument is its own")]
    pub daemon: Daemon,

    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}
