//! The compute threads: tasks come in through a bounded queue, results go out through a oneshot
//! each.
//!
//! Models block the thread that they run on, so they do not run on Tokio's, unless a computation is
//! shorter than the way to a compute thread and back: while no task waits and a thread is free, its
//! caller computes it. A task is what one request wants computed. A free thread takes all waiting
//! tasks of one model version together, up to [`BatchLimits`], and answers each with its part of the
//! result.

mod queue;
mod run;

use std::sync::Arc;
use std::time::Duration;

use runtime::Deadline;
use telemetry::Context;
use tokio::sync::oneshot;

use crate::model::{Batch, ComputeError, Probabilities};
use crate::repository::Loaded;
use queue::{Queue, QueuedTask};

/// The queue in front of the compute threads. The threads end when the engine is dropped.
#[derive(Debug)]
pub(crate) struct Engine {
    queue: Arc<Queue>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct EngineOptions {
    pub(crate) threads: usize,
    /// Tasks that may wait.
    pub(crate) queue_capacity: usize,
    pub(crate) batch: BatchLimits,
}

/// How many tasks are computed together. A task is never split, so one that exceeds a limit is
/// computed alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    /// Rows or texts.
    pub(crate) rows: usize,
    /// The longest text, in tokens, times the number of texts.
    pub(crate) tokens: usize,
    /// How long the first task may wait for others while a thread is free.
    pub(crate) wait: Duration,
}

/// A batch to compute.
pub(crate) struct ComputeTask {
    /// The version that computes it.
    pub(crate) loaded: Arc<Loaded>,
    /// Ready for the model, with features normalised; at least one row.
    pub(crate) batch: Batch,
    pub(crate) deadline: Deadline,
    /// Parent of the spans `queue`, `batch` and `model_inference`.
    pub(crate) context: Context,
}

#[derive(Debug)]
pub(crate) struct ComputeOutput {
    pub(crate) probabilities: Probabilities,
    /// Time in the queue.
    pub(crate) queue: Duration,
    /// Time on the compute thread, for all tasks that were computed together.
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

impl Engine {
    pub(crate) fn start(options: EngineOptions) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::new(options));
        // Dropped if a thread cannot be started, which ends the others.
        let engine = Self {
            queue: Arc::clone(&queue),
        };
        for number in 1..=options.threads {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new()
                .name(format!("compute-{number}"))
                .spawn(move || {
                    let mut tasks = Vec::new();
                    while queue.take(&mut tasks) {
                        run::execute(&mut tasks, &queue);
                    }
                })?;
        }
        Ok(engine)
    }

    /// Computes the task at once if it is short, or else queues it and waits for its result. Dropping
    /// the future cancels the task unless it has begun.
    pub(crate) async fn compute(&self, task: ComputeTask) -> Result<ComputeOutput, EngineError> {
        if task.loaded.model.is_short(&task.batch)
            && let Some(_turn) = self.queue.turn()
        {
            return run::at_once(&task);
        }
        let (answer, result) = oneshot::channel();
        let remaining = task.deadline.remaining();
        self.queue.push(QueuedTask::new(task, answer))?;
        match tokio::time::timeout(remaining, result).await {
            Ok(Ok(output)) => output,
            Ok(Err(_)) => Err(EngineError::Panicked),
            Err(_) => Err(EngineError::DeadlinePassed),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.queue.close();
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

#[cfg(test)]
pub(crate) mod tests;
