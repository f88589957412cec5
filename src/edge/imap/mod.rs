//! A message store over IMAP: connections in a pool, messages found exactly, flags read back.
//!
//! ```text
//! flag, append ──► pool ──► connection ──► SELECT, SEARCH, FETCH, STORE, APPEND
//!                 bounded      one call at a time, within its time
//! ```
//!
//! Tried against Dovecot 2.3: a search for a header finds whatever contains the words; STORE on a UID that is
//! not there is OK; a login has `+` in it and no `:`.

mod append;
mod find;
mod flags;
mod pool;
mod record;
mod say;
mod wire;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use self::flags::{Answers, Task};
use self::pool::{Lease, Pool};
use self::wire::{Door, Failure};
use super::store::{Answer, Flag, Kept, MessageStore, Object, StoreError, Stored};
use crate::domain::address::Address;

/// How a connection is kept from others' eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first octet.
    Tls,
    /// TLS after STARTTLS; without it nothing is said.
    Starttls,
    /// Not at all.
    Plain,
}

/// How the store is reached, and where messages are in it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port`.
    pub server: String,
    /// How the connection is kept from others' eyes.
    pub security: Security,
    /// The certificates of whoever may vouch for the server, in PEM.
    pub ca_file: PathBuf,
    /// Whether [`Security::Plain`] is good for other places than the loopback.
    pub plain_anywhere: bool,
    /// The login name: `{msisdn}` stands for the user's number as `+15145550100`, `{user}` for that or
    /// for `name@host`. What stands beside it may name a master user: `{msisdn}*master`.
    pub login: String,
    /// A file that holds the password.
    pub password_file: PathBuf,
    /// The folder of a new record: the above, `{conversation_id}` and `{contribution_id}`, without which
    /// its part of the path is left out.
    pub folder: String,
    /// The folder that all of a user's are below.
    pub root: String,
    /// How many folders are searched for a message of which only the id is known.
    pub folders: usize,
    /// How many connections there may be.
    pub connections: usize,
    /// How many calls may wait for one.
    pub waiting: usize,
    /// How long a call may take.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            server: String::new(),
            security: Security::Tls,
            ca_file: "/etc/ssl/certs/ca-certificates.crt".into(),
            plain_anywhere: false,
            login: "{msisdn}".to_owned(),
            password_file: PathBuf::new(),
            folder: "Default/{conversation_id}/{contribution_id}".to_owned(),
            root: "Default".to_owned(),
            folders: 500,
            connections: 8,
            waiting: 1000,
            timeout: Duration::from_secs(10),
        }
    }
}

/// Why a store cannot be set up. Whoever wrote the configuration can act on each.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// That is no server.
    #[error("imap.server is `{0}`, expected HOST:PORT")]
    Server(String),
    /// A password would go over a network in clear.
    #[error(
        "imap.security is plain and {0} is not the loopback: use tls, or set imap.plain_anywhere"
    )]
    Plain(String),
    /// Nobody can vouch for the server.
    #[error("imap.ca_file: {} is of no use: {why}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The password cannot be read.
    #[error("imap.password_file: {} holds no password: {why}", path.display())]
    Password {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// All users would share what is one user's.
    #[error("imap.login is `{login}` for every user: {key} needs {{msisdn}} or {{user}} then")]
    Shared {
        /// The login.
        login: String,
        /// The key that has to tell users apart.
        key: &'static str,
    },
    /// A folder that cannot be one.
    #[error("{key}: {why}")]
    Folder {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// How far a connection came, for whoever has to find out why no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The server is sought, and its port.
    Reach,
    /// It is to greet us as IMAP has it.
    Greeting,
    /// It is asked for TLS.
    Starttls,
    /// TLS is agreed on, and whom to trust.
    Tls,
    /// A user logs in.
    Login,
}

/// A message store that speaks IMAP.
#[derive(Debug)]
pub struct Imap {
    settings: Settings,
    password: Mutex<Password>,
    pool: Pool,
}

/// Never shown.
#[derive(Clone)]
struct Password(Arc<str>);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

impl Imap {
    /// A store, not connected yet. Calls are made inside of a tokio runtime, always the same one.
    ///
    /// # Errors
    ///
    /// [`SetupError`]: the settings cannot be used.
    pub fn new(settings: Settings) -> Result<Self, SetupError> {
        let Settings { server, security, ca_file, plain_anywhere, .. } = &settings;
        let door = Door::new(server, *security, ca_file, *plain_anywhere)?;
        for (key, template) in [("imap.folder", &settings.folder), ("imap.root", &settings.root)] {
            if !names_user(&settings.login) && !names_user(template) {
                return Err(SetupError::Shared { login: settings.login.clone(), key });
            }
            let sample = template.replace(['{', '}'], "");
            say::folder(&sample, '/')
                .map_err(|error| SetupError::Folder { key, why: error.to_string() })?;
        }
        let password = Mutex::new(read_password(&settings)?);
        let pool = Pool::new(door, settings.connections.max(1), settings.waiting);
        Ok(Self { settings, password, pool })
    }

    /// Reads the password again.
    ///
    /// # Errors
    ///
    /// [`SetupError::Password`]: it stays as it was.
    pub fn reload(&self) -> Result<(), SetupError> {
        let password = read_password(&self.settings)?;
        *self.password.lock().unwrap_or_else(PoisonError::into_inner) = password;
        Ok(())
    }

    /// Connects, logs in where a user is named, and hangs up, all within `patience`: for whoever looks at
    /// a set-up.
    ///
    /// # Errors
    ///
    /// How far it came, and why no further.
    pub async fn knock(
        &self,
        user: Option<&Address>,
        patience: Duration,
    ) -> Result<(), (Stage, StoreError)> {
        let login = user.map(|user| with_user(&self.settings.login, user)).transpose();
        let password = self.password.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (door, mut stage) = (&self.pool.door, Stage::Reach);
        let knocking = async {
            match login {
                Ok(None) => door.knock(&mut stage).await,
                Ok(Some(login)) => door.open(&login, &password.0, &mut stage).await.map(drop),
                Err(nobody) => {
                    door.knock(&mut stage).await?;
                    stage = Stage::Login;
                    Err(nobody.into())
                }
            }
        };
        match timeout_at(Instant::now() + patience, knocking).await {
            Ok(ended) => ended.map_err(|failure| (stage, failure.into())),
            Err(_) => Err((stage, late(patience))),
        }
    }

    /// A connection for a user, as whoever it was opened for.
    async fn lease(&self, user: &Address, until: Instant) -> Result<Lease<'_>, StoreError> {
        let login = with_user(&self.settings.login, user)?;
        let password = self.password.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.pool.lease(&login, &password.0, until).await
    }

    async fn flag_until(
        &self,
        user: &Address,
        flag: Flag,
        objects: &[Object],
        answers: &mut Answers,
        until: Instant,
    ) -> Result<(), StoreError> {
        loop {
            let mut lease = self.lease(user, until).await?;
            let task = Task {
                flag,
                objects,
                root: self.place(&self.settings.root, user, None, lease.connection.delimiter)?,
                is_shared: !names_user(&self.settings.login),
                folders: self.settings.folders,
            };
            match timeout_at(until, task.run(&mut lease.connection, answers)).await {
                Ok(Ok(())) => {
                    lease.give_back();
                    return Ok(());
                }
                // It was closed while nobody used it: what is not answered is asked again.
                Ok(Err(Failure::Gone(_))) if lease.is_old => {}
                Ok(Err(failure)) => return Err(failure.into()),
                Err(_) => return Err(self.late()),
            }
        }
    }

    async fn append_until(
        &self,
        user: &Address,
        record: &Stored,
        until: Instant,
    ) -> Result<Kept, StoreError> {
        let content = record::written(record, &user.to_string())?;
        say::id(&record.message_id)?;
        loop {
            let mut lease = self.lease(user, until).await?;
            let delimiter = lease.connection.delimiter;
            let template = &self.settings.folder;
            let folder = match &record.folder {
                Some(path) => say::folder(path, delimiter)?,
                None => self.place(template, user, Some(record), delimiter)?,
            };
            let appending = append::append(&mut lease.connection, &folder, record, &content);
            match timeout_at(until, appending).await {
                Ok(Ok(kept)) => {
                    lease.give_back();
                    return Ok(kept);
                }
                Ok(Err(Failure::Gone(_))) if lease.is_old => {}
                Ok(Err(Failure::No(error))) => {
                    lease.give_back();
                    return Err(error);
                }
                Ok(Err(gone)) => return Err(gone.into()),
                Err(_) => return Err(self.late()),
            }
        }
    }

    fn late(&self) -> StoreError {
        late(self.settings.timeout)
    }

    /// A folder from its template.
    fn place(
        &self,
        template: &str,
        user: &Address,
        record: Option<&Stored>,
        delimiter: char,
    ) -> Result<String, StoreError> {
        let mut names = Vec::new();
        for name in template.split('/') {
            let id = match name {
                "{conversation_id}" => record.map(|record| &record.conversation_id),
                "{contribution_id}" => record.map(|record| &record.contribution_id),
                _ => {
                    names.push(with_user(name, user)?);
                    continue;
                }
            };
            let id = id.and_then(Option::as_deref).filter(|id| !id.is_empty());
            names.extend(id.map(|id| say::part(id, delimiter)));
        }
        say::folder(&names.join("/"), delimiter)
    }
}

impl MessageStore for Imap {
    fn flag<'a>(
        &'a self,
        user: &'a Address,
        flag: Flag,
        objects: &'a [Object],
    ) -> Answer<'a, Vec<Result<(), StoreError>>> {
        Box::pin(async move {
            let until = Instant::now() + self.settings.timeout;
            let mut answers = vec![None; objects.len()];
            let ended = self.flag_until(user, flag, objects, &mut answers, until).await;
            let rest = ended.err().unwrap_or_else(|| self.late());
            answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(rest.clone()))).collect()
        })
    }

    fn append<'a>(
        &'a self,
        user: &'a Address,
        record: &'a Stored,
    ) -> Answer<'a, Result<Kept, StoreError>> {
        let until = Instant::now() + self.settings.timeout;
        Box::pin(self.append_until(user, record, until))
    }
}

fn late(limit: Duration) -> StoreError {
    StoreError::Unavailable(format!("no answer in {} s", limit.as_secs_f64()))
}

fn read_password(settings: &Settings) -> Result<Password, SetupError> {
    let path = &settings.password_file;
    let wrong = |why: String| SetupError::Password { path: path.clone(), why };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() || password.contains(char::is_control) {
        return Err(wrong("expected one line".into()));
    }
    Ok(Password(password.into()))
}

fn names_user(template: &str) -> bool {
    template.contains("{msisdn}") || template.contains("{user}")
}

/// A template with the user in it. A user whose name could mean something to the server is refused.
fn with_user(template: &str, user: &Address) -> Result<String, StoreError> {
    if !names_user(template) {
        return Ok(template.to_owned());
    }
    let uri = user.to_string();
    let name = uri.split_once(':').map_or(&*uri, |(_, name)| name);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_' | '@');
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '+')
        || !name.chars().all(is_plain)
    {
        let why = "a user whose name has other characters than letters, digits and +-._@";
        return Err(StoreError::Invalid(why.into()));
    }
    if template.contains("{msisdn}") && !matches!(user, Address::Tel(_)) {
        return Err(StoreError::Invalid("a user without a number, and imap wants {msisdn}".into()));
    }
    Ok(template.replace("{msisdn}", name).replace("{user}", name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::Home;

    #[test]
    fn a_login_is_the_number_and_never_an_address() {
        let login = |template: &str, user: &str| {
            with_user(template, &Address::parse(user, &Home::default()).unwrap())
        };
        assert_eq!(login("{msisdn}*m", "tel:+15145550100").unwrap(), "+15145550100*m");
        assert_eq!(login("{user}", "sip:bob@example.com").unwrap(), "bob@example.com");
        assert_eq!(login("all", "sip:bob*master@example.com").unwrap(), "all");
        assert!(login("{msisdn}", "sip:bob@example.com").is_err());
        assert!(login("{user}", "sip:bob*master@example.com").is_err());
    }

    #[test]
    fn what_cannot_be_set_up_says_why() {
        let password = std::env::temp_dir().join(format!("deferd-imap-{}", std::process::id()));
        std::fs::write(&password, "secret\n").unwrap();
        let good = Settings {
            server: "127.0.0.1:143".into(),
            security: Security::Plain,
            password_file: password.clone(),
            ..Settings::default()
        };
        assert!(Imap::new(good.clone()).is_ok());
        assert!(!format!("{:?}", Imap::new(good.clone()).unwrap()).contains("secret"));
        let with = |change: fn(&mut Settings)| {
            let mut settings = good.clone();
            change(&mut settings);
            Imap::new(settings).unwrap_err().to_string()
        };
        assert!(with(|s| s.server = "nowhere".into()).contains("expected HOST:PORT"));
        assert!(with(|s| s.server = "192.0.2.1:143".into()).contains("imap.plain_anywhere"));
        assert!(with(|s| s.password_file = "/none".into()).contains("holds no password"));
        assert!(with(|s| s.login = "all".into()).contains("needs {msisdn} or {user}"));
        assert!(with(|s| s.root = "a/*".into()).contains("wildcard"));
        let tls = |settings: &mut Settings| {
            (settings.security, settings.ca_file) = (Security::Tls, "/dev/null".into());
        };
        assert!(with(tls).contains("no certificate"));
        drop(std::fs::remove_file(password));
    }
}
