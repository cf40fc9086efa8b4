//! `GET /api/models` and `GET /api/models/{name}`.

use std::sync::Arc;

use axum::extract::{Path, Query, State};

use super::answer::{self, Encoded};
use super::query::{QueryResult, WindowQuery};
use crate::error::ReadError;
use crate::facts::SpanFacts;
use crate::models::Look;
use crate::store::TelemetryStore;

/// All models of which predictions or trainings were received.
pub(super) async fn list(
    State(store): State<Arc<TelemetryStore>>,
    State(facts): State<Arc<SpanFacts>>,
    query: QueryResult<WindowQuery>,
) -> Result<Encoded, ReadError> {
    let Query(query) = query?;
    let window = query.nanoseconds()?;
    answer::build(move || {
        let models = facts.read(|facts| Look::now(facts, &store.metrics, window).list());
        answer::list("models", models.into_iter())
    })
    .await
}

/// One of them.
pub(super) async fn one(
    State(store): State<Arc<TelemetryStore>>,
    State(facts): State<Arc<SpanFacts>>,
    Path(name): Path<String>,
    query: QueryResult<WindowQuery>,
) -> Result<Encoded, ReadError> {
    let Query(query) = query?;
    let window = query.nanoseconds()?;
    answer::build(move || {
        let model = facts.read(|facts| Look::now(facts, &store.metrics, window).one(&name));
        answer::value(&model.ok_or(ReadError::UnknownModel(name))?)
    })
    .await
}
