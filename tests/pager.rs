//! `deferd pager` as a person meets it: documents in, the procedure step by step out.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, and says so")]

use std::process::Command;

const HELLO: &str = "tests/samples/cpm/hello.cpim";
const BY_SMS: &str = "tests/samples/cpm/by-sms.xml";

/// A rule sends a copy by SMS and records it; the client that can take it gets it too. (SEED0-55, SEED0-60,
/// SEED0-70)
#[test]
fn each_step_says_by_which_rule() {
    let (code, said) = pager(&[
        "--preferences",
        BY_SMS,
        "--client",
        "phone1=oma.cpm.msg",
        "--client",
        "tablet=oma.cpm.session",
    ]);

    assert_eq!(
        said,
        "4a steps 1 to 4a refuse nothing [SEED0-54]\n\
         4b rule `travels`: a copy to the ISF [SEED0-55]\n\
         6  rule `travels`: recorded in the history [SEED0-60]\n\
         8  to phone1 [SEED0-70]\n\
         8  not to tablet: it takes no such message [SEED0-70]\n\
         →  202 Accepted\n"
    );
    assert_eq!(code, 0);
}

/// A sender on the user's list is refused, and that is the exit code too. (SEED0-52)
#[test]
fn a_refused_sender_hears_403() {
    let list = "tests/samples/cpm/blacklist.xml";

    let (code, said) = pager(&["--preferences", list, "--from", "tel:+15145550109"]);
    let (other, taken) = pager(&["--preferences", list, "--from", "tel:+15145550102"]);

    assert_eq!(
        said,
        "3  403 122 Function not allowed [SEED0-52]\n→  403 122 Function not allowed\n"
    );
    assert_eq!((code, other), (1, 0), "{taken}");
}

/// Rules about a domain, about whoever hides, and about those whom no rule names; that one would go before.
/// (SEED0-54, SEED0-56, SEED0-58, A-19)
#[test]
fn a_rule_is_about_some_senders() {
    let says = |from: &str, more: &[&str]| {
        let document = ["--preferences", "tests/samples/cpm/strangers.xml", "--from", from];
        pager(&[&document, more].concat()).1
    };
    let deferred = "4e rule `colleagues`: deferred, 202; held [SEED0-58]";
    let stored = "4c rule `strangers`: into the message store, 200 [SEED0-56]";
    let refused = "4a rule `nobody`: 403 122 Function not allowed [SEED0-54]";

    for (from, said) in [
        ("tel:+1-514-555-0102", deferred),
        ("sip:ann@Office.example", deferred),
        ("sip:noreply@office.example", stored),
        ("sip:ann@home.example", stored),
        ("tel:+15145550109", stored),
    ] {
        let shown = says(from, &[]);
        assert!(shown.lines().any(|line| line == said), "{from}: {shown}");
        let hidden = says(from, &["--anonymous"]);
        assert!(hidden.starts_with(refused), "{from}: {hidden}");
    }
}

/// Do not disturb, and nobody registered: kept either way, for different reasons. (SEED0-59, A-30)
#[test]
fn what_is_kept_says_why() {
    let (_, undisturbed) = pager(&["--undisturbed"]);
    let (_, nobody) = pager(&[]);

    assert!(undisturbed.contains("5  do not disturb, 202; held [SEED0-59]"), "{undisturbed}");
    assert!(nobody.contains("8  no client to send it to: deferred (A-30) [SEED0-70]"), "{nobody}");
}

#[test]
fn programs_read_json() {
    let (code, said) = pager(&["--preferences", BY_SMS, "--client", "phone1", "--output", "json"]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();

    assert_eq!(code, 0);
    assert_eq!(said["status"], 202);
    assert_eq!(
        said["acts"],
        serde_json::json!([{ "interwork": "also" }, "record", { "send": ["phone1"] }])
    );
}

/// A message without a blank line, and a document that is none, each with its place.
#[test]
fn what_cannot_be_read_says_where() {
    let broken = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("broken.cpim");
    std::fs::write(&broken, "From: <tel:+15145550111>\r\nTo: <tel:+15145550100>").unwrap();
    let broken = broken.to_str().unwrap();

    let output = deferd(&["pager", "--explain", broken]);
    let said = String::from_utf8(output.stdout).unwrap();
    let (code, none) = pager(&["--preferences", HELLO]);

    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("broken.cpim:2:1: the end of the document, expected a blank line"),
        "{said}"
    );
    assert_eq!(code, 1);
    assert!(none.contains("hello.cpim:1:1:"), "{none}");
    assert_eq!(deferd(&["pager", "--explain", "no-such-file"]).status.code(), Some(2));
}

fn pager(more: &[&str]) -> (i32, String) {
    let output = deferd(&[&["pager", "--explain", HELLO], more].concat());
    let code = output.status.code().unwrap();
    assert!(code < 2, "{}", String::from_utf8_lossy(&output.stderr));
    (code, String::from_utf8(output.stdout).unwrap())
}

fn deferd(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_deferd"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}
