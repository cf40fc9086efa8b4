//! The limits of one key: a token bucket for its rate, and permits for its requests in flight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::file::{KeyEntry, Rate};

/// How long a client waits that has too many requests in flight: about as long as one takes.
const SOON: Duration = Duration::from_secs(1);

/// What is left of a key's limits.
pub(super) struct Limits {
    bucket: Option<Mutex<Bucket>>,
    in_flight: Option<Arc<Semaphore>>,
}

/// The key is used too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OverLimit {
    #[error("this API key allows fewer requests per second")]
    Rate {
        /// When the next request would be admitted.
        wait: Duration,
    },
    #[error("this API key allows fewer requests in flight")]
    InFlight,
}

impl OverLimit {
    /// Seconds for `Retry-After`, at least one.
    pub(crate) fn retry_after(self) -> u64 {
        let wait = match self {
            Self::Rate { wait } => wait,
            Self::InFlight => SOON,
        };
        wait.as_millis().div_ceil(1_000).max(1) as u64
    }
}

impl Limits {
    pub(super) fn new(entry: &KeyEntry) -> Self {
        let semaphore = |most| Arc::new(Semaphore::new(most as usize));
        Self {
            bucket: entry.rate.map(|rate| Mutex::new(Bucket::new(rate))),
            in_flight: entry.max_in_flight.map(semaphore),
        }
    }

    /// Admits a request, which is in flight as long as the permit is there. A request that is
    /// refused for its company takes no token.
    pub(super) fn admit(&self) -> Result<Option<OwnedSemaphorePermit>, OverLimit> {
        let permit = match &self.in_flight {
            None => None,
            Some(permits) => {
                let permit = Arc::clone(permits).try_acquire_owned();
                Some(permit.map_err(|_| OverLimit::InFlight)?)
            }
        };
        if let Some(bucket) = &self.bucket {
            let taken = bucket.lock().take(Instant::now());
            taken.map_err(|wait| OverLimit::Rate { wait })?;
        }
        Ok(permit)
    }
}

/// Tokens, which come back at the rate up to the burst.
struct Bucket {
    rate: Rate,
    tokens: f64,
    counted_at: Instant,
}

impl Bucket {
    fn new(rate: Rate) -> Self {
        Self {
            rate,
            tokens: f64::from(rate.burst),
            counted_at: Instant::now(),
        }
    }

    /// Takes a token, or returns the time until there is one.
    fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.counted_at).as_secs_f64();
        let most = f64::from(self.rate.burst);
        self.tokens = (self.tokens + passed * self.rate.per_second).min(most);
        self.counted_at = self.counted_at.max(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let wait = (1.0 - self.tokens) / self.rate.per_second;
        Err(Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX))
    }
}

#[cfg(test)]
mod tests;
