//! W3C Trace Context level 2 and W3C Baggage, read as strictly as the standards ask.
//!
//! The propagators of `opentelemetry_sdk` 0.33.1 differ in several points (no issue was found
//! upstream): they accept short ids (`00-abc-def-01`) and pad them with zeros, so that the request
//! belongs to a trace that no other service has; they read the first line of a repeated header
//! alone; and they log baggage verbatim.

mod baggage;
mod trace_state;

use http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId};

pub(crate) use baggage::Baggage;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// `sampled` and `random`. Level 2 asks to pass the second one on and to clear all others.
const KNOWN_FLAGS: u8 = 0b11;

/// Reads and writes `traceparent` and `tracestate`. By W3C a `traceparent` that is malformed or
/// given twice starts a new trace, and a malformed `tracestate` is dropped alone.
#[derive(Debug)]
pub(crate) struct TraceContext {
    fields: [String; 2],
}

impl Default for TraceContext {
    fn default() -> Self {
        Self {
            fields: [TRACEPARENT, TRACESTATE].map(str::to_owned),
        }
    }
}

impl TextMapPropagator for TraceContext {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        let span = context.span();
        let ids = span.span_context();
        if !ids.is_valid() {
            return;
        }
        injector.set(
            TRACEPARENT,
            write(ids.trace_id(), ids.span_id(), ids.trace_flags()),
        );
        let state = trace_state::header(context, ids);
        if !state.is_empty() {
            injector.set(TRACESTATE, state);
        }
    }

    fn extract_with_context(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        let lines = extractor.get_all(TRACEPARENT).unwrap_or_default();
        let [line] = lines.as_slice() else {
            return context.clone();
        };
        let Some((trace, span, flags)) = parse(trim(line)) else {
            return context.clone();
        };
        let lines = extractor.get_all(TRACESTATE).unwrap_or_default();
        let (state, context) = trace_state::read(&lines, context);
        context.with_remote_span_context(SpanContext::new(trace, span, flags, true, state))
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.fields)
    }
}

/// The headers of a request. A line that is no text counts as a line that cannot be read, and not
/// as absent.
pub(crate) struct HeaderLines<'a>(pub(crate) &'a HeaderMap);

impl Extractor for HeaderLines<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|line| line.to_str().unwrap_or("?"))
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }

    fn get_all(&self, name: &str) -> Option<Vec<&str>> {
        let lines = self.0.get_all(name).iter();
        Some(lines.map(|line| line.to_str().unwrap_or("?")).collect())
    }
}

/// Without optional white space (RFC 9110, 5.6.3).
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// The members of a list that may be spread over several lines (RFC 9110, 5.3 and 5.6.1): in order,
/// without empty ones.
fn members<'a>(lines: &[&'a str]) -> impl Iterator<Item = &'a str> {
    lines
        .iter()
        .flat_map(|line| line.split(','))
        .map(trim)
        .filter(|member| !member.is_empty())
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
    Some((trace, span, TraceFlags::new(flags & KNOWN_FLAGS)))
}

/// The ids of two lower-case hex texts of full length; `None` when one is malformed or all zero.
pub(crate) fn ids(trace: &str, span: &str) -> Option<(TraceId, SpanId)> {
    let trace = TraceId::from_bytes(lower_hex(trace)?);
    let span = SpanId::from_bytes(lower_hex(span)?);
    (trace != TraceId::INVALID && span != SpanId::INVALID).then_some((trace, span))
}

/// The value of a `traceparent` or `traceresponse` header.
pub(crate) fn write(trace: TraceId, span: SpanId, flags: TraceFlags) -> String {
    let mut value = String::with_capacity(55);
    value.push_str("00-");
    push_hex(&mut value, &trace.to_bytes());
    value.push('-');
    push_hex(&mut value, &span.to_bytes());
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
