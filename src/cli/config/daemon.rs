//! The tables that only `deferd run` and its clients read.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::policy::Expected;

/// The keys of these tables, and what each may be.
pub(super) const KEYS: [(&str, Expected); 24] = [
    ("run.data_dir", PATH),
    ("run.stop_seconds", seconds(1, 3600)),
    ("http.listen", SOCKET),
    ("http.token_file", PATH),
    ("http.callers_file", PATH),
    ("http.max_body_bytes", bytes(4096, 268_435_456)),
    ("http.max_connections", Expected::Number { unit: "", from: 1, to: 65_536 }),
    ("http.timeout_seconds", seconds(1, 600)),
    ("embedded.partitions", Expected::Number { unit: "", from: 1, to: 64 }),
    ("embedded.segment_bytes", bytes(65_536, 4_294_967_296)),
    ("embedded.retention_hours", Expected::Number { unit: "hours", from: 1, to: 87_600 }),
    ("embedded.retention_bytes", bytes(0, 1 << 50)),
    ("embedded.queue_inputs", Expected::Number { unit: "", from: 100, to: 1_000_000 }),
    ("embedded.queue_bytes", bytes(1_048_576, 4_294_967_296)),
    ("embedded.checkpoint_seconds", seconds(1, 86_400)),
    ("embedded.catch_up_seconds", seconds(0, 3600)),
    ("sinks.file", PATH),
    ("sinks.stdout", Expected::Flag),
    ("sinks.webhook_deliveries", URL),
    ("sinks.webhook_notifications", URL),
    ("sinks.webhook_timeout_seconds", seconds(1, 600)),
    ("sinks.webhook_token_file", PATH),
    ("sinks.webhook_concurrency", Expected::Number { unit: "", from: 1, to: 256 }),
    ("sinks.imap", Expected::Flag),
];

/// The keys of the last of these tables.
pub(super) const LOGGING: [(&str, Expected); 3] = [
    ("logging.format", Expected::Word(&["text", "json"])),
    ("logging.level", Expected::Word(&["error", "warn", "info", "debug", "trace"])),
    ("logging.numbers", Expected::Flag),
];

pub(super) const PATH: Expected = Expected::Text("a path, or empty for none");
const SOCKET: Expected = Expected::Text("an address and port, such as 127.0.0.1:7373");
const URL: Expected = Expected::Text("an http or https URL, or empty for none");

/// Whether a text is what these tables want of it.
pub(super) fn admits(expected: Expected, value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    if expected == PATH {
        !text.contains('\0')
    } else if expected == SOCKET {
        text.parse::<std::net::SocketAddr>().is_ok()
    } else if expected == URL {
        let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        text.is_empty() || host.is_some_and(|host| !host.is_empty())
    } else {
        true
    }
}

const fn seconds(from: u64, to: u64) -> Expected {
    Expected::Number { unit: "seconds", from, to }
}

const fn bytes(from: u64, to: u64) -> Expected {
    Expected::Number { unit: "bytes", from, to }
}

/// `[run]`: the daemon itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Run {
    /// Where journal, checkpoint and cursors are kept.
    pub data_dir: PathBuf,
    /// How long a clean stop may take before what is left is dropped.
    pub stop_seconds: u32,
}

/// `[http]`: how the daemon is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Where it listens; any address but loopback needs `token_file`.
    pub listen: std::net::SocketAddr,
    /// A file that holds the bearer token; empty: none is asked for.
    pub token_file: PathBuf,
    /// A file that holds the tokens of gateways, application servers and users; empty: none.
    pub callers_file: PathBuf,
    /// How large the body of one request may be, in bytes.
    pub max_body_bytes: u64,
    /// How many connections may be open at once.
    pub max_connections: u32,
    /// How long a client may take for its header, for its body, and to read an answer.
    pub timeout_seconds: u32,
}

/// `[embedded]`: the log in the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Embedded {
    /// How many partitions it has, each with a thread; fixed when the directory is made.
    pub partitions: u32,
    /// How large a segment may grow before the next one begins.
    pub segment_bytes: u64,
    /// How old the last record of a segment must be before it may be removed.
    pub retention_hours: u32,
    /// How many bytes a partition may keep before older segments are removed sooner; 0: no limit.
    pub retention_bytes: u64,
    /// How many inputs may wait for a partition.
    pub queue_inputs: u32,
    /// How many bytes of inputs may wait for a partition.
    pub queue_bytes: u64,
    /// How often a checkpoint is taken.
    pub checkpoint_seconds: u32,
    /// How long what fell due while the daemon was down waits for news that came meanwhile. (L-13)
    pub catch_up_seconds: u32,
}

/// `[sinks]`: where outputs go by themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sinks {
    /// A file that every output is appended to, one a line; empty: none.
    pub file: PathBuf,
    /// Whether every output is written to standard output.
    pub stdout: bool,
    /// Where each delivery command is posted; empty: nowhere.
    pub webhook_deliveries: String,
    /// Where each notification is posted; empty: nowhere.
    pub webhook_notifications: String,
    /// How long a webhook may take to answer.
    pub webhook_timeout_seconds: u32,
    /// A file that holds the bearer token that webhooks are sent; empty: none.
    pub webhook_token_file: PathBuf,
    /// How many users' commands may be under way to a webhook at once.
    pub webhook_concurrency: u32,
    /// Whether what is to be stored is put into the message store.
    pub imap: bool,
}

/// `[logging]`: what the daemon says on standard error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// For people or for programs.
    pub format: LogFormat,
    /// The least important that is said.
    pub level: LogLevel,
    /// Whether subscribers' numbers are written out; else they are hashed.
    pub numbers: bool,
}

/// What keeps the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogKind {
    /// The data directory: one process.
    Embedded,
    /// A Kafka cluster: as many processes as there are partitions.
    Kafka,
}

/// The forms of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// One line of words.
    Text,
    /// One JSON object a line.
    Json,
}

/// How important a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "everybody knows these")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Default for Run {
    fn default() -> Self {
        Self { data_dir: "deferd-data".into(), stop_seconds: 30 }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: std::net::SocketAddr::from(([127, 0, 0, 1], 7373)),
            token_file: PathBuf::new(),
            callers_file: PathBuf::new(),
            max_body_bytes: 16 << 20,
            max_connections: 4096,
            timeout_seconds: 30,
        }
    }
}

impl Default for Embedded {
    fn default() -> Self {
        Self {
            partitions: 1,
            segment_bytes: 128 << 20,
            retention_hours: 720,
            retention_bytes: 0,
            queue_inputs: 20_000,
            queue_bytes: 64 << 20,
            checkpoint_seconds: 60,
            catch_up_seconds: 5,
        }
    }
}

impl Default for Sinks {
    fn default() -> Self {
        Self {
            file: PathBuf::new(),
            stdout: false,
            webhook_deliveries: String::new(),
            webhook_notifications: String::new(),
            webhook_timeout_seconds: 10,
            webhook_token_file: PathBuf::new(),
            webhook_concurrency: 16,
            imap: false,
        }
    }
}

impl Default for Logging {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: LogLevel::Info, numbers: false }
    }
}
