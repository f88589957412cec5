//! `[imap]`: the users' message store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::daemon::PATH;
use crate::domain::policy::Expected;
use crate::edge::imap::{Imap as Store, Security, Settings, SetupError};

/// The keys of this table, and what each may be.
pub(super) const KEYS: [(&str, Expected); 12] = [
    ("imap.server", SERVER),
    ("imap.security", Expected::Word(&["tls", "starttls", "plain"])),
    ("imap.ca_file", PATH),
    ("imap.plain_anywhere", Expected::Flag),
    ("imap.login", TEMPLATE),
    ("imap.password_file", PATH),
    ("imap.folder", TEMPLATE),
    ("imap.root", TEMPLATE),
    ("imap.folders", Expected::Number { unit: "", from: 1, to: 10_000 }),
    ("imap.connections", Expected::Number { unit: "", from: 1, to: 256 }),
    ("imap.waiting", Expected::Number { unit: "", from: 0, to: 100_000 }),
    ("imap.timeout_seconds", Expected::Number { unit: "seconds", from: 1, to: 600 }),
];

const SERVER: Expected = Expected::Text("a server's host:port, or empty for none");
const TEMPLATE: Expected = Expected::Text("a template of printable ASCII");

/// Whether a text is what this table wants of it.
pub(super) fn admits(expected: Expected, value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    if expected == SERVER {
        let parts = text.rsplit_once(':');
        let is_one = |(host, port): (&str, &str)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
        };
        text.is_empty() || parts.is_some_and(is_one)
    } else if expected == TEMPLATE {
        !text.is_empty() && text.chars().all(|c| matches!(c, ' '..='~'))
    } else {
        true
    }
}

/// `[imap]`: the users' message store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Imap {
    /// Where it is; empty: there is none.
    pub server: String,
    /// How connections are kept from others' eyes.
    pub security: ImapSecurity,
    /// The certificates of whoever may vouch for the server, in PEM.
    pub ca_file: PathBuf,
    /// Whether `plain` is good for other places than the loopback.
    pub plain_anywhere: bool,
    /// The login name of a user.
    pub login: String,
    /// A file that holds the password.
    pub password_file: PathBuf,
    /// The folder of a new record.
    pub folder: String,
    /// The folder that all of a user's are below.
    pub root: String,
    /// How many folders are searched for a message of which only the id is known.
    pub folders: u32,
    /// How many connections there may be.
    pub connections: u32,
    /// How many calls may wait for one.
    pub waiting: u32,
    /// How long a call may take.
    pub timeout_seconds: u32,
}

/// How a connection to the message store is kept from others' eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImapSecurity {
    /// TLS from the first octet.
    Tls,
    /// TLS after STARTTLS.
    Starttls,
    /// Not at all.
    Plain,
}

impl Imap {
    /// The store, where there is one. It is not connected yet.
    ///
    /// # Errors
    ///
    /// [`SetupError`]: these keys cannot be used together, or a file of theirs is wrong.
    pub fn store(&self) -> Result<Option<Arc<Store>>, SetupError> {
        if self.server.is_empty() {
            return Ok(None);
        }
        let settings = Settings {
            server: self.server.clone(),
            security: match self.security {
                ImapSecurity::Tls => Security::Tls,
                ImapSecurity::Starttls => Security::Starttls,
                ImapSecurity::Plain => Security::Plain,
            },
            ca_file: self.ca_file.clone(),
            plain_anywhere: self.plain_anywhere,
            login: self.login.clone(),
            password_file: self.password_file.clone(),
            folder: self.folder.clone(),
            root: self.root.clone(),
            folders: self.folders as usize,
            connections: self.connections as usize,
            waiting: self.waiting as usize,
            timeout: Duration::from_secs(self.timeout_seconds.into()),
        };
        Ok(Some(Arc::new(Store::new(settings)?)))
    }
}

impl Default for Imap {
    fn default() -> Self {
        let of = Settings::default();
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            server: of.server,
            security: ImapSecurity::Tls,
            ca_file: of.ca_file,
            plain_anywhere: of.plain_anywhere,
            login: of.login,
            password_file: of.password_file,
            folder: of.folder,
            root: of.root,
            folders: number(of.folders),
            connections: number(of.connections),
            waiting: number(of.waiting),
            timeout_seconds: number(usize::try_from(of.timeout.as_secs()).unwrap_or(usize::MAX)),
        }
    }
}
