//! One computation: an inference call, and the write of what it answered.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use telemetry::SpanRef;

use super::round::Round;
use super::{Items, ReadThrough};
use crate::flight::Pilot;
use crate::model::{Inference, Input, ModelError, Row, RowFailure};
use crate::store::{Key, StoredPrediction, whole_micros};
use crate::timing::UpstreamTiming;

/// What a computation leaves to everyone who waits for it.
pub(super) type Outcome = Arc<Computed>;

/// The rows of one inference call.
#[derive(Debug)]
pub(crate) struct Computed {
    rows: Result<HashMap<String, Result<StoredPrediction, RowFailure>>, Arc<ModelError>>,
    /// Where the work stands in a trace: the model's own span, or the span of the request that began it.
    worker: Option<SpanRef>,
    /// Whether the predictions are stored; `None` when there was nothing to store or nothing was to be.
    pub(super) stored: Option<bool>,
    /// The time of the write.
    pub(super) write: Duration,
    pub(super) timing: UpstreamTiming,
}

/// What is to be computed.
pub(super) struct Job {
    model: String,
    version: String,
    ids: Vec<String>,
    input: Input,
    budget: Duration,
    store: bool,
}

impl Job {
    /// The things at `indices` of a request.
    pub(super) fn new(round: &Round, indices: &[usize], budget: Duration, store: bool) -> Self {
        let ids: Vec<String> = indices.iter().map(|at| round.asked.ids[*at].clone()).collect();
        let input = match &round.asked.items {
            Items::Texts(texts) => Input::Texts(indices.iter().map(|at| texts[*at].clone()).collect()),
            Items::DataIds | Items::Either | Items::TextIds => Input::DataIds(ids.clone()),
        };
        Self { model: round.asked.model.clone(), version: round.known.version.clone(), ids, input, budget, store }
    }
}

impl Computed {
    pub(super) fn failed(error: ModelError, worker: Option<SpanRef>) -> Self {
        Self {
            rows: Err(Arc::new(error)),
            worker,
            stored: None,
            write: Duration::ZERO,
            timing: UpstreamTiming::default(),
        }
    }

    /// The row of an entity, why it has none, or why there are no rows at all.
    pub(super) fn row(&self, data_id: &str) -> Result<Result<&StoredPrediction, &RowFailure>, &Arc<ModelError>> {
        let rows = self.rows.as_ref()?;
        Ok(rows.get(data_id).map_or(Err(&RowFailure::Other), Result::as_ref))
    }

    /// The span to point at.
    pub(super) fn worker(&self) -> Option<SpanRef> {
        self.worker.clone()
    }
}

impl ReadThrough {
    /// Computes, writes, and tells those who wait.
    pub(super) async fn fly(&self, job: Job, pilot: Pilot<Outcome>) {
        let outcome = self.compute(job).await;
        // What could not be written is not remembered either: the next request shall find it missing and try again.
        let keep = outcome.rows.is_ok() && outcome.stored != Some(false);
        pilot.land(Arc::new(outcome), keep);
    }

    async fn compute(&self, job: Job) -> Computed {
        let Job { model, version, ids, input, budget, store } = job;
        let variant = self.routes.choose(&model);
        let started = Instant::now();
        let inference = match self.client.infer(variant, &model, input, budget).await {
            Ok(inference) => inference,
            Err(error) => {
                tracing::debug!(
                    name: "prediction.failed",
                    { "ml.model_name" = model, "ml.batch_size" = ids.len(), "error.type" = error.code() },
                    "{} predictions of {model} failed: {}",
                    ids.len(),
                    error.code()
                );
                // The spans of the failed call are below the span of the request that made it.
                return Computed::failed(error, telemetry::current().span_ref());
            }
        };
        let answered = inference.version.clone().unwrap_or_else(|| version.clone());
        self.catalogue.answered(&model, &version, &answered);
        tracing::debug!(
            name: "prediction.computed",
            { "ml.model_name" = model, "ml.model_version" = answered, "ml.batch_size" = ids.len(), duration_ms = started.elapsed().as_secs_f64() * 1_000.0 },
            "{} predictions of {model} computed",
            ids.len()
        );
        let (worker, timing) =
            (inference.computed_by.clone().or_else(|| telemetry::current().span_ref()), inference.timing);
        let rows = self.predictions(&model, &answered, &variant.name, ids, inference);
        let began = Instant::now();
        let stored = if store { self.write(&rows).await } else { None };
        Computed { rows: Ok(rows), worker, stored, write: began.elapsed(), timing }
    }

    /// The rows as they are kept and answered.
    fn predictions(
        &self,
        model: &str,
        version: &str,
        variant: &str,
        ids: Vec<String>,
        inference: Inference,
    ) -> HashMap<String, Result<StoredPrediction, RowFailure>> {
        let computed_at = whole_micros((self.clock)());
        let Inference { run_id, computed_by, rows, .. } = inference;
        let prediction = |data_id: &str, row: Row| StoredPrediction {
            key: Key { model: model.to_owned(), version: version.to_owned(), data_id: data_id.to_owned() },
            variant: variant.to_owned(),
            label: row.label,
            confidence: row.confidence,
            probabilities: row.probabilities,
            computed_at,
            computed_by: computed_by.clone(),
            run_id: run_id.clone(),
        };
        let rows = ids.into_iter().zip(rows).map(|(id, row)| {
            let row = row.map(|row| prediction(&id, row));
            (id, row)
        });
        rows.collect()
    }

    async fn write(&self, rows: &HashMap<String, Result<StoredPrediction, RowFailure>>) -> Option<bool> {
        let predictions: Vec<StoredPrediction> = rows.values().filter_map(|row| row.as_ref().ok().cloned()).collect();
        if predictions.is_empty() {
            return None;
        }
        Some(self.store.put_many(predictions).await)
    }
}
