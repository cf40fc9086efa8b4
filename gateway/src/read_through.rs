//! The way of a request for predictions: a variant for each thing asked, one look into the store for all, one inference call
//! for each variant that has something to compute, one write of what it answered.
//!
//! Looking up and computing are apart on purpose. What is missing is computed in a flight (see [`crate::flight`]) that
//! several requests may share and that ends whatever becomes of the request that began it; the write belongs to the flight
//! and comes before the answer, so an answer that says `stored` is true. What a variant failed at goes round once more with
//! the next variant, if the routes say so.

mod asked;
mod compute;
mod look_up;
mod round;
mod shadow;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use runtime::Deadline;

pub(crate) use asked::{Asked, Items};
use compute::{Computed, Job, Outcome};
use round::{Round, Slot};
pub(crate) use shadow::Shadows;

use crate::Clock;
use crate::api::{Entry, EntryError};
use crate::cache::Directives;
use crate::catalogue::{Catalogue, is_name, quietly};
use crate::choice::{Choice, Wish};
use crate::error::ApiError;
use crate::flight::{Arrival, Flights};
use crate::model::{ModelClient, ModelError, budget};
use crate::routes::watch::SharedRoutes;
use crate::statistics::Statistics;
use crate::store::Key;
use crate::store::watched::WatchedStore;
use crate::timing::Timing;

/// Answers requests for predictions.
pub(crate) struct ReadThrough {
    parts: Parts,
    flights: Arc<Flights<Outcome>>,
    clock: Clock,
    ttl: Option<Duration>,
}

/// What the gateway is made of, shared by everything that answers; cloning shares it.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) catalogue: Catalogue,
    pub(crate) routes: SharedRoutes,
    pub(crate) client: ModelClient,
    pub(crate) store: WatchedStore,
    pub(crate) statistics: Arc<Statistics>,
    pub(crate) shadows: Shadows,
}

/// What became of a request, and what is told beside it.
pub(crate) struct Answer {
    /// One entry for each thing asked, in order; or, when none has a prediction, why.
    pub(crate) result: Result<Vec<Entry>, ApiError>,
    pub(crate) cache_status: String,
    pub(crate) timing: Timing,
}

impl ReadThrough {
    pub(crate) fn new(parts: Parts, clock: Clock, ttl: Option<Duration>) -> Arc<Self> {
        Arc::new(Self {
            parts,
            flights: Flights::new(),
            clock,
            ttl,
        })
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
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
        wish: Wish,
        directives: Directives,
        deadline: Deadline,
    ) -> Result<Answer, ApiError> {
        if !is_name(&asked.model) {
            return Err(ApiError::UnknownModel { model: asked.model });
        }
        let route = Arc::clone(self.parts.routes.load().of(&asked.model));
        let choice = Choice::of(&route, &asked.model, wish, &asked.ids)?;
        let mut round = Round::new(asked, route, choice);
        let mut open: Vec<usize> = (0..round.slots.len()).collect();
        while !open.is_empty() {
            self.resolve(&mut round, &open).await?;
            if round.is_settled() {
                self.look_up(&mut round, &open, directives).await;
                if directives.only_if_cached {
                    round.leave_out(EntryError::NOT_CACHED, "only-if-cached");
                } else if matches!(round.asked.items, Items::TextIds) {
                    round.leave_out(EntryError::TEXT_NOT_STORED, "text-unknown");
                } else {
                    self.compute_open(&mut round, &open, directives, deadline)
                        .await;
                }
            }
            open = round.fail_over(budget(deadline.remaining()));
        }
        round.link();
        round.finish()
    }

    /// Removes predictions that are too old to be answered, for ever; without a time to live it has nothing to do.
    pub(crate) async fn keep_tidy(&self) {
        let Some(ttl) = self.ttl else {
            return std::future::pending().await;
        };
        let pause = (ttl / 4).clamp(Duration::from_mins(1), Duration::from_hours(1));
        loop {
            let oldest = self.oldest().unwrap_or(Timestamp::MIN);
            let store = self.parts.store.clone();
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

    /// Learns what must be known of the variants that were chosen. What a variant that nobody knows was chosen for is broken.
    async fn resolve(&self, round: &mut Round, open: &[usize]) -> Result<(), ApiError> {
        for variant in round.chosen(open) {
            if round.known[variant].is_none() {
                match self
                    .parts
                    .catalogue
                    .resolve(&round.asked.model, &round.route.variants[variant])
                    .await
                {
                    Ok(known) => round.known[variant] = Some(known),
                    Err(error) => round.refuse(variant, open, &error),
                }
            }
        }
        round.settle()
    }

    /// Has everything computed that is still open, by this request or by another one that is at it.
    async fn compute_open(
        self: &Arc<Self>,
        round: &mut Round,
        open: &[usize],
        directives: Directives,
        deadline: Deadline,
    ) {
        let groups = round.open_by_variant(open);
        if groups.is_empty() {
            return;
        }
        let started = Instant::now();
        let budget = round.share(budget(deadline.remaining()));
        let mut waiting = Vec::new();
        for (variant, indices) in groups {
            self.board(round, variant, indices, directives, budget, &mut waiting);
        }
        let write = self.collect(round, waiting, budget).await;
        let model = started.elapsed().saturating_sub(write);
        round.timing.model = Some(round.timing.model.unwrap_or_default() + model);
        round.timing.store += write;
    }

    /// Joins the computations of one variant that are under way, and begins one for the rest.
    fn board(
        self: &Arc<Self>,
        round: &mut Round,
        variant: usize,
        open: Vec<usize>,
        directives: Directives,
        budget: Duration,
        waiting: &mut Vec<Waiting>,
    ) {
        // A client that wants it computed anew, or kept by nobody, shares neither another's computation nor its own.
        let alone = directives.no_cache || directives.no_store;
        let lead = if alone {
            Some((open, self.flights.solo()))
        } else {
            let keys: Vec<Key> = open.iter().map(|at| round.key(*at)).collect();
            let boarding = self.flights.board(&keys, round.looked);
            round.tally.collapsed += boarding.join.len();
            let joined = |(index, arrival): (usize, _)| Waiting {
                at: open[index],
                arrival,
                joined: true,
            };
            waiting.extend(boarding.join.into_iter().map(joined));
            boarding.lead.map(|(indices, pilot)| {
                (
                    indices.into_iter().map(|index| open[index]).collect(),
                    pilot,
                )
            })
        };
        let Some((indices, pilot)) = lead else { return };
        let arrival = pilot.arrival();
        waiting.extend(indices.iter().map(|at| Waiting {
            at: *at,
            arrival: arrival.clone(),
            joined: false,
        }));
        let job = Job::new(round, variant, &indices, budget, !directives.no_store);
        if !round.is_again() {
            self.call_shadows(&job);
        }
        let this = Arc::clone(self);
        // A task of its own, in this request's trace: it goes on when the client leaves, for others and for the store.
        drop(telemetry::task::spawn(
            async move { this.fly(job, pilot).await },
        ));
    }

    /// Waits for the outcomes and puts each row into its slot; the answer is the time of the longest write among them.
    async fn collect(
        &self,
        round: &mut Round,
        waiting: Vec<Waiting>,
        budget: Duration,
    ) -> Duration {
        let mut write = Duration::ZERO;
        let end = tokio::time::Instant::now() + budget + Duration::from_millis(20);
        for Waiting {
            at,
            arrival,
            joined,
        } in waiting
        {
            let outcome = match tokio::time::timeout_at(end, arrival.wait()).await {
                Ok(Some(outcome)) => outcome,
                Ok(None) => Arc::new(Computed::failed(ModelError::Abandoned, None)),
                Err(_) => Arc::new(Computed::failed(ModelError::TimedOut(None), None)),
            };
            if joined {
                round.links.extend(outcome.worker());
            }
            write = write.max(outcome.write);
            round.take(at, &outcome);
        }
        write
    }
}

/// Something asked for whose computation is under way.
struct Waiting {
    at: usize,
    arrival: Arrival<Outcome>,
    /// Another request computes it.
    joined: bool,
}

/// Whether a slot still waits for somebody to fill it.
fn is_open(slot: &Slot) -> bool {
    matches!(slot, Slot::Open(_))
}
