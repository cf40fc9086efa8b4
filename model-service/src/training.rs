//! Training of `wine_quality`, of any other table, and of `text_sentiment`: from the CSV file to a new version in the model
//! repository, as one trace.

mod data;
mod error;
mod instruments;
mod learn;
pub(crate) mod profile;
mod split;
mod table;
mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use telemetry::{KeyValue, Span, SpanRef, attr};

pub use data::{CLASSES, FEATURES};
pub use error::TrainError;
pub use learn::Epoch;
use learn::Prepared;
use split::{Split, split};
pub use table::{BadRow, IgnoredColumn, TableFeature, TableOptions, TableSummary, feature_name};
use table::{Example, Table};
pub use text::{CrossValidation, cross_validate};

use crate::candle::Mlp;
use crate::model::{ComputeError, Probabilities};
use crate::repository::{
    Dataset, FRAMEWORK, Hyperparameters, Manifest, Metrics, ReferenceProfile, Regression,
    TrainingRun, VersionFiles, write_version,
};

/// About one row in this many goes to the validation part.
const PARTS: u64 = 5;

/// What to train, on which data, into which repository.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// The CSV file of the data.
    pub data: PathBuf,
    pub input: InputKind,
    /// Name of the data set in manifest and telemetry.
    pub dataset: String,
    /// The folder that holds one folder per model.
    pub model_repository: PathBuf,
    pub model: String,
    /// Decides the split, the start weights and the order of the rows.
    pub seed: u64,
    pub hyperparameters: Hyperparameters,
    /// A Hugging Face folder of an encoder, on whose vectors of the texts one layer is trained. Without
    /// it a bag of words is trained.
    pub encoder: Option<PathBuf>,
    /// Commit of the code, if it is known.
    pub source_commit: Option<String>,
}

/// What the examples of a data set are.
#[derive(Clone, Debug, PartialEq)]
pub enum InputKind {
    /// Wines: eleven measurements each, and a quality.
    Wines,
    /// Any table.
    Table(TableOptions),
    /// Snippets of reviews.
    Texts,
}

/// Somebody who follows a training.
pub trait TrainingWatcher {
    /// The table was read.
    fn loaded(&mut self, _summary: &TableSummary) {}

    /// An epoch has ended.
    fn epoch(&mut self, _epoch: &Epoch) {}

    /// The model is trained and not yet saved: makes the features available to those who will ask it.
    /// Only of a table.
    fn publish(
        &mut self,
        _summary: &TableSummary,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }
}

struct EpochsOnly<'a>(&'a mut dyn FnMut(&Epoch));

impl TrainingWatcher for EpochsOnly<'_> {
    fn epoch(&mut self, epoch: &Epoch) {
        (self.0)(epoch);
    }
}

/// The result of a training.
#[derive(Clone, Debug)]
pub struct TrainReport {
    /// As written beside the weights, with version, run id and metrics.
    pub manifest: Manifest,
    /// The folder of the new version.
    pub folder: PathBuf,
    pub duration: Duration,
}

impl TrainOptions {
    /// The defaults for `wine_quality`.
    pub fn new(data: impl Into<PathBuf>, model_repository: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            input: InputKind::Wines,
            dataset: "wine_quality".to_owned(),
            model_repository: model_repository.into(),
            model: "wine_quality".to_owned(),
            seed: 42,
            hyperparameters: Hyperparameters::default(),
            encoder: None,
            source_commit: None,
        }
    }

    /// The defaults for the model of a table.
    pub fn of_table(
        data: impl Into<PathBuf>,
        model_repository: impl Into<PathBuf>,
        model: &str,
        columns: TableOptions,
    ) -> Self {
        Self {
            input: InputKind::Table(columns),
            dataset: model.to_owned(),
            model: model.to_owned(),
            ..Self::new(data, model_repository)
        }
    }

    /// The defaults for `text_sentiment`.
    pub fn of_texts(data: impl Into<PathBuf>, model_repository: impl Into<PathBuf>) -> Self {
        Self {
            input: InputKind::Texts,
            dataset: "product_reviews".to_owned(),
            model: "text_sentiment".to_owned(),
            hyperparameters: Hyperparameters::of_texts(),
            ..Self::new(data, model_repository)
        }
    }
}

impl TrainOptions {
    /// One layer on an encoder instead of a bag of words.
    #[must_use]
    pub fn with_encoder(self, folder: impl Into<PathBuf>) -> Self {
        Self {
            encoder: Some(folder.into()),
            hyperparameters: Hyperparameters::of_encoder(),
            ..self
        }
    }
}

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
    let mut run = Run {
        options,
        id: format!("{:032x}", rand::random::<u128>()),
        labels: vec![KeyValue::new(attr::MODEL_NAME, options.model.clone())],
        begin: Instant::now(),
        span: None,
    };
    let span = Span::start(format!("train {}", options.model), run.attributes());
    run.span = span.span_ref();
    let trained = span.in_scope(|| match options.input {
        InputKind::Table(_) | InputKind::Wines => run.train(watcher),
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

    fn train(&self, watcher: &mut dyn TrainingWatcher) -> Result<Manifest, TrainError> {
        let options = self.options;
        let (table, summary, split) = stage("load_data", || {
            let (table, summary) = self.read()?;
            let split = split(&table.examples, PARTS, options.seed);
            check_split(&table, &split)?;
            Ok((table, summary, split))
        })?;
        if let Some(summary) = &summary {
            watcher.loaded(summary);
        }
        let hyperparameters = self.hyperparameters(split.training.len());
        let prepared = Prepared::of(&table, &split)?;
        let fit = self.watch(watcher, &hyperparameters, |on_epoch| {
            prepared.learn(&hyperparameters, options.seed, on_epoch)
        })?;
        let (metrics, reference) = stage("evaluate_model", || {
            let model = fit.model().map_err(TrainError::Compute)?;
            self.evaluate(&table, &split, &prepared, &model)
                .map_err(TrainError::Compute)
        })?;
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
                ..self.manifest(rows, table.sha256, &hyperparameters, metrics, reference)
            };
            self.write(manifest, &weights, None)
        })
    }

    fn read(&self) -> Result<(Table, Option<TableSummary>), TrainError> {
        let options = self.options;
        match &options.input {
            InputKind::Table(columns) => {
                let (table, summary) = table::read(&options.data, &options.model, columns)?;
                Ok((table, Some(summary)))
            }
            InputKind::Wines | InputKind::Texts => Ok((data::read_wines(&options.data)?, None)),
        }
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
        learn: impl FnOnce(&mut dyn FnMut(Epoch)) -> Result<T, ComputeError>,
    ) -> Result<T, TrainError> {
        let epochs = i64::try_from(hyperparameters.epochs).unwrap_or(i64::MAX);
        let epochs = KeyValue::new(attr::ML_TRAINING_EPOCHS, epochs);
        let span = Span::start("train_model", vec![epochs]);
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
            Err(error) => Err(TrainError::Compute(error)),
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

    fn evaluate(
        &self,
        table: &Table,
        split: &Split,
        prepared: &Prepared,
        model: &Mlp,
    ) -> Result<(Metrics, ReferenceProfile), ComputeError> {
        let training = prepared.training.predict(model)?;
        let validation = prepared.validation.predict(model)?;
        let rows = Metrics {
            training_rows: split.training.len(),
            validation_rows: split.validation.len(),
            ..Metrics::default()
        };
        if let Some(scale) = &prepared.regression {
            let (training, validation) = (numbers(&training, scale), numbers(&validation, scale));
            let mean = vec![f64::from(scale.mean); split.validation.len()];
            let metrics = Metrics {
                training_rmse: Some(prepared.training.rmse_of(&training)),
                validation_rmse: Some(prepared.validation.rmse_of(&validation)),
                mean_baseline_rmse: Some(prepared.validation.rmse_of(&mean)),
                ..rows
            };
            let reference = profile::with_numbers(table, &split.training, validation);
            return Ok((metrics, reference));
        }
        let metrics = Metrics {
            training_accuracy: Some(prepared.training.accuracy_of(&training)),
            validation_accuracy: Some(prepared.validation.accuracy_of(&validation)),
            majority_baseline: Some(majority_baseline(table, split)),
            ..rows
        };
        self.record_accuracy(&metrics);
        let reference = profile::reference(table, &split.training, &validation);
        Ok((metrics, reference))
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
            training: Some(TrainingRun {
                duration_seconds: self.begin.elapsed().as_secs_f64(),
                trace_id: self.span.as_ref().map(|span| span.trace_id.clone()),
                span_id: self.span.as_ref().map(|span| span.span_id.clone()),
            }),
        }
    }

    /// Records the result on the span, in the metrics, and as the log record that the dashboards of
    /// trainings read.
    fn record_result(&self, span: &Span, manifest: &Manifest, duration: Duration) {
        let metrics = &manifest.metrics;
        span.set(attr::ML_MODEL_VERSION, manifest.version.clone());
        for (name, value) in [
            (attr::ML_TRAINING_ACCURACY, metrics.training_accuracy),
            (attr::ML_VALIDATION_ACCURACY, metrics.validation_accuracy),
            (attr::ML_TRAINING_RMSE, metrics.training_rmse),
            (attr::ML_VALIDATION_RMSE, metrics.validation_rmse),
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

/// Both parts need rows, and a class that the training part lacks cannot be learned.
fn check_split(table: &Table, split: &Split) -> Result<(), TrainError> {
    if split.training.is_empty() || split.validation.is_empty() {
        let rows = table.examples.len();
        return Err(TrainError::TooFew { rows });
    }
    let rare = table
        .classes()
        .iter()
        .zip(0..)
        .find(|(_, class)| share(&split.training, *class) == 0.0);
    match rare {
        Some((class, _)) => Err(TrainError::RareClass {
            class: class.clone(),
        }),
        None => Ok(()),
    }
}

/// The numbers that a regression's outputs stand for.
fn numbers(outputs: &Probabilities, scale: &Regression) -> Vec<f64> {
    let outputs = outputs.rows();
    let numbers = outputs.map(|output| f64::from(scale.number(output).unwrap_or(f32::NAN)));
    numbers.collect()
}

/// Accuracy on the validation part of a model that always answers the training part's most frequent
/// class.
fn majority_baseline(table: &Table, split: &Split) -> f64 {
    let classes = (0..).take(table.classes().len());
    let majority = classes.max_by(|a: &u32, b: &u32| {
        share(&split.training, *a).total_cmp(&share(&split.training, *b))
    });
    share(&split.validation, majority.unwrap_or_default())
}

fn share(examples: &[Example], class: u32) -> f64 {
    let of_class = examples
        .iter()
        .filter(|example| example.target.is_class(class));
    of_class.count() as f64 / examples.len().max(1) as f64
}

#[cfg(test)]
mod tests;
