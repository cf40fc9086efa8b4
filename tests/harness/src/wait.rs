//! Waits for a condition, never for time to pass.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The longest wait for a condition; a busy machine needs seconds, a broken test all of it. It is
/// longer than anything that the product itself waits for by default.
pub const DEADLINE: Duration = Duration::from_mins(2);

/// The pause between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(15);

/// Waits until `probe` finds something.
pub fn eventually<T>(what: &str, probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    eventually_within(DEADLINE, what, probe)
}

/// The same with another deadline.
pub(crate) fn eventually_within<T>(
    deadline: Duration,
    what: &str,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        if Instant::now() > end {
            bail!("not within {} s: {what}", deadline.as_secs());
        }
        std::thread::park_timeout(PAUSE);
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(
            Instant::now() < end,
            "not within {} s: {what}",
            DEADLINE.as_secs()
        );
        std::thread::park_timeout(PAUSE);
    }
}

/// Waits until `condition` holds, and lets other tasks run meanwhile.
pub async fn wait_until_async(what: &str, condition: impl AsyncFn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(
            Instant::now() < end,
            "not within {} s: {what}",
            DEADLINE.as_secs()
        );
        tokio::time::sleep(PAUSE).await;
    }
}
