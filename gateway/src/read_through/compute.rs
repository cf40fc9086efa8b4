//! One computation: an inference call, and the write of what it answered.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use telemetry::SpanRef;

use super::round::Round;
use super::{Items, ReadThrough};
use crate::catalogue::Known;
use crate::flight::Pilot;
use crate::model::{Inference, Input, ModelError, Row, RowFailure};
use crate::routes::Route;
use crate::statistics::CallEnd;
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

/// What is to be computed, and by which variant.
pub(super) struct Job {
    pub(super) model: String,
    pub(super) route: Arc<Route>,
    variant: usize,
    version: String,
    ids: Vec<String>,
    input: Input,
    budget: Duration,
    store: bool,
}

impl Job {
    /// The things at `indices` of a request.
    pub(super) fn new(
        round: &Round,
        variant: usize,
        indices: &[usize],
        budget: Duration,
        store: bool,
    ) -> Self {
        let ids: Vec<String> = indices
            .iter()
            .map(|at| round.asked.ids[*at].clone())
            .collect();
        let input = match &round.asked.items {
            Items::Texts(texts) => {
                Input::Texts(indices.iter().map(|at| texts[*at].clone()).collect())
            }
            Items::DataIds | Items::Either | Items::TextIds => Input::DataIds(ids.clone()),
        };
        let (model, route, version) = (
            round.asked.model.clone(),
            Arc::clone(&round.route),
            round.version(variant).to_owned(),
        );
        Self {
            model,
            route,
            variant,
            version,
            ids,
            input,
            budget,
            store,
        }
    }

    /// The same for another variant.
    pub(super) fn of_shadow(&self, variant: usize, known: Option<&Known>) -> Self {
        Self {
            model: self.model.clone(),
            route: Arc::clone(&self.route),
            variant,
            version: known.map(|known| known.version.clone()).unwrap_or_default(),
            ids: self.ids.clone(),
            input: self.input.clone(),
            budget: self.budget,
            store: self.store,
        }
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
    pub(super) fn row(
        &self,
        data_id: &str,
    ) -> Result<Result<&StoredPrediction, &RowFailure>, &Arc<ModelError>> {
        let rows = self.rows.as_ref()?;
        Ok(rows
            .get(data_id)
            .map_or(Err(&RowFailure::Other), Result::as_ref))
    }

    /// Whether there was an answer.
    pub(super) fn is_fine(&self) -> bool {
        self.rows.is_ok()
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

    pub(super) async fn compute(&self, job: Job) -> Computed {
        let Job {
            model,
            route,
            variant,
            version,
            ids,
            input,
            budget,
            store,
        } = job;
        let variant = &route.variants[variant];
        let started = Instant::now();
        let inferred = self
            .parts
            .client
            .infer(variant, &model, input, budget)
            .await;
        let end = inferred
            .as_ref()
            .map_or_else(CallEnd::of_error, |_| CallEnd::Answered);
        self.parts
            .statistics
            .called(&model, &variant.name, started.elapsed(), end);
        let mut inference = match inferred {
            Ok(inference) => inference,
            Err(error) => {
                tracing::debug!(
                    name: "prediction.failed",
                    { "ml.model_name" = model, "ml.variant" = &*variant.name, "ml.batch_size" = ids.len(), "error.type" = error.code() },
                    "{} predictions of {model} by {} failed: {}",
                    ids.len(),
                    variant.name,
                    error.code()
                );
                // The spans of the failed call are below the span of the request that made it.
                return Computed::failed(error, telemetry::current().span_ref());
            }
        };
        let answered = inference.version.clone().unwrap_or_else(|| version.clone());
        self.parts
            .catalogue
            .answered(&model, variant, &version, &answered);
        tracing::debug!(
            name: "prediction.computed",
            { "ml.model_name" = model, "ml.model_version" = answered, "ml.variant" = &*variant.name, "ml.batch_size" = ids.len(), duration_ms = started.elapsed().as_secs_f64() * 1_000.0 },
            "{} predictions of {model} computed by {}",
            ids.len(),
            variant.name
        );
        // A service that does not tell its span was called below this request's: that leads to the computation, too.
        inference.computed_by = inference
            .computed_by
            .or_else(|| telemetry::current().span_ref());
        let (worker, timing) = (inference.computed_by.clone(), inference.timing);
        let rows = self.predictions(&model, &answered, &variant.name, ids, inference);
        let began = Instant::now();
        let stored = if store {
            self.parts
                .statistics
                .saw(&model, rows.values().filter_map(|row| row.as_ref().ok()));
            self.write(&rows).await
        } else {
            None
        };
        Computed {
            rows: Ok(rows),
            worker,
            stored,
            write: began.elapsed(),
            timing,
        }
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
        let Inference {
            run_id,
            computed_by,
            rows,
            ..
        } = inference;
        let prediction = |data_id: &str, row: Row| StoredPrediction {
            key: Key {
                model: model.to_owned(),
                variant: variant.to_owned(),
                version: version.to_owned(),
                data_id: data_id.to_owned(),
            },
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

    async fn write(
        &self,
        rows: &HashMap<String, Result<StoredPrediction, RowFailure>>,
    ) -> Option<bool> {
        let predictions: Vec<StoredPrediction> = rows
            .values()
            .filter_map(|row| row.as_ref().ok().cloned())
            .collect();
        if predictions.is_empty() {
            return None;
        }
        Some(self.parts.store.put_many(predictions).await)
    }
}
