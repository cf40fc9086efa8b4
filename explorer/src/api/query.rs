//! Parameters that several queries share: trace ids, limits, severities, times.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use jiff::Timestamp;

use crate::error::ReadError;
use crate::store::TraceId;

/// Entries in one answer when the query has no limit.
const DEFAULT_LIMIT: usize = 100;
/// The most entries in one answer.
const MAX_LIMIT: usize = 1_000;

/// The extractor of every query; a handler turns the rejection into a 400 of the API.
pub(super) type QueryResult<T> = Result<Query<T>, QueryRejection>;

/// A trace id of 32 hex digits, either case.
pub(crate) fn trace_id(text: &str) -> Result<TraceId, ReadError> {
    let mut id = TraceId::default();
    hex::decode_to_slice(text, &mut id)
        .map_err(|_| ReadError::Invalid("a trace id has 32 hex digits".to_owned()))?;
    Ok(id)
}

/// The number of entries to return.
pub(super) fn limit(limit: Option<usize>) -> Result<usize, ReadError> {
    match limit.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        _ => Err(ReadError::Invalid(format!(
            "limit must be between 1 and {MAX_LIMIT}"
        ))),
    }
}

/// The lowest `SeverityNumber` to return: a name such as `warn`, or a number from 1 to 24
/// (OpenTelemetry logs data model).
pub(super) fn severity(lowest: &str) -> Result<i32, ReadError> {
    let number = match lowest.to_ascii_lowercase().as_str() {
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
        Err(ReadError::Invalid(
            "severity must be trace, debug, info, warn, error, fatal, or 1 to 24".to_owned(),
        ))
    }
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or_default()
}

/// RFC 3339 in UTC with as many digits as needed; `None` for a time that is not set.
pub(super) fn timestamp(unix_nanos: u64) -> Option<String> {
    if unix_nanos == 0 {
        return None;
    }
    Timestamp::from_nanosecond(i128::from(unix_nanos))
        .ok()
        .map(|time| time.to_string())
}

#[cfg(test)]
mod tests;
