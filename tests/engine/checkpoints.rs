//! A checkpoint is the state of one instant, however long it takes to write, or it is none at all.

use deferd::engine::checkpoint::{Unusable, restore};

use super::*;

/// Taken slice by slice while the engine goes on, it is byte for byte what it would have been at once;
/// and with the tail of the journal it is as good as the whole. (L-9)
#[test]
fn a_slow_checkpoint_is_the_state_in_which_it_began() {
    for seed in 1..=6 {
        let (script, whole) = grow(seed, 60);
        for (begins, most) in [(5, 1), (20, 1), (20, 3), (40, 100)] {
            let clock = SetClock::default();
            let mut worker = open(MemoryLog::default(), &clock, None);
            let (mut at_once, mut slow, mut is_whole) = (Vec::new(), Vec::new(), false);
            let mut slice = |worker: &mut TestWorker| {
                for chunk in worker.only().checkpoint_slice(most) {
                    assert!(!is_whole, "a chunk after the last");
                    is_whole = chunk.is_last;
                    slow.push(chunk.bytes);
                }
            };
            for (index, (at, received)) in script.0.iter().enumerate() {
                if index == begins {
                    worker.only().begin_checkpoint(LOG);
                    at_once = worker.state().checkpoint(LOG);
                }
                if index > begins {
                    slice(&mut worker);
                }
                clock.0.set(*at);
                go(&mut worker, *at, received);
            }
            let rest = (0..100).take_while(|_| {
                worker.state().is_cut() && {
                    slice(&mut worker);
                    true
                }
            });
            assert!(rest.count() < 100, "it ends");
            let when = format!("seed {seed}, begun before step {begins}, by {most}");
            assert!(is_whole && slow == at_once, "{when}");

            let state = restore(LOG, &slow).unwrap();
            let log = std::mem::take(worker.log()).after_crash();
            worker = open(log, &clock, Some(state));
            same(&left(&mut worker), &whole, &when);
            let replayed = followed(worker.log(), None);
            assert_eq!(known(worker.state()), known(&replayed), "{when}");
        }
    }
}

/// Begun again before it has ended, it is the later one, from its start.
#[test]
fn a_checkpoint_begun_again_is_the_later_one() {
    let (script, _) = grow(2, 40);
    let mut worker = open(MemoryLog::default(), &SetClock::default(), None);
    for (index, (at, received)) in script.0.iter().enumerate() {
        if index % 10 == 9 {
            worker.only().begin_checkpoint(LOG);
            worker.only().checkpoint_slice(2);
        }
        go(&mut worker, *at, received);
    }
    worker.only().begin_checkpoint(LOG);
    let chunks: Vec<_> = std::iter::repeat_with(|| worker.only().checkpoint_slice(5))
        .take(20)
        .flatten()
        .map(|chunk| chunk.bytes)
        .collect();
    assert_eq!(chunks, worker.state().checkpoint(LOG));
}

/// One that is cut, changed by one bit, mixed with another, or of another log or version is none.
#[test]
fn a_damaged_checkpoint_is_none() {
    let (script, _) = grow(3, 40);
    let mut worker = open(MemoryLog::default(), &SetClock::default(), None);
    let mut earlier = Vec::new();
    for (at, received) in &script.0 {
        earlier = worker.state().checkpoint(LOG);
        go(&mut worker, *at, received);
    }
    let whole = worker.state().checkpoint(LOG);
    assert_eq!(restore(LOG, &whole).unwrap().checkpoint(LOG), whole);
    assert_eq!(restore(LOG + 1, &whole).unwrap_err(), Unusable::OtherLog);

    for end in 0..whole.len() {
        assert_eq!(restore(LOG, &whole[..end]).unwrap_err(), Unusable::Cut, "{end} chunks");
        let without = whole.iter().enumerate().filter(|(at, _)| *at != end);
        assert!(restore(LOG, without.map(|(_, chunk)| chunk)).is_err(), "without {end}");
        let mut mixed = whole.clone();
        mixed[end].clone_from(&earlier[end]);
        assert!(mixed == whole || restore(LOG, &mixed).is_err(), "{end} of another");
        mixed.clone_from(&whole);
        mixed.push(whole[end].clone());
        assert!(restore(LOG, &mixed).is_err(), "{end} again after the end");
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        for bit in 0..whole[at].len() * 8 {
            damaged[at][bit / 8] ^= 1 << (bit % 8);
            assert!(restore(LOG, &damaged).is_err(), "chunk {at}, bit {bit}");
            damaged[at][bit / 8] ^= 1 << (bit % 8);
        }
        for end in 0..whole[at].len() {
            damaged[at].truncate(end);
            assert!(restore(LOG, &damaged).is_err(), "chunk {at} cut after {end}");
            damaged[at].clone_from(&whole[at]);
        }
    }
    // Another version, with a checksum that is right: kind, eight octets of a mark, version.
    let mut other = whole;
    let end = other[0].len() - 4;
    other[0][9] += 1;
    let crc = crc32fast::hash(&other[0][..end]).to_le_bytes();
    other[0][end..].copy_from_slice(&crc);
    assert_eq!(restore(LOG, &other).unwrap_err(), Unusable::OtherVersion);
}

/// A restart from a checkpoint looks at those who wait, and at nobody else, and holds up no input.
#[test]
fn a_restart_takes_inputs_at_once() {
    let clock = SetClock::default();
    let mut worker = open(MemoryLog::default(), &clock, None);
    clock.0.set(s(0));
    for n in 0..20_000 {
        let kind = if n % 2 == 0 { "cpm.message.submitted" } else { "cpm.ps.detached" };
        let data = if n % 2 == 0 { MESSAGE } else { "{}" };
        worker.log().push(for_user(n, n, s(0), kind, data));
    }
    while worker.log().waiting() > 0 {
        worker.step().unwrap();
    }
    let state = restore(LOG, worker.state().checkpoint(LOG)).unwrap();
    let log = std::mem::take(worker.log()).after_crash();
    let mut worker = open(log, &clock, Some(state));
    let before = worker.log().lines().len();
    worker.log().push(for_user(0, 20_000, s(0), "cpm.cs.attached", "{}"));
    assert_eq!(worker.step().unwrap().inputs, 1);

    let mut steps = 1;
    while worker.next_alarm().is_some_and(|at| at <= s(0)) {
        worker.step().unwrap();
        steps += 1;
    }
    assert!((10..=40).contains(&steps), "ten thousand wait, a thousand a step: {steps}");
    assert_eq!(worker.log().lines().len(), before + 1, "nobody had anything due");
}
