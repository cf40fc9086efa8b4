//! The lines above the spans: the trace, what is missing of it, and the names of the columns.

use super::layout::Layout;
use super::line::{Line, Paint};
use super::text::{duration, fit, width};
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
    if let Some(note) = incomplete(trace) {
        let mut line = Line::new(colour);
        line.push(&fit(&note, layout.width), Paint::Warning);
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

/// What the trace lacks; `None` for a complete one.
fn incomplete(trace: &Trace) -> Option<String> {
    if trace.is_complete() {
        return None;
    }
    let mut missing = Vec::new();
    match trace.roots().count() {
        0 => missing.push("no root span".to_owned()),
        _ if trace.surplus_roots() == 0 => {}
        more => missing.push(format!("{more} root spans")),
    }
    let (orphans, cycles) = (trace.orphans().count(), trace.cycles().count());
    if orphans > 0 {
        missing.push(format!(
            "{} whose parent is not here",
            counted(orphans, "span")
        ));
    }
    if cycles > 0 {
        missing.push(format!("{} of parents", counted(cycles, "cycle")));
    }
    Some(format!("⚠ incomplete: {}", missing.join(", ")))
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
