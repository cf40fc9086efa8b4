//! The end of a request: its answer, and what is recorded at the end, each derived from the items.

use std::sync::Arc;

use protocol::ErrorCode;
use telemetry::{SpanRef, attr};

use super::Request;
use super::item::{Item, ItemIndex, State};
use crate::answered::AnsweredTraces;
use crate::api::{Entry, FailedEntry, Prediction};
use crate::cache::CacheStatus;
use crate::error::ApiError;
use crate::freshness::Freshness;
use crate::single_flight::Role;
use crate::timing::Timing;

/// Links of one SERVER span: a batch of a thousand hits may have been computed by as many spans.
const MAX_LINKS: usize = 32;

/// The answer to a request, with its headers.
pub(crate) struct Answer {
    /// One entry for each instance asked for, in order; an error when none has a prediction.
    pub(crate) result: Result<Vec<Entry>, ApiError>,
    pub(crate) cache_status: CacheStatus,
    pub(crate) timing: Timing,
}

impl Request {
    /// The answer; an error of the request itself when no variant knows the model.
    pub(super) fn answer(self, answered: &AnsweredTraces) -> Result<Answer, ApiError> {
        self.record_fail_overs();
        if self.known.is_empty() {
            return Err(self.unresolved());
        }
        for target in links(&self.items) {
            telemetry::current().add_link(target);
        }
        self.describe();
        if let Some(trace_id) = telemetry::current().trace_id() {
            let predictions = self.items.iter().filter_map(Item::prediction);
            answered.record(trace_id, predictions.map(|prediction| &prediction.key));
        }
        Ok(Answer {
            cache_status: cache_status(&self.items),
            timing: self.timing,
            result: entries(&self.choice.model, self.items, self.order),
        })
    }

    /// Records what failed over, if anything did.
    pub(super) fn record_fail_overs(&self) {
        if !self.has_failed() {
            return;
        }
        if self.known.is_empty() {
            // No variant was ever known, so the choice was not recorded by the look-up.
            self.choice.record(self.assignments());
        }
        self.choice.record_fail_overs(self.assignments());
    }

    /// Sets variant and version on the SERVER span if one variant answered for everything.
    fn describe(&self) {
        let mut variants = self.items.iter().map(|item| item.assignment.variant);
        let Some(variant) = variants.next() else {
            return;
        };
        if variants.any(|other| other != variant) {
            return;
        }
        self.choice.set_on_span(variant);
        let version = self.items.iter().find_map(Item::prediction).map_or_else(
            || self.known(variant).map(|known| &known.version),
            |prediction| Some(&prediction.key.version),
        );
        // A service without versions has an empty one.
        if let Some(version) = version.filter(|version| !version.is_empty()) {
            telemetry::current().set(attr::ML_MODEL_VERSION, version.clone());
        }
    }

    fn unresolved(self) -> ApiError {
        let error = self.items.into_iter().find_map(|item| match item.state {
            State::Broken(error) => Some(error),
            _ => None,
        });
        match error {
            Some(error) if !error.is_unknown_model() => ApiError::Model(error),
            _ => ApiError::UnknownModel {
                model: self.choice.model.to_string(),
            },
        }
    }
}

/// The spans that computed the stored predictions, and those of calls that other requests made, each
/// once.
fn links(items: &[Item]) -> Vec<&SpanRef> {
    let stored = items.iter().filter_map(|item| match &item.state {
        State::Stored(found, _) => found.computed_by.as_ref(),
        _ => None,
    });
    let calls = items.iter().flat_map(|item| &item.calls);
    let shared = calls
        .filter(|call| call.role == Role::Waits)
        .filter_map(|call| call.worker.as_ref());
    let mut links: Vec<&SpanRef> = Vec::new();
    for target in stored.chain(shared) {
        if links.len() == MAX_LINKS {
            break;
        }
        if !links.contains(&target) {
            links.push(target);
        }
    }
    links
}

/// How the request used the cache. An item counts by the first answer of the store.
fn cache_status(items: &[Item]) -> CacheStatus {
    let mut status = CacheStatus::default();
    for item in items {
        match (&item.state, item.looked_up.first()) {
            (State::LeftOut(why), _) => status.left_out = Some(*why),
            (_, Some((_, result))) => status.count(*result),
            (_, None) => {}
        }
        if let State::Stored(_, Freshness::For(seconds)) = item.state {
            status.ttl = status.ttl.into_iter().chain([seconds]).min();
        }
        if let Some(call) = item.calls.last() {
            status.shared += usize::from(call.role == Role::Waits);
            // `None` is less than any end.
            status.stored = status.stored.max(call.stored);
        }
    }
    status
}

/// The entries in the order asked; an error when there is no prediction among them.
fn entries(
    model: &str,
    items: Vec<Item>,
    order: Option<Vec<ItemIndex>>,
) -> Result<Vec<Entry>, ApiError> {
    let has_predictions = items.iter().any(|item| item.prediction().is_some());
    let broken = items.iter().find_map(|item| match &item.state {
        State::Broken(error) => Some(Arc::clone(error)),
        _ => None,
    });
    if let Some(error) = broken.filter(|_| !has_predictions) {
        return Err(ApiError::Model(error));
    }
    let unique: Vec<Entry> = items.into_iter().map(|item| entry(model, item)).collect();
    let entries = match order {
        None => unique,
        Some(order) => order.into_iter().map(|at| unique[at.0].clone()).collect(),
    };
    if has_predictions {
        return Ok(entries);
    }
    let entries = entries.into_iter().filter_map(|entry| match entry {
        Entry::Failed(failed) => Some(failed),
        Entry::Prediction(_) => None,
    });
    Err(ApiError::NoneSucceeded {
        entries: entries.collect(),
    })
}

fn entry(model: &str, item: Item) -> Entry {
    let code = match item.state {
        State::Stored(found, _) => return Entry::Prediction(Prediction::new(found, true)),
        State::Computed(made) => return Entry::Prediction(Prediction::new(made, false)),
        State::Failed(code) => code,
        State::Broken(error) => error.code(),
        State::LeftOut(why) => why.code(),
        // A request ends when no item is open any more, so this one is a bug.
        State::Open => ErrorCode::Internal,
    };
    Entry::Failed(FailedEntry {
        data_id: item.instance.id.to_string(),
        model: model.to_owned(),
        error: code.into(),
    })
}

#[cfg(test)]
mod tests;
