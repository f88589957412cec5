//! Whoever takes inputs: a daemon that runs, or the topics that daemons read.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde_json::{Value, json};

use super::args::{To, Toward};
use super::client::{Client, Told, give};
use super::clock::WallClock;
use super::config::{Config, Loaded};
use super::settings;
use crate::engine::intake::{Given, Intake, Settled};
use crate::engine::ports::Clock;
use crate::log::kafka::Post;
use crate::record::input::Reader;

/// Takes inputs.
pub(super) enum Recipient {
    /// A daemon.
    Daemon(Client),
    /// Their topics.
    Topics(Box<Post>, Box<Reader>),
}

/// The way to the input topics of a configuration.
///
/// # Errors
///
/// `[kafka]` describes no cluster, or it does not answer.
pub(super) fn post(config: &Config) -> anyhow::Result<Post> {
    let patience = Duration::from_secs(config.http.timeout_seconds.into());
    Ok(Post::new(&super::cluster(config)?, patience)?)
}

impl Recipient {
    /// The one that was named; else the daemon of this configuration.
    ///
    /// # Errors
    ///
    /// It cannot be reached.
    pub(super) fn of(toward: &Toward, config: &Loaded) -> anyhow::Result<Self> {
        match toward.to {
            None => Ok(Self::Daemon(Client::new(&toward.daemon, config)?)),
            Some(To::Kafka) => Self::topics(config),
        }
    }

    /// The topics of this configuration.
    ///
    /// # Errors
    ///
    /// They cannot be reached.
    pub(super) fn topics(config: &Loaded) -> anyhow::Result<Self> {
        let reader = settings(config)?.reader;
        Ok(Self::Topics(Box::new(post(&config.config)?), Box::new(reader)))
    }

    /// Hands one event in, and hears what became of it.
    ///
    /// # Errors
    ///
    /// Nobody answers, or nothing is taken now.
    pub(super) fn give(&self, event: &[u8]) -> anyhow::Result<Told> {
        let (post, reader) = match self {
            Self::Daemon(client) => return give(client, event),
            Self::Topics(post, reader) => (post, reader),
        };
        let user = match reader.read(event, WallClock.now()) {
            Ok(read) => read.user.to_string(),
            Err(why) => return Ok(Told::rejected(&why.to_string())),
        };
        let given = Given {
            topic: "cli".into(),
            offset: None,
            user: Some(user.into()),
            bytes: event.into(),
        };
        let (tell, told) = sync_channel(1);
        post.give(vec![given], Box::new(move |settled| drop(tell.send(settled))))?;
        let settled = told.recv().context("the client of the brokers has ended")?;
        let settled = settled.map_err(|why| anyhow!("{why}; it may be there all the same"))?;
        match settled.first() {
            Some(Settled::Logged { topic, partition, offset }) => {
                let place: Value =
                    json!({ "topic": &**topic, "partition": partition, "offset": offset });
                Ok(Told::of(place))
            }
            Some(Settled::Decided { .. }) | None => bail!("no topic says that it has it"),
        }
    }
}
