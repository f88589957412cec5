//! Packets as tshark decodes them, and the facts they must become.
//!
//! `tests/captures/README.md` tells where the packets are from. Beside each capture lies what it
//! must give, line by line, checked against the protocols by hand. A change of the rules shows here
//! as a difference; `DEFERD_WRITE_EXPECTED=1` writes the files anew, to be read before they are
//! kept.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use deferd::domain::address::Home;
use deferd::edge::ek::{Ek, Fact, Limits, tshark_arguments, tshark_arguments_layered};

const CAPTURES: [&str; 8] = [
    "sip-register",
    "sip-ims",
    "map-sms-reachability",
    "map-dialogues",
    "diameter-reachability",
    "diameter-answers",
    "gsup-osmo-hlr",
    "smpp-session",
];

/// The shape of `-e`, which the documentation tells people to use.
#[test]
fn captures_become_the_expected_facts() {
    for name in CAPTURES {
        let facts = facts(&tshark(name, tshark_arguments()));

        let expected = capture(name).with_extension("expected.jsonl");
        if std::env::var_os("DEFERD_WRITE_EXPECTED").is_some() {
            std::fs::write(&expected, &facts).expect("the expected facts are written");
        }
        let expected = std::fs::read_to_string(&expected).expect("the expected facts are there");
        assert_eq!(facts, expected, "{name}");
    }
}

/// The shape without `-e` tells the same, fact for fact and id for id.
#[test]
fn layers_tell_the_same_as_fields() {
    for name in CAPTURES {
        let layered = tshark(name, tshark_arguments_layered());

        assert_eq!(facts(&layered), facts(&tshark(name, tshark_arguments())), "{name}");
    }
}

/// Two messages in each packet: fields cannot be told apart and are counted, layers are read.
#[test]
fn packets_with_several_messages_need_layers() {
    let fields = facts(&tshark("several-in-one-packet", tshark_arguments()));
    assert_eq!(fields, "{\"skipped\":\"several messages in one packet\",\"count\":6}\n");

    let layers = facts(&tshark("several-in-one-packet", tshark_arguments_layered()));
    let expected = capture("several-in-one-packet").with_extension("expected.jsonl");
    if std::env::var_os("DEFERD_WRITE_EXPECTED").is_some() {
        std::fs::write(&expected, &layers).expect("the expected facts are written");
    }
    assert_eq!(layers, std::fs::read_to_string(&expected).expect("the expected facts are there"));
}

/// What tshark prints of a capture: its bytes, as a pipe would bring them.
fn tshark(name: &str, shape: impl Iterator<Item = &'static str>) -> Vec<u8> {
    let run = Command::new("tshark").arg("-r").arg(capture(name)).args(shape).output();
    let output = match run {
        Ok(output) => output,
        Err(error) => panic!(
            "tshark does not start ({error}). It decodes the captures of this test: install it, on \
             Debian and Ubuntu with `apt-get install tshark`, on Fedora with `dnf install \
             wireshark-cli`, on macOS with `brew install wireshark`"
        ),
    };
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Events as they are, then the skips with their counts, in the order of their texts.
fn facts(lines: &[u8]) -> String {
    let home = Home::default();
    let mut ek = Ek::new(home, "/probe/ek/test".to_owned(), Limits::default());
    let mut facts = Vec::new();
    for (number, line) in (1..).zip(lines.split(|byte| *byte == b'\n')) {
        facts.extend(ek.line(number, line));
    }
    facts.extend(ek.finish());

    let mut text = String::new();
    let mut skips = std::collections::BTreeMap::new();
    for fact in facts {
        match fact {
            Fact::Event(event) => writeln!(text, "{event}").expect("a string takes all"),
            Fact::Skipped(skip) => *skips.entry(skip.to_string()).or_insert(0) += 1,
            Fact::Rejected { line, reason } => panic!("line {line}: {reason}"),
        }
    }
    for (skip, count) in skips {
        let skip = serde_json::json!(skip);
        writeln!(text, "{{\"skipped\":{skip},\"count\":{count}}}").expect("a string takes all");
    }
    text
}

fn capture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures").join(format!("{name}.pcap"))
}
