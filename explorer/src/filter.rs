//! Which traces to list, and in which order: the query string of the page `/` and of
//! `GET /api/traces` (docs/explorer.md says what each term means).
//!
//! What the store knows of a trace is tested first: times, status, services. Only the traces that
//! pass are read, span by span and without decoding them, until the answer is known.

mod condition;
mod moment;
mod parameters;
mod scan;

use std::cmp::Reverse;

pub(crate) use condition::{Condition, is_within};
pub(crate) use moment::moment;
pub(crate) use parameters::Parameters;

use crate::store::TraceStore;
use crate::store::traces::TraceOutline;
use scan::Scan;

/// Traces whose spans are held at once, outside the store's lock.
const CHUNK: usize = 64;

/// A trace is listed if it meets every term that is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Filter {
    /// A span is of this service.
    pub service: Option<String>,
    /// Attributes with a parameter of their own, then those of `where`.
    pub conditions: Vec<Condition>,
    /// Whether a span has status ERROR.
    pub failed: Option<bool>,
    /// Nanoseconds from the first start to the last end; both bounds belong to the range.
    pub min_duration: Option<u64>,
    pub max_duration: Option<u64>,
    /// Whether the answer came from the prediction store.
    pub cached: Option<bool>,
    /// When the trace started, in nanoseconds since 1970; both bounds belong to the range.
    pub since: Option<u64>,
    pub until: Option<u64>,
    /// Found in a name, a service, the value of an attribute, a status description or the trace id.
    pub text: Option<String>,
    pub sort: Sort,
    pub limit: usize,
}

/// The order of a list; traces that are equal in it are in the order of their ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    #[default]
    Newest,
    Oldest,
    Slowest,
    Fastest,
}

impl Sort {
    pub(crate) const ALL: [(Sort, &str); 4] = [
        (Sort::Newest, "newest"),
        (Sort::Oldest, "oldest"),
        (Sort::Slowest, "slowest"),
        (Sort::Fastest, "fastest"),
    ];
}

/// The traces that match, in the order of the filter, but no more than `at_most`.
pub(crate) fn matching(store: &TraceStore, filter: &Filter, at_most: usize) -> Vec<TraceOutline> {
    let mut traces = store.outlines(filter.service.as_deref());
    traces.retain(|trace| filter.fits(trace));
    match filter.sort {
        Sort::Newest => traces.sort_unstable_by_key(|trace| (Reverse(trace.start), trace.id)),
        Sort::Oldest => traces.sort_unstable_by_key(|trace| (trace.start, trace.id)),
        Sort::Slowest => {
            traces.sort_unstable_by_key(|trace| (Reverse(trace.duration()), trace.id));
        }
        Sort::Fastest => traces.sort_unstable_by_key(|trace| (trace.duration(), trace.id)),
    }
    let Some(mut scan) = Scan::of(filter) else {
        traces.truncate(at_most);
        return traces;
    };
    let mut matching = Vec::new();
    for chunk in traces.chunks(CHUNK) {
        for (trace, spans) in chunk
            .iter()
            .zip(store.spans(chunk.iter().map(|trace| trace.id)))
        {
            // A trace that was evicted in the meantime has no spans.
            if !spans.is_empty() && scan.matches(trace.id, &spans) {
                matching.push(*trace);
            }
        }
        if matching.len() >= at_most {
            matching.truncate(at_most);
            break;
        }
    }
    matching
}

impl Filter {
    /// The terms that need no span.
    fn fits(&self, trace: &TraceOutline) -> bool {
        let duration = trace.duration();
        self.failed.is_none_or(|failed| failed == trace.failed)
            && self.min_duration.is_none_or(|least| duration >= least)
            && self.max_duration.is_none_or(|most| duration <= most)
            && self.since.is_none_or(|since| trace.start >= since)
            && self.until.is_none_or(|until| trace.start <= until)
    }
}

#[cfg(test)]
mod tests;
