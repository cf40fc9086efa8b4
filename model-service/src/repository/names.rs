//! What the spans, metrics and answers of a version repeat: made once and shared, so that a request
//! copies none of it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use telemetry::metrics::{BoundCounter, BoundHistogram};
use telemetry::{KeyValue, SpanRef, attr};

use super::Manifest;

#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) model: Arc<str>,
    pub(crate) version: Arc<str>,
    pub(crate) run_id: Arc<str>,
    /// The span of the training, if it was traced.
    pub(crate) training: Option<SpanRef>,
    /// Name of the span around a prediction.
    pub(crate) predict_span: String,
    /// The classes in the order of the probabilities.
    pub(crate) labels: Vec<Label>,
    /// Metrics of the calls that fail and of those that succeed, each bound by the first one.
    pub(crate) calls: [OnceLock<(BoundCounter<u64>, BoundHistogram<f64>)>; 2],
}

#[derive(Debug)]
pub(crate) struct Label {
    pub(crate) text: Arc<str>,
    /// The same as an element of an answer.
    pub(crate) bytes: Bytes,
    /// Of metrics by class.
    pub(crate) attributes: [KeyValue; 3],
    /// Metrics with these attributes, bound by the first prediction of the class.
    pub(crate) predictions: OnceLock<BoundCounter<u64>>,
    pub(crate) confidences: OnceLock<BoundHistogram<f64>>,
}

impl Names {
    pub(super) fn of(manifest: &Manifest) -> Self {
        let model: Arc<str> = manifest.name.as_str().into();
        let version: Arc<str> = manifest.version.as_str().into();
        let label = |class: &String| Label::new(class.as_str().into(), &model, &version);
        Self {
            run_id: manifest.run_id.as_str().into(),
            training: manifest.training_span(),
            predict_span: format!("predict {model}"),
            labels: manifest.classes.iter().map(label).collect(),
            calls: [const { OnceLock::new() }; 2],
            model,
            version,
        }
    }
}

impl Label {
    fn new(text: Arc<str>, model: &Arc<str>, version: &Arc<str>) -> Self {
        Self {
            bytes: Bytes::copy_from_slice(text.as_bytes()),
            attributes: [
                KeyValue::new(attr::MODEL_NAME, Arc::clone(model)),
                KeyValue::new(attr::ML_MODEL_VERSION, Arc::clone(version)),
                KeyValue::new(attr::ML_OUTPUT_LABEL, Arc::clone(&text)),
            ],
            predictions: OnceLock::new(),
            confidences: OnceLock::new(),
            text,
        }
    }
}
