//! The waterfall: a table whose bars are drawings.

use maud::{Markup, html};

use super::view::{Log, View};
use super::within;
use crate::pages::format;
use crate::pages::hue::hue;
use crate::place::Place;
use crate::trace::{SpanData, Trace};

/// Levels whose lines are drawn.
const MAX_LINES: usize = 20;
/// Events and segments that are drawn in one row.
const MAX_MARKS: usize = 40;

pub(super) fn table(view: &View) -> Markup {
    html! {
        table.waterfall {
            caption.hidden { "Spans of the trace as a waterfall; choose one for its details" }
            thead {
                tr {
                    th scope="col" { "Span" }
                    th scope="col" { "Service" }
                    th scope="col" .time { (axis(&view.trace)) span.hidden { "Time" } }
                    th scope="col" .num { "Duration" }
                }
                @if !view.logs.is_empty() { tr.on-axis {
                    th scope="row" colspan="2" { a href="#logs" { (format::count(view.logs.len() + view.more_logs, "log record")) } }
                    td { (log_axis(view)) }
                    td {}
                } }
            }
            tbody #spans { @for row in rows(view) { (row) } }
        }
        p.legend { span.path-mark { "◆" } " on the critical path · │ event · ○ log record" }
        (pages(view))
    }
}

fn axis(trace: &Trace) -> Markup {
    let total = trace.duration();
    html! {
        span.axis {
            span { "0" }
            @for quarter in 1..=4 { span { (format::duration(total / 4 * quarter + total % 4 * quarter / 4)) } }
        }
    }
}

fn log_axis(view: &View) -> Markup {
    html! {
        svg.lane.logs-lane role="img" aria-label="When the log records were written" {
            @for log in &view.logs { (log_mark(view, log, "50%")) }
        }
    }
}

fn log_mark(view: &View, log: &Log, y: &str) -> Markup {
    let severe = if log.entry.severity_number >= 17 {
        "log-mark severe"
    } else {
        "log-mark"
    };
    html! { circle class=(severe) cx=(format::percent(view.part(view.offset(log.time)))) cy=(y) r="3" {} }
}

fn rows(view: &View) -> impl Iterator<Item = Markup> {
    // Whether each level above a row goes on below it.
    let mut open: Vec<bool> = Vec::new();
    let spans = view.trace.spans.iter().enumerate().take(view.rows.end);
    spans.filter_map(move |(at, span)| {
        open.truncate(span.depth);
        open.push(view.followed[at]);
        view.rows.contains(&at).then(|| row(view, at, span, &open))
    })
}

fn row(view: &View, at: usize, span: &SpanData, open: &[bool]) -> Markup {
    let chosen = at == view.chosen;
    let parent = view.parents[at].map(|parent| view.trace.spans[parent].span_id.as_str());
    html! {
        tr.failed[span.is_error()] data-span=(span.span_id) data-parent=[parent] aria-current=[chosen.then_some("true")] {
            td { span.span {
                (lines(open))
                span.dot.(hue(&span.service)) aria-hidden="true" {}
                a.name href=(view.address(at)) data-key=(at) title=(within(&span.name, 200)) { (within(&span.name, 120)) }
                (marks(view, at, span))
            } }
            td.service { (within(&span.service, 60)) }
            td { (lane(view, at, span)) }
            td.num { (format::duration(span.duration())) }
        }
    }
}

fn lines(open: &[bool]) -> Markup {
    let levels = open.get(1..).unwrap_or_default();
    let shown = &levels[levels.len().saturating_sub(MAX_LINES)..];
    html! {
        @if levels.len() > shown.len() { span.deep { "…" (levels.len()) " " } }
        @for (level, open) in shown.iter().enumerate() {
            @let own = level + 1 == shown.len();
            span.stem.open[*open].own[own].last[own && !open] aria-hidden="true" {}
        }
    }
}

fn marks(view: &View, at: usize, span: &SpanData) -> Markup {
    let error = span
        .text("error.type")
        .unwrap_or_else(|| "error".to_owned());
    html! {
        @if view.critical[at] > 0 {
            span.mark.path-mark title=(format!("{} on the critical path", format::duration(view.critical[at]))) {
                "◆" span.hidden { " on the critical path" }
            }
        }
        @if span.is_error() { span.mark.bad { "✗ " (within(&error, 60)) } }
        @match span.place {
            Place::Root | Place::Child => {}
            Place::RemoteRoot => span.mark title="its caller's span is not here" { "↖ remote parent" },
            Place::Orphan => span.mark.partial { "⚠ orphan" },
            Place::Cycle => span.mark.partial { "⚠ its own ancestor" },
        }
        @if !span.links.is_empty() { span.mark title=(format::count(span.links.len(), "link")) { "↗" } }
    }
}

fn lane(view: &View, at: usize, span: &SpanData) -> Markup {
    let x = format::percent(view.part(view.offset(span.start)));
    let segments = view.segments.iter().filter(|segment| segment.span == at);
    html! {
        svg.lane.(hue(&span.service)) aria-hidden="true" {
            rect.bar x=(x) width=(format::percent(view.part(span.duration()))) y="3" height="9" rx="2" {}
            @if view.critical[at] > 0 { @for segment in segments.take(MAX_MARKS) {
                rect.path x=(format::percent(view.part(view.offset(segment.start))))
                    width=(format::percent(view.part(segment.duration()))) y="13" height="3" {}
            } }
            @for event in span.events.iter().take(MAX_MARKS) {
                rect.tick x=(format::percent(view.part(view.offset(event.time)))) y="1" width="2" height="13" {
                    title { (within(&event.name, 60)) }
                }
            }
            @for log in view.logs.iter().filter(|log| log.span == Some(at)).take(MAX_MARKS) {
                (log_mark(view, log, "7.5"))
            }
        }
    }
}

/// Links to the other rows of a trace that has more than one page shows.
fn pages(view: &View) -> Markup {
    let total = view.trace.spans.len();
    let rows = &view.rows;
    html! {
        @if rows.len() < total {
            p.pages {
                "Spans " (format::grouped(rows.start + 1)) " to " (format::grouped(rows.end)) " of " (format::grouped(total)) ". "
                @if rows.start > 0 { a href=(view.address(rows.start.saturating_sub(super::view::MAX_ROWS))) { "← Earlier rows" } " " }
                @if rows.end < total { a href=(view.address(rows.end)) { "More rows →" } }
            }
        }
    }
}
