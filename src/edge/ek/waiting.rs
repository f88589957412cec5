//! Requests that wait for their answers.
//!
//! Source: `rules.md` E-6: a fact is told when its procedure is complete.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::domain::time::Timestamp;

use super::{Seen, Sighting, Skip};

/// Values by key, each for a while, the oldest let go where there are too many.
#[derive(Debug)]
pub(super) struct Waiting<V> {
    by_key: HashMap<String, (Age, V)>,
    by_age: BTreeMap<Age, String>,
    next: u64,
    wait: Duration,
    limit: usize,
}

/// Since when, and the how manieth, so that no two are the same.
type Age = (Timestamp, u64);

impl<V> Waiting<V> {
    pub(super) fn new(wait: Duration, limit: usize) -> Self {
        Self { by_key: HashMap::new(), by_age: BTreeMap::new(), next: 0, wait, limit }
    }

    /// Keeps the value. What comes back is gone: the one it replaces, or the oldest for want of
    /// room.
    pub(super) fn put(&mut self, key: String, at: Timestamp, value: V) -> Option<V> {
        let replaced = self.take(&key);
        let age = (at, self.next);
        self.next += 1;
        self.by_age.insert(age, key.clone());
        self.by_key.insert(key, (age, value));
        if replaced.is_none() && self.by_key.len() > self.limit {
            return self.oldest();
        }
        replaced
    }

    pub(super) fn get(&self, key: &str) -> Option<&V> {
        self.by_key.get(key).map(|(_, value)| value)
    }

    pub(super) fn take(&mut self, key: &str) -> Option<V> {
        let (age, value) = self.by_key.remove(key)?;
        self.by_age.remove(&age);
        Some(value)
    }

    /// The oldest of those that have waited too long at `now`, or of all where there is no more
    /// time.
    pub(super) fn overdue(&mut self, now: Option<Timestamp>) -> Option<V> {
        let ((since, _), _) = self.by_age.first_key_value()?;
        if now.is_some_and(|now| now.since(*since) <= self.wait) {
            return None;
        }
        self.oldest()
    }

    fn oldest(&mut self) -> Option<V> {
        let (_, key) = self.by_age.pop_first()?;
        self.by_key.remove(&key).map(|(_, value)| value)
    }
}

/// What a request will have told when it succeeds.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) sightings: Vec<Sighting>,
    pub(super) kind: Kind,
}

/// What the answer adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It makes the fact: without it nothing happened.
    Procedure,
    /// It acknowledges a fact: without it the sender knew nevertheless.
    Notice,
}

/// The open requests of a protocol.
#[derive(Debug)]
pub(super) struct Requests(Waiting<Request>);

impl Requests {
    pub(super) fn new(wait: Duration, limit: usize) -> Self {
        Self(Waiting::new(wait, limit))
    }

    /// A request that is open already is the same one at another hop.
    pub(super) fn open(&mut self, key: String, request: Request, seen: &mut Seen) {
        if self.0.get(&key).is_some() {
            return seen.skip(Skip::Repeated);
        }
        if let Some(gone) = self.0.put(key, seen.now, request) {
            unanswered(gone, Skip::TooManyOpen, seen);
        }
    }

    /// Whom the open request is about, for what its answer leaves out.
    pub(super) fn about(&self, key: &str) -> Option<&super::Who> {
        self.0.get(key)?.sightings.first().map(|sighting| &sighting.who)
    }

    /// The answer came. A procedure is complete only now; a notice keeps the time of its sender.
    pub(super) fn close(&mut self, key: &str, success: bool, seen: &mut Seen) {
        let Some(request) = self.0.take(key) else { return seen.skip(Skip::NoRequest) };
        if !success {
            return seen.skip(Skip::Refused);
        }
        for mut sighting in request.sightings {
            if request.kind == Kind::Procedure {
                sighting.at = seen.now;
            }
            seen.tell(sighting);
        }
    }

    pub(super) fn expire(&mut self, now: Option<Timestamp>, seen: &mut Seen) {
        while let Some(request) = self.0.overdue(now) {
            unanswered(request, Skip::Unanswered, seen);
        }
    }
}

/// A notice that nobody was seen to answer is told as inferred, a procedure is not told.
fn unanswered(request: Request, reason: Skip, seen: &mut Seen) {
    match request.kind {
        Kind::Procedure => seen.skip(reason),
        Kind::Notice => {
            for sighting in request.sightings {
                seen.tell(sighting.inferred());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn the_oldest_goes_first() {
        let mut waiting = Waiting::new(Duration::from_secs(10), 2);
        assert_eq!(waiting.put("a".into(), at(0), 1), None);
        assert_eq!(waiting.put("b".into(), at(1), 2), None);

        assert_eq!(waiting.put("c".into(), at(2), 3), Some(1));
        assert_eq!(waiting.put("c".into(), at(3), 4), Some(3));
        assert_eq!(waiting.overdue(Some(at(11))), None);
        assert_eq!(waiting.overdue(Some(at(12))), Some(2));
        assert_eq!(waiting.take("b"), None);
        assert_eq!(waiting.overdue(None), Some(4));
        assert_eq!(waiting.overdue(None), None);
    }
}
