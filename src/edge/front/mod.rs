//! The Participating Function's front: what others say in the standards' documents becomes inputs.
//!
//! ```text
//!            ┌─ caller: who says it, and in which role
//!  request ──┼─ event: gateways' reports ─► cpm.sms.…     clients' flags ─► message store ─► IMDNs
//!            ├─ message: steps 1 to 4a ─► 403, or cpm.message.submitted ─► 202, 200 once stored
//!            └─ preferences: XDM documents ─► cpm.preferences.changed
//! ```
//!
//! Whoever carries a request (HTTP, SIP) knows who its caller is and hands over headers and body; the
//! answer is a SIP status, a Warning, and a sentence for a person. A document is taken whole or not at all.
//!
//! Source: OMA CPM 2.1 change requests, 6.7 and 8.3.1.1; `rules.md` 2.4, A-7 to A-17, 5.4.

mod caller;
mod denial;
mod event;
mod flags;
mod message;
mod preferences;
mod stored;
mod submission;

use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub use caller::{Caller, Headers, Identity, Role, canonical};
pub use denial::Denial;
pub use submission::{Sender, submission};

use super::reach::{Became, Reach};
use super::store::MessageStore;
use crate::cpm::imdn::Form;
use crate::cpm::xml::Limits;
use crate::domain::pager::ServicePolicy;
use crate::domain::time::Timestamp;
use crate::engine::intake::{Given, Settled};
use crate::engine::ports::Clock;
use crate::record::input::{Kind, Reader};

/// Whom a dead letter names as the source of what came in here.
const SOURCE: &str = "/deferd/front";

/// What this operator decided about the front.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Who we are, as a SIP URI: results come from it.
    pub address: Box<str>,
    /// The gateways that may report SMS failures, canonical. (A-7)
    pub gateways: Vec<Box<str>>,
    /// The application servers that may send system messages, canonical. (SEED4-10)
    pub application_servers: Vec<Box<str>>,
    /// How procedure 8.3.1.1 is run.
    pub service: ServicePolicy,
    /// Whether quotes of event reports are mended before reading. (A-42)
    pub repair: bool,
    /// How IMDNs are written. (A-31)
    pub form: Form,
}

impl Rules {
    /// Our host, as a Warning names it.
    fn host(&self) -> &str {
        let (_, host) = self.address.rsplit_once('@').unwrap_or(("", &self.address));
        host.split([';', '>', '?']).next().unwrap_or(host)
    }
}

/// A request, as any protocol carries it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who is asking, as far as the carrier can tell.
    pub caller: Caller,
    /// Its headers, by their SIP names.
    pub headers: Headers,
    /// Its body.
    pub body: Vec<u8>,
}

/// What a caller hears.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The SIP status; `None`: it is not ours, and goes on as it is.
    pub status: Option<u16>,
    /// What was done, in a sentence.
    pub says: String,
    /// More for programs, each by its name.
    pub more: Vec<(&'static str, Value)>,
}

impl Answer {
    fn of(status: u16, says: impl Into<String>) -> Self {
        Self { status: Some(status), says: says.into(), more: Vec::new() }
    }

    fn relayed(says: impl Into<String>) -> Self {
        Self { status: None, says: says.into(), more: Vec::new() }
    }

    fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.more.push((name, value.into()));
        self
    }
}

/// What SIP says beside a status. (RFC 3261 21)
#[must_use]
pub const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        403 => "Forbidden",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        503 => "Service Unavailable",
        _ => "Server Internal Error",
    }
}

/// The front: one for all carriers.
pub struct Front {
    reach: Reach,
    reader: Reader,
    clock: Arc<dyn Clock + Send + Sync>,
    store: Option<Arc<dyn MessageStore>>,
    rules: RwLock<Arc<Rules>>,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").field("rules", &self.rules()).finish_non_exhaustive()
    }
}

/// An input to be made of what came in.
struct Told<'t> {
    kind: Kind,
    /// The user, in any form.
    user: std::borrow::Cow<'t, str>,
    /// Told again it has the same id.
    id: String,
    /// When it was observed; `None`: now.
    time: Option<Timestamp>,
    data: Value,
}

impl Front {
    /// A front before an engine; `store`: where flags are set.
    #[must_use]
    pub fn new(
        reach: Reach,
        reader: Reader,
        clock: Arc<dyn Clock + Send + Sync>,
        store: Option<Arc<dyn MessageStore>>,
        rules: Rules,
    ) -> Self {
        Self { reach, reader, clock, store, rules: RwLock::new(Arc::new(rules)) }
    }

    /// Goes by other rules from the next request on.
    pub fn set_rules(&self, rules: Rules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How much a document may hold: no more than an input.
    fn limits(&self) -> Limits {
        Limits { octets: self.reader.max_input_bytes, ..Limits::default() }
    }

    /// Inputs as they are handed in: each is one that the engine takes.
    ///
    /// # Errors
    ///
    /// [`Denial`] of the first that it would not.
    fn inputs(&self, told: &[Told<'_>]) -> Result<Vec<Given>, Denial> {
        let now = self.clock.now();
        told.iter()
            .map(|told| {
                let Told { kind, user, id, time, data } = told;
                // What a caller's clock says of the future is not believed.
                let time = time.unwrap_or(now).min(now);
                let event = json!({
                    "specversion": "1.0", "id": id, "source": SOURCE, "subject": user,
                    "time": time.to_string(), "type": format!("{}.v1", kind.name()), "data": data,
                });
                let bytes = event.to_string().into_bytes();
                let read = self.reader.read(&bytes, now).map_err(Denial::from)?;
                let user = Some(read.user.to_string().into());
                Ok(Given { topic: "front".into(), offset: None, user, bytes: bytes.into() })
            })
            .collect()
    }

    /// Hands inputs in, all or none; what became of each.
    async fn give(&self, inputs: Vec<Given>) -> Result<Vec<Settled>, Denial> {
        Ok(self.reach.give(inputs).await?)
    }
}

/// What an input says, as its record has it.
fn data(said: &impl Serialize) -> Value {
    serde_json::to_value(said).unwrap_or_default()
}

/// What became of each input, for whoever sent them.
fn became(settled: &[Settled]) -> Value {
    data(&settled.iter().map(Became::from).collect::<Vec<_>>())
}

/// A name made of these: the same of the same.
fn name_of<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(16).map(|octet| format!("{octet:02x}")).collect()
}
