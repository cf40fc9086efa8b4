//! The links of a trace in both directions, with what is known of their other ends.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde::Serialize;

use crate::store::traces::{NewSpan, Referrer, TraceStore};
use crate::store::{SpanId, TraceId};
use crate::trace::{self, SpanData, SpanLink, Trace};

/// Links of each direction that are shown.
const MAX_LINKS: usize = 200;
/// The attribute of a link from a prediction to the training of its model.
const RUN_ID: &str = "ml.run_id";

/// Both directions.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Links {
    /// From spans of this trace.
    pub outward: Vec<LinkedSpan>,
    /// To spans of this trace, the newest first.
    pub inward: Vec<LinkedSpan>,
    /// Links of both directions that are not listed.
    pub left_out: usize,
}

/// One link, seen from this trace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct LinkedSpan {
    /// The span of this trace.
    pub own_span_id: String,
    /// What the other span is to this one, such as `computed by`.
    pub relation: &'static str,
    pub trace_id: String,
    pub span_id: String,
    /// Whether the other span is stored. It may have been evicted, or never have arrived.
    pub stored: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

/// The links of `trace`, whose id is `id`.
pub(crate) fn links(store: &TraceStore, id: TraceId, trace: &Trace) -> Links {
    let outward = trace
        .spans
        .iter()
        .flat_map(|span| span.links.iter().map(move |link| (span, link)));
    let total_outward = outward.clone().count();
    // Links within the trace have an end in it, which knows nothing of them.
    let within = outward
        .clone()
        .filter(|(_, link)| link.trace_id == trace.trace_id);
    let mut inward: Vec<LinkedSpan> = within
        .clone()
        .map(|(span, link)| back(span, link))
        .collect();
    let referrers = store.referrers(id);
    let total_inward = inward.len() + referrers.len();
    inward.truncate(MAX_LINKS);
    let room = MAX_LINKS - inward.len();
    inward.extend(
        referrers
            .iter()
            .take(room)
            .map(|from| referring(store, id, from)),
    );
    let mut ends = Ends::default();
    let outward: Vec<_> = outward
        .take(MAX_LINKS)
        .map(|(span, link)| ends.pointed_at(store, span, link))
        .collect();
    Links {
        left_out: total_outward + total_inward - outward.len() - inward.len(),
        outward,
        inward,
    }
}

/// Targets that were looked up; the spans of a stage link to the same members.
#[derive(Default)]
struct Ends(BTreeMap<(String, String), Option<(String, String)>>);

impl Ends {
    fn pointed_at(&mut self, store: &TraceStore, span: &SpanData, link: &SpanLink) -> LinkedSpan {
        let key = (link.trace_id.clone(), link.span_id.clone());
        let found = self.0.entry(key).or_insert_with(|| {
            let ids = ids(&link.trace_id, &link.span_id)?;
            let span = store.spans_with_id(ids.0, ids.1).into_iter().next()?;
            Some((span.span().name, span.source.service.clone()))
        });
        LinkedSpan {
            own_span_id: span.span_id.clone(),
            relation: outward_relation(span, link),
            trace_id: link.trace_id.clone(),
            span_id: link.span_id.clone(),
            stored: found.is_some(),
            name: found.as_ref().map(|(name, _)| name.clone()),
            service: found.as_ref().map(|(_, service)| service.clone()),
        }
    }
}

/// What the target of a link is to its span.
fn outward_relation(span: &SpanData, link: &SpanLink) -> &'static str {
    if link.attributes.contains_key(RUN_ID) {
        "trained by"
    } else if span.name == "batch" {
        "member of the batch"
    } else if span.kind == trace::SpanKind::Server {
        "computed by"
    } else {
        "links to"
    }
}

/// A link within the trace, from its target's side.
fn back(span: &SpanData, link: &SpanLink) -> LinkedSpan {
    LinkedSpan {
        own_span_id: link.span_id.clone(),
        relation: inward_relation(
            link.attributes.contains_key(RUN_ID),
            &span.name,
            span.kind == trace::SpanKind::Server,
        ),
        trace_id: link.trace_id.clone(),
        span_id: span.span_id.clone(),
        stored: true,
        name: Some(span.name.clone()),
        service: Some(span.service.clone()),
    }
}

fn referring(store: &TraceStore, id: TraceId, from: &Referrer) -> LinkedSpan {
    let found = store.spans_with_id(from.trace_id, from.span_id);
    let points_here = |span: &Span| span.links.iter().any(|link| link.trace_id == id);
    let found: Vec<(Span, NewSpan)> = found.into_iter().map(|span| (span.span(), span)).collect();
    let source = found.iter().find(|(span, _)| points_here(span));
    let of_run = source.is_some_and(|(span, _)| {
        let mut here = span.links.iter().filter(|link| link.trace_id == id);
        here.any(|link| {
            link.attributes
                .iter()
                .any(|attribute| attribute.key == RUN_ID)
        })
    });
    let name = source.map(|(span, _)| span.name.clone());
    let serves = source.is_some_and(|(span, _)| span.kind() == SpanKind::Server);
    LinkedSpan {
        own_span_id: hex::encode(from.target_span),
        relation: inward_relation(of_run, name.as_deref().unwrap_or_default(), serves),
        trace_id: hex::encode(from.trace_id),
        span_id: hex::encode(from.span_id),
        stored: source.is_some(),
        name,
        service: source.map(|(_, stored)| stored.source.service.clone()),
    }
}

/// What the span that links is to the target.
fn inward_relation(of_run: bool, name: &str, serves: bool) -> &'static str {
    if of_run {
        "trained the model of"
    } else if name == "batch" {
        "went into"
    } else if serves {
        "answered later in"
    } else {
        "linked from"
    }
}

fn ids(trace_id: &str, span_id: &str) -> Option<(TraceId, SpanId)> {
    let (mut trace, mut span) = (TraceId::default(), SpanId::default());
    hex::decode_to_slice(trace_id, &mut trace).ok()?;
    hex::decode_to_slice(span_id, &mut span).ok()?;
    Some((trace, span))
}
