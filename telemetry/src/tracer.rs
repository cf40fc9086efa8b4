//! The tracer of this process, which every span is started with.

use std::sync::OnceLock;

use opentelemetry::Context;
use opentelemetry::trace::{
    Span, SpanBuilder, SpanContext, TraceContextExt, TraceFlags, Tracer as _, TracerProvider,
};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use crate::metrics::SCOPE;

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Installs the tracer of `provider`; false when there is one already.
pub(crate) fn install(provider: &SdkTracerProvider) -> bool {
    TRACER.set(provider.tracer(SCOPE)).is_ok()
}

/// Starts a span below `parent`. Without the SDK the parent's ids are passed on unchanged, as the
/// API specifies.
///
/// The tracer is the SDK's own type and not the global one, which would box every span.
pub(crate) fn start(builder: SpanBuilder, parent: &Context) -> Context {
    match TRACER.get() {
        Some(tracer) => {
            let span = tracer.build_with_context(builder, parent);
            match unsampled(&span, parent) {
                Some(ids) => parent.with_remote_span_context(ids),
                None => parent.with_span(span),
            }
        }
        None => parent.clone(),
    }
}

/// The ids of a span that is not sampled and whose parent has flags that must be passed on, such as
/// `random`: the SDK clears all flags of such a span (`opentelemetry_sdk` 0.33.1;
/// <https://github.com/open-telemetry/opentelemetry-rust/issues/3718>).
fn unsampled(span: &impl Span, parent: &Context) -> Option<SpanContext> {
    let ids = span.span_context();
    let flags = parent.span().span_context().trace_flags() & !TraceFlags::SAMPLED;
    (!ids.is_sampled() && flags != TraceFlags::default()).then(|| {
        SpanContext::new(
            ids.trace_id(),
            ids.span_id(),
            flags,
            false,
            ids.trace_state().clone(),
        )
    })
}
