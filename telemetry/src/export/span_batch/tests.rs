//! Whole exports to a collector whose answers are scripted.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter, SpanLinks};
use parking_lot::Mutex;
use prost::Message;

use super::SpanBatchExporter;
use crate::export::counts::ExportCounts;
use crate::settings::{Otlp, Settings};

/// Spans of every batch.
const SPANS: u64 = 5;

#[test]
fn a_batch_is_sent_again_until_the_collector_takes_it() {
    let throttled = (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")]);
    let collector = Collector::start([
        StatusCode::SERVICE_UNAVAILABLE.into_response(),
        throttled.into_response(),
        StatusCode::OK.into_response(),
    ]);
    let (result, lost) = collector.export(&[]);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(lost, 0);
    let requests = collector.requests();
    assert_eq!(requests.len(), 3);
    assert!(
        requests
            .iter()
            .all(|request| request.body() == requests[0].body())
    );
}

#[test]
fn a_batch_is_lost_after_the_last_retry() {
    let collector = Collector::start([StatusCode::BAD_GATEWAY; 9].map(IntoResponse::into_response));
    let (result, lost) = collector.export(&[]);
    let text = result.expect_err("no retry succeeds").to_string();
    assert!(text.contains("the collector answered 502"), "{text}");
    assert_eq!((lost, collector.requests().len()), (SPANS, 6));
}

#[test]
fn a_refused_batch_is_lost_and_not_sent_again() {
    let collector = Collector::start([StatusCode::BAD_REQUEST.into_response()]);
    let (result, lost) = collector.export(&[]);
    assert!(result.is_err());
    assert_eq!((lost, collector.requests().len()), (SPANS, 1));
}

#[test]
fn a_delay_beyond_the_deadline_ends_the_export() {
    let busy = (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "20")]);
    let collector = Collector::start([busy.into_response()]);
    let (result, lost) = collector.export(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "5000")]);
    assert!(result.is_err());
    assert_eq!((lost, collector.requests().len()), (SPANS, 1));
}

#[test]
fn a_batch_that_is_too_large_is_split_until_its_parts_fit() {
    let refused = || StatusCode::PAYLOAD_TOO_LARGE.into_response();
    let taken = || StatusCode::OK.into_response();
    // Five are refused, two are taken, three are refused, one is taken, two are refused, one is
    // refused, one is taken.
    let answers = [
        refused(),
        taken(),
        refused(),
        taken(),
        refused(),
        refused(),
        taken(),
    ];
    let collector = Collector::start(answers);
    let (result, lost) = collector.export(&[]);
    assert!(result.is_err(), "one span has no halves");
    assert_eq!(lost, 1);
    let sizes = collector.requests().into_iter().map(|request| {
        let spans = &decode(&request).resource_spans[0].scope_spans[0].spans;
        spans.iter().map(|span| span.span_id[7]).collect::<Vec<_>>()
    });
    let expected = [
        vec![1, 2, 3, 4, 5],
        vec![1, 2],
        vec![3, 4, 5],
        vec![3],
        vec![4, 5],
        vec![4],
        vec![5],
    ];
    assert_eq!(sizes.collect::<Vec<_>>(), expected);
}

#[test]
fn a_request_is_smaller_than_receivers_take() {
    for protocol in ["http/protobuf", "http/json"] {
        let collector = Collector::start([StatusCode::OK; 9].map(IntoResponse::into_response));
        let counts = Arc::new(ExportCounts::default());
        let variables = [("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];
        let exporter = SpanBatchExporter::new(&collector.otlp(&variables), &counts);
        let large = |id| SpanData {
            name: "n".repeat(1 << 20).into(),
            ..span(id)
        };
        let result = export_spans(&exporter, (1..=SPANS).map(large).collect());
        assert!(result.is_ok(), "{result:?}");
        let requests = collector.requests();
        assert!(
            requests
                .iter()
                .all(|request| request.body().len() < 3 << 20)
        );
        let spans = requests
            .iter()
            .map(|request| decode(request).resource_spans[0].scope_spans[0].spans.len() as u64);
        assert_eq!(spans.sum::<u64>(), SPANS);
    }
}

#[test]
fn nothing_is_sent_without_an_address_or_a_certificate() {
    for (variable, value, reason) in [
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "localhost:4318",
            "no http or https address",
        ),
        (
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            "/does/not/exist",
            "cannot read /does/not/exist",
        ),
    ] {
        let collector = Collector::start([StatusCode::OK.into_response()]);
        let (result, lost) = collector.export(&[(variable, value)]);
        let text = result.expect_err(variable).to_string();
        assert!(text.contains(reason), "{text}");
        assert_eq!((lost, collector.requests().len()), (SPANS, 0));
    }
}

#[test]
fn a_timeout_of_zero_is_no_limit() {
    let collector = Collector::start([StatusCode::OK.into_response()]);
    let (result, lost) = collector.export(&[
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "0"),
    ]);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(lost, 0);
}

#[test]
fn rejected_spans_of_a_taken_batch_are_lost() {
    let partial = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 2,
            error_message: "too old".to_owned(),
        }),
    };
    let collector = Collector::start([partial.encode_to_vec().into_response()]);
    let (result, lost) = collector.export(&[]);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(lost, 2);

    for json in [
        r#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}"#,
        r#"{"partialSuccess":{"rejectedSpans":2}}"#,
    ] {
        let collector = Collector::start([json.into_response()]);
        let (result, lost) = collector.export(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]);
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(lost, 2, "{json}");
    }
}

#[test]
fn a_warning_of_the_collector_loses_nothing() {
    let warning = r#"{"partialSuccess":{"errorMessage":"old client"}}"#;
    for answer in [warning, "{}", "", "not JSON"] {
        let collector = Collector::start([answer.into_response()]);
        let (result, lost) = collector.export(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]);
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(lost, 0, "{answer}");
    }
}

#[test]
fn the_body_is_protobuf_or_json_and_compressed_on_demand() {
    for protocol in ["http/protobuf", "http/json"] {
        for compression in ["none", "gzip"] {
            let collector = Collector::start([StatusCode::OK.into_response()]);
            let (result, lost) = collector.export(&[
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
            ]);
            assert!(result.is_ok(), "{result:?}");
            assert_eq!(lost, 0);
            let request = collector.requests().remove(0);
            let is_packed = request.headers().contains_key("content-encoding");
            assert_eq!(is_packed, compression == "gzip");
            let received = decode(&request);
            let spans = &received.resource_spans[0].scope_spans[0].spans;
            assert_eq!(spans.len() as u64, SPANS, "{protocol}, {compression}");
        }
    }
}

/// Reads a request by what its headers say about the body.
fn decode(request: &Request<Bytes>) -> ExportTraceServiceRequest {
    let mut body = request.body().to_vec();
    if request.headers().contains_key("content-encoding") {
        body.clear();
        flate2::read::GzDecoder::new(&request.body()[..])
            .read_to_end(&mut body)
            .expect("gzip");
    }
    match request.headers()["content-type"].as_bytes() {
        b"application/json" => serde_json::from_slice(&body).expect("OTLP/JSON"),
        b"application/x-protobuf" => {
            ExportTraceServiceRequest::decode(&body[..]).expect("OTLP protobuf")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn headers_of_the_settings_are_sent_but_describe_no_body() {
    let collector = Collector::start([StatusCode::OK.into_response()]);
    let (result, _) = collector.export(&[(
        "OTEL_EXPORTER_OTLP_HEADERS",
        "authorization=ApiKey%20abc,content-type=text/plain,content-encoding=br",
    )]);
    assert!(result.is_ok(), "{result:?}");
    let request = collector.requests().remove(0);
    let headers = request.headers();
    assert_eq!(headers["authorization"], "ApiKey abc");
    assert_eq!(headers["content-type"], "application/x-protobuf");
    assert_eq!(headers.get("content-encoding"), None::<&HeaderValue>);
    assert!(
        headers["user-agent"]
            .as_bytes()
            .starts_with(b"throughline/")
    );
}

#[test]
fn nothing_is_exported_after_the_shutdown() {
    let collector = Collector::start([StatusCode::OK.into_response()]);
    let exporter = SpanBatchExporter::new(&collector.otlp(&[]), &Arc::default());
    exporter.shutdown().expect("the first shutdown");
    let result = export_batch(&exporter);
    assert!(matches!(result, Err(OTelSdkError::AlreadyShutdown)));
    assert!(collector.requests().is_empty());
}

/// A collector that gives the scripted answers in order.
struct Collector {
    address: std::net::SocketAddr,
    script: Script,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Response>>>,
    requests: Arc<Mutex<Vec<Request<Bytes>>>>,
}

impl Collector {
    fn start(answers: impl IntoIterator<Item = Response>) -> Self {
        let script = Script {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            ..Script::default()
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new()
            .route("/v1/traces", axum::routing::post(receive))
            .with_state(script.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            script,
            _runtime: runtime,
        }
    }

    fn otlp(&self, variables: &[(&str, &str)]) -> Otlp {
        let endpoint = format!("http://{}", self.address);
        let settings = Settings::from_lookup("test", "1", |name| {
            if name == "OTEL_EXPORTER_OTLP_ENDPOINT" {
                return Some(endpoint.clone());
            }
            let (_, value) = variables.iter().find(|(variable, _)| *variable == name)?;
            Some((*value).to_owned())
        });
        settings.otlp.traces
    }

    /// Exports one batch; the result, and how many spans count as lost.
    fn export(&self, variables: &[(&str, &str)]) -> (OTelSdkResult, u64) {
        let counts = Arc::new(ExportCounts::default());
        for _ in 0..SPANS {
            counts.spans.offer();
        }
        let exporter = SpanBatchExporter::new(&self.otlp(variables), &counts);
        let result = export_batch(&exporter);
        (result, counts.spans.lost())
    }

    fn requests(&self) -> Vec<Request<Bytes>> {
        std::mem::take(&mut self.script.requests.lock())
    }
}

async fn receive(State(script): State<Script>, headers: HeaderMap, body: Bytes) -> Response {
    let mut request = Request::new(body);
    *request.headers_mut() = headers;
    script.requests.lock().push(request);
    let answer = script.answers.lock().pop_front();
    answer.unwrap_or_else(|| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// The export is ready at its first poll, since it blocks.
fn export_batch(exporter: &SpanBatchExporter) -> OTelSdkResult {
    export_spans(exporter, (1..=SPANS).map(span).collect())
}

fn export_spans(exporter: &SpanBatchExporter, batch: Vec<SpanData>) -> OTelSdkResult {
    use futures_util::FutureExt as _;
    exporter
        .export(batch)
        .now_or_never()
        .expect("a blocking export")
}

fn span(id: u64) -> SpanData {
    SpanData {
        span_context: SpanContext::new(
            TraceId::from(u128::from(id)),
            SpanId::from(id),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        ),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: "work".into(),
        start_time: UNIX_EPOCH,
        end_time: UNIX_EPOCH + Duration::from_millis(1),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("throughline").build(),
    }
}
