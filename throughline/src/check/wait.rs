//! Waits for telemetry: every process and every Collector exports on its own schedule.

use std::time::{Duration, Instant};

/// The pause between two looks.
const POLL: Duration = Duration::from_millis(250);

/// What a look at the place found.
pub(super) enum Look<T> {
    Found(T),
    /// Not yet, with what is missing.
    Missing(String),
}

/// Looks until it is found. At the deadline, the error says what was missing, or why the place could
/// not be read.
pub(super) async fn until<T>(
    deadline: Instant,
    look: impl AsyncFn() -> anyhow::Result<Look<T>>,
) -> Result<T, String> {
    loop {
        let missing = match look().await {
            Ok(Look::Found(found)) => return Ok(found),
            Ok(Look::Missing(what)) => what,
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= deadline {
            return Err(missing);
        }
        tokio::time::sleep(POLL).await;
    }
}
