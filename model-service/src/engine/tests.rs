//! The queue and the threads, with a model whose pace the test decides.

use std::sync::mpsc;

use super::*;
use crate::model::Rows;

/// A model that reports when it begins, and waits until the test lets it go on.
pub(crate) struct Gate {
    begun: mpsc::Sender<()>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Gate {
    pub(crate) fn new() -> (Arc<Self>, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (begun, begins) = mpsc::channel();
        let (open, go_on) = mpsc::channel();
        let gate = Self {
            begun,
            go_on: Mutex::new(go_on),
        };
        (Arc::new(gate), begins, open)
    }
}

impl Model for Gate {
    fn probabilities(&self, batch: &Batch) -> Result<Probabilities, ComputeError> {
        self.begun.send(()).unwrap();
        self.go_on.lock().recv().unwrap();
        Ok(Probabilities::from_logits(vec![0.0; batch.len() * 2], 2))
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

fn task(model: Arc<dyn Model>, budget: Duration) -> ComputeTask {
    ComputeTask {
        model,
        batch: Batch::Rows(Rows::new(vec![0.0; 4], 2).unwrap()),
        deadline: Deadline::after(budget),
        context: Context::new(),
    }
}

const LONG: Duration = Duration::from_mins(1);

fn engine(queue_capacity: usize) -> Arc<Engine> {
    let options = EngineOptions {
        threads: 1,
        queue_capacity,
    };
    Arc::new(Engine::start(options).unwrap())
}

/// Waits for a message of the model; the timeout keeps a failed test from hanging.
fn wait(receiver: &mpsc::Receiver<()>) {
    receiver.recv_timeout(LONG).expect("the model begins");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_and_recovers() {
    let (gate, begins, open) = Gate::new();
    let engine = engine(1);
    let compute = |engine: &Arc<Engine>| {
        let (engine, task) = (Arc::clone(engine), task(gate.clone(), LONG));
        telemetry::task::spawn(async move { engine.compute(task).await })
    };
    let running = compute(&engine);
    wait(&begins);
    let mut others: Vec<_> = (0..2).map(|_| compute(&engine)).collect();
    let refused = loop {
        // One of the two waits in the queue until the gate opens, so the other is the one that
        // ends.
        if let Some(at) = others.iter().position(tokio::task::JoinHandle::is_finished) {
            break others.remove(at);
        }
        tokio::task::yield_now().await;
    };
    assert!(matches!(
        refused.await.unwrap(),
        Err(EngineError::QueueFull)
    ));
    open.send(()).unwrap();
    open.send(()).unwrap();
    assert_eq!(
        running.await.unwrap().unwrap().probabilities.rows().count(),
        2
    );
    assert!(others.remove(0).await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_threads_compute_at_the_same_time() {
    let (gate, begins, open) = Gate::new();
    let engine = Arc::new(
        Engine::start(EngineOptions {
            threads: 2,
            queue_capacity: 8,
        })
        .unwrap(),
    );
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            let (engine, task) = (Arc::clone(&engine), task(gate.clone(), LONG));
            telemetry::task::spawn(async move { engine.compute(task).await })
        })
        .collect();
    wait(&begins);
    wait(&begins);
    // Either thread may take either message.
    open.send(()).unwrap();
    open.send(()).unwrap();
    for task in tasks {
        assert!(task.await.unwrap().is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_nobody_waits_for_are_skipped() {
    let (gate, begins, open) = Gate::new();
    let engine = engine(8);
    let running = {
        let (engine, task) = (Arc::clone(&engine), task(gate.clone(), LONG));
        telemetry::task::spawn(async move { engine.compute(task).await })
    };
    wait(&begins);
    let cancelled = engine.compute(task(gate.clone(), LONG));
    tokio::select! {
        biased;
        _ = cancelled => unreachable!("the gate is shut"),
        () = std::future::ready(()) => {}
    }
    let late = engine
        .compute(task(gate.clone(), Duration::from_millis(1)))
        .await;
    assert!(matches!(late, Err(EngineError::DeadlinePassed)));
    open.send(()).unwrap();
    assert!(running.await.unwrap().is_ok());
    open.send(()).unwrap();
    assert!(engine.compute(task(gate, LONG)).await.is_ok());
    wait(&begins);
    assert!(
        begins.try_recv().is_err(),
        "neither the cancelled task nor the late one was computed"
    );
}

#[tokio::test]
async fn a_panic_fails_one_task_only() {
    let engine = engine(8);
    for _ in 0..2 {
        let panicked = engine.compute(task(Arc::new(Faulty::Panics), LONG)).await;
        assert!(matches!(panicked, Err(EngineError::Panicked)));
    }
    let failed = engine.compute(task(Arc::new(Faulty::Fails), LONG)).await;
    assert!(matches!(
        failed,
        Err(EngineError::Compute(ComputeError::NotFinite))
    ));
}
