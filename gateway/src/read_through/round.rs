//! One request under way: what each thing asked for has come to, and what is told of it.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use telemetry::metrics::{Counter, counter};
use telemetry::{KeyValue, SpanRef, attr};

use super::compute::Computed;
use super::{Answer, Asked};
use crate::api::{Entry, EntryError, FailedEntry, Prediction};
use crate::cache::Tally;
use crate::catalogue::Known;
use crate::error::ApiError;
use crate::model::ModelError;
use crate::store::{Key, StoredPrediction};
use crate::timing::Timing;

/// Links of one SERVER span; a batch of a thousand hits may have been computed by as many spans.
const MAX_LINKS: usize = 32;

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
    pub(super) known: Arc<Known>,
    pub(super) slots: Vec<Slot>,
    pub(super) tally: Tally,
    pub(super) timing: Timing,
    pub(super) links: Vec<SpanRef>,
    pub(super) looked: Instant,
}

impl Round {
    pub(super) fn new(asked: Asked, known: Arc<Known>) -> Self {
        let slots = asked.ids.iter().map(|_| Slot::Open(Reason::Missing)).collect();
        let (tally, timing) = (Tally::default(), Timing::default());
        Self { asked, known, slots, tally, timing, links: Vec::new(), looked: Instant::now() }
    }

    pub(super) fn key(&self, at: usize) -> Key {
        Key {
            model: self.asked.model.clone(),
            version: self.known.version.clone(),
            data_id: self.asked.ids[at].clone(),
        }
    }

    pub(super) fn open_all(&mut self, reason: Reason) {
        self.slots.iter_mut().for_each(|slot| *slot = Slot::Open(reason));
        self.count();
    }

    /// Takes the tally after the lookup, and tells the metric.
    pub(super) fn count(&mut self) {
        let tally = &mut self.tally;
        for slot in &self.slots {
            match slot {
                Slot::Open(Reason::Missing) => tally.misses += 1,
                Slot::Open(Reason::Stale) => tally.stale += 1,
                Slot::Open(Reason::Requested) => tally.requested += 1,
                Slot::Open(Reason::StoreDown) => tally.bypassed += 1,
                Slot::Stored(_) | Slot::Computed(_) | Slot::Failed(_) | Slot::Broken(_) => tally.hits += 1,
            }
        }
        let results = [
            ("hit", tally.hits),
            ("miss", tally.misses),
            ("stale", tally.stale),
            ("bypass", tally.requested),
            ("error", tally.bypassed),
        ];
        for (result, count) in results {
            if count > 0 {
                REQUESTS.add(count as u64, &[KeyValue::new(attr::CACHE_RESULT, result)]);
            }
        }
    }

    /// Gives everything that is still open an error instead of a computation.
    pub(super) fn leave_out(&mut self, error: EntryError, detail: &'static str) {
        let Tally { hits, ttl, .. } = self.tally;
        self.tally = Tally { hits, ttl, ..Tally::default() };
        for slot in self.slots.iter_mut().filter(|slot| matches!(slot, Slot::Open(_))) {
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
        self.timing.upstream = outcome.timing;
        self.tally.stored = match (self.tally.stored, outcome.stored) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (before, now) => now.or(before),
        };
    }

    /// Points the SERVER span at the spans that computed what this answer is made of.
    pub(super) fn link(&mut self) {
        let stored = self
            .slots
            .iter()
            .filter_map(|slot| if let Slot::Stored(found) = slot { found.computed_by.clone() } else { None });
        let span = telemetry::current();
        let mut linked: Vec<SpanRef> = Vec::new();
        for target in stored.chain(std::mem::take(&mut self.links)) {
            if linked.len() == MAX_LINKS {
                break;
            }
            if !linked.contains(&target) {
                span.add_link(&target);
                linked.push(target);
            }
        }
    }

    pub(super) fn finish(self) -> Answer {
        let version = self.slots.iter().find_map(|slot| match slot {
            Slot::Stored(found) | Slot::Computed(found) => Some(found.key.version.clone()),
            _ => None,
        });
        telemetry::current().set(attr::ML_MODEL_VERSION, version.unwrap_or_else(|| self.known.version.clone()));
        Answer { cache_status: self.tally.header(), timing: self.timing, result: entries(self.asked, self.slots) }
    }
}

/// The answer in the order asked; the error when nothing has a prediction.
fn entries(asked: Asked, slots: Vec<Slot>) -> Result<Vec<Entry>, ApiError> {
    if !slots.iter().any(|slot| matches!(slot, Slot::Stored(_) | Slot::Computed(_))) {
        let broken =
            slots.iter().find_map(|slot| if let Slot::Broken(error) = slot { Some(Arc::clone(error)) } else { None });
        if let Some(error) = broken {
            return Err(ApiError::Model(error));
        }
    }
    let model = asked.model;
    let failed = |data_id, error| Entry::Failed(FailedEntry { data_id, model: model.clone(), error });
    let unique = slots.into_iter().zip(asked.ids).map(|(slot, data_id)| match slot {
        Slot::Stored(found) => Entry::Prediction(Prediction::new(found, true)),
        Slot::Computed(made) => Entry::Prediction(Prediction::new(made, false)),
        Slot::Failed(error) => failed(data_id, error),
        Slot::Broken(error) => failed(data_id, EntryError::from(error.as_ref())),
        Slot::Open(_) => failed(data_id, EntryError::NOT_CACHED),
    });
    let unique: Vec<Entry> = unique.collect();
    let entries = match asked.order {
        None => unique,
        Some(order) => order.into_iter().map(|at| unique[at].clone()).collect(),
    };
    if entries.iter().any(|entry| matches!(entry, Entry::Prediction(_))) {
        return Ok(entries);
    }
    let failed =
        entries.into_iter().filter_map(|entry| if let Entry::Failed(failed) = entry { Some(failed) } else { None });
    Err(ApiError::NoneSucceeded { entries: failed.collect() })
}
