//! Two languages in one trace: the contract of `trace_contract.rs` where the Python worker
//! computes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use explorer::tree;
use harness::{SpanData, SpanKind, SpanStatus, Trace, eventually};
use http::StatusCode;
use serde_json::{Value, json};

use crate::system::{
    JsonAnswer, PythonSystem, folder_with_both_models, is_whole, path, python_environment, up,
};
use crate::trace_contract::HIT;

/// The tree of a miss that the canary answers. Its `http receive` and `http send` spans are made by
/// the instrumentation of ASGI, one for each message between server and application;
/// docs/model-services.md describes them.
const CANARY_MISS: &str = "\
POST /v1/predictions SERVER gateway
  SELECT predictions CLIENT gateway
  POST CLIENT gateway
    POST /v2/models/{model_name}/infer SERVER model-service-python
      POST /v2/models/{model_name}/infer http receive INTERNAL model-service-python
      POST CLIENT model-service-python
        POST /get-online-features SERVER feature-store
          SELECT wine_features CLIENT feature-store
      predict wine_quality INTERNAL model-service-python
        preprocess_input INTERNAL model-service-python
        model_inference INTERNAL model-service-python
        postprocess_output INTERNAL model-service-python
      POST /v2/models/{model_name}/infer http send INTERNAL model-service-python
      POST /v2/models/{model_name}/infer http send INTERNAL model-service-python
  INSERT predictions CLIENT gateway
";

const TRAINING: &str = "\
train wine_quality INTERNAL model-training
  load_data INTERNAL model-training
  train_model INTERNAL model-training
  evaluate_model INTERNAL model-training
  save_model INTERNAL model-training
";

fn ask(system: &PythonSystem, wine: &str, baggage: &str) -> Result<JsonAnswer> {
    system.predict_with(&[wine], &[("baggage", baggage)])
}

fn span<'a>(trace: &'a Trace, name: &str, service: &str) -> Result<&'a SpanData> {
    let mut spans = trace.spans.iter();
    spans
        .find(|span| span.name == name && span.service == service)
        .with_context(|| format!("no {name} of {service}"))
}

#[test]
fn a_miss_of_the_canary_is_one_tree_in_two_languages() -> Result<()> {
    let system = PythonSystem::shared();
    let answer = ask(system, "wine-1001", "ml.variant=canary")?;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let prediction = answer.prediction(0);
    let found = json!([
        prediction["cached"],
        prediction["variant"],
        prediction["model_version"]
    ]);
    assert_eq!(found, json!([false, "canary", "2"]), "{prediction}");
    let trace = system.trace_with_outline(&answer.trace_id(), CANARY_MISS)?;

    let predict = span(&trace, "predict wine_quality", "model-service-python")?;
    let run_id = prediction["run_id"].as_str().unwrap_or_default();
    for (attribute, value) in [
        ("ml.model_name", "wine_quality"),
        ("ml.model_version", "2"),
        ("ml.run_id", run_id),
        ("ml.variant", "canary"),
        ("ml.batch_size", "1"),
        ("ml.framework", "scikit-learn"),
        ("ml.device", "cpu"),
        ("ml.data_id", "wine-1001"),
        (
            "ml.output.label",
            prediction["label"].as_str().unwrap_or_default(),
        ),
    ] {
        assert_eq!(
            predict.text(attribute).as_deref(),
            Some(value),
            "{attribute} of the predict span"
        );
    }
    assert_eq!(
        json!(predict.span_id),
        prediction["computed_by"]["span_id"],
        "computed_by names the predict span"
    );
    assert_eq!(json!(trace.trace_id), prediction["computed_by"]["trace_id"]);
    let inference = span(&trace, "model_inference", "model-service-python")?;
    assert_eq!(inference.events[0].name, "inference_completed");
    assert_eq!(
        inference.events[0].attributes["ml.batch_size"],
        predict.attributes["ml.batch_size"]
    );

    // The zero-code instrumentation follows the stable conventions.
    let server = span(
        &trace,
        "POST /v2/models/{model_name}/infer",
        "model-service-python",
    )?;
    for (attribute, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/v2/models/{model_name}/infer"),
        ("url.path", "/v2/models/wine_quality/infer"),
        ("url.scheme", "http"),
        ("http.response.status_code", "200"),
        ("network.protocol.version", "1.1"),
    ] {
        assert_eq!(
            server.text(attribute).as_deref(),
            Some(value),
            "{attribute} of the worker's SERVER span"
        );
    }
    let address = system
        .urls
        .worker
        .strip_prefix("http://")
        .map(str::to_owned);
    assert_eq!(
        server.text("server.address"),
        address,
        "the instrumentation's own idea of an address has the port in it"
    );
    let client = span(&trace, "POST", "model-service-python")?;
    assert!(
        client
            .text("url.full")
            .is_some_and(|url| url.ends_with("/get-online-features")),
        "{client:?}"
    );
    assert_eq!(client.text("http.request.method").as_deref(), Some("POST"));
    assert_eq!(client.text("server.address").as_deref(), Some("127.0.0.1"));
    assert!(
        trace.spans.iter().all(|span| !span.is_error()),
        "a good request has no failed span"
    );
    Ok(())
}

#[test]
fn a_hit_links_to_the_span_that_python_wrote() -> Result<()> {
    let system = PythonSystem::shared();
    let first = ask(system, "wine-1002", "ml.variant=canary")?;
    let computed = system.trace_with_outline(&first.trace_id(), CANARY_MISS)?;
    let second = ask(system, "wine-1002", "ml.variant=canary")?;
    assert_eq!(
        second.prediction(0)["cached"],
        json!(true),
        "{}",
        second.body
    );
    assert_eq!(
        second.prediction(0)["probabilities"],
        first.prediction(0)["probabilities"]
    );
    let hit = system.trace_with_outline(&second.trace_id(), HIT)?;
    let predict = span(&computed, "predict wine_quality", "model-service-python")?;
    let links = &span(&hit, "POST /v1/predictions", "gateway")?.links;
    let links: Vec<_> = links
        .iter()
        .map(|link| (&link.trace_id, &link.span_id))
        .collect();
    assert_eq!(links, [(&computed.trace_id, &predict.span_id)]);

    // The prediction of one variant is no answer of the other.
    let other = ask(system, "wine-1002", "ml.variant=primary")?;
    let found = json!([
        other.prediction(0)["cached"],
        other.prediction(0)["variant"]
    ]);
    assert_eq!(found, json!([false, "primary"]), "{}", other.body);
    Ok(())
}

/// The resource attributes of a service in a trace.
fn resource(
    system: &PythonSystem,
    trace_id: &str,
    service: &str,
) -> Result<BTreeMap<String, String>> {
    let trace = system
        .get(&format!("{}/api/traces/{trace_id}", system.urls.explorer))?
        .body;
    let resources = trace["resourceSpans"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|spans| {
            let attributes = spans["resource"]["attributes"]
                .as_array()
                .into_iter()
                .flatten();
            let pair = |attribute: &Value| {
                let value = attribute["value"].as_object()?.values().next()?;
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                Some((attribute["key"].as_str()?.to_owned(), text))
            };
            attributes.filter_map(pair).collect::<BTreeMap<_, _>>()
        });
    let mut resources = resources.filter(|resource| {
        resource
            .get("service.name")
            .is_some_and(|name| name == service)
    });
    resources
        .next()
        .with_context(|| format!("no resource of {service} in {trace}"))
}

#[test]
fn both_languages_have_the_same_resource_attributes() -> Result<()> {
    let system = PythonSystem::shared();
    let answer = ask(system, "wine-1003", "ml.variant=canary")?;
    let trace = system.trace_with_outline(&answer.trace_id(), CANARY_MISS)?;
    let rust = resource(system, &trace.trace_id, "feature-store")?;
    let python = resource(system, &trace.trace_id, "model-service-python")?;
    // The distribution's detector would export the whole command line with the pid, so it stays
    // off.
    let keys: BTreeSet<_> = rust.keys().filter(|key| *key != "process.pid").collect();
    let missing: Vec<_> = keys
        .iter()
        .filter(|key| !python.contains_key(**key))
        .collect();
    assert!(
        missing.is_empty(),
        "the Python worker does not export {missing:?}, only {python:?}"
    );
    let own = [
        "service.name",
        "service.instance.id",
        "telemetry.sdk.language",
        "telemetry.sdk.version",
    ];
    for key in keys.into_iter().filter(|key| !own.contains(&key.as_str())) {
        assert_eq!(python[key], rust[key], "{key}");
    }
    assert_ne!(python["service.instance.id"], rust["service.instance.id"]);
    assert_eq!(python["telemetry.sdk.language"], "python");
    Ok(())
}

/// The points of a metric that a service sent.
fn points(metrics: &BTreeMap<String, Vec<Value>>, metric: &str, service: &str) -> Vec<Value> {
    let points = metrics.get(metric).into_iter().flatten();
    points
        .filter(|point| point["service"] == service)
        .map(|point| point["attributes"].clone())
        .collect()
}

#[test]
fn both_languages_count_alike() -> Result<()> {
    let system = PythonSystem::shared();
    for (wine, variant) in [("wine-1010", "canary"), ("wine-1011", "primary")] {
        let answer = ask(system, wine, &format!("ml.variant={variant}"))?;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
    let shared = [
        "ai.inference.calls",
        "ai.inference.latency",
        "ml.prediction.confidence",
        "ml.prediction.labels",
        "http.server.request.duration",
        "http.server.active_requests",
        "http.client.request.duration",
    ];
    let own = [
        "http.server.request.body.size",
        "process.runtime.cpython.memory",
        "process.runtime.cpython.cpu_time",
    ];
    let metrics = eventually("both services have sent their metrics", || {
        let metrics = system.metrics()?;
        let has = |name: &str, service: &str| !points(&metrics, name, service).is_empty();
        let of_both = shared
            .iter()
            .all(|name| has(name, "model-service") && has(name, "model-service-python"));
        let whole = of_both && own.iter().all(|name| has(name, "model-service-python"));
        Ok(whole.then_some(metrics))
    })?;
    let keys = |metric: &str, service: &str| -> BTreeSet<String> {
        let points = points(&metrics, metric, service).into_iter();
        points
            .filter_map(|point| point.as_object().cloned())
            .flatten()
            .map(|(key, _)| key)
            .collect()
    };
    for metric in shared.into_iter().filter(|name| !name.starts_with("http.")) {
        assert_eq!(
            keys(metric, "model-service-python"),
            keys(metric, "model-service"),
            "attributes of {metric}"
        );
    }
    let call = json!({"model.name": "wine_quality", "ml.model_version": "2", "ml.variant": "canary", "success": true});
    assert!(points(&metrics, "ai.inference.calls", "model-service-python").contains(&call));
    // The differences that docs/model-services.md lists.
    for metric in own {
        assert!(
            points(&metrics, metric, "model-service").is_empty(),
            "{metric} of the service in Rust"
        );
    }
    for metric in [
        "process.cpu.time",
        "process.memory.usage",
        "otel.sdk.processor.span.processed",
    ] {
        assert!(
            points(&metrics, metric, "model-service-python").is_empty(),
            "{metric} of the Python worker"
        );
    }
    Ok(())
}

/// The trace of a failed request, once the worker's SERVER span is there with its error.
fn failed(system: &PythonSystem, answer: &JsonAnswer) -> Result<Trace> {
    let trace_id = answer.trace_id();
    eventually("the failed span of the worker arrives", || {
        let whole = |trace: &Trace| {
            let failed = |span: &SpanData| {
                span.service == "model-service-python"
                    && span.kind == SpanKind::Server
                    && span.is_error()
            };
            is_whole(trace) && trace.spans.iter().any(failed)
        };
        Ok(system.trace(&trace_id)?.filter(whole))
    })
}

/// The telemetry of a failure: status and `error.type` of the SERVER span, one exception record
/// beside it, a line in the log.
fn check_failure(system: &PythonSystem, answer: &JsonAnswer, error_type: &str) -> Result<()> {
    let trace = failed(system, answer)?;
    let server = span(
        &trace,
        "POST /v2/models/{model_name}/infer",
        "model-service-python",
    )?;
    assert!(
        matches!(server.status, SpanStatus::Error { .. }),
        "{:?}",
        server.status
    );
    assert_eq!(server.text("error.type").as_deref(), Some(error_type));
    let exception = eventually("the exception record of the worker arrives", || {
        let logs = system.logs(&trace.trace_id, 1)?;
        let mut logs = logs.into_iter();
        Ok(logs.find(|log| {
            log["service"] == "model-service-python" && log["event_name"] == "exception"
        }))
    })?;
    assert_eq!(
        json!([exception["trace_id"], exception["span_id"]]),
        json!([trace.trace_id, server.span_id])
    );
    assert_eq!(exception["severity"], "ERROR");
    let attributes = &exception["attributes"];
    assert_eq!(attributes["exception.type"], json!(error_type));
    for attribute in ["exception.message", "exception.stacktrace"] {
        assert!(
            attributes[attribute]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{attribute} in {attributes}"
        );
    }
    // The same line is on stdout, in the form of the Rust parts.
    let log = system.data.join("logs/model-service-python.log");
    let line = eventually("the line of the failure is in the worker's log", || {
        let text = std::fs::read_to_string(&log)?;
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(lines
            .filter(|line| line["trace_id"] == json!(trace.trace_id))
            .find(|line| line["event.name"] == "exception"))
    })?;
    assert_eq!(
        json!([line["span_id"], line["level"], line["service.name"]]),
        json!([server.span_id, "ERROR", "model-service-python"])
    );
    Ok(())
}

#[test]
fn a_fault_in_python_is_recorded_as_one_in_rust() -> Result<()> {
    let system = PythonSystem::shared();
    let answer = ask(
        system,
        "wine-1004",
        "ml.variant=canary,fault=model-service-python:error",
    )?;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{}", answer.body);
    check_failure(system, &answer, "fault_injected")?;

    let answer = ask(
        system,
        "wine-1004",
        "ml.variant=canary,fault=feature-store:error",
    )?;
    assert_eq!(
        answer.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        answer.body
    );
    check_failure(system, &answer, "feature_store_unavailable")?;

    let dropped = ask(
        system,
        "wine-1004",
        "ml.variant=canary,fault=model-service-python:drop",
    )?;
    assert_eq!(dropped.status, StatusCode::BAD_GATEWAY, "{}", dropped.body);
    let trace = failed(system, &dropped)?;
    assert_eq!(
        span(&trace, "POST", "gateway")?
            .text("error.type")
            .as_deref(),
        Some("transport_error")
    );

    let unreachable = ask(
        system,
        "wine-1004",
        "ml.variant=canary,fault=feature-store:drop",
    )?;
    check_failure(system, &unreachable, "feature_store_unavailable")?;
    let trace = failed(system, &unreachable)?;
    let client = span(&trace, "POST", "model-service-python")?;
    // From the instrumentation: the name of httpx's exception, which depends on when the connection
    // breaks, and a span event, which the Rust parts do not write.
    let error_type = client.text("error.type").unwrap_or_default();
    assert!(
        ["ReadError", "RemoteProtocolError"].contains(&error_type.as_str()),
        "{client:?}"
    );
    assert!(
        client.events.iter().any(|event| event.name == "exception"),
        "{client:?}"
    );

    let slow = ask(
        system,
        "wine-1004",
        "ml.variant=canary,fault=model-service-python:latency:150",
    )?;
    let trace = system.trace_with_outline(&slow.trace_id(), CANARY_MISS)?;
    let server = span(
        &trace,
        "POST /v2/models/{model_name}/infer",
        "model-service-python",
    )?;
    let predict = span(&trace, "predict wine_quality", "model-service-python")?;
    assert!(
        server.duration() >= 150_000_000 && predict.duration() < 150_000_000,
        "the model is not to blame"
    );
    Ok(())
}

#[test]
fn an_unknown_id_is_no_error_of_the_worker() -> Result<()> {
    let system = PythonSystem::shared();
    let answer = ask(system, "no-such-wine", "ml.variant=canary")?;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.body);
    let trace_id = answer.trace_id();
    let trace = eventually("the trace of the unknown id arrives", || {
        let whole = |trace: &Trace| is_whole(trace) && trace.span("SELECT wine_features").is_some();
        let there = |trace: &Trace| {
            span(
                trace,
                "POST /v2/models/{model_name}/infer",
                "model-service-python",
            )
            .is_ok()
        };
        Ok(system
            .trace(&trace_id)?
            .filter(|trace| whole(trace) && there(trace)))
    })?;
    let server = span(
        &trace,
        "POST /v2/models/{model_name}/infer",
        "model-service-python",
    )?;
    assert!(
        !server.is_error(),
        "a 404 is the client's error, not the server's: {server:?}"
    );
    assert_eq!(
        server.text("http.response.status_code").as_deref(),
        Some("404")
    );
    Ok(())
}

#[test]
fn an_unsampled_trace_stays_unsampled_in_python() -> Result<()> {
    let system = PythonSystem::shared();
    let trace_id = "0af7651916cd43dd8448eb211c803aaa";
    let parent = format!("00-{trace_id}-b7ad6b7169203331-00");
    let headers = [
        ("traceparent", parent.as_str()),
        ("baggage", "ml.variant=canary"),
    ];
    let answer = system.predict_with(&["wine-1005"], &headers)?;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    // A later trace has arrived whole, so this one would have, too.
    let later = ask(system, "wine-1006", "ml.variant=canary")?;
    system.trace_with_outline(&later.trace_id(), CANARY_MISS)?;
    assert!(
        system.trace(trace_id)?.is_none(),
        "spans of a trace that the caller does not sample"
    );
    Ok(())
}

#[test]
fn a_callers_trace_goes_on_in_both_languages() -> Result<()> {
    let system = PythonSystem::shared();
    for (digit, flags) in [(1, "01"), (3, "03")] {
        let trace_id = format!("0af7651916cd43dd8448eb211c803bb{digit}");
        let parent = format!("00-{trace_id}-b7ad6b7169203331-{flags}");
        let headers = [
            ("traceparent", parent.as_str()),
            ("baggage", "ml.variant=canary"),
        ];
        system.predict_with(&[&format!("wine-102{digit}")], &headers)?;
        // The caller's own span is not here, so our root has a remote parent.
        let expected = CANARY_MISS.replace("SERVER gateway", "SERVER gateway (remote parent)");
        eventually("the whole trace arrives", || {
            Ok(system
                .trace(&trace_id)?
                .filter(|trace| tree::outline(trace) == expected))
        })?;
    }
    Ok(())
}

#[test]
fn a_training_in_python_is_a_trace_with_its_metrics() -> Result<()> {
    let system = PythonSystem::shared();
    let trainings = format!(
        "{}/api/traces?service=model-training&limit=10",
        system.urls.explorer
    );
    let trace_id = eventually("the training's trace arrives", || {
        let traces = system.get(&trainings)?.body["traces"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        Ok(traces
            .first()
            .and_then(|trace| trace["trace_id"].as_str().map(str::to_owned)))
    })?;
    let trace = system.trace_with_outline(&trace_id, TRAINING)?;
    let train = span(&trace, "train wine_quality", "model-training")?;
    assert_eq!(train.text("ml.framework").as_deref(), Some("scikit-learn"));
    assert!(
        span(&trace, "train_model", "model-training")?
            .events
            .iter()
            .all(|event| event.name == "epoch_completed")
    );
    let manifest = manifest(system, 2)?;

    let logs = system.logs(&trace_id, 1)?;
    let metrics = logs
        .iter()
        .find(|log| log["event_name"] == "ml.training.metrics")
        .context("no record of metrics")?;
    assert_eq!(
        json!([metrics["severity"], metrics["body"]]),
        json!(["INFO", "training metrics"])
    );
    assert_eq!(metrics["span_id"], json!(train.span_id));
    let attributes = &metrics["attributes"];
    assert_eq!(attributes["ml.run_id"], manifest["run_id"]);
    assert_eq!(attributes["ml.model_version"], "2");
    for (attribute, figure) in [
        ("ml.training_accuracy", "training_accuracy"),
        ("ml.validation_accuracy", "validation_accuracy"),
    ] {
        assert_eq!(
            attributes[attribute].as_f64(),
            manifest["metrics"][figure].as_f64(),
            "{attribute}"
        );
    }
    let accuracy = attributes["ml.validation_accuracy"]
        .as_f64()
        .context("an accuracy")?;
    assert!((0.72..1.0).contains(&accuracy), "{accuracy}");
    Ok(())
}

/// The manifest of a version in the shared repository.
fn manifest(system: &PythonSystem, version: u32) -> Result<Value> {
    let path = system
        .data
        .join(format!("models/wine_quality/{version}/manifest.json"));
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}

#[test]
fn both_trainings_learn_from_the_same_rows_and_write_the_same_manifest() -> Result<()> {
    let system = PythonSystem::shared();
    let (rust, python) = (manifest(system, 1)?, manifest(system, 2)?);
    let keys = |value: &Value| -> BTreeSet<String> {
        value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key.clone())
            .collect()
    };
    let own: BTreeSet<_> = keys(&python).difference(&keys(&rust)).cloned().collect();
    // Versions of the library and rows to check it by: what `skops` loads depends on both.
    assert_eq!(
        own,
        BTreeSet::from(["check".to_owned(), "framework_version".to_owned()])
    );
    // The worker answers the probabilities of scikit-learn as they are.
    let missing: BTreeSet<_> = keys(&rust).difference(&keys(&python)).cloned().collect();
    assert_eq!(missing, BTreeSet::from(["calibration".to_owned()]));
    for key in ["name", "dataset", "features", "classes", "lookup", "seed"] {
        assert_eq!(python[key], rust[key], "{key}");
    }
    // The profile is that of the training rows, so the rows are the same to the last one.
    assert_eq!(
        python["reference"]["features"],
        rust["reference"]["features"]
    );
    for figure in ["training_rows", "validation_rows", "majority_baseline"] {
        assert_eq!(
            python["metrics"][figure], rust["metrics"][figure],
            "{figure}"
        );
    }
    assert_eq!(
        json!([rust["framework"], python["framework"]]),
        json!(["candle", "scikit-learn"])
    );
    Ok(())
}

#[test]
fn once_shows_a_sample_of_each_variant() -> Result<()> {
    let folder = folder_with_both_models()?;
    let environment = python_environment();
    let written = std::fs::read_to_string(PythonSystem::shared().data.join("routes.toml"))?;
    assert!(
        written.contains("weight = 90") && written.contains("weight = 10"),
        "{written}"
    );
    // Written once, then the user's own.
    let routes = written
        .replace("weight = 90", "weight = 75")
        .replace("weight = 10", "weight = 25");
    std::fs::write(folder.path().join("routes.toml"), &routes)?;
    let mut once = up(
        folder.path(),
        &["--once", "--python-environment", path(environment)],
        &[],
    )?;
    let status = once.wait()?;
    let said = once.output();
    assert!(status.success(), "{said}");
    for expected in [
        "A miss: computed by the model",
        "A hit: from the prediction store",
        "computed in Python",
        "layer linear_3",
    ] {
        assert!(said.contains(expected), "nothing of {expected}:\n{said}");
    }
    assert_eq!(
        std::fs::read_to_string(folder.path().join("routes.toml"))?,
        routes
    );
    Ok(())
}

#[test]
fn up_with_python_fails_without_its_environment() -> Result<()> {
    let data = tempfile::TempDir::new()?;
    let mut demanded = up(data.path(), &["--once", "--python"], &[])?;
    assert!(!demanded.wait()?.success());
    let said = demanded.output();
    assert!(
        said.contains("python-setup") && said.contains("there is no Python environment"),
        "{said}"
    );
    Ok(())
}
