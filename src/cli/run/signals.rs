//! What the daemon is told to do while it runs: by signals, and by its own threads.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Order {
    /// All shards are open.
    Open,
    /// Read the configuration again.
    Reload,
    /// Take what waits, and end.
    Stop,
    /// Something cannot go on: end, and say what.
    Failed(String),
}

/// Orders, from whoever gives them to the thread that carries them out.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Orders {
    send: Sender<Order>,
    receive: Arc<Mutex<Receiver<Order>>>,
}

impl Orders {
    /// Gives an order.
    pub(super) fn give(&self, order: Order) {
        // The receiver lives as long as we do.
        let _ = self.send.send(order);
    }

    /// The next order; `None` where none came for so long.
    pub(in crate::cli) fn next(&self, patience: Duration) -> Option<Order> {
        let receive = self.receive.lock().unwrap_or_else(PoisonError::into_inner);
        match receive.recv_timeout(patience) {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Order::Stop),
        }
    }
}

/// Listens to signals from here on. A second one that asks to stop ends the process at once: what was
/// acknowledged is durable.
///
/// # Errors
///
/// The system refuses.
pub(in crate::cli) fn listen(runtime: &tokio::runtime::Handle) -> anyhow::Result<Orders> {
    let (send, receive) = channel();
    let orders = Orders { send, receive: Arc::new(Mutex::new(receive)) };
    let _inside = runtime.enter();
    let on = |kind| signal(kind).context("cannot listen to signals");
    let (mut term, mut int) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    let mut hup = on(SignalKind::hangup())?;
    let given = orders.clone();
    runtime.spawn(async move {
        let mut stopping = false;
        loop {
            let number = tokio::select! {
                _ = term.recv() => 15,
                _ = int.recv() => 2,
                _ = hup.recv() => {
                    given.give(Order::Reload);
                    continue;
                }
            };
            if stopping {
                tracing::warn!("a second signal: ending at once");
                std::process::exit(128 + number);
            }
            stopping = true;
            given.give(Order::Stop);
        }
    });
    Ok(orders)
}
