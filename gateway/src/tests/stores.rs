//! A store that fails on demand.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::store::sqlite::SqliteStore;
use crate::{Lookup, Page, PredictionStore, Search, StoreError, StoredPrediction, Written};

/// A real store with a switch for each kind of trouble.
#[derive(Debug)]
pub(crate) struct Troubled {
    inner: SqliteStore,
    folder: tempfile::TempDir,
    pub(crate) reads_fail: AtomicBool,
    pub(crate) writes_fail: AtomicBool,
    pub(crate) reads_hang: AtomicBool,
    /// The sizes of the lookups and writes so far.
    pub(crate) lookups: Mutex<Vec<usize>>,
    pub(crate) writes: Mutex<Vec<usize>>,
}

impl Troubled {
    pub(crate) fn new() -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        Arc::new(Self {
            inner: SqliteStore::open(&folder.path().join("predictions.db")).unwrap(),
            folder,
            reads_fail: AtomicBool::default(),
            writes_fail: AtomicBool::default(),
            reads_hang: AtomicBool::default(),
            lookups: Mutex::default(),
            writes: Mutex::default(),
        })
    }

    /// Runs statements on the file, beside the store.
    pub(crate) fn tamper(&self, sql: &str) {
        let path = self.folder.path().join("predictions.db");
        let other = rusqlite::Connection::open(path).unwrap();
        other.execute_batch(sql).unwrap();
    }

    async fn reading(&self) -> Result<(), StoreError> {
        if self.reads_hang.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.reads_fail.load(Ordering::Relaxed) {
            Err(broken())
        } else {
            Ok(())
        }
    }
}

fn broken() -> StoreError {
    StoreError::engine("SQLITE_IOERR", "broken on purpose")
}

#[async_trait]
impl PredictionStore for Troubled {
    async fn get_many(&self, lookup: Lookup) -> Result<Vec<Option<StoredPrediction>>, StoreError> {
        self.reading().await?;
        let size = lookup.len();
        let found = self.inner.get_many(lookup).await;
        // Recorded afterwards: a test that waits for it knows that the read is over.
        self.lookups.lock().unwrap().push(size);
        found
    }

    async fn put_many(
        &self,
        predictions: Vec<StoredPrediction>,
    ) -> Result<Vec<Result<Written, StoreError>>, StoreError> {
        self.writes.lock().unwrap().push(predictions.len());
        if self.writes_fail.load(Ordering::Relaxed) {
            return Err(broken());
        }
        self.inner.put_many(predictions).await
    }

    async fn search(&self, search: Search) -> Result<Page, StoreError> {
        self.reading().await?;
        self.inner.search(search).await
    }

    async fn latest_version(
        &self,
        model: &str,
        variant: &str,
    ) -> Result<Option<String>, StoreError> {
        self.reading().await?;
        self.inner.latest_version(model, variant).await
    }

    async fn remove_older(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.inner.remove_older(before).await
    }
}
