//! The compute threads: tasks come in through a bounded queue, results go out through a oneshot
//! each.
//!
//! Models block the thread that they run on, so they do not run on Tokio's. A task is the batch of
//! one request; batching across requests would take several tasks in [`next`] and answer each with
//! its part of the result.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use runtime::Deadline;
use telemetry::{Context, KeyValue, Span, attr, span::with_context};
use tokio::sync::oneshot;

use crate::model::{Batch, ComputeError, Model, Probabilities};

/// The queue in front of the compute threads. The threads end when the engine is dropped.
#[derive(Debug)]
pub(crate) struct Engine {
    queue: SyncSender<QueuedTask>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct EngineOptions {
    pub(crate) threads: usize,
    /// Tasks that may wait.
    pub(crate) queue_capacity: usize,
}

/// A batch to compute.
pub(crate) struct ComputeTask {
    pub(crate) model: Arc<dyn Model>,
    /// Ready for the model, with features normalised; at least one row.
    pub(crate) batch: Batch,
    pub(crate) deadline: Deadline,
    /// Parent of the span `model_inference`.
    pub(crate) context: Context,
}

#[derive(Debug)]
pub(crate) struct ComputeOutput {
    pub(crate) probabilities: Probabilities,
    /// Time in the queue.
    pub(crate) queue: Duration,
    /// Time on the compute thread.
    pub(crate) compute: Duration,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("too many inferences are waiting")]
    QueueFull,
    #[error("the deadline of the request has passed")]
    DeadlinePassed,
    #[error("the model failed")]
    Compute(#[source] ComputeError),
    #[error("the model panicked")]
    Panicked,
}

struct QueuedTask {
    task: ComputeTask,
    enqueued: Instant,
    answer: oneshot::Sender<Result<ComputeOutput, EngineError>>,
}

impl Engine {
    pub(crate) fn start(options: EngineOptions) -> std::io::Result<Self> {
        let (queue, tasks) = sync_channel(options.queue_capacity);
        let tasks = Arc::new(Mutex::new(tasks));
        for number in 1..=options.threads {
            let tasks = Arc::clone(&tasks);
            std::thread::Builder::new()
                .name(format!("compute-{number}"))
                .spawn(move || {
                    while let Some(queued) = next(&tasks) {
                        execute(queued);
                    }
                })?;
        }
        Ok(Self { queue })
    }

    /// Queues the task and waits for its result. Dropping the future cancels the task unless it has
    /// begun.
    pub(crate) async fn compute(&self, task: ComputeTask) -> Result<ComputeOutput, EngineError> {
        let (answer, result) = oneshot::channel();
        let remaining = task.deadline.remaining();
        let queued = QueuedTask {
            task,
            enqueued: Instant::now(),
            answer,
        };
        match self.queue.try_send(queued) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(EngineError::QueueFull),
            // The threads end only with the queue, unless one of them panicked.
            Err(TrySendError::Disconnected(_)) => return Err(EngineError::Panicked),
        }
        match tokio::time::timeout(remaining, result).await {
            Ok(Ok(output)) => output,
            Ok(Err(_)) => Err(EngineError::Panicked),
            Err(_) => Err(EngineError::DeadlinePassed),
        }
    }
}

impl EngineError {
    /// The bounded word for `error.type`.
    pub(crate) fn error_type(&self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::DeadlinePassed => "deadline_passed",
            Self::Compute(_) => "compute_error",
            Self::Panicked => "panic",
        }
    }
}

/// The next task that a request still waits for. One thread waits in the channel and the others for
/// the lock, which is free during a computation.
fn next(tasks: &Mutex<Receiver<QueuedTask>>) -> Option<QueuedTask> {
    loop {
        let queued = tasks.lock().recv().ok()?;
        if queued.answer.is_closed() {
            continue;
        }
        if queued.task.deadline.remaining().is_zero() {
            let _ = queued.answer.send(Err(EngineError::DeadlinePassed));
            continue;
        }
        return Some(queued);
    }
}

fn execute(queued: QueuedTask) {
    let QueuedTask {
        task,
        enqueued,
        answer,
    } = queued;
    let begin = Instant::now();
    // A panic fails one request and must not end the thread. The caller learns of it from the
    // dropped `answer`.
    let outcome = catch_unwind(AssertUnwindSafe(|| infer(&task)));
    if let Ok(result) = outcome {
        let output = result.map(|probabilities| ComputeOutput {
            probabilities,
            queue: begin.duration_since(enqueued),
            compute: begin.elapsed(),
        });
        let _ = answer.send(output.map_err(EngineError::Compute));
    }
}

fn infer(task: &ComputeTask) -> Result<Probabilities, ComputeError> {
    let span = with_context(&task.context, || Span::start("model_inference", Vec::new()));
    let result = span.in_scope(|| task.model.probabilities(&task.batch));
    match &result {
        Ok(_) => {
            let rows = i64::try_from(task.batch.len()).unwrap_or(i64::MAX);
            let rows = KeyValue::new(attr::ML_BATCH_SIZE, rows);
            span.event("inference_completed", vec![rows]);
        }
        Err(error) => span.fail(error, "compute_error"),
    }
    result
}

#[cfg(test)]
pub(crate) mod tests;
