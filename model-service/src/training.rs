//! Training of `wine_quality` and `text_sentiment`: from the CSV file to a new version in the model
//! repository, as one trace.

mod data;
mod error;
mod instruments;
mod learn;
pub(crate) mod profile;
mod split;
mod text;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use telemetry::{KeyValue, Span, attr};

pub use data::{CLASSES, FEATURES};
use data::{Data, Example};
pub use error::TrainError;
pub use learn::Epoch;
use learn::{accuracy, learn, rows};
use split::{Split, split};
pub use text::{CrossValidation, cross_validate};

use crate::candle::{Fit, Mlp};
use crate::model::ComputeError;
use crate::repository::{
    Dataset, FRAMEWORK, Hyperparameters, Lookup, Manifest, Metrics, Normalisation,
    ReferenceProfile, VersionFiles, write_version,
};

/// About one row in this many goes to the validation part.
const PARTS: u64 = 5;
/// The SDK's default limit of events on a span; longer trainings record every second epoch, every
/// third, and so on.
const MAX_EVENTS: usize = 128;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// Wines: eleven measurements each.
    Table,
    /// Snippets of reviews.
    Texts,
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
            input: InputKind::Table,
            dataset: "wine_quality".to_owned(),
            model_repository: model_repository.into(),
            model: "wine_quality".to_owned(),
            seed: 42,
            hyperparameters: Hyperparameters::default(),
            encoder: None,
            source_commit: None,
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
    let run = Run {
        options,
        id: format!("{:032x}", rand::random::<u128>()),
        labels: vec![KeyValue::new(attr::MODEL_NAME, options.model.clone())],
    };
    let span = Span::start(format!("train {}", options.model), run.attributes());
    let start = Instant::now();
    let trained = span.in_scope(|| match options.input {
        InputKind::Table => run.train(progress),
        InputKind::Texts => text::train(&run, progress),
    });
    match &trained {
        Ok(manifest) => span.in_scope(|| run.record_result(&span, manifest, start.elapsed())),
        Err(error) => span.fail(error, error.error_type()),
    }
    let manifest = trained?;
    Ok(TrainReport {
        folder: options
            .model_repository
            .join(&manifest.name)
            .join(&manifest.version),
        duration: start.elapsed(),
        manifest,
    })
}

struct Run<'a> {
    options: &'a TrainOptions,
    id: String,
    /// Attributes of the metrics.
    labels: Vec<KeyValue>,
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

    fn train(&self, progress: &mut dyn FnMut(&Epoch)) -> Result<Manifest, TrainError> {
        let options = self.options;
        let (data, split) = stage("load_data", || {
            let data = Data::read(&options.data)?;
            let split = split(&data.examples, PARTS, options.seed);
            if split.training.is_empty() || split.validation.is_empty() {
                let rows = data.examples.len();
                return Err(TrainError::TooFew { rows });
            }
            Ok((data, split))
        })?;
        let normalisation = profile::normalisation(&split.training);
        let fit = self.fit(&split, &normalisation, progress)?;
        let (metrics, reference) = stage("evaluate_model", || {
            let model = fit.model().map_err(TrainError::Compute)?;
            self.evaluate(&model, &split, &normalisation)
                .map_err(TrainError::Compute)
        })?;
        stage("save_model", || {
            let weights = fit.weights().map_err(TrainError::Compute)?;
            let manifest = Manifest {
                features: FEATURES.map(str::to_owned).to_vec(),
                lookup: Some(Lookup {
                    feature_view: "wine_features".to_owned(),
                    join_key: "wine_id".to_owned(),
                }),
                normalisation: Some(normalisation),
                ..self.manifest(
                    data.examples.len(),
                    data.sha256,
                    CLASSES,
                    metrics,
                    reference,
                )
            };
            self.write(manifest, &weights, None)
        })
    }

    fn fit(
        &self,
        split: &Split,
        normalisation: &Normalisation,
        progress: &mut dyn FnMut(&Epoch),
    ) -> Result<Fit, TrainError> {
        let options = self.options;
        self.watch(progress, |on_epoch| {
            learn(
                &split.training,
                normalisation,
                &options.hyperparameters,
                options.seed,
                on_epoch,
            )
        })
    }

    /// Runs the learning in its span, and records every epoch.
    fn watch<T>(
        &self,
        progress: &mut dyn FnMut(&Epoch),
        learn: impl FnOnce(&mut dyn FnMut(Epoch)) -> Result<T, ComputeError>,
    ) -> Result<T, TrainError> {
        let epochs = self.options.hyperparameters.epochs;
        let every = epochs.div_ceil(MAX_EVENTS).max(1);
        let span = Span::start("train_model", Vec::new());
        let mut finite = true;
        let fit = span.in_scope(|| {
            learn(&mut |epoch| {
                finite &= epoch.loss.is_finite();
                if epoch.number.is_multiple_of(every) {
                    span.event("epoch_completed", epoch_attributes(&epoch));
                }
                instruments::LOSS.record(epoch.loss, &self.labels);
                instruments::GRADIENT_NORM.record(epoch.gradient_norm, &self.labels);
                progress(&epoch);
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
        model: &Mlp,
        split: &Split,
        normalisation: &Normalisation,
    ) -> Result<(Metrics, ReferenceProfile), ComputeError> {
        let validation =
            model.probabilities_untraced(&rows(split.validation.iter(), normalisation))?;
        let metrics = Metrics {
            training_accuracy: accuracy(model, &split.training, normalisation)?,
            validation_accuracy: accuracy(model, &split.validation, normalisation)?,
            majority_baseline: majority_baseline(split),
            training_rows: split.training.len(),
            validation_rows: split.validation.len(),
        };
        instruments::VALIDATION_ACCURACY.record(metrics.validation_accuracy, &self.labels);
        let reference = profile::reference(&split.training, &validation, CLASSES.len());
        Ok((metrics, reference))
    }

    /// The manifest without what depends on the kind of the input.
    fn manifest(
        &self,
        rows: usize,
        sha256: String,
        classes: [&str; 2],
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
            text: None,
            classes: classes.map(str::to_owned).to_vec(),
            hyperparameters: options.hyperparameters.clone(),
            seed: options.seed,
            metrics,
            reference,
        }
    }

    /// Records the result on the span, in the metrics, and as the log record that the dashboards of
    /// trainings read.
    fn record_result(&self, span: &Span, manifest: &Manifest, duration: Duration) {
        let metrics = &manifest.metrics;
        span.set(attr::ML_MODEL_VERSION, manifest.version.clone());
        span.set(attr::ML_TRAINING_ACCURACY, metrics.training_accuracy);
        span.set(attr::ML_VALIDATION_ACCURACY, metrics.validation_accuracy);
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

fn epoch_attributes(epoch: &Epoch) -> Vec<KeyValue> {
    vec![
        KeyValue::new(
            attr::ML_TRAINING_EPOCH,
            i64::try_from(epoch.number).unwrap_or(i64::MAX),
        ),
        KeyValue::new(attr::metric::ML_TRAINING_LOSS, epoch.loss),
        KeyValue::new(attr::metric::ML_TRAINING_GRADIENT_NORM, epoch.gradient_norm),
        KeyValue::new(attr::ML_TRAINING_ACCURACY, epoch.accuracy),
    ]
}

/// Accuracy on the validation part of a model that always answers the training part's most frequent
/// class.
fn majority_baseline(split: &Split) -> f64 {
    let majority = u32::from(share(&split.training, 1) >= share(&split.training, 0));
    share(&split.validation, majority)
}

fn share(examples: &[Example], class: u32) -> f64 {
    let of_class = examples.iter().filter(|example| example.class == class);
    of_class.count() as f64 / examples.len().max(1) as f64
}

#[cfg(test)]
mod tests;
