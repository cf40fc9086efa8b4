//! Rules on metrics: gauges, means of histograms, rates of counters.

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};

use super::{Bench, START, State, text};

const SECOND: u64 = 1_000_000_000;

fn gauge(name: &str, method: &str, value: f64, seconds: u64) -> Metric {
    let point = NumberDataPoint {
        attributes: vec![
            text("model.name", "wine_quality"),
            text("ml.drift.method", method),
        ],
        time_unix_nano: START + seconds * SECOND,
        value: Some(Value::AsDouble(value)),
        ..NumberDataPoint::default()
    };
    Metric {
        name: name.to_owned(),
        data: Some(Data::Gauge(Gauge {
            data_points: vec![point],
        })),
        ..Metric::default()
    }
}

/// A histogram that began an hour before `START`.
fn histogram(count: u64, sum: f64, seconds: u64, temporality: AggregationTemporality) -> Metric {
    let point = HistogramDataPoint {
        start_time_unix_nano: START - 3_600 * SECOND,
        time_unix_nano: START + seconds * SECOND,
        count,
        sum: Some(sum),
        ..HistogramDataPoint::default()
    };
    Metric {
        name: "ml.prediction.confidence".to_owned(),
        data: Some(Data::Histogram(Histogram {
            data_points: vec![point],
            aggregation_temporality: temporality.into(),
        })),
        ..Metric::default()
    }
}

fn counter(value: i64, started: u64, seconds: u64) -> Metric {
    let point = NumberDataPoint {
        start_time_unix_nano: START + started * SECOND,
        time_unix_nano: START + seconds * SECOND,
        value: Some(Value::AsInt(value)),
        ..NumberDataPoint::default()
    };
    Metric {
        name: "ml.drift.dropped".to_owned(),
        data: Some(Data::Sum(Sum {
            data_points: vec![point],
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        })),
        ..Metric::default()
    }
}

#[test]
fn a_gauge_is_bad_by_its_newest_value_and_gone_with_its_window() {
    let mut bench = Bench::new(
        r#"
        [[rules]]
        name = "psi"
        summary = "large drift"
        kind = "metric"
        metric = "ml.drift.score"
        attributes = { "ml.drift.method" = "psi" }
        above = 0.25
        by = ["model.name"]
        window = "60s"
        "#,
    );
    let trace = bench.span("model-service", |span| {
        span.attributes = vec![text("ml.model_name", "wine_quality")];
    });
    bench.metric(&gauge("ml.drift.score", "ks_d", 0.9, 0));
    bench.metric(&gauge("ml.drift.score", "psi", 0.25, 0));
    bench.metric(&gauge("ml.other", "psi", 0.9, 0));
    assert_eq!(bench.at(0), []);
    bench.metric(&gauge("ml.drift.score", "psi", 0.26, 1));
    assert_eq!(bench.at(1), [State::Firing]);
    let group = bench.rule().groups.remove(0);
    assert_eq!(group.labels["model.name"], "wine_quality");
    assert_eq!(group.measured.value, Some(0.26));
    // A metric has no trace: it is the newest one of the model.
    assert_eq!(group.traces[0].trace_id, trace);
    // Good, but by less than the hysteresis of a tenth.
    bench.metric(&gauge("ml.drift.score", "psi", 0.24, 2));
    assert_eq!(bench.at(2), []);
    bench.metric(&gauge("ml.drift.score", "psi", 0.2, 3));
    assert_eq!(bench.at(3), [State::Resolved]);
    bench.metric(&gauge("ml.drift.score", "psi", f64::NAN, 4));
    assert_eq!(bench.at(4), []);
    bench.metric(&gauge("ml.drift.score", "psi", 0.5, 5));
    assert_eq!(bench.at(5), [State::Firing]);
    // Nobody sends it any more.
    assert_eq!(bench.at(64), []);
    assert_eq!(bench.at(65), [State::Resolved]);
}

const MEAN: &str = r#"
    [[rules]]
    name = "mean"
    summary = "the mean confidence is low"
    kind = "metric"
    metric = "ml.prediction.confidence"
    aggregate = "mean"
    below = 0.65
    more_than = 4
    window = "60s"
"#;

#[test]
fn a_mean_is_of_what_came_in_the_window() {
    let bench = Bench::new(MEAN);
    let total = AggregationTemporality::Cumulative;
    // What came in the hour before is not of this window.
    bench.metric(&histogram(1_000, 100.0, 0, total));
    assert_eq!(bench.at(0), []);
    assert_eq!(bench.rule().groups[0].measured.value, None);
    bench.metric(&histogram(1_004, 100.4, 10, total));
    assert_eq!(bench.at(10), []);
    bench.metric(&histogram(1_005, 103.0, 20, total));
    assert_eq!(bench.at(20), [State::Firing]);
    let group = bench.rule().groups.remove(0);
    assert_eq!(group.measured.items, 5);
    assert!((group.measured.value.unwrap() - 0.6).abs() < 1e-9);
    // The service began again: its total is all new.
    bench.metric(&histogram(10, 9.0, 30, total));
    assert_eq!(bench.at(30), [State::Resolved]);
    assert!((bench.rule().groups[0].measured.value.unwrap() - 0.9).abs() < 1e-9);
}

#[test]
fn deltas_are_added_up() {
    let bench = Bench::new(MEAN);
    let delta = AggregationTemporality::Delta;
    bench.metric(&histogram(3, 0.3, 0, delta));
    assert_eq!(bench.at(0), []);
    bench.metric(&histogram(3, 0.9, 10, delta));
    assert_eq!(bench.at(10), [State::Firing]);
    let value = bench.rule().groups[0].measured.value;
    assert!((value.unwrap() - 0.2).abs() < 1e-9);
}

#[test]
fn a_rate_is_per_second_of_the_window() {
    let bench = Bench::new(
        r#"
        [[rules]]
        name = "dropped"
        summary = "rows are in no window"
        kind = "metric"
        metric = "ml.drift.dropped"
        aggregate = "rate"
        above = 1
        window = "60s"
        "#,
    );
    // A counter that began in the window: all of it came in the window.
    bench.metric(&counter(60, 0, 10));
    assert_eq!(bench.at(10), []);
    assert_eq!(bench.rule().groups[0].measured.value, Some(1.0));
    bench.metric(&counter(120, 0, 20));
    assert_eq!(bench.at(20), [State::Firing]);
    assert_eq!(bench.rule().groups[0].measured.value, Some(2.0));
    // It grows by 6 more in the 60 seconds after second 20.
    bench.metric(&counter(126, 0, 80));
    assert_eq!(bench.at(80), [State::Resolved]);
    assert_eq!(bench.rule().groups[0].measured.value, Some(0.1));
}
