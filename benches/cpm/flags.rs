//! Flags of stored messages, beside a bare loop on the same store: a real Dovecot on the loopback.
//!
//! Both add `\Seen` to the same messages and read it back, over as many connections, each a user's of its own with
//! one folder. Before the clock starts the flags are taken away again, every connection is logged in and in its
//! folder, and has heard what the server tells of that.
//!
//! The bare loop, [`bare`](super::bare), sends all its `UID STORE` on a connection without waiting for any
//! answer, and looks for the flag of each message in what the answers show, as ours does: a STORE that is not
//! silent shows the flags that a message has then. It trusts UIDs, and its commands are written before the clock
//! starts. Ours makes one call after the other for a user. Each first fetches the head of what a UID names, which
//! must have the message's id as UIDs go stale, and waits for it before it stores: two answers to wait for where
//! the bare loop waits for none. Of both a command names as many messages: one, as when a phone tells of each
//! message as it is read; or a hundred, as when it tells of all at once. What the waiting costs by itself, the bare
//! loop shows where it waits for each answer too.

use std::sync::Arc;
use std::time::Duration;

use deferd::domain::address::{Address, Home};
use deferd::edge::imap::{Imap, Settings};
use deferd::edge::store::{Flag, MessageStore, Object};
use tokio::runtime::{Builder, Runtime};

use super::bare::{Bare, Pace};
use super::dovecot::{Dovecot, User};
use super::measure::{Round, median, target, timed};

/// The folder of every user.
const FOLDER: &str = "Default/c1/k1";
/// Connections, each a user's.
const USERS: u32 = 8;
/// Messages of each user in a round; one more wakes connections up.
const MESSAGES: u32 = 1000;
/// The same, where they are looked for.
const LOOKED_FOR: u32 = 100;
/// No more rounds than that: one takes seconds.
pub(crate) const ROUNDS: usize = 5;

/// The rows.
pub(crate) fn report(rounds: usize) {
    let server = Dovecot::start();
    let mut owners: Vec<User> = (0..USERS).map(|user| owner(&server, user)).collect();
    let ours = Ours::new(&server);
    let mut bares: Vec<Bare> = (0..USERS)
        .map(|user| Bare::open(server.port, &format!("{}*deferd", number(user)), FOLDER))
        .collect();

    println!("\n{:<34}{:>10}{:>14}", "flags, 8 connections", "k/s", "CPU µs each");
    let mut ratios = Vec::new();
    let rounds = rounds.min(ROUNDS);
    for at_once in [1, 100] {
        let many = if at_once == 1 { "one a call" } else { "100 a call" };
        let by_uid = calls(MESSAGES, at_once, |uid| Object {
            uid: Some(uid),
            folder: Some(FOLDER.to_owned()),
            message_id: Some(id(uid)),
            ..Object::default()
        });
        let by_id = calls(LOOKED_FOR, at_once, |uid| Object {
            message_id: Some(id(uid)),
            ..Object::default()
        });
        let commands = Bare::commands(MESSAGES, at_once);
        let mut bare = |owners: &mut [User], pace| {
            clear(owners);
            bares.iter_mut().for_each(|bare| bare.wake(MESSAGES + 1));
            timed(|| Bare::all(&mut bares, &commands, MESSAGES, pace))
        };
        let our = |owners: &mut [User], calls| {
            clear(owners);
            ours.round(calls)
        };
        let (mut pipelined, mut waiting) = (Vec::new(), Vec::new());
        let (mut flagged, mut found) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            for bare_now in [round % 2 == 0, round % 2 != 0] {
                if bare_now {
                    pipelined.push(bare(&mut owners, Pace::Pipelined));
                } else {
                    flagged.push(our(&mut owners, &by_uid));
                }
            }
            waiting.push(bare(&mut owners, Pace::Waiting));
            found.push(our(&mut owners, &by_id));
        }
        let bare = row(&format!("{many}: the bare loop"), MESSAGES, &pipelined);
        row(&format!("{many}: the same, waiting"), MESSAGES, &waiting);
        let flagged = row(&format!("{many}: by folder and UID"), MESSAGES, &flagged);
        row(&format!("{many}: by Message-ID"), LOOKED_FOR, &found);
        ratios.push((format!("{many}, against the bare loop"), flagged / bare));
    }
    println!();
    for (name, ratio) in ratios {
        target(&name, ratio, "x", 0.5, true);
    }
}

/// Our side: a store, and who calls it.
struct Ours {
    runtime: Runtime,
    store: Arc<Imap>,
    users: Vec<Address>,
}

/// Calls of each user, one after the other.
type Calls = Arc<Vec<Vec<Object>>>;

impl Ours {
    fn new(server: &Dovecot) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let timeout = Duration::from_secs(60);
        let settings = Settings { connections: USERS as usize, timeout, ..server.settings() };
        let user = |user| Address::parse(&number(user), &Home::default()).expect("a number");
        Self {
            runtime: runtime.expect("a runtime"),
            store: Arc::new(Imap::new(settings).expect("a store")),
            users: (0..USERS).map(user).collect(),
        }
    }

    /// A round; its connections are woken up first.
    fn round(&self, calls: &Calls) -> Round {
        let one = Object {
            uid: Some(MESSAGES + 1),
            folder: Some(FOLDER.to_owned()),
            ..Object::default()
        };
        self.flag(&Arc::new(vec![vec![one]]));
        timed(|| self.flag(calls))
    }

    /// Each message has the flag then.
    fn flag(&self, calls: &Calls) {
        let of = |user: &Address| {
            let (store, user, calls) = (Arc::clone(&self.store), user.clone(), Arc::clone(calls));
            self.runtime.spawn(async move {
                for objects in &*calls {
                    let answers = store.flag(&user, Flag::Seen, objects).await;
                    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
                }
            })
        };
        for user in self.users.iter().map(of).collect::<Vec<_>>() {
            self.runtime.block_on(user).expect("all flags");
        }
    }
}

/// Prints a row; messages a second.
fn row(name: &str, messages: u32, rounds: &[Round]) -> f64 {
    let (round, count) = (median(rounds), f64::from(messages * USERS));
    let rate = count / round.wall;
    println!("{name:<34}{:>10.2}{:>14.1}", rate / 1e3, round.cpu * 1e6 / count);
    rate
}

fn calls(messages: u32, at_once: usize, object: impl Fn(u32) -> Object) -> Calls {
    let objects: Vec<Object> = (1..=messages).map(object).collect();
    Arc::new(objects.chunks(at_once).map(<[Object]>::to_vec).collect())
}

fn number(user: u32) -> String {
    format!("+151455501{user:02}")
}

fn id(uid: u32) -> String {
    format!("5f0c6a8e-3d0b-4c7e-9a51-2b6f1f{uid:06}")
}

/// A user's own mail program, and the messages.
fn owner(server: &Dovecot, user: u32) -> User {
    let mut owner = server.user(&number(user));
    owner.make(FOLDER);
    for uid in 1..=MESSAGES + 1 {
        owner.add(
            FOLDER,
            &format!(
                "From: <tel:+15145550199>\r\nTo: <tel:{}>\r\nDate: Sat, 21 Nov 2026 08:00:00 +0000\r\n\
                 IMDN-Message-ID: {}\r\nMessage-Context: pager-message\r\n\
                 Content-Type: text/plain;charset=utf-8\r\n\r\nLunch at one?\r\n",
                number(user),
                id(uid)
            ),
        );
    }
    owner.say(&format!("SELECT \"{FOLDER}\""));
    owner
}

/// Takes all flags away.
fn clear(owners: &mut [User]) {
    for owner in owners {
        owner.say("UID STORE 1:* -FLAGS.SILENT (\\Seen)");
    }
}
