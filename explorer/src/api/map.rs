//! `GET /api/map`.

use std::sync::Arc;

use axum::extract::{Query, State};

use super::answer::{self, Encoded};
use super::query::{QueryResult, WindowQuery};
use crate::clock;
use crate::error::ReadError;
use crate::facts::SpanFacts;
use crate::service_map;

/// Who called whom in the last minutes.
pub(super) async fn read(
    State(facts): State<Arc<SpanFacts>>,
    query: QueryResult<WindowQuery>,
) -> Result<Encoded, ReadError> {
    let Query(query) = query?;
    let window = query.nanoseconds()?;
    answer::build(move || {
        let map = facts.read(|facts| service_map::map(facts, clock::now(), window));
        answer::value(&map)
    })
    .await
}
