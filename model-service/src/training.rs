//! Training of `wine_quality`, of any other table, and of `text_sentiment`: from the CSV file to a new version in the model
//! repository, as one trace.

mod calibrate;
mod data;
mod distributed;
mod error;
mod evaluate;
mod instruments;
mod learn;
mod options;
pub(crate) mod profile;
mod split;
mod table;
mod text;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use telemetry::{KeyValue, Span, SpanRef, attr};

pub use data::{CLASSES, FEATURES, held_out_wines};
use distributed::learn_on;
pub use distributed::{Plan, PlanFields, Ranks, plan};
pub use error::{RanksError, TrainError};
use evaluate::{Evaluation, check_split, evaluate};
pub use learn::Epoch;
use learn::Prepared;
use options::EpochsOnly;
pub use options::{InputKind, TrainOptions, TrainReport, TrainingWatcher};
use split::{Split, split};
use table::Table;
pub use table::{BadRow, IgnoredColumn, TableFeature, TableOptions, TableSummary, feature_name};
pub use text::{CrossValidation, cross_validate};

use crate::repository::{
    Dataset, FRAMEWORK, Hyperparameters, Manifest, Metrics, ReferenceProfile, TrainingRun,
    VersionFiles, write_version,
};

/// About one row in this many goes to the validation part.
const PARTS: u64 = 5;

/// Trains and writes a new version. Equal options and data give equal weights, byte for byte.
pub fn train(options: &TrainOptions) -> Result<TrainReport, TrainError> {
    train_with_progress(options, &mut |_| {})
}

/// [`train`] with a call of `progress` after every epoch.
pub fn train_with_progress(
    options: &TrainOptions,
    progress: &mut dyn FnMut(&Epoch),
) -> Result<TrainReport, TrainError> {
    train_watched(options, &mut EpochsOnly(progress))
}

/// [`train`] with somebody who watches, and who publishes the features of a table.
pub fn train_watched(
    options: &TrainOptions,
    watcher: &mut dyn TrainingWatcher,
) -> Result<TrainReport, TrainError> {
    train_by(options, watcher, None)
}

/// [`train_watched`] for a table of classes, whose learning is done by `ranks`.
pub fn train_distributed(
    options: &TrainOptions,
    watcher: &mut dyn TrainingWatcher,
    ranks: &mut dyn Ranks,
) -> Result<TrainReport, TrainError> {
    train_by(options, watcher, Some(ranks))
}

fn train_by(
    options: &TrainOptions,
    watcher: &mut dyn TrainingWatcher,
    ranks: Option<&mut dyn Ranks>,
) -> Result<TrainReport, TrainError> {
    let mut run = Run {
        options,
        ranks: ranks.as_ref().map(|ranks| ranks.count()),
        id: format!("{:032x}", rand::random::<u128>()),
        labels: vec![KeyValue::new(attr::MODEL_NAME, options.model.clone())],
        begin: Instant::now(),
        span: None,
    };
    let span = Span::start(format!("train {}", options.model), run.attributes());
    run.span = span.span_ref();
    let trained = span.in_scope(|| match options.input {
        InputKind::Table(_) | InputKind::Wines => run.train(watcher, ranks),
        InputKind::Texts => text::train(&run, watcher),
    });
    match &trained {
        Ok(manifest) => span.in_scope(|| run.record_result(&span, manifest, run.begin.elapsed())),
        Err(error) => span.fail(error, error.error_type()),
    }
    let manifest = trained?;
    Ok(TrainReport {
        folder: options
            .model_repository
            .join(&manifest.name)
            .join(&manifest.version),
        duration: run.begin.elapsed(),
        manifest,
    })
}

struct Run<'a> {
    options: &'a TrainOptions,
    /// How many ranks do the learning; `None` is this process.
    ranks: Option<usize>,
    id: String,
    /// Attributes of the metrics.
    labels: Vec<KeyValue>,
    begin: Instant,
    /// The span of the whole run, if it is recorded.
    span: Option<SpanRef>,
}

impl Run<'_> {
    fn attributes(&self) -> Vec<KeyValue> {
        let options = self.options;
        vec![
            KeyValue::new(attr::ML_MODEL_NAME, options.model.clone()),
            KeyValue::new(attr::ML_RUN_ID, self.id.clone()),
            KeyValue::new(attr::ML_DATASET, options.dataset.clone()),
            KeyValue::new(
                attr::ML_LEARNING_RATE,
                options.hyperparameters.learning_rate,
            ),
            KeyValue::new(attr::ML_FRAMEWORK, FRAMEWORK),
            KeyValue::new(attr::ML_DEVICE, "cpu"),
        ]
    }

    fn train(
        &self,
        watcher: &mut dyn TrainingWatcher,
        ranks: Option<&mut dyn Ranks>,
    ) -> Result<Manifest, TrainError> {
        let options = self.options;
        let (table, summary, split) = stage("load_data", || self.load())?;
        if let Some(summary) = &summary {
            watcher.loaded(summary);
        }
        let hyperparameters = self.hyperparameters(split.training.len());
        let prepared = Prepared::of(&table, &split)?;
        let seed = options.seed;
        let fit = self.watch(watcher, &hyperparameters, |on_epoch| match ranks {
            Some(ranks) => learn_on(ranks, &prepared, &hyperparameters, seed, on_epoch),
            None => prepared
                .learn(&hyperparameters, seed, on_epoch)
                .map_err(TrainError::Compute),
        })?;
        let evaluation = stage("evaluate_model", || {
            let model = fit.model().map_err(TrainError::Compute)?;
            evaluate(&table, &split, &prepared, &model).map_err(TrainError::Compute)
        })?;
        let Evaluation {
            metrics,
            reference,
            calibration,
        } = evaluation;
        self.record_accuracy(&metrics);
        if let Some(summary) = &summary {
            stage("load_features", || {
                watcher.publish(summary).map_err(TrainError::Features)
            })?;
        }
        stage("save_model", || {
            let weights = fit.weights().map_err(TrainError::Compute)?;
            let rows = table.examples.len();
            let manifest = Manifest {
                classes: table.classes().to_vec(),
                features: table.features,
                categories: table.categories,
                lookup: Some(table.lookup),
                normalisation: Some(prepared.normalisation),
                regression: prepared.regression,
                calibration,
                ..self.manifest(rows, table.sha256, &hyperparameters, metrics, reference)
            };
            self.write(manifest, &weights, None)
        })
    }

    fn load(&self) -> Result<(Table, Option<TableSummary>, Split), TrainError> {
        let options = self.options;
        let (table, summary) = match &options.input {
            InputKind::Table(columns) => {
                let (table, summary) = table::read(&options.data, &options.model, columns)?;
                (table, Some(summary))
            }
            InputKind::Wines | InputKind::Texts => (data::read_wines(&options.data)?, None),
        };
        let split = split(&table.examples, PARTS, options.seed);
        check_split(&table, &split)?;
        Ok((table, summary, split))
    }

    fn hyperparameters(&self, rows: usize) -> Hyperparameters {
        let given = &self.options.hyperparameters;
        match &self.options.input {
            InputKind::Table(columns) => Hyperparameters {
                epochs: columns
                    .epochs
                    .unwrap_or_else(|| Hyperparameters::of_table(rows).epochs),
                ..given.clone()
            },
            InputKind::Wines | InputKind::Texts => given.clone(),
        }
    }

    /// Runs the learning in its span, and records every epoch.
    fn watch<T>(
        &self,
        watcher: &mut dyn TrainingWatcher,
        hyperparameters: &Hyperparameters,
        learn: impl FnOnce(&mut dyn FnMut(Epoch)) -> Result<T, TrainError>,
    ) -> Result<T, TrainError> {
        let epochs = i64::try_from(hyperparameters.epochs).unwrap_or(i64::MAX);
        let mut attributes = vec![KeyValue::new(attr::ML_TRAINING_EPOCHS, epochs)];
        if let Some(ranks) = self.ranks {
            let ranks = i64::try_from(ranks).unwrap_or(i64::MAX);
            attributes.push(KeyValue::new(attr::ML_TRAINING_RANKS, ranks));
        }
        let span = Span::start("train_model", attributes);
        let mut finite = true;
        let fit = span.in_scope(|| {
            learn(&mut |epoch| {
                finite &= epoch.loss.is_finite();
                instruments::LOSS.record(epoch.loss, &self.labels);
                instruments::GRADIENT_NORM.record(epoch.gradient_norm, &self.labels);
                watcher.epoch(&epoch);
            })
        });
        let fit = match fit {
            Ok(fit) if finite => Ok(fit),
            Ok(_) => Err(TrainError::Diverged),
            Err(error) => Err(error),
        };
        fit.inspect_err(|error| span.fail(error, error.error_type()))
    }

    fn write(
        &self,
        manifest: Manifest,
        weights: &[u8],
        tokenizer: Option<&[u8]>,
    ) -> Result<Manifest, TrainError> {
        let files = VersionFiles { weights, tokenizer };
        write_version(&self.options.model_repository, manifest, files).map_err(TrainError::Write)
    }

    fn record_accuracy(&self, metrics: &Metrics) {
        if let Some(accuracy) = metrics.validation_accuracy {
            instruments::VALIDATION_ACCURACY.record(accuracy, &self.labels);
        }
    }

    /// The manifest without what depends on the kind of the input.
    fn manifest(
        &self,
        rows: usize,
        sha256: String,
        hyperparameters: &Hyperparameters,
        metrics: Metrics,
        reference: ReferenceProfile,
    ) -> Manifest {
        let options = self.options;
        Manifest {
            name: options.model.clone(),
            version: String::new(),
            run_id: self.id.clone(),
            framework: FRAMEWORK.to_owned(),
            created_at: jiff::Timestamp::now().to_string(),
            source_commit: options.source_commit.clone(),
            dataset: Dataset {
                name: options.dataset.clone(),
                sha256,
                rows,
            },
            weights_sha256: String::new(),
            features: Vec::new(),
            lookup: None,
            normalisation: None,
            categories: BTreeMap::new(),
            text: None,
            classes: Vec::new(),
            regression: None,
            hyperparameters: hyperparameters.clone(),
            seed: options.seed,
            metrics,
            reference,
            calibration: None,
            training: Some(TrainingRun {
                duration_seconds: self.begin.elapsed().as_secs_f64(),
                trace_id: self.span.map(|span| span.trace_id.to_string()),
                span_id: self.span.map(|span| span.span_id.to_string()),
                ranks: self.ranks,
            }),
            added: None,
        }
    }

    /// Records the result on the span, in the metrics, and as the log record that the dashboards of
    /// trainings read.
    fn record_result(&self, span: &Span, manifest: &Manifest, duration: Duration) {
        let metrics = &manifest.metrics;
        span.set(attr::ML_MODEL_VERSION, manifest.version.clone());
        span.set(attr::ML_DATASET_SHA256, manifest.dataset.sha256.clone());
        for (name, value) in [
            (attr::ML_TRAINING_ACCURACY, metrics.training_accuracy),
            (attr::ML_VALIDATION_ACCURACY, metrics.validation_accuracy),
            (attr::ML_TRAINING_RMSE, metrics.training_rmse),
            (attr::ML_VALIDATION_RMSE, metrics.validation_rmse),
            (attr::ML_BASELINE_ACCURACY, metrics.majority_baseline),
            (attr::ML_BASELINE_RMSE, metrics.mean_baseline_rmse),
        ] {
            if let Some(value) = value {
                span.set(name, value);
            }
        }
        instruments::DURATION.record(duration.as_secs_f64(), &self.labels);
        tracing::info!(
            name: "ml.training.metrics",
            {
                "ml.model_name" = manifest.name,
                "ml.model_version" = manifest.version,
                "ml.run_id" = manifest.run_id,
                "ml.dataset" = manifest.dataset.name,
                "ml.learning_rate" = manifest.hyperparameters.learning_rate,
                "ml.training_accuracy" = metrics.training_accuracy,
                "ml.validation_accuracy" = metrics.validation_accuracy,
                "ml.training_rmse" = metrics.training_rmse,
                "ml.validation_rmse" = metrics.validation_rmse,
            },
            "training metrics"
        );
    }
}

/// Runs one stage of the training in its span.
fn stage<T>(
    name: &'static str,
    work: impl FnOnce() -> Result<T, TrainError>,
) -> Result<T, TrainError> {
    let span = Span::start(name, Vec::new());
    let result = span.in_scope(work);
    result.inspect_err(|error| span.fail(error, error.error_type()))
}

#[cfg(test)]
mod tests;
