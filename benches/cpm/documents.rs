//! Reading an event report, beside quick-xml's own walk over the same octets: its events until the end, with
//! its own checks, and nothing done about them.
//!
//! The documents are what our own writer makes of typical reports, as compact as SIP needs them. They are read
//! as the daemon reads them: within the default limits, quotes not repaired.

use std::hint::black_box;
use std::num::NonZeroU32;

use deferd::cpm::evfw::{
    Asked, Domain, Event, EventReport, FailedIw, Flag, ImapEvent, Interworking, IwReport, Object,
    Operation, Reading, ReadyForSms, Writing, read,
};
use deferd::cpm::xml::{Layout, Limits};
use deferd::domain::address::{Address, Home};
use deferd::domain::failure::Cause;
use quick_xml::Reader;
use quick_xml::events::Event as Token;

use super::measure::{Round, median, target, timed};

/// How many octets a round reads.
const OCTETS: usize = 16 << 20;

/// The rows of each document.
pub(crate) fn report(rounds: usize) {
    let home = Home::default();
    let reading = Reading { limits: Limits::default(), repair: false, home: &home };
    let documents = [
        ("failed and ready", written(interworking())),
        ("one flag", written(flags(1))),
        ("many flags", largest(&reading)),
    ];
    println!("\n{:<34}{:>10}{:>12}{:>12}", "event reports", "octets", "MB/s", "k docs/s");
    let mut ratios = Vec::new();
    for (name, document) in &documents {
        let times = OCTETS / document.len();
        let (mut walks, mut reads) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            walks.push(timed(|| (0..times).for_each(|_| walk(black_box(document)))));
            reads.push(timed(|| {
                for _ in 0..times {
                    let _ = black_box(read(black_box(document), &reading).expect("a report"));
                }
            }));
        }
        let walked = row(&format!("{name}: quick-xml alone"), document, times, &walks);
        let read = row(&format!("{name}: read"), document, times, &reads);
        ratios.push((format!("{name}, against quick-xml"), walked / read));
    }
    println!();
    for (name, ratio) in ratios {
        target(&name, ratio, "x", 0.4, true);
    }
}

/// Prints a row; its median, in seconds.
fn row(name: &str, document: &[u8], times: usize, rounds: &[Round]) -> f64 {
    let (wall, octets) = (median(rounds).wall, document.len());
    let a_second = times as f64 / wall;
    println!(
        "{name:<34}{octets:>10}{:>12.1}{:>12.1}",
        a_second * octets as f64 / 1e6,
        a_second / 1e3
    );
    wall
}

fn walk(document: &[u8]) {
    let mut reader = Reader::from_reader(document);
    while !matches!(black_box(reader.read_event().expect("XML")), Token::Eof) {}
}

fn written(event: Event) -> Vec<u8> {
    let writing = Writing { layout: Layout::Compact, ..Writing::default() };
    let report = EventReport { events: vec![event] };
    report.write(&writing).expect("a report").into_bytes()
}

/// A gateway: an SMS failed, and the user can be reached by SMS again.
fn interworking() -> Event {
    let user = Some(Address::parse("tel:+15145550100", &Home::default()).expect("a number"));
    let failed = FailedIw {
        user: user.clone(),
        message_id: "5f0c6a8e-3d0b-4c7e-9a51-2b6f1f0e7d11".into(),
        context: <_>::default(),
        domain: Some(Domain::Cs),
        cause: Some(Cause::Absent),
        diagnostic: None,
        unknown: Vec::new(),
    };
    let ready = ReadyForSms { user, domain: Some(Domain::Ps), unknown: Vec::new() };
    Event::Interworking(Interworking {
        reports: vec![IwReport::Failed(failed), IwReport::Ready(ready)],
        unknown: Vec::new(),
    })
}

/// A client: so many messages were read on another device.
fn flags(count: u32) -> Event {
    let object = |number: u32| Object {
        uid: NonZeroU32::new(58_000 + number),
        folder_path: Some("Default/c1/k1".into()),
        message_id: Some(format!("Mx{number:06}").into()),
        ..Object::default()
    };
    let asked = Asked::Add([Flag::Seen].into());
    let objects = (0..count).map(object).collect();
    let operation = Operation { asked, objects, unknown: Vec::new() };
    Event::Imap(ImapEvent { index: "1".into(), operations: vec![operation], unknown: Vec::new() })
}

/// As many flags as the limits let through.
fn largest(reading: &Reading<'_>) -> Vec<u8> {
    let is_taken = |count: &u32| read(&written(flags(*count)), reading).is_ok();
    let (mut good, mut bad) = (1, 2_000);
    while bad - good > 1 {
        let middle = u32::midpoint(good, bad);
        if is_taken(&middle) { good = middle } else { bad = middle }
    }
    written(flags(good))
}
