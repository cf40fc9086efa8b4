//! W3C Trace Context and baggage, in and out.

use harness::Collector;
use serde_json::Value;

use crate::process::{Probe, traceresponse};
use crate::recorder::Recorder;
use crate::w3c;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

#[test]
fn every_case_of_the_w3c_is_continued_or_starts_a_trace() {
    let collector = Collector::start();
    let process = Probe::exporting(&collector, "");
    let cases = w3c::cases();
    for (index, case) in cases.iter().enumerate() {
        let headers: Vec<_> = case
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let call = format!("GET /call?to=http://{}/echo&case={index}", process.address);
        let answer = process.send(&call, &headers);
        let (trace, span, flags) = traceresponse(&answer);
        let continued = (trace == w3c::TRACE).then_some(flags.as_str());
        assert_eq!(continued, case.continues, "{}: {answer:?}", case.name);
        assert_ne!(span, w3c::PARENT, "the SERVER span has an id of its own");
        let sent = answer.json();
        let parent = sent["traceparent"].as_str().expect("a traceparent");
        assert!(
            parent.starts_with(&format!("00-{trace}-")) && parent.ends_with(&flags),
            "{}: {parent}",
            case.name
        );
        assert_eq!(
            sent["tracestate"].as_str(),
            case.state.as_deref(),
            "{}",
            case.name
        );
    }
    process.stop();
    let sampled = cases.iter().filter(|case| {
        let sampled = ["01", "03"];
        case.continues.is_none_or(|flags| sampled.contains(&flags))
    });
    let calls: Vec<_> = collector
        .spans()
        .into_iter()
        .filter(|span| span.name == "GET /call")
        .collect();
    assert_eq!(
        calls.len(),
        sampled.count(),
        "an unsampled request exports nothing"
    );
    for span in calls {
        let parent = (span.trace_id == w3c::TRACE).then_some(w3c::PARENT);
        assert_eq!(span.parent.as_deref(), parent);
    }
}

#[test]
fn baggage_of_several_lines_is_one_list() {
    let seen = through(
        &[("OTEL_SDK_DISABLED", "true")],
        &[
            ("baggage", "a=1,b (=2"),
            ("baggage", ""),
            ("baggage", "c=3;p=x"),
        ],
    );
    let baggage = seen["baggage"].as_str().expect("baggage");
    let mut members: Vec<_> = baggage.split(',').collect();
    members.sort_unstable();
    assert_eq!(members, ["a=1", "c=3;p=x"]);
}

/// One call through the probe to its own `/echo`, which returns the headers that arrived.
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
