//! Moments in a query: absolute, or so long ago.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const SECOND: u64 = 1_000_000_000;

/// Nanoseconds since 1970 of `15m` before `now` (s, m, h, d), of an RFC 3339 time, or of a time
/// without a zone, which is in UTC.
pub(crate) fn moment(text: &str, now: u64) -> Option<u64> {
    if let Some(ago) = ago(text) {
        return Some(now.saturating_sub(ago));
    }
    let time = text.parse::<Timestamp>().ok().or_else(|| {
        let local = text.parse::<DateTime>().ok()?;
        Some(local.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })?;
    u64::try_from(time.as_nanosecond()).ok()
}

fn ago(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(seconds * SECOND)
}
