//! Another version of a model, or none, while the whole system runs.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use harness::eventually;
use http::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::system::{System, path, start};

const WINE: &str = "wine-0301";

/// The system on a model repository of its own, whose model service loads and unloads.
fn system() -> Result<(System, TempDir)> {
    let models = TempDir::new()?;
    let system = System::start_on_copy(
        models.path(),
        &[("MODEL_SERVICE_ALLOW_MODEL_CONTROL", "true")],
    )?;
    Ok((system, models))
}

fn run(args: &[&str]) -> Result<(bool, String)> {
    let mut process = start(args, &[("OTEL_SDK_DISABLED", "true")])?;
    let exit = process.wait()?;
    Ok((exit.success(), process.output()))
}

fn train(models: &Path, seed: &str) -> Result<()> {
    let args = ["train", "wine_quality", "--model-repository", path(models)];
    let (success, output) = run(&[&args[..], &["--seed", seed]].concat())?;
    ensure!(success, "{output}");
    Ok(())
}

fn roll_back(models: &Path, more: &[&str]) -> Result<(bool, String)> {
    let args = [
        "rollback",
        "wine_quality",
        "--model-repository",
        path(models),
    ];
    run(&[&args[..], more].concat())
}

/// Waits until the gateway answers with a version; from then on it answers with no other.
fn answers_with(system: &System, version: &str) -> Result<()> {
    eventually("the gateway answers with the version", || {
        let answer = system.predict(&[WINE])?;
        ensure!(answer.status == StatusCode::OK, "{}", answer.body);
        Ok((answer.prediction(0)["model_version"] == version).then_some(()))
    })?;
    for number in 301..321 {
        let wine = format!("wine-{number:04}");
        let answer = system.predict(&[&wine])?;
        let prediction = answer.prediction(0);
        ensure!(prediction["model_version"] == version, "{}", answer.body);
    }
    Ok(())
}

fn control(system: &System, call: &str, body: &Value) -> Result<(StatusCode, Value)> {
    let service = &system.urls.model_service;
    let url = format!("{service}/v2/repository/models/wine_quality/{call}");
    let body = body.to_string();
    let answer = harness::send("POST", &url, &[], body.as_bytes())?;
    let status = StatusCode::from_u16(answer.status)?;
    let text = answer.text();
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
}

#[test]
fn the_gateway_follows_a_new_version_a_rollback_and_a_load() -> Result<()> {
    let (system, models) = system()?;
    let first = system.predict(&[WINE])?;
    assert_eq!(first.prediction(0)["model_version"], "1", "{}", first.body);
    train(models.path(), "7")?;
    answers_with(&system, "2")?;

    let (success, said) = roll_back(models.path(), &[])?;
    assert!(
        success && said.contains("version 1 answers, before version 2"),
        "{said}"
    );
    answers_with(&system, "1")?;
    let stored = system.predict(&[WINE])?;
    assert_eq!(stored.prediction(0)["cached"], json!(true));
    assert_eq!(
        stored.prediction(0)["computed_by"],
        first.prediction(0)["computed_by"],
        "the prediction of before is good again"
    );
    // A newer version does not undo the decision.
    train(models.path(), "8")?;
    let (success, said) = roll_back(models.path(), &[])?;
    assert!(!success && said.contains("is the oldest"), "{said}");
    answers_with(&system, "1")?;

    // The load of a version that is not whole changes nothing.
    let broken = models.path().join("wine_quality/4");
    fs::create_dir(&broken)?;
    fs::write(broken.join("manifest.json"), "{}")?;
    let (status, body) = control(&system, "load", &json!({}))?;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("model_not_ready")),
        "{body}"
    );
    answers_with(&system, "1")?;
    fs::remove_dir_all(&broken)?;
    let (status, body) = control(&system, "load", &json!({}))?;
    assert_eq!(status, StatusCode::OK, "{body}");
    answers_with(&system, "3")?;
    let (success, said) = roll_back(models.path(), &["--to", "2"])?;
    assert!(
        success && said.contains("version 2 answers, before version 3"),
        "{said}"
    );
    answers_with(&system, "2")?;
    let (success, said) = roll_back(models.path(), &["--to", "newest"])?;
    assert!(success && said.contains("version 3 answers"), "{said}");
    answers_with(&system, "3")
}

#[test]
fn an_unloaded_model_answers_again_when_it_is_loaded() -> Result<()> {
    let (system, _models) = system()?;
    answers_with(&system, "1")?;
    let (status, body) = control(&system, "unload", &json!({}))?;
    assert_eq!(status, StatusCode::OK, "{body}");
    // New ones are refused at once, stored ones as soon as the gateway has asked the service.
    for wine in ["wine-0401", WINE] {
        eventually("the gateway knows the model no longer", || {
            let answer = system.predict(&[wine])?;
            let is_unknown = answer.body["code"] == "unknown_model";
            Ok((answer.status == StatusCode::NOT_FOUND && is_unknown).then_some(()))
        })?;
    }
    let (status, body) = control(&system, "load", &json!({}))?;
    assert_eq!(status, StatusCode::OK, "{body}");
    eventually("the gateway answers again", || {
        let answer = system.predict(&["wine-0402"])?;
        Ok((answer.status == StatusCode::OK).then_some(()))
    })?;
    answers_with(&system, "1")
}
