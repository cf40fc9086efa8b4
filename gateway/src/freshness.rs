//! How long a stored prediction may be answered: the time to live of the store, and the age that a
//! client accepts.

use std::time::Duration;

use jiff::Timestamp;

use crate::Clock;
use crate::background::untraced;
use crate::store::CLOCK_TOLERANCE;
use crate::store::watched::WatchedStore;

/// The time to live of stored predictions, by the gateway's clock; cloning shares the clock.
#[derive(Clone)]
pub(crate) struct Lifetime {
    clock: Clock,
    ttl: Option<Duration>,
}

/// Whether a stored prediction answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    Stale,
    /// Predictions do not age.
    Forever,
    /// For so many seconds.
    For(i64),
}

impl Lifetime {
    /// Without `ttl`, predictions do not age.
    pub(crate) fn new(clock: Clock, ttl: Option<Duration>) -> Self {
        Self { clock, ttl }
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The time before which a prediction is too old, if they age.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        let ttl = self.ttl?;
        Some(self.now().checked_sub(ttl).unwrap_or(Timestamp::MIN))
    }

    /// Whether a prediction still answers now. A client may accept less: `max_age` in seconds.
    pub(crate) fn of(
        &self,
        computed_at: Timestamp,
        now: Timestamp,
        max_age: Option<u64>,
    ) -> Freshness {
        let age = now.duration_since(computed_at);
        if age < -CLOCK_TOLERANCE {
            return Freshness::Stale;
        }
        let age = Duration::try_from(age).unwrap_or(Duration::ZERO);
        if max_age.is_some_and(|most| age > Duration::from_secs(most)) {
            return Freshness::Stale;
        }
        match self.ttl.map(|ttl| ttl.saturating_sub(age)) {
            None => Freshness::Forever,
            Some(Duration::ZERO) => Freshness::Stale,
            Some(left) => Freshness::For(i64::try_from(left.as_secs()).unwrap_or(i64::MAX)),
        }
    }

    /// Removes expired predictions for ever; without a time to live there are none.
    pub(crate) async fn keep_tidy(&self, store: WatchedStore) {
        let Some(ttl) = self.ttl else {
            return std::future::pending().await;
        };
        let pause = (ttl / 4).clamp(Duration::from_mins(1), Duration::from_hours(1));
        loop {
            let (oldest, store) = (self.oldest().unwrap_or(Timestamp::MIN), store.clone());
            match untraced(async move { store.remove_older(oldest).await }).await {
                Err(_) | Ok(Ok(0)) => {}
                Ok(Ok(removed)) => {
                    tracing::info!(name: "prediction_store.tidied", removed, "removed {removed} predictions that were too old to be answered");
                }
                Ok(Err(error)) => {
                    tracing::warn!(name: "prediction_store.untidy", %error, "cannot remove predictions that are too old");
                }
            }
            tokio::time::sleep(pause).await;
        }
    }
}
