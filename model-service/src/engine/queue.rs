//! The queue of tasks, and which of them a free thread takes together.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::{BatchLimits, ComputeOutput, ComputeTask, EngineError, EngineOptions};
use crate::model::Batch;

/// The most tasks of one run. Each is a link of the span `batch`, and the SDK drops links beyond 128
/// by default.
const MAX_TASKS: usize = 128;

/// The tasks that wait for a thread, oldest first.
pub(super) struct Queue {
    state: Mutex<State>,
    /// A task has come, or the queue is closed.
    changed: Condvar,
    capacity: usize,
    limits: BatchLimits,
}

/// Counts as a thread that computes, until it is dropped.
pub(super) struct Turn<'a>(&'a Queue);

struct State {
    tasks: VecDeque<QueuedTask>,
    /// Threads that compute nothing.
    free: usize,
    is_closed: bool,
}

pub(super) struct QueuedTask {
    pub(super) task: ComputeTask,
    pub(super) enqueued: Instant,
    /// Whether it waits for others: for a computation to end, or for more tasks to go with it.
    pub(super) waits: bool,
    /// Until when it waits for more tasks while a thread is free.
    latest_start: Instant,
    pub(super) answer: oneshot::Sender<Result<ComputeOutput, EngineError>>,
}

impl Queue {
    pub(super) fn new(options: EngineOptions) -> Self {
        Self {
            state: Mutex::new(State {
                tasks: VecDeque::new(),
                free: options.threads,
                is_closed: false,
            }),
            changed: Condvar::new(),
            capacity: options.queue_capacity,
            limits: options.batch,
        }
    }

    pub(super) fn push(&self, mut queued: QueuedTask) -> Result<(), EngineError> {
        let mut state = self.state.lock();
        if state.tasks.len() >= self.capacity {
            // Tasks of callers who left take no place from others.
            state.tasks.retain(QueuedTask::is_wanted);
        }
        if state.tasks.len() >= self.capacity {
            return Err(EngineError::QueueFull);
        }
        queued.waits = state.tasks.len() >= state.free || !self.limits.wait.is_zero();
        // Half of the time that is left is for the computation.
        let half = queued.task.deadline.remaining() / 2;
        queued.latest_start = queued.enqueued + half.min(self.limits.wait);
        state.tasks.push_back(queued);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// The turn of a free thread, for a task that its caller computes; `None` when there is none, or when
    /// tasks wait or are to wait for company.
    pub(super) fn turn(&self) -> Option<Turn<'_>> {
        let mut state = self.state.lock();
        if state.free == 0 || !state.tasks.is_empty() || !self.limits.wait.is_zero() {
            return None;
        }
        state.free -= 1;
        Some(Turn(self))
    }

    /// Waits for tasks and moves those that go together into `run`, which is empty. False when the
    /// queue is closed and empty.
    pub(super) fn take(&self, run: &mut Vec<QueuedTask>) -> bool {
        let mut state = self.state.lock();
        loop {
            if state.take_first(run) {
                state.free = state.free.saturating_sub(1);
                self.take_others(&mut state, run);
                if !run.is_empty() {
                    break;
                }
                state.free += 1;
            } else if state.is_closed {
                return false;
            } else {
                self.changed.wait(&mut state);
            }
        }
        // This thread may have been woken for a task that it leaves behind.
        if !state.tasks.is_empty() {
            self.changed.notify_one();
        }
        true
    }

    /// A thread has computed its tasks. Said before it answers them: a caller who then sends the
    /// next task finds the thread free.
    pub(super) fn free(&self) {
        self.state.lock().free += 1;
    }

    /// The threads end when they have computed what is queued.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_all();
    }

    fn take_others(
        &self,
        state: &mut parking_lot::MutexGuard<'_, State>,
        run: &mut Vec<QueuedTask>,
    ) {
        let waits = !self.limits.wait.is_zero();
        if state.tasks.is_empty() && !waits {
            return;
        }
        let mut size = RunSize::of(&run[0].task.batch);
        let mut is_full = state.take_fitting(run, &mut size, self.limits);
        if !waits {
            return;
        }
        // Tasks of another model that no thread is free for must not wait for this one's company.
        while !is_full && state.tasks.is_empty() && !state.is_closed {
            let latest = run.iter().map(|queued| queued.latest_start).min();
            let Some(latest) = latest else { break };
            let timeout = self.changed.wait_until(state, latest);
            is_full = state.take_fitting(run, &mut size, self.limits);
            if timeout.timed_out() {
                break;
            }
        }
        drop_unwanted(run);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.free();
    }
}

impl State {
    fn take_first(&mut self, run: &mut Vec<QueuedTask>) -> bool {
        while let Some(queued) = self.tasks.pop_front() {
            if queued.is_wanted() {
                run.push(queued);
                return true;
            }
            queued.refuse();
        }
        false
    }

    /// Moves the tasks that go with the first of `run`, in their order, until one is too large.
    /// Returns whether that was so.
    fn take_fitting(
        &mut self,
        run: &mut Vec<QueuedTask>,
        size: &mut RunSize,
        limits: BatchLimits,
    ) -> bool {
        let mut at = 0;
        while at < self.tasks.len() {
            let candidate = &self.tasks[at];
            if !candidate.goes_with(&run[0]) {
                at += 1;
                continue;
            }
            let is_wanted = candidate.is_wanted();
            let larger = size.plus(RunSize::of(&candidate.task.batch));
            if is_wanted && !larger.is_within(limits) {
                return true;
            }
            let Some(queued) = self.tasks.remove(at) else {
                break;
            };
            if is_wanted {
                *size = larger;
                run.push(queued);
            } else {
                queued.refuse();
            }
        }
        !size.plus(RunSize::SMALLEST).is_within(limits)
    }
}

impl QueuedTask {
    pub(super) fn new(
        task: ComputeTask,
        answer: oneshot::Sender<Result<ComputeOutput, EngineError>>,
    ) -> Self {
        let now = Instant::now();
        Self {
            task,
            enqueued: now,
            waits: false,
            latest_start: now,
            answer,
        }
    }

    /// Whether somebody waits for the answer and can get it in time.
    pub(super) fn is_wanted(&self) -> bool {
        !self.answer.is_closed() && !self.task.deadline.remaining().is_zero()
    }

    /// Ends a task that is not wanted.
    pub(super) fn refuse(self) {
        let _ = self.answer.send(Err(EngineError::DeadlinePassed));
    }

    /// Whether one call of a model can compute both.
    fn goes_with(&self, other: &Self) -> bool {
        let (own, others) = (&self.task, &other.task);
        Arc::ptr_eq(&own.loaded, &others.loaded) && own.batch.is_like(&others.batch)
    }
}

/// The size of the tasks of a run.
#[derive(Clone, Copy, Debug)]
struct RunSize {
    tasks: usize,
    rows: usize,
    /// Tokens of the longest text; 0 for rows of a table.
    longest: usize,
}

impl RunSize {
    const SMALLEST: Self = Self {
        tasks: 1,
        rows: 1,
        longest: 0,
    };

    fn of(batch: &Batch) -> Self {
        Self {
            tasks: 1,
            rows: batch.len(),
            longest: match batch {
                Batch::Rows(_) => 0,
                Batch::Tokens(tokens) => tokens.texts().map(<[u32]>::len).max().unwrap_or(0),
            },
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            tasks: self.tasks + other.tasks,
            rows: self.rows + other.rows,
            longest: self.longest.max(other.longest),
        }
    }

    fn is_within(self, limits: BatchLimits) -> bool {
        self.tasks <= MAX_TASKS
            && self.rows <= limits.rows
            && self.rows.saturating_mul(self.longest) <= limits.tokens
    }
}

/// Ends the tasks that are no longer wanted, after a wait.
fn drop_unwanted(run: &mut Vec<QueuedTask>) {
    for queued in std::mem::take(run) {
        if queued.is_wanted() {
            run.push(queued);
        } else {
            queued.refuse();
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Queue({} waiting)",
            self.state.lock().tasks.len()
        )
    }
}
