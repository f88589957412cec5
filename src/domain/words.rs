//! Events in words: the same in the log, in `replay` and in stories.
//!
//! Lower case, the verb first where the journal's reader looks for it: `attempt m1#2 sms`. An attempt is
//! its message and number; a device is its key. Numbers of people are left out (`rules.md` 5.5).

use std::fmt;
use std::sync::Arc;

use super::command::{access_word, notice_word};
use super::event::{
    Access, BlockKind, End, Ending, Event, Hold, HoldBy, LegEnd, Mark, MessageRef, Rung, Trigger,
};
use super::failure::Class;
use super::input::{Technology, What};
use super::message::Interwork;
use super::reachability::{Caps, SlotState};
use super::time::Timestamp;

/// Times as RFC 3339.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words(&|time| time.to_string()))
    }
}

impl Event {
    /// What happened, in words, with times as `clock` writes them.
    #[must_use]
    pub fn words(&self, clock: &dyn Fn(Timestamp) -> String) -> String {
        match self {
            Self::Deferred { m, interwork, sms, ucn, holds, .. } => {
                let way = match interwork {
                    Interwork::Fallback => "",
                    Interwork::Only => ", sms only",
                    Interwork::Also => ", sms also",
                };
                let carried = match (sms, ucn) {
                    (true, _) => "",
                    (false, true) => ", ucn due",
                    (false, false) => ", ip only",
                };
                let holds: Vec<String> =
                    holds.iter().map(|hold| format!(", {}", held(hold, clock))).collect();
                format!("deferred {m}{way}{carried}{}", holds.concat())
            }
            Self::ContactBound { d, initial, settled, caps, cpm, .. } => {
                if !cpm.unwrap_or_else(|| caps.is_none_or(Caps::any_cpm)) {
                    format!("{d} registered without cpm")
                } else if *initial {
                    format!("{d} settles until {}", clock(*settled))
                } else {
                    format!("{d} registered")
                }
            }
            Self::ContactRefreshed { d, f: Some(_), .. } => format!("{d} refreshed"),
            Self::ContactRefreshed { d, f: None, .. } => format!("{d} seen"),
            Self::ContactLost { d, f: Some(_), .. } => format!("{d} gone"),
            Self::ContactLost { d, f: None, at } => format!("{d} gone as of {}", clock(*at)),
            Self::SlotSet { slot, state, sms, .. } => {
                let slot = slot.word();
                match (state, sms) {
                    (SlotState::Attached, true) => format!("{slot} attached"),
                    (SlotState::Attached, false) => format!("{slot} attached without sms"),
                    (SlotState::Detached, _) => format!("{slot} detached"),
                    (SlotState::Unknown, _) => format!("{slot} unknown"),
                }
            }
            Self::SmsNews { .. } => "sms news".into(),
            Self::SmsBlocked { block, until, .. } => {
                let why = match block {
                    BlockKind::Absent => "absent",
                    BlockKind::MemoryFull => "memory full",
                    BlockKind::Barred => "barred",
                    BlockKind::NotCapable => "not capable",
                };
                format!("sms blocked: {why}{}", until_words(*until, clock))
            }
            Self::SmsUnblocked { timer: false } => "sms unblocked".into(),
            Self::SmsUnblocked { timer: true } => "sms unblocked: its time is over".into(),
            Self::IpWait { by, until, .. } => {
                let by = match by {
                    Trigger::Attach => "",
                    Trigger::SmsReady => " after ready",
                    Trigger::IpLoss => " after ip loss",
                };
                format!("ip wait until {}{by}", clock(*until))
            }
            Self::WaitCancelled { .. } => "ip wait cancelled".into(),
            Self::AttemptStarted { m, n, by, what, to, rung, late, covers, target, .. } => {
                let what = match what {
                    What::Message => "",
                    What::Ucn => " ucn",
                    What::Copy => " copy",
                    What::Forward => " forward",
                };
                let covers = if covers.is_empty() {
                    String::new()
                } else {
                    format!(" covering {}", names(covers))
                };
                let target = target.as_ref().map_or_else(String::new, |to| format!(" to {to}"));
                let rung = match rung {
                    None => "",
                    Some(Rung::Next) => ", rung",
                    Some(Rung::Same) => ", rung by sms",
                    Some(Rung::Free) => ", uncounted",
                };
                let late = if *late { ", late" } else { "" };
                let by = access_word(*by);
                format!("attempt {m}#{n} {by}{what}{}{target}{covers}{rung}{late}", devices(to))
            }
            Self::AttemptTaken { m, n, d, .. } => {
                format!("started {m}#{n}{}", devices(d.as_slice()))
            }
            Self::LegEnded { m, n, d, end, mark, retry_after, .. } => {
                let end = match end {
                    LegEnd::Delivered => "delivered",
                    LegEnd::Accepted => "accepted",
                    LegEnd::Artefact => "artefact",
                    LegEnd::Failed(class) => &class.to_string(),
                };
                let mark = match mark {
                    Mark::None => "",
                    Mark::Suspect => ", suspect",
                    Mark::Refused => ", refused",
                    Mark::Dropped => ", dropped",
                };
                let after = retry_after.map_or_else(String::new, |s| format!(", retry after {s}s"));
                format!("leg {m}#{n} {d} {end}{mark}{after}")
            }
            Self::AttemptEnded { m, n, class, .. } => match class {
                Class::Unknown => format!("outcome of {m}#{n} unknown"),
                Class::Absent
                | Class::MemoryFull
                | Class::Busy
                | Class::Congestion
                | Class::Infrastructure
                | Class::Declined
                | Class::Content
                | Class::Permanent
                | Class::Policy => format!("failed {m}#{n} {class}"),
            },
            Self::ImdnAwaited { m, n, until } => {
                format!("imdn of {m}#{n} awaited until {}", clock(*until))
            }
            Self::SmsAccepted { m, n, report, handed, mms, .. } => {
                let how = if *handed { "handed over" } else { "accepted" };
                let mms = if *mms { " as mms" } else { "" };
                let report = if *report { "" } else { ", no report to come" };
                format!("{how} {m}#{n}{mms}{report}")
            }
            Self::SmsEnded { m, n } => format!("sms of {m}#{n} over"),
            Self::SmsDelayed { m, n, .. } => format!("delayed {m}#{n}"),
            Self::BackedOff { m, by, what, d, until } => {
                let what = match what {
                    What::Message | What::Forward => access_word(*by),
                    What::Ucn => "ucn",
                    What::Copy => "copy",
                };
                format!("back-off {m} {what}{} until {}", devices(d.as_slice()), clock(*until))
            }
            Self::Parked { m, by, n } => format!("parked {m}#{n} {}", access_word(*by)),
            Self::Unparked { m } => format!("unparked {m}"),
            Self::SmsRefused { m } => format!("sms closed to {m}"),
            Self::NotInterworkable { m, ucn: true } => format!("no sms can carry {m}, ucn due"),
            Self::NotInterworkable { m, ucn: false } => format!("no sms can carry {m}"),
            Self::Notified { m, notice, reason, .. } => {
                let reason = reason.as_ref().map_or_else(String::new, |why| format!(": {why}"));
                format!("notified {m} {}{reason}", notice_word(*notice))
            }
            Self::StorageRequested { m, as_, waits, .. } => {
                let kind = match as_ {
                    Technology::Sms => "sms",
                    Technology::Mms => "mms",
                };
                if *waits { format!("storing {m}") } else { format!("recorded {m} {kind}") }
            }
            Self::StorageFailed { m } => format!("not stored {m}"),
            Self::CopiesOwed { m, to, until } => {
                format!("copies of {m} owed until {} to{}", clock(*until), devices(to))
            }
            Self::CopyClosed { m, d: Some(d) } => format!("copy of {m} settled {d}"),
            Self::CopyClosed { m, d: None } => format!("copies of {m} dropped"),
            Self::Ended { m, end, .. } => ended(&m.1, *end),
            Self::Handled { id, end, .. } => format!("elsewhere: {}", ended(id, *end)),
            Self::EndingStarted { m, why } => {
                let why = match why {
                    Ending::Cancelled => "cancelled",
                    Ending::Identity => "identity",
                };
                format!("ending {}: {why}", one_or_all(m.as_ref()))
            }
            Self::LifeCut { m, expires } => {
                format!("life of {} ends {}", one_or_all(m.as_ref()), clock(*expires))
            }
            Self::HoldSet { ms, hold } => format!("{} {}", names(ms), held(hold, clock)),
            Self::HoldEnded { ms, by } => format!("{} no longer held by {}", names(ms), who(by)),
            Self::UserHeld { reason } => format!("user held: {reason}"),
            Self::UserReleased {} => "user released".into(),
            Self::Preferred { .. } => "preferences changed".into(),
            Self::Identified { imsi, msisdn } => match (imsi.is_some(), msisdn.is_some()) {
                (_, true) => "number known".into(),
                (true, false) => "sim known".into(),
                (false, false) => "identity known".into(),
            },
            Self::ViewDropped {} => "view dropped".into(),
            Self::Purged {} => "user purged".into(),
            Self::LadderArmed { next, rung, only, .. } => {
                let what = match (rung, only) {
                    (_, Some(_)) => "retry by hand at",
                    (Rung::Next, None) => "ladder next",
                    (Rung::Same, None) => "ladder goes on by sms",
                    (Rung::Free, None) => "first try at",
                };
                format!("{what} {}", clock(*next))
            }
            Self::LadderDropped {} => "ladder stopped".into(),
            Self::LadderReset {} => "ladder reset".into(),
            Self::RungTakenBack { until } => format!("rung undone until {}", clock(*until)),
            Self::RevocationAnswered { id, ok: true, .. } => format!("revocation of {id}: done"),
            Self::RevocationAnswered { id, ok: false, reason, .. } => {
                format!("revocation of {id} refused: {}", reason.as_deref().unwrap_or("no reason"))
            }
            Self::Looked { until, .. } => format!("looked until {}", clock(*until)),
        }
    }
}

impl fmt::Display for MessageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1)
    }
}

fn ended(id: &str, end: End) -> String {
    match end {
        End::Delivered(access) => format!("delivered {id} {}", access_word(access)),
        End::Assumed => format!("delivered {id} {}, assumed", access_word(Access::Sms)),
        End::Stored => format!("stored {id}"),
        End::Rejected => format!("rejected {id}"),
        End::Forwarded => format!("forwarded {id}"),
        End::Expired(Some(class)) => format!("expired {id} {class}"),
        End::Expired(None) => format!("expired {id}"),
        End::Declined => format!("declined {id}"),
        End::Quota => format!("ended {id}: quota"),
        End::Identity => format!("ended {id}: identity"),
        End::Purged => format!("ended {id}: purged"),
        End::Revoked => format!("revoked {id}"),
        End::Cancelled => format!("cancelled {id}"),
    }
}

fn held(hold: &Hold, clock: &dyn Fn(Timestamp) -> String) -> String {
    format!("held by {}{}", who(&hold.by), until_words(hold.until, clock))
}

fn who(by: &HoldBy) -> String {
    match by {
        HoldBy::Dnd => "dnd".into(),
        HoldBy::Rule(name) => format!("rule {name}"),
        HoldBy::Operator => "operator".into(),
    }
}

fn until_words(until: Option<Timestamp>, clock: &dyn Fn(Timestamp) -> String) -> String {
    until.map_or_else(String::new, |until| format!(" until {}", clock(until)))
}

fn one_or_all(m: Option<&MessageRef>) -> &str {
    m.map_or("all", |m| &*m.1)
}

/// The messages by name; none named means all.
fn names(ms: &[MessageRef]) -> String {
    let names: Vec<&str> = ms.iter().map(|m| &*m.1).collect();
    if names.is_empty() { "all".into() } else { names.join(" ") }
}

fn devices(keys: &[Arc<str>]) -> String {
    keys.iter().map(|key| format!(" {key}")).collect::<Vec<_>>().concat()
}
