//! Durations in buckets whose bounds grow by a fixed factor: any quantile to within 5 %, in fixed
//! memory, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bound of the first bucket; a shorter duration counts as this one.
const FIRST_SECONDS: f64 = 50e-6;
/// Buckets for each doubling: a bound is 9 % above the one before, and the middle of a bucket is
/// within 5 % of each duration in it.
const PER_DOUBLING: f64 = 8.0;
/// They reach to 105 s, beyond what a request may take by default; a longer duration counts as
/// that.
const BUCKETS: usize = 169;

#[derive(Debug)]
pub(super) struct Latency {
    buckets: [AtomicU64; BUCKETS],
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }
}

impl Latency {
    pub(super) fn record(&self, took: Duration) {
        let at = ((took.as_secs_f64() / FIRST_SECONDS).max(1.0).log2() * PER_DOUBLING).ceil();
        self.buckets[(at as usize).min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
    }

    /// Quantiles in seconds; `None` if nothing was recorded.
    pub(super) fn quantiles<const N: usize>(&self, quantiles: [f64; N]) -> [Option<f64>; N] {
        let counts: Vec<u64> = self
            .buckets
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed))
            .collect();
        let total: u64 = counts.iter().sum();
        quantiles.map(|quantile| {
            // The smallest value that at least this share of all does not exceed.
            let rank = ((quantile * total as f64).ceil() as u64).max(1);
            let mut seen = 0;
            let at = counts.iter().position(|count| {
                seen += count;
                seen >= rank
            })?;
            Some(FIRST_SECONDS * ((at as f64 - 0.5) / PER_DOUBLING).max(0.0).exp2())
        })
    }
}
