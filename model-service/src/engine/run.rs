//! One run of a compute thread: a task alone, or several tasks of one model together.
//!
//! A task alone has the span `model_inference` below its own. Of tasks together, the first has a
//! span `batch` around it, which links to the spans of all; each of the others has a
//! `model_inference` with the times of the run, which links to `batch`. Whoever had to wait has a
//! span `queue`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use telemetry::span::{LinkTarget, with_context};
use telemetry::{KeyValue, Span, attr};

use super::queue::{Queue, QueuedTask};
use super::{ComputeOutput, ComputeTask, EngineError};
use crate::model::{Batch, Model, Probabilities};

type Outcome = Result<Probabilities, EngineError>;

/// Computes the tasks of `run`, answers them and leaves it empty.
pub(super) fn execute(run: &mut Vec<QueuedTask>, queue: &Queue) {
    let begin = Moment::now();
    if run.len() == 1
        && let Some(queued) = run.pop()
    {
        let outcome = alone(&queued.task, &[]);
        let compute = begin.instant.elapsed();
        if queued.waits {
            record_queue(&queued, begin);
        }
        queue.free();
        return answer(queued, outcome, begin, compute);
    }
    let (outcomes, joint) = together(run);
    let compute = begin.instant.elapsed();
    let last = run.len() - 1;
    for (at, (queued, outcome)) in run.drain(..).zip(outcomes).enumerate() {
        record_queue(&queued, begin);
        if let Some(joint) = joint.as_ref().filter(|joint| joint.leader != at) {
            joint.record(&queued, begin);
        }
        if at == last {
            queue.free();
        }
        answer(queued, outcome, begin, compute);
    }
}

fn answer(queued: QueuedTask, outcome: Outcome, begin: Moment, compute: Duration) {
    let output = outcome.map(|probabilities| ComputeOutput {
        probabilities,
        queue: begin.instant.duration_since(queued.enqueued),
        compute,
    });
    let _ = queued.answer.send(output);
}

/// Computes a task on the thread of its caller.
pub(super) fn at_once(task: &ComputeTask) -> Result<ComputeOutput, EngineError> {
    if task.deadline.remaining().is_zero() {
        return Err(EngineError::DeadlinePassed);
    }
    let begin = Instant::now();
    let probabilities = alone(task, &[])?;
    Ok(ComputeOutput {
        probabilities,
        queue: Duration::ZERO,
        compute: begin.elapsed(),
    })
}

/// A time by both clocks: durations need one and spans the other.
#[derive(Clone, Copy)]
struct Moment {
    instant: Instant,
    time: SystemTime,
}

impl Moment {
    fn now() -> Self {
        Self {
            instant: Instant::now(),
            time: SystemTime::now(),
        }
    }
}

/// A run that was computed as one batch.
struct Joint {
    /// The span `batch`, if it is sampled.
    batch: Option<LinkTarget>,
    /// The task whose trace has it.
    leader: usize,
    rows: usize,
    end: SystemTime,
}

fn alone(task: &ComputeTask, links: &[LinkTarget]) -> Outcome {
    with_context(&task.context, || {
        infer(&*task.loaded.model, &task.batch, links)
    })
}

/// Computes the batches of all tasks as one. If that fails, each is computed alone, so that it fails
/// only for the request whose fault it is.
fn together(run: &[QueuedTask]) -> (Vec<Outcome>, Option<Joint>) {
    let leader = leader(run);
    let mut joined = run[0].task.batch.clone();
    for queued in &run[1..] {
        joined.append(&queued.task.batch);
    }
    let span = start_batch(run, leader, joined.len());
    let batch = LinkTarget::of(&span.context());
    let links = batch.as_slice();
    let outcome = span.in_scope(|| infer(&*run[0].task.loaded.model, &joined, links));
    match outcome {
        Ok(probabilities) => {
            let end = SystemTime::now();
            span.end_at(end);
            let sizes = run.iter().map(|queued| queued.task.batch.len());
            let outcomes = probabilities.split(sizes).map(Ok).collect();
            let rows = joined.len();
            let joint = Joint {
                batch,
                leader,
                rows,
                end,
            };
            (outcomes, Some(joint))
        }
        Err(error) => {
            span.fail(&error, error.error_type());
            drop(span);
            let outcomes = run.iter().map(|queued| again(queued, links)).collect();
            (outcomes, None)
        }
    }
}

/// The span of a run, below that of its leader, with links to the spans of all tasks.
fn start_batch(run: &[QueuedTask], leader: usize, rows: usize) -> Span {
    let members: Vec<LinkTarget> = run
        .iter()
        .filter_map(|queued| LinkTarget::of(&queued.task.context))
        .collect();
    let names = &run[0].task.loaded.names;
    let attributes = vec![
        KeyValue::new(attr::ML_MODEL_NAME, Arc::clone(&names.model)),
        KeyValue::new(attr::ML_MODEL_VERSION, Arc::clone(&names.version)),
        KeyValue::new(attr::ML_BATCH_SIZE, integer(rows)),
        KeyValue::new(attr::ML_BATCH_REQUESTS, integer(run.len())),
    ];
    with_context(&run[leader].task.context, || {
        Span::start_linked("batch", attributes, &members)
    })
}

/// The task whose trace has the span `batch`: the first that is sampled, so that no link leads to
/// nothing.
fn leader(run: &[QueuedTask]) -> usize {
    let sampled = |queued: &QueuedTask| LinkTarget::of(&queued.task.context).is_some();
    run.iter().position(sampled).unwrap_or(0)
}

fn again(queued: &QueuedTask, links: &[LinkTarget]) -> Outcome {
    if queued.is_wanted() {
        alone(&queued.task, links)
    } else {
        Err(EngineError::DeadlinePassed)
    }
}

/// Computes a batch below the current span. A panic is an error and does not end the thread.
fn infer(model: &dyn Model, batch: &Batch, links: &[LinkTarget]) -> Outcome {
    let span = Span::start_linked("model_inference", Vec::new(), links);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        span.in_scope(|| model.probabilities(batch))
    }));
    let outcome = match outcome {
        Ok(result) => result.map_err(EngineError::Compute),
        Err(_) => Err(EngineError::Panicked),
    };
    match &outcome {
        Ok(_) => span.event("inference_completed", vec![size(batch.len())]),
        Err(EngineError::Compute(error)) => span.fail(error, "compute_error"),
        Err(error) => span.fail(error, error.error_type()),
    }
    outcome
}

fn record_queue(queued: &QueuedTask, begin: Moment) {
    let since = begin.time - begin.instant.duration_since(queued.enqueued);
    with_context(&queued.task.context, || {
        Span::start_linked_at("queue", Vec::new(), &[], since).end_at(begin.time);
    });
}

impl Joint {
    /// Records the run in the trace of a task that is not the leader.
    fn record(&self, queued: &QueuedTask, begin: Moment) {
        with_context(&queued.task.context, || {
            let name = "model_inference";
            let links = self.batch.as_slice();
            let span = Span::start_linked_at(name, Vec::new(), links, begin.time);
            span.event_at("inference_completed", self.end, vec![size(self.rows)]);
            span.end_at(self.end);
        });
    }
}

fn size(rows: usize) -> KeyValue {
    KeyValue::new(attr::ML_BATCH_SIZE, integer(rows))
}

fn integer(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
