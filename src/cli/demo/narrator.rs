//! Says in plain words what happened: one line for each thing worth knowing, two voices.
#![allow(clippy::wildcard_enum_match_arm, reason = "what a story has no word for, it leaves out")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anstyle::{AnsiColor, Style};

use super::Told;
use super::story::{Step, Story};
use crate::domain::event::{
    Access, BlockKind, End, Event, Mark, MessageRef, Notice, Rung, Trigger,
};
use crate::domain::failure::Class;
use crate::domain::input::What;
use crate::domain::time::Timestamp;
use crate::record::journal::Record;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const OURS: Style = AnsiColor::Cyan.on_default();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Tells one tale.
pub(super) struct Narrator<'a> {
    zero: Timestamp,
    out: &'a mut dyn Write,
    /// The clock on the line above.
    clock: String,
    /// Messages that are not over, and whether an SMS centre has them.
    live: BTreeMap<String, bool>,
    /// How often each message went out.
    tries: BTreeMap<String, u32>,
    /// Until when the last wait for IP runs.
    wait: Timestamp,
    /// Copies owed to other devices.
    owed: usize,
    told: Told,
}

/// What is to be read on its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tone {
    Plain,
    Good,
    Bad,
}

impl<'a> Narrator<'a> {
    pub(super) fn new(zero: Timestamp, out: &'a mut dyn Write) -> Self {
        let (clock, live, tries) = (String::new(), BTreeMap::new(), BTreeMap::new());
        let (wait, told) = (Timestamp::EPOCH, Told::default());
        Self { zero, out, clock, live, tries, wait, owed: 0, told }
    }

    /// How this tale differs, and whom it is about.
    pub(super) fn tale(
        &mut self,
        or: &str,
        policy: &[(&str, &str)],
        user: &str,
    ) -> anyhow::Result<()> {
        let user = user.trim_start_matches("tel:");
        if or.is_empty() {
            writeln!(self.out, "   {DIM}To {user}{}{DIM:#}", with(policy))?;
        } else {
            writeln!(self.out, "   {BOLD}Or: {or}.{BOLD:#} {DIM}To {user}{}{DIM:#}", with(policy))?;
        }
        writeln!(self.out)?;
        Ok(())
    }

    /// Something the world does.
    pub(super) fn world(&mut self, step: &Step) -> anyhow::Result<()> {
        let clock = clock(step.at);
        let who = step.who;
        self.line(clock, who, step.text, Tone::Plain, false)
    }

    /// What deferd decided.
    pub(super) fn deferd(&mut self, record: &Record<'_>) -> anyhow::Result<()> {
        let clock = clock(record.at.as_millis() - self.zero.as_millis());
        let starts =
            record.events.iter().any(|event| matches!(event, Event::AttemptStarted { .. }));
        for event in &record.events {
            self.count(event);
            if let Some((text, tone)) = self.words(event, record.at, starts) {
                self.line(clock.clone(), "deferd", &text, tone, true)?;
            }
        }
        Ok(())
    }

    /// An empty line, and what there was.
    pub(super) fn end(self) -> anyhow::Result<Told> {
        writeln!(self.out)?;
        Ok(self.told)
    }

    fn line(
        &mut self,
        clock: String,
        who: &str,
        text: &str,
        tone: Tone,
        ours: bool,
    ) -> anyhow::Result<()> {
        let shown = if clock == self.clock { "" } else { &clock };
        let name = if ours { OURS } else { Style::new() };
        let style = match tone {
            Tone::Plain => name,
            Tone::Good => GOOD,
            Tone::Bad => BAD,
        };
        let arrow = if ours { "→" } else { " " };
        let out = &mut self.out;
        writeln!(
            out,
            "  {DIM}{shown:>12}{DIM:#}  {arrow} {name}{who:<9}{name:#}{style}{text}{style:#}"
        )?;
        self.clock = clock;
        Ok(())
    }

    fn count(&mut self, event: &Event) {
        match event {
            Event::Deferred { m, .. } => {
                self.live.insert(m.1.to_string(), false);
                self.told.messages += 1;
            }
            Event::SmsAccepted { m, handed: true, .. } => {
                self.live.insert(m.1.to_string(), true);
            }
            Event::AttemptStarted { m, what: What::Message, .. } => {
                *self.tries.entry(m.1.to_string()).or_default() += 1;
            }
            Event::Ended { m, end, .. } => {
                self.live.remove(&*m.1);
                match end {
                    End::Delivered(Access::Cpm) => self.told.by_ip += 1,
                    End::Delivered(Access::Sms) | End::Assumed => self.told.by_sms += 1,
                    _ => {}
                }
            }
            Event::IpWait { until, .. } => self.wait = *until,
            Event::CopiesOwed { to, .. } => self.owed += to.len(),
            Event::CopyClosed { d: Some(_), .. } => self.owed = self.owed.saturating_sub(1),
            Event::CopyClosed { d: None, .. } => self.owed = 0,
            _ => {}
        }
    }

    /// Whether anything waits for the phone to come back.
    fn waits(&self) -> bool {
        self.owed > 0 || self.live.values().any(|handed| !handed)
    }

    /// What an event means to somebody who has never heard of CPM; nothing where the line above said so
    /// already. `starts`: the same step starts a delivery.
    fn words(&self, event: &Event, at: Timestamp, starts: bool) -> Option<(String, Tone)> {
        let now = |until: &Timestamp| clock(until.as_millis() - self.zero.as_millis());
        let plain = |text: String| Some((text, Tone::Plain));
        match event {
            Event::Deferred { m, .. } if starts => plain(format!("takes {m}: the phone is there")),
            Event::Deferred { m, ucn: true, .. } => {
                plain(format!("keeps {m}, which no SMS can carry, until the phone is back"))
            }
            Event::Deferred { m, .. } if self.wait > at => {
                plain(format!("keeps {m}, and waits for IP until {}", now(&self.wait)))
            }
            Event::Deferred { m, .. } => plain(format!("keeps {m} until the phone is back")),
            Event::LadderArmed { next, .. } if *next > at => {
                plain(format!("will try by itself at {} if there is no news", now(next)))
            }
            Event::IpWait { until, by, .. } if self.waits() => ip_wait(*until, *by, at, &now),
            Event::ContactBound { initial: true, settled, .. } if self.waits() && *settled > at => {
                plain(format!("lets the new connection settle until {}", now(settled)))
            }
            Event::ContactBound { .. } if self.told.messages > 0 && !self.waits() => {
                plain("has nothing to send".into())
            }
            Event::AttemptStarted { m, by, what, to, rung, late, .. } => {
                let nth = self.tries.get(&*m.1).copied().unwrap_or_default();
                plain(attempt(m, nth, *by, *what, to.first().map(|d| device(d)), *rung, *late))
            }
            Event::LegEnded { mark: Mark::Suspect, d, .. } => {
                plain(format!("leaves the {} in peace over IP until it signs in again", device(d)))
            }
            Event::AttemptEnded { class, .. } => {
                ended(*class).map(|text| (text.into(), Tone::Plain))
            }
            Event::BackedOff { until, .. } if !starts => {
                plain(format!("will try the same way again at {}", now(until)))
            }
            Event::SmsAccepted { m, handed: true, .. } => {
                plain(format!("leaves {m} to the SMS centre from here on"))
            }
            Event::SmsAccepted { .. } => plain("waits for the report".into()),
            Event::SmsBlocked { block, until, .. } => {
                plain(blocked(*block, until.as_ref().map(now)))
            }
            Event::SmsUnblocked { timer: true } => {
                plain("has waited long enough: SMS may be tried again".into())
            }
            Event::Parked { m, .. } => {
                plain(format!("cannot know whether {m} arrived: from here on only over IP"))
            }
            Event::Notified { notice, .. } => plain(notified(*notice).into()),
            Event::StorageRequested { .. } => {
                plain("has the message recorded in the user's message store".into())
            }
            Event::CopiesOwed { to, until, .. } => {
                let to: Vec<&str> = to.iter().map(|d| device(d)).collect();
                plain(format!("owes a copy to the {}, until {}", to.join(" and the "), now(until)))
            }
            Event::CopyClosed { d: Some(d), .. } => {
                Some((format!("the {} has its copy", device(d)), Tone::Good))
            }
            Event::CopyClosed { d: None, .. } => plain("lets the copy go".into()),
            Event::Ended { m, end, .. } => Some(over(m, *end)),
            _ => None,
        }
    }
}

fn ip_wait(
    until: Timestamp,
    by: Trigger,
    at: Timestamp,
    now: &dyn Fn(&Timestamp) -> String,
) -> Option<(String, Tone)> {
    let until_words = now(&until);
    let text = match by {
        Trigger::IpLoss if until <= at => return None,
        Trigger::Attach | Trigger::SmsReady if until <= at => {
            format!("would have waited for IP until {until_words}; reads on before it acts")
        }
        Trigger::Attach => format!("could send an SMS, but waits for IP until {until_words}"),
        Trigger::SmsReady => format!("waits for IP again, a shorter time: until {until_words}"),
        Trigger::IpLoss => format!("waits for IP to come back until {until_words}"),
    };
    Some((text, Tone::Plain))
}

fn attempt(
    m: &MessageRef,
    nth: u32,
    by: Access,
    what: What,
    to: Option<&str>,
    rung: Option<Rung>,
    late: bool,
) -> String {
    let way = match (what, by) {
        (What::Message | What::Forward, Access::Cpm) => format!("sends {m} over IP"),
        (What::Message | What::Forward, Access::Sms) => format!("sends {m} by SMS"),
        (What::Ucn, _) => format!("sends a notice by SMS: {m} is waiting"),
        (What::Copy, _) => format!("sends the {} its copy of {m} over IP", to.unwrap_or("device")),
    };
    let nth = match (nth, what) {
        (2.., What::Message) => format!(" (try {nth})"),
        _ => String::new(),
    };
    let rung = match rung {
        None => "",
        Some(Rung::Next | Rung::Same) => ", just to try",
        Some(Rung::Free) => ", at once",
    };
    let late = if late { ", late" } else { "" };
    format!("{way}{nth}{rung}{late}")
}

fn ended(class: Class) -> Option<&'static str> {
    match class {
        Class::Infrastructure => Some("takes it that the gateway is broken, not the phone"),
        Class::Absent | Class::MemoryFull | Class::Unknown => None,
        Class::Busy | Class::Congestion => Some("takes it that the way is busy"),
        Class::Declined | Class::Content | Class::Permanent | Class::Policy => {
            Some("will not try that way again for this message")
        }
    }
}

fn blocked(block: BlockKind, until: Option<String>) -> String {
    let until = until.map_or_else(String::new, |until| format!(" or it is {until}"));
    match block {
        BlockKind::Absent => format!("keeps it, and sends no SMS until there is news{until}"),
        BlockKind::MemoryFull => format!("keeps it until there is room{until}"),
        BlockKind::Barred | BlockKind::NotCapable => {
            format!("keeps it: no SMS to this user until things change{until}")
        }
    }
}

fn notified(notice: Notice) -> &'static str {
    match notice {
        Notice::LegacySms => "tells the sender: goes on as SMS",
        Notice::LegacyMms => "tells the sender: goes on as MMS",
        Notice::Delivered => "tells the sender: delivered",
        Notice::Failed => "tells the sender: not delivered",
        Notice::Error => "tells the sender: nobody knows whether it arrived",
        Notice::Forbidden => "tells the sender: not allowed",
        Notice::Stored => "tells the sender: stored",
    }
}

fn over(m: &MessageRef, end: End) -> (String, Tone) {
    match end {
        End::Delivered(Access::Cpm) => (format!("{m} is delivered, over IP"), Tone::Good),
        End::Delivered(Access::Sms) => (format!("{m} is delivered, by SMS"), Tone::Good),
        End::Assumed => (format!("takes {m} for delivered, by SMS"), Tone::Good),
        End::Expired(_) => (format!("{m} has expired, and is dropped"), Tone::Bad),
        End::Stored | End::Forwarded | End::Revoked => (format!("{m} is done"), Tone::Plain),
        End::Rejected
        | End::Declined
        | End::Quota
        | End::Identity
        | End::Purged
        | End::Cancelled => (format!("{m} is not delivered"), Tone::Bad),
    }
}

/// `sip:phone@192.0.2.1` is the phone.
fn device(key: &str) -> &str {
    let key = key.strip_prefix("sip:").unwrap_or(key);
    key.split_once('@').map_or(key, |(name, _)| name)
}

fn with(policy: &[(&str, &str)]) -> String {
    policy.iter().map(|(key, value)| format!(", with {key} = {value}")).collect()
}

/// `00:00:06`, `00:00:30.5`, `-00:10:00`, `1d 00:00:02`.
fn clock(millis: i64) -> String {
    let sign = if millis < 0 { "-" } else { "" };
    let (seconds, part) = (millis.abs() / 1000, millis.abs() % 1000);
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (h, m, s) = (rest / 3600, rest / 60 % 60, rest % 60);
    let days = if days > 0 { format!("{days}d ") } else { String::new() };
    let part = format!(".{part:03}");
    let part = part.trim_end_matches('0').trim_end_matches('.');
    format!("{sign}{days}{h:02}:{m:02}:{s:02}{part}")
}

/// What one is about to see.
pub(super) fn opening(out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(
        out,
        "deferd keeps a message while the phone cannot be reached, and delivers it at the right moment:\n\
         over IP (data) as soon as the phone's messaging app signs in, or by SMS if only the voice\n\
         network comes back. What the world does stands as it is; what deferd does about it has a {OURS}→{OURS:#}.\n\
         Clocks show hours, minutes and seconds from the moment each story turns on.\n"
    )?;
    Ok(())
}

/// Title and introduction of a story.
pub(super) fn headline(story: &Story, out: &mut dyn Write) -> anyhow::Result<()> {
    let title = format!("{}. {}", story.number, story.title);
    writeln!(out, "{BOLD}{title}{BOLD:#}  {DIM}W-{}{DIM:#}", story.number)?;
    writeln!(out, "   {}", story.intro)?;
    Ok(())
}

/// `--list`.
pub(super) fn list(stories: &[&Story], out: &mut dyn Write) -> anyhow::Result<()> {
    for story in stories {
        writeln!(out, "{:>2}  {BOLD}{:<11}{BOLD:#}{}", story.number, story.name, story.title)?;
    }
    Ok(())
}

/// What there was, and where to look further.
pub(super) fn closing(
    journal: &Path,
    example: Option<&Story>,
    whole: bool,
    told: Told,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let Told { messages, by_ip, by_sms } = told;
    let journal = journal.display();
    let many = if messages == 1 { "message" } else { "messages" };
    write!(out, "{messages} {many}: {by_ip} delivered over IP, {by_sms} by SMS")?;
    match messages - by_ip - by_sms {
        0 => writeln!(out, ".")?,
        rest => writeln!(out, ", {rest} expired.")?,
    }
    let Some(story) = example else { return Ok(()) };
    let user = super::user(story, 0);
    let user = user.trim_start_matches("tel:");
    let at = super::zero(story, 0)? + std::time::Duration::from_secs(20);
    writeln!(out, "Every decision is in {journal}. Ask it:\n")?;
    if let Some(message) = story.message() {
        writeln!(out, "  deferd why {message} --journal {journal}")?;
    }
    writeln!(out, "  deferd replay {journal} --user {user}")?;
    writeln!(out, "  deferd replay {journal} --at {at} --user {user}")?;
    writeln!(out, "  deferd replay {journal} --verify")?;
    if !whole {
        writeln!(out, "\nTen more stories: deferd demo --all")?;
    }
    Ok(())
}
