//! `GET /api/rules`, and the same as a page: `/rules`.

mod html;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::answer::{self, Encoded};
use crate::error::ReadError;
use crate::rules::Rules;

/// The rules with their states, histories and traces.
pub(super) async fn read(State(rules): State<Arc<Rules>>) -> Result<Encoded, ReadError> {
    answer::build(move || answer::value(&rules.report())).await
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
