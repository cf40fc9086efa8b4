//! The store as the gateway uses it: with a time limit on every call, and with outages logged once.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runtime::{Health, Outage};

use super::{Lookup, Page, PredictionStore, Search, StoreError, StoredPrediction};

const READS_FAIL: &str = "reads of the prediction store fail; predictions come from the model";
const WRITES_FAIL: &str = "writes of the prediction store fail; new predictions are not kept";

/// A store whose outages are logged and shown in `/readyz`.
///
/// Reads and writes have an outage each: with only one, a store that is read-only because its disk
/// is full would seem to go down and come back with every request.
#[derive(Clone, Debug)]
pub(crate) struct WatchedStore {
    inner: Arc<dyn PredictionStore>,
    timeout: Duration,
    reads: Outage,
    writes: Outage,
}

impl WatchedStore {
    pub(crate) fn new(inner: Arc<dyn PredictionStore>, timeout: Duration, health: &Health) -> Self {
        Self {
            inner,
            timeout,
            reads: Outage::new("prediction_store_reads", health),
            writes: Outage::new("prediction_store_writes", health),
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
        record(&self.writes, WRITES_FAIL, &stored);
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
        // Without a time limit: after a long pause there may be much to remove, and no request
        // waits for it.
        self.inner.remove_older(before).await
    }

    async fn read<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let result = self.in_time(call).await;
        record(&self.reads, READS_FAIL, &result);
        result
    }

    async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::time::timeout(self.timeout, call)
            .await
            .unwrap_or(Err(StoreError::TimedOut))
    }
}

/// Logs the begin and the end of an outage.
fn record<T>(outage: &Outage, what: &str, result: &Result<T, StoreError>) {
    match result {
        Ok(_) if outage.end() => {
            tracing::info!(name: "prediction_store.up", "no longer: {what}");
        }
        Ok(_) => {}
        Err(error) => {
            let error_type = error.error_type();
            if outage.begin(|| format!("{what} ({error_type})")) {
                tracing::warn!(name: "prediction_store.down", { "error.type" = error_type }, "{what} ({error_type})");
            }
        }
    }
}
