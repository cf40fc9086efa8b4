//! Writes that a stored document refuses although it must give way.
//!
//! A refused write says only that the version of the document is higher. Either a newer computation
//! is stored, or a gateway whose clock was ahead wrote it. The second is replaced, on the condition
//! that nobody has written it since it was read. Its version goes on from the wrong time, because
//! Elasticsearch gives none back, so each later write of this key takes this way until the clock has
//! caught up.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::wire::{ItemOutcome, Seen, items, replacements};
use super::{BulkWriter, ItemResult};
use crate::store::elasticsearch::document;
use crate::store::elasticsearch::error::CallError;
use crate::store::{StoreError, StoredPrediction, Written, replaces};

/// Reads of the documents only when they were computed.
pub(super) const MGET: &str = "_mget?_source_includes=computed_at";

impl BulkWriter {
    /// Replaces what refused a write and comes from a clock that was wrong. If it cannot be read,
    /// the write stays refused.
    pub(super) async fn replace_wrong(
        &self,
        predictions: &[&StoredPrediction],
        results: &mut [ItemResult],
        deadline: Instant,
    ) {
        let superseded = |at: &usize| matches!(results[*at], Ok(Written::Superseded));
        let refused: Vec<usize> = (0..results.len()).filter(superseded).collect();
        if refused.is_empty() {
            return;
        }
        let body = lookup(refused.iter().map(|at| predictions[*at]));
        let parse = |answer: &[u8]| found(refused.len(), answer);
        let read = self.cluster.call(&self.versions, body, deadline, parse);
        let Ok(stored) = read.await else { return };
        let wrong: Vec<(usize, Seen)> = std::iter::zip(refused, stored)
            .filter_map(|(at, stored)| Some((at, stored?.to_replace(predictions[at].computed_at)?)))
            .collect();
        if wrong.is_empty() {
            return;
        }
        let pairs: Vec<_> = wrong
            .iter()
            .map(|(at, seen)| (predictions[*at], *seen))
            .collect();
        let parse = |answer: &[u8]| items(wrong.len(), answer);
        let body = replacements(&pairs);
        match self
            .cluster
            .call(&self.endpoint, body, deadline, parse)
            .await
        {
            Ok(outcomes) => {
                for ((at, _), outcome) in wrong.iter().zip(outcomes) {
                    results[*at] = match outcome {
                        ItemOutcome::Done => Ok(Written::Stored),
                        ItemOutcome::Needless => Ok(Written::Superseded),
                        ItemOutcome::Failed(error) => Err(error.into()),
                    };
                }
            }
            Err(error) => {
                for (at, _) in wrong {
                    results[at] = Err(error.clone());
                }
            }
        }
    }
}

/// What is stored, as far as it decides about a write.
#[derive(Deserialize)]
struct Stored {
    #[serde(rename = "_seq_no")]
    seq_no: i64,
    #[serde(rename = "_primary_term")]
    primary_term: i64,
    #[serde(rename = "_source")]
    source: ComputedAt,
}

#[derive(Deserialize)]
struct ComputedAt {
    computed_at: String,
}

impl Stored {
    /// The condition under which a computation at `new` replaces it, if it does.
    fn to_replace(&self, new: Timestamp) -> Option<Seen> {
        let stored = self.source.computed_at.parse().ok()?;
        replaces(new, stored).then_some(Seen {
            seq_no: self.seq_no,
            primary_term: self.primary_term,
        })
    }
}

fn lookup<'a>(predictions: impl Iterator<Item = &'a StoredPrediction>) -> Bytes {
    #[derive(Serialize)]
    struct Ids {
        ids: Vec<String>,
    }
    let ids = predictions.map(|prediction| {
        let key = &prediction.key;
        document::id(&key.model, &key.variant, &key.version, &key.data_id)
    });
    // Serializing texts cannot fail.
    serde_json::to_vec(&Ids { ids: ids.collect() })
        .unwrap_or_default()
        .into()
}

/// `None` for a document that was deleted in the meantime.
fn found(count: usize, body: &[u8]) -> Result<Vec<Option<Stored>>, StoreError> {
    #[derive(Deserialize)]
    struct Answer {
        docs: Vec<serde_json::Value>,
    }
    let Answer { docs } = serde_json::from_slice(body).map_err(CallError::Unreadable)?;
    if docs.len() != count {
        return Err(StoreError::Unreadable { what: "a lookup" });
    }
    let stored = docs.into_iter().map(|doc| serde_json::from_value(doc).ok());
    Ok(stored.collect())
}
