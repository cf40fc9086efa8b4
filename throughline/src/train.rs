//! `throughline train`: trains a model, with its telemetry, and writes a new version.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use model_service::training::{self, TrainOptions as Training, TrainReport};

use crate::cli::TrainOptions;
use crate::{screen, up};

/// Runs the training as the service `model-training`. Its spans, metrics and log record leave before it returns.
pub(crate) fn main(options: &TrainOptions) -> anyhow::Result<()> {
    if options.if_missing
        && has_version(
            &options.model_repository,
            &options.model,
            "model.safetensors",
        )
    {
        screen::say(format!(
            "the repository has a version of {} already",
            options.model
        ));
        return Ok(());
    }
    let telemetry = telemetry::init(&telemetry::Settings::from_env(
        "model-training",
        env!("CARGO_PKG_VERSION"),
    )?)?;
    let outcome = train(options);
    telemetry.shutdown(Duration::from_secs(2));
    screen::say(outcome?);
    Ok(())
}

/// Whether a version of the model has the file that one language's service reads.
pub(crate) fn has_version(repository: &Path, model: &str, file: &str) -> bool {
    let versions = std::fs::read_dir(repository.join(model))
        .into_iter()
        .flatten()
        .flatten();
    versions
        .map(|version| version.path())
        .any(|version| version.join(file).is_file() && !is_hidden(&version))
}

/// A version that is being written.
fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn train(options: &TrainOptions) -> anyhow::Result<String> {
    let data = if let Some(data) = &options.data {
        data.clone()
    } else {
        std::fs::create_dir_all(&options.model_repository)?;
        let built_in = options.model_repository.join("winequality-red.csv");
        up::write_wine_csv(&built_in)?;
        built_in
    };
    let mut training = Training::new(data, &options.model_repository);
    training.seed = options.seed;
    training.source_commit = telemetry::revision().map(str::to_owned);
    let report = training::train(&training).context("the training failed")?;
    Ok(tell(&report))
}

fn tell(report: &TrainReport) -> String {
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
