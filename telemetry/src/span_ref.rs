//! References to spans, as they are stored beside an answer and sent in headers.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};

use crate::propagation;

/// The ids of a span, as stored beside an answer and as written in W3C Trace Context headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanRef {
    /// 32 lower-case hex digits.
    pub trace_id: String,
    /// 16 lower-case hex digits.
    pub span_id: String,
}

impl SpanRef {
    /// Checks two lower-case hex ids; `None` when one is malformed or all zero.
    pub fn parse(trace_id: &str, span_id: &str) -> Option<Self> {
        propagation::ids(trace_id, span_id)?;
        Some(Self {
            trace_id: trace_id.to_owned(),
            span_id: span_id.to_owned(),
        })
    }

    /// Reads the ids out of a `traceparent` or `traceresponse` value (W3C Trace Context, level 2).
    pub fn from_traceparent(value: &str) -> Option<Self> {
        propagation::parse(value).map(|(trace, span, _)| Self::from_ids(trace, span))
    }

    /// The `traceparent` value of a sampled span with these ids.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }

    /// The ids that log records show: those of the current span, or without telemetry those of the
    /// caller's.
    pub(crate) fn of(context: &Context) -> Option<Self> {
        let span = context.span();
        let ids = span.span_context();
        ids.is_valid()
            .then(|| Self::from_ids(ids.trace_id(), ids.span_id()))
    }

    /// Runs `work` as a part of this span: log records made in it get its ids.
    pub fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        match self.span_context() {
            Some(span) => {
                let context = Context::current().with_remote_span_context(span);
                let _active = context.attach();
                work()
            }
            None => work(),
        }
    }

    fn from_ids(trace: TraceId, span: SpanId) -> Self {
        Self {
            trace_id: hex::encode(trace.to_bytes()),
            span_id: hex::encode(span.to_bytes()),
        }
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

    pub(crate) fn span_context(&self) -> Option<SpanContext> {
        let (trace, span) = propagation::ids(&self.trace_id, &self.span_id)?;
        Some(SpanContext::new(
            trace,
            span,
            TraceFlags::SAMPLED,
            true,
            TraceState::NONE,
        ))
    }
}

#[cfg(test)]
mod tests;
