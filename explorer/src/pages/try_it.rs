//! `/try`: a request to the real gateway, and its trace as it arrives.

mod form;
mod replay;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use maud::{Markup, html};

use super::shell::{self, Head, Section};
use crate::blocking;
use crate::gateway::{Ask, Form, Gateway};
use crate::state::ApiState;
use crate::store::TelemetryStore;
use crate::trace::Trace;

pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/try", get(page).post(send))
        .route("/try/{trace_id}", get(watch::page))
        .route(
            "/traces/{trace_id}/replay",
            post(replay::send).get(replay::page),
        )
}

const HEAD: Head<'_> = Head {
    title: "Try it",
    section: Section::Try,
    styles: &["try.css"],
    scripts: &["try.js"],
    live: false,
};

async fn page(State(gateway): State<Option<Gateway>>, RawQuery(query): RawQuery) -> Response {
    let given = Form::parse(query.unwrap_or_default().as_bytes());
    with_form(gateway.as_ref(), &given, None).await
}

async fn send(State(gateway): State<Option<Gateway>>, body: Bytes) -> Response {
    let form = Form::parse(&body);
    let Some(client) = &gateway else {
        return with_form(None, &form, None).await;
    };
    match form.ask().and_then(|ask| start(client, ask, None)) {
        Ok(trace_id) => see_other(&format!("/try/{trace_id}")),
        Err(problem) => with_form(gateway.as_ref(), &form, Some(&problem)).await,
    }
}

/// The page with its forms; `problem` says what was wrong with the one that was sent.
async fn with_form(gateway: Option<&Gateway>, given: &Form, problem: Option<&str>) -> Response {
    let forms = match gateway {
        None => no_gateway(),
        Some(gateway) => match gateway.choices().await {
            Ok(choices) => form::forms(&choices, given),
            Err(problem) => html! { p.notice.bad role="alert" { (problem) } },
        },
    };
    let content = html! {
        h1 { "Try it" }
        p.lead { "Send a request through the gateway and watch its trace arrive, span by span." }
        @if let Some(problem) = problem { p.notice.bad role="alert" { (problem) } }
        (forms)
    };
    let status = match problem {
        Some(_) => StatusCode::BAD_REQUEST,
        None => StatusCode::OK,
    };
    shell::page(&HEAD, &content)
        .with_status(status)
        .into_response()
}

fn no_gateway() -> Markup {
    html! {
        p.notice {
            "This explorer knows no gateway. " code { "throughline up" } " names its own; an explorer by itself gets one with "
            code { "--gateway http://127.0.0.1:8080" } "."
        }
    }
}

fn start(gateway: &Gateway, ask: Ask, replay_of: Option<String>) -> Result<String, String> {
    let sent = gateway.send(ask, replay_of);
    sent.map_err(|error| runtime::chain(&error))
}

/// What has arrived of a trace.
async fn stored(store: Arc<TelemetryStore>, trace_id: String) -> Option<Trace> {
    blocking::read(move || {
        let spans = store.traces.get(crate::api::trace_id(&trace_id).ok()?)?;
        Trace::from_resource_spans(spans).ok()
    })
    .await
}

fn see_other(address: &str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, address)]).into_response()
}

/// A trace that neither was sent from here nor has arrived.
fn unknown(trace_id: &str) -> Response {
    shell::failure(&crate::error::ReadError::UnknownTrace(trace_id.to_owned()))
}

type TracePath = Path<String>;
