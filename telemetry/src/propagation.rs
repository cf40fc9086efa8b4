//! W3C Trace Context, with the strict reading that the SDK's propagator leaves out.

use std::str::FromStr;

use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::propagation::TraceContextPropagator;

use crate::hex;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Reads and writes the two headers as the SDK's propagator does, but for malformed ones.
///
/// The SDK takes short ids (`00-abc-def-01`) and pads them with zeros; the request would then be a part of a trace that
/// nobody else knows. By W3C a malformed header starts a new trace.
#[derive(Debug, Default)]
pub(crate) struct TraceContext {
    inner: TraceContextPropagator,
}

impl TextMapPropagator for TraceContext {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        let span = context.span();
        let ids = span.span_context();
        if ids.is_valid() {
            injector.set(
                TRACEPARENT,
                write(ids, ids.trace_flags() & TraceFlags::SAMPLED),
            );
            injector.set(TRACESTATE, ids.trace_state().header());
        }
    }

    fn extract_with_context(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        let Some((trace, span, flags)) = extractor
            .get(TRACEPARENT)
            .and_then(|value| parse(value.trim()))
        else {
            return context.clone();
        };
        let state = extractor
            .get(TRACESTATE)
            .and_then(|state| TraceState::from_str(state).ok())
            .unwrap_or_default();
        // Of the flags only `sampled` is known; W3C asks to drop the others.
        let ids = SpanContext::new(trace, span, flags & TraceFlags::SAMPLED, true, state);
        context.with_remote_span_context(ids)
    }

    fn fields(&self) -> FieldIter<'_> {
        self.inner.fields()
    }
}

/// Reads `version-traceid-spanid-flags` in lower-case hex of 2, 32, 16 and 2 digits, with ids that are not zero. Version
/// `ff` is forbidden, version `00` ends after the flags, and a later version may go on after a further `-`.
pub(crate) fn parse(value: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let mut parts = value.splitn(5, '-');
    let version = hex::read(parts.next()?, 2)?;
    let (trace, span) = ids(parts.next()?, parts.next()?)?;
    let flags = hex::read(parts.next()?, 2)?;
    let formed = version != 0xff && (version != 0 || parts.next().is_none());
    formed.then_some((trace, span, TraceFlags::new(flags as u8)))
}

/// The ids of two lower-case hex texts of full length; `None` when one is malformed or all zero.
pub(crate) fn ids(trace: &str, span: &str) -> Option<(TraceId, SpanId)> {
    let (trace, span) = (
        TraceId::from(hex::read(trace, 32)?),
        SpanId::from(hex::read(span, 16)? as u64),
    );
    (trace != TraceId::INVALID && span != SpanId::INVALID).then_some((trace, span))
}

/// The value of a `traceparent` or `traceresponse` header.
pub(crate) fn write(ids: &SpanContext, flags: TraceFlags) -> String {
    let mut value = String::with_capacity(55);
    value.push_str("00-");
    hex::push(&mut value, &ids.trace_id().to_bytes());
    value.push('-');
    hex::push(&mut value, &ids.span_id().to_bytes());
    value.push('-');
    hex::push(&mut value, &[flags.to_u8()]);
    value
}

#[cfg(test)]
mod tests;
