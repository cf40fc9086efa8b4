//! `/traces/{trace_id}`: one trace as a waterfall.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};

use super::build;
use super::format;
use super::hue::hue;
use super::shell::{self, Head, Section};
use crate::api::{self, ApiState};
use crate::error::ReadError;
use crate::store::TelemetryStore;
use crate::trace::{SpanData, Trace};

pub(super) fn routes() -> Router<ApiState> {
    Router::new().route("/traces/{trace_id}", get(page))
}

async fn page(State(store): State<Arc<TelemetryStore>>, Path(trace_id): Path<String>) -> Response {
    build(move || {
        let id = api::trace_id(&trace_id)?;
        let unknown = || ReadError::UnknownTrace(hex::encode(id));
        let spans = store.traces.get(id).ok_or_else(unknown)?;
        let trace = Trace::from_resource_spans(spans).map_err(|_| unknown())?;
        let name = trace.spans.first().map_or("(no name)", |span| &span.name);
        let head = Head {
            title: name,
            section: Section::Traces,
            styles: &[],
            scripts: &[],
            live: true,
        };
        let content = html! {
            p.back { a href="/" { "← All traces" } }
            h1 { (name) }
            div #trace data-live {
                p.facts {
                    code { (trace.trace_id) }
                    strong { (format::duration(trace.duration())) }
                    span { (format::count(trace.spans.len(), "span")) }
                }
                (waterfall(&trace))
            }
        };
        Ok(shell::page(&head, &content))
    })
    .await
}

fn waterfall(trace: &Trace) -> Markup {
    html! {
        div.pane { table.waterfall {
            caption.hidden { "Spans of the trace as a waterfall" }
            thead { tr {
                th scope="col" { "Span" }
                th scope="col" { "Service" }
                th scope="col" .time { "Time" }
                th scope="col" .num { "Duration" }
            } }
            tbody { @for span in &trace.spans { (row(trace, span)) } }
        } }
    }
}

fn row(trace: &Trace, span: &SpanData) -> Markup {
    let whole = trace.duration().max(1) as f64;
    let from = format::percent((span.start - trace.start()) as f64 / whole);
    let part = format::percent(span.duration() as f64 / whole);
    html! {
        tr.failed[span.is_error()] {
            td { span.span {
                svg width=(span.depth * 16) height="1" aria-hidden="true" {}
                span.dot.(hue(&span.service)) {}
                (span.name)
                @if span.is_error() { span.mark.bad { "✗ error" } }
            } }
            td.service { (span.service) }
            td { svg.lane.(hue(&span.service)) aria-hidden="true" {
                rect.bar x=(from) width=(part) y="3" height="11" rx="2" {}
            } }
            td.num { (format::duration(span.duration())) }
        }
    }
}
