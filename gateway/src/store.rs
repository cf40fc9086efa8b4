//! The seam to whatever keeps predictions: our words, one trait, one file for each engine.
//!
//! The trait is shaped so that every call is one round trip of a search engine as well as of `SQLite`: a lookup is one
//! `_mget`, a store one `_bulk` with a result for each item, a search one `_search` with `search_after`.

pub(crate) mod elasticsearch;
pub(crate) mod sqlite;
pub(crate) mod watched;

#[cfg(test)]
pub(crate) mod conformance;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt::Debug;

use async_trait::async_trait;
use jiff::Timestamp;
use telemetry::SpanRef;

/// Keeps predictions and finds them again. A prediction that is not there is `None`, never an error.
#[async_trait]
pub trait PredictionStore: Debug + Send + Sync {
    /// Looks up several predictions of one model; the answer has the length and order of the entities of all parts, one part
    /// after the other. What was stored in an earlier call is seen at once.
    async fn get_many(&self, lookup: Lookup) -> Result<Vec<Option<StoredPrediction>>, StoreError>;

    /// Stores predictions, one result for each in the same order. An older computation never replaces a newer one of the
    /// same key, and is no error. The outer error says that nothing is known to be stored.
    async fn put_many(
        &self,
        predictions: Vec<StoredPrediction>,
    ) -> Result<Vec<Result<(), StoreError>>, StoreError>;

    /// A page of what is stored, newest first; an engine may need a moment to show what was stored last.
    async fn search(&self, search: Search) -> Result<Page, StoreError>;

    /// The version of `variant` of `model` that computed its newest stored prediction.
    async fn latest_version(
        &self,
        model: &str,
        variant: &str,
    ) -> Result<Option<String>, StoreError>;

    /// Forgets what was computed before `before`; the answer is how many.
    async fn remove_older(&self, before: Timestamp) -> Result<u64, StoreError>;
}

/// What a prediction is found by. A new version of a model never finds the predictions of an old one, nor one variant those
/// of another, also where services have no versions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Name of the model.
    pub model: String,
    /// Which variant of the model answered.
    pub variant: String,
    /// Version of the model.
    pub version: String,
    /// The entity.
    pub data_id: String,
}

/// A prediction as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPrediction {
    /// What it is found by.
    pub key: Key,
    /// The predicted class.
    pub label: String,
    /// Probability of the predicted class, 0 to 1.
    pub confidence: f32,
    /// Probability of each class, in the model's order of classes.
    pub probabilities: Vec<f32>,
    /// When it was computed, in whole microseconds.
    pub computed_at: Timestamp,
    /// The span that computed it, if it was recorded.
    pub computed_by: Option<SpanRef>,
    /// The training run of the model, 32 hex digits.
    pub run_id: Option<String>,
}

/// Several predictions of one model.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Name of the model.
    pub model: String,
    /// What is looked up of each variant.
    pub parts: Vec<LookupPart>,
}

/// Several predictions of one variant.
#[derive(Clone, Debug)]
pub struct LookupPart {
    /// Name of the variant.
    pub variant: String,
    /// Version of the model.
    pub version: String,
    /// The entities, each once.
    pub data_ids: Vec<String>,
}

/// What to search for; `None` does not narrow.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Only of this model.
    pub model: Option<String>,
    /// Only with this label.
    pub label: Option<String>,
    /// Only by this variant.
    pub variant: Option<String>,
    /// Only with at least this confidence.
    pub min_confidence: Option<f32>,
    /// Only computed at this time or later.
    pub since: Option<Timestamp>,
    /// Only what comes after this place of the order.
    pub after: Option<Position>,
    /// The most predictions that one page holds; at least one.
    pub limit: usize,
}

/// A place in the order of a search: newest first, then by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// When the prediction at this place was computed.
    pub computed_at: Timestamp,
    /// Its key.
    pub key: Key,
}

/// One page of a search.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The predictions, newest first.
    pub predictions: Vec<StoredPrediction>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<Position>,
}

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine cannot be reached or opened, or did not obey.
    #[error("the prediction store failed ({error_type})")]
    Engine {
        /// The engine's own word, bounded, for `error.type`.
        error_type: &'static str,
        /// What the engine said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// What is stored cannot be read back.
    #[error("a stored prediction cannot be read: {what}")]
    Unreadable {
        /// Which part of it.
        what: &'static str,
    },
    /// The engine did not answer in time.
    #[error("the prediction store did not answer in time")]
    TimedOut,
    /// The store is closing.
    #[error("the prediction store is closed")]
    Closed,
}

impl StoreError {
    /// The bounded word for `error.type`.
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::Engine { error_type, .. } => error_type,
            Self::Unreadable { .. } => "unreadable",
            Self::TimedOut => "timeout",
            Self::Closed => "closed",
        }
    }
}

impl Lookup {
    /// Number of predictions that are looked up.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.data_ids.len()).sum()
    }

    /// Whether nothing is looked up.
    pub fn is_empty(&self) -> bool {
        self.parts.iter().all(|part| part.data_ids.is_empty())
    }

    /// The keys that are looked up, in order.
    pub(crate) fn into_keys(self) -> impl Iterator<Item = Key> {
        let Self { model, parts } = self;
        parts.into_iter().flat_map(
            move |LookupPart {
                      variant,
                      version,
                      data_ids,
                  }| {
                let model = model.clone();
                data_ids.into_iter().map(move |data_id| Key {
                    model: model.clone(),
                    variant: variant.clone(),
                    version: version.clone(),
                    data_id,
                })
            },
        )
    }
}

impl StoredPrediction {
    /// The place of this prediction in the order of a search.
    pub fn position(&self) -> Position {
        Position {
            computed_at: self.computed_at,
            key: self.key.clone(),
        }
    }
}

/// Cuts a time to the microseconds that every engine can keep.
pub(crate) fn whole_micros(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}
