//! Sinks against a real data directory, a real webhook on the loopback, and real files.
#![allow(missing_docs, reason = "a test")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and says so"
)]

mod data;
mod samples;
mod seeded;
#[path = "sinks/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use data::{DataDirectory, SetClock};
use deferd::edge::sink::{Settings, SinkHandle, Webhook, World, start};
use deferd::engine::ports::Clock;
use deferd::log::embedded::{EmbeddedTails, Frames, Inboxes, Until};
use serde_json::{Value, json};
use server::{Reply, Server, reply};

const SEGMENT: u64 = 1 << 20;

#[test]
fn what_is_taken_is_posted_once_with_its_token() {
    let server = Server::new(|_, _| reply(202));
    let mut case = Case::new("taken", 2);
    let token = case.made().path().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    let webhook = Webhook { token_file: Some(token.clone()), ..Webhook::default() };
    let sinks = case.start(&Settings { webhook, ..posts_to(&server) });
    case.commands(&[(1, "a1"), (2, "b1"), (1, "a2"), (3, "c1")]);

    until("all are posted", || server.posts().len() == 4);
    let post = &server.posts()[0];
    let id = post.id();
    assert!(post.headers[0].starts_with("POST /cpm "));
    for header in [
        "content-type: application/cloudevents+json",
        "authorization: Bearer s3cret",
        "deferd-attempt: 1",
        &format!("idempotency-key: {id}"),
    ] {
        assert!(post.has(header), "{header}: {:?}", post.headers);
    }
    until("nothing is left", || sinks[0].lag(case.clock.now()).records == 0);
    assert_eq!(sinks[0].health(), None);
    until("the cursor is saved", || {
        (0..2).all(|number| sinks[0].needed(number) == case.end(number))
    });
    // A reload brings another token.
    std::fs::write(&token, "other").unwrap();
    sinks[0].reopen();
    std::thread::sleep(Duration::from_millis(100));
    case.commands(&[(1, "a3")]);
    until("one more", || server.posts().len() == 5);
    assert!(server.posts()[4].has("authorization: Bearer other"));
    stop(sinks);
    assert_eq!(server.posts().len(), 5);
}

#[test]
fn what_is_not_taken_now_is_posted_again() {
    let server = Server::new(|post, before| {
        let times = before.iter().filter(|one| one.id() == post.id()).count();
        match (post.message().as_str(), times) {
            ("a1", 0) => reply(500),
            ("b1", 0) => Reply(429, "Retry-After: 2\r\n", Duration::ZERO),
            ("c1", 0) => reply(408),
            _ => reply(200),
        }
    });
    let mut case = Case::new("again", 1);
    let sinks = case.start(&posts_to(&server));
    case.commands(&[(1, "a1"), (2, "b1"), (3, "c1")]);
    until("each is posted twice", || server.posts().len() == 6);
    let order: Vec<String> = server.posts().iter().map(server::Post::message).collect();
    assert_eq!(order[5], "b1", "it asked for two seconds: {order:?}");
    for message in ["a1", "b1", "c1"] {
        let posts = server.posts();
        let mine: Vec<_> = posts.iter().filter(|post| post.message() == message).collect();
        assert_eq!(mine[0].id(), mine[1].id());
        assert!(mine[1].has("deferd-attempt: 2"));
    }
    stop(sinks);
}

/// A refusal is no reason to lose a message: the engine hears of it, once, and others go on.
#[test]
fn what_is_refused_is_told_and_not_posted_again() {
    let server = Server::new(|post, _| match post.message().as_str() {
        "a1" => reply(404),
        "b1" => reply(413),
        _ => reply(200),
    });
    let mut case = Case::new("refused", 1);
    let sinks = case.start(&posts_to(&server));
    case.commands(&[(1, "a1"), (2, "b1"), (3, "c1")]);
    case.run();
    until("both are told", || case.outcomes().len() == 2);
    let causes: BTreeSet<String> = case.outcomes().into_iter().map(|(_, cause)| cause).collect();
    assert_eq!(causes, ["content".to_owned(), "infrastructure".to_owned()].into());
    until("nothing is left", || {
        let seen = server.posts();
        ["a1", "b1", "c1"].iter().all(|m| seen.iter().any(|post| post.message() == *m))
    });
    stop(sinks);
    let ids: Vec<_> = server.posts().iter().map(server::Post::id).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
}

/// It was accepted, and the answer was lost: the same id comes again, so that whoever took it can tell.
#[test]
fn an_answer_that_is_lost_brings_the_same_id_again() {
    let server = Server::new(|_, before| {
        let wait = if before.is_empty() { 1500 } else { 0 };
        Reply(200, "", Duration::from_millis(wait))
    });
    let mut case = Case::new("lost", 1);
    let webhook = Webhook { timeout: Duration::from_millis(300), ..quick() };
    let sinks = case.start(&Settings { webhook, ..posts_to(&server) });
    case.commands(&[(1, "a1")]);
    until("it is posted again", || server.posts().len() >= 2);
    assert_eq!(server.posts()[0].id(), server.posts()[1].id());
    until("nothing is left", || sinks[0].lag(case.clock.now()).records == 0);
    stop(sinks);
}

#[test]
fn what_is_over_is_late_once() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{address}/cpm");
    let settings = Settings { deliveries: Some(url), webhook: quick(), ..Settings::default() };
    let mut case = Case::new("late", 1);
    let sinks = case.start(&settings);
    case.commands(&[(1, "a1")]);
    case.run();
    until("it says what is wrong", || sinks[0].health().is_some());
    assert!(sinks[0].lag(case.clock.now()).records > 0);
    case.clock.pass(40_000);
    until("it is late", || case.outcomes().len() == 1);
    assert_eq!(case.outcomes()[0].1, "late");
    stop(sinks);

    // Down while a command is asked for and its deadline passes: it is never posted.
    case.pause();
    case.commands(&[(2, "b1")]);
    let asked: Vec<Value> =
        case.outputs().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let asked = asked.iter().find(|event| event["data"]["message_id"] == "b1").unwrap();
    case.clock.pass(3_600_000);
    let server = Server::at(address, |_, _| reply(200));
    case.run();
    let sinks = case.start(&settings);
    until("that is late, too", || case.outcomes().len() >= 2);
    case.pause();
    case.commands(&[(3, "c1")]);
    until("and it goes on", || server.posts().iter().any(|post| post.message() == "c1"));
    stop(sinks);
    let late = case.outcomes();
    let ids: BTreeSet<_> = late.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), late.len(), "{late:?}");
    // The engine may try again by itself; what was asked for before is not posted.
    assert!(late.iter().any(|(id, _)| *id == asked["id"]), "{late:?}");
    assert!(server.posts().iter().all(|post| post.event["id"] != asked["id"]));
}

#[test]
fn a_user_in_trouble_keeps_its_order_and_holds_up_nobody() {
    let open = Arc::new(AtomicBool::new(false));
    let opened = Arc::clone(&open);
    let server = Server::new(move |post, _| {
        let is_bad = post.event["subject"] == "tel:+15145550201" && !opened.load(Ordering::SeqCst);
        reply(if is_bad { 503 } else { 200 })
    });
    let mut case = Case::new("order", 1);
    let webhook = Webhook { concurrency: 2, ..quick() };
    let sinks = case.start(&Settings { webhook, ..posts_to(&server) });
    case.commands(&[(1, "a1"), (1, "a2"), (2, "b1"), (1, "a3"), (2, "b2"), (3, "c1"), (4, "d1")]);
    let of = |user: u32| -> Vec<String> {
        let user = format!("tel:+151455502{user:02}");
        let posts = server.posts();
        posts.iter().filter(|p| p.event["subject"] == *user).map(server::Post::message).collect()
    };
    until("the others are through", || of(2) == ["b1", "b2"] && of(3).len() + of(4).len() == 2);
    until("it is tried again", || of(1).len() > 2);
    assert!(of(1).iter().all(|message| message == "a1"), "{:?}", of(1));
    open.store(true, Ordering::SeqCst);
    until("it goes on", || of(1).len() > 3 && of(1).last().unwrap() == "a3");
    let mut order = of(1);
    order.dedup();
    assert_eq!(order, ["a1", "a2", "a3"]);
    stop(sinks);
}

/// Nothing is skipped, and what was taken is not posted again, though one before it was not.
#[test]
fn a_restart_goes_on_where_it_stood() {
    let bad = Arc::new(AtomicBool::new(true));
    let is_bad = Arc::clone(&bad);
    let server = Server::new(move |post, _| {
        reply(if post.message() == "a1" && is_bad.load(Ordering::SeqCst) { 503 } else { 200 })
    });
    let mut case = Case::new("restart", 1);
    let sinks = case.start(&posts_to(&server));
    case.commands(&[(1, "a1"), (2, "b1"), (3, "c1")]);
    let posted = |message: &str| server.posts().iter().filter(|p| p.message() == message).count();
    until("two are taken", || posted("b1") == 1 && posted("c1") == 1 && posted("a1") >= 1);
    stop(sinks);
    case.commands(&[(4, "d1")]);
    bad.store(false, Ordering::SeqCst);
    let before = posted("a1");
    let sinks = case.start(&posts_to(&server));
    until("the rest comes", || posted("d1") == 1 && posted("a1") == before + 1);
    stop(sinks);
    assert_eq!((posted("b1"), posted("c1"), posted("d1")), (1, 1, 1));
}

#[test]
fn a_sink_that_hangs_holds_up_no_commit() {
    let server = Server::new(|_, _| Reply(200, "", Duration::from_secs(2)));
    let mut case = Case::new("slow", 1);
    let webhook = Webhook { concurrency: 1, ..quick() };
    let sinks = case.start(&Settings { webhook, ..posts_to(&server) });
    case.commands(&[(1, "a1"), (2, "b1"), (3, "c1")]);
    until("it hangs", || server.posts().len() == 1);
    let before = case.end(0);
    case.made().live(40);
    assert!(case.end(0) > before + 40 && server.posts().len() < 3);
    assert!(sinks[0].lag(case.clock.now()).records > 40);
}

/// Whatever a crash leaves between the file and the cursor: lines may be there twice, none is missing.
#[test]
fn a_file_has_every_output_after_a_crash_anywhere() {
    let mut case = Case::new("file", 2);
    let path = case.made().path().join("out.jsonl");
    let settings = Settings { file: Some(path.clone()), ..Settings::default() };
    case.made().live(60);
    let sinks = case.start(&settings);
    until("it is written", || sinks[0].lag(case.clock.now()).records == 0);
    stop(sinks);
    assert_eq!(sorted(&lines(&path)), sorted(&case.outputs()));
    let cursor = case.made().path().join("sinks/file");
    let old = std::fs::read(&cursor).unwrap();
    let length = std::fs::metadata(&path).unwrap().len();

    case.made().live(60);
    let sinks = case.start(&settings);
    until("it is written", || sinks[0].lag(case.clock.now()).records == 0);
    stop(sinks);
    let whole = std::fs::metadata(&path).unwrap().len();
    let bytes = std::fs::read(&path).unwrap();
    // The cursor was not saved, and the file ends anywhere: behind a line, or inside of one.
    for cut in [length, length + 1, (length + whole) / 2, whole - 1, whole] {
        std::fs::write(&cursor, &old).unwrap();
        std::fs::write(&path, &bytes[..cut as usize]).unwrap();
        let sinks = case.start(&settings);
        until("it is written", || sinks[0].lag(case.clock.now()).records == 0);
        stop(sinks);
        let there: BTreeSet<String> = lines(&path).into_iter().collect();
        let wanted: BTreeSet<String> = case.outputs().into_iter().collect();
        assert!(there == wanted, "cut at {cut} of {length} to {whole}");
    }
}

#[test]
fn a_file_that_is_rotated_is_opened_again() {
    let mut case = Case::new("rotated", 1);
    let path = case.made().path().join("out.jsonl");
    let old = case.made().path().join("out.jsonl.1");
    let settings = Settings { file: Some(path.clone()), ..Settings::default() };
    let sinks = case.start(&settings);
    case.made().live(40);
    until("it is written", || sinks[0].lag(case.clock.now()).records == 0);
    std::fs::rename(&path, &old).unwrap();
    sinks[0].reopen();
    until("it is opened again", || path.exists());
    case.made().live(40);
    until("it is written", || sinks[0].lag(case.clock.now()).records == 0);
    stop(sinks);
    assert!(!lines(&path).is_empty());
    assert_eq!([lines(&old), lines(&path)].concat(), case.outputs());
}

#[test]
fn a_full_disk_is_waited_for() {
    let mut case = Case::new("full", 1);
    let path = case.made().path().join("out.jsonl");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let settings = Settings { file: Some(path.clone()), ..Settings::default() };
    let sinks = case.start(&settings);
    case.made().live(30);
    until("it says so", || sinks[0].health().is_some_and(|why| why.contains("cannot be written")));
    assert!(sinks[0].needed(0) < case.end(0));
    std::fs::remove_file(&path).unwrap();
    sinks[0].reopen();
    until("it is written", || sinks[0].lag(case.clock.now()).records == 0);
    assert_eq!(sinks[0].health(), None);
    stop(sinks);
    assert_eq!(lines(&path), case.outputs());
}

#[test]
fn what_cannot_be_started_says_why() {
    let mut case = Case::new("wrong", 1);
    let empty = case.made().path().join("empty");
    std::fs::write(&empty, "\n").unwrap();
    let webhook = Webhook { token_file: Some(empty), ..Webhook::default() };
    let url = Some("http://127.0.0.1:1/".to_owned());
    let no_token = Settings { deliveries: url.clone(), webhook, ..Settings::default() };
    let no_folder = Settings { file: Some("/no/such/folder".into()), ..Settings::default() };
    for (settings, says) in [(no_token, "holds no token"), (no_folder, "cannot open /no/such")] {
        let error = case.try_start(&settings).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let cursors = case.made().path().join("sinks");
    std::fs::create_dir_all(&cursors).unwrap();
    std::fs::write(cursors.join("webhook-deliveries"), "{}").unwrap();
    let settings = Settings { deliveries: url, ..Settings::default() };
    let error = case.try_start(&settings).unwrap_err().to_string();
    assert!(error.contains("remove it to let the sink begin anew"), "{error}");
}

fn quick() -> Webhook {
    Webhook {
        timeout: Duration::from_secs(5),
        first_wait: Duration::from_millis(20),
        ..Webhook::default()
    }
}

fn posts_to(server: &Server) -> Settings {
    Settings { deliveries: Some(server.url.clone()), webhook: quick(), ..Settings::default() }
}

fn stop(sinks: Vec<SinkHandle>) {
    for sink in sinks {
        assert!(sink.stop(Duration::from_secs(20)));
    }
}

/// Waits for something, and not for ever.
fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not within 20 s: {what}");
}

fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(str::to_owned)
        .inspect(|l| drop(serde_json::from_str::<Value>(l).unwrap()))
        .collect()
}

fn sorted(lines: &[String]) -> Vec<String> {
    let mut lines = lines.to_vec();
    lines.sort();
    lines
}

/// A data directory, its worker at rest or at work, and its sinks.
struct Case {
    path: PathBuf,
    clock: SetClock,
    tails: Arc<EmbeddedTails>,
    inboxes: Arc<Inboxes<SetClock>>,
    made: Option<DataDirectory>,
    running: Option<(Arc<AtomicBool>, JoinHandle<DataDirectory>)>,
    /// Time passes.
    _ticks: JoinHandle<()>,
    registered: BTreeSet<u32>,
}

impl Case {
    fn new(name: &str, partitions: u32) -> Self {
        let mut made = DataDirectory::new(&format!("sink-{name}"), partitions, SEGMENT);
        let clock = made.clock.clone();
        let ticking = clock.clone();
        let ticks = std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_millis(5));
                ticking.pass(5);
            }
        });
        Self {
            path: made.path(),
            clock,
            tails: Arc::new(made.tails()),
            inboxes: Arc::clone(&made.inboxes),
            made: Some(made),
            running: None,
            _ticks: ticks,
            registered: BTreeSet::new(),
        }
    }

    fn made(&mut self) -> &mut DataDirectory {
        self.made.as_mut().expect("it is at rest")
    }

    fn try_start(
        &self,
        settings: &Settings,
    ) -> Result<Vec<SinkHandle>, deferd::edge::sink::SinkError> {
        let world = World {
            tails: Arc::clone(&self.tails) as _,
            intake: Arc::clone(&self.inboxes) as _,
            clock: Arc::new(self.clock.clone()),
            watch: Arc::new(()),
        };
        start(settings, &self.path.join("sinks"), &world)
    }

    fn start(&self, settings: &Settings) -> Vec<SinkHandle> {
        self.try_start(settings).unwrap()
    }

    /// A delivery command for each message, of users by their numbers, in this order.
    fn commands(&mut self, messages: &[(u32, &str)]) {
        let now = self.clock.now();
        let user = |number: u32| format!("tel:+151455502{number:02}");
        let event = |id: String, kind: &str, number: u32, data: Value| {
            json!({
                "specversion": "1.0", "id": id, "source": "/test", "type": kind,
                "subject": user(number), "time": now.to_string(), "data": data,
            })
            .to_string()
        };
        let mut events = Vec::new();
        for (number, _) in messages {
            if self.registered.insert(*number) {
                let data = json!({
                    "device": { "instance": format!("urn:gsma:imei:35622410-4838{number:02}-0") },
                    "expires_at": (now + Duration::from_secs(86_400)).to_string(),
                    "cpm_capable": true,
                });
                events.push(event(format!("r{number}"), "cpm.ims.registered.v1", *number, data));
            }
        }
        self.made().take(&events);
        self.clock.pass(3000);
        for (number, message) in messages {
            let data = json!({
                "message_id": message, "from": "tel:+15145550199", "kind": "pager",
                "content_type": "text/plain", "body": "hello",
                // Of one conversation one at a time would be asked for.
                "conversation_id": message,
            });
            let line = event((*message).to_owned(), "cpm.message.submitted.v1", *number, data);
            self.made().take(&[line]);
        }
        self.made().step();
    }

    /// From here on it takes what is handed in.
    fn run(&mut self) {
        let mut made = self.made.take().expect("it is at rest");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                made.step();
                std::thread::sleep(Duration::from_millis(2));
            }
            made
        });
        self.running = Some((stop, thread));
    }

    fn pause(&mut self) {
        let (stop, thread) = self.running.take().expect("it is at work");
        stop.store(true, Ordering::SeqCst);
        self.made = Some(thread.join().unwrap());
    }

    fn end(&self, partition: u32) -> u64 {
        deferd::engine::tail::Tails::end(&*self.tails, partition)
    }

    fn each_frame(&self, mut each: impl FnMut(deferd::log::embedded::Frame<'_>)) {
        let directory = deferd::log::embedded::Directory::open(&self.path).unwrap();
        for partition in 0..directory.layout.partitions {
            let place = deferd::log::embedded::Place::published(&directory.partition(partition));
            let mut frames = Frames::oldest(&directory, partition).unwrap();
            while let Some(frame) = frames.next(Until::Place(place.unwrap_or_default())).unwrap() {
                each(frame);
            }
        }
    }

    /// All outputs, in the order of the partitions.
    fn outputs(&self) -> Vec<String> {
        let mut all = Vec::new();
        self.each_frame(|frame| {
            all.extend(frame.outputs().map(|o| String::from_utf8(o.bytes.to_vec()).unwrap()));
        });
        all
    }

    /// What sinks have said of attempts: their ids and causes.
    fn outcomes(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        self.each_frame(|frame| {
            let record: Value = serde_json::from_slice(frame.line).unwrap();
            let input = &record["input"];
            if input["source"].as_str().is_some_and(|source| source.starts_with("/deferd/sink/")) {
                let text = |name: &str| input["data"][name].as_str().unwrap().to_owned();
                all.push((text("attempt_id"), text("cause")));
            }
        });
        all
    }
}
