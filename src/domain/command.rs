//! What others are asked to do because of an event.
//!
//! Source: `rules.md` I-9, L-6, 2.5, D-3, D-7, R-20, R-25. A command is a function of its event and the
//! state after it; live an edge acts on it, on a replay nobody does.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::address::{Address, LONGEST_TEL};
use super::event::{Access, Event, MessageRef, Notice};
use super::input::{Technology, What};
use super::message::{Content, first_u64};
use super::policy::{Policy, SmsMode, SmsReports};
use super::reachability::{DeviceId, DeviceName};
use super::time::Timestamp;
use super::ucn;
use super::user::{User, key_digest};

/// A request to another system.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Deliver a message, its notice, or a copy.
    Deliver(Box<Deliver>),
    /// Tell the sender.
    Notify(Box<Notify>),
    /// Answer a revocation.
    AnswerRevocation(AnswerRevocation),
    /// Record, or take over, a message in the user's message store.
    Store(Box<Store>),
}

/// `cpm.delivery.requested`.
#[derive(Clone, Debug, PartialEq)]
pub struct Deliver {
    /// Made from user, sender, message id, access, what and number (I-9).
    pub attempt_id: AttemptName,
    /// The user.
    pub user: Address,
    /// Which access.
    pub access: Access,
    /// What it carries.
    pub what: What,
    /// The devices, over IP.
    pub devices: Vec<DeviceName>,
    /// Until when a gateway may start.
    pub deadline: Timestamp,
    /// End of the message's life.
    pub expires_at: Timestamp,
    /// The message's fields.
    pub content: Arc<Content>,
    /// What only an SMS needs.
    pub sms: Option<SmsOrder>,
    /// What only a notice needs.
    pub ucn: Option<UcnOrder>,
    /// Where to, for a forward.
    pub target: Option<Box<str>>,
}

/// How an SMS is to go.
#[derive(Clone, Debug, PartialEq)]
pub struct SmsOrder {
    /// The SMSC must not retry on its own.
    pub single_shot: bool,
    /// What is left of the message's life: its validity (4.3).
    pub validity: Duration,
    /// A positive report is wanted.
    pub request_reports: bool,
    /// Whom the phone shows as the sender (D-7, S-6).
    pub from_as: Option<Box<str>>,
}

/// What a notice says.
#[derive(Clone, Debug, PartialEq)]
pub struct UcnOrder {
    /// Its text.
    pub text: Box<str>,
    /// The user's language, if known.
    pub language: Option<Box<str>>,
    /// The messages it stands for.
    pub covers: Vec<Arc<str>>,
}

/// `cpm.notification.requested`.
#[derive(Clone, Debug, PartialEq)]
pub struct Notify {
    /// Made from user, sender, message id and what is told, which is told once (I-8).
    pub notification_id: String,
    /// The user whose message it was.
    pub user: Address,
    /// What is told.
    pub notice: Notice,
    /// In words.
    pub reason: Option<Box<str>>,
    /// The message's fields.
    pub content: Arc<Content>,
    /// The attempt it is about.
    pub about_attempt: Option<AttemptName>,
}

/// `cpm.revocation.answered`.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerRevocation {
    /// The id of the answer.
    pub id: String,
    /// The user.
    pub user: Address,
    /// The sender's id of the message.
    pub message_id: Arc<str>,
    /// Who hears it.
    pub to: Box<str>,
    /// Whether the message was taken back.
    pub ok: bool,
    /// Why not.
    pub reason: Option<Box<str>>,
}

/// `cpm.storage.requested`.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// The id of the request.
    pub id: String,
    /// The user.
    pub user: Address,
    /// As what.
    pub technology: Technology,
    /// When it was delivered, if it was.
    pub delivered_at: Option<Timestamp>,
    /// The message's fields.
    pub content: Arc<Content>,
}

/// An attempt, as its id spells it: 16 octets over user, sender and message id; number; access; what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptName {
    /// Digest of the user's address.
    pub user: u64,
    /// Digest of sender and message id.
    pub key: u64,
    /// 1, 2, … over all accesses.
    pub number: u32,
    /// Which access.
    pub access: Access,
    /// What it carries.
    pub what: What,
}

const ACCESSES: [(Access, &str); 2] = [(Access::Cpm, "cpm"), (Access::Sms, "sms")];
const WHATS: [(What, &str); 4] = [
    (What::Message, "message"),
    (What::Ucn, "ucn"),
    (What::Copy, "copy"),
    (What::Forward, "forward"),
];

/// The contract's word of an access.
#[must_use]
pub fn access_word(access: Access) -> &'static str {
    ACCESSES.iter().find(|(one, _)| *one == access).map_or("", |(_, word)| word)
}

/// The contract's word of what an attempt carries.
#[must_use]
pub fn what_word(what: What) -> &'static str {
    WHATS.iter().find(|(one, _)| *one == what).map_or("", |(_, word)| word)
}

impl AttemptName {
    /// The name of an attempt at a message.
    #[must_use]
    pub fn of(user: &Address, content: &Content, number: u32, access: Access, what: What) -> Self {
        let key = key_digest(&content.from, &content.message_id);
        Self { user: user_digest(user), key, number, access, what }
    }

    /// Reads what [`Display`](std::fmt::Display) writes; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let digest = parts.next().filter(|digest| digest.len() == 32 && digest.is_ascii())?;
        let (user, key) = digest.split_at_checked(16)?;
        let number = parts.next()?.parse().ok()?;
        let (access, what) = (parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        Some(Self {
            user: u64::from_str_radix(user, 16).ok()?,
            key: u64::from_str_radix(key, 16).ok()?,
            number,
            access: ACCESSES.iter().find(|(_, word)| *word == access)?.0,
            what: WHATS.iter().find(|(_, word)| *word == what)?.0,
        })
    }
}

impl std::fmt::Display for AttemptName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { user, key, number, access, what } = self;
        write!(f, "{user:016x}{key:016x}-{number}-{}-{}", access_word(*access), what_word(*what))
    }
}

fn user_digest(user: &Address) -> u64 {
    first_u64(&Sha256::digest(user.written(&mut [0; LONGEST_TEL]).as_bytes()))
}

impl Command {
    /// What this event asks of others; `user` is the state after it.
    #[must_use]
    pub fn of(user: &User, event: &Event, policy: &Policy) -> Option<Self> {
        match event {
            Event::AttemptStarted { m, n, by, what, at, deadline, to, covers, target, .. } => {
                let owed = user.owed.iter().find(|owed| owed.place == m.place());
                let (content, expires_at) = match user.message(m.place()) {
                    Some(message) => (&message.content, message.expires_at),
                    None => owed.map(|owed| (&owed.content, owed.until))?,
                };
                let devices = to
                    .iter()
                    .filter_map(|key| user.device(DeviceId::of(key)))
                    .map(|device| device.name.clone())
                    .collect();
                let sms = (*by == Access::Sms).then(|| SmsOrder {
                    single_shot: policy.sms_mode == SmsMode::SingleShot,
                    validity: expires_at.since(*at),
                    request_reports: policy.sms_reports == SmsReports::AskBoth,
                    from_as: shown_sender(content),
                });
                let ucn = (*what == What::Ucn).then(|| {
                    let language = user.prefs.as_ref().and_then(|prefs| prefs.ucn_language.clone());
                    let count = 1 + covers.len();
                    UcnOrder {
                        text: ucn::text(&policy.ucn_texts, language.as_deref(), count).into(),
                        language,
                        covers: std::iter::once(m)
                            .chain(covers)
                            .map(|m| Arc::clone(&m.1))
                            .collect(),
                    }
                });
                Some(Self::Deliver(Box::new(Deliver {
                    attempt_id: AttemptName::of(&user.address, content, *n, *by, *what),
                    user: user.address.clone(),
                    access: *by,
                    what: *what,
                    devices,
                    deadline: *deadline,
                    expires_at,
                    content: Arc::clone(content),
                    sms,
                    ucn,
                    target: target.clone(),
                })))
            }
            Event::Notified { m, notice, reason, n } => {
                let content = &user.message(m.place())?.content;
                let about =
                    |n| AttemptName::of(&user.address, content, n, Access::Sms, What::Message);
                Some(Self::Notify(Box::new(Notify {
                    notification_id: id_of(user, content, notice_word(*notice)),
                    user: user.address.clone(),
                    notice: *notice,
                    reason: reason.clone(),
                    content: Arc::clone(content),
                    about_attempt: n.map(about),
                })))
            }
            Event::RevocationAnswered { request, id, to, ok, reason } => {
                let digest = user_digest(&user.address);
                Some(Self::AnswerRevocation(AnswerRevocation {
                    user: user.address.clone(),
                    id: format!(
                        "{digest:016x}{:016x}-revocation-{request:08x}",
                        key_digest(to, id)
                    ),
                    message_id: Arc::clone(id),
                    to: to.clone(),
                    ok: *ok,
                    reason: reason.clone(),
                }))
            }
            Event::StorageRequested { m, as_, delivered, .. } => {
                let content = &user.message(m.place())?.content;
                Some(Self::Store(Box::new(Store {
                    id: id_of(user, content, "storage"),
                    user: user.address.clone(),
                    technology: *as_,
                    delivered_at: *delivered,
                    content: Arc::clone(content),
                })))
            }
            Event::Deferred { .. }
            | Event::ContactBound { .. }
            | Event::ContactRefreshed { .. }
            | Event::ContactLost { .. }
            | Event::SlotSet { .. }
            | Event::SmsNews { .. }
            | Event::SmsBlocked { .. }
            | Event::SmsUnblocked { .. }
            | Event::IpWait { .. }
            | Event::WaitCancelled { .. }
            | Event::AttemptTaken { .. }
            | Event::LegEnded { .. }
            | Event::AttemptEnded { .. }
            | Event::ImdnAwaited { .. }
            | Event::SmsAccepted { .. }
            | Event::SmsEnded { .. }
            | Event::SmsDelayed { .. }
            | Event::BackedOff { .. }
            | Event::Parked { .. }
            | Event::Unparked { .. }
            | Event::SmsRefused { .. }
            | Event::NotInterworkable { .. }
            | Event::StorageFailed { .. }
            | Event::CopiesOwed { .. }
            | Event::CopyClosed { .. }
            | Event::Ended { .. }
            | Event::Handled { .. }
            | Event::EndingStarted { .. }
            | Event::LifeCut { .. }
            | Event::HoldSet { .. }
            | Event::HoldEnded { .. }
            | Event::UserHeld { .. }
            | Event::UserReleased {}
            | Event::Preferred { .. }
            | Event::Identified { .. }
            | Event::ViewDropped {}
            | Event::Purged {}
            | Event::LadderArmed { .. }
            | Event::LadderDropped {}
            | Event::LadderReset {}
            | Event::RungTakenBack { .. }
            | Event::Looked { .. } => None,
        }
    }
}

/// The words of a notice: the disposition of IMDN-2 and IMDN-3.
#[must_use]
pub fn notice_word(notice: Notice) -> &'static str {
    match notice {
        Notice::Delivered => "delivered",
        Notice::Failed => "failed",
        Notice::Error => "error",
        Notice::Forbidden => "forbidden",
        Notice::Stored => "stored",
        Notice::LegacySms => "legacy-sms",
        Notice::LegacyMms => "legacy-mms",
    }
}

fn id_of(user: &User, content: &Content, what: &str) -> String {
    let key = key_digest(&content.from, &content.message_id);
    format!("{:016x}{key:016x}-{what}", user_digest(&user.address))
}

/// Whom the phone shows: the sender's number, or nobody of that name (D-7). A sender without a number
/// is the gateway's to map (S-6).
fn shown_sender(content: &Content) -> Option<Box<str>> {
    if content.is_anonymous() {
        return Some("anonymous".into());
    }
    content.from.strip_prefix("tel:").map(Box::from)
}

/// The message an event is about, if it is about one.
#[must_use]
pub fn about(event: &Event) -> Option<&MessageRef> {
    match event {
        Event::Deferred { m, .. }
        | Event::AttemptStarted { m, .. }
        | Event::AttemptTaken { m, .. }
        | Event::LegEnded { m, .. }
        | Event::AttemptEnded { m, .. }
        | Event::ImdnAwaited { m, .. }
        | Event::SmsAccepted { m, .. }
        | Event::SmsEnded { m, .. }
        | Event::SmsDelayed { m, .. }
        | Event::BackedOff { m, .. }
        | Event::Parked { m, .. }
        | Event::Unparked { m }
        | Event::SmsRefused { m }
        | Event::NotInterworkable { m, .. }
        | Event::Notified { m, .. }
        | Event::StorageRequested { m, .. }
        | Event::StorageFailed { m }
        | Event::CopiesOwed { m, .. }
        | Event::CopyClosed { m, .. }
        | Event::Ended { m, .. } => Some(m),
        Event::EndingStarted { m, .. } | Event::LifeCut { m, .. } => m.as_ref(),
        Event::HoldSet { ms, .. } | Event::HoldEnded { ms, .. } => match ms.as_slice() {
            [one] => Some(one),
            _ => None,
        },
        Event::ContactBound { .. }
        | Event::ContactRefreshed { .. }
        | Event::ContactLost { .. }
        | Event::SlotSet { .. }
        | Event::SmsNews { .. }
        | Event::SmsBlocked { .. }
        | Event::SmsUnblocked { .. }
        | Event::IpWait { .. }
        | Event::WaitCancelled { .. }
        | Event::Handled { .. }
        | Event::UserHeld { .. }
        | Event::UserReleased {}
        | Event::Preferred { .. }
        | Event::Identified { .. }
        | Event::ViewDropped {}
        | Event::Purged {}
        | Event::LadderArmed { .. }
        | Event::LadderDropped {}
        | Event::LadderReset {}
        | Event::RungTakenBack { .. }
        | Event::RevocationAnswered { .. }
        | Event::Looked { .. } => None,
    }
}
