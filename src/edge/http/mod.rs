//! HTTP: events in, deliveries out, and what an operator asks.
//!
//! A request is answered from what the engine's ports say: inputs go to the [`Intake`] and are answered
//! when they are durable, questions to the shard of their user, feeds follow the [`Tails`]. Nothing here
//! decides, and nothing holds a shard up.
//!
//! Source: RFC 9110, 9112; CloudEvents 1.0.2, HTTP binding; RFC 6750 for the token.

mod body;
mod connections;
mod cpm;
mod cursor;
mod events;
mod feeds;
mod forms;
mod health;
mod journals;
mod openapi;
mod refusal;
mod routes;
mod switches;
mod token;
mod users;
mod waiting;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

pub use self::connections::serve;
pub use self::openapi::openapi;
pub use self::routes::ROUTES;
pub use self::switches::{Change, Switch};
pub use self::token::{BadCallers, BlankToken, Token};

use self::feeds::Kept;
use self::refusal::Refusal;
use crate::domain::event::Access;
use crate::edge::front::Front;
use crate::edge::reach::Reach;
use crate::engine::intake::partition_of;
use crate::engine::ports::Clock;
use crate::engine::shard::Desk;
use crate::engine::tail::{Journals, Tails};
use crate::record::input::Reader;

/// Readings of whole journals at once; more are told to come back.
const READINGS: usize = 2;
/// Bodies that are held in memory at once, in bodies of the largest size.
const BODIES: usize = 4;

/// How much a client may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Octets of one body.
    pub body_bytes: usize,
    /// Connections at once.
    pub connections: usize,
    /// For a header, for a body, for an answer to be read, and for inputs to become durable.
    pub timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: 16 << 20, connections: 4096, timeout: Duration::from_secs(30) }
    }
}

/// One of the conditions of being ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is looked at, in one word or two.
    pub name: String,
    /// What is wrong with it.
    pub fault: Option<String>,
}

/// What only the process around the server knows.
///
/// All of it is asked while a request waits: it answers at once, [`set_switch`](Self::set_switch) aside.
pub trait Host: Send + Sync {
    /// What has died and will not come back, so that the process should be started again; `None`: all
    /// is alive.
    fn dead(&self) -> Option<String> {
        None
    }

    /// Why inputs cannot be made durable now; `None`: they can.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Whether it is ready, point by point.
    fn checks(&self) -> Vec<Check> {
        Vec::new()
    }

    /// The text that Prometheus reads.
    fn metrics(&self) -> String {
        String::new()
    }

    /// A request was answered.
    fn answered(&self, _route: &str, _status: u16) {}

    /// How a kill switch stands; `None`: there are none here.
    fn switch(&self, _access: Access) -> Option<Switch> {
        None
    }

    /// Moves a kill switch, and keeps it across restarts. It may take as long as the journal does.
    ///
    /// # Errors
    ///
    /// Why not, in words.
    fn set_switch(&self, _access: Access, _change: &Change) -> Result<Switch, String> {
        Err("there are no switches here".to_owned())
    }
}

/// What is served, and by which rules.
#[derive(Clone)]
pub struct Site {
    /// The way to the engine.
    pub reach: Reach,
    /// What takes the standards' documents.
    pub front: Arc<Front>,
    /// Reads the partitions' journals.
    pub journals: Arc<dyn Journals>,
    /// Where outputs are followed.
    pub feeds: Feeds,
    /// How inputs and addresses are read.
    pub reader: Reader,
    /// What time it is.
    pub clock: Arc<dyn Clock + Send + Sync>,
    /// The process around it.
    pub host: Arc<dyn Host>,
    /// What a client must show.
    pub token: Arc<Token>,
    /// How much it may ask for.
    pub limits: Limits,
}

/// Where outputs are followed.
#[derive(Clone)]
pub enum Feeds {
    /// Here.
    Here(Arc<dyn Tails>),
    /// On topics of their own, whose names begin with this.
    Topics(Box<str>),
}

impl std::fmt::Debug for Feeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Here(_) => f.write_str("Here"),
            Self::Topics(prefix) => f.debug_tuple("Topics").field(prefix).finish(),
        }
    }
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Whether whoever can reach this address is more than this machine, so that a token must be asked for.
#[must_use]
pub fn needs_token(address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

/// A site that is open.
struct Serving {
    site: Site,
    /// Changes whenever a partition has grown.
    news: watch::Receiver<()>,
    /// True once no new request is to wait for anything.
    closing: watch::Receiver<bool>,
    /// Octets of bodies that may yet be held.
    room: Arc<Semaphore>,
    /// Whole journals that may be read now.
    readings: Arc<Semaphore>,
    /// Followers of partitions, kept between the pages of a feed.
    kept: Kept,
}

impl Serving {
    fn new(site: Site, closing: watch::Receiver<bool>) -> Self {
        let (grown, news) = watch::channel(());
        if let Feeds::Here(tails) = &site.feeds {
            tails.on_growth(Box::new(move || {
                let _ = grown.send(());
            }));
        }
        let room = BODIES * site.limits.body_bytes;
        Self {
            site,
            news,
            closing,
            room: Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS))),
            readings: Arc::new(Semaphore::new(READINGS)),
            kept: Kept::default(),
        }
    }

    fn partitions(&self) -> u32 {
        self.site.reach.desks.partitions()
    }

    /// Asks the shard of a user, and waits for the answer no longer than a request may take.
    async fn ask<T: Send + 'static>(
        &self,
        user: &str,
        question: impl FnOnce(&mut dyn Desk) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        self.ask_partition(partition_of(user, self.partitions()), question).await
    }

    /// Asks one shard, in the same way.
    async fn ask_partition<T: Send + 'static>(
        &self,
        partition: u32,
        question: impl FnOnce(&mut dyn Desk) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        Ok(self.site.reach.ask(partition, question).await?)
    }
}
