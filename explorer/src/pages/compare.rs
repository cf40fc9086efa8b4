//! `/compare?a=…&b=…`: two traces side by side.

mod table;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};
use serde::Deserialize;

use super::shell::{self, Head, Section};
use super::trace::{Arrival, within};
use super::{PageQuery, build, format};
use crate::api::{self};
use crate::comparison::{Change, Comparison, compare};
use crate::error::ReadError;
use crate::remarks::remarks;
use crate::self_time::self_times;
use crate::state::ApiState;
use crate::store::TelemetryStore;
use crate::trace::Trace;

pub(super) fn routes() -> Router<ApiState> {
    Router::new().route("/compare", get(page))
}

#[derive(Debug, Deserialize)]
struct CompareQuery {
    #[serde(default)]
    a: String,
    #[serde(default)]
    b: String,
}

/// One of the two traces.
struct Side {
    name: &'static str,
    trace: Trace,
    arrival: Arrival,
    /// Nanoseconds of each span without its children.
    own_time: Vec<u64>,
}

/// Both, aligned.
struct Pair {
    a: Side,
    b: Side,
    rows: Comparison,
}

async fn page(
    State(store): State<Arc<TelemetryStore>>,
    query: PageQuery<CompareQuery>,
) -> Response {
    build(move || {
        let Query(query) = query.map_err(ReadError::from)?;
        let pair = match (query.a.trim(), query.b.trim()) {
            ("", _) | (_, "") => None,
            (a, b) => Some(Pair::of(Side::read(&store, "A", a)?, Side::read(&store, "B", b)?)),
        };
        let head = Head {
            title: "Comparison",
            section: Section::Traces,
            styles: &["trace.css", "compare.css"],
            scripts: &[],
            live: pair.is_some(),
        };
        let content = html! {
            p.back { a href="/" { "← All traces" } }
            h1 { "Two traces side by side" }
            (form(&query))
            div #comparison data-live { @match &pair {
                Some(pair) => (pair.shown()),
                None => p.notice { "Give two trace ids: 32 hex digits each, from the list of traces or from " code { "throughline traces" } "." },
            } }
        };
        Ok(shell::page(&head, &content))
    })
    .await
}

fn form(query: &CompareQuery) -> Markup {
    html! {
        form.filters.compare method="get" action="/compare" {
            @for (name, label, value) in [("a", "Trace A", &query.a), ("b", "Trace B", &query.b)] {
                label { (label) input type="text" name=(name) value=(within(value, 32)) size="34" maxlength="32" spellcheck="false" autocomplete="off"; }
            }
            button { "Compare" }
        }
    }
}

impl Side {
    fn read(store: &TelemetryStore, name: &'static str, id: &str) -> Result<Side, ReadError> {
        let id = api::trace_id(id)?;
        let unknown = || ReadError::UnknownTrace(hex::encode(id));
        let trace = store.traces.get(id).ok_or_else(unknown)?;
        let trace = Trace::from_resource_spans(trace).map_err(|_| unknown())?;
        Ok(Side {
            name,
            arrival: Arrival::of(store, id, &trace),
            own_time: self_times(&trace),
            trace,
        })
    }

    fn facts(&self) -> Markup {
        let trace = &self.trace;
        let name = trace.spans.first().map_or("", |span| &span.name);
        html! {
            p.facts {
                strong { (self.name) }
                a href=(format!("/traces/{}", trace.trace_id)) { (within(name, 80)) }
                code { (trace.trace_id) }
                strong { (format::duration(trace.duration())) }
                span { (format::count(trace.spans.len(), "span")) @if self.arrival == Arrival::Arriving { " so far" } }
                span { (format::time(trace.start())) }
                @if self.arrival == Arrival::Arriving { span.partial { "◌ arriving: spans may still be on their way" } }
                @for remark in remarks(trace).iter().take(3) { span.partial { "⚠ " (within(remark, 160)) } }
            }
        }
    }
}

impl Pair {
    fn of(a: Side, b: Side) -> Pair {
        let rows = compare(&a.trace, &b.trace);
        Pair { a, b, rows }
    }

    fn shown(&self) -> Markup {
        let rows = &self.rows.rows;
        let paired = rows
            .iter()
            .filter(|row| row.a.is_some() && row.b.is_some())
            .count();
        let only_a = rows.iter().filter(|row| row.b.is_none()).count();
        let only_b = rows.iter().filter(|row| row.a.is_none()).count();
        html! {
            (self.a.facts())
            (self.b.facts())
            p.verdict {
                "B " (change(Change::between(self.a.trace.duration(), self.b.trace.duration()))) ". "
                (format::count(paired, "span")) " in both, " (only_a) " only in A, " (only_b) " only in B."
            }
            (self.largest())
            (table::of(self))
        }
    }

    /// The pairs whose own time changed most, so that nobody has to look for them.
    fn largest(&self) -> Markup {
        let mut changes: Vec<(u64, usize, Change)> = Vec::new();
        for row in &self.rows.rows {
            let of_a = row.a.map_or(0, |at| self.a.own_time[at]);
            let of_b = row.b.map_or(0, |at| self.b.own_time[at]);
            let at = row.a.or(row.b).unwrap_or_default();
            changes.push((of_a.abs_diff(of_b), at, Change::between(of_a, of_b)));
        }
        let names = self.rows.rows.iter().map(|row| match (row.a, row.b) {
            (Some(at), _) => &self.a.trace.spans[at].name,
            (None, at) => &self.b.trace.spans[at.unwrap_or_default()].name,
        });
        let mut largest: Vec<_> = changes.into_iter().zip(names).collect();
        largest.sort_by_key(|((by, _, _), _)| u64::MAX - by);
        largest.retain(|((by, _, _), _)| *by > 0);
        html! {
            @if !largest.is_empty() { h2 { "Where the time changed most" } }
            ol.steps { @for ((by, _, by_change), name) in largest.iter().take(5) {
                li { (within(name, 80)) ": " (change(*by_change)) span.hidden { (by) " ns" } }
            } }
        }
    }
}

/// In words and with a sign, not by colour alone.
fn change(change: Change) -> Markup {
    html! { @match change {
        Change::Same => span { "takes the same time" },
        Change::Slower(by) => span.slower { "▲ " (format::duration(by)) " slower" },
        Change::Faster(by) => span.faster { "▼ " (format::duration(by)) " faster" },
    } }
}
