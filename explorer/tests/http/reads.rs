//! The read API and the page.

use serde_json::json;

use crate::support::{Explorer, JSON, TRACE, span, trace_hex};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

const LOGS: &str = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"gateway"}}]},
  "scopeLogs":[{"logRecords":[
    {"timeUnixNano":"1760000000000000001","severityNumber":9,"severityText":"INFO","body":{"stringValue":"Answered wine-0001"},
     "traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","eventName":"gateway.answered",
     "attributes":[{"key":"rows","value":{"intValue":"2"}}]},
    {"observedTimeUnixNano":"1760000001000000000","severityNumber":17,"body":{"stringValue":"store is down"}}]}]}]}"#;

const METRICS: &str = r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"gateway"}},
    {"key":"service.instance.id","value":{"stringValue":"one"}}]},
  "scopeMetrics":[{"metrics":[
    {"name":"ai.inference.calls","unit":"{call}","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[
      {"timeUnixNano":"1760000000000000000","asInt":"41","attributes":[{"key":"success","value":{"boolValue":true}}]},
      {"timeUnixNano":"1760000001000000000","asInt":"42","attributes":[{"key":"success","value":{"boolValue":true}}]}]}},
    {"name":"ai.inference.latency","unit":"s","histogram":{"aggregationTemporality":2,"dataPoints":[
      {"count":"3","sum":0.5,"bucketCounts":["1","2"],"explicitBounds":[0.1],"timeUnixNano":"1"}]}}]}]}]}"#;

#[test]
fn logs_by_trace_severity_service_and_text() {
    let explorer = Explorer::start(&[]);
    assert_eq!(
        explorer.post("/v1/logs", &[JSON], LOGS.as_bytes()).text(),
        "{}"
    );
    let bodies = |query: &str| {
        let logs = explorer.read(&format!("/api/logs?{query}"));
        logs["logs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|log| log["body"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(bodies(""), ["store is down", "Answered wine-0001"]);
    assert_eq!(bodies("limit=1"), ["store is down"]);
    assert_eq!(bodies("severity=warn"), ["store is down"]);
    assert_eq!(bodies("q=ANSWERED"), ["Answered wine-0001"]);
    assert_eq!(bodies("q=gateway.answered").len(), 1);
    assert_eq!(bodies("service=nobody").len(), 0);
    assert_eq!(
        explorer.read(&format!("/api/logs?trace_id={TRACE}"))["logs"],
        json!([{ "time": "2025-10-09T08:53:20.000000001Z", "severity": "INFO", "severity_number": 9, "service": "gateway",
            "event_name": "gateway.answered", "body": "Answered wine-0001", "trace_id": TRACE, "span_id": "eee19b7ec3c1b174",
            "attributes": { "rows": 2 } }])
    );
    assert_eq!(
        explorer.read("/api/logs?severity=error")["logs"][0]["severity"],
        "ERROR"
    );
}

#[test]
fn metrics_by_name() {
    let explorer = Explorer::start(&[]);
    assert_eq!(
        explorer
            .post("/v1/metrics", &[JSON], METRICS.as_bytes())
            .text(),
        "{}"
    );
    assert_eq!(
        explorer.read("/api/metrics"),
        json!({ "metrics": [{ "name": "ai.inference.calls", "series": 1 }, { "name": "ai.inference.latency", "series": 1 }] })
    );
    assert_eq!(
        explorer.read("/api/metrics?name=ai.inference.calls"),
        json!({ "name": "ai.inference.calls", "series": [{ "service": "gateway", "instance": "one", "kind": "sum", "unit": "{call}",
            "description": "", "temporality": "cumulative", "monotonic": true, "attributes": { "success": true },
            "start": null, "time": "2025-10-09T08:53:21Z", "value": 42 }] })
    );
    let latency = explorer.read("/api/metrics?name=ai.inference.latency");
    assert_eq!(
        latency["series"][0]["value"],
        json!({ "count": 3, "sum": 0.5, "bounds": [0.1], "counts": [1, 2] })
    );
    assert_eq!(
        explorer.read("/api/metrics?name=unknown")["series"],
        json!([])
    );
}

#[test]
fn services_over_all_signals() {
    let explorer = Explorer::start(&[]);
    let failed = Span {
        status: Some(Status {
            code: 2,
            ..Status::default()
        }),
        ..span(1, 2, 1)
    };
    explorer.spans("gateway", vec![span(1, 1, 0), failed]);
    explorer.post("/v1/logs", &[JSON], LOGS.as_bytes());
    explorer.post("/v1/metrics", &[JSON], METRICS.as_bytes());
    assert_eq!(
        explorer.read("/api/services"),
        json!({ "services": [{ "name": "gateway", "spans": 2, "errors": 1, "logs": 2, "series": 2 }] })
    );
}

#[test]
fn trace_summaries_and_filters() {
    let explorer = Explorer::start(&[]);
    let failed = Span {
        status: Some(Status {
            code: 2,
            ..Status::default()
        }),
        ..span(2, 1, 0)
    };
    explorer.spans("gateway", vec![span(1, 1, 0), failed]);
    let listed = explorer.read("/api/traces?status=ok");
    assert_eq!(
        listed["traces"],
        json!([{ "trace_id": trace_hex(1), "root_name": "span 1", "root_service": "gateway", "start": "2025-10-09T08:53:20.001000001Z",
            "duration_ms": 0.5, "spans": 1, "services": { "gateway": 1 }, "models": [], "error": false, "complete": true }])
    );
    let count = |query: &str| {
        explorer.read(&format!("/api/traces?{query}"))["traces"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(
        (
            count("status=error"),
            count("min_duration_ms=0.4"),
            count("min_duration_ms=0.6")
        ),
        (1, 2, 0)
    );
    assert_eq!(
        (
            count("service=gateway"),
            count("service=other"),
            count("model=x"),
            count("limit=1")
        ),
        (2, 0, 0, 1)
    );
    let typed: Vec<explorer::TraceSummary> =
        serde_json::from_value(listed["traces"].clone()).unwrap();
    assert!(typed[0].complete);
}

#[test]
fn wrong_queries_are_answered_in_json() {
    let explorer = Explorer::start(&[]);
    for (path, status, code) in [
        ("/api/traces?limit=0", 400, "invalid_query"),
        ("/api/traces?limit=many", 400, "invalid_query"),
        ("/api/traces?status=maybe", 400, "invalid_query"),
        ("/api/traces?min_duration_ms=NaN", 400, "invalid_query"),
        ("/api/traces/xyz", 400, "invalid_query"),
        ("/api/logs?severity=loud", 400, "invalid_query"),
        ("/api/logs?trace_id=1", 400, "invalid_query"),
        (
            "/api/traces/5b8efff798038103d269b633813fc60c",
            404,
            "unknown_trace",
        ),
        ("/nothing", 404, "not_found"),
    ] {
        let answer = explorer.get(path);
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (status, Some(code)),
            "{path}: {}",
            answer.text()
        );
    }
}

#[test]
fn probes_and_the_page() {
    let explorer = Explorer::start(&[]);
    assert_eq!(explorer.get("/livez").status, 200);
    assert_eq!(explorer.get("/readyz").status, 200);
    for (path, kind) in [
        ("/", "text/html"),
        ("/rules", "text/html"),
        ("/assets/base.css", "text/css"),
        ("/assets/base.js", "text/javascript"),
    ] {
        let answer = explorer.get(path);
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-type").unwrap().starts_with(kind));
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        // The page needs nothing from elsewhere.
        assert!(
            !answer.text().contains("https://") && !answer.text().contains("innerHTML"),
            "{path}"
        );
    }
}
