//! The explorer's map and models on the real system: what they show is what the processes did.

use anyhow::{Context, Result};
use harness::eventually;
use serde_json::Value;

use crate::system::{System, path, start};

/// What the explorer answers once it has `what`.
fn read(
    system: &System,
    path: &str,
    what: &str,
    is_there: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let url = format!("{}{path}", system.urls.explorer);
    eventually(what, || {
        let answer = system.get(&url)?;
        Ok(is_there(&answer.body).then_some(answer.body))
    })
}

fn edges(map: &Value) -> Vec<(String, u64)> {
    let edges = map["edges"].as_array().into_iter().flatten();
    let mut edges: Vec<_> = edges
        .filter_map(|edge| {
            let (from, to) = (edge["from"].as_str()?, edge["to"].as_str()?);
            Some((format!("{from} > {to}"), edge["calls"].as_u64()?))
        })
        .collect();
    edges.sort();
    edges
}

#[test]
fn map_and_models_show_the_services_stages_and_versions_that_are_there() -> Result<()> {
    let system = System::start()?;
    let folder = system.data.path().join("trained");
    let args = ["train", "wine_quality", "--data-dir", path(&folder)];
    let mut training = start(&args, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &system.urls.otlp)])?;
    assert!(training.wait()?.success(), "{}", training.output());
    let predictions = format!("{}/v1/predictions", system.urls.gateway);
    for id in ["wine-0001", "wine-0002", "wine-0003"] {
        let body = format!(r#"{{"model":"wine_quality","data_ids":["{id}"]}}"#);
        // A miss, and then a hit, which calls nobody but the store.
        for _ in 0..2 {
            let answer = system.post(&predictions, body.clone(), &[])?;
            assert_eq!(answer.status, http::StatusCode::OK, "{}", answer.body);
        }
    }

    let expected: Vec<_> = [
        ("client > service:gateway", 6),
        ("service:feature-store > store:sqlite:feature-store", 3),
        ("service:gateway > service:model-service", 3),
        ("service:gateway > store:sqlite:gateway", 9),
        ("service:model-service > service:feature-store", 3),
        ("service:model-service > variant:wine_quality:primary", 3),
    ]
    .map(|(ends, calls)| (ends.to_owned(), calls))
    .to_vec();
    let map = read(&system, "/api/map", "the map has every call", |map| {
        let found = edges(map);
        expected.iter().all(|edge| found.contains(edge))
    })?;
    assert_eq!(edges(&map), expected, "{map}");

    let model = read(
        &system,
        "/api/models/wine_quality",
        "the model has its calls",
        |model| model["variants"][0]["calls"] == 3 && model["runs"][0]["version"] == "1",
    )?;
    let variant = &model["variants"][0];
    assert_eq!(
        (&variant["variant"], &variant["framework"]),
        (&"primary".into(), &"candle".into())
    );
    let stages: Vec<_> = variant["stages"]
        .as_array()
        .context("stages")?
        .iter()
        .collect();
    let names: Vec<_> = stages
        .iter()
        .filter_map(|stage| stage["name"].as_str())
        .collect();
    for stage in [
        "preprocess_input",
        "model_inference",
        "layer linear_1",
        "postprocess_output",
    ] {
        assert!(names.contains(&stage), "{stage} in {names:?}");
    }
    let confidences = variant["confidence"].as_array().context("bins")?;
    assert_eq!(confidences.iter().filter_map(Value::as_u64).sum::<u64>(), 3);

    // The run is the one in the manifest that the training wrote.
    let manifest = folder.join("models/wine_quality/1/manifest.json");
    let manifest: Value = serde_json::from_slice(&std::fs::read(manifest)?)?;
    let run = &model["runs"][0];
    assert_eq!(run["run_id"], manifest["run_id"]);
    assert_eq!(run["dataset_sha256"], manifest["dataset"]["sha256"]);
    assert_eq!(
        run["validation_accuracy"],
        manifest["metrics"]["validation_accuracy"]
    );
    assert_eq!(
        run["baseline_accuracy"],
        manifest["metrics"]["majority_baseline"]
    );
    let epochs = manifest["hyperparameters"]["epochs"]
        .as_u64()
        .context("epochs")?;
    let curve = run["curve"].as_array().context("a curve")?;
    assert_eq!(curve.last().context("points")?["epoch"], epochs);
    let stages = model["training_stages"].as_array().context("stages")?;
    let stages: Vec<_> = stages
        .iter()
        .filter_map(|stage| stage["name"].as_str())
        .collect();
    assert_eq!(
        stages,
        ["load_data", "train_model", "evaluate_model", "save_model"]
    );
    // The version that answers was trained before this explorer ran: only its run is known.
    let versions = model["versions"].as_array().context("versions")?;
    let served = versions
        .iter()
        .find(|version| version["variants"][0] == "primary");
    let served = served.context("the version that answers")?;
    assert_ne!(served["run_id"], run["run_id"]);
    assert_eq!(served["trace_id"], Value::Null);

    for page in ["/map", "/models", "/models/wine_quality"] {
        let answer = harness::send("GET", &format!("{}{page}", system.urls.explorer), &[], b"")?;
        assert_eq!(answer.status, 200, "{page}");
        assert!(answer.text().contains("wine_quality"), "{page}");
    }
    Ok(())
}
