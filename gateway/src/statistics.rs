//! How the variants of each model do, since this gateway was started: their calls, and what they say of the same ids.
//!
//! All of it is bounded and in memory. Of an id only a hash is kept, and that means nothing outside this process. The
//! comparison is of predictions and not of requests: an id that is asked a thousand times counts once.

mod agreement;
mod latency;
mod record;

use std::collections::{BTreeMap, HashMap};
use std::hash::RandomState;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;

pub(crate) use agreement::wilson95;
use latency::Latency;
use record::Record;

use crate::model::ModelError;
use crate::store::StoredPrediction;

/// Models that are kept apart. A model is known before anything is counted of it, so no request can invent more.
const MAX_MODELS: usize = 1_000;

/// What is known of all models.
#[derive(Debug)]
pub(crate) struct Statistics {
    since: Timestamp,
    models: RwLock<HashMap<String, Arc<Model>>>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Model {
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

/// What became of an inference call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallEnd {
    Answered,
    /// The request was at fault; how long that took says nothing of the variant.
    Refused,
    /// The variant was at fault.
    Failed,
}

impl CallEnd {
    pub(crate) fn of_error(error: &ModelError) -> Self {
        if error.is_outage() || error.code() == "overloaded" {
            Self::Failed
        } else {
            Self::Refused
        }
    }
}

/// What is told of one variant.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Told {
    /// Inference calls, and those of them that failed.
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    /// Seconds.
    pub(crate) p50: Option<f64>,
    pub(crate) p95: Option<f64>,
    /// Different ids of which a prediction is in the record.
    pub(crate) predictions: u64,
    pub(crate) confidence_mean: Option<f64>,
    pub(crate) label_shares: BTreeMap<String, f64>,
    /// The ids that this variant and the one it is compared with both have answered, and those that got the same label.
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
    pub(crate) fn called(&self, model: &str, variant: &str, took: Duration, end: CallEnd) {
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

    /// Takes predictions of one model into the comparison.
    pub(crate) fn saw<'a>(
        &self,
        model: &str,
        predictions: impl Iterator<Item = &'a StoredPrediction>,
    ) {
        let mut predictions = predictions.peekable();
        if predictions.peek().is_none() {
            return;
        }
        let Some(model) = self.model(model) else {
            return;
        };
        let mut record = model.record.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// What is known of `variant` beside `reference`.
    pub(crate) fn tell(&self, model: &str, variant: &str, reference: &str) -> Told {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        let Some(model) = models.get(model).map(Arc::clone) else {
            return Told::default();
        };
        drop(models);
        let mut told = Told::default();
        model
            .record
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .tell(variant, reference, &mut told);
        let calls = model.calls.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(calls) = calls.get(variant) {
            told.calls = calls.all.load(Ordering::Relaxed);
            told.errors = calls.failed.load(Ordering::Relaxed);
            [told.p50, told.p95] = calls.latency.quantiles([0.5, 0.95]);
        }
        told
    }

    fn model(&self, name: &str) -> Option<Arc<Model>> {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = models.get(name) {
            return Some(Arc::clone(model));
        }
        drop(models);
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        let room = models.len() < MAX_MODELS || models.contains_key(name);
        room.then(|| Arc::clone(models.entry(name.to_owned()).or_default()))
    }
}

impl Model {
    fn calls(&self, variant: &str) -> Arc<Calls> {
        let calls = self.calls.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(calls) = calls.get(variant) {
            return Arc::clone(calls);
        }
        drop(calls);
        let mut calls = self.calls.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(calls.entry(variant.into()).or_default())
    }
}

#[cfg(test)]
mod tests;
