//! The way of a request for predictions: one look into the store, one inference call for what is missing, one write.
//!
//! Looking up and computing are apart on purpose. What is missing is computed in a flight (see [`crate::flight`]) that
//! several requests may share and that ends whatever becomes of the request that began it; the write belongs to the flight
//! and comes before the answer, so an answer that says `stored` is true.

mod asked;
mod compute;
mod round;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serving::Deadline;

pub(crate) use asked::{Asked, Items};
use compute::{Computed, Job, Outcome};
use round::{Reason, Round, Slot};

use crate::Clock;
use crate::api::{Entry, EntryError};
use crate::cache::Directives;
use crate::catalogue::{Catalogue, quietly};
use crate::error::ApiError;
use crate::flight::{Arrival, Flights};
use crate::model::{ModelClient, ModelError, budget};
use crate::routes::Routes;
use crate::store::watched::WatchedStore;
use crate::store::{Key, Lookup, StoredPrediction};
use crate::timing::Timing;

/// Answers requests for predictions.
pub(crate) struct ReadThrough {
    catalogue: Catalogue,
    routes: Arc<Routes>,
    client: ModelClient,
    store: WatchedStore,
    flights: Arc<Flights<Outcome>>,
    clock: Clock,
    ttl: Option<Duration>,
}

/// What became of a request, and what is told beside it.
pub(crate) struct Answer {
    /// One entry for each thing asked, in order; or, when none has a prediction, why.
    pub(crate) result: Result<Vec<Entry>, ApiError>,
    pub(crate) cache_status: String,
    pub(crate) timing: Timing,
}

impl ReadThrough {
    pub(crate) fn new(
        catalogue: Catalogue,
        routes: Arc<Routes>,
        client: ModelClient,
        store: WatchedStore,
        clock: Clock,
        ttl: Option<Duration>,
    ) -> Arc<Self> {
        Arc::new(Self { catalogue, routes, client, store, flights: Flights::new(), clock, ttl })
    }

    pub(crate) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    pub(crate) fn routes(&self) -> &Routes {
        &self.routes
    }

    pub(crate) fn shared_routes(&self) -> Arc<Routes> {
        Arc::clone(&self.routes)
    }

    pub(crate) fn client(&self) -> &ModelClient {
        &self.client
    }

    pub(crate) fn store(&self) -> &WatchedStore {
        &self.store
    }

    /// The time before which a stored prediction is too old, if they age.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        let ttl = self.ttl?;
        Some((self.clock)().checked_sub(ttl).unwrap_or(Timestamp::MIN))
    }

    /// Answers one request. The outer error is one of the request itself.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        asked: Asked,
        directives: Directives,
        deadline: Deadline,
    ) -> Result<Answer, ApiError> {
        let known = self.catalogue.resolve(&asked.model).await?;
        let asked = asked.settle(&known)?;
        let mut round = Round::new(asked, known);
        self.look_up(&mut round, directives).await;
        if directives.only_if_cached {
            round.leave_out(EntryError::NOT_CACHED, "only-if-cached");
        } else if matches!(round.asked.items, Items::TextIds) {
            round.leave_out(EntryError::TEXT_NOT_STORED, "text-unknown");
        } else {
            self.compute_open(&mut round, directives, deadline).await;
        }
        round.link();
        Ok(round.finish())
    }

    /// Removes predictions that are too old to be answered, for ever; without a time to live it has nothing to do.
    pub(crate) async fn keep_tidy(&self) {
        let Some(ttl) = self.ttl else { return std::future::pending().await };
        let pause = (ttl / 4).clamp(Duration::from_mins(1), Duration::from_hours(1));
        loop {
            let oldest = self.oldest().unwrap_or(Timestamp::MIN);
            let store = self.store.clone();
            match quietly(async move { store.remove_older(oldest).await }).await {
                None | Some(Ok(0)) => {}
                Some(Ok(removed)) => {
                    tracing::info!(name: "prediction_store.tidied", removed, "removed {removed} predictions that were too old to be answered");
                }
                Some(Err(error)) => {
                    tracing::warn!(name: "prediction_store.untidy", %error, "cannot remove predictions that are too old");
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Fills the slots that the store can answer.
    async fn look_up(&self, round: &mut Round, directives: Directives) {
        if directives.no_cache && !directives.only_if_cached {
            round.open_all(Reason::Requested);
            return;
        }
        let lookup = Lookup {
            model: round.asked.model.clone(),
            version: round.known.version.clone(),
            data_ids: round.asked.ids.clone(),
        };
        let found = self.store.get_many(lookup).await;
        round.timing.store += round.looked.elapsed();
        match found {
            Ok(found) if found.len() == round.slots.len() => {
                let now = (self.clock)();
                for (slot, found) in round.slots.iter_mut().zip(found) {
                    *slot = match found {
                        None => Slot::Open(Reason::Missing),
                        Some(found) => match self.freshness(&found, now, directives.max_age) {
                            Some(ttl) => {
                                round.tally.ttl = round.tally.ttl.into_iter().chain(ttl).min();
                                Slot::Stored(found)
                            }
                            None => Slot::Open(Reason::Stale),
                        },
                    };
                }
                round.count();
            }
            // The error was told by the store's span and by the watch over it; here it only means to go on without.
            _ => round.open_all(Reason::StoreDown),
        }
    }

    /// `None` when a stored prediction is too old; else the seconds until it is, if it ages.
    #[expect(clippy::option_option, reason = "stale, fresh for ever, and fresh for a while are three answers")]
    fn freshness(&self, found: &StoredPrediction, now: Timestamp, max_age: Option<u64>) -> Option<Option<i64>> {
        let age = now.duration_since(found.computed_at).unsigned_abs();
        let age = if found.computed_at > now { Duration::ZERO } else { age };
        if max_age.is_some_and(|most| age > Duration::from_secs(most)) {
            return None;
        }
        match self.ttl {
            None => Some(None),
            Some(ttl) => {
                ttl.checked_sub(age).filter(|left| !left.is_zero()).map(|left| i64::try_from(left.as_secs()).ok())
            }
        }
    }

    /// Has everything computed that is still open, by this request or by another one that is at it.
    async fn compute_open(self: &Arc<Self>, round: &mut Round, directives: Directives, deadline: Deadline) {
        let open: Vec<usize> = (0..round.slots.len()).filter(|at| matches!(round.slots[*at], Slot::Open(_))).collect();
        if open.is_empty() {
            return;
        }
        let started = Instant::now();
        let budget = budget(deadline.remaining());
        // A client that wants it computed anew, or kept by nobody, shares neither another's computation nor its own.
        let alone = directives.no_cache || directives.no_store;
        let (mine, others) = if alone {
            let pilot = self.flights.solo();
            (Some((open, pilot)), Vec::new())
        } else {
            let keys: Vec<Key> = open.iter().map(|at| round.key(*at)).collect();
            let boarding = self.flights.board(&keys, round.looked);
            let lead =
                boarding.lead.map(|(indices, pilot)| (indices.into_iter().map(|index| open[index]).collect(), pilot));
            (lead, boarding.join.into_iter().map(|(index, arrival)| (open[index], arrival)).collect())
        };
        let mut waiting: Vec<(usize, Arrival<Outcome>)> = others;
        round.tally.collapsed = waiting.len();
        if let Some((indices, pilot)) = mine {
            let arrival = pilot.arrival();
            waiting.extend(indices.iter().map(|at| (*at, arrival.clone())));
            let job = Job::new(round, &indices, budget, !directives.no_store);
            let this = Arc::clone(self);
            // A task of its own, in this request's trace: it goes on when the client leaves, for others and for the store.
            drop(telemetry::task::spawn(async move { this.fly(job, pilot).await }));
        }
        let write = self.collect(round, waiting, budget).await;
        round.timing.model = Some(started.elapsed().saturating_sub(write));
        round.timing.store += write;
    }

    /// Waits for the outcomes and puts each row into its slot; the answer is the time of the longest write among them.
    async fn collect(&self, round: &mut Round, waiting: Vec<(usize, Arrival<Outcome>)>, budget: Duration) -> Duration {
        let mut write = Duration::ZERO;
        let end = tokio::time::Instant::now() + budget + Duration::from_millis(20);
        let joined = round.tally.collapsed;
        for (nth, (at, arrival)) in waiting.into_iter().enumerate() {
            let outcome = match tokio::time::timeout_at(end, arrival.wait()).await {
                Ok(Some(outcome)) => outcome,
                Ok(None) => Arc::new(Computed::failed(ModelError::Abandoned, None)),
                Err(_) => Arc::new(Computed::failed(ModelError::TimedOut(None), None)),
            };
            if nth < joined {
                round.links.extend(outcome.worker());
            }
            write = write.max(outcome.write);
            round.take(at, &outcome);
        }
        write
    }
}
