//! What the daemon says on standard error: lines for people, or JSON for programs.

use std::fmt;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};
use tracing::Level;

use crate::cli::config::{LogFormat, LogLevel, Logging};

/// How subscribers' numbers are written: as they are, or hashed with this salt.
static NUMBERS: OnceLock<Option<[u8; 16]>> = OnceLock::new();

/// Begins to log. The salt makes the hashes of this process useless to others.
pub(super) fn begin(logging: &Logging, salt: [u8; 16]) {
    let _ = NUMBERS.set((!logging.numbers).then_some(salt));
    let level = match logging.level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let ansi = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let lines = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .with_target(false)
        .with_ansi(ansi);
    // A second daemon in one process, as in tests, speaks through the first one's.
    let _ = match logging.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_target(true).try_init(),
    };
}

/// A subscriber's number in a log line: hashed, unless `logging.numbers` asks for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscriber<'a>(pub(super) &'a str);

impl fmt::Display for Subscriber<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Some(salt)) = NUMBERS.get() else { return f.write_str(self.0) };
        let digest = Sha256::new().chain_update(salt).chain_update(self.0).finalize();
        f.write_str("user-")?;
        digest.iter().take(6).try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}
