//! Latencies with and without coordinated omission.
//!
//! A client that waits for a slow answer before it sends its next request measures one slow request
//! where its users, who do not wait for each other, meet many (Gil Tene's "coordinated omission").
//! So the latency of a request begins at its scheduled arrival. The time from its sending is kept
//! beside it, to tell a slow system from a load generator that cannot follow.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Values from 1 µs to an hour, to three digits.
const HIGHEST_US: u64 = 3_600_000_000;
const DIGITS: u8 = 3;
/// An arrival that is sent later than this after its time is late. A timer alone can be a
/// millisecond or two behind.
pub(super) const LATE: Duration = Duration::from_millis(10);

/// The moments of one request, since the start of the load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    pub(super) due: Duration,
    pub(super) sent: Duration,
    pub(super) answered: Duration,
}

/// The latencies of many requests.
#[derive(Clone, Debug)]
pub(super) struct Latencies {
    from_schedule: Histogram<u64>,
    from_sending: Histogram<u64>,
    late: u64,
    latest: Duration,
}

/// A distribution in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Summary {
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

impl Latencies {
    pub(super) fn new() -> anyhow::Result<Self> {
        let empty = Histogram::new_with_bounds(1, HIGHEST_US, DIGITS)?;
        Ok(Self {
            from_schedule: empty.clone(),
            from_sending: empty,
            late: 0,
            latest: Duration::ZERO,
        })
    }

    pub(super) fn record(&mut self, moments: Moments) {
        let late_by = moments.sent.saturating_sub(moments.due);
        self.late += u64::from(late_by > LATE);
        self.latest = self.latest.max(late_by);
        let corrected = moments.answered.saturating_sub(moments.due);
        self.from_schedule
            .saturating_record(microseconds(corrected));
        let plain = moments.answered.saturating_sub(moments.sent);
        self.from_sending.saturating_record(microseconds(plain));
    }

    pub(super) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.from_schedule.add(&other.from_schedule)?;
        self.from_sending.add(&other.from_sending)?;
        self.late += other.late;
        self.latest = self.latest.max(other.latest);
        Ok(())
    }

    /// Requests that were sent late.
    pub(super) fn late(&self) -> u64 {
        self.late
    }

    /// The longest time that a request was sent after its time.
    pub(super) fn latest(&self) -> Duration {
        self.latest
    }

    /// From the scheduled arrival, which corrects for coordinated omission.
    pub(super) fn corrected(&self) -> Summary {
        summary(&self.from_schedule)
    }

    /// From the sending.
    pub(super) fn uncorrected(&self) -> Summary {
        summary(&self.from_sending)
    }
}

fn microseconds(time: Duration) -> u64 {
    // The lowest bucket is 1.
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1)
}

fn summary(histogram: &Histogram<u64>) -> Summary {
    let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
    Summary {
        mean: histogram.mean() / 1e3,
        p50: at(0.50),
        p90: at(0.90),
        p95: at(0.95),
        p99: at(0.99),
        p999: at(0.999),
        max: histogram.max() as f64 / 1e3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// 100 requests a second for 10 s over one connection to a server that answers in 1 ms, but
    /// stands still from second 5 to second 6.
    fn one_connection_and_a_stall() -> Latencies {
        let mut latencies = Latencies::new().expect("bounds");
        let mut free = Duration::ZERO;
        for number in 0..1_000 {
            let due = ms(number * 10);
            let sent = due.max(free);
            let stalled = (ms(5_000)..ms(6_000)).contains(&sent);
            let answered = if stalled { ms(6_001) } else { sent + ms(1) };
            free = answered;
            latencies.record(Moments {
                due,
                sent,
                answered,
            });
        }
        latencies
    }

    #[test]
    fn a_stall_is_felt_by_all_who_would_have_come_meanwhile() {
        let latencies = one_connection_and_a_stall();
        // One request of a thousand met the stall.
        let plain = latencies.uncorrected();
        assert!((plain.p99 - 1.0).abs() < 0.01, "{plain:?}");
        assert!((plain.max - 1_001.0).abs() < 1.0, "{plain:?}");
        // A hundred arrived during the stall, and more before the queue was empty again: each
        // waits 9 ms less than the one before, so the latencies fall evenly to 1 ms.
        let corrected = latencies.corrected();
        assert!((corrected.p90 - 91.0).abs() < 15.0, "{corrected:?}");
        assert!((corrected.p95 - 550.0).abs() < 15.0, "{corrected:?}");
        assert!((corrected.p99 - 910.0).abs() < 15.0, "{corrected:?}");
        assert_eq!(latencies.from_schedule.len(), 1_000);
        // All but the first and those that waited at most 10 ms.
        assert!(
            (105..=111).contains(&latencies.late()),
            "{}",
            latencies.late()
        );
        assert_eq!(latencies.latest(), ms(991));
    }

    #[test]
    fn nothing_is_late_in_an_open_loop() {
        let mut latencies = Latencies::new().expect("bounds");
        for number in 0..1_000 {
            // Each waits for the end of the stall, but nobody for a connection.
            let due = ms(number * 10);
            let stalled = (ms(5_000)..ms(6_000)).contains(&due);
            let answered = if stalled { ms(6_001) } else { due + ms(1) };
            latencies.record(Moments {
                due,
                sent: due,
                answered,
            });
        }
        assert_eq!(latencies.corrected(), latencies.uncorrected());
        assert_eq!((latencies.late(), latencies.latest()), (0, Duration::ZERO));
    }

    #[test]
    fn extremes_stay_in_the_histogram() {
        let mut latencies = Latencies::new().expect("bounds");
        for answered in [Duration::ZERO, Duration::from_secs(100_000)] {
            latencies.record(Moments {
                due: Duration::ZERO,
                sent: Duration::ZERO,
                answered,
            });
        }
        assert_eq!(latencies.from_schedule.len(), 2);
    }
}
