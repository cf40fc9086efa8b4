//! Rate, errors and percentiles of calls.

use serde::{Deserialize, Serialize};

/// Calls with their durations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    /// Nanoseconds.
    durations: Vec<u64>,
    errors: u64,
}

/// What calls add up to. Without a call there are no percentiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    pub calls: u64,
    /// Calls with status ERROR.
    pub errors: u64,
    pub rate_per_second: f64,
    pub p50_ms: Option<f64>,
    pub p95_ms: Option<f64>,
}

impl Calls {
    pub(crate) fn add(&mut self, duration: u64, error: bool) {
        self.durations.push(duration);
        self.errors += u64::from(error);
    }

    pub(crate) fn extend(&mut self, other: &Calls) {
        self.durations.extend(&other.durations);
        self.errors += other.errors;
    }

    pub(crate) fn len(&self) -> u64 {
        self.durations.len() as u64
    }

    pub(crate) fn numbers(&mut self, seconds: f64) -> Numbers {
        self.durations.sort_unstable();
        let milliseconds = |quantile| quantile_of(&self.durations, quantile).map(|ns| ns / 1e6);
        Numbers {
            calls: self.len(),
            errors: self.errors,
            rate_per_second: self.durations.len() as f64 / seconds.max(1.0),
            p50_ms: milliseconds(0.5),
            p95_ms: milliseconds(0.95),
        }
    }
}

impl Numbers {
    /// The share of calls that fail.
    pub(crate) fn error_share(&self) -> f64 {
        self.errors as f64 / self.calls.max(1) as f64
    }
}

/// The smallest value that at least this share of the values does not exceed (nearest rank).
fn quantile_of(sorted: &[u64], quantile: f64) -> Option<f64> {
    let rank = (quantile * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).map(|value| *value as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut calls = Calls::default();
        assert_eq!(calls.numbers(60.0).p95_ms, None);
        for number in (1..=100).rev() {
            calls.add(number * 1_000_000, number > 90);
        }
        let numbers = calls.numbers(50.0);
        assert_eq!((numbers.p50_ms, numbers.p95_ms), (Some(50.0), Some(95.0)));
        assert_eq!((numbers.calls, numbers.errors), (100, 10));
        assert!((numbers.rate_per_second - 2.0).abs() < 1e-9);
        assert!((numbers.error_share() - 0.1).abs() < 1e-9);
    }
}
