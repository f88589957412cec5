//! The clocks of this machine. No other file reads one: everything else is told what time it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::time::Timestamp;
use crate::engine::ports::Clock;
use crate::engine::steady::Steady;

/// The wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock;

impl Clock for WallClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads a clock")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The wall clock of a daemon: a leap ahead is not believed at once. All its clones are one clock.
#[derive(Clone, Debug)]
pub struct SteadyClock {
    began: Stopwatch,
    steady: Arc<Mutex<Steady>>,
}

impl SteadyClock {
    /// A clock that believes what the wall clock says now.
    #[must_use]
    pub fn start() -> Self {
        let clock = Self { began: Stopwatch::start(), steady: Arc::default() };
        clock.now();
        clock
    }

    /// Whether the wall clock has leapt ahead and is not believed yet.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.steady.lock().unwrap_or_else(PoisonError::into_inner).is_held()
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        let mut steady = self.steady.lock().unwrap_or_else(PoisonError::into_inner);
        steady.judge(WallClock.now(), self.began.elapsed())
    }
}

/// Measures how long something takes.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads a clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
