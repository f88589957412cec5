//! A world of one user: what phones, networks, senders, gateways and operators may do, in any order.
//!
//! Method: a queue of what is to come. Random facts stand in it from the start; a gateway that gets a
//! command adds its answers, or none. The alarm rings when the state wants it, late, early or twice.

use std::collections::BTreeMap;
use std::time::Duration;

use deferd::domain::address::{Address, Home};
use deferd::domain::command::{Command, Deliver};
use deferd::domain::event::Access;
use deferd::domain::failure::{Cause, Protocol};
use deferd::domain::input::{
    Action, AlertReason, Attach, Change, DeliveryOutcome, DeregisterReason, DeviceRef,
    DoNotDisturb, Fact, HandledAs, IdentityChanged, IdentityReason, ImdnReceived, ImsDeregistered,
    ImsRegistered, Input, MessageByHand, MessageHandled, MessageRevokeRequested, Outcome,
    PreferencesChanged, ProtocolError, Registration, ReportedBy, Rule, SmsReady, SmsReport,
    Storage, StorageOutcome, Technology, Told, Trust, UserByHand, UserPurged, What,
};
use deferd::domain::message::{Interwork, Kind, MessageSubmitted, Text};
use deferd::domain::policy::{
    Accept202, AccessSwitch, FirstTry, ImsiChange, OnStoreFailure, Policy, SmsMode, SmsReports,
    UnknownSms,
};
use deferd::domain::senders::Many;
use deferd::domain::time::Timestamp;
use deferd::domain::user::User;

use crate::random::{Random, mix};

/// 2026-11-21, in milliseconds.
const START: i64 = 1_795_219_200_000;
const SENDERS: [&str; 2] = ["tel:+15145550101", "tel:+15145550102"];
const CONVERSATIONS: [&str; 2] = ["c1", "c2"];
const DOMAINS: [&str; 4] = ["CS", "PS", "NAS5G", "pigeon"];

/// What the world does next.
enum Todo {
    Tell(Box<Input<'static>>),
    Anything,
    Submit,
    Look,
}

/// An attempt as a gateway knows it.
#[derive(Clone)]
struct Known {
    id: String,
    message_id: String,
    from: String,
    access: Access,
    what: What,
}

/// The user's state, and everybody who has to do with it.
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) policy: Policy,
    pub(crate) user: User,
    pub(crate) at: Timestamp,
    queue: BTreeMap<(i64, u64), Todo>,
    attempts: Vec<Known>,
    /// Milliseconds that each source's clock is off.
    skew: [i64; 3],
    epoch: u64,
    told: u64,
    submitted: u64,
    version: u64,
    devices: u64,
    silent: bool,
    tardy: bool,
}

fn text(of: impl Into<String>) -> Text<'static> {
    Text::from(of.into())
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let policy = policy(&mut random);
        assert_eq!(policy.check(), Ok(()), "the world makes policies that an operator could");
        let address = if random.percent(85) { "tel:+15145550100" } else { "sip:ann@ims.example" };
        let address = Address::parse(address, &Home::default()).expect("an address of ours");
        let skew = [0, random.millis(3) - 1500, random.millis(5) - 2500];
        let mut world = Self {
            policy,
            user: User::new(address),
            at: Timestamp::from_millis(START),
            queue: BTreeMap::new(),
            attempts: Vec::new(),
            skew,
            epoch: 1,
            told: 0,
            submitted: 0,
            version: 1,
            devices: 1 + random.below(4),
            silent: random.percent(8),
            tardy: random.percent(30),
            random,
        };
        world.plan();
        world
    }

    fn plan(&mut self) {
        let crowd = self.random.percent(1);
        let messages = if crowd { 150 } else { 1 + self.random.below(12) };
        let facts = 10 + self.random.below(45);
        let pace = self.random.pick(&[2, 20, 120, 900]);
        let mut at = START;
        for n in 0..messages + facts {
            at += if crowd && n < messages || self.random.percent(20) {
                0
            } else if self.random.percent(10) {
                self.random.millis(pace * 20)
            } else {
                self.random.millis(pace)
            };
            let submit =
                if crowd { n < messages } else { self.random.below(messages + facts) < messages };
            let todo = if submit {
                Todo::Submit
            } else if self.random.percent(4) {
                Todo::Look
            } else {
                Todo::Anything
            };
            self.later(at, todo);
        }
    }

    fn later(&mut self, at: i64, todo: Todo) {
        self.told += 1;
        self.queue.insert((at, self.told), todo);
    }

    /// The next thing that happens, with `self.at` moved to when; `None` when all is over: nothing is
    /// to come and no alarm is set.
    pub(crate) fn next(&mut self) -> Option<Input<'static>> {
        let wake_at = self.user.wake_at(&self.policy).map(Timestamp::as_millis);
        let next = self.queue.keys().next().copied();
        let now = self.at.as_millis();
        let Some(key) = next else {
            // Nobody tells anything any more: alarms alone, on time.
            self.at = Timestamp::from_millis(wake_at?.max(now));
            return Some(self.look(self.at));
        };
        if let Some(wake_at) = wake_at {
            let chance = mix(wake_at.unsigned_abs());
            let late = if self.tardy && chance.is_multiple_of(3) {
                i64::try_from(chance % 90_000).unwrap_or(0)
            } else {
                0
            };
            // At one instant, inputs precede (TM-7).
            if wake_at.saturating_add(late) < key.0 {
                self.at = Timestamp::from_millis(wake_at.saturating_add(late).max(now));
                let exactly = late > 0 && chance.is_multiple_of(2);
                let due = Timestamp::from_millis(wake_at).max(self.user.looked);
                let until = if exactly { due.min(self.at) } else { self.at };
                return Some(self.look(until));
            }
        }
        let todo = self.queue.remove(&key)?;
        self.at = Timestamp::from_millis(key.0.max(now));
        Some(match todo {
            Todo::Tell(input) => *input,
            Todo::Look => {
                let until = if self.random.percent(20) { self.at - secs(3) } else { self.at };
                self.look(until)
            }
            Todo::Submit => {
                let fact = self.submission();
                Input { told: self.told(), fact }
            }
            Todo::Anything => {
                let fact = self.anything();
                Input { told: self.told(), fact }
            }
        })
    }

    fn look(&self, until: Timestamp) -> Input<'static> {
        let told = Told { time: until, logged: self.at, source: 0, id: 0, order: None };
        Input { told, fact: Fact::TimerFired }
    }

    /// Who tells, and when it was: mostly now, sometimes long ago, seldom ahead of us.
    fn told(&mut self) -> Told {
        let source = self.random.below(3);
        let late = match self.random.below(20) {
            0 => self.random.millis(7200),
            1..=3 => self.random.millis(20),
            _ => self.random.millis(1) / 4,
        };
        let ahead = if self.random.percent(3) { self.random.millis(30) } else { 0 };
        let skew = self.skew[usize::try_from(source).unwrap_or(0)];
        let at = self.at.as_millis();
        let time = Timestamp::from_millis(at - late + ahead + skew);
        let lag = if self.random.percent(10) { late } else { self.random.millis(1) };
        self.told += 1;
        if self.random.percent(2) {
            self.epoch += 1;
        }
        Told {
            time,
            logged: Timestamp::from_millis(at - lag),
            source: u32::try_from(source).unwrap_or(0) + 1,
            id: u32::try_from(self.told).unwrap_or(0),
            order: (source == 0).then_some((self.epoch, self.told)),
        }
    }

    // What gateways answer ----------------------------------------------------------------------

    /// Somebody gets a command, and will answer it or not.
    pub(crate) fn react(&mut self, command: &Command) {
        match command {
            Command::Deliver(deliver) => {
                self.attempts.push(Known {
                    id: deliver.attempt_id.to_string(),
                    message_id: deliver.content.message_id.to_string(),
                    from: deliver.content.from.to_string(),
                    access: deliver.access,
                    what: deliver.what,
                });
                if self.silent && self.random.percent(80) {
                    return;
                }
                match deliver.access {
                    Access::Cpm => self.client_gateway(deliver),
                    Access::Sms => self.sms_gateway(deliver),
                }
            }
            Command::Store(store) => {
                if self.random.percent(80) {
                    let outcome = StorageOutcome {
                        message_id: text(&*store.content.message_id),
                        from: None,
                        outcome: self.random.pick(&[Storage::Stored, Storage::Failed]),
                        reason: None,
                    };
                    self.answer(20, Fact::StorageOutcome(outcome));
                }
            }
            Command::Notify(_) | Command::AnswerRevocation(_) => {}
        }
    }

    fn answer(&mut self, within: u64, fact: Fact<'static>) {
        let at = self.at.as_millis() + self.random.millis(within);
        let mut told = self.told();
        (told.time, told.logged) = (Timestamp::from_millis(at), Timestamp::from_millis(at));
        let again = self.random.percent(5);
        let input = Box::new(Input { told, fact });
        if again {
            self.later(at + 700, Todo::Tell(input.clone()));
        }
        self.later(at, Todo::Tell(input));
    }

    fn client_gateway(&mut self, deliver: &Deliver) {
        let id = deliver.attempt_id.to_string();
        if self.random.percent(50) {
            let device = None;
            self.answer(2, outcome(&id, Outcome::Started, device));
        }
        let apart = deliver.devices.len() > 1 && self.random.percent(70);
        for name in &deliver.devices {
            if self.random.percent(12) {
                continue;
            }
            let device = DeviceRef {
                instance: name.instance.as_deref().map(|i| text(i)),
                contact: name.contact.as_deref().map(|c| text(c)),
                reg_id: name.reg_id,
                primary: None,
            };
            let device = (apart || self.random.flip()).then_some(device);
            let fact = self.end(&id, device.clone(), Access::Cpm);
            let within = self.random.pick(&[2, 10, 40, 90]);
            self.answer(within, fact);
            if self.random.percent(30) {
                let imdn = self.imdn(&deliver.content.message_id, ReportedBy::Client, device);
                self.answer(200, imdn);
            }
            if !apart {
                break;
            }
        }
    }

    fn sms_gateway(&mut self, deliver: &Deliver) {
        let id = deliver.attempt_id.to_string();
        if self.random.percent(50) {
            self.answer(2, outcome(&id, Outcome::Started, None));
        }
        match self.random.below(10) {
            0 => {}
            1..=3 => {
                let fact = self.end(&id, None, Access::Sms);
                self.answer(30, fact);
            }
            _ => {
                let legacy = format!("smsc-{}", self.random.below(1000));
                let accepted = DeliveryOutcome {
                    technology: self.random.maybe(30, &[Technology::Sms, Technology::Mms]),
                    legacy_ids: vec![text(legacy.clone())],
                    report_expected: self.random.maybe(20, &[true, false]),
                    ..blank(&id, Outcome::Accepted)
                };
                self.answer(5, Fact::DeliveryOutcome(accepted));
                if self.random.percent(75) {
                    let report = self.report(&id, &legacy, deliver);
                    let within = self.random.pick(&[10, 60, 600]);
                    self.answer(within, report);
                }
            }
        }
    }

    /// How an attempt ends, in one of all the ways.
    fn end(&mut self, id: &str, device: Option<DeviceRef<'static>>, by: Access) -> Fact<'static> {
        let outcome = self.random.pick(&[
            Outcome::Delivered,
            Outcome::Delivered,
            Outcome::Accepted,
            Outcome::Failed,
            Outcome::Failed,
            Outcome::Failed,
            Outcome::Unknown,
        ]);
        let mut end = blank(id, outcome);
        end.device = device;
        if outcome == Outcome::Failed {
            let statuses: &[u16] = match by {
                Access::Cpm => &[404, 408, 410, 413, 430, 480, 481, 486, 488, 500, 503, 504, 603],
                Access::Sms => &[403, 404, 408, 413, 480, 481, 500, 503, 600],
            };
            end.cause = self.random.maybe(60, Cause::ALL);
            end.sip_status = self.random.maybe(60, statuses);
            end.retry_after_seconds = self.random.maybe(15, &[0, 5, 60, 700]);
        }
        Fact::DeliveryOutcome(end)
    }

    fn report(&mut self, id: &str, legacy: &str, deliver: &Deliver) -> Fact<'static> {
        let mut report = SmsReport::default();
        match self.random.below(4) {
            0 => report.attempt_id = Some(text(id)),
            1 => report.legacy_id = Some(text(legacy)),
            2 => report.message_id = Some(text(id)),
            _ => {
                report.message_id = Some(text(&*deliver.content.message_id));
                report.from = self.random.flip().then(|| text(&*deliver.content.from));
            }
        }
        report.domain = self.random.maybe(50, &DOMAINS).map(text);
        match self.random.below(10) {
            0..=4 => Fact::SmsDelivered(report),
            5 => Fact::SmsDelayed(report),
            6 => {
                let id = deliver.content.message_id.clone();
                self.imdn(&id, ReportedBy::Gateway, None)
            }
            _ => {
                self.failure(&mut report);
                Fact::SmsFailed(report)
            }
        }
    }

    fn failure(&mut self, report: &mut SmsReport<'static>) {
        report.cause = self.random.maybe(60, Cause::ALL);
        report.diagnostic = self.random.maybe(30, &[0, 1, 2, 5, 6, 11, 13, 99]);
        let errors = [
            (Protocol::Map, "6"),
            (Protocol::Map, "13"),
            (Protocol::Map, "31"),
            (Protocol::TpStatus, "0x46"),
            (Protocol::TpStatus, "0x20"),
            (Protocol::Smpp, "3"),
            (Protocol::Smpp, "7"),
            (Protocol::Rp, "22"),
            (Protocol::Diameter, "5550"),
        ];
        if self.random.percent(50) {
            let (protocol, code) = self.random.pick(&errors);
            report.error = Some(ProtocolError { protocol, code: text(code) });
        }
    }

    fn imdn(
        &mut self,
        message_id: &str,
        reported_by: ReportedBy,
        device: Option<DeviceRef<'static>>,
    ) -> Fact<'static> {
        let words = ["delivered", "delivered", "displayed", "failed", "processed"];
        Fact::ImdnReceived(ImdnReceived {
            message_id: text(message_id),
            from: None,
            disposition: text(self.random.pick(&words)),
            reported_by,
            imdn_id: None,
            device: if self.random.percent(80) { device } else { None },
        })
    }

    // What may happen ---------------------------------------------------------------------------

    pub(crate) fn anything(&mut self) -> Fact<'static> {
        match self.random.below(100) {
            0..=27 => self.registered(),
            28..=35 => self.deregistered(),
            36..=48 => Fact::CsAttached(self.attach()),
            49..=53 => Fact::CsDetached(self.attach()),
            54..=60 => Fact::PsAttached(self.attach()),
            61..=63 => Fact::PsDetached(self.attach()),
            64..=71 => self.ready(),
            72..=78 => self.any_outcome(),
            79..=82 => self.any_report(),
            83..=85 => {
                let id = self.any_message();
                let by = self.random.pick(&[ReportedBy::Client, ReportedBy::Gateway]);
                let device = self.device();
                self.imdn(&id, by, device)
            }
            86..=90 => self.preferences(),
            91 => Fact::UserHeld(UserByHand { operator: text("op"), reason: text("why") }),
            92 => Fact::UserReleased(UserByHand { operator: text("op"), reason: text("why") }),
            93..=96 => self.hand(),
            97 => self.revocation(),
            98 => self.identity(),
            _ if self.random.percent(30) => {
                Fact::UserPurged(UserPurged { reason: Some(text("gone")) })
            }
            _ => {
                let results = [HandledAs::Rejected, HandledAs::Forwarded, HandledAs::Stored];
                Fact::MessageHandled(MessageHandled {
                    message_id: text(self.any_message()),
                    from: self.random.maybe(80, &SENDERS).map(text),
                    result: self.random.pick(&results),
                    sip_status: None,
                    warning: None,
                    rule: None,
                    to: None,
                })
            }
        }
    }

    fn any_message(&mut self) -> String {
        format!("m{}", self.random.below(self.submitted + 1))
    }

    fn submission(&mut self) -> Fact<'static> {
        let again = self.random.percent(5);
        if !again {
            self.submitted += 1;
        }
        let message_id =
            if again { self.any_message() } else { format!("m{}", self.submitted - 1) };
        let kinds = [
            Kind::Pager,
            Kind::Pager,
            Kind::Pager,
            Kind::Pager,
            Kind::Chat,
            Kind::Large,
            Kind::File,
            Kind::Geolocation,
            Kind::Imdn,
            Kind::System,
        ];
        let body = match self.random.below(10) {
            0 => "long ".repeat(400),
            1 => "ж".repeat(80),
            _ => "hello".to_owned(),
        };
        let wishes =
            ["positive-delivery", "negative-delivery", "processing", "interworking", "display"];
        let disposition =
            wishes.into_iter().filter(|_| self.random.percent(60)).map(text).collect();
        let interwork = match self.random.below(20) {
            0..=2 => Interwork::Only,
            3..=6 => Interwork::Also,
            _ => Interwork::Fallback,
        };
        let held_by = self.random.maybe(6, &["dnd", "away", "night"]).map(text);
        Fact::MessageSubmitted(Box::new(MessageSubmitted {
            message_id: text(message_id),
            from: text(self.random.pick(&SENDERS)),
            kind: self.random.pick(&kinds),
            content_type: text(if self.random.percent(90) { "text/plain" } else { "image/png" }),
            body: Some(text(body)),
            body_base64: None,
            body_ref: None,
            size: self.random.maybe(10, &[0, 4000]),
            sent_at: None,
            expires_at: None,
            expires_seconds: self.random.maybe(25, &[0, 5, 40, 300, 4000]),
            disposition,
            conversation_id: self.random.maybe(70, &CONVERSATIONS).map(text),
            contribution_id: None,
            in_reply_to_contribution_id: None,
            headers: BTreeMap::new(),
            asserted_from: None,
            anonymous: self.random.percent(20),
            imdn_route: Vec::new(),
            interwork,
            interworkable: self.random.maybe(15, &[true, false]),
            held_until: self.soon(50).filter(|_| held_by.is_some()),
            held_by,
            priority: None,
            class: None,
        }))
    }

    fn soon(&mut self, percent: u64) -> Option<Timestamp> {
        let within = self.random.pick(&[5, 60, 900]);
        self.random.percent(percent).then(|| self.at + secs(self.random.below(within)))
    }

    fn device(&mut self) -> Option<DeviceRef<'static>> {
        let n = self.random.below(self.devices);
        let address = self.random.below(2);
        let contact = Some(text(format!("sip:u{n}@10.0.{address}.{n}:5060")));
        let primary = self.random.maybe(10, &[true, false]);
        let of = |instance: String, reg_id| DeviceRef {
            instance: Some(text(instance)),
            contact: contact.clone(),
            reg_id,
            primary,
        };
        match n {
            0 => Some(of("urn:gsma:imei:35622410-483840-0".to_owned(), None)),
            1 => Some(of("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6".to_owned(), Some(1))),
            2 => Some(DeviceRef { contact, ..DeviceRef::default() }),
            _ if self.random.flip() => None,
            _ => Some(of("urn:gsma:imei:35622410-483841-0".to_owned(), None)),
        }
    }

    fn registered(&mut self) -> Fact<'static> {
        let all = [
            "+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg\"",
            "oma.cpm.largemsg",
            "oma.cpm.session",
            "oma.cpm.filetransfer",
            "oma.cpm.systemmsg",
        ];
        let features = match self.random.below(10) {
            0 => Some(vec![text("mmtel")]),
            1..=3 => Some(vec![text(all[0])]),
            4..=6 => None,
            _ => Some(all.into_iter().map(text).collect()),
        };
        let within = self.random.pick(&[1, 20, 300, 3000, 600_000]);
        let expires_at = self.at + secs(self.random.below(within));
        let dialog = self.random.percent(20);
        Fact::ImsRegistered(Box::new(ImsRegistered {
            device: self.device(),
            expires_at,
            change: self.random.pick(&[
                Registration::Initial,
                Registration::Refreshed,
                Registration::Unknown,
            ]),
            features,
            cpm_capable: self.random.maybe(15, &[true, true, false]),
            aliases: if self.random.percent(5) { vec![text("tel:+15145550199")] } else { vec![] },
            imsi: self.random.maybe(6, &["302720123456789", "302720123456780"]).map(text),
            profile: self.random.maybe(30, &["work", "home"]).map(text),
            access: None,
            user_agent: None,
            call_id: dialog.then(|| text("call-1")),
            cseq: dialog.then(|| u32::try_from(self.told % 1000).unwrap_or(0)),
            trust: None,
        }))
    }

    fn deregistered(&mut self) -> Fact<'static> {
        Fact::ImsDeregistered(ImsDeregistered {
            device: if self.random.percent(85) { self.device() } else { None },
            reason: self.random.maybe(50, &[DeregisterReason::Unregistered]),
            ..ImsDeregistered::default()
        })
    }

    fn trust(&mut self) -> Option<Trust> {
        self.random.maybe(60, &[Trust::Inferred, Trust::Passive, Trust::Authoritative])
    }

    fn attach(&mut self) -> Attach<'static> {
        let trust = self.trust();
        let sms_capable = self.random.maybe(15, &[true, false]);
        Attach { trust, sms_capable, ..Attach::default() }
    }

    fn ready(&mut self) -> Fact<'static> {
        Fact::SmsReady(SmsReady {
            domain: self.random.maybe(60, &DOMAINS).map(text),
            alert_reason: self.random.maybe(50, &[AlertReason::Present, AlertReason::Memory]),
            available_until: self.soon(20),
            trust: self.trust(),
        })
    }

    /// An answer to some attempt: one that runs, one long over, one that never was.
    fn any_outcome(&mut self) -> Fact<'static> {
        let known: Vec<Known> = self.attempts.clone();
        let Some(known) = self.random.maybe(95, &known) else {
            return outcome("no such attempt", Outcome::Delivered, None);
        };
        let device = if self.random.flip() { self.device() } else { None };
        let id = if self.random.percent(5) {
            known.id.replace("-1-", "-2-")
        } else if self.random.percent(3) {
            known.id.replace("sms", "cpm")
        } else {
            known.id
        };
        if self.random.percent(20) {
            return outcome(&id, Outcome::Started, device);
        }
        self.end(&id, device, known.access)
    }

    fn any_report(&mut self) -> Fact<'static> {
        let known: Vec<Known> = self.attempts.clone();
        let known = self.random.maybe(90, &known);
        let message_id =
            known.as_ref().map_or_else(|| "m0".to_owned(), |known| known.message_id.clone());
        let mut report = SmsReport {
            message_id: Some(text(message_id)),
            from: known.as_ref().filter(|_| self.random.flip()).map(|known| text(&*known.from)),
            what: known.as_ref().filter(|_| self.random.percent(30)).map(|known| known.what),
            domain: self.random.maybe(50, &DOMAINS).map(text),
            segment: self.random.maybe(10, &[1, 2]),
            segments: Some(2),
            ..SmsReport::default()
        };
        match self.random.below(3) {
            0 => Fact::SmsDelivered(report),
            1 => Fact::SmsDelayed(report),
            _ => {
                self.failure(&mut report);
                Fact::SmsFailed(report)
            }
        }
    }

    fn preferences(&mut self) -> Fact<'static> {
        let dnd = match self.random.below(6) {
            0 => Change::Set(DoNotDisturb::Now(true)),
            1 => Change::Set(DoNotDisturb::Now(false)),
            2 => Change::Clear,
            3 => Change::Set(DoNotDisturb::Until { until: self.at + secs(self.random.below(600)) }),
            _ => Change::Keep,
        };
        let actions = [
            Action::AllowRejectInvite,
            Action::AllowInterwork,
            Action::AllowDeliverAndInterwork,
            Action::AllowStore,
            Action::AllowForward,
            Action::AllowDefer,
            Action::AllowDoNotDisturb,
            Action::AllowOfflineStorage,
        ];
        let mut rules = Vec::new();
        for name in ["away", "night"] {
            if self.random.flip() {
                let profile = self.random.maybe(30, &["work"]);
                // Of a client's profile nothing else is heard (8a).
                let excludes = profile.is_some() && self.random.percent(70);
                rules.push(Rule {
                    name: name.into(),
                    actions: if excludes {
                        vec![Action::AllowRejectInvite]
                    } else {
                        vec![self.random.pick(&actions)]
                    },
                    kinds: self.random.maybe(30, &[Kind::Pager, Kind::Imdn]).into_iter().collect(),
                    senders: self.random.maybe(30, &SENDERS).map(Box::from).into_iter().collect(),
                    many: if self.random.percent(30) { vec![self.many()] } else { Vec::new() },
                    other_identity: self.random.percent(20),
                    anonymous_request: self.random.percent(20),
                    profiles: profile.map(Box::from).into_iter().collect(),
                    valid_from: self.soon(20),
                    valid_until: self.soon(30),
                });
            }
        }
        if self.random.percent(80) {
            self.version += 1;
        }
        Fact::PreferencesChanged(Box::new(PreferencesChanged {
            version: self.random.flip().then_some(self.version),
            rules: match self.random.below(4) {
                0 => Change::Clear,
                1 => Change::Set(rules),
                _ => Change::Keep,
            },
            forward_to: self
                .random
                .maybe(30, &[Change::Set("tel:+15145550103".into()), Change::Clear])
                .unwrap_or_default(),
            do_not_disturb: dnd,
            ip_wait_after_attach_seconds: self
                .random
                .maybe(20, &[Change::Set(0), Change::Set(7), Change::Clear])
                .unwrap_or_default(),
            ..PreferencesChanged::default()
        }))
    }

    fn many(&mut self) -> Many {
        Many {
            domain: self.random.maybe(30, &["ham.example"]).map(Box::from),
            except: self.random.maybe(60, &SENDERS).map(Box::from).into_iter().collect(),
            except_domains: self
                .random
                .maybe(30, &["spam.example"])
                .map(Box::from)
                .into_iter()
                .collect(),
        }
    }

    fn hand(&mut self) -> Fact<'static> {
        let id = self.any_message();
        let hand = MessageByHand {
            operator: text("op"),
            reason: text("why"),
            message_id: self.random.percent(85).then(|| text(id)),
            from: self.random.maybe(30, &SENDERS).map(text),
        };
        match self.random.below(4) {
            0 => Fact::MessageCancelled(hand),
            1 => Fact::MessageExpireRequested(hand),
            _ => Fact::MessageRetryRequested(hand),
        }
    }

    fn revocation(&mut self) -> Fact<'static> {
        Fact::MessageRevokeRequested(MessageRevokeRequested {
            message_id: text(self.any_message()),
            from: text(self.random.pick(&SENDERS)),
            reply_to: None,
        })
    }

    fn identity(&mut self) -> Fact<'static> {
        let reasons = [
            IdentityReason::SimSwap,
            IdentityReason::SimSwap,
            IdentityReason::Reassigned,
            IdentityReason::NumberMoved,
        ];
        Fact::IdentityChanged(IdentityChanged {
            reason: self.random.pick(&reasons),
            imsi_before: None,
            imsi_after: self.random.maybe(50, &["302720123456781"]).map(text),
            to: None,
        })
    }
}

fn blank(id: &str, outcome: Outcome) -> DeliveryOutcome<'static> {
    DeliveryOutcome {
        attempt_id: text(id),
        outcome,
        device: None,
        sip_status: None,
        cause: None,
        retry_after_seconds: None,
        warning: None,
        technology: None,
        legacy_ids: Vec::new(),
        report_expected: None,
    }
}

fn outcome(id: &str, outcome: Outcome, device: Option<DeviceRef<'static>>) -> Fact<'static> {
    Fact::DeliveryOutcome(DeliveryOutcome { device, ..blank(id, outcome) })
}

/// A policy that an operator could set: short waits, every switch, every word.
fn policy(random: &mut Random) -> Policy {
    let on = |random: &mut Random| match random.below(20) {
        0 => AccessSwitch::Hold,
        1 => AccessSwitch::Off,
        _ => AccessSwitch::On,
    };
    let ladder = |random: &mut Random| -> Vec<Duration> {
        random
            .pick(&[vec![20, 60, 600], vec![900, 1800], vec![5, 5, 5, 900], vec![300]])
            .into_iter()
            .map(secs)
            .collect()
    };
    let mut span = |of: &[u64]| secs(random.pick(of));
    let mut policy = Policy {
        ip_wait_after_attach: span(&[0, 5, 30, 30]),
        ip_wait_after_sms_ready: span(&[0, 5, 15]),
        ip_wait_after_ip_loss: span(&[0, 5, 15]),
        settle: span(&[0, 2, 2, 10]),
        sms_hold: span(&[0, 10, 10]),
        lifetime: span(&[20, 300, 7200, 86400]),
        notification_lifetime: span(&[20, 300, 7200]),
        terminal_keep: span(&[0, 60, 86400]),
        start_within: span(&[1, 5, 30]),
        ip_attempt_timeout: span(&[5, 35]),
        sms_response_timeout: span(&[5, 35]),
        sms_report_timeout: span(&[0, 20, 120]),
        imdn_wait: span(&[0, 30, 300]),
        backoff: span(&[1, 10]),
        backoff_max: span(&[5, 600]),
        sms_barred: span(&[20, 86400]),
        registration_grace: span(&[0, 60]),
        attach_stale: span(&[30, 600, 21600]),
        clock_tolerance: span(&[0, 2, 2]),
        max_event_lag: span(&[0, 60, 3600]),
        device_copy: span(&[0, 60, 86400]),
        ..Policy::default()
    };
    policy.first_try = random.pick(&[FirstTry::Wait, FirstTry::Sms]);
    policy.gateway_reports_start = random.flip();
    policy.accept_202 = random.pick(&[Accept202::AwaitImdn, Accept202::Delivered]);
    policy.ip_pipeline = random.pick(&[1, 2, 5]);
    policy.ip_attempts_per_episode = random.pick(&[1, 2, 2, 3]);
    policy.infra_failures_before_sms = random.pick(&[1, 3]);
    policy.sms_attempts = random.pick(&[1, 2, 8]);
    policy.absent_retry = ladder(random);
    policy.memory_full_retry = ladder(random);
    policy.jitter_percent = random.pick(&[0, 20, 90]);
    policy.imsi_change = random.pick(&[ImsiChange::Keep, ImsiChange::Close]);
    policy.sms_mode = random.pick(&[SmsMode::SingleShot, SmsMode::SingleShot, SmsMode::Buffered]);
    policy.sms_reports = random.pick(&[SmsReports::AskBoth, SmsReports::FailuresOnly]);
    policy.unknown_sms = random.pick(&[UnknownSms::Park, UnknownSms::Park, UnknownSms::Resend]);
    policy.sms_over_ps = random.flip();
    policy.sms_even_if_secondary = random.percent(25);
    policy.sms_max_segments = random.pick(&[1, 8]);
    policy.file_link_by_sms = random.flip();
    policy.geolocation_by_sms = random.flip();
    policy.ucn_per_user_per_hour = random.pick(&[0, 1, 3]);
    policy.max_deferred_per_user = random.pick(&[3, 500]);
    policy.max_deferred_bytes_per_user = random.pick(&[5000, 10_485_760]);
    policy.dnd_blocks_interwork = random.flip();
    policy.access_cpm = on(random);
    policy.access_sms = on(random);
    policy.on_store_failure = random.pick(&[OnStoreFailure::Reject, OnStoreFailure::Defer]);
    policy
}
