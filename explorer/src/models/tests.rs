//! What predictions and trainings say of a model.

use super::*;
use crate::facts::bench::{Bench, INTERNAL, Sent};

const HOUR: u64 = 3_600_000_000_000;

fn one(bench: &Bench, name: &str) -> Option<ModelReport> {
    bench.read(|facts| Look::now(facts, &bench.store.metrics, HOUR).one(name))
}

fn prediction(bench: &Bench, trace: u64, variant: &str, version: &str, label: &str) {
    let stage = |id, parent, name: &str| Sent::new(trace, id, parent, name, INTERNAL);
    let whole = stage(10, 0, "predict wine")
        .text("ml.model_name", "wine")
        .text("ml.variant", variant)
        .text("ml.model_version", version)
        .text("ml.run_id", "r1")
        .text("ml.framework", "candle")
        .text("ml.output.label", label)
        .number("ml.output.confidence", 0.97)
        .lasts(20);
    // Children arrive first.
    bench.send("model-service", stage(13, 12, "layer linear_1"));
    bench.send("model-service", stage(12, 10, "model_inference").lasts(5));
    bench.send("model-service", stage(11, 10, "preprocess_input"));
    bench.send("model-service", whole);
}

fn training(bench: &Bench, trace: u64, run: &str, version: &str) {
    let stage = |id, parent, name: &str| Sent::new(trace, id, parent, name, INTERNAL);
    for (rank, compute) in [(0.0, 0.1), (1.0, 0.4)] {
        let id = 20 + rank as u64;
        for epoch in [1.0, 2.0] {
            let span = stage(id * 10 + epoch as u64, id, "epoch")
                .number("ml.training.epoch", epoch)
                .number("ml.training.loss", 1.0 / epoch)
                .number("ml.training.rank", rank)
                .number("ml.training.compute.duration", compute)
                .number("ml.training.all_reduce.duration", 0.5 - compute);
            bench.send("model-training", span);
        }
        let span = stage(id, 12, "rank")
            .number("ml.training.rank", rank)
            .number("ml.training.compute.duration", compute * 2.0)
            .number("ml.training.all_reduce.duration", 1.0 - compute * 2.0);
        bench.send("model-training", span);
    }
    bench.send("model-training", stage(11, 10, "load_data").lasts(7));
    bench.send("model-training", stage(12, 10, "train_model").lasts(70));
    let whole = stage(10, 0, "train wine")
        .text("ml.model_name", "wine")
        .text("ml.run_id", run)
        .text("ml.model_version", version)
        .text("ml.dataset", "wines")
        .text("ml.dataset_sha256", "4a40")
        .number("ml.validation_accuracy", 0.76)
        .number("ml.baseline_accuracy", 0.53);
    bench.send("model-training", whole.lasts(100));
}

#[test]
fn a_variant_has_its_calls_stages_confidences_and_labels() {
    let bench = Bench::new();
    for trace in 1..=3 {
        prediction(&bench, trace, "primary", "1", "high");
    }
    prediction(&bench, 4, "canary", "2", "low");
    let model = one(&bench, "wine").unwrap();
    let [canary, primary] = &model.variants[..] else {
        panic!("{model:?}")
    };
    assert_eq!(
        (canary.variant.as_str(), canary.version.as_str()),
        ("canary", "2")
    );
    assert_eq!((primary.numbers.calls, primary.rows), (3, 3));
    assert_eq!(primary.numbers.p95_ms, Some(20.0));
    assert_eq!(primary.service, "model-service");
    let stages: Vec<_> = primary
        .stages
        .iter()
        .map(|stage| {
            (
                stage.name.as_str(),
                stage.depth,
                stage.numbers.calls,
                stage.numbers.p50_ms,
            )
        })
        .collect();
    assert_eq!(
        stages,
        [
            ("preprocess_input", 1, 3, Some(1.0)),
            ("model_inference", 1, 3, Some(5.0)),
            ("layer linear_1", 2, 3, Some(1.0)),
        ]
    );
    assert_eq!((primary.confidence[19], primary.confidence.len()), (3, 20));
    assert_eq!(primary.labels[0].label, "high");
    assert!((primary.labels[0].share - 1.0).abs() < 1e-9);
}

#[test]
fn a_version_has_its_training_beside_the_baseline_and_who_answers_with_it() {
    let bench = Bench::new();
    training(&bench, 100, "r1", "1");
    prediction(&bench, 1, "primary", "1", "high");
    prediction(&bench, 2, "primary", "7", "high");
    let model = one(&bench, "wine").unwrap();
    let [newest, first] = &model.versions[..] else {
        panic!("{model:?}")
    };
    // Nothing of the training of version 7 was received.
    assert_eq!(
        (newest.version.as_str(), newest.trace_id.as_ref()),
        ("7", None)
    );
    assert_eq!(first.outcome.validation_accuracy, Some(0.76));
    assert_eq!(first.outcome.baseline_accuracy, Some(0.53));
    assert_eq!(first.outcome.dataset_sha256.as_deref(), Some("4a40"));
    assert_eq!(first.variants, ["primary"]);
    assert_eq!(
        first.trace_id.as_deref(),
        Some("07070707070707070000000000000064")
    );
    // The same number in another repository is another version.
    training(&bench, 101, "r2", "1");
    let model = one(&bench, "wine").unwrap();
    let runs: Vec<_> = model
        .versions
        .iter()
        .map(|version| version.run_id.as_deref())
        .collect();
    assert_eq!(runs, [Some("r1"), Some("r1"), Some("r2")]);
    assert!(one(&bench, "beer").is_none());
}

#[test]
fn a_distributed_training_has_a_curve_and_workers_by_epoch() {
    let bench = Bench::new();
    training(&bench, 100, "r1", "1");
    let model = one(&bench, "wine").unwrap();
    let run = &model.runs[0];
    let curve: Vec<_> = run
        .curve
        .iter()
        .map(|point| (point.epoch, point.loss))
        .collect();
    assert_eq!(curve, [(1, Some(1.0)), (2, Some(0.5))]);
    let [fast, slow] = &run.ranks[..] else {
        panic!("{run:?}")
    };
    assert_eq!((fast.rank, slow.rank), (0, 1));
    assert_eq!(slow.compute_seconds, Some(0.8));
    assert_eq!(slow.epochs.len(), 2);
    assert!(fast.epochs[1].all_reduce_seconds > slow.epochs[1].all_reduce_seconds);
    let stages: Vec<_> = model
        .training_stages
        .iter()
        .map(|stage| stage.name.as_str())
        .collect();
    assert_eq!(stages, ["load_data", "train_model"]);
}

#[test]
fn epochs_that_are_events_are_a_curve_too() {
    let bench = Bench::new();
    let stage = Sent::new(1, 2, 1, "train_model", INTERNAL);
    let stage = (1..=500).fold(stage, |stage, epoch| stage.epoch_event(epoch, 1.0));
    bench.send("model-training", stage);
    let whole = Sent::new(1, 1, 0, "train trees", INTERNAL);
    bench.send(
        "model-training",
        whole.text("ml.model_name", "trees").text("ml.run_id", "r"),
    );
    let curve = one(&bench, "trees").unwrap().runs.remove(0).curve;
    assert!((60..=120).contains(&curve.len()), "{}", curve.len());
    assert_eq!(curve.last().map(|point| point.epoch), Some(500));
}

#[test]
fn a_list_has_every_model_with_its_variants() {
    let bench = Bench::new();
    training(&bench, 100, "r1", "1");
    prediction(&bench, 1, "primary", "1", "high");
    let list = bench.read(|facts| Look::now(facts, &bench.store.metrics, HOUR).list());
    let [model] = &list[..] else {
        panic!("{list:?}")
    };
    assert_eq!((model.name.as_str(), model.runs), ("wine", 1));
    assert_eq!(model.variants, ["primary"]);
    assert_eq!(model.validation_accuracy, Some(0.76));
    assert_eq!(model.numbers.calls, 1);
}

#[test]
fn hostile_names_and_numbers_of_variants_labels_and_runs_are_bounded() {
    let bench = Bench::new();
    let long = "x".repeat(400);
    for trace in 1..=100 {
        prediction(&bench, trace, &format!("{long}{trace}"), "1", "high");
        prediction(
            &bench,
            1_000 + trace,
            "primary",
            &format!("v{trace}"),
            &format!("l{trace}"),
        );
        training(
            &bench,
            2_000 + trace,
            &format!("run {trace}"),
            &format!("{trace}"),
        );
    }
    let model = one(&bench, "wine").unwrap();
    assert!(model.variants.len() <= 16);
    assert_eq!(model.runs.len(), 16);
    assert!(model.versions.len() <= 66, "{}", model.versions.len());
    assert!(serde_json::to_vec(&model).unwrap().len() < 200_000);
}
