//! Bounds, order, and what is counted.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message;

use super::logs::LogEntry;
use super::metrics::MetricPoints;
use super::traces::{Filter, Listed, SpanRecord};
use super::{LogStore, MetricStore, Origin, TraceId, TraceStore};
use crate::otlp::wire::Group;

fn text(key: &str, value: &str) -> KeyValue {
    let value = AnyValue {
        value: Some(Value::StringValue(value.to_owned())),
    };
    KeyValue {
        key: key.to_owned(),
        value: Some(value),
        ..KeyValue::default()
    }
}

fn origin(service: &str) -> Origin {
    let resource = Resource {
        attributes: vec![text("service.name", service)],
        ..Resource::default()
    }
    .encode_to_vec();
    Origin::of(&Group {
        resource: &resource,
        ..Group::default()
    })
    .unwrap()
}

fn trace_id(number: u64) -> TraceId {
    let mut id = [1; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    id
}

fn span(trace: u64, span: u64, parent: u64) -> Span {
    Span {
        trace_id: trace_id(trace).to_vec(),
        span_id: span.to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 {
            Vec::new()
        } else {
            parent.to_be_bytes().to_vec()
        },
        name: format!("span {span}"),
        start_time_unix_nano: trace * 1_000 + span,
        end_time_unix_nano: trace * 1_000 + span + 500,
        ..Span::default()
    }
}

fn put(store: &TraceStore, service: &str, spans: &[Span]) -> usize {
    let records = spans
        .iter()
        .filter_map(|span| SpanRecord::decode(&span.encode_to_vec()).unwrap());
    store.insert(origin(service), records.collect())
}

fn all(store: &TraceStore) -> Vec<Listed> {
    store.list(&Filter {
        limit: 1_000,
        ..Filter::default()
    })
}

#[test]
fn the_oldest_trace_goes_first_and_is_counted() {
    let store = TraceStore::new(1 << 20, 3);
    for trace in 1..=5 {
        put(&store, "gateway", &[span(trace, 1, 0), span(trace, 2, 1)]);
    }
    let ids: Vec<_> = all(&store)
        .into_iter()
        .map(|trace| trace.trace_id)
        .collect();
    assert_eq!(ids, [trace_id(5), trace_id(4), trace_id(3)]);
    let counts = store.counts();
    assert_eq!(
        (
            counts.held_traces,
            counts.evicted_traces,
            counts.counts.evicted,
            counts.counts.held
        ),
        (3, 2, 4, 6)
    );
    assert!(store.get(trace_id(1)).is_none());
}

#[test]
fn a_flood_of_spans_stays_within_the_bytes() {
    let store = TraceStore::new(1 << 20, 1_000_000);
    for trace in 0..10_000 {
        // A service of its own for each trace, so that the origins are part of the flood.
        let spans: Vec<_> = (1..=10).map(|id| span(trace, id, id - 1)).collect();
        assert_eq!(put(&store, &format!("service-{trace}"), &spans), 0);
        assert!(store.counts().counts.bytes <= 1 << 20);
    }
    let counts = store.counts();
    assert_eq!(counts.counts.received, 100_000);
    assert_eq!(counts.counts.held + counts.counts.evicted, 100_000);
    assert!(
        counts.counts.bytes > (1 << 20) / 2,
        "evicts more than it must: {counts:?}"
    );
    // The newest are whole.
    assert_eq!(store.get(trace_id(9_999)).unwrap().len(), 10);
}

#[test]
fn a_trace_that_never_ends_is_cut_off_and_others_stay() {
    let store = TraceStore::new(1 << 20, 100);
    put(&store, "other", &[span(1, 1, 0)]);
    let endless: Vec<_> = (1..=20_000).map(|id| span(2, id, 1)).collect();
    let refused = put(&store, "trainer", &endless);
    assert!(refused > 10_000, "{refused}");
    let counts = store.counts().counts;
    assert_eq!(counts.refused, refused as u64);
    assert_eq!(counts.evicted, 0);
    assert!(counts.bytes < (1 << 20) / 3, "{counts:?}");

    let roomy = TraceStore::new(1 << 30, 100);
    assert_eq!(
        put(&roomy, "trainer", &endless),
        10_000,
        "the number of spans is bounded, too"
    );
}

#[test]
fn a_span_too_large_for_any_trace_is_refused_without_evicting() {
    let store = TraceStore::new(1 << 16, 100);
    put(&store, "gateway", &[span(1, 1, 0)]);
    let large = Span {
        name: "x".repeat(1 << 15),
        ..span(2, 1, 0)
    };
    assert_eq!(put(&store, "gateway", &[large]), 1);
    assert_eq!(all(&store).len(), 1);
}

#[test]
fn a_retry_is_stored_once_and_a_second_span_of_one_id_is_kept() {
    let store = TraceStore::new(1 << 20, 100);
    put(&store, "gateway", &[span(1, 1, 0), span(1, 2, 1)]);
    let before = store.counts().counts;
    assert_eq!(put(&store, "gateway", &[span(1, 2, 1)]), 0);
    let after = store.counts().counts;
    assert_eq!(
        (after.bytes, after.held, after.duplicates),
        (before.bytes, 2, 1)
    );
    let other = Span {
        name: "another with the same id".to_owned(),
        ..span(1, 2, 1)
    };
    put(&store, "gateway", &[other]);
    assert_eq!(store.get(trace_id(1)).unwrap().len(), 3);
}

#[test]
fn late_spans_complete_their_trace() {
    let store = TraceStore::new(1 << 20, 100);
    put(&store, "model-service", &[span(1, 3, 2)]);
    let listed = &all(&store)[0];
    assert!(!listed.complete);
    put(&store, "gateway", &[span(1, 1, 0)]);
    assert!(!all(&store)[0].complete, "a root and an orphan");
    put(&store, "gateway", &[span(1, 2, 1)]);
    let listed = &all(&store)[0];
    assert!(listed.complete);
    assert_eq!(
        (
            listed.spans,
            listed.services["gateway"],
            listed.services["model-service"]
        ),
        (3, 2, 1)
    );
    assert_eq!((listed.start, listed.end), (1_001, 1_503));
}

#[test]
fn filters_choose() {
    let store = TraceStore::new(1 << 20, 100);
    let failed = Span {
        status: Some(Status {
            code: 2,
            ..Status::default()
        }),
        ..span(2, 1, 0)
    };
    let model = Span {
        attributes: vec![text("ml.model_name", "wine_quality")],
        ..span(3, 1, 0)
    };
    let slow = Span {
        end_time_unix_nano: 4_000_000,
        ..span(4, 1, 0)
    };
    put(&store, "gateway", &[span(1, 1, 0), failed, slow]);
    put(&store, "model-service", &[model]);
    let chosen = |filter: Filter| {
        let listed = store.list(&Filter {
            limit: 10,
            ..filter
        });
        listed
            .into_iter()
            .map(|trace| trace.trace_id[15])
            .collect::<Vec<_>>()
    };
    assert_eq!(
        chosen(Filter {
            errors: Some(true),
            ..Filter::default()
        }),
        [2]
    );
    assert_eq!(
        chosen(Filter {
            errors: Some(false),
            ..Filter::default()
        }),
        [4, 3, 1]
    );
    assert_eq!(
        chosen(Filter {
            model: Some("wine_quality".to_owned()),
            ..Filter::default()
        }),
        [3]
    );
    assert_eq!(
        chosen(Filter {
            service: Some("model-service".to_owned()),
            ..Filter::default()
        }),
        [3]
    );
    assert_eq!(
        chosen(Filter {
            min_duration_ns: 1_000_000,
            ..Filter::default()
        }),
        [4]
    );
    assert_eq!(
        store
            .list(&Filter {
                limit: 2,
                ..Filter::default()
            })
            .len(),
        2
    );
}

#[test]
fn spans_that_break_the_protocol_are_refused() {
    let with_ids = |trace: usize, id: usize, parent: usize| Span {
        trace_id: vec![1; trace],
        span_id: vec![1; id],
        parent_span_id: vec![1; parent],
        ..Span::default()
    };
    for wrong in [
        with_ids(0, 8, 0),
        with_ids(15, 8, 0),
        with_ids(16, 0, 0),
        with_ids(16, 9, 0),
        with_ids(16, 8, 7),
    ] {
        assert!(
            SpanRecord::decode(&wrong.encode_to_vec())
                .unwrap()
                .is_none()
        );
    }
    let zero = Span {
        trace_id: vec![0; 16],
        ..with_ids(16, 8, 0)
    };
    assert!(SpanRecord::decode(&zero.encode_to_vec()).unwrap().is_none());
    assert!(
        SpanRecord::decode(&with_ids(16, 8, 8).encode_to_vec())
            .unwrap()
            .is_some()
    );
}

#[test]
fn logs_are_a_ring_within_their_bytes() {
    let store = LogStore::new(100_000);
    for number in 0..10_000 {
        let body = AnyValue {
            value: Some(Value::StringValue(format!("line {number}"))),
        };
        let record = LogRecord {
            body: Some(body),
            ..LogRecord::default()
        }
        .encode_to_vec();
        store.insert(
            origin(&format!("service-{number}")),
            vec![LogEntry::decode(&record).unwrap()],
        );
        assert!(store.counts().bytes <= 100_000);
    }
    let counts = store.counts();
    assert_eq!(
        (counts.received, counts.held + counts.evicted),
        (10_000, 10_000)
    );
    assert!(counts.held > 100, "{counts:?}");
    assert_eq!(store.newest_first()[0].origin.service, "service-9999");
}

fn gauge(name: &str, attribute: &str, time: u64, value: i64) -> MetricPoints {
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
    MetricPoints::decode(&metric.encode_to_vec())
        .unwrap()
        .unwrap()
}

#[test]
fn metrics_keep_the_last_point_of_each_series() {
    let store = MetricStore::new(1 << 20);
    for time in 1..=3 {
        store.insert(
            origin("gateway"),
            vec![
                gauge("load", "x", time, time.cast_signed()),
                gauge("load", "y", time, 7),
            ],
        );
    }
    store.insert(origin("gateway"), vec![gauge("load", "x", 2, 99)]);
    store.insert(origin("model-service"), vec![gauge("load", "x", 1, 5)]);
    let series = store.series("load");
    let points: Vec<_> = series
        .iter()
        .map(|series| (series.origin.service.as_str(), series.point.json()))
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
            origin("gateway"),
            vec![gauge("load", &format!("x{number}"), 1, 1)],
        );
        store.insert(origin("gateway"), vec![gauge("steady", "", 1, 1)]);
    }
    let counts = store.counts();
    assert!(counts.held <= 8_192 && counts.held > 4_000, "{counts:?}");
    assert!(counts.bytes <= 4 << 20);
    assert_eq!(store.series("steady").len(), 1, "what is updated stays");
    let narrow = MetricStore::new(10_000);
    for number in 0..1_000 {
        narrow.insert(
            origin(&format!("service-{number}")),
            vec![gauge("load", "x", 1, 1)],
        );
        assert!(narrow.counts().bytes <= 10_000);
    }
}
