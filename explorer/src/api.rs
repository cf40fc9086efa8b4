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

use axum::extract::{FromRef, State};
use axum::middleware;
use axum::routing::get;
use axum::{Json, Router};
use runtime::{BodyRules, ProcessOptions};

pub use logs::LogEntry;
pub(crate) use logs::{LogsQuery, find as find_logs};
pub use metrics::MetricSeries;
pub(crate) use query::{WindowQuery, now, trace_id};
pub use services::ServiceSummary;
pub use traces::TraceSummary;

use crate::error::{ReadError, refuse_read};
use crate::facts::SpanFacts;
use crate::gateway::Gateway;
use crate::pages;
use crate::rules::Rules;
use crate::store::{StoreStats, TelemetryStore};
use crate::token::{self, Token};
use trace_pages::PageCache;

/// No route reads a body.
const NO_BODIES: BodyRules = BodyRules {
    max_bytes: 64 * 1024,
    decode: true,
};

/// The routes of the page's port, without the health probes.
pub(crate) fn router(
    store: Arc<TelemetryStore>,
    rules: Arc<Rules>,
    facts: Arc<SpanFacts>,
    outside: Outside,
    options: &ProcessOptions,
) -> Router {
    let token = outside.token.clone();
    let router = Router::new()
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
        .merge(pages::routes())
        .fallback(|| async { ReadError::NoRoute });
    let router = match token {
        Some(token) => router.layer(middleware::from_fn_with_state(token, token::authenticate)),
        None => router,
    };
    router
        .layer(runtime::limit_layer(options, NO_BODIES, refuse_read))
        .layer(middleware::map_response(pages::harden))
        .with_state(ApiState {
            store,
            rules,
            facts,
            pages: Arc::default(),
            outside,
        })
}

/// What the routes of the page's port share.
#[derive(Clone)]
pub(crate) struct ApiState {
    store: Arc<TelemetryStore>,
    rules: Arc<Rules>,
    facts: Arc<SpanFacts>,
    pages: Arc<PageCache>,
    outside: Outside,
}

/// Whom the page calls, and whom it answers.
#[derive(Clone, Default)]
pub(crate) struct Outside {
    pub(crate) gateway: Option<Gateway>,
    pub(crate) token: Option<Token>,
}

impl FromRef<ApiState> for Option<Gateway> {
    fn from_ref(state: &ApiState) -> Self {
        state.outside.gateway.clone()
    }
}

impl FromRef<ApiState> for Option<Token> {
    fn from_ref(state: &ApiState) -> Self {
        state.outside.token.clone()
    }
}

impl FromRef<ApiState> for Arc<TelemetryStore> {
    fn from_ref(state: &ApiState) -> Self {
        Arc::clone(&state.store)
    }
}

impl FromRef<ApiState> for Arc<Rules> {
    fn from_ref(state: &ApiState) -> Self {
        Arc::clone(&state.rules)
    }
}

impl FromRef<ApiState> for Arc<SpanFacts> {
    fn from_ref(state: &ApiState) -> Self {
        Arc::clone(&state.facts)
    }
}

impl FromRef<ApiState> for Arc<PageCache> {
    fn from_ref(state: &ApiState) -> Self {
        Arc::clone(&state.pages)
    }
}

async fn stats(State(store): State<Arc<TelemetryStore>>) -> Json<StoreStats> {
    Json(store.stats())
}
