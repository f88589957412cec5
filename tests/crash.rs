//! kill -9 of the real daemon at random instants, under load: nothing lost that was acknowledged, nothing
//! twice, and the journal whole; audited from outside after each.
//!
//! `DEFERD_ROUNDS=300 cargo test --test crash` runs more; `DEFERD_SEED` another run.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says so; it waits by a clock"
)]

mod process;
mod seeded;

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use process::{Audit, Process, post, scratch};
use seeded::Chance;

const PARTITIONS: u32 = 2;
const CLIENTS: u64 = 3;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

#[test]
fn a_kill_at_any_instant_loses_and_doubles_nothing() {
    let (rounds, seed) = (number("DEFERD_ROUNDS", 50), number("DEFERD_SEED", 1));
    let data = scratch("crash");
    let mut chance = Chance::new(seed);
    let next = Arc::new(AtomicU64::new(0));
    let acknowledged = Arc::new(Mutex::new(HashSet::new()));
    let mut audits: Vec<Audit> = (0..PARTITIONS).map(|_| Audit::default()).collect();
    for round in 0..rounds {
        // Small segments and frequent checkpoints, so that kills hit those too.
        let daemon = Process::start(
            &data,
            &[
                "--set=embedded.partitions=2",
                "--set=embedded.segment_bytes=200000",
                "--set=embedded.checkpoint_seconds=1",
                "--set=embedded.catch_up_seconds=0",
                "--set=policy.settle_seconds=0",
                "--set=policy.sms_hold_seconds=1",
                "--set=policy.ip_wait_after_attach_seconds=1",
            ],
        );
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (url, stop) = (daemon.url.clone(), Arc::clone(&stop));
                let (next, acknowledged) = (Arc::clone(&next), Arc::clone(&acknowledged));
                let seed = seed * 1_000_003 + round * CLIENTS + client;
                std::thread::spawn(move || load(&url, seed, &stop, &next, &acknowledged))
            })
            .collect();
        let lives = 30 + chance.below(600) as u64;
        std::thread::sleep(Duration::from_millis(lives));
        daemon.kill();
        stop.store(true, Ordering::SeqCst);
        clients.into_iter().for_each(|client| client.join().unwrap());
        audit(
            &data,
            &mut audits,
            &acknowledged.lock().unwrap(),
            &format!("seed {seed}, round {round}"),
        );
    }
    let daemon = Process::start(&data, &["--set=embedded.partitions=2"]);
    daemon.stop();
    audit(&data, &mut audits, &acknowledged.lock().unwrap(), "after the last start");
    let records: u64 = audits.iter().map(Audit::records).sum();
    let rang: usize = audits.iter().map(|audit| audit.rang).sum();
    let acknowledged = acknowledged.lock().unwrap().len();
    println!("{rounds} kills, {acknowledged} acknowledged, {records} records, {rang} alarms");
    assert!(acknowledged > 50 * rounds as usize / 2, "too little load to prove anything");
    assert!(rang > 0, "no alarm rang");
    std::fs::remove_dir_all(&data).unwrap();
}

/// Posts batches until the daemon is gone, and remembers what was acknowledged.
fn load(
    url: &str,
    seed: u64,
    stop: &AtomicBool,
    next: &AtomicU64,
    acknowledged: &Mutex<HashSet<String>>,
) {
    let mut chance = Chance::new(seed);
    while !stop.load(Ordering::SeqCst) {
        let size = 1 + chance.below(20) as u64;
        let first = next.fetch_add(size, Ordering::SeqCst);
        let events: Vec<_> = (first..first + size).map(|n| event(&mut chance, n)).collect();
        let Some((status, body)) = post(url, &format!("[{}]", events.join(","))) else { return };
        if status == 202 {
            let ids = (first..first + size).map(|n| n.to_string());
            acknowledged.lock().unwrap().extend(ids);
        } else {
            assert!(status == 503, "{status}: {body}");
        }
    }
}

/// Something about one of a few users, so that decisions, alarms and commands follow.
fn event(chance: &mut Chance, n: u64) -> String {
    let user = chance.below(40);
    let (kind, data) = match chance.below(10) {
        0..=3 => (
            "message.submitted",
            format!(
                r#"{{"message_id":"m{n}","from":"tel:+15145550199","kind":"pager","content_type":"text/plain","body":"hello {n}"}}"#
            ),
        ),
        4 | 5 => (
            "ims.registered",
            format!(
                r#"{{"device":{{"contact":"sip:u{user}@192.0.2.1"}},"expires_at":"2099-01-01T00:00:00Z","cpm_capable":true}}"#
            ),
        ),
        6 => ("ims.deregistered", "{}".to_owned()),
        7 | 8 => ("cs.attached", "{}".to_owned()),
        _ => ("cs.detached", "{}".to_owned()),
    };
    format!(
        r#"{{"specversion":"1.0","id":"{n}","source":"/load","type":"cpm.{kind}.v1","subject":"tel:+1514555{user:04}","data":{data}}}"#
    )
}

fn audit(data: &Path, audits: &mut [Audit], acknowledged: &HashSet<String>, when: &str) {
    for (partition, audit) in (0..).zip(audits.iter_mut()) {
        audit.read_on(data, partition);
        audit.same_as_restored(data, partition);
    }
    for id in acknowledged {
        let name = ("/load".to_owned(), id.clone());
        let times: u32 = audits.iter().filter_map(|audit| audit.taken.get(&name)).sum();
        assert_eq!(times, 1, "{when}: event {id} was acknowledged, and is there {times} times");
    }
    for ((source, id), times) in audits.iter().flat_map(|audit| &audit.taken) {
        assert!(*times == 1 || source != "/load", "{when}: event {id} is there {times} times");
    }
}
