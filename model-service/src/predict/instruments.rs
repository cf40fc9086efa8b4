//! The metrics of predictions. Attribute values come from manifests and configuration, never from
//! requests, so those of each request are bound: the SDK looks their attributes up once for a version.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use telemetry::metrics::{COMPUTE_SECONDS, Counter, Histogram, counter, histogram};
use telemetry::{KeyValue, attr};

use super::BatchPrediction;
use crate::repository::Loaded;

/// One call of a model, timed from its beginning.
pub(super) struct ModelCall<'a> {
    loaded: &'a Loaded,
    variant: &'a Arc<str>,
    begin: Instant,
}

impl<'a> ModelCall<'a> {
    pub(super) fn begin(loaded: &'a Loaded, variant: &'a Arc<str>) -> Self {
        Self {
            loaded,
            variant,
            begin: Instant::now(),
        }
    }

    /// Records the end of the inference. Called inside its span, so that exemplars can point there.
    pub(super) fn end(&self, success: bool) {
        let (calls, latency) = self.loaded.names.calls[usize::from(success)].get_or_init(|| {
            let version = Arc::clone(&self.loaded.names.version);
            let attributes = [
                self.model(),
                KeyValue::new(attr::ML_MODEL_VERSION, version),
                // A process has one.
                KeyValue::new(attr::ML_VARIANT, Arc::clone(self.variant)),
                KeyValue::new(attr::SUCCESS, success),
            ];
            (CALLS.bind(&attributes), LATENCY.bind(&attributes))
        });
        calls.add(1);
        latency.record(self.begin.elapsed().as_secs_f64());
    }

    pub(super) fn record_missing(&self, counts: &[u64]) {
        self.count(&MISSING, counts.iter().copied());
    }

    /// Counts the categories that the model was not trained on.
    pub(super) fn record_unknown(&self, counts: &[u64]) {
        self.count(&OUT_OF_RANGE, counts.iter().copied());
    }

    /// Counts the raw values outside the range of the training part.
    pub(super) fn record_out_of_range(&self, values: &[f32]) {
        let profiles = &self.loaded.manifest.reference.features;
        let counts = profiles.iter().enumerate().map(|(at, profile)| {
            // In f32, the precision of the model's inputs: JSON may change the last bit of an f64.
            let (min, max) = (profile.min as f32, profile.max as f32);
            let column = values.iter().skip(at).step_by(profiles.len());
            let outside = column.filter(|value| **value < min || **value > max);
            outside.count() as u64
        });
        self.count(&OUT_OF_RANGE, counts);
    }

    pub(super) fn record_predictions(&self, prediction: &BatchPrediction) {
        let labels = &self.loaded.names.labels;
        // Counted first: one addition per class, however many rows there are.
        let mut counts = vec![0; labels.len()];
        for (class, confidence) in prediction.classes.iter().zip(&prediction.confidences) {
            let Some(class) = *class else { continue };
            counts[class] += 1;
            let label = &labels[class];
            let bound = || CONFIDENCE.bind(&label.attributes);
            let confidences = label.confidences.get_or_init(bound);
            confidences.record(f64::from(*confidence));
        }
        let counts = labels.iter().zip(counts);
        for (label, count) in counts.filter(|(_, count)| *count > 0) {
            let bound = || LABELS.bind(&label.attributes);
            label.predictions.get_or_init(bound).add(count);
        }
    }

    fn count(&self, counter: &Counter<u64>, counts: impl Iterator<Item = u64>) {
        let counts = self.loaded.manifest.features.iter().zip(counts);
        for (feature, count) in counts.filter(|(_, count)| *count > 0) {
            let feature = KeyValue::new(attr::ML_FEATURE_NAME, feature.clone());
            counter.add(count, &[self.model(), feature]);
        }
    }

    fn model(&self) -> KeyValue {
        KeyValue::new(attr::MODEL_NAME, Arc::clone(&self.loaded.names.model))
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
