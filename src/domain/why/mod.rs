//! Why a message still waits: what stands in its way, by which rule, and what would release it.
//!
//! Source: `rules.md` 3.6.0, "Openness", "Turn", "The ladder", read backwards: each condition that
//! does not hold is an [`Obstacle`], and whatever would make it hold a [`Release`].

mod words;

pub use words::Clock;

use std::sync::Arc;

use super::decide::{Armed, Timer};
use super::event::{Access, BlockKind, Ending, Hold, HoldBy, LegEnd, MessageRef, Rung};
use super::input::What;
use super::message::{Interwork, Kind};
use super::open::View;
use super::policy::AccessSwitch;
use super::reachability::{Slot, SlotName};
use super::standing::Standing;
use super::time::Timestamp;
use super::user::{Contact, Deferred, Device, UcnState};

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Why {
    /// Where the message stands.
    pub standing: Vec<Standing>,
    /// What stands in its way: what holds everything, then IP, then SMS.
    pub obstacles: Vec<Obstacle>,
    /// What would move it, soonest first, then what has no time.
    pub releases: Vec<Release>,
    /// When its life is over.
    pub expires_at: Timestamp,
}

/// Which way something closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Closes {
    /// Every way.
    All,
    /// IP.
    Ip,
    /// SMS.
    Sms,
}

/// A device by its key.
pub type DeviceKey = Arc<str>;

/// What stands in the way of a message: a condition of 3.6.0 that does not hold.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "what each is, its words say: `words.rs`")]
pub enum Obstacle {
    Held(Hold),
    Storing,
    Ending(Ending),
    LifeOver(Timestamp),

    CpmSwitch(AccessSwitch),
    SmsOnly,
    SmsOut { attempt: u32 },
    IpBackoff { of: MessageRef, until: Timestamp },
    IpRuns { attempt: u32, to: Vec<DeviceKey> },
    ImdnAwaited { attempt: u32, until: Timestamp },
    NoContact,
    NoCpm(DeviceKey),
    KindNotTaken(DeviceKey, Kind),
    Excluded(DeviceKey),
    RefusedBy(DeviceKey),
    Served(DeviceKey),
    Suspect(DeviceKey),
    Tried { device: DeviceKey, times: u32 },
    Settling { device: DeviceKey, until: Timestamp },
    IpTurn(Ahead),
    Pipeline(u32),

    SmsSwitch(AccessSwitch),
    NoNumber,
    SmsRefused,
    NoSmsForm,
    NoticeOut,
    NoticeFailed,
    NoticeRate(Timestamp),
    Parked { by: Access, attempt: u32 },
    Blocked { kind: BlockKind, since: Timestamp, until: Timestamp },
    NotAttached([Slot; 3]),
    SmsTries(u32),
    SmsBackoff { of: MessageRef, until: Timestamp },
    SlotTaken { by: MessageRef, attempt: u32 },
    SmsTurn(Ahead),
    IpFirst,
    Wait { until: Timestamp },
}

/// Who goes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// It runs by IP.
    Runs(MessageRef),
    /// Its SMS is out, and messages behind it wait until then.
    SmsOut(MessageRef, Timestamp),
    /// It came earlier, and is open or backs off.
    Earlier(MessageRef),
}

/// What would move a message on.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "what each is, its words say: `words.rs`")]
pub enum Release {
    Timer { timer: Timer, at: Timestamp },
    Rung { at: Timestamp, kind: Rung, first: Option<MessageRef> },
    Registration,
    SignOfLife(DeviceKey),
    NewRegistration(DeviceKey),
    Attach,
    SmsReady,
    MemoryFree,
    NewSubscription,
    Number,
    Answer { access: Access, attempt: u32 },
    Report { by: Access, attempt: u32 },
    EndOf(MessageRef),
    StoreAnswers,
    DndOff,
    RuleEnds(Box<str>),
    PersonReleases,
    SwitchOn(Access),
}

/// Why the message at this place is where it is; `None`: there is none.
#[must_use]
pub fn why(view: &View<'_>, place: u32) -> Option<Why> {
    let m = view.user.message(place)?;
    let mut obstacles = Vec::new();
    for_all(view, m, &mut obstacles);
    by_ip(view, m, &mut obstacles);
    by_sms(view, m, &mut obstacles);
    let releases = releases(view, m, &obstacles);
    Some(Why { standing: view.standing(m), obstacles, releases, expires_at: m.expires_at })
}

fn key(device: &Device) -> DeviceKey {
    device.name.to_string().into()
}

/// What keeps it from every access.
fn for_all(view: &View<'_>, m: &Deferred, out: &mut Vec<Obstacle>) {
    out.extend(m.holds.iter().cloned().map(Obstacle::Held));
    if m.storing {
        out.push(Obstacle::Storing);
    }
    out.extend(m.ending.map(Obstacle::Ending));
    if view.now >= m.expires_at {
        out.push(Obstacle::LifeOver(m.expires_at));
    }
}

/// Each condition of `ip_open` and of the turn that does not hold.
fn by_ip(view: &View<'_>, m: &Deferred, out: &mut Vec<Obstacle>) {
    if view.policy.access_cpm != AccessSwitch::On {
        out.push(Obstacle::CpmSwitch(view.policy.access_cpm));
    }
    if m.interwork == Interwork::Only && !view.sms_closed(m) {
        out.push(Obstacle::SmsOnly);
    } else if let Some(attempt) = sms_attempt(view, m)
        && m.interwork != Interwork::Also
    {
        out.push(Obstacle::SmsOut { attempt });
    }
    if let Some((of, until)) = backoff_of(view, Access::Cpm) {
        out.push(Obstacle::IpBackoff { of, until });
    }
    running(view, m, out);
    let mut ways = 0;
    let contacts: Vec<(&Device, &Contact)> = view.contacts().collect();
    for (device, contact) in &contacts {
        match closed(view, m, device, contact) {
            Some(closed) => out.extend(closed),
            None => ways += 1,
        }
    }
    if contacts.is_empty() {
        out.push(Obstacle::NoContact);
    }
    if ways > 0 && view.ip_may(m) && !m.has_running_leg() {
        if let Some(ahead) = ahead_by_ip(view, m) {
            out.push(Obstacle::IpTurn(ahead));
        } else if view.running_by_ip() >= view.policy.ip_pipeline as usize {
            out.push(Obstacle::Pipeline(view.policy.ip_pipeline));
        }
    }
}

/// What of it runs by IP, or is awaited.
fn running(view: &View<'_>, m: &Deferred, out: &mut Vec<Obstacle>) {
    let open: Vec<_> = m.legs.iter().filter(|leg| leg.end.is_none()).collect();
    if let Some(last) = open.last() {
        let to = open.iter().filter_map(|leg| view.user.device(leg.device)).map(key).collect();
        out.push(Obstacle::IpRuns { attempt: last.attempt, to });
    } else if let Some((attempt, until)) = m.awaiting {
        out.push(Obstacle::ImdnAwaited { attempt, until });
    }
}

/// Why this contact is no way for it now; `None`: it is one. Empty where a leg to it runs.
fn closed(
    view: &View<'_>,
    m: &Deferred,
    device: &Device,
    contact: &Contact,
) -> Option<Option<Obstacle>> {
    let key = || key(device);
    let tries = m.tries(device.id);
    let leg_in_use = m.leg(device.id).is_some_and(|leg| {
        leg.end.is_none() || (m.awaiting.is_some() && leg.end == Some(LegEnd::Accepted))
    });
    Some(if leg_in_use {
        None
    } else if m.served.contains(&device.id) {
        Some(Obstacle::Served(key()))
    } else if m.refused_by.contains(&device.id) {
        Some(Obstacle::RefusedBy(key()))
    } else if !contact.may_take_cpm() {
        Some(Obstacle::NoCpm(key()))
    } else if contact.caps.is_some_and(|caps| caps.any_cpm() && !caps.take(m.content.kind)) {
        Some(Obstacle::KindNotTaken(key(), m.content.kind))
    } else if !view.suitable(device, contact, m) {
        Some(Obstacle::Excluded(key()))
    } else if contact.suspect {
        Some(Obstacle::Suspect(key()))
    } else if tries >= view.policy.ip_attempts_per_episode {
        Some(Obstacle::Tried { device: key(), times: tries })
    } else if view.now < contact.settled_at {
        Some(Obstacle::Settling { device: key(), until: contact.settled_at })
    } else {
        return None;
    })
}

/// The attempt by SMS of the message that is out, if one is.
fn sms_attempt(view: &View<'_>, m: &Deferred) -> Option<u32> {
    let slot = view.user.sms_slot.as_ref();
    let mine = slot.filter(|slot| slot.m.place() == m.place && slot.what == What::Message);
    m.handed.as_ref().or(mine).map(|sms| sms.number)
}

/// The message whose back-off keeps this access from the user, and until when.
fn backoff_of(view: &View<'_>, access: Access) -> Option<(MessageRef, Timestamp)> {
    let runs = |until: &Timestamp| view.now < *until;
    let ends = view.user.messages.iter().filter_map(|m| {
        let own = m.backoff.filter(|(by, _)| *by == access).map(|(_, until)| until).filter(runs);
        let holds_sms = m.ip_infra < view.policy.infra_failures_before_sms && m.parked.is_none();
        let by_ip = m.backoff.filter(|(by, _)| *by == Access::Cpm && holds_sms);
        let until = match access {
            Access::Cpm => own,
            Access::Sms => own
                .into_iter()
                .chain(by_ip.map(|(_, until)| until).filter(runs))
                .chain(m.ucn.backoff.filter(runs))
                .max(),
        };
        Some((m.m(), until?))
    });
    ends.max_by_key(|(_, until)| *until)
}

/// Each condition of `sms_open`, of the turn and of step 4 that does not hold.
fn by_sms(view: &View<'_>, m: &Deferred, out: &mut Vec<Obstacle>) {
    let user = view.user;
    if view.policy.access_sms != AccessSwitch::On {
        out.push(Obstacle::SmsSwitch(view.policy.access_sms));
    }
    if user.msisdn().is_none() {
        return out.push(Obstacle::NoNumber);
    }
    if m.sms_refused {
        out.push(Obstacle::SmsRefused);
    }
    out.extend(m.parked.map(|(by, attempt)| Obstacle::Parked { by, attempt }));
    if !m.interworkable {
        out.push(Obstacle::NoSmsForm);
    }
    let what = view.sms_what(m);
    if what.is_none() {
        match m.ucn.state {
            UcnState::Sent | UcnState::InFlight => out.push(Obstacle::NoticeOut),
            UcnState::Failed => out.push(Obstacle::NoticeFailed),
            UcnState::NotNeeded | UcnState::Due => {}
        }
    }
    // Nothing of it will go by SMS: what shuts SMS is not its matter.
    if m.sms_refused || what.is_none() {
        return;
    }
    if what == Some(What::Ucn) {
        out.extend(view.ucn_rate_until().map(Obstacle::NoticeRate));
    }
    if let (Some(kind), Some(block)) = (view.block(), user.sms_block) {
        let until = block.until.unwrap_or(block.time + view.policy.attach_stale);
        out.push(Obstacle::Blocked { kind, since: block.time, until });
    } else if !view.sms_possible() && !view.first_sms(m) {
        out.push(Obstacle::NotAttached(SlotName::ALL.map(|name| user.slot(name))));
    }
    if let Some((of, until)) = backoff_of(view, Access::Sms) {
        out.push(Obstacle::SmsBackoff { of, until });
    }
    let tries = if what == Some(What::Ucn) { m.ucn.tries } else { m.sms_tries };
    let open = view.sms_open(m).is_some();
    if !open && tries >= view.policy.sms_attempts {
        out.push(Obstacle::SmsTries(tries));
    }
    sms_later(view, m, open, out);
}

/// What keeps an SMS that is open from starting now.
fn sms_later(view: &View<'_>, m: &Deferred, open: bool, out: &mut Vec<Obstacle>) {
    if sms_attempt(view, m).is_some() {
        return;
    }
    if let Some(slot) = &view.user.sms_slot {
        out.push(Obstacle::SlotTaken { by: slot.m.clone(), attempt: slot.number });
    }
    if !open {
        return;
    }
    let beside = m.interwork == Interwork::Also && view.first_sms(m);
    if !beside && (m.ip_running() || view.ip_open(m) || view.settling(m)) {
        out.push(Obstacle::IpFirst);
    } else if !view.in_turn(Access::Sms, m.content.kind.in_imdn_lane()).iter().any(|o| same(o, m)) {
        let earlier = earlier(view, m, |other| view.sms_open(other).is_some());
        out.extend(earlier.map(|m| Obstacle::SmsTurn(Ahead::Earlier(m))));
    } else if view.now < view.sms_due(m) {
        out.push(Obstacle::Wait { until: view.sms_due(m) });
    }
}

fn same(a: &Deferred, b: &Deferred) -> bool {
    a.place == b.place
}

fn shares_turn(a: &Deferred, b: &Deferred) -> bool {
    a.content.kind.in_imdn_lane() == b.content.kind.in_imdn_lane()
        && a.content.conversation_id == b.content.conversation_id
}

/// An earlier message of its conversation that is open for the access, or backs off.
fn earlier(view: &View<'_>, m: &Deferred, open: impl Fn(&Deferred) -> bool) -> Option<MessageRef> {
    let mut others = view.user.messages.iter().filter(|other| other.place < m.place);
    let first = others.find(|other| {
        let backs_off = other.backoff.is_some_and(|(_, until)| view.now < until);
        shares_turn(other, m) && other.is_live() && (open(other) || backs_off)
    });
    first.map(Deferred::m)
}

/// Who goes before it by IP; `None`: it has its turn.
fn ahead_by_ip(view: &View<'_>, m: &Deferred) -> Option<Ahead> {
    let mut others = view.user.messages.iter().filter(|other| !same(other, m));
    if let Some(runs) = others.find(|other| shares_turn(other, m) && other.has_running_leg()) {
        return Some(Ahead::Runs(runs.m()));
    }
    if let (Some(slot), Some(until)) = (&view.user.sms_slot, view.hold_until())
        && slot.conversation == m.content.conversation_id
        && !m.content.kind.in_imdn_lane()
        && slot.m.place() != m.place
        && view.now < until
    {
        return Some(Ahead::SmsOut(slot.m.clone(), until));
    }
    let open = |other: &Deferred| view.ip_open(other) || view.settling(other);
    earlier(view, m, open).map(Ahead::Earlier)
}

/// What would take the obstacles away.
fn releases(view: &View<'_>, m: &Deferred, obstacles: &[Obstacle]) -> Vec<Release> {
    let mut out = Vec::new();
    for obstacle in obstacles {
        for release in released_by(view, m, obstacle) {
            if !out.contains(&release) {
                out.push(release);
            }
        }
    }
    if let Some(rung) = rung(view, m, obstacles)
        && !out.contains(&rung)
    {
        out.push(rung);
    }
    out.sort_by_key(|release| release.at().unwrap_or(Timestamp::MAX));
    out
}

fn rung(view: &View<'_>, m: &Deferred, obstacles: &[Obstacle]) -> Option<Release> {
    let at = view.user.ladder.next_at?;
    if obstacles.iter().any(|o| o.closes() == Closes::All) {
        return None;
    }
    let first = match view.user.ladder.only {
        Some(only) => view.user.message(only),
        None => {
            view.rung_by_ip().map(|(m, _)| m).or_else(|| view.rung_by_sms(None).map(|(m, _)| m))
        }
    };
    let first = first.filter(|first| !same(first, m)).map(Deferred::m);
    Some(Release::Rung { at, kind: view.user.ladder.kind, first })
}

fn released_by(view: &View<'_>, m: &Deferred, obstacle: &Obstacle) -> Vec<Release> {
    let timer = |timer, at| Release::Timer { timer, at };
    let armed = |timers: &[Timer]| -> Vec<Release> {
        let at_rest = View { now: view.user.looked, ..*view };
        let mine = |due: &Armed| {
            timers.contains(&due.timer) && due.message.is_none_or(|place| place == m.place)
        };
        at_rest.armed().into_iter().filter(mine).map(|due| timer(due.timer, due.at)).collect()
    };
    match obstacle {
        Obstacle::Held(hold) => {
            let ends = hold.until.map(|until| timer(Timer::Held, until));
            let by = match &hold.by {
                HoldBy::Dnd => Release::DndOff,
                HoldBy::Rule(name) => Release::RuleEnds(name.clone()),
                HoldBy::Operator => Release::PersonReleases,
            };
            ends.into_iter().chain([by]).collect()
        }
        Obstacle::Storing => vec![Release::StoreAnswers],
        Obstacle::Ending(_) | Obstacle::LifeOver(_) | Obstacle::SmsOnly | Obstacle::IpFirst => {
            Vec::new()
        }
        Obstacle::CpmSwitch(_) => vec![Release::SwitchOn(Access::Cpm)],
        Obstacle::SmsSwitch(_) => vec![Release::SwitchOn(Access::Sms)],
        Obstacle::SmsOut { attempt } => {
            let answer = Release::Answer { access: Access::Sms, attempt: *attempt };
            let timers = armed(&[Timer::Start, Timer::SmsResponse, Timer::SmsReport]);
            [answer].into_iter().chain(timers).collect()
        }
        Obstacle::IpRuns { attempt, .. } => {
            let answer = Release::Answer { access: Access::Cpm, attempt: *attempt };
            [answer].into_iter().chain(armed(&[Timer::Start, Timer::IpAttempt])).collect()
        }
        Obstacle::ImdnAwaited { attempt, until } => {
            vec![Release::Report { by: Access::Cpm, attempt: *attempt }, timer(Timer::Imdn, *until)]
        }
        Obstacle::IpBackoff { until, .. } | Obstacle::SmsBackoff { until, .. } => {
            vec![timer(Timer::Backoff, *until)]
        }
        Obstacle::NoContact
        | Obstacle::NoCpm(_)
        | Obstacle::KindNotTaken(..)
        | Obstacle::Excluded(_)
        | Obstacle::RefusedBy(_)
        | Obstacle::Served(_) => vec![Release::Registration],
        Obstacle::Suspect(device) => {
            vec![Release::SignOfLife(Arc::clone(device)), Release::Registration]
        }
        Obstacle::Tried { device, .. } => {
            vec![Release::NewRegistration(Arc::clone(device)), Release::Registration]
        }
        Obstacle::Settling { until, .. } => vec![timer(Timer::Settle, *until)],
        Obstacle::IpTurn(Ahead::SmsOut(_, until)) => vec![timer(Timer::Hold, *until)],
        Obstacle::IpTurn(Ahead::Runs(first) | Ahead::Earlier(first))
        | Obstacle::SmsTurn(Ahead::Runs(first) | Ahead::Earlier(first) | Ahead::SmsOut(first, _))
        | Obstacle::SlotTaken { by: first, .. } => vec![Release::EndOf(first.clone())],
        Obstacle::Pipeline(_) => {
            let runs = view.user.messages.iter().find(|other| other.has_running_leg());
            runs.map(|first| Release::EndOf(first.m())).into_iter().collect()
        }
        Obstacle::NoNumber => vec![Release::Number],
        Obstacle::SmsRefused
        | Obstacle::NoSmsForm
        | Obstacle::NoticeOut
        | Obstacle::NoticeFailed => Vec::new(),
        Obstacle::NoticeRate(until) => vec![timer(Timer::UcnRate, *until)],
        Obstacle::Parked { by, attempt } => vec![Release::Report { by: *by, attempt: *attempt }],
        Obstacle::Blocked { kind, until, .. } => match kind {
            BlockKind::Absent => vec![Release::Attach, Release::SmsReady],
            BlockKind::MemoryFull => vec![Release::MemoryFree, timer(Timer::Block, *until)],
            BlockKind::Barred | BlockKind::NotCapable => {
                vec![Release::NewSubscription, timer(Timer::Block, *until)]
            }
        },
        Obstacle::NotAttached(_) | Obstacle::SmsTries(_) => {
            vec![Release::Attach, Release::SmsReady]
        }
        Obstacle::Wait { until } => vec![timer(Timer::IpWait, *until), Release::Registration],
    }
}

#[cfg(test)]
mod tests;
