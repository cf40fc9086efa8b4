//! Shadows: variants that compute beside those that answer, and never answer.
//!
//! A shadow's call is a task that nobody waits for. Its spans are in the trace of the request that it stands beside and may
//! end after the answer. There are only so many at a time: a shadow that is slow loses calls, not the gateway its memory.

use std::sync::{Arc, LazyLock};

use telemetry::metrics::{Counter, counter};
use telemetry::{KeyValue, attr};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ReadThrough;
use super::compute::Job;
use crate::routes::Variant;

/// Calls of shadows at the same time, all models together.
const MOST: usize = 64;

static CALLS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        attr::metric::ML_SHADOW_CALLS,
        "{call}",
        "Calls of shadow variants, by result",
    )
});

/// The places for calls of shadows; cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct Shadows {
    places: Arc<Semaphore>,
}

/// A call of a shadow under way.
#[derive(Debug)]
pub(crate) struct ShadowCall {
    variant: Arc<str>,
    _place: OwnedSemaphorePermit,
}

impl Shadows {
    pub(crate) fn new() -> Self {
        Self {
            places: Arc::new(Semaphore::new(MOST)),
        }
    }

    /// A place for a call; without one the call is dropped and counted.
    pub(crate) fn begin(&self, variant: &Variant) -> Option<ShadowCall> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        if place.is_err() {
            count(&variant.name, "dropped");
        }
        Some(ShadowCall {
            variant: Arc::clone(&variant.name),
            _place: place.ok()?,
        })
    }
}

impl ShadowCall {
    pub(crate) fn end(self, success: bool) {
        count(&self.variant, if success { "answered" } else { "failed" });
    }
}

fn count(variant: &Arc<str>, result: &'static str) {
    let labels = [
        KeyValue::new(attr::ML_VARIANT, Arc::clone(variant)),
        KeyValue::new(attr::ML_SHADOW_RESULT, result),
    ];
    CALLS.add(1, &labels);
}

impl ReadThrough {
    /// Has the shadows of a model compute the same as `job`; it returns at once.
    pub(super) fn call_shadows(self: &Arc<Self>, job: &Job) {
        for shadow in job.route.shadows() {
            let Some(call) = self.parts.shadows.begin(&job.route.variants[shadow]) else {
                continue;
            };
            let known = self
                .parts
                .catalogue
                .get(&job.model, &job.route.variants[shadow]);
            let (this, job) = (Arc::clone(self), job.of_shadow(shadow, known.as_deref()));
            drop(telemetry::task::spawn(async move {
                call.end(this.compute(job).await.is_fine())
            }));
        }
    }
}
