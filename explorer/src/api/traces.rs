//! `GET /api/traces`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde::{Deserialize, Serialize};

use super::answer::{self, Encoded};
use super::query;
use crate::error::ReadError;
use crate::filter::{self, Parameters};
use crate::store::TelemetryStore;
use crate::store::traces::ListedTrace;

/// One trace in a list; an entry of `GET /api/traces`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceSummary {
    /// 32 lower-case hex digits.
    pub trace_id: String,
    /// Name of the root span; without a root, of the first orphan or of the earliest span of a
    /// cycle.
    pub root_name: String,
    /// Service of that span.
    pub root_service: String,
    /// Earliest start of a span, RFC 3339.
    pub start: Option<String>,
    /// From the earliest start to the latest end of a span.
    pub duration_ms: f64,
    /// Stored spans.
    pub spans: usize,
    /// Stored spans by service.
    pub services: BTreeMap<String, usize>,
    /// Values of `ml.model_name` in its spans.
    pub models: Vec<String>,
    /// Whether a span has status ERROR.
    pub error: bool,
    /// Whether there is one root, or one remote caller, and neither orphan nor cycle.
    pub complete: bool,
}

/// The traces that match, as summaries.
pub(super) async fn list(
    State(store): State<Arc<TelemetryStore>>,
    RawQuery(query): RawQuery,
) -> Result<Encoded, ReadError> {
    let parameters = Parameters::parse(query.as_deref().unwrap_or_default());
    let filter = parameters
        .filter(query::now())
        .map_err(ReadError::Invalid)?;
    answer::build(move || {
        let matching = filter::matching(&store.traces, &filter, filter.limit);
        let listed = store.traces.listed(matching.iter().map(|trace| trace.id));
        answer::list("traces", listed.into_iter().map(TraceSummary::from))
    })
    .await
}

impl From<ListedTrace> for TraceSummary {
    fn from(trace: ListedTrace) -> TraceSummary {
        let (root_service, root_name) = match &trace.root {
            Some((source, bytes)) => (
                source.service.clone(),
                Span::decode(&bytes[..]).unwrap_or_default().name,
            ),
            None => (String::new(), String::new()),
        };
        TraceSummary {
            trace_id: hex::encode(trace.trace_id),
            root_name,
            root_service,
            start: query::timestamp(trace.start),
            duration_ms: trace.end.saturating_sub(trace.start) as f64 / 1e6,
            spans: trace.spans,
            services: trace.services,
            models: trace.models,
            error: trace.errors > 0,
            complete: trace.complete,
        }
    }
}
