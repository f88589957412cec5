//! What was seen, until it is known of whom; then the event that tells it.
//!
//! Source: CloudEvents 1.0; `rules.md` E-2, E-5.

use serde_json::{Map as Object, Value, json};
use sha2::{Digest, Sha256};

use crate::domain::address::{Address, Imsi};
use crate::domain::time::Timestamp;

/// Whom a message is about.
#[derive(Clone, Debug)]
pub(super) enum Who {
    User(Address),
    Imsi(Imsi),
}

/// How a fact is known (E-5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Seen on the wire, completed.
    Passive,
    /// Concluded.
    Inferred,
}

/// A fact before its user is known.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub(super) who: Who,
    /// The event's type without its version, such as `cpm.cs.attached`.
    kind: &'static str,
    pub(super) at: Timestamp,
    trust: Trust,
    /// What makes it the same fact when it is seen again, at another tap or in another run.
    identity: Vec<String>,
    data: Object<String, Value>,
}

impl Sighting {
    pub(super) fn new(who: Who, kind: &'static str, at: Timestamp, identity: &[&str]) -> Self {
        let identity = identity.iter().map(|&part| part.to_owned()).collect();
        Self { who, kind, at, trust: Trust::Passive, identity, data: Object::new() }
    }

    /// The same with a field more; a field without a value is left out.
    pub(super) fn with(mut self, field: &str, value: Option<impl Into<Value>>) -> Self {
        if let Some(value) = value {
            self.data.insert(field.to_owned(), value.into());
        }
        self
    }

    pub(super) fn inferred(mut self) -> Self {
        self.trust = Trust::Inferred;
        self
    }

    pub(super) fn event(&self, source: &str, user: &Address) -> Value {
        let mut data = self.data.clone();
        let trust = match self.trust {
            Trust::Passive => "passive",
            Trust::Inferred => "inferred",
        };
        data.insert("trust".to_owned(), trust.into());
        json!({
            "specversion": "1.0",
            "id": self.id(source),
            "source": source,
            "type": format!("{}.v1", self.kind),
            "subject": user.to_string(),
            "time": self.at.to_string(),
            "datacontenttype": "application/json",
            "data": data,
        })
    }

    /// 32 hexadecimal digits. Each part is preceded by its length, so that no two lists run
    /// together.
    fn id(&self, source: &str) -> String {
        let mut hash = Sha256::new();
        for part in [source, self.kind].into_iter().chain(self.identity.iter().map(String::as_str))
        {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}
