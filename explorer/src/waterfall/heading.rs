//! The lines above the spans: the trace, what is missing of it, and the names of the columns.

use super::layout::Layout;
use super::line::{Line, Paint};
use super::text::{clean, duration, fit, width};
use crate::remarks::remarks;
use crate::trace::Trace;

pub(super) fn heading(trace: &Trace, layout: &Layout, colour: bool) -> String {
    let mut lines = String::new();
    let mut line = Line::new(colour);
    let counts = format!(
        "  {} · {} · {}",
        duration(trace.duration()),
        counted(trace.spans.len(), "span"),
        counted(trace.services().len(), "service"),
    );
    line.push("trace ", Paint::Dim);
    line.push(&trace.trace_id, Paint::Bold);
    line.push(&fit(&counts, layout.width.saturating_sub(38)), Paint::Plain);
    line.end(&mut lines);
    for remark in remarks(trace) {
        let mut line = Line::new(colour);
        line.push(
            &fit(&clean(&format!("⚠ {remark}")), layout.width),
            Paint::Warning,
        );
        line.end(&mut lines);
    }
    let mut line = Line::new(colour);
    let total = duration(trace.duration());
    line.push("service", Paint::Dim);
    line.pad_to(layout.name);
    line.push("span", Paint::Dim);
    line.pad_to(layout.bar);
    line.push("0", Paint::Dim);
    line.pad_to(layout.bar + layout.bar_width - width(&total));
    line.push(&total, Paint::Dim);
    line.end(&mut lines);
    lines
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
