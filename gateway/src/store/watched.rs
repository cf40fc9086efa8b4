//! The store as the gateway uses it: with a time limit on every call, and with outages logged once.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::Timestamp;
use runtime::{Health, Outage};
use telemetry::metrics::{Counter, counter};
use telemetry::{KeyValue, attr};

use super::{Lookup, Page, PredictionStore, Search, StoreError, StoredPrediction, Written};

static WRITES: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        attr::metric::ML_PREDICTION_STORE_WRITES,
        "{prediction}",
        "Predictions that were to be stored, by result",
    )
});

const READS_FAIL: &str = "reads of the prediction store fail; predictions come from the model";
const WRITES_FAIL: &str = "writes of the prediction store fail; new predictions are not kept";

/// What became of a write; of several, the worst counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WriteEnd {
    Stored,
    /// Newer ones are stored already, so that a later request gets those.
    Superseded,
    Failed,
}

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

    pub(crate) async fn put_many(&self, predictions: Vec<StoredPrediction>) -> WriteEnd {
        let count = predictions.len();
        let items = self.in_time(self.inner.put_many(predictions)).await;
        count_writes(count, &items);
        let written = items.and_then(|items| {
            items
                .into_iter()
                .collect::<Result<Vec<Written>, StoreError>>()
        });
        record(&self.writes, WRITES_FAIL, &written);
        match written {
            Err(_) => WriteEnd::Failed,
            Ok(items) if items.contains(&Written::Superseded) => WriteEnd::Superseded,
            Ok(_) => WriteEnd::Stored,
        }
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

/// Counts `count` predictions by what became of each.
fn count_writes(count: usize, items: &Result<Vec<Result<Written, StoreError>>, StoreError>) {
    let items = items.as_deref().unwrap_or_default();
    let of = |wanted| items.iter().flatten().filter(|end| **end == wanted).count();
    let (stored, superseded) = (of(Written::Stored), of(Written::Superseded));
    let failed = count.saturating_sub(stored + superseded);
    for (result, count) in [
        ("stored", stored),
        ("superseded", superseded),
        ("failed", failed),
    ] {
        if count > 0 {
            let label = [KeyValue::new(attr::PREDICTION_STORE_RESULT, result)];
            WRITES.add(count as u64, &label);
        }
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
            let why = || match error.hint() {
                Some(hint) => format!("{hint}; {error_type}"),
                None => error_type.to_owned(),
            };
            if outage.begin(|| format!("{what} ({})", why())) {
                let why = why();
                tracing::warn!(name: "prediction_store.down", { "error.type" = error_type }, "{what} ({why})");
            }
        }
    }
}
