//! The store as the gateway uses it: bounded in time, and with its failures told once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use runtime::Health;

use super::{Lookup, Page, PredictionStore, Search, StoreError, StoredPrediction};

/// A store that may be down. It tells the log and `/readyz` when it goes down and when it is back.
///
/// Reads and writes are watched apart: a store that is read-only for want of disk space would else seem to go down and
/// come back with every request.
#[derive(Clone, Debug)]
pub(crate) struct WatchedStore {
    inner: Arc<dyn PredictionStore>,
    timeout: Duration,
    reads: Watch,
    writes: Watch,
}

impl WatchedStore {
    pub(crate) fn new(inner: Arc<dyn PredictionStore>, timeout: Duration, health: &Health) -> Self {
        let watch = |key, what| Watch {
            key,
            what,
            health: health.clone(),
            down: Arc::default(),
        };
        let reads = watch(
            "prediction_store_reads",
            "reads of the prediction store fail; predictions come from the model",
        );
        let writes = watch(
            "prediction_store_writes",
            "writes of the prediction store fail; new predictions are not kept",
        );
        Self {
            inner,
            timeout,
            reads,
            writes,
        }
    }

    pub(crate) async fn get_many(
        &self,
        lookup: Lookup,
    ) -> Result<Vec<Option<StoredPrediction>>, StoreError> {
        self.read(self.inner.get_many(lookup)).await
    }

    /// True when every one of them is stored.
    pub(crate) async fn put_many(&self, predictions: Vec<StoredPrediction>) -> bool {
        let items = self.in_time(self.inner.put_many(predictions)).await;
        let stored = items.and_then(|items| items.into_iter().collect::<Result<(), StoreError>>());
        self.writes.tell(&stored);
        stored.is_ok()
    }

    pub(crate) async fn search(&self, search: Search) -> Result<Page, StoreError> {
        self.read(self.inner.search(search)).await
    }

    pub(crate) async fn latest_version(
        &self,
        model: &str,
        variant: &str,
    ) -> Result<Option<String>, StoreError> {
        self.read(self.inner.latest_version(model, variant)).await
    }

    pub(crate) async fn remove_older(&self, before: Timestamp) -> Result<u64, StoreError> {
        // Not watched in time: after a long pause there may be much to remove, and no request waits for it.
        self.inner.remove_older(before).await
    }

    async fn read<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let result = self.in_time(work).await;
        self.reads.tell(&result);
        result
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::time::timeout(self.timeout, work)
            .await
            .unwrap_or(Err(StoreError::TimedOut))
    }
}

/// One kind of calls, and whether they fail just now.
#[derive(Clone, Debug)]
struct Watch {
    key: &'static str,
    what: &'static str,
    health: Health,
    down: Arc<AtomicBool>,
}

impl Watch {
    fn tell<T>(&self, result: &Result<T, StoreError>) {
        match result {
            // A plain load first: in the usual case no request writes to the shared cache line.
            Ok(_) if !self.down.load(Ordering::Relaxed) => {}
            Ok(_) => self.came_up(),
            Err(error) => self.went_down(error),
        }
    }

    fn came_up(&self) {
        if self.down.swap(false, Ordering::Relaxed) {
            self.health.detail(self.key, None);
            tracing::info!(name: "prediction_store.up", "no longer: {}", self.what);
        }
    }

    fn went_down(&self, error: &StoreError) {
        if !self.down.swap(true, Ordering::Relaxed) {
            self.health.detail(
                self.key,
                Some(format!("{} ({})", self.what, error.error_type())),
            );
            tracing::warn!(
                name: "prediction_store.down",
                { "error.type" = error.error_type() },
                "{} ({})",
                self.what,
                error.error_type()
            );
        }
    }
}
