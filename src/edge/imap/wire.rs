//! A connection to an IMAP server: opened, secured, logged in; asked one thing after the other.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a server may say anything at any time: what was not asked for is passed over"
)]

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_imap::imap_proto::rfc4315::UidSetMember;
use async_imap::imap_proto::{
    Capability, MailboxDatum, NameAttribute, Outcome, Response, ResponseCode, Status,
};
use async_imap::{Authenticator, Client, Session};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{Security, SetupError, Stage};
use crate::edge::store::StoreError;

/// The most octets of answers to one command.
const ANSWERS: u64 = 16 << 20;
/// What is kept of a server's words.
const WORDS: usize = 200;

/// An error of this kind, with the server's words.
type Make = fn(String) -> StoreError;

/// Why a command did not do what it was for.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection is no good any more.
    Gone(String),
    /// The server says no, and the connection goes on.
    No(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::No(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Gone(short(&error.to_string()))
    }
}

impl From<async_imap::error::Error> for Failure {
    fn from(error: async_imap::error::Error) -> Self {
        Self::Gone(short(&error.to_string()))
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Gone(why) => Self::Unavailable(why),
            Failure::No(error) => error,
        }
    }
}

/// A server's words, as a log line and a journal may have them.
fn short(words: &str) -> String {
    words.chars().filter(|c| !c.is_control()).take(WORDS).collect()
}

/// Where the server is, and how it is spoken to.
#[derive(Debug)]
pub(super) struct Door {
    host: String,
    port: u16,
    security: Security,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Door {
    pub(super) fn new(
        server: &str,
        security: Security,
        ca_file: &Path,
        plain_anywhere: bool,
    ) -> Result<Self, SetupError> {
        let wrong = || SetupError::Server(server.to_owned());
        let (host, port) = server.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().map_err(|_| wrong())?;
        if host.is_empty() || port == 0 {
            return Err(wrong());
        }
        let is_loopback =
            host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        let tls = if security == Security::Plain {
            if !is_loopback && !plain_anywhere {
                return Err(SetupError::Plain(server.to_owned()));
            }
            None
        } else {
            let name = ServerName::try_from(host.to_owned()).map_err(|_| wrong())?;
            Some((trusting(ca_file)?, name))
        };
        Ok(Self { host: host.to_owned(), port, security, tls })
    }

    /// A connection, its greeting read, ready for a login. `stage`: how far it has come.
    async fn connect(&self, stage: &mut Stage) -> Result<Client<Wire>, Failure> {
        *stage = Stage::Reach;
        let tcp = TcpStream::connect((&*self.host, self.port)).await?;
        tcp.set_nodelay(true)?;
        let Some((config, name)) = &self.tls else {
            *stage = Stage::Greeting;
            return greeted(Wire::new(Line::Plain(tcp))).await;
        };
        let tcp = match self.security {
            Security::Starttls => {
                *stage = Stage::Greeting;
                let mut client = greeted(Wire::new(Line::Plain(tcp))).await?;
                *stage = Stage::Starttls;
                let asked = client.run_command_and_check_ok("STARTTLS", None).await;
                asked.map_err(|_| denied("it does not speak STARTTLS"))?;
                // Whatever it said ahead of TLS is dropped with the client.
                match client.into_inner().line {
                    Line::Plain(tcp) => tcp,
                    Line::Tls(_) => return Err(denied("it speaks TLS already")),
                }
            }
            Security::Tls | Security::Plain => tcp,
        };
        *stage = Stage::Tls;
        let connector = TlsConnector::from(Arc::clone(config));
        let tls =
            connector.connect(name.clone(), tcp).await.map_err(|error| match error.get_ref() {
                // A certificate that we do not trust will not get better by waiting.
                Some(_) => denied(&format!("TLS: {error}")),
                None => Failure::from(error),
            })?;
        let wire = Wire::new(Line::Tls(Box::new(tls)));
        if self.security == Security::Starttls {
            return Ok(Client::new(wire));
        }
        *stage = Stage::Greeting;
        greeted(wire).await
    }

    /// Whether a connection gets that far.
    pub(super) async fn knock(&self, stage: &mut Stage) -> Result<(), Failure> {
        self.connect(stage).await.map(drop)
    }

    /// A connection that is logged in. `stage`: how far it has come.
    pub(super) async fn open(
        &self,
        login: &str,
        password: &str,
        stage: &mut Stage,
    ) -> Result<Connection, Failure> {
        let client = self.connect(stage).await?;
        *stage = Stage::Login;
        let session = client
            .authenticate("PLAIN", Plain(format!("\0{login}\0{password}")))
            .await
            .map_err(|(error, _)| match error {
            async_imap::error::Error::No(why) => no(&why).unwrap_or_else(|| denied(&why)),
            async_imap::error::Error::Bad(why) => denied(&why),
            other => Failure::from(other),
        })?;
        let mut connection =
            Connection { session, selected: None, delimiter: '/', has_uidplus: false };
        connection.learn().await?;
        Ok(connection)
    }
}

fn denied(why: &str) -> Failure {
    Failure::No(StoreError::Denied(short(why)))
}

/// Trusts the certificates of a file, and nobody else.
fn trusting(ca_file: &Path) -> Result<Arc<ClientConfig>, SetupError> {
    let wrong = |why: String| SetupError::CaFile { path: ca_file.to_owned(), why };
    let mut roots = RootCertStore::empty();
    let all = CertificateDer::pem_file_iter(ca_file).map_err(|error| wrong(error.to_string()))?;
    for one in all {
        // Bundles hold certificates that are of no use to us: one good one is enough.
        let _ = roots.add(one.map_err(|error| wrong(error.to_string()))?);
    }
    if roots.is_empty() {
        return Err(wrong("no certificate in it".into()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

async fn greeted(wire: Wire) -> Result<Client<Wire>, Failure> {
    let mut client = Client::new(wire);
    let greeting = client.read_response().await?;
    let greeting = greeting.ok_or_else(|| Failure::Gone("it hangs up without a word".into()))?;
    match greeting.parsed() {
        Response::Data { status: Status::Ok, .. } => Ok(client),
        other => Err(Failure::Gone(short(&format!("it greets us with {other:?}")))),
    }
}

/// SASL PLAIN (RFC 4616): a password of any characters, and none of them in a command.
struct Plain(String);

impl Authenticator for Plain {
    type Response = String;

    fn process(&mut self, _challenge: &[u8]) -> String {
        std::mem::take(&mut self.0)
    }
}

/// A connection of a user.
#[derive(Debug)]
pub(super) struct Connection {
    session: Session<Wire>,
    /// The folder that is selected, and whether it may be changed.
    selected: Option<(String, bool)>,
    /// What stands between the names of a path.
    pub(super) delimiter: char,
    /// It can expunge messages by UID.
    pub(super) has_uidplus: bool,
}

impl Connection {
    /// What this server is like.
    async fn learn(&mut self) -> Result<(), Failure> {
        let (mut delimiter, mut has_uidplus) = (None, false);
        self.ask("CAPABILITY", |response| {
            if let Response::Capabilities(all) = response {
                has_uidplus = all
                    .iter()
                    .any(|one| matches!(one, Capability::Atom(name) if name == "UIDPLUS"));
            }
        })
        .await?;
        self.ask("LIST \"\" \"\"", |response| {
            if let Response::MailboxData(MailboxDatum::List(list)) = response {
                delimiter = list.delimiter.as_ref().and_then(|text| text.chars().next());
            }
        })
        .await?;
        self.delimiter = delimiter.unwrap_or('/');
        self.has_uidplus = has_uidplus;
        Ok(())
    }

    /// Whether it can be used as it is: the server has neither hung up nor said anything.
    pub(super) fn is_quiet(&self) -> bool {
        let tcp = match &self.session.get_ref().line {
            Line::Plain(tcp) => tcp,
            Line::Tls(tls) => tls.get_ref().0,
        };
        let mut byte = [0];
        let error = tcp.try_read(&mut byte).err();
        error.is_some_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Says something, and hears all answers to it. What is said was made by [`super::say`].
    async fn ask(
        &mut self,
        command: &str,
        each: impl FnMut(&Response<'_>) + Send,
    ) -> Result<(), Failure> {
        self.ask_or(command, StoreError::Unavailable, each).await
    }

    /// The same; `unclear` is what a NO without a reason means.
    async fn ask_or(
        &mut self,
        command: &str,
        unclear: Make,
        each: impl FnMut(&Response<'_>) + Send,
    ) -> Result<(), Failure> {
        assert!(!command.contains(['\r', '\n', '\0']), "a command is one line: {command:?}");
        self.session.get_mut().left = ANSWERS;
        let tag = self.session.run_command(command).await?;
        self.hear(&tag.0, unclear, each).await
    }

    async fn hear(
        &mut self,
        tag: &str,
        unclear: Make,
        mut each: impl FnMut(&Response<'_>) + Send,
    ) -> Result<(), Failure> {
        loop {
            let data = self.session.read_response().await?.ok_or_else(hung_up)?;
            match data.parsed() {
                Response::Done { tag: of, status, outcome } if of.0 == tag => {
                    each(data.parsed());
                    return judge(status, outcome, unclear);
                }
                Response::Data { status: Status::Bye, outcome } => return Err(bye(outcome)),
                other => each(other),
            }
        }
    }

    /// Opens a folder, which [`super::say::folder`] made; to change it, or only to look.
    pub(super) async fn select(&mut self, folder: &str, to_change: bool) -> Result<(), Failure> {
        if self.selected.as_ref().is_some_and(|(name, may)| name == folder && (*may || !to_change))
        {
            return Ok(());
        }
        let verb = if to_change { "SELECT" } else { "EXAMINE" };
        // A SELECT that fails leaves nothing selected.
        self.selected = None;
        let quoted = super::say::quoted(folder)?;
        // Dovecot says NO in words only where there is no such folder.
        self.ask_or(&format!("{verb} {quoted}"), StoreError::NotFound, |_| {}).await?;
        self.selected = Some((folder.to_owned(), to_change));
        Ok(())
    }

    /// The folder has to be opened again, before what is in it is known anew.
    pub(super) fn forget_folder(&mut self) {
        self.selected = None;
    }

    /// Makes a folder, and those above it.
    pub(super) async fn create(&mut self, folder: &str) -> Result<(), Failure> {
        let quoted = super::say::quoted(folder)?;
        self.ask(&format!("CREATE {quoted}"), |_| {}).await
    }

    /// The folders below `root`, and it, as far as they hold messages; at most so many.
    pub(super) async fn folders(
        &mut self,
        root: &str,
        most: usize,
    ) -> Result<Vec<String>, Failure> {
        let below = format!("{root}{}", self.delimiter);
        let pattern = super::say::quoted(&format!("{root}*"))?;
        let mut all = Vec::new();
        self.ask(&format!("LIST \"\" {pattern}"), |response| {
            if let Response::MailboxData(MailboxDatum::List(list)) = response {
                let is_one = *list.name == *root || list.name.starts_with(&below);
                let is_shut = list.name_attributes.iter().any(|attribute| match attribute {
                    NameAttribute::NoSelect => true,
                    NameAttribute::Extension(name) => name.eq_ignore_ascii_case("\\NonExistent"),
                    _ => false,
                });
                if is_one && !is_shut && all.len() < most {
                    all.push(list.name.to_string());
                }
            }
        })
        .await?;
        Ok(all)
    }

    /// The UIDs that a search finds in the open folder, in order.
    pub(super) async fn search(&mut self, terms: &str) -> Result<Vec<u32>, Failure> {
        let mut uids = Vec::new();
        self.ask(&format!("UID SEARCH {terms}"), |response| {
            if let Response::MailboxData(MailboxDatum::Search(found)) = response {
                uids.extend(found);
            }
        })
        .await?;
        uids.sort_unstable();
        uids.dedup();
        Ok(uids)
    }

    /// Fetches something of messages in the open folder.
    pub(super) async fn fetch(
        &mut self,
        uids: &[u32],
        what: &str,
        each: impl FnMut(&Response<'_>) + Send,
    ) -> Result<(), Failure> {
        self.ask(&format!("UID FETCH {} {what}", set(uids)), each).await
    }

    /// Adds flags to messages in the open folder. That it says OK means little; what it shows means more.
    pub(super) async fn add_flags(
        &mut self,
        uids: &[u32],
        flags: &str,
        each: impl FnMut(&Response<'_>) + Send,
    ) -> Result<(), Failure> {
        self.ask(&format!("UID STORE {} +FLAGS ({flags})", set(uids)), each).await
    }

    /// Removes one message that is flagged `\Deleted`, and no other.
    pub(super) async fn expunge(&mut self, uid: u32) -> Result<(), Failure> {
        self.ask(&format!("UID EXPUNGE {uid}"), |_| {}).await
    }

    /// Adds a message to a folder. Its UID, where the server says so.
    pub(super) async fn append(
        &mut self,
        folder: &str,
        flags: &str,
        content: &[u8],
    ) -> Result<Option<u32>, Failure> {
        let quoted = super::say::quoted(folder)?;
        self.session.get_mut().left = ANSWERS;
        let command = format!("APPEND {quoted} ({flags}) {{{}}}", content.len());
        let tag = self.session.run_command(command).await?;
        loop {
            let data = self.session.read_response().await?.ok_or_else(hung_up)?;
            match data.parsed() {
                Response::Continue(_) => break,
                Response::Done { tag: of, status, outcome } if *of == tag => {
                    judge(status, outcome, StoreError::Unavailable)?;
                    return Err(Failure::Gone("it took a message before it was sent".into()));
                }
                Response::Data { status: Status::Bye, outcome } => return Err(bye(outcome)),
                _ => {}
            }
        }
        let wire = self.session.get_mut();
        wire.write_all(content).await?;
        wire.write_all(b"\r\n").await?;
        wire.flush().await?;
        let mut uid = None;
        self.hear(&tag.0, StoreError::Unavailable, |response| {
            if let Response::Done { outcome, .. } = response
                && let Some(ResponseCode::AppendUid(_, uids)) = &outcome.code
                && let [one] = uids.as_slice()
            {
                uid = match one {
                    UidSetMember::Uid(uid) => Some(*uid),
                    UidSetMember::UidRange(range) => Some(*range.start()),
                };
            }
        })
        .await?;
        Ok(uid)
    }
}

fn hung_up() -> Failure {
    Failure::Gone("the server hung up".into())
}

/// UIDs as a set.
fn set(uids: &[u32]) -> String {
    uids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// What the end of a command means.
fn judge(status: &Status, outcome: &Outcome<'_>, unclear: Make) -> Result<(), Failure> {
    let words = outcome.information.as_deref().unwrap_or_default();
    match status {
        Status::Ok => Ok(()),
        Status::No => Err(match &outcome.code {
            Some(ResponseCode::TryCreate) => Failure::No(StoreError::NotFound(short(words))),
            Some(ResponseCode::ReadOnly) => denied(words),
            _ => no(words).unwrap_or_else(|| Failure::No(unclear(short(words)))),
        }),
        Status::Bad => Err(Failure::No(StoreError::Invalid(short(words)))),
        Status::PreAuth | Status::Bye => Err(bye(outcome)),
    }
}

/// A NO with one of the codes of RFC 5530 and RFC 9208.
fn no(words: &str) -> Option<Failure> {
    const CODES: [(&str, Make); 14] = [
        ("[OVERQUOTA]", StoreError::Full),
        ("[LIMIT]", StoreError::Full),
        ("[AUTHENTICATIONFAILED]", StoreError::Denied),
        ("[AUTHORIZATIONFAILED]", StoreError::Denied),
        ("[EXPIRED]", StoreError::Denied),
        ("[PRIVACYREQUIRED]", StoreError::Denied),
        ("[CONTACTADMIN]", StoreError::Denied),
        ("[NOPERM]", StoreError::Denied),
        ("[NONEXISTENT]", StoreError::NotFound),
        ("[TRYCREATE]", StoreError::NotFound),
        ("[CANNOT]", StoreError::Invalid),
        ("[UNAVAILABLE]", StoreError::Unavailable),
        ("[INUSE]", StoreError::Unavailable),
        ("[SERVERBUG]", StoreError::Unavailable),
    ];
    let (_, make) = CODES.iter().find(|(code, _)| words.contains(code))?;
    Some(Failure::No(make(short(words))))
}

fn bye(outcome: &Outcome<'_>) -> Failure {
    let words = outcome.information.as_deref().unwrap_or_default();
    Failure::Gone(short(&format!("the server says bye: {words}")))
}

/// The octets of a connection, with a limit on what comes in. What goes out goes when it is flushed, a
/// command in one packet.
#[derive(Debug)]
struct Wire {
    line: Line,
    /// How much may still come, for this command.
    left: u64,
    /// What is to go out, and how much of it has.
    out: Vec<u8>,
    gone: usize,
}

#[derive(Debug)]
enum Line {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    fn new(line: Line) -> Self {
        Self { line, left: ANSWERS, out: Vec::new(), gone: 0 }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::other("its answers are too long")));
        }
        let before = buffer.filled().len();
        let polled = match &mut self.line {
            Line::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Line::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        };
        let read = buffer.filled().len() - before;
        self.left = self.left.saturating_sub(read as u64);
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.out.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { line, out, gone, .. } = &mut *self;
        while let Some(rest) = out.get(*gone..).filter(|rest| !rest.is_empty()) {
            let written = match line {
                Line::Plain(tcp) => ready!(Pin::new(tcp).poll_write(cx, rest))?,
                Line::Tls(tls) => ready!(Pin::new(tls).poll_write(cx, rest))?,
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *gone += written;
        }
        out.clear();
        *gone = 0;
        match line {
            Line::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Line::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.line {
            Line::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Line::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
