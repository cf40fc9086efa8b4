//! `GET /api/traces/{trace_id}/links` and `GET /api/traces/{trace_id}/export/{format}`: what belongs
//! to a trace and is not in it, and the trace as a file for other tools.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::answer::{self, Encoded};
use super::query;
use crate::error::ReadError;
use crate::export::{self, Format};
use crate::links;
use crate::otlp::json;
use crate::store::{TelemetryStore, TraceId};
use crate::trace::Trace;

/// A file is built in memory, so it may not be as large as the store.
const MAX_EXPORT_BYTES: usize = 16 * 1024 * 1024;

pub(super) async fn both_directions(
    State(store): State<Arc<TelemetryStore>>,
    Path(trace_id): Path<String>,
) -> Result<Encoded, ReadError> {
    let id = query::trace_id(&trace_id)?;
    answer::build(move || {
        let trace = whole(&store, id)?;
        answer::value(&links::links(&store.traces, id, &trace))
    })
    .await
}

pub(super) async fn file(
    State(store): State<Arc<TelemetryStore>>,
    Path((trace_id, format)): Path<(String, String)>,
) -> Result<Response, ReadError> {
    let id = query::trace_id(&trace_id)?;
    let format: Format = format.parse().map_err(ReadError::Invalid)?;
    let Encoded(body) = answer::build(move || {
        let body = match format {
            Format::Otlp => otlp(&store, id)?,
            Format::Perfetto => export::perfetto(&whole(&store, id)?).to_string(),
            Format::Html => export::html(&whole(&store, id)?),
        };
        if body.len() > MAX_EXPORT_BYTES {
            return Err(ReadError::Invalid(format!(
                "the trace is too large for a download; use `throughline trace {} --format {format}`",
                hex::encode(id)
            )));
        }
        Ok(Encoded(body.into()))
    })
    .await?;
    let name = format!(
        "attachment; filename=\"trace-{}.{}\"",
        hex::encode(id),
        format.extension()
    );
    let headers = [
        (CONTENT_TYPE, format.content_type().to_owned()),
        (CONTENT_DISPOSITION, name),
    ];
    Ok((headers, body).into_response())
}

fn otlp(store: &TelemetryStore, id: TraceId) -> Result<String, ReadError> {
    let spans = store.traces.get(id).ok_or_else(|| unknown(id))?;
    Ok(json!({ "resourceSpans": json::encode(spans) }).to_string())
}

fn whole(store: &TelemetryStore, id: TraceId) -> Result<Trace, ReadError> {
    let spans = store.traces.get(id).ok_or_else(|| unknown(id))?;
    Trace::from_resource_spans(spans).map_err(|_| unknown(id))
}

fn unknown(id: TraceId) -> ReadError {
    ReadError::UnknownTrace(hex::encode(id))
}
