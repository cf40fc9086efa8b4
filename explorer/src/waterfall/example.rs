//! The trace of a miss, as in the README but with round times, for the tests of this crate.

use serde_json::{Value, json};

use crate::trace::{SpanKind, SpanStatus, Trace};

pub(crate) const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Id, parent, service, name, kind, start and end in µs, attributes.
type ExampleSpan = (
    u64,
    u64,
    &'static str,
    &'static str,
    u32,
    u64,
    u64,
    &'static [(&'static str, &'static str)],
);

const MODEL: &[(&str, &str)] = &[("ml.model_name", "wine_quality"), ("ml.model_version", "1")];
const OK: &[(&str, &str)] = &[("http.response.status_code", "200")];
const SQLITE: &[(&str, &str)] = &[("db.system.name", "sqlite")];

const MISS: [ExampleSpan; 15] = [
    (1, 0, "gateway", "POST /v1/predictions", 2, 0, 12_400, OK),
    (2, 1, "gateway", "SELECT predictions", 3, 300, 620, SQLITE),
    (3, 1, "gateway", "POST", 3, 800, 11_300, OK),
    (
        4,
        3,
        "model-service",
        "POST /v2/models/{model_name}/infer",
        2,
        1_000,
        11_100,
        OK,
    ),
    (5, 4, "model-service", "POST", 3, 1_250, 4_900, OK),
    (
        6,
        5,
        "feature-store",
        "POST /get-online-features",
        2,
        1_600,
        4_600,
        OK,
    ),
    (
        7,
        6,
        "feature-store",
        "SELECT wine_features",
        3,
        2_000,
        4_200,
        SQLITE,
    ),
    (
        8,
        4,
        "model-service",
        "predict wine_quality",
        1,
        5_000,
        10_900,
        MODEL,
    ),
    (
        9,
        8,
        "model-service",
        "preprocess_input",
        1,
        5_050,
        5_110,
        &[],
    ),
    (
        10,
        8,
        "model-service",
        "model_inference",
        1,
        5_200,
        10_600,
        &[],
    ),
    (
        11,
        10,
        "model-service",
        "layer linear_1",
        1,
        5_300,
        8_800,
        &[],
    ),
    (
        12,
        10,
        "model-service",
        "layer linear_2",
        1,
        8_900,
        9_900,
        &[],
    ),
    (
        13,
        10,
        "model-service",
        "layer linear_3",
        1,
        9_950,
        10_500,
        &[],
    ),
    (
        14,
        8,
        "model-service",
        "postprocess_output",
        1,
        10_700,
        10_850,
        &[],
    ),
    (
        15,
        1,
        "gateway",
        "INSERT predictions",
        3,
        11_500,
        12_200,
        SQLITE,
    ),
];

pub(crate) fn miss() -> Trace {
    build(MISS.iter().map(|(id, parent, service, name, kind, start, end, attributes)| {
        let attributes: Vec<_> = attributes.iter().map(|(key, value)| attribute(key, value)).collect();
        let span = json!({
            "traceId": TRACE, "spanId": format!("{id:016x}"), "parentSpanId": id_or_none(*parent), "name": name, "kind": kind,
            "startTimeUnixNano": time(*start), "endTimeUnixNano": time(*end), "attributes": attributes,
        });
        (*service, span)
    }))
}

/// The same spans in a new tree.
pub(crate) fn rebuilt(trace: &Trace) -> Trace {
    build(trace.spans.iter().map(|span| {
        let kind = match span.kind {
            SpanKind::Unspecified => 0,
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
            SpanKind::Producer => 4,
            SpanKind::Consumer => 5,
        };
        let status = match &span.status {
            SpanStatus::Unset => json!({}),
            SpanStatus::Ok => json!({ "code": 1 }),
            SpanStatus::Error(message) => json!({ "code": 2, "message": message }),
        };
        let attributes = span.attributes.keys().map(|key| attribute(key, &span.text(key).unwrap_or_default()));
        let links = span.links.iter().map(|link| json!({ "traceId": link.trace_id, "spanId": link.span_id }));
        let otlp = json!({
            "traceId": trace.trace_id, "spanId": span.span_id, "parentSpanId": span.parent, "name": span.name, "kind": kind,
            "startTimeUnixNano": span.start.to_string(), "endTimeUnixNano": span.end.to_string(), "status": status,
            "attributes": attributes.collect::<Vec<_>>(), "links": links.collect::<Vec<_>>(),
        });
        (span.service.as_str(), otlp)
    }))
}

fn build<'a>(spans: impl Iterator<Item = (&'a str, Value)>) -> Trace {
    let resource_spans = spans.map(|(service, span)| {
        json!({ "resource": { "attributes": [attribute("service.name", service)] }, "scopeSpans": [{ "spans": [span] }] })
    });
    let document = json!({ "resourceSpans": resource_spans.collect::<Vec<_>>() });
    Trace::from_otlp(document.to_string().as_bytes()).expect("the example is a trace")
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn id_or_none(id: u64) -> String {
    if id == 0 {
        String::new()
    } else {
        format!("{id:016x}")
    }
}

fn time(micros: u64) -> String {
    (1_760_000_000_000_000_000 + micros * 1_000).to_string()
}
