//! `[cpm]`: who we are to others, and whom we believe what.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Config;
use crate::domain::address::Home;
use crate::domain::policy::Expected;
use crate::edge::front::{Rules, canonical};

/// The keys of this table, and what each may be.
pub(super) const KEYS: [(&str, Expected); 3] = [
    ("cpm.address", URI),
    ("cpm.gateways", Expected::Texts),
    ("cpm.application_servers", Expected::Texts),
];

const URI: Expected = Expected::Text("a SIP URI, such as sip:deferd@ims.example.org");

/// Whether a text is what this table wants of it.
pub(super) fn admits(expected: Expected, value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    let parts = text.strip_prefix("sip:").or_else(|| text.strip_prefix("sips:"));
    let (user, host) = parts.and_then(|parts| parts.split_once('@')).unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_graphic() && !"<>\"\\@".contains(c);
    expected != URI
        || (!user.is_empty()
            && !host.is_empty()
            && (user.chars().chain(host.chars())).all(is_plain))
}

/// `[cpm]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cpm {
    /// Our own address.
    pub address: String,
    /// The gateways to SMS and MMS.
    pub gateways: Vec<String>,
    /// The application servers that may write to users' clients.
    pub application_servers: Vec<String>,
}

impl Default for Cpm {
    fn default() -> Self {
        Self {
            address: "sip:deferd@localhost".to_owned(),
            gateways: Vec::new(),
            application_servers: Vec::new(),
        }
    }
}

impl Config {
    /// What the front goes by.
    #[must_use]
    pub fn front(&self, home: &Home) -> Rules {
        let all = |of: &[String]| of.iter().map(|address| canonical(address, home)).collect();
        Rules {
            address: self.cpm.address.as_str().into(),
            gateways: all(&self.cpm.gateways),
            application_servers: all(&self.cpm.application_servers),
            service: self.pager.clone(),
            repair: self.xml.repair,
            form: self.imdn.form,
        }
    }
}
