//! `GET /v1/predictions`: what is stored, newest first, page by page.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use jiff::Timestamp;
use telemetry::attr;

use crate::api::{Prediction, Problem, SearchParameters, SearchResponse};
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
/// Newest first, of all versions; what is too old to be answered is not found. `next_cursor` leads to the next page, which
/// does not repeat or skip anything because of predictions stored in between.
#[utoipa::path(
    get,
    path = "/v1/predictions",
    tag = "predictions",
    params(SearchParameters),
    responses(
        (status = 200, description = "A page of predictions", body = SearchResponse),
        (status = 405, description = "The path does not take this method", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is unknown or out of its range", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests in flight; see Retry-After", body = Problem, content_type = "application/problem+json"),
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
    let SearchParameters {
        model,
        label,
        variant,
        min_confidence,
        since,
        limit,
        cursor,
    } = parameters;
    let wrong = |text: &str| ApiError::Invalid(text.to_owned());
    // A form sends the fields that were left empty, too.
    let given = |value: Option<String>| value.filter(|value| !value.is_empty());
    let min_confidence = given(min_confidence).map(|text| {
        text.parse()
            .ok()
            .filter(|least| (0.0..=1.0).contains(least))
    });
    let since = given(since).map(|text| text.parse::<Timestamp>());
    let limit = given(limit).map(|text| {
        text.parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
    });
    let after = given(cursor).map(|text| read_cursor(&text));
    Ok(Search {
        model: given(model),
        label: given(label),
        variant: given(variant),
        min_confidence: min_confidence
            .map(|least| least.ok_or_else(|| wrong("min_confidence must be 0 to 1")))
            .transpose()?,
        since: since
            .transpose()
            .map_err(|_| wrong("since must be a time such as 2026-01-31T12:00:00Z"))?,
        after: after
            .map(|after| after.ok_or_else(|| wrong("cursor is not one that a search gave")))
            .transpose()?,
        limit: limit
            .unwrap_or(Some(DEFAULT_LIMIT))
            .ok_or_else(|| wrong("limit must be 1 to 1000"))?,
    })
}

/// A cursor is a place in the order; hex keeps it one word in a URL, and clients from building their own.
fn write_cursor(position: &Position) -> String {
    let Position {
        computed_at,
        key:
            Key {
                model,
                variant,
                version,
                data_id,
            },
    } = position;
    let text = serde_json::to_vec(&(
        computed_at.as_microsecond(),
        model,
        variant,
        version,
        data_id,
    ))
    .unwrap_or_default();
    text.iter()
        .fold(String::with_capacity(text.len() * 2), |mut hex, byte| {
            hex.extend(
                [byte >> 4, byte & 15]
                    .map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or('0')),
            );
            hex
        })
}

fn read_cursor(text: &str) -> Option<Position> {
    let digits = text
        .chars()
        .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
        .collect::<Option<Vec<u8>>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    let (computed_at, model, variant, version, data_id) = serde_json::from_slice(&bytes).ok()?;
    let key = Key {
        model,
        variant,
        version,
        data_id,
    };
    Some(Position {
        computed_at: Timestamp::from_microsecond(computed_at).ok()?,
        key,
    })
}
