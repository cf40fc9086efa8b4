//! The threads that compute: a bounded queue in, a oneshot out, the trace context inside each command.
//!
//! Models are synchronous and busy, so they stay off Tokio's threads. A command is the batch of one request; batching
//! across requests would collect several commands in [`next`] and answer each from its part of the result.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use runtime::Deadline;
use telemetry::{Context, KeyValue, Span, attr, span::with_context};
use tokio::sync::oneshot;

use crate::model::{Model, ModelError, Probabilities, Rows};

/// The queue in front of the compute threads. The threads end when the engine is dropped.
#[derive(Debug)]
pub(crate) struct Engine {
    queue: SyncSender<Command>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct EngineOptions {
    pub(crate) threads: usize,
    /// Commands that may wait.
    pub(crate) queue_capacity: usize,
}

/// What is to be computed, until when, and below which span.
pub(crate) struct Job {
    pub(crate) model: Arc<dyn Model>,
    /// Normalised; at least one.
    pub(crate) rows: Rows,
    pub(crate) deadline: Deadline,
    pub(crate) context: Context,
}

#[derive(Debug)]
pub(crate) struct Computed {
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
    Model(#[source] ModelError),
    #[error("the model panicked")]
    Panicked,
}

struct Command {
    job: Job,
    enqueued: Instant,
    answer: oneshot::Sender<Result<Computed, EngineError>>,
}

impl Engine {
    pub(crate) fn start(options: EngineOptions) -> std::io::Result<Self> {
        let (queue, commands) = sync_channel(options.queue_capacity);
        let commands = Arc::new(Mutex::new(commands));
        for number in 1..=options.threads {
            let commands = Arc::clone(&commands);
            std::thread::Builder::new()
                .name(format!("compute-{number}"))
                .spawn(move || {
                    while let Some(command) = next(&commands) {
                        execute(command);
                    }
                })?;
        }
        Ok(Self { queue })
    }

    /// Queues the job and waits for its result. Dropping the future takes the job back unless it has begun.
    pub(crate) async fn compute(&self, job: Job) -> Result<Computed, EngineError> {
        let (answer, result) = oneshot::channel();
        let remaining = job.deadline.remaining();
        let command = Command {
            job,
            enqueued: Instant::now(),
            answer,
        };
        match self.queue.try_send(command) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(EngineError::QueueFull),
            // The threads live as long as the queue; without them the model cannot have survived.
            Err(TrySendError::Disconnected(_)) => return Err(EngineError::Panicked),
        }
        match tokio::time::timeout(remaining, result).await {
            Ok(Ok(computed)) => computed,
            Ok(Err(_)) => Err(EngineError::Panicked),
            Err(_) => Err(EngineError::DeadlinePassed),
        }
    }
}

/// The next command that somebody still waits for. One thread waits in the channel, the others for the lock; the lock is
/// free while a command is computed.
fn next(commands: &Mutex<Receiver<Command>>) -> Option<Command> {
    loop {
        let command = commands
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv()
            .ok()?;
        if command.answer.is_closed() {
            continue;
        }
        if command.job.deadline.remaining().is_zero() {
            let _ = command.answer.send(Err(EngineError::DeadlinePassed));
            continue;
        }
        return Some(command);
    }
}

fn execute(command: Command) {
    let Command {
        job,
        enqueued,
        answer,
    } = command;
    let begin = Instant::now();
    // A panic is one request's failure and must not take the thread, and with it the service, along. The dropped
    // `answer` tells the caller.
    let outcome = catch_unwind(AssertUnwindSafe(|| infer(&job)));
    if let Ok(result) = outcome {
        let computed = result.map(|probabilities| Computed {
            probabilities,
            queue: begin.duration_since(enqueued),
            compute: begin.elapsed(),
        });
        let _ = answer.send(computed.map_err(EngineError::Model));
    }
}

fn infer(job: &Job) -> Result<Probabilities, ModelError> {
    let span = with_context(&job.context, || Span::start("model_inference", Vec::new()));
    let result = span.in_scope(|| job.model.probabilities(&job.rows));
    match &result {
        Ok(_) => {
            let rows = i64::try_from(job.rows.len()).unwrap_or(i64::MAX);
            let rows = KeyValue::new(attr::ML_BATCH_SIZE, rows);
            span.event("inference_completed", vec![rows]);
        }
        Err(error) => span.fail(error, "compute_error"),
    }
    result
}

#[cfg(test)]
pub(crate) mod tests;
