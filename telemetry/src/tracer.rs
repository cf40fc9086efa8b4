//! The tracer of this process, which every span is started with.

use std::sync::OnceLock;

use opentelemetry::Context;
use opentelemetry::trace::{SpanBuilder, TraceContextExt, Tracer as _, TracerProvider};
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
        Some(tracer) => parent.with_span(tracer.build_with_context(builder, parent)),
        None => parent.clone(),
    }
}
