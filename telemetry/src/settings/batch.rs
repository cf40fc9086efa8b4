//! How spans and log records are gathered before their export.

use std::time::Duration;

use super::Reader;

/// The queue and the batches of one signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Items that may wait.
    pub queue: usize,
    /// Items of one export, no more than fit the queue.
    pub size: usize,
    /// How long an item waits for others.
    pub delay: Duration,
}

/// The longest queue that is followed: the SDK takes its memory at the start.
const MAX_QUEUE: usize = 1 << 18;
/// Spans that may wait by default. Under load a gateway fills the 2,048 places that the
/// specification suggests while one batch is being sent again.
const SPAN_QUEUE: usize = 16_384;
const LOG_QUEUE: usize = 2_048;

pub(super) fn of_spans(from: &Reader<'_>) -> Batch {
    read("OTEL_BSP", SPAN_QUEUE, Duration::from_secs(5), from)
}

pub(super) fn of_log_records(from: &Reader<'_>) -> Batch {
    read("OTEL_BLRP", LOG_QUEUE, Duration::from_secs(1), from)
}

fn read(prefix: &str, queue: usize, delay: Duration, from: &Reader<'_>) -> Batch {
    let queue = from
        .number(&format!("{prefix}_MAX_QUEUE_SIZE"), 1, MAX_QUEUE)
        .unwrap_or(queue);
    let variable = format!("{prefix}_MAX_EXPORT_BATCH_SIZE");
    let size = from.number(&variable, 1, MAX_QUEUE).unwrap_or(512);
    if size > queue && from.get(&variable).is_some() {
        let reason = format!("is {size}; it takes no more than the queue, {queue}");
        from.ignore(&variable, reason);
    }
    let delay = from
        .milliseconds(&format!("{prefix}_SCHEDULE_DELAY"), 0)
        .unwrap_or(delay)
        // The SDK would never rest.
        .max(Duration::from_millis(1));
    Batch {
        queue,
        size: size.min(queue),
        delay,
    }
}
