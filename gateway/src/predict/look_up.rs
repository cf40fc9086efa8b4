//! The first part of a request: the version of each variant, and the stored predictions. Hit or
//! miss is decided here.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use telemetry::metrics::{Counter, counter};
use telemetry::{KeyValue, attr};

use super::batch::{InputKind, TEXT_PREFIX};
use super::item::{ItemIndex, State};
use super::{Group, Request};
use crate::cache::{CacheResult, Directives};
use crate::choice::Choice;
use crate::discovery::{Discovery, KnownVariant, Takes};
use crate::dispatch::Dispatcher;
use crate::error::ApiError;
use crate::freshness::{Freshness, Lifetime};
use crate::model_client::CallError;
use crate::statistics::Statistics;
use crate::store::watched::WatchedStore;
use crate::store::{Lookup, LookupPart};
use crate::traffic::VariantIndex;

static CACHE_REQUESTS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        attr::metric::ML_PREDICTION_CACHE_REQUESTS,
        "{prediction}",
        "Predictions asked of the prediction store, by result",
    )
});

/// Finds stored predictions.
pub(crate) struct LookUp {
    pub(crate) discovery: Discovery,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) store: WatchedStore,
    pub(crate) statistics: Arc<Statistics>,
    pub(crate) lifetime: Lifetime,
}

impl LookUp {
    /// Answers the open items that are stored; returns all items that were open, by variant.
    pub(super) async fn run(
        &self,
        request: &mut Request,
        directives: Directives,
    ) -> Result<Vec<Group>, ApiError> {
        let was_unknown = request.known.is_empty();
        let groups = self.resolve(request).await;
        check_input(request)?;
        // Recorded before the call, so that it is not lost when the client leaves. A model that no
        // variant knows is no choice.
        if was_unknown && !request.known.is_empty() {
            request.choice.record(request.assignments());
        }
        request.looked_up_at = Instant::now();
        if groups.is_empty() {
            return Ok(groups);
        }
        if directives.computes_anew() {
            set_all(request, &groups, CacheResult::Requested);
        } else {
            self.ask_store(request, &groups, directives).await;
        }
        // Counted before the call, so that a miss counts even when the client leaves.
        count(request, &groups);
        Ok(groups)
    }

    /// Asks the store for the items of all variants with one call.
    async fn ask_store(&self, request: &mut Request, groups: &[Group], directives: Directives) {
        let lookup = lookup(request, groups);
        let count = lookup.len();
        let found = self.store.get_many(lookup).await;
        request.timing.store += request.looked_up_at.elapsed();
        let found = match found {
            Ok(found) if found.len() == count => found,
            // The store has recorded its error; the model answers without it.
            _ => {
                set_all(request, groups, CacheResult::Error);
                return;
            }
        };
        let now = self.lifetime.now();
        let places = groups.iter().flat_map(|group| &group.items);
        for (at, found) in places.zip(found) {
            let item = &mut request.items[at.0];
            let (result, state) = match found {
                None => (CacheResult::Miss, State::Open),
                Some(found) => match self.lifetime.of(found.computed_at, now, directives.max_age) {
                    Freshness::Stale => (CacheResult::Stale, State::Open),
                    freshness => (CacheResult::Hit, State::Stored(found, freshness)),
                },
            };
            item.looked_up.push((item.assignment.variant, result));
            item.state = state;
        }
        self.compare_stored(request, directives);
    }

    /// The open items by variant, with what is known of it; the items of a variant that cannot be
    /// resolved are broken.
    async fn resolve(&self, request: &mut Request) -> Vec<Group> {
        let mut groups = Vec::new();
        for (variant, items) in open_by_variant(request) {
            match self.known(request, variant).await {
                Ok(known) => groups.push(Group {
                    variant,
                    known,
                    items,
                }),
                Err(error) => {
                    for at in items {
                        request.items[at.0].state = State::Broken(Arc::clone(&error));
                    }
                }
            }
        }
        groups
    }

    async fn known(
        &self,
        request: &mut Request,
        variant: VariantIndex,
    ) -> Result<Arc<KnownVariant>, Arc<CallError>> {
        if let Some(known) = request.known(variant) {
            return Ok(Arc::clone(known));
        }
        let Choice { model, split, .. } = &request.choice;
        let known = if let Some(known) = self.discovery.get(model, &split[variant]) {
            known
        } else {
            // The model service is asked, which may hang.
            if request.waiting.is_none() {
                request.waiting = Some(self.dispatcher.wait()?);
            }
            self.discovery.resolve(model, &split[variant]).await?
        };
        request.known.push((variant, Arc::clone(&known)));
        Ok(known)
    }

    /// Stored predictions take part in the comparison of the variants, where there are several.
    fn compare_stored(&self, request: &Request, directives: Directives) {
        let Choice { model, split, .. } = &request.choice;
        if split.variants.len() > 1 && !directives.no_store {
            let stored = request.items.iter().filter_map(|item| match &item.state {
                State::Stored(found, _) => Some(found),
                _ => None,
            });
            self.statistics.record_predictions(model, stored);
        }
    }
}

fn open_by_variant(request: &Request) -> Vec<(VariantIndex, Vec<ItemIndex>)> {
    let mut groups: Vec<(VariantIndex, Vec<ItemIndex>)> = Vec::new();
    for (at, item) in request.items.iter().enumerate() {
        if item.is_open() {
            let variant = item.assignment.variant;
            match groups.iter_mut().find(|(known, _)| *known == variant) {
                Some((_, items)) => items.push(ItemIndex(at)),
                None => groups.push((variant, vec![ItemIndex(at)])),
            }
        }
    }
    groups
}

/// As soon as a variant is known, the request must fit what the model takes.
fn check_input(request: &mut Request) -> Result<(), ApiError> {
    if request.known.is_empty() {
        return Ok(());
    }
    let takes = Takes::any(request.known.iter().map(|(_, known)| known));
    let is_text = request
        .items
        .iter()
        .all(|item| item.instance.id.starts_with(TEXT_PREFIX));
    let (fits, given, other) = match request.input {
        InputKind::Path if !takes.data_ids && is_text => {
            request.input = InputKind::TextId;
            return Ok(());
        }
        InputKind::TextId => return Ok(()),
        InputKind::DataIds | InputKind::Path => (takes.data_ids, "data_ids", "texts"),
        InputKind::Texts => (takes.texts, "texts", "data_ids"),
    };
    if fits {
        return Ok(());
    }
    let model = &request.choice.model;
    if takes.only_vectors {
        return Err(ApiError::Invalid(format!(
            "model `{model}` gives vectors and no predictions; ask for its output `embedding` at /v2/models/{model}/infer"
        )));
    }
    let hint = if takes.data_ids || takes.texts {
        format!("ask with `{other}`")
    } else {
        format!("ask at /v2/models/{model}/infer")
    };
    Err(ApiError::Invalid(format!(
        "model `{model}` does not take `{given}`; {hint}"
    )))
}

fn lookup(request: &Request, groups: &[Group]) -> Lookup {
    let parts = groups.iter().map(|group| LookupPart {
        variant: Arc::clone(&request.choice.split[group.variant].name),
        version: group.known.version.clone(),
        data_ids: group
            .items
            .iter()
            .map(|at| request.items[at.0].instance.id.clone())
            .collect(),
    });
    Lookup {
        model: request.choice.model.clone(),
        parts: parts.collect(),
    }
}

fn set_all(request: &mut Request, groups: &[Group], result: CacheResult) {
    for at in groups.iter().flat_map(|group| &group.items) {
        let item = &mut request.items[at.0];
        item.looked_up.push((item.assignment.variant, result));
    }
}

/// Counts the results of this lookup by variant.
fn count(request: &Request, groups: &[Group]) {
    let mut counts: BTreeMap<(VariantIndex, CacheResult), u64> = BTreeMap::new();
    for at in groups.iter().flat_map(|group| &group.items) {
        if let Some(result) = request.items[at.0].looked_up.last() {
            *counts.entry(*result).or_default() += 1;
        }
    }
    for ((variant, result), count) in counts {
        let variant = Arc::clone(&request.choice.split[variant].name);
        let labels = [
            KeyValue::new(attr::CACHE_RESULT, result.as_str()),
            KeyValue::new(attr::ML_VARIANT, variant),
        ];
        CACHE_REQUESTS.add(count, &labels);
    }
}
