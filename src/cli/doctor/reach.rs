//! How the daemon is reached: its port, its token, and whether it is there.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::Finding;
use crate::cli::config::{Config, Http};

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// A token that is shorter can be guessed.
const SHORT: usize = 16;

pub(super) fn look(config: &Config) -> Vec<Finding> {
    let http = &config.http;
    let mut findings = vec![port(http)];
    let is_set = |path: &Path| !path.as_os_str().is_empty();
    if is_set(&http.token_file) {
        findings.push(token("token", &http.token_file));
    } else if http.listen.ip().is_loopback() {
        findings.push(Finding::ok("token", "none; only this machine can ask"));
    } else {
        let says = format!("none, and it listens on {}", http.listen);
        findings.push(Finding::bad("token", says, "set http.token_file, or listen on 127.0.0.1"));
    }
    if is_set(&config.sinks.webhook_token_file) {
        findings.push(token("webhook token", &config.sinks.webhook_token_file));
    }
    findings
}

fn port(http: &Http) -> Finding {
    const CHECK: &str = "port";
    let listen = http.listen;
    match TcpListener::bind(listen) {
        Ok(_) => Finding::ok(CHECK, format!("{listen} is free: no daemon runs there")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => match get(http, "/livez") {
            Ok((200, _)) => Finding::ok(CHECK, format!("deferd answers on {listen}")),
            _ => {
                let says = format!("{listen} is taken, and not by a deferd that is alive");
                Finding::bad(CHECK, says, "find out by whom: ss -ltnp; or choose another port")
            }
        },
        Err(error) => {
            let says = format!("cannot listen on {listen}: {error}");
            Finding::bad(CHECK, says, "choose an address of this machine and a port above 1023")
        }
    }
}

fn token(check: &'static str, path: &Path) -> Finding {
    let shown = path.display();
    let mode = match fs::metadata(path) {
        Ok(meta) => meta.permissions().mode() & 0o7777,
        Err(error) => {
            let advice = format!("(umask 077; openssl rand -hex 32 > {shown})");
            return Finding::bad(check, format!("{shown}: {error}"), advice);
        }
    };
    if mode & 0o004 != 0 {
        let says = format!("{shown}: everybody may read it, mode {mode:o}");
        return Finding::bad(check, says, format!("chmod o= {shown}, and make a new token"));
    }
    match fs::read_to_string(path).map(|token| token.trim().len()) {
        Ok(0) => Finding::bad(check, format!("{shown} is empty"), "put a token in it"),
        Ok(length) if length < SHORT => {
            let says = format!("{shown}: {length} characters");
            Finding::warning(check, says, "too short: openssl rand -hex 32")
        }
        Ok(_) => Finding::ok(check, format!("{shown}, mode {mode:o}")),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let says = format!("{shown} is not for this user to read");
            Finding::unknown(check, says, "run this as the daemon's user")
        }
        Err(error) => Finding::bad(check, format!("{shown}: {error}"), "put a token in it"),
    }
}

/// Asks the daemon that listens there: the status, and the body.
pub(super) fn get(http: &Http, path: &str) -> Result<(u16, String), String> {
    let at = reached_at(http.listen);
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        // A proxy of the environment is for other people's servers.
        .proxy(None)
        .build();
    let mut request = ureq::Agent::new_with_config(config).get(format!("http://{at}{path}"));
    if let Ok(token) = fs::read_to_string(&http.token_file) {
        request = request.header("authorization", format!("Bearer {}", token.trim()));
    }
    let mut response = request.call().map_err(|error| format!("{at}: {error}"))?;
    let body = response.body_mut().read_to_string().map_err(|error| format!("{at}: {error}"))?;
    Ok((response.status().as_u16(), body))
}

/// Where one that listens on every address is reached from here.
fn reached_at(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::cli::doctor::Verdict;

    /// A server that says the same to whoever asks, once for each of `times`.
    fn server(answer: &'static str, times: usize) -> (Http, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let http = Http { listen: listener.local_addr().expect("an address"), ..Http::default() };
        let thread = std::thread::spawn(move || {
            let serve = |_| {
                let (mut stream, _) = listener.accept().expect("a client");
                let mut asked = [0; 1024];
                let length = stream.read(&mut asked).expect("a request");
                stream.write_all(answer.as_bytes()).expect("an answer");
                String::from_utf8_lossy(asked.get(..length).unwrap_or_default()).into_owned()
            };
            (0..times).map(serve).collect()
        });
        (http, thread)
    }

    #[test]
    fn a_daemon_that_answers_is_ours() {
        let (http, thread) = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 1);
        assert_eq!(port(&http), Finding::ok("port", format!("deferd answers on {}", http.listen)));
        let asked = thread.join().expect("it served");
        assert!(
            asked.iter().all(|asked| asked.starts_with("GET /livez HTTP/1.1\r\n")),
            "{asked:?}"
        );
    }

    #[test]
    fn a_port_that_another_has_is_bad() {
        let (http, thread) = server("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", 1);
        assert_eq!(port(&http).verdict, Verdict::Bad);
        thread.join().expect("it served");
    }

    #[test]
    fn who_listens_everywhere_is_reached_here() {
        let at = |listen: &str| reached_at(listen.parse().expect("an address")).to_string();
        assert_eq!(at("0.0.0.0:7373"), "127.0.0.1:7373");
        assert_eq!(at("[::]:7373"), "[::1]:7373");
        assert_eq!(at("10.1.2.3:7373"), "10.1.2.3:7373");
    }

    #[test]
    fn an_open_address_wants_a_token() {
        let mut config = Config::default();
        config.http.listen = "0.0.0.0:0".parse().expect("an address");
        let found = look(&config);
        let token =
            found.iter().find(|finding| finding.check == "token").expect("it was looked at");
        assert_eq!(token.verdict, Verdict::Bad);
    }

    #[test]
    fn a_token_is_secret_and_long() {
        let path = std::env::temp_dir().join(format!("deferd-token-{}", std::process::id()));
        let verdict = |content: &str, mode| {
            fs::write(&path, content).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
            token("token", &path).verdict
        };
        assert_eq!(verdict("0123456789abcdef\n", 0o600), Verdict::Ok);
        assert_eq!(verdict("0123456789abcdef\n", 0o440), Verdict::Ok);
        assert_eq!(verdict("0123456789abcdef\n", 0o644), Verdict::Bad);
        assert_eq!(verdict("short\n", 0o600), Verdict::Warning);
        assert_eq!(verdict(" \n", 0o600), Verdict::Bad);
        fs::remove_file(&path).expect("removed");
        assert_eq!(token("token", &path).verdict, Verdict::Bad);
    }
}
