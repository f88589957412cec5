//! What the config file, the environment and `--set` mean together.
//!
//! default < file < environment < `--set`, key by key. Every key remembers where its value came from, and
//! every value is judged where it was given, so that an error names the line to change. Nothing else
//! reads the configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

mod daemon;
mod front;
mod imap;
mod kafka;
mod origin;

pub use daemon::{Embedded, Http, LogFormat, LogKind, LogLevel, Logging, Run, Sinks};
pub use front::Cpm;
pub use imap::{Imap, ImapSecurity};
pub use kafka::{Kafka, LostInputs, Property, SaslMechanism, Security, is_passed};
pub use origin::Origin;

use self::origin::{Given, GivenValue, from_environment, from_set, from_toml};
use crate::cpm::evfw::FlagAttribute;
use crate::cpm::imdn::Form;
use crate::domain::pager::ServicePolicy;
use crate::domain::policy::{Expected, KEYS, Policy, nearest};

/// Everything that can be configured, `ops/deferd.toml` being its default in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The country code for numbers without `+`: digits only. `None`: such a number is rejected.
    #[serde(with = "empty_is_none")]
    pub home_country_code: Option<String>,
    /// The domains whose `sip:` numbers are numbers of the home network.
    pub home_domains: Vec<String>,
    /// How large one input may be, in bytes; a larger one becomes a dead letter.
    pub max_input_bytes: u32,
    /// What keeps the journal, and where inputs come from.
    pub log: LogKind,
    /// What the operator decides about deliveries.
    pub policy: Policy,
    /// Who we are to others, and whom we believe what.
    pub cpm: Cpm,
    /// The procedure for a MESSAGE that comes in.
    pub pager: ServicePolicy,
    /// How event reports are read.
    pub xml: Xml,
    /// How notifications are written.
    pub imdn: Imdn,
    /// How event reports are written.
    pub evfw: Evfw,
    /// What announces content that no SMS can carry.
    pub ucn: Ucn,
    /// The daemon.
    pub run: Run,
    /// How the daemon is reached.
    pub http: Http,
    /// The log in the data directory.
    pub embedded: Embedded,
    /// Where outputs go by themselves.
    pub sinks: Sinks,
    /// The users' message store.
    pub imap: Imap,
    /// What the daemon says.
    pub logging: Logging,
    /// The log on a Kafka cluster.
    pub kafka: Kafka,
}

/// `[xml]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Xml {
    /// Whether curly quotes in tags and unquoted attribute values are put right before reading.
    pub repair: bool,
}

/// `[imdn]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Imdn {
    /// The form of the extension elements we write; both are read.
    pub form: Form,
}

/// `[ucn]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ucn {
    /// What it says, each `language=text`; the first is for all other languages.
    pub texts: Vec<String>,
}

/// `[evfw]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Evfw {
    /// The name of the flags attribute we write; both are read.
    pub flag_attribute: FlagAttribute,
}

/// A whole configuration and where each part of it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// Every key (`policy.settle_seconds`) with its value as TOML, and who gave it.
    pub origins: BTreeMap<String, (String, Origin)>,
    /// What a person should hear although it stops nothing.
    pub warnings: Vec<String>,
}

/// Why there is no configuration. Whoever wrote the named place can act on each.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file is not there, or not ours to read, or not UTF-8.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file has a syntax error, or one key twice.
    #[error("{origin}: not TOML: {reason}")]
    NotToml {
        /// Where.
        origin: Origin,
        /// What the parser said.
        reason: String,
    },
    /// `--set` without `=`.
    #[error("--set `{given}` has no `=`, expected KEY=VALUE")]
    NotAPair {
        /// What was typed.
        given: String,
    },
    /// Nobody reads such a key: it is misspelt, or a later program has it.
    #[error("{origin}: {key} is no key; the nearest is {nearest}")]
    UnknownKey {
        /// The key as it was given.
        key: String,
        /// Where.
        origin: Origin,
        /// The key that is spelt most like it.
        nearest: String,
    },
    /// The key takes other values.
    #[error("{origin}: {key} is `{given}`, expected {expected}")]
    Value {
        /// The key.
        key: String,
        /// Its value as it was given.
        given: String,
        /// Where.
        origin: Origin,
        /// What its value may be.
        expected: String,
    },
    /// A property of librdkafka that cannot be passed through, or not with this value.
    #[error("{origin}: {key} is `{given}`: {why}")]
    Property {
        /// The key.
        key: String,
        /// Its value as it was given.
        given: String,
        /// Where.
        origin: Origin,
        /// Who else sets it, or what librdkafka says.
        why: String,
    },
}

impl Config {
    /// The configuration in force, from `file`, the variables of `env` and the `--set`s.
    ///
    /// A variable is `DEFERD_` and the key in capitals, dots as `__`. One that has no `__` and is no key
    /// is a warning, not an error: other programs make such names too (`DEFERD_SERVICE_HOST`), and
    /// flags have theirs.
    ///
    /// # Errors
    ///
    /// Each [`ConfigError`] names the place that has to change; the first one found is told.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        sets: &[String],
    ) -> Result<Loaded, ConfigError> {
        let mut given = Vec::new();
        if let Some(path) = file {
            let source = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
            given.extend(from_toml(path, &source)?);
        }
        given.extend(from_environment(env));
        for typed in sets {
            given.push(from_set(typed)?);
        }

        let mut layers = Layers::default();
        for one in given {
            layers.put(one)?;
        }
        Ok(layers.finish())
    }
}

/// The keys that are not policy, and what each may be.
const OTHERS: [(&str, Expected); 14] = [
    ("home_country_code", Expected::CountryCode),
    ("home_domains", Expected::Domains),
    ("max_input_bytes", Expected::Number { unit: "bytes", from: 1024, to: 524_288 }),
    ("log", Expected::Word(&["embedded", "kafka"])),
    ("pager.limit_bytes", Expected::Number { unit: "bytes", from: 1, to: 65_536 }),
    ("pager.user_agents", Expected::Texts),
    ("pager.require_user_agent", Expected::Flag),
    ("pager.allow_anonymous", Expected::Flag),
    ("pager.on_store_failure", Expected::Word(&["reject", "defer"])),
    ("pager.literal_imdn_rules", Expected::Flag),
    ("xml.repair", Expected::Flag),
    ("imdn.form", Expected::Word(&["oma", "ietf"])),
    ("evfw.flag_attribute", Expected::Word(&["flags", "flag"])),
    ("ucn.texts", Expected::UcnTexts),
];

/// Every key with its full name, in the order of `ops/deferd.toml`; below `kafka.librdkafka` there may be
/// any.
pub fn keys() -> impl Iterator<Item = (String, Expected)> {
    let (top, groups) = OTHERS.split_at(4);
    let owned = |&(name, expected): &(&str, Expected)| (name.to_owned(), expected);
    let policy = KEYS.iter().map(|key| (format!("policy.{}", key.name), key.expected));
    let daemon = daemon::KEYS.iter().chain(&imap::KEYS).chain(&daemon::LOGGING);
    let groups = front::KEYS.iter().chain(groups).chain(daemon).chain(&kafka::KEYS).map(owned);
    top.iter().map(owned).chain(policy).chain(groups)
}

/// The values so far, by key, the last layer's on top.
struct Layers {
    expected: BTreeMap<String, Expected>,
    values: BTreeMap<String, (Value, Origin)>,
    warnings: Vec<String>,
}

impl Default for Layers {
    fn default() -> Self {
        let default = serde_json::to_value(Config::default()).expect("a config is plain data");
        let mut values = BTreeMap::new();
        for (key, value) in default.as_object().into_iter().flatten() {
            if let Value::Object(group) = value {
                // `kafka.librdkafka` is a table of other people's keys, none of them given yet.
                for (name, value) in group.iter().filter(|(_, value)| !value.is_object()) {
                    values.insert(format!("{key}.{name}"), (value.clone(), Origin::Default));
                }
            } else {
                values.insert(key.clone(), (value.clone(), Origin::Default));
            }
        }
        Self { expected: keys().collect(), values, warnings: Vec::new() }
    }
}

impl Layers {
    fn put(&mut self, given: Given) -> Result<(), ConfigError> {
        if is_passed(&given.key) {
            self.values.extend(kafka::passed(given)?);
            return Ok(());
        }
        let Given { key, value, origin } = given;
        let Some(&expected) = self.expected.get(&key) else {
            return self.unknown(key, &value, origin);
        };
        let admitted = value.admitted(expected);
        let tables = [daemon::admits, front::admits, imap::admits, kafka::admits];
        let Some(admitted) =
            admitted.filter(|value| tables.iter().all(|admits| admits(expected, value)))
        else {
            let (given, expected) = (value.as_given().to_owned(), expected.to_string());
            return Err(ConfigError::Value { key, given, origin, expected });
        };
        self.values.insert(key, (admitted, origin));
        Ok(())
    }

    fn unknown(
        &mut self,
        key: String,
        value: &GivenValue,
        origin: Origin,
    ) -> Result<(), ConfigError> {
        let group = format!("{key}.");
        if self.expected.keys().any(|known| known.starts_with(&group)) {
            if value.is_empty_table() {
                return Ok(());
            }
            let given = value.as_given().to_owned();
            let expected = format!("a table, [{key}]");
            return Err(ConfigError::Value { key, given, origin, expected });
        }
        // A key is misspelt as a key, and `[polcy]` as a table.
        let known = self.expected.keys().map(|known| {
            let table = known.split_once('.').map_or(known.as_str(), |(table, _)| table);
            if value.is_empty_table() { table } else { known }
        });
        let nearest = nearest(&key, known).unwrap_or_default().to_owned();
        if matches!(origin, Origin::Environment(_)) && !key.contains('.') {
            self.warnings.push(format!("{origin} is no key; the nearest is {nearest}"));
            return Ok(());
        }
        Err(ConfigError::UnknownKey { key, origin, nearest })
    }

    fn finish(mut self) -> Loaded {
        let config = Config::of(&self.values);
        let (first, longest) =
            (config.policy.backoff.as_secs(), config.policy.backoff_max.as_secs());
        if longest < first {
            self.warnings.push(format!(
                "policy.backoff_seconds is {first}, and policy.backoff_max_seconds makes it {longest}"
            ));
        }
        let show = |(key, (value, origin)): (String, (Value, Origin))| {
            let toml = as_toml(&value);
            (key, (toml, origin))
        };
        let origins = self.values.into_iter().map(show).collect();
        Loaded { config, origins, warnings: self.warnings }
    }
}

impl Config {
    fn of(values: &BTreeMap<String, (Value, Origin)>) -> Self {
        let mut nested = Value::Object(Map::new());
        for (key, (value, _)) in values {
            // A property of librdkafka has dots in its name, which are no tables.
            let (tables, name) = match (kafka::property_of(key), key.split_once('.')) {
                (Some(property), _) => (&["kafka", "librdkafka"][..], property),
                (None, Some((group, name))) => (&[group][..], name),
                (None, None) => (&[][..], key.as_str()),
            };
            let table = tables.iter().fold(&mut nested, |table, name| &mut table[*name]);
            table[name] = value.clone();
        }
        serde_json::from_value(nested).expect("each value was admitted by its key")
    }
}

fn as_toml(value: &Value) -> String {
    toml::Value::try_from(value).map_or_else(|_| value.to_string(), |value| value.to_string())
}

impl Default for Config {
    fn default() -> Self {
        Self {
            home_country_code: None,
            home_domains: Vec::new(),
            max_input_bytes: 262_144,
            log: LogKind::Embedded,
            policy: Policy::default(),
            cpm: Cpm::default(),
            pager: ServicePolicy::default(),
            xml: Xml::default(),
            imdn: Imdn::default(),
            evfw: Evfw::default(),
            ucn: Ucn::default(),
            run: Run::default(),
            http: Http::default(),
            embedded: Embedded::default(),
            sinks: Sinks::default(),
            imap: Imap::default(),
            logging: Logging::default(),
            kafka: Kafka::default(),
        }
    }
}

/// TOML has no word for "none", so an empty string is it.
mod empty_is_none {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        text: &Option<String>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(text.as_deref().unwrap_or_default())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<String>, D::Error> {
        Ok(Some(String::deserialize(from)?).filter(|text| !text.is_empty()))
    }
}
