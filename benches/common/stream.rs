//! The bench stream, the same for every figure: a fixed seed, many users, the mix of a working day.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use deferd::domain::time::Timestamp;
use deferd::engine::ports::{Clock, Position, Received};
use deferd::engine::worker::{Settings, Worker};
use deferd::log::memory::MemoryLog;
use sha2::{Digest, Sha256};

/// 2026-11-21T08:00:00Z.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_795_248_000_000);

/// SplitMix64: a seed gives a stream, here and everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One of `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
}

/// A clock that a bench sets.
#[derive(Clone, Debug, Default)]
pub(crate) struct BenchClock(pub(crate) std::rc::Rc<std::cell::Cell<Timestamp>>);

impl Clock for BenchClock {
    fn now(&self) -> Timestamp {
        self.0.get()
    }
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Real;

impl Clock for Real {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp::from_millis(i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(0))
    }
}

/// The inputs, in order, with the time each was logged.
#[derive(Debug)]
pub(crate) struct Stream {
    /// The inputs.
    pub(crate) inputs: Vec<Received>,
    /// SHA-256 over all of them: two runs with the same one measured the same.
    pub(crate) digest: String,
    /// Bytes of all inputs.
    pub(crate) bytes: u64,
}

/// `count` inputs over `users` users: 30 % submitted (150 B), 30 % IMS, 20 % CS, PS and ready, 15 %
/// outcomes of attempts that this very stream caused, 5 % duplicates. One a millisecond; every other
/// reachability fact is about somebody for whom something waits.
pub(crate) fn stream(count: usize, users: u64, seed: u64) -> Stream {
    stream_from(START, Duration::from_millis(1), count, users, seed)
}

/// The same mix, from another time on and at another pace.
pub(crate) fn stream_from(
    start: Timestamp,
    pace: Duration,
    count: usize,
    users: u64,
    seed: u64,
) -> Stream {
    let mut random = Random(seed);
    let clock = BenchClock::default();
    let settings = Settings::default();
    let mut worker =
        Worker::open(MemoryLog::default(), clock.clone(), settings, None).expect("a log in memory");
    let mut inputs: Vec<Received> = Vec::with_capacity(count);
    let mut attempts: VecDeque<(String, String)> = VecDeque::new();
    let mut waiting: VecDeque<u64> = VecDeque::new();
    let body = "x".repeat(150);
    while inputs.len() < count {
        let n = inputs.len() as u64;
        let at = start + pace * n as u32;
        let somebody = random.below(users);
        let known = waiting.get(random.below(waiting.len() as u64) as usize).copied();
        let expected = if random.below(2) == 0 { known.unwrap_or(somebody) } else { somebody };
        let kind = random.below(100);
        let bytes: Arc<[u8]> = match kind {
            0..30 => {
                waiting.push_back(somebody);
                if waiting.len() > 100_000 {
                    waiting.pop_front();
                }
                let from = random.below(users);
                let data = format!(
                    r#"{{"message_id":"m{n}","from":"{}","kind":"pager","content_type":"text/plain","body":"{body}","disposition":["positive-delivery","negative-delivery"]}}"#,
                    number(from)
                );
                event(n, "message.submitted", "/as/1", somebody, at, &data)
            }
            30..60 => {
                let expires = at + Duration::from_secs(3600);
                let data = format!(
                    r#"{{"device":{{"instance":"urn:gsma:imei:35622410-{:06}-0"}},"expires_at":"{expires}","change":"{}","features":["oma.cpm.msg"]}}"#,
                    expected % 1_000_000,
                    if random.below(3) == 0 { "refreshed" } else { "initial" }
                );
                event(n, "ims.registered", "/probe/scscf", expected, at, &data)
            }
            60..80 => match random.below(4) {
                0 => event(n, "cs.attached", "/probe/hlr", expected, at, "{}"),
                1 => event(n, "ps.attached", "/probe/hss", expected, at, "{}"),
                2 => event(n, "cs.detached", "/probe/hlr", expected, at, "{}"),
                _ => event(n, "sms.ready", "/probe/hlr", expected, at, r#"{"domain":"CS"}"#),
            },
            80..95 => {
                let Some((attempt, user)) = attempts.pop_front() else { continue };
                let outcome = match random.below(4) {
                    0 => r#""outcome":"failed","cause":"absent""#,
                    1 => r#""outcome":"started""#,
                    _ => r#""outcome":"delivered""#,
                };
                if outcome.contains("started") {
                    attempts.push_front((attempt.clone(), user.clone()));
                }
                let data = format!(r#"{{"attempt_id":"{attempt}",{outcome}}}"#);
                raw(n, "delivery.outcome", "/gw/1", &user, at, &data)
            }
            _ => match inputs.get(random.below(n) as usize) {
                Some(before) => Arc::clone(&before.bytes),
                None => continue,
            },
        };
        let position = Position { topic: "cpm.inputs".into(), partition: 0, offset: n };
        let input = Received { position, logged: at, bytes };
        inputs.push(input.clone());
        clock.0.set(at);
        worker.log().push(input);
        worker.step().expect("a log in memory");
        let log = worker.log();
        let _ = log.take_journal();
        for output in std::mem::take(&mut log.outputs) {
            if output.topic == "cpm.deliveries" {
                let event: serde_json::Value =
                    serde_json::from_slice(&output.bytes).expect("our own JSON");
                let text =
                    |name| event.get(name).and_then(|text| text.as_str()).unwrap_or_default();
                attempts.push_back((text("id").to_owned(), text("subject").to_owned()));
            }
        }
    }
    let mut hash = Sha256::new();
    inputs.iter().for_each(|input| hash.update(&input.bytes));
    let digest = hash.finalize().iter().take(8).map(|octet| format!("{octet:02x}")).collect();
    let bytes = inputs.iter().map(|input| input.bytes.len() as u64).sum();
    Stream { inputs, digest, bytes }
}

pub(crate) fn number(user: u64) -> String {
    format!("tel:+1415{:07}", 1_000_000 + user)
}

pub(crate) fn event(
    n: u64,
    kind: &str,
    source: &str,
    user: u64,
    at: Timestamp,
    data: &str,
) -> Arc<[u8]> {
    raw(n, kind, source, &number(user), at, data)
}

fn raw(n: u64, kind: &str, source: &str, user: &str, at: Timestamp, data: &str) -> Arc<[u8]> {
    format!(
        r#"{{"specversion":"1.0","id":"{n}","source":"{source}","type":"cpm.{kind}.v1","subject":"{user}","time":"{at}","data":{data}}}"#
    )
    .into_bytes()
    .into()
}
