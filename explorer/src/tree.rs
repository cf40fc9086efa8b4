//! The shape of a trace as text, for tests that compare it, and the faults in it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use crate::trace::{SpanData, Trace};
use crate::waterfall::text;

/// How much earlier than its parent a span may start; more is a skewed clock.
const SKEW_TOLERANCE_NS: u64 = 1_000_000;

/// The tree without times and ids: a line `name KIND service` for each span, two spaces a level,
/// siblings by start time. A span whose parent is missing ends with `(orphan)`.
pub fn outline(trace: &Trace) -> String {
    let mut lines = String::new();
    for span in &trace.spans {
        let orphan = if span.orphan { " (orphan)" } else { "" };
        let indent = "  ".repeat(span.depth);
        let _ = writeln!(
            lines,
            "{indent}{} {} {}{orphan}",
            span.name, span.kind, span.service
        );
    }
    lines
}

/// The faults of a trace, one sentence each: roots, orphans, ids that occur twice, clocks.
pub fn problems(trace: &Trace) -> Vec<String> {
    let mut problems = Vec::new();
    let roots: Vec<_> = trace.roots().map(|span| span.name.as_str()).collect();
    match roots.len() {
        0 => problems.push("no root span".to_owned()),
        1 => {}
        count => problems.push(format!("{count} root spans: {}", roots.join(", "))),
    }
    problems.extend(trace.orphans().map(|span| {
        let parent = span.parent.as_deref().unwrap_or_default();
        format!(
            "orphan: {} has the parent {parent}, which is not in the trace",
            label(span)
        )
    }));
    problems.extend(duplicate_ids(trace));
    problems.extend(skewed(trace));
    problems
}

fn duplicate_ids(trace: &Trace) -> impl Iterator<Item = String> {
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    for span in &trace.spans {
        *uses.entry(&span.span_id).or_default() += 1;
    }
    uses.into_iter()
        .filter(|(_, count)| *count > 1)
        .map(|(id, count)| format!("{count} spans have the id {id}"))
}

fn skewed(trace: &Trace) -> Vec<String> {
    let starts: HashMap<&str, u64> = trace
        .spans
        .iter()
        .map(|span| (span.span_id.as_str(), span.start))
        .collect();
    let mut problems = Vec::new();
    for span in &trace.spans {
        if span.end < span.start {
            problems.push(format!("clock: {} ends before it starts", label(span)));
        }
        let parent_start = span
            .parent
            .as_deref()
            .and_then(|parent| starts.get(parent).copied());
        let ahead = parent_start.unwrap_or_default().saturating_sub(span.start);
        if ahead > SKEW_TOLERANCE_NS {
            problems.push(format!(
                "clock: {} starts {} before its parent",
                label(span),
                text::duration(ahead)
            ));
        }
    }
    problems
}

fn label(span: &SpanData) -> String {
    format!("{} {} {}", span.name, span.kind, span.service)
}

#[cfg(test)]
mod tests;
