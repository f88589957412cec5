//! Colours and times, for people.

use std::fmt::Display;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use crate::domain::event::{End, Event, LegEnd};
use crate::domain::time::Timestamp;
pub(in crate::cli) use crate::engine::history::beside;

pub(in crate::cli) const DIM: Style = Style::new().dimmed();
pub(in crate::cli) const BOLD: Style = Style::new().bold();
pub(in crate::cli) const HAPPENED: Style = AnsiColor::Cyan.on_default().bold();
pub(in crate::cli) const ASKED: Style = AnsiColor::Magenta.on_default();
pub(in crate::cli) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(in crate::cli) const BAD: Style = AnsiColor::Red.on_default();
pub(in crate::cli) const WAITS: Style = AnsiColor::Yellow.on_default();
const PLAIN: Style = Style::new();

/// Something in a style.
pub(in crate::cli) fn paint(style: Style, what: impl Display) -> String {
    format!("{style}{what}{style:#}")
}

/// How an event is shown: what ends well, what goes wrong, what waits, and all else.
pub(super) fn style_of(event: &Event) -> Style {
    if let Event::Ended { end, .. } | Event::Handled { end, .. } = event {
        return if is_good(*end) { GOOD } else { BAD };
    }
    let arrived = LegEnd::Delivered;
    let went_wrong = matches!(
        event,
        Event::LegEnded { .. }
            | Event::AttemptEnded { .. }
            | Event::Parked { .. }
            | Event::SmsBlocked { .. }
            | Event::SmsRefused { .. }
            | Event::ContactLost { .. }
    );
    let waits = matches!(
        event,
        Event::IpWait { .. }
            | Event::BackedOff { .. }
            | Event::LadderArmed { .. }
            | Event::HoldSet { .. }
            | Event::UserHeld { .. }
            | Event::ImdnAwaited { .. }
    );
    if matches!(event, Event::LegEnded { end, .. } if *end == arrived) {
        GOOD
    } else if went_wrong {
        BAD
    } else if waits {
        WAITS
    } else if matches!(event, Event::AttemptStarted { .. }) {
        BOLD
    } else {
        PLAIN
    }
}

/// Whether the user has it, or another store does.
pub(in crate::cli) fn is_good(end: End) -> bool {
    match end {
        End::Delivered(_) | End::Assumed | End::Stored | End::Forwarded => true,
        End::Rejected
        | End::Expired(_)
        | End::Declined
        | End::Quota
        | End::Identity
        | End::Purged
        | End::Revoked
        | End::Cancelled => false,
    }
}

/// The day of an instant.
pub(in crate::cli) fn day(at: Timestamp) -> String {
    at.to_string().split('T').next().unwrap_or_default().to_owned()
}

/// The time of day of an instant.
pub(in crate::cli) fn time_of_day(at: Timestamp) -> String {
    let text = at.to_string();
    text.split('T').nth(1).unwrap_or_default().trim_end_matches('Z').to_owned()
}

/// How long something is: `600s`, `2h46m`, `3d04h`; seconds as long as a person can take them in.
pub(in crate::cli) fn span(span: Duration) -> String {
    let (seconds, millis) = (span.as_secs(), span.subsec_millis());
    match seconds {
        0..60 if millis > 0 => format!("{seconds}.{millis:03}s"),
        0..3600 => format!("{seconds}s"),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}
