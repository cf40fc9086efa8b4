//! One trace as people think of it: spans in a tree, with services, times, events and links.

mod build;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

/// A whole trace, as far as it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// 32 lower-case hex digits.
    pub trace_id: String,
    /// Depth first: each span is followed by its children, siblings by start time. Roots come before orphans.
    ///
    /// A flat list with depths rather than nested spans, so that a chain of ten thousand spans is no deep recursion.
    pub spans: Vec<Span>,
}

/// One span. Times are nanoseconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// 16 lower-case hex digits.
    pub span_id: String,
    /// The parent's id, whether or not the trace holds it.
    pub parent: Option<String>,
    pub name: String,
    pub kind: Kind,
    /// `service.name` of its resource.
    pub service: String,
    pub start: u64,
    pub end: u64,
    pub status: Status,
    /// By name, in natural JSON.
    pub attributes: BTreeMap<String, Value>,
    pub events: Vec<Event>,
    pub links: Vec<Link>,
    /// 0 for roots and orphans.
    pub depth: usize,
    /// It has a parent, and the trace does not hold it.
    pub orphan: bool,
}

/// What a span stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Unspecified,
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

/// How a span ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    Unset,
    Ok,
    /// With the description, which may be empty.
    Error(String),
}

/// Something that happened during a span.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub name: String,
    pub time: u64,
    pub attributes: BTreeMap<String, Value>,
}

/// A reference to a span that is not the parent, often of another trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    pub trace_id: String,
    pub span_id: String,
    pub attributes: BTreeMap<String, Value>,
}

/// The document is no trace.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// It is not OTLP/JSON with `resourceSpans`.
    #[error("the document is not OTLP/JSON")]
    Json(#[from] serde_json::Error),
    /// It holds nothing.
    #[error("the document holds no span")]
    Empty,
    /// It mixes traces; one call builds one.
    #[error("the document holds spans of several traces")]
    SeveralTraces,
}

impl Trace {
    /// Builds the tree from an OTLP/JSON document `{"resourceSpans": […]}`, such as `GET /api/traces/{trace_id}` answers.
    pub fn from_otlp(json: &[u8]) -> Result<Trace, ModelError> {
        build::trace(crate::otlp::json::from_slice(json)?)
    }

    /// Spans without parent; a complete trace has one.
    pub fn roots(&self) -> impl Iterator<Item = &Span> {
        self.spans.iter().filter(|span| span.parent.is_none())
    }

    /// Spans whose parent is not here.
    pub fn orphans(&self) -> impl Iterator<Item = &Span> {
        self.spans.iter().filter(|span| span.orphan)
    }

    /// One root and no orphan.
    pub fn is_complete(&self) -> bool {
        self.roots().count() == 1 && self.orphans().next().is_none()
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
    pub fn span(&self, name: &str) -> Option<&Span> {
        self.spans.iter().find(|span| span.name == name)
    }

    /// The direct children of the span with that id.
    pub fn children<'a>(&'a self, span_id: &'a str) -> impl Iterator<Item = &'a Span> {
        self.spans
            .iter()
            .filter(move |span| span.depth > 0 && span.parent.as_deref() == Some(span_id))
    }
}

impl Span {
    /// Nanoseconds; zero for a span that ends before it starts.
    pub fn duration(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether it ended with status ERROR.
    pub fn is_error(&self) -> bool {
        matches!(self.status, Status::Error(_))
    }

    /// An attribute as text: strings as they are, everything else as JSON.
    pub fn text(&self, attribute: &str) -> Option<String> {
        self.attributes.get(attribute).map(|value| match value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Kind::Unspecified => "UNSPECIFIED",
            Kind::Internal => "INTERNAL",
            Kind::Server => "SERVER",
            Kind::Client => "CLIENT",
            Kind::Producer => "PRODUCER",
            Kind::Consumer => "CONSUMER",
        })
    }
}

#[cfg(test)]
mod tests;
