//! The queue and the threads, with a model whose pace the test decides.

use std::sync::mpsc;

use super::*;

/// A model that tells when it begins and waits until it may go on.
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
    fn probabilities(&self, rows: &Rows) -> Result<Probabilities, ModelError> {
        self.begun.send(()).unwrap();
        self.go_on.lock().unwrap().recv().unwrap();
        Ok(Probabilities::from_logits(vec![0.0; rows.len() * 2], 2))
    }
}

/// A model that panics or fails.
pub(crate) enum Faulty {
    Panics,
    Fails,
}

impl Model for Faulty {
    fn probabilities(&self, _rows: &Rows) -> Result<Probabilities, ModelError> {
        match self {
            Self::Panics => panic!("on purpose"),
            Self::Fails => Err(ModelError::NotFinite),
        }
    }
}

fn job(model: Arc<dyn Model>, budget: Duration) -> Job {
    Job {
        model,
        rows: Rows::new(vec![0.0; 4], 2).unwrap(),
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

/// Waits for a message of the model without blocking the runtime's only thread for good.
fn wait(receiver: &mpsc::Receiver<()>) {
    receiver.recv_timeout(LONG).expect("the model begins");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_and_recovers() {
    let (gate, begins, open) = Gate::new();
    let engine = engine(1);
    let compute = |engine: &Arc<Engine>| {
        let (engine, job) = (Arc::clone(engine), job(gate.clone(), LONG));
        telemetry::task::spawn(async move { engine.compute(job).await })
    };
    let running = compute(&engine);
    wait(&begins);
    let mut others: Vec<_> = (0..2).map(|_| compute(&engine)).collect();
    let refused = loop {
        // One of the two waits in the queue for as long as the gate is shut, so that the other is the one that ends.
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
    let jobs: Vec<_> = (0..2)
        .map(|_| {
            let (engine, job) = (Arc::clone(&engine), job(gate.clone(), LONG));
            telemetry::task::spawn(async move { engine.compute(job).await })
        })
        .collect();
    wait(&begins);
    wait(&begins);
    // Either thread may take either word.
    open.send(()).unwrap();
    open.send(()).unwrap();
    for job in jobs {
        assert!(job.await.unwrap().is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_nobody_waits_for_is_skipped() {
    let (gate, begins, open) = Gate::new();
    let engine = engine(8);
    let running = {
        let (engine, job) = (Arc::clone(&engine), job(gate.clone(), LONG));
        telemetry::task::spawn(async move { engine.compute(job).await })
    };
    wait(&begins);
    let gone = engine.compute(job(gate.clone(), LONG));
    tokio::select! {
        biased;
        _ = gone => unreachable!("the gate is shut"),
        () = std::future::ready(()) => {}
    }
    let late = engine
        .compute(job(gate.clone(), Duration::from_millis(1)))
        .await;
    assert!(matches!(late, Err(EngineError::DeadlinePassed)));
    open.send(()).unwrap();
    assert!(running.await.unwrap().is_ok());
    open.send(()).unwrap();
    assert!(engine.compute(job(gate, LONG)).await.is_ok());
    wait(&begins);
    assert!(
        begins.try_recv().is_err(),
        "neither the caller who left nor the late one was computed"
    );
}

#[tokio::test]
async fn a_panic_is_one_requests_failure() {
    let engine = engine(8);
    for _ in 0..2 {
        let panicked = engine.compute(job(Arc::new(Faulty::Panics), LONG)).await;
        assert!(matches!(panicked, Err(EngineError::Panicked)));
    }
    let failed = engine.compute(job(Arc::new(Faulty::Fails), LONG)).await;
    assert!(matches!(
        failed,
        Err(EngineError::Model(ModelError::NotFinite))
    ));
}
