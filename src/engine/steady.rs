//! A wall clock that leaps ahead fires and expires nothing until it has stood for a while.
//!
//! An operator's slip or a bad time server must not turn a night's messages into SMS, nor end their
//! lives. A step back needs nothing here: a worker never decides before its last record.

use std::time::Duration;

use crate::domain::time::Timestamp;

/// A step of the wall clock, against the monotonic one, that is taken for a leap.
const LEAP: Duration = Duration::from_secs(60);
/// How long a leap must stand before it is believed.
const STANDS: Duration = Duration::from_secs(300);

/// Judges what a wall clock says by a clock that only goes forward.
///
/// What was believed once is believed again: a clock that went back and returns has not leapt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steady {
    /// The wall clock's lead over the monotonic one, in milliseconds: the most that was believed.
    lead: Option<i64>,
    /// When the leap that is under way began, by the monotonic clock.
    leap: Option<Duration>,
}

impl Steady {
    /// What time to work by, when the wall clock says `wall` and the monotonic one `elapsed`.
    pub fn judge(&mut self, wall: Timestamp, elapsed: Duration) -> Timestamp {
        let passed = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
        let lead = wall.as_millis().saturating_sub(passed);
        let most = *self.lead.get_or_insert(lead);
        let expected = Timestamp::from_millis(most.saturating_add(passed));
        if wall > expected + LEAP {
            let began = *self.leap.get_or_insert(elapsed);
            if elapsed.saturating_sub(began) < STANDS {
                return expected;
            }
        }
        self.leap = None;
        self.lead = Some(most.max(lead));
        wall
    }

    /// Whether a leap is under way that is not believed yet.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.leap.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_795_248_000_000 + seconds * 1000)
    }

    const fn after(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_clock_that_walks_is_believed() {
        let mut steady = Steady::default();
        for second in 0..1000 {
            let drifting = s(second) + Duration::from_millis(second.unsigned_abs() * 100);
            assert_eq!(steady.judge(drifting, after(second.unsigned_abs())), drifting);
        }
        assert!(!steady.is_held());
    }

    /// An hour ahead: time goes on as before, and is believed after five minutes.
    #[test]
    fn a_leap_must_stand() {
        let mut steady = Steady::default();
        steady.judge(s(0), after(0));
        for second in [10, 100, 309] {
            let wall = s(second) + after(3600);
            assert_eq!(steady.judge(wall, after(second.unsigned_abs())), s(second));
            assert!(steady.is_held());
        }
        assert_eq!(steady.judge(s(3910), after(310)), s(3910));
        assert!(!steady.is_held());
    }

    /// It comes back before it is believed: nothing has happened.
    #[test]
    fn a_leap_that_is_taken_back_leaves_nothing() {
        let mut steady = Steady::default();
        steady.judge(s(0), after(0));
        assert_eq!(steady.judge(s(3610), after(10)), s(10));
        assert_eq!(steady.judge(s(20), after(20)), s(20));
        assert!(!steady.is_held());
        // And the next one has its own five minutes.
        assert_eq!(steady.judge(s(3900), after(300)), s(300));
        assert_eq!(steady.judge(s(4100), after(500)), s(500));
    }

    #[test]
    fn a_step_back_is_taken_as_it_is() {
        let mut steady = Steady::default();
        steady.judge(s(0), after(0));
        assert_eq!(steady.judge(s(-3600), after(10)), s(-3600));
        assert_eq!(steady.judge(s(20), after(20)), s(20), "it was believed before");
        assert!(!steady.is_held());
        assert_eq!(steady.judge(s(100), after(30)), s(30));
        assert!(steady.is_held());
    }
}
