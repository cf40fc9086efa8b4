//! One decoded data point and the instrument that it belongs to.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogramDataPoint, HistogramDataPoint, Metric,
    NumberDataPoint, SummaryDataPoint, exponential_histogram_data_point, number_data_point,
};
use serde_json::{Value, json};

use crate::attribute::double;

/// What the data points of a metric have in common.
#[derive(Debug, PartialEq)]
pub(crate) struct Instrument {
    pub name: String,
    pub unit: String,
    pub description: String,
    /// `gauge`, `sum`, `histogram`, `exponential_histogram`, `summary`.
    pub kind: &'static str,
    /// `cumulative` or `delta` where the kind has one.
    pub temporality: Option<&'static str>,
    pub monotonic: bool,
}

/// The last data point of a series. Times are nanoseconds since 1970.
#[derive(Clone, Debug)]
pub(crate) struct DataPoint {
    pub start: u64,
    pub time: u64,
    value: Reading,
}

#[derive(Clone, Debug)]
enum Reading {
    Int(i64),
    Double(f64),
    Histogram {
        stats: Distribution,
        bounds: Box<[f64]>,
        counts: Box<[u64]>,
    },
    Exponential {
        stats: Distribution,
        scale: i32,
        zero_count: u64,
        positive: Buckets,
        negative: Buckets,
    },
    Summary {
        count: u64,
        sum: f64,
        quantiles: Box<[(f64, f64)]>,
    },
}

#[derive(Clone, Debug)]
struct Distribution {
    count: u64,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
}

#[derive(Clone, Debug, Default)]
struct Buckets {
    offset: i32,
    counts: Box<[u64]>,
}

impl Instrument {
    pub(crate) fn cost(&self) -> usize {
        size_of::<Instrument>() + self.name.len() * 2 + self.unit.len() + self.description.len()
    }
}

impl DataPoint {
    /// Bytes on the heap.
    pub(crate) fn cost(&self) -> usize {
        match &self.value {
            Reading::Int(_) | Reading::Double(_) => 0,
            Reading::Histogram { bounds, counts, .. } => (bounds.len() + counts.len()) * 8 + 32,
            Reading::Exponential {
                positive, negative, ..
            } => (positive.counts.len() + negative.counts.len()) * 8 + 32,
            Reading::Summary { quantiles, .. } => quantiles.len() * 16 + 16,
        }
    }

    /// The number of a gauge or sum.
    pub(crate) fn number(&self) -> Option<f64> {
        match &self.value {
            Reading::Int(number) => Some(*number as f64),
            Reading::Double(number) => Some(*number),
            _ => None,
        }
    }

    /// Count and sum of a histogram or summary.
    pub(crate) fn count_and_sum(&self) -> Option<(f64, f64)> {
        match &self.value {
            Reading::Histogram { stats, .. } | Reading::Exponential { stats, .. } => {
                Some((stats.count as f64, stats.sum?))
            }
            Reading::Summary { count, sum, .. } => Some((*count as f64, *sum)),
            Reading::Int(_) | Reading::Double(_) => None,
        }
    }

    /// Upper ends of the buckets of a histogram but the last; those of an exponential one are the
    /// powers of two.
    pub(crate) fn bounds(&self) -> Vec<f64> {
        match &self.value {
            Reading::Histogram { bounds, .. } => bounds.to_vec(),
            Reading::Exponential { .. } => EXPONENTS.map(|power| f64::from(power).exp2()).collect(),
            _ => Vec::new(),
        }
    }

    /// How many values are in each of the buckets between [`DataPoint::bounds`].
    pub(super) fn bucket_counts(&self) -> Option<Vec<u64>> {
        match &self.value {
            Reading::Histogram { counts, .. } => Some(counts.to_vec()),
            Reading::Exponential {
                scale,
                zero_count,
                positive,
                negative,
                ..
            } => {
                let mut counts = vec![0_u64; EXPONENTS.count() + 1];
                let below = negative
                    .counts
                    .iter()
                    .fold(*zero_count, |sum, count| sum.saturating_add(*count));
                counts[0] = below;
                for (index, count) in (i64::from(positive.offset)..).zip(&positive.counts) {
                    let at = power_of(*scale, index);
                    counts[at] = counts[at].saturating_add(*count);
                }
                Some(counts)
            }
            _ => None,
        }
    }

    /// The value as JSON: a number, or an object with count, sum and buckets.
    pub(crate) fn json(&self) -> Value {
        match &self.value {
            Reading::Int(number) => Value::from(*number),
            Reading::Double(number) => double(*number),
            Reading::Histogram {
                stats,
                bounds,
                counts,
            } => stats.json(json!({
                "bounds": bounds.iter().copied().map(double).collect::<Vec<_>>(),
                "counts": counts,
            })),
            Reading::Exponential {
                stats,
                scale,
                zero_count,
                positive,
                negative,
            } => stats.json(json!({
                "scale": scale,
                "zero_count": zero_count,
                "positive": { "offset": positive.offset, "counts": positive.counts },
                "negative": { "offset": negative.offset, "counts": negative.counts },
            })),
            Reading::Summary {
                count,
                sum,
                quantiles,
            } => json!({
                "count": count,
                "sum": double(*sum),
                "quantiles": quantiles.iter()
                    .map(|(quantile, value)| json!({ "quantile": double(*quantile), "value": double(*value) }))
                    .collect::<Vec<_>>(),
            }),
        }
    }
}

/// Exponents of the bounds that an exponential histogram is shown with: from a nanosecond to a
/// terabyte.
const EXPONENTS: std::ops::RangeInclusive<i16> = -30..=40;

/// The bucket between powers of two that the bucket `index` of an exponential histogram is in. That
/// is exact from scale 0 on, where the buckets nest: `(2^(index/2^scale), 2^((index+1)/2^scale)]`
/// (OpenTelemetry metrics data model, exponential scale).
fn power_of(scale: i32, index: i64) -> usize {
    let lower = if scale >= 0 {
        index >> scale.min(62)
    } else {
        index.saturating_mul(1 << (-scale).clamp(0, 12))
    };
    // The bucket below the bound `2^(lower + 1)`.
    let (first, last) = (i64::from(*EXPONENTS.start()), i64::from(*EXPONENTS.end()));
    (lower + 1 - first).clamp(0, last + 1 - first) as usize
}

impl Distribution {
    fn json(&self, mut buckets: Value) -> Value {
        buckets["count"] = Value::from(self.count);
        for (name, value) in [("sum", self.sum), ("min", self.min), ("max", self.max)] {
            if let Some(value) = value {
                buckets[name] = double(value);
            }
        }
        buckets
    }
}

/// Data points with their attributes.
pub(super) type DataPoints = Vec<(Vec<KeyValue>, DataPoint)>;

/// Splits a metric into its instrument and its data points; `None` when it has no data.
pub(super) fn read(metric: Metric) -> Option<(Instrument, DataPoints)> {
    let mut instrument = Instrument {
        name: metric.name,
        unit: metric.unit,
        description: metric.description,
        kind: "",
        temporality: None,
        monotonic: false,
    };
    let points = match metric.data? {
        Data::Gauge(data) => {
            instrument.kind = "gauge";
            data.data_points.into_iter().map(number).collect()
        }
        Data::Sum(data) => {
            instrument.kind = "sum";
            instrument.temporality = temporality(data.aggregation_temporality);
            instrument.monotonic = data.is_monotonic;
            data.data_points.into_iter().map(number).collect()
        }
        Data::Histogram(data) => {
            instrument.kind = "histogram";
            instrument.temporality = temporality(data.aggregation_temporality);
            data.data_points.into_iter().map(histogram).collect()
        }
        Data::ExponentialHistogram(data) => {
            instrument.kind = "exponential_histogram";
            instrument.temporality = temporality(data.aggregation_temporality);
            data.data_points.into_iter().map(exponential).collect()
        }
        Data::Summary(data) => {
            instrument.kind = "summary";
            data.data_points.into_iter().map(summary).collect()
        }
    };
    Some((instrument, points))
}

fn temporality(number: i32) -> Option<&'static str> {
    match AggregationTemporality::try_from(number) {
        Ok(AggregationTemporality::Cumulative) => Some("cumulative"),
        Ok(AggregationTemporality::Delta) => Some("delta"),
        Ok(AggregationTemporality::Unspecified) | Err(_) => None,
    }
}

fn number(point: NumberDataPoint) -> (Vec<KeyValue>, DataPoint) {
    let value = match point.value {
        Some(number_data_point::Value::AsInt(number)) => Reading::Int(number),
        Some(number_data_point::Value::AsDouble(number)) => Reading::Double(number),
        None => Reading::Double(f64::NAN),
    };
    let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
    (point.attributes, DataPoint { start, time, value })
}

fn histogram(point: HistogramDataPoint) -> (Vec<KeyValue>, DataPoint) {
    let value = Reading::Histogram {
        stats: Distribution {
            count: point.count,
            sum: point.sum,
            min: point.min,
            max: point.max,
        },
        bounds: point.explicit_bounds.into(),
        counts: point.bucket_counts.into(),
    };
    let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
    (point.attributes, DataPoint { start, time, value })
}

fn exponential(point: ExponentialHistogramDataPoint) -> (Vec<KeyValue>, DataPoint) {
    let value = Reading::Exponential {
        stats: Distribution {
            count: point.count,
            sum: point.sum,
            min: point.min,
            max: point.max,
        },
        scale: point.scale,
        zero_count: point.zero_count,
        positive: point.positive.map(buckets).unwrap_or_default(),
        negative: point.negative.map(buckets).unwrap_or_default(),
    };
    let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
    (point.attributes, DataPoint { start, time, value })
}

fn buckets(buckets: exponential_histogram_data_point::Buckets) -> Buckets {
    Buckets {
        offset: buckets.offset,
        counts: buckets.bucket_counts.into(),
    }
}

fn summary(point: SummaryDataPoint) -> (Vec<KeyValue>, DataPoint) {
    let quantiles = point.quantile_values.iter();
    let value = Reading::Summary {
        count: point.count,
        sum: point.sum,
        quantiles: quantiles.map(|pair| (pair.quantile, pair.value)).collect(),
    };
    let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
    (point.attributes, DataPoint { start, time, value })
}
