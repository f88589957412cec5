//! `[kafka]`: the log on a Kafka cluster, and who we are there.
//!
//! What has a key here is said in our words. Whatever else librdkafka can do is passed through by
//! `[kafka.librdkafka]`, those properties aside that exactly-once rests on and those that are secrets.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ConfigError;
use super::daemon::PATH;
use super::origin::{Given, GivenValue, Origin};
use crate::domain::policy::Expected;
use crate::log::kafka::{Cluster, is_secret, refused_property};

/// The keys of this table, and what each may be.
pub(super) const KEYS: [(&str, Expected); 18] = [
    ("kafka.brokers", BROKERS),
    ("kafka.group", NAME),
    ("kafka.instance", INSTANCE),
    ("kafka.prefix", PREFIX),
    ("kafka.shards", Expected::Number { unit: "", from: 1, to: 64 }),
    ("kafka.commit_milliseconds", Expected::Number { unit: "milliseconds", from: 1, to: 1000 }),
    ("kafka.session_timeout_seconds", Expected::Number { unit: "seconds", from: 3, to: 300 }),
    ("kafka.checkpoint_seconds", Expected::Number { unit: "seconds", from: 1, to: 86_400 }),
    ("kafka.snapshot_seconds", Expected::Number { unit: "seconds", from: 0, to: 604_800 }),
    ("kafka.lost_inputs", Expected::Word(&["stop", "skip"])),
    ("kafka.security", Expected::Word(&["plaintext", "ssl", "sasl-plaintext", "sasl-ssl"])),
    ("kafka.ca_file", PATH),
    ("kafka.certificate_file", PATH),
    ("kafka.key_file", PATH),
    ("kafka.key_password_file", PATH),
    (
        "kafka.sasl_mechanism",
        Expected::Word(&["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "OAUTHBEARER"]),
    ),
    ("kafka.sasl_user", USER),
    ("kafka.sasl_password_file", PATH),
];

const BROKERS: Expected = Expected::Text("host:port, several with commas between them");
const NAME: Expected = Expected::Text("letters, digits, dots, dashes and underscores");
const INSTANCE: Expected =
    Expected::Text("letters, digits, dots, dashes and underscores, or empty for the host's name");
const PREFIX: Expected =
    Expected::Text("letters, digits, dots, dashes and underscores, or empty for none");
const USER: Expected = Expected::Text("a name, or empty for none");

/// What stands before the properties that are passed through.
const PASSED: &str = "kafka.librdkafka";
/// The longest name of a group or an instance, and of a topic's prefix; Kafka takes 249 with what we add.
const LONGEST: usize = 200;

/// Whether a text is what this table wants of it.
pub(super) fn admits(expected: Expected, value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    if expected == BROKERS {
        text.split(',').all(|broker| is_broker(broker.trim()))
    } else if expected == NAME {
        is_name(text) && !text.is_empty()
    } else if expected == INSTANCE || expected == PREFIX {
        is_name(text)
    } else if expected == USER {
        !text.contains(char::is_control)
    } else {
        true
    }
}

fn is_broker(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let is_host = !host.is_empty()
        && !host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/')
        && (is_bracketed || !host.contains(':'));
    is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Kafka takes these in the names of topics and of static members.
fn is_name(text: &str) -> bool {
    text.len() <= LONGEST && text.chars().all(is_word)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-".contains(c)
}

/// `[kafka]`: the log on a Kafka cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kafka {
    /// The brokers that are asked first, `host:port`; they name the others.
    pub brokers: String,
    /// The consumer group.
    pub group: String,
    /// What tells this process from the others of its group; empty: the host's name.
    pub instance: String,
    /// What stands before the name of every topic.
    pub prefix: String,
    /// How many members of the group this process is, each with a thread.
    pub shards: u32,
    /// How long the oldest record of a transaction may wait for more.
    pub commit_milliseconds: u32,
    /// After how long without a word a member is taken for dead; a transaction lives no longer.
    pub session_timeout_seconds: u32,
    /// How often a checkpoint is taken.
    pub checkpoint_seconds: u32,
    /// How often a round of snapshots begins; 0: never.
    pub snapshot_seconds: u32,
    /// What becomes of inputs that were removed before they were taken.
    pub lost_inputs: LostInputs,
    /// How brokers are spoken to.
    pub security: Security,
    /// The authorities that brokers' certificates are held against; empty: the system's.
    pub ca_file: PathBuf,
    /// Our certificate; empty: none.
    pub certificate_file: PathBuf,
    /// Its key; empty: none.
    pub key_file: PathBuf,
    /// A file with the key's password; empty: it has none.
    pub key_password_file: PathBuf,
    /// How we prove who we are.
    pub sasl_mechanism: SaslMechanism,
    /// Who we are; empty: nobody.
    pub sasl_user: String,
    /// A file with our password; empty: none.
    pub sasl_password_file: PathBuf,
    /// Properties that librdkafka gets as they are.
    pub librdkafka: BTreeMap<String, Property>,
}

/// What becomes of inputs that were removed, or whose topic was made anew, before they were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LostInputs {
    /// The member ends: a person decides.
    Stop,
    /// It goes on with the oldest that is there.
    Skip,
}

/// How brokers are spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Security {
    /// Open to whoever listens.
    Plaintext,
    /// TLS; with a certificate of ours we are known by it.
    Ssl,
    /// A user, and open to whoever listens.
    SaslPlaintext,
    /// A user, over TLS.
    SaslSsl,
}

/// How a user proves who he is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names of RFC 5802, RFC 4616 and RFC 7628")]
pub enum SaslMechanism {
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "OAUTHBEARER")]
    OauthBearer,
}

/// The value of a property of librdkafka.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "what TOML calls them")]
pub enum Property {
    Flag(bool),
    Number(i64),
    Text(String),
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".to_owned(),
            group: "deferd".to_owned(),
            instance: String::new(),
            prefix: String::new(),
            shards: 1,
            commit_milliseconds: 25,
            session_timeout_seconds: 15,
            checkpoint_seconds: 60,
            snapshot_seconds: 3600,
            lost_inputs: LostInputs::Stop,
            security: Security::Plaintext,
            ca_file: PathBuf::new(),
            certificate_file: PathBuf::new(),
            key_file: PathBuf::new(),
            key_password_file: PathBuf::new(),
            sasl_mechanism: SaslMechanism::ScramSha512,
            sasl_user: String::new(),
            sasl_password_file: PathBuf::new(),
            librdkafka: BTreeMap::new(),
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Property {
    /// What was typed: quotes make a text of it, and are no part of it.
    fn read(typed: &str) -> Self {
        let quoted = |quote| typed.strip_prefix(quote)?.strip_suffix(quote);
        if let Some(text) = quoted('"').or_else(|| quoted('\'')) {
            return Self::Text(text.to_owned());
        }
        match (typed.parse(), typed.parse()) {
            (Ok(flag), _) => Self::Flag(flag),
            (Err(_), Ok(number)) => Self::Number(number),
            (Err(_), Err(_)) => Self::Text(typed.to_owned()),
        }
    }

    fn of(given: &GivenValue) -> Option<Self> {
        match given {
            GivenValue::Text(typed) => Some(Self::read(typed)),
            GivenValue::Toml { value, .. } => Self::deserialize(value).ok(),
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Flag(flag) => Value::from(*flag),
            Self::Number(number) => Value::from(*number),
            Self::Text(text) => Value::from(text.as_str()),
        }
    }
}

/// The property of librdkafka that a key passes through.
pub(super) fn property_of(key: &str) -> Option<&str> {
    key.strip_prefix(PASSED)?.strip_prefix('.')
}

/// Whether a key is `kafka.librdkafka`, the table of what is passed through, or in it.
#[must_use]
pub fn is_passed(key: &str) -> bool {
    key == PASSED || property_of(key).is_some()
}

/// A key, its value, and who gave it.
type Passed = (String, (Value, Origin));

/// What `[kafka.librdkafka]` was given: a value for a key, or nothing for an empty table.
pub(super) fn passed(given: Given) -> Result<Option<Passed>, ConfigError> {
    let Given { key, value, origin } = given;
    let property = match (property_of(&key), Property::of(&value)) {
        (None, _) if value.is_empty_table() => return Ok(None),
        (Some(_), Some(property)) => property,
        (None, _) | (Some(_), None) => {
            let expected = if key == PASSED {
                format!("a table, [{key}]")
            } else {
                "text, a whole number, true or false".to_owned()
            };
            let given = value.as_given().to_owned();
            return Err(ConfigError::Value { key, given, origin, expected });
        }
    };
    let name = property_of(&key).unwrap_or_default();
    if let Some(why) = refused_property(name, &property.to_string()) {
        let given = if is_secret(name) { "…" } else { value.as_given() }.to_owned();
        return Err(ConfigError::Property { key, given, origin, why });
    }
    Ok(Some((key, (property.value(), origin))))
}

impl Kafka {
    /// The cluster that this describes; the files it names are read now.
    ///
    /// # Errors
    ///
    /// Keys that do not go together, or a file that cannot be used; the error names key and file.
    pub fn cluster(&self) -> anyhow::Result<Cluster> {
        let mut properties = self.security()?;
        for (name, value) in &self.librdkafka {
            properties.push((name.clone(), value.to_string()));
        }
        Ok(Cluster {
            brokers: self.brokers.split(',').map(str::trim).collect::<Vec<_>>().join(","),
            group: self.group.clone(),
            instance: self.instance_name()?,
            prefix: self.prefix.clone(),
            session_timeout: Duration::from_secs(self.session_timeout_seconds.into()),
            properties,
        })
    }

    /// The instance's name, or the host's.
    fn instance_name(&self) -> anyhow::Result<String> {
        if !self.instance.is_empty() {
            return Ok(self.instance.clone());
        }
        let uname = rustix::system::uname();
        let host = uname.nodename().to_string_lossy();
        let host: String = host.chars().map(|c| if is_word(c) { c } else { '-' }).collect();
        ensure!(!host.is_empty(), "kafka.instance is empty, and this host has no name: name one");
        Ok(host)
    }

    /// The properties that say who we are. What would be left unused is refused: whoever names a user or
    /// a certificate counts on it.
    fn security(&self) -> anyhow::Result<Vec<(String, String)>> {
        let (protocol, has_tls, has_user) = match self.security {
            Security::Plaintext => ("plaintext", false, false),
            Security::Ssl => ("ssl", true, false),
            Security::SaslPlaintext => ("sasl_plaintext", false, true),
            Security::SaslSsl => ("sasl_ssl", true, true),
        };
        let mut properties = vec![("security.protocol".to_owned(), protocol.to_owned())];
        let mut put = |name: &str, value: String| properties.push((name.to_owned(), value));

        let files = [
            ("kafka.ca_file", &self.ca_file, "ssl.ca.location"),
            ("kafka.certificate_file", &self.certificate_file, "ssl.certificate.location"),
            ("kafka.key_file", &self.key_file, "ssl.key.location"),
        ];
        for (key, path, property) in files.into_iter().filter(|(_, path, _)| is_named(path)) {
            ensure!(
                has_tls,
                "{key} is set, and kafka.security is {}, which has no TLS: set it to ssl or sasl-ssl",
                protocol.replace('_', "-")
            );
            fs::read(path).with_context(|| format!("{key}: cannot read {}", path.display()))?;
            let path = path.to_str().with_context(|| format!("{key}: the path is not UTF-8"))?;
            put(property, path.to_owned());
        }
        match (is_named(&self.certificate_file), is_named(&self.key_file)) {
            (true, false) => bail!("kafka.certificate_file is set and kafka.key_file is not"),
            (false, true) => bail!("kafka.key_file is set and kafka.certificate_file is not"),
            (true, true) | (false, false) => {}
        }
        if is_named(&self.key_password_file) {
            ensure!(
                is_named(&self.key_file),
                "kafka.key_password_file is set and kafka.key_file is not"
            );
            put("ssl.key.password", secret("kafka.key_password_file", &self.key_password_file)?);
        }

        let is_user_named = !self.sasl_user.is_empty();
        let is_password_named = is_named(&self.sasl_password_file);
        if !has_user {
            ensure!(
                !is_user_named && !is_password_named,
                "kafka.sasl_user or kafka.sasl_password_file is set, and kafka.security is {protocol}, \
                 which has no users: set it to sasl-ssl"
            );
            return Ok(properties);
        }
        let mechanism = match self.sasl_mechanism {
            SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
            SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::OauthBearer => "OAUTHBEARER",
        };
        put("sasl.mechanisms", mechanism.to_owned());
        // Its tokens are made as properties of librdkafka say, and name the user themselves.
        if self.sasl_mechanism == SaslMechanism::OauthBearer {
            const UNSECURED: &str = "enable.sasl.oauthbearer.unsecure.jwt";
            let is_unsecured = self.librdkafka.get(UNSECURED) == Some(&Property::Flag(true));
            ensure!(
                is_unsecured,
                "kafka.sasl_mechanism is {mechanism}, of which there are unsecured tokens only: set \
                 kafka.librdkafka.{UNSECURED} to true and kafka.librdkafka.sasl.oauthbearer.config to \
                 `principal=NAME`, or choose another"
            );
            return Ok(properties);
        }
        ensure!(
            is_user_named && is_password_named,
            "kafka.sasl_mechanism is {mechanism}, which needs kafka.sasl_user and \
             kafka.sasl_password_file"
        );
        put("sasl.username", self.sasl_user.clone());
        put("sasl.password", secret("kafka.sasl_password_file", &self.sasl_password_file)?);
        Ok(properties)
    }
}

fn is_named(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

/// What a file holds, without the line end that editors add.
fn secret(key: &str, path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("{key}: cannot read {shown}"))?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    ensure!(!secret.is_empty(), "{key}: {shown} is empty");
    ensure!(
        !secret.contains(char::is_control),
        "{key}: {shown} has several lines or control characters, expected one line"
    );
    Ok(secret.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_have_a_host_and_a_port() {
        let admitted = |text: &str| admits(BROKERS, &Value::from(text));
        for good in ["127.0.0.1:9092", "k1:9092,k2.example:9093", "[::1]:9092, k2:1"] {
            assert!(admitted(good), "{good}");
        }
        for bad in ["", "k1", "k1:", ":9092", "k1:0", "k1:70000", "::1:9092", "k1:1,", "ssl://k:1"]
        {
            assert!(!admitted(bad), "{bad}");
        }
    }

    #[test]
    fn a_property_is_what_it_looks_like() {
        let read = |typed: &str| Property::read(typed).value();
        assert_eq!(read("60000"), Value::from(60_000));
        assert_eq!(read("true"), Value::from(true));
        assert_eq!(read("\"60000\""), Value::from("60000"));
        assert_eq!(read("zstd"), Value::from("zstd"));
    }

    #[test]
    fn an_instance_is_the_host_unless_named() {
        let mut kafka = Kafka::default();
        let host = kafka.cluster().map(|cluster| cluster.instance).unwrap_or_default();
        assert!(!host.is_empty() && is_name(&host), "{host}");
        kafka.instance = "a-1".to_owned();
        assert_eq!(kafka.cluster().map(|cluster| cluster.instance).unwrap_or_default(), "a-1");
    }

    #[test]
    fn what_would_not_be_used_is_refused() {
        let refused = |kafka: Kafka| match kafka.cluster() {
            Ok(cluster) => format!("{cluster:?}"),
            Err(error) => format!("{error:#}"),
        };
        let plain = Kafka { sasl_user: "deferd".to_owned(), ..Kafka::default() };
        assert!(refused(plain).contains("which has no users: set it to sasl-ssl"));
        let no_tls = Kafka { ca_file: "/x".into(), ..Kafka::default() };
        assert!(refused(no_tls).contains("which has no TLS: set it to ssl or sasl-ssl"));
        let nobody = Kafka { security: Security::SaslSsl, ..Kafka::default() };
        assert!(refused(nobody).contains("needs kafka.sasl_user and kafka.sasl_password_file"));
        let gone = Kafka { security: Security::Ssl, ca_file: "/x/ca".into(), ..Kafka::default() };
        assert!(refused(gone).starts_with("kafka.ca_file: cannot read /x/ca: No such file"));
    }

    #[test]
    fn a_password_is_the_line_of_its_file() {
        let path = std::env::temp_dir().join(format!("deferd-password-{}", std::process::id()));
        let with = |content: &str| {
            fs::write(&path, content).expect("written");
            let kafka = Kafka {
                security: Security::SaslPlaintext,
                sasl_user: "deferd".to_owned(),
                sasl_password_file: path.clone(),
                ..Kafka::default()
            };
            kafka.cluster().map_err(|error| format!("{error:#}"))
        };
        let cluster = with(" pass word \r\n").expect("a cluster");
        let password = ("sasl.password".to_owned(), " pass word ".to_owned());
        assert!(cluster.properties.contains(&password));
        assert!(!format!("{cluster:?}").contains("pass word"), "a secret is not shown");
        let told =
            |content| with(content).expect_err("refused").replace(&path.display().to_string(), "F");
        assert_eq!(told("\n"), "kafka.sasl_password_file: F is empty");
        assert!(told("a\nb\n").contains("expected one line"));
        fs::remove_file(&path).expect("removed");
    }
}
