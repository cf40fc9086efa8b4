//! The read API: services, traces, logs, metrics and the store's counts, as JSON for the page and
//! for programs.

pub(crate) mod answer;
mod difference;
mod logs;
mod map;
mod metrics;
mod models;
mod query;
mod rules;
mod services;
mod trace_export;
mod trace_pages;
mod traces;

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};

pub use logs::LogEntry;
pub(crate) use logs::{LogsQuery, find as find_logs};
pub use metrics::MetricSeries;
pub(crate) use query::{WindowQuery, now, trace_id};
pub use services::ServiceSummary;
pub(crate) use trace_pages::PageCache;
pub use traces::TraceSummary;

use crate::state::ApiState;
use crate::store::{StoreStats, TelemetryStore};

/// The routes of the read API.
pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/api/services", get(services::list))
        .route("/api/traces", get(traces::list))
        .route("/api/traces/{trace_id}", get(trace_pages::one))
        .route("/api/difference", get(difference::read))
        .route(
            "/api/traces/{trace_id}/links",
            get(trace_export::both_directions),
        )
        .route(
            "/api/traces/{trace_id}/export/{format}",
            get(trace_export::file),
        )
        .route("/api/logs", get(logs::list))
        .route("/api/metrics", get(metrics::read))
        .route("/api/metrics/points", get(metrics::points))
        .route("/api/map", get(map::read))
        .route("/api/models", get(models::list))
        .route("/api/models/{name}", get(models::one))
        .route("/api/stats", get(stats))
        .route("/api/rules", get(rules::read))
}

async fn stats(State(store): State<Arc<TelemetryStore>>) -> Json<StoreStats> {
    Json(store.stats())
}
