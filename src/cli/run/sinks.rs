//! The sinks of the daemon: started after the shards, stopped after them, measured and watched.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::cli::config::{Config, LogKind};
use crate::cli::measures::{Registry, SENT, SINK_LAG, SINK_RECORDS};
use crate::domain::time::Timestamp;
use crate::edge::sink::{self, Settings, SinkHandle, Storing, Watch, Webhook, World};
use crate::log::kafka::Topic;

/// All sinks; its clones are the same ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Sinks {
    /// `None` until they are started.
    handles: Arc<Mutex<Option<Vec<SinkHandle>>>>,
}

/// Counts what sinks do.
pub(super) struct Sent(pub(super) Registry);

impl Watch for Sent {
    fn sent(&self, sink: &str, result: sink::Sent, count: u64) {
        self.0.counter(&SENT, &[sink, result.word()]).increment(count);
    }
}

/// Refuses a sink with nowhere to send to, and sinks beside a log where outputs have topics of their own: whoever wants them reads those.
///
/// # Errors
///
/// The first key that names one.
pub(in crate::cli) fn check(config: &Config) -> anyhow::Result<()> {
    let keys = &config.sinks;
    if keys.imap && config.imap.server.is_empty() {
        bail!("sinks.imap is set and imap.server is not: say where the message store is");
    }
    if config.log == LogKind::Embedded {
        return Ok(());
    }
    let topic = |topic: Topic| format!("{}{}", config.kafka.prefix, topic.name());
    let all = "a consumer of each output topic";
    for (key, is_set, instead) in [
        ("sinks.file", !keys.file.as_os_str().is_empty(), all.to_owned()),
        ("sinks.stdout", keys.stdout, all.to_owned()),
        (
            "sinks.webhook_deliveries",
            !keys.webhook_deliveries.is_empty(),
            format!("a consumer of {}", topic(Topic::Deliveries)),
        ),
        (
            "sinks.webhook_notifications",
            !keys.webhook_notifications.is_empty(),
            format!("a consumer of {}", topic(Topic::Notifications)),
        ),
        (
            "sinks.imap",
            keys.imap,
            format!(
                "a consumer of {} that stores what cpm.storage.requested says, and answers with \
                 cpm.storage.outcome",
                topic(Topic::Deliveries)
            ),
        ),
    ] {
        if is_set {
            bail!(
                "{key} is set and log is kafka, where outputs stand on topics of their own: leave it \
                 out, and run {instead}, read_committed"
            );
        }
    }
    Ok(())
}

impl Sinks {
    /// Starts those that are configured.
    ///
    /// # Errors
    ///
    /// One cannot be started.
    pub(super) fn start(
        &self,
        config: &Config,
        cursors: &Path,
        registry: &Registry,
        storing: Option<Storing>,
        world: World,
    ) -> anyhow::Result<()> {
        let keys = &config.sinks;
        let path = |path: &Path| (!path.as_os_str().is_empty()).then(|| path.to_owned());
        let url = |url: &str| (!url.is_empty()).then(|| url.to_owned());
        let settings = Settings {
            file: path(&keys.file),
            stdout: keys.stdout,
            deliveries: url(&keys.webhook_deliveries),
            notifications: url(&keys.webhook_notifications),
            webhook: Webhook {
                timeout: Duration::from_secs(keys.webhook_timeout_seconds.into()),
                token_file: path(&keys.webhook_token_file),
                concurrency: keys.webhook_concurrency as usize,
                lifetime: config.policy.notification_lifetime,
                ..Webhook::default()
            },
            storing,
        };
        std::fs::create_dir_all(cursors)
            .with_context(|| format!("cannot make {}", cursors.display()))?;
        let started = sink::start(&settings, cursors, &world)?;
        started.iter().for_each(|handle| registry.sink(handle.name));
        *self.lock() = Some(started);
        Ok(())
    }

    /// The first record of a partition that one of them still needs.
    pub(super) fn needed(&self, partition: u32) -> u64 {
        let handles = self.lock();
        let Some(handles) = handles.as_ref() else { return 0 };
        handles.iter().map(|handle| handle.needed(partition)).min().unwrap_or(u64::MAX)
    }

    /// Sets the gauges of how far they are behind.
    pub(super) fn measure(&self, registry: &Registry, now: Timestamp) {
        for handle in self.lock().iter().flatten() {
            let lag = handle.lag(now);
            registry.gauge(&SINK_LAG, &[handle.name]).set(lag.age.as_secs_f64());
            registry.gauge(&SINK_RECORDS, &[handle.name]).set(lag.records as f64);
        }
    }

    /// Files are opened again, tokens read again.
    pub(super) fn reopen(&self) {
        self.lock().iter().flatten().for_each(SinkHandle::reopen);
    }

    /// Stops them: what is under way is finished.
    pub(super) fn stop(&self, patience: Duration) {
        let handles = self.lock().take();
        for handle in handles.into_iter().flatten() {
            let sink = handle.name;
            if !handle.stop(patience) {
                tracing::warn!(sink, "it did not end in time; it goes on where it was saved");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<SinkHandle>>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
