//! The metrics of predictions. Attribute values come from manifests and configuration, never from
//! requests.

use std::sync::LazyLock;
use std::time::Instant;

use telemetry::metrics::{COMPUTE_SECONDS, Counter, Histogram, counter, histogram};
use telemetry::{KeyValue, attr};

use super::BatchPrediction;
use crate::repository::Manifest;

/// One call of a model, timed from its beginning.
pub(super) struct ModelCall<'a> {
    manifest: &'a Manifest,
    variant: &'a str,
    begin: Instant,
}

impl<'a> ModelCall<'a> {
    pub(super) fn begin(manifest: &'a Manifest, variant: &'a str) -> Self {
        Self {
            manifest,
            variant,
            begin: Instant::now(),
        }
    }

    /// Records the end of the inference. Called inside its span, so that exemplars can point there.
    pub(super) fn end(&self, success: bool) {
        let attributes = [
            self.model(),
            self.version(),
            KeyValue::new(attr::ML_VARIANT, self.variant.to_owned()),
            KeyValue::new(attr::SUCCESS, success),
        ];
        CALLS.add(1, &attributes);
        LATENCY.record(self.begin.elapsed().as_secs_f64(), &attributes);
    }

    pub(super) fn record_missing(&self, counts: &[u64]) {
        self.count(&MISSING, counts);
    }

    /// Counts the categories that the model was not trained on.
    pub(super) fn record_unknown(&self, counts: &[u64]) {
        self.count(&OUT_OF_RANGE, counts);
    }

    /// Counts the raw values outside the range of the training part.
    pub(super) fn record_out_of_range(&self, values: &[f32]) {
        let profiles = &self.manifest.reference.features;
        let mut counts = vec![0; profiles.len()];
        for row in values.chunks_exact(profiles.len()) {
            for ((value, profile), count) in row.iter().zip(profiles).zip(&mut counts) {
                // In f32, the precision of the model's inputs: JSON may change the last bit of an
                // f64.
                let outside = *value < profile.min as f32 || *value > profile.max as f32;
                *count += u64::from(outside);
            }
        }
        self.count(&OUT_OF_RANGE, &counts);
    }

    pub(super) fn record_predictions(&self, prediction: &BatchPrediction) {
        let classes = &self.manifest.classes;
        // One set of attributes per class, however many rows there are.
        let mut labels: Vec<Option<(u64, [KeyValue; 3])>> = vec![None; classes.len()];
        for (class, confidence) in prediction.classes.iter().zip(&prediction.confidences) {
            let Some(class) = *class else { continue };
            let (count, attributes) =
                labels[class].get_or_insert_with(|| (0, self.with_label(class)));
            *count += 1;
            CONFIDENCE.record(f64::from(*confidence), attributes);
        }
        for (count, attributes) in labels.into_iter().flatten() {
            LABELS.add(count, &attributes);
        }
    }

    fn count(&self, counter: &Counter<u64>, counts: &[u64]) {
        let counts = self.manifest.features.iter().zip(counts);
        for (feature, count) in counts.filter(|(_, count)| **count > 0) {
            let feature = KeyValue::new(attr::ML_FEATURE_NAME, feature.clone());
            counter.add(*count, &[self.model(), feature]);
        }
    }

    fn with_label(&self, class: usize) -> [KeyValue; 3] {
        let label = self.manifest.classes[class].clone();
        let label = KeyValue::new(attr::ML_OUTPUT_LABEL, label);
        [self.model(), self.version(), label]
    }

    fn model(&self) -> KeyValue {
        KeyValue::new(attr::MODEL_NAME, self.manifest.name.clone())
    }

    fn version(&self) -> KeyValue {
        KeyValue::new(attr::ML_MODEL_VERSION, self.manifest.version.clone())
    }
}

static CALLS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        attr::metric::AI_INFERENCE_CALLS,
        "{call}",
        "Inference calls",
    )
});
static LATENCY: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    let description = "Duration of inference calls, from the features to the probabilities";
    histogram(
        attr::metric::AI_INFERENCE_LATENCY,
        "s",
        description,
        COMPUTE_SECONDS,
    )
});
static CONFIDENCE: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    let boundaries: Vec<f64> = (1..20).map(|step| f64::from(step) / 20.0).collect();
    let description = "Probability of the predicted class";
    histogram(
        attr::metric::ML_PREDICTION_CONFIDENCE,
        "1",
        description,
        boundaries,
    )
});
static LABELS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        attr::metric::ML_PREDICTION_LABELS,
        "{prediction}",
        "Predictions by class",
    )
});
static MISSING: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        attr::metric::ML_INPUT_MISSING,
        "{value}",
        "Missing input values by feature",
    )
});
static OUT_OF_RANGE: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let description = "Input values outside the range of the training data by feature";
    counter(attr::metric::ML_INPUT_OUT_OF_RANGE, "{value}", description)
});
