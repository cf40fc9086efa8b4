//! Tasks that keep the trace context: the services use these two spawn functions instead of
//! Tokio's.

use opentelemetry::{Context, context::FutureExt};
use tokio::task::JoinHandle;

/// Spawns `future` with the caller's trace context, so that its spans and log records stay in the
/// caller's trace.
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
/// The context is taken when this is called and not when the handle is awaited. To put the log
/// records and spans of `work` into a new span, call this inside [`crate::span::Span::in_scope`].
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
