//! Reads through the cache and writes past it; every call of the backend has a span.

use std::sync::Arc;
use std::time::Duration;

use runtime::Health;
use telemetry::{KeyValue, WithSpan, attr, current, db, task};

use crate::backend::{BackendError, Call, EntityKey, FeatureBackend, Row, Written};
use crate::cache::{RowCache, Ticket};
use crate::faults::{Access, Faults};
use crate::future::FutureBound;
use crate::metrics;
use crate::time::{Clock, EventTime};
use crate::views::{Feature, FeatureView, LiveViews, Views};

/// The backend behind its cache, and the views that it holds.
pub(crate) struct Store {
    views: LiveViews,
    refreshing: tokio::sync::Mutex<()>,
    backend: Arc<dyn FeatureBackend>,
    cache: RowCache,
    clock: Clock,
    max_future: Duration,
    faults: Faults,
}

/// Rows in the order of the keys, and how many of them came from the cache.
pub(crate) struct ReadRows {
    pub(crate) rows: Vec<Option<Row>>,
    pub(crate) hits: usize,
}

impl Store {
    pub(crate) fn new(
        views: LiveViews,
        backend: Arc<dyn FeatureBackend>,
        cache: RowCache,
        clock: Clock,
        max_future: Duration,
        health: &Health,
    ) -> Self {
        let faults = Faults::new(health);
        Self {
            views,
            refreshing: tokio::sync::Mutex::default(),
            backend,
            cache,
            clock,
            max_future,
            faults,
        }
    }

    /// The declared views.
    pub(crate) fn views(&self) -> Arc<Views> {
        self.views.load()
    }

    /// The views after another look into their folder. New ones are served once their tables are
    /// there.
    pub(crate) async fn refresh_views(self: &Arc<Self>) -> Arc<Views> {
        // A request that comes during a refresh waits for its result.
        let _alone = self.refreshing.lock().await;
        let this = Arc::clone(self);
        let read = task::spawn_blocking(move || this.views.read_folder()).await;
        if let Some(folder) = read.ok().flatten() {
            for view in folder.new_views() {
                self.prepare(view).await;
            }
            self.views.publish(folder);
        }
        self.views.load()
    }

    /// Makes the table of a new view. If that fails, the view is served and each access says why.
    async fn prepare(&self, view: &Arc<FeatureView>) {
        let (name, features) = (&view.name, view.features.len());
        tracing::info!(name: "feature_store.view", view = %name, features, "feature view {name} has {features} features");
        let prepared = self.backend.prepare(view).await;
        let outcome = match &prepared {
            Ok(()) => self.backend.check(view).await,
            Err(_) => prepared,
        };
        self.faults
            .record(view, Access::Table, outcome.as_ref().copied());
    }

    /// The current time.
    pub(crate) fn now(&self) -> EventTime {
        self.clock.now()
    }

    /// What bounds the event times of rows at the moment.
    pub(crate) fn future(&self) -> FutureBound {
        FutureBound::new(self.clock.now(), self.max_future)
    }

    /// The rows of `keys`. Those that are not cached cost one call of the backend, and so one span.
    pub(crate) async fn read(
        &self,
        view: &Arc<FeatureView>,
        keys: &[EntityKey],
    ) -> Result<ReadRows, BackendError> {
        let now = self.clock.moment();
        let mut rows: Vec<Option<Row>> = keys
            .iter()
            .map(|key| self.cache.get(view.id, key, now))
            .collect();
        let missing: Vec<(usize, Ticket)> = keys
            .iter()
            .enumerate()
            .filter(|(at, _)| rows[*at].is_none())
            .map(|(at, key)| (at, self.cache.ticket(view.id, key)))
            .collect();
        let hits = keys.len() - missing.len();
        metrics::count_cache(hits, missing.len());
        if !missing.is_empty() {
            let asked: Vec<EntityKey> = missing.iter().map(|(at, _)| keys[*at].clone()).collect();
            let read = self.read_backend(view, &asked).await?;
            for (((at, ticket), key), row) in missing.into_iter().zip(asked).zip(read) {
                // An unknown entity is not cached: guessed ids would evict the rows that are asked
                // for.
                if let Some(row) = row {
                    // What cannot be read may be repaired.
                    if row.unreadable().is_none() {
                        self.cache.fill(ticket, view.id, key, row.clone(), now);
                    }
                    rows[at] = Some(row);
                }
            }
        }
        Ok(ReadRows { rows, hits })
    }

    /// Writes rows and returns when they are durable.
    ///
    /// The write is a task of its own: a caller that leaves must not drop the guard that keeps old
    /// rows out of the cache.
    pub(crate) async fn write(
        self: &Arc<Self>,
        view: &Arc<FeatureView>,
        rows: Vec<(EntityKey, Row)>,
    ) -> Result<Written, BackendError> {
        if rows.is_empty() {
            return Ok(Written::default());
        }
        let (this, view) = (Arc::clone(self), Arc::clone(view));
        let work = task::spawn(async move {
            let _writing = this.cache.writing(view.id, rows.iter().map(|(key, _)| key));
            this.write_backend(&view, rows).await
        });
        work.await
            .map_err(|error| BackendError {
                action: "write features",
                error_type: "task_ended",
                transient: true,
                status_code: None,
                source: Box::new(error),
            })
            .inspect_err(|error| current().fail(error, error.error_type))?
    }

    async fn read_backend(
        &self,
        view: &Arc<FeatureView>,
        keys: &[EntityKey],
    ) -> Result<Vec<Option<Row>>, BackendError> {
        let span = self.span(view, self.backend.engine().read, keys.len());
        let read = self.backend.read(view, keys).with_span(&span).await;
        let unreadable = read.as_ref().ok().and_then(|rows| unreadable(view, rows));
        let outcome = unreadable.as_ref().map_or(read.as_ref().map(drop), Err);
        self.record(&span, view, Access::Read, outcome);
        read
    }

    async fn write_backend(
        &self,
        view: &Arc<FeatureView>,
        rows: Vec<(EntityKey, Row)>,
    ) -> Result<Written, BackendError> {
        let span = self.span(view, self.backend.engine().write, rows.len());
        let written = self.backend.write(view, rows).with_span(&span).await;
        self.record(&span, view, Access::Write, written.as_ref().map(drop));
        written
    }

    /// Checks the tables of all views. A wrong one is logged and shown in `/readyz`; other views are
    /// served.
    pub(crate) async fn check_tables(&self) {
        for view in self.views.load().all() {
            let checked = self.backend.check(view).await;
            self.faults
                .record(view, Access::Table, checked.as_ref().copied());
        }
    }

    #[track_caller]
    fn record(
        &self,
        span: &db::DbSpan,
        view: &FeatureView,
        access: Access,
        outcome: Result<(), &BackendError>,
    ) {
        if let Err(error) = outcome {
            record_failure(span, error);
        }
        self.faults.record(view, access, outcome);
    }

    fn span(&self, view: &FeatureView, call: Call, rows: usize) -> db::DbSpan {
        let (system, server) = (self.backend.engine().system, self.backend.server());
        let operation = if rows > 1 { call.batch } else { call.one };
        let namespace = server.namespace.clone();
        let operation = db::Operation {
            system,
            operation,
            collection: view.name.to_string(),
            namespace,
        };
        let mut attributes = Vec::with_capacity(3);
        attributes.extend(db::batch_size(rows));
        attributes.extend(
            server
                .address
                .clone()
                .map(|address| KeyValue::new(attr::SERVER_ADDRESS, address)),
        );
        attributes.extend(
            server
                .port
                .map(|port| KeyValue::new(attr::SERVER_PORT, i64::from(port))),
        );
        db::start_with(operation, attributes)
    }
}

/// An unreadable value spoils its cell of the answer, not the answer; the span has the error.
fn unreadable(view: &FeatureView, rows: &[Option<Row>]) -> Option<BackendError> {
    let feature = rows.iter().flatten().find_map(Row::unreadable)?;
    let Feature { name, dtype } = &view.features[feature];
    Some(BackendError {
        action: "read a stored value",
        error_type: "mismatch",
        transient: false,
        status_code: None,
        source: format!("what is stored for {name} is not a {}", dtype.as_str()).into(),
    })
}

#[track_caller]
fn record_failure(span: &db::DbSpan, error: &BackendError) {
    if let Some(code) = error.status_code {
        span.set(attr::DB_RESPONSE_STATUS_CODE, code);
    }
    span.fail(error, error.error_type);
}

#[cfg(test)]
mod tests;
