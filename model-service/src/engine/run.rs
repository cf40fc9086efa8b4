//! One run of a compute thread: a task alone, or several tasks of one model together.
//!
//! A task alone has the span `model_inference` below its own. Of tasks together, the first has a
//! span `batch` around it, which links to the spans of all; each of the others has a
//! `model_inference` with the times of the run, which links to `batch`. Whoever had to wait has a
//! span `queue`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Instant, SystemTime};

use telemetry::{Context, KeyValue, Span, SpanRef, attr, span::with_context};

use super::queue::{Queue, QueuedTask};
use super::{ComputeOutput, EngineError};
use crate::model::{Batch, Model, Probabilities};

type Outcome = Result<Probabilities, EngineError>;

/// Computes the tasks of `run`, answers them and leaves it empty.
pub(super) fn execute(run: &mut Vec<QueuedTask>, queue: &Queue) {
    let begin = Begin::now();
    let outcomes = match &run[..] {
        [single] => vec![alone(single, &[])],
        several => together(several, begin),
    };
    let compute = begin.instant.elapsed();
    for queued in run.iter().filter(|queued| queued.waits || run.len() > 1) {
        record_queue(queued, begin);
    }
    queue.free();
    for (queued, outcome) in run.drain(..).zip(outcomes) {
        let output = outcome.map(|probabilities| ComputeOutput {
            probabilities,
            queue: begin.instant.duration_since(queued.enqueued),
            compute,
        });
        let _ = queued.answer.send(output);
    }
}

/// When a run began, by both clocks: durations need one and spans the other.
#[derive(Clone, Copy)]
struct Begin {
    instant: Instant,
    time: SystemTime,
}

impl Begin {
    fn now() -> Self {
        Self {
            instant: Instant::now(),
            time: SystemTime::now(),
        }
    }
}

fn alone(queued: &QueuedTask, links: &[SpanRef]) -> Outcome {
    let task = &queued.task;
    with_context(&task.context, || {
        infer(&*task.loaded.model, &task.batch, links)
    })
}

/// Computes the batches of all tasks as one. If that fails, each is computed alone, so that it fails
/// only for the request whose fault it is.
fn together(run: &[QueuedTask], begin: Begin) -> Vec<Outcome> {
    let (batch, joined) = start_batch(run);
    let links: Vec<SpanRef> = batch.span_ref().into_iter().collect();
    let outcome = batch.in_scope(|| infer(&*run[0].task.loaded.model, &joined, &links));
    let probabilities = match outcome {
        Ok(probabilities) => probabilities,
        Err(error) => {
            batch.fail(&error, error.error_type());
            drop(batch);
            return run.iter().map(|queued| again(queued, &links)).collect();
        }
    };
    let end = SystemTime::now();
    let leader = leader(run);
    for (_, queued) in run.iter().enumerate().filter(|(at, _)| *at != leader) {
        record_inference(&queued.task.context, joined.len(), begin.time, end, &links);
    }
    batch.end_at(end);
    let sizes = run.iter().map(|queued| queued.task.batch.len());
    probabilities.split(sizes).into_iter().map(Ok).collect()
}

/// The span of a run, below that of its leader, and the batches of all tasks in one.
fn start_batch(run: &[QueuedTask]) -> (Span, Batch) {
    let mut joined = run[0].task.batch.clone();
    for queued in &run[1..] {
        joined.append(&queued.task.batch);
    }
    let members: Vec<SpanRef> = run
        .iter()
        .filter_map(|queued| SpanRef::recorded(&queued.task.context))
        .collect();
    let manifest = &run[0].task.loaded.manifest;
    let attributes = vec![
        KeyValue::new(attr::ML_MODEL_NAME, manifest.name.clone()),
        KeyValue::new(attr::ML_MODEL_VERSION, manifest.version.clone()),
        KeyValue::new(attr::ML_BATCH_SIZE, integer(joined.len())),
        KeyValue::new(attr::ML_BATCH_REQUESTS, integer(run.len())),
    ];
    let span = with_context(&run[leader(run)].task.context, || {
        Span::start_with_links("batch", attributes, &members)
    });
    (span, joined)
}

/// The task whose trace has the span `batch`: the first that is sampled, so that no link leads to
/// nothing.
fn leader(run: &[QueuedTask]) -> usize {
    let sampled = |queued: &QueuedTask| SpanRef::recorded(&queued.task.context).is_some();
    run.iter().position(sampled).unwrap_or(0)
}

fn again(queued: &QueuedTask, links: &[SpanRef]) -> Outcome {
    if queued.is_wanted() {
        alone(queued, links)
    } else {
        Err(EngineError::DeadlinePassed)
    }
}

/// Computes a batch below the current span. A panic is an error and does not end the thread.
fn infer(model: &dyn Model, batch: &Batch, links: &[SpanRef]) -> Outcome {
    let span = Span::start_with_links("model_inference", Vec::new(), links);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        span.in_scope(|| model.probabilities(batch))
    }));
    let outcome = match outcome {
        Ok(result) => result.map_err(EngineError::Compute),
        Err(_) => Err(EngineError::Panicked),
    };
    match &outcome {
        Ok(_) => span.event("inference_completed", vec![rows(batch.len())]),
        Err(EngineError::Compute(error)) => span.fail(error, "compute_error"),
        Err(error) => span.fail(error, error.error_type()),
    }
    outcome
}

fn record_queue(queued: &QueuedTask, begin: Begin) {
    let waited = begin.instant.duration_since(queued.enqueued);
    let since = begin.time - waited;
    with_context(&queued.task.context, || {
        Span::start_at_with_links("queue", Vec::new(), since, &[]).end_at(begin.time);
    });
}

/// The part of a run in the trace of a task that is not its leader.
fn record_inference(
    context: &Context,
    size: usize,
    begin: SystemTime,
    end: SystemTime,
    links: &[SpanRef],
) {
    with_context(context, || {
        let span = Span::start_at_with_links("model_inference", Vec::new(), begin, links);
        span.event_at("inference_completed", end, vec![rows(size)]);
        span.end_at(end);
    });
}

fn rows(count: usize) -> KeyValue {
    KeyValue::new(attr::ML_BATCH_SIZE, integer(count))
}

fn integer(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
