//! `GET /api/rules`, and the same as a page: `/rules`.

mod html;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use serde_json::json;

use super::answer::{self, Encoded};
use crate::error::ReadError;
use crate::rules::{Rules, RulesReport};

/// The rules with their states, histories and traces.
pub(super) async fn read(State(rules): State<Arc<Rules>>) -> Result<Encoded, ReadError> {
    answer::build(move || {
        let RulesReport {
            evaluated,
            missed,
            webhook,
            rules,
        } = rules.report();
        let facts = json!({ "evaluated": evaluated, "missed": missed, "webhook": webhook });
        let facts = facts.to_string();
        let fields = facts
            .strip_prefix('{')
            .and_then(|fields| fields.strip_suffix('}'));
        let first = format!("{},", fields.unwrap_or_default());
        answer::list_beside(first.as_bytes(), "rules", rules.iter())
    })
    .await
}

/// The same for people, without a script.
pub(super) async fn page(State(rules): State<Arc<Rules>>) -> Result<Response, ReadError> {
    let Encoded(html) = answer::build(move || {
        let html = html::page(&rules.report());
        Ok(Encoded(html.into()))
    })
    .await?;
    Ok(([(CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response())
}
