//! How an edge reaches the engine: it asks the shard of a user, and hands inputs in. Bounded in time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::engine::intake::{Given, Intake, Refused, Settled};
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
