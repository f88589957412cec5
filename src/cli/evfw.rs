//! `deferd evfw`: event reports as a person meets them.

use std::fmt::Write as _;
use std::io::{Read as _, Write};
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::args::{Evfw, EvfwAction, EvfwCheck, EvfwShow, EvfwWrite, ShowAs};
use super::config::Loaded;
use super::replay::paint::{BAD, BOLD, DIM, GOOD, WAITS, paint};
use super::{Answer, settings};
use crate::cpm::evfw::{
    Asked, Context, Domain, Event, EventReport, FailedIw, FlagAttribute, ImapEvent, Interworking,
    IwOutcome, IwReport, Object, Read, Reading, ReadyForSms, Writing, read,
};
use crate::cpm::xml::{Layout, Limits, Source};
use crate::cpm::{DocumentError, Fault};
use crate::domain::address::{Address, Home};

/// Far more than a document may have; what is longer is not even counted.
const MOST_OCTETS: u64 = 64 << 20;

/// How much of a long line is shown.
const WINDOW: usize = 96;

/// Checks, shows or writes an event report.
///
/// # Errors
///
/// The file cannot be read, or what is to be written cannot be said.
pub(super) fn evfw(args: &Evfw, config: &Loaded, out: &mut dyn Write) -> anyhow::Result<Answer> {
    let home = settings(config)?.reader.home;
    let (repair, flag_attribute) = (config.config.xml.repair, config.config.evfw.flag_attribute);
    match &args.action {
        EvfwAction::Check(args) => check(args, repair, &home, out),
        EvfwAction::Show(args) => show(args, repair, &home, out),
        EvfwAction::Write(args) => write(args, flag_attribute, &home, out),
    }
}

fn check(
    args: &EvfwCheck,
    repair: bool,
    home: &Home,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let bytes = octets(&args.file)?;
    let reading = Reading { limits: Limits::default(), repair: args.repair || repair, home };
    let read = match read(&bytes, &reading) {
        Ok(read) => read,
        Err(error) => return refused(&args.file, &bytes, &error, args.output, out),
    };
    if args.output == ShowAs::Json {
        let notes: Vec<Value> = read
            .notes
            .iter()
            .map(
                |note| json!({ "line": note.at.line, "column": note.at.column, "note": note.text }),
            )
            .collect();
        let sound = json!({
            "sound": true, "asks_for": counts(&read.report), "unknown": read.unknown, "notes": notes
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&sound)?)?;
        return Ok(Answer::Done);
    }
    writeln!(out, "{}: {}", paint(GOOD, "sound"), sentence(&read))?;
    for note in &read.notes {
        writeln!(out, "  {}:{}  {}", note.at.line, note.at.column, plain(&note.text))?;
    }
    Ok(Answer::Done)
}

fn show(args: &EvfwShow, repair: bool, home: &Home, out: &mut dyn Write) -> anyhow::Result<Answer> {
    let bytes = octets(&args.file)?;
    let reading = Reading { limits: Limits::default(), repair: args.repair || repair, home };
    let report = match read(&bytes, &reading) {
        Ok(read) => read.report,
        Err(error) => return refused(&args.file, &bytes, &error, args.output, out),
    };
    if args.output == ShowAs::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
        return Ok(Answer::Done);
    }
    if report.does_nothing() {
        writeln!(out, "It asks for nothing that we know.")?;
    }
    for (number, event) in report.interworking() {
        let (what, then) = interworking(event);
        writeln!(out, "{} {}", paint(BOLD, format!("event {number}:")), plain(&what))?;
        writeln!(out, "  {}", paint(DIM, format!("→ {then}")))?;
    }
    if !report.interworking().is_empty() {
        let text =
            "Only a configured gateway may say so; from anybody else it is refused with 403 (A-7).";
        writeln!(out, "{}", paint(DIM, text))?;
    }
    for imap in report.imap() {
        writeln!(out, "{}", paint(BOLD, format!("flags, index {}:", plain(&imap.index))))?;
        for (asked, object) in imap.objects() {
            let (what, then) = flag(asked, object);
            writeln!(out, "  {}", plain(&what))?;
            writeln!(out, "    {}", paint(DIM, format!("→ {then}")))?;
        }
    }
    for event in &report.events {
        if let Event::Other(kept) = event {
            writeln!(out, "{} {}", paint(BOLD, "unknown event:"), plain(kept.name()))?;
            let then =
                "→ ignored and counted; with an IARI the request is passed on as it is (A-38)";
            writeln!(out, "  {}", paint(DIM, then))?;
        }
    }
    Ok(Answer::Done)
}

fn write(
    args: &EvfwWrite,
    flag_attribute: FlagAttribute,
    home: &Home,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let report = match (&args.file, &args.user) {
        (Some(file), _) => {
            let text = octets(file)?;
            serde_json::from_slice(&text)
                .with_context(|| format!("{} is no event report in JSON", file.display()))?
        }
        (None, Some(user)) => one_event(args, user, home)?,
        (None, None) => bail!("no user, expected --user"),
    };
    let writing = Writing {
        layout: if args.compact { Layout::Compact } else { Layout::Lines },
        flag_attribute: if args.flag { FlagAttribute::Flag } else { flag_attribute },
    };
    let document = report.write(&writing).context("a strict document does not say this")?;
    out.write_all(document.as_bytes())?;
    if !document.ends_with('\n') {
        writeln!(out)?;
    }
    Ok(Answer::Done)
}

fn one_event(args: &EvfwWrite, user: &str, home: &Home) -> anyhow::Result<EventReport> {
    let user = Some(Address::parse(user, home).context("--user")?);
    let domain = Some(Domain::of(&args.domain));
    let event = match &args.failed {
        Some(message) => IwReport::Failed(FailedIw {
            user,
            message_id: message.as_str().into(),
            context: if args.mms { Context::Multimedia } else { Context::Pager },
            domain,
            cause: args.cause.as_deref().map(str::parse).transpose().context("--cause")?,
            diagnostic: None,
            unknown: Vec::new(),
        }),
        None => IwReport::Ready(ReadyForSms { user, domain, unknown: Vec::new() }),
    };
    let iw = Interworking { reports: vec![event], unknown: Vec::new() };
    Ok(EventReport { events: vec![Event::Interworking(iw)] })
}

/// What an interworking event says, and what follows from it.
fn interworking(event: &IwReport) -> (String, &'static str) {
    let who = |user: &Option<Address>| match user {
        Some(user) => user.to_string(),
        None => "the user of the request".to_owned(),
    };
    let place = |domain: Option<Domain>| match domain {
        Some(domain) => format!(" in {}", domain.word()),
        None => String::new(),
    };
    match event {
        IwReport::Failed(failed) => {
            let what = match &failed.context {
                Context::Pager => "an SMS",
                Context::Multimedia => "an MMS",
                Context::Other(word) => word,
            };
            let mut said = format!(
                "{what} of message {} to {} failed{}",
                failed.message_id,
                who(&failed.user),
                place(failed.domain)
            );
            if let Some(cause) = failed.cause {
                // Writing to a string cannot fail.
                let _ = write!(said, ", {cause}");
            }
            if let Some(diagnostic) = failed.diagnostic {
                let _ = write!(said, ", diagnostic {diagnostic}");
            }
            (said, "cpm.sms.failed; found by message id, then attempt id, then legacy id (A-12)")
        }
        IwReport::Ready(ready) => {
            let said = format!("SMS works again for {}{}", who(&ready.user), place(ready.domain));
            (said, "cpm.sms.ready: a reason to try, no proof that the phone is there (A-15, V-3)")
        }
        IwReport::Result(result) => {
            let (end, then) = match result.outcome {
                IwOutcome::Delivered => ("arrived", "cpm.sms.delivered (A-4)"),
                IwOutcome::Delayed => ("is still being tried", "cpm.sms.delayed (A-4)"),
            };
            let to = who(&result.user);
            let place = place(result.domain);
            (format!("message {} to {to} {end}{place}", result.message_id), then)
        }
    }
}

/// What is asked for an object, and what follows.
fn flag(asked: &Asked, object: &Object) -> (String, &'static str) {
    let which = match (object.place(), &object.message_id) {
        (Some((folder, uid)), Some(id)) => format!("message {id}, UID {uid} in {folder}"),
        (Some((folder, uid)), None) => format!("UID {uid} in {folder}"),
        (None, Some(id)) => format!("message {id}, wherever it is"),
        (None, None) => "a message that nothing tells which".to_owned(),
    };
    let answer = object.message_id.is_some();
    match asked {
        Asked::Add(flags) => {
            let flags: Vec<&str> = flags.iter().map(|flag| flag.word()).collect();
            let then = if answer {
                "set in the message store; one IMDN says how that went (SEED4-78)"
            } else {
                "set in the message store; without message id no result is told (SEED4-78)"
            };
            (format!("set {} on {which}", flags.join(" and ")), then)
        }
        Asked::Refused(why) => {
            let then = if answer { "a negative IMDN (SEED4-66)" } else { "nothing (SEED4-78)" };
            (format!("{which}: {why}"), then)
        }
    }
}

/// A document that cannot be read: where, and why; the answer is no.
pub(super) fn refused(
    file: &Path,
    bytes: &[u8],
    error: &DocumentError,
    output: ShowAs,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let DocumentError { fault, at, found, expected } = error;
    if output == ShowAs::Json {
        let fault = match fault {
            Fault::TooLarge => "too-large",
            Fault::Charset => "charset",
            Fault::Syntax => "syntax",
            Fault::Root => "root",
            Fault::Content => "content",
        };
        let refused = json!({
            "sound": false, "fault": fault, "line": at.line, "column": at.column, "found": found,
            "expected": expected
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&refused)?)?;
        return Ok(Answer::No);
    }
    let name =
        if file == Path::new("-") { "standard input".into() } else { file.display().to_string() };
    let says = format!("{name}:{}:{}: {found}, expected {expected}", at.line, at.column);
    writeln!(out, "{}", paint(BAD, plain(&says)))?;
    let whole = Limits { octets: usize::MAX, ..Limits::default() };
    let source = Source::new(bytes, &whole).ok();
    if let Some(line) = source.as_ref().and_then(|source| source.line(at.line)) {
        let before = at.column.saturating_sub(1);
        let from = before.saturating_sub(WINDOW * 2 / 3);
        let cut: String = plain(line).chars().skip(from).take(WINDOW).collect();
        let number = at.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(out, " {} {} {cut}", paint(DIM, &number), paint(DIM, "|"))?;
        let caret = paint(WAITS, "^");
        writeln!(out, " {margin} {} {}{caret}", paint(DIM, "|"), " ".repeat(before - from))?;
    }
    writeln!(out, "Nothing of it would be done.")?;
    Ok(Answer::No)
}

/// What a sound document asks for, in a sentence.
fn sentence(read: &Read) -> String {
    let counts = counts(&read.report);
    let mut parts: Vec<String> = counts
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, count)| **count != json!(0))
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if read.unknown > 0 {
        parts.push(format!("unknown elements {}", read.unknown));
    }
    if parts.is_empty() { "it asks for nothing".to_owned() } else { parts.join(", ") }
}

fn counts(report: &EventReport) -> Value {
    let events = report.interworking();
    let of = |is: fn(&IwReport) -> bool| events.iter().filter(|(_, event)| is(event)).count();
    json!({
        "failed-iw": of(|event| matches!(event, IwReport::Failed(_))),
        "ready-for-sms": of(|event| matches!(event, IwReport::Ready(_))),
        "iw-result": of(|event| matches!(event, IwReport::Result(_))),
        "objects": report.imap().flat_map(ImapEvent::objects).count(),
    })
}

/// Text that does nothing to a terminal.
fn plain(text: &str) -> String {
    text.replace('\t', " ").replace(char::is_control, "\u{fffd}")
}

/// The octets of a file or of standard input.
pub(super) fn octets(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().take(MOST_OCTETS).read_to_end(&mut bytes).context("standard input")?;
    } else {
        let open = std::fs::File::open(file);
        open.and_then(|open| open.take(MOST_OCTETS).read_to_end(&mut bytes))
            .with_context(|| format!("cannot read {}", file.display()))?;
    }
    Ok(bytes)
}
