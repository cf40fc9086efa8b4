//! `/`: the traces, newest first.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};

use super::format;
use super::hue::hue;
use super::shell::{self, Head, Section};
use super::{PageQuery, build};
use crate::api::{ApiState, TraceSummary, TracesQuery};
use crate::error::ReadError;
use crate::store::TelemetryStore;
use crate::store::traces::ListedTrace;

pub(super) fn routes() -> Router<ApiState> {
    Router::new().route("/", get(page))
}

async fn page(State(store): State<Arc<TelemetryStore>>, query: PageQuery<TracesQuery>) -> Response {
    build(move || {
        let Query(query) = query.map_err(ReadError::from)?;
        let filter = query.filter()?;
        let listed = store.traces.list(&filter);
        let head = Head {
            title: "Traces",
            section: Section::Traces,
            styles: &[],
            scripts: &[],
            live: true,
        };
        let content = html! {
            h1 { "Traces" }
            div #list data-live { (table(&listed)) }
        };
        Ok(shell::page(&head, &content))
    })
    .await
}

fn table(listed: &[ListedTrace]) -> Markup {
    if listed.is_empty() {
        return html! {
            p.notice { "No trace yet. Whatever sends OTLP/HTTP to this explorer shows here; " code { "throughline sample" } " sends one." }
        };
    }
    let longest = listed.iter().map(|trace| trace.end - trace.start).max();
    html! {
        table.traces {
            caption.hidden { "Traces, newest first" }
            thead { tr {
                th scope="col" { "Started" }
                th scope="col" { "Request" }
                th scope="col" .num { "Duration" }
                th scope="col" .num { "Spans" }
                th scope="col" { "Services" }
                th scope="col" { "State" }
            } }
            tbody {
                @for trace in listed { (row(trace, longest.unwrap_or_default().max(1))) }
            }
        }
    }
}

fn row(trace: &ListedTrace, longest: u64) -> Markup {
    let duration = trace.end - trace.start;
    let part = format::percent(duration as f64 / longest as f64);
    let summary = TraceSummary::from(trace.clone());
    let name = if summary.root_name.is_empty() {
        "(no name)"
    } else {
        &summary.root_name
    };
    html! {
        tr {
            td.when { (format::time(trace.start)) }
            td { div.request {
                a href=(format!("/traces/{}", summary.trace_id)) data-key=(summary.trace_id) { (name) }
                span.from { (summary.root_service) }
            } }
            td.num {
                (format::duration(duration))
                svg.meter aria-hidden="true" { rect width=(part) height="3" {} }
            }
            td.num { (trace.spans) }
            td { span.chips { @for (service, spans) in &trace.services {
                span.chip.(hue(service)) { (service) b { (spans) } }
            } } }
            td.state {
                @if trace.errors > 0 { span.bad { "✗ error" } " " }
                @if !trace.complete { span.partial { "⚠ incomplete" } }
                @else if trace.errors == 0 { "ok" }
            }
        }
    }
}
