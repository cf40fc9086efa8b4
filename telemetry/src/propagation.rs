//! W3C Trace Context, with the strict reading that the SDK's propagator leaves out.

use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;

/// The SDK's propagator behind a check of the header's form.
///
/// The SDK takes short ids (`00-abc-def-01`) and pads them with zeros; the request would then be a part of a trace that
/// nobody else knows. By W3C a malformed header starts a new trace.
#[derive(Debug, Default)]
pub(crate) struct TraceContext {
    inner: TraceContextPropagator,
}

impl TextMapPropagator for TraceContext {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        self.inner.inject_context(context, injector);
    }

    fn extract_with_context(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        match extractor.get("traceparent").map(str::trim) {
            Some(value) if well_formed(value) => self.inner.extract_with_context(context, extractor),
            _ => context.clone(),
        }
    }

    fn fields(&self) -> FieldIter<'_> {
        self.inner.fields()
    }
}

/// `version-traceid-spanid-flags` in lower-case hex of 2, 32, 16 and 2 digits. Version `ff` is forbidden, version `00`
/// ends after the flags, and a later version may go on after a further `-`.
pub(crate) fn well_formed(value: &str) -> bool {
    let mut parts = value.splitn(5, '-');
    let mut hex = |digits: usize| parts.next().filter(|part| part.len() == digits && is_lower_hex(part));
    let (Some(version), Some(_), Some(_), Some(_)) = (hex(2), hex(32), hex(16), hex(2)) else { return false };
    version != "ff" && (version != "00" || parts.next().is_none())
}

pub(crate) fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;
