//! `deferd doctor` and `deferd config check` on the keys of `[imap]`: what is wrong, and what to do.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::NUMBER;
use super::dovecot::Dovecot;

#[test]
fn a_store_that_is_there_and_lets_us_in() {
    let server = Dovecot::start();
    let by_master = |more: &str| Looked::at(&server, server.port, "plain", "password", more);
    let (plain, tls) = (server.port, server.tls_port);

    let unasked = by_master("");
    unasked.says("imap", "ok", "speaks IMAP, in clear", "");
    unasked.says("imap login", "unknown", "takes a user", "deferd doctor --user");
    assert!(unasked.is_content());
    let asked = by_master("--user 0015145550100");
    asked.says("imap login", "ok", "tel:+15145550100 is let in", "");
    assert!(asked.is_content());
    for (port, security, how) in [(tls, "tls", " over TLS"), (plain, "starttls", "by STARTTLS")] {
        let looked = Looked::at(&server, port, security, "own-password", "--user +15145550100");
        looked.says("imap", "ok", how, "");
        looked.says("imap login", "ok", NUMBER, "");
    }

    let wrong = Looked::at(&server, plain, "plain", "wrong-password", "--user +15145550100");
    wrong.says("imap", "ok", "speaks IMAP", "");
    wrong.says("imap login", "bad", "AUTHENTICATIONFAILED", "the password in imap.password_file");
    assert!(!wrong.is_content());
    by_master("--user 12").says("imap login", "bad", "--user: a short code", "+15145550100");
    by_master("--user sip:bob@example.org").says("imap login", "bad", "{msisdn}", "another form");
    let open = server.directory.join("open-password");
    std::fs::copy(server.directory.join("password"), &open).unwrap();
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o644)).unwrap();
    by_master(&format!("--set imap.password_file={}", open.display())).says(
        "imap",
        "bad",
        "everybody may read",
        "chmod o=",
    );
}

/// Each with what to do, and in its time.
#[test]
fn a_store_that_is_not_there_or_speaks_otherwise() {
    let server = Dovecot::start();
    let look = |port, security, more: &str| Looked::at(&server, port, security, "password", more);
    let (plain, tls) = (server.port, server.tls_port);

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    look(nobody, "plain", "").says("imap", "bad", "refused", "whether it runs");
    let far = "--set imap.server=192.0.2.1:993 --set imap.timeout_seconds=1";
    look(tls, "tls", far).says("imap", "bad", "192.0.2.1:993: ", "a firewall is between");
    let unknown = "--set imap.server=no-such-host.invalid:993 --set imap.timeout_seconds=2";
    look(tls, "tls", unknown).says("imap", "bad", "no-such-host", "mend imap.server");

    let other = format!("--set imap.ca_file={}", server.directory.join("other.pem").display());
    look(tls, "tls", &other).says("imap", "bad", "certificate", "in imap.ca_file");
    look(plain, "starttls", &other).says("imap", "bad", "certificate", "in imap.ca_file");
    look(plain, "tls", "").says("imap", "bad", "TLS", "set imap.security to starttls");
    // It waits for us to begin.
    let began = Instant::now();
    let silent = look(tls, "plain", "--set imap.timeout_seconds=1");
    silent.says("imap", "bad", "no answer in 1 s", "set imap.security to tls");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());

    let mail = says_always("220 mail.example ESMTP");
    look(mail, "plain", "").says("imap", "bad", "not available", "another service than IMAP");
    let bare = says_always("* OK here");
    look(bare, "starttls", "").says("imap", "bad", "STARTTLS", "have the server offer STARTTLS");

    // No word of IMAP from it, though it is the user that is wrong too.
    let stranger = look(nobody, "plain", "--user sip:bob@example.org");
    stranger.says("imap", "bad", "refused", "");

    let none = Looked::with(&["--user", NUMBER]);
    none.says("imap login", "unknown", "no store", "set imap.server");
    assert!(none.findings.iter().all(|found| found["check"] != "imap"));
    let unread = look(plain, "plain", "--set imap.password_file=/none");
    unread.says("imap", "bad", "holds no password", "nobody was asked");
}

/// What would keep `deferd run` from starting.
#[test]
fn the_check_says_what_a_start_would() {
    let check = |sets: &[&str]| {
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        let command = ["config", "check"].into_iter().chain(sets);
        let output = Command::new(env!("CARGO_BIN_EXE_deferd")).args(command).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    for (sets, says) in [
        (&["imap.server=192.0.2.1:143", "imap.security=plain"][..], "imap.plain_anywhere"),
        (&["imap.server=127.0.0.1:143", "imap.security=plain"], "holds no password"),
        (&["imap.server=127.0.0.1:993", "imap.ca_file=/none"], "imap.ca_file: /none"),
        (
            &["imap.server=127.0.0.1:143", "imap.security=plain", "imap.login=all"],
            "imap.folder needs {msisdn} or {user}",
        ),
    ] {
        let (code, said) = check(sets);
        assert_eq!(code, Some(1), "{sets:?}: {said}");
        assert!(said.contains(says), "{sets:?}: {said}");
    }
    assert_eq!(check(&["imap.ca_file=/none"]).0, Some(0), "there is no store");
}

/// What doctor found.
struct Looked {
    findings: Vec<Value>,
    code: Option<i32>,
}

impl Looked {
    /// Of a server of ours, reached at this port; `more` as it is typed.
    fn at(server: &Dovecot, port: u16, security: &str, password: &str, more: &str) -> Self {
        let at = |name: &str| server.directory.join(name);
        let secret = at(password);
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
        let login = if password == "own-password" { "{msisdn}" } else { "{msisdn}*deferd" };
        let shown = |path: &Path| path.display().to_string();
        let sets = [
            format!("imap.server=127.0.0.1:{port}"),
            format!("imap.security={security}"),
            format!("imap.login={login}"),
            format!("imap.password_file={}", shown(&secret)),
            format!("imap.ca_file={}", shown(&at("ca.pem"))),
        ];
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        Self::with(&sets.chain(more.split_whitespace()).collect::<Vec<_>>())
    }

    fn with(more: &[&str]) -> Self {
        // Where there is none, none is made.
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join("imap-doctor/none");
        let output = Command::new(env!("CARGO_BIN_EXE_deferd"))
            .args(["doctor", "--output", "json", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&data)
            .args(more)
            .output()
            .unwrap();
        let findings = serde_json::from_slice(&output.stdout);
        let findings = findings.unwrap_or_else(|error| panic!("{error}: {output:?}"));
        Self { findings, code: output.status.code() }
    }

    fn is_content(&self) -> bool {
        self.code == Some(0)
    }

    /// One of the findings of this check is so, and advises that.
    #[track_caller]
    fn says(&self, check: &str, verdict: &str, says: &str, advice: &str) {
        let has = |found: &Value, key: &str, part: &str| {
            found[key].as_str().unwrap_or_default().contains(part)
        };
        let is_it = |found: &&Value| {
            found["check"] == check
                && found["verdict"] == verdict
                && has(found, "says", says)
                && has(found, "do", advice)
        };
        assert!(self.findings.iter().any(|found| is_it(&found)), "{says}: {:#?}", self.findings);
    }
}

/// A port where a service greets whoever comes with these words, and says BAD to what it hears.
fn says_always(words: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        write!(client, "{words}\r\n").unwrap();
        let mut heard = String::new();
        let _ = BufReader::new(client.try_clone().unwrap()).read_line(&mut heard);
        let tag = heard.split(' ').next().unwrap_or_default();
        let _ = write!(client, "{tag} BAD what?\r\n");
    });
    port
}
