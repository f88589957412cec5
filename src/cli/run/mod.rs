//! `deferd run`: the daemon. Everything is opened here, in order, and closed in the opposite one.

mod feed;
mod keeper;
mod logging;
mod shards;
mod signals;
mod tidy;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow};

use self::shards::{Shards, World};
use self::signals::Order;
use super::clock::SteadyClock;
use super::config::{ConfigError, Loaded};
use super::measures::Registry;
use super::{Answer, BadConfig, args, settings};
use crate::engine::intake::Intake;
use crate::log::embedded::{Directory, Inboxes, Limits, LogFault};

/// Reads the configuration again.
type Load<'a> = &'a dyn Fn() -> Result<Loaded, ConfigError>;

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
    let settings = settings(&loaded).map_err(BadConfig)?;
    let config = &loaded.config;
    logging::begin(&config.logging, random()?);

    let embedded = &config.embedded;
    let (directory, _lock) =
        Directory::claim(&config.run.data_dir, embedded.partitions, u64::from_le_bytes(random()?))
            .map_err(|fault| {
                let is_config = matches!(fault, LogFault::Partitions { .. });
                if is_config { BadConfig(fault.into()).into() } else { anyhow!(fault) }
            })?;
    let clock = SteadyClock::start();
    let limits = Limits {
        inputs: embedded.queue_inputs as usize,
        bytes: usize::try_from(embedded.queue_bytes).unwrap_or(usize::MAX),
    };
    let inboxes = Arc::new(Inboxes::new(embedded.partitions, limits, clock.clone()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let orders = signals::listen(runtime.handle())?;
    // A pipe may never end; a file is what came while we were down.
    let is_file = args.input.as_ref().is_some_and(|path| path.as_os_str() != "-");
    let reading = Arc::new(AtomicBool::new(is_file));
    let registry = Registry::new();
    let needed: Arc<dyn Fn(u32) -> u64 + Send + Sync> = Arc::new(|_| u64::MAX);
    let shards = Shards::open(&World {
        directory: &directory,
        inboxes: &inboxes,
        clock: &clock,
        settings: &settings,
        config,
        orders: &orders,
        registry: &registry,
        reading: &reading,
        needed: &needed,
    })?;
    tracing::info!(
        data_dir = %directory.path.display(),
        partitions = embedded.partitions,
        policy = settings.policy.digest(),
        "deferd {} begins", env!("CARGO_PKG_VERSION")
    );

    let intake: Arc<dyn Intake> = Arc::clone(&inboxes) as Arc<dyn Intake>;
    let stop_feed = Arc::new(AtomicBool::new(false));
    if let Some(path) = &args.input {
        let (path, intake, clock) = (path.clone(), Arc::clone(&intake), clock);
        let (reader, stop, orders) = (settings.reader, Arc::clone(&stop_feed), orders.clone());
        std::thread::Builder::new().name("input".into()).spawn(move || {
            if let Err(error) = feed::feed(&path, &reader, &intake, &clock, &stop) {
                orders.give(Order::Failed(format!("--input: {error:#}")));
            }
            reading.store(false, Ordering::SeqCst);
        })?;
    }

    let failed = loop {
        match orders.next() {
            Order::Stop => break None,
            Order::Failed(why) => break Some(why),
            Order::Reload => reload(load, &shards),
            Order::Open if !shards.are_open() => {}
            Order::Open => {
                sd_notify::notify(&[sd_notify::NotifyState::Ready]).unwrap_or_default();
                tracing::info!("ready");
            }
        }
    };

    sd_notify::notify(&[sd_notify::NotifyState::Stopping]).unwrap_or_default();
    tracing::info!("stopping: what waits is taken");
    stop_feed.store(true, Ordering::SeqCst);
    inboxes.all.iter().for_each(|inbox| inbox.close());
    let stopped = shards.stop(Duration::from_secs(config.run.stop_seconds.into()));
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

/// Reads the configuration again; a wrong one changes nothing.
fn reload(load: Load<'_>, shards: &Shards) {
    let loaded = load().map_err(anyhow::Error::from);
    match loaded.and_then(|loaded| settings(&loaded)) {
        Ok(settings) => {
            tracing::info!(policy = settings.policy.digest(), "configuration read again");
            shards.change_policy(&settings.policy, None);
        }
        Err(error) => tracing::error!("the configuration stays as it was: {error:#}"),
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
