//! One request under way: what each thing asked for has come to, and what is told of it.

mod answer;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use telemetry::metrics::{Counter, counter};
use telemetry::{KeyValue, SpanRef, attr};

use super::compute::Computed;
use super::{Asked, is_open};
use crate::api::EntryError;
use crate::cache::Tally;
use crate::catalogue::{Known, Takes};
use crate::choice::Choice;
use crate::error::ApiError;
use crate::model::ModelError;
use crate::routes::Route;
use crate::store::{Key, StoredPrediction};
use crate::timing::Timing;

static REQUESTS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        attr::metric::ML_PREDICTION_CACHE_REQUESTS,
        "{prediction}",
        "Predictions asked of the prediction store, by result",
    )
});
/// One thing asked for (each once), on its way to an answer.
pub(super) enum Slot {
    Open(Reason),
    Stored(StoredPrediction),
    Computed(StoredPrediction),
    Failed(EntryError),
    /// The call failed as a whole.
    Broken(Arc<ModelError>),
}

/// Why something is to be computed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Missing,
    Stale,
    Requested,
    StoreDown,
}

/// One request under way.
pub(super) struct Round {
    pub(super) asked: Asked,
    pub(super) route: Arc<Route>,
    /// For each variant of the route, what is known of it, as far as it was needed.
    pub(super) known: Vec<Option<Arc<Known>>>,
    pub(super) slots: Vec<Slot>,
    pub(super) tally: Tally,
    pub(super) timing: Timing,
    pub(super) links: Vec<SpanRef>,
    pub(super) looked: Instant,
    choice: Choice,
    /// The ids whose variants failed, with the variants.
    failed: HashMap<usize, Tried>,
    settled: bool,
    told: bool,
}

/// The variants that were asked in vain for one id.
#[derive(Default)]
struct Tried {
    variants: Vec<usize>,
    /// Whether the look into the store was counted already.
    counted: bool,
}

impl Round {
    pub(super) fn new(asked: Asked, route: Arc<Route>, choice: Choice) -> Self {
        Self {
            known: vec![None; route.variants.len()],
            slots: asked
                .ids
                .iter()
                .map(|_| Slot::Open(Reason::Missing))
                .collect(),
            asked,
            route,
            tally: Tally::default(),
            timing: Timing::default(),
            links: Vec::new(),
            looked: Instant::now(),
            choice,
            failed: HashMap::new(),
            settled: false,
            told: false,
        }
    }

    /// The variants of some ids, each once.
    pub(super) fn chosen(&self, ids: &[usize]) -> Vec<usize> {
        let mut chosen: Vec<usize> = Vec::new();
        for at in ids {
            let variant = self.choice.of[*at];
            if !chosen.contains(&variant) {
                chosen.push(variant);
            }
        }
        chosen
    }

    /// The ids that are still open, by variant.
    pub(super) fn open_by_variant(&self, ids: &[usize]) -> Vec<(usize, Vec<usize>)> {
        let mut groups: Vec<(usize, Vec<usize>)> = Vec::new();
        for at in ids.iter().copied().filter(|at| is_open(&self.slots[*at])) {
            let variant = self.choice.of[at];
            match groups.iter_mut().find(|(known, _)| *known == variant) {
                Some((_, ids)) => ids.push(at),
                None => groups.push((variant, vec![at])),
            }
        }
        groups
    }

    /// Breaks what was given to a variant that cannot be asked.
    pub(super) fn refuse(&mut self, variant: usize, ids: &[usize], error: &Arc<ModelError>) {
        for at in ids.iter().filter(|at| self.choice.of[**at] == variant) {
            self.slots[*at] = Slot::Broken(Arc::clone(error));
        }
    }

    /// Decides what the ids are as soon as a variant is known, and tells what was chosen: a model that nobody knows is no
    /// choice.
    pub(super) fn settle(&mut self) -> Result<(), ApiError> {
        if self.settled || self.known.iter().all(Option::is_none) {
            return Ok(());
        }
        let takes = Takes::any(self.known.iter().flatten());
        self.asked.settle(takes)?;
        self.settled = true;
        self.tell_choice();
        Ok(())
    }

    /// Once, before anything goes to another variant.
    fn tell_choice(&mut self) {
        if !std::mem::replace(&mut self.told, true) {
            self.choice
                .tell(&self.route, &self.asked.model, &self.asked.ids);
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Whether variants have failed and others are asked.
    pub(super) fn is_again(&self) -> bool {
        !self.failed.is_empty()
    }

    /// The version of a variant that was resolved.
    pub(super) fn version(&self, variant: usize) -> &str {
        self.known[variant]
            .as_ref()
            .map_or("", |known| &known.version)
    }

    pub(super) fn key(&self, at: usize) -> Key {
        let variant = self.choice.of[at];
        Key {
            model: self.asked.model.clone(),
            variant: (*self.route.variants[variant].name).to_owned(),
            version: self.version(variant).to_owned(),
            data_id: self.asked.ids[at].clone(),
        }
    }

    pub(super) fn open_all(&mut self, groups: &[(usize, Vec<usize>)], reason: Reason) {
        groups
            .iter()
            .flat_map(|(_, ids)| ids)
            .for_each(|at| self.slots[*at] = Slot::Open(reason));
        self.count(groups);
    }

    /// Takes the tally after the lookup, and tells the metric. What is asked again of another variant was counted before.
    pub(super) fn count(&mut self, groups: &[(usize, Vec<usize>)]) {
        for (variant, ids) in groups {
            let mut tally = Tally::default();
            for at in ids {
                let counted = self
                    .failed
                    .get_mut(at)
                    .is_some_and(|tried| std::mem::replace(&mut tried.counted, true));
                let totals = [&mut tally, &mut self.tally];
                for total in totals.into_iter().take(if counted { 1 } else { 2 }) {
                    match self.slots[*at] {
                        Slot::Open(Reason::Missing) => total.misses += 1,
                        Slot::Open(Reason::Stale) => total.stale += 1,
                        Slot::Open(Reason::Requested) => total.requested += 1,
                        Slot::Open(Reason::StoreDown) => total.bypassed += 1,
                        Slot::Stored(_) | Slot::Computed(_) | Slot::Failed(_) | Slot::Broken(_) => {
                            total.hits += 1
                        }
                    }
                }
            }
            let results = [
                ("hit", tally.hits),
                ("miss", tally.misses),
                ("stale", tally.stale),
                ("bypass", tally.requested),
                ("error", tally.bypassed),
            ];
            for (result, count) in results.into_iter().filter(|(_, count)| *count > 0) {
                let variant = KeyValue::new(
                    attr::ML_VARIANT,
                    Arc::clone(&self.route.variants[*variant].name),
                );
                REQUESTS.add(
                    count as u64,
                    &[KeyValue::new(attr::CACHE_RESULT, result), variant],
                );
            }
        }
    }

    /// Gives everything that is still open an error instead of a computation.
    pub(super) fn leave_out(&mut self, error: EntryError, detail: &'static str) {
        let Tally { hits, ttl, .. } = self.tally;
        self.tally = Tally {
            hits,
            ttl,
            left_out: self.tally.left_out,
            ..Tally::default()
        };
        for slot in self.slots.iter_mut().filter(|slot| is_open(slot)) {
            *slot = Slot::Failed(error);
            self.tally.left_out = Some(detail);
        }
    }

    pub(super) fn take(&mut self, at: usize, outcome: &Computed) {
        self.slots[at] = match outcome.row(&self.asked.ids[at]) {
            Ok(Ok(prediction)) => Slot::Computed(prediction.clone()),
            Ok(Err(failure)) => Slot::Failed((*failure).into()),
            Err(error) => Slot::Broken(Arc::clone(error)),
        };
        self.timing.upstream = self.timing.upstream.longer(outcome.timing);
        self.tally.stored = match (self.tally.stored, outcome.stored) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (before, now) => now.or(before),
        };
    }

    /// The part of the time that one call may take: half of it while there is another variant to ask after it.
    pub(super) fn share(&self, left: Duration) -> Duration {
        let tried = self
            .failed
            .values()
            .map(|tried| tried.variants.len())
            .max()
            .unwrap_or(0);
        let answering = self
            .route
            .variants
            .iter()
            .filter(|variant| variant.answers())
            .count();
        if self.choice.has_next(&self.route) && tried + 1 < answering {
            left / 2
        } else {
            left
        }
    }

    /// Gives what a variant failed at to the next one, where the routes say so and there is time left; tells it, and gives the
    /// ids that are open again.
    pub(super) fn fail_over(&mut self, left: Duration) -> Vec<usize> {
        let mut moved: BTreeMap<(usize, usize), (Vec<usize>, &'static str)> = BTreeMap::new();
        if left.is_zero() || !self.choice.has_next(&self.route) {
            return Vec::new();
        }
        for at in 0..self.slots.len() {
            let Slot::Broken(error) = &self.slots[at] else {
                continue;
            };
            if !error.is_outage() {
                continue;
            }
            let (error_type, from) = (error.code(), self.choice.of[at]);
            self.tell_choice();
            let looked_up = self.known[from].is_some();
            let tried = self.failed.entry(at).or_default();
            tried.variants.push(from);
            tried.counted |= looked_up;
            if let Some(to) = self
                .choice
                .next(&self.route, &self.asked.ids[at], &tried.variants)
            {
                self.slots[at] = Slot::Open(Reason::Missing);
                self.choice.of[at] = to;
                moved
                    .entry((from, to))
                    .or_insert_with(|| (Vec::new(), error_type))
                    .0
                    .push(at);
            }
        }
        for ((from, to), (ids, error_type)) in &moved {
            let ids: Vec<String> = ids.iter().map(|at| self.asked.ids[*at].clone()).collect();
            self.choice.tell_fail_over(
                &self.route,
                &self.asked.model,
                (*from, *to),
                &ids,
                error_type,
            );
        }
        moved.into_values().flat_map(|(ids, _)| ids).collect()
    }
}
