//! The past of one series: few points, the older the further apart.

use std::collections::VecDeque;

use super::data_point::{DataPoint, Instrument};

/// Points of one series. When they are too many, every second one of the older half goes.
const MAX_POINTS: usize = 96;
/// Bytes of one series' points, which a histogram with many buckets has sooner.
const MAX_BYTES: usize = 32 * 1024;

/// The points, the oldest first, the newest last.
#[derive(Debug, Default)]
pub(super) struct History {
    points: VecDeque<PastPoint>,
    bytes: usize,
}

/// One point. Counters and histograms are totals.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PastPoint {
    /// Nanoseconds since 1970, by the sender's clock.
    pub time: u64,
    /// Since when a total counts; 0 if the sender does not say.
    pub start: u64,
    /// The number of a gauge or sum, the sum of a histogram.
    pub value: f64,
    /// Of a histogram or summary.
    pub count: f64,
    pub buckets: Option<Buckets>,
}

/// Totals of the buckets without the empty ones at both ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Buckets {
    first: usize,
    counts: Box<[u64]>,
}

impl PastPoint {
    /// The number of a gauge or sum.
    pub(crate) fn number(&self) -> Option<f64> {
        (self.count == 0.0 && self.buckets.is_none()).then_some(self.value)
    }

    fn of(point: &DataPoint) -> PastPoint {
        let (count, sum) = point.count_and_sum().unwrap_or((0.0, f64::NAN));
        PastPoint {
            time: point.time,
            start: point.start,
            value: point.number().unwrap_or(sum),
            count,
            buckets: point
                .bucket_counts()
                .map(|counts| Buckets::of(counts.into_iter())),
        }
    }

    /// What a sender adds becomes a total.
    fn add(&mut self, last: &PastPoint) {
        self.value += last.value;
        self.count += last.count;
        if let (Some(buckets), Some(before)) = (&mut self.buckets, &last.buckets) {
            let width = buckets.end().max(before.end());
            let sums =
                (0..width).map(|bucket| buckets.at(bucket).saturating_add(before.at(bucket)));
            *buckets = Buckets::of(sums);
        }
    }

    fn cost(&self) -> usize {
        let buckets = self.buckets.as_ref();
        size_of::<PastPoint>() + buckets.map_or(0, |buckets| buckets.counts.len() * 8 + 16)
    }
}

impl Buckets {
    fn of(counts: impl Iterator<Item = u64>) -> Buckets {
        let counts: Vec<u64> = counts.collect();
        let used = |count: &u64| *count > 0;
        let first = counts.iter().position(used).unwrap_or(0);
        let end = counts.iter().rposition(used).map_or(first, |last| last + 1);
        Buckets {
            first,
            counts: counts[first..end].into(),
        }
    }

    pub(crate) fn at(&self, bucket: usize) -> u64 {
        let inside = bucket.checked_sub(self.first);
        inside
            .and_then(|at| self.counts.get(at))
            .copied()
            .unwrap_or(0)
    }

    /// The first bucket after which all are empty.
    pub(crate) fn end(&self) -> usize {
        self.first + self.counts.len()
    }
}

impl History {
    pub(super) fn push(&mut self, instrument: &Instrument, point: &DataPoint) {
        let mut new = PastPoint::of(point);
        match self.points.back() {
            Some(last) if instrument.temporality == Some("delta") && last.time < new.time => {
                new.add(last);
            }
            // The same point again, as after a retry.
            Some(last) if last.time >= new.time => {
                if instrument.temporality == Some("delta") {
                    return;
                }
                self.bytes -= last.cost();
                self.points.pop_back();
            }
            _ => {}
        }
        self.bytes += new.cost();
        self.points.push_back(new);
        while self.points.len() > MAX_POINTS || self.bytes > MAX_BYTES && self.points.len() > 1 {
            self.thin();
        }
    }

    /// Drops every second point of the older half.
    fn thin(&mut self) {
        let older = self.points.len().div_ceil(2);
        let mut at = 0;
        self.points.retain(|_| {
            let keep = at >= older || at % 2 == 1;
            at += 1;
            keep
        });
        self.bytes = self.points.iter().map(PastPoint::cost).sum();
    }

    pub(super) fn points(&self) -> Vec<PastPoint> {
        self.points.iter().cloned().collect()
    }

    pub(super) fn cost(&self) -> usize {
        self.bytes
    }
}
