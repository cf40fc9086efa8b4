//! How the inference calls of `/v1` and `/v2` are sent: time limits, statistics, fail-over and
//! shadows.
//!
//! A shadow computes what the other variants compute, and never answers. Nobody waits for it: its
//! spans are in the trace of the request and may end after the answer. The number of shadow calls
//! is bounded, so a slow shadow loses calls and costs no memory.

mod breaker;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use runtime::Deadline;
use telemetry::metrics::{Counter, counter};
use telemetry::{KeyValue, attr};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use self::breaker::{BreakerState, Breakers};
use crate::choice::{Assignment, Choice};
use crate::discovery::Discovery;
use crate::model_client::{CallError, InferenceCall, ModelClient};
use crate::statistics::{CallEnd, Statistics};
use crate::traffic::{Split, Variant, VariantIndex};

/// Shadow calls at the same time, of all models together.
const MAX_SHADOW_CALLS: usize = 64;

static SHADOW_CALLS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        attr::metric::ML_SHADOW_CALLS,
        "{call}",
        "Calls of shadow variants, by result",
    )
});

/// Sends inference calls; cloning shares the client and the limit of shadow calls.
#[derive(Clone)]
pub(crate) struct Dispatcher {
    client: ModelClient,
    discovery: Discovery,
    statistics: Arc<Statistics>,
    shadow_permits: Arc<Semaphore>,
    waiting_permits: Arc<Semaphore>,
    breakers: Breakers,
}

/// A place among the requests that wait for a model; the clone that goes last gives it back.
pub(crate) type WaitingPermit = Arc<OwnedSemaphorePermit>;

impl Dispatcher {
    pub(crate) fn new(
        client: ModelClient,
        discovery: Discovery,
        statistics: Arc<Statistics>,
        max_waiting: usize,
        breakers: Breakers,
    ) -> Self {
        Self {
            client,
            discovery,
            statistics,
            shadow_permits: Arc::new(Semaphore::new(MAX_SHADOW_CALLS)),
            waiting_permits: Arc::new(Semaphore::new(max_waiting)),
            breakers,
        }
    }

    /// A place to wait for a model. There are fewer than requests in flight, so that a model service
    /// that hangs leaves room for what is stored.
    pub(crate) fn wait(&self) -> Result<WaitingPermit, CallError> {
        let permit = Arc::clone(&self.waiting_permits).try_acquire_owned();
        permit.map(Arc::new).map_err(|_| CallError::Busy)
    }

    /// Sends a call to a variant, and counts it in the statistics if the model is known, so that
    /// clients cannot add names. A variant that timed out repeatedly is not asked.
    pub(crate) async fn call<C: InferenceCall>(
        &self,
        model: &str,
        variant: &Variant,
        call: C,
        time: Duration,
    ) -> Result<C::Reply, CallError> {
        let Some(admitted) = self.breakers.admit(variant) else {
            return Err(CallError::NotWaitedFor);
        };
        let started = Instant::now();
        let reply = call.send(&self.client, model, variant, time).await;
        admitted.record(reply.as_ref().err());
        if self.discovery.knows(model) {
            let end = match &reply {
                Err(error) => CallEnd::of_error(error),
                Ok(reply) => C::error(reply).map_or(CallEnd::Answered, |e| CallEnd::of_error(&e)),
            };
            self.statistics
                .record_call(model, &variant.name, started.elapsed(), end);
        }
        reply
    }

    /// Sends a call to the variant of `assignment`, and after an outage to the next one while there
    /// is time.
    pub(crate) async fn call_with_fail_over<C: InferenceCall + Clone>(
        &self,
        choice: &Choice,
        id: &str,
        assignment: &mut Assignment,
        call: C,
        deadline: Deadline,
    ) -> Result<C::Reply, CallError> {
        loop {
            let left = budget(deadline.remaining());
            let time = if choice.has_next(id, assignment) {
                left / 2
            } else {
                left
            };
            let variant = &choice.split[assignment.variant];
            let reply = self.call(&choice.model, variant, call.clone(), time).await;
            let error = match &reply {
                Err(error) => error.is_outage().then(|| error.code()),
                Ok(reply) => C::error(reply)
                    .filter(CallError::is_outage)
                    .map(|error| error.code()),
            };
            let Some(error) = error else { return reply };
            let has_time = !budget(deadline.remaining()).is_zero();
            if !(has_time && choice.reassign(id, assignment, error)) {
                return reply;
            }
        }
    }

    /// Starts `call` for each shadow of a split and returns at once. The future says whether the
    /// shadow answered. A call above the limit is dropped and counted.
    pub(crate) fn call_shadows<F: Future<Output = bool> + Send + 'static>(
        &self,
        split: &Split,
        call: impl Fn(VariantIndex) -> F,
    ) {
        for shadow in split.shadows() {
            let name = Arc::clone(&split[shadow].name);
            let Ok(permit) = Arc::clone(&self.shadow_permits).try_acquire_owned() else {
                count_shadow_call(name, "dropped");
                continue;
            };
            let call = call(shadow);
            drop(telemetry::task::spawn(async move {
                let answered = call.await;
                drop(permit);
                count_shadow_call(name, if answered { "answered" } else { "failed" });
            }));
        }
    }
}

/// The time that a call may take: less than is left for the request, so that its failure can still
/// be answered in time.
pub(crate) fn budget(remaining: Duration) -> Duration {
    remaining.saturating_sub((remaining / 10).min(Duration::from_millis(50)))
}

fn count_shadow_call(variant: Arc<str>, result: &'static str) {
    let labels = [
        KeyValue::new(attr::ML_VARIANT, variant),
        KeyValue::new(attr::ML_SHADOW_RESULT, result),
    ];
    SHADOW_CALLS.add(1, &labels);
}
