//! What the daemon says on standard error: lines for people, or JSON for programs.

use tracing::Level;

use crate::cli::config::{LogFormat, LogLevel, Logging};
use crate::edge::private;

/// Begins to log. The salt makes the hashes of this process useless to others.
pub(super) fn begin(logging: &Logging, salt: [u8; 16]) {
    private::hash_by((!logging.numbers).then_some(salt));
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
