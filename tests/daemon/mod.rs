//! The HTTP edge on the real engine and the embedded log, in this process; and a client that can be rude.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and says so"
)]
#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deferd::cli::clock::WallClock;
use deferd::cli::config::Config;
use deferd::domain::address::Home;
use deferd::domain::event::Access;
use deferd::domain::policy::{AccessSwitch, Policy};
use deferd::domain::time::Timestamp;
use deferd::edge::front::{Front, Rules};
use deferd::edge::http::{Change, Check, Feeds, Host, Limits, Site, Switch, Token, serve};
use deferd::edge::reach::Reach;
use deferd::edge::store::MessageStore;
use deferd::engine::intake::{Given, Intake, Refused, Settled, Told};
use deferd::engine::partition::Partition;
use deferd::engine::ports::Clock;
use deferd::engine::shard::{self, Asks, Health};
use deferd::engine::state::State;
use deferd::engine::tail::{Journals, Tails};
use deferd::engine::worker::{Settings, Worker};
use deferd::log::embedded::{self, Directory, Embedded, EmbeddedTails, Inboxes, Lock, Options};
use serde_json::{Value, json};

/// One structured event.
pub const ONE: &str = "application/cloudevents+json";
/// An array of them.
pub const BATCH: &str = "application/cloudevents-batch+json";
/// Whom most events are about.
pub const USER: &str = "tel:+15145550100";

/// How a daemon is set up.
pub struct Setup {
    pub partitions: u32,
    pub queue: embedded::Limits,
    pub http: Limits,
    pub segment_bytes: u64,
    pub token: Option<&'static str>,
    pub settings: Settings,
    /// Callers, as `http.callers_file` lists them.
    pub callers: &'static str,
    pub rules: Rules,
    pub store: Option<Arc<dyn MessageStore>>,
    /// What fronts hand in is answered as a topic does, at once, and decided so much later.
    pub decides_after: Option<Duration>,
}

/// Answers when an input is logged, not when it is decided.
struct Topics(Arc<Inboxes<WallClock>>, Duration);

impl Intake for Topics {
    fn give(&self, given: Vec<Given>, told: Told) -> Result<(), Refused> {
        let logged = Settled::Logged { topic: "cpm.messages".into(), partition: 0, offset: 0 };
        let (inboxes, after, count) = (Arc::clone(&self.0), self.1, given.len());
        std::thread::spawn(move || {
            std::thread::sleep(after);
            inboxes.give(given, Box::new(drop)).unwrap();
        });
        told(Ok(vec![logged; count]));
        Ok(())
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            partitions: 1,
            queue: embedded::Limits { inputs: 20_000, bytes: 64 << 20 },
            http: Limits { timeout: Duration::from_secs(10), ..Limits::default() },
            segment_bytes: 1 << 20,
            token: None,
            // A device takes its first message at once: tests need not wait for it.
            settings: Settings {
                policy: Policy { settle: Duration::ZERO, ..Policy::default() },
                ..Settings::default()
            },
            callers: "",
            rules: Config::default().front(&Home::default()),
            store: None,
            decides_after: None,
        }
    }
}

/// What the process around the server says, as a test wants it.
#[derive(Default)]
pub struct TestHost {
    pub dead: Mutex<Option<String>>,
    pub trouble: Mutex<Option<String>>,
    pub answered: Mutex<Vec<(String, u16)>>,
    switches: Mutex<Vec<(Access, Switch)>>,
}

impl Host for TestHost {
    fn dead(&self) -> Option<String> {
        self.dead.lock().unwrap().clone()
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap().clone()
    }

    fn checks(&self) -> Vec<Check> {
        vec![Check { name: "log".to_owned(), fault: self.trouble() }]
    }

    fn metrics(&self) -> String {
        assert!(self.dead().is_none(), "a handler panics when this test wants it");
        "deferd_up 1\n".to_owned()
    }

    fn answered(&self, route: &str, status: u16) {
        self.answered.lock().unwrap().push((route.to_owned(), status));
    }

    fn switch(&self, access: Access) -> Option<Switch> {
        let all = self.switches.lock().unwrap();
        let known = all.iter().find(|(of, _)| *of == access).map(|(_, switch)| switch.clone());
        known.or(Some(Switch { value: AccessSwitch::On, moved: None }))
    }

    fn set_switch(&self, access: Access, change: &Change) -> Result<Switch, String> {
        let moved = change.value.map(|_| (change.clone(), WallClock.now()));
        let switch = Switch { value: change.value.unwrap_or(AccessSwitch::On), moved };
        let mut all = self.switches.lock().unwrap();
        all.retain(|(of, _)| *of != access);
        all.push((access, switch.clone()));
        Ok(switch)
    }
}

/// A daemon at work; dropped, it stops.
pub struct Daemon {
    pub address: SocketAddr,
    pub directory: PathBuf,
    pub host: Arc<TestHost>,
    pub token: Arc<Token>,
    pub inboxes: Arc<Inboxes<WallClock>>,
    /// As long as it is set, no shard takes a step.
    pub paused: Arc<AtomicBool>,
    /// Segments that end before this record are removed.
    pub cut: Arc<AtomicU64>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    served: Option<tokio::task::JoinHandle<usize>>,
    runtime: Option<tokio::runtime::Runtime>,
    asks: Vec<Asks>,
    health: Vec<Arc<Health>>,
    shards: Vec<std::thread::JoinHandle<()>>,
    _lock: Lock,
}

impl Daemon {
    /// One on a directory of its own.
    pub fn start(setup: Setup) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let name = format!("daemon-{}-{number}", std::process::id());
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&directory);
        Self::on(&directory, setup)
    }

    /// One on this directory.
    pub fn on(path: &Path, setup: Setup) -> Self {
        let (directory, lock) = Directory::claim(path, setup.partitions, 1).unwrap();
        let inboxes = Arc::new(Inboxes::new(setup.partitions, setup.queue, WallClock));
        let paused = Arc::new(AtomicBool::new(false));
        let cut = Arc::new(AtomicU64::new(0));
        let (mut ends, mut asks, mut health, mut shards) = (vec![], vec![], vec![], vec![]);
        for (partition, inbox) in (0..).zip(&inboxes.all) {
            let options = Options { segment_bytes: setup.segment_bytes };
            let log = Embedded::open(&directory, partition, Arc::clone(inbox), options).unwrap();
            ends.push(log.end());
            let waker = Arc::clone(inbox);
            let (hand, questions) = shard::to_shard(Arc::new(move || waker.wake()));
            let ask = Asks::new(partition, hand);
            let own = Arc::new(Health::default());
            asks.push(ask);
            health.push(Arc::clone(&own));
            let (settings, paused) = (setup.settings.clone(), Arc::clone(&paused));
            let cut = Arc::clone(&cut);
            shards.push(std::thread::spawn(move || {
                let on = Partition::new(partition, State::default());
                let mut worker = Worker::on(on, log, WallClock, settings).unwrap();
                worker.log().caught_up();
                let tidy = |worker: &mut Worker<Embedded, WallClock>| {
                    let needed = cut.load(Ordering::SeqCst);
                    worker.log().remove_before(needed, Timestamp::MAX, u64::MAX).unwrap();
                    while paused.load(Ordering::SeqCst) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    false
                };
                shard::run(&mut worker, &questions, &own, &mut (), tidy).unwrap();
            }));
        }
        let host = Arc::new(TestHost::default());
        let token = Arc::new(Token::default());
        if let Some(secret) = setup.token {
            token.set(secret).unwrap();
        }
        token.set_callers(setup.callers, |address| address.into()).unwrap();
        let tails = Arc::new(EmbeddedTails::new(directory, ends));
        // The first record of each says which policy is in force.
        for partition in 0..setup.partitions {
            tails.wait_for(partition, 0, Duration::from_secs(10));
        }
        let reach = Reach {
            intake: Arc::clone(&inboxes) as Arc<dyn Intake>,
            desks: Arc::new(asks.clone()),
            patience: setup.http.timeout,
        };
        let intake: Arc<dyn Intake> = match setup.decides_after {
            Some(after) => Arc::new(Topics(Arc::clone(&inboxes), after)),
            None => Arc::clone(&inboxes) as Arc<dyn Intake>,
        };
        let front = Front::new(
            Reach { intake, ..reach.clone() },
            setup.settings.reader.clone(),
            Arc::new(WallClock),
            setup.store,
            setup.rules,
        );
        let site = Site {
            reach,
            front: Arc::new(front),
            journals: Arc::clone(&tails) as Arc<dyn Journals>,
            feeds: Feeds::Here(Arc::clone(&tails) as Arc<dyn Tails>),
            reader: setup.settings.reader.clone(),
            clock: Arc::new(WallClock),
            host: Arc::clone(&host) as Arc<dyn Host>,
            token: Arc::clone(&token),
            limits: setup.http,
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let served = {
            let _inside = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let stopped = async { drop(stopped.await) };
            runtime.spawn(serve(listener, site, stopped, Duration::from_secs(5)))
        };
        Self {
            address,
            directory: path.to_owned(),
            host,
            token,
            inboxes,
            paused,
            cut,
            stop: Some(stop),
            served: Some(served),
            runtime: Some(runtime),
            asks,
            health,
            shards,
            _lock: lock,
        }
    }

    /// Holds all shards between two steps.
    pub fn pause(&self) {
        self.paused.store(true, Ordering::SeqCst);
        // A tick: a step that has begun ends.
        std::thread::sleep(Duration::from_millis(120));
    }

    /// Lets them go on.
    pub fn go_on(&self) {
        self.paused.store(false, Ordering::SeqCst);
    }

    /// Stops the server; how many connections were cut off.
    pub fn close(&mut self) -> usize {
        drop(self.stop.take());
        let (Some(served), Some(runtime)) = (self.served.take(), &self.runtime) else { return 0 };
        runtime.block_on(served).unwrap()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], b"")
    }

    pub fn post(&self, of: &str, body: &[u8]) -> Answer {
        self.call("POST", "/v1/events", &[("content-type", of)], body)
    }

    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(&request(method, path, headers, body)).unwrap();
        answer(&mut stream)
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// All journal records of a partition's segments, as they stand on disk.
    pub fn journal_holds(&self, text: &str) -> bool {
        let mut files = vec![self.directory.clone()];
        while let Some(path) = files.pop() {
            if path.is_dir() {
                files.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            } else if contains(&std::fs::read(&path).unwrap(), text.as_bytes()) {
                return true;
            }
        }
        false
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.go_on();
        drop(self.stop.take());
        self.health.iter().for_each(|health| health.stop());
        self.asks.iter().for_each(|asks| asks.ask(Box::new(|_| {})));
        self.shards.drain(..).for_each(|shard| shard.join().unwrap());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// The bytes of a request that ends its connection.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    [text.as_bytes(), body].concat()
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The error, which always says in a sentence what is wrong.
    pub fn error(&self) -> (u16, String, String) {
        let error = &self.json()["error"];
        let (code, message) = (error["code"].as_str().unwrap(), error["message"].as_str().unwrap());
        assert!(message.len() > 20 && !code.is_empty(), "{code}: {message}");
        (self.status, code.to_owned(), message.to_owned())
    }
}

/// Reads an answer that ends with its connection, or with its length.
pub fn answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let mut buffer = [0; 65_536];
    loop {
        if let Some(answer) = parsed(&bytes) {
            return answer;
        }
        match stream.read(&mut buffer) {
            Ok(0) => panic!("no answer, but {:?}", String::from_utf8_lossy(&bytes)),
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
}

fn parsed(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let (first, lines) = head.split_once("\r\n").unwrap_or((head, ""));
    let status: u16 = first.split(' ').nth(1)?.parse().unwrap();
    if status == 100 {
        return parsed(&bytes[end + 4..]);
    }
    let headers: Vec<(String, String)> = lines
        .split("\r\n")
        .filter_map(|line| line.split_once(": ").or_else(|| line.split_once(':')))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(0, |(_, value)| value.trim().parse().unwrap());
    let body = bytes.get(end + 4..end + 4 + length)?.to_vec();
    Some(Answer { status, headers, body })
}

pub fn answer_of(stream: &mut TcpStream) -> u16 {
    answer(stream).status
}

/// A message and a phone that can take it: one delivery follows.
pub fn deliverable(daemon: &Daemon, user: u32) {
    let subject = format!("tel:+151455501{user:02}");
    let mut message = submitted(&format!("m{user}"));
    message["subject"] = subject.as_str().into();
    let soon = "2099-01-01T00:00:00Z";
    let registered = json!({
        "specversion": "1.0", "id": format!("r{user}"), "source": "/s", "subject": subject,
        "type": "cpm.ims.registered.v1",
        "data": {"expires_at": soon, "device": {"contact": "sip:a@192.0.2.1"}, "change": "refreshed"},
    });
    let answer = daemon.post(BATCH, json!([registered, message]).to_string().as_bytes());
    assert_eq!(answer.status, 202, "{}", answer.text());
}

pub fn attach(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/s", "type": "cpm.cs.attached.v1",
        "subject": USER,
    })
}

pub fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut event = attach("1");
    change(&mut event);
    event.to_string().into_bytes()
}

pub fn submitted(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": format!("submit-{id}"), "source": "/front",
        "type": "cpm.message.submitted.v1", "subject": USER,
        "data": {
            "message_id": id, "from": "tel:+15145550199", "kind": "pager",
            "content_type": "text/plain", "body": format!("hello {id}"),
        },
    })
}
