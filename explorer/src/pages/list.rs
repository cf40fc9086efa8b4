//! `/`: the traces that a filter chooses, as dots over time and as a table, and what is different
//! about some of them.

mod difference;
mod dots;
mod form;
mod table;

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};

use super::shell::{self, Head, Section};
use super::{build, format};
use crate::api::{self};
use crate::difference::Selection;
use crate::filter::{self, Filter, Parameters};
use crate::state::ApiState;
use crate::store::TelemetryStore;
use crate::store::traces::{ListedTrace, TraceOutline};

/// Characters of a foreign text in the list; names of spans may have as many as a body allows.
const MAX_TEXT: usize = 120;

/// What the parts of the page are drawn from.
struct View<'a> {
    parameters: &'a Parameters,
    filter: &'a Filter,
    selection: Option<&'a Selection>,
    matching: &'a [TraceOutline],
    /// The first of them, as many as the limit allows.
    listed: &'a [ListedTrace],
}

pub(super) fn routes() -> Router<ApiState> {
    Router::new().route("/", get(page))
}

async fn page(State(store): State<Arc<TelemetryStore>>, RawQuery(query): RawQuery) -> Response {
    build(move || {
        let parameters = Parameters::parse(query.as_deref().unwrap_or_default());
        let head = Head {
            title: "Traces",
            section: Section::Traces,
            styles: &["list.css"],
            scripts: &["list.js"],
            live: true,
        };
        let now = api::now();
        let read = parameters
            .filter(now)
            .and_then(|filter| Ok((filter, Selection::parse(&parameters, now)?)));
        let content = match &read {
            Err(wrong) => html! {
                (form::draw(&parameters, &[]))
                p.notice.bad role="alert" { "The filter cannot be used: " (cut(wrong)) ". Change it, or " a href="/" { "show all traces" } "." }
            },
            Ok((filter, selection)) => content(&store, &parameters, filter, selection.as_ref()),
        };
        Ok(shell::page(&head, &html! { h1 { "Traces" } (content) }))
    })
    .await
}

fn content(
    store: &TelemetryStore,
    parameters: &Parameters,
    filter: &Filter,
    selection: Option<&Selection>,
) -> Markup {
    let matching = filter::matching(&store.traces, filter, usize::MAX);
    let shown = matching.iter().take(filter.limit).map(|trace| trace.id);
    let listed = store.traces.listed(shown);
    let view = View {
        parameters,
        filter,
        selection,
        matching: &matching,
        listed: &listed,
    };
    html! {
        (form::draw(parameters, &listed))
        div #list data-live {
            (facts(&view))
            @if !matching.is_empty() { (dots::draw(&view)) (difference::choices(&view)) }
            @if let Some(selection) = selection { (difference::draw(store, &view, selection)) }
            (table::draw(&view))
        }
    }
}

fn facts(view: &View<'_>) -> Markup {
    let failed = view.matching.iter().filter(|trace| trace.failed).count();
    html! {
        p.facts {
            strong { (format::count(view.matching.len(), "trace")) }
            span { (format::grouped(failed)) " failed" }
            @if view.listed.len() < view.matching.len() {
                span {
                    "the first " (format::grouped(view.listed.len())) " are in the table"
                    @if view.filter.limit < 1_000 {
                        "; " a href=(address(view.parameters, &[("limit", Some("1000"))])) { "show up to 1,000" }
                    }
                }
            }
        }
    }
}

/// The page with some parameters changed.
fn address(parameters: &Parameters, changes: &[(&str, Option<&str>)]) -> String {
    format!("/?{}", parameters.with(changes))
}

/// The beginning of a foreign text.
fn cut(text: &str) -> String {
    format::cut(text, MAX_TEXT)
}
