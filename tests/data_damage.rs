//! A data directory whose files are cut, flipped, torn or gone: told with its place, or, where nobody was
//! told of what is lost, cut and said so. Never read as if nothing were.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and says so"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use deferd::domain::time::Timestamp;
use deferd::engine::ports::{Batch, Entry, Log};
use deferd::log::embedded::{
    Directory, Embedded, Frames, Inbox, Limits, LogFault, Options, Place, Until,
};

const LIMITS: Limits = Limits { inputs: 100, bytes: 1 << 20 };

/// What a process finds in a directory: the journal's lines, and whether something was cut.
#[derive(Debug)]
struct Found {
    lines: Vec<String>,
    cut: bool,
}

struct Sample {
    path: PathBuf,
    lines: Vec<String>,
}

impl Sample {
    /// Three segments: of three, three and two commits, of three records each.
    fn new(name: &str) -> Self {
        let sample = Self::of(name, 8);
        assert_eq!(sample.segments().len(), 3, "three segments");
        sample
    }

    fn of(name: &str, commits: u32) -> Self {
        let name = format!("data-damage-{}-{name}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        let (directory, lock) = Directory::claim(&path, 1, 7).unwrap();
        let mut lines = Vec::new();
        {
            let mut log = open_log(&directory).unwrap();
            for commit in 0..commits {
                let first_seq = lines.len() as u64;
                let own: Vec<_> =
                    (0..3).map(|n| format!("{{\"record\":\"{commit}.{n}\"}}")).collect();
                let entry = |line: &String| Entry {
                    user: None,
                    line: line.clone().into_bytes(),
                    outputs: Vec::new(),
                    fate: None,
                };
                let entries = own.iter().map(entry).collect();
                let at = Timestamp::from_millis(1);
                log.write(Batch { at, first_seq, entries, ..Batch::default() }).unwrap();
                log.commit().unwrap();
                lines.extend(own);
            }
        }
        drop(lock);
        Self { path, lines }
    }

    fn partition(&self) -> PathBuf {
        self.path.join("partition-0")
    }

    fn segments(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.partition()).unwrap().map(|entry| entry.unwrap().path());
        let mut found: Vec<_> =
            entries.filter(|path| path.extension().is_some_and(|e| e == "journal")).collect();
        found.sort();
        found
    }

    /// Does something to a copy of it, and opens the copy as the daemon does, then as a reader does.
    fn after(&self, damage: impl FnOnce(&Self)) -> Result<Found, String> {
        let copy = Self { path: self.path.with_extension("copy"), lines: Vec::new() };
        let _ = fs::remove_dir_all(&copy.path);
        copy_tree(&self.path, &copy.path);
        damage(&copy);
        let read = read_stopped(&copy.path);
        let found = open_all(&copy.path);
        // A reader of a stopped directory sees what the daemon would, damage included.
        match (&found, &read) {
            (Ok(found), Ok(read)) => assert_eq!(&found.lines, read),
            (Err(_), Err(_)) => {}
            (found, read) => panic!("the daemon: {found:?}, a reader: {read:?}"),
        }
        fs::remove_dir_all(&copy.path).unwrap();
        found
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn open_log(directory: &Directory) -> Result<Embedded, LogFault> {
    // Three commits reach it.
    Embedded::open(directory, 0, Arc::new(Inbox::new(LIMITS)), Options { segment_bytes: 590 })
}

fn open_all(path: &Path) -> Result<Found, String> {
    let (directory, _lock) = Directory::claim(path, 1, 7).map_err(|fault| fault.to_string())?;
    let mut log = open_log(&directory).map_err(|fault| fault.to_string())?;
    let mut lines = Vec::new();
    loop {
        let more = log.journal(0, lines.len() as u64, 100).map_err(|error| error.to_string())?;
        let more = more.expect("nobody else writes it");
        if more.is_empty() {
            break;
        }
        lines.extend(more.iter().map(|line| String::from_utf8_lossy(line).into_owned()));
    }
    Ok(Found { lines, cut: log.cut().is_some() })
}

fn read_stopped(path: &Path) -> Result<Vec<String>, String> {
    let told = |fault: LogFault| fault.to_string();
    let directory = Directory::open(path).map_err(told)?;
    assert_eq!(directory.writer(), None);
    let mut frames = Frames::open(&directory, 0, 0).map_err(told)?;
    let mut lines = Vec::new();
    while let Some(frame) = frames.next(Until::End).map_err(told)? {
        lines.push(String::from_utf8_lossy(frame.line).into_owned());
    }
    // What was published must be there.
    if Place::published(&directory.partition(0)).is_some_and(|end| end.seq > lines.len() as u64) {
        return Err("it ends before its published end".to_owned());
    }
    Ok(lines)
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy_tree(&entry, &target);
        } else {
            fs::copy(&entry, &target).unwrap();
        }
    }
}

fn flip(path: &Path, bit: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[bit / 8] ^= 1 << (bit % 8);
    fs::write(path, bytes).unwrap();
}

fn shorten(path: &Path, length: usize) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..length]).unwrap();
}

#[test]
fn nothing_done_is_nothing_told() {
    // With nine commits the last segment has just been begun.
    for commits in [1, 8, 9] {
        let sample = Sample::of("whole", commits);
        let found = sample.after(|_| {}).unwrap();
        assert_eq!(found.lines, sample.lines);
        assert!(!found.cut);
    }
}

/// Every bit of every segment, with and without its index: told, with the file.
#[test]
fn a_flipped_bit_is_told_with_its_file() {
    let sample = Sample::new("flip");
    for (number, segment) in sample.segments().iter().enumerate() {
        let name = segment.file_name().unwrap();
        let bits = fs::read(segment).unwrap().len() * 8;
        for bit in (0..bits).step_by(101) {
            for indexed in [true, false] {
                let why = sample
                    .after(|copy| {
                        flip(&copy.partition().join(name), bit);
                        if !indexed {
                            let index = copy.partition().join(name).with_extension("index");
                            let _ = fs::remove_file(index);
                        }
                    })
                    .map(|found| (found.lines.len(), found.cut))
                    .unwrap_err();
                assert!(
                    why.contains(name.to_str().unwrap()) || why.contains("are missing"),
                    "segment {number}, bit {bit}: {why}"
                );
            }
        }
    }
}

/// A power cut may take the published end with it. Then a damaged last commit is a torn one, and all
/// before it is still told.
#[test]
fn without_a_published_end_only_the_last_commit_may_be_torn() {
    let sample = Sample::new("torn");
    let last = sample.segments().pop().unwrap();
    let name = last.file_name().unwrap();
    let bits = fs::read(&last).unwrap().len() * 8;
    let mut cuts = 0;
    for bit in (40 * 8..bits).step_by(29) {
        let found = sample.after(|copy| {
            flip(&copy.partition().join(name), bit);
            fs::remove_file(copy.partition().join("end")).unwrap();
        });
        match found {
            Ok(found) => {
                assert!(found.cut, "bit {bit}");
                // Of eight commits the eighth: its whole frames are kept.
                assert!((21..24).contains(&found.lines.len()), "{} lines", found.lines.len());
                assert_eq!(found.lines, sample.lines[..found.lines.len()]);
                cuts += 1;
            }
            Err(why) => assert!(why.contains("byte"), "bit {bit}: {why}"),
        }
    }
    assert!(cuts > 0);
}

/// The last segment cut anywhere: below its published end it is told; without one, what is torn is cut.
#[test]
fn a_cut_segment_is_told_or_mended() {
    let sample = Sample::new("cut");
    let last = sample.segments().pop().unwrap();
    let name = last.file_name().unwrap();
    let length = fs::read(&last).unwrap().len();
    for end in (0..length).step_by(7) {
        let why = sample.after(|copy| shorten(&copy.partition().join(name), end)).unwrap_err();
        assert!(why.contains("missing") || why.contains("journal"), "cut after {end}: {why}");

        let found = sample
            .after(|copy| {
                shorten(&copy.partition().join(name), end);
                fs::remove_file(copy.partition().join("end")).unwrap();
            })
            .unwrap();
        assert_eq!(found.lines, sample.lines[..found.lines.len()], "cut after {end}");
        assert!(found.lines.len() >= 18, "the segments before are whole");
    }
}

/// A closed segment cut anywhere, or gone, is told.
#[test]
fn a_closed_segment_may_not_change() {
    let sample = Sample::new("closed");
    for segment in &sample.segments()[..2] {
        let name = segment.file_name().unwrap();
        let length = fs::read(segment).unwrap().len();
        for end in (0..length).step_by(37) {
            sample.after(|copy| shorten(&copy.partition().join(name), end)).unwrap_err();
        }
        let gone =
            sample.after(|copy| fs::remove_file(copy.partition().join(name)).unwrap()).unwrap_err();
        assert!(gone.contains("missing") || gone.contains("removed"), "{gone}");
    }
}

/// An index, the published end or a file that a crash left may be lost or damaged: nobody needs them.
#[test]
fn what_can_be_made_anew_may_be_lost() {
    let sample = Sample::new("anew");
    let indexes = ["00000000000000000000.index", "00000000000000000009.index"];
    for name in indexes {
        let index = sample.partition().join(name);
        let length = fs::read(&index).unwrap().len();
        for bit in (0..length * 8).step_by(13) {
            let found = sample.after(|copy| flip(&copy.partition().join(name), bit)).unwrap();
            assert_eq!(found.lines, sample.lines, "{name}, bit {bit}");
        }
        for end in (0..length).step_by(5) {
            let found = sample.after(|copy| shorten(&copy.partition().join(name), end)).unwrap();
            assert_eq!(found.lines, sample.lines, "{name} cut after {end}");
        }
    }
    for end in (0..28).step_by(3) {
        let found = sample.after(|copy| shorten(&copy.partition().join("end"), end)).unwrap();
        assert_eq!(found.lines, sample.lines, "end cut after {end}");
    }
    let begun = Sample::of("begun", 9);
    for length in 0..40 {
        let last = "00000000000000000027.journal";
        let found = begun.after(|copy| shorten(&copy.partition().join(last), length)).unwrap();
        assert_eq!(found.lines, begun.lines, "a segment that was never born");
    }
}

/// Another directory's segment, a newer version, another number of partitions, a second process.
#[test]
fn what_does_not_belong_is_refused() {
    let sample = Sample::new("belongs");
    let refused = |damage: &dyn Fn(&Sample)| sample.after(damage).unwrap_err();
    let layout = |text: &str| {
        let text = text.to_owned();
        move |copy: &Sample| fs::write(copy.path.join("layout.json"), &text).unwrap()
    };
    let newer = refused(&layout(r#"{"version":2,"shape":"unheard of"}"#));
    assert!(newer.contains("has version 2, newer than 1"), "{newer}");
    let garbage = refused(&layout("{\"version\":1"));
    assert!(garbage.contains("layout.json"), "{garbage}");
    let gone = refused(&|copy| fs::remove_file(copy.path.join("layout.json")).unwrap());
    assert!(gone.contains("layout.json") || gone.contains("no data directory"), "{gone}");

    let fault = Directory::claim(&sample.path, 2, 7).unwrap_err();
    assert!(matches!(fault, LogFault::Partitions { has: 1, asked: 2, .. }), "{fault}");
    let (_, lock) = Directory::claim(&sample.path, 1, 7).unwrap();
    let held = Directory::claim(&sample.path, 1, 7).unwrap_err().to_string();
    assert!(held.contains(&format!("in use by process {}", std::process::id())), "{held}");
    drop(lock);
    Directory::claim(&sample.path, 1, 7).unwrap();
}
