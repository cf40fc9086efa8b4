//! CPU time of encoding one span for OTLP: our encoder beside the path of `opentelemetry-otlp`.
//!
//! `cargo bench -p telemetry --bench span_encoding` prints nanoseconds for each span.

#[path = "../src/export/protobuf.rs"]
mod protobuf;
#[path = "../src/export/wire.rs"]
mod wire;

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use cpu_time::ThreadTime;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use prost::Message;

/// Spans of a batch, as the SDK exports them by default.
const BATCH: u64 = 512;
const ROUNDS: u32 = 400;

fn main() {
    let resource = Resource::builder().with_service_name("gateway").build();
    let batch: Vec<_> = (1..=BATCH).map(span).collect();
    let (mut own, mut stock) = (Duration::ZERO, Duration::ZERO);
    // The two take turns, so that a slow moment of the machine meets both.
    for _ in 0..ROUNDS {
        let (own_bytes, time) = own_encoder(&resource, batch.clone());
        own += time;
        let (stock_bytes, time) = stock_encoder(&resource, batch.clone());
        stock += time;
        assert_eq!(own_bytes, stock_bytes);
    }
    print("own encoder", own);
    print("opentelemetry-otlp", stock);
}

fn own_encoder(resource: &Resource, batch: Vec<SpanData>) -> (Vec<u8>, Duration) {
    let start = ThreadTime::now();
    let bytes = protobuf::encode(resource, black_box(&batch));
    drop(batch);
    (bytes, start.elapsed())
}

/// What `build_trace_export_body` of `opentelemetry-otlp` does, which is private.
fn stock_encoder(resource: &Resource, batch: Vec<SpanData>) -> (Vec<u8>, Duration) {
    let resource = resource.into();
    let start = ThreadTime::now();
    let resource_spans = group_spans_by_resource_and_scope(black_box(batch), &resource);
    let bytes = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    (bytes, start.elapsed())
}

#[expect(clippy::print_stdout, reason = "the result of the benchmark")]
fn print(name: &str, time: Duration) {
    let spans = u128::from(BATCH) * u128::from(ROUNDS);
    println!("{name}: {} ns for each span", time.as_nanos() / spans);
}

/// A SERVER span with the attributes that `telemetry::server` sets.
fn span(id: u64) -> SpanData {
    let end_time = SystemTime::now();
    SpanData {
        span_context: SpanContext::new(
            TraceId::from(u128::from(id)),
            SpanId::from(id),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        ),
        parent_span_id: SpanId::from(id + 1),
        parent_span_is_remote: true,
        span_kind: SpanKind::Server,
        name: "POST /v1/predictions".into(),
        start_time: end_time - Duration::from_millis(1),
        end_time,
        attributes: vec![
            KeyValue::new("http.request.method", "POST"),
            KeyValue::new("network.protocol.version", "1.1"),
            KeyValue::new("url.scheme", "http"),
            KeyValue::new("url.path", "/v1/predictions"),
            KeyValue::new("http.route", "/v1/predictions"),
            KeyValue::new("server.address", "127.0.0.1"),
            KeyValue::new("server.port", 8080),
            KeyValue::new("client.address", "127.0.0.1"),
            KeyValue::new("user_agent.original", "curl/8.5.0"),
            KeyValue::new("http.response.status_code", 200),
        ],
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("throughline").build(),
    }
}
