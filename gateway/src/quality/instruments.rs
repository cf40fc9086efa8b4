//! The metrics of quality.

use std::sync::LazyLock;

use telemetry::metrics::{Counter, Gauge, counter, gauge};
use telemetry::{KeyValue, attr};

use super::{Recorded, Sums};
use crate::store::Key;

static ACCURACY: LazyLock<Gauge<f64>> = LazyLock::new(|| {
    let description = "Share of the last window's true labels that were predicted";
    gauge(attr::metric::ML_QUALITY_ACCURACY, "1", description)
});
static ESTIMATED_ACCURACY: LazyLock<Gauge<f64>> = LazyLock::new(|| {
    let description = "Mean confidence of the last window's predictions";
    let name = attr::metric::ML_QUALITY_ESTIMATED_ACCURACY;
    gauge(name, "1", description)
});
static ABSOLUTE_ERROR: LazyLock<Gauge<f64>> = LazyLock::new(|| {
    let description = "Mean absolute error of a regression in its last window";
    gauge(attr::metric::ML_QUALITY_ABSOLUTE_ERROR, "1", description)
});
static FEEDBACK: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let description = "Feedback about predictions, by result";
    counter(attr::metric::ML_QUALITY_FEEDBACK, "{feedback}", description)
});

/// Counts a piece of feedback.
pub(super) fn count(key: &Key, recorded: Recorded) {
    let [model, version, variant] = attributes(key);
    let result = KeyValue::new(attr::ML_QUALITY_RESULT, recorded.as_str());
    FEEDBACK.add(1, &[model, version, variant, result]);
}

/// Measures the last window of a version.
pub(super) fn window(key: &Key, sums: &Sums) {
    let attributes = attributes(key);
    for (gauge, value) in [
        (&ACCURACY, sums.accuracy()),
        (&ESTIMATED_ACCURACY, sums.estimated_accuracy()),
        (&ABSOLUTE_ERROR, sums.mean_absolute_error()),
    ] {
        if let Some(value) = value {
            gauge.record(value, &attributes);
        }
    }
}

fn attributes(key: &Key) -> [KeyValue; 3] {
    [
        KeyValue::new(attr::MODEL_NAME, key.model.clone()),
        KeyValue::new(attr::ML_MODEL_VERSION, key.version.clone()),
        KeyValue::new(attr::ML_VARIANT, key.variant.clone()),
    ]
}
