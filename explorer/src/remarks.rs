//! What a reader should know before trusting a trace, in the words that the page, the API and the
//! terminal share.

use crate::trace::Trace;
use crate::tree::{SKEW_TOLERANCE_NS, duplicate_ids, label, skewed};
use crate::waterfall::text;

/// Sentences of one kind; a hostile trace could have thousands.
const MAX_OF_A_KIND: usize = 5;

/// What is missing, ids that occur twice, clocks that disagree, and spans that outlive their root.
pub fn remarks(trace: &Trace) -> Vec<String> {
    let mut remarks: Vec<String> = incomplete(trace).into_iter().collect();
    bounded(&mut remarks, "shared ids", duplicate_ids(trace));
    bounded(&mut remarks, "clock problems", skewed(trace).into_iter());
    bounded(&mut remarks, "late spans", late(trace).into_iter());
    remarks
}

fn bounded(remarks: &mut Vec<String>, kind: &str, mut found: impl Iterator<Item = String>) {
    remarks.extend(found.by_ref().take(MAX_OF_A_KIND));
    let more = found.count();
    if more > 0 {
        remarks.push(format!("{more} more {kind}"));
    }
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
        let spans = counted(orphans, "span");
        missing.push(format!("{spans} whose parent is not here"));
    }
    if cycles > 0 {
        missing.push(format!("{} of parents", counted(cycles, "cycle")));
    }
    Some(format!("incomplete: {}", missing.join(", ")))
}

/// Spans that ended after the top span above them, such as work that goes on after the answer.
fn late(trace: &Trace) -> Vec<String> {
    let mut top_end = 0;
    let mut late = Vec::new();
    for span in &trace.spans {
        if span.depth == 0 {
            top_end = span.end.max(span.start);
        }
        let after = span.end.saturating_sub(top_end);
        if after > SKEW_TOLERANCE_NS {
            let after = text::duration(after);
            late.push(format!("late: {} ends {after} after its root", label(span)));
        }
    }
    late
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
