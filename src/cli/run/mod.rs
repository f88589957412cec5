//! `deferd run`: the daemon. Everything is opened here, in order, and closed in the opposite one.

mod embedded;
mod feed;
mod group;
mod host;
mod keeper;
mod logging;
mod seen;
mod shards;
pub(super) mod signals;
mod sinks;
mod switches;
mod tidy;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use sd_notify::NotifyState;

use self::embedded::Waits;
use self::host::Daemon;
use self::shards::{Shards, World};
use self::signals::{Order, Orders};
use self::sinks::{Sent, Sinks};
use self::switches::Switches;
use super::clock::{SteadyClock, WallClock};
use super::config::{Config, ConfigError, Loaded, LogKind};
use super::lines::Lines;
use super::measures::{self, Registry};
use super::{Answer, BadConfig, args, settings};
use crate::domain::address::Home;
use crate::edge::front::{Front, canonical};
use crate::edge::http::{self, Feeds, ROUTES, Site, Token};
use crate::edge::imap::Imap;
use crate::edge::reach::Reach;
use crate::edge::sink;
use crate::edge::store::MessageStore;
use crate::engine::intake::Intake;
use crate::engine::ports::Clock;
use crate::engine::shard::Desks;
use crate::engine::tail::Journals;
use crate::log::embedded::{Directory, Inboxes, Lock};
use crate::log::kafka::Post;

/// How often the daemon looks at itself.
const TICK: Duration = Duration::from_secs(1);

/// Reads the configuration again.
type Load<'a> = &'a dyn Fn() -> Result<Loaded, ConfigError>;

/// What the daemon works on.
struct Backend {
    shards: Arc<Shards>,
    intake: Arc<dyn Intake>,
    desks: Arc<dyn Desks>,
    journals: Arc<dyn Journals>,
    feeds: Feeds,
    inboxes: Option<Arc<Inboxes<SteadyClock>>>,
    /// What is under way to input topics.
    post: Option<Arc<Post>>,
    /// Held as long as we write.
    _lock: Lock,
}

/// Runs it until it is stopped.
///
/// # Errors
///
/// [`BadConfig`] where the configuration is wrong; else it could not be started.
pub(super) fn run(
    args: &args::Run,
    config: Result<Loaded, ConfigError>,
    load: Load<'_>,
) -> anyhow::Result<Answer> {
    let loaded = config.map_err(|error| BadConfig(error.into()))?;
    let mut settings = settings(&loaded).map_err(BadConfig)?;
    let config = &loaded.config;
    let token = token(config, &settings.reader.home).map_err(BadConfig)?;
    sinks::check(config).map_err(BadConfig)?;
    let store = config.imap.store().map_err(|error| BadConfig(error.into()))?;
    logging::begin(&config.logging, random()?);

    raise_open_files();
    let most = settings.reader.max_input_bytes;
    let input = args.input.as_deref().map(|path| Lines::open(path, most)).transpose()?;

    // Bound first: nothing is touched where another daemon has the port.
    let listen = config.http.listen;
    let listener = std::net::TcpListener::bind(listen)
        .with_context(|| format!("cannot listen on {listen}: is another daemon running there?"))?;
    listener.set_nonblocking(true).context("the listening socket")?;
    let address = listener.local_addr().context("the listening socket")?;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let orders = signals::listen(runtime.handle())?;
    let (clock, registry) = (SteadyClock::start(), Registry::new());
    let place = match config.log {
        LogKind::Embedded => Place::Directory(embedded::claim(config)?),
        LogKind::Kafka => Place::Cluster(group::claim(config)?),
    };
    let path = place.path().to_owned();
    let switches = Arc::new(Switches::open(&path, settings.policy.clone())?);
    for (switch, value, operator) in switches.moved() {
        tracing::warn!(switch, ?value, operator, "a kill switch is set by hand");
    }
    settings.policy = switches.policy();
    // A pipe may never end; a file is what came while we were down.
    let is_file = args.input.as_ref().is_some_and(|path| path.as_os_str() != "-");
    let reading = Arc::new(AtomicBool::new(is_file));
    let sinks = Sinks::default();
    tracing::info!(
        data_dir = %path.display(),
        policy = settings.policy.digest(),
        "deferd {} begins", env!("CARGO_PKG_VERSION")
    );
    let world =
        World { clock: &clock, settings: &settings, config, orders: &orders, registry: &registry };
    let backend = match place {
        Place::Directory(claimed) => {
            let needed = sinks.clone();
            let waits = Waits {
                reading: Arc::clone(&reading),
                needed: Arc::new(move |partition| needed.needed(partition)),
            };
            embedded::open(&world, &waits, claimed)?
        }
        Place::Cluster(claimed) => group::open(&world, claimed)?,
    };
    let shards = Arc::clone(&backend.shards);
    let intake = Arc::clone(&backend.intake);
    if let Feeds::Here(tails) = &backend.feeds {
        sinks.start(
            config,
            &path.join("sinks"),
            &registry,
            store.clone().filter(|_| config.sinks.imap).map(|store| sink::Storing {
                store,
                runtime: runtime.handle().clone(),
                concurrency: config.imap.connections as usize,
            }),
            sink::World {
                tails: Arc::clone(tails),
                intake: Arc::clone(&intake),
                clock: Arc::new(clock.clone()),
                watch: Arc::new(Sent(registry.clone())),
            },
        )?;
    }
    let stopping = Arc::new(AtomicBool::new(false));
    registry.routes(&ROUTES.iter().map(|(_, route, _)| *route).collect::<Vec<_>>());
    registry.gauge(&measures::START, &[]).set(measures::seconds(WallClock.now()));
    let reach = Reach {
        intake: Arc::clone(&intake),
        desks: Arc::clone(&backend.desks),
        patience: Duration::from_secs(config.http.timeout_seconds.into()),
    };
    let front = Arc::new(Front::new(
        reach.clone(),
        settings.reader.clone(),
        Arc::new(clock.clone()),
        store.clone().map(|store| store as Arc<dyn MessageStore>),
        config.front(&settings.reader.home),
    ));
    let site = Site {
        reach,
        front: Arc::clone(&front),
        journals: Arc::clone(&backend.journals),
        feeds: backend.feeds.clone(),
        reader: settings.reader.clone(),
        clock: Arc::new(clock.clone()),
        host: Arc::new(Daemon {
            shards: Arc::clone(&shards),
            inboxes: backend.inboxes.clone(),
            switches: Arc::clone(&switches),
            sinks: sinks.clone(),
            registry: registry.clone(),
            clock: clock.clone(),
            data_dir: path,
            queue_limit: config.embedded.queue_inputs,
            stopping: Arc::clone(&stopping),
        }),
        token: Arc::clone(&token),
        limits: http::Limits {
            body_bytes: usize::try_from(config.http.max_body_bytes).unwrap_or(usize::MAX),
            connections: config.http.max_connections as usize,
            timeout: Duration::from_secs(config.http.timeout_seconds.into()),
        },
    };
    let patience = Duration::from_secs(config.run.stop_seconds.into());
    let (close, closed) = tokio::sync::oneshot::channel::<()>();
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener).context("the listening socket")?
    };
    let serving =
        runtime.spawn(http::serve(listener, site, async { drop(closed.await) }, patience));
    tracing::info!("listening on http://{address}");

    if let Some(lines) = input {
        let (intake, clock) = (Arc::clone(&intake), clock);
        let (reader, stop) = (settings.reader, Arc::clone(&stopping));
        let orders = orders.clone();
        std::thread::Builder::new().name("input".into()).spawn(move || {
            if let Err(error) = feed::feed(lines, &reader, &intake, &clock, &stop) {
                orders.give(Order::Failed(format!("--input: {error:#}")));
            }
            reading.store(false, Ordering::SeqCst);
        })?;
    }

    let daemon = Running {
        shards: &shards,
        switches: &switches,
        token: &token,
        front: &front,
        sinks: &sinks,
        store: store.as_deref(),
        registry: &registry,
    };
    let failed = daemon.follow(&orders, load);

    notify(NotifyState::Stopping);
    tracing::info!("stopping: what was begun is finished");
    stopping.store(true, Ordering::SeqCst);
    if let Some(inboxes) = &backend.inboxes {
        inboxes.all.iter().for_each(|inbox| inbox.close());
    }
    if let Some(post) = &backend.post {
        post.close(patience);
    }
    let stopped = shards.stop(patience);
    sinks.stop(patience);
    if let Feeds::Here(tails) = &backend.feeds {
        tails.wake();
    }
    drop(close);
    // Whoever still reads an answer has had its time with the shards.
    let cut_off = runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(2), serving)
            .await
            .map_or(0, |cut| cut.unwrap_or(0))
    });
    runtime.shutdown_timeout(Duration::from_millis(200));
    if cut_off > 0 {
        tracing::info!(connections = cut_off, "cut off");
    }
    if let Some(why) = failed {
        tracing::error!("{why}");
        return Ok(Answer::No);
    }
    if !stopped {
        tracing::warn!("not all was taken in run.stop_seconds; what was acknowledged is durable");
    }
    tracing::info!("stopped");
    Ok(Answer::Done)
}

/// What was claimed before anything was started.
enum Place {
    Directory((Directory, Lock)),
    Cluster(group::Claim),
}

impl Place {
    /// Where this process keeps what is its own.
    fn path(&self) -> &Path {
        match self {
            Self::Directory((directory, _)) => &directory.path,
            Self::Cluster(claim) => &claim.path,
        }
    }
}

/// A daemon that runs.
struct Running<'a> {
    shards: &'a Shards,
    switches: &'a Switches,
    token: &'a Token,
    front: &'a Front,
    sinks: &'a Sinks,
    store: Option<&'a Imap>,
    registry: &'a Registry,
}

impl Running<'_> {
    /// Follows orders until one ends it; why, where nobody asked for it.
    fn follow(&self, orders: &Orders, load: Load<'_>) -> Option<String> {
        let mut beats = Vec::new();
        let mut ready = false;
        loop {
            match orders.next(TICK) {
                Some(Order::Stop) => return None,
                Some(Order::Failed(why)) => return Some(why),
                Some(Order::Reload) => {
                    notify(NotifyState::Reloading);
                    self.reload(load);
                    notify(NotifyState::Ready);
                }
                Some(Order::Open) if self.shards.pending.first().is_none() => {
                    if !std::mem::replace(&mut ready, true) {
                        notify(NotifyState::Ready);
                    }
                    tracing::info!("ready");
                }
                Some(Order::Open) => {}
                None => {
                    self.registry.tidy();
                    // A shard that hangs is not helped by a ping.
                    let seen = self.shards.seen();
                    let now: Vec<_> =
                        seen.iter().map(|(number, seen)| (*number, seen.beat)).collect();
                    let alive = now.iter().all(|beat| !beats.contains(beat));
                    if ready && alive {
                        notify(NotifyState::Watchdog);
                    }
                    beats = now;
                }
            }
        }
    }

    /// Reads the configuration again; a wrong one changes nothing.
    fn reload(&self, load: Load<'_>) {
        let read = || -> anyhow::Result<_> {
            let loaded = load()?;
            let settings = settings(&loaded)?;
            let home = &settings.reader.home;
            read_tokens(&loaded.config, home, self.token)?;
            Ok((loaded.config.front(home), settings))
        };
        match read() {
            Ok((rules, settings)) => {
                self.front.set_rules(rules);
                let policy = self.switches.configure(settings.policy);
                tracing::info!(policy = policy.digest(), "configuration read again");
                self.shards.change_policy(&policy, None);
                self.sinks.reopen();
                if let Some(Err(error)) = self.store.map(Imap::reload) {
                    tracing::error!("the password of the message store stays as it was: {error}");
                }
            }
            Err(error) => tracing::error!("the configuration stays as it was: {error:#}"),
        }
    }
}

/// What a client must show. Whoever can be reached from outside this machine needs one.
fn token(config: &Config, home: &Home) -> anyhow::Result<Arc<Token>> {
    let listen = config.http.listen;
    if config.http.token_file.as_os_str().is_empty() && http::needs_token(listen) {
        bail!(
            "http.listen is {listen}, which others can reach: name a file with a token in \
             http.token_file, or listen on 127.0.0.1"
        );
    }
    let token = Arc::new(Token::default());
    read_tokens(config, home, &token)?;
    Ok(token)
}

/// Reads the token of those who may ask everything, and the callers' list.
fn read_tokens(config: &Config, home: &Home, token: &Token) -> anyhow::Result<()> {
    let text = |key: &str, file: &Path| {
        std::fs::read_to_string(file)
            .with_context(|| format!("{key}: cannot read {}", file.display()))
    };
    let (own, callers) = (&config.http.token_file, &config.http.callers_file);
    let list = match callers.as_os_str().is_empty() {
        true => String::new(),
        false => text("http.callers_file", callers)?,
    };
    token
        .set_callers(&list, |address| canonical(address, home))
        .with_context(|| format!("http.callers_file {}", callers.display()))?;
    if own.as_os_str().is_empty() {
        return Ok(());
    }
    let own_text = text("http.token_file", own)?;
    token.set(&own_text).with_context(|| format!("http.token_file {}", own.display()))
}

/// Tells systemd, where it listens.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!("systemd was not told: {error}");
    }
}

/// As many open files as the system allows without asking: a connection takes one.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!("the limit of open files stays at {current:?}: {error}");
    }
}

/// Octets that nobody can guess.
fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut octets = [0; N];
    std::fs::File::open(Path::new("/dev/urandom"))
        .and_then(|mut file| file.read_exact(&mut octets))
        .context("/dev/urandom")?;
    Ok(octets)
}
