//! Faults on purpose, through baggage.

use crate::collector::{Collector, ERROR, UNSET};
use crate::process::{Answer, Process};

fn started(collector: &Collector, arguments: &str) -> Process {
    Process::start(
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())],
        arguments,
    )
}

#[test]
fn an_error_on_purpose_looks_like_a_real_one() {
    let collector = Collector::start();
    let process = started(&collector, "--allow-faults");
    let answer = process.send("GET /items/1", &[("baggage", "fault=probe:error")]);
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (500, "fault on purpose: error in probe")
    );
    answer.trace();
    process.stop();
    let span = collector.served("/items/1");
    assert_eq!(
        (span.status, span.attributes["error.type"].as_str()),
        (ERROR, "fault_injected")
    );
    let record = collector
        .logs()
        .into_iter()
        .find(|log| log.event == "exception")
        .expect("an exception record");
    assert_eq!((record.trace_id, record.span_id), (span.trace_id, span.id));
    assert!(
        !record.attributes["exception.message"].is_empty()
            && !record.attributes["exception.stacktrace"].is_empty()
    );
}

#[test]
fn a_drop_closes_the_connection_without_an_answer() {
    let collector = Collector::start();
    let process = started(&collector, "--allow-faults");
    let mut socket = process.open("GET /items/1", &[("baggage", "fault=probe:drop")]);
    assert!(Answer::read(&mut socket).is_none(), "not even a head");
    process.stop();
    let span = collector.served("/items/1");
    assert_eq!(
        (span.status, span.attributes["error.type"].as_str()),
        (ERROR, "fault_injected")
    );
    assert_eq!(
        span.attributes.get("http.response.status_code"),
        None,
        "no status was sent"
    );
}

#[test]
fn latency_is_time_inside_the_span() {
    let collector = Collector::start();
    let process = started(&collector, "--allow-faults");
    let start = std::time::Instant::now();
    let answer = process.send("GET /items/1", &[("baggage", "fault=probe:latency:150")]);
    assert!(
        start.elapsed().as_millis() >= 150 && answer.status == 200,
        "{answer:?}"
    );
    process.stop();
    let span = collector.served("/items/1");
    assert_eq!(
        (span.status, span.attributes.get("error.type")),
        (UNSET, None)
    );
}

#[test]
fn a_fault_is_for_one_service_and_only_where_it_is_allowed() {
    let collector = Collector::start();
    let process = started(&collector, "--allow-faults");
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
    let careful = started(&collector, "");
    for fault in ["fault=probe:error", "fault=probe:drop"] {
        assert_eq!(
            careful.send("GET /items/2", &[("baggage", fault)]).status,
            200,
            "{fault}"
        );
    }
    careful.stop();
}
