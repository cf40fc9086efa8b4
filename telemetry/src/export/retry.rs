//! Which failed requests to the collector are sent again, and after which delay.
//!
//! OTLP asks for a retry after 429, 502, 503, 504 and a lost connection, with exponential backoff
//! and jitter, and for the delay of `Retry-After` where the collector sends one.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

/// Requests after the first one. Together they wait for 3.1 s: a job that starts with its collector,
/// in Kubernetes for example, is some seconds ahead of the Service's endpoint.
const MAX_RETRIES: u32 = 5;
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// Keeps processes that lost the same collector from returning at the same moment.
const MAX_JITTER_MS: u64 = 100;
/// Longest `Retry-After` that is followed: the queue fills while the export waits.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// The delays of one export.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    retries: u32,
}

impl Backoff {
    /// The delay before the next request, at least `asked`; `None` after the last one.
    pub(super) fn next_delay(&mut self, asked: Option<Duration>) -> Option<Duration> {
        if self.retries == MAX_RETRIES {
            return None;
        }
        let delay = FIRST_DELAY * 2_u32.pow(self.retries);
        self.retries += 1;
        Some(delay.max(asked.unwrap_or_default()) + jitter())
    }
}

/// Whether OTLP lets a client send the same batch again after this status.
pub(super) fn is_retryable(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// The delay that `Retry-After` asks for, in seconds or until a date.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let delay = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(value)
            .ok()?
            .duration_since(now)
            .unwrap_or_default(),
    };
    Some(delay.min(MAX_RETRY_AFTER))
}

fn jitter() -> Duration {
    // Every `RandomState` has keys of its own, which is random enough and needs no generator.
    Duration::from_millis(RandomState::new().hash_one(0) % (MAX_JITTER_MS + 1))
}

#[cfg(test)]
mod tests;
