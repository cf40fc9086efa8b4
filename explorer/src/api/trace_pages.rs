//! `GET /api/traces/{trace_id}`: one trace as OTLP/JSON, in pages of bounded size.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::{self, Encoded};
use super::query::{self, QueryResult};
use crate::error::ReadError;
use crate::otlp::json;
use crate::place::Place;
use crate::remarks::remarks;
use crate::store::traces::TracePage;
use crate::store::{TelemetryStore, TraceId};
use crate::trace::Trace;

/// Pages that are kept for the next reader of the same trace.
const CACHED_PAGES: usize = 8;

#[derive(Debug, Deserialize)]
pub(super) struct PageQuery {
    #[serde(default)]
    offset: usize,
}

/// The encoded pages that were read last.
#[derive(Default)]
pub(crate) struct PageCache(Mutex<VecDeque<(PageKey, Encoded)>>);

/// A trace in one state of its arrival, and the offset of the page.
type PageKey = (TraceId, u64, usize);

/// The answer. OTLP tools ignore the fields that they do not know.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TraceDocument {
    resource_spans: Value,
    shape: Shape,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<Page>,
}

/// What is known of the whole trace, so that a reader of one page does not have to guess.
#[derive(Serialize)]
struct Shape {
    complete: bool,
    /// The places of the spans of this page that are no children.
    tops: BTreeMap<String, Place>,
    /// See [`remarks`](crate::remarks); on the first page only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remarks: Vec<String>,
}

/// Which part of the trace this is; absent if it is all of it. Spans are in the order of their start.
#[derive(Serialize)]
struct Page {
    offset: usize,
    /// Spans in this page.
    spans: usize,
    /// Spans of the trace.
    total: usize,
    /// The `offset` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<usize>,
}

pub(super) async fn one(
    State(store): State<Arc<TelemetryStore>>,
    State(pages): State<Arc<PageCache>>,
    Path(trace_id): Path<String>,
    query: QueryResult<PageQuery>,
) -> Result<Encoded, ReadError> {
    let Query(query) = query?;
    let id = query::trace_id(&trace_id)?;
    answer::build(move || {
        let unknown = || ReadError::UnknownTrace(hex::encode(id));
        let version = store.traces.version(id).ok_or_else(unknown)?;
        let key = (id, version, query.offset);
        if let Some(page) = pages.get(key) {
            return Ok(page);
        }
        let page = store.traces.page(id, query.offset).ok_or_else(unknown)?;
        let remarks = match query.offset {
            0 => remarks_of(&store, id),
            _ => Vec::new(),
        };
        let encoded = answer::value(&TraceDocument::of(page, remarks))?;
        pages.put(key, encoded.clone());
        Ok(encoded)
    })
    .await
}

fn remarks_of(store: &TelemetryStore, id: TraceId) -> Vec<String> {
    let spans = store.traces.get(id).unwrap_or_default();
    Trace::from_resource_spans(spans).map_or_else(|_| Vec::new(), |trace| remarks(&trace))
}

impl TraceDocument {
    fn of(page: TracePage, remarks: Vec<String>) -> TraceDocument {
        let end = page.offset + page.spans;
        let part = Page {
            offset: page.offset,
            spans: page.spans,
            total: page.total,
            next: (page.spans > 0 && end < page.total).then_some(end),
        };
        let tops = page.tops.into_iter();
        TraceDocument {
            resource_spans: json::encode(page.resource_spans),
            shape: Shape {
                complete: page.complete,
                tops: tops.map(|(id, place)| (hex::encode(id), place)).collect(),
                remarks,
            },
            page: (page.spans < page.total).then_some(part),
        }
    }
}

impl PageCache {
    fn get(&self, key: PageKey) -> Option<Encoded> {
        let pages = self.0.lock();
        let page = pages.iter().find(|(cached, _)| *cached == key);
        page.map(|(_, encoded)| encoded.clone())
    }

    fn put(&self, key: PageKey, encoded: Encoded) {
        let mut pages = self.0.lock();
        if pages.len() >= CACHED_PAGES {
            pages.pop_front();
        }
        pages.push_back((key, encoded));
    }
}
