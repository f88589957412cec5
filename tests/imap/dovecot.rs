//! A real Dovecot on the loopback, in processes of its own: started, held, stopped; and asked by hand.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use deferd::edge::imap::{Security, Settings};

/// What a user's store may hold.
const QUOTA: &str = "1M";

/// A server; stopped, and its files removed, when this is dropped.
pub(crate) struct Dovecot {
    pub(crate) directory: PathBuf,
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    child: Option<Child>,
}

impl Dovecot {
    /// A new one, with a user for every number.
    pub(crate) fn start() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        // Not below the target directory: the server's user must reach it, and its sockets' names be short.
        let name = format!("deferd-imap-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&directory);
        let (user, group) = match said("id", &["-un"]).as_str() {
            "root" => ("nobody".to_owned(), "nogroup".to_owned()),
            user => (user.to_owned(), said("id", &["-gn"])),
        };
        for folder in ["run", "state", "mail"] {
            fs::create_dir_all(directory.join(folder)).unwrap();
        }
        if user == "nobody" {
            let mail = directory.join("mail");
            assert!(
                Command::new("chown").arg("nobody:nogroup").arg(mail).status().unwrap().success()
            );
        }
        fs::write(directory.join("masters"), "deferd:{PLAIN}master secret\n").unwrap();
        fs::write(directory.join("password"), "master secret\n").unwrap();
        fs::write(directory.join("own-password"), "own{3}secret\n").unwrap();
        fs::write(directory.join("wrong-password"), "guess\n").unwrap();
        fs::write(directory.join("acls"), "Default/locked owner lrk\n").unwrap();
        certificates(&directory);
        let (port, tls_port) = (free_port(), free_port());
        let mut server = Self { directory, port, tls_port, child: None };
        fs::write(server.directory.join("dovecot.conf"), server.config(&user, &group)).unwrap();
        server.run();
        server
    }

    fn config(&self, user: &str, group: &str) -> String {
        let (at, port, tls_port) = (self.directory.display(), self.port, self.tls_port);
        format!(
            "base_dir = {at}/run\nstate_dir = {at}/state\nlog_path = {at}/log\nprotocols = imap\n\
             listen = 127.0.0.1\ndefault_login_user = {user}\ndefault_internal_user = {user}\n\
             default_internal_group = {group}\nssl = yes\nssl_cert = <{at}/server.pem\n\
             ssl_key = <{at}/server.key\nauth_mechanisms = plain\nauth_master_user_separator = *\n\
             auth_failure_delay = 0\nauth_username_chars = \
             abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01234567890.-_@+\n\
             mail_location = maildir:{at}/mail/%u:LAYOUT=fs\nmail_uid = {user}\nmail_gid = {group}\n\
             first_valid_uid = 1\nmail_plugins = acl quota\nmail_max_userip_connections = 100\n\
             mail_fsync = never\n\
             passdb {{\n  driver = passwd-file\n  args = {at}/masters\n  master = yes\n}}\n\
             passdb {{\n  driver = static\n  args = password=own{{3}}secret\n}}\n\
             userdb {{\n  driver = static\n  args = uid={user} gid={group} home={at}/mail/%u\n}}\n\
             namespace inbox {{\n  inbox = yes\n  separator = /\n}}\n\
             service anvil {{\n  chroot =\n}}\n\
             service imap-login {{\n  chroot =\n  inet_listener imap {{\n    port = {port}\n  }}\n  \
             inet_listener imaps {{\n    port = {tls_port}\n    ssl = yes\n  }}\n}}\n\
             plugin {{\n  acl = vfile:{at}/acls\n  acl_user = %u\n  quota = maildir:user\n  \
             quota_rule = *:storage={QUOTA}\n}}\n"
        )
    }

    /// Starts it, again where it was stopped, and waits until it answers.
    pub(crate) fn run(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let child = Command::new("dovecot")
            .args(["-F", "-c"])
            .arg(self.directory.join("dovecot.conf"))
            .env("PATH", path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.directory.join("stderr")).unwrap())
            // A group of its own, which can be held as a whole.
            .process_group(0)
            .spawn()
            .expect("dovecot: install dovecot-imapd, or run ops/test");
        self.child = Some(child);
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            let said = || self.said();
            assert!(ended.is_none(), "it ended: {}", said());
            assert!(began.elapsed() < Duration::from_secs(30), "it does not start: {}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it has said.
    pub(crate) fn said(&self) -> String {
        let read = |name| fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        read("stderr") + &read("log")
    }

    /// All of its processes hear a signal.
    pub(crate) fn signal(&self, name: &str) {
        if let Some(child) = &self.child {
            let group = format!("-{}", child.id());
            let _ = Command::new("kill").args(["-s", name, "--", &group]).status();
        }
    }

    /// Stops it and all that it started.
    pub(crate) fn stop(&mut self) {
        self.signal("CONT");
        self.signal("TERM");
        let Some(mut child) = self.child.take() else { return };
        let began = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if began.elapsed() > Duration::from_secs(10) {
                let _ = child.kill();
                let _ = child.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // Whoever it left behind: while they live their group is nobody else's.
        let group = format!("-{}", child.id());
        let mut left = Command::new("kill");
        let _ = left.args(["-s", "KILL", "--", &group]).stderr(Stdio::null()).status();
    }

    /// How it is reached without TLS, by the master user.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            server: format!("127.0.0.1:{}", self.port),
            security: Security::Plain,
            login: "{msisdn}*deferd".to_owned(),
            password_file: self.directory.join("password"),
            ..Settings::default()
        }
    }

    /// A connection of a user, by hand.
    pub(crate) fn user(&self, number: &str) -> User {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut user = User { from: BufReader::new(tcp), count: 0 };
        user.line();
        user.say(&format!("LOGIN \"{number}*deferd\" \"master secret\""));
        user
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("{}", self.said());
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A user's own mail program.
pub(crate) struct User {
    from: BufReader<TcpStream>,
    count: u32,
}

impl User {
    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.from.read_line(&mut line).unwrap() > 0, "it hung up");
        line
    }

    /// Says something that must be OK. All that came back.
    pub(crate) fn say(&mut self, command: &str) -> String {
        self.count += 1;
        let tag = format!("t{}", self.count);
        write!(self.from.get_mut(), "{tag} {command}\r\n").unwrap();
        self.answer(&tag, command)
    }

    fn answer(&mut self, tag: &str, command: &str) -> String {
        let mut all = String::new();
        loop {
            let line = self.line();
            if let Some(result) = line.strip_prefix(&format!("{tag} ")) {
                assert!(result.starts_with("OK"), "{command}: {line}");
                return all;
            }
            all.push_str(&line);
        }
    }

    /// Adds a message to a folder, which is made where it is not.
    pub(crate) fn add(&mut self, folder: &str, message: &str) {
        self.count += 1;
        let tag = format!("t{}", self.count);
        let length = message.len();
        write!(self.from.get_mut(), "{tag} APPEND \"{folder}\" {{{length}+}}\r\n{message}\r\n")
            .unwrap();
        self.answer(&tag, "APPEND");
    }

    pub(crate) fn make(&mut self, folder: &str) {
        self.say(&format!("CREATE \"{folder}\""));
    }

    /// The flags of each message of a folder, by UID.
    pub(crate) fn flags(&mut self, folder: &str) -> Vec<(u32, String)> {
        self.say(&format!("EXAMINE \"{folder}\""));
        let said = self.say("UID FETCH 1:* (UID FLAGS)");
        let read = |line: &str| {
            let (_, after) = line.split_once("(UID ")?;
            let (uid, flags) = after.split_once(" FLAGS (")?;
            Some((
                uid.parse().ok()?,
                flags.trim_end().trim_end_matches("))").replace("\\Recent", ""),
            ))
        };
        said.lines().filter_map(read).map(|(uid, flags)| (uid, flags.trim().to_owned())).collect()
    }
}

/// A certificate of our own authority for 127.0.0.1, and another authority that signed nothing.
fn certificates(at: &Path) {
    let script = "set -e
        new='openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
        $new -x509 -days 2 -subj /CN=ours -keyout ca.key -out ca.pem
        $new -x509 -days 2 -subj /CN=other -keyout other.key -out other.pem
        $new -subj /CN=server -keyout server.key -out server.csr
        printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth\\n' > server.ext
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
            -extfile server.ext -out server.pem";
    let made = Command::new("sh").args(["-c", script]).current_dir(at).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Where administrators' programs are, too.
fn path() -> String {
    format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default())
}

fn said(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
