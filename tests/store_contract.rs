//! What every store of checkpoints must do: give back what it was given, or nothing, and say why.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says so"
)]

mod samples;

use std::path::{Path, PathBuf};

use deferd::engine::checkpoint::{Chunk, load};
use deferd::engine::ports::Store;
use deferd::engine::replay::apply_line;
use deferd::engine::state::State;
use deferd::store::DiskStore;
use deferd::store::memory::MemoryStore;

const LOG: u128 = 7;

#[test]
fn what_is_saved_is_loaded() {
    for_each_store("saved", |store| {
        assert_eq!(load(store, LOG).unwrap().map(|_| ()), None, "nothing yet");
        for lines in [1, 5, 2] {
            save(store, &state(lines)).unwrap();
            for _ in 0..3 {
                assert_eq!(loaded(store), Some(checkpoint(&state(lines))), "{lines}");
            }
        }
        store.discard();
        assert_eq!(loaded(store), None);
        save(store, &state(3)).unwrap();
        assert_eq!(loaded(store), Some(checkpoint(&state(3))));
    });
}

/// A checkpoint that was given up leaves the one before.
#[test]
fn a_save_that_fails_keeps_the_one_before() {
    for_each_store("failed", |store| {
        for before in [None, Some(4)] {
            if let Some(lines) = before {
                save(store, &state(lines)).unwrap();
            }
            for kept in 0..2 {
                let chunks = chunks(&state(6)).into_iter().take(kept);
                assert!(store.save(&mut chunks.into_iter()).is_err());
                assert_eq!(loaded(store), before.map(|lines| checkpoint(&state(lines))));
            }
        }
    });
}

/// One of another log is of no use, and goes.
#[test]
fn a_checkpoint_of_another_log_is_thrown_away() {
    for_each_store("other", |store| {
        save(store, &state(4)).unwrap();
        assert!(load(store, LOG + 1).unwrap_err().contains("another log"));
        assert_eq!(loaded(store), None);
    });
}

/// More than one volume takes, with a chunk that is larger than others.
#[test]
fn a_large_checkpoint_comes_back_in_order() {
    for_each_store("large", |store| {
        let sizes = (0..1100_usize).map(|n| if n == 77 { 3_000_000 } else { 65_000 + n });
        let chunk = |(n, size): (usize, usize)| {
            let bytes = (0..size).map(|at| u8::try_from((at * 7 + n) % 251).unwrap()).collect();
            Chunk { bytes, is_last: n == 1099 }
        };
        store.save(&mut sizes.clone().enumerate().map(chunk)).unwrap();
        let mut number = 0;
        for (found, expected) in store.load().unwrap().unwrap().zip(sizes.enumerate().map(chunk)) {
            assert!(found.unwrap() == expected.bytes, "chunk {number}");
            number += 1;
        }
        assert_eq!(number, 1100);
    });
}

#[test]
fn saves_leave_nothing_behind() {
    let folder = folder("growth");
    let mut store = DiskStore::new(folder.clone());
    for lines in 0..20 {
        save(&mut store, &state(lines % 7)).unwrap();
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "a checkpoint and a pointer");
    }
}

/// Any byte of any file, any file cut or gone: what was saved comes back, or nothing, and never a panic.
/// What was thrown away is gone, and is not in the way of the next.
#[test]
fn a_damaged_checkpoint_is_thrown_away() {
    let whole = folder("whole");
    let expected = state(20);
    save(&mut DiskStore::new(whole.clone()), &expected).unwrap();
    let expected = checkpoint(&expected);
    let folder = folder("damaged");
    let mut cases = 0;
    for file in files(&whole) {
        let name = file.strip_prefix(&whole).unwrap();
        let bytes = std::fs::read(&file).unwrap();
        let places = (0..bytes.len()).step_by(bytes.len() / 24 + 1);
        let flips =
            places.clone().flat_map(|at| [1, 4, 128].map(|bit| (at, bit))).map(|(at, bit)| {
                let mut damaged = bytes.clone();
                damaged[at] ^= bit;
                Some(damaged)
            });
        let cuts = places.map(|end| Some(bytes[..end].to_vec()));
        for damaged in flips.chain(cuts).chain([None]) {
            copy(&whole, &folder);
            let is_gone = damaged.is_none();
            match damaged {
                Some(bytes) => std::fs::write(folder.join(name), bytes).unwrap(),
                None => std::fs::remove_file(folder.join(name)).unwrap(),
            }
            let mut store = DiskStore::new(folder.clone());
            let found = load(&mut store, LOG);
            cases += 1;
            match found {
                Ok(Some(state)) => {
                    assert!(checkpoint(&state) == expected, "{}", name.display());
                    // A pointer or a manifest may say the same in other white space; a volume may not
                    // even be opened.
                    assert!(!in_volume(name), "{}", name.display());
                }
                Ok(None) => assert!(is_gone && name == Path::new("current"), "{}", name.display()),
                Err(why) => {
                    assert!(!in_volume(name) || why.contains("volume-"), "{why}");
                    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "{why}");
                    assert_eq!(loaded(&mut store), None, "{why}");
                }
            }
        }
    }
    assert!(cases > 300, "{cases}");
    let mut store = DiskStore::new(folder);
    save(&mut store, &state(3)).unwrap();
    assert_eq!(loaded(&mut store), Some(checkpoint(&state(3))));
}

/// What a process that was killed leaves: a folder nobody points to, one without a manifest, an index
/// that sled was writing, a pointer to nothing or that is none.
#[test]
fn half_written_checkpoints_are_no_checkpoints() {
    let folder = folder("half");
    let mut store = DiskStore::new(folder.clone());
    let fresh = |store: &mut DiskStore| {
        store.discard();
        save(store, &state(6)).unwrap();
        let mut found = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        found.find(|path| path.is_dir()).unwrap()
    };
    let current = folder.join("current");

    fresh(&mut store);
    std::fs::remove_file(&current).unwrap();
    assert_eq!(loaded(&mut store), None);
    save(&mut store, &state(2)).unwrap();
    assert_eq!(
        std::fs::read_dir(&folder).unwrap().count(),
        2,
        "the folder nobody pointed to is gone"
    );

    let checkpoint_folder = fresh(&mut store);
    std::fs::remove_file(checkpoint_folder.join("manifest")).unwrap();
    assert!(load(&mut store, LOG).is_err());

    let checkpoint_folder = fresh(&mut store);
    let next = folder.join("checkpoint-999");
    copy(&checkpoint_folder, &next);
    std::fs::write(checkpoint_folder.join("volume-0/snap.00000000001FFFFF.generating"), b"x")
        .unwrap();
    assert_eq!(
        loaded(&mut store),
        Some(checkpoint(&state(6))),
        "what sled had not finished is removed"
    );
    save(&mut store, &state(2)).unwrap();
    assert!(!next.exists());

    for pointer in ["checkpoint-7", "checkpoint-", "", "checkpoint-1/../..", "\0", "🙂\n"] {
        fresh(&mut store);
        std::fs::write(&current, pointer).unwrap();
        assert!(load(&mut store, LOG).is_err(), "{pointer:?}");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "{pointer:?}");
    }
    fresh(&mut store);
    std::fs::remove_file(&current).unwrap();
    std::fs::create_dir(&current).unwrap();
    assert!(load(&mut store, LOG).is_err());
    save(&mut store, &state(2)).unwrap();
    assert_eq!(loaded(&mut store), Some(checkpoint(&state(2))));
}

fn in_volume(name: &Path) -> bool {
    name.to_string_lossy().contains("volume-")
}

fn for_each_store(name: &str, test: impl Fn(&mut dyn Store)) {
    test(&mut MemoryStore::default());
    test(&mut DiskStore::new(folder(name)));
}

/// A folder that is not there yet.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("store-{name}"));
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    folder
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).unwrap();
    }
    for file in files(from) {
        let copy = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(file, copy).unwrap();
    }
}

/// The state that so many lines of a journal add up to.
fn state(lines: usize) -> State {
    let mut state = State::default();
    let (_, journal) = samples::lines_of("tests/journals/v1").swap_remove(0);
    for line in journal.iter().take(lines) {
        apply_line(&mut state, line.as_bytes()).unwrap();
    }
    state
}

fn checkpoint(state: &State) -> Vec<Vec<u8>> {
    state.checkpoint(LOG)
}

fn chunks(state: &State) -> Vec<Chunk> {
    let chunks = checkpoint(state);
    let last = chunks.len() - 1;
    let chunk = |(n, bytes)| Chunk { bytes, is_last: n == last };
    chunks.into_iter().enumerate().map(chunk).collect()
}

fn save(store: &mut dyn Store, state: &State) -> Result<(), String> {
    store.save(&mut chunks(state).into_iter())
}

fn loaded(store: &mut dyn Store) -> Option<Vec<Vec<u8>>> {
    load(store, LOG).unwrap().map(|state| checkpoint(&state))
}
