//! What a version says about itself: enough to serve it, to trace it back to its training run, and to notice drift.

use serde::{Deserialize, Serialize};

use crate::model::Rows;
use crate::training::Hyperparameters;

/// The content of `manifest.json`. Unknown fields are ignored, so that later versions may say more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name of the model; also the name of its folder.
    pub name: String,
    /// Decimal number as text; also the name of the version's folder.
    pub version: String,
    /// 32 lower-case hex digits.
    pub run_id: String,
    /// What computes the model: `candle`; the Python worker's versions say `scikit-learn`.
    #[serde(default = "candle")]
    pub framework: String,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// Commit of the code that trained the model, where it is known.
    pub source_commit: Option<String>,
    pub dataset: Dataset,
    /// SHA-256 of `model.safetensors`, lower-case hex.
    pub weights_sha256: String,
    /// The inputs of the model in its order.
    pub features: Vec<String>,
    /// Where the features of an entity are looked up.
    pub lookup: Lookup,
    pub normalisation: Normalisation,
    /// Names of the outputs in the order of the probabilities.
    pub classes: Vec<String>,
    pub hyperparameters: Hyperparameters,
    pub seed: u64,
    pub metrics: Metrics,
    pub reference: ReferenceProfile,
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

/// `(x - mean) / std` per feature, with the statistics of the training part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalisation {
    pub mean: Vec<f32>,
    /// Never 0: a feature that does not vary has 1.
    pub std: Vec<f32>,
}

/// How good the model is, on which rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Share of the training part that is classified rightly.
    pub training_accuracy: f64,
    /// Share of the held-out part that is classified rightly.
    pub validation_accuracy: f64,
    /// Share of the held-out part that the training part's most frequent class would get right.
    pub majority_baseline: f64,
    pub training_rows: usize,
    pub validation_rows: usize,
}

/// What the model saw when it was made, for comparison with what it sees in use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferenceProfile {
    /// Over the training part, in the order of the features.
    pub features: Vec<FeatureProfile>,
    /// Share of each class among the predictions for the held-out part, in the order of the classes.
    pub class_shares: Vec<f64>,
    /// The nine inner deciles of the confidence on the held-out part.
    pub confidence_deciles: Vec<f64>,
}

/// The distribution of one feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureProfile {
    pub name: String,
    /// The nine inner edges of ten bins, the first and the last of which are open-ended.
    pub decile_edges: Vec<f64>,
    /// Share of the rows in each of the ten bins; a value on an edge belongs to the bin above. Ties make it differ from
    /// a tenth each.
    pub decile_shares: Vec<f64>,
    pub min: f64,
    pub max: f64,
    pub mean: f64,
    pub std: f64,
    pub missing: u64,
}

/// Manifests did not say so when there was nothing else.
fn candle() -> String {
    super::FRAMEWORK.to_owned()
}

impl Normalisation {
    /// Normalises every row in place.
    pub fn apply(&self, rows: &mut Rows) {
        let width = rows.width();
        for row in rows.values_mut().chunks_exact_mut(width) {
            for ((value, mean), std) in row.iter_mut().zip(&self.mean).zip(&self.std) {
                *value = (*value - mean) / std;
            }
        }
    }
}

impl Manifest {
    /// Whether the parts fit each other; the text says what does not.
    pub fn check(&self) -> Result<(), String> {
        let width = self.features.len();
        let lengths = [
            ("normalisation.mean", self.normalisation.mean.len(), width),
            ("normalisation.std", self.normalisation.std.len(), width),
            ("reference.features", self.reference.features.len(), width),
        ];
        for (field, actual, expected) in lengths {
            if actual != expected {
                return Err(format!(
                    "{field} has {actual} values for {expected} features"
                ));
            }
        }
        let profiled = self.reference.features.iter().map(|profile| &profile.name);
        if !profiled.eq(&self.features) {
            return Err("reference.features are not the features in their order".to_owned());
        }
        if width == 0 || self.classes.len() < 2 {
            return Err("a model needs features and at least two classes".to_owned());
        }
        let mut numbers = self
            .normalisation
            .mean
            .iter()
            .chain(&self.normalisation.std);
        if numbers.any(|number| !number.is_finite()) || self.normalisation.std.contains(&0.0) {
            return Err("normalisation holds a value that cannot be used".to_owned());
        }
        Ok(())
    }

    /// Values per row at the input and after each layer.
    pub fn widths(&self) -> Vec<usize> {
        self.hyperparameters
            .widths(self.features.len(), self.classes.len())
    }
}
