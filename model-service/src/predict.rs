//! The predictions for one request: the span `predict …` with its stages, and the metrics.

mod instruments;
mod texts;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use protocol::RowErrorCode;
use runtime::Deadline;
use telemetry::{KeyValue, Span, attr};

use crate::drift::{DriftMonitor, Inputs, Outputs};
use crate::engine::{ComputeTask, Engine, EngineError};
use crate::feature_rows::FeatureRows;
use crate::model::{Batch, Probabilities, Rows, most_likely};
use crate::repository::{FRAMEWORK, Loaded, Manifest};
use instruments::ModelCall;

/// Computes predictions and records them.
#[derive(Debug)]
pub(crate) struct Predictor {
    engine: Engine,
    drift: Arc<DriftMonitor>,
    variant: Arc<str>,
    capture_text: bool,
}

/// The predictions for the rows of a request, in their order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BatchPrediction {
    /// Why a row has no prediction; `None` for rows with one.
    pub(crate) errors: Vec<Option<RowErrorCode>>,
    /// Class per row; `None` for rows with an error, and for numbers and vectors.
    pub(crate) classes: Vec<Option<usize>>,
    /// Probability of the class per row; 0 for rows without a class.
    pub(crate) confidences: Vec<f32>,
    /// Row-major, one per class, or the numbers of a regression or of vectors; 0 for rows with an
    /// error.
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
    pub(crate) fn new(
        engine: Engine,
        drift: Arc<DriftMonitor>,
        variant: String,
        capture_text: bool,
    ) -> Self {
        Self {
            engine,
            drift,
            variant: variant.into(),
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
        let call = ModelCall::begin(loaded, &self.variant);
        call.record_missing(&features.missing);
        call.record_unknown(&loaded.encoding.take_unknown(&mut features));
        let inputs = Inputs::of_table(&features);
        if features.values.is_empty() {
            self.drift.observe(loaded, inputs, Outputs::default());
            let width = loaded.manifest.outputs();
            return Ok(BatchPrediction::without_result(features.errors, width));
        }
        let span = start_span(loaded, &self.variant, features.len(), data_id);
        let values = std::mem::take(&mut features.values);
        let rows = span.in_scope(|| preprocess(loaded, values, &call));
        // `FeatureRows` has whole rows of the model's width, and a model without features is not
        // loaded.
        let rows = rows.ok_or(EngineError::Panicked)?;
        let errors = features.errors;
        let prediction = self.compute(loaded, Batch::Rows(rows), errors, span, call, deadline);
        let prediction = prediction.await?;
        let outputs = prediction.outputs(&loaded.manifest);
        self.drift.observe(loaded, inputs, outputs);
        Ok(prediction)
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
        if self.drift.is_drifting(&loaded.manifest) {
            span.set(attr::ML_DRIFT_DETECTED, true);
        }
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
            span.in_scope(|| postprocess(loaded, errors, &output.probabilities, &call));
        if let ([Some(class)], [confidence]) =
            (&prediction.classes[..], &prediction.confidences[..])
        {
            let label = Arc::clone(&loaded.names.labels[*class].text);
            span.set(attr::ML_OUTPUT_LABEL, label);
            span.set(attr::ML_OUTPUT_CONFIDENCE, f64::from(*confidence));
        }
        if let ([None], [value], Some(_)) = (
            &prediction.errors[..],
            &prediction.probabilities[..],
            &loaded.manifest.regression,
        ) {
            span.set(attr::ML_OUTPUT_VALUE, f64::from(*value));
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
    let normalisation = loaded.manifest.normalisation.as_ref()?;
    loaded.encoding.inputs(values, normalisation)
}

fn postprocess(
    loaded: &Loaded,
    errors: Vec<Option<RowErrorCode>>,
    probabilities: &Probabilities,
    call: &ModelCall<'_>,
) -> BatchPrediction {
    let _stage = Span::start("postprocess_output", Vec::new());
    let prediction = BatchPrediction::collect(errors, probabilities, &loaded.manifest);
    call.record_predictions(&prediction);
    prediction
}

/// Attributes that a prediction's span has at most, with those of the end.
const MAX_ATTRIBUTES: usize = 11;

fn start_span(loaded: &Loaded, variant: &Arc<str>, rows: usize, data_id: Option<&str>) -> Span {
    let names = &loaded.names;
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    let mut attributes = Vec::with_capacity(MAX_ATTRIBUTES);
    attributes.extend([
        KeyValue::new(attr::ML_MODEL_NAME, Arc::clone(&names.model)),
        KeyValue::new(attr::ML_MODEL_VERSION, Arc::clone(&names.version)),
        KeyValue::new(attr::ML_RUN_ID, Arc::clone(&names.run_id)),
        KeyValue::new(attr::ML_VARIANT, Arc::clone(variant)),
        KeyValue::new(attr::ML_BATCH_SIZE, rows),
        KeyValue::new(attr::ML_FRAMEWORK, FRAMEWORK),
        KeyValue::new(attr::ML_DEVICE, "cpu"),
    ]);
    attributes.extend(data_id.map(|id| KeyValue::new(attr::ML_DATA_ID, id.to_owned())));
    // From a prediction to the run, and so to the data, of its model.
    let run = vec![KeyValue::new(attr::ML_RUN_ID, Arc::clone(&names.run_id))];
    let name = names.predict_span.clone();
    Span::start_with_described_link(name, attributes, names.training.as_ref(), run)
}

impl BatchPrediction {
    /// Assigns the computed rows to the good rows of the request. A row whose computation
    /// overflowed has an error, too, and costs the other rows nothing.
    fn collect(
        mut errors: Vec<Option<RowErrorCode>>,
        probabilities: &Probabilities,
        manifest: &Manifest,
    ) -> Self {
        let mut computed = probabilities.rows();
        let mut prediction = Self::with_capacity(errors.len(), manifest.outputs());
        for error in &mut errors {
            let row = match error {
                Some(error) => Err(*error),
                None => computed
                    .next()
                    .filter(|row| row.iter().all(|value| value.is_finite()))
                    .ok_or(RowErrorCode::OutOfRange),
            };
            *error = match (&manifest.regression, manifest.embedding()) {
                (Some(scale), _) => prediction.push_number(row.and_then(|row| scale.number(row))),
                (None, Some(width)) => prediction.push_vector(row, width),
                (None, None) => prediction.push(row, manifest),
            };
        }
        prediction.errors = errors;
        prediction
    }

    /// What drift compares: of the rows that have a prediction class and confidence, or the number.
    fn outputs(&self, manifest: &Manifest) -> Outputs {
        if manifest.regression.is_some() {
            let rows = self.probabilities.iter().zip(&self.errors);
            let good = rows.filter(|(_, error)| error.is_none());
            return Outputs {
                classes: Vec::new(),
                values: good.map(|(number, _)| *number).collect(),
            };
        }
        let rows = self.classes.iter().zip(&self.confidences);
        let predicted = rows.filter_map(|(class, confidence)| Some(((*class)?, *confidence)));
        let (classes, values) = predicted.unzip();
        Outputs { classes, values }
    }

    /// For a request without a good row, which the model is not asked for.
    fn without_result(errors: Vec<Option<RowErrorCode>>, width: usize) -> Self {
        let rows = errors.len();
        Self {
            errors,
            classes: vec![None; rows],
            confidences: vec![0.0; rows],
            probabilities: vec![0.0; rows * width],
            traceparent: None,
            timing: None,
        }
    }

    /// Room for what the rows are answered, without their errors. The other functions add a row and
    /// return its error.
    fn with_capacity(rows: usize, width: usize) -> Self {
        Self {
            errors: Vec::new(),
            classes: Vec::with_capacity(rows),
            confidences: Vec::with_capacity(rows),
            probabilities: Vec::with_capacity(rows * width),
            traceparent: None,
            timing: None,
        }
    }

    fn push_number(&mut self, number: Result<f32, RowErrorCode>) -> Option<RowErrorCode> {
        self.classes.push(None);
        self.confidences.push(0.0);
        self.probabilities.push(number.unwrap_or(0.0));
        number.err()
    }

    fn push_vector(
        &mut self,
        row: Result<&[f32], RowErrorCode>,
        width: usize,
    ) -> Option<RowErrorCode> {
        self.classes.push(None);
        self.confidences.push(0.0);
        match row {
            Ok(row) => self.probabilities.extend_from_slice(row),
            Err(_) => self.probabilities.extend(std::iter::repeat_n(0.0, width)),
        }
        row.err()
    }

    fn push(
        &mut self,
        row: Result<&[f32], RowErrorCode>,
        manifest: &Manifest,
    ) -> Option<RowErrorCode> {
        if let Ok(row) = row {
            // The class is that of the model itself, whatever the calibration rounds.
            let (class, _) = most_likely(row);
            let start = self.probabilities.len();
            self.probabilities.extend_from_slice(row);
            let row = &mut self.probabilities[start..];
            if let Some(calibration) = &manifest.calibration {
                calibration.apply(row);
            }
            self.classes.push(Some(class));
            self.confidences.push(row[class]);
        } else {
            let classes = manifest.classes.len();
            self.classes.push(None);
            self.confidences.push(0.0);
            self.probabilities.extend(std::iter::repeat_n(0.0, classes));
        }
        row.err()
    }
}
