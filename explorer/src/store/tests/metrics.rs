//! The store of metric series.

use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, metric::Data, number_data_point,
};
use prost::Message;

use super::{source, text};
use crate::store::MetricStore;
use crate::store::metrics::ReceivedMetric;

fn gauge(name: &str, attribute: &str, time: u64, value: i64) -> ReceivedMetric {
    let point = NumberDataPoint {
        attributes: vec![text("b", attribute), text("a", "fixed")],
        time_unix_nano: time,
        value: Some(number_data_point::Value::AsInt(value)),
        ..NumberDataPoint::default()
    };
    let metric = Metric {
        name: name.to_owned(),
        data: Some(Data::Gauge(Gauge {
            data_points: vec![point],
        })),
        ..Metric::default()
    };
    ReceivedMetric::decode(&metric.encode_to_vec())
        .unwrap()
        .unwrap()
}

#[test]
fn metrics_keep_the_last_point_of_each_series() {
    let store = MetricStore::new(1 << 20);
    for time in 1..=3 {
        store.insert(
            source("gateway"),
            vec![
                gauge("load", "x", time, time.cast_signed()),
                gauge("load", "y", time, 7),
            ],
        );
    }
    store.insert(source("gateway"), vec![gauge("load", "x", 2, 99)]);
    store.insert(source("model-service"), vec![gauge("load", "x", 1, 5)]);
    let series = store.series("load");
    let points: Vec<_> = series
        .iter()
        .map(|series| (series.source.service.as_str(), series.point.json()))
        .collect();
    assert_eq!(
        points,
        [
            ("gateway", 3.into()),
            ("gateway", 7.into()),
            ("model-service", 5.into())
        ]
    );
    assert_eq!(
        store.names().into_iter().collect::<Vec<_>>(),
        [("load".to_owned(), 3)]
    );
    assert_eq!(store.counts().duplicates, 1, "a point from the past");
}

#[test]
fn a_flood_of_series_stays_within_bytes_and_number() {
    let store = MetricStore::new(4 << 20);
    for number in 0..20_000 {
        store.insert(
            source("gateway"),
            vec![gauge("load", &format!("x{number}"), 1, 1)],
        );
        store.insert(source("gateway"), vec![gauge("steady", "", 1, 1)]);
    }
    let counts = store.counts();
    assert!(counts.held <= 8_192 && counts.held > 4_000, "{counts:?}");
    assert!(counts.bytes <= 4 << 20);
    assert_eq!(store.series("steady").len(), 1, "what is updated stays");
    let narrow = MetricStore::new(10_000);
    for number in 0..1_000 {
        narrow.insert(
            source(&format!("service-{number}")),
            vec![gauge("load", "x", 1, 1)],
        );
        assert!(narrow.counts().bytes <= 10_000);
    }
}
