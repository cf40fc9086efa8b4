//! The metrics of the feature store.

use std::sync::{Arc, LazyLock};

use protocol::feast::Status;
use telemetry::metrics::{Counter, counter};
use telemetry::{KeyValue, attr};

static CACHE_REQUESTS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        attr::metric::ML_FEATURE_CACHE_REQUESTS,
        "{entity}",
        "Entities asked of the in-process feature cache, by result",
    )
});
static LOOKUPS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        attr::metric::ML_FEATURE_LOOKUPS,
        "{value}",
        "Feature values looked up, by view and status",
    )
});

/// Numbers of values by status, for one view and one request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StatusCounts([u64; 4]);

/// The statuses of a lookup and their names in the metric.
const STATUSES: [(Status, &str); 4] = [
    (Status::Present, "present"),
    (Status::NullValue, "null_value"),
    (Status::NotFound, "not_found"),
    (Status::OutsideMaxAge, "outside_max_age"),
];

impl StatusCounts {
    /// Counts a value of this status.
    pub(crate) fn count(&mut self, status: Status) {
        if let Some(at) = STATUSES.iter().position(|(known, _)| *known == status) {
            self.0[at] += 1;
        }
    }

    /// Adds the counts to the metric.
    pub(crate) fn record(self, view: &Arc<str>) {
        for ((_, word), count) in STATUSES.iter().zip(self.0).filter(|(_, count)| *count > 0) {
            let view = KeyValue::new(attr::ML_FEATURE_VIEW, Arc::clone(view));
            LOOKUPS.add(
                count,
                &[view, KeyValue::new(attr::ML_FEATURE_STATUS, *word)],
            );
        }
    }
}

/// Counts entities that the cache had and those that it had not.
pub(crate) fn count_cache(hits: usize, misses: usize) {
    for (count, word) in [(hits, "hit"), (misses, "miss")] {
        if count > 0 {
            CACHE_REQUESTS.add(count as u64, &[KeyValue::new(attr::CACHE_RESULT, word)]);
        }
    }
}
