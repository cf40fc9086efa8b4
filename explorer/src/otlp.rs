//! OTLP/HTTP in: `POST /v1/traces`, `/v1/metrics`, `/v1/logs`, protobuf or JSON, gzip or plain.
//!
//! A request is taken whole or not at all: everything is decoded before anything is stored. Items that are well formed
//! but unusable (a span without id, an item above the limits) are refused one by one and told as `partial_success`.
//! Protocol: opentelemetry-proto, docs/specification.md, section OTLP/HTTP.

mod answer;
pub(crate) mod body;
pub(crate) mod json;
pub(crate) mod wire;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::HeaderMap;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use runtime::ProcessOptions;
use serde::de::DeserializeOwned;

use crate::error::Rejection;
use crate::guard::Guard;
use crate::store::metrics::MetricPoints;
use crate::store::{Origin, Store, logs::LogEntry, traces::SpanRecord};
use body::Encoding;
use wire::{Group, Malformed};

/// Bytes of one item, still encoded. An empty event of two bytes becomes eighty when it is decoded, so that this bounds
/// what one item can cost for a moment at 10 MiB.
const MAX_ITEM_BYTES: usize = 256 * 1024;

/// The receiver's routes.
pub(crate) fn router(store: Arc<Store>, guard: Guard, options: &ProcessOptions) -> Router {
    Router::new()
        .route("/v1/traces", post(traces))
        .route("/v1/metrics", post(metrics))
        .route("/v1/logs", post(logs))
        .layer(DefaultBodyLimit::max(body::MAX_BODY_BYTES))
        .layer(runtime::limit_layer(options, answer::refuse))
        .layer(middleware::from_fn(
            move |request: Request, next: Next| async move {
                if guard.admits(&request) {
                    next.run(request).await
                } else {
                    answer::reject(request.headers(), &Rejection::Foreign)
                }
            },
        ))
        .with_state(store)
}

type Body = Result<Bytes, BytesRejection>;

async fn traces(State(store): State<Arc<Store>>, headers: HeaderMap, body: Body) -> Response {
    let taken =
        take::<ExportTraceServiceRequest>(&headers, body, |bytes| take_traces(&store, bytes));
    answer::write(&headers, "rejectedSpans", taken)
}

async fn metrics(State(store): State<Arc<Store>>, headers: HeaderMap, body: Body) -> Response {
    let taken =
        take::<ExportMetricsServiceRequest>(&headers, body, |bytes| take_metrics(&store, bytes));
    answer::write(&headers, "rejectedDataPoints", taken)
}

async fn logs(State(store): State<Arc<Store>>, headers: HeaderMap, body: Body) -> Response {
    let taken = take::<ExportLogsServiceRequest>(&headers, body, |bytes| take_logs(&store, bytes));
    answer::write(&headers, "rejectedLogRecords", taken)
}

/// From the body to `store`, which says how many items it refused.
fn take<T: Message + Default + DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    store: impl FnOnce(&[u8]) -> Result<usize, Malformed>,
) -> Result<usize, Rejection> {
    let encoding = Encoding::of(headers).ok_or(Rejection::ContentType)?;
    let plain = body::decompress(headers, body.map_err(Rejection::Body)?)?;
    Ok(store(&body::to_protobuf::<T>(encoding, plain)?)?)
}

fn take_traces(store: &Store, body: &[u8]) -> Result<usize, Malformed> {
    let (batches, refused) = decode(body, |bytes| Ok(SpanRecord::decode(bytes)?))?;
    store.traces.count_refused(refused);
    Ok(refused
        + batches
            .into_iter()
            .map(|(origin, spans)| store.traces.insert(origin, spans))
            .sum::<usize>())
}

fn take_logs(store: &Store, body: &[u8]) -> Result<usize, Malformed> {
    let (batches, refused) = decode(body, |bytes| Ok(Some(LogEntry::decode(bytes)?)))?;
    store.logs.count_refused(refused);
    Ok(refused
        + batches
            .into_iter()
            .map(|(origin, logs)| store.logs.insert(origin, logs))
            .sum::<usize>())
}

fn take_metrics(store: &Store, body: &[u8]) -> Result<usize, Malformed> {
    let (batches, refused) = decode(body, |bytes| Ok(MetricPoints::decode(bytes)?))?;
    store.metrics.count_refused(refused);
    Ok(refused
        + batches
            .into_iter()
            .map(|(origin, points)| store.metrics.insert(origin, points))
            .sum::<usize>())
}

type Batches<T> = Vec<(Origin, Vec<T>)>;

/// Decodes every item of a body; beside the items, how many were refused.
fn decode<T>(
    body: &[u8],
    mut read: impl FnMut(&[u8]) -> Result<Option<T>, Malformed>,
) -> Result<(Batches<T>, usize), Malformed> {
    let mut batches = Vec::new();
    let mut refused = 0;
    for group in wire::groups(body)? {
        let mut items = Vec::with_capacity(group.items.len());
        for bytes in &group.items {
            if fits(&group, bytes) {
                items.extend(read(bytes)?);
            }
        }
        refused += group.items.len() - items.len();
        if !items.is_empty() {
            batches.push((Origin::of(&group)?, items));
        }
    }
    Ok((batches, refused))
}

fn fits(group: &Group<'_>, item: &[u8]) -> bool {
    item.len().max(group.resource.len()).max(group.scope.len()) <= MAX_ITEM_BYTES
}
