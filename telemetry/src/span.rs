//! INTERNAL spans, the current span, and references to spans that travel in stored data.
//!
//! Spans go through the OpenTelemetry API and not through `tracing` (docs/adr/0001): half the cost or less, and typed
//! attributes. A [`Span`] ends when it is dropped, so an early return or a cancelled future still ends it.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write as _;
use std::panic::Location;
use std::time::SystemTime;

use opentelemetry::context::{FutureExt, WithContext};
use opentelemetry::trace::{
    Link, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState,
};
use opentelemetry::{Context, KeyValue, Value};

use crate::{attr, hex, propagation};

/// A span of this process that is under way; it ends on drop.
#[must_use = "a span ends when it is dropped"]
#[derive(Debug)]
pub struct Span {
    context: Context,
}

impl Span {
    /// Starts an INTERNAL span below the current one.
    pub fn start(name: impl Into<Cow<'static, str>>, attributes: Vec<KeyValue>) -> Self {
        Self::build(
            builder(name, SpanKind::Internal, attributes),
            &Context::current(),
        )
    }

    /// Starts an INTERNAL span that also points at spans of other traces (or other places of this one).
    pub fn start_with_links(
        name: impl Into<Cow<'static, str>>,
        attributes: Vec<KeyValue>,
        links: &[SpanRef],
    ) -> Self {
        let links = links
            .iter()
            .filter_map(SpanRef::span_context)
            .map(Link::with_context)
            .collect();
        Self::build(
            builder(name, SpanKind::Internal, attributes).with_links(links),
            &Context::current(),
        )
    }

    /// Starts an INTERNAL span with a start time of the past, for work that is told of after it was done.
    pub fn start_at(
        name: impl Into<Cow<'static, str>>,
        attributes: Vec<KeyValue>,
        start: SystemTime,
    ) -> Self {
        Self::build(
            builder(name, SpanKind::Internal, attributes).with_start_time(start),
            &Context::current(),
        )
    }

    pub(crate) fn build(builder: SpanBuilder, parent: &Context) -> Self {
        Self {
            context: crate::tracer().start(builder, parent),
        }
    }

    /// Sets an attribute; a later value replaces an earlier one (at export, since the SDK keeps both).
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        self.context.span().set_attribute(KeyValue::new(key, value));
    }

    /// Adds an event with the time of now.
    pub fn event(&self, name: &'static str, attributes: Vec<KeyValue>) {
        self.context.span().add_event(name, attributes);
    }

    /// Marks the span as failed: status ERROR, `error.type`, and an exception log record with the chain of causes.
    #[track_caller]
    pub fn fail(&self, error: &dyn Error, error_type: &'static str) {
        fail(&self.context, error, error_type, Location::caller());
    }

    /// Runs `work` with this span as the current one.
    pub fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        let _active = self.context.clone().attach();
        work()
    }

    /// The context that holds this span, to be put into a command for another thread.
    pub fn context(&self) -> Context {
        self.context.clone()
    }

    pub(crate) fn context_ref(&self) -> &Context {
        &self.context
    }

    /// Where this span can be found later; `None` without telemetry, and for an unsampled span, which nobody will find.
    pub fn span_ref(&self) -> Option<SpanRef> {
        SpanRef::recorded(&self.context)
    }

    /// Ends the span at a given time instead of at its drop.
    pub fn end_at(self, end: SystemTime) {
        self.context.span().end_with_timestamp(end);
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        // Clones of the context may live on in commands of other threads, so the end is said here and not left to them.
        self.context.span().end();
    }
}

/// The span that is current in the calling task or thread, such as the SERVER span inside a handler.
#[derive(Debug)]
pub struct CurrentSpan {
    context: Context,
}

/// The current span.
pub fn current() -> CurrentSpan {
    CurrentSpan {
        context: Context::current(),
    }
}

impl CurrentSpan {
    /// Sets an attribute.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        self.context.span().set_attribute(KeyValue::new(key, value));
    }

    /// Adds an event with the time of now.
    pub fn event(&self, name: &'static str, attributes: Vec<KeyValue>) {
        self.context.span().add_event(name, attributes);
    }

    /// Points at another span, for example the one that computed a stored answer.
    pub fn add_link(&self, target: &SpanRef) {
        if let Some(target) = target.span_context() {
            self.context.span().add_link(target, Vec::new());
        }
    }

    /// Marks the span as failed, as [`Span::fail`] does.
    #[track_caller]
    pub fn fail(&self, error: &dyn Error, error_type: &'static str) {
        fail(&self.context, error, error_type, Location::caller());
    }

    /// Where this span can be found later; `None` without telemetry, and for an unsampled span, which nobody will find.
    pub fn span_ref(&self) -> Option<SpanRef> {
        SpanRef::recorded(&self.context)
    }

    /// The trace that the caller works in, sampled or not, as its log records name it; 32 lower-case hex digits.
    pub fn trace_id(&self) -> Option<String> {
        SpanRef::of(&self.context).map(|ids| ids.trace_id)
    }
}

/// Runs `work` on this thread with the context that another thread or task put into a command.
pub fn with_context<T>(context: &Context, work: impl FnOnce() -> T) -> T {
    let _active = context.clone().attach();
    work()
}

/// Futures that run inside a span.
pub trait WithSpan: Future + Sized {
    /// Makes `span` current whenever the future is polled.
    fn with_span(self, span: &Span) -> WithContext<Self> {
        FutureExt::with_context(self, span.context())
    }
}

impl<F: Future> WithSpan for F {}

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

    /// The ids that log records show: those of the current span, or without telemetry of the caller's.
    pub(crate) fn of(context: &Context) -> Option<Self> {
        let span = context.span();
        let ids = span.span_context();
        ids.is_valid()
            .then(|| Self::from_ids(ids.trace_id(), ids.span_id()))
    }

    fn from_ids(trace: TraceId, span: SpanId) -> Self {
        let (mut trace_id, mut span_id) = (String::with_capacity(32), String::with_capacity(16));
        hex::push(&mut trace_id, &trace.to_bytes());
        hex::push(&mut span_id, &span.to_bytes());
        Self { trace_id, span_id }
    }

    /// A sampled span of this process; a remote one in the context means that none was started here.
    fn recorded(context: &Context) -> Option<Self> {
        let span = context.span();
        let ids = span.span_context();
        (ids.is_sampled() && !ids.is_remote())
            .then(|| Self::of(context))
            .flatten()
    }

    fn span_context(&self) -> Option<SpanContext> {
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

pub(crate) fn builder(
    name: impl Into<Cow<'static, str>>,
    kind: SpanKind,
    attributes: Vec<KeyValue>,
) -> SpanBuilder {
    SpanBuilder::from_name(name)
        .with_kind(kind)
        .with_attributes(attributes)
}

/// Status, `error.type` and the exception record, on the span of `context`.
///
/// The record is a log event and not a span event, as the conventions now ask; Elastic counts errors by it.
pub(crate) fn fail(
    context: &Context,
    error: &dyn Error,
    error_type: &'static str,
    at: &Location<'_>,
) {
    let span = context.span();
    span.set_status(Status::error(error.to_string()));
    span.set_attribute(KeyValue::new(attr::ERROR_TYPE, error_type));
    with_context(context, || {
        tracing::error!(
            name: "exception",
            {
                "exception.type" = error_type,
                "exception.message" = %error,
                "exception.stacktrace" = stack_trace(error, at)
            },
            "{error}"
        );
    });
}

/// Where the error was met and what caused it; the frames too when `RUST_BACKTRACE` asks for them, since walking the
/// stack of every failed request would make an outage slower.
fn stack_trace(error: &dyn Error, at: &Location<'_>) -> String {
    let mut text = format!("{error}\n    at {}:{}", at.file(), at.line());
    let mut cause = error.source();
    while let Some(inner) = cause {
        let _ = write!(text, "\nCaused by: {inner}");
        cause = inner.source();
    }
    let frames = std::backtrace::Backtrace::capture();
    if frames.status() == std::backtrace::BacktraceStatus::Captured {
        let _ = write!(text, "\n{frames}");
    }
    text
}

#[cfg(test)]
mod tests;
