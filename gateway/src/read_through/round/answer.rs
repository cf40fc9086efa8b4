//! The end of a request: its answer, and what its SERVER span tells of it.

use std::sync::Arc;

use telemetry::{SpanRef, attr};

use super::{Round, Slot};
use crate::api::{Entry, EntryError, FailedEntry, Prediction};
use crate::error::ApiError;
use crate::read_through::{Answer, Asked};

/// Links of one SERVER span; a batch of a thousand hits may have been computed by as many spans.
const MAX_LINKS: usize = 32;

impl Round {
    /// Points the SERVER span at the spans that computed what this answer is made of.
    pub(in crate::read_through) fn link(&mut self) {
        let stored = self.slots.iter().filter_map(|slot| {
            if let Slot::Stored(found) = slot {
                found.computed_by.clone()
            } else {
                None
            }
        });
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

    /// The answer; the error of the request itself when the model could not be found at all.
    pub(in crate::read_through) fn finish(self) -> Result<Answer, ApiError> {
        if !self.settled {
            return Err(self.unresolved());
        }
        self.describe();
        let (cache_status, timing) = (self.tally.header(), self.timing);
        Ok(Answer {
            cache_status,
            timing,
            result: entries(self.asked, self.slots),
        })
    }

    /// What the SERVER span tells of the variant, if one answered for everything.
    fn describe(&self) {
        let Some(first) = self
            .choice
            .of
            .first()
            .filter(|first| self.choice.of.iter().all(|other| other == *first))
        else {
            return;
        };
        let version = self.slots.iter().find_map(|slot| match slot {
            Slot::Stored(found) | Slot::Computed(found) => Some(found.key.version.clone()),
            _ => None,
        });
        let span = telemetry::current();
        span.set(
            attr::ML_VARIANT,
            Arc::clone(&self.route.variants[*first].name),
        );
        // A service without versions has none to tell.
        let version = version.unwrap_or_else(|| self.version(*first).to_owned());
        if !version.is_empty() {
            span.set(attr::ML_MODEL_VERSION, version);
        }
    }

    fn unresolved(self) -> ApiError {
        let error = self.slots.into_iter().find_map(|slot| {
            if let Slot::Broken(error) = slot {
                Some(error)
            } else {
                None
            }
        });
        match error {
            Some(error) if !error.is_unknown_model() => ApiError::Model(error),
            _ => ApiError::UnknownModel {
                model: self.asked.model,
            },
        }
    }
}

/// The answer in the order asked; the error when nothing has a prediction.
fn entries(asked: Asked, slots: Vec<Slot>) -> Result<Vec<Entry>, ApiError> {
    if !slots
        .iter()
        .any(|slot| matches!(slot, Slot::Stored(_) | Slot::Computed(_)))
    {
        let broken = slots.iter().find_map(|slot| {
            if let Slot::Broken(error) = slot {
                Some(Arc::clone(error))
            } else {
                None
            }
        });
        if let Some(error) = broken {
            return Err(ApiError::Model(error));
        }
    }
    let model = asked.model;
    let failed = |data_id, error| {
        Entry::Failed(FailedEntry {
            data_id,
            model: model.clone(),
            error,
        })
    };
    let unique = slots
        .into_iter()
        .zip(asked.ids)
        .map(|(slot, data_id)| match slot {
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
    if entries
        .iter()
        .any(|entry| matches!(entry, Entry::Prediction(_)))
    {
        return Ok(entries);
    }
    let failed = entries.into_iter().filter_map(|entry| {
        if let Entry::Failed(failed) = entry {
            Some(failed)
        } else {
            None
        }
    });
    Err(ApiError::NoneSucceeded {
        entries: failed.collect(),
    })
}
