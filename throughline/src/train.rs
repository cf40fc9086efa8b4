//! `throughline train`: trains a model, traced, and writes a new version.

use std::time::Duration;

use anyhow::Context;
use model_service::training::{self, TrainOptions, TrainReport};

use crate::cli::TrainArgs;
use crate::model_files::{self, RUST_WEIGHTS};
use crate::{screen, wine_data};

/// Runs the training as the service `model-training`. Its telemetry is flushed before this returns.
pub(crate) fn main(args: &TrainArgs) -> anyhow::Result<()> {
    if args.if_missing
        && model_files::has_version(&args.model_repository, &args.model, RUST_WEIGHTS)
    {
        screen::say(format!(
            "the repository has a version of {} already",
            args.model
        ));
        return Ok(());
    }
    let telemetry = telemetry::init(&telemetry::Settings::from_env(
        "model-training",
        env!("CARGO_PKG_VERSION"),
    ))?;
    let outcome = train(args);
    telemetry.shutdown(Duration::from_secs(2));
    screen::say(outcome?);
    Ok(())
}

fn train(args: &TrainArgs) -> anyhow::Result<String> {
    let data = if let Some(data) = &args.data {
        data.clone()
    } else {
        std::fs::create_dir_all(&args.model_repository)?;
        let built_in = args.model_repository.join("winequality-red.csv");
        wine_data::write_csv(&built_in)?;
        built_in
    };
    let mut training = TrainOptions::new(data, &args.model_repository);
    training.seed = args.seed;
    training.source_commit = telemetry::revision().map(str::to_owned);
    let report = training::train(&training).context("the training failed")?;
    Ok(summary(&report))
}

fn summary(report: &TrainReport) -> String {
    let manifest = &report.manifest;
    let metrics = &manifest.metrics;
    format!(
        "{} version {} in {:.1} s: validation accuracy {:.3} on {} held-out rows (majority baseline {:.3}), training accuracy {:.3}\n{}",
        manifest.name,
        manifest.version,
        report.duration.as_secs_f64(),
        metrics.validation_accuracy,
        metrics.validation_rows,
        metrics.majority_baseline,
        metrics.training_accuracy,
        report.folder.display(),
    )
}
