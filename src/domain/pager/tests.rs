//! The decision table of `rules.md` 2.4, row by row, and the engine held against it.

use std::collections::BTreeMap;

use super::*;
use crate::domain::decide::decide as step;
use crate::domain::event::{Event, HoldBy};
use crate::domain::input::{
    Action, Change, DoNotDisturb, Fact, ImsRegistered, Input, MessageSubmitted, PreferencesChanged,
    Rule, Told,
};
use crate::domain::message::{Interwork, More};
use crate::domain::policy::Policy;
use crate::domain::senders::Many;
use crate::domain::time::Timestamp;
use crate::domain::user::User;

const SENDER: &str = "tel:+15145550111";
const ACTIONS: [Action; 8] = [
    Action::AllowRejectInvite,
    Action::AllowInterwork,
    Action::AllowDeliverAndInterwork,
    Action::AllowStore,
    Action::AllowForward,
    Action::AllowDefer,
    Action::AllowDoNotDisturb,
    Action::AllowOfflineStorage,
];

/// A message from [`SENDER`], in one row of the table: its step 4, and what follows.
#[test]
fn the_table_row_by_row() {
    let row = |action: Option<Action>, kind| said(&given(action.as_slice()), kind);
    let message = |action| row(action, Kind::Pager);
    let imdn = |action| row(action, Kind::Imdn);

    assert_eq!(message(None), "202: send to phone1");
    assert_eq!(message(Some(Action::AllowRejectInvite)), "403 122 Function not allowed:");
    assert_eq!(message(Some(Action::AllowInterwork)), "202: isf only");
    assert_eq!(message(Some(Action::AllowDeliverAndInterwork)), "202: isf also, send to phone1");
    assert_eq!(message(Some(Action::AllowStore)), "200: store, tell delivered");
    assert_eq!(message(Some(Action::AllowForward)), "202: forward to tel:+15145550199");
    assert_eq!(message(Some(Action::AllowDefer)), "202: held by rule");
    assert_eq!(message(Some(Action::AllowDoNotDisturb)), "202: held by dnd");
    assert_eq!(message(Some(Action::AllowOfflineStorage)), "202: record, send to phone1");

    // A-46.
    assert_eq!(imdn(None), "202: send to phone1");
    assert_eq!(imdn(Some(Action::AllowRejectInvite)), "403 122 Function not allowed:");
    for action in [
        Action::AllowInterwork,
        Action::AllowDeliverAndInterwork,
        Action::AllowStore,
        Action::AllowForward,
        Action::AllowOfflineStorage,
    ] {
        assert_eq!(imdn(Some(action)), "202: send to phone1", "{action:?}");
    }
    assert_eq!(imdn(Some(Action::AllowDefer)), "202: held by rule");
    assert_eq!(imdn(Some(Action::AllowDoNotDisturb)), "202: held by dnd");
}

/// Several rules match: reject, interwork, store, forward, defer, in this order. (A-19, A-20)
#[test]
fn the_printed_order_is_the_precedence() {
    let both = |one, other| said(&given(&[other, one]), Kind::Pager);

    assert_eq!(
        both(Action::AllowRejectInvite, Action::AllowInterwork),
        "403 122 Function not allowed:"
    );
    assert_eq!(both(Action::AllowInterwork, Action::AllowStore), "202: isf only");
    assert_eq!(both(Action::AllowStore, Action::AllowForward), "200: store, tell delivered");
    assert_eq!(both(Action::AllowForward, Action::AllowDefer), "202: forward to tel:+15145550199");
    // deliver-and-interwork excludes nothing: its copy goes out, then c to e and 5 to 8.
    let also = Action::AllowDeliverAndInterwork;
    assert_eq!(both(also, Action::AllowStore), "200: isf also, store, tell delivered");
    assert_eq!(both(also, Action::AllowDefer), "202: isf also, held by rule");
    assert_eq!(both(also, Action::AllowOfflineStorage), "202: isf also, record, send to phone1");
    assert_eq!(both(Action::AllowInterwork, Action::AllowOfflineStorage), "202: isf only, record");
}

/// Do not disturb is looked at before 4b, so that no SMS rings; as printed, the SMS goes. (A-24)
#[test]
fn no_sms_rings_a_user_who_is_not_to_be_disturbed() {
    let mut given = given(&[Action::AllowInterwork]);
    given.dnd();

    assert_eq!(said(&given, Kind::Pager), "202: isf only, held by dnd");
    given.policy.dnd_blocks_interwork = false;
    assert_eq!(said(&given, Kind::Pager), "202: isf only");
}

/// As printed, an IMDN is stored and interworked like a message; forwarded it never is. (A-46, SEED0-57)
#[test]
fn the_printed_rules_for_imdns() {
    let literal = |action| {
        let mut given = given(&[action]);
        given.policy.literal_imdn_rules = true;
        said(&given, Kind::Imdn)
    };

    assert_eq!(literal(Action::AllowStore), "200: store, tell delivered");
    assert_eq!(literal(Action::AllowInterwork), "202: isf only");
    assert_eq!(literal(Action::AllowForward), "202: send to phone1");
}

/// An event report passes 4b, 4c, 4e, 5 and 6, which only policy switches on. (SEED4-41)
#[test]
fn event_reports_pass_by_the_users_rules() {
    let with = |action, key: &str| {
        let mut given = given(&[action]);
        if !key.is_empty() {
            given.policy = given.policy.with(key, "true").unwrap();
        }
        said(&given, Kind::System)
    };

    for action in [
        Action::AllowInterwork,
        Action::AllowStore,
        Action::AllowDefer,
        Action::AllowDoNotDisturb,
        Action::AllowOfflineStorage,
    ] {
        assert_eq!(with(action, ""), "202: send to phone1", "{action:?}");
    }
    assert_eq!(with(Action::AllowInterwork, "events_interwork"), "202: isf only");
    assert_eq!(with(Action::AllowStore, "events_store"), "200: store, tell delivered");
    assert_eq!(with(Action::AllowDefer, "events_defer"), "202: held by rule");
}

/// Steps 1 to 3, each with its Warning to the octet. (SEED0-50 to SEED0-52, A-18)
#[test]
fn what_is_refused_and_how() {
    let given = given(&[]);
    let mut service = ServicePolicy { user_agents: vec!["Phone/1.2".into()], ..<_>::default() };
    let mut request = request(Kind::Pager);
    let refused = |request: &PagerModeRequest, service: &ServicePolicy| {
        let decision = decide(request, &given.view(), service);
        assert_eq!(decision.acts.is_empty(), matches!(decision.answer, Answer::Refused(_)));
        match decision.answer {
            Answer::Refused(refusal) => Some(refusal.warning("pf.example.org")),
            Answer::Relayed | Answer::Accepted | Answer::Stored => None,
        }
    };
    let version = Some(r#"399 pf.example.org "132 Version not supported""#.to_owned());
    let anonymity = Some(r#"399 pf.example.org "119 Anonymity not allowed""#.to_owned());

    assert_eq!(refused(&request, &service), None, "no User-Agent passes");
    service.require_user_agent = true;
    assert_eq!(refused(&request, &service), version);
    for (user_agent, is_taken) in [
        ("Phone/1.2", true),
        ("phone/1.2 (build 7)", true),
        ("Phone/1.23", false),
        ("Phone", false),
        ("  ", false),
    ] {
        request.user_agent = Some(user_agent.into());
        assert_eq!(refused(&request, &service).is_none(), is_taken, "{user_agent}");
    }
    service = ServicePolicy::default();
    request.content.more = Some(Box::new(More { anonymous: true, ..More::default() }));
    assert_eq!(refused(&request, &service), None);
    service.allow_anonymous = false;
    assert_eq!(refused(&request, &service), anonymity);
}

/// A sender on the user's blacklist. (SEED0-52)
#[test]
fn the_blacklist_refuses() {
    let mut given = given(&[]);
    given.told(&Fact::PreferencesChanged(Box::new(PreferencesChanged {
        blacklist: Change::Set(vec![SENDER.into()]),
        ..<_>::default()
    })));

    let request = request(Kind::Pager);
    let view = given.view();
    let decision = decide(&request, &view, &ServicePolicy::default());

    assert_eq!(decision.answer, Answer::Refused(Refusal::Function));
    let trace: Vec<String> = decision.trace.iter().map(ToString::to_string).collect();
    assert_eq!(trace, ["3  403 122 Function not allowed [SEED0-52]"]);
    // A rule that rejects as well was not reached.
    given.rules(&[rule("strict", &[Action::AllowRejectInvite])]);
    let view = given.view();
    let decision = decide(&request, &view, &ServicePolicy::default());
    let again: Vec<String> = decision.trace.iter().map(ToString::to_string).collect();
    assert_eq!(again, trace);
}

/// What is no CPM message, or is for an application of its own, is not ours. (SEED0-49, SEED4-23)
#[test]
fn what_is_not_ours_is_relayed() {
    let given = given(&[Action::AllowRejectInvite]);
    let service = ServicePolicy::default();
    let mut no_cpm = request(Kind::Pager);
    no_cpm.tags = Caps::default();
    let mut iari = request(Kind::System);
    iari.has_iari = true;

    assert_eq!(decide(&no_cpm, &given.view(), &service).answer, Answer::Relayed);
    assert_eq!(decide(&iari, &given.view(), &service).answer, Answer::Relayed);
}

/// Clients that are out, each for its reason; who told no capabilities is tried. (SEED0-63 to SEED0-67, A-29)
#[test]
fn which_clients_get_it() {
    let mut given = given(&[]);
    given.register("tablet", Some(&["+g.oma.cpm.session"]), None);
    given.register("watch", None, None);
    given.register("work", Some(&["oma.cpm.msg"]), Some("office"));
    given.rules(&[Rule {
        profiles: vec!["office".into()],
        ..rule("weekend", &[Action::AllowRejectInvite])
    }]);

    let request = request(Kind::Pager);
    let view = given.view();
    let decision = decide(&request, &view, &ServicePolicy::default());

    assert_eq!(words(&decision), "202: send to phone1+watch");
    let trace: Vec<String> = decision.trace.iter().map(ToString::to_string).collect();
    assert_eq!(
        trace[1..],
        [
            "8  to phone1 [SEED0-70]",
            "8  not to tablet: it takes no such message [SEED0-70]",
            "8  to watch [SEED0-70]",
            "8  not to work: rule `weekend` excludes its profile [SEED0-70]",
        ]
    );
}

/// RFC 4745 7.1: whom a rule is about. A sender whom another rule names is none of `other-identity`, though
/// that rule does nothing; one who wants to be anonymous is named all the same, as step 3 has it.
#[test]
fn a_rule_is_about_whom_it_says() {
    let about = |rule: Rule| {
        let mut given = given(&[]);
        let named = Rule { senders: vec!["tel:+15145550112".into()], ..self::rule("named", &[]) };
        given.rules(&[
            Rule { name: "about".into(), actions: vec![Action::AllowStore], ..rule },
            named,
        ]);
        let stored = |from: &str, anonymous| {
            let said = Fact::MessageSubmitted(Box::new(MessageSubmitted {
                from: from.to_owned().into(),
                anonymous,
                ..submission(Kind::Pager)
            }));
            let Fact::MessageSubmitted(message) = &said else { unreachable!() };
            let request = PagerModeRequest { content: message.content(), ..request(Kind::Pager) };
            let decision = decide(&request, &given.view(), &ServicePolicy::default());
            let events = step(&given.user, &given.input(said.clone()), given.at, &given.policy);
            assert_eq!(of_engine(&events.unwrap()), of_procedure(&decision.acts), "{from}");
            decision.answer == Answer::Stored
        };
        let people = [SENDER, "tel:+15145550112", "sip:bob@ham.example", "sip:eve@spam.example"];
        (people.map(|from| stored(from, false)), people.map(|from| stored(from, true)))
    };
    let both = |stored: [bool; 4]| (stored, stored);
    let many = |domain: Option<&str>, except: Option<&str>, except_domain: Option<&str>| Rule {
        many: vec![Many {
            domain: domain.map(Into::into),
            except: except.into_iter().map(Into::into).collect(),
            except_domains: except_domain.into_iter().map(Into::into).collect(),
        }],
        ..Rule::default()
    };

    assert_eq!(about(Rule::default()), both([true; 4]));
    assert_eq!(about(many(None, None, None)), both([true; 4]));
    assert_eq!(about(many(Some("ham.example"), None, None)), both([false, false, true, false]));
    assert_eq!(about(many(None, Some(SENDER), None)), both([false, true, true, true]));
    assert_eq!(about(many(None, None, Some("spam.example"))), both([true, true, true, false]));
    let some = Rule { senders: vec![SENDER.into()], ..many(Some("spam.example"), None, None) };
    assert_eq!(about(some), both([true, false, false, true]));

    let others = Rule { other_identity: true, ..Rule::default() };
    assert_eq!(about(others.clone()), both([true, false, true, true]));
    let anonymous = Rule { anonymous_request: true, ..Rule::default() };
    assert_eq!(about(anonymous), ([false; 4], [true; 4]));
    // All conditions of a rule have to hold; whom a rule names itself is no other either.
    let all = Rule { anonymous_request: true, ..others.clone() };
    assert_eq!(about(all), ([false; 4], [true, false, true, true]));
    assert_eq!(about(Rule { senders: vec![SENDER.into()], ..others }), both([false; 4]));
}

/// Whatever rules there are, the engine does with a submission what the procedure says of it.
#[test]
fn the_engine_does_what_the_procedure_says() {
    let mut compared = 0;
    for bits in 0..1_u32 << ACTIONS.len() {
        let actions: Vec<Action> =
            (0..ACTIONS.len()).filter(|n| bits & 1 << n != 0).map(|n| ACTIONS[n]).collect();
        for kind in [Kind::Pager, Kind::Imdn, Kind::System] {
            for (literal, printed, dnd) in
                [(false, false, false), (true, false, true), (false, true, true)]
            {
                let mut given = given(&actions);
                given.policy.literal_imdn_rules = literal;
                given.policy.dnd_blocks_interwork = !printed;
                given.policy.events_defer = literal;
                given.policy.events_store = printed;
                if dnd {
                    given.dnd();
                }
                let request = request(kind);
                let view = given.view();
                let decision = decide(&request, &view, &ServicePolicy::default());
                if matches!(decision.answer, Answer::Refused(_)) {
                    continue;
                }
                let submitted = Fact::MessageSubmitted(Box::new(submission(kind)));
                let events = step(&given.user, &given.input(submitted), given.at, &given.policy);
                assert_eq!(
                    of_engine(&events.unwrap()),
                    of_procedure(&decision.acts),
                    "{kind:?} {actions:?} {literal} {printed} {dnd}"
                );
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 128 * 9);
}

/// What the engine did, in the words of [`of_procedure`].
fn of_engine(events: &[Event]) -> Vec<String> {
    let mut did = Vec::new();
    let ends = |event: &Event| matches!(event, Event::StorageRequested { waits: true, .. });
    for event in events {
        if let Event::Deferred { interwork, holds, .. } = event {
            if *interwork != Interwork::Fallback {
                did.push(format!("isf {interwork:?}"));
            }
            let stored = events.iter().any(ends);
            let forwarded = events.iter().any(|event| matches!(event, Event::Ended { .. }));
            if !stored && !forwarded {
                did.extend(holds.iter().map(|hold| format!("hold {:?}", hold.by)));
            }
        } else if ends(event) {
            did.push("store".into());
        } else if matches!(event, Event::StorageRequested { .. }) {
            did.push("record".into());
        } else if matches!(event, Event::Ended { .. }) {
            did.push("forward".into());
        }
    }
    did
}

fn of_procedure(acts: &[Act<'_>]) -> Vec<String> {
    let said = |act: &Act<'_>| match act {
        Act::Interwork(interwork) => Some(format!("isf {interwork:?}")),
        Act::Store { .. } => Some("store".to_owned()),
        Act::Forward(_) => Some("forward".to_owned()),
        Act::Hold(hold) => Some(format!("hold {:?}", hold.by)),
        Act::Record => Some("record".to_owned()),
        Act::Send(_) => None,
    };
    acts.iter().filter_map(said).collect()
}

/// A user with phone1 registered, and what is known besides.
struct Given {
    user: User,
    policy: Policy,
    at: Timestamp,
}

fn given(actions: &[Action]) -> Given {
    let at = Timestamp::from_millis(1_795_219_200_000);
    let address = "tel:+15145550100";
    let address = crate::domain::address::Address::parse(address, &<_>::default()).unwrap();
    let policy = Policy { jitter_percent: 0, ..Policy::default() };
    let mut given = Given { user: User::new(address), policy, at };
    given.register("phone1", Some(&["oma.cpm.msg", "oma.cpm.systemmsg"]), None);
    if !actions.is_empty() {
        given.rules(&actions.iter().map(|action| rule("rule", &[*action])).collect::<Vec<_>>());
    }
    given
}

fn rule(name: &str, actions: &[Action]) -> Rule {
    Rule { name: name.into(), actions: actions.to_vec(), ..Rule::default() }
}

impl Given {
    fn input<'a>(&self, fact: Fact<'a>) -> Input<'a> {
        let told = Told { time: self.at, logged: self.at, source: 1, id: 1, order: None };
        Input { told, fact }
    }

    fn told(&mut self, fact: &Fact<'_>) {
        let events = step(&self.user, &self.input(fact.clone()), self.at, &self.policy).unwrap();
        for event in &events {
            self.user.evolve(event);
        }
    }

    fn rules(&mut self, rules: &[Rule]) {
        self.told(&Fact::PreferencesChanged(Box::new(PreferencesChanged {
            rules: Change::Set(rules.to_vec()),
            forward_to: Change::Set("tel:+15145550199".into()),
            ..<_>::default()
        })));
    }

    fn dnd(&mut self) {
        self.told(&Fact::PreferencesChanged(Box::new(PreferencesChanged {
            do_not_disturb: Change::Set(DoNotDisturb::Now(true)),
            ..<_>::default()
        })));
    }

    fn register(&mut self, instance: &str, features: Option<&[&str]>, profile: Option<&str>) {
        let data = serde_json::json!({
            "registration": "initial",
            "device": {"instance": instance},
            "expires_at": "2026-11-22T08:00:00Z",
            "features": features,
            "profile": profile,
        });
        let text = data.to_string();
        let registered: ImsRegistered<'_> = serde_json::from_str(&text).unwrap();
        self.told(&Fact::ImsRegistered(Box::new(registered)));
    }

    fn view(&self) -> View<'_> {
        let Self { user, policy, at, .. } = self;
        View { user, policy, at: *at, now: *at, fresh: None }
    }
}

fn submission(kind: Kind) -> MessageSubmitted<'static> {
    MessageSubmitted {
        message_id: "m1".into(),
        from: SENDER.into(),
        kind,
        content_type: "text/plain".into(),
        body: Some("hello".into()),
        body_base64: None,
        body_ref: None,
        size: None,
        sent_at: None,
        expires_at: None,
        expires_seconds: None,
        disposition: vec!["positive-delivery".into()],
        conversation_id: None,
        contribution_id: None,
        in_reply_to_contribution_id: None,
        headers: BTreeMap::new(),
        asserted_from: None,
        anonymous: false,
        imdn_route: Vec::new(),
        interwork: Interwork::Fallback,
        interworkable: None,
        held_by: None,
        held_until: None,
        priority: None,
        class: None,
    }
}

fn request(kind: Kind) -> PagerModeRequest {
    PagerModeRequest {
        content: submission(kind).content(),
        tags: Caps::of(["oma.cpm.msg"]),
        has_iari: false,
        user_agent: None,
    }
}

fn said(given: &Given, kind: Kind) -> String {
    words(&decide(&request(kind), &given.view(), &ServicePolicy::default()))
}

/// An answer and what is done.
fn words(decision: &PagerModeDecision<'_>) -> String {
    let answer = match decision.answer {
        Answer::Relayed => "relayed".to_owned(),
        Answer::Refused(refusal) => refusal.to_string(),
        Answer::Accepted => "202".to_owned(),
        Answer::Stored => "200".to_owned(),
    };
    let act = |act: &Act<'_>| match act {
        Act::Interwork(Interwork::Also) => "isf also".to_owned(),
        Act::Interwork(_) => "isf only".to_owned(),
        Act::Store { tells: true } => "store, tell delivered".to_owned(),
        Act::Store { tells: false } => "store".to_owned(),
        Act::Forward(to) => format!("forward to {to}"),
        Act::Hold(hold) => match hold.by {
            HoldBy::Dnd => "held by dnd".to_owned(),
            HoldBy::Rule(_) => "held by rule".to_owned(),
            HoldBy::Operator => "held by operator".to_owned(),
        },
        Act::Record => "record".to_owned(),
        Act::Send(clients) => {
            let names: Vec<String> =
                clients.iter().map(|client| client.device.to_string()).collect();
            format!("send to {}", names.join("+"))
        }
    };
    let acts: Vec<String> = decision.acts.iter().map(act).collect();
    format!("{answer}: {}", acts.join(", ")).trim_end().to_owned()
}
