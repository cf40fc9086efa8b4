//! How far the inputs and answers of a model are from the reference profile of its training.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::finite;
use crate::store::MetricStore;

/// Comparisons of one model.
const MAX_INPUTS: usize = 400;

/// One comparison: a feature, the confidence or the label, by one method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputReport {
    pub feature: String,
    pub method: String,
    pub variant: String,
    pub version: String,
    pub score: f64,
    /// A larger score is drift; none where the method only informs.
    pub threshold: Option<f64>,
    /// Whether the score is above the threshold.
    pub drifts: bool,
    /// What the method measures.
    pub meaning: String,
    /// What the score means.
    pub verdict: String,
    /// Scores of the windows before, the oldest first: nanoseconds since 1970 and the value.
    pub history: Vec<(u64, f64)>,
}

/// By feature, method, variant and version.
pub(super) fn inputs(metrics: &MetricStore, model: &str) -> Vec<InputReport> {
    let thresholds: BTreeMap<String, f64> = metrics
        .series("ml.drift.threshold")
        .into_iter()
        .filter_map(|series| Some((key(&series.attributes), series.point.number()?)))
        .collect();
    let scores = metrics.history("ml.drift.score").into_iter();
    let of_model = scores.filter(|series| text(&series.attributes, "model.name") == model);
    let mut inputs: Vec<_> = of_model
        .filter_map(|series| {
            let history: Vec<_> = series
                .points
                .iter()
                .filter_map(|point| Some((point.time, finite(point.number()?)?)))
                .collect();
            let (_, score) = *history.last()?;
            let threshold = thresholds.get(&key(&series.attributes)).copied();
            Some(report(&series.attributes, score, threshold, history))
        })
        .collect();
    inputs.sort_by(|a, b| {
        let order = |input: &InputReport| {
            (
                input.feature.clone(),
                input.method.clone(),
                input.variant.clone(),
                input.version.clone(),
            )
        };
        order(a).cmp(&order(b))
    });
    inputs.truncate(MAX_INPUTS);
    inputs
}

fn report(
    attributes: &Map<String, Value>,
    score: f64,
    threshold: Option<f64>,
    history: Vec<(u64, f64)>,
) -> InputReport {
    let text = |key: &str| text(attributes, key).chars().take(160).collect::<String>();
    let method = text("ml.drift.method");
    let drifts = threshold.is_some_and(|threshold| score > threshold);
    let verdict = match threshold {
        Some(threshold) if drifts => {
            format!("{score:.3} is above the threshold {threshold:.3}: it drifts")
        }
        Some(threshold) => format!("{score:.3} is within the threshold {threshold:.3}"),
        None => format!("{score:.3}; it has no threshold and only informs"),
    };
    InputReport {
        feature: text("ml.feature.name"),
        meaning: meaning(&method).to_owned(),
        method,
        variant: text("ml.variant"),
        version: text("ml.model_version"),
        score,
        threshold,
        drifts,
        verdict,
        history,
    }
}

/// A method of docs/drift.md in words.
fn meaning(method: &str) -> &'static str {
    match method {
        "psi" => "population stability index over the deciles of the training",
        "ks_d" => "largest gap between both distributions (Kolmogorov–Smirnov)",
        "js_distance_base2" => "Jensen–Shannon distance, 0 the same and 1 nothing in common",
        "out_of_range_share" => "share of values beyond the smallest and largest of the training",
        "missing_share" => "share of missing values",
        _ => "a method that this page does not know",
    }
}

/// What a score and its threshold have in common.
fn key(attributes: &Map<String, Value>) -> String {
    Value::from(attributes.clone()).to_string()
}

fn text<'a>(attributes: &'a Map<String, Value>, key: &str) -> &'a str {
    attributes
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
}
