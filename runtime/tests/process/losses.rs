//! A collector that is dead or too slow: answers stay the same, and lost telemetry is counted and
//! logged.

use std::net::TcpListener;

use harness::Collector;

use crate::process::{Probe, traceresponse};

/// An address that refuses connections.
fn refused() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

#[test]
fn a_refused_collector_changes_no_answer_and_is_logged_at_the_end() {
    let process = Probe::start(
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &refused()),
            ("OTEL_BSP_SCHEDULE_DELAY", "20"),
        ],
        "",
    );
    for id in 0..20 {
        let answer = process.get(&format!("/items/{id}"));
        assert_eq!((answer.status, answer.text()), (200, id.to_string()));
        traceresponse(&answer);
    }
    let exit = process.stop();
    assert_eq!(exit.code, Some(0));
    let lost = exit.events("telemetry.lost");
    assert_eq!(
        (lost.len(), lost[0]["spans"].as_u64()),
        (1, Some(20)),
        "{lost:?}"
    );
    let failed = exit.events("telemetry.export_failed");
    assert!(
        failed
            .iter()
            .filter(|line| line["signal"] == "spans")
            .count()
            <= 1,
        "an outage is logged once: {failed:?}"
    );
}

#[test]
fn a_collector_that_never_answers_delays_the_exit_by_the_deadline_alone() {
    // The kernel takes connections and bytes; nobody reads them.
    let black_hole = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", black_hole.local_addr().expect("an address"));
    let process = Probe::start(
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_BSP_SCHEDULE_DELAY", "20"),
        ],
        "--flush-timeout 300ms",
    );
    for id in 0..20 {
        assert_eq!(process.get(&format!("/items/{id}")).status, 200);
    }
    let start = std::time::Instant::now();
    let exit = process.stop();
    // An export alone would wait for 10 s.
    assert!(start.elapsed().as_secs() < 8, "{:?}", start.elapsed());
    assert_eq!(exit.code, Some(0));
    let lost = exit.events("telemetry.lost");
    assert_eq!(
        (
            lost.len(),
            lost[0]["spans"].as_u64(),
            lost[0]["unfinished"].as_bool()
        ),
        (1, Some(20), Some(true)),
        "{lost:?}"
    );
}

#[test]
fn a_full_queue_is_counted_by_reason() {
    let collector = Collector::start();
    let black_hole = TcpListener::bind("127.0.0.1:0").expect("a port");
    let traces = format!(
        "http://{}/v1/traces",
        black_hole.local_addr().expect("an address")
    );
    let process = Probe::start(
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint()),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &traces),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "4"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2"),
        ],
        "--flush-timeout 1s",
    );
    for _ in 0..20 {
        assert_eq!(process.get("/items/1").status, 200);
    }
    let exit = process.stop();
    assert_eq!(exit.code, Some(0));
    let lost = exit.events("telemetry.lost");
    assert_eq!(
        lost[0]["spans"].as_u64(),
        Some(20),
        "the queue and the export that hung: {lost:?}"
    );
    let exported = collector.metric("otel.sdk.exporter.span.exported");
    assert!(exported.is_empty(), "nothing came through: {exported:?}");
    let processed = collector.metric("otel.sdk.processor.span.processed");
    let full = processed.iter().filter(|series| {
        let reason = series.attributes.get("error.type");
        reason.is_some_and(|reason| reason == "queue_full")
    });
    let count: f64 = full.filter_map(|series| series.value.as_f64()).sum();
    assert!(count >= 10.0, "{processed:?}");
}

#[test]
fn what_arrives_is_counted_and_nothing_is_lost() {
    let collector = Collector::start();
    let process = Probe::start(
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint()),
            ("OTEL_METRIC_EXPORT_INTERVAL", "50"),
            ("OTEL_BSP_SCHEDULE_DELAY", "20"),
        ],
        "",
    );
    for _ in 0..300 {
        assert_eq!(process.get("/items/1").status, 200);
    }
    let exit = process.stop();
    assert_eq!(collector.spans().len(), 300);
    assert!(
        exit.events("telemetry.lost").is_empty(),
        "{:#?}",
        exit.lines
    );
    let exported = collector.metric("otel.sdk.exporter.span.exported");
    // One series, since no span has failed; the last export of metrics comes after that of the
    // spans.
    assert_eq!(exported.len(), 1, "{exported:?}");
    assert_eq!(exported[0].attributes.get("error.type"), None);
    assert_eq!(exported[0].value.as_f64(), Some(300.0), "{exported:?}");
}

#[test]
fn a_process_that_panics_still_flushes() {
    let collector = Collector::start();
    let process = Probe::start(
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())],
        "--break-down",
    );
    assert_eq!(process.get("/items/1").status, 200);
    let exit = process.stop();
    assert_ne!(exit.code, Some(0));
    assert_eq!(collector.spans().len(), 1);
    let span = collector.span("GET /items/{id}");
    assert_eq!(span.attributes["url.path"], "/items/1");
}

#[test]
fn a_silent_collector_takes_no_more_memory_than_the_queue_has() {
    let black_hole = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", black_hole.local_addr().expect("an address"));
    let process = Probe::start(
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            // Without this limit 4,000 spans of 40 KB would wait, 160 MB.
            ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "1000000"),
        ],
        "--flush-timeout 100ms",
    );
    let agent = "a".repeat(40_000);
    let before = process.resident_bytes();
    for _ in 0..4000 {
        process.send("GET /items/1", &[("user-agent", &agent)]);
    }
    let grown = process.resident_bytes().saturating_sub(before);
    assert!(grown < 110 << 20, "grew by {} MiB", grown >> 20);
    let exit = process.stop();
    assert_eq!(exit.events("telemetry.queue_full").len(), 1);
    assert_eq!(exit.events("telemetry.lost")[0]["spans"], 4000);
}

#[test]
fn equal_exceptions_are_counted_and_not_repeated() {
    let collector = Collector::start();
    let process = Probe::exporting(&collector, "");
    for _ in 0..300 {
        assert_eq!(process.get("/fail").status, 503);
    }
    let exit = process.stop();
    let failed: Vec<_> = collector.spans();
    assert_eq!(failed.len(), 300, "each failure has its span");
    assert!(
        failed
            .iter()
            .all(|span| span.attributes["error.type"] == "shelf_empty")
    );
    let logged = exit.events("exception");
    let exported = collector
        .logs()
        .into_iter()
        .filter(|log| log.event_name.as_deref() == Some("exception"));
    assert_eq!(exported.count(), logged.len());
    // Ten in ten seconds, on however slow a machine.
    assert!(
        (10..100).contains(&logged.len()),
        "{} records",
        logged.len()
    );
    for record in logged.iter().skip(10) {
        assert!(
            record["suppressed"].is_u64() || logged.len() > 10,
            "{record}"
        );
    }
}
