//! Rates, percentiles and heat from points that arrive one after the other.

use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, Sum, exponential_histogram_data_point::Buckets as Exponents,
    metric::Data, number_data_point::Value,
};
use prost::Message;

use super::*;
use crate::store::metrics::ReceivedMetric;
use crate::store::tests::source;

const SECOND: u64 = 1_000_000_000;
const CUMULATIVE: i32 = 2;
const DELTA: i32 = 1;

fn send(store: &MetricStore, data: Data) {
    let metric = Metric {
        name: "m".to_owned(),
        unit: "s".to_owned(),
        data: Some(data),
        ..Metric::default()
    };
    let metric = ReceivedMetric::decode(&metric.encode_to_vec());
    store.insert(source("gateway"), vec![metric.unwrap().unwrap()]);
}

fn number(start: u64, time: u64, value: f64) -> NumberDataPoint {
    NumberDataPoint {
        start_time_unix_nano: start * SECOND,
        time_unix_nano: time * SECOND,
        value: Some(Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

fn sum(temporality: i32, start: u64, time: u64, value: f64) -> Data {
    Data::Sum(Sum {
        data_points: vec![number(start, time, value)],
        aggregation_temporality: temporality,
        is_monotonic: true,
    })
}

fn histogram(temporality: i32, time: u64, counts: [u64; 3]) -> Data {
    let point = HistogramDataPoint {
        start_time_unix_nano: SECOND,
        time_unix_nano: time * SECOND,
        count: counts.iter().sum(),
        sum: Some(counts.iter().sum::<u64>() as f64),
        explicit_bounds: vec![1.0, 2.0],
        bucket_counts: counts.to_vec(),
        ..HistogramDataPoint::default()
    };
    Data::Histogram(Histogram {
        data_points: vec![point],
        aggregation_temporality: temporality,
    })
}

fn values(store: &MetricStore) -> Vec<Option<f64>> {
    let report = points(store, "m").unwrap();
    report.series[0]
        .points
        .iter()
        .map(|point| point.value)
        .collect()
}

#[test]
fn a_counter_is_its_rate_also_after_a_restart_and_in_deltas() {
    let store = MetricStore::new(1 << 20);
    send(&store, sum(CUMULATIVE, 10, 20, 50.0));
    send(&store, sum(CUMULATIVE, 10, 30, 70.0));
    // Another process, since 35.
    send(&store, sum(CUMULATIVE, 35, 40, 10.0));
    assert_eq!(values(&store), [Some(5.0), Some(2.0), Some(2.0)]);
    let store = MetricStore::new(1 << 20);
    send(&store, sum(DELTA, 10, 20, 50.0));
    send(&store, sum(DELTA, 20, 30, 20.0));
    assert_eq!(values(&store), [Some(5.0), Some(2.0)]);
}

#[test]
fn a_gauge_is_its_value_and_a_point_that_is_no_number_is_a_gap() {
    let store = MetricStore::new(1 << 20);
    for (time, value) in [(1, 3.0), (2, f64::NAN), (3, -1.0)] {
        let data_points = vec![number(0, time, value)];
        send(&store, Data::Gauge(Gauge { data_points }));
    }
    assert_eq!(values(&store), [Some(3.0), None, Some(-1.0)]);
    assert_eq!(points(&store, "m").unwrap().series[0].shows, Shows::Value);
    assert!(points(&store, "other").is_none());
}

#[test]
fn a_histogram_is_percentiles_and_buckets_of_what_came_since() {
    for temporality in [CUMULATIVE, DELTA] {
        let store = MetricStore::new(1 << 20);
        send(&store, histogram(temporality, 2, [10, 0, 0]));
        let second = match temporality {
            DELTA => [0, 4, 0],
            _ => [10, 4, 0],
        };
        send(&store, histogram(temporality, 3, second));
        let series = &points(&store, "m").unwrap().series[0];
        let [first, second] = &series.points[..] else {
            panic!("{series:?}")
        };
        assert_eq!((first.count, first.p50), (Some(10.0), Some(0.5)));
        assert_eq!((second.count, second.p50), (Some(4.0), Some(1.5)));
        assert_eq!(second.p95, Some(1.95));
        // The last bucket is empty all the time and is left out.
        assert_eq!(series.bounds, [1.0]);
        assert_eq!(
            (&first.buckets[..], &second.buckets[..]),
            (&[10, 0][..], &[0, 4][..])
        );
    }
}

#[test]
fn an_exponential_histogram_is_shown_between_powers_of_two() {
    let store = MetricStore::new(1 << 20);
    // Scale 1: the buckets 4 to 7 are (4, 5.7], (5.7, 8], (8, 11.3], (11.3, 16].
    let point = ExponentialHistogramDataPoint {
        start_time_unix_nano: SECOND,
        time_unix_nano: 2 * SECOND,
        count: 8,
        sum: Some(80.0),
        scale: 1,
        positive: Some(Exponents {
            offset: 4,
            bucket_counts: vec![1, 1, 3, 3],
        }),
        ..ExponentialHistogramDataPoint::default()
    };
    send(
        &store,
        Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![point],
            aggregation_temporality: CUMULATIVE,
        }),
    );
    let series = &points(&store, "m").unwrap().series[0];
    assert_eq!(series.bounds, [8.0]);
    assert_eq!(series.points[0].buckets, [2, 6]);
    assert_eq!(series.points[0].value, Some(10.0));
    let p95 = series.points[0].p95.unwrap();
    assert!((8.0..=16.0).contains(&p95), "{p95}");
}

#[test]
fn a_long_past_is_thinned_and_stays_within_its_bytes() {
    let store = MetricStore::new(1 << 20);
    for time in 2..5_000 {
        send(&store, histogram(CUMULATIVE, time, [time, time, 0]));
    }
    let series = &points(&store, "m").unwrap().series[0];
    assert!(
        (48..=96).contains(&series.points.len()),
        "{}",
        series.points.len()
    );
    let newest = series.points.last().unwrap();
    assert_eq!(newest.time, 4_999 * SECOND);
    // Nothing is lost between the points that are left.
    let counted: f64 = series.points.iter().filter_map(|point| point.count).sum();
    assert!((counted - 2.0 * 4_999.0).abs() < 1e-6, "{counted}");
    assert!(store.counts().bytes < 40_000, "{:?}", store.counts());
}

#[test]
fn a_sum_that_says_no_start_begins_with_its_second_point() {
    let store = MetricStore::new(1 << 20);
    send(&store, sum(CUMULATIVE, 0, 20, 50.0));
    assert_eq!(values(&store), []);
    send(&store, sum(CUMULATIVE, 0, 30, 70.0));
    assert_eq!(values(&store), [Some(2.0)]);
}
