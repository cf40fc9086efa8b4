//! `/traces/{trace_id}` and `/traces/{trace_id}/{span_id}`: one trace, and one span of it.

mod attributes;
mod copy;
mod details;
mod flame;
mod heading;
mod keys;
mod links;
mod logs;
mod names;
mod view;
mod waterfall;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};

use super::build;
use super::shell::{self, Head, Section};
use crate::api::{self};
use crate::error::ReadError;
use crate::state::ApiState;
use crate::store::TelemetryStore;
use view::View;

pub(super) use attributes::{Budget, value_text, within};
pub(super) use view::{Arrival, span_address};

pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/traces/{trace_id}", get(whole))
        .route("/traces/{trace_id}/{span_id}", get(one_span))
}

async fn whole(State(store): State<Arc<TelemetryStore>>, Path(trace_id): Path<String>) -> Response {
    page(store, trace_id, None).await
}

async fn one_span(
    State(store): State<Arc<TelemetryStore>>,
    Path((trace_id, span_id)): Path<(String, String)>,
) -> Response {
    page(store, trace_id, Some(span_id)).await
}

async fn page(store: Arc<TelemetryStore>, trace_id: String, span_id: Option<String>) -> Response {
    build(move || {
        let id = api::trace_id(&trace_id)?;
        let unknown = || ReadError::UnknownTrace(hex::encode(id));
        let view = View::read(&store, id, span_id.as_deref()).ok_or_else(unknown)?;
        let title = view.title();
        let head = Head {
            title: &title,
            section: Section::Traces,
            styles: &["trace.css"],
            scripts: &["trace.js"],
            live: true,
        };
        Ok(shell::page(&head, &content(&view, span_id.as_deref())))
    })
    .await
}

fn content(view: &View, asked: Option<&str>) -> Markup {
    html! {
        p.back { a href="/" { "← All traces" } (keys::button()) }
        h1 { (view.title()) }
        div #trace data-live data-whole=(format!("/traces/{}", view.trace.trace_id)) data-path=(view.path_ids()) {
            (heading::facts(view))
            @if let Some(asked) = asked && view.chosen_is_not(asked) {
                p.notice.partial role="status" {
                    "⚠ The trace has no span " code { (within(asked, 40)) } "; it may not have arrived yet."
                }
            }
            div.panes {
                div {
                    div.pane {
                        (waterfall::table(view))
                        (logs::list(view))
                    }
                    (flame::section(view))
                }
                div.side {
                    (details::aside(view))
                    (names::section(view))
                    (heading::path(view))
                }
            }
        }
        (keys::dialog())
    }
}
