//! How an edge reaches the engine: it asks the shard of a user, and hands inputs in. Bounded in time.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::engine::intake::{Given, Intake, Refused, Settled};
use crate::engine::ports::Fate;
use crate::engine::shard::{Desk, Desks};

/// The way to the engine.
#[derive(Clone)]
pub struct Reach {
    /// Takes inputs.
    pub intake: Arc<dyn Intake>,
    /// Asks whoever decides for a partition.
    pub desks: Arc<dyn Desks>,
    /// How long an answer may take.
    pub patience: Duration,
}

/// Why a shard gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silent {
    /// Another process decides for this partition.
    Elsewhere(u32),
    /// The daemon is stopping.
    Stopping,
    /// It takes too long.
    Slow,
}

/// Why inputs are not known to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// None of them was.
    Refused(Refused),
    /// They may or may not be; why nobody can tell.
    Unknown(String),
}

/// What became of an input, for whoever sent it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "each field is that of `Settled`")]
pub enum Became<'a> {
    /// It is decided.
    Decided {
        partition: u32,
        seq: u64,
        /// In a word.
        fate: &'static str,
        /// Why nothing followed.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<Cow<'a, str>>,
    },
    /// Its topic has it.
    Logged { topic: &'a str, partition: u32, offset: u64 },
}

impl<'a> From<&'a Settled> for Became<'a> {
    fn from(settled: &'a Settled) -> Self {
        let (partition, seq, fate) = match settled {
            Settled::Decided { partition, seq, fate } => (*partition, *seq, fate),
            Settled::Logged { topic, partition, offset } => {
                return Self::Logged { topic, partition: *partition, offset: *offset };
            }
        };
        let (fate, reason) = match fate {
            Fate::Decided => ("decided", None),
            Fate::Ignored(why) => ("ignored", Some(why.as_str().into())),
            Fate::Duplicate => ("duplicate", None),
            Fate::Rejected(why) => ("rejected", Some(why.to_string().into())),
        };
        Self::Decided { partition, seq, fate, reason }
    }
}

impl Reach {
    /// Asks one shard.
    ///
    /// # Errors
    ///
    /// [`Silent`]: who could be asked instead, or when.
    pub async fn ask<T: Send + 'static>(
        &self,
        partition: u32,
        question: impl FnOnce(&mut dyn Desk) -> T + Send + 'static,
    ) -> Result<T, Silent> {
        let asks = self.desks.of(partition).ok_or(Silent::Elsewhere(partition))?;
        let (tell, answer) = oneshot::channel();
        asks.ask(Box::new(move |desk| drop(tell.send(question(desk)))));
        match timeout(self.patience, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Silent::Stopping),
            Err(_) => Err(Silent::Slow),
        }
    }

    /// Hands inputs in, all or none, and waits until all are durable.
    ///
    /// # Errors
    ///
    /// [`NotTaken`].
    pub async fn give(&self, given: Vec<Given>) -> Result<Vec<Settled>, NotTaken> {
        if given.is_empty() {
            return Ok(Vec::new());
        }
        let (tell, told) = oneshot::channel();
        let tell = Box::new(move |settled| drop(tell.send(settled)));
        self.intake.give(given, tell).map_err(NotTaken::Refused)?;
        match timeout(self.patience, told).await {
            Ok(Ok(Ok(settled))) => Ok(settled),
            Ok(Ok(Err(why))) => Err(NotTaken::Unknown(why)),
            Ok(Err(_)) => Err(NotTaken::Unknown("the daemon is going down".to_owned())),
            Err(_) => Err(NotTaken::Unknown("they are not durable yet".to_owned())),
        }
    }
}

impl std::fmt::Debug for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reach").field("patience", &self.patience).finish_non_exhaustive()
    }
}
