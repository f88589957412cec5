//! Octets to an event report: tolerant of spellings, all or nothing.

use std::collections::BTreeSet;
use std::num::{NonZeroU8, NonZeroU32};

use super::imap_event::{Asked, Flag, ImapEvent, Object, Operation, Refusal};
use super::interworking::{
    Context, Domain, FailedIw, Interworking, IwOutcome, IwReport, IwResult, ReadyForSms,
};
use super::{Event, EventReport, NAMESPACE, OWN_NAMESPACE};
use crate::cpm::xml::{Document, Element, Kept, Limits, Source};
use crate::cpm::{DocumentError, Fault, Position};
use crate::domain::address::{Address, AddressError, Home, LONGEST_TEL};
use crate::domain::failure::Cause;

const CONTAINERS: [&str; 2] = ["cpm-event-iw", "event-cpm-iw"];
const FAILED: [&str; 4] = ["failed-iw", "iw-failed", "cpm-event-iw-failed", "event-cpm-iw-failed"];
const READY: [&str; 3] = ["ready-for-sms", "event-cpm-ready-for-sms", "cpm-event-ready-for-sms"];

/// No more than this is told about one document.
const MOST_NOTES: usize = 64;
/// Longer than any id, address or folder that somebody means. In octets.
pub(super) const LONGEST: usize = 1024;

/// How a document is to be read.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'h> {
    /// How much it may hold.
    pub limits: Limits,
    /// Whether to mend its quotes first (`xml.repair`, A-42).
    pub repair: bool,
    /// The network whose people wrote the addresses in it.
    pub home: &'h Home,
}

/// A document that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// What it says.
    pub report: EventReport,
    /// What we read otherwise than it stands there, or passed over: the first 64, by place.
    pub notes: Vec<Note>,
    /// How many elements we did not know.
    pub unknown: usize,
}

/// Something to tell whoever wrote a document. It is no fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where.
    pub at: Position,
    /// What, in a sentence without its full stop.
    pub text: Box<str>,
}

/// Reads an event report. It is read whole, or not at all.
///
/// # Errors
///
/// As [`Document::read`]; [`Fault::Root`] if it is another document; [`Fault::TooLarge`] beyond
/// `limits.items`; [`Fault::Content`] if something that must be there is missing, twice, or no such thing.
pub fn read(bytes: &[u8], reading: &Reading<'_>) -> Result<Read, DocumentError> {
    let mut source = Source::new(bytes, &reading.limits)?;
    if reading.repair {
        source = source.repaired();
    }
    let document = Document::read(&source, &reading.limits)?;
    let root = document.root();
    if !root.is("cpm-evfw") || !root.belongs_to(NAMESPACE) {
        let found = format!("the root element `{}`", root.name());
        return Err(root.fault(Fault::Root, found, format!("`cpm-evfw` of {NAMESPACE}")));
    }
    let mut reader = Reader {
        reading,
        notes: Vec::new(),
        items: 0,
        unknown: 0,
        kept: 0,
        loose: false,
        events: Vec::new(),
    };
    for edit in source.edits().iter().take(MOST_NOTES) {
        let text = match edit.curly {
            Some(curly) => format!("the curly quote `{curly}` was straightened").into(),
            None => "a missing quote was put in".into(),
        };
        reader.notes.push(Note { at: source.place(edit), text });
    }
    each(root, &mut |child| reader.event(child))?;
    if reader.events.is_empty() {
        reader.note(&root, "no event: it does nothing");
    }
    let Reader { mut notes, unknown, events, .. } = reader;
    notes.sort_by_key(|note| note.at);
    Ok(Read { report: EventReport { events }, notes, unknown })
}

/// Each element in another; `report-data` is looked through.
fn each<'d, 's>(
    element: Element<'d, 's>,
    visit: &mut dyn FnMut(Element<'d, 's>) -> Result<(), DocumentError>,
) -> Result<(), DocumentError> {
    for child in element.children() {
        if child.is("report-data") && child.belongs_to(NAMESPACE) {
            each(child, visit)?;
        } else {
            visit(child)?;
        }
    }
    Ok(())
}

struct Reader<'r> {
    reading: &'r Reading<'r>,
    notes: Vec<Note>,
    items: usize,
    unknown: usize,
    /// Octets of unknown elements so far.
    kept: usize,
    /// Whether the last event is a container that nobody wrote.
    loose: bool,
    events: Vec<Event>,
}

/// The children of an interworking event that we know.
#[derive(Default)]
struct Fields {
    user: Option<Address>,
    message_id: Option<Box<str>>,
    context: Option<Context>,
    domain: Option<Domain>,
    cause: Option<Cause>,
    diagnostic: Option<NonZeroU8>,
    status: Option<IwOutcome>,
    unknown: Vec<Kept>,
}

impl Reader<'_> {
    /// A place costs a look at all that stands before it, so what is not told has none.
    fn note(&mut self, element: &Element<'_, '_>, text: impl Into<Box<str>>) {
        if self.notes.len() < MOST_NOTES {
            self.notes.push(Note { at: element.position(), text: text.into() });
        }
    }

    fn event(&mut self, element: Element<'_, '_>) -> Result<(), DocumentError> {
        let ours = element.belongs_to(NAMESPACE);
        if ours && is_any(&element, &CONTAINERS) {
            let name = CONTAINERS[0];
            self.spelt(&element, name);
            let mut iw = Interworking::default();
            each(element, &mut |child| {
                match self.interworking(child)? {
                    Some(report) => iw.reports.push(report),
                    None => iw.unknown.push(self.keep(child)?),
                }
                Ok(())
            })?;
            if iw.reports.is_empty() {
                self.note(&element, format!("`{name}` without events: it does nothing"));
            }
            self.loose = false;
            self.events.push(Event::Interworking(iw));
        } else if ours && element.is("event-cpm-imap") {
            let imap = self.imap(element)?;
            self.loose = false;
            self.events.push(Event::Imap(imap));
        } else if let Some(report) = self.interworking(element)? {
            let found = format!("`{}` outside `cpm-event-iw`: read as if inside", element.local());
            self.note(&element, found);
            match self.events.last_mut() {
                Some(Event::Interworking(iw)) if self.loose => iw.reports.push(report),
                _ => {
                    let iw = Interworking { reports: vec![report], unknown: Vec::new() };
                    self.events.push(Event::Interworking(iw));
                    self.loose = true;
                }
            }
        } else {
            let kept = self.keep(element)?;
            self.loose = false;
            self.events.push(Event::Other(kept));
        }
        Ok(())
    }

    /// One more of what a document may ask for.
    fn item(&mut self, element: &Element<'_, '_>) -> Result<(), DocumentError> {
        self.items += 1;
        let most = self.reading.limits.items;
        if self.items > most {
            let found = format!("more than {most} events and objects");
            return Err(element.fault(Fault::TooLarge, found, format!("at most {most}")));
        }
        Ok(())
    }

    /// An element that we do not know, as it came.
    fn keep(&mut self, element: Element<'_, '_>) -> Result<Kept, DocumentError> {
        let kept = element.kept(NAMESPACE);
        self.unknown += 1;
        self.kept += kept.as_xml().len();
        let most = self.reading.limits.octets;
        if self.kept > most {
            let found =
                format!("unknown elements of more than {most} octets with their namespaces");
            return Err(element.fault(Fault::TooLarge, found, format!("at most {most}")));
        }
        self.note(&element, format!("`{}` is unknown, and passed over", element.name()));
        Ok(kept)
    }

    fn spelt(&mut self, element: &Element<'_, '_>, name: &str) {
        if element.local() != name {
            let found = format!("`{}` is read as `{name}`", element.local());
            self.note(element, found);
        }
    }

    /// A failure, a result or a readiness; `None` for what is none of them.
    fn interworking(
        &mut self,
        element: Element<'_, '_>,
    ) -> Result<Option<IwReport>, DocumentError> {
        let ours = element.belongs_to(NAMESPACE);
        let of = |missing: &str| {
            element.error(format!("`{}` without `{missing}`", element.local()), "one")
        };
        if ours && is_any(&element, &FAILED) {
            self.spelt(&element, FAILED[0]);
            self.item(&element)?;
            let fields = self.fields(element)?;
            return Ok(Some(IwReport::Failed(FailedIw {
                user: fields.user,
                message_id: fields.message_id.ok_or_else(|| of("message-id"))?,
                context: fields.context.unwrap_or_default(),
                domain: fields.domain,
                cause: fields.cause,
                diagnostic: fields.diagnostic,
                unknown: fields.unknown,
            })));
        }
        if ours && is_any(&element, &READY) {
            self.spelt(&element, READY[0]);
            self.item(&element)?;
            let Fields { user, domain, unknown, .. } = self.fields(element)?;
            return Ok(Some(IwReport::Ready(ReadyForSms { user, domain, unknown })));
        }
        if element.is("iw-result") && (ours || element.is_of(OWN_NAMESPACE)) {
            self.item(&element)?;
            let fields = self.fields(element)?;
            return Ok(Some(IwReport::Result(IwResult {
                user: fields.user,
                message_id: fields.message_id.ok_or_else(|| of("message-id"))?,
                context: fields.context.unwrap_or_default(),
                domain: fields.domain,
                outcome: fields.status.unwrap_or(IwOutcome::Delivered),
                unknown: fields.unknown,
            })));
        }
        Ok(None)
    }

    fn fields(&mut self, element: Element<'_, '_>) -> Result<Fields, DocumentError> {
        let ready = is_any(&element, &READY);
        let result = element.is("iw-result");
        let mut fields = Fields::default();
        for child in element.children() {
            let ours = child.belongs_to(NAMESPACE) || (result && child.is_of(OWN_NAMESPACE));
            if ours && child.is("cpm-user-address") {
                let user = match value(&child)? {
                    None => None,
                    Some(text) => Some(self.address(&child, text)?),
                };
                once(&child, &mut fields.user, user)?;
            } else if ours && child.is("domain") {
                let word = value(&child)?;
                let domain = word.map(Domain::of);
                if domain == Some(Domain::Unknown) {
                    let found = format!("the domain `{}` is unknown", word.unwrap_or_default());
                    self.note(&child, found);
                }
                once(&child, &mut fields.domain, domain)?;
            } else if ours && !ready && child.is("message-id") {
                once(&child, &mut fields.message_id, value(&child)?.map(Into::into))?;
            } else if ours && !ready && child.is("message-context") {
                let context = value(&child)?.map(Context::of);
                if let Some(Context::Other(word)) = &context {
                    self.note(&child, format!("the context `{word}` is unknown"));
                }
                once(&child, &mut fields.context, context)?;
            } else if ours && result && child.is("status") {
                let status = match child.text() {
                    word if word.eq_ignore_ascii_case("delivered") => IwOutcome::Delivered,
                    word if word.eq_ignore_ascii_case("delayed") => IwOutcome::Delayed,
                    _ => {
                        let expected = "`delivered` or `delayed`";
                        return Err(child.text_error("another status", expected));
                    }
                };
                once(&child, &mut fields.status, Some(status))?;
            } else if !ready && !result && child.is("cause") && child.is_of(OWN_NAMESPACE) {
                let cause = child.text().to_ascii_lowercase().parse::<Cause>();
                let cause = cause
                    .map_err(|error| child.text_error("an unknown cause", error.to_string()))?;
                once(&child, &mut fields.cause, Some(cause))?;
                fields.diagnostic = match child.attribute("diagnostic") {
                    None => None,
                    Some(number) => Some(number.trim().parse().map_err(|_| {
                        child.value_error("diagnostic", "no diagnostic", "a number from 1 to 255")
                    })?),
                };
            } else {
                let kept = self.keep(child)?;
                fields.unknown.push(kept);
            }
        }
        Ok(fields)
    }

    /// tel URI, SIP URI, `+E164`, digits; white space anywhere in a number.
    fn address(&self, child: &Element<'_, '_>, text: &str) -> Result<Address, DocumentError> {
        Address::parse(text, self.reading.home).or_else(|error: AddressError| {
            let packed: String = text.split_whitespace().collect();
            Address::parse(&packed, self.reading.home)
                .map_err(|_| child.text_error("no address of a user", error.to_string()))
        })
    }

    fn imap(&mut self, element: Element<'_, '_>) -> Result<ImapEvent, DocumentError> {
        let attribute = |name: &str| {
            let found = || format!("`event-cpm-imap` without `{name}`");
            let missing = || element.error(found(), format!("{name}=\"…\""));
            checked(&element, name)?.ok_or_else(missing)
        };
        let kind = attribute("type")?;
        let kind = (!kind.eq_ignore_ascii_case("flags")).then(|| Refusal::Type(kind.into()));
        let mut imap = ImapEvent { index: attribute("index")?.into(), ..ImapEvent::default() };
        each(element, &mut |child| {
            if child.is("operation") && child.belongs_to(NAMESPACE) {
                let operation = self.operation(child, kind.as_ref())?;
                imap.operations.push(operation);
            } else {
                imap.unknown.push(self.keep(child)?);
            }
            Ok(())
        })?;
        if imap.operations.is_empty() {
            self.note(&element, "`event-cpm-imap` without operations: it does nothing");
        }
        Ok(imap)
    }

    fn operation(
        &mut self,
        element: Element<'_, '_>,
        refused: Option<&Refusal>,
    ) -> Result<Operation, DocumentError> {
        let name = checked(&element, "name")?
            .ok_or_else(|| element.error("an operation without `name`", "name=\"add\""))?;
        let asked = match refused {
            Some(refusal) => Asked::Refused(refusal.clone()),
            None if !name.eq_ignore_ascii_case("add") => Asked::Refused(Refusal::Name(name.into())),
            None => self.flags(&element)?,
        };
        if let Asked::Refused(why) = &asked {
            self.note(&element, format!("{why}: each object has a negative result"));
        }
        let mut operation = Operation { asked, objects: Vec::new(), unknown: Vec::new() };
        each(element, &mut |child| {
            if child.is("object") && child.belongs_to(NAMESPACE) {
                self.item(&child)?;
                let object = self.object(child)?;
                operation.objects.push(object);
            } else {
                operation.unknown.push(self.keep(child)?);
            }
            Ok(())
        })?;
        if operation.objects.is_empty() {
            self.note(&element, "an operation without objects: it does nothing");
        }
        Ok(operation)
    }

    ///
    fn flags(&mut self, element: &Element<'_, '_>) -> Result<Asked, DocumentError> {
        let (text, spare) = (checked(element, "flags")?, checked(element, "flag")?);
        let Some(first) = text.or(spare) else {
            return Err(element.error("an operation without `flags`", "flags=\"\\Seen\""));
        };
        let words = |text: &str| {
            let mut all = BTreeSet::new();
            for word in text.split([' ', ',']).filter(|word| !word.is_empty()) {
                all.insert(Flag::of(word)?);
            }
            Some(all).filter(|all| !all.is_empty())
        };
        let flags = words(first);
        if text.is_some() && spare.is_some_and(|spare| words(spare) != flags) {
            return Ok(Asked::Refused(Refusal::FlagsDiffer));
        }
        if text.is_none() {
            self.note(element, "`flag` is read as `flags`");
        }
        Ok(flags.map_or_else(|| Asked::Refused(Refusal::Flags(first.into())), Asked::Add))
    }

    /// Another party's address, in the one spelling where it is one.
    fn party(&self, text: &str) -> Box<str> {
        match Address::parse(text, self.reading.home) {
            Ok(address) => address.written(&mut [0; LONGEST_TEL]).into(),
            Err(_) => text.into(),
        }
    }

    fn object(&mut self, element: Element<'_, '_>) -> Result<Object, DocumentError> {
        let uid = checked(&element, "uid")?;
        let digits = uid.filter(|uid| uid.bytes().all(|byte| byte.is_ascii_digit()));
        let number = digits.and_then(|uid| uid.parse::<NonZeroU32>().ok());
        if let (Some(uid), None) = (uid, number) {
            let text = format!("the uid `{uid}` is none of IMAP, and passed over");
            self.note(&element, text);
        }
        let mut object = Object {
            uid: number,
            folder_path: checked(&element, "folder-path")?.map(Into::into),
            ..Object::default()
        };
        if object.uid.is_some() && object.folder_path.is_none() {
            self.note(&element, "a uid without folder-path means nothing");
        }
        for child in element.children() {
            let field = if !child.belongs_to(NAMESPACE) {
                None
            } else if child.is("message-id") {
                Some(&mut object.message_id)
            } else if child.is("conversation-id") {
                Some(&mut object.conversation_id)
            } else if child.is("contribution-id") {
                Some(&mut object.contribution_id)
            } else if child.is("other-party") {
                let party = value(&child)?.map(|party| self.party(party));
                once(&child, &mut object.other_party, party)?;
                continue;
            } else {
                None
            };
            let Some(field) = field else {
                let kept = self.keep(child)?;
                object.unknown.push(kept);
                continue;
            };
            once(&child, field, value(&child)?.map(Into::into))?;
        }
        if object.message_id.is_none() && object.place().is_none() {
            let text =
                "nothing says which message it is: neither message-id nor uid and folder-path";
            self.note(&element, text);
        }
        Ok(object)
    }
}

fn is_any(element: &Element<'_, '_>, names: &[&str]) -> bool {
    names.iter().any(|name| element.is(name))
}

/// Sets a field that may be there once.
fn once<T>(
    child: &Element<'_, '_>,
    field: &mut Option<T>,
    value: Option<T>,
) -> Result<(), DocumentError> {
    if field.is_some() {
        return Err(child.error(format!("a second `{}`", child.local()), "one"));
    }
    *field = value;
    Ok(())
}

/// The text of an element, `None` if it is empty.
fn value<'d>(child: &Element<'d, '_>) -> Result<Option<&'d str>, DocumentError> {
    let text = child.text();
    match fault_of(text) {
        Some((found, expected)) => Err(child.text_error(found, expected)),
        None => Ok(Some(text).filter(|text| !text.is_empty())),
    }
}

/// An attribute's value, `None` if it is not there or empty.
fn checked<'d>(element: &Element<'d, '_>, name: &str) -> Result<Option<&'d str>, DocumentError> {
    let Some(text) = element.attribute(name).map(|text| text.trim_matches(' ')) else {
        return Ok(None);
    };
    match fault_of(text) {
        Some((found, expected)) => Err(element.value_error(name, found, expected)),
        None => Ok(Some(text).filter(|text| !text.is_empty())),
    }
}

/// What would be dangerous or pointless to pass on.
fn fault_of(text: &str) -> Option<(String, String)> {
    // Beyond ASCII a control character begins with this octet; few texts have one.
    let may_control = |octet: u8| (octet < 0x20) | (octet == 0x7F) | (octet == 0xC2);
    if text.bytes().fold(false, |found, octet| found | may_control(octet))
        && text.contains(char::is_control)
    {
        return Some(("a control character".into(), "text in one line".into()));
    }
    let octets = text.len();
    (octets > LONGEST)
        .then(|| (format!("a value of {octets} octets"), format!("at most {LONGEST}")))
}
