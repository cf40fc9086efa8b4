//! Work that takes longer than an async worker may be kept: it runs on the blocking pool, a few
//! pieces at a time, so that memory and processors stay free for other requests.

use std::panic;

use tokio::sync::Semaphore;

/// Exporters and readers do not wait for each other.
static WRITES: Semaphore = Semaphore::const_new(4);
static READS: Semaphore = Semaphore::const_new(4);

/// Decodes and stores a request of an exporter.
pub(crate) async fn write<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    run(&WRITES, work).await
}

/// Builds an answer to a reader.
pub(crate) async fn read<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    run(&READS, work).await
}

#[expect(
    clippy::disallowed_methods,
    reason = "the explorer emits no traces, so that no context is lost"
)]
async fn run<T: Send + 'static>(
    limit: &'static Semaphore,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    // The semaphore is never closed. The permit goes with the work, which a reader that leaves
    // does not stop.
    let permit = limit.acquire().await.ok();
    let task = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    match task.await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(cause) => panic::resume_unwind(cause),
            // The process ends, and nobody waits any more.
            Err(_cancelled) => std::future::pending().await,
        },
    }
}
