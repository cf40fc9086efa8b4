//! The aligned trees as a table.

use maud::{Markup, html};

use super::{Pair, Side, change};
use crate::comparison::{Change, Difference, Row};
use crate::pages::format;
use crate::pages::hue::hue;
use crate::pages::trace::{Budget, span_address, within};
use crate::trace::SpanData;

/// Rows of one page.
const MAX_ROWS: usize = 400;
/// Differing attributes of one row.
const MAX_DIFFERENCES: usize = 40;

pub(super) fn of(pair: &Pair) -> Markup {
    let rows = &pair.rows.rows;
    let budget = Budget::new();
    html! {
        div.pane { table.comparison {
            caption.hidden { "The spans of both traces, aligned by their place in the tree" }
            thead { tr {
                th scope="col" { "Span" } th scope="col" { "A" } th scope="col" { "B" }
                th scope="col" { "B takes" } th scope="col" { "What differs" }
            } }
            tbody { @for row in rows.iter().take(MAX_ROWS) { (line(pair, row, &budget)) } }
        } }
        @if rows.len() > MAX_ROWS { p.soft { (rows.len() - MAX_ROWS) " more rows are not shown" } }
    }
}

fn line(pair: &Pair, row: &Row, budget: &Budget) -> Markup {
    let spans = (
        row.a.map(|at| &pair.a.trace.spans[at]),
        row.b.map(|at| &pair.b.trace.spans[at]),
    );
    let Some(span) = spans.0.or(spans.1) else {
        return html! {};
    };
    let failed = [spans.0, spans.1]
        .into_iter()
        .flatten()
        .any(SpanData::is_error);
    html! {
        tr.failed[failed] {
            td { span.span {
                svg width=(row.depth.min(20) * 12) height="1" aria-hidden="true" {}
                span.dot.(hue(&span.service)) aria-hidden="true" {}
                span.name { (within(&span.name, 120)) span.soft { " of " (within(&span.service, 60)) } }
                @if failed { span.mark.bad { "✗ error" } }
            } }
            (cell(pair, &pair.a, row.a))
            (cell(pair, &pair.b, row.b))
            td { @match (spans.0, spans.1) {
                (Some(a), Some(b)) => (change(Change::between(a.duration(), b.duration()))),
                (Some(_), None) => span.partial { "only in A" },
                (None, _) => span.partial { "only in B" },
            } }
            td { (differences(&row.differences, budget)) }
        }
    }
}

/// The bar of one side, on an axis that both share; each trace begins at 0.
fn cell(pair: &Pair, side: &Side, at: Option<usize>) -> Markup {
    let whole = pair.a.trace.duration().max(pair.b.trace.duration()).max(1) as f64;
    let part = |nanos: u64| format::percent(nanos as f64 / whole);
    html! {
        td.side-cell { @if let Some(at) = at {
            @let span = &side.trace.spans[at];
            a href=(span_address(&side.trace.trace_id, &span.span_id)) { (format::duration(span.duration())) }
            svg.lane.(hue(&span.service)) aria-hidden="true" {
                rect.bar x=(part(span.start.saturating_sub(side.trace.start()))) width=(part(span.duration())) y="3" height="9" rx="2" {}
            }
        } @else { span.soft { "–" } } }
    }
}

fn differences(differences: &[Difference], budget: &Budget) -> Markup {
    html! {
        @if !differences.is_empty() {
            details open[differences.len() <= 3] {
                summary { (format::count(differences.len(), "value")) }
                dl { @for difference in differences.iter().take(MAX_DIFFERENCES) {
                    dt { (within(&difference.key, 100)) }
                    dd { (value(difference.a.as_ref(), budget)) " → " (value(difference.b.as_ref(), budget)) }
                } }
                @if differences.len() > MAX_DIFFERENCES { p.soft { (differences.len() - MAX_DIFFERENCES) " more" } }
            }
        }
    }
}

fn value(value: Option<&serde_json::Value>, budget: &Budget) -> Markup {
    html! { @match value {
        Some(value) => code { (budget.plain(&crate::pages::trace::value_text(value), 300)) },
        None => span.soft { "not there" },
    } }
}
