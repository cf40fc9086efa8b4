//! The cache and the backend together: every read sees the acknowledged writes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::*;
use crate::backend::conformance::{at, key, number, views};
use crate::backend::{Engine, Pending};
use crate::value::FeatureValue;

/// A backend in memory whose next read or write can be held after it has happened and before it
/// answers.
#[derive(Default)]
struct Gated {
    rows: Mutex<std::collections::HashMap<EntityKey, Row>>,
    reads: AtomicUsize,
    hold_read: Mutex<Option<Arc<Gate>>>,
    hold_write: Mutex<Option<Arc<Gate>>>,
}

#[derive(Default)]
struct Gate {
    reached: Notify,
    open: Notify,
}

impl Gate {
    async fn pass(gate: Option<Arc<Self>>) {
        if let Some(gate) = gate {
            gate.reached.notify_one();
            gate.open.notified().await;
        }
    }
}

impl FeatureBackend for Gated {
    fn engine(&self) -> Engine {
        let call = |one| Call { one, batch: one };
        Engine {
            system: "memory",
            read: call("READ"),
            write: call("WRITE"),
        }
    }

    fn mark<'a>(&'a self, _: &'a str) -> Pending<'a, Option<String>> {
        Box::pin(async { Ok(None) })
    }

    fn set_mark<'a>(&'a self, _: &'a str, _: Option<String>) -> Pending<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn read<'a>(
        &'a self,
        _: &'a Arc<FeatureView>,
        keys: &'a [EntityKey],
    ) -> Pending<'a, Vec<Option<Row>>> {
        Box::pin(async move {
            self.reads.fetch_add(1, Ordering::SeqCst);
            let rows = keys
                .iter()
                .map(|key| self.rows.lock().unwrap().get(key).cloned())
                .collect();
            let gate = self.hold_read.lock().unwrap().take();
            Gate::pass(gate).await;
            Ok(rows)
        })
    }

    fn write<'a>(
        &'a self,
        _: &'a Arc<FeatureView>,
        rows: Vec<(EntityKey, Row)>,
    ) -> Pending<'a, Written> {
        Box::pin(async move {
            let written = rows.len() as u64;
            self.rows.lock().unwrap().extend(rows);
            let gate = self.hold_write.lock().unwrap().take();
            Gate::pass(gate).await;
            Ok(Written {
                written,
                outdated: 0,
            })
        })
    }

    fn delete<'a>(&'a self, _: &'a Arc<FeatureView>, _: &'a [EntityKey]) -> Pending<'a, u64> {
        Box::pin(async { Ok(0) })
    }
}

struct Bench {
    store: Arc<Store>,
    backend: Arc<Gated>,
    view: Arc<FeatureView>,
}

fn bench() -> Bench {
    let backend = Arc::new(Gated::default());
    let (clock, _) = Clock::manual(at(0));
    let view = Arc::clone(views().view("Order").unwrap());
    let store = Store::new(
        LiveViews::open(views(), None, &Health::new()),
        Arc::clone(&backend) as Arc<dyn FeatureBackend>,
        RowCache::new(100, 1_000_000),
        clock,
        Duration::from_hours(24),
        &Health::new(),
    );
    Bench {
        store: Arc::new(store),
        backend,
        view,
    }
}

impl Bench {
    async fn write(&self, value: i64) {
        self.store
            .write(&self.view, vec![(key("a"), number(value, value))])
            .await
            .unwrap();
    }

    /// The value and whether the cache had it.
    async fn read(&self) -> (i64, bool) {
        let mut found = self.store.read(&self.view, &[key("a")]).await.unwrap();
        (value(&found.rows.remove(0).unwrap()), found.hits == 1)
    }
}

fn value(row: &Row) -> i64 {
    let Some(FeatureValue::Int(value)) = row.values[0] else {
        panic!("an integer was written")
    };
    value
}

#[tokio::test]
async fn the_second_read_is_a_hit() {
    let bench = bench();
    bench.write(1).await;
    assert_eq!(bench.read().await, (1, false));
    assert_eq!(bench.read().await, (1, true));
    assert_eq!(bench.backend.reads.load(Ordering::SeqCst), 1);
    bench.write(2).await;
    assert_eq!(
        bench.read().await,
        (2, false),
        "a write makes the cached row go"
    );
}

#[tokio::test]
async fn only_what_is_missing_is_asked_for_and_unknown_entities_are_not_kept() {
    let bench = bench();
    bench.write(1).await;
    bench.read().await;
    for _ in 0..2 {
        let found = bench
            .store
            .read(&bench.view, &[key("nobody"), key("a"), key("a")])
            .await
            .unwrap();
        assert_eq!(
            (found.hits, found.rows),
            (2, vec![None, Some(number(1, 1)), Some(number(1, 1))])
        );
    }
    assert_eq!(bench.backend.reads.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_slow_read_does_not_bring_an_old_row_back() {
    let bench = bench();
    bench.write(1).await;
    let gate = Arc::new(Gate::default());
    *bench.backend.hold_read.lock().unwrap() = Some(Arc::clone(&gate));
    let (store, view) = (Arc::clone(&bench.store), Arc::clone(&bench.view));
    let slow = task::spawn(async move {
        store
            .read(&view, &[key("a")])
            .await
            .unwrap()
            .rows
            .remove(0)
            .unwrap()
    });
    gate.reached.notified().await;
    bench.write(2).await;
    gate.open.notify_one();
    assert_eq!(
        value(&slow.await.unwrap()),
        1,
        "this read began before the write"
    );
    assert_eq!(bench.read().await, (2, false));
    assert_eq!(bench.read().await, (2, true));
}

#[tokio::test]
async fn a_row_that_is_being_written_is_not_cached() {
    let bench = bench();
    bench.write(1).await;
    let gate = Arc::new(Gate::default());
    *bench.backend.hold_write.lock().unwrap() = Some(Arc::clone(&gate));
    let (store, view) = (Arc::clone(&bench.store), Arc::clone(&bench.view));
    let slow = task::spawn(async move {
        store
            .write(&view, vec![(key("a"), number(2, 2))])
            .await
            .unwrap()
    });
    gate.reached.notified().await;
    assert_eq!(bench.read().await, (2, false));
    assert_eq!(
        bench.read().await,
        (2, false),
        "until the write is acknowledged every read asks the engine"
    );
    gate.open.notify_one();
    slow.await.unwrap();
    assert_eq!(bench.read().await, (2, false));
    assert_eq!(bench.read().await, (2, true));
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_unguard_its_write() {
    let bench = bench();
    bench.write(1).await;
    bench.read().await;
    let gate = Arc::new(Gate::default());
    *bench.backend.hold_write.lock().unwrap() = Some(Arc::clone(&gate));
    let abandoned = tokio::time::timeout(Duration::ZERO, bench.write(2));
    assert!(abandoned.await.is_err(), "the write waits at the gate");
    gate.reached.notified().await;
    assert!(!bench.read().await.1, "the row is still being written");
    assert!(!bench.read().await.1);
    gate.open.notify_one();
    // The guard is dropped soon after. Reads are correct all the time, and the row is cached again.
    let cached = async {
        while !bench.read().await.1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), cached)
        .await
        .expect("the write ends and the cache fills again");
    assert_eq!(bench.read().await, (2, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_never_see_less_than_what_was_acknowledged() {
    let bench = Arc::new(bench());
    let acknowledged = Arc::new(AtomicI64::new(0));
    bench.write(0).await;
    let (writer, done) = (Arc::clone(&bench), Arc::clone(&acknowledged));
    let writing = task::spawn(async move {
        for round in 1..=500 {
            writer.write(round).await;
            done.store(round, Ordering::SeqCst);
        }
    });
    let readers = (0..3).map(|_| {
        let (bench, acknowledged) = (Arc::clone(&bench), Arc::clone(&acknowledged));
        task::spawn(async move {
            let (mut last, mut hits) = (0, 0);
            while last < 500 {
                let floor = acknowledged.load(Ordering::SeqCst);
                let (value, hit) = bench.read().await;
                assert!(
                    value >= floor,
                    "{value} was read after {floor} was acknowledged"
                );
                assert!(value >= last, "{value} was read after {last}");
                last = value;
                hits += usize::from(hit);
                tokio::task::yield_now().await;
            }
            hits
        })
    });
    let readers: Vec<_> = readers.collect();
    writing.await.unwrap();
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(bench.read().await.0, 500);
}
