//! Telemetry through a real Collector: the same tree at its other end, in files, Elasticsearch,
//! Prometheus and Jaeger.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use explorer::tree;
use harness::{Trace, eventually};
use http::StatusCode;
use serde_json::{Value, json};

use crate::components::{Component, deploy_script, elasticsearch, lines};
use crate::system::{JsonAnswer, System, start};
use crate::trace_contract::{HIT, MISS};

/// A system whose services send to `endpoint`.
pub(crate) fn sending_to(endpoint: &str) -> Result<System> {
    System::start_with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
    ])
}

/// The trace `trace_id` out of several OTLP/JSON documents, each with `resourceSpans`.
fn collect(documents: &[Value], trace_id: &str) -> Option<Trace> {
    let mut resources = Vec::new();
    for resource in documents
        .iter()
        .filter_map(|document| document["resourceSpans"].as_array())
        .flatten()
    {
        let mut resource = resource.clone();
        for scope in resource["scopeSpans"].as_array_mut().into_iter().flatten() {
            if let Some(spans) = scope["spans"].as_array_mut() {
                spans.retain(|span| span["traceId"] == trace_id);
            }
        }
        resources.push(resource);
    }
    let document = json!({ "resourceSpans": resources }).to_string();
    let trace = Trace::from_otlp(document.as_bytes()).ok();
    trace.filter(|trace| !trace.spans.is_empty())
}

/// Waits until the other end has the tree of `answer`.
fn tree_arrives(
    answer: &JsonAnswer,
    outline: &str,
    documents: impl Fn() -> Result<Vec<Value>>,
) -> Result<()> {
    let trace_id = answer.trace_id();
    let mut last = String::from("nothing");
    let found = eventually("the tree arrives", || {
        let Some(trace) = collect(&documents()?, &trace_id) else {
            return Ok(None);
        };
        last = tree::outline(&trace);
        Ok((last.trim_end() == outline.trim_end()).then_some(trace))
    });
    let trace = found.with_context(|| format!("expected:\n{outline}\ncame:\n{last}"))?;
    assert_eq!(tree::problems(&trace), Vec::<String>::new());
    Ok(())
}

#[test]
#[ignore = "needs the Collector: set THROUGHLINE_TEST_COLLECTOR, as .ci/components/with does"]
fn the_tree_arrives_intact_with_logs_and_metrics() -> Result<()> {
    let collector = Component::start("collector", &["debug.yaml"], &[])?;
    let system = sending_to(collector.setting("COLLECTOR_OTLP_HTTP")?)?;
    let miss = system.predict(&["wine-0001"])?;
    let hit = system.predict(&["wine-0001"])?;
    let traces = || Ok(lines(&collector.dir, "traces.jsonl"));
    tree_arrives(&miss, MISS, traces)?;
    tree_arrives(&hit, HIT, traces)?;

    let failed =
        system.predict_with(&["wine-0002"], &[("baggage", "fault=feature-store:error")])?;
    let trace_id = failed.trace_id();
    eventually("the log records of the failure arrive", || {
        let found = lines(&collector.dir, "logs.jsonl").iter().any(|document| {
            let text = document.to_string();
            text.contains(&trace_id) && text.contains("exception.stacktrace")
        });
        Ok(found.then_some(()))
    })?;
    eventually("the histograms arrive", || {
        let metrics = lines(&collector.dir, "metrics.jsonl");
        let text = metrics.iter().map(Value::to_string).collect::<String>();
        let names = [
            "http.server.request.duration",
            "ai.inference.latency",
            "db.client.operation.duration",
        ];
        Ok(names
            .iter()
            .all(|name| text.contains(&format!("\"name\":\"{name}\"")))
            .then_some(()))
    })
}

/// Documents of a search in Elasticsearch.
fn search(system: &System, url: &str, streams: &str, query: &Value) -> Result<Vec<Value>> {
    // Search sees what was written before the last refresh.
    system.post(&format!("{url}/{streams}/_refresh"), "", &[])?;
    let body = json!({"size": 1000, "query": query}).to_string();
    let answer = system.post(&format!("{url}/{streams}/_search"), body, &[])?;
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(Vec::new());
    }
    let hits = answer.body["hits"]["hits"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    Ok(hits.into_iter().map(|hit| hit["_source"].clone()).collect())
}

#[test]
#[ignore = "needs servers: set THROUGHLINE_TEST_COLLECTOR and THROUGHLINE_TEST_ELASTICSEARCH_URL, as .ci/components/with does"]
fn elasticsearch_holds_traces_logs_and_delta_histograms() -> Result<()> {
    let url = elasticsearch()?;
    deploy_script("elasticsearch-templates.sh", &url)?;
    let collector = Component::start(
        "collector",
        &["elastic.yaml"],
        &[("ELASTICSEARCH_URL", &url)],
    )?;
    let system = sending_to(collector.setting("COLLECTOR_OTLP_HTTP")?)?;
    let miss = system.predict(&["wine-0001"])?;
    let failed =
        system.predict_with(&["wine-0002"], &[("baggage", "fault=feature-store:error")])?;
    for round in 0..20 {
        system.predict(&[&format!("wine-{:04}", 10 + round % 5)])?;
    }

    let trace_id = miss.trace_id();
    let names = eventually("the trace is found by its id", || {
        let spans = search(
            &system,
            &url,
            "traces-*",
            &json!({"term": {"trace_id": trace_id}}),
        )?;
        Ok((spans.len() >= MISS.lines().count()).then_some(spans))
    })?;
    let names: BTreeSet<_> = names
        .iter()
        .filter_map(|span| span["name"].as_str())
        .collect();
    assert!(
        [
            "predict wine_quality",
            "SELECT wine_features",
            "layer linear_2"
        ]
        .iter()
        .all(|name| names.contains(name)),
        "{names:?}"
    );

    let failed_id = failed.trace_id();
    eventually("the log records carry the same trace id", || {
        let logs = search(
            &system,
            &url,
            "logs-*",
            &json!({"term": {"trace_id": failed_id}}),
        )?;
        Ok(logs
            .iter()
            .any(|log| log["attributes"]["exception.stacktrace"].is_string())
            .then_some(()))
    })?;

    // Delta: the points of one series add up to the requests. Cumulative ones would have been
    // dropped, or would add up to more.
    let route = json!({"bool": {"filter": [
        {"term": {"attributes.http.route": "/v1/predictions"}},
        {"term": {"attributes.http.response.status_code": 200}},
        {"term": {"resource.attributes.service.instance.id": instance(&system, &url, &trace_id)?}},
    ]}});
    let mut counted = 0;
    let total = eventually("the delta histograms add up to the requests", || {
        let points = search(&system, &url, "metrics-*", &route)?;
        let counts = points
            .iter()
            .map(|point| &point["metrics"]["http.server.request.duration"]["counts"]);
        counted = counts
            .filter_map(Value::as_array)
            .flatten()
            .filter_map(Value::as_u64)
            .sum::<u64>();
        Ok((counted >= 21).then_some(counted))
    });
    assert_eq!(
        total.with_context(|| format!("only {counted} requests were counted"))?,
        21
    );
    Ok(())
}

/// `service.instance.id` of the gateway that answered, to separate this test's metrics from those
/// of others.
fn instance(system: &System, url: &str, trace_id: &str) -> Result<String> {
    let query = json!({"bool": {"filter": [{"term": {"trace_id": trace_id}}, {"term": {"name": "POST /v1/predictions"}}]}});
    let root = search(system, url, "traces-*", &query)?;
    let root = root.first().context("the root span is stored")?;
    Ok(root["resource"]["attributes"]["service.instance.id"]
        .as_str()
        .context("the root has an instance")?
        .to_owned())
}

#[test]
#[ignore = "needs the Collector: set THROUGHLINE_TEST_COLLECTOR, as .ci/components/with does"]
fn tail_sampling_keeps_errors_and_slow_traces_and_counts_everything_before() -> Result<()> {
    let backend = start(
        &[
            "explorer",
            "--listen",
            "127.0.0.1:0",
            "--otlp-listen",
            "127.0.0.1:0",
            "--exit-with-parent",
        ],
        &[],
    )?;
    let (page, otlp) = (
        backend.url("server.listening")?,
        backend.url("explorer.otlp_listening")?,
    );
    let settings = [
        ("BACKEND_OTLP_ENDPOINT", otlp.as_str()),
        ("DECISION_WAIT", "1s"),
        ("SLOW_MS", "300"),
        ("SAMPLE_PERCENT", "10"),
        ("METRICS_FLUSH_INTERVAL", "500ms"),
    ];
    let collector = Component::start("collector", &["gateway.yaml"], &settings)?;
    let system = sending_to(collector.setting("COLLECTOR_OTLP_HTTP")?)?;
    let kept = |trace_id: &str| {
        Ok(system.get(&format!("{page}/api/traces/{trace_id}"))?.status == StatusCode::OK)
    };

    let ask = |wine: usize, fault: &str| {
        system.predict_with(&[&format!("wine-{wine:04}")], &[("baggage", fault)])
    };
    let ordinary: Vec<_> = (1..=150).map(|wine| ask(wine, "")).collect::<Result<_>>()?;
    let failed: Vec<_> = (200..205)
        .map(|wine| ask(wine, "fault=feature-store:error"))
        .collect::<Result<_>>()?;
    let slow = ask(300, "fault=model-service:latency:400")?;

    for answer in failed.iter().chain([&slow]) {
        eventually("the trace is kept", || {
            Ok(kept(&answer.trace_id())?.then_some(()))
        })?;
    }
    // The slow one was the last to come, so the decisions about the ordinary ones were taken
    // before.
    let kept_ordinary = ordinary
        .iter()
        .map(|answer| kept(&answer.trace_id()))
        .collect::<Result<Vec<_>>>()?;
    let share = kept_ordinary.iter().filter(|kept| **kept).count();
    // Ten in a hundred: with 150 traces, more than 45 or none at all has a chance below one in a
    // million.
    assert!(
        (1..=45).contains(&share),
        "{share} of 150 ordinary traces were kept"
    );

    let prometheus = collector.setting("COLLECTOR_PROMETHEUS")?.to_owned();
    let value = |name: &str, labels: &[&str]| -> Result<Option<f64>> {
        let text = harness::send("GET", &prometheus, &[], &[])?.text();
        let line = text.lines().filter(|line| {
            line.starts_with(name) && labels.iter().all(|label| line.contains(label))
        });
        let values: Vec<f64> = line
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        Ok((!values.is_empty()).then(|| values.iter().sum()))
    };
    let requests = (ordinary.len() + failed.len() + 1) as f64;
    eventually("every request is counted, kept or not", || {
        let calls = value(
            "traces_span_metrics_calls_total",
            &[
                "service_name=\"gateway\"",
                "span_name=\"POST /v1/predictions\"",
            ],
        )?;
        Ok(calls.filter(|calls| *calls >= requests))
    })?;
    for (client, server) in [
        ("gateway", "model-service"),
        ("model-service", "feature-store"),
    ] {
        let labels = [
            format!("client=\"{client}\""),
            format!("server=\"{server}\""),
        ];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        eventually("the service graph has the edge", || {
            value("traces_service_graph_request_total", &labels)
        })?;
    }
    eventually("our own histogram is there, cumulative", || {
        let count = value(
            "http_server_request_duration_seconds_count",
            &["service_name=\"gateway\"", "http_route=\"/v1/predictions\""],
        )?;
        Ok(count.filter(|count| *count >= requests))
    })?;
    Ok(())
}

#[test]
#[ignore = "needs servers: set THROUGHLINE_TEST_COLLECTOR and THROUGHLINE_TEST_JAEGER, as .ci/components/with does"]
fn jaeger_shows_the_same_tree() -> Result<()> {
    let jaeger = Component::start("jaeger", &[], &[])?;
    let collector = Component::start(
        "collector",
        &["jaeger.yaml"],
        &[("JAEGER_OTLP_ENDPOINT", jaeger.setting("JAEGER_OTLP_HTTP")?)],
    )?;
    let system = sending_to(collector.setting("COLLECTOR_OTLP_HTTP")?)?;
    let query = jaeger.setting("JAEGER_QUERY")?;
    let miss = system.predict(&["wine-0001"])?;
    let trace_id = miss.trace_id();
    tree_arrives(&miss, MISS, || {
        Ok(vec![
            system
                .get(&format!("{query}/api/v3/traces/{trace_id}"))?
                .body["result"]
                .clone(),
        ])
    })
}
