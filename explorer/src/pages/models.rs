//! `/models` and `/models/{name}`.

mod inputs;
mod training;
mod variants;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};

use super::chart::{Unit, number};
use super::map::numbers;
use super::shell::{self, Head, Section};
use super::{PageQuery, build, window};
use crate::api::WindowQuery;
use crate::error::ReadError;
use crate::facts::SpanFacts;
use crate::models::{Look, ModelReport, ModelSummary};
use crate::state::ApiState;
use crate::store::TelemetryStore;

pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/models", get(list))
        .route("/models/{name}", get(one))
}

async fn list(
    State(store): State<Arc<TelemetryStore>>,
    State(facts): State<Arc<SpanFacts>>,
    query: PageQuery<WindowQuery>,
) -> Response {
    build(move || {
        let Query(query) = query.map_err(ReadError::from)?;
        let (minutes, window) = (query.minutes()?, query.nanoseconds()?);
        let models = facts.read(|facts| Look::now(facts, &store.metrics, window).list());
        let content = html! {
            div.heading { h1 { "Models" } (window::choice(minutes)) }
            div #models data-live { (table(&models)) }
        };
        Ok(shell::page(&head("Models"), &content))
    })
    .await
}

async fn one(
    State(store): State<Arc<TelemetryStore>>,
    State(facts): State<Arc<SpanFacts>>,
    Path(name): Path<String>,
    query: PageQuery<WindowQuery>,
) -> Response {
    build(move || {
        let Query(query) = query.map_err(ReadError::from)?;
        let (minutes, window) = (query.minutes()?, query.nanoseconds()?);
        let model = facts.read(|facts| Look::now(facts, &store.metrics, window).one(&name));
        let model = model.ok_or(ReadError::UnknownModel(name))?;
        let content = html! {
            p.back { a href="/models" { "← All models" } }
            div.heading { h1 { (model.name) } (window::choice(minutes)) }
            div #model data-live { (report(&model, minutes)) }
        };
        Ok(shell::page(&head(&model.name), &content))
    })
    .await
}

fn head(title: &str) -> Head<'_> {
    Head {
        title,
        section: Section::Models,
        styles: &["overview.css"],
        scripts: &[],
        live: true,
    }
}

fn table(models: &[ModelSummary]) -> Markup {
    if models.is_empty() {
        return html! {
            p.notice { "No model yet. A prediction or a training shows one: " code { "throughline sample" } " or " code { "throughline train" } "." }
        };
    }
    html! {
        div.scroll.surface tabindex="0" role="region" aria-label="Models" { table.plain {
            caption.hidden { "Models by name" }
            thead { tr {
                th scope="col" { "Model" } th scope="col" { "Variants" } th scope="col" { "Versions" }
                th scope="col" .num { "Validation accuracy" } th scope="col" { "Inputs" }
                th scope="col" .num { "Calls" } th scope="col" .num { "Rate" } th scope="col" .num { "Errors" }
                th scope="col" .num { "p50" } th scope="col" .num { "p95" }
            } }
            tbody { @for model in models { tr {
                td { a href=(address(&model.name)) { strong { (model.name) } } }
                td { (model.variants.join(", ")) }
                td { (model.versions.join(", ")) }
                td.num { (share(model.validation_accuracy)) }
                td { @if model.drifting > 0 { span.partial { "⚠ " (model.drifting) " drift" } } @else { "–" } }
                (numbers(&model.numbers))
            } } }
        } }
    }
}

fn report(model: &ModelReport, minutes: u64) -> Markup {
    html! {
        p.facts { span { "Calls of " (window::seen(minutes, model.seen_seconds)) "; trainings and versions are all that were received." } }
        nav.jump aria-label="On this page" {
            a href="#variants" { "Variants" } a href="#versions" { "Versions" }
            a href="#training" { "Training" } a href="#inputs" { "Inputs" }
        }
        (variants::section(model))
        (training::versions(model))
        (training::section(model))
        (inputs::section(model))
    }
}

/// The page of a model, whatever its name is.
pub(super) fn address(name: &str) -> String {
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    // A path has no plus for a space.
    format!("/models/{}", name.replace('+', "%20"))
}

fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| number(value, Unit::Share))
}
