//! The read API: services, traces, logs, metrics and the store's counts, as JSON for the page and
//! for programs.

mod answer;
mod logs;
mod metrics;
mod query;
mod services;
mod trace_pages;
mod traces;

use std::sync::Arc;

use axum::extract::{FromRef, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use runtime::{ProcessOptions, Refusal};

pub use logs::LogEntry;
pub use metrics::MetricSeries;
pub(crate) use query::trace_id;
pub use services::ServiceSummary;
pub use traces::TraceSummary;

use crate::browser_guard::BrowserGuard;
use crate::error::ReadError;
use crate::page;
use crate::store::{StoreStats, TelemetryStore};
use trace_pages::PageCache;

/// The routes of the page's port, without the health probes.
pub(crate) fn router(
    store: Arc<TelemetryStore>,
    guard: BrowserGuard,
    options: &ProcessOptions,
) -> Router {
    Router::new()
        .route("/api/services", get(services::list))
        .route("/api/traces", get(traces::list))
        .route("/api/traces/{trace_id}", get(trace_pages::one))
        .route("/api/logs", get(logs::list))
        .route("/api/metrics", get(metrics::read))
        .route("/api/stats", get(stats))
        .merge(page::routes())
        .fallback(|| async { ReadError::NoRoute })
        .layer(runtime::limit_layer(options, |refusal: Refusal| {
            ReadError::from(refusal).into_response()
        }))
        .layer(middleware::from_fn_with_state(guard, check_origin))
        .layer(middleware::map_response(page::harden))
        .with_state(ApiState {
            store,
            pages: Arc::default(),
        })
}

#[derive(Clone)]
struct ApiState {
    store: Arc<TelemetryStore>,
    pages: Arc<PageCache>,
}

impl FromRef<ApiState> for Arc<TelemetryStore> {
    fn from_ref(state: &ApiState) -> Self {
        Arc::clone(&state.store)
    }
}

impl FromRef<ApiState> for Arc<PageCache> {
    fn from_ref(state: &ApiState) -> Self {
        Arc::clone(&state.pages)
    }
}

async fn check_origin(State(guard): State<BrowserGuard>, request: Request, next: Next) -> Response {
    if guard.admits(&request) {
        next.run(request).await
    } else {
        ReadError::ForeignOrigin.into_response()
    }
}

async fn stats(State(store): State<Arc<TelemetryStore>>) -> Json<StoreStats> {
    Json(store.stats())
}
