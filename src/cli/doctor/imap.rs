//! Where `imap.server` is set: is the users' message store there, does it speak as it is to, and may we
//! log in?

use std::time::Duration;

use super::kafka::secret;
use super::{Finding, Verdict};
use crate::cli::config::{Imap, ImapSecurity};
use crate::domain::address::{Address, Home};
use crate::edge::imap::Stage;
use crate::edge::store::StoreError;

const CHECK: &str = "imap";
const LOGIN: &str = "imap login";
/// The longest that somebody at a terminal waits for a server.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn look(imap: &Imap, user: Option<&str>, home: &Home) -> Vec<Finding> {
    if imap.server.is_empty() {
        let none = "there is no store to log in at";
        let none = Finding::unknown(LOGIN, none, "set imap.server, or leave --user out");
        return user.map(|_| none).into_iter().collect();
    }
    let user = match user.map(|user| Address::parse(user, home)).transpose() {
        Ok(user) => user,
        Err(error) => {
            let says = format!("--user: {error}");
            return vec![Finding::bad(LOGIN, says, "write it as +15145550100, or as a SIP URI")];
        }
    };
    let mut findings: Vec<Finding> =
        secret(CHECK, "imap.password_file", &imap.password_file).into_iter().collect();
    findings.extend(knock(imap, user.as_ref()));
    findings
}

fn knock(imap: &Imap, user: Option<&Address>) -> Vec<Finding> {
    let store = match imap.store() {
        Ok(Some(store)) => store,
        Ok(None) => return Vec::new(),
        Err(error) => {
            let advice = "mend that key or file; nobody was asked";
            return vec![Finding::bad(CHECK, error.to_string(), advice)];
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let says = format!("nobody was asked: {error}");
            return vec![Finding::unknown(CHECK, says, "see what this machine is short of")];
        }
    };
    let patience = PATIENCE.min(Duration::from_secs(imap.timeout_seconds.into()));
    let ended = runtime.block_on(store.knock(user, patience));
    // Whoever asks for an address may take longer than we wait.
    runtime.shutdown_background();

    let server = &imap.server;
    let answers = || {
        let how = match imap.security {
            ImapSecurity::Tls => " over TLS",
            ImapSecurity::Starttls => " over TLS, by STARTTLS",
            ImapSecurity::Plain => ", in clear",
        };
        Finding::ok(CHECK, format!("{server} speaks IMAP{how}"))
    };
    match (ended, user) {
        (Ok(()), Some(user)) => vec![answers(), Finding::ok(LOGIN, format!("{user} is let in"))],
        (Ok(()), None) => {
            let says = "was not tried, as it takes a user";
            vec![answers(), Finding::unknown(LOGIN, says, "deferd doctor --user +15145550100")]
        }
        (Err((Stage::Login, error)), _) => {
            let says = format!("{server}: {error}");
            vec![answers(), Finding::new(Verdict::Bad, LOGIN, says, at_login(&error))]
        }
        (Err((stage, error)), _) => {
            let says = format!("{server}: {error}");
            vec![Finding::bad(CHECK, says, on_the_way(stage, imap.security, &error))]
        }
    }
}

/// What to do about one who does not let us in.
fn at_login(error: &StoreError) -> &'static str {
    match error {
        StoreError::Denied(_) => "mend imap.login, or the password in imap.password_file",
        StoreError::Invalid(_) => "ask with a user of another form, or mend imap.login",
        StoreError::Unavailable(_) | StoreError::NotFound(_) | StoreError::Full(_) => {
            "look into the server's own log"
        }
    }
}

/// What to do about one who is not there, or speaks otherwise.
fn on_the_way(stage: Stage, security: ImapSecurity, error: &StoreError) -> &'static str {
    match stage {
        Stage::Reach => {
            "see whether it runs, and whether a firewall is between; or mend imap.server"
        }
        Stage::Greeting if security == ImapSecurity::Tls => {
            "another service than IMAP is there: mend the port in imap.server"
        }
        Stage::Greeting => {
            "another service than IMAP is there, or it wants TLS at once: mend the port in \
             imap.server, or set imap.security to tls"
        }
        Stage::Starttls => {
            "have the server offer STARTTLS; or set imap.security to tls, and the port to that of IMAPS"
        }
        Stage::Tls if error.to_string().contains("certificate") => {
            "name who vouches for it in imap.ca_file, and the server in imap.server as its certificate \
             does"
        }
        Stage::Tls => {
            "it speaks no TLS there: set imap.security to starttls, or the port to that of IMAPS"
        }
        Stage::Login => at_login(error),
    }
}
