//! Event times in microseconds, and the clock that decides how old a row is.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use jiff::civil::{DateTime, Time};
use jiff::fmt::temporal::{DateTimeParser, DateTimePrinter};
use jiff::{SignedDuration, Timestamp};

/// When the values of a row were true: microseconds since 1970 in UTC, from year 1 to 9999.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct EventTime(i64);

/// The source of the current time; tests set it.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    manual: Option<Arc<Hands>>,
}

/// Sets the clock that [`Clock::manual`] has made.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Hands>);

/// A reading of the clock. Somebody may set the time of day; `steady` only moves forward, but not
/// while the machine sleeps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Moment {
    /// The time of day.
    pub(crate) time: EventTime,
    /// Microseconds since some start.
    pub(crate) steady: i64,
}

#[derive(Debug)]
struct Hands {
    time: AtomicI64,
    steady: AtomicI64,
}

/// The first and the last microsecond that RFC 3339, protobuf and Python can all write: the years 1
/// to 9999 in UTC.
const EARLIEST: i64 = -62_135_596_800_000_000;
const LATEST: i64 = 253_402_300_799_999_999;

/// Seconds; an offset of a day or more is not RFC 3339 (§5.6), and Python cannot read it.
const DAY: i32 = 24 * 60 * 60;

/// The calendar computes with civil times in UTC, since jiff's `Timestamp` ends 26 hours before the
/// year 9999 does.
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

impl EventTime {
    /// The beginning of 1970.
    pub(crate) const EPOCH: Self = Self(0);

    /// A time in microseconds since 1970; `None` outside the years 1 to 9999.
    pub fn from_micros(micros: i64) -> Option<Self> {
        (EARLIEST..=LATEST)
            .contains(&micros)
            .then_some(Self(micros))
    }

    /// Parses RFC 3339. Without an offset the time is UTC, as in Feast's client; without a time of
    /// day it is midnight. Fractions of a microsecond are dropped.
    pub fn parse(text: &str) -> Option<Self> {
        const PARSER: DateTimeParser = DateTimeParser::new();
        let pieces = PARSER.parse_pieces(text.trim()).ok()?;
        let time = pieces.time().unwrap_or(Time::midnight());
        let offset = match pieces.to_numeric_offset() {
            Some(offset) => Some(offset.seconds()).filter(|offset| offset.abs() < DAY)?,
            // A time zone without an offset is not RFC 3339, and is not UTC.
            None if pieces.time_zone_annotation().is_some() => return None,
            None => 0,
        };
        let local = pieces.date().to_datetime(time).duration_since(EPOCH);
        let micros = local.as_nanos().div_euclid(1_000) - i128::from(offset) * 1_000_000;
        Self::from_micros(i64::try_from(micros).ok()?)
    }

    /// This time and a duration, at most the last time that there is.
    pub(crate) fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)).min(LATEST))
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
        // The constructors accept only times that a civil time can hold.
        let time = EPOCH.saturating_add(SignedDuration::from_micros(self.0));
        printer.datetime_to_string(&time) + "Z"
    }
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still until it is advanced.
    pub fn manual(start: EventTime) -> (Self, ManualClock) {
        let hands = Arc::new(Hands {
            time: AtomicI64::new(start.0),
            steady: AtomicI64::new(0),
        });
        let manual = Some(Arc::clone(&hands));
        (Self { manual }, ManualClock(hands))
    }

    /// The current time.
    pub fn now(&self) -> EventTime {
        self.moment().time
    }

    /// The current time, with the clock that nobody can set.
    pub(crate) fn moment(&self) -> Moment {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        match &self.manual {
            Some(hands) => Moment {
                time: EventTime(hands.time.load(Ordering::Acquire)),
                steady: hands.steady.load(Ordering::Acquire),
            },
            None => Moment {
                time: EventTime(Timestamp::now().as_microsecond()),
                steady: micros(START.elapsed()),
            },
        }
    }
}

impl ManualClock {
    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.0.steady.fetch_add(micros(by), Ordering::AcqRel);
        self.0.time.fetch_add(micros(by), Ordering::AcqRel);
    }

    /// Sets the time of day, forward or back, as an administrator or NTP does; no time passes.
    pub fn set(&self, time: EventTime) {
        self.0.time.store(time.0, Ordering::Release);
    }
}

/// A duration in microseconds, saturating.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
