//! INTERNAL spans, the current span, and the failure of a span.
//!
//! Spans go through the OpenTelemetry API and not through `tracing` (docs/adr/0001). A [`Span`]
//! ends when it is dropped, so an early return or a cancelled future still ends it.

mod exceptions;

use std::borrow::Cow;
use std::error::Error;
use std::panic::Location;
use std::time::SystemTime;

use opentelemetry::context::{FutureExt, WithContext};
use opentelemetry::trace::{
    Link, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, TraceId,
};
use opentelemetry::{Context, KeyValue, Value};

use crate::span_ref::SpanRef;
use crate::{attr, tracer};

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

    /// Starts an INTERNAL span with links to spans of other traces or of this one.
    pub fn start_with_links(
        name: impl Into<Cow<'static, str>>,
        attributes: Vec<KeyValue>,
        links: &[SpanRef],
    ) -> Self {
        let links = links
            .iter()
            .map(|link| Link::with_context(link.span_context()))
            .collect();
        Self::build(
            builder(name, SpanKind::Internal, attributes).with_links(links),
            &Context::current(),
        )
    }

    /// Starts an INTERNAL span with links to spans of this process that are under way.
    pub fn start_linked(
        name: impl Into<Cow<'static, str>>,
        attributes: Vec<KeyValue>,
        links: &[LinkTarget],
    ) -> Self {
        Self::build(
            builder(name, SpanKind::Internal, attributes).with_links(own_links(links)),
            &Context::current(),
        )
    }

    /// The same with a start time of the past, for work that is recorded after it was done.
    pub fn start_linked_at(
        name: impl Into<Cow<'static, str>>,
        attributes: Vec<KeyValue>,
        links: &[LinkTarget],
        start: SystemTime,
    ) -> Self {
        Self::build(
            builder(name, SpanKind::Internal, attributes)
                .with_start_time(start)
                .with_links(own_links(links)),
            &Context::current(),
        )
    }

    /// Starts an INTERNAL span with a link that has attributes of its own.
    pub fn start_with_described_link(
        name: impl Into<Cow<'static, str>>,
        attributes: Vec<KeyValue>,
        target: Option<&SpanRef>,
        description: Vec<KeyValue>,
    ) -> Self {
        let target = target.map(SpanRef::span_context);
        let links = target.map(|target| Link::new(target, description, 0));
        let builder = builder(name, SpanKind::Internal, attributes);
        Self::build(
            builder.with_links(links.into_iter().collect()),
            &Context::current(),
        )
    }

    pub(crate) fn build(builder: SpanBuilder, parent: &Context) -> Self {
        Self {
            context: tracer::start(builder, parent),
        }
    }

    /// Sets an attribute; a later value replaces an earlier one (at export, since the SDK keeps
    /// both).
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        self.context.span().set_attribute(KeyValue::new(key, value));
    }

    /// Links to another span of this process.
    pub fn add_link(&self, target: &LinkTarget) {
        self.context.span().add_link(target.0.clone(), Vec::new());
    }

    /// Adds an event with the present time.
    pub fn event(&self, name: &'static str, attributes: Vec<KeyValue>) {
        self.context.span().add_event(name, attributes);
    }

    /// Adds an event with a time of the past.
    pub fn event_at(&self, name: &'static str, time: SystemTime, attributes: Vec<KeyValue>) {
        let span = self.context.span();
        span.add_event_with_timestamp(name, time, attributes);
    }

    /// Marks the span as failed: status ERROR, `error.type`, and an exception log record with the
    /// chain of causes.
    #[track_caller]
    pub fn fail(&self, error: &dyn Error, error_type: &'static str) {
        fail(&self.context, error, error_type, Location::caller());
    }

    /// Runs `work` with this span as the current one.
    pub fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        let _active = self.context.clone().attach();
        work()
    }

    /// The context that holds this span, for a command to another thread.
    pub fn context(&self) -> Context {
        self.context.clone()
    }

    pub(crate) fn context_ref(&self) -> &Context {
        &self.context
    }

    /// The reference by which this span can be found later. `None` without telemetry, and for a
    /// span that is not sampled.
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
        // Clones of the context may outlive this span in commands for other threads, so it is ended
        // here.
        self.context.span().end();
    }
}

/// The span that is current in the calling task or thread, such as the SERVER span inside a
/// handler.
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

    /// Adds an event with the present time.
    pub fn event(&self, name: &'static str, attributes: Vec<KeyValue>) {
        self.context.span().add_event(name, attributes);
    }

    /// Links to another span, for example the one that computed a stored answer.
    pub fn add_link(&self, target: &SpanRef) {
        let span = self.context.span();
        span.add_link(target.span_context(), Vec::new());
    }

    /// Marks the span as failed, as [`Span::fail`] does.
    #[track_caller]
    pub fn fail(&self, error: &dyn Error, error_type: &'static str) {
        fail(&self.context, error, error_type, Location::caller());
    }

    /// The reference by which this span can be found later. `None` without telemetry, and for a
    /// span that is not sampled.
    pub fn span_ref(&self) -> Option<SpanRef> {
        SpanRef::recorded(&self.context)
    }

    /// The trace of the caller, sampled or not, as its log records name it.
    pub fn trace_id(&self) -> Option<TraceId> {
        SpanRef::of(&self.context).map(|ids| ids.trace_id)
    }
}

/// A sampled span of this process, to link to. A [`SpanRef`] is for spans of anywhere.
#[derive(Clone, Debug)]
pub struct LinkTarget(SpanContext);

impl LinkTarget {
    /// The span of a context; `None` if it is not sampled, or of another process.
    pub fn of(context: &Context) -> Option<Self> {
        let span = context.span();
        let ids = span.span_context();
        (ids.is_sampled() && !ids.is_remote()).then(|| Self(ids.clone()))
    }
}

/// Runs `work` on this thread with the context of another thread or task, as a command carries it.
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

fn own_links(links: &[LinkTarget]) -> Vec<Link> {
    let links = links.iter().map(|LinkTarget(span)| span.clone());
    links.map(Link::with_context).collect()
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

/// Sets status and `error.type` on the span of `context`, and logs the exception.
///
/// The exception is a log event and not a span event, as the conventions now ask; Elastic counts
/// errors by it. Equal exceptions are logged a few times in an interval and then counted.
pub(crate) fn fail(
    context: &Context,
    error: &dyn Error,
    error_type: &'static str,
    at: &Location<'_>,
) {
    let span = context.span();
    let message = error.to_string();
    span.set_status(Status::error(message.clone()));
    span.set_attribute(KeyValue::new(attr::ERROR_TYPE, error_type));
    exceptions::log(context, error, &message, error_type, at);
}
