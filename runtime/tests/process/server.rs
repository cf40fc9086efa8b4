//! The SERVER span and its metrics, attribute by attribute.

use std::net::Shutdown;

use crate::collector::{Collector, ERROR, SERVER, UNSET};
use crate::process::Process;

fn started(collector: &Collector, arguments: &str) -> Process {
    Process::start(
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())],
        arguments,
    )
}

#[test]
fn a_request_has_exactly_the_attributes_of_the_conventions() {
    let collector = Collector::start();
    let process = started(&collector, "");
    let port = process.address.port().to_string();
    let answer = process.send(
        "GET /items/42?q=a+secret&flag",
        &[
            ("user-agent", "tester/1"),
            ("authorization", "Bearer secret"),
        ],
    );
    assert_eq!((answer.status, answer.body.as_str()), (200, "42"));
    let (trace, span_id, flags) = answer.trace();
    assert_eq!(flags, "01");
    assert_eq!(process.stop().code, Some(0));

    let span = collector.span("GET /items/{id}");
    assert_eq!(
        (
            span.kind,
            span.status,
            span.trace_id,
            span.id,
            span.parent.as_str()
        ),
        (SERVER, UNSET, trace, span_id, "")
    );
    let expected = [
        ("client.address", "127.0.0.1"),
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.route", "/items/{id}"),
        ("network.protocol.version", "1.1"),
        ("server.address", "127.0.0.1"),
        ("server.port", &port),
        ("url.path", "/items/42"),
        ("url.query", "q=REDACTED&flag"),
        ("url.scheme", "http"),
        ("user_agent.original", "tester/1"),
    ];
    assert_eq!(
        span.attributes,
        expected
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    );

    let durations = collector.points("http.server.request.duration");
    let expected = [
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "network.protocol.version",
        "url.scheme",
    ];
    assert_eq!(durations.len(), 1, "{durations:?}");
    assert_eq!(durations[0].attributes.keys().collect::<Vec<_>>(), expected);
    assert_eq!((durations[0].value, durations[0].unit.as_str()), (1.0, "s"));
    let active = collector.points("http.server.active_requests");
    assert_eq!(
        active.iter().map(|point| point.value).collect::<Vec<_>>(),
        [0.0]
    );
    assert_eq!(
        active[0].attributes.keys().collect::<Vec<_>>(),
        ["http.request.method", "url.scheme"]
    );
}

#[test]
fn odd_requests_stay_within_bounded_names() {
    let collector = Collector::start();
    let process = started(&collector, "");
    assert_eq!(process.get("/no/such/thing").status, 404);
    assert_eq!(process.send("BREW /items/pot", &[]).status, 405);
    assert_eq!(process.send("BREW /tea", &[]).status, 404);
    assert_eq!(
        process
            .get("http://user:word@[::1]:9999/items/absolute")
            .status,
        200
    );
    assert_eq!(
        (process.get("/livez").status, process.get("/readyz").status),
        (200, 200)
    );
    assert_eq!(process.stop().code, Some(0));

    let unmatched = collector.served("/no/such/thing");
    assert_eq!((unmatched.name.as_str(), unmatched.status), ("GET", UNSET));
    assert!(
        !unmatched.attributes.contains_key("http.route")
            && !unmatched.attributes.contains_key("error.type"),
        "{unmatched:?}"
    );
    let brew = collector.served("/items/pot");
    assert_eq!(
        (
            brew.name.as_str(),
            brew.attributes["http.request.method"].as_str()
        ),
        ("HTTP /items/{id}", "_OTHER")
    );
    assert_eq!(brew.attributes["http.request.method_original"], "BREW");
    assert_eq!(collector.served("/tea").name, "HTTP");
    let absolute = collector.served("/items/absolute");
    assert_eq!(
        (
            absolute.attributes["server.address"].as_str(),
            absolute.attributes["server.port"].as_str()
        ),
        ("::1", "9999")
    );
    assert!(
        !format!("{absolute:?}").contains("word"),
        "credentials on a span: {absolute:?}"
    );
    assert_eq!(collector.spans().len(), 4, "probes of health have no spans");
    let methods = collector
        .points("http.server.request.duration")
        .into_iter()
        .map(|point| point.attributes["http.request.method"].clone());
    assert!(
        methods
            .into_iter()
            .all(|method| method == "GET" || method == "_OTHER")
    );
}

#[test]
fn a_failure_is_told_once_with_its_causes_and_a_refused_request_is_no_error() {
    let collector = Collector::start();
    let process = started(&collector, "");
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
        (
            failed.status,
            failed.message.as_str(),
            failed.attributes["error.type"].as_str()
        ),
        (ERROR, "the shelf is empty", "shelf_empty")
    );
    assert_eq!(failed.attributes["http.response.status_code"], "503");
    let plain = collector.span("GET /plain-500");
    assert_eq!(
        (
            plain.status,
            plain.message.as_str(),
            plain.attributes["error.type"].as_str()
        ),
        (ERROR, "", "500")
    );
    let bad = collector.span("GET /bad");
    assert_eq!(
        (bad.status, bad.attributes.get("error.type")),
        (UNSET, None)
    );

    let exceptions: Vec<_> = collector
        .logs()
        .into_iter()
        .filter(|log| log.event == "exception")
        .collect();
    assert_eq!(exceptions.len(), 1, "{exceptions:?}");
    let record = &exceptions[0];
    assert_eq!(
        (&record.trace_id, &record.span_id, record.severity.as_str()),
        (&failed.trace_id, &failed.id, "ERROR")
    );
    assert_eq!(record.attributes["exception.type"], "shelf_empty");
    assert_eq!(record.attributes["exception.message"], "the shelf is empty");
    let stack = &record.attributes["exception.stacktrace"];
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
        (1, Some(&*failed.trace_id), Some(&*failed.id))
    );

    let types = collector
        .points("http.server.request.duration")
        .into_iter()
        .filter_map(|point| point.attributes.get("error.type").cloned());
    let mut types: Vec<_> = types.collect();
    types.sort();
    assert_eq!(types, ["500", "shelf_empty"]);
}

#[test]
fn a_panicking_handler_answers_and_the_process_goes_on() {
    let collector = Collector::start();
    let process = started(&collector, "--max-in-flight 1");
    for _ in 0..2 {
        let answer = process.get("/panic");
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (500, "internal error"),
            "and it gives its permit back"
        );
        answer.trace();
    }
    assert_eq!(process.get("/items/1").status, 200);
    assert_eq!(process.stop().code, Some(0));
    let panics: Vec<_> = collector
        .spans()
        .into_iter()
        .filter(|span| span.name == "GET /panic")
        .collect();
    assert_eq!(panics.len(), 2);
    assert_eq!(
        (
            panics[0].status,
            panics[0].attributes["error.type"].as_str()
        ),
        (ERROR, "panic")
    );
    assert_eq!(
        panics[0].message,
        "panic while answering: the handler broke"
    );
    assert_eq!(
        collector
            .logs()
            .iter()
            .filter(|log| log.event == "exception" && log.trace_id == panics[0].trace_id)
            .count(),
        1
    );
    assert!(
        collector
            .points("http.server.active_requests")
            .iter()
            .all(|point| point.value == 0.0)
    );
}

#[test]
fn a_client_that_leaves_is_counted_and_balanced() {
    let collector = Collector::start();
    let mut process = started(&collector, "");
    let socket = process.open("GET /hang", &[]);
    process.wait_for_event("probe.hanging");
    socket.shutdown(Shutdown::Both).expect("a closed socket");
    drop(socket);
    assert_eq!(
        process.stop().code,
        Some(0),
        "a request whose client left does not delay the drain"
    );
    let span = collector.span("GET /hang");
    assert_eq!(
        (
            span.attributes["error.type"].as_str(),
            span.attributes.get("http.response.status_code")
        ),
        ("cancelled", None)
    );
    let durations = collector.points("http.server.request.duration");
    assert_eq!(
        (
            durations.len(),
            durations[0].value,
            durations[0].attributes["error.type"].as_str()
        ),
        (1, 1.0, "cancelled")
    );
    assert!(
        collector
            .points("http.server.active_requests")
            .iter()
            .all(|point| point.value == 0.0)
    );
}

#[test]
fn spans_tasks_and_log_lines_of_a_request_belong_together() {
    let collector = Collector::start();
    let process = started(&collector, "");
    let (trace, ..) = process.get("/work").trace();
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
    assert_eq!((&work.parent, &select.parent), (&server.id, &work.id));
    let expected = [
        "db.collection.name",
        "db.operation.name",
        "db.system.name",
        "error.type",
    ];
    assert_eq!(select.attributes.keys().collect::<Vec<_>>(), expected);
    assert_eq!((select.status, select.message.as_str()), (ERROR, "locked"));
    let calls = collector.points("db.client.operation.duration");
    assert_eq!(
        (calls.len(), calls[0].attributes["error.type"].as_str()),
        (1, "SQLITE_BUSY")
    );

    for (event, span) in [("probe.working", &work), ("probe.reading", &select)] {
        let records = collector.logs();
        let record = records
            .iter()
            .find(|log| log.event == event)
            .unwrap_or_else(|| panic!("no record {event} in {records:?}"));
        assert_eq!(
            (&record.trace_id, &record.span_id),
            (&trace, &span.id),
            "{event}"
        );
        let line = &exit.events(event)[0];
        assert_eq!(
            (line["trace_id"].as_str(), line["span_id"].as_str()),
            (Some(&*trace), Some(&*span.id)),
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
    assert_eq!(
        twice.keys.iter().filter(|key| *key == "ml.variant").count(),
        1,
        "{:?}",
        twice.keys
    );
    for log in collector.logs() {
        assert!(
            !log.event.starts_with("event "),
            "a record without a name: {log:?}"
        );
    }
}
