//! Deciding what becomes of a message in pager mode (8.3.1.1), for a user who has fifty rules.
//!
//! Both of the user's clients are registered and judged. The rules name senders, kinds and times, as people's
//! do; what matches has the message sent by SMS too, recorded, and sent to the clients: no step is left out.

use std::hint::black_box;

use deferd::domain::address::{Address, Home};
use deferd::domain::decide::decide as step;
use deferd::domain::input::{
    Action, Change, Fact, Input, MessageSubmitted, PreferencesChanged, Rule, Told,
};
use deferd::domain::message::Kind;
use deferd::domain::open::View;
use deferd::domain::pager::{Act, PagerModeRequest, Ruling, ServicePolicy, decide};
use deferd::domain::policy::Policy;
use deferd::domain::reachability::Caps;
use deferd::domain::time::Timestamp;
use deferd::domain::user::User;

use super::measure::{median, target, timed};

const RULES: usize = 50;
/// Decisions of a round.
const TIMES: u32 = 100_000;
const SENDER: &str = "tel:+15145550199";

/// The rows: one of the rules matches, the last, or none does.
pub(crate) fn report(rounds: usize) {
    let policy = Policy::default();
    let service = ServicePolicy::default();
    let request = request();
    let users = [("the last matches", user(&policy, true)), ("none matches", user(&policy, false))];
    println!("\n{:<34}{:>10}", "pager mode, 50 rules, 2 clients", "ns each");
    let mut costs = Vec::new();
    for (name, user) in &users {
        let view = View { user, policy: &policy, at: now(), now: now(), fresh: None };
        let decision = decide(&request, &view, &service);
        let is_sent = |act: &Act<'_>| matches!(act, Act::Send(clients) if clients.len() == 2);
        assert!(decision.acts.iter().any(is_sent), "{decision:?}");
        assert_eq!(decision.acts.len(), if *name == "none matches" { 1 } else { 3 });
        let (mut rulings, mut decisions) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            rulings.push(timed(|| {
                for _ in 0..TIMES {
                    black_box(Ruling::of(black_box(&view), black_box(&request.content)));
                }
            }));
            decisions.push(timed(|| {
                for _ in 0..TIMES {
                    black_box(decide(black_box(&request), black_box(&view), &service));
                }
            }));
        }
        let each = |rounds: &[_]| median(rounds).wall * 1e9 / f64::from(TIMES);
        println!("{:<34}{:>10.0}", format!("{name}: the ruling alone"), each(&rulings));
        println!("{:<34}{:>10.0}", format!("{name}: the decision"), each(&decisions));
        costs.push((format!("a decision, {name}"), each(&decisions) / 1e3));
    }
    println!();
    for (name, cost) in costs {
        target(&name, cost, "µs", 5.0, false);
    }
}

/// 2026-11-21T08:00:00Z.
fn now() -> Timestamp {
    Timestamp::from_millis(1_795_248_000_000)
}

fn request() -> PagerModeRequest {
    let submitted = serde_json::json!({
        "message_id": "m1",
        "from": SENDER,
        "kind": "pager",
        "content_type": "text/plain",
        "body": "Lunch at one?",
        "disposition": ["positive-delivery", "display"],
    });
    let text = submitted.to_string();
    let submitted: MessageSubmitted<'_> = serde_json::from_str(&text).expect("a message");
    PagerModeRequest {
        content: submitted.content(),
        tags: Caps::of(["oma.cpm.msg"]),
        has_iari: false,
        user_agent: Some("Phone/1.2 (build 7)".into()),
    }
}

/// A user with two clients and the rules.
fn user(policy: &Policy, has_match: bool) -> User {
    let address = Address::parse("tel:+15145550100", &Home::default()).expect("a number");
    let mut user = User::new(address);
    let mut rules: Vec<Rule> = (0..RULES).map(other_rule).collect();
    if let Some(last) = rules.last_mut().filter(|_| has_match) {
        let actions = vec![Action::AllowDeliverAndInterwork, Action::AllowOfflineStorage];
        *last = Rule { senders: vec![SENDER.into()], ..rule("last", actions) };
    }
    let preferences =
        PreferencesChanged { rules: Change::Set(rules), ..PreferencesChanged::default() };
    told(&mut user, Fact::PreferencesChanged(Box::new(preferences)), policy);
    for (instance, profile) in [("phone", None), ("tablet", Some("office"))] {
        let registered = serde_json::json!({
            "registration": "initial",
            "device": {"instance": instance},
            "expires_at": "2026-11-22T08:00:00Z",
            "features": ["oma.cpm.msg"],
            "profile": profile,
        });
        let text = registered.to_string();
        let registered = serde_json::from_str(&text).expect("a registration");
        told(&mut user, Fact::ImsRegistered(Box::new(registered)), policy);
    }
    user
}

/// A rule that has nothing to do with the message: for other senders, for other kinds, or over by now.
fn other_rule(number: usize) -> Rule {
    let name = format!("rule {number}");
    match number % 3 {
        0 => Rule {
            senders: (0..4).map(|n| format!("tel:+1514556{number:02}{n:02}").into()).collect(),
            ..rule(&name, vec![Action::AllowDefer])
        },
        1 => Rule { kinds: vec![Kind::File, Kind::Large], ..rule(&name, vec![Action::AllowStore]) },
        _ => Rule { valid_until: Some(now()), ..rule(&name, vec![Action::AllowDoNotDisturb]) },
    }
}

fn rule(name: &str, actions: Vec<Action>) -> Rule {
    Rule { name: name.into(), actions, ..Rule::default() }
}

fn told(user: &mut User, fact: Fact<'_>, policy: &Policy) {
    let told = Told { time: now(), logged: now(), source: 1, id: 1, order: None };
    for event in step(user, &Input { told, fact }, now(), policy).expect("a fact") {
        user.evolve(&event);
    }
}
