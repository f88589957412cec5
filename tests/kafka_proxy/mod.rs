//! Stands between a member and the broker, and can hold up the end of a transaction or lose its answer.
//!
//! It knows of Kafka's protocol that requests and answers have their length first, and answers the number of
//! their request.

#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a test waits for what it has asked for.
const PATIENCE: Duration = Duration::from_secs(30);
/// The keys of requests (Kafka protocol, `ApiKeys`).
const PRODUCE: i16 = 0;
const LEAVE_GROUP: i16 = 13;
const END_TXN: i16 = 26;
const TXN_OFFSET_COMMIT: i16 = 28;

/// What becomes of the commits that come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// They go on their way.
    Pass,
    /// The next one gets no answer, and for so long none of those after it gets through.
    Lose(Duration),
    /// The same, and it does not arrive either.
    Drop(Duration),
    /// One is on its way whose answer is to be lost.
    Losing(Instant),
    /// The connection of any is cut, until then.
    Cut(Instant),
    /// The next one waits.
    Hold,
    /// One does.
    Held,
    /// It may go, and its answer is noted.
    Release,
    /// What the broker answered to it.
    Answered(i16),
    /// Offsets that are sent next do not arrive, and nothing after them.
    CutOff,
    /// Nothing gets through.
    Away,
    /// What is produced waits, and the next offsets go before it.
    Overtake,
    /// Those offsets are there, and what was produced is not.
    Overtaken,
}

#[derive(Debug)]
struct Shared {
    rule: Mutex<Rule>,
    changed: Condvar,
}

impl Shared {
    fn rule(&self) -> Rule {
        *self.rule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, rule: Rule) {
        *self.rule.lock().unwrap_or_else(PoisonError::into_inner) = rule;
        self.changed.notify_all();
    }

    /// Waits until the rule is one of these.
    fn wait(&self, what: &str, is_it: impl Fn(Rule) -> bool) -> Rule {
        let rule = self.rule.lock().unwrap_or_else(PoisonError::into_inner);
        let (rule, waited) =
            self.changed.wait_timeout_while(rule, PATIENCE, |rule| !is_it(*rule)).unwrap();
        assert!(!waited.timed_out(), "{what}: {rule:?}");
        *rule
    }
}

/// Passes on to a broker, until the process ends.
pub struct Proxy(Arc<Shared>);

impl Proxy {
    pub fn start(at: &str, broker: String) -> Self {
        let listener = TcpListener::bind(at).unwrap();
        let shared = Arc::new(Shared { rule: Mutex::new(Rule::Pass), changed: Condvar::new() });
        let proxy = Self(Arc::clone(&shared));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.rule() == Rule::Away {
                    continue;
                }
                // The broker may be away: so is the client's connection then.
                let Ok(broker) = TcpStream::connect(&broker) else { continue };
                pass_on(&client, &broker, &shared);
            }
        });
        proxy
    }

    /// Loses the answer of the next commit, and every further commit for so long; returns when it is lost.
    pub fn lose(&self, for_so_long: Duration) {
        self.0.set(Rule::Lose(for_so_long));
        self.0.wait("no commit's answer was lost", |rule| matches!(rule, Rule::Cut(_)));
    }

    /// Loses the next commit itself, and every further one for so long: whoever made it cannot tell.
    pub fn drop_next(&self, for_so_long: Duration) {
        self.0.set(Rule::Drop(for_so_long));
        self.0.wait("no commit was lost", |rule| matches!(rule, Rule::Cut(_)));
    }

    /// Cuts all off when offsets are sent next; returns when it is so.
    pub fn cut_off(&self) {
        self.0.set(Rule::CutOff);
        self.0.wait("no offsets were sent", |rule| rule == Rule::Away);
    }

    /// Lets offsets overtake the records of their transaction; returns when they are there.
    pub fn overtake(&self) {
        self.0.set(Rule::Overtake);
        self.0.wait("no offsets overtook records", |rule| rule == Rule::Overtaken);
    }

    /// Everything gets through again.
    pub fn pass(&self) {
        self.0.set(Rule::Pass);
    }

    /// Holds the next commit; returns when it has it.
    pub fn hold(&self) {
        self.0.set(Rule::Hold);
        self.0.wait("no commit was held", |rule| rule == Rule::Held);
    }

    /// Lets the commit go that is held; the error that the broker answers, 0 for none.
    pub fn release(&self) -> i16 {
        self.0.set(Rule::Release);
        let rule = self.0.wait("no answer", |rule| matches!(rule, Rule::Answered(_)));
        self.0.set(Rule::Pass);
        if let Rule::Answered(error) = rule { error } else { -1 }
    }
}

fn pass_on(client: &TcpStream, broker: &TcpStream, shared: &Arc<Shared>) {
    for stream in [client, broker] {
        stream.set_nodelay(true).unwrap();
    }
    // The request whose answer is looked at.
    let watched = Arc::new(Mutex::new(None));
    let ends = || (client.try_clone().unwrap(), broker.try_clone().unwrap());
    let ((client, broker), (there, back)) = (ends(), ends());
    let (to_broker, to_client) = (Arc::clone(shared), Arc::clone(shared));
    let (asked, answered) = (Arc::clone(&watched), watched);
    std::thread::spawn(move || {
        let _ = requests(&client, &broker, &to_broker, &asked);
        let _ = (client.shutdown(Shutdown::Both), broker.shutdown(Shutdown::Both));
    });
    std::thread::spawn(move || {
        let _ = answers(&back, &there, &to_client, &answered);
        let _ = (there.shutdown(Shutdown::Both), back.shutdown(Shutdown::Both));
    });
}

type Watched = Mutex<Option<[u8; 4]>>;

/// Records that wait until everything gets through.
fn send_kept(mut broker: &TcpStream, kept: &Mutex<Vec<u8>>) -> Option<()> {
    let mut kept = kept.lock().unwrap();
    broker.write_all(&std::mem::take(&mut *kept)).ok()
}

/// `None`: the connection has ended, or is to end.
fn requests(
    mut client: &TcpStream,
    mut broker: &TcpStream,
    shared: &Arc<Shared>,
    watched: &Watched,
) -> Option<()> {
    let kept = Arc::new(Mutex::new(Vec::new()));
    loop {
        let frame = frame(&mut client)?;
        let is = |key: i16| frame[4..6] == key.to_be_bytes();
        if matches!(shared.rule(), Rule::Overtake | Rule::Overtaken) {
            if is(PRODUCE) {
                kept.lock().unwrap().extend(frame);
                continue;
            }
            if is(TXN_OFFSET_COMMIT) && !kept.lock().unwrap().is_empty() {
                *watched.lock().unwrap() = Some(frame[8..12].try_into().unwrap());
                let (shared, kept) = (Arc::clone(shared), Arc::clone(&kept));
                let broker = broker.try_clone().unwrap();
                std::thread::spawn(move || {
                    shared.wait("nobody lets them go", |rule| rule == Rule::Pass);
                    send_kept(&broker, &kept)
                });
            }
        } else {
            send_kept(broker, &kept)?;
        }
        // Length, key, version, number; a commit says so in its last octet.
        if shared.rule() == Rule::CutOff && is(TXN_OFFSET_COMMIT) {
            shared.set(Rule::Away);
        }
        if shared.rule() == Rule::Away {
            return None;
        }
        let is_commit = is(END_TXN) && frame.last() == Some(&1);
        if is_commit {
            let number = frame[8..12].try_into().unwrap();
            match shared.rule() {
                Rule::Lose(long) => {
                    *watched.lock().unwrap() = Some(number);
                    shared.set(Rule::Losing(Instant::now() + long));
                }
                Rule::Drop(long) => {
                    shared.set(Rule::Cut(Instant::now() + long));
                    return None;
                }
                Rule::Losing(_) => return None,
                Rule::Cut(until) if Instant::now() < until => return None,
                Rule::Hold => {
                    shared.set(Rule::Held);
                    shared.wait("nobody lets it go", |rule| rule == Rule::Release);
                    *watched.lock().unwrap() = Some(number);
                }
                Rule::Pass | Rule::Cut(_) | Rule::Held | Rule::Release | Rule::Answered(_) => {}
                Rule::CutOff | Rule::Away | Rule::Overtake | Rule::Overtaken => {}
            }
        }
        broker.write_all(&frame).ok()?;
    }
}

fn answers(
    mut broker: &TcpStream,
    mut client: &TcpStream,
    shared: &Shared,
    watched: &Watched,
) -> Option<()> {
    loop {
        let frame = frame(&mut broker)?;
        if frame.get(4..8).map(|number| number.try_into().unwrap()) == *watched.lock().unwrap() {
            *watched.lock().unwrap() = None;
            if let Rule::Losing(until) = shared.rule() {
                shared.set(Rule::Cut(until));
                return None;
            }
            if shared.rule() == Rule::Overtake {
                shared.set(Rule::Overtaken);
            } else {
                // Length, number, throttle time, error.
                shared.set(Rule::Answered(i16::from_be_bytes([frame[12], frame[13]])));
            }
        }
        client.write_all(&frame).ok()?;
    }
}

/// A request or an answer, with its length.
fn frame(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut frame = vec![0; 4];
    stream.read_exact(&mut frame).ok()?;
    let length = u32::from_be_bytes(frame[..4].try_into().unwrap());
    frame.resize(4 + length as usize, 0);
    stream.read_exact(&mut frame[4..]).ok()?;
    Some(frame)
}

/// Takes a static member out of its group, as its administrator may.
pub fn expel(broker: &str, group: &str, instance: &str) {
    let text = |text: &str| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
    let request = [
        &LEAVE_GROUP.to_be_bytes()[..],
        &[0, 3, 0, 0, 0, 1],
        &text("a-test"),
        &text(group),
        &[0, 0, 0, 1],
        &text(""),
        &text(instance),
    ]
    .concat();
    let mut stream = TcpStream::connect(broker).unwrap();
    stream.write_all(&(request.len() as u32).to_be_bytes()).unwrap();
    stream.write_all(&request).unwrap();
    let answer = frame(&mut stream).unwrap();
    assert_eq!(answer[12..14], [0, 0], "{instance} is not taken out of {group}: {answer:?}");
}
