//! One trace as a tree of spans, with services, times, events and links.

mod build;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use serde_json::Value;

use crate::otlp::json;
use crate::place::{self, Place};

/// Attributes by name, with values in plain JSON: `5`, `true`, `"text"`, `[1, 2]`.
pub type AttributeMap = BTreeMap<String, Value>;

/// The spans of one trace id that have arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// 32 lower-case hex digits.
    pub trace_id: String,
    /// Depth first: each span is followed by its children, siblings by start time. Roots come
    /// before orphans, and orphans before cycles.
    ///
    /// A flat list with depths rather than nested spans, so that a chain of ten thousand spans
    /// needs no deep recursion.
    pub spans: Vec<SpanData>,
}

/// One finished span; the SDKs of OpenTelemetry use the same name. Times are nanoseconds since
/// 1970.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanData {
    /// 16 lower-case hex digits.
    pub span_id: String,
    /// The parent's id, whether or not the trace has that span.
    pub parent: Option<String>,
    pub name: String,
    pub kind: SpanKind,
    /// `service.name` of the resource.
    pub service: String,
    /// Attributes of the resource, shared by all spans of one process.
    pub resource: Arc<AttributeMap>,
    /// The W3C `tracestate`, often empty.
    pub trace_state: String,
    pub start: u64,
    pub end: u64,
    pub status: SpanStatus,
    pub attributes: AttributeMap,
    pub events: Vec<SpanEvent>,
    pub links: Vec<SpanLink>,
    /// 0 for every place but [`Place::Child`].
    pub depth: usize,
    pub place: Place,
}

/// The role of a span in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    Unspecified,
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

/// How a span ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanStatus {
    Unset,
    Ok,
    /// With the description, which may be empty.
    Error(String),
}

/// Something that happened during a span.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanEvent {
    pub name: String,
    pub time: u64,
    pub attributes: AttributeMap,
}

/// A reference to a span other than the parent, often of another trace.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanLink {
    pub trace_id: String,
    pub span_id: String,
    pub attributes: AttributeMap,
}

/// The document is not one trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// It is not an object with `resourceSpans`.
    #[error("the document is not OTLP/JSON")]
    Json(#[from] serde_json::Error),
    /// It has no span.
    #[error("the document has no span")]
    Empty,
    /// It has more than one trace id.
    #[error("the document has spans of several traces")]
    SeveralTraces,
}

impl Trace {
    /// Builds the tree from an OTLP/JSON document `{"resourceSpans": […]}`, the answer of
    /// `GET /api/traces/{trace_id}`.
    pub fn from_otlp(document: &[u8]) -> Result<Trace, TraceError> {
        Trace::from_otlp_pages([document])
    }

    /// Builds the tree from all pages of a trace, in any order.
    pub fn from_otlp_pages<'a>(
        pages: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Trace, TraceError> {
        let mut spans = Vec::new();
        for page in pages {
            let request: ExportTraceServiceRequest = json::decode(page)?;
            spans.extend(request.resource_spans);
        }
        Trace::from_resource_spans(spans)
    }

    pub(crate) fn from_resource_spans(spans: Vec<ResourceSpans>) -> Result<Trace, TraceError> {
        build::trace(spans)
    }

    /// Where the trace begins: spans without a parent, or below the span of a remote caller.
    pub fn roots(&self) -> impl Iterator<Item = &SpanData> {
        let is_root = |place| matches!(place, Place::Root | Place::RemoteRoot);
        self.spans.iter().filter(move |span| is_root(span.place))
    }

    /// How many roots are one too many: a trace has one root, or any number below a remote caller.
    pub(crate) fn surplus_roots(&self) -> usize {
        self.at(Place::Root).count().saturating_sub(1)
    }

    /// Spans whose parent should be in the trace and is not.
    pub fn orphans(&self) -> impl Iterator<Item = &SpanData> {
        self.at(Place::Orphan)
    }

    /// The earliest span of each cycle of parents.
    pub fn cycles(&self) -> impl Iterator<Item = &SpanData> {
        self.at(Place::Cycle)
    }

    fn at(&self, place: Place) -> impl Iterator<Item = &SpanData> {
        self.spans.iter().filter(move |span| span.place == place)
    }

    /// One root, or roots below one remote caller, and neither orphan nor cycle.
    pub fn is_complete(&self) -> bool {
        place::is_complete(self.spans.iter().map(|span| span.place))
    }

    /// Every service, in order of first appearance.
    pub fn services(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        self.spans
            .iter()
            .map(|span| span.service.as_str())
            .filter(|service| seen.insert(*service))
            .collect()
    }

    /// Earliest start of a span.
    pub fn start(&self) -> u64 {
        self.spans
            .iter()
            .map(|span| span.start)
            .min()
            .unwrap_or_default()
    }

    /// Latest end of a span.
    pub fn end(&self) -> u64 {
        self.spans
            .iter()
            .map(|span| span.end)
            .max()
            .unwrap_or_default()
    }

    /// Nanoseconds from the first start to the last end.
    pub fn duration(&self) -> u64 {
        self.end().saturating_sub(self.start())
    }

    /// The first span of that name.
    pub fn span(&self, name: &str) -> Option<&SpanData> {
        self.spans.iter().find(|span| span.name == name)
    }

    /// For each span the index of its parent, if it is a child.
    pub(crate) fn parent_indices(&self) -> Vec<Option<usize>> {
        let mut ancestors: Vec<usize> = Vec::new();
        let mut parents = Vec::with_capacity(self.spans.len());
        for (at, span) in self.spans.iter().enumerate() {
            ancestors.truncate(span.depth);
            parents.push(ancestors.last().copied().filter(|_| span.depth > 0));
            ancestors.push(at);
        }
        parents
    }

    /// The direct children of the span with that id.
    pub fn children<'a>(&'a self, span_id: &'a str) -> impl Iterator<Item = &'a SpanData> {
        self.spans
            .iter()
            .filter(move |span| span.depth > 0 && span.parent.as_deref() == Some(span_id))
    }
}

impl SpanData {
    /// Nanoseconds; zero for a span that ends before it starts.
    pub fn duration(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether the status is ERROR.
    pub fn is_error(&self) -> bool {
        matches!(self.status, SpanStatus::Error(_))
    }

    /// An attribute as text: strings as they are, everything else as JSON.
    pub fn text(&self, attribute: &str) -> Option<String> {
        self.attributes.get(attribute).map(|value| match value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        })
    }
}

impl fmt::Display for SpanKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            SpanKind::Unspecified => "UNSPECIFIED",
            SpanKind::Internal => "INTERNAL",
            SpanKind::Server => "SERVER",
            SpanKind::Client => "CLIENT",
            SpanKind::Producer => "PRODUCER",
            SpanKind::Consumer => "CONSUMER",
        })
    }
}

#[cfg(test)]
mod tests;
