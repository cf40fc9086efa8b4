//! The stored predictions that feedback is about.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use protocol::ErrorCode;
use telemetry::TraceId;

use crate::answered::AnsweredTraces;
use crate::api::FeedbackItem;
use crate::error::ApiError;
use crate::models::Listing;
use crate::store::watched::WatchedStore;
use crate::store::{Key, Lookup, LookupPart, StoredPrediction};

/// Finds predictions.
pub(crate) struct Finder {
    pub(crate) listing: Listing,
    pub(crate) store: WatchedStore,
    pub(crate) answered: Arc<AnsweredTraces>,
}

/// A prediction, and the classes of its version where they are known.
pub(super) struct Found {
    pub(super) prediction: StoredPrediction,
    pub(super) classes: Arc<[String]>,
}

/// A variant at its current version.
struct Current {
    variant: Arc<str>,
    version: Arc<str>,
    classes: Arc<[String]>,
}

impl Finder {
    /// For each item its predictions, or why there is none. The outer error is one of the request.
    pub(super) async fn find(
        &self,
        model: &str,
        items: &[FeedbackItem],
    ) -> Result<Vec<Result<Vec<Found>, ErrorCode>>, ApiError> {
        let current = self.current(model).await?;
        let keys: Vec<_> = items
            .iter()
            .map(|item| self.keys(model, item, &current))
            .collect();
        let stored = self.look_up(model, keys.iter().flatten().flatten()).await?;
        let found = keys.into_iter().map(|keys| {
            let stored = keys?
                .into_iter()
                .filter_map(|key| stored.get(&key).cloned());
            let found: Vec<Found> = stored
                .map(|prediction| Found {
                    classes: classes(&prediction.key, &current),
                    prediction,
                })
                .collect();
            let not_stored = ErrorCode::PredictionNotStored;
            (!found.is_empty()).then_some(found).ok_or(not_stored)
        });
        Ok(found.collect())
    }

    async fn current(&self, model: &str) -> Result<Vec<Current>, ApiError> {
        let variants = self.listing.variants_of(model).await?;
        let mut current = Vec::with_capacity(variants.len());
        for variant in variants {
            // A variant that nobody knows has no prediction either.
            if let Ok(known) = self.listing.discovery.resolve(model, &variant).await {
                current.push(Current {
                    variant: Arc::clone(&variant.name),
                    version: Arc::clone(&known.version),
                    classes: Arc::clone(&known.classes),
                });
            }
        }
        Ok(current)
    }

    /// The predictions that an item can be about.
    fn keys(
        &self,
        model: &str,
        item: &FeedbackItem,
        current: &[Current],
    ) -> Result<Vec<Key>, ErrorCode> {
        let trace = item.trace_id.as_deref().map(TraceId::from_hex);
        let trace = trace.and_then(Result::ok);
        let mut answered = trace.map_or_else(Vec::new, |trace| self.answered.of(trace));
        answered.retain(|key| {
            let is = |wanted: &Option<String>, of: &str| {
                wanted.as_ref().is_none_or(|wanted| wanted == of)
            };
            *key.model == *model
                && is(&item.data_id, &key.data_id)
                && is(&item.variant, &key.variant)
                && is(&item.model_version, &key.version)
        });
        match (answered.split_first(), &item.data_id) {
            (Some((first, more)), _) => {
                let is_one = more.iter().all(|key| key.data_id == first.data_id);
                is_one.then_some(answered).ok_or(ErrorCode::AmbiguousTrace)
            }
            (None, None) => Err(ErrorCode::UnknownTrace),
            (None, Some(data_id)) => Ok(of_data_id(model, data_id, item, current)),
        }
    }

    /// What is stored of these keys, with one call.
    async fn look_up(
        &self,
        model: &str,
        keys: impl Iterator<Item = &Key>,
    ) -> Result<HashMap<Key, StoredPrediction>, ApiError> {
        let mut parts = BTreeMap::new();
        for key in keys {
            let part = parts.entry((&key.variant, &key.version));
            part.or_insert_with(Vec::new).push(&key.data_id);
        }
        let parts = parts.into_iter().map(|((variant, version), mut ids)| {
            ids.sort_unstable();
            ids.dedup();
            LookupPart {
                variant: Arc::clone(variant),
                version: Arc::clone(version),
                data_ids: ids.into_iter().map(Arc::clone).collect(),
            }
        });
        let lookup = Lookup {
            model: model.into(),
            parts: parts.collect(),
        };
        if lookup.is_empty() {
            return Ok(HashMap::new());
        }
        let found = self.store.get_many(lookup).await.map_err(ApiError::Store)?;
        let found = found.into_iter().flatten();
        Ok(found.map(|found| (found.key.clone(), found)).collect())
    }
}

fn of_data_id(model: &str, data_id: &str, item: &FeedbackItem, current: &[Current]) -> Vec<Key> {
    let variants = current.iter().filter(|current| {
        let wanted = item.variant.as_ref();
        wanted.is_none_or(|wanted| **wanted == *current.variant)
    });
    let keys = variants.map(|current| Key {
        model: model.into(),
        variant: Arc::clone(&current.variant),
        version: item
            .model_version
            .as_deref()
            .map_or_else(|| Arc::clone(&current.version), Into::into),
        data_id: data_id.into(),
    });
    keys.collect()
}

/// The classes of a prediction's version, if that is the current one.
fn classes(key: &Key, current: &[Current]) -> Arc<[String]> {
    let is = |current: &&Current| current.variant == key.variant && current.version == key.version;
    let known = current.iter().find(is);
    known.map_or_else(Arc::default, |known| Arc::clone(&known.classes))
}
