//! The manifest of a version: enough to serve it, to find its training run, and to notice drift.

use std::collections::BTreeMap;

use protocol::RowErrorCode;
use serde::{Deserialize, Serialize};
use telemetry::SpanRef;

use crate::candle::{EncoderConfig, EncoderHead};
use crate::model::Rows;

/// The content of `manifest.json`. Unknown fields are ignored, so later releases may add some.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name of the model; also the name of its folder.
    pub name: String,
    /// Decimal number as text; also the name of the version's folder.
    pub version: String,
    /// 32 lower-case hex digits.
    pub run_id: String,
    /// `candle` here, `scikit-learn` in the versions of the Python worker.
    #[serde(default = "candle")]
    pub framework: String,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// Commit of the code that trained the model, where it is known.
    pub source_commit: Option<String>,
    pub dataset: Dataset,
    /// SHA-256 of `model.safetensors`, lower-case hex.
    pub weights_sha256: String,
    /// The inputs of the model in its order; none if it takes texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// Where the features of an entity are looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookup: Option<Lookup>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalisation: Option<Normalisation>,
    /// By feature, the texts that it may be. Such a feature is known by the position of its text,
    /// from 0, and becomes one input for each text: 1 for its own and 0 for the others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub categories: BTreeMap<String, Vec<String>>,
    /// Only of a model that takes texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextInput>,
    /// Names of the outputs in the order of the probabilities; none of a regression.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Only of a model that predicts a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regression: Option<Regression>,
    pub hyperparameters: Hyperparameters,
    pub seed: u64,
    pub metrics: Metrics,
    pub reference: ReferenceProfile,
    /// How the probabilities become as certain as they are right; only of a classifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// How long the training took, and its span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingRun>,
    /// Of a version that was trained elsewhere. Nothing is known of its data, so what is said of
    /// them here is empty, and there is no reference profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added: Option<Added>,
}

/// What a version was made from that was not trained here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Added {
    /// Name of the folder, without its path.
    pub folder: String,
}

/// Temperature scaling (Guo et al. 2017, section 4.2): the logits are divided by one number, which
/// changes how certain the classes are and never which of them is the likeliest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// 1 changes nothing: the training has found nothing that is better.
    pub temperature: f64,
    /// Held-out rows that it was found with.
    pub rows: usize,
    /// Expected calibration error without it: the mean distance of confidence and accuracy over ten
    /// bins of the confidence.
    pub error_before: f64,
    /// The same with it, each fifth of the rows by the temperature of the others.
    pub error_after: f64,
}

/// The training that made a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingRun {
    /// Without the time to write the version.
    pub duration_seconds: f64,
    /// 32 hex digits; not there if the training was not traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// 16 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    /// How many processes learned together; not there if it was the one of the trainer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranks: Option<usize>,
}

/// How the output of the network becomes a number: `output · std + mean`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Regression {
    /// The column that is predicted.
    pub target: String,
    /// Of the target over the training part.
    pub mean: f32,
    pub std: f32,
}

/// The data a model was trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dataset {
    pub name: String,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
    pub rows: usize,
}

/// Feast's coordinates of the features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lookup {
    pub feature_view: String,
    pub join_key: String,
}

/// How texts become features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextInput {
    /// SHA-256 of `tokenizer.json`, lower-case hex.
    pub tokenizer_sha256: String,
    /// How many different tokens it gives.
    pub tokens: usize,
    /// Pairs of neighbouring tokens that are features, too; 0 with an encoder.
    pub pairs: usize,
    /// What makes one vector of a text. Without it the model is a bag of words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<EncoderInput>,
}

/// The encoder before the layers that were trained; its weights are in the same file as theirs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EncoderInput {
    pub config: EncoderConfig,
    /// Tokens of a text at most, the rest is cut off.
    pub max_tokens: usize,
    #[serde(default)]
    pub head: EncoderHead,
}

/// `(x - mean) / std` per feature, with the statistics of the training part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalisation {
    pub mean: Vec<f32>,
    /// Never 0: a feature that does not vary has 1.
    pub std: Vec<f32>,
}

/// How good the model is: the accuracies of a classifier, or the errors of a regression.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Share of the training part that is classified correctly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_accuracy: Option<f64>,
    /// Share of the validation part that is classified correctly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_accuracy: Option<f64>,
    /// Share of the validation part that belongs to the training part's most frequent class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub majority_baseline: Option<f64>,
    /// Root of the mean squared error on the training part, in units of the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_rmse: Option<f64>,
    /// The same on the validation part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_rmse: Option<f64>,
    /// The same of a model that always answers the training part's mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_baseline_rmse: Option<f64>,
    pub training_rows: usize,
    pub validation_rows: usize,
}

/// The distributions at the time of the training, for comparison with those in use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferenceProfile {
    /// Over the training part, in the order of the features. Of a model that takes texts, over the
    /// validation part: [`TEXT_FEATURES`].
    pub features: Vec<FeatureProfile>,
    /// Share of each class among the predictions for the validation part, in the order of the
    /// classes.
    pub class_shares: Vec<f64>,
    /// The nine inner deciles of the confidence on the validation part.
    pub confidence_deciles: Vec<f64>,
    /// The numbers that a regression predicts for the validation part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<FeatureProfile>,
}

/// What the learning depends on besides data and seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hyperparameters {
    /// Width of each hidden layer.
    pub hidden: Vec<usize>,
    /// At the first step; falls to zero along half a cosine (Loshchilov and Hutter 2017, without
    /// restarts).
    pub learning_rate: f64,
    /// Decoupled, as in `AdamW` (Loshchilov and Hutter 2019).
    pub weight_decay: f64,
    pub batch_size: usize,
    pub epochs: usize,
}

/// The distribution of one feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureProfile {
    pub name: String,
    /// The nine inner edges of ten bins, the first and the last of which are open-ended.
    pub decile_edges: Vec<f64>,
    /// Share of the rows in each of the ten bins; a value on an edge belongs to the bin above. With
    /// ties, the shares are not a tenth each.
    pub decile_shares: Vec<f64>,
    pub min: f64,
    pub max: f64,
    pub mean: f64,
    pub std: f64,
    pub missing: u64,
}

/// What is profiled of each text: how many tokens it has, and the share of those that the model does
/// not know. In the training part, which made the vocabulary, none is unknown.
pub const TEXT_FEATURES: [&str; 2] = ["tokens", "unknown_share"];

/// Beyond these a temperature is a mistake.
pub(crate) const TEMPERATURES: [f64; 2] = [0.1, 10.0];

/// For manifests from before the Python worker, which lack the field.
fn candle() -> String {
    super::FRAMEWORK.to_owned()
}

/// A value this many deviations away is a sentinel and no feature. The bound keeps hidden layers
/// from overflowing, so a row fails by its values and not by the weights of one model; the worker in
/// Python has the same.
const FARTHEST: f32 = 1e30;

impl Normalisation {
    /// Normalises every row in place. A value that is too far away becomes NaN, as does what a model
    /// computes of it.
    pub fn apply(&self, rows: &mut Rows) {
        let width = rows.width();
        for row in rows.values_mut().chunks_exact_mut(width) {
            for ((value, mean), std) in row.iter_mut().zip(&self.mean).zip(&self.std) {
                let deviations = (*value - mean) / std;
                let near = deviations.abs() <= FARTHEST;
                *value = if near { deviations } else { f32::NAN };
            }
        }
    }
}

impl Manifest {
    /// An error if parts of the manifest contradict each other.
    pub fn check(&self) -> Result<(), String> {
        match (&self.regression, self.classes.len()) {
            (None, 0) if self.embedding().is_some() => {}
            (None, 1..) if self.embedding().is_some() => {
                return Err("a model that only encodes has no classes".to_owned());
            }
            (None, 0 | 1) => return Err("a model needs at least two classes".to_owned()),
            (Some(_), 1..) => return Err("a regression has no classes".to_owned()),
            (Some(scale), 0) if !(scale.mean.is_finite() && scale.std.is_normal()) => {
                return Err("regression holds a value that cannot be used".to_owned());
            }
            _ => {}
        }
        let [coldest, hottest] = TEMPERATURES;
        let fits = |fit: &Calibration| (coldest..=hottest).contains(&fit.temperature);
        if !self.calibration.as_ref().is_none_or(fits) {
            return Err(format!(
                "calibration.temperature must be {coldest} to {hottest}"
            ));
        }
        match (&self.text, &self.normalisation, &self.lookup) {
            (Some(_), None, None) if self.features.is_empty() && self.added.is_some() => {
                self.check_profile::<&str>(&[])
            }
            (Some(_), None, None) if self.features.is_empty() => self.check_profile(&TEXT_FEATURES),
            (None, Some(normalisation), Some(_)) if !self.features.is_empty() => {
                self.check_table(normalisation)
            }
            _ => Err(
                "a model takes either features, with lookup and normalisation, or text".to_owned(),
            ),
        }
    }

    fn check_profile<T: AsRef<str>>(&self, features: &[T]) -> Result<(), String> {
        let profiled = self.reference.features.iter();
        let profiled = profiled.map(|profile| profile.name.as_str());
        if profiled.eq(features.iter().map(AsRef::as_ref)) {
            Ok(())
        } else {
            Err("reference.features are not the features in their order".to_owned())
        }
    }

    fn check_table(&self, normalisation: &Normalisation) -> Result<(), String> {
        let width = self.features.len();
        let lengths = [
            ("normalisation.mean", normalisation.mean.len(), width),
            ("normalisation.std", normalisation.std.len(), width),
            ("reference.features", self.reference.features.len(), width),
        ];
        for (field, actual, expected) in lengths {
            if actual != expected {
                return Err(format!(
                    "{field} has {actual} values for {expected} features"
                ));
            }
        }
        self.check_profile(&self.features)?;
        let mut numbers = normalisation.mean.iter().chain(&normalisation.std);
        if numbers.any(|number| !number.is_finite()) || normalisation.std.contains(&0.0) {
            return Err("normalisation holds a value that cannot be used".to_owned());
        }
        for (feature, texts) in &self.categories {
            let known = self.features.contains(feature);
            if !known || texts.is_empty() {
                return Err(format!("categories of {feature} fit no feature"));
            }
        }
        Ok(())
    }

    /// Numbers of the answer per row.
    pub(crate) fn outputs(&self) -> usize {
        self.embedding().unwrap_or(self.classes.len().max(1))
    }

    /// Values of a vector, if vectors are all that the model gives.
    pub(crate) fn embedding(&self) -> Option<usize> {
        let encoder = self.text.as_ref()?.encoder.as_ref()?;
        let is_all = encoder.head == EncoderHead::Embedding && self.regression.is_none();
        is_all.then_some(encoder.config.hidden_size)
    }

    /// Whether there is something to compare requests with.
    pub(crate) fn has_reference(&self) -> bool {
        !self.reference.features.is_empty()
    }

    /// The texts of all categories, each of which is an input of the network.
    fn texts(&self) -> usize {
        self.categories.values().map(Vec::len).sum()
    }

    /// The span of the training, if it was traced.
    pub fn training_span(&self) -> Option<SpanRef> {
        let training = self.training.as_ref()?;
        SpanRef::parse(training.trace_id.as_ref()?, training.span_id.as_ref()?)
    }

    /// Values per row at the input and after each layer.
    pub fn widths(&self) -> Vec<usize> {
        let features = match &self.text {
            Some(TextInput {
                encoder: Some(encoder),
                ..
            }) => encoder.config.hidden_size,
            Some(text) => text.tokens.saturating_add(text.pairs),
            None => self.features.len() - self.categories.len() + self.texts(),
        };
        self.hyperparameters.widths(features, self.outputs())
    }
}

impl Calibration {
    /// Whether it is not the temperature that changes nothing.
    pub fn changes(&self) -> bool {
        (self.temperature - 1.0).abs() > f64::EPSILON
    }

    /// Calibrates one row of probabilities, which stays in its order: of probabilities, the softmax
    /// of divided logits is the power, normalised again.
    pub(crate) fn apply(&self, row: &mut [f32]) {
        let most = row.iter().copied().fold(0.0, f32::max);
        if !self.changes() || most <= 0.0 {
            return;
        }
        let power = (1.0 / self.temperature) as f32;
        let mut sum = 0.0;
        for value in row.iter_mut() {
            *value = (*value / most).powf(power);
            sum += *value;
        }
        for value in row.iter_mut() {
            *value /= sum;
        }
    }
}

impl Regression {
    /// The number for the output of a row.
    pub(crate) fn number(&self, output: &[f32]) -> Result<f32, RowErrorCode> {
        let number = output.first().map(|output| output * self.std + self.mean);
        number
            .filter(|number| number.is_finite())
            .ok_or(RowErrorCode::OutOfRange)
    }
}

impl Default for Hyperparameters {
    /// Chosen by cross-validation inside the training part of the wine data, without the validation
    /// part.
    fn default() -> Self {
        Self {
            hidden: vec![32, 32],
            learning_rate: 0.003,
            weight_decay: 0.1,
            batch_size: 32,
            epochs: 20,
        }
    }
}

impl Hyperparameters {
    /// Those of a table of so many rows: as for the wines, and small tables are read more often.
    pub fn of_table(rows: usize) -> Self {
        let default = Self::default();
        let steps = rows.div_ceil(default.batch_size).max(1);
        let epochs = (1_000 / steps).clamp(default.epochs, 100);
        Self { epochs, ..default }
    }

    /// Those of the bag of words; the hidden layer is the width of an embedding. Chosen by
    /// cross-validation over whole reviews.
    pub fn of_texts() -> Self {
        Self {
            hidden: vec![8],
            learning_rate: 0.01,
            weight_decay: 0.1,
            batch_size: 64,
            epochs: 8,
        }
    }

    /// Those of the layer after an encoder. Chosen by cross-validation over whole reviews.
    pub fn of_encoder() -> Self {
        Self {
            hidden: Vec::new(),
            learning_rate: 0.01,
            weight_decay: 0.1,
            batch_size: 64,
            epochs: 30,
        }
    }

    /// Values per row at the input and after each layer.
    pub fn widths(&self, features: usize, classes: usize) -> Vec<usize> {
        let mut widths = vec![features];
        widths.extend(&self.hidden);
        widths.push(classes);
        widths
    }
}
