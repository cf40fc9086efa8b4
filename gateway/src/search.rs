//! `GET /v1/predictions`: the stored predictions, newest first, page by page.

use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use jiff::Timestamp;
use telemetry::attr;

use crate::api::{Prediction, Problem, Refused, SearchParameters, SearchResponse};
use crate::error::ApiError;
use crate::freshness::Lifetime;
use crate::predictions::json;
use crate::store::watched::WatchedStore;
use crate::store::{Key, Position, Search};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

/// What a search needs.
#[derive(Clone)]
pub(crate) struct Searcher {
    pub(crate) store: WatchedStore,
    pub(crate) lifetime: Lifetime,
}

/// Stored predictions
///
/// Newest first, of all versions, without expired ones. `next_cursor` leads to the next page.
/// Predictions that are stored between two pages make the next one neither repeat nor skip
/// anything.
#[utoipa::path(
    get,
    path = "/v1/predictions",
    tag = "predictions",
    params(SearchParameters),
    responses(
        (status = 200, description = "A page of predictions", body = SearchResponse),
        Refused,
        (status = 422, description = "A parameter is unknown or out of its range", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The prediction store is unavailable; see Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "Too slow", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn search(
    State(Searcher { store, lifetime }): State<Searcher>,
    parameters: Result<Query<SearchParameters>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(parameters) =
        parameters.map_err(|rejection| ApiError::Invalid(rejection.body_text()))?;
    let mut search = read(parameters)?;
    search.since = search.since.max(lifetime.oldest());
    if let Some(model) = &search.model {
        telemetry::current().set(attr::ML_MODEL_NAME, model.clone());
    }
    let page = store.search(search).await.map_err(ApiError::Store)?;
    let predictions = page
        .predictions
        .into_iter()
        .map(|stored| Prediction::new(stored, true))
        .collect();
    Ok(json(&SearchResponse {
        predictions,
        next_cursor: page.next.map(|next| write_cursor(&next)),
    }))
}

fn read(parameters: SearchParameters) -> Result<Search, ApiError> {
    Ok(Search {
        model: given(parameters.model),
        label: given(parameters.label),
        variant: given(parameters.variant),
        min_confidence: parse(
            parameters.min_confidence,
            "min_confidence must be 0 to 1",
            |text| within(text, 0.0..=1.0),
        )?,
        since: parse(
            parameters.since,
            "since must be a time such as 2026-01-31T12:00:00Z",
            |text| text.parse().ok(),
        )?,
        after: parse(
            parameters.cursor,
            "cursor is not one that a search returned",
            read_cursor,
        )?,
        limit: parse(parameters.limit, "limit must be 1 to 1000", |text| {
            within(text, 1..=MAX_LIMIT)
        })?
        .unwrap_or(DEFAULT_LIMIT),
    })
}

/// A parameter that is not empty: an HTML form also sends the fields that were not filled in.
fn given(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.is_empty())
}

fn parse<T>(
    value: Option<String>,
    wrong: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, ApiError> {
    let Some(text) = given(value) else {
        return Ok(None);
    };
    match parse(&text) {
        Some(value) => Ok(Some(value)),
        None => Err(ApiError::Invalid(wrong.to_owned())),
    }
}

fn within<T: FromStr + PartialOrd>(text: &str, range: RangeInclusive<T>) -> Option<T> {
    text.parse().ok().filter(|value| range.contains(value))
}

/// A cursor is a position. As hex it is one word in a URL, and clients are not tempted to build
/// their own.
fn write_cursor(Position { computed_at, key }: &Position) -> String {
    let text = serde_json::to_vec(&(
        computed_at.as_microsecond(),
        &key.model,
        &key.variant,
        &key.version,
        &key.data_id,
    ));
    hex::encode(text.unwrap_or_default())
}

fn read_cursor(text: &str) -> Option<Position> {
    let text = hex::decode(text).ok()?;
    let (computed_at, model, variant, version, data_id) = serde_json::from_slice(&text).ok()?;
    Some(Position {
        computed_at: Timestamp::from_microsecond(computed_at).ok()?,
        key: Key {
            model,
            variant,
            version,
            data_id,
        },
    })
}
