//! One obstacle a test: given what is known, then why.

use super::*;
use crate::domain::address::{Address, Home};
use crate::domain::event::{Event, Mark, Trigger};
use crate::domain::failure::Class;
use crate::domain::message::{Body, Content};
use crate::domain::policy::Policy;
use crate::domain::reachability::{Caps, DeviceName, SlotState, Stamp};
use crate::domain::user::User;

const PHONE: &str = "phone1";

#[test]
fn nobody_known_waits_for_a_registration_or_an_attach() {
    let why = asked(&[message(0, "m1")], 10);

    assert_eq!(said(&why), ["no device is registered [T-3]", NOT_THERE]);
    assert!(why.releases.contains(&Release::Registration));
    assert!(why.releases.contains(&Release::SmsReady));
    assert_eq!(why.standing, [Standing::Pending]);
}

const NOT_THERE: &str =
    "no phone is known to be there for SMS: cs unknown, ps unknown, any unknown [T-4]";

#[test]
fn a_hold_closes_every_way_until_it_ends() {
    let hold = Hold { by: HoldBy::Dnd, until: Some(s(60)) };
    let why = asked(&[message(0, "m1"), Event::HoldSet { ms: Vec::new(), hold }], 10);

    let first = "the user does not want to be disturbed until 60 [T-20]";
    assert_eq!(said(&why).first().map(String::as_str), Some(first));
    assert_eq!(why.standing, [Standing::Held]);
    assert_eq!(at(&why, Timer::Held), Some(s(60)));
    assert!(why.releases.contains(&Release::DndOff));
}

#[test]
fn a_person_and_a_rule_hold_too() {
    let by = |by| Event::HoldSet { ms: Vec::new(), hold: Hold { by, until: None } };
    let why =
        asked(&[message(0, "m1"), by(HoldBy::Operator), by(HoldBy::Rule("night".into()))], 10);

    assert!(why.releases.contains(&Release::PersonReleases));
    assert!(why.releases.contains(&Release::RuleEnds("night".into())));
    assert!(said(&why).contains(&"the user's rule `night` keeps it [T-21]".to_owned()));
}

#[test]
fn a_device_settles_first() {
    let why = asked(&[message(0, "m1"), bound(10, 12)], 11);

    assert!(said(&why).contains(&"phone1 settles until 12 [T-3]".to_owned()));
    assert_eq!(at(&why, Timer::Settle), Some(s(12)));
}

#[test]
fn a_device_that_cannot_is_named() {
    let other = Event::ContactBound {
        d: device(),
        initial: true,
        at: s(1),
        settled: s(1),
        expires: s(3600),
        caps: Some(Caps::of(["+g.3gpp.icsi-ref=oma.cpm.session"])),
        cpm: None,
        profile: None,
        primary: None,
        f: Stamp::default(),
    };
    let why = asked(&[message(0, "m1"), other], 10);
    assert!(said(&why).contains(&"phone1 takes no message of kind pager [SEED4-6]".to_owned()));

    let voice = Event::ContactBound {
        d: device(),
        initial: true,
        at: s(1),
        settled: s(1),
        expires: s(3600),
        caps: None,
        cpm: Some(false),
        profile: None,
        primary: None,
        f: Stamp::default(),
    };
    let why = asked(&[message(0, "m1"), voice], 10);
    assert!(said(&why).contains(&"phone1 is registered, but not for CPM [T-5b]".to_owned()));
}

#[test]
fn a_suspect_is_released_by_a_sign_of_life() {
    let why = asked(&[message(0, "m1"), bound(1, 1), started(0, 1), leg(Mark::Suspect)], 10);

    let said = said(&why);
    assert!(said.iter().any(|words| words.ends_with("did not answer its last attempt [R-8]")));
    assert!(why.releases.contains(&Release::SignOfLife(PHONE.into())));
}

#[test]
fn a_refusal_is_for_good() {
    let why = asked(&[message(0, "m1"), bound(1, 1), started(0, 1), leg(Mark::Refused)], 10);

    assert!(said(&why).contains(&"phone1 refused it for good [T-8]".to_owned()));
}

#[test]
fn an_attempt_under_way_waits_for_its_outcome() {
    let why = asked(&[message(0, "m1"), bound(1, 1), started(0, 1)], 10);

    assert_eq!(why.standing, [Standing::IpInFlight]);
    assert!(said(&why).contains(&"attempt #1 runs to phone1 [T-6]".to_owned()));
    assert!(why.releases.contains(&Release::Answer { access: Access::Cpm, attempt: 1 }));
    assert!(at(&why, Timer::IpAttempt).is_some());
}

#[test]
fn a_message_behind_another_of_its_conversation_names_it() {
    let why = asked_of(1, &[message(0, "m1"), message(1, "m2"), bound(1, 1), started(0, 1)], 10);

    assert!(said(&why).contains(&"m1 of its conversation runs [3.6.0]".to_owned()));
    assert!(why.releases.contains(&Release::EndOf(m(0, "m1"))));
}

#[test]
fn a_back_off_ends() {
    let back_off = Event::BackedOff {
        m: m(0, "m1"),
        by: Access::Cpm,
        what: What::Message,
        d: None,
        until: s(30),
    };
    let why = asked(&[message(0, "m1"), bound(1, 1), back_off], 10);

    assert_eq!(why.standing, [Standing::Backoff]);
    assert!(said(&why).contains(&"back-off of m1 until 30 [T-23]".to_owned()));
    assert_eq!(at(&why, Timer::Backoff), Some(s(30)));
}

#[test]
fn the_ip_wait_runs() {
    let why = asked(&[message(0, "m1"), attached(5), wait(5, 35)], 10);

    assert_eq!(why.standing, [Standing::IpWait]);
    assert!(said(&why).contains(&"IP has its chance until 35 [TM-6]".to_owned()));
    assert_eq!(at(&why, Timer::IpWait), Some(s(35)));
}

#[test]
fn each_block_has_its_cure() {
    for (block, until, rule, cure) in [
        (BlockKind::Absent, None, "T-14", Release::Attach),
        (BlockKind::MemoryFull, Some(s(60)), "T-15", Release::MemoryFree),
        (BlockKind::Barred, Some(s(60)), "T-12", Release::NewSubscription),
        (BlockKind::NotCapable, Some(s(60)), "T-12", Release::NewSubscription),
    ] {
        let blocked = Event::SmsBlocked { block, at: s(5), until };
        let why = asked(&[message(0, "m1"), attached(1), blocked], 10);

        let found = why.obstacles.iter().find(|o| matches!(o, Obstacle::Blocked { .. }));
        assert_eq!(found.map(Obstacle::rule), Some(rule), "{block:?}");
        assert!(why.releases.contains(&cure), "{block:?}: {:?}", why.releases);
    }
}

#[test]
fn parked_goes_by_ip_only() {
    let parked = Event::Parked { m: m(0, "m1"), by: Access::Sms, n: 1 };
    let why = asked(&[message(0, "m1"), attached(1), parked], 10);

    assert_eq!(why.standing, [Standing::Pending, Standing::Parked]);
    assert!(why.obstacles.contains(&Obstacle::Parked { by: Access::Sms, attempt: 1 }));
    assert!(why.releases.contains(&Release::Report { by: Access::Sms, attempt: 1 }));
}

#[test]
fn a_taken_slot_names_who_has_it() {
    let events = [message(0, "m1"), message(1, "m2"), attached(1), sms_started(0, 1)];
    let first = asked(&events, 10);
    assert_eq!(first.standing, [Standing::IwInFlight]);
    assert!(first.obstacles.contains(&Obstacle::SmsOut { attempt: 1 }));

    let second = asked_of(1, &events, 10);
    assert!(second.obstacles.contains(&Obstacle::SlotTaken { by: m(0, "m1"), attempt: 1 }));
    assert!(second.releases.contains(&Release::EndOf(m(0, "m1"))));
}

#[test]
fn what_no_sms_can_carry_says_so() {
    let cannot = Event::NotInterworkable { m: m(0, "m1"), ucn: false };
    let why = asked(&[message(0, "m1"), attached(1), cannot], 10);
    assert!(why.obstacles.contains(&Obstacle::NoSmsForm));

    let why = asked(&[message(0, "m1"), attached(1), Event::SmsRefused { m: m(0, "m1") }], 10);
    assert!(why.obstacles.contains(&Obstacle::SmsRefused));
}

#[test]
fn a_user_without_a_number_has_no_sms() {
    let mut user = User::new(Address::parse("sip:a@example.com", &Home::default()).unwrap());
    user.evolve(&message(0, "m1"));
    let policy = Policy::default();
    let view = View { user: &user, policy: &policy, at: s(10), now: s(10), fresh: None };
    let why = why(&view, 0).unwrap();

    assert!(why.obstacles.contains(&Obstacle::NoNumber));
    assert!(why.releases.contains(&Release::Number));
}

#[test]
fn a_switch_that_is_off_is_named() {
    let policy = Policy { access_cpm: AccessSwitch::Hold, ..Policy::default() };
    let policy = Policy { access_sms: AccessSwitch::Off, ..policy };
    let why = asked_by(&policy, 0, &[message(0, "m1"), bound(1, 1), attached(1)], 10);

    let said = said(&why);
    assert!(said.contains(&"the policy says access_cpm=hold [3.6.0]".to_owned()));
    assert!(said.contains(&"the policy says access_sms=off [3.6.0]".to_owned()));
    assert!(why.releases.contains(&Release::SwitchOn(Access::Cpm)));
}

#[test]
fn the_ladder_says_when() {
    let armed = Event::LadderArmed { at: s(0), next: s(900), rung: Rung::Next, only: None };
    let why = asked_of(1, &[message(0, "m1"), message(1, "m2"), armed], 10);

    let rung = Release::Rung { at: s(900), kind: Rung::Next, first: Some(m(0, "m1")) };
    assert_eq!(why.releases.first(), Some(&rung));
}

#[test]
fn a_life_that_is_over_is_said() {
    let why = asked(&[message(0, "m1")], 700_000);

    assert!(why.obstacles.contains(&Obstacle::LifeOver(s(604_800))));
}

#[test]
fn nobody_is_asked_about() {
    let user = User::new(Address::parse("tel:+15145550100", &Home::default()).unwrap());
    let policy = Policy::default();
    let view = View { user: &user, policy: &policy, at: s(10), now: s(10), fresh: None };

    assert_eq!(why(&view, 0), None);
}

/// Nothing stands in the way of what can go now.
#[test]
fn what_can_go_has_no_obstacle_on_its_way() {
    let why = asked(&[message(0, "m1"), bound(1, 1), attached(1)], 10);

    assert!(why.obstacles.iter().all(|o| o.closes() == Closes::Sms), "{:?}", why.obstacles);
}

fn s(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn m(place: u32, id: &str) -> MessageRef {
    MessageRef(place, id.into())
}

fn device() -> DeviceName {
    DeviceName { instance: Some(PHONE.into()), reg_id: None, contact: None }
}

fn message(place: u32, id: &str) -> Event {
    let content = Content {
        message_id: id.into(),
        from: "tel:+15145550199".into(),
        kind: Kind::Pager,
        content_type: "text/plain".into(),
        body: Body::Text("hi".into()),
        size: 2,
        sent_at: None,
        disposition: Default::default(),
        more: None,
        conversation_id: None,
        contribution_id: None,
    };
    Event::Deferred {
        m: m(place, id),
        at: s(0),
        expires: s(604_800),
        interwork: Interwork::Fallback,
        sms: true,
        ucn: false,
        holds: Vec::new(),
        content: Some(Arc::new(content)),
    }
}

fn bound(at: i64, settled: i64) -> Event {
    Event::ContactBound {
        d: device(),
        initial: true,
        at: s(at),
        settled: s(settled),
        expires: s(3600),
        caps: None,
        cpm: None,
        profile: None,
        primary: None,
        f: Stamp { time: s(at), ..Stamp::default() },
    }
}

fn attached(at: i64) -> Event {
    Event::SlotSet {
        slot: SlotName::Cs,
        state: SlotState::Attached,
        sms: true,
        since: s(at),
        f: Stamp { time: s(at), there: true, ..Stamp::default() },
    }
}

fn wait(start: i64, until: i64) -> Event {
    Event::IpWait { start: s(start), by: Trigger::Attach, until: s(until) }
}

fn attempt(place: u32, n: u32, by: Access, to: Vec<Arc<str>>) -> Event {
    Event::AttemptStarted {
        m: m(place, "m1"),
        n,
        by,
        what: What::Message,
        at: s(5),
        deadline: s(35),
        to,
        rung: None,
        tried: 0,
        late: false,
        covers: Vec::new(),
        target: None,
    }
}

fn started(place: u32, n: u32) -> Event {
    attempt(place, n, Access::Cpm, vec![PHONE.into()])
}

fn sms_started(place: u32, n: u32) -> Event {
    attempt(place, n, Access::Sms, Vec::new())
}

fn leg(mark: Mark) -> Event {
    Event::LegEnded {
        m: m(0, "m1"),
        n: 1,
        d: PHONE.into(),
        end: LegEnd::Failed(Class::Absent),
        at: s(6),
        mark,
        counts: true,
        retry_after: None,
    }
}

fn asked(events: &[Event], now: i64) -> Why {
    asked_of(0, events, now)
}

fn asked_of(place: u32, events: &[Event], now: i64) -> Why {
    asked_by(&Policy::default(), place, events, now)
}

fn asked_by(policy: &Policy, place: u32, events: &[Event], now: i64) -> Why {
    let mut user = User::new(Address::parse("tel:+15145550100", &Home::default()).unwrap());
    for event in events {
        user.evolve(event);
    }
    let view = View { user: &user, policy, at: s(now), now: s(now), fresh: None };
    why(&view, place).unwrap()
}

fn said(why: &Why) -> Vec<String> {
    let clock = |time: Timestamp| time.since(Timestamp::EPOCH).as_secs().to_string();
    why.obstacles.iter().map(|o| format!("{} [{}]", o.words(&clock), o.rule())).collect()
}

fn at(why: &Why, timer: Timer) -> Option<Timestamp> {
    let is = |release: &&Release| matches!(release, Release::Timer { timer: t, .. } if *t == timer);
    why.releases.iter().find(is).and_then(Release::at)
}
