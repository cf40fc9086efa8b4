//! The table of traces.

use maud::{Markup, html};

use super::{View, address, cut};
use crate::api::TraceSummary;
use crate::filter::Sort;
use crate::pages::format;
use crate::pages::hue::hue;
use crate::store::traces::ListedTrace;

/// Services that are shown of one trace.
const MAX_SERVICES: usize = 8;

pub(super) fn draw(view: &View<'_>) -> Markup {
    if view.listed.is_empty() {
        return empty(view);
    }
    let longest = view
        .listed
        .iter()
        .map(|trace| trace.end - trace.start)
        .max();
    html! {
        table.traces {
            caption.hidden { "Traces, " (order(view.filter.sort)) " first" }
            thead { tr {
                (sortable(view, "Started", false, [(Sort::Newest, "newest", "↓"), (Sort::Oldest, "oldest", "↑")]))
                th scope="col" { "Request" }
                (sortable(view, "Duration", true, [(Sort::Slowest, "slowest", "↓"), (Sort::Fastest, "fastest", "↑")]))
                th scope="col" .num { "Spans" }
                th scope="col" { "Services" }
                th scope="col" { "State" }
            } }
            tbody {
                @for trace in view.listed { (row(trace, longest.unwrap_or_default().max(1))) }
            }
        }
    }
}

fn empty(view: &View<'_>) -> Markup {
    let order = [("limit", None), ("sort", None)];
    let is_filtered = !view.parameters.with(&order).is_empty();
    html! {
        @if is_filtered {
            p.notice { "No trace matches. " a href="/" { "Show all traces" } "." }
        } @else {
            p.notice { "No trace yet. Whatever sends OTLP/HTTP to this explorer shows here; " code { "throughline sample" } " sends one." }
        }
    }
}

fn order(sort: Sort) -> &'static str {
    let known = Sort::ALL.into_iter().find(|(known, _)| *known == sort);
    known.map_or("newest", |(_, name)| name)
}

/// A column whose heading is a link to its order, or to the opposite one.
fn sortable(
    view: &View<'_>,
    title: &str,
    is_number: bool,
    [
        (first, first_name, first_arrow),
        (second, second_name, second_arrow),
    ]: [(Sort, &str, &str); 2],
) -> Markup {
    let sort = view.filter.sort;
    let next = if sort == first {
        second_name
    } else {
        first_name
    };
    let aria = (sort == first)
        .then_some("descending")
        .or((sort == second).then_some("ascending"));
    let arrow = match sort {
        sort if sort == first => first_arrow,
        sort if sort == second => second_arrow,
        _ => "",
    };
    html! {
        th scope="col" .num[is_number] aria-sort=[aria] {
            a.sort href=(address(view.parameters, &[("sort", Some(next))])) title=(format!("Show the {next} first")) {
                (title) " " (arrow)
            }
        }
    }
}

fn row(trace: &ListedTrace, longest: u64) -> Markup {
    let duration = trace.end - trace.start;
    let part = format::percent(duration as f64 / longest as f64);
    let summary = TraceSummary::from(trace.clone());
    let name = if summary.root_name.is_empty() {
        "(no name)".to_owned()
    } else {
        cut(&summary.root_name)
    };
    html! {
        tr {
            td.when { (format::time(trace.start)) }
            td { div.request {
                a href=(format!("/traces/{}", summary.trace_id)) data-key=(summary.trace_id) { (name) }
                span.from { (cut(&summary.root_service)) }
            } }
            td.num {
                (format::duration(duration))
                svg.meter aria-hidden="true" { rect width=(part) height="3" {} }
            }
            td.num { (trace.spans) }
            td { span.chips {
                @for (service, spans) in trace.services.iter().take(MAX_SERVICES) {
                    span.chip.(hue(service)) { (cut(service)) b { (spans) } }
                }
                @if trace.services.len() > MAX_SERVICES { span { "and " (trace.services.len() - MAX_SERVICES) " more" } }
            } }
            td.state {
                @if trace.errors > 0 { span.bad { "✗ error" } " " }
                @if !trace.complete { span.partial { "⚠ incomplete" } }
                @else if trace.errors == 0 { "ok" }
            }
        }
    }
}
