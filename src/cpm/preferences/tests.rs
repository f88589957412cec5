//! Documents of users; helpers below.

use super::*;
use crate::domain::input;
use crate::domain::message::Kind;

const RULES: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<cr:ruleset xmlns:cr="urn:ietf:params:xml:ns:common-policy"
            xmlns:ocp="urn:oma:xml:xdm:common-policy" xmlns:oxe="urn:oma:xml:xdm:extensions">
  <cr:rule id="nights">
    <cr:conditions>
      <cr:identity>
        <cr:one id="sip:+15145550101@ims.example;user=phone"/>
        <cr:many domain="Spam.Example">
          <cr:except id="sip:good@spam.example"/><cr:except domain="ham.example"/>
        </cr:many>
      </cr:identity>
      <cr:validity>
        <cr:from>2026-11-21T22:00:00+01:00</cr:from><cr:until>2026-11-22T07:00:00+01:00</cr:until>
        <cr:from>2026-11-22T22:00:00Z</cr:from><cr:until>2026-11-23T07:00:00Z</cr:until>
      </cr:validity>
      <oxe:service-list><oxe:service enabler="cpm"/><oxe:service enabler="POC"/></oxe:service-list>
      <oxe:media-list><oxe:standalone-message/><oxe:video/></oxe:media-list>
    </cr:conditions>
    <cr:actions>
      <oxe:allow-defer>true</oxe:allow-defer>
      <oxe:allow-store>false</oxe:allow-store>
    </cr:actions>
    <cr:transformations/>
  </cr:rule>
  <cr:rule id="pc">
    <cr:conditions>
      <oxe:service-list><oxe:all-services-except/></oxe:service-list>
      <oxe:media-list><oxe:all-media-except><oxe:file-transfer/></oxe:all-media-except></oxe:media-list>
      <oxe:upp-list><oxe:upp>Work</oxe:upp><oxe:upp name="Car"/></oxe:upp-list>
      <ocp:anonymous-request/><ocp:other-identity/>
    </cr:conditions>
    <cr:action>
      <allow-reject-invite> TRUE </allow-reject-invite>
      <allow-forward to="+1 514 555 0102">1</allow-forward>
    </cr:action>
  </cr:rule>
  <cr:rule id="bare"/>
</cr:ruleset>"#;

/// SEED0-53 to SEED0-63: conditions and actions, whatever their namespaces.
#[test]
fn rules_are_read_as_their_user_wrote_them() {
    let rules = rules(RULES);
    let night = &rules[0];
    assert_eq!(&*night.id, "nights");
    assert!(night.conditions.is_of_cpm() && night.conditions.is_of_standalone());
    let media = Listed::Only(vec![Medium::StandaloneMessage, Medium::Other("video".into())]);
    assert_eq!(night.conditions.media, Some(media));
    let senders = night.conditions.senders.as_ref().unwrap();
    let many = Many {
        domain: Some("spam.example".into()),
        except: vec!["sip:good@spam.example".into()],
        except_domains: vec!["ham.example".into()],
    };
    assert_eq!(*senders, Senders { one: vec!["tel:+15145550101".into()], many: vec![many] });
    for (time, inside) in [
        ("2026-11-21T20:59:59Z", false),
        ("2026-11-21T21:00:00Z", true),
        ("2026-11-22T06:00:00Z", false),
        ("2026-11-22T22:00:00Z", true),
    ] {
        assert_eq!(night.conditions.in_force(time.parse().unwrap()), inside, "{time}");
    }
    assert_eq!(night.actions.allowed, [Action::AllowDefer].into());
    assert_eq!(night.actions.denied, [Action::AllowStore].into());

    let pc = &rules[1];
    assert!(pc.conditions.is_of_cpm());
    let media = pc.conditions.media.as_ref().unwrap();
    assert!(media.covers(Kind::Pager) && !media.covers(Kind::File));
    assert_eq!(pc.conditions.profiles, ["Work".into(), "Car".into()]);
    assert!(pc.conditions.anonymous && pc.conditions.other_identity);
    assert_eq!(pc.actions.allowed, [Action::AllowRejectInvite, Action::AllowForward].into());
    assert_eq!(pc.actions.forward_to.as_deref(), Some("tel:+15145550102"));
    assert_eq!(rules[2], Rule { id: "bare".into(), ..Rule::default() });
}

/// Whoever else a document names is no other, by whatever rule: of another service, or one that never
/// matches. Without `other-identity` such rules are left out.
#[test]
fn others_are_whom_no_rule_of_the_document_names() {
    let services =
        |enabler: &str| format!("<service-list><service enabler='{enabler}'/></service-list>");
    let identity = |who: &str| format!("<identity><one id='tel:+1514555010{who}'/></identity>");
    let document = |others: &str| {
        let (cpm, poc) = (services("CPM"), services("POC"));
        let (one, two) = (identity("1"), identity("2"));
        format!(
            "<ruleset><rule id='others'><conditions>{cpm}<media-list><standalone-message/></media-list>\
             {others}</conditions><actions><allow-store>true</allow-store></actions></rule>\
             <rule id='poc'><conditions>{poc}{one}</conditions></rule>\
             <rule id='moon'><conditions>{cpm}<moon-phase/>{two}</conditions><actions>\
             <allow-forward>true</allow-forward></actions></rule>\
             <rule id='bare'/></ruleset>"
        )
    };
    let recorded = |others: &str| {
        let Change::Set(rules) = Said::Rules(rules(&document(others))).change().rules else {
            panic!("{others}")
        };
        let said = |rule: input::Rule| {
            (rule.name.to_string(), rule.senders.concat(), rule.other_identity, rule.actions)
        };
        rules.into_iter().map(said).collect::<Vec<_>>()
    };
    let stores = || vec![Action::AllowStore];

    assert_eq!(recorded(""), [("others".to_owned(), String::new(), false, stores())]);
    assert_eq!(
        recorded("<other-identity/>"),
        [
            ("others".to_owned(), String::new(), true, stores()),
            ("poc".to_owned(), "tel:+15145550101".to_owned(), false, vec![]),
            ("moon".to_owned(), "tel:+15145550102".to_owned(), false, vec![]),
        ]
    );
}

/// A-25: two names, one action; and each of the others has its own.
#[test]
fn every_action_is_known_by_its_names() {
    for (name, action) in [
        ("allow-reject-invite", Action::AllowRejectInvite),
        ("allow-interwork", Action::AllowInterwork),
        ("allow-interworking", Action::AllowInterwork),
        ("allow-deliver-and-interwork", Action::AllowDeliverAndInterwork),
        ("allow-store", Action::AllowStore),
        ("allow-forward", Action::AllowForward),
        ("allow-defer", Action::AllowDefer),
        ("Allow-Defer", Action::AllowDefer),
        ("allow-do-not-disturb", Action::AllowDoNotDisturb),
        ("allow-offline-storage", Action::AllowOfflineStorage),
    ] {
        let rule = rule(&format!("<actions><{name}>true</{name}></actions>"));
        assert_eq!(rule.actions.allowed, [action].into(), "{name}");
    }
    let both = "<actions><allow-interwork>false</allow-interwork><allow-interworking>true\
                </allow-interworking><forward-to>sip:bob@example.org</forward-to></actions>";
    let actions = rule(both).actions;
    assert_eq!(actions.allowed, [Action::AllowInterwork].into());
    assert!(actions.denied.is_empty());
    assert_eq!(actions.forward_to.as_deref(), Some("sip:bob@example.org"));
}

/// A condition that nobody knows makes a rule match nothing, and its reader says so.
#[test]
fn what_is_unknown_matches_nothing_and_does_nothing() {
    let document = "<ruleset><rule id='r'><conditions><moon-phase/><sphere value='work'/>\
                    <external-list><entry anc='http://x'/></external-list></conditions>\
                    <actions><allow-party>true</allow-party></actions></rule></ruleset>";
    let read = read(document.as_bytes(), &reading(&Home::default())).unwrap();
    let Said::Rules(rules) = &read.said else { panic!("{read:?}") };
    assert!(!rules[0].conditions.can_hold());
    assert_eq!(rules[0].conditions.unknown, ["moon-phase".into(), "external-list".into()]);
    assert_eq!(rules[0].actions.unknown, ["allow-party".into()]);
    let notes: Vec<&str> = read.notes.iter().map(|(_, note)| &**note).collect();
    assert_eq!(notes[0], "`moon-phase` is unknown: the rule never matches");
    assert_eq!(notes[3], "`allow-party` is unknown: it does nothing");
}

/// SEED0-52: a blacklist is lists of addresses, and one sender is one however it is written.
#[test]
fn a_blacklist_has_each_sender_once() {
    let document = "<resource-lists xmlns='urn:ietf:params:xml:ns:resource-lists'><list name='a'>\
        <display-name>no</display-name><entry uri='tel:+1-514-555-0101'/>\
        <list><entry uri='sip:+15145550101@ims.example;user=phone'><display-name/></entry></list>\
        <external anchor='x'/></list><list name='b'><entry uri='INFO'/></list></resource-lists>";
    let read = read(document.as_bytes(), &reading(&Home::default())).unwrap();
    assert_eq!(read.said, Said::Blacklist(["tel:+15145550101".into(), "INFO".into()].into()));
    assert_eq!(&*read.notes[0].1, "`external` points elsewhere: it is not followed");
}

#[test]
fn a_wrong_document_is_told_with_its_place() {
    let conditions = |inside: &str| {
        format!("<ruleset><rule id='r'><conditions>{inside}</conditions></rule></ruleset>")
    };
    let actions = |inside: &str| {
        format!("<ruleset><rule id='r'><actions>{inside}</actions></rule></ruleset>")
    };
    for (document, says) in [
        (
            "<rules/>".to_owned(),
            "line 1, column 1: the root element `rules`, expected `ruleset` or",
        ),
        ("<ruleset><rule/></ruleset>".to_owned(), "line 1, column 10: `rule` without `id`"),
        (
            "<ruleset><rule id='a'/><rule id='a'/></ruleset>".to_owned(),
            "column 34: a second rule `a`",
        ),
        (conditions("<validity/><validity/>"), "a second `validity`"),
        (conditions("<validity><until>x</until></validity>"), "`until`, expected `from`"),
        (
            conditions("<validity><from>2026-11-21T00:00:00</from></validity>"),
            "no time with its zone",
        ),
        (conditions("<validity><from>2026-11-21T00:00:00Z</from></validity>"), "without `until`"),
        (
            conditions(
                "<validity><from>2026-11-21T00:00:00Z</from><until>2026-11-20T00:00:00Z</until></validity>",
            ),
            "an end before its beginning",
        ),
        (conditions("<service-list><service/></service-list>"), "`service` without `enabler`"),
        (
            conditions("<media-list><video/><all-media-except/></media-list>"),
            "`media-list` that says both",
        ),
        (conditions("<upp-list/>"), "an `upp-list` without a profile"),
        (conditions("<identity><some/></identity>"), "`some`, expected `one` or `many`"),
        (conditions("<identity><many><except/></many></identity>"), "an `except`"),
        (actions("<allow-defer/>"), "no truth value, expected `true` or `false`"),
        (actions("<allow-forward to='bob'>true</allow-forward>"), "no address to forward to"),
    ] {
        let error = read(document.as_bytes(), &reading(&Home::default())).expect_err(&document);
        assert!(error.to_string().contains(says), "{document}: {error}");
    }
    let limits = Limits { items: 2, ..Limits::default() };
    let document = "<ruleset><rule id='a'/><rule id='b'/><rule id='c'/></ruleset>";
    let home = Home::default();
    let error = read(document.as_bytes(), &Reading { limits, home: &home }).unwrap_err();
    assert_eq!(error.fault, Fault::TooLarge);
}

fn reading(home: &Home) -> Reading<'_> {
    Reading { limits: Limits::default(), home }
}

fn rules(document: &str) -> Vec<Rule> {
    match read(document.as_bytes(), &reading(&Home::default())).expect(document).said {
        Said::Rules(rules) => rules,
        Said::Blacklist(_) => panic!("{document}"),
    }
}

fn rule(inside: &str) -> Rule {
    rules(&format!("<ruleset><rule id='r'>{inside}</rule></ruleset>")).remove(0)
}
