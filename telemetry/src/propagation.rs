//! W3C Trace Context, read as strictly as the standard asks.

use std::str::FromStr;

use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::propagation::TraceContextPropagator;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Reads and writes the two headers as the SDK's propagator does, but rejects malformed ones.
///
/// The propagator of `opentelemetry_sdk` 0.33.1 accepts short ids (`00-abc-def-01`) and pads them
/// with zeros (no issue was found upstream). The request would then belong to a trace that no other
/// service has. By W3C a malformed header starts a new trace.
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

/// Reads `version-traceid-spanid-flags` in lower-case hex of 2, 32, 16 and 2 digits, with ids that
/// are not zero. Version `ff` is forbidden, version `00` ends after the flags, and a later version
/// may go on after a further `-`.
pub(crate) fn parse(value: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let mut parts = value.splitn(5, '-');
    let [version] = lower_hex(parts.next()?)?;
    let (trace, span) = ids(parts.next()?, parts.next()?)?;
    let [flags] = lower_hex(parts.next()?)?;
    if version == 0xff || (version == 0 && parts.next().is_some()) {
        return None;
    }
    Some((trace, span, TraceFlags::new(flags)))
}

/// The ids of two lower-case hex texts of full length; `None` when one is malformed or all zero.
pub(crate) fn ids(trace: &str, span: &str) -> Option<(TraceId, SpanId)> {
    let trace = TraceId::from_bytes(lower_hex(trace)?);
    let span = SpanId::from_bytes(lower_hex(span)?);
    (trace != TraceId::INVALID && span != SpanId::INVALID).then_some((trace, span))
}

/// The value of a `traceparent` or `traceresponse` header.
pub(crate) fn write(ids: &SpanContext, flags: TraceFlags) -> String {
    let mut value = String::with_capacity(55);
    value.push_str("00-");
    push_hex(&mut value, &ids.trace_id().to_bytes());
    value.push('-');
    push_hex(&mut value, &ids.span_id().to_bytes());
    value.push('-');
    push_hex(&mut value, &[flags.to_u8()]);
    value
}

/// The bytes of a text of exactly `2 * N` lower-case digits.
fn lower_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

/// Appends the digits of at most 16 bytes.
fn push_hex<const N: usize>(text: &mut String, bytes: &[u8; N]) {
    let mut digits = [0; 32];
    let digits = &mut digits[..2 * N];
    if hex::encode_to_slice(bytes, digits).is_ok() {
        text.extend(digits.iter().map(|digit| char::from(*digit)));
    }
}

#[cfg(test)]
mod tests;
