//! The SERVER span and its metrics, attribute by attribute.

use std::net::Shutdown;

use harness::{Collector, SpanKind, SpanStatus, TracedSpan};
use serde_json::json;

use crate::process::{Probe, keys, traceresponse};

/// The one SERVER span of a path.
fn served(collector: &Collector, path: &str) -> TracedSpan {
    collector.only_span(path, |span| {
        span.kind == SpanKind::Server && span.attributes["url.path"] == path
    })
}

/// Whether every request that was counted as active has ended.
fn balanced(collector: &Collector) -> bool {
    collector
        .metric("http.server.active_requests")
        .iter()
        .all(|series| series.value.as_f64() == Some(0.0))
}

#[test]
fn a_request_has_exactly_the_attributes_of_the_conventions() {
    let collector = Collector::start();
    let process = Probe::exporting(&collector, "");
    let port = process.address.port();
    let answer = process.send(
        "GET /items/42?q=a+secret&flag",
        &[
            ("user-agent", "tester/1"),
            ("authorization", "Bearer secret"),
        ],
    );
    assert_eq!((answer.status, &*answer.text()), (200, "42"));
    let (trace, span_id, flags) = traceresponse(&answer);
    assert_eq!(flags, "01");
    assert_eq!(process.stop().code, Some(0));

    let span = collector.span("GET /items/{id}");
    assert_eq!(
        (span.kind, &span.status),
        (SpanKind::Server, &SpanStatus::Unset)
    );
    assert_eq!((&span.trace_id, &span.span_id), (&trace, &span_id));
    assert_eq!(span.parent, None);
    let expected = [
        ("client.address", json!("127.0.0.1")),
        ("http.request.method", json!("GET")),
        ("http.response.status_code", json!(200)),
        ("http.route", json!("/items/{id}")),
        ("network.protocol.version", json!("1.1")),
        ("server.address", json!("127.0.0.1")),
        ("server.port", json!(port)),
        ("url.path", json!("/items/42")),
        ("url.query", json!("q=REDACTED&flag")),
        ("url.scheme", json!("http")),
        ("user_agent.original", json!("tester/1")),
    ];
    assert_eq!(
        span.attributes,
        expected.map(|(key, value)| (key.to_owned(), value)).into()
    );

    let durations = collector.metric("http.server.request.duration");
    let expected = [
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "network.protocol.version",
        "url.scheme",
    ];
    assert_eq!(durations.len(), 1, "{durations:?}");
    assert_eq!(keys(&durations[0]), expected);
    assert_eq!(durations[0].value["count"], 1);
    assert_eq!(durations[0].unit, "s");
    let active = collector.metric("http.server.active_requests");
    assert_eq!(active.len(), 1, "{active:?}");
    assert!(balanced(&collector), "{active:?}");
    assert_eq!(keys(&active[0]), ["http.request.method", "url.scheme"]);
}

#[test]
fn odd_requests_stay_within_bounded_names() {
    let collector = Collector::start();
    let process = Probe::exporting(&collector, "");
    assert_eq!(process.get("/no/such/thing").status, 404);
    assert_eq!(process.send("BREW /items/pot", &[]).status, 405);
    assert_eq!(process.send("BREW /tea", &[]).status, 404);
    assert_eq!(
        process
            .get("http://user:word@[::1]:9999/items/secret")
            .status,
        400,
        "RFC 9110 section 4.2.4 wants user names treated as an error"
    );
    assert_eq!(process.get("http://[::1]:9999/items/absolute").status, 200);
    assert_eq!(
        (process.get("/livez").status, process.get("/readyz").status),
        (200, 200)
    );
    assert_eq!(process.stop().code, Some(0));

    let unmatched = served(&collector, "/no/such/thing");
    assert_eq!(
        (unmatched.name.as_str(), &unmatched.status),
        ("GET", &SpanStatus::Unset)
    );
    assert!(
        !unmatched.attributes.contains_key("http.route")
            && !unmatched.attributes.contains_key("error.type"),
        "{unmatched:?}"
    );
    let brew = served(&collector, "/items/pot");
    assert_eq!(
        (brew.name.as_str(), &brew.attributes["http.request.method"]),
        ("HTTP /items/{id}", &json!("_OTHER"))
    );
    assert_eq!(brew.attributes["http.request.method_original"], "BREW");
    assert_eq!(served(&collector, "/tea").name, "HTTP");
    let absolute = served(&collector, "/items/absolute");
    assert_eq!(absolute.attributes["server.address"], "::1");
    assert_eq!(absolute.attributes["server.port"], 9999);
    let secret = served(&collector, "/items/secret");
    assert!(
        !format!("{secret:?}").contains("word"),
        "credentials on a span: {secret:?}"
    );
    assert_eq!(collector.spans().len(), 5, "probes of health have no spans");
    let methods = collector
        .metric("http.server.request.duration")
        .into_iter()
        .map(|series| series.attributes["http.request.method"].clone());
    assert!(
        methods
            .into_iter()
            .all(|method| method == "GET" || method == "_OTHER")
    );
}

#[test]
fn a_failure_is_logged_once_with_its_causes_and_a_refused_request_is_no_error() {
    let collector = Collector::start();
    let process = Probe::exporting(&collector, "");
    assert_eq!(
        (
            process.get("/fail").status,
            process.get("/plain-500").status,
            process.get("/bad").status
        ),
        (503, 500, 400)
    );
    let exit = process.stop();

    let failed = collector.span("GET /fail");
    assert_eq!(
        failed.status,
        SpanStatus::Error("the shelf is empty".to_owned())
    );
    assert_eq!(failed.attributes["error.type"], "shelf_empty");
    assert_eq!(failed.attributes["http.response.status_code"], 503);
    let plain = collector.span("GET /plain-500");
    assert_eq!(plain.status, SpanStatus::Error(String::new()));
    assert_eq!(plain.attributes["error.type"], "500");
    let bad = collector.span("GET /bad");
    assert_eq!(bad.status, SpanStatus::Unset);
    assert_eq!(bad.attributes.get("error.type"), None);

    let exceptions: Vec<_> = collector
        .logs()
        .into_iter()
        .filter(|log| log.event_name.as_deref() == Some("exception"))
        .collect();
    assert_eq!(exceptions.len(), 1, "{exceptions:?}");
    let record = &exceptions[0];
    assert_eq!(record.trace_id.as_ref(), Some(&failed.trace_id));
    assert_eq!(record.span_id.as_ref(), Some(&failed.span_id));
    assert_eq!(record.severity, "ERROR");
    let attributes = &record.attributes;
    assert_eq!(attributes["exception.type"], "shelf_empty");
    assert_eq!(attributes["exception.message"], "the shelf is empty");
    let stack = attributes["exception.stacktrace"].as_str().unwrap();
    assert!(
        stack.contains("probe.rs") && stack.contains("Caused by: nobody filled it"),
        "{stack}"
    );
    let lines = exit.events("exception");
    assert_eq!(
        (
            lines.len(),
            lines[0]["trace_id"].as_str(),
            lines[0]["span_id"].as_str()
        ),
        (1, Some(&*failed.trace_id), Some(&*failed.span_id))
    );

    let durations = collector.metric("http.server.request.duration");
    let mut types: Vec<_> = durations
        .iter()
        .filter_map(|series| series.attributes.get("error.type")?.as_str())
        .collect();
    types.sort_unstable();
    assert_eq!(types, ["500", "shelf_empty"]);
}

#[test]
fn a_panicking_handler_answers_and_the_process_goes_on() {
    let collector = Collector::start();
    let process = Probe::exporting(&collector, "--max-in-flight 1");
    for _ in 0..2 {
        let answer = process.get("/panic");
        assert_eq!(
            (answer.status, &*answer.text()),
            (500, "internal error"),
            "and it gives its permit back"
        );
        traceresponse(&answer);
    }
    assert_eq!(process.get("/items/1").status, 200);
    assert_eq!(process.stop().code, Some(0));
    let panics: Vec<_> = collector
        .spans()
        .into_iter()
        .filter(|span| span.name == "GET /panic")
        .collect();
    assert_eq!(panics.len(), 2);
    let message = "panic while answering: the handler broke";
    assert_eq!(panics[0].status, SpanStatus::Error(message.to_owned()));
    assert_eq!(panics[0].attributes["error.type"], "panic");
    let logs = collector.logs();
    let exceptions = logs.iter().filter(|log| {
        log.event_name.as_deref() == Some("exception")
            && log.trace_id.as_ref() == Some(&panics[0].trace_id)
    });
    assert_eq!(exceptions.count(), 1);
    assert!(balanced(&collector));
}

#[test]
fn a_client_that_leaves_is_counted_and_balanced() {
    let collector = Collector::start();
    let process = Probe::exporting(&collector, "");
    let socket = process.open("GET /hang", &[]);
    process.wait_event("probe.hanging");
    socket.shutdown(Shutdown::Both).expect("a closed socket");
    drop(socket);
    assert_eq!(
        process.stop().code,
        Some(0),
        "a request whose client left does not delay the drain"
    );
    let span = collector.span("GET /hang");
    assert_eq!(span.attributes["error.type"], "cancelled");
    assert_eq!(span.attributes.get("http.response.status_code"), None);
    let durations = collector.metric("http.server.request.duration");
    assert_eq!(durations.len(), 1, "{durations:?}");
    assert_eq!(durations[0].value["count"], 1);
    assert_eq!(durations[0].attributes["error.type"], "cancelled");
    assert!(balanced(&collector));
}

#[test]
fn spans_tasks_and_log_lines_of_a_request_belong_together() {
    let collector = Collector::start();
    let process = Probe::exporting(&collector, "");
    let trace = process.get("/work").trace_id();
    process.get("/twice");
    let exit = process.stop();

    let (server, work, select) = (
        collector.span("GET /work"),
        collector.span("work"),
        collector.span("SELECT rows"),
    );
    assert_eq!(
        (&server.trace_id, &work.trace_id, &select.trace_id),
        (&trace, &trace, &trace)
    );
    assert_eq!(work.parent.as_ref(), Some(&server.span_id));
    assert_eq!(select.parent.as_ref(), Some(&work.span_id));
    let expected = [
        "db.collection.name",
        "db.operation.name",
        "db.system.name",
        "error.type",
    ];
    assert_eq!(select.attributes.keys().collect::<Vec<_>>(), expected);
    assert_eq!(select.status, SpanStatus::Error("locked".to_owned()));
    let calls = collector.metric("db.client.operation.duration");
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert_eq!(calls[0].attributes["error.type"], "SQLITE_BUSY");

    for (event, span) in [("probe.working", &work), ("probe.reading", &select)] {
        let records = collector.logs();
        let record = records
            .iter()
            .find(|log| log.event_name.as_deref() == Some(event))
            .unwrap_or_else(|| panic!("no record {event} in {records:?}"));
        assert_eq!(record.trace_id.as_ref(), Some(&trace), "{event}");
        assert_eq!(record.span_id.as_ref(), Some(&span.span_id), "{event}");
        let line = &exit.events(event)[0];
        assert_eq!(
            (line["trace_id"].as_str(), line["span_id"].as_str()),
            (Some(&*trace), Some(&*span.span_id)),
            "{event}"
        );
    }
    let line = &exit.events("probe.working")[0];
    assert_eq!(
        (
            line["probe.rows"].as_i64(),
            line["message"].as_str(),
            line["service.name"].as_str()
        ),
        (Some(3), Some("works on 3 rows"), Some("probe"))
    );
    let twice = collector.span("GET /twice");
    assert_eq!(twice.attributes["ml.variant"], "second");
    let document = collector.get(&format!("/api/traces/{}", twice.trace_id));
    let document = document.unwrap().text();
    assert_eq!(
        document.matches(r#""key":"ml.variant""#).count(),
        1,
        "{document}"
    );
    for log in collector.logs() {
        let name = log.event_name.as_deref().unwrap_or_default();
        assert!(
            !name.starts_with("event "),
            "a record without a name: {log:?}"
        );
    }
}
