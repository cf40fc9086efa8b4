//! What is different about these traces? Selected traces against the rest, attribute by attribute,
//! the largest difference first (docs/explorer.md says how to read it).
//!
//! A trace counts once for each attribute, so that a trace of many spans does not outweigh others.
//! Differences of almost the same size are in the order in which they explain: what was asked, and
//! of which process, before what came of it and where the time went.

mod observe;
mod path;
mod rank;
mod score;
mod selection;
mod table;

use std::collections::HashSet;

pub(crate) use selection::Selection;

use crate::store::TelemetryStore;
use crate::store::traces::TraceOutline;
use observe::Observer;

/// Fewer selected traces say nothing: any five have something in common.
pub(crate) const LEAST_SELECTED: usize = 5;
/// Traces whose spans are held at once.
const CHUNK: usize = 64;

/// The comparison of selected traces with the rest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Difference {
    pub selected: usize,
    pub rest: usize,
    /// The largest first; empty when there is nothing to compare.
    pub ranked: Vec<Ranked>,
    /// Attributes that have too many values to compare.
    pub left_out: Vec<String>,
}

/// One attribute, and how differently it is distributed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ranked {
    pub name: String,
    /// Where the attribute was found: a service, a kind of span, a resource.
    pub origin: String,
    pub class: Class,
    /// Total variation distance, or the Kolmogorov-Smirnov statistic; 0 to 1.
    pub distance: f64,
    /// The distance beyond what a random selection of this size would have; 0 to 1.
    pub score: f64,
    pub evidence: Evidence,
}

/// The distributions on both sides.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Evidence {
    Categories(Vec<Category>),
    Numbers(Vec<Bin>),
}

/// How many traces have a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Category {
    pub value: String,
    pub selected: usize,
    pub rest: usize,
    /// How many times as often the value is in the selected traces.
    pub lift: f64,
}

/// How many traces have a number from `from` up to `to`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bin {
    pub from: f64,
    pub to: f64,
    pub selected: usize,
    pub rest: usize,
}

/// What a difference tells, the causes before the consequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    /// What a model was asked, and which one: `ml.*`.
    Model,
    /// Which process, on which machine, of which release.
    Resource,
    /// Any other attribute of a request.
    Request,
    /// Where an error began.
    Error,
    /// What came of a request: status codes, labels, exceptions.
    Outcome,
    /// Where the time went.
    Path,
    /// Whether something is there at all.
    Presence,
}

/// Compares the selected ones of `traces` with the others.
pub(crate) fn difference(
    store: &TelemetryStore,
    traces: &[TraceOutline],
    selection: &Selection,
) -> Difference {
    let selected = selection.of(&store.traces, traces);
    let rest = traces.len() - selected.len();
    let mut difference = Difference {
        selected: selected.len(),
        rest,
        ranked: Vec::new(),
        left_out: Vec::new(),
    };
    if selected.len() < LEAST_SELECTED || rest == 0 {
        return difference;
    }
    let mut observer = Observer::new(&store.logs, traces);
    for chunk in traces.chunks(CHUNK) {
        let ids = chunk.iter().map(|trace| trace.id);
        for (trace, spans) in chunk.iter().zip(store.traces.spans(ids)) {
            observer.add(trace.id, &spans, selected.contains(&trace.id));
        }
    }
    let mut table = observer.finish();
    path::add(&mut table, &store.traces, traces, &selected);
    (difference.ranked, difference.left_out) = rank::rank(table);
    difference
}

type Selected = HashSet<crate::store::TraceId>;

#[cfg(test)]
mod tests;
