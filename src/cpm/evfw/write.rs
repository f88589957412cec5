//! An event report as we write it: one spelling, all that must be there, nothing that we only tolerate.

use serde::{Deserialize, Serialize};

use super::imap_event::{Asked, ImapEvent, Object};
use super::interworking::{Context, Domain, FailedIw, Interworking, IwOutcome, IwReport};
use super::read::LONGEST;
use super::{Event, EventReport, NAMESPACE, OWN_NAMESPACE};
use crate::cpm::xml::{Kept, Layout, Writer};
use crate::domain::address::Address;

/// How a document is to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writing {
    /// Lines for people, or compact for the wire.
    pub layout: Layout,
    /// How the attribute of an operation is called (`evfw.flag_attribute`, A-39).
    pub flag_attribute: FlagAttribute,
}

/// The attribute that says which flag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlagAttribute {
    /// `flags`, as the text has it.
    #[default]
    Flags,
    /// `flag`, as the example has it: for old peers.
    Flag,
}

/// Why something cannot be written: the caller says what is missing, or does not say it at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// No event at all, or an event with nothing in it.
    #[error("{0} with nothing in it, expected at least one {1}")]
    Empty(&'static str, &'static str),
    /// Something that must be there.
    #[error("{0} without {1}, expected both")]
    Missing(&'static str, &'static str),
    /// A word that only readers tolerate.
    #[error("{0} `{1}`, expected {2}")]
    Word(&'static str, String, &'static str),
}

impl EventReport {
    /// The document.
    ///
    /// # Errors
    ///
    /// [`WriteError`]: the value says something that a strict document does not.
    pub fn write(&self, writing: &Writing) -> Result<String, WriteError> {
        if self.events.is_empty() {
            return Err(WriteError::Empty("an event report", "event"));
        }
        let mut to = Writer::new(writing.layout);
        to.open("cpm-evfw", &[("xmlns", NAMESPACE)]);
        for event in &self.events {
            match event {
                Event::Interworking(iw) => interworking(iw, &mut to)?,
                Event::Imap(imap) => event_cpm_imap(imap, writing.flag_attribute, &mut to)?,
                Event::Other(kept) => to.kept(kept),
            }
        }
        to.close();
        Ok(to.finish())
    }
}

fn interworking(iw: &Interworking, to: &mut Writer) -> Result<(), WriteError> {
    if iw.reports.is_empty() {
        return Err(WriteError::Empty("`cpm-event-iw`", "`failed-iw` or `ready-for-sms`"));
    }
    to.open("cpm-event-iw", &[]);
    for report in &iw.reports {
        match report {
            IwReport::Failed(failed) => failed_iw(failed, to)?,
            IwReport::Ready(ready) => {
                const NAME: &str = "`ready-for-sms`";
                to.open("ready-for-sms", &[]);
                address(NAME, ready.user.as_ref(), to)?;
                domain(NAME, ready.domain, to)?;
                all(&ready.unknown, to);
                to.close();
            }
            IwReport::Result(result) => {
                const NAME: &str = "`iw-result`";
                to.open("x:iw-result", &[("xmlns:x", OWN_NAMESPACE)]);
                address(NAME, result.user.as_ref(), to)?;
                message(NAME, &result.message_id, &result.context, to)?;
                domain(NAME, result.domain, to)?;
                let status = match result.outcome {
                    IwOutcome::Delivered => "delivered",
                    IwOutcome::Delayed => "delayed",
                };
                to.leaf("x:status", &[], status);
                all(&result.unknown, to);
                to.close();
            }
        }
    }
    all(&iw.unknown, to);
    to.close();
    Ok(())
}

fn failed_iw(failed: &FailedIw, to: &mut Writer) -> Result<(), WriteError> {
    const NAME: &str = "`failed-iw`";
    to.open("failed-iw", &[]);
    address(NAME, failed.user.as_ref(), to)?;
    message(NAME, &failed.message_id, &failed.context, to)?;
    domain(NAME, failed.domain, to)?;
    if let Some(cause) = failed.cause {
        let diagnostic = failed.diagnostic.map(|number| number.to_string());
        let mut attributes = vec![("xmlns:x", OWN_NAMESPACE)];
        attributes.extend(diagnostic.as_deref().map(|number| ("diagnostic", number)));
        to.leaf("x:cause", &attributes, &cause.to_string());
    } else if failed.diagnostic.is_some() {
        return Err(WriteError::Missing("a diagnostic", "its cause"));
    }
    all(&failed.unknown, to);
    to.close();
    Ok(())
}

fn address(of: &'static str, user: Option<&Address>, to: &mut Writer) -> Result<(), WriteError> {
    match user {
        None => Err(WriteError::Missing(of, "an address")),
        Some(Address::Sip(uri)) => {
            Err(WriteError::Word("the address", uri.to_string(), "a number, as SMS needs one"))
        }
        Some(tel @ Address::Tel(_)) => {
            to.leaf("cpm-user-address", &[], &tel.to_string());
            Ok(())
        }
    }
}

fn message(
    of: &'static str,
    id: &str,
    context: &Context,
    to: &mut Writer,
) -> Result<(), WriteError> {
    let word = match context {
        Context::Pager | Context::Multimedia => context.word(),
        Context::Other(word) => {
            let expected = "`pager-message` or `multimedia-message`";
            return Err(WriteError::Word("the Message-Context", word.to_string(), expected));
        }
    };
    to.leaf("message-id", &[], text(of, "a message id", id)?);
    to.leaf("Message-Context", &[], word);
    Ok(())
}

fn domain(of: &'static str, domain: Option<Domain>, to: &mut Writer) -> Result<(), WriteError> {
    let Some(domain) = domain else { return Err(WriteError::Missing(of, "a domain")) };
    let Some(word) = domain.written() else {
        return Err(WriteError::Word("the domain", domain.word().to_owned(), "`CS` or `PS`"));
    };
    to.leaf("domain", &[], word);
    Ok(())
}

fn event_cpm_imap(
    imap: &ImapEvent,
    flag_attribute: FlagAttribute,
    to: &mut Writer,
) -> Result<(), WriteError> {
    if imap.operations.is_empty() {
        return Err(WriteError::Empty("`event-cpm-imap`", "operation"));
    }
    let index = text("`event-cpm-imap`", "an index", &imap.index)?;
    to.open("event-cpm-imap", &[("type", "flags"), ("index", index)]);
    let flag_name = match flag_attribute {
        FlagAttribute::Flags => "flags",
        FlagAttribute::Flag => "flag",
    };
    for operation in &imap.operations {
        if operation.objects.is_empty() {
            return Err(WriteError::Empty("an operation", "object"));
        }
        let flags = match &operation.asked {
            Asked::Add(flags) if flags.is_empty() => {
                return Err(WriteError::Missing("an operation", "a flag"));
            }
            Asked::Add(flags) => flags,
            Asked::Refused(why) => {
                let expected = "`add` of `\\Seen` or `\\Deleted`";
                return Err(WriteError::Word("an operation with", why.to_string(), expected));
            }
        };
        // One flag each: that is all the schema has.
        for (number, flag) in flags.iter().enumerate() {
            to.open("operation", &[("name", "add"), (flag_name, flag.word())]);
            for wanted in &operation.objects {
                object(wanted, to)?;
            }
            if number == 0 {
                all(&operation.unknown, to);
            }
            to.close();
        }
    }
    all(&imap.unknown, to);
    to.close();
    Ok(())
}

fn object(object: &Object, to: &mut Writer) -> Result<(), WriteError> {
    if object.message_id.is_none() && object.place().is_none() {
        return Err(WriteError::Missing("an object", "message id or place"));
    }
    let uid = object.uid.map(|uid| uid.to_string());
    let mut attributes = Vec::new();
    attributes.extend(uid.as_deref().map(|uid| ("uid", uid)));
    if let Some(folder) = &object.folder_path {
        attributes.push(("folder-path", text("an object", "a folder", folder)?));
    }
    to.open("object", &attributes);
    for (name, value) in [
        ("conversation-id", &object.conversation_id),
        ("contribution-id", &object.contribution_id),
        ("other-party", &object.other_party),
        ("message-id", &object.message_id),
    ] {
        if let Some(value) = value {
            to.leaf(name, &[], text("an object", name, value)?);
        }
    }
    all(&object.unknown, to);
    to.close();
    Ok(())
}

/// A value that reads back as it is: not empty, without white space around it, in one line.
fn text<'v>(of: &'static str, what: &'static str, value: &'v str) -> Result<&'v str, WriteError> {
    if value.is_empty() {
        return Err(WriteError::Missing(of, what));
    }
    if value.len() > LONGEST {
        let found = format!("of {} octets", value.len());
        return Err(WriteError::Word(what, found, "at most 1,024"));
    }
    if value.trim() != value || value.contains(char::is_control) {
        let shown = value.escape_debug().to_string();
        return Err(WriteError::Word(what, shown, "text in one line, without blanks around it"));
    }
    Ok(value)
}

fn all(kept: &[Kept], to: &mut Writer) {
    for kept in kept {
        to.kept(kept);
    }
}
