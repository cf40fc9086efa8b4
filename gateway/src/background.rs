//! Work that no request asked for.

use telemetry::Context;
use tokio::task::JoinHandle;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

/// Starts work without telemetry: each of its spans would be a trace of its own, and a service that
/// is down would be an exception record at every attempt. The caller logs what matters, once.
pub(crate) fn untraced<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    let suppressed = Context::new().with_telemetry_suppressed();
    let work = work.with_subscriber(NoSubscriber::default());
    telemetry::span::with_context(&suppressed, || telemetry::task::spawn(work))
}
