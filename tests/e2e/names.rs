//! Every emitted name is in the registry, and every name of the registry is emitted.
//!
//! The registry is `telemetry/registry/*.yaml`, in the form of OpenTelemetry Weaver;
//! `docs/telemetry.md` is made from it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use harness::{Process, eventually};
use http::StatusCode;
use serde_json::{Value, json};

use crate::system::{PythonSystem, Routed, Site, System, path, start};

/// Names by their kind.
#[derive(Debug, Default)]
struct Names {
    attributes: BTreeSet<String>,
    metrics: BTreeSet<String>,
    events: BTreeSet<String>,
}

impl Names {
    fn and(mut self, other: Self) -> Self {
        self.attributes.extend(other.attributes);
        self.metrics.extend(other.metrics);
        self.events.extend(other.events);
        self
    }
}

/// The features of `wine_features` but `alcohol`, which a test leaves out.
const FEATURES: [&str; 10] = [
    "fixed_acidity",
    "volatile_acidity",
    "citric_acid",
    "residual_sugar",
    "chlorides",
    "free_sulfur_dioxide",
    "total_sulfur_dioxide",
    "density",
    "ph",
    "sulphates",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The registry's names. Weaver's files say `ref:` where a name is used and `id:` where one of our
/// own is defined.
fn registry() -> Result<Names> {
    let mut names = Names::default();
    let folder = root().join("telemetry/registry");
    for entry in std::fs::read_dir(folder)? {
        let file = entry?.path();
        let document: Value = serde_saphyr::from_str(&std::fs::read_to_string(&file)?)
            .with_context(|| path(&file).to_owned())?;
        for group in document["groups"].as_array().into_iter().flatten() {
            let of_kind = |kind: &str| group["type"] == kind;
            names.metrics.extend(
                text(&group["metric_name"]).or(text(&group["annotations"]["metric"]["name"])),
            );
            names
                .events
                .extend(text(&group["name"]).filter(|_| of_kind("event")));
            for attribute in group["attributes"].as_array().into_iter().flatten() {
                names
                    .attributes
                    .extend(text(&attribute["ref"]).or(text(&attribute["id"])));
            }
        }
    }
    Ok(names)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Requests that make the system emit every name.
fn exercise(system: &System) -> Result<()> {
    system.predict(&["wine-0001"])?;
    system.predict(&["wine-0001"])?;
    system.predict(&["wine-0002", "wine-0003", "no-such-wine"])?;
    system.predict_with(&["wine-0004"], &[("baggage", "fault=feature-store:error")])?;
    system.get(&format!(
        "{}/v1/predictions?model=wine_quality&limit=5",
        system.urls.gateway
    ))?;
    system.get(&format!(
        "{}/v1/predictions/wine_quality/wine-0005",
        system.urls.gateway
    ))?;
    system.get(&format!("{}/no/such/path", system.urls.gateway))?;
    let features = |values: Value| {
        json!({"inputs": [{"name": "features", "shape": [1, 11], "datatype": "FP32", "data": values}]}).to_string()
    };
    let infer = "v2/models/wine_quality/infer";
    let far = features(json!(vec![1e6; 11]));
    let answer = system.post(&format!("{}/{infer}", system.urls.gateway), far, &[])?;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    // A window far from the training data.
    let input = json!({"name": "features", "shape": [250, 11], "datatype": "FP32", "data": vec![9e5; 250 * 11]});
    let window = json!({"inputs": [input]}).to_string();
    system.post(&format!("{}/{infer}", system.urls.gateway), window, &[])?;
    let mut hole = json!({"wine_id": ["wine-hole"], "event_timestamp": ["2026-01-01T00:00:00"], "alcohol": [null]});
    for feature in FEATURES {
        hole[feature] = json!([1.0]);
    }
    let hole = json!({"feature_view_name": "wine_features", "df": hole});
    let written = system.post(
        &format!("{}/write-to-online-store", system.urls.feature_store),
        hole.to_string(),
        &[],
    )?;
    assert_eq!(written.status, StatusCode::OK, "{}", written.body);
    let missing = system.predict_with(&["wine-hole"], &[("user-agent", "e2e")])?;
    assert_eq!(missing.body["code"], "missing_features", "{}", missing.body);
    let truth =
        json!({"model": "wine_quality", "feedback": [{"data_id": "wine-0001", "label": "low"}]});
    let feedback = format!("{}/v1/feedback", system.urls.gateway);
    let judged = system.post(&feedback, truth.to_string(), &[])?;
    assert_eq!(judged.status, StatusCode::OK, "{}", judged.body);
    let method = http::Method::from_bytes(b"BREW")?;
    system.request(method, &format!("{}/v1/models", system.urls.gateway))?;
    Ok(())
}

/// The same for names that only a gateway with several variants emits: a shadow, a choice, a failed
/// variant, wrong routes.
fn exercise_variants(routed: &mut Routed) -> Result<()> {
    routed.route(100, "mode = \"shadow\"", false)?;
    routed.system.predict(&["wine-0101"])?;
    routed.route(1, "weight = 99", true)?;
    routed.canary.take().context("it runs")?.kill()?;
    for wine in ["wine-0102", "wine-0103", "wine-0104"] {
        assert_eq!(routed.system.predict(&[wine])?.status, StatusCode::OK);
    }
    std::fs::write(&routed.file, "models = 3")?;
    Ok(())
}

/// The same for the Python worker, beside the requests of other tests.
fn exercise_worker(system: &PythonSystem) -> Result<()> {
    let text = json!({"model": "text_sentiment", "texts": ["A great camera."]}).to_string();
    let url = format!("{}/v1/predictions", system.urls.gateway);
    system.post(&url, text, &[("cache-control", "no-cache")])?;
    let canary = |more: &str| format!("ml.variant=canary{more}");
    let faults = [
        "",
        ",fault=model-service-python:error",
        ",fault=feature-store:drop",
    ];
    for (wine, fault) in ["wine-1501", "wine-1502", "wine-1503"]
        .into_iter()
        .zip(faults)
    {
        system.predict_with(&[wine], &[("baggage", &canary(fault))])?;
    }
    let infer = format!("{}/v2/models/wine_quality/infer", system.urls.worker);
    for values in [json!(vec![1e6; 11]), json!([])] {
        let input =
            json!({"name": "features", "shape": [1, 11], "datatype": "FP32", "data": values});
        system.post(&infer, json!({"inputs": [input]}).to_string(), &[])?;
    }
    system.get(&format!("{}/no/such/path", system.urls.worker))?;
    Ok(())
}

/// Trains a classifier and a regression with the system's explorer as the collector.
fn train(system: &System) -> Result<()> {
    let folder = system.data.path().join("trained");
    let csv = root().join("data/wine_quality/winequality-red.csv");
    let table = [
        "--table",
        path(&csv),
        "--id",
        "data_id",
        "--target",
        "quality",
        "--model",
        "quality",
        "--regression",
        "--epochs",
        "1",
    ];
    for what in [["wine_quality"].as_slice(), &table] {
        let args = [&["train", "--data-dir", path(&folder)], what].concat();
        let mut training = start(&args, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &system.urls.otlp)])?;
        assert!(training.wait()?.success(), "{}", training.output());
    }
    Ok(())
}

/// Two requests that a model service of their own computes together, with the trained version.
fn exercise_batch(system: &System) -> Result<Process> {
    let repository = system.data.path().join("trained/models");
    let args = [
        "model-service",
        "--listen",
        "127.0.0.1:0",
        "--model-repository",
        path(&repository),
        "--batch-rows",
        "2",
        "--batch-wait",
        "10s",
        "--exit-with-parent",
    ];
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*system.urls.otlp),
        ("OTEL_BSP_SCHEDULE_DELAY", "30"),
    ];
    let service = start(&args, &variables)?;
    let url = format!(
        "{}/v2/models/wine_quality/infer",
        service.url("server.listening")?
    );
    let input =
        json!({"name": "features", "shape": [1, 11], "datatype": "FP32", "data": vec![1.0; 11]});
    let body = json!({"inputs": [input]}).to_string();
    std::thread::scope(|scope| {
        let requests = [0, 1].map(|_| scope.spawn(|| system.post(&url, body.clone(), &[])));
        for request in requests {
            let answer = request.join().expect("no request panics")?;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        }
        Ok(service)
    })
}

/// Everything that the explorer has received, of the traces the newest.
fn emitted(system: &Site) -> Result<Names> {
    let mut names = Names::default();
    let read = |query: &str| system.get(&format!("{}{query}", system.urls.explorer));
    for trace in read("/api/traces?limit=100")?.body["traces"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let trace = read(&format!(
            "/api/traces/{}",
            trace["trace_id"].as_str().unwrap_or_default()
        ))?
        .body;
        for resource in trace["resourceSpans"].as_array().into_iter().flatten() {
            names
                .attributes
                .extend(keys(&resource["resource"]["attributes"]));
            for span in resource["scopeSpans"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|scope| scope["spans"].as_array())
                .flatten()
            {
                names.attributes.extend(keys(&span["attributes"]));
                for event in span["events"].as_array().into_iter().flatten() {
                    names.events.extend(text(&event["name"]));
                    names.attributes.extend(keys(&event["attributes"]));
                }
            }
        }
    }
    for log in read("/api/logs?limit=1000")?.body["logs"]
        .as_array()
        .into_iter()
        .flatten()
    {
        names.events.extend(text(&log["event_name"]));
        names.attributes.extend(
            log["attributes"]
                .as_object()
                .into_iter()
                .flat_map(|map| map.keys().cloned()),
        );
    }
    for (name, series) in system.metrics()? {
        names.metrics.insert(name);
        for point in series {
            names.attributes.extend(
                point["attributes"]
                    .as_object()
                    .into_iter()
                    .flat_map(|map| map.keys().cloned()),
            );
        }
    }
    Ok(names)
}

/// Fields of log records that only an outage or a stop writes, and attributes of a gateway with
/// API keys and of calls of Elasticsearch. Telemetry's own test of the registry checks that the code
/// writes them, and the gateway's tests with keys and on a real server see the latter two. The number
/// of a regression and its error are in `table.rs`, and distributed training in `distributed.rs`.
fn elsewhere(name: &str) -> bool {
    let outage = [
        "error",
        "logs",
        "lost",
        "reason",
        "removed",
        "signal",
        "spans",
        "unfinished",
        "predictions",
        "suppressed",
        "ml.variant.breaker",
        "ml.variant.breaker.open",
        "ml.server.unread_answers",
        "ml.output.value",
        "ml.quality.absolute_error",
    ];
    let ranks = [
        "ml.training.rank",
        "ml.training.ranks",
        "ml.training.compute.duration",
        "ml.training.all_reduce.duration",
    ];
    let start = ["address", "current", "variable"];
    let elasticsearch = [
        "db.namespace",
        "db.response.status_code",
        "elasticsearch.node.name",
        "http.request.resend_count",
    ];
    let keys = ["throughline.api_key.name"];
    [&outage[..], &ranks, &start, &keys, &elasticsearch]
        .iter()
        .any(|names| names.contains(&name))
}

/// Keys of OTLP/JSON attributes.
fn keys(attributes: &Value) -> Vec<String> {
    attributes
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|attribute| text(&attribute["key"]))
        .collect()
}

#[test]
fn what_is_emitted_and_what_is_registered_are_the_same() -> Result<()> {
    let (mut routed, python) = (
        Routed::start(&[("RUST_LOG", "debug"), ("GATEWAY_QUALITY_WINDOW", "1")])?,
        PythonSystem::shared(),
    );
    exercise(&routed.system)?;
    train(&routed.system)?;
    let _service = exercise_batch(&routed.system)?;
    exercise_variants(&mut routed)?;
    exercise_worker(python)?;
    let registered = registry()?;
    let mut missing = Vec::new();
    let found = eventually("every registered attribute and metric is emitted", || {
        let emitted = emitted(&routed.system)?.and(emitted(python)?);
        let attributes = registered
            .attributes
            .difference(&emitted.attributes)
            .filter(|name| !elsewhere(name));
        missing = attributes
            .chain(
                registered
                    .metrics
                    .difference(&emitted.metrics)
                    .filter(|name| !elsewhere(name)),
            )
            .cloned()
            .collect();
        Ok(missing.is_empty().then_some(emitted))
    });
    let emitted = found.with_context(|| format!("registered and never emitted: {missing:?}"))?;
    for (kind, emitted, registered) in [
        ("attributes", &emitted.attributes, &registered.attributes),
        ("metrics", &emitted.metrics, &registered.metrics),
        ("events", &emitted.events, &registered.events),
    ] {
        let strangers: Vec<_> = emitted.difference(registered).collect();
        assert!(
            strangers.is_empty(),
            "{kind} that are emitted and not in telemetry/registry: {strangers:?}"
        );
    }
    Ok(())
}

#[test]
fn every_registered_event_stands_in_the_code() -> Result<()> {
    // Some events need an outage or a full disk; here it is enough that the code can emit them.
    let mut code = String::new();
    for part in [
        "gateway",
        "model-service",
        "model-service/python",
        "feature-store",
        "explorer",
        "runtime",
        "telemetry",
        "throughline",
    ] {
        read_all(&root().join(part).join("src"), &mut code)?;
    }
    let unknown: Vec<_> = registry()?
        .events
        .into_iter()
        .filter(|event| !code.contains(&format!("\"{event}\"")))
        .collect();
    assert!(
        unknown.is_empty(),
        "registered events that no code emits: {unknown:?}"
    );
    Ok(())
}

fn read_all(folder: &Path, text: &mut String) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let found = entry?.path();
        if found.is_dir() {
            read_all(&found, text)?;
        } else if found
            .extension()
            .is_some_and(|kind| kind == "rs" || kind == "py")
        {
            // What a run of the worker left beside its source is no text.
            text.push_str(&std::fs::read_to_string(&found)?);
        }
    }
    Ok(())
}
