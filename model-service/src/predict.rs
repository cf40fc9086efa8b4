//! The predictions for one request: the span `predict …` with its stages, and the metrics.

mod instruments;
mod texts;

use std::sync::Arc;
use std::time::Duration;

use protocol::RowErrorCode;
use runtime::Deadline;
use telemetry::{KeyValue, Span, attr};

use crate::engine::{ComputeTask, Engine, EngineError};
use crate::feature_rows::FeatureRows;
use crate::model::{Batch, Probabilities, Rows, most_likely};
use crate::repository::{FRAMEWORK, Loaded};
use instruments::ModelCall;

/// Computes predictions and records them.
#[derive(Debug)]
pub(crate) struct Predictor {
    engine: Engine,
    variant: String,
    capture_text: bool,
}

/// The predictions for the rows of a request, in their order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BatchPrediction {
    /// Why a row has no prediction; `None` for rows with one.
    pub(crate) errors: Vec<Option<RowErrorCode>>,
    /// Class per row; `None` for rows with an error.
    pub(crate) classes: Vec<Option<usize>>,
    /// Probability of the class per row; 0 for rows with an error.
    pub(crate) confidences: Vec<f32>,
    /// Row-major, one per class; 0 for rows with an error.
    pub(crate) probabilities: Vec<f32>,
    /// The `predict …` span as a `traceparent` value, for links from later hits.
    pub(crate) traceparent: Option<String>,
    pub(crate) timing: Option<ComputeTiming>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ComputeTiming {
    pub(crate) queue: Duration,
    pub(crate) compute: Duration,
}

impl Predictor {
    pub(crate) fn new(engine: Engine, variant: String, capture_text: bool) -> Self {
        Self {
            engine,
            variant,
            capture_text,
        }
    }

    /// Predicts the good rows. `data_id` is the entity of a request for a single one.
    pub(crate) async fn predict(
        &self,
        loaded: &Arc<Loaded>,
        mut features: FeatureRows,
        data_id: Option<&str>,
        deadline: Deadline,
    ) -> Result<BatchPrediction, EngineError> {
        let call = ModelCall::begin(&loaded.manifest, &self.variant);
        call.record_missing(&features.missing);
        if features.values.is_empty() {
            let classes = loaded.manifest.classes.len();
            return Ok(BatchPrediction::without_result(features.errors, classes));
        }
        let span = start_span(loaded, &self.variant, features.len(), data_id);
        let values = std::mem::take(&mut features.values);
        let rows = span.in_scope(|| preprocess(loaded, values, &call));
        // `FeatureRows` has whole rows of the model's width, and a model without features is not
        // loaded.
        let rows = rows.ok_or(EngineError::Panicked)?;
        let errors = features.errors;
        self.compute(loaded, Batch::Rows(rows), errors, span, call, deadline)
            .await
    }

    /// Computes the good rows, `batch`, and puts them between the `errors` of the others.
    async fn compute(
        &self,
        loaded: &Arc<Loaded>,
        batch: Batch,
        errors: Vec<Option<RowErrorCode>>,
        span: Span,
        call: ModelCall<'_>,
        deadline: Deadline,
    ) -> Result<BatchPrediction, EngineError> {
        let task = ComputeTask {
            loaded: Arc::clone(loaded),
            batch,
            deadline,
            context: span.context(),
        };
        let output = self.engine.compute(task).await;
        span.in_scope(|| call.end(output.is_ok()));
        let output = output.inspect_err(|error| span.fail(error, error.error_type()))?;
        let mut prediction =
            span.in_scope(|| postprocess(loaded, &errors, &output.probabilities, &call));
        if let ([Some(class)], [confidence]) =
            (&prediction.classes[..], &prediction.confidences[..])
        {
            span.set(
                attr::ML_OUTPUT_LABEL,
                loaded.manifest.classes[*class].clone(),
            );
            span.set(attr::ML_OUTPUT_CONFIDENCE, f64::from(*confidence));
        }
        prediction.traceparent = span.span_ref().map(|span| span.traceparent());
        prediction.timing = Some(ComputeTiming {
            queue: output.queue,
            compute: output.compute,
        });
        Ok(prediction)
    }
}

fn preprocess(loaded: &Loaded, values: Vec<f32>, call: &ModelCall<'_>) -> Option<Rows> {
    let _stage = Span::start("preprocess_input", Vec::new());
    call.record_out_of_range(&values);
    let mut rows = Rows::new(values, loaded.manifest.features.len())?;
    if let Some(normalisation) = &loaded.manifest.normalisation {
        normalisation.apply(&mut rows);
    }
    Some(rows)
}

fn postprocess(
    loaded: &Loaded,
    errors: &[Option<RowErrorCode>],
    probabilities: &Probabilities,
    call: &ModelCall<'_>,
) -> BatchPrediction {
    let _stage = Span::start("postprocess_output", Vec::new());
    let prediction = BatchPrediction::collect(errors, probabilities, loaded.manifest.classes.len());
    call.record_predictions(&prediction);
    prediction
}

fn start_span(loaded: &Loaded, variant: &str, rows: usize, data_id: Option<&str>) -> Span {
    let manifest = &loaded.manifest;
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    let mut attributes = Vec::with_capacity(8);
    attributes.extend([
        KeyValue::new(attr::ML_MODEL_NAME, manifest.name.clone()),
        KeyValue::new(attr::ML_MODEL_VERSION, manifest.version.clone()),
        KeyValue::new(attr::ML_RUN_ID, manifest.run_id.clone()),
        KeyValue::new(attr::ML_VARIANT, variant.to_owned()),
        KeyValue::new(attr::ML_BATCH_SIZE, rows),
        KeyValue::new(attr::ML_FRAMEWORK, FRAMEWORK),
        KeyValue::new(attr::ML_DEVICE, "cpu"),
    ]);
    attributes.extend(data_id.map(|id| KeyValue::new(attr::ML_DATA_ID, id.to_owned())));
    Span::start(format!("predict {}", manifest.name), attributes)
}

impl BatchPrediction {
    /// Assigns the computed rows to the good rows of the request. A row whose computation
    /// overflowed has an error, too, and costs the other rows nothing.
    fn collect(
        errors: &[Option<RowErrorCode>],
        probabilities: &Probabilities,
        classes: usize,
    ) -> Self {
        let mut computed = probabilities.rows();
        let mut prediction = Self::with_capacity(errors.len(), classes);
        for error in errors {
            let row = match error {
                Some(error) => Err(*error),
                None => computed
                    .next()
                    .filter(|row| row.iter().all(|value| value.is_finite()))
                    .ok_or(RowErrorCode::OutOfRange),
            };
            prediction.push(row, classes);
        }
        prediction
    }

    /// For a request without a good row, which the model is not asked for.
    fn without_result(errors: Vec<Option<RowErrorCode>>, classes: usize) -> Self {
        let rows = errors.len();
        Self {
            errors,
            classes: vec![None; rows],
            confidences: vec![0.0; rows],
            probabilities: vec![0.0; rows * classes],
            traceparent: None,
            timing: None,
        }
    }

    fn with_capacity(rows: usize, classes: usize) -> Self {
        Self {
            errors: Vec::with_capacity(rows),
            classes: Vec::with_capacity(rows),
            confidences: Vec::with_capacity(rows),
            probabilities: Vec::with_capacity(rows * classes),
            traceparent: None,
            timing: None,
        }
    }

    fn push(&mut self, row: Result<&[f32], RowErrorCode>, classes: usize) {
        self.errors.push(row.err());
        if let Ok(row) = row {
            let (class, confidence) = most_likely(row);
            self.classes.push(Some(class));
            self.confidences.push(confidence);
            self.probabilities.extend_from_slice(row);
        } else {
            self.classes.push(None);
            self.confidences.push(0.0);
            self.probabilities.extend(std::iter::repeat_n(0.0, classes));
        }
    }
}
