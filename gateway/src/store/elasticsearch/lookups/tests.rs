//! Which lookups go together, and what each of them gets.

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::oneshot::Receiver;

use super::super::ElasticsearchOptions;
use super::super::tests::server::Scratch;
use super::super::tests::stub::Stub;
use super::*;
use crate::PredictionStore;
use crate::store::tests::conformance::{self, prediction};

/// A queue with a clock of its own.
struct Clockwork {
    queue: Queue,
    nodes: usize,
    now: Instant,
    answers: Vec<Receiver<Answer>>,
}

impl Clockwork {
    fn new(nodes: usize) -> Self {
        Self {
            queue: Queue::default(),
            nodes,
            now: Instant::now(),
            answers: Vec::new(),
        }
    }

    /// A lookup of so many ids comes.
    fn push(&mut self, ids: usize) {
        let (queued, answer) = queued(&vec!["a"; ids]);
        self.queue.waiting.push_back(queued);
        self.answers.push(answer);
    }

    /// Number and sizes of the next call; none if none may begin.
    fn next(&mut self) -> Option<(u64, Vec<usize>)> {
        let (number, joined) = self.queue.next_call(self.nodes, self.now)?;
        let sizes = joined.iter().map(|queued| queued.lookup.len());
        Some((number, sizes.collect()))
    }

    fn end(&mut self, call: u64) {
        self.queue.calls.retain(|(number, _)| *number != call);
    }
}

fn queued(ids: &[&str]) -> (QueuedLookup, Receiver<Answer>) {
    let (done, answer) = oneshot::channel();
    let queued = QueuedLookup {
        lookup: conformance::lookup("m", "1", ids),
        origin: CallOrigin::test(),
        done,
    };
    (queued, answer)
}

#[test]
fn what_comes_during_a_call_goes_together_in_the_next() {
    let mut clock = Clockwork::new(1);
    clock.push(1);
    assert_eq!(clock.next(), Some((1, vec![1])));
    clock.push(2);
    clock.push(3);
    assert_eq!(clock.next(), None);
    clock.end(1);
    assert_eq!(clock.next(), Some((2, vec![2, 3])));
    clock.end(2);
    assert_eq!(clock.next(), None);
}

#[test]
fn each_node_has_a_call() {
    let mut clock = Clockwork::new(2);
    for call in [1, 2] {
        clock.push(1);
        assert_eq!(clock.next(), Some((call, vec![1])));
    }
    clock.push(1);
    assert_eq!(clock.next(), None);
    clock.end(2);
    assert_eq!(clock.next(), Some((3, vec![1])));
}

#[test]
fn a_slow_call_holds_nobody_up() {
    let mut clock = Clockwork::new(1);
    clock.push(1);
    assert_eq!(clock.next(), Some((1, vec![1])));
    clock.push(2);
    assert_eq!(clock.next(), None);
    clock.now += SLOW;
    clock.push(3);
    assert_eq!(clock.next(), Some((2, vec![2, 3])));
    // Beside each slow one there is one young call, and not one for each request.
    clock.push(4);
    assert_eq!(clock.next(), None);
}

#[test]
fn a_call_has_a_size_and_a_large_lookup_goes_alone() {
    let mut clock = Clockwork::new(1);
    for ids in [FULL + 1, FULL - 1, 1, 1] {
        clock.push(ids);
    }
    for (call, sizes) in [(1, vec![FULL + 1]), (2, vec![FULL - 1, 1]), (3, vec![1])] {
        assert_eq!(clock.next(), Some((call, sizes)));
        clock.end(call);
    }
}

#[test]
fn nobody_asks_for_a_request_that_left() {
    let mut clock = Clockwork::new(1);
    clock.push(1);
    clock.push(2);
    drop(clock.answers.remove(0));
    assert_eq!(clock.next(), Some((1, vec![2])));
    clock.end(1);
    clock.push(1);
    clock.answers.clear();
    assert_eq!(clock.next(), None);
}

#[tokio::test]
async fn each_request_gets_its_own_part_and_its_own_error() {
    let stub = Stub::start().await;
    let store = stub.store(&ElasticsearchOptions::default());
    let (one, first) = queued(&["a"]);
    let (two, second) = queued(&["b", "c"]);
    let (three, third) = queued(&["d"]);
    stub.answer(
        200,
        r#"{"docs":[{"found":false},{"found":false},{"error":{"type":"x","reason":"y"}},{"found":false}]}"#,
    );
    store.lookups.send(vec![one, two, three]).await;
    assert_eq!(first.await.unwrap().found.unwrap(), [None]);
    assert_eq!(second.await.unwrap().found.unwrap_err().error_type(), "503");
    assert_eq!(third.await.unwrap().found.unwrap(), [None]);
    let body = &stub.seen()[0].body;
    assert_eq!(body, r#"{"ids":["m/1/a","m/1/b","m/1/c","m/1/d"]}"#);
}

#[tokio::test]
async fn an_error_of_the_call_is_the_error_of_each_request() {
    let stub = Stub::start().await;
    let store = stub.store(&ElasticsearchOptions::default());
    for (status, body, error_type) in [(403, "no", "403"), (200, r#"{"docs":[]}"#, "unreadable")] {
        let (one, first) = queued(&["a"]);
        let (two, second) = queued(&["b"]);
        stub.answer(status, body);
        store.lookups.send(vec![one, two]).await;
        for answer in [first, second] {
            let error = answer.await.unwrap().found.unwrap_err();
            assert_eq!(error.error_type(), error_type);
        }
    }
}

#[tokio::test]
async fn a_request_that_leaves_takes_no_answer_of_others_with_it() {
    let stub = Stub::start().await;
    let store = stub.store(&ElasticsearchOptions::default());
    stub.hold(true);
    let lookup = |id: &str| store.get_many(conformance::lookup("m", "1", &[id]));
    let mut leaving = lookup("a");
    let mut staying = Box::pin(join_all(["b", "c", "d"].map(lookup)));
    let end = Instant::now() + Duration::from_secs(10);
    while stub.seen().is_empty() {
        assert!((&mut leaving).now_or_never().is_none());
        assert!((&mut staying).now_or_never().is_none());
        assert!(Instant::now() < end, "no call reaches the stub");
        tokio::task::yield_now().await;
    }
    drop(leaving);
    stub.hold(false);
    for found in staying.await {
        assert_eq!(found.unwrap(), [None]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a server: set THROUGHLINE_TEST_ELASTICSEARCH_URL"]
async fn lookups_at_the_same_time_find_what_each_asked_for() {
    let scratch = Scratch::new();
    let store = Arc::new(scratch.store());
    let ids: Vec<String> = (0..200).map(|number| format!("id-{number}")).collect();
    let stored = ids.iter().map(|id| prediction("m", "1", id, 0)).collect();
    for written in store.put_many(stored).await.unwrap() {
        written.unwrap();
    }
    let asked = (0..400).map(|number| {
        let (store, own) = (Arc::clone(&store), ids[number % 200].clone());
        telemetry::task::spawn(async move {
            let lookup = conformance::lookup("m", "1", &[&own, "unknown"]);
            (own, store.get_many(lookup).await.unwrap())
        })
    });
    for answer in join_all(asked).await {
        let (own, found) = answer.unwrap();
        let [Some(prediction), None] = &found[..] else {
            panic!("{own}: {found:?}");
        };
        assert_eq!(*prediction.key.data_id, *own);
    }
    scratch.remove().await;
}
