//! The metrics and the events of drift.

use std::sync::LazyLock;

use telemetry::metrics::{Counter, Gauge, counter, gauge};
use telemetry::{KeyValue, attr};

use super::score::{Score, ScoredWindow};
use crate::repository::Manifest;

static SCORE: LazyLock<Gauge<f64>> = LazyLock::new(|| {
    let description = "How far the last window is from the reference of the training";
    gauge(attr::metric::ML_DRIFT_SCORE, "1", description)
});
static THRESHOLD: LazyLock<Gauge<f64>> = LazyLock::new(|| {
    let description = "What the score of the last window must not exceed";
    gauge(attr::metric::ML_DRIFT_THRESHOLD, "1", description)
});
static DROPPED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let description = "Rows that were answered and are in no window";
    counter(attr::metric::ML_DRIFT_DROPPED, "{row}", description)
});

/// Counts rows for which there was no room.
pub(super) fn dropped(manifest: &Manifest, rows: usize) {
    DROPPED.add(rows as u64, &[model(manifest)]);
}

pub(super) fn record(window: &ScoredWindow, manifest: &Manifest, variant: &str) {
    // So that a dashboard has the series before the first loss.
    dropped(manifest, 0);
    for score in &window.scores {
        let attributes = [
            model(manifest),
            KeyValue::new(attr::ML_MODEL_VERSION, manifest.version.clone()),
            KeyValue::new(attr::ML_VARIANT, variant.to_owned()),
            KeyValue::new(attr::ML_FEATURE_NAME, score.feature.clone()),
            KeyValue::new(attr::ML_DRIFT_METHOD, score.method.as_str()),
        ];
        SCORE.record(score.value, &attributes);
        if let Some(threshold) = score.threshold {
            THRESHOLD.record(threshold, &attributes);
        }
    }
}

/// Logs drift. The lists of its fields are in the same order, the largest excess first.
pub(super) fn log_detected(window: &ScoredWindow, manifest: &Manifest, variant: &str) {
    let mut drifted: Vec<&Score> = window
        .scores
        .iter()
        .filter(|score| score.is_drift())
        .collect();
    drifted.sort_by(|one, other| other.excess().total_cmp(&one.excess()));
    let list = |text: &dyn Fn(&Score) -> String| {
        let texts: Vec<String> = drifted.iter().map(|score| text(score)).collect();
        texts.join(",")
    };
    let (features, methods) = (
        list(&|score| score.feature.to_string()),
        list(&|score| score.method.as_str().to_owned()),
    );
    let scores = list(&|score| format!("{:.4}", score.value));
    let thresholds = list(&|score| format!("{:.4}", score.threshold.unwrap_or_default()));
    let (name, version) = (&*manifest.name, &*manifest.version);
    tracing::warn!(
        name: "ml.drift_detected",
        {
            "ml.model_name" = name,
            "ml.model_version" = version,
            "ml.run_id" = &*manifest.run_id,
            "ml.variant" = variant,
            "ml.drift_detected" = true,
            "ml.drift.features" = features,
            "ml.drift.methods" = methods,
            "ml.drift.scores" = scores,
            "ml.drift.thresholds" = thresholds,
            "ml.drift.window.number" = window.number,
            "ml.drift.window.rows" = window.rows as u64,
            "ml.drift.trace_ids" = window.trace_ids.join(","),
        },
        "{name} version {version} drifts from its training data: {}",
        headline(&drifted)
    );
}

pub(super) fn log_ended(window: &ScoredWindow, manifest: &Manifest, variant: &str) {
    let (name, version) = (&*manifest.name, &*manifest.version);
    tracing::info!(
        name: "ml.drift_ended",
        {
            "ml.model_name" = name,
            "ml.model_version" = version,
            "ml.run_id" = &*manifest.run_id,
            "ml.variant" = variant,
            "ml.drift_detected" = false,
            "ml.drift.window.number" = window.number,
            "ml.drift.window.rows" = window.rows as u64,
        },
        "{name} version {version} is again like its training data"
    );
}

/// The largest excess in words, and how many others there are.
fn headline(drifted: &[&Score]) -> String {
    let Some((first, others)) = drifted.split_first() else {
        return String::new();
    };
    let (feature, method, score) = (&first.feature, first.method.as_str(), first.value);
    let threshold = first.threshold.unwrap_or_default();
    let text = format!("{feature} has {method} {score:.3}, above {threshold:.3}");
    match others.len() {
        0 => text,
        more => format!("{text}, and {more} more"),
    }
}

fn model(manifest: &Manifest) -> KeyValue {
    KeyValue::new(attr::MODEL_NAME, manifest.name.clone())
}
