//! Documents made of chance, and ways to break them.

use std::num::{NonZeroU8, NonZeroU32};

use deferd::cpm::cpim::{Cpim, Header};
use deferd::cpm::evfw::{
    Asked, Context, Domain, Event, EventReport, FailedIw, Flag, FlagAttribute, ImapEvent,
    Interworking, IwOutcome, IwReport, IwResult, NAMESPACE, Object, Operation, ReadyForSms,
    Writing,
};
use deferd::cpm::xml::{Kept, Layout, Limits};
use deferd::domain::address::{Address, Msisdn};
use deferd::domain::failure::Cause;
use deferd::domain::message::Dispositions;

use crate::seeded::Chance;

/// Anything that a strict document can say.
pub(crate) fn report(chance: &mut Chance) -> EventReport {
    let events = (0..=chance.below(3)).map(|_| event(chance)).collect();
    EventReport { events }
}

pub(crate) fn writing(chance: &mut Chance) -> Writing {
    let layout = *chance.pick(&[Layout::Lines, Layout::Compact]);
    let flag_attribute = *chance.pick(&[FlagAttribute::Flags, FlagAttribute::Flag]);
    Writing { layout, flag_attribute }
}

fn event(chance: &mut Chance) -> Event {
    match chance.below(5) {
        0 => Event::Other(kept(chance)),
        1 | 2 => Event::Interworking(Interworking {
            reports: (0..=chance.below(3)).map(|_| iw_report(chance)).collect(),
            unknown: unknown(chance),
        }),
        _ => Event::Imap(ImapEvent {
            index: text(chance),
            operations: (0..=chance.below(2)).map(|_| operation(chance)).collect(),
            unknown: unknown(chance),
        }),
    }
}

fn iw_report(chance: &mut Chance) -> IwReport {
    let user = Msisdn::new(15_145_550_100 + chance.next() % 100).ok().map(Address::Tel);
    let domain = Some(*chance.pick(&[Domain::Cs, Domain::Ps]));
    let context = chance.pick(&[Context::Pager, Context::Multimedia]).clone();
    match chance.below(3) {
        0 => {
            let cause = (!chance.one_in(3)).then(|| *chance.pick(Cause::ALL));
            let diagnostic = u8::try_from(chance.below(256)).ok().and_then(NonZeroU8::new);
            IwReport::Failed(FailedIw {
                user,
                message_id: text(chance),
                context,
                domain,
                cause,
                diagnostic: diagnostic.filter(|_| cause.is_some()),
                unknown: unknown(chance),
            })
        }
        1 => IwReport::Ready(ReadyForSms { user, domain, unknown: unknown(chance) }),
        _ => IwReport::Result(IwResult {
            user,
            message_id: text(chance),
            context,
            domain,
            outcome: *chance.pick(&[IwOutcome::Delivered, IwOutcome::Delayed]),
            unknown: unknown(chance),
        }),
    }
}

fn operation(chance: &mut Chance) -> Operation {
    Operation {
        asked: Asked::Add([*chance.pick(&[Flag::Seen, Flag::Deleted])].into()),
        objects: (0..=chance.below(2)).map(|_| object(chance)).collect(),
        unknown: unknown(chance),
    }
}

fn object(chance: &mut Chance) -> Object {
    let maybe = |chance: &mut Chance| (!chance.one_in(3)).then(|| text(chance));
    let number = u32::try_from(chance.next() >> 33).ok().and_then(NonZeroU32::new);
    Object {
        uid: number.filter(|_| chance.one_in(2)),
        folder_path: maybe(chance),
        conversation_id: maybe(chance),
        contribution_id: maybe(chance),
        other_party: chance.one_in(2).then(|| "tel:+15145550102".into()),
        message_id: Some(text(chance)),
        unknown: unknown(chance),
    }
}

/// Text in one line: whatever XML, IMAP and shells give a meaning to.
fn text(chance: &mut Chance) -> Box<str> {
    const PIECES: [&str; 20] = [
        "m1",
        "<",
        ">",
        "&",
        "\"",
        "'",
        "é",
        "\u{1F600}",
        "]]>",
        "&amp;",
        "..",
        "/",
        "\\",
        "{5}",
        "%",
        "&AOk-",
        "“",
        "*",
        "A1 LOGOUT",
        "-->",
    ];
    let mut text = String::from("x");
    for _ in 0..chance.below(6) {
        let piece: &&str = chance.pick(&PIECES);
        text.push_str(piece);
        if chance.one_in(4) {
            text.push(' ');
        }
    }
    text.push('y');
    text.into()
}

fn unknown(chance: &mut Chance) -> Vec<Kept> {
    (0..chance.below(6).saturating_sub(3)).map(|_| kept(chance)).collect()
}

fn kept(chance: &mut Chance) -> Kept {
    let xml = *chance.pick(&[
        "<f:a xmlns:f='urn:f'/>",
        "<a xmlns='urn:f' b='&amp;'><c>x</c><!-- d --><![CDATA[<]]></a>",
        "<f:a xmlns:f='urn:f' xmlns=''><b/><f:c d=\"“\"/></f:a>",
        "<a xmlns=''><b xmlns='urn:oma:xml:cpm:evfw'/></a>",
    ]);
    Kept::new(xml, NAMESPACE, &Limits::default()).unwrap()
}

/// An envelope, headers and content of all kinds.
pub(crate) fn envelope(chance: &mut Chance) -> Cpim {
    let mut cpim = Cpim::new("sip:alice@example.org", "tel:+15145550100");
    for _ in 0..chance.below(5) {
        match chance.below(4) {
            0 => cpim.imdn("Message-ID", &text(chance)),
            1 => cpim.ask(Dispositions::of(["display", "positive-delivery"])),
            2 => cpim.add_record_route("sip:pf.example.org"),
            _ => cpim.add(Header::prefixed("my", "Own", &format!("a\r\n\t\u{7}{}", text(chance)))),
        }
    }
    if chance.one_in(2) {
        cpim.strip_delivery();
    }
    let body: Vec<u8> = (0..chance.below(40)).map(|_| chance.next().to_le_bytes()[3]).collect();
    cpim.set_content(&[("Content-Type", "text/plain; charset=utf-8")], body);
    cpim
}

/// The same with some of it flipped, cut, doubled or put in.
pub(crate) fn broken(chance: &mut Chance, mut bytes: Vec<u8>, others: &[&[u8]]) -> Vec<u8> {
    const PIECES: [&str; 24] = [
        "<",
        ">",
        "&",
        "\"",
        "'",
        "/>",
        "</",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "<?",
        "?>",
        "<!DOCTYPE",
        "&#0;",
        "&#x41;",
        "“",
        "\r",
        "\n",
        "\u{feff}",
        " xmlns='urn:x'",
        "<report-data>",
        "<x:y xmlns:x='urn:x'/>",
        "\0",
    ];
    for _ in 0..=chance.below(3) {
        let at = chance.below(bytes.len());
        let until = (at + 1 + chance.below(12)).min(bytes.len());
        match chance.below(7) {
            0 if !bytes.is_empty() => {
                let bit = chance.below(8);
                bytes[at] ^= 1 << bit;
            }
            1 => bytes.truncate(at),
            2 if at < until => {
                bytes.drain(at..until);
            }
            3 if at < until => {
                let again = bytes[at..until].to_vec();
                bytes.splice(at..at, again);
            }
            4 => {
                let other = chance.pick(others);
                let from = chance.below(other.len());
                let piece = other[from..(from + 30).min(other.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                bytes.splice(at..at, chance.pick(&PIECES).bytes());
            }
        }
    }
    bytes
}
