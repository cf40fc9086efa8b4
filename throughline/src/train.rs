//! `throughline train`: trains models, traced, and writes a new version of each.

use std::time::Duration;

use anyhow::Context;
use model_service::training::{self, CrossValidation, TrainOptions, TrainReport};

use crate::cli::TrainArgs;
use crate::data_sets::{TEXT_SENTIMENT, WINE_QUALITY};
use crate::model_files::{self, RUST_WEIGHTS};
use crate::screen;

/// Runs the trainings as the service `model-training`. Their telemetry is flushed before this returns.
pub(crate) fn main(args: &TrainArgs) -> anyhow::Result<()> {
    if let (Some(_), [_, another, ..]) = (&args.data, &*args.models) {
        anyhow::bail!("--data is the data set of one model: train {another} by itself");
    }
    let mut missing = args.models.clone();
    if args.if_missing {
        missing.retain(|model| !is_there(args, model));
    }
    if let Some(folds) = args.cross_validate {
        return missing
            .iter()
            .try_for_each(|model| cross_validate(args, model, folds));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let telemetry = telemetry::init(&telemetry::Settings::from_env(
        "model-training",
        env!("CARGO_PKG_VERSION"),
    ))?;
    let outcome = missing.iter().try_for_each(|model| train(args, model));
    telemetry.shutdown(Duration::from_secs(2));
    outcome
}

/// Whether the repository has a version of the model; says so.
fn is_there(args: &TrainArgs, model: &str) -> bool {
    let there = model_files::has_version(&args.model_repository, model, RUST_WEIGHTS);
    if there {
        screen::say(format!("the repository has a version of {model} already"));
    }
    there
}

fn train(args: &TrainArgs, model: &str) -> anyhow::Result<()> {
    let mut training = options(args, model)?;
    training.source_commit = telemetry::revision().map(str::to_owned);
    let report =
        training::train(&training).with_context(|| format!("the training of {model} failed"))?;
    screen::say(summary(&report));
    Ok(())
}

fn options(args: &TrainArgs, model: &str) -> anyhow::Result<TrainOptions> {
    let is_text = model == TEXT_SENTIMENT.model;
    let data = if let Some(data) = &args.data {
        data.clone()
    } else {
        std::fs::create_dir_all(&args.model_repository)?;
        let built_in = if is_text {
            TEXT_SENTIMENT
        } else {
            WINE_QUALITY
        };
        built_in.write_into(&args.model_repository)?
    };
    let mut options = if is_text {
        TrainOptions::of_texts(data, &args.model_repository)
    } else {
        TrainOptions::new(data, &args.model_repository)
    };
    if let Some(folder) = &args.encoder {
        if !is_text {
            anyhow::bail!("--encoder is for {} only", TEXT_SENTIMENT.model);
        }
        options = options.with_encoder(folder);
    }
    options.seed = args.seed;
    Ok(options)
}

/// Measures the model on every review without writing a version.
fn cross_validate(args: &TrainArgs, model: &str, folds: u64) -> anyhow::Result<()> {
    if model != TEXT_SENTIMENT.model {
        anyhow::bail!("--cross-validate is for {} only", TEXT_SENTIMENT.model);
    }
    let mut fold = 0;
    let result = training::cross_validate(&options(args, model)?, folds, |accuracy| {
        fold += 1;
        screen::say(format!("fold {fold} of {folds}: accuracy {accuracy:.3}"));
    });
    let CrossValidation {
        accuracy,
        majority_baseline,
        rows,
        ..
    } = result.context("the cross-validation failed")?;
    screen::say(format!(
        "{model}: accuracy {accuracy:.3} in {folds}-fold cross-validation by review on {rows} snippets (majority baseline {majority_baseline:.3})"
    ));
    Ok(())
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
