//! The meaning of each term on small traces.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message;

use crate::filter::{Parameters, matching};
use crate::otlp::wire::ScopeItems;
use crate::store::traces::ReceivedSpan;
use crate::store::{Source, TraceStore};

pub(super) fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Any::StringValue(value.to_owned()))
}

pub(super) fn source(attributes: Vec<KeyValue>) -> Source {
    let resource = Resource {
        attributes,
        ..Resource::default()
    }
    .encode_to_vec();
    Source::of(&ScopeItems {
        resource: &resource,
        ..ScopeItems::default()
    })
    .unwrap()
}

pub(super) fn put(store: &TraceStore, resource: Vec<KeyValue>, span: &Span) {
    let received = ReceivedSpan::decode(&span.encode_to_vec())
        .unwrap()
        .unwrap();
    assert_eq!(store.insert(source(resource), vec![received]), 0);
}

fn span(trace: u8, id: u8) -> Span {
    Span {
        trace_id: vec![trace; 16],
        span_id: vec![id; 8],
        start_time_unix_nano: u64::from(trace) * 1_000_000,
        end_time_unix_nano: u64::from(trace) * 1_000_000 + 500_000,
        ..Span::default()
    }
}

/// A hit, a miss, a mixed batch, and a failed request for features.
fn store() -> TraceStore {
    let store = TraceStore::new(1 << 20, 100);
    let gateway = || {
        vec![
            text("service.name", "gateway"),
            text("deployment.environment.name", "local"),
        ]
    };
    let request = |trace: u8, links: usize| Span {
        name: "POST /v1/predictions".to_owned(),
        kind: 2,
        links: vec![Link::default(); links],
        ..span(trace, 1)
    };
    let predict = |trace: u8, label: &str| Span {
        name: "predict wine_quality".to_owned(),
        attributes: vec![
            text("ml.model_name", "wine_quality"),
            text("ml.model_version", "12"),
            text("ml.output.label", label),
            attribute("ml.batch_size", Any::IntValue(3)),
            attribute("ml.output.confidence", Any::DoubleValue(0.5)),
        ],
        ..span(trace, 2)
    };
    put(&store, gateway(), &request(1, 1));
    put(&store, gateway(), &request(2, 0));
    put(
        &store,
        vec![text("service.name", "model-service")],
        &predict(2, "low"),
    );
    put(&store, gateway(), &request(3, 1));
    put(
        &store,
        vec![text("service.name", "model-service")],
        &predict(3, "high"),
    );
    let failed = Span {
        name: "POST /get-online-features".to_owned(),
        kind: 2,
        status: Some(Status {
            code: 2,
            message: "The disk is FULL".to_owned(),
        }),
        events: vec![Event {
            name: "exception".to_owned(),
            attributes: vec![text("exception.type", "StoreError")],
            ..Event::default()
        }],
        end_time_unix_nano: 9_000_000,
        ..span(4, 1)
    };
    put(&store, vec![text("service.name", "feature-store")], &failed);
    store
}

#[test]
fn each_term_finds_its_traces() {
    let store = store();
    for (query, expected) in [
        ("", &[4, 3, 2, 1][..]),
        ("service=model-service", &[3, 2]),
        ("model=wine_quality", &[3, 2]),
        ("model=wine", &[]),
        ("version=12", &[3, 2]),
        ("status=error", &[4]),
        ("status=ok", &[3, 2, 1]),
        ("min_duration_ms=0.5", &[4, 3, 2, 1]),
        ("min_duration_ms=0.6", &[4]),
        ("max_duration_ms=0.5", &[3, 2, 1]),
        ("cached=yes", &[1]),
        ("cached=no", &[3, 2]),
        ("since=1970-01-01T00:00:00.002Z", &[4, 3, 2]),
        ("until=1970-01-01T00:00:00.002", &[2, 1]),
        ("where=ml.output.label+is+low", &[2]),
        ("where=ml.output.label+is+not+low", &[4, 3, 1]),
        ("where=ml.output.label+contains+IG", &[3]),
        ("where=ml.output.label+does+not+contain+i", &[4, 2, 1]),
        ("where=ml.batch_size+is+3", &[3, 2]),
        (
            "where=ml.batch_size+%3E+2&where=ml.output.confidence+%3C+1",
            &[3, 2],
        ),
        ("where=ml.batch_size+%3E+3", &[]),
        ("where=ml.model_version+%3E+9", &[3, 2]),
        ("where=deployment.environment.name+is+local", &[3, 2, 1]),
        ("where=exception.type+is+StoreError", &[4]),
        ("q=disk+is+full", &[4]),
        ("q=get-ONLINE", &[4]),
        ("q=feature-store", &[4]),
        ("q=0.5", &[3, 2]),
        ("q=03030303", &[3]),
        ("q=nowhere", &[]),
        ("sort=oldest", &[1, 2, 3, 4]),
        ("sort=slowest", &[4, 1, 2, 3]),
        ("sort=fastest", &[1, 2, 3, 4]),
        (
            "service=gateway&cached=no&where=ml.output.label+is+not+high",
            &[2],
        ),
    ] {
        let filter = Parameters::parse(query).filter(0).unwrap();
        let found = matching(&store, &filter, 10);
        let found: Vec<_> = found.iter().map(|trace| trace.id[0]).collect();
        assert_eq!(found, expected, "{query}");
    }
    let filter = Parameters::parse("where=ml.batch_size+is+3")
        .filter(0)
        .unwrap();
    assert_eq!(matching(&store, &filter, 1).len(), 1);
}
