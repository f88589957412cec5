//! Where a setting comes from, and how each place is read: file, environment, command line.

use std::fmt;
use std::path::Path;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::ConfigError;
use crate::domain::policy::Expected;

/// The place that gave a key its value; a later one beats an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A line of the config file.
    File {
        /// The file, as it was named.
        name: String,
        /// The line of the key, from 1.
        line: usize,
    },
    /// This environment variable.
    Environment(String),
    /// `--set`.
    Set,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Environment(name) => f.write_str(name),
            Self::Set => f.write_str("--set"),
        }
    }
}

/// A key somebody gave a value, not judged yet.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) key: String,
    pub(super) value: GivenValue,
    pub(super) origin: Origin,
}

#[derive(Debug)]
pub(super) enum GivenValue {
    /// What it means depends on the key.
    Text(String),
    /// TOML said what it is; `text` is how it was written. A table that is a value has no meaning.
    Toml { value: Value, text: String },
}

impl GivenValue {
    /// The value that the key takes, or `None` if it takes no such value.
    pub(super) fn admitted(&self, expected: Expected) -> Option<Value> {
        let value = match self {
            Self::Text(text) => expected.read(text),
            Self::Toml { value, .. } => value.clone(),
        };
        expected.admits(&value).then_some(value)
    }

    /// Whether it is a table without keys, which sets nothing.
    pub(super) fn is_empty_table(&self) -> bool {
        matches!(self, Self::Toml { value: Value::Object(_), .. })
    }

    pub(super) fn as_given(&self) -> &str {
        let (Self::Text(text) | Self::Toml { text, .. }) = self;
        text
    }
}

/// The settings of a config file, in the order of its lines.
pub(super) fn from_toml(name: &Path, source: &str) -> Result<Vec<Given>, ConfigError> {
    let file = File { name: name.display().to_string(), source };
    let table = DeTable::parse(source).map_err(|error| ConfigError::NotToml {
        origin: file.at(error.span().map_or(0, |span| span.start)),
        reason: error.message().to_owned(),
    })?;
    let mut found = Vec::new();
    file.flatten("", table.get_ref(), &mut found);
    found.sort_by(|left: &Given, right| left.origin.cmp(&right.origin));
    Ok(found)
}

struct File<'s> {
    name: String,
    source: &'s str,
}

impl File<'_> {
    fn at(&self, byte: usize) -> Origin {
        let before = self.source.as_bytes().iter().take(byte);
        let line = 1 + before.filter(|&&byte| byte == b'\n').count();
        Origin::File { name: self.name.clone(), line }
    }

    /// Tables become dotted keys; an empty one becomes a setting of its own, so that its name is
    /// looked at too.
    fn flatten(&self, prefix: &str, table: &DeTable<'_>, into: &mut Vec<Given>) {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            let plain = value.get_ref();
            if let Some(inner) = plain.as_table().filter(|inner| !inner.is_empty()) {
                self.flatten(&format!("{key}."), inner, into);
                continue;
            }
            let lines = self.source.get(value.span()).unwrap_or_default().lines().map(str::trim);
            let text = lines.collect::<Vec<_>>().join(" ");
            let value = GivenValue::Toml { value: json(plain), text };
            into.push(Given { key, value, origin: self.at(name.span().start) });
        }
    }
}

/// The JSON of what a key may be; `null`, which no key admits, for everything else.
fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(digits) => {
            i64::from_str_radix(digits.as_str(), digits.radix()).ok().into()
        }
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(inner) if inner.is_empty() => Value::Object(serde_json::Map::new()),
        DeValue::Table(_) | DeValue::Float(_) | DeValue::Datetime(_) => Value::Null,
    }
}

/// The settings among the environment's variables: `DEFERD_POLICY__SETTLE_SECONDS` is
/// `policy.settle_seconds`. In the order of their names.
pub(super) fn from_environment(variables: impl Iterator<Item = (String, String)>) -> Vec<Given> {
    let mut found: Vec<_> = variables
        .filter_map(|(name, value)| {
            let key = name.strip_prefix("DEFERD_")?.to_ascii_lowercase().replace("__", ".");
            let value = GivenValue::Text(value);
            Some(Given { key, value, origin: Origin::Environment(name) })
        })
        .collect();
    found.sort_by(|left, right| left.origin.cmp(&right.origin));
    found
}

/// One `--set KEY=VALUE`.
pub(super) fn from_set(typed: &str) -> Result<Given, ConfigError> {
    let (key, value) =
        typed.split_once('=').ok_or_else(|| ConfigError::NotAPair { given: typed.to_owned() })?;
    let value = GivenValue::Text(value.trim().to_owned());
    Ok(Given { key: key.trim().to_owned(), value, origin: Origin::Set })
}
