//! Event times in microseconds, and the clock that decides how old a row is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{self, DateTime};
use jiff::fmt::temporal::DateTimePrinter;
use jiff::tz::TimeZone;

/// When the values of a row were true: microseconds since 1970 in UTC, from year 1 to 9999.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct EventTime(i64);

/// The source of the current time; tests set it.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    manual: Option<Arc<AtomicI64>>,
}

/// Sets the clock that [`Clock::manual`] has made.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl EventTime {
    /// A time in microseconds since 1970; `None` outside the years 1 to 9999.
    pub fn from_micros(micros: i64) -> Option<Self> {
        let year = Timestamp::from_microsecond(micros)
            .ok()?
            .to_zoned(TimeZone::UTC)
            .year();
        (1..=9999).contains(&year).then_some(Self(micros))
    }

    /// Parses RFC 3339. Without an offset the time is UTC, as in Feast's client; without a time of
    /// day it is midnight. Fractions of a microsecond are dropped.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let time = match text.parse::<Timestamp>() {
            Ok(time) => time,
            Err(_) => parse_without_offset(text)?,
        };
        Self::from_micros(time.as_microsecond())
    }

    /// Microseconds since 1970.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// RFC 3339 with `Z` and 0, 3 or 6 digits of a second: older Pythons cannot read others.
    pub fn to_rfc3339(self) -> String {
        const SECONDS: DateTimePrinter = DateTimePrinter::new().precision(Some(0));
        const MILLIS: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
        const MICROS: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
        let printer = match (self.0 % 1_000_000, self.0 % 1_000) {
            (0, _) => SECONDS,
            (_, 0) => MILLIS,
            _ => MICROS,
        };
        // The constructors accept only times that jiff can hold.
        let time = Timestamp::from_microsecond(self.0).unwrap_or(Timestamp::UNIX_EPOCH);
        printer.timestamp_to_string(&time)
    }
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still until it is advanced.
    pub fn manual(start: EventTime) -> (Self, ManualClock) {
        let hands = Arc::new(AtomicI64::new(start.0));
        (
            Self {
                manual: Some(Arc::clone(&hands)),
            },
            ManualClock(hands),
        )
    }

    /// The current time.
    pub fn now(&self) -> EventTime {
        match &self.manual {
            Some(hands) => EventTime(hands.load(Ordering::Acquire)),
            None => EventTime(Timestamp::now().as_microsecond()),
        }
    }
}

impl ManualClock {
    /// Moves the time forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(micros(by), Ordering::AcqRel);
    }
}

fn parse_without_offset(text: &str) -> Option<Timestamp> {
    let time = text
        .parse::<DateTime>()
        .or_else(|_| text.parse::<civil::Date>().map(DateTime::from))
        .ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// A duration in microseconds, saturating.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
