//! What a training tells: its trace, its metrics and its log record.

use std::process::Command;
use std::time::Duration;

use model_service::training::{TrainOptions, train};
use serde_json::Value;
use telemetry::Settings;

use crate::harness::DATA;
use crate::trace::{named, parse, tree};

/// Runs in a process of its own, since telemetry is set up once per process and the console exporter writes to the real
/// standard output.
#[test]
#[ignore = "started by the test below"]
fn child() {
    let telemetry = telemetry::init(&Settings::from_env("throughline", "0.0.0")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut options = TrainOptions::new(DATA, folder.path());
    options.hyperparameters.hidden = vec![4, 4];
    options.hyperparameters.epochs = 200;
    options.hyperparameters.batch_size = 1000;
    train(&options).unwrap();
    telemetry.shutdown(Duration::from_secs(10));
}

fn output() -> String {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "training::child", "--nocapture"])
        .env("OTEL_TRACES_EXPORTER", "console")
        .env("OTEL_METRICS_EXPORTER", "console")
        .env("OTEL_LOGS_EXPORTER", "none")
        .output()
        .unwrap();
    assert!(
        child.status.success(),
        "{}",
        String::from_utf8_lossy(&child.stderr)
    );
    String::from_utf8(child.stdout).unwrap()
}

#[test]
fn a_training_tells_of_itself() {
    let output = output();
    let spans = parse(&output);
    let root = named(&spans, "train wine_quality");
    let expected = "\
train wine_quality Internal
  load_data Internal
  train_model Internal
  evaluate_model Internal
  save_model Internal
";
    assert_eq!(tree(&spans, &root.parent, 0), expected);
    for key in [
        "ml.run_id",
        "ml.dataset",
        "ml.learning_rate",
        "ml.model_version",
        "ml.validation_accuracy",
    ] {
        assert!(root.attributes.contains_key(key), "{key}: {root:?}");
    }
    let epochs = &named(&spans, "train_model").events;
    assert_eq!(
        epochs.len(),
        100,
        "200 epochs are told of in at most 128 events"
    );
    assert!(epochs.iter().all(|event| event == "epoch_completed"));
    for metric in ["loss", "gradient_norm", "validation_accuracy", "duration"] {
        assert!(
            output.contains(&format!("ml.training.{metric}\n")),
            "no metric ml.training.{metric}"
        );
    }
    let records = output
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut records = records.filter(|record| record["event.name"] == "ml.training.metrics");
    let record = records.next().expect("the log record of a training");
    assert_eq!(record["message"], "training metrics");
    assert_eq!(record["trace_id"], root.trace);
    assert_eq!(record["ml.run_id"].as_str().unwrap().len(), 32);
    assert_eq!(record["ml.dataset"], "wine_quality");
    for key in [
        "ml.training_accuracy",
        "ml.validation_accuracy",
        "ml.learning_rate",
    ] {
        assert!(record[key].as_f64().unwrap() > 0.0, "{key}");
    }
}
