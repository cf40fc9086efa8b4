//! The standard variables, by what arrives at the receiver.

use harness::Exit;
use serde_json::{Value, json};

use crate::process::Probe;
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
fn a_value_that_cannot_be_followed_is_logged_and_ignored() {
    let collector = Recorder::start();
    let wrong = [
        ("OTEL_PROPAGATORS", "tracecontext,baggage,b3"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "99999999999999"),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "0"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "often"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "-1"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=%"),
    ];
    let exit = run(&collector, &wrong);
    let ignored = exit.events("telemetry.setting_ignored");
    let variables: std::collections::BTreeSet<_> = ignored
        .iter()
        .map(|line| line["variable"].as_str().expect("a name"))
        .collect();
    assert_eq!(variables, wrong.map(|(name, _)| name).into());
    assert_eq!(collector.spans().len(), 3);
    assert!(!collector.logs().is_empty() && !collector.metric("process.cpu.time").is_empty());

    let sampled = Recorder::start();
    let ratio = [
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "ten"),
    ];
    let exit = run(&sampled, &ratio);
    assert_eq!(exit.events("telemetry.setting_ignored").len(), 1);
    assert_eq!(sampled.spans().len(), 3);
}

#[test]
fn a_timeout_of_zero_has_no_limit_and_the_resource_is_decoded() {
    let collector = Recorder::start();
    let exit = run(
        &collector,
        &[
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_RESOURCE_ATTRIBUTES", "c=d%20e"),
        ],
    );
    assert!(exit.events("telemetry.lost").is_empty());
    assert_eq!(collector.span("work").resource["c"], "d e");
}

#[test]
fn a_wrong_endpoint_loses_telemetry_loudly_and_stops_nothing() {
    let process = Probe::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318")], "");
    assert_eq!(process.get("/work").status, 200);
    let exit = process.stop();
    assert_eq!(exit.code, Some(0));
    assert_eq!(exit.events("telemetry.setting_ignored").len(), 1);
    assert_eq!(exit.events("telemetry.lost")[0]["spans"], 3);
    let failed = exit.events("telemetry.export_failed");
    assert!(
        failed.iter().any(|line| line["signal"] == "spans"),
        "{failed:?}"
    );
}

#[test]
fn credentials_of_the_endpoint_are_sent_and_never_shown() {
    let collector = Recorder::start();
    let endpoint = collector.endpoint().replace("http://", "http://m:SECRET@");
    let exit = run(&collector, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    let authorized =
        |export: &crate::recorder::Export| export.headers["authorization"] == "Basic bTpTRUNSRVQ=";
    assert!(collector.exports().iter().all(authorized));
    assert!(!exit.lines.iter().any(|line| line.contains("SECRET")));
}

#[test]
fn texts_are_cut_by_default() {
    let collector = Recorder::start();
    let process = Probe::exporting(&collector, "");
    let agent = "a".repeat(20_000);
    assert_eq!(
        process
            .send("GET /items/1", &[("user-agent", &agent)])
            .status,
        200
    );
    process.stop();
    let span = collector.span("GET /items/{id}");
    let agent = span.attributes["user_agent.original"].as_str();
    assert_eq!(agent.map(str::len), Some(4096));
}
