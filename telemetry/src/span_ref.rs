//! References to spans, as they are stored beside an answer and sent in headers.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};

use crate::propagation;

/// The ids of a span, as stored beside an answer and as written in W3C Trace Context headers. As
/// texts they are 32 and 16 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanRef {
    /// The trace.
    pub trace_id: TraceId,
    /// The span in it.
    pub span_id: SpanId,
}

impl SpanRef {
    /// Checks two lower-case hex ids; `None` when one is malformed or all zero.
    pub fn parse(trace_id: &str, span_id: &str) -> Option<Self> {
        let (trace_id, span_id) = propagation::ids(trace_id, span_id)?;
        Some(Self { trace_id, span_id })
    }

    /// Reads the ids out of a `traceparent` or `traceresponse` value (W3C Trace Context, level 2).
    pub fn from_traceparent(value: &str) -> Option<Self> {
        let (trace_id, span_id, _) = propagation::parse(value)?;
        Some(Self { trace_id, span_id })
    }

    /// The `traceparent` value of a sampled span with these ids.
    pub fn traceparent(&self) -> String {
        propagation::write(self.trace_id, self.span_id, TraceFlags::SAMPLED)
    }

    /// The ids that log records show: those of the current span, or without telemetry those of the
    /// caller's.
    pub(crate) fn of(context: &Context) -> Option<Self> {
        let span = context.span();
        let ids = span.span_context();
        ids.is_valid().then(|| Self {
            trace_id: ids.trace_id(),
            span_id: ids.span_id(),
        })
    }

    /// Runs `work` as a part of this span: log records made in it get its ids.
    pub fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        let context = Context::current().with_remote_span_context(self.span_context());
        let _active = context.attach();
        work()
    }

    /// The span of `context` when it is a sampled one of this process. A remote one means that none
    /// was started here.
    pub(crate) fn recorded(context: &Context) -> Option<Self> {
        let span = context.span();
        let ids = span.span_context();
        (ids.is_sampled() && !ids.is_remote())
            .then(|| Self::of(context))
            .flatten()
    }

    pub(crate) fn span_context(&self) -> SpanContext {
        SpanContext::new(
            self.trace_id,
            self.span_id,
            TraceFlags::SAMPLED,
            true,
            TraceState::NONE,
        )
    }
}

#[cfg(test)]
mod tests;
