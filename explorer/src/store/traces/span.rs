//! One span, encoded as it arrived, with the fields that the store needs.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};
use prost::{DecodeError, Message};

use super::links::{LINK_COST, MAX_LINKS_OF_SPAN, OwnLink};
use crate::attribute;
use crate::place;
use crate::store::{Source, SpanId, TraceId, id};

/// A span beside its bytes: key and value in a tree that is two thirds full, the allocation and its
/// counts.
const OVERHEAD: usize = (size_of::<SpanKey>() + size_of::<StoredSpan>()) * 3 / 2 + 32;

/// The id and a hash of the content. A retry of the exporter has the same key. Two different spans
/// with one id have two keys, and both are stored so that the mistake shows.
pub(super) type SpanKey = (SpanId, u64);

/// A span on its way into the store.
pub(crate) struct ReceivedSpan {
    pub(super) trace_id: TraceId,
    pub(super) key: SpanKey,
    pub(super) fields: SpanFields,
    pub(super) model: Option<String>,
    pub(super) links: Vec<OwnLink>,
    pub(super) bytes: Arc<[u8]>,
}

/// What the store reads of every span. Times are nanoseconds since 1970.
#[derive(Clone, Copy)]
pub(crate) struct SpanFields {
    pub parent: Option<SpanId>,
    pub remote_parent: bool,
    pub start: u64,
    pub end: u64,
    pub error: bool,
}

/// A stored span; a clone shares the bytes.
#[derive(Clone)]
pub(crate) struct StoredSpan {
    pub fields: SpanFields,
    pub source: Arc<Source>,
    pub bytes: Arc<[u8]>,
    /// The number of the store's update that added it.
    pub number: u64,
}

impl ReceivedSpan {
    /// `Ok(None)` for a span that breaks the protocol: ids that are all zero, or not of 16 and 8
    /// bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<ReceivedSpan>, DecodeError> {
        let span = Span::decode(bytes)?;
        let (Some(trace_id), Some(span_id)) = (id(&span.trace_id), id(&span.span_id)) else {
            return Ok(None);
        };
        let parent = id(&span.parent_span_id);
        if parent.is_none() && !matches!(span.parent_span_id.len(), 0 | 8) {
            return Ok(None);
        }
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let status = span.status.clone().unwrap_or_default();
        Ok(Some(ReceivedSpan {
            trace_id,
            key: (span_id, hasher.finish()),
            fields: SpanFields {
                parent,
                remote_parent: place::has_remote_parent(span.flags, span.kind()),
                start: span.start_time_unix_nano,
                end: span.end_time_unix_nano.max(span.start_time_unix_nano),
                error: status.code() == StatusCode::Error,
            },
            model: attribute::text(&span.attributes, "ml.model_name").map(str::to_owned),
            links: links(&span, span_id),
            bytes: bytes.into(),
        }))
    }

    pub(super) fn cost(&self) -> usize {
        OVERHEAD
            + self.bytes.len()
            + self.model.as_ref().map_or(0, String::len)
            + self.links.len() * LINK_COST
    }
}

/// The links with valid ids, as many as are indexed.
fn links(span: &Span, span_id: SpanId) -> Vec<OwnLink> {
    let links = span.links.iter().filter_map(|link| {
        Some(OwnLink {
            target: id(&link.trace_id)?,
            target_span: id(&link.span_id)?,
            span_id,
        })
    });
    links.take(MAX_LINKS_OF_SPAN).collect()
}
