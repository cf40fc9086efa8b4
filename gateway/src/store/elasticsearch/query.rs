//! Bodies and answers of the calls that read.
//!
//! The hot lookup uses structs; searches are rare, and their bodies are easier to read as JSON.

use bytes::Bytes;
use elasticsearch::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::document::{self, Document};
use super::error::{CallError, ErrorCause};
use crate::store::{Lookup, LookupPart, Page, Search, StoreError, StoredPrediction};

/// Sort values of times are texts in this format: as numbers they would lose everything below a
/// millisecond.
const TIME_FORMAT: &str = "strict_date_optional_time_nanos";

/// The body of an `_mget` for one or more lookups.
pub(super) fn lookup<'a>(lookups: impl Iterator<Item = &'a Lookup>) -> Bytes {
    #[derive(Serialize)]
    struct Ids {
        ids: Vec<String>,
    }
    let mut ids = Vec::new();
    for Lookup { model, parts } in lookups {
        for LookupPart {
            variant,
            version,
            data_ids,
        } in parts
        {
            let own = data_ids.iter();
            ids.extend(own.map(|data_id| document::id(model, variant, version, data_id)));
        }
    }
    // Serializing texts cannot fail.
    serde_json::to_vec(&Ids { ids }).unwrap_or_default().into()
}

/// What became of one id of a lookup.
pub(super) type FoundItem = Result<Option<StoredPrediction>, StoreError>;

/// Parses the answer to [`lookup`] of `count` ids: a prediction or none for each, in the same
/// order.
pub(super) fn found(count: usize, body: &[u8]) -> Result<Vec<FoundItem>, StoreError> {
    #[derive(Deserialize)]
    struct MgetAnswer<'a> {
        #[serde(borrow)]
        docs: Vec<MgetItem<'a>>,
    }
    let MgetAnswer { docs } = serde_json::from_slice(body).map_err(CallError::Unreadable)?;
    if docs.len() != count {
        return Err(StoreError::Unreadable { what: "a lookup" });
    }
    Ok(docs.into_iter().map(MgetItem::into_prediction).collect())
}

#[derive(Deserialize)]
struct MgetItem<'a> {
    #[serde(borrow, default, rename = "_source")]
    source: Option<Document<'a>>,
    #[serde(default)]
    error: Option<ErrorCause>,
}

impl MgetItem<'_> {
    fn into_prediction(self) -> FoundItem {
        match (self.source, self.error) {
            (Some(document), _) => document.try_into().map(Some),
            (None, None) => Ok(None),
            // Without an index there is no prediction; the next write creates it.
            (None, Some(cause)) if cause.kind == "index_not_found_exception" => Ok(None),
            (None, Some(cause)) => {
                Err(CallError::item(StatusCode::SERVICE_UNAVAILABLE, cause).into())
            }
        }
    }
}

/// The body of a `_search`. It asks for one prediction more than the page holds, to know whether
/// there is another page.
pub(super) fn search(search: &Search) -> Bytes {
    let term = |field: &str, value: &Option<String>| {
        let value = value.as_ref()?;
        Some(json!({ "term": { field: value } }))
    };
    let range = |field: &str, least: Value| json!({ "range": { field: { "gte": least } } });
    let filters = [
        term("model", &search.model),
        term("label", &search.label),
        term("variant", &search.variant),
        search
            .min_confidence
            .map(|least| range("confidence", json!(least))),
        search
            .since
            .map(|since| range("computed_at", json!(since.to_string()))),
    ];
    let mut body = json!({
        "size": search.limit.saturating_add(1),
        "query": { "bool": { "filter": filters.into_iter().flatten().collect::<Vec<_>>() } },
        "sort": order("desc"),
        "track_total_hits": false,
    });
    if let Some(after) = &search.after {
        let (time, key) = (after.computed_at.to_string(), &after.key);
        body["search_after"] = json!([time, key.model, key.variant, key.version, key.data_id]);
    }
    body.to_string().into()
}

/// Parses the answer to [`search`].
pub(super) fn page(limit: usize, body: &[u8]) -> Result<Page, StoreError> {
    let hits: Vec<Hit<Document<'_>>> = hits(body)?;
    let predictions = hits.into_iter().map(|hit| hit.source.try_into());
    Ok(Page::of(predictions.collect::<Result<_, _>>()?, limit))
}

/// The body of a `_search` for the version of a variant's newest prediction.
pub(super) fn latest_version(model: &str, variant: &str) -> Bytes {
    json!({
        "size": 1,
        "query": { "bool": { "filter": [{ "term": { "model": model } }, { "term": { "variant": variant } }] } },
        "sort": order("desc"),
        "track_total_hits": false,
        "_source": ["model_version"],
    })
    .to_string()
    .into()
}

/// Parses the answer to [`latest_version`].
pub(super) fn version(body: &[u8]) -> Result<Option<String>, StoreError> {
    #[derive(Deserialize)]
    struct VersionOnly {
        model_version: String,
    }
    let mut hits: Vec<Hit<VersionOnly>> = hits(body)?;
    Ok(hits.pop().map(|hit| hit.source.model_version))
}

/// A document to delete, as a search finds it.
#[derive(Debug, Deserialize)]
pub(super) struct ExpiredDocument {
    #[serde(rename = "_index")]
    pub(super) index: String,
    #[serde(rename = "_id")]
    pub(super) id: String,
    #[serde(rename = "_version")]
    pub(super) version: i64,
    /// Its position in the order of the search.
    pub(super) sort: Value,
}

/// The body of a `_search` for what was computed before a time, oldest first, after the position of
/// the last one found.
pub(super) fn expired(before: Timestamp, after: Option<&Value>, size: usize) -> Bytes {
    let mut body = json!({
        "size": size,
        "query": { "bool": { "filter": [{ "range": { "computed_at": { "lt": before.to_string() } } }] } },
        "sort": order("asc"),
        "track_total_hits": false,
        "version": true,
        "_source": false,
    });
    if let Some(after) = after {
        body["search_after"] = after.clone();
    }
    body.to_string().into()
}

/// Parses the answer to [`expired`].
pub(super) fn expired_found(body: &[u8]) -> Result<Vec<ExpiredDocument>, StoreError> {
    hits(body)
}

fn order(direction: &str) -> Value {
    json!([
        { "computed_at": { "order": direction, "format": TIME_FORMAT } },
        { "model": "asc" },
        { "variant": "asc" },
        { "model_version": "asc" },
        { "data_id": "asc" },
    ])
}

#[derive(Deserialize)]
struct Hit<S> {
    #[serde(rename = "_source")]
    source: S,
}

/// Parses the hits of a `_search`.
fn hits<'a, H: Deserialize<'a>>(body: &'a [u8]) -> Result<Vec<H>, StoreError> {
    #[derive(Deserialize)]
    struct SearchAnswer<H> {
        hits: Hits<H>,
        #[serde(default)]
        timed_out: bool,
        #[serde(default, rename = "_shards")]
        shards: Shards,
    }
    #[derive(Default, Deserialize)]
    struct Shards {
        #[serde(default)]
        failed: u64,
    }
    #[derive(Deserialize)]
    struct Hits<H> {
        hits: Vec<H>,
    }
    let answer: SearchAnswer<H> = serde_json::from_slice(body).map_err(CallError::Unreadable)?;
    if answer.timed_out || answer.shards.failed > 0 {
        // The hits are only a part of what is stored, and nobody could tell.
        return Err(StoreError::Unreadable {
            what: "a search that not every shard answered",
        });
    }
    Ok(answer.hits.hits)
}
