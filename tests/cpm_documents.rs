//! The standards' documents under bad weather: what strangers send, and what happens to it on the way.
//!
//! Goal: no octets, however odd, make us panic, hang, take part of a document, or write what we would not
//! read. Method: the defects that the change requests' own example has, attacks that XML is known for,
//! and documents from seeds, written, read, broken and read again.
//!
//! A failure names its seed. `DEFERD_SEED=n cargo test --test cpm_documents` replays that one;
//! `DEFERD_SEEDS=n` sets how many are tried.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says so"
)]

#[path = "cpm_documents/made.rs"]
mod made;
mod seeded;

use std::io::Write as _;
use std::panic::catch_unwind;
use std::process::Command;

use deferd::cpm::evfw::{self, EventReport, Writing};
use deferd::cpm::xml::{Layout, Limits};
use deferd::cpm::{DocumentError, Fault, cpim, imdn, preferences};
use deferd::domain::address::Home;
use seeded::Chance;

const FLAGS: &str = include_str!("samples/cpm/flags.xml");
const CURLY: &str = include_str!("samples/cpm/curly.xml");
const DEFECTS: &str = include_str!("samples/cpm/defects.xml");
const FAILED: &str = include_str!("samples/cpm/failed-and-ready.xml");
const OLD: &str = include_str!("samples/cpm/old-gateway.xml");
const RULES: &str = include_str!("samples/cpm/rules.xml");
const BLACKLIST: &str = include_str!("samples/cpm/blacklist.xml");
const CPIM: &str = "From: \"A \\\"b\\\"\" <sip:alice@example.org>\r\nTo: <tel:+15145550100>\r\n\
    NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: m1\r\nDateTime: 2026-11-21T08:00:00Z\r\n\
    Subject:;lang=fr D\\u00e9j\u{e0}\r\nimdn.Disposition-Notification: positive-delivery, display\r\n\r\n\
    Content-Type: text/plain;\r\n charset=utf-8\r\n\r\nHello\r\n\r\nBob";

/// the example of the change request, defect by defect. Repair mends quotes; a tag that does not
/// balance, or a name with braces, is refused with its place, and nothing of the document is done.
#[test]
fn the_normative_example_is_refused_where_it_is_wrong() {
    let cases = [
        // As it is, and with its quotes mended.
        (DEFECTS, false, "line 4, column 29: the curly quote `“`, expected a straight one, `\"`"),
        (
            DEFECTS,
            true,
            "line 13, column 1: `</operation>`, expected `</report-data>`, as it is open since line 5, column 1",
        ),
        // Each defect by itself.
        ("<a b=“c”/>", false, "line 1, column 6: the curly quote `“`"),
        ("<a b=\"c“ d=\"e\"/>", false, "line 1, column 8: the curly quote `“`"),
        (
            "<a uid=58175/>",
            false,
            "line 1, column 8: `5` where a value begins, expected a quote `\"`",
        ),
        (
            "<a>\n<report-data>\n</a>",
            true,
            "line 3, column 1: `</a>`, expected `</report-data>`, as it is open since line 2",
        ),
        (
            "<a>\n<operation/>\n</operation></a>",
            true,
            "line 3, column 1: `</operation>`, expected `</a>`",
        ),
        (
            "<a>\n<event-{xxx}-{yyy}>\n</event-{xxx}-{yyy}></a>",
            true,
            "line 2, column 8: `{`, expected an element's name",
        ),
    ];
    for (document, repair, says) in cases {
        let error = read(document.as_bytes(), repair).unwrap_err();
        assert_eq!(error.fault, Fault::Syntax);
        assert!(error.to_string().starts_with(says), "{document}: {error}");
    }

    let repaired = read(CURLY.as_bytes(), true).unwrap();
    let expected = read(FLAGS.as_bytes(), false).unwrap();
    let object =
        |read: &evfw::Read| read.report.imap().next().unwrap().objects().next().unwrap().1.clone();
    assert_eq!(object(&repaired), object(&expected));
    let wrapped = FLAGS.replace("index=\"e1\">", "index=\"e1\"><report-data>");
    let wrapped = wrapped.replace("  </event-cpm-imap>", "</report-data></event-cpm-imap>");
    assert_eq!(read(wrapped.as_bytes(), false).unwrap().report, expected.report);
}

/// What XML has been attacked with since there is XML, and what networks send by mistake.
#[test]
fn an_attack_ends_at_its_first_limit() {
    let mut bomb = String::from("<?xml version=\"1.0\"?><!DOCTYPE r [<!ENTITY a \"ha\">");
    for level in 1..30 {
        let (name, inner) = (letter(level), letter(level - 1));
        bomb.push_str(&format!("<!ENTITY {name} \"&{inner};&{inner};&{inner};\">"));
    }
    bomb.push_str("]><cpm-evfw>&z;</cpm-evfw>");
    let external = "<!DOCTYPE r SYSTEM \"file:///etc/passwd\"><cpm-evfw/>";
    let deep = "<a>".repeat(1_000) + &"</a>".repeat(1_000);
    let huge = format!("<cpm-evfw>{}</cpm-evfw>", " ".repeat(10 << 20));
    let attributes: String = (0..33).map(|n| format!(" a{n}=''")).collect();
    let utf_16: Vec<u8> = FLAGS.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let latin = FLAGS.replace("UTF-8", "ISO-8859-1");
    let objects = FLAGS.replace(
        "</operation>\n  </event",
        &("<object/>".repeat(10_000) + "</operation>\n  </event"),
    );
    let many = FLAGS.replace(
        "</operation>\n  </event",
        &("<object/>".repeat(1_500) + "</operation>\n  </event"),
    );
    let spaces = format!(
        "<cpm-evfw xmlns:x='urn:{}'>{}</cpm-evfw>",
        "y".repeat(30_000),
        "<x:a/>".repeat(5_000)
    );
    let cases: [(&[u8], Fault, &str); 15] = [
        // SEED4-58: an event report travels without an envelope.
        (
            CPIM.as_bytes(),
            Fault::Syntax,
            "line 1, column 1: text outside all elements, expected an element",
        ),
        (
            bomb.as_bytes(),
            Fault::Syntax,
            "line 1, column 22: a DOCTYPE, expected an element: no DTD is read",
        ),
        (external.as_bytes(), Fault::Syntax, "line 1, column 1: a DOCTYPE"),
        (b"<cpm-evfw>&lol;</cpm-evfw>", Fault::Syntax, "line 1, column 11: the entity `&lol;`"),
        (
            deep.as_bytes(),
            Fault::TooLarge,
            "line 1, column 97: elements 33 deep, expected at most 32",
        ),
        (
            huge.as_bytes(),
            Fault::TooLarge,
            "line 1, column 1: 10485781 octets, expected at most 65536",
        ),
        (objects.as_bytes(), Fault::TooLarge, "octets, expected at most 65536"),
        (many.as_bytes(), Fault::TooLarge, "more than 1000 events and objects"),
        (spaces.as_bytes(), Fault::TooLarge, "unknown elements of more than 65536 octets"),
        (&utf_16, Fault::Charset, "line 1, column 1: UTF-16, expected UTF-8"),
        (
            latin.as_bytes(),
            Fault::Charset,
            "line 1, column 31: the encoding ISO-8859-1, expected UTF-8",
        ),
        (b"<cpm-evfw>\xC0\xAF</cpm-evfw>", Fault::Charset, "line 1, column 11: the octet 0xC0"),
        (b"<cpm-evfw a='1' a='2'/>", Fault::Syntax, "line 1, column 17: the attribute `a` twice"),
        (
            b"<cpm-evfw><failed-iw><message-id>a\0b</message-id>",
            Fault::Syntax,
            "line 1, column 35: the character U+0000",
        ),
        (
            b"<SOAP-ENV:Envelope xmlns:SOAP-ENV='urn:s'/>",
            Fault::Root,
            "the root element `SOAP-ENV:Envelope`",
        ),
    ];
    for (bytes, fault, says) in cases {
        let error = read(bytes, false).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(error.fault, fault, "{error}");
    }
    let most = format!("<cpm-evfw{}/>", attributes);
    assert_eq!(read(most.as_bytes(), false).unwrap_err().fault, Fault::TooLarge);
}

/// A value in pieces is one value, and foreign namespaces are extensions.
#[test]
fn odd_but_sound_documents_are_read() {
    let odd = FLAGS
        .replace("<message-id>m1", "<message-id><!-- which? --><![CDATA[m]]>&#49;<!-- -->")
        .replace(
            "<object>",
            "<f:object xmlns:f='urn:f'><f:x/></f:object><object><f:y xmlns:f='urn:f'/>",
        )
        .replace("</conversation-id>", "<!-- -->\n</conversation-id>");
    let read = read(odd.as_bytes(), false).unwrap();
    let objects: Vec<_> = read.report.imap().next().unwrap().objects().collect();
    assert_eq!(objects[0].1.message_id.as_deref(), Some("m1"));
    assert_eq!(objects[1].1.conversation_id.as_deref(), Some("conv2"));
    assert_eq!((objects.len(), read.unknown), (3, 2));
}

/// All that we write is valid by the schema that we publish.
#[test]
fn what_we_write_is_valid_by_our_schema() {
    let folder = std::env::temp_dir().join(format!("deferd-evfw-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut files = Vec::new();
    let mut keep = |document: &str| {
        let file = folder.join(format!("{}.xml", files.len()));
        std::fs::File::create(&file).unwrap().write_all(document.as_bytes()).unwrap();
        files.push(file);
    };
    for sample in [FAILED, FLAGS] {
        keep(&read(sample.as_bytes(), false).unwrap().report.write(&Writing::default()).unwrap());
    }
    for seed in 0..400 {
        let mut chance = Chance::new(seed);
        let (report, writing) = (made::report(&mut chance), made::writing(&mut chance));
        keep(&report.write(&writing).unwrap());
    }
    let lint = Command::new("xmllint")
        .args(["--nonet", "--noout", "--schema", "schemas/cpm-evfw.xsd"])
        .args(&files)
        .output()
        .expect("xmllint runs: apt-get install libxml2-utils");
    let said = String::from_utf8_lossy(&lint.stderr);
    let wrong: Vec<&str> = said.lines().filter(|line| !line.ends_with(" validates")).collect();
    assert!(lint.status.success() && wrong.is_empty(), "{}", wrong.join("\n"));
    std::fs::remove_dir_all(&folder).unwrap();
}

/// write∘read is identity, for whatever we say.
#[test]
fn what_is_written_reads_back_the_same() {
    over_seeds(|seed| {
        let mut chance = Chance::new(seed);
        let (report, writing) = (made::report(&mut chance), made::writing(&mut chance));
        let written = report.write(&writing).unwrap();
        let again = read(written.as_bytes(), chance.one_in(2)).expect(&written);
        assert_eq!(again.report, report, "{written}");

        let envelope = made::envelope(&mut chance);
        let written = envelope.write();
        let again = cpim::read(&written, &Limits::default()).expect("our own");
        assert_eq!(again, envelope, "{}", String::from_utf8_lossy(&written));
    });
}

/// Broken documents: no panic; what is read can be written and read again, and is then the same for
/// good; what is refused is refused at a place that the document has.
#[test]
fn broken_octets_harm_nobody() {
    let samples: [&[u8]; 8] = [
        FLAGS.as_bytes(),
        CURLY.as_bytes(),
        DEFECTS.as_bytes(),
        FAILED.as_bytes(),
        OLD.as_bytes(),
        RULES.as_bytes(),
        BLACKLIST.as_bytes(),
        CPIM.as_bytes(),
    ];
    over_seeds(|seed| {
        let mut chance = Chance::new(seed);
        let bytes = if chance.one_in(4) {
            let mut chance = Chance::new(seed);
            made::report(&mut chance).write(&Writing::default()).unwrap().into_bytes()
        } else {
            chance.pick(&samples).to_vec()
        };
        let broken = made::broken(&mut chance, bytes, &samples);
        match read(&broken, chance.one_in(2)) {
            Ok(read) => stays(&read.report),
            Err(error) => has_its_place(&error, &broken),
        }
        if let Err(error) = prefers(&broken) {
            has_its_place(&error, &broken);
        }
        match imdn::read(&broken, &Limits::default()) {
            Ok(read) => {
                if let Some(written) = read.write(imdn::Form::Ietf, Layout::Compact) {
                    let again = imdn::read(written.as_bytes(), &Limits::default());
                    assert_eq!(again.as_ref(), Ok(&read), "{written}");
                }
            }
            Err(error) => has_its_place(&error, &broken),
        }
        match cpim::read(&broken, &Limits::default()) {
            Ok(mut read) => {
                assert_eq!(cpim::read(&read.write(), &Limits::default()).as_ref(), Ok(&read));
                read.strip_delivery();
                read.add_record_route("sip:pf.example.org");
                assert_eq!(cpim::read(&read.write(), &Limits::default()).as_ref(), Ok(&read));
            }
            Err(error) => has_its_place(&error, &broken),
        }
    });
}

/// What we take, the XML library of everybody else takes too.
#[test]
fn what_we_read_is_well_formed() {
    let folder = std::env::temp_dir().join(format!("deferd-xml-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let samples = [FLAGS.as_bytes(), FAILED.as_bytes(), OLD.as_bytes()];
    let (mut files, mut seed) = (Vec::new(), 0);
    while files.len() < 300 {
        seed += 1;
        let mut chance = Chance::new(seed);
        let bytes = chance.pick(&samples).to_vec();
        let broken = made::broken(&mut chance, bytes, &samples);
        if read(&broken, false).is_ok() {
            let file = folder.join(format!("{seed}.xml"));
            std::fs::File::create(&file).unwrap().write_all(&broken).unwrap();
            files.push(file);
        }
        assert!(seed < 100_000, "only {} of {seed} are read", files.len());
    }
    let lint = Command::new("xmllint")
        .args(["--nonet", "--noout"])
        .args(&files)
        .output()
        .expect("xmllint runs: apt-get install libxml2-utils");
    let said = String::from_utf8_lossy(&lint.stderr);
    assert!(lint.status.success(), "{said}");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// read∘write∘read is stable, where a strict document can say it at all.
fn stays(report: &EventReport) {
    let Ok(written) = report.write(&Writing::default()) else { return };
    let Ok(again) = read(written.as_bytes(), false) else {
        // Indented or with its namespaces it is beyond what one document may hold.
        assert!(written.len() > 60_000, "{written}");
        return;
    };
    let Ok(twice) = again.report.write(&Writing::default()) else { panic!("{written}") };
    assert_eq!(twice, written);
    assert_eq!(again.report.interworking().len(), report.interworking().len());
}

/// The line exists, and the column is in it or right behind it.
fn has_its_place(error: &DocumentError, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let line = text.split('\n').nth(error.at.line - 1);
    let Some(line) = line else { panic!("{error}: there is no such line in {text:?}") };
    let columns = line.chars().count() + 1;
    assert!((1..=columns).contains(&error.at.column), "{error}: line {line:?}");
    assert!(!error.found.is_empty() && !error.expected.is_empty(), "{error}");
}

fn read(bytes: &[u8], repair: bool) -> Result<evfw::Read, DocumentError> {
    let home = Home::default();
    evfw::read(bytes, &evfw::Reading { limits: Limits::default(), repair, home: &home })
}

fn prefers(bytes: &[u8]) -> Result<preferences::Read, DocumentError> {
    let home = Home::default();
    preferences::read(bytes, &preferences::Reading { limits: Limits::default(), home: &home })
}

fn letter(level: u8) -> char {
    char::from(if level > 25 { b'A' + level - 26 } else { b'a' + level })
}

/// Walks the seeds, and names the first that fails.
fn over_seeds(walk: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let number = |name: &str| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    if let Some(seed) = number("DEFERD_SEED") {
        return walk(seed);
    }
    for seed in 0..number("DEFERD_SEEDS").unwrap_or(10_000) {
        if let Err(why) = catch_unwind(|| walk(seed)) {
            println!("DEFERD_SEED={seed} cargo test --test cpm_documents replays it");
            std::panic::resume_unwind(why);
        }
    }
}
