//! The points of a metric over time as a chart shows them: a gauge as its value, a counter as its
//! rate, a histogram as percentiles and a heat strip.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::store::MetricStore;
use crate::store::metrics::{Buckets, PastPoint, SeriesHistory};

/// Series in one answer; the rest is counted.
const MAX_SERIES: usize = 40;

/// The answer of `GET /api/metrics/points?name=…`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointsReport {
    pub name: String,
    pub unit: String,
    pub description: String,
    pub series: Vec<ChartSeries>,
    /// Series that are not here because there are too many.
    pub left_out: usize,
}

/// One set of attributes of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChartSeries {
    pub service: String,
    pub attributes: Map<String, Value>,
    /// As the sender says: `gauge`, `sum`, `histogram` and so on.
    pub kind: String,
    pub shows: Shows,
    /// The oldest first.
    pub points: Vec<ChartPoint>,
    /// Of a histogram: the upper ends of the buckets in [`ChartPoint::buckets`] but the last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bounds: Vec<f64>,
}

/// What the numbers of a series are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shows {
    Value,
    /// Per second.
    Rate,
    /// Percentiles of what came since the point before.
    Distribution,
}

/// One moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChartPoint {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// The value or the rate; the mean of a distribution.
    pub value: Option<f64>,
    /// Values of a distribution since the point before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95: Option<f64>,
    /// How many of them are in each bucket.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<u64>,
}

/// `None` for a metric that was not received.
pub(crate) fn points(store: &MetricStore, name: &str) -> Option<PointsReport> {
    let histories = store.history(name);
    let first = histories.first()?;
    Some(PointsReport {
        name: name.to_owned(),
        unit: first.instrument.unit.clone(),
        description: first.instrument.description.clone(),
        left_out: histories.len().saturating_sub(MAX_SERIES),
        series: histories.iter().take(MAX_SERIES).map(series).collect(),
    })
}

fn series(history: &SeriesHistory) -> ChartSeries {
    let (kind, monotonic) = (history.instrument.kind, history.instrument.monotonic);
    let shows = match kind {
        "gauge" => Shows::Value,
        "sum" if !monotonic => Shows::Value,
        "sum" => Shows::Rate,
        _ => Shows::Distribution,
    };
    let before = std::iter::once(None).chain(history.points.iter().map(Some));
    let pairs = before.zip(&history.points);
    let used = used(history);
    let points = pairs.filter_map(|(before, point)| match shows {
        Shows::Value => Some(ChartPoint {
            time: point.time,
            value: finite(point.value),
            ..ChartPoint::default()
        }),
        Shows::Rate => rate(before, point),
        Shows::Distribution => distribution(before, point, &history.bounds, &used),
    });
    ChartSeries {
        service: history.source.service.clone(),
        attributes: history.attributes.clone(),
        kind: kind.to_owned(),
        shows,
        points: points.collect(),
        bounds: history
            .bounds
            .get(used.start..used.end.saturating_sub(1).max(used.start))
            .unwrap_or_default()
            .to_vec(),
    }
}

/// The buckets that a point has something in.
fn used(history: &SeriesHistory) -> std::ops::Range<usize> {
    let buckets = || {
        history
            .points
            .iter()
            .filter_map(|point| point.buckets.as_ref())
    };
    let all = history.bounds.len() + 1;
    let is_used = |bucket: &usize| buckets().any(|counts| counts.at(*bucket) > 0);
    let first = (0..all).find(is_used).unwrap_or(0);
    let end = buckets().map(Buckets::end).max().unwrap_or(0);
    first..end.clamp(first, all)
}

/// The point that a total is compared with: the one before, or nothing at its start. `None` if it is
/// not known since when the first total counts.
fn since<'a>(
    before: Option<&'a PastPoint>,
    point: &PastPoint,
) -> Option<(Option<&'a PastPoint>, f64)> {
    match before {
        // A process that began again counts from its own start.
        Some(last) if total(point) >= total(last) => {
            let seconds = point.time.saturating_sub(last.time) as f64 / 1e9;
            Some((Some(last), seconds))
        }
        _ if point.start > 0 && point.start < point.time => {
            Some((None, (point.time - point.start) as f64 / 1e9))
        }
        _ => None,
    }
}

/// What never falls: the count of a distribution, since its values may be negative.
fn total(point: &PastPoint) -> f64 {
    if point.number().is_some() {
        point.value
    } else {
        point.count
    }
}

fn rate(before: Option<&PastPoint>, point: &PastPoint) -> Option<ChartPoint> {
    let (last, seconds) = since(before, point)?;
    let grown = point.value - last.map_or(0.0, |last| last.value);
    Some(ChartPoint {
        time: point.time,
        value: finite(grown / seconds),
        ..ChartPoint::default()
    })
}

fn distribution(
    before: Option<&PastPoint>,
    point: &PastPoint,
    bounds: &[f64],
    used: &std::ops::Range<usize>,
) -> Option<ChartPoint> {
    let (last, _) = since(before, point)?;
    let count = point.count - last.map_or(0.0, |last| last.count);
    let sum = point.value - last.map_or(0.0, |last| last.value);
    let buckets: Vec<u64> = point.buckets.as_ref().map_or_else(Vec::new, |buckets| {
        let grown = |bucket| {
            let was = last.and_then(|last| last.buckets.as_ref());
            let was = was.map_or(0, |was| was.at(bucket));
            buckets.at(bucket).saturating_sub(was)
        };
        (0..=bounds.len()).map(grown).collect()
    });
    let quantile = |quantile| quantile_of(&buckets, bounds, quantile);
    Some(ChartPoint {
        time: point.time,
        value: finite(sum / count),
        count: finite(count),
        p50: quantile(0.5),
        p95: quantile(0.95),
        buckets: buckets.get(used.clone()).unwrap_or_default().to_vec(),
    })
}

/// A quantile from buckets, evenly spread within each of them. Of the last, which has no upper end,
/// it is the lower one.
fn quantile_of(buckets: &[u64], bounds: &[f64], quantile: f64) -> Option<f64> {
    let all: u64 = buckets.iter().sum();
    if all == 0 || bounds.is_empty() {
        return None;
    }
    let rank = quantile * all as f64;
    let mut below = 0.0;
    for (bucket, count) in buckets.iter().enumerate() {
        let count = *count as f64;
        if count > 0.0 && below + count >= rank {
            let Some(upper) = bounds.get(bucket) else {
                return bounds.last().copied();
            };
            let lower = match bucket.checked_sub(1) {
                Some(before) => bounds[before],
                None => upper.min(0.0),
            };
            return Some(lower + (upper - lower) * (rank - below) / count);
        }
        below += count;
    }
    bounds.last().copied()
}

fn finite(number: f64) -> Option<f64> {
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests;
