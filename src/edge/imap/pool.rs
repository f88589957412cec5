//! Connections: so many at once, kept for whoever logs in next under the same name; so many callers wait.
//!
//! ```text
//! call ──► place ──► slot ──► an idle connection of this login, else a new one
//!            │                       ▲
//!            └ none: Unavailable     └ given back whole, or closed
//! ```

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::Stage;
use super::wire::{Connection, Door, Failure};
use crate::edge::store::StoreError;

/// The wait after the first time that the server could not be reached; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Where that ends.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// All connections to a server.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) door: Door,
    most: usize,
    /// Whoever has one may wait for a slot.
    places: Semaphore,
    /// Whoever has one may use a connection.
    slots: Semaphore,
    idle: Mutex<Vec<(String, Connection)>>,
    trouble: Mutex<Trouble>,
}

/// How the server was last reached.
#[derive(Debug, Default)]
struct Trouble {
    failures: u32,
    /// Nobody tries before.
    until: Option<Instant>,
    why: String,
}

impl Trouble {
    fn failed(&mut self, why: &str) {
        let wait = FIRST_WAIT.saturating_mul(1 << self.failures.min(16)).min(LONGEST_WAIT);
        *self = Self {
            failures: self.failures + 1,
            until: Some(Instant::now() + wait),
            why: why.to_owned(),
        };
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// With so many connections, and so many callers that wait beside those at work.
    pub(super) fn new(door: Door, connections: usize, waiting: usize) -> Self {
        Self {
            door,
            most: connections,
            places: Semaphore::new(connections + waiting),
            slots: Semaphore::new(connections),
            idle: Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    /// A connection that is logged in as `login`, before `until`.
    pub(super) async fn lease<'a>(
        &'a self,
        login: &str,
        password: &str,
        until: Instant,
    ) -> Result<Lease<'a>, StoreError> {
        let place = self.places.try_acquire().map_err(|_| {
            StoreError::Unavailable("too many calls wait for the store already".into())
        })?;
        self.try_now()?;
        let slot = timeout_at(until, self.slots.acquire()).await;
        let Ok(Ok(slot)) = slot else {
            return Err(StoreError::Unavailable("no connection was free in time".into()));
        };
        let lease = |connection, is_old| Lease {
            pool: self,
            login: login.to_owned(),
            connection,
            is_old,
            _slot: slot,
            _place: place,
        };
        if let Some(connection) = self.idle_of(login) {
            return Ok(lease(connection, true));
        }
        Ok(lease(self.open(login, password, until).await?, false))
    }

    /// Nobody waits for a server that just could not be reached.
    fn try_now(&self) -> Result<(), StoreError> {
        let trouble = lock(&self.trouble);
        match trouble.until {
            Some(until) if until > Instant::now() => {
                let why = format!("tried a moment ago: {}", trouble.why);
                Err(StoreError::Unavailable(why))
            }
            _ => Ok(()),
        }
    }

    fn idle_of(&self, login: &str) -> Option<Connection> {
        let mut idle = lock(&self.idle);
        while let Some(at) = idle.iter().rposition(|(of, _)| of == login) {
            let (_, connection) = idle.remove(at);
            if connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    async fn open(
        &self,
        login: &str,
        password: &str,
        until: Instant,
    ) -> Result<Connection, StoreError> {
        // Whoever had to wait for a slot may have waited for the one who found the server gone.
        self.try_now()?;
        self.make_room();
        let opened =
            match timeout_at(until, self.door.open(login, password, &mut Stage::Reach)).await {
                Ok(opened) => opened,
                Err(_) => Err(Failure::Gone("no connection in time".into())),
            };
        match opened {
            Ok(connection) => {
                *lock(&self.trouble) = Trouble::default();
                Ok(connection)
            }
            Err(Failure::Gone(why)) => {
                lock(&self.trouble).failed(&why);
                Err(StoreError::Unavailable(why))
            }
            Err(Failure::No(error)) => Err(error),
        }
    }

    /// Closes those that nobody has used for longest, as far as one more would be too many.
    fn make_room(&self) {
        let in_use = self.most - self.slots.available_permits();
        let mut idle = lock(&self.idle);
        let over = (idle.len() + in_use).saturating_sub(self.most).min(idle.len());
        idle.drain(..over);
    }
}

/// A connection in use. Unless it is given back it is closed.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    pool: &'a Pool,
    login: String,
    pub(super) connection: Connection,
    /// It was used before: it may be gone without anybody's fault.
    pub(super) is_old: bool,
    _slot: SemaphorePermit<'a>,
    _place: SemaphorePermit<'a>,
}

impl Lease<'_> {
    /// It is whole: another may use it.
    pub(super) fn give_back(self) {
        lock(&self.pool.idle).push((self.login, self.connection));
    }
}
