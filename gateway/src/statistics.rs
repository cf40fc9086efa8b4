//! How the variants of each model compare since this gateway was started: their calls, and their
//! predictions for the same ids.
//!
//! All of it is bounded and in memory. Only a hash of an id is kept, and it is different in each
//! process. Predictions are compared, not requests: an id that is asked for a thousand times counts
//! once.

mod agreement;
mod latency;
mod record;

use std::collections::{BTreeMap, HashMap};
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use protocol::ErrorCode;

pub(crate) use agreement::wilson95;
use latency::Latency;
use record::Record;

use crate::model_client::CallError;
use crate::store::StoredPrediction;

/// Only known models are counted, so no request can add more.
const MAX_MODELS: usize = 1_000;

/// The statistics of all models.
#[derive(Debug)]
pub(crate) struct Statistics {
    since: Timestamp,
    models: RwLock<HashMap<String, Arc<ModelStatistics>>>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct ModelStatistics {
    calls: RwLock<HashMap<Box<str>, Arc<Calls>>>,
    record: Mutex<Record>,
}

/// The inference calls of one variant.
#[derive(Debug, Default)]
struct Calls {
    all: AtomicU64,
    failed: AtomicU64,
    latency: Latency,
}

/// The outcome of an inference call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallEnd {
    Answered,
    /// The request was at fault; its duration says nothing about the variant.
    Refused,
    /// The variant was at fault.
    Failed,
}

impl CallEnd {
    pub(crate) fn of_error(error: &CallError) -> Self {
        if error.is_outage() || error.code() == ErrorCode::Overloaded {
            Self::Failed
        } else {
            Self::Refused
        }
    }
}

/// The statistics of one variant, compared with a reference variant.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct VariantSummary {
    /// Inference calls, and those of them that failed.
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    /// Seconds.
    pub(crate) p50: Option<f64>,
    pub(crate) p95: Option<f64>,
    /// Different ids with a prediction in the record.
    pub(crate) predictions: u64,
    pub(crate) confidence_mean: Option<f64>,
    pub(crate) label_shares: BTreeMap<String, f64>,
    /// The ids that this variant and the reference have both predicted, and those of them with the
    /// same label.
    pub(crate) pairs: u64,
    pub(crate) agreed: u64,
}

impl Statistics {
    pub(crate) fn new(since: Timestamp) -> Self {
        Self {
            since,
            models: RwLock::default(),
            hasher: RandomState::new(),
        }
    }

    pub(crate) fn since(&self) -> Timestamp {
        self.since
    }

    /// Counts an inference call of a variant.
    pub(crate) fn record_call(&self, model: &str, variant: &str, took: Duration, end: CallEnd) {
        let Some(model) = self.model(model) else {
            return;
        };
        let calls = model.calls(variant);
        calls.all.fetch_add(1, Ordering::Relaxed);
        match end {
            CallEnd::Answered => calls.latency.record(took),
            CallEnd::Refused => {}
            CallEnd::Failed => drop(calls.failed.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Records predictions of one model for the comparison.
    pub(crate) fn record_predictions<'a>(
        &self,
        model: &str,
        predictions: impl Iterator<Item = &'a StoredPrediction>,
    ) {
        // Numbers have neither labels to agree on nor a confidence.
        let mut predictions = predictions
            .filter(|prediction| prediction.number().is_none())
            .peekable();
        if predictions.peek().is_none() {
            return;
        }
        let Some(model) = self.model(model) else {
            return;
        };
        let mut record = model.record.lock();
        for prediction in predictions {
            let id = std::hash::BuildHasher::hash_one(&self.hasher, &prediction.key.data_id);
            record.put(
                id,
                &prediction.key.variant,
                &prediction.label,
                prediction.confidence,
            );
        }
    }

    /// The statistics of `variant`, compared with `reference`.
    pub(crate) fn summary(&self, model: &str, variant: &str, reference: &str) -> VariantSummary {
        let models = self.models.read();
        let Some(model) = models.get(model).map(Arc::clone) else {
            return VariantSummary::default();
        };
        drop(models);
        let mut summary = VariantSummary::default();
        model
            .record
            .lock()
            .summarize(variant, reference, &mut summary);
        let calls = model.calls.read();
        if let Some(calls) = calls.get(variant) {
            summary.calls = calls.all.load(Ordering::Relaxed);
            summary.errors = calls.failed.load(Ordering::Relaxed);
            [summary.p50, summary.p95] = calls.latency.quantiles([0.5, 0.95]);
        }
        summary
    }

    fn model(&self, name: &str) -> Option<Arc<ModelStatistics>> {
        let models = self.models.read();
        if let Some(model) = models.get(name) {
            return Some(Arc::clone(model));
        }
        drop(models);
        let mut models = self.models.write();
        let room = models.len() < MAX_MODELS || models.contains_key(name);
        room.then(|| Arc::clone(models.entry(name.to_owned()).or_default()))
    }
}

impl ModelStatistics {
    fn calls(&self, variant: &str) -> Arc<Calls> {
        let calls = self.calls.read();
        if let Some(calls) = calls.get(variant) {
            return Arc::clone(calls);
        }
        drop(calls);
        let mut calls = self.calls.write();
        Arc::clone(calls.entry(variant.into()).or_default())
    }
}

#[cfg(test)]
mod tests;
