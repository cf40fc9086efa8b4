//! Tasks that keep the trace context: the two spawn functions that the services use instead of Tokio's own.

use opentelemetry::{Context, context::FutureExt};
use tokio::task::JoinHandle;

/// Spawns `future` with the caller's trace context, so that its spans and log records stay in the caller's trace.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that spawns, with the context carried"
)]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future.with_context(Context::current()))
}

/// Runs blocking `work` on Tokio's blocking pool with the caller's trace context.
///
/// The context is that of this call, not that in which the handle is awaited: to have log records and spans of `work` in
/// a new span, call this inside [`crate::Span::in_scope`].
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that spawns, with the context carried"
)]
pub fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let context = Context::current();
    tokio::task::spawn_blocking(move || {
        let _active = context.attach();
        work()
    })
}
