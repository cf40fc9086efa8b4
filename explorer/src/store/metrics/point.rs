//! One metric point, decoded: what it measures and its last value.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogramDataPoint, HistogramDataPoint, Metric,
    NumberDataPoint, SummaryDataPoint, number_data_point,
};
use serde_json::{Value, json};

use crate::value::double;

/// What the points of a metric have in common.
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

/// The last point of a series. Times are nanoseconds since 1970.
#[derive(Clone, Debug)]
pub(crate) struct Point {
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

impl Point {
    /// Bytes outside of the point itself.
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

/// Points with their attributes.
pub(super) type Points = Vec<(Vec<KeyValue>, Point)>;

/// Splits a metric into what its points share and the points with their attributes; `None` without data.
pub(super) fn read(metric: Metric) -> Option<(Instrument, Points)> {
    let (kind, temporality, monotonic, points) = match metric.data? {
        Data::Gauge(gauge) => ("gauge", None, false, each(gauge.data_points, number)),
        Data::Sum(sum) => {
            let temporality = temporality(sum.aggregation_temporality);
            (
                "sum",
                temporality,
                sum.is_monotonic,
                each(sum.data_points, number),
            )
        }
        Data::Histogram(data) => (
            "histogram",
            temporality(data.aggregation_temporality),
            false,
            each(data.data_points, histogram),
        ),
        Data::ExponentialHistogram(data) => {
            let temporality = temporality(data.aggregation_temporality);
            (
                "exponential_histogram",
                temporality,
                false,
                each(data.data_points, exponential),
            )
        }
        Data::Summary(data) => ("summary", None, false, each(data.data_points, summary)),
    };
    let Metric {
        name,
        unit,
        description,
        ..
    } = metric;
    Some((
        Instrument {
            name,
            unit,
            description,
            kind,
            temporality,
            monotonic,
        },
        points,
    ))
}

fn each<T>(points: Vec<T>, read: fn(T) -> (Vec<KeyValue>, Point)) -> Points {
    points.into_iter().map(read).collect()
}

fn temporality(number: i32) -> Option<&'static str> {
    match AggregationTemporality::try_from(number) {
        Ok(AggregationTemporality::Cumulative) => Some("cumulative"),
        Ok(AggregationTemporality::Delta) => Some("delta"),
        Ok(AggregationTemporality::Unspecified) | Err(_) => None,
    }
}

fn number(point: NumberDataPoint) -> (Vec<KeyValue>, Point) {
    let value = match point.value {
        Some(number_data_point::Value::AsInt(number)) => Reading::Int(number),
        Some(number_data_point::Value::AsDouble(number)) => Reading::Double(number),
        None => Reading::Double(f64::NAN),
    };
    (
        point.attributes,
        Point {
            start: point.start_time_unix_nano,
            time: point.time_unix_nano,
            value,
        },
    )
}

fn histogram(point: HistogramDataPoint) -> (Vec<KeyValue>, Point) {
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
    (
        point.attributes,
        Point {
            start: point.start_time_unix_nano,
            time: point.time_unix_nano,
            value,
        },
    )
}

fn exponential(point: ExponentialHistogramDataPoint) -> (Vec<KeyValue>, Point) {
    let [positive, negative] = [point.positive, point.negative].map(|buckets| {
        buckets.map_or_else(Buckets::default, |buckets| Buckets {
            offset: buckets.offset,
            counts: buckets.bucket_counts.into(),
        })
    });
    let value = Reading::Exponential {
        stats: Distribution {
            count: point.count,
            sum: point.sum,
            min: point.min,
            max: point.max,
        },
        scale: point.scale,
        zero_count: point.zero_count,
        positive,
        negative,
    };
    (
        point.attributes,
        Point {
            start: point.start_time_unix_nano,
            time: point.time_unix_nano,
            value,
        },
    )
}

fn summary(point: SummaryDataPoint) -> (Vec<KeyValue>, Point) {
    let quantiles = point
        .quantile_values
        .iter()
        .map(|pair| (pair.quantile, pair.value))
        .collect();
    let value = Reading::Summary {
        count: point.count,
        sum: point.sum,
        quantiles,
    };
    (
        point.attributes,
        Point {
            start: point.start_time_unix_nano,
            time: point.time_unix_nano,
            value,
        },
    )
}
