//! Clients that are slow, many, cut off, or unlucky.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::Ordering;
use std::time::Duration;

use deferd::cli::clock::Stopwatch;
use deferd::edge::http::Limits;

use super::daemon::{Daemon, ONE, Setup, answer_of, attach, request, submitted};

/// 1,000 idle connections and 100 slow ones: the others are served, and the slow ones are sent away.
#[test]
fn idle_and_slow_clients_hold_nobody_up() {
    let limits = Limits { timeout: Duration::from_secs(3), ..Limits::default() };
    let daemon = Daemon::start(Setup { http: limits, ..Setup::default() });
    let idle: Vec<_> = (0..1000).map(|_| daemon.connect()).collect();
    let body = vec![b' '; 5000];
    let slow: Vec<_> = (0..100)
        .map(|number| {
            let mut stream = daemon.connect();
            let head = request("POST", "/v1/events", &[("content-type", ONE)], &body);
            // Half of them are slow with their header, half with their body.
            let end = if number % 2 == 0 { 20 } else { head.len() - body.len() + 10 };
            stream.write_all(&head[..end]).unwrap();
            (stream, head, end)
        })
        .collect();
    let begun = Stopwatch::start();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut slow: Vec<_> =
                slow.iter().map(|(stream, head, end)| (stream, head, *end)).collect();
            while begun.elapsed() < Duration::from_secs(5) {
                for (stream, head, end) in &mut slow {
                    let _ = stream.write_all(&head[*end..=*end]);
                    *end += 1;
                }
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        let mut slowest = Duration::ZERO;
        let mut served = 0;
        while begun.elapsed() < Duration::from_secs(2) {
            let one = Stopwatch::start();
            let event = attach(&format!("s{served}")).to_string();
            assert_eq!(daemon.post(ONE, event.as_bytes()).status, 202);
            slowest = slowest.max(one.elapsed());
            served += 1;
        }
        assert!(slowest < Duration::from_millis(1500), "{slowest:?}");
        assert!(served > 50, "{served} in two seconds");
    });
    for (mut stream, _, _) in slow {
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut told = Vec::new();
        let end = stream.read_to_end(&mut told).map_err(|error| error.kind());
        assert!(end != Err(ErrorKind::WouldBlock), "it was sent away");
        let told = String::from_utf8_lossy(&told);
        assert!(told.is_empty() || told.starts_with("HTTP/1.1 408"), "{told}");
    }
    drop(idle);
}

#[test]
fn too_many_connections_are_told_so() {
    let limits = Limits { connections: 5, timeout: Duration::from_secs(20), ..Limits::default() };
    let daemon = Daemon::start(Setup { http: limits, ..Setup::default() });
    let held: Vec<_> = (0..5).map(|_| daemon.connect()).collect();
    std::thread::sleep(Duration::from_millis(200));
    let answer = daemon.get("/livez");
    assert_eq!(answer.error().0, 503);
    assert_eq!(answer.header("retry-after"), Some("1"));
    drop(held);
    assert_eq!(daemon.get("/livez").status, 200);
}

/// A body that ends in the middle: nothing of it is taken.
#[test]
fn a_body_cut_in_the_middle_takes_nothing() {
    let daemon = Daemon::start(Setup::default());
    let batch = format!("{}\n{}\n", submitted("cut-1"), submitted("cut-2"));
    let whole = request(
        "POST",
        "/v1/events",
        &[("content-type", "application/x-ndjson")],
        batch.as_bytes(),
    );
    for end in [whole.len() - 1, whole.len() - 200, whole.len() - batch.len()] {
        let mut stream = daemon.connect();
        stream.write_all(&whole[..end]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut told = Vec::new();
        let _ = stream.read_to_end(&mut told);
        assert!(!String::from_utf8_lossy(&told).contains(" 202 "), "cut after {end}");
    }
    assert!(!daemon.journal_holds("cut-1"));
}

/// When it stops, who waits for news is sent home, and who hands something in is still answered.
#[test]
fn a_stop_lets_requests_end() {
    let mut daemon = Daemon::start(Setup::default());
    daemon.pause();
    let mut giving = daemon.connect();
    let event = submitted("last").to_string();
    giving
        .write_all(&request("POST", "/v1/events", &[("content-type", ONE)], event.as_bytes()))
        .unwrap();
    while daemon.inboxes.all[0].is_empty() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut waiting = daemon.connect();
    waiting.write_all(&request("GET", "/v1/deliveries?wait=60", &[], b"")).unwrap();
    let idle = daemon.connect();
    std::thread::sleep(Duration::from_millis(200));
    let paused = std::sync::Arc::clone(&daemon.paused);
    let opener = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        paused.store(false, Ordering::SeqCst);
    });
    let begun = Stopwatch::start();
    assert_eq!(daemon.close(), 0, "nobody is cut off");
    assert!(begun.elapsed() < Duration::from_secs(4));
    opener.join().unwrap();
    assert_eq!((answer_of(&mut giving), answer_of(&mut waiting)), (202, 200));
    drop(idle);
    assert!(std::net::TcpStream::connect(daemon.address).is_err());
}

/// A panic is one request's matter.
#[test]
fn a_panic_is_an_answer() {
    let daemon = Daemon::start(Setup::default());
    *daemon.host.dead.lock().unwrap() = Some("make metrics panic".to_owned());
    let mut stream = daemon.connect();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    assert_eq!(answer_of(&mut stream), 500);
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    assert_eq!(answer_of(&mut stream), 200, "the connection goes on");
    let counted = daemon.host.answered.lock().unwrap().clone();
    assert!(counted.contains(&("/".into(), 200)), "{counted:?}");
}
