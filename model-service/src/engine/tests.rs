//! The queue and the threads, with a model whose pace the test decides.

mod short;

use std::sync::mpsc;
use std::task::Poll;

use parking_lot::Mutex;
use telemetry::task::spawn;
use tokio::task::JoinHandle;

use super::*;
use crate::model::{Model, Rows, Tokens};

/// A model that reports how many rows it begins, and waits until the test lets it go on. The
/// probabilities of a row follow from its values.
pub(crate) struct Gate {
    begun: mpsc::Sender<usize>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Gate {
    pub(crate) fn new() -> (Arc<Self>, mpsc::Receiver<usize>, mpsc::Sender<()>) {
        let (begun, begins) = mpsc::channel();
        let (open, go_on) = mpsc::channel();
        let gate = Self {
            begun,
            go_on: Mutex::new(go_on),
        };
        (Arc::new(gate), begins, open)
    }
}

/// A row with this value makes the gate fail, or panic.
const FAILS: f32 = 666.0;
const PANICS: f32 = 777.0;

impl Model for Gate {
    fn probabilities(&self, batch: &Batch) -> Result<Probabilities, ComputeError> {
        self.begun.send(batch.len()).unwrap();
        self.go_on.lock().recv().unwrap();
        let Batch::Rows(rows) = batch else {
            return Ok(Probabilities::from_logits(vec![0.0; batch.len() * 2], 2));
        };
        let logits: Vec<f32> = rows.values().to_vec();
        assert!(!logits.contains(&PANICS), "on purpose");
        if logits.contains(&FAILS) {
            return Err(ComputeError::NotFinite);
        }
        Ok(Probabilities::from_logits(logits, 2))
    }
}

/// A model that panics or fails.
pub(crate) enum Faulty {
    Panics,
    Fails,
}

impl Model for Faulty {
    fn probabilities(&self, _batch: &Batch) -> Result<Probabilities, ComputeError> {
        match self {
            Self::Panics => panic!("on purpose"),
            Self::Fails => Err(ComputeError::NotFinite),
        }
    }
}

fn version(model: Arc<dyn Model>) -> Arc<Loaded> {
    Arc::new(Loaded::new(crate::tests::manifest(), model, None))
}

fn task(loaded: &Arc<Loaded>, budget: Duration) -> ComputeTask {
    task_of(loaded, rows(&[0.0; 4]), budget)
}

fn task_of(loaded: &Arc<Loaded>, batch: Batch, budget: Duration) -> ComputeTask {
    ComputeTask {
        loaded: Arc::clone(loaded),
        batch,
        deadline: Deadline::after(budget),
        context: Context::new(),
    }
}

fn rows(values: &[f32]) -> Batch {
    Batch::Rows(Rows::new(values.to_vec(), 2).unwrap())
}

/// A text for each length.
fn texts(lengths: &[usize]) -> Batch {
    let mut tokens = Tokens::default();
    for length in lengths {
        tokens.push(&vec![1; *length]);
    }
    Batch::Tokens(tokens)
}

const LONG: Duration = Duration::from_mins(1);

const LIMITS: BatchLimits = BatchLimits {
    rows: 256,
    tokens: 16_384,
    wait: Duration::ZERO,
};

fn engine(queue_capacity: usize) -> Arc<Engine> {
    engine_with(1, queue_capacity, LIMITS)
}

fn engine_with(threads: usize, queue_capacity: usize, batch: BatchLimits) -> Arc<Engine> {
    let options = EngineOptions {
        threads,
        queue_capacity,
        batch,
    };
    Arc::new(Engine::start(options).unwrap())
}

type Computed = Result<ComputeOutput, EngineError>;

/// Queues a task; it is in the queue, or with a thread, when this returns.
async fn queue(engine: &Arc<Engine>, task: ComputeTask) -> JoinHandle<Computed> {
    let engine = Arc::clone(engine);
    let mut computed = Box::pin(async move { engine.compute(task).await });
    let first = std::future::poll_fn(|context| Poll::Ready(computed.as_mut().poll(context))).await;
    spawn(async move {
        match first {
            Poll::Ready(output) => output,
            Poll::Pending => computed.await,
        }
    })
}

/// Waits for a message of the model; the timeout keeps a failed test from hanging.
fn wait(receiver: &mpsc::Receiver<usize>) -> usize {
    receiver.recv_timeout(LONG).expect("the model begins")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_and_recovers() {
    let (gate, begins, open) = Gate::new();
    let (engine, loaded) = (engine(1), version(gate));
    let running = queue(&engine, task(&loaded, LONG)).await;
    wait(&begins);
    let waiting = queue(&engine, task(&loaded, LONG)).await;
    let refused = engine.compute(task(&loaded, LONG)).await;
    assert!(matches!(refused, Err(EngineError::QueueFull)));
    // A caller who leaves makes place for another.
    waiting.abort();
    let _ = waiting.await;
    let waiting = queue(&engine, task(&loaded, LONG)).await;
    open.send(()).unwrap();
    open.send(()).unwrap();
    let output = running.await.unwrap().unwrap();
    assert_eq!(output.probabilities.rows().count(), 2);
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_threads_compute_at_the_same_time() {
    let (gate, begins, open) = Gate::new();
    let (engine, loaded) = (engine_with(2, 8, LIMITS), version(gate));
    let first = queue(&engine, task(&loaded, LONG)).await;
    wait(&begins);
    let second = queue(&engine, task(&loaded, LONG)).await;
    wait(&begins);
    // Either thread may take either message.
    open.send(()).unwrap();
    open.send(()).unwrap();
    assert!(first.await.unwrap().is_ok());
    assert!(second.await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_nobody_waits_for_are_skipped() {
    let (gate, begins, open) = Gate::new();
    let (engine, loaded) = (engine(8), version(gate));
    let running = queue(&engine, task(&loaded, LONG)).await;
    wait(&begins);
    let departed = queue(&engine, task(&loaded, LONG)).await;
    departed.abort();
    let _ = departed.await;
    let late = engine
        .compute(task(&loaded, Duration::from_millis(1)))
        .await;
    assert!(matches!(late, Err(EngineError::DeadlinePassed)));
    let wanted = queue(&engine, task(&loaded, LONG)).await;
    open.send(()).unwrap();
    open.send(()).unwrap();
    assert!(running.await.unwrap().is_ok());
    assert!(wanted.await.unwrap().is_ok());
    assert_eq!(wait(&begins), 2, "neither of the others was computed");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_tasks_are_computed_together_and_each_gets_its_own_rows() {
    let (gate, begins, open) = Gate::new();
    let (engine, loaded) = (engine(8), version(gate));
    let running = queue(&engine, task(&loaded, LONG)).await;
    wait(&begins);
    let inputs: [&[f32]; 3] = [&[0.0, 1.0], &[2.0, -1.0, 0.5, 0.25], &[-3.0, 3.0]];
    let mut waiting = Vec::new();
    for values in inputs {
        waiting.push(queue(&engine, task_of(&loaded, rows(values), LONG)).await);
    }
    open.send(()).unwrap();
    assert!(running.await.unwrap().is_ok());
    assert_eq!(wait(&begins), 4, "rows of three tasks");
    open.send(()).unwrap();
    for (values, computed) in inputs.into_iter().zip(waiting) {
        let output = computed.await.unwrap().unwrap();
        let expected = Probabilities::from_logits(values.to_vec(), 2);
        assert_eq!(output.probabilities, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_tasks_of_one_version_go_together_and_none_starves() {
    let (gate, begins, open) = Gate::new();
    let (engine, one, two) = (engine(8), version(gate.clone()), version(gate));
    let mut all = vec![queue(&engine, task(&one, LONG)).await];
    wait(&begins);
    // By versions 1, 2, 1, 2, and texts between them.
    for (loaded, batch) in [
        (&one, rows(&[0.0; 2])),
        (&two, rows(&[0.0; 4])),
        (&one, texts(&[1; 9])),
        (&one, rows(&[0.0; 6])),
        (&two, rows(&[0.0; 10])),
    ] {
        all.push(queue(&engine, task_of(loaded, batch, LONG)).await);
    }
    for _ in 0..4 {
        open.send(()).unwrap();
    }
    assert_eq!([wait(&begins), wait(&begins), wait(&begins)], [4, 7, 9]);
    for computed in all {
        assert!(computed.await.unwrap().is_ok());
    }
}

/// The sizes of the runs, if tasks of these batches wait at the same time.
async fn runs_of(limits: BatchLimits, batches: Vec<Batch>, runs: usize) -> Vec<usize> {
    let (gate, begins, open) = Gate::new();
    let (engine, loaded) = (engine_with(1, 256, limits), version(gate));
    let mut all = vec![queue(&engine, task(&loaded, LONG)).await];
    wait(&begins);
    for batch in batches {
        all.push(queue(&engine, task_of(&loaded, batch, LONG)).await);
    }
    for _ in 0..=runs {
        open.send(()).unwrap();
    }
    for computed in all {
        assert!(computed.await.unwrap().is_ok());
    }
    drop(open);
    begins.try_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_bounded_by_rows_tokens_and_tasks() {
    let limits = BatchLimits { rows: 4, ..LIMITS };
    let batches = [2, 2, 1, 5, 4].map(|count| rows(&vec![0.0; count * 2]));
    // A task is never split: the one of 5 rows is computed alone.
    let runs = runs_of(limits, batches.to_vec(), 4).await;
    assert_eq!(runs, [4, 1, 5, 4]);

    let limits = BatchLimits {
        tokens: 60,
        ..LIMITS
    };
    // 3 × 20 tokens are allowed and 4 × 20 are not, nor is 2 × 31.
    let batches = [
        texts(&[20, 1]),
        texts(&[1]),
        texts(&[1]),
        texts(&[31]),
        texts(&[70]),
        texts(&[1; 3]),
    ];
    let runs = runs_of(limits, batches.to_vec(), 5).await;
    assert_eq!(runs, [3, 1, 1, 1, 3]);

    let batches = vec![rows(&[0.0; 2]); 129];
    assert_eq!(runs_of(LIMITS, batches, 2).await, [128, 1]);

    let limits = BatchLimits { rows: 1, ..LIMITS };
    let batches = vec![rows(&[0.0; 2]); 3];
    assert_eq!(runs_of(limits, batches, 3).await, [1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_one_task_does_not_reach_the_others() {
    for bad in [FAILS, PANICS] {
        let (gate, begins, open) = Gate::new();
        let (engine, loaded) = (engine(8), version(gate));
        let running = queue(&engine, task(&loaded, LONG)).await;
        wait(&begins);
        let mut waiting = Vec::new();
        for value in [1.0, bad, 2.0] {
            waiting.push(queue(&engine, task_of(&loaded, rows(&[value, 0.0]), LONG)).await);
        }
        // The first, the three together, and each of the three.
        for _ in 0..5 {
            open.send(()).unwrap();
        }
        assert!(running.await.unwrap().is_ok());
        let outcomes = [
            waiting.remove(0).await.unwrap(),
            waiting.remove(0).await.unwrap(),
            waiting.remove(0).await.unwrap(),
        ];
        let [Ok(first), Err(error), Ok(third)] = outcomes else {
            panic!("{outcomes:?}");
        };
        let expected = |value| Probabilities::from_logits(vec![value, 0.0], 2);
        assert_eq!(first.probabilities, expected(1.0));
        assert_eq!(third.probabilities, expected(2.0));
        assert_eq!(
            matches!(error, EngineError::Panicked),
            bad.total_cmp(&PANICS).is_eq(),
            "{error:?}"
        );
        assert_eq!(begins.try_iter().collect::<Vec<_>>(), [3, 1, 1, 1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_waits_for_company_until_the_run_is_full_or_the_time_is_over() {
    let (gate, begins, open) = Gate::new();
    let limits = BatchLimits {
        rows: 4,
        wait: LONG,
        ..LIMITS
    };
    let (engine, loaded) = (engine_with(1, 8, limits), version(gate));
    let first = queue(&engine, task(&loaded, LONG)).await;
    let second = queue(&engine, task(&loaded, LONG)).await;
    open.send(()).unwrap();
    assert_eq!(wait(&begins), 4);
    assert!(first.await.unwrap().is_ok());
    assert!(second.await.unwrap().is_ok());

    // Nobody comes, so half of the time until the deadline is the end of the wait.
    open.send(()).unwrap();
    let alone = engine.compute(task(&loaded, Duration::from_secs(2))).await;
    assert!(alone.unwrap().queue >= Duration::from_millis(900));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_company_does_not_hold_up_another_model() {
    let (gate, begins, open) = Gate::new();
    let limits = BatchLimits {
        wait: LONG,
        ..LIMITS
    };
    let (engine, one, two) = (
        engine_with(1, 8, limits),
        version(gate.clone()),
        version(gate),
    );
    let first = queue(&engine, task_of(&one, rows(&[0.0; 2]), LONG)).await;
    let second = queue(&engine, task_of(&two, rows(&[0.0; 4]), LONG)).await;
    assert_eq!(wait(&begins), 1);
    second.abort();
    open.send(()).unwrap();
    assert!(first.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_panic_fails_one_task_only() {
    let engine = engine(8);
    let panics = version(Arc::new(Faulty::Panics));
    for _ in 0..2 {
        let panicked = engine.compute(task(&panics, LONG)).await;
        assert!(matches!(panicked, Err(EngineError::Panicked)));
    }
    let failed = engine
        .compute(task(&version(Arc::new(Faulty::Fails)), LONG))
        .await;
    assert!(matches!(
        failed,
        Err(EngineError::Compute(ComputeError::NotFinite))
    ));
}
