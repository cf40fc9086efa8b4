//! One computation: an inference call, and the write of its predictions into the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::ErrorCode;
use telemetry::SpanRef;

use crate::discovery::Discovery;
use crate::dispatch::{Dispatcher, WaitingPermit};
use crate::freshness::Lifetime;
use crate::model_client::{CallError, Inference, Instance, Rows};
use crate::single_flight::Leader;
use crate::statistics::Statistics;
use crate::store::watched::{WatchedStore, WriteEnd};
use crate::store::{Key, StoredPrediction, whole_micros};
use crate::timing::UpstreamTiming;
use crate::traffic::{Split, VariantIndex};

/// Computes predictions in tasks of their own; cloning shares everything.
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) dispatcher: Dispatcher,
    pub(crate) discovery: Discovery,
    pub(crate) statistics: Arc<Statistics>,
    pub(crate) store: WatchedStore,
    pub(crate) lifetime: Lifetime,
}

/// What is to be computed, and by which variant.
#[derive(Clone)]
pub(crate) struct Computation {
    pub(super) model: Arc<str>,
    pub(super) split: Arc<Split>,
    pub(super) variant: VariantIndex,
    /// The version that the variant is known to have.
    pub(super) version: Arc<str>,
    pub(super) instances: Vec<Instance>,
    /// The time limit of the call.
    pub(super) time: Duration,
    /// Whether the predictions go into the store and the statistics.
    pub(super) store: bool,
}

/// The outcome for everybody who waits for the computation.
#[derive(Debug)]
pub(crate) struct Computed {
    predictions: Result<Predictions, Arc<CallError>>,
    /// The model's span that did the work; if it is not known, the span of the request that made
    /// the call.
    pub(super) worker: Option<SpanRef>,
    /// What became of the write; `None` when nothing was to be stored.
    pub(super) stored: Option<WriteEnd>,
    /// The time of the write.
    pub(super) write: Duration,
    pub(super) timing: UpstreamTiming,
}

/// By id.
type Predictions = HashMap<Arc<str>, Result<StoredPrediction, ErrorCode>>;

impl Computed {
    pub(super) fn failed(error: CallError, worker: Option<SpanRef>) -> Self {
        Self {
            predictions: Err(Arc::new(error)),
            worker,
            stored: None,
            write: Duration::ZERO,
            timing: UpstreamTiming::default(),
        }
    }

    /// The prediction of an instance, or why it has none; the outer error says why nothing has one.
    pub(super) fn row(
        &self,
        id: &str,
    ) -> Result<Result<&StoredPrediction, ErrorCode>, &Arc<CallError>> {
        let row = self.predictions.as_ref()?.get(id);
        Ok(row.map_or(Err(ErrorCode::PredictionFailed), |row| {
            row.as_ref().map_err(|code| *code)
        }))
    }

    /// Whether the variant answered.
    pub(super) fn is_ok(&self) -> bool {
        self.predictions.is_ok()
    }
}

impl Worker {
    /// Computes in a task of its own, within the trace of this request: when its client leaves, the
    /// computation goes on for other requests and for the store, and keeps its place among those that
    /// wait.
    pub(super) fn start(
        &self,
        computation: Computation,
        leader: Leader<Arc<Computed>>,
        waiting: Option<WaitingPermit>,
    ) {
        let this = self.clone();
        drop(telemetry::task::spawn(async move {
            let computed = this.compute(computation).await;
            // What is not stored is not remembered either, so that the next request tries again, or
            // gets the newer one that is stored.
            let is_kept = computed.stored.is_none_or(|end| end == WriteEnd::Stored);
            let remembering = computed.is_ok() && is_kept;
            drop(waiting);
            leader.finish(Arc::new(computed), remembering);
        }));
    }

    pub(super) async fn compute(&self, computation: Computation) -> Computed {
        let started = Instant::now();
        let rows = Rows(&computation.instances);
        let (model, variant) = (&computation.model, &computation.split[computation.variant]);
        let called = self
            .dispatcher
            .call(model, variant, rows, computation.time)
            .await;
        let (name, size) = (&*variant.name, computation.instances.len());
        match called {
            Err(error) => {
                let code = error.code().as_str();
                tracing::debug!(
                    name: "prediction.failed",
                    { "ml.model_name" = &**model, "ml.variant" = name, "ml.batch_size" = size, "error.type" = code },
                    "{size} predictions of {model} by {name} failed: {code}"
                );
                // The spans of the failed call are below the span of the request that made it.
                Computed::failed(error, telemetry::current().span_ref())
            }
            Ok(inference) => {
                let asked = &computation.version;
                let version = inference
                    .version
                    .as_deref()
                    .map_or_else(|| Arc::clone(asked), Into::into);
                self.discovery.answered(model, variant, asked, &version);
                let duration_ms = started.elapsed().as_secs_f64() * 1_000.0;
                tracing::debug!(
                    name: "prediction.computed",
                    { "ml.model_name" = &**model, "ml.model_version" = &*version, "ml.variant" = name, "ml.batch_size" = size, duration_ms },
                    "{size} predictions of {model} computed by {name}"
                );
                self.keep(computation, version, inference).await
            }
        }
    }

    /// Stores what was computed, if it is to be stored.
    async fn keep(
        &self,
        computation: Computation,
        version: Arc<str>,
        mut inference: Inference,
    ) -> Computed {
        // A service that does not name its span was called below this request's span, so that one
        // leads to the computation as well.
        inference.computed_by = inference
            .computed_by
            .or_else(|| telemetry::current().span_ref());
        let (worker, timing) = (inference.computed_by, inference.timing);
        let (model, store) = (computation.model.clone(), computation.store);
        let predictions = self.predictions(computation, &version, inference);
        let started = Instant::now();
        let stored = if store {
            self.write(&model, &predictions).await
        } else {
            None
        };
        Computed {
            predictions: Ok(predictions),
            worker,
            stored,
            write: started.elapsed(),
            timing,
        }
    }

    fn predictions(
        &self,
        computation: Computation,
        version: &Arc<str>,
        inference: Inference,
    ) -> Predictions {
        let variant = &computation.split[computation.variant].name;
        let computed_at = whole_micros(self.lifetime.now());
        let rows = computation.instances.into_iter().zip(inference.rows);
        let predictions = rows.map(|(Instance { id, .. }, row)| {
            let prediction = row.map(|row| StoredPrediction {
                key: Key {
                    model: computation.model.clone(),
                    variant: Arc::clone(variant),
                    version: Arc::clone(version),
                    data_id: id.clone(),
                },
                label: row.label,
                confidence: row.confidence,
                probabilities: row.probabilities,
                computed_at,
                computed_by: inference.computed_by,
                run_id: inference.run_id.clone(),
            });
            (id, prediction)
        });
        predictions.collect()
    }

    async fn write(&self, model: &str, predictions: &Predictions) -> Option<WriteEnd> {
        let good = || predictions.values().filter_map(|row| row.as_ref().ok());
        self.statistics.record_predictions(model, good());
        let predictions: Vec<StoredPrediction> = good().cloned().collect();
        if predictions.is_empty() {
            return None;
        }
        Some(self.store.put_many(predictions).await)
    }
}
