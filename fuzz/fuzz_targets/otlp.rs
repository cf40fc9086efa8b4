//! OTLP bodies through the explorer: receiver, store, read API, waterfall. The first byte of the input names the signal
//! (`t`, `m`, `l`) and its case the encoding: lower for protobuf, upper for JSON.
#![no_main]

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use explorer::{Trace, tree, waterfall};
use libfuzzer_sys::fuzz_target;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde_json::{Value, json};
use tower::ServiceExt;

/// No limit of the explorer is reached by inputs of this size.
const MAX_INPUT: usize = 4096;

fuzz_target!(|input: &[u8]| {
    let Some((&signal, body)) = input.split_first() else {
        return;
    };
    if input.len() > MAX_INPUT {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime needs no resources of its own");
    runtime.block_on(check(signal, body));
});

async fn check(signal: u8, body: &[u8]) {
    let path = match signal.to_ascii_lowercase() {
        b't' => "/v1/traces",
        b'm' => "/v1/metrics",
        b'l' => "/v1/logs",
        _ => return,
    };
    let json = signal.is_ascii_uppercase();
    let (receiver, reads) = explorer::fuzzing::routers();
    let (status, answer) = post(&receiver, path, json, body).await;
    let accepted = match status {
        StatusCode::OK => true,
        StatusCode::BAD_REQUEST => false,
        status => panic!("{path} answered {status} {answer:?}"),
    };
    if json {
        serde_json::from_slice::<Value>(&answer).expect("a JSON request has a JSON answer");
    } else {
        assert!(
            accepted || !is_message(signal, body),
            "{path} refused a valid message"
        );
    }
    if accepted {
        check_reads(&reads).await;
    }
}

/// Whether the reference decoder takes the body. The explorer takes more: it decodes what it stores, and nothing else.
fn is_message(signal: u8, body: &[u8]) -> bool {
    match signal {
        b't' => ExportTraceServiceRequest::decode(body).is_ok(),
        b'm' => ExportMetricsServiceRequest::decode(body).is_ok(),
        _ => ExportLogsServiceRequest::decode(body).is_ok(),
    }
}

/// What is stored can be read, and a trace that is sent to another explorer looks the same there.
async fn check_reads(reads: &Router) {
    for path in ["/api/services", "/api/logs", "/api/metrics", "/api/stats"] {
        get_json(reads, path).await;
    }
    let list = get_json(reads, "/api/traces").await;
    for summary in list["traces"].as_array().expect("a list of traces") {
        let path = format!(
            "/api/traces/{}",
            summary["trace_id"].as_str().expect("an id")
        );
        let document = get_json(reads, &path).await;
        check_trace(&document);

        let (receiver, copy) = explorer::fuzzing::routers();
        let body = document.to_string();
        let (status, answer) = post(&receiver, "/v1/traces", true, body.as_bytes()).await;
        assert_eq!(status, StatusCode::OK, "{body} was refused: {answer:?}");
        assert_eq!(
            serde_json::from_slice::<Value>(&answer).ok(),
            Some(json!({})),
            "{body}"
        );
        assert_eq!(get_json(&copy, &path).await, document);
    }
}

/// The command line's view of the trace.
fn check_trace(document: &Value) {
    let trace = Trace::from_otlp(document.to_string().as_bytes())
        .expect("the explorer reads its own answer");
    tree::outline(&trace);
    tree::problems(&trace);
    let drawn = waterfall::render(
        &trace,
        &waterfall::Style {
            width: 100,
            colour: false,
        },
    );
    assert!(
        drawn.lines().count() >= trace.spans.len(),
        "a row for each span:\n{drawn}"
    );
}

async fn post(router: &Router, path: &str, json: bool, body: &[u8]) -> (StatusCode, Bytes) {
    let media_type = if json {
        "application/json"
    } else {
        "application/x-protobuf"
    };
    let request = Request::post(path)
        .header("content-type", media_type)
        .body(Body::from(body.to_vec()))
        .expect("the parts of the request are valid");
    send(router, request).await
}

async fn get_json(router: &Router, path: &str) -> Value {
    let request = Request::get(path)
        .body(Body::empty())
        .expect("a valid path");
    let (status, answer) = send(router, request).await;
    assert_eq!(status, StatusCode::OK, "{path} answered {answer:?}");
    serde_json::from_slice(&answer).expect("the read API answers JSON")
}

async fn send(router: &Router, request: Request<Body>) -> (StatusCode, Bytes) {
    let Ok(response) = router.clone().oneshot(request).await;
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX)
        .await
        .expect("the body is in memory");
    (status, body)
}
