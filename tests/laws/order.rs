//! Order and repetition of facts about reachability.
//!
//! Goal: what probes tell adds up to one view, whichever of them is read first and however often.
//! Method: facts whose true order R-5 knows, told in that order, shuffled, and with repeats. What is
//! compared is the view: slots and bindings. When the wait began depends on what was known by then.

use std::time::Duration;

use deferd::domain::address::{Address, Home};
use deferd::domain::decide::step;
use deferd::domain::input::{
    Attach, DeviceRef, Fact, ImsDeregistered, ImsRegistered, Input, Registration, SmsReady, Told,
};
use deferd::domain::message::Text;
use deferd::domain::policy::Policy;
use deferd::domain::reachability::{DeviceId, Slot, SlotState};
use deferd::domain::time::Timestamp;
use deferd::domain::user::User;

use crate::random::Random;

const NOW: i64 = 1_795_219_200_000;

/// What is seen of a user: the slots, and which devices are bound until when.
#[derive(Debug, PartialEq)]
struct Seen {
    slots: Vec<(SlotState, bool)>,
    bound: Vec<(DeviceId, Timestamp)>,
}

/// One fact that is the newest beyond doubt on each thing it is about: all sources are apart by more
/// than the tolerance, or one source counts for itself.
pub(crate) fn order_and_repeats_do_not_matter(seed: u64) {
    let mut random = Random::new(seed);
    let policy = Policy::default();
    let facts = facts(&mut random, &policy);
    let in_order = seen(&facts, &policy);

    for _ in 0..4 {
        let mut shuffled = facts.clone();
        for at in (1..shuffled.len()).rev() {
            let other = random.below(at as u64 + 1);
            shuffled.swap(at, usize::try_from(other).unwrap_or(0));
        }
        let mut repeated = Vec::new();
        for fact in shuffled {
            if random.percent(30) {
                repeated.push(random.pick(&facts));
            }
            repeated.push(fact.clone());
            if random.percent(30) {
                repeated.push(fact);
            }
        }
        let told = seen(&repeated, &policy);
        assert!(told == in_order, "R-5: {told:?}, in order {in_order:?}, told {repeated:#?}");
    }
}

/// Of two facts about one thing from two sources within the tolerance the hopeful one wins, whichever
/// is read first.
pub(crate) fn hope_wins_in_either_order(seed: u64) {
    let mut random = Random::new(seed);
    let policy = Policy::default();
    let thing = random.below(4);
    let apart = random.millis(2);
    let hope_first = random.flip();
    let (hope, gone) = if hope_first { (0, apart) } else { (apart, 0) };
    let there = input(&mut random, thing, true, NOW - 60_000 + hope, 1, 1);
    let gone = input(&mut random, thing, false, NOW - 60_000 + gone, 2, 2);

    let one = seen(&[there.clone(), gone.clone()], &policy);
    let other = seen(&[gone, there], &policy);

    assert!(one == other, "R-29: {one:?}, the other way round {other:?}");
    let reached = one.bound.len() + one.slots.iter().filter(|s| s.0 == SlotState::Attached).count();
    assert!(reached == 1, "R-5: the hopeful fact does not win: {one:?}");
}

/// Facts about all slots and two devices; no detach is of slot `any` alone. Those about one thing are more than the tolerance apart, or
/// from one source that numbers them.
fn facts(random: &mut Random, policy: &Policy) -> Vec<Input<'static>> {
    let numbered = random.flip();
    let apart = i64::try_from(policy.clock_tolerance.as_millis()).unwrap_or(0) + 1;
    let mut at = NOW - 600_000;
    let count = 2 + u32::try_from(random.below(8)).unwrap_or(0);
    (1..=count)
        .map(|id| {
            // One numbering probe may have a clock that jumps: its numbers order what it tells.
            at += if numbered { random.millis(1) - 300 } else { apart + random.millis(10) };
            let thing = random.below(5);
            let there = thing == 4 || random.percent(60);
            let source = if numbered { 1 } else { 1 + u32::try_from(random.below(3)).unwrap_or(0) };
            let mut input = input(random, thing, there, at, source, id);
            input.told.order = numbered.then_some((1, u64::from(id)));
            input
        })
        .collect()
}

fn input(
    random: &mut Random,
    thing: u64,
    there: bool,
    at: i64,
    source: u32,
    id: u32,
) -> Input<'static> {
    let time = Timestamp::from_millis(at);
    let told = Told { time, logged: Timestamp::from_millis(NOW), source, id, order: None };
    let device = |n: u64| DeviceRef {
        contact: Some(Text::from(format!("sip:u{n}@10.0.0.{n}"))),
        ..DeviceRef::default()
    };
    let domain = |word: &'static str| SmsReady { domain: Some(word.into()), ..SmsReady::default() };
    let fact = match (thing, there) {
        (0, true) if random.flip() => Fact::SmsReady(domain("CS")),
        (0, true) => Fact::CsAttached(Attach::default()),
        (0, false) => Fact::CsDetached(Attach::default()),
        (1, true) if random.flip() => Fact::SmsReady(domain("SGd")),
        (1, true) => Fact::PsAttached(Attach::default()),
        (1, false) => Fact::PsDetached(Attach::default()),
        (4, _) => Fact::SmsReady(SmsReady::default()),
        (n, true) => Fact::ImsRegistered(Box::new(ImsRegistered {
            device: Some(device(n)),
            expires_at: time + Duration::from_secs(3600),
            change: random.pick(&[
                Registration::Initial,
                Registration::Refreshed,
                Registration::Unknown,
            ]),
            features: None,
            cpm_capable: None,
            aliases: Vec::new(),
            imsi: None,
            profile: None,
            access: None,
            user_agent: None,
            call_id: None,
            cseq: None,
            trust: None,
        })),
        (n, false) => Fact::ImsDeregistered(ImsDeregistered {
            device: Some(device(n)),
            ..ImsDeregistered::default()
        }),
    };
    Input { told, fact }
}

/// The view after these, all of them read now.
fn seen(facts: &[Input<'static>], policy: &Policy) -> Seen {
    let now = Timestamp::from_millis(NOW);
    let address = Address::parse("tel:+15145550100", &Home::default()).expect("an address");
    let mut user = User::new(address);
    for fact in facts {
        // What is not newer is ignored, and that is the point.
        let _ = step(&mut user, fact, now, policy);
    }
    let attached = |slot: &Slot| slot.state == SlotState::Attached;
    let mut slots: Vec<Slot> = user.slots.iter().map(|slot| slot.unwrap_or_default()).collect();
    // A slot that attached again has forgotten the detach that ended `any`, and says as much itself.
    if slots.iter().take(2).any(attached) {
        slots.truncate(2);
    }
    let slots = slots.iter().map(|slot| (slot.state, attached(slot) && slot.sms_capable));
    let mut bound: Vec<(DeviceId, Timestamp)> = (user.devices.iter())
        .filter_map(|device| Some((device.id, device.contact.as_ref()?.expires_at)))
        .collect();
    bound.sort_unstable_by_key(|(id, _)| *id);
    Seen { slots: slots.collect(), bound }
}
