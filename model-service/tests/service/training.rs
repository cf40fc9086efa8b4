//! What a training exports and logs: its trace, its metrics and its log record.

use std::time::Duration;

use harness::{Collector, Process, Trace};
use model_service::training::{TrainOptions, train};
use telemetry::Settings;

use crate::server::DATA;

/// Runs in a process of its own, since telemetry is set up once per process.
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

#[test]
fn a_training_is_traced_measured_and_logged() {
    let collector = Collector::start();
    let args = ["--ignored", "--exact", "training::child", "--nocapture"];
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.endpoint())];
    let program = std::env::current_exe().unwrap();
    let mut child = Process::start(program, &args, &variables).unwrap();
    let exit = child.wait().unwrap();
    assert!(exit.success(), "{exit:?}");

    let [trace] = <[Trace; 1]>::try_from(collector.traces()).expect("one trace");
    let expected = "\
train wine_quality INTERNAL
  load_data INTERNAL
  train_model INTERNAL
EPOCHS  evaluate_model INTERNAL
  save_model INTERNAL
";
    let expected = expected.replace("EPOCHS", &"    epoch INTERNAL\n".repeat(200));
    assert_eq!(harness::tree(&trace), expected);
    let root = &trace.spans[0];
    for key in [
        "ml.run_id",
        "ml.dataset",
        "ml.learning_rate",
        "ml.model_version",
        "ml.validation_accuracy",
        "ml.baseline_accuracy",
        "ml.dataset_sha256",
    ] {
        assert!(root.attributes.contains_key(key), "{key}: {root:?}");
    }
    let epochs = trace.spans.iter().filter(|span| span.name == "epoch");
    for (epoch, number) in epochs.zip(1..) {
        assert_eq!(epoch.attributes["ml.training.epoch"], number);
        for key in [
            "ml.training.loss",
            "ml.training.gradient_norm",
            "ml.training.rows_per_second",
            "ml.training_accuracy",
        ] {
            assert!(epoch.attributes.contains_key(key), "{key}: {epoch:?}");
        }
    }
    for metric in ["loss", "gradient_norm", "validation_accuracy", "duration"] {
        let series = collector.metric(&format!("ml.training.{metric}"));
        assert!(!series.is_empty(), "no metric ml.training.{metric}");
    }
    let records = exit.events("ml.training.metrics");
    let record = records.first().expect("the log record of a training");
    assert_eq!(record["message"], "training metrics");
    assert_eq!(record["trace_id"], trace.trace_id);
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
