//! The shape of a trace as text, for tests that compare it, and the faults in it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use crate::place::Place;
use crate::trace::{SpanData, Trace};
use crate::waterfall::text;

/// How much earlier than its parent a span may start; more is a skewed clock.
pub(crate) const SKEW_TOLERANCE_NS: u64 = 1_000_000;

/// The tree without times and ids: a line `name KIND service` for each span, two spaces a level,
/// siblings by start time. A span at the top that is not a plain root ends with `(remote parent)`,
/// `(orphan)` or `(cycle)`.
pub fn outline(trace: &Trace) -> String {
    let mut lines = String::new();
    for span in &trace.spans {
        let place = match span.place {
            Place::Root | Place::Child => "",
            Place::RemoteRoot => " (remote parent)",
            Place::Orphan => " (orphan)",
            Place::Cycle => " (cycle)",
        };
        let indent = "  ".repeat(span.depth);
        let _ = writeln!(
            lines,
            "{indent}{} {} {}{place}",
            span.name, span.kind, span.service
        );
    }
    lines
}

/// The faults of a trace, one sentence each: roots, orphans, cycles, ids that occur twice, clocks.
pub fn problems(trace: &Trace) -> Vec<String> {
    let mut problems = Vec::new();
    let roots: Vec<_> = trace.roots().map(|span| span.name.as_str()).collect();
    if roots.is_empty() {
        problems.push("no root span".to_owned());
    } else if trace.surplus_roots() > 0 {
        problems.push(format!("{} root spans: {}", roots.len(), roots.join(", ")));
    }
    problems.extend(trace.orphans().map(|span| {
        let parent = span.parent.as_deref().unwrap_or_default();
        format!(
            "orphan: {} has the parent {parent}, which is not in the trace",
            label(span)
        )
    }));
    problems.extend(
        trace
            .cycles()
            .map(|span| format!("cycle: {} is its own ancestor", label(span))),
    );
    problems.extend(duplicate_ids(trace));
    problems.extend(skewed(trace));
    problems
}

pub(crate) fn duplicate_ids(trace: &Trace) -> impl Iterator<Item = String> {
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    for span in &trace.spans {
        *uses.entry(&span.span_id).or_default() += 1;
    }
    uses.into_iter()
        .filter(|(_, count)| *count > 1)
        .map(|(id, count)| format!("{count} spans have the id {id}"))
}

pub(crate) fn skewed(trace: &Trace) -> Vec<String> {
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

pub(crate) fn label(span: &SpanData) -> String {
    format!("{} {} {}", span.name, span.kind, span.service)
}

#[cfg(test)]
mod tests;
