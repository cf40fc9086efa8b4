//! W3C Trace Context and baggage, in and out.

use harness::Collector;
use serde_json::Value;

use crate::process::{Probe, traceresponse};
use crate::recorder::Recorder;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

#[test]
fn every_form_of_traceparent_continues_or_starts_a_trace() {
    let collector = Collector::start();
    let process = Probe::exporting(&collector, "");
    // What comes in, whether it continues that trace, and the flags that go out.
    let cases = [
        (format!("00-{TRACE}-{SPAN}-01"), true, "01"),
        (format!("00-{TRACE}-{SPAN}-03"), true, "01"),
        (format!("00-{TRACE}-{SPAN}-00"), true, "00"),
        (format!("00-{TRACE}-{SPAN}-02"), true, "00"),
        (format!("cc-{TRACE}-{SPAN}-01"), true, "01"),
        (format!("cc-{TRACE}-{SPAN}-01-later"), true, "01"),
        (format!("ff-{TRACE}-{SPAN}-01"), false, "01"),
        (format!("00-{TRACE}-{SPAN}-01-more"), false, "01"),
        (
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            false,
            "01",
        ),
        (format!("00-{}-{SPAN}-01", "0".repeat(32)), false, "01"),
        (format!("00-{TRACE}-{}-01", "0".repeat(16)), false, "01"),
        ("00-abc-def-01".to_owned(), false, "01"),
        ("nonsense".to_owned(), false, "01"),
    ];
    for (index, (header, continues, flags)) in cases.iter().enumerate() {
        let answer = process.send(&format!("GET /items/{index}"), &[("traceparent", header)]);
        let (trace, span, seen) = traceresponse(&answer);
        assert_eq!(
            (trace == TRACE, seen.as_str()),
            (*continues, *flags),
            "{header}"
        );
        assert_ne!(span, SPAN, "the SERVER span has an id of its own");
    }
    process.stop();
    let spans = collector.spans();
    for (index, (header, continues, flags)) in cases.iter().enumerate() {
        let path = format!("/items/{index}");
        let spans: Vec<_> = spans
            .iter()
            .filter(|span| span.attributes["url.path"] == path)
            .collect();
        assert_eq!(
            spans.len(),
            usize::from(*flags == "01"),
            "{header}: an unsampled request exports nothing"
        );
        for span in spans {
            assert_eq!(
                span.parent.as_deref(),
                continues.then_some(SPAN),
                "{header}"
            );
        }
    }
}

/// One call through the probe to its own `/echo`, which answers the headers that arrived.
fn through(environment: &[(&str, &str)], headers: &[(&str, &str)]) -> Value {
    let process = Probe::start(environment, "");
    let answer = process.send(
        &format!("GET /call?to=http://{}/echo", process.address),
        headers,
    );
    process.stop();
    answer.json()
}

const INCOMING: [(&str, &str); 3] = [
    (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    ("tracestate", "vendor=opaque,other=1"),
    ("baggage", "user=7,fault=nobody:error"),
];

#[test]
fn the_context_of_a_request_reaches_the_next_service() {
    let collector = Collector::start();
    let seen = through(
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())],
        &INCOMING,
    );
    let call = collector.span("GET");
    assert_eq!(
        seen["traceparent"],
        format!("00-{TRACE}-{}-01", call.span_id)
    );
    assert_eq!(seen["tracestate"], "vendor=opaque,other=1");
    assert_eq!(call.trace_state, "vendor=opaque,other=1");
    let baggage = seen["baggage"].as_str().expect("baggage");
    assert!(
        baggage.contains("user=7") && baggage.contains("fault=nobody"),
        "{baggage}"
    );
    let echo = collector.span("GET /echo");
    assert_eq!(
        (echo.trace_id.as_str(), echo.parent.as_ref()),
        (TRACE, Some(&call.span_id))
    );
}

#[test]
fn unsampled_stays_unsampled_over_all_hops() {
    let collector = Collector::start();
    let unsampled = format!("00-{TRACE}-{SPAN}-00");
    let seen = through(
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())],
        &[("traceparent", &unsampled)],
    );
    let sent = seen["traceparent"].as_str().expect("a traceparent");
    assert!(
        sent.starts_with(&format!("00-{TRACE}-")) && sent.ends_with("-00"),
        "{sent}"
    );
    assert!(collector.spans().is_empty(), "{:?}", collector.spans());
}

#[test]
fn with_the_sdk_off_the_context_passes_through_unchanged_and_nothing_is_exported() {
    let collector = Recorder::start();
    let off = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.endpoint()),
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ];
    let seen = through(&off, &INCOMING);
    assert_eq!(
        (seen["traceparent"].as_str(), seen["tracestate"].as_str()),
        (Some(INCOMING[0].1), Some(INCOMING[1].1))
    );
    assert!(
        seen["baggage"]
            .as_str()
            .is_some_and(|baggage| baggage.contains("user=7")),
        "{seen}"
    );
    let process = Probe::start(&off, "");
    let answer = process.send("GET /work", &INCOMING);
    assert_eq!(
        (answer.status, answer.header("traceresponse")),
        (200, None),
        "the caller's own span is no answer"
    );
    let exit = process.stop();
    assert_eq!(
        exit.events("probe.working")[0]["trace_id"],
        TRACE,
        "log lines still name the caller's trace"
    );
    assert_eq!(exit.code, Some(0));
    assert!(collector.exports().is_empty());
}

#[test]
fn propagators_can_be_chosen() {
    let none = through(
        &[("OTEL_SDK_DISABLED", "true"), ("OTEL_PROPAGATORS", "none")],
        &INCOMING,
    );
    assert_eq!(
        (&none["traceparent"], &none["tracestate"], &none["baggage"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    let context_only = through(
        &[
            ("OTEL_SDK_DISABLED", "true"),
            ("OTEL_PROPAGATORS", "tracecontext"),
        ],
        &INCOMING,
    );
    assert_eq!(
        (
            context_only["traceparent"].as_str(),
            &context_only["baggage"]
        ),
        (Some(INCOMING[0].1), &Value::Null)
    );
    let collector = Collector::start();
    let baggage_only = through(
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint()),
            ("OTEL_PROPAGATORS", "baggage"),
        ],
        &INCOMING,
    );
    assert_eq!(baggage_only["traceparent"], Value::Null);
    assert!(baggage_only["baggage"].is_string());
    assert_ne!(collector.span("GET").trace_id, TRACE);
}
