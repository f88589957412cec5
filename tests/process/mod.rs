//! The real daemon as a process: started, asked, stopped, killed; and what it left, read from outside.

#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use deferd::domain::time::Timestamp;
use deferd::engine::checkpoint;
use deferd::engine::state::State;
use deferd::log::embedded::{Directory, Frames, Until};
use deferd::record::envelope::Envelope;
use deferd::record::input::Kind;
use deferd::record::journal::Record;
use deferd::store::DiskStore;

/// How long a start or a stop may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A new directory under the target directory, of this name.
pub fn scratch(name: &str) -> PathBuf {
    let path =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// A daemon in a process of its own; killed when it is dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
    pub url: String,
}

impl Process {
    /// Starts one on a data directory, and waits until it is ready.
    pub fn start(data: &Path, more: &[&str]) -> Self {
        let mut process = Self::spawn(data, more, &[]);
        process.wait_for("ready");
        process
    }

    /// Starts one, with more variables in its environment.
    pub fn spawn(data: &Path, more: &[&str], env: &[(&str, &str)]) -> Self {
        let log = data.with_extension("log");
        let stderr = File::options().create(true).append(true).open(&log).unwrap();
        let before = stderr.metadata().unwrap().len();
        let child = Command::new(env!("CARGO_BIN_EXE_deferd"))
            .args(["run", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .args(more)
            .env_remove("NOTIFY_SOCKET")
            .env_remove("DEFERD_ROUNDS")
            .env_remove("DEFERD_SEED")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        Self::at(child, log, before)
    }

    /// One that was started otherwise, and speaks into this file.
    pub fn of(child: Child, log: PathBuf) -> Self {
        Self::at(child, log, 0)
    }

    fn at(child: Child, log: PathBuf, before: u64) -> Self {
        let mut process = Self { child, log, url: String::new() };
        let said = process.wait_after(before, "listening on ");
        let url = said.split("listening on ").nth(1).unwrap();
        process.url = url.split_whitespace().next().unwrap().to_owned();
        process
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it, and those before it on this directory, said.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it says this.
    pub fn wait_for(&mut self, words: &str) {
        // What the ones before it said does not count: each says where it listens.
        let start = self.said().rfind(&self.url).unwrap_or(0);
        self.wait_after(start as u64, words);
    }

    fn wait_after(&mut self, start: u64, words: &str) -> String {
        let began = Instant::now();
        loop {
            let said = self.said();
            let new = said.get(start as usize..).unwrap_or_default();
            if new.lines().any(|line| line.contains(words) && said.ends_with('\n')) {
                return new.to_owned();
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended with {ended:?}: {new}");
            assert!(began.elapsed() < PATIENCE, "no `{words}` from it, but: {new}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it as a power cut would, short of the disk.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end: {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops it as an operator does.
    pub fn stop(mut self) {
        self.signal("TERM");
        let status = self.ended();
        assert_eq!(status.code(), Some(0), "{}", self.said());
    }

    /// Posts events, one or a batch. The status, and what it said; `None` where there was no answer.
    pub fn post(&self, body: &str) -> Option<(u16, String)> {
        post(&self.url, body)
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        let answer = agent().get(format!("{}{path}", self.url)).call().unwrap();
        let status = answer.status().as_u16();
        (status, answer.into_body().read_to_string().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(60)))
        .http_status_as_error(false)
        .build()
        .into()
}

pub fn post(url: &str, body: &str) -> Option<(u16, String)> {
    let sent = agent()
        .post(format!("{url}/v1/events"))
        .header("content-type", "application/json")
        .send(body);
    let answer = sent.ok()?;
    let status = answer.status().as_u16();
    Some((status, answer.into_body().read_to_string().ok()?))
}

/// What an audit of one partition has seen so far: it goes on where it ended.
#[derive(Default)]
pub struct Audit {
    state: State,
    /// How often each input, by source and id, stands in the journal as taken.
    pub taken: HashMap<(String, String), u32>,
    /// What each command said.
    commands: HashMap<String, Vec<u8>>,
    /// How many alarms rang.
    pub rang: usize,
}

impl Audit {
    /// Reads on to the end of a partition that nobody writes, and holds what must hold: `seq` dense and
    /// epochs rising (else `apply` refuses), no input of which nobody may be told twice taken twice, no
    /// command with two contents, no alarm before its time, and every decision the same again.
    pub fn read_on(&mut self, data: &Path, partition: u32) {
        let directory = Directory::open(data).unwrap();
        assert_eq!(directory.writer(), None, "nobody may write it");
        let mut frames = Frames::open(&directory, partition, self.state.next_seq).unwrap();
        let reader = deferd::record::input::Reader::default();
        while let Some(frame) = frames.next(Until::End).unwrap() {
            let record = Record::read(frame.line).unwrap();
            let verdict = deferd::engine::replay::verify(&self.state, &record, &reader).unwrap();
            assert!(
                !matches!(verdict, deferd::engine::replay::Verdict::Differs { .. }),
                "seq {}: {verdict:?}",
                frame.seq
            );
            if let Some(raw) = record.input {
                let envelope = Envelope::read(raw.get().as_bytes()).unwrap();
                let identity = (envelope.source.to_string(), envelope.id.to_string());
                let kind = Kind::of(&envelope.kind);
                if matches!(kind, Ok(Kind::TimerFired)) {
                    self.rang += 1;
                    let address = record.address().unwrap().unwrap();
                    let key = self.state.users.key(&address);
                    let user = self.state.users.get(key).unwrap();
                    let due = user.wake_at(&self.state.policy).unwrap();
                    assert!(due <= record.at, "seq {}: due at {due}, rang early", frame.seq);
                    assert!(!record.events.is_empty(), "seq {}: it rang for nothing", frame.seq);
                } else if record.user.is_some() {
                    *self.taken.entry(identity).or_default() += 1;
                }
            }
            for output in frame.outputs() {
                let event = Envelope::read(output.bytes).unwrap();
                let id = event.id.to_string();
                // The instant apart, the same id must say the same.
                let says = event.data().as_bytes().to_vec();
                if let Some(before) = self.commands.insert(id.clone(), says.clone()) {
                    assert_eq!(before, says, "{id} has two contents");
                }
            }
            self.state.apply(&record).unwrap();
        }
    }

    /// The state that the daemon would begin with, from its checkpoint and the tail, is this one.
    pub fn same_as_restored(&self, data: &Path, partition: u32) {
        let directory = Directory::open(data).unwrap();
        let identity = directory.identity(partition);
        let folder = directory.partition(partition).join("checkpoint");
        let mut store = DiskStore::new(folder);
        let Ok(Some(mut state)) = checkpoint::load(&mut store, identity) else { return };
        assert!(state.next_seq <= self.state.next_seq, "a checkpoint ahead of its journal");
        let mut frames = Frames::open(&directory, partition, state.next_seq).unwrap();
        while let Some(frame) = frames.next(Until::End).unwrap() {
            state.apply(&Record::read(frame.line).unwrap()).unwrap();
        }
        let users = |state: &State| {
            let mut users: Vec<_> =
                state.users.iter().map(|(_, user)| format!("{user:?}")).collect();
            users.sort();
            users
        };
        assert_eq!(users(&state), users(&self.state));
        assert_eq!(state.next_seq, self.state.next_seq);
        assert_eq!(state.duplicates.len(), self.state.duplicates.len());
    }

    pub fn at(&self) -> Timestamp {
        self.state.at
    }

    pub fn records(&self) -> u64 {
        self.state.next_seq
    }
}
