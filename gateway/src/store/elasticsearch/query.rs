//! What is asked of an index, and what it answers, but for writes.
//!
//! The hot lookup is read and written by structs; a search is rare, and its body is plain to read as JSON.

use bytes::Bytes;
use elasticsearch::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::document::{self, Fields, Whole};
use super::failure::{Cause, Failure};
use crate::store::{Key, Lookup, LookupPart, Page, Position, Search, StoreError, StoredPrediction};

/// Times in sort values are texts of this form; as numbers they would lose what is below a millisecond.
const TIME_FORMAT: &str = "strict_date_optional_time_nanos";

/// The body of an `_mget`.
pub(super) fn lookup(lookup: &Lookup) -> Bytes {
    #[derive(Serialize)]
    struct Ids {
        ids: Vec<String>,
    }
    let part = |part: &LookupPart| {
        let LookupPart {
            variant,
            version,
            data_ids,
        } = part.clone();
        let model = lookup.model.clone();
        data_ids
            .into_iter()
            .map(move |data_id| document::id(&model, &variant, &version, &data_id))
    };
    let ids = lookup.parts.iter().flat_map(part).collect();
    // Texts can always be written.
    serde_json::to_vec(&Ids { ids }).unwrap_or_default().into()
}

/// Reads the answer to [`lookup`]: a prediction or none for each id, in the order asked.
pub(super) fn found(
    lookup: Lookup,
    body: &[u8],
) -> Result<Vec<Option<StoredPrediction>>, StoreError> {
    #[derive(Deserialize)]
    struct Found<'a> {
        #[serde(borrow)]
        docs: Vec<Doc<'a>>,
    }
    #[derive(Deserialize)]
    struct Doc<'a> {
        #[serde(borrow, default, rename = "_source")]
        source: Option<Fields<'a>>,
        #[serde(default)]
        error: Option<Cause>,
    }
    let Found { docs } = serde_json::from_slice(body).map_err(Failure::Unreadable)?;
    if docs.len() != lookup.len() {
        return Err(StoreError::Unreadable { what: "a lookup" });
    }
    let read = |(key, Doc { source, error }): (Key, Doc<'_>)| match (source, error) {
        (Some(fields), _) => fields.with_key(key).map(Some),
        (None, None) => Ok(None),
        // Where there is no index, there is no prediction; the next write makes it.
        (None, Some(cause)) if cause.kind == "index_not_found_exception" => Ok(None),
        (None, Some(cause)) => Err(Failure::item(StatusCode::SERVICE_UNAVAILABLE, cause).into()),
    };
    lookup.into_keys().zip(docs).map(read).collect()
}

/// The body of a `_search`: newest first, then by key. It asks for one more than the page, to know whether there is another.
pub(super) fn search(search: &Search) -> Bytes {
    let Search {
        model,
        label,
        variant,
        min_confidence,
        since,
        after,
        limit,
    } = search;
    let term = |field: &str, value: &Option<String>| {
        value
            .as_ref()
            .map(|value| json!({ "term": { field: value } }))
    };
    let range = |field: &str, least: Value| json!({ "range": { field: { "gte": least } } });
    let filters: Vec<Value> = [
        term("model", model),
        term("label", label),
        term("variant", variant),
        min_confidence.map(|least| range("confidence", json!(least))),
        since.map(|since| range("computed_at", json!(since.to_string()))),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut body = json!({
        "size": limit.saturating_add(1),
        "query": { "bool": { "filter": filters } },
        "sort": order("desc"),
        "track_total_hits": false,
    });
    if let Some(Position {
        computed_at,
        key:
            Key {
                model,
                variant,
                version,
                data_id,
            },
    }) = after
    {
        body["search_after"] = json!([computed_at.to_string(), model, variant, version, data_id]);
    }
    body.to_string().into()
}

/// Reads the answer to [`search`].
pub(super) fn page(limit: usize, body: &[u8]) -> Result<Page, StoreError> {
    #[derive(Deserialize)]
    struct Hit<'a> {
        #[serde(borrow, rename = "_source")]
        source: Whole<'a>,
    }
    let hits: Vec<Hit<'_>> = hits(body)?;
    let more = hits.len() > limit;
    let predictions = hits
        .into_iter()
        .take(limit)
        .map(|hit| hit.source.into_prediction());
    let predictions = predictions.collect::<Result<Vec<_>, _>>()?;
    let next = predictions
        .last()
        .filter(|_| more)
        .map(StoredPrediction::position);
    Ok(Page { predictions, next })
}

/// The body of a `_search` for the version of the newest prediction of a variant.
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

/// Reads the answer to [`latest_version`].
pub(super) fn version(body: &[u8]) -> Result<Option<String>, StoreError> {
    #[derive(Deserialize)]
    struct Hit {
        #[serde(rename = "_source")]
        source: Version,
    }
    #[derive(Deserialize)]
    struct Version {
        model_version: String,
    }
    Ok(hits::<Hit>(body)?
        .into_iter()
        .next()
        .map(|hit| hit.source.model_version))
}

/// A document that is too old, as a search finds it.
#[derive(Debug, Deserialize)]
pub(super) struct Old {
    #[serde(rename = "_index")]
    pub(super) index: String,
    #[serde(rename = "_id")]
    pub(super) id: String,
    #[serde(rename = "_version")]
    pub(super) version: i64,
    pub(super) sort: Value,
}

/// The body of a `_search` for what was computed before a time, oldest first, after the place of the last one found.
pub(super) fn older(before: Timestamp, after: Option<&Value>, size: usize) -> Bytes {
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

/// Reads the answer to [`older`].
pub(super) fn old(body: &[u8]) -> Result<Vec<Old>, StoreError> {
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

fn hits<'a, H: Deserialize<'a>>(body: &'a [u8]) -> Result<Vec<H>, StoreError> {
    #[derive(Deserialize)]
    struct Found<H> {
        hits: Hits<H>,
    }
    #[derive(Deserialize)]
    struct Hits<H> {
        hits: Vec<H>,
    }
    let found: Found<H> = serde_json::from_slice(body).map_err(Failure::Unreadable)?;
    Ok(found.hits.hits)
}
