//! What to train, and who follows it.

use std::path::PathBuf;
use std::time::Duration;

use super::learn::Epoch;
use super::table::{TableOptions, TableSummary};
use crate::repository::{Hyperparameters, Manifest};

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

/// Calls a function after every epoch.
pub(super) struct EpochsOnly<'a>(pub(super) &'a mut dyn FnMut(&Epoch));

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
