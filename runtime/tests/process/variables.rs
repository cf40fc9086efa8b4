//! The standard variables, by what arrives at the receiver.

use harness::Exit;
use serde_json::{Value, json};

use crate::process::{Probe, launch};
use crate::recorder::Recorder;

/// One request to `/work` with these variables, and all that arrived.
fn run(collector: &Recorder, variables: &[(&str, &str)]) -> Exit {
    let endpoint = collector.endpoint();
    let common = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    let environment = [&common[..], variables].concat();
    let process = Probe::start(&environment, "");
    assert_eq!(process.get("/work").status, 200);
    let exit = process.stop();
    assert_eq!(exit.code, Some(0), "{:#?}", exit.lines);
    exit
}

/// The attributes of the resource of the span `work`.
fn resource_of_work(collector: &Recorder) -> Value {
    json!(*collector.span("work").resource)
}

#[test]
fn all_three_signals_leave_as_protobuf_with_the_whole_resource() {
    let collector = Recorder::start();
    run(&collector, &[]);
    let mut paths: Vec<_> = collector
        .exports()
        .into_iter()
        .map(|export| export.path)
        .collect();
    paths.sort();
    paths.dedup();
    assert_eq!(paths, ["/v1/logs", "/v1/metrics", "/v1/traces"]);
    assert!(
        collector
            .exports()
            .iter()
            .all(|export| export.headers["content-type"] == "application/x-protobuf")
    );
    let resource = resource_of_work(&collector);
    assert_eq!(json!(collector.logs()[0].resource), resource);
    let memory = collector.metric("process.memory.usage");
    assert_eq!(json!(memory[0].resource), resource);
    assert_eq!(memory[0].unit, "By");
    assert!(memory[0].value.as_f64() > Some(1e6));
    let time = collector.metric("process.cpu.time");
    assert!(time[0].value.as_f64() > Some(0.0));
    for (key, value) in [
        ("service.name", "probe"),
        ("service.namespace", "throughline"),
        ("service.version", "1.2.3"),
        ("deployment.environment.name", "development"),
        ("telemetry.sdk.language", "rust"),
    ] {
        assert_eq!(resource[key], value, "{resource:?}");
    }
    assert_eq!(resource["service.instance.id"].as_str().unwrap().len(), 36);
    assert!(resource["process.pid"].is_u64(), "{resource}");
}

#[test]
fn the_resource_can_be_overridden() {
    let collector = Recorder::start();
    let attributes = "deployment.environment.name=production,service.instance.id=one,team=ml,service.version=9,service.name=edge";
    run(&collector, &[("OTEL_RESOURCE_ATTRIBUTES", attributes)]);
    let resource = resource_of_work(&collector);
    for (key, value) in [
        ("deployment.environment.name", "production"),
        ("service.instance.id", "one"),
        ("team", "ml"),
        ("service.version", "9"),
        ("service.name", "edge"),
    ] {
        assert_eq!(resource[key], value, "{resource:?}");
    }
    let collector = Recorder::start();
    let exit = run(
        &collector,
        &[
            ("OTEL_RESOURCE_ATTRIBUTES", attributes),
            ("OTEL_SERVICE_NAME", "front"),
        ],
    );
    assert_eq!(resource_of_work(&collector)["service.name"], "front");
    assert_eq!(exit.events("probe.working")[0]["service.name"], "front");
}

#[test]
fn headers_compression_and_endpoints_are_followed_per_signal() {
    let (collector, other) = (Recorder::start(), Recorder::start());
    let logs = format!("{}/some/where/logs", other.endpoint());
    run(
        &collector,
        &[
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "authorization=ApiKey abc,x-tenant=7",
            ),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-tenant=8"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", &logs),
            ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "none"),
        ],
    );
    let traces = collector.export("/v1/traces");
    let metrics = collector.export("/v1/metrics");
    let logs = other.export("/some/where/logs");
    assert_eq!(
        (
            traces.headers["x-tenant"].as_bytes(),
            metrics.headers["x-tenant"].as_bytes()
        ),
        (&b"8"[..], &b"7"[..])
    );
    assert_eq!(metrics.headers["authorization"], "ApiKey abc");
    assert_eq!(
        (
            &traces.headers["content-encoding"],
            logs.headers.get("content-encoding")
        ),
        (&"gzip".parse().expect("a value"), None)
    );
    assert_eq!(
        (
            traces.headers["content-type"].as_bytes(),
            metrics.headers["content-type"].as_bytes()
        ),
        (&b"application/x-protobuf"[..], &b"application/json"[..])
    );
    assert!(
        !collector.metric("process.cpu.time").is_empty()
            && !collector.spans().is_empty()
            && !other.logs().is_empty()
    );
    assert!(collector.logs().is_empty());
}

#[test]
fn an_exporter_can_be_none_or_the_console() {
    let collector = Recorder::start();
    let exit = run(
        &collector,
        &[
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_METRICS_EXPORTER", "none"),
        ],
    );
    assert!(
        collector
            .exports()
            .iter()
            .all(|export| export.path == "/v1/logs")
    );
    assert!(
        collector
            .logs()
            .iter()
            .any(|log| log.event_name.as_deref() == Some("probe.working")
                && log.trace_id.as_ref().is_some_and(|id| id.len() == 32)),
        "ids without an exporter"
    );
    assert_eq!(exit.events("telemetry.lost").len(), 0);
    let collector = Recorder::start();
    let all = [
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_METRICS_EXPORTER", "console"),
        ("OTEL_LOGS_EXPORTER", "console"),
    ];
    let exit = run(&collector, &all);
    assert!(collector.exports().is_empty());
    let text = exit.lines.join("\n");
    for part in [
        "SELECT rows",
        "http.server.request.duration",
        "probe.working",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
}

#[test]
fn the_sampler_decides_for_roots() {
    for (sampler, argument, sampled) in [
        ("always_off", "", 0),
        ("parentbased_always_off", "", 0),
        ("traceidratio", "0", 0),
        ("parentbased_traceidratio", "1", 3),
        ("always_on", "", 3),
    ] {
        let collector = Recorder::start();
        run(
            &collector,
            &[
                ("OTEL_TRACES_SAMPLER", sampler),
                ("OTEL_TRACES_SAMPLER_ARG", argument),
            ],
        );
        assert_eq!(collector.spans().len(), sampled, "{sampler}");
        assert!(
            !collector.metric("http.server.request.duration").is_empty(),
            "metrics are never sampled"
        );
    }
}

#[test]
fn limits_histograms_and_the_interval_are_followed() {
    let collector = Recorder::start();
    run(
        &collector,
        &[
            ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "4"),
            (
                "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
                "base2_exponential_bucket_histogram",
            ),
        ],
    );
    assert_eq!(
        collector.span("SELECT rows").attributes["db.system.name"],
        "sqli"
    );
    let durations = collector.metric("http.server.request.duration");
    assert!(
        !durations.is_empty()
            && durations
                .iter()
                .all(|series| series.value["scale"].is_number()),
        "{durations:?}"
    );
    let collector = Recorder::start();
    run(&collector, &[("OTEL_ATTRIBUTE_COUNT_LIMIT", "3")]);
    assert_eq!(collector.span("GET /work").attributes.len(), 3);
}

#[test]
fn the_sdk_and_its_transport_do_not_export_their_own_logs() {
    let collector = Recorder::start();
    run(
        &collector,
        &[
            ("RUST_LOG", "trace"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "50"),
        ],
    );
    let events: Vec<_> = collector
        .logs()
        .into_iter()
        .filter_map(|log| log.event_name)
        .filter(|event| !event.starts_with("probe."))
        .collect();
    let ours = ["server.listening", "server.stopped", "exception"];
    assert!(
        events.iter().all(|event| ours.contains(&event.as_str())),
        "{events:?}"
    );
}

#[test]
fn an_unknown_value_of_a_variable_stops_the_start() {
    let mut process = launch(&[("OTEL_TRACES_EXPORTER", "jaeger")], "");
    let exit = process.wait().unwrap();
    assert_eq!(exit.code, Some(1));
    assert_eq!(exit.events("server.listening").len(), 0);
}
