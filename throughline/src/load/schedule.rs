//! When each request is due: by the clock alone, so that a slow system gets no less load than a fast
//! one (an open loop).

use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::args::Arrivals;

/// The times of arrival since the start, in order.
#[derive(Debug)]
pub(crate) struct Schedule {
    arrivals: Arrivals,
    rate: f64,
    end: Duration,
    sent: u64,
    last: f64,
    random: ChaCha8Rng,
}

impl Schedule {
    /// Arrivals at `rate` per second until `end`.
    pub(crate) fn new(arrivals: Arrivals, rate: f64, end: Duration, seed: u64) -> Self {
        Self {
            arrivals,
            rate,
            end,
            sent: 0,
            last: 0.0,
            random: ChaCha8Rng::seed_from_u64(seed),
        }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let seconds = match self.arrivals {
            // By multiplication: a sum of gaps would drift.
            Arrivals::Constant => self.sent as f64 / self.rate,
            Arrivals::Poisson => {
                // 1 - u lies in (0, 1], whose logarithm is finite.
                let uniform: f64 = self.random.random();
                self.last -= (1.0 - uniform).ln() / self.rate;
                self.last
            }
        };
        let due = Duration::from_secs_f64(seconds);
        if due >= self.end {
            return None;
        }
        self.sent += 1;
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn arrivals(kind: Arrivals, rate: f64) -> Vec<Duration> {
        Schedule::new(kind, rate, MINUTE, 7).collect()
    }

    #[test]
    fn constant_arrivals_neither_drift_nor_exceed_the_end() {
        let due = arrivals(Arrivals::Constant, 300.0);
        assert_eq!(due.len(), 18_000);
        assert_eq!(due[0], Duration::ZERO);
        assert_eq!(due[300], Duration::from_secs(1));
        assert_eq!(due[17_700], Duration::from_secs(59));
        assert!(due.iter().all(|due| *due < MINUTE));
        assert_eq!(arrivals(Arrivals::Constant, 0.01).len(), 1);
    }

    #[test]
    fn random_arrivals_have_the_rate_and_exponential_gaps() {
        let due = arrivals(Arrivals::Poisson, 200.0);
        // 12,000 expected; five standard deviations are 548.
        assert!((11_452..12_548).contains(&due.len()), "{}", due.len());
        let gaps: Vec<f64> = due
            .windows(2)
            .map(|pair| pair[1].as_secs_f64() - pair[0].as_secs_f64())
            .collect();
        // The share of gaps above the mean is 1/e for exponential gaps, and none for equal ones.
        let above = gaps.iter().filter(|gap| **gap > 1.0 / 200.0).count();
        let share = above as f64 / gaps.len() as f64;
        assert!((0.345..0.391).contains(&share), "{share}");
        assert_eq!(due, arrivals(Arrivals::Poisson, 200.0), "a seed repeats it");
    }
}
