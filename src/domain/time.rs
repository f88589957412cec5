//! Instants, as everything in `domain` sees them: milliseconds since 1970, passed in, never read.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An instant in UTC, in milliseconds since 1970-01-01T00:00:00Z.
///
/// Bounds: arithmetic saturates, so no input can make it wrap.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z: what the time is before anything has told it.
    pub const EPOCH: Self = Self(0);
    /// Later than every instant that can be written as RFC 3339.
    pub const MAX: Self = Self(i64::MAX);

    /// The instant `millis` milliseconds after 1970 (before it, where negative).
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// How long after `earlier` this is; nothing where it is not later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// RFC 3339 in UTC, with milliseconds only where there are some: `2026-11-21T08:00:00.5Z` is written
/// `2026-11-21T08:00:00.500Z`. Years outside 0 to 9999 are clamped to them.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.written(&mut [0; 24]))
    }
}

impl Timestamp {
    /// Its RFC 3339 form, digit by digit: records hold several of them, and formatting costs.
    fn written(self, buffer: &mut [u8; 24]) -> &str {
        const FIRST: i64 = -62_167_219_200_000;
        const LAST: i64 = 253_402_300_799_999;
        let millis = self.0.clamp(FIRST, LAST);
        let (days, of_day) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
        let (year, month, day) = civil(days);
        let (seconds, fraction) = (of_day / 1000, of_day % 1000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let d = |number: i64| b'0' + u8::try_from(number % 10).unwrap_or(0);
        *buffer = [
            d(year / 1000),
            d(year / 100),
            d(year / 10),
            d(year),
            b'-',
            d(month / 10),
            d(month),
            b'-',
            d(day / 10),
            d(day),
            b'T',
            d(hour / 10),
            d(hour),
            b':',
            d(minute / 10),
            d(minute),
            b':',
            d(second / 10),
            d(second),
            b'.',
            d(fraction / 100),
            d(fraction / 10),
            d(fraction),
            b'Z',
        ];
        let length = if fraction == 0 { 20 } else { 24 };
        if let Some(last) = buffer.get_mut(length - 1) {
            *last = b'Z';
        }
        buffer.get(..length).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }
}

/// What is not an RFC 3339 date and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time such as 2026-11-21T08:00:00Z")]
pub struct NotATime;

/// RFC 3339. What lies beyond milliseconds is cut off.
impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        if let Some(instant) = fixed_form(text.as_bytes()) {
            return Ok(instant);
        }
        chrono::DateTime::parse_from_rfc3339(text)
            .map(|time| Self(time.timestamp_millis()))
            .map_err(|_| NotATime)
    }
}

/// `2026-11-21T08:00:00Z` and `2026-11-21T08:00:00.123Z`, which is what programs write; `None` for
/// all else, valid or not.
fn fixed_form(text: &[u8]) -> Option<Timestamp> {
    let (clock, fraction) = match text {
        [clock @ .., b'Z'] if clock.len() == 19 => (clock, 0),
        [clock @ .., b'.', a, b, c, b'Z'] if clock.len() == 19 => (clock, number(&[*a, *b, *c])?),
        _ => return None,
    };
    let [y1, y2, y3, y4, b'-', mo1, mo2, b'-', d1, d2, b'T', h1, h2, b':', mi1, mi2, b':', s1, s2] =
        *clock
    else {
        return None;
    };
    let year = number(&[y1, y2, y3, y4])?;
    let (month, day) = (number(&[mo1, mo2])?, number(&[d1, d2])?);
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[mi1, mi2])?, number(&[s1, s2])?);
    // The 29th to the 31st are left to the calendar of chrono.
    let plain = (1..=12).contains(&month) && (1..=28).contains(&day);
    if !plain || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(Timestamp(seconds * 1000 + fraction))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
    })
}

/// The inverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month_from_march) =
        if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of the proleptic Gregorian calendar, `days` after 1970-01-01.
///
/// Method: years begin in March, so that the leap day is their last; an era is 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    let from_march_0 = days + 719_468;
    let era = from_march_0.div_euclid(146_097);
    let day_of_era = from_march_0.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Times in records for others: RFC 3339 in JSON. Use with `#[serde(with = "rfc3339")]`.
pub mod rfc3339 {
    use std::fmt;

    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    use super::Timestamp;

    /// Writes the RFC 3339 form.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(time.written(&mut [0; 24]))
    }

    /// Reads RFC 3339.
    ///
    /// # Errors
    ///
    /// What is there is no RFC 3339 time.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        from.deserialize_str(Text)
    }

    struct Text;

    impl Visitor<'_> for Text {
        type Value = Timestamp;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an RFC 3339 time such as 2026-11-21T08:00:00Z")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Timestamp, E> {
            text.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
        }
    }

    /// The same for a field that may be absent or null.
    pub mod option {
        use serde::de::Deserializer;
        use serde::ser::Serializer;
        use serde::{Deserialize, Serialize};

        use super::super::Timestamp;

        #[derive(Serialize, Deserialize)]
        struct Wire(#[serde(with = "super")] Timestamp);

        /// Writes the RFC 3339 form, or null.
        ///
        /// # Errors
        ///
        /// Those of the serializer.
        pub fn serialize<S: Serializer>(
            time: &Option<Timestamp>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            time.map(Wire).serialize(to)
        }

        /// Reads RFC 3339 or null.
        ///
        /// # Errors
        ///
        /// What is there is neither.
        pub fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<Timestamp>, D::Error> {
            Ok(Option::<Wire>::deserialize(from)?.map(|wire| wire.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_rfc_3339() {
        let written = |millis| Timestamp::from_millis(millis).to_string();

        assert_eq!(written(0), "1970-01-01T00:00:00Z");
        assert_eq!(written(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(written(1_795_225_600_050), "2026-11-21T01:46:40.050Z");
        assert_eq!(written(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(written(i64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn is_read_as_chrono_reads_it() {
        for day in (-719_000_i64..2_900_000).step_by(97) {
            let instant = Timestamp(day * 86_400_000 + (day * 7_919).rem_euclid(86_400_000));
            let text = instant.to_string();
            let chrono = chrono::DateTime::parse_from_rfc3339(&text).unwrap().timestamp_millis();
            assert_eq!((text.parse(), chrono), (Ok(instant), instant.0), "{text}");
        }
        let read = |text: &str| text.parse::<Timestamp>().map(Timestamp::as_millis);
        assert_eq!(read("1970-01-01T01:00:00.25+01:00"), Ok(250));
        assert_eq!(read("1970-01-01T00:00:00.1239Z"), Ok(123));
        for wrong in ["", "now", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-21"] {
            assert_eq!(read(wrong), Err(NotATime), "{wrong}");
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::MAX + Duration::MAX, Timestamp::MAX);
        assert_eq!(Timestamp::EPOCH.since(Timestamp::MAX), Duration::ZERO);
    }
}
