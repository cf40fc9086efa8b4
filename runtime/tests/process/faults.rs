//! Faults on purpose, through baggage.

use harness::{Answer, Collector, SpanStatus};

use crate::process::{Probe, traceresponse};

#[test]
fn an_error_on_purpose_looks_like_a_real_one() {
    let collector = Collector::start();
    let process = Probe::exporting(&collector, "--allow-faults");
    let answer = process.send("GET /items/1", &[("baggage", "fault=probe:error")]);
    assert_eq!(
        (answer.status, &*answer.text()),
        (500, "fault on purpose: error in probe")
    );
    traceresponse(&answer);
    process.stop();
    let span = collector.span("GET /items/{id}");
    assert!(span.is_error(), "{span:?}");
    assert_eq!(span.attributes["error.type"], "fault_injected");
    let record = collector
        .logs()
        .into_iter()
        .find(|log| log.event_name.as_deref() == Some("exception"))
        .expect("an exception record");
    assert_eq!(record.trace_id.as_ref(), Some(&span.trace_id));
    assert_eq!(record.span_id.as_ref(), Some(&span.span_id));
    for name in ["exception.message", "exception.stacktrace"] {
        let text = record.attributes[name].as_str().unwrap();
        assert!(!text.is_empty(), "{name}");
    }
}

#[test]
fn a_drop_closes_the_connection_without_an_answer() {
    let collector = Collector::start();
    let process = Probe::exporting(&collector, "--allow-faults");
    let mut socket = process.open("GET /items/1", &[("baggage", "fault=probe:drop")]);
    assert!(Answer::read(&mut socket).is_none(), "not even a head");
    process.stop();
    let span = collector.span("GET /items/{id}");
    assert!(span.is_error(), "{span:?}");
    assert_eq!(span.attributes["error.type"], "fault_injected");
    assert_eq!(
        span.attributes.get("http.response.status_code"),
        None,
        "no status was sent"
    );
}

#[test]
fn latency_is_time_inside_the_span() {
    let collector = Collector::start();
    let process = Probe::exporting(&collector, "--allow-faults");
    let start = std::time::Instant::now();
    let answer = process.send("GET /items/1", &[("baggage", "fault=probe:latency:150")]);
    assert!(
        start.elapsed().as_millis() >= 150 && answer.status == 200,
        "{answer:?}"
    );
    process.stop();
    let span = collector.span("GET /items/{id}");
    assert_eq!(span.status, SpanStatus::Unset);
    assert_eq!(span.attributes.get("error.type"), None);
}

#[test]
fn a_fault_is_for_one_service_and_only_where_it_is_allowed() {
    let collector = Collector::start();
    let process = Probe::exporting(&collector, "--allow-faults");
    for other in [
        "fault=gateway:error",
        "fault=probe:explode",
        "fault=",
        "nonsense",
    ] {
        assert_eq!(
            process.send("GET /items/1", &[("baggage", other)]).status,
            200,
            "{other}"
        );
    }
    process.stop();
    let careful = Probe::exporting(&collector, "");
    for fault in ["fault=probe:error", "fault=probe:drop"] {
        assert_eq!(
            careful.send("GET /items/2", &[("baggage", fault)]).status,
            200,
            "{fault}"
        );
    }
    careful.stop();
}
