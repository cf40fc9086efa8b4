//! Stored spans in the groups of OTLP: by resource, then by scope.

use std::sync::Arc;

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::span::StoredSpan;
use crate::store::Source;

/// Groups the spans. Resources and scopes are in the order of their first span.
pub(super) fn group(spans: &[&StoredSpan]) -> Vec<ResourceSpans> {
    let mut resources: Vec<(&Source, ResourceSpans)> = Vec::new();
    for (source, spans) in by_source(spans) {
        let scope_spans = ScopeSpans {
            scope: Some(source.scope()),
            spans,
            schema_url: source.scope_schema_url.clone(),
        };
        match resources
            .iter_mut()
            .find(|(first, _)| first.has_resource_of(source))
        {
            Some((_, resource)) => resource.scope_spans.push(scope_spans),
            None => resources.push((
                source,
                ResourceSpans {
                    resource: Some(source.resource()),
                    scope_spans: vec![scope_spans],
                    schema_url: source.resource_schema_url.clone(),
                },
            )),
        }
    }
    resources.into_iter().map(|(_, spans)| spans).collect()
}

fn by_source<'a>(spans: &[&'a StoredSpan]) -> Vec<(&'a Arc<Source>, Vec<Span>)> {
    let mut sources: Vec<(&'a Arc<Source>, Vec<Span>)> = Vec::new();
    for stored in spans {
        // The bytes are valid: they were decoded once before they were stored.
        let span = Span::decode(&stored.bytes[..]).unwrap_or_default();
        match sources
            .iter_mut()
            .find(|(source, _)| Arc::ptr_eq(source, &stored.source))
        {
            Some((_, list)) => list.push(span),
            None => sources.push((&stored.source, vec![span])),
        }
    }
    sources
}
