//! A trace of one service as text, with the spans that failed.

use std::fmt::Write as _;

use explorer::Trace;

/// A line `name KIND` for each span, two spaces a level, siblings by start time; a failed span says
/// `ERROR`.
///
/// [`explorer::tree::outline`] is for a trace of several services: it names the service instead.
pub fn tree(trace: &Trace) -> String {
    let mut text = String::new();
    for span in &trace.spans {
        let indent = "  ".repeat(span.depth);
        let error = if span.is_error() { " ERROR" } else { "" };
        let _ = writeln!(text, "{indent}{} {}{error}", span.name, span.kind);
    }
    text
}
