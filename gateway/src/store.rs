//! The prediction store: one trait, one file for each engine behind it.
//!
//! Every method is one round trip on Elasticsearch as well as on `SQLite`: a lookup is one `_mget`,
//! a write one `_bulk` with a result for each item, a search one `_search` with `search_after`.

pub(crate) mod elasticsearch;
pub(crate) mod sqlite;
pub(crate) mod watched;

#[cfg(test)]
pub(crate) mod tests;

use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use telemetry::SpanRef;

/// How far the clocks of gateways that share a store may differ. A prediction that is stored with a
/// time further in the future comes from a clock that was wrong: it is stale, and a computation of
/// now replaces it.
pub(crate) const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(1);

/// Stores predictions and finds them again. A prediction that is not stored is `None`, never an
/// error.
#[async_trait]
pub trait PredictionStore: Debug + Send + Sync {
    /// Looks up several predictions of one model. The answer has the length and order of the
    /// entities of all parts, one part after the other, and includes everything that an earlier
    /// call stored.
    async fn get_many(&self, lookup: Lookup) -> Result<Vec<Option<StoredPrediction>>, StoreError>;

    /// Stores predictions and returns one result for each, in the same order. An older computation
    /// does not replace a newer one of the same key; that is [`Written::Superseded`] and not an
    /// error. One that is more than a minute newer comes from a clock that was wrong, and is
    /// replaced. After an outer error, any of them may or may not be stored.
    async fn put_many(
        &self,
        predictions: Vec<StoredPrediction>,
    ) -> Result<Vec<Result<Written, StoreError>>, StoreError>;

    /// One page of stored predictions, newest first. The latest writes may take a moment to appear.
    async fn search(&self, search: Search) -> Result<Page, StoreError>;

    /// The version of `variant` of `model` that computed its newest stored prediction.
    async fn latest_version(
        &self,
        model: &str,
        variant: &str,
    ) -> Result<Option<String>, StoreError>;

    /// Deletes what was computed before `before` and returns how many predictions that were.
    async fn remove_older(&self, before: Timestamp) -> Result<u64, StoreError>;
}

/// Identifies a prediction. Version and variant are part of it, so that neither a new version of a
/// model nor another variant ever answers with this prediction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Name of the model.
    pub model: Arc<str>,
    /// Variant that computed the prediction.
    pub variant: Arc<str>,
    /// Version of the model; empty where the model service has no versions.
    pub version: Arc<str>,
    /// The entity.
    pub data_id: Arc<str>,
}

/// A prediction as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPrediction {
    /// Its key.
    pub key: Key,
    /// The predicted class; empty for a number.
    pub label: String,
    /// Probability of the predicted class, 0 to 1; 0 for a number.
    pub confidence: f32,
    /// Probability of each class, in the model's order of classes. Of a regression it is the number,
    /// so that the engines need no other columns for it.
    pub probabilities: Vec<f32>,
    /// When it was computed, to the microsecond.
    pub computed_at: Timestamp,
    /// The span that computed it, if that span was recorded.
    pub computed_by: Option<SpanRef>,
    /// The training run of the model, 32 hex digits.
    pub run_id: Option<String>,
}

/// What became of a prediction that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is stored.
    Stored,
    /// A newer one of the same key was stored before, and stays.
    Superseded,
}

/// A lookup of several predictions of one model.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Name of the model.
    pub model: Arc<str>,
    /// The entities to look up, by variant.
    pub parts: Vec<LookupPart>,
}

/// The part of a lookup that concerns one variant.
#[derive(Clone, Debug)]
pub struct LookupPart {
    /// Name of the variant.
    pub variant: Arc<str>,
    /// Version of the model.
    pub version: Arc<str>,
    /// The entities, each once.
    pub data_ids: Vec<Arc<str>>,
}

/// A search; a filter that is `None` matches everything.
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
    /// Only what comes after this position.
    pub after: Option<Position>,
    /// Most predictions on one page; at least one.
    pub limit: usize,
}

/// A position in the order of a search, which is newest first, then by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// When the prediction at this position was computed.
    pub computed_at: Timestamp,
    /// Its key.
    pub key: Key,
}

/// One page of a search.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The predictions, newest first.
    pub predictions: Vec<StoredPrediction>,
    /// The position after which the next page starts; `None` on the last page.
    pub next: Option<Position>,
}

/// A call of the store failed. A copy goes to every write that shared the call.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine cannot be reached or refused the call.
    #[error("the prediction store failed ({error_type})")]
    Engine {
        /// The engine's own error code, from a bounded set, for `error.type`.
        error_type: &'static str,
        /// The engine's error.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// A stored prediction or an answer of the engine cannot be parsed.
    #[error("a stored prediction cannot be read: {what}")]
    Unreadable {
        /// The part that cannot be parsed.
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
    /// An engine's error with the engine's code for it.
    pub fn engine(
        error_type: &'static str,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Engine {
            error_type,
            source: source.into().into(),
        }
    }

    /// The value of `error.type`, from a bounded set.
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::Engine { error_type, .. } => error_type,
            Self::Unreadable { .. } => "unreadable",
            Self::TimedOut => "timeout",
            Self::Closed => "closed",
        }
    }

    /// What an operator has to repair, where the engine's code tells it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self.error_type() {
            "SQLITE_FULL" => Some("the disk is full"),
            "SQLITE_READONLY" => Some("the file or its folder is read-only"),
            // The statements are fixed, so an error in one of them is an error of the file.
            "SQLITE_ERROR" | "unreadable" => Some(
                "the table of predictions is missing or has other columns than this program writes",
            ),
            "cluster_block_exception" => {
                Some("the index is read-only, as Elasticsearch makes it when a disk is full")
            }
            "strict_dynamic_mapping_exception"
            | "document_parsing_exception"
            | "mapper_parsing_exception" => {
                Some("the index has other fields than this program writes")
            }
            _ => None,
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
}

impl Page {
    /// The first `limit` of the predictions found; one more than that shows that there is another
    /// page.
    pub(crate) fn of(mut predictions: Vec<StoredPrediction>, limit: usize) -> Self {
        let is_last = predictions.len() <= limit;
        predictions.truncate(limit);
        let end = predictions.last().filter(|_| !is_last);
        Self {
            next: end.map(StoredPrediction::position),
            predictions,
        }
    }
}

impl StoredPrediction {
    /// The number, if a regression predicted it. A class is never an empty text.
    pub fn number(&self) -> Option<f32> {
        let number = self.probabilities.first().copied();
        number.filter(|_| self.label.is_empty())
    }

    /// Its position in the order of a search.
    pub fn position(&self) -> Position {
        Position {
            computed_at: self.computed_at,
            key: self.key.clone(),
        }
    }
}

/// Whether a computation at `new` replaces the stored one of the same key: it is not older, or what
/// is stored comes from a clock that was wrong.
pub(crate) fn replaces(new: Timestamp, stored: Timestamp) -> bool {
    new >= stored || stored.duration_since(new) > CLOCK_TOLERANCE
}

/// Truncates a time to microseconds, which every engine can store.
pub(crate) fn whole_micros(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}
