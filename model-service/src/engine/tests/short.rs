//! Short tasks, which their callers compute.

use std::thread;

use super::*;

/// A short computation that reports the name of its thread; like [`Gate`], it can be made to panic.
struct Short(mpsc::Sender<Option<String>>);

impl Model for Short {
    fn probabilities(&self, batch: &Batch) -> Result<Probabilities, ComputeError> {
        let name = thread::current().name().map(str::to_owned);
        self.0.send(name).unwrap();
        let Batch::Rows(rows) = batch else {
            return Err(ComputeError::Input);
        };
        assert!(!rows.values().contains(&PANICS), "on purpose");
        Ok(Probabilities::from_logits(rows.values().to_vec(), 2))
    }

    fn is_short(&self, batch: &Batch) -> bool {
        batch.len() <= 2
    }
}

fn short() -> (Arc<Loaded>, mpsc::Receiver<Option<String>>) {
    let (computed, names) = mpsc::channel();
    (version(Arc::new(Short(computed))), names)
}

/// Whether the last computation was made by a thread of the engine.
fn was_queued(names: &mpsc::Receiver<Option<String>>) -> bool {
    let name = names.recv_timeout(LONG).expect("the model computes");
    name.is_some_and(|name| name.starts_with("compute-"))
}

#[tokio::test]
async fn a_short_task_is_computed_by_its_caller_and_a_longer_one_is_queued() {
    let (engine, (loaded, names)) = (engine(8), short());
    for (values, queued) in [
        (&[0.0; 4][..], false),
        (&[0.0; 6], true),
        (&[0.0; 4], false),
    ] {
        let output = engine.compute(task_of(&loaded, rows(values), LONG)).await;
        assert_eq!(
            output.unwrap().probabilities.rows().count(),
            values.len() / 2
        );
        assert_eq!(was_queued(&names), queued, "{values:?}");
    }
}

#[tokio::test]
async fn a_short_task_is_queued_where_tasks_wait_for_company() {
    let limits = BatchLimits {
        rows: 2,
        wait: LONG,
        ..LIMITS
    };
    let (engine, (loaded, names)) = (engine_with(1, 8, limits), short());
    assert!(engine.compute(task(&loaded, LONG)).await.is_ok());
    assert!(was_queued(&names));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_task_waits_while_every_thread_computes() {
    let (gate, begins, open) = Gate::new();
    let (engine, gated, (loaded, names)) = (engine(8), version(gate), short());
    let running = queue(&engine, task(&gated, LONG)).await;
    wait(&begins);
    let waiting = queue(&engine, task(&loaded, LONG)).await;
    assert!(names.try_recv().is_err());
    open.send(()).unwrap();
    assert!(running.await.unwrap().is_ok());
    assert!(waiting.await.unwrap().is_ok());
    assert!(was_queued(&names));
}

#[tokio::test]
async fn a_short_task_fails_as_a_queued_one_does() {
    let (engine, (loaded, names)) = (engine(8), short());
    let late = engine.compute(task(&loaded, Duration::ZERO)).await;
    assert!(matches!(late, Err(EngineError::DeadlinePassed)));
    // The turn is given back each time.
    for _ in 0..2 {
        let panics = task_of(&loaded, rows(&[PANICS; 2]), LONG);
        let panicked = engine.compute(panics).await;
        assert!(matches!(panicked, Err(EngineError::Panicked)));
        assert!(!was_queued(&names));
    }
}
