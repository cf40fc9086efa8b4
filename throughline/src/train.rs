//! `throughline train`: trains models, traced, and writes a new version of each.

mod args;
mod progress;
mod ranks;
mod table;

use std::time::Duration;

use anyhow::Context;
use model_service::repository::{Calibration, Metrics};
use model_service::training::{
    self, CrossValidation, Epoch, TrainOptions, TrainReport, TrainingWatcher,
};

pub(crate) use args::TrainArgs;
use progress::Progress;
use ranks::Workers;
use table::TableWatcher;

use crate::data_sets::{TEXT_SENTIMENT, WINE_QUALITY};
use crate::model_files::{self, RUST_WEIGHTS};
use crate::screen;

/// Runs the trainings as the service `model-training`. Their telemetry is flushed before this returns.
pub(crate) fn main(args: &TrainArgs) -> anyhow::Result<()> {
    let mut missing = args.names();
    if let (Some(_), [_, another, ..]) = (&args.data, &*missing) {
        anyhow::bail!("--data is the data set of one model: train {another} by itself");
    }
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
    // Who started this process may have a trace of its own.
    let caller = telemetry::carrier::from_environment();
    let outcome = telemetry::span::with_context(&caller, || {
        missing.iter().try_for_each(|model| train(args, model))
    });
    telemetry.shutdown(Duration::from_secs(2));
    outcome
}

/// Whether the repository has a version of the model; says so.
fn is_there(args: &TrainArgs, model: &str) -> bool {
    let there = model_files::has_version(&args.place.repository(), model, RUST_WEIGHTS);
    if there {
        screen::say(format!("the repository has a version of {model} already"));
    }
    there
}

fn train(args: &TrainArgs, model: &str) -> anyhow::Result<()> {
    let mut options = options(args, model)?;
    options.source_commit = telemetry::revision().map(str::to_owned);
    let progress = Progress::new(args.progress);
    if let Some(count) = args.ranks.count() {
        return train_on(count, args, &options, progress);
    }
    let report = match &args.table.table {
        Some(table) => {
            let mut watcher = TableWatcher::new(args, model, table, progress);
            training::train_watched(&options, &mut watcher)
        }
        None => training::train_watched(&options, &mut Shown(progress)),
    };
    let report = report.with_context(|| format!("the training of {model} failed"))?;
    screen::say(summary(&report));
    Ok(())
}

/// The same with the learning done by several processes.
fn train_on(
    count: usize,
    args: &TrainArgs,
    options: &TrainOptions,
    progress: Progress,
) -> anyhow::Result<()> {
    let model = &options.model;
    if *model != WINE_QUALITY.model {
        anyhow::bail!("--workers is for {} only", WINE_QUALITY.model);
    }
    let mut workers = Workers::new(args, count)?;
    let failed = || format!("the training of {model} failed");
    if workers.is_follower() {
        return workers.follow(options).with_context(failed);
    }
    let report = training::train_distributed(options, &mut Shown(progress), &mut workers);
    screen::say(summary(&report.with_context(failed)?));
    Ok(())
}

/// Shows the progress, and has nothing to publish.
struct Shown(Progress);

impl TrainingWatcher for Shown {
    fn epoch(&mut self, epoch: &Epoch) {
        self.0.show(epoch);
    }
}

fn options(args: &TrainArgs, model: &str) -> anyhow::Result<TrainOptions> {
    let repository = args.place.repository();
    let epochs = args
        .epochs
        .map(|epochs| usize::try_from(epochs).unwrap_or(usize::MAX));
    let mut options = if let Some(table) = &args.table.table {
        let columns = args.table.columns(epochs);
        TrainOptions::of_table(table, &repository, model, columns)
    } else {
        let is_text = model == TEXT_SENTIMENT.model;
        let data = if let Some(data) = &args.data {
            data.clone()
        } else {
            std::fs::create_dir_all(&repository)?;
            let built_in = if is_text {
                TEXT_SENTIMENT
            } else {
                WINE_QUALITY
            };
            built_in.write_into(&repository)?
        };
        if is_text {
            TrainOptions::of_texts(data, &repository)
        } else {
            TrainOptions::new(data, &repository)
        }
    };
    if let Some(folder) = &args.encoder {
        if model != TEXT_SENTIMENT.model {
            anyhow::bail!("--encoder is for {} only", TEXT_SENTIMENT.model);
        }
        options = options.with_encoder(folder);
    }
    options.seed = args.seed;
    if let Some(epochs) = epochs {
        options.hyperparameters.epochs = epochs;
    }
    if let Some(rate) = args.learning_rate {
        options.hyperparameters.learning_rate = rate;
    }
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
    format!(
        "{} version {} in {:.1} s: {}{}\n{}",
        manifest.name,
        manifest.version,
        report.duration.as_secs_f64(),
        quality(&manifest.metrics),
        manifest
            .calibration
            .as_ref()
            .map_or_else(String::new, calibration),
        report.folder.display(),
    )
}

fn calibration(fit: &Calibration) -> String {
    let Calibration {
        temperature,
        rows,
        error_before,
        error_after,
    } = fit;
    let before = format!("\nexpected calibration error {error_before:.3} on {rows} held-out rows");
    if !fit.changes() {
        return format!("{before}; no temperature makes it smaller");
    }
    format!("{before}, {error_after:.3} with temperature {temperature:.2}")
}

fn quality(metrics: &Metrics) -> String {
    let rows = metrics.validation_rows;
    let value = Option::unwrap_or_default;
    if let Some(error) = metrics.validation_rmse {
        return format!(
            "root mean squared error {error:.4} on {rows} held-out rows (of the mean {:.4}), on the training part {:.4}",
            value(metrics.mean_baseline_rmse),
            value(metrics.training_rmse),
        );
    }
    format!(
        "validation accuracy {:.3} on {rows} held-out rows (majority baseline {:.3}), training accuracy {:.3}",
        value(metrics.validation_accuracy),
        value(metrics.majority_baseline),
        value(metrics.training_accuracy),
    )
}
