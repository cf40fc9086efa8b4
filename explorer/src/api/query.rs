//! What the queries have in common: limits, severities, times.

use jiff::Timestamp;

use crate::error::ApiError;

/// Entries in one answer unless asked otherwise.
const DEFAULT_LIMIT: usize = 100;
/// Entries in one answer at most.
const MAX_LIMIT: usize = 1_000;

/// The number of entries asked for.
pub(super) fn limit(asked: Option<usize>) -> Result<usize, ApiError> {
    match asked.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        _ => Err(ApiError::Invalid(format!(
            "limit must be between 1 and {MAX_LIMIT}"
        ))),
    }
}

/// The lowest `SeverityNumber` asked for: a name such as `warn`, or a number from 1 to 24 (OpenTelemetry logs data model).
pub(super) fn severity(asked: &str) -> Result<i32, ApiError> {
    let number = match asked.to_ascii_lowercase().as_str() {
        "trace" => 1,
        "debug" => 5,
        "info" => 9,
        "warn" => 13,
        "error" => 17,
        "fatal" => 21,
        number => number.parse().unwrap_or(0),
    };
    if (1..=24).contains(&number) {
        Ok(number)
    } else {
        Err(ApiError::Invalid(
            "severity must be trace, debug, info, warn, error, fatal, or 1 to 24".to_owned(),
        ))
    }
}

/// RFC 3339 in UTC with as many digits as needed; `None` for a time that was not given.
pub(super) fn timestamp(unix_nanos: u64) -> Option<String> {
    if unix_nanos == 0 {
        return None;
    }
    Timestamp::from_nanosecond(i128::from(unix_nanos))
        .ok()
        .map(|time| time.to_string())
}
