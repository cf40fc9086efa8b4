//! Endless requests, each for an id of its own, and their answers.

use std::fmt::{self, Display, Formatter};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinHandle;

use super::DEADLINE;
use crate::PredictionStore;
use crate::store::elasticsearch::tests::server::Scratch;
use crate::store::tests::conformance;

/// Number of clients.
const CLIENTS: usize = 8;

/// Running clients.
pub(super) struct Load {
    seen: Arc<Mutex<Seen>>,
    over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

/// The answers that the clients got, all with status 200.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    stored: Vec<String>,
    read_back: bool,
    failed: usize,
    bypassed: usize,
    slowest: Duration,
}

impl Seen {
    fn answered(&self) -> usize {
        self.stored.len() + self.failed + self.bypassed
    }
}

impl Display for Seen {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            stored,
            read_back,
            failed,
            bypassed,
            slowest,
        } = self;
        let read_back = if *read_back { " and read back" } else { "" };
        write!(
            formatter,
            "{} answers, all 200, {} stored{read_back}, {failed} reported as not stored, {bypassed} bypassed the store, slowest {} ms",
            self.answered(),
            stored.len(),
            slowest.as_millis()
        )
    }
}

impl Load {
    pub(super) fn start(url: &str, name: &str) -> Self {
        let (seen, over) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let client = |n: usize| {
            let (url, name, seen, over) = (
                url.to_owned(),
                format!("{name}-{n}"),
                Arc::clone(&seen),
                Arc::clone(&over),
            );
            telemetry::task::spawn(async move { ask(&url, &name, &seen, &over).await })
        };
        Self {
            clients: (0..CLIENTS).map(client).collect(),
            seen,
            over,
        }
    }

    /// Waits for so many more answers with a stored prediction.
    pub(super) async fn until_stored(&self, more: usize) {
        self.until(more, |seen| seen.stored.len()).await;
    }

    /// Waits for so many more answers.
    pub(super) async fn until_answered(&self, more: usize) {
        self.until(more, Seen::answered).await;
    }

    async fn until(&self, more: usize, count: impl Fn(&Seen) -> usize) {
        let (end, start) = (
            Instant::now() + Duration::from_mins(1),
            count(&self.seen.lock().unwrap()),
        );
        while count(&self.seen.lock().unwrap()) < start + more {
            assert!(Instant::now() < end, "{}", self.seen.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops, and checks that everything reported as stored is stored.
    pub(super) async fn stop(self, scratch: &Scratch) -> Seen {
        let mut seen = self.abandon().await;
        let store = scratch.store();
        for ids in seen.stored.chunks(1_000) {
            let ids_of: Vec<&str> = ids.iter().map(String::as_str).collect();
            let lookup = conformance::lookup("wine_quality", "1", &ids_of);
            let found = store.get_many(lookup).await.unwrap();
            let lost: Vec<_> = ids
                .iter()
                .zip(&found)
                .filter(|(_, found)| found.is_none())
                .collect();
            assert!(lost.is_empty(), "reported as stored and lost: {lost:?}");
        }
        seen.read_back = true;
        seen
    }

    /// Stops.
    pub(super) async fn abandon(self) -> Seen {
        self.over.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
        self.seen.lock().unwrap().clone()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a client of the tests, outside the system"
)]
async fn ask(url: &str, name: &str, seen: &Mutex<Seen>, over: &AtomicBool) {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut count = 0;
    while !over.load(Ordering::Relaxed) {
        count += 1;
        let id = format!("{name}-{count}");
        let body = serde_json::json!({"model": "wine_quality", "data_ids": [id]}).to_string();
        let request = Request::post(format!("{url}/v1/predictions"))
            .body(Full::new(body.into()))
            .unwrap();
        let start = Instant::now();
        let response = client.request(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let took = start.elapsed();
        assert_eq!(head.status, 200, "{body:?}");
        assert!(took < DEADLINE, "{id} took {took:?}");
        let status = head.headers["cache-status"].to_str().unwrap();
        let mut seen = seen.lock().unwrap();
        seen.slowest = seen.slowest.max(took);
        match status {
            "throughline; fwd=miss; stored" => seen.stored.push(id),
            "throughline; fwd=miss; detail=store-failed" => seen.failed += 1,
            "throughline; fwd=bypass" => seen.bypassed += 1,
            other => panic!("{id}: {other}"),
        }
    }
}
