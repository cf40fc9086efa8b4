//! Health, metadata, configuration and the repository: whole bodies.

use anyhow::{Result, ensure};
use http::Method;
use serde_json::{Value, json};

use super::Case;
use super::target::{Target, same};

pub(super) const CASES: &[(&str, Case)] = &[
    ("live and ready", live_and_ready),
    ("server metadata with and without a slash", server),
    ("model metadata with and without a version", model),
    ("model ready with and without a version", model_ready),
    ("list of models", list),
    ("configuration for Triton's tools", configuration),
    ("repository index", index),
];

fn body(target: &Target<'_>, path: &str, expected: &Value) -> Result<()> {
    same(path, &target.get(path)?.json_ok()?, expected)
}

fn live_and_ready(target: &Target<'_>) -> Result<()> {
    body(target, "/v2/health/live", &json!({"live": true}))?;
    // The specification says `live` here too, KServe's client reads `ready`.
    body(
        target,
        "/v2/health/ready",
        &json!({"ready": true, "live": true}),
    )
}

fn server(target: &Target<'_>) -> Result<()> {
    let expected = json!({
        "name": target.expected.service,
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": ["binary_tensor_data", "parameters", "model_repository"],
    });
    body(target, "/v2", &expected)?;
    body(target, "/v2/", &expected)
}

fn model(target: &Target<'_>) -> Result<()> {
    let expected = json!({
        "name": "wine_quality",
        "versions": target.expected.versions,
        "platform": target.expected.platform,
        "inputs": [
            {"name": "data_id", "datatype": "BYTES", "shape": [-1]},
            {"name": "features", "datatype": "FP32", "shape": [-1, 11]},
        ],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "confidence", "datatype": "FP32", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]},
        ],
    });
    described(target, "/v2/models/wine_quality", &expected)?;
    for version in target.expected.versions {
        let path = format!("/v2/models/wine_quality/versions/{version}");
        described(target, &path, &expected)?;
    }
    Ok(())
}

/// The metadata of a model, with an extension of ours that is different for each training.
fn described(target: &Target<'_>, path: &str, expected: &Value) -> Result<()> {
    let mut body = target.get(path)?.json_ok()?;
    let training = body["training"].take();
    body.as_object_mut().map(|body| body.remove("training"));
    ensure!(
        training["run_id"].as_str().is_some_and(|id| id.len() == 32)
            && training["classes"] == json!(["low", "high"])
            && training["validation_accuracy"].is_number(),
        "{path} has the training {training}"
    );
    same(path, &body, expected)
}

fn model_ready(target: &Target<'_>) -> Result<()> {
    let expected = json!({"name": "wine_quality", "ready": true});
    body(target, "/v2/models/wine_quality/ready", &expected)?;
    for version in target.expected.versions {
        body(
            target,
            &format!("/v2/models/wine_quality/versions/{version}/ready"),
            &expected,
        )?;
    }
    Ok(())
}

fn list(target: &Target<'_>) -> Result<()> {
    body(
        target,
        "/v2/models",
        &json!({"models": target.expected.models}),
    )
}

fn configuration(target: &Target<'_>) -> Result<()> {
    let expected = json!({
        "name": "wine_quality",
        "platform": target.expected.platform,
        "backend": target.expected.backend,
        "version_policy": {"all": {}},
        "max_batch_size": 0,
        "input": [
            {"name": "data_id", "data_type": "TYPE_STRING", "dims": [-1]},
            {"name": "features", "data_type": "TYPE_FP32", "dims": [-1, 11]},
        ],
        "output": [
            {"name": "label", "data_type": "TYPE_STRING", "dims": [-1]},
            {"name": "confidence", "data_type": "TYPE_FP32", "dims": [-1]},
            {"name": "probabilities", "data_type": "TYPE_FP32", "dims": [-1, 2]},
        ],
    });
    body(target, "/v2/models/wine_quality/config", &expected)?;
    let version = target.expected.versions[0];
    body(
        target,
        &format!("/v2/models/wine_quality/versions/{version}/config"),
        &expected,
    )
}

fn index(target: &Target<'_>) -> Result<()> {
    let entry = |name: &str, version: &str| json!({"name": name, "version": version, "state": "READY", "reason": ""});
    let mut expected = Vec::new();
    for model in target.expected.models {
        match *model {
            "wine_quality" => {
                let versions = target.expected.versions.iter();
                expected.extend(versions.map(|version| entry(model, version)));
            }
            _ => expected.push(entry(model, "1")),
        }
    }
    for asked in [
        "",
        "{}",
        r#"{"ready": true}"#,
        r#"{"ready": false, "unknown": 1}"#,
    ] {
        let answer = target
            .call(Method::POST, "/v2/repository/index")
            .body(asked)
            .send()?
            .json_ok()?;
        same(asked, &answer, &json!(expected))?;
    }
    let wrong = target
        .call(Method::POST, "/v2/repository/index")
        .body("{")
        .send()?;
    ensure!(
        wrong.refused(400, "bad_request").is_ok(),
        "half a body is answered {}",
        wrong.status
    );
    Ok(())
}
