//! The daemon as its clients meet it: a process of its own, batches of 100 over HTTP, on this machine.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::measure::target;
use super::stream::Stream;

const BATCH: usize = 100;
const CLIENTS: usize = 4;

/// Kills its process when it is dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Events a second from the first request to the last answer, each answered when it is durable; and what
/// the daemon took of memory and CPU.
pub(crate) fn report(stream: &Stream) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (data, log) = (folder.join("bench-http"), folder.join("bench-http.log"));
    let _ = std::fs::remove_dir_all(&data);
    let child = Command::new(env!("CARGO_BIN_EXE_deferd"))
        .args(["run", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&data)
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(&log).expect("a log"))
        .spawn()
        .expect("the daemon");
    let daemon = Daemon(child);
    let url = loop {
        let said = std::fs::read_to_string(&log).expect("a log");
        if let Some(url) = said.split("listening on ").nth(1).filter(|_| said.contains(" ready")) {
            break url.split_whitespace().next().expect("a URL").to_owned();
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let bodies: Vec<String> = stream
        .inputs
        .chunks(BATCH)
        .map(|batch| {
            let events: Vec<_> =
                batch.iter().map(|input| String::from_utf8_lossy(&input.bytes)).collect();
            format!("[{}]", events.join(","))
        })
        .collect();
    let (next, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let agent: ureq::Agent =
                    ureq::Agent::config_builder().http_status_as_error(false).build().into();
                while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                    loop {
                        let sent = agent
                            .post(format!("{url}/v1/events?brief"))
                            .header("content-type", "application/cloudevents-batch+json")
                            .send(body);
                        let mut answer = sent.expect("an answer");
                        let _ = answer.body_mut().read_to_vec();
                        if answer.status() == 202 {
                            break;
                        }
                        refused.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(2));
                    }
                }
            });
        }
    });
    let wall = began.elapsed().as_secs_f64();
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.0.id()));
    let status = status.unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("?").trim();
    println!();
    println!("daemon over HTTP: {CLIENTS} clients, {BATCH} events a request, peak memory {peak}");
    let rate = stream.inputs.len() as f64 / wall / 1000.0;
    target("HTTP in to durable", rate, "k/s", 50.0, true);
    println!("requests sent again after 503:    {:>8}", refused.load(Ordering::Relaxed));
    drop(daemon);
    let _ = std::fs::remove_dir_all(&data);
}
