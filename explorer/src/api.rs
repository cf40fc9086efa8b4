//! The reads: services, traces, logs, metrics and the store's own figures, as JSON for the page and for programs.

mod logs;
mod query;
mod traces;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use runtime::{ProcessOptions, Refusal};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use traces::TraceSummary;

use crate::error::ApiError;
use crate::guard::Guard;
use crate::page;
use crate::store::Store;
use crate::store::metrics::SeriesView;
use crate::value;

/// What is held of one service; an entry of `GET /api/services`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSummary {
    /// `service.name`.
    pub name: String,
    /// Spans held.
    pub spans: usize,
    /// Spans with status ERROR among them.
    pub errors: usize,
    /// Log records held.
    pub logs: usize,
    /// Metric series held.
    pub series: usize,
}

/// The routes of the page port but for the health probes.
pub(crate) fn router(store: Arc<Store>, guard: Guard, options: &ProcessOptions) -> Router {
    Router::new()
        .route("/api/services", get(services))
        .route("/api/traces", get(traces::list))
        .route("/api/traces/{trace_id}", get(traces::one))
        .route("/api/logs", get(logs::list))
        .route("/api/metrics", get(metrics))
        .route(
            "/api/stats",
            get(|State(store): State<Arc<Store>>| async move { Json(store.stats()) }),
        )
        .merge(page::routes())
        .fallback(|| async { ApiError::NoRoute })
        .layer(runtime::limit_layer(options, |refusal: Refusal| {
            ApiError::from(refusal).into_response()
        }))
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            guarded(guard, request, next)
        }))
        .layer(middleware::map_response(page::harden))
        .with_state(store)
}

async fn guarded(guard: Guard, request: Request, next: Next) -> Response {
    if guard.admits(&request) {
        next.run(request).await
    } else {
        ApiError::Foreign.into_response()
    }
}

/// The extractor of every query here; what it refuses becomes our own 400.
type Asked<T> = Result<Query<T>, QueryRejection>;

async fn services(State(store): State<Arc<Store>>) -> Json<Value> {
    let mut services: BTreeMap<String, ServiceSummary> = BTreeMap::new();
    let mut count = |name: &str, add: &dyn Fn(&mut ServiceSummary)| match services.get_mut(name) {
        Some(known) => add(known),
        None => add(services.entry(name.to_owned()).or_default()),
    };
    store.traces.each_span(|service, error| {
        count(service, &|summary| {
            summary.spans += 1;
            summary.errors += usize::from(error);
        });
    });
    for log in store.logs.newest_first() {
        count(&log.origin.service, &|summary| summary.logs += 1);
    }
    store
        .metrics
        .each_series(|service| count(service, &|summary| summary.series += 1));
    let list = services
        .into_iter()
        .map(|(name, summary)| ServiceSummary { name, ..summary });
    Json(json!({ "services": list.collect::<Vec<_>>() }))
}

#[derive(Debug, Deserialize)]
struct MetricsQuery {
    name: Option<String>,
}

async fn metrics(
    State(store): State<Arc<Store>>,
    query: Asked<MetricsQuery>,
) -> Result<Json<Value>, ApiError> {
    let Query(query) = query?;
    let Some(name) = query.name else {
        let names = store.metrics.names().into_iter();
        let names = names.map(|(name, series)| json!({ "name": name, "series": series }));
        return Ok(Json(json!({ "metrics": names.collect::<Vec<_>>() })));
    };
    let series: Vec<_> = store
        .metrics
        .series(&name)
        .iter()
        .map(series_json)
        .collect();
    Ok(Json(json!({ "name": name, "series": series })))
}

fn series_json(series: &SeriesView) -> Value {
    let resource = value::plain_map(series.origin.resource().attributes);
    json!({
        "service": series.origin.service,
        "instance": resource.get("service.instance.id"),
        "kind": series.instrument.kind,
        "unit": series.instrument.unit,
        "description": series.instrument.description,
        "temporality": series.instrument.temporality,
        "monotonic": series.instrument.monotonic,
        "attributes": series.attributes,
        "start": query::timestamp(series.point.start),
        "time": query::timestamp(series.point.time),
        "value": series.point.json(),
    })
}
