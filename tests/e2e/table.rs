//! A table of one's own: trained beside a running system, which then answers for it without a
//! restart.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use harness::{Exit, Trace, eventually};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::system::{JsonAnswer, System, exchange, path, start};

const MISS: &str = "\
POST /v1/predictions SERVER gateway
  SELECT predictions CLIENT gateway
  POST CLIENT gateway
    POST /v2/models/{model_name}/infer SERVER model-service
      POST CLIENT model-service
        POST /get-online-features SERVER feature-store
          SELECT flowers_features CLIENT feature-store
      predict flowers INTERNAL model-service
        preprocess_input INTERNAL model-service
        model_inference INTERNAL model-service
          layer linear_1 INTERNAL model-service
          layer linear_2 INTERNAL model-service
          layer linear_3 INTERNAL model-service
        postprocess_output INTERNAL model-service
  INSERT predictions CLIENT gateway
";

/// 300 flowers: petal and colour decide about the kind and the height.
fn flowers(file: &Path) -> Result<()> {
    let mut csv = "flower,petal length (cm),colour,remark,kind,height\n".to_owned();
    for row in 0..300_u32 {
        let petal = 1.0 + f64::from(row * 7 % 60) / 10.0;
        let colour = ["red", "white", "sky blue"][row as usize % 3];
        let kind = match (petal > 4.0, colour) {
            (false, _) => "small",
            (true, "red") => "large",
            (true, _) => "middle",
        };
        let height = petal * 10.0 + if colour == "red" { 20.0 } else { 0.0 };
        writeln!(
            csv,
            "flower-{row},{petal:.1},{colour},seen on day {row},{kind},{height:.1}"
        )?;
    }
    std::fs::write(file, csv)?;
    Ok(())
}

/// The arguments of a training on a table of flowers.
fn table_args<'a>(
    file: &'a Path,
    target: &'a str,
    model: &'a str,
    data: &'a Path,
) -> [&'a str; 11] {
    [
        "train",
        "--table",
        path(file),
        "--id",
        "flower",
        "--target",
        target,
        "--model",
        model,
        "--data-dir",
        path(data),
    ]
}

/// Trains in the folder of the running system; its explorer gets the trace.
fn train(system: &System, model: &str, target: &str, more: &[&str]) -> Result<Exit> {
    let file = system.data.path().join("flowers.csv");
    flowers(&file)?;
    let args = table_args(&file, target, model, system.data.path());
    let otlp = [("OTEL_EXPORTER_OTLP_ENDPOINT", system.urls.otlp.as_str())];
    start(&[&args, more].concat(), &otlp)?.wait()
}

fn ask(system: &System, model: &str, ids: &[&str]) -> Result<JsonAnswer> {
    let body = json!({"model": model, "data_ids": ids}).to_string();
    let url = format!("{}/v1/predictions", system.urls.gateway);
    system.post(&url, body, &[])
}

/// The first answer for a model that the model service is about to notice.
fn first_answer(system: &System, model: &str, ids: &[&str]) -> Result<JsonAnswer> {
    eventually("the gateway answers for the model", || {
        let answer = ask(system, model, ids)?;
        let known = answer.status != StatusCode::NOT_FOUND;
        Ok(known.then_some(answer))
    })
}

#[test]
fn the_gateway_answers_for_a_table_that_was_trained_beside_it() -> Result<()> {
    let system = System::start_with_own_models()?;
    let exit = train(&system, "flowers", "kind", &["--epochs", "40"])?;
    ensure!(exit.success(), "{}", exit.output());
    let output = exit.output();
    for expected in [
        "300 rows, 3 features",
        "not used: column remark is another text in every row",
        "300 rows are in the feature view flowers_features",
        "flowers version 1",
    ] {
        assert!(output.contains(expected), "{expected}: {output}");
    }
    let answer = first_answer(&system, "flowers", &["flower-0", "flower-57", "nobody"])?;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    // flower-0 is red with a short petal, flower-57 red with a long one.
    let labels = [0, 1].map(|entry| answer.prediction(entry)["label"].clone());
    assert_eq!(labels, [json!("small"), json!("large")], "{}", answer.body);
    assert_eq!(
        answer.prediction(2)["error"]["code"],
        json!("unknown_entity"),
        "{}",
        answer.body
    );
    let one = ask(&system, "flowers", &["flower-1"])?;
    let trace = system.trace_with_outline(&one.trace_id(), MISS)?;
    leads_to_its_training(&system, &trace)?;
    an_unknown_category_fails_alone(&system)
}

/// The link of the predict span is the root of the training, whose spans say what was learned.
fn leads_to_its_training(system: &System, trace: &Trace) -> Result<()> {
    let predict = trace.span("predict flowers").expect("it is in the outline");
    let [link] = &predict.links[..] else {
        anyhow::bail!("{:?}", predict.links);
    };
    let training = trace_with(system, &link.trace_id, "train flowers")?;
    let root = training.span("train flowers").expect("the root");
    assert_eq!(root.span_id, link.span_id);
    assert_eq!(
        root.attributes["ml.run_id"], predict.attributes["ml.run_id"],
        "the run that made the model"
    );
    for stage in [
        "load_data",
        "train_model",
        "epoch",
        "evaluate_model",
        "load_features",
        "save_model",
    ] {
        assert!(training.span(stage).is_some(), "{stage}: {training:?}");
    }
    Ok(())
}

/// The trace once it has a span of that name; of a training the root ends last.
fn trace_with(system: &System, trace_id: &str, span: &str) -> Result<Trace> {
    eventually("the trace", || {
        let trace = system.trace(trace_id)?;
        Ok(trace.filter(|trace| trace.span(span).is_some()))
    })
}

/// A colour that no flower of the table had.
fn an_unknown_category_fails_alone(system: &System) -> Result<()> {
    let df = json!({"flower": ["new", "odd"], "petal_length_cm": [6.5, 6.5], "colour": ["red", "green"],
        "height": [85.0, 65.0], "event_timestamp": ["2026-01-01T00:00:00", "2026-01-01T00:00:00"]});
    let body = json!({"feature_view_name": "flowers_features", "df": df}).to_string();
    let url = format!("{}/write-to-online-store", system.urls.feature_store);
    let written = system.post(&url, body, &[])?;
    assert_eq!(written.status, StatusCode::OK, "{}", written.body);
    let answer = ask(system, "flowers", &["new", "odd"])?;
    assert_eq!(answer.prediction(0)["label"], json!("large"));
    assert_eq!(
        answer.prediction(1)["error"]["code"],
        json!("unknown_category"),
        "{}",
        answer.body
    );
    // In the protocol a category is its position: red, sky blue, white.
    let rows = json!([6.5, 0.0, 85.0, 6.5, 3.0, 65.0]);
    let inputs = json!({"inputs": [{"name": "features", "shape": [2, 3], "datatype": "FP32", "data": rows}]});
    let url = format!("{}/v2/models/flowers/infer", system.urls.gateway);
    let answer = system.post(&url, inputs.to_string(), &[])?;
    let outputs = answer.body["outputs"].as_array().cloned();
    let output = |name: &str| {
        let found = outputs
            .iter()
            .flatten()
            .find(|output| output["name"] == name);
        found.map(|output| output["data"].clone())
    };
    assert_eq!(
        output("label"),
        Some(json!(["large", ""])),
        "{}",
        answer.body
    );
    assert_eq!(output("error"), Some(json!(["", "unknown_category"])));
    Ok(())
}

#[test]
fn a_regression_answers_with_a_value_and_its_runs_can_be_compared() -> Result<()> {
    let system = System::start_with_own_models()?;
    for epochs in ["30", "60"] {
        let exit = train(
            &system,
            "heights",
            "height",
            &["--regression", "--epochs", epochs, "--progress", "plain"],
        )?;
        ensure!(exit.success(), "{}", exit.output());
        assert_eq!(
            exit.output().matches("loss").count(),
            10,
            "{}",
            exit.output()
        );
    }
    let answer = eventually("the second version answers", || {
        let answer = first_answer(&system, "heights", &["flower-0", "flower-57"])?;
        let version = &answer.prediction(0)["model_version"];
        Ok((version == &json!("2")).then_some(answer))
    })?;
    for (entry, height) in [(0, 30.0), (1, 69.0)] {
        let prediction = answer.prediction(entry);
        let value = prediction["value"].as_f64().unwrap_or_default();
        assert!((value - height).abs() < 8.0, "{prediction}");
        for absent in ["label", "confidence", "probabilities"] {
            assert!(prediction.get(absent).is_none(), "{absent}: {prediction}");
        }
    }
    let again = ask(&system, "heights", &["flower-57"])?;
    let (hit, miss) = (again.prediction(0), answer.prediction(1));
    assert_eq!(hit["cached"], json!(true), "{hit}");
    assert_eq!(hit["value"], miss["value"]);
    let alone = ask(&system, "heights", &["flower-58"])?;
    let trace = trace_with(&system, &alone.trace_id(), "predict heights")?;
    let predict = trace.span("predict heights").expect("a miss");
    let value = &alone.prediction(0)["value"];
    let seen = predict.attributes["ml.output.value"].as_f64();
    let difference = seen.unwrap_or_default() - value.as_f64().unwrap_or_default();
    assert!(difference.abs() < 1e-3, "{seen:?} {value}");
    is_judged(&system, miss["value"].as_f64().unwrap_or_default())?;
    let metadata = system.get(&format!("{}/v2/models/heights", system.urls.gateway))?;
    assert_eq!(
        metadata.body["outputs"],
        json!([{"name": "value", "datatype": "FP32", "shape": [-1]}])
    );
    runs(&system)
}

/// Feedback about flower-57, whose height is 69, has the error of its prediction.
fn is_judged(system: &System, predicted: f64) -> Result<()> {
    let truth = json!({"model": "heights", "feedback": [{"data_id": "flower-57", "value": 69.0}]});
    let url = format!("{}/v1/feedback", system.urls.gateway);
    let answer = system.post(&url, truth.to_string(), &[])?;
    let evaluation = &answer.body["feedback"][0]["evaluations"][0];
    assert_eq!(
        evaluation["name"],
        json!("absolute_error"),
        "{}",
        answer.body
    );
    let error = evaluation["score"].as_f64().unwrap_or_default();
    assert!(
        (error - (predicted - 69.0).abs()).abs() < 1e-4,
        "{}",
        answer.body
    );
    Ok(())
}

fn runs(system: &System) -> Result<()> {
    let repository = system.data.path().join("models");
    let args = ["runs", "heights", "--model-repository", path(&repository)];
    let list = start(&[args.as_slice(), &["--json"]].concat(), &[])?.wait()?;
    ensure!(list.success(), "{}", list.output());
    let runs: Value = serde_json::from_str(&list.output())?;
    assert_eq!(runs[1]["hyperparameters"]["epochs"], json!(60), "{runs}");
    assert_eq!(runs[0]["dataset"]["sha256"], runs[1]["dataset"]["sha256"]);
    let trace = runs[1]["training"]["trace_id"].as_str().unwrap_or_default();
    trace_with(system, trace, "train heights")?;
    let compared = start(&[args.as_slice(), &["--compare", "1", "2"]].concat(), &[])?.wait()?;
    let output = compared.output();
    let marked = |name: &str| {
        let mut lines = output.lines();
        lines.any(|line| line.starts_with('≠') && line.contains(name))
    };
    assert!(marked("epochs") && marked("trace"), "{output}");
    assert!(!marked("sha256") && !marked("seed"), "{output}");
    Ok(())
}

#[test]
fn rows_that_were_left_out_have_the_features_that_they_have() -> Result<()> {
    let system = System::start_with_own_models()?;
    let file = system.data.path().join("holes.csv");
    flowers(&file)?;
    let whole = std::fs::read_to_string(&file)?;
    let holes = whole
        .replacen("flower-4,3.8,white", "flower-4,3.8,", 1)
        .replacen("flower-5,4.5,", "flower-5,4.5,green,and,", 1)
        .replacen("seen on day 6,large", "seen on day 6,", 1);
    assert_ne!(whole, holes);
    std::fs::write(&file, holes)?;
    let args = table_args(&file, "kind", "holes", system.data.path());
    let args = [&args[..], &["--epochs", "5"]].concat();
    let quiet = [("OTEL_SDK_DISABLED", "true")];
    let refused = start(&args, &quiet)?.wait()?;
    assert!(!refused.success());
    let exit = start(&[&args[..], &["--skip-bad-rows"]].concat(), &quiet)?.wait()?;
    ensure!(exit.success(), "{}", exit.output());
    for (output, line) in [(refused.output(), "line 6"), (exit.output(), "line 7")] {
        assert!(output.contains(line), "{line}: {output}");
    }
    let answer = first_answer(
        &system,
        "holes",
        &["flower-3", "flower-4", "flower-5", "flower-6"],
    )?;
    let codes = (0..4).map(|entry| answer.prediction(entry)["error"]["code"].clone());
    let codes: Vec<Value> = codes.collect();
    // The third has no row in the store, and the last lacks only what is predicted.
    let expected = [
        Value::Null,
        json!("missing_features"),
        json!("unknown_entity"),
        Value::Null,
    ];
    assert_eq!(codes, expected, "{}", answer.body);
    Ok(())
}

#[test]
fn a_table_that_is_refused_leaves_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("empty.csv");
    std::fs::write(&file, "")?;
    let data = folder.path().join("data");
    let args = [
        "train",
        "--table",
        path(&file),
        "--id",
        "a",
        "--target",
        "b",
        "--model",
        "empty",
        "--data-dir",
        path(&data),
    ];
    let exit = start(&args, &[("OTEL_SDK_DISABLED", "true")])?.wait()?;
    assert!(!exit.success());
    assert!(exit.output().contains("0 bytes"), "{}", exit.output());
    assert!(!data.exists(), "nothing is written");
    Ok(())
}

#[test]
#[ignore = "needs a server: set THROUGHLINE_TEST_REDIS_URL, as .ci/components/with does"]
fn the_features_of_a_table_go_to_redis() -> Result<()> {
    let redis = std::env::var("THROUGHLINE_TEST_REDIS_URL")
        .context("THROUGHLINE_TEST_REDIS_URL is not set")?;
    let data = TempDir::new()?;
    let (file, views) = (
        data.path().join("flowers.csv"),
        data.path().join("feature-views"),
    );
    flowers(&file)?;
    let prefix = format!("e2e-table-{}:", std::process::id());
    let env = [
        ("FEATURE_STORE_DATABASE", redis.as_str()),
        ("FEATURE_STORE_FEATURE_VIEW_FOLDER", path(&views)),
        ("REDIS_KEY_PREFIX", prefix.as_str()),
        ("OTEL_SDK_DISABLED", "true"),
    ];
    std::fs::create_dir(&views)?;
    let args = [
        "feature-store",
        "--listen",
        "127.0.0.1:0",
        "--exit-with-parent",
    ];
    let store = start(&args, &env)?;
    let url = store.url("server.listening")?;
    let args = table_args(&file, "kind", "flowers", data.path());
    let args = [&args[..], &["--epochs", "5"]].concat();
    let exit = start(&args, &env)?.wait()?;
    ensure!(exit.success(), "{}", exit.output());
    assert!(
        !data.path().join("features.db").exists(),
        "the features are in Redis only"
    );
    let body = json!({
        "features": ["flowers_features:petal_length_cm", "flowers_features:colour"],
        "entities": {"flower": ["flower-57", "nobody"]},
    });
    let request = Request::post(format!("{url}/get-online-features"));
    let answer = exchange(request.body(Bytes::from(body.to_string()))?)?;
    let answer: Value = serde_json::from_slice(&answer.body)?;
    let results = answer["results"].as_array().cloned().unwrap_or_default();
    let values: Vec<&Value> = results.iter().map(|result| &result["values"]).collect();
    let expected = [
        json!(["flower-57", "nobody"]),
        json!([4.9, null]),
        json!(["red", null]),
    ];
    assert!(values.iter().copied().eq(&expected), "{answer}");
    Ok(())
}
