//! One prediction: the span `predict …` with its stages, and what is counted about it.

mod instruments;

use std::time::Duration;

use runtime::Deadline;
use telemetry::{KeyValue, Span, attr};

use crate::engine::{Engine, EngineError, Job};
use crate::input::Input;
use crate::model::{Probabilities, Rows, most_likely};
use crate::repository::{FRAMEWORK, Loaded};
use instruments::Call;

/// Computes predictions and tells of them.
#[derive(Debug)]
pub(crate) struct Predictor {
    engine: Engine,
    variant: String,
}

/// The answer for a request's rows, in their order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Prediction {
    /// Class per row; `None` for rows that failed.
    pub(crate) classes: Vec<Option<usize>>,
    /// Probability of the class per row; 0 for rows that failed.
    pub(crate) confidences: Vec<f32>,
    /// Row-major, as many per row as there are classes; 0 for rows that failed.
    pub(crate) probabilities: Vec<f32>,
    /// The `predict …` span as a `traceparent` value, so that stored answers can point at it.
    pub(crate) traceparent: Option<String>,
    pub(crate) timing: Option<Timing>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Timing {
    pub(crate) queue: Duration,
    pub(crate) compute: Duration,
}

impl Predictor {
    pub(crate) fn new(engine: Engine, variant: String) -> Self {
        Self { engine, variant }
    }

    /// Predicts the good rows of `input`. `data_id` is the entity of a request for a single one.
    pub(crate) async fn predict(
        &self,
        loaded: &Loaded,
        mut input: Input,
        data_id: Option<&str>,
        deadline: Deadline,
    ) -> Result<Prediction, EngineError> {
        let call = Call::begin(&loaded.manifest, &self.variant);
        call.missing(&input.missing);
        if input.values.is_empty() {
            return Ok(Prediction::without_result(
                input.rows(),
                loaded.manifest.classes.len(),
            ));
        }
        let span = start_span(loaded, &self.variant, &input, data_id);
        let values = std::mem::take(&mut input.values);
        let rows = span.in_scope(|| preprocess(loaded, values, &call));
        // Inputs hold whole rows of the model's width by construction; a model without features is not loaded.
        let rows = rows.ok_or(EngineError::Panicked)?;
        let job = Job {
            model: loaded.model.clone(),
            rows,
            deadline,
            context: span.context(),
        };
        let computed = self.engine.compute(job).await;
        span.in_scope(|| call.end(computed.is_ok()));
        let computed = computed.inspect_err(|error| span.fail(error, error.error_type()))?;
        let mut prediction =
            span.in_scope(|| postprocess(loaded, &input, &computed.probabilities, &call));
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
        prediction.timing = Some(Timing {
            queue: computed.queue,
            compute: computed.compute,
        });
        Ok(prediction)
    }
}

fn preprocess(loaded: &Loaded, values: Vec<f32>, call: &Call<'_>) -> Option<Rows> {
    let _stage = Span::start("preprocess_input", Vec::new());
    call.out_of_range(&values);
    let mut rows = Rows::new(values, loaded.manifest.features.len())?;
    loaded.manifest.normalisation.apply(&mut rows);
    Some(rows)
}

fn postprocess(
    loaded: &Loaded,
    input: &Input,
    computed: &Probabilities,
    call: &Call<'_>,
) -> Prediction {
    let _stage = Span::start("postprocess_output", Vec::new());
    let prediction = Prediction::collect(input, computed, loaded.manifest.classes.len());
    call.predicted(&prediction);
    prediction
}

fn start_span(loaded: &Loaded, variant: &str, input: &Input, data_id: Option<&str>) -> Span {
    let manifest = &loaded.manifest;
    let rows = i64::try_from(input.rows()).unwrap_or(i64::MAX);
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

impl Prediction {
    /// Gives every row of the request its part of the result, or none.
    fn collect(input: &Input, computed: &Probabilities, classes: usize) -> Self {
        let mut computed = computed.rows();
        let mut prediction = Self::with_capacity(input.rows(), classes);
        for failure in &input.failures {
            let row = if failure.is_none() {
                computed.next()
            } else {
                None
            };
            prediction.push(row, classes);
        }
        prediction
    }

    /// No row could be computed, so that there was nothing to do for the model.
    fn without_result(rows: usize, classes: usize) -> Self {
        let mut prediction = Self::with_capacity(rows, classes);
        for _ in 0..rows {
            prediction.push(None, classes);
        }
        prediction
    }

    fn with_capacity(rows: usize, classes: usize) -> Self {
        Self {
            classes: Vec::with_capacity(rows),
            confidences: Vec::with_capacity(rows),
            probabilities: Vec::with_capacity(rows * classes),
            traceparent: None,
            timing: None,
        }
    }

    fn push(&mut self, row: Option<&[f32]>, classes: usize) {
        if let Some(row) = row {
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

impl EngineError {
    /// The bounded word for `error.type`.
    pub(crate) fn error_type(&self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::DeadlinePassed => "deadline_passed",
            Self::Model(_) => "compute_error",
            Self::Panicked => "panic",
        }
    }
}
