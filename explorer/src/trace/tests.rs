//! Trees from documents that may claim anything.

use serde_json::{Value, json};

use super::{SpanKind, SpanStatus, Trace, TraceError};
use crate::tree::outline;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn span(id: u64, parent: u64, name: &str, start: u64) -> Value {
    let parent = if parent == 0 {
        String::new()
    } else {
        format!("{parent:016x}")
    };
    json!({ "traceId": TRACE, "spanId": format!("{id:016x}"), "parentSpanId": parent, "name": name, "kind": 1,
        "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + 10).to_string() })
}

fn trace(spans: &[Value]) -> Trace {
    Trace::from_otlp(
        json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": spans }] }] })
            .to_string()
            .as_bytes(),
    )
    .unwrap()
}

#[test]
fn siblings_are_ordered_by_start() {
    let trace = trace(&[
        span(4, 2, "grandchild", 7),
        span(3, 1, "second", 9),
        span(2, 1, "first", 5),
        span(1, 0, "root", 1),
    ]);
    let names: Vec<_> = trace
        .spans
        .iter()
        .map(|span| (span.depth, span.name.as_str()))
        .collect();
    assert_eq!(
        names,
        [(0, "root"), (1, "first"), (2, "grandchild"), (1, "second")]
    );
    assert!(trace.is_complete());
    assert_eq!((trace.start(), trace.duration()), (1, 18));
    assert_eq!(trace.children(&format!("{:016x}", 1)).count(), 2);
}

#[test]
fn orphans_and_cycles_are_kept() {
    let trace = trace(&[
        span(1, 0, "root", 5),
        span(2, 99, "orphan", 1),
        span(3, 2, "its child", 2),
        span(4, 5, "cycle a", 3),
        span(5, 4, "cycle b", 4),
        span(6, 6, "own parent", 6),
        span(1, 0, "same id as root", 7),
    ]);
    assert_eq!(
        outline(&trace),
        "root INTERNAL unknown_service\n\
         same id as root INTERNAL unknown_service\n\
         orphan INTERNAL unknown_service (orphan)\n\
         \u{20} its child INTERNAL unknown_service\n\
         cycle a INTERNAL unknown_service (cycle)\n\
         \u{20} cycle b INTERNAL unknown_service\n\
         own parent INTERNAL unknown_service (cycle)\n"
    );
    assert!(!trace.is_complete());
}

#[test]
fn a_chain_of_ten_thousand_spans_needs_no_deep_recursion() {
    let spans: Vec<_> = (1..=10_000)
        .map(|id| span(id, id - 1, "link", id))
        .collect();
    assert_eq!(trace(&spans).spans[9_999].depth, 9_999);
}

#[test]
fn every_field_is_read() {
    let document = json!({ "resourceSpans": [{
        "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "gateway" } }] },
        "scopeSpans": [{ "spans": [{
            "traceId": TRACE, "spanId": "00f067aa0ba902b7", "name": "GET", "kind": 3, "startTimeUnixNano": "2",
            "endTimeUnixNano": "1", "status": { "code": 2, "message": "refused" },
            "attributes": [{ "key": "n", "value": { "intValue": "5" } }],
            "events": [{ "timeUnixNano": "3", "name": "happened" }],
            "links": [{ "traceId": TRACE, "spanId": "00f067aa0ba902b8" }],
        }] }],
    }] });
    let trace = Trace::from_otlp(document.to_string().as_bytes()).unwrap();
    let span = trace.span("GET").unwrap();
    assert_eq!(
        (span.kind, span.service.as_str(), span.duration()),
        (SpanKind::Client, "gateway", 0)
    );
    assert_eq!(span.status, SpanStatus::Error("refused".to_owned()));
    assert_eq!(
        (
            span.text("n"),
            span.events[0].time,
            span.links[0].span_id.as_str()
        ),
        (Some("5".to_owned()), 3, "00f067aa0ba902b8")
    );
}

#[test]
fn documents_that_are_not_one_trace_are_refused() {
    assert!(matches!(
        Trace::from_otlp(b"<html>"),
        Err(TraceError::Json(_))
    ));
    assert!(matches!(Trace::from_otlp(b"{}"), Err(TraceError::Empty)));
    let mut other = span(2, 0, "b", 1);
    other["traceId"] = json!("11111111111111111111111111111111");
    let document =
        json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span(1, 0, "a", 1), other] }] }] });
    assert!(matches!(
        Trace::from_otlp(document.to_string().as_bytes()),
        Err(TraceError::SeveralTraces)
    ));
}
