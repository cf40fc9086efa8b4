//! The bytes of our encoder against those of `opentelemetry-proto`, which `opentelemetry-otlp`
//! sends.

use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Array, InstrumentationScope, KeyValue, Value};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use prost::Message;

use super::protobuf::encode;

#[test]
fn a_span_is_written_as_the_protocol_crate_writes_it() {
    for status in [
        Status::Unset,
        Status::Ok,
        Status::error("no collector"),
        Status::error(""),
    ] {
        check(vec![SpanData {
            status,
            ..span("throughline")
        }]);
    }
    for span_kind in [
        SpanKind::Client,
        SpanKind::Server,
        SpanKind::Internal,
        SpanKind::Producer,
        SpanKind::Consumer,
    ] {
        check(vec![SpanData {
            span_kind,
            ..span("throughline")
        }]);
    }
    check(vec![SpanData {
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        ..span("throughline")
    }]);
    check(vec![SpanData {
        name: "".into(),
        start_time: UNIX_EPOCH,
        end_time: UNIX_EPOCH,
        ..span("throughline")
    }]);
}

#[test]
fn every_type_of_value_is_written() {
    let texts = ["", "a", "äöü"].map(Into::into).to_vec();
    let values = [
        Value::String("".into()),
        Value::String("x".repeat(127).into()),
        Value::String("x".repeat(40_000).into()),
        Value::Bool(false),
        Value::Bool(true),
        Value::I64(0),
        Value::I64(i64::MIN),
        Value::I64(i64::MAX),
        Value::F64(0.0),
        Value::F64(f64::NAN),
        Value::Array(Array::String(texts)),
        Value::Array(Array::Bool(vec![true, false])),
        Value::Array(Array::I64(vec![-1, 0, 1 << 40])),
        Value::Array(Array::F64(vec![0.5, f64::INFINITY])),
        Value::Array(Array::F64(Vec::new())),
    ];
    let attributes: Vec<_> = values
        .into_iter()
        .map(|value| KeyValue::new("key", value))
        .collect();
    for attribute in &attributes {
        check(vec![SpanData {
            attributes: vec![attribute.clone()],
            ..span("throughline")
        }]);
    }
    check(vec![SpanData {
        attributes,
        ..span("throughline")
    }]);
}

#[test]
fn spans_are_grouped_by_scope() {
    check(Vec::new());
    check(["one", "two", "one", "three", "two"].map(span).to_vec());
}

#[test]
fn messages_of_every_length_are_framed() {
    for length in (0..300).chain([16_200, 16_300, 16_383, 16_384, 2_097_000, 2_097_152]) {
        check(vec![SpanData {
            name: "n".repeat(length).into(),
            ..span("throughline")
        }]);
    }
}

fn check(batch: Vec<SpanData>) {
    let resource = Resource::builder_empty()
        .with_schema_url(
            [KeyValue::new("service.name", "gateway")],
            "https://opentelemetry.io/schemas/1.44.0",
        )
        .build();
    let own = encode(&resource, &batch);
    let resource_spans = group_spans_by_resource_and_scope(batch, &(&resource).into());
    let stock = ExportTraceServiceRequest { resource_spans };
    assert_eq!(
        ExportTraceServiceRequest::decode(own.as_slice())
            .unwrap()
            .encode_to_vec(),
        stock.encode_to_vec()
    );
    assert_eq!(
        own,
        stock.encode_to_vec(),
        "the same message in other bytes"
    );
}

fn span(scope: &'static str) -> SpanData {
    let state = TraceState::from_key_value([("vendor", "value"), ("other", "1")]).unwrap();
    let ids = |span: u64| {
        SpanContext::new(
            TraceId::from(7),
            SpanId::from(span),
            TraceFlags::SAMPLED,
            true,
            state.clone(),
        )
    };
    let mut events = SpanEvents::default();
    events.events = vec![
        Event::new(
            "epoch",
            UNIX_EPOCH + Duration::from_nanos(3),
            vec![KeyValue::new("ml.training.epoch", 1)],
            2,
        ),
        Event::new("", UNIX_EPOCH, Vec::new(), 0),
    ];
    events.dropped_count = 4;
    let mut links = SpanLinks::default();
    links.links = vec![
        Link::new(ids(9), vec![KeyValue::new("a", "b")], 300),
        Link::with_context(SpanContext::NONE),
    ];
    links.dropped_count = 5;
    SpanData {
        span_context: ids(8),
        parent_span_id: SpanId::from(6),
        parent_span_is_remote: true,
        span_kind: SpanKind::Server,
        name: "POST /v1/predictions".into(),
        start_time: UNIX_EPOCH + Duration::from_nanos(1),
        end_time: UNIX_EPOCH + Duration::from_nanos(1_800_000_000_123_456_789),
        attributes: vec![
            KeyValue::new("http.route", "/v1/predictions"),
            KeyValue::new("server.port", 8080),
        ],
        dropped_attributes_count: 1,
        events,
        links,
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder(scope)
            .with_version("1")
            .with_schema_url("https://opentelemetry.io/schemas/1.44.0")
            .with_attributes([KeyValue::new("kind", "test")])
            .build(),
    }
}
