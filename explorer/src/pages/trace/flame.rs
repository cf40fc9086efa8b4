//! The flame view: the spans below one span as boxes, time to the right and calls downwards. It shows
//! at a glance which stage, and which layer of it, took the time.

use maud::{Markup, html};

use super::view::View;
use super::within;
use crate::pages::format;
use crate::pages::hue::hue;
use crate::trace::SpanData;

/// Boxes of one drawing.
const MAX_BOXES: usize = 300;
/// Rows of one drawing.
const MAX_LEVELS: usize = 40;
/// Pixels of a row.
const ROW: usize = 22;

/// A span in the drawing.
struct FlameBox {
    span: usize,
    row: usize,
}

pub(super) fn section(view: &View) -> Markup {
    let top = top(view);
    let boxes = boxes(view, top);
    let rows = boxes.iter().map(|at| at.row + 1).max().unwrap_or(0);
    let span = &view.trace.spans[top];
    html! {
        @if boxes.len() > 1 {
            section.box.flame aria-labelledby="flame-title" {
                h2 #flame-title { "Stages and layers of " (within(&span.name, 80)) }
                svg width="100%" height=(rows * ROW) role="group" aria-label="Flame view: each box is a span, its children are below it" {
                    @for at in &boxes { (drawn(view, span, at)) }
                }
                @let below = below(view, top).count();
                @if below >= boxes.len() { p.partial { "⚠ " (below + 1 - boxes.len()) " more spans are not drawn" } }
            }
        }
    }
}

/// The chosen span, or what it is a part of if nothing is below it; a prediction rather than the
/// request around it, when the request is chosen because nothing else was.
fn top(view: &View) -> usize {
    let has_children = |at: usize| {
        let spans = &view.trace.spans;
        spans
            .get(at + 1)
            .is_some_and(|next| next.depth > spans[at].depth)
    };
    match view.parents[view.chosen] {
        Some(parent) if !has_children(view.chosen) => parent,
        _ => view.chosen,
    }
}

/// The spans below `top`.
fn below(view: &View, top: usize) -> impl Iterator<Item = usize> {
    let spans = &view.trace.spans;
    let depth = spans[top].depth;
    let is_below = move |at: &usize| spans[*at].depth > depth;
    (top + 1..spans.len()).take_while(is_below)
}

/// The spans below `top` that lie within its time, each in the first row below its parent that is
/// free then.
fn boxes(view: &View, top: usize) -> Vec<FlameBox> {
    let spans = &view.trace.spans;
    let mut boxes = vec![FlameBox { span: top, row: 0 }];
    let mut ends = vec![u64::MAX];
    let mut row_of = std::collections::HashMap::from([(top, 0)]);
    for at in below(view, top).take(MAX_BOXES) {
        let span = &spans[at];
        let parent_row = view.parents[at].and_then(|parent| row_of.get(&parent).copied());
        let first = parent_row.map_or(1, |row| row + 1);
        let Some(row) =
            (first..MAX_LEVELS).find(|row| ends.get(*row).is_none_or(|end| *end <= span.start))
        else {
            continue;
        };
        ends.resize(ends.len().max(row + 1), 0);
        ends[row] = ends[row].max(span.end);
        row_of.insert(at, row);
        boxes.push(FlameBox { span: at, row });
    }
    boxes
}

fn drawn(view: &View, top: &SpanData, at: &FlameBox) -> Markup {
    let span = &view.trace.spans[at.span];
    let whole = top.duration().max(1) as f64;
    let start = span.start.max(top.start);
    let part = |nanos: u64| format::percent(nanos as f64 / whole);
    let text = format!(
        "{} {}",
        within(&span.name, 60),
        format::duration(span.duration())
    );
    let with_service = format!("{text} of {}", within(&span.service, 60));
    html! {
        a href=(view.address(at.span)) aria-label=(with_service) {
            svg.(hue(&span.service)) x=(part(start - top.start)) y=(at.row * ROW) width=(part(span.end.min(top.end).saturating_sub(start))) height=(ROW - 1) {
                title { (with_service) }
                rect.bar.chosen[at.span == view.chosen] width="100%" height="100%" rx="2" {}
                text x="4" y="15" { (text) }
            }
        }
    }
}
