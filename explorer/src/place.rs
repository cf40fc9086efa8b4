//! The one definition of root, orphan and complete, for the read API, the page and the terminal.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde::Serialize;

/// Where a span stands in its trace; the spans at the top are shown in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// It has no parent.
    Root,
    /// Its parent is the span of a caller that does not send its telemetry here.
    RemoteRoot,
    /// Its parent is in the trace.
    Child,
    /// Its parent should be in the trace and is not.
    Orphan,
    /// It is its own ancestor. Of each cycle this is the earliest span, the others are children.
    Cycle,
}

/// What decides about the place of a span. `I` is the type of its ids.
pub(crate) struct Ancestry<I> {
    pub id: I,
    pub parent: Option<I>,
    /// Whether the parent may be a caller's span.
    pub remote_parent: bool,
}

impl Place {
    /// Whether the span has no parent in the trace, or is where a cycle is opened.
    pub(crate) fn is_top(self) -> bool {
        self != Place::Child
    }
}

/// Whether the parent of a span is in another process.
///
/// The flags of OTLP say so (bit 8: known, bit 9: remote). Without them a span that serves a request
/// or a message has a remote parent.
pub(crate) fn has_remote_parent(flags: u32, kind: SpanKind) -> bool {
    const HAS_IS_REMOTE: u32 = 0x100;
    const IS_REMOTE: u32 = 0x200;
    if flags & HAS_IS_REMOTE == 0 {
        matches!(kind, SpanKind::Server | SpanKind::Consumer)
    } else {
        flags & IS_REMOTE != 0
    }
}

/// For each span the index of its parent, if it is a child.
///
/// Ids may occur twice and parents may form a cycle. `spans` are in the order of their start, so
/// that a cycle is opened at its earliest span.
pub(crate) fn parents<I: Copy + Eq + Hash>(spans: &[Ancestry<I>]) -> Vec<Option<usize>> {
    let mut index: HashMap<I, usize> = HashMap::new();
    for (at, span) in spans.iter().enumerate() {
        index.entry(span.id).or_insert(at);
    }
    let mut parents: Vec<Option<usize>> = spans
        .iter()
        .map(|span| span.parent.and_then(|parent| index.get(&parent).copied()))
        .collect();
    // Walks up from each span until a span whose walk is known; a walk that meets itself is a
    // cycle.
    let mut walk_of: Vec<Option<usize>> = vec![None; spans.len()];
    for start in 0..spans.len() {
        let mut at = start;
        while walk_of[at].is_none() {
            walk_of[at] = Some(start);
            let Some(parent) = parents[at] else { break };
            if walk_of[parent] == Some(start) {
                let earliest = earliest_of_cycle(&parents, parent);
                parents[earliest] = None;
                break;
            }
            at = parent;
        }
    }
    parents
}

fn earliest_of_cycle(parents: &[Option<usize>], member: usize) -> usize {
    let (mut earliest, mut at) = (member, member);
    while let Some(parent) = parents[at].filter(|parent| *parent != member) {
        earliest = earliest.min(parent);
        at = parent;
    }
    earliest
}

/// The place of each span; `parents` are those of [`parents`].
pub(crate) fn places<I: Copy + Eq + Hash>(
    spans: &[Ancestry<I>],
    parents: &[Option<usize>],
) -> Vec<Place> {
    let known: HashSet<I> = spans.iter().map(|span| span.id).collect();
    let missing = |span: &Ancestry<I>| span.parent.filter(|parent| !known.contains(parent));
    let caller = caller(spans, missing);
    let place = |(span, parent): (&Ancestry<I>, &Option<usize>)| match (span.parent, parent) {
        (None, _) => Place::Root,
        (Some(_), Some(_)) => Place::Child,
        (Some(_), None) => match missing(span) {
            None => Place::Cycle,
            parent if span.remote_parent && parent == caller => Place::RemoteRoot,
            Some(_) => Place::Orphan,
        },
    };
    spans.iter().zip(parents).map(place).collect()
}

/// The span of the remote caller that the trace begins below. If the trace has a root, or begins
/// with an orphan, every missing parent is a span that was lost.
fn caller<I: Copy>(
    spans: &[Ancestry<I>],
    missing: impl Fn(&Ancestry<I>) -> Option<I>,
) -> Option<I> {
    if spans.iter().any(|span| span.parent.is_none()) {
        return None;
    }
    let first = spans.iter().find(|span| missing(span).is_some())?;
    missing(first).filter(|_| first.remote_parent)
}

/// Whether all of the trace is here, from the places of its spans: one root, or only roots below
/// the remote caller.
pub(crate) fn is_complete(places: impl Iterator<Item = Place>) -> bool {
    let (mut roots, mut remote_roots, mut others) = (0, 0, 0);
    for place in places {
        match place {
            Place::Root => roots += 1,
            Place::RemoteRoot => remote_roots += 1,
            Place::Orphan | Place::Cycle => others += 1,
            Place::Child => {}
        }
    }
    others == 0 && matches!((roots, remote_roots), (1, 0) | (0, 1..))
}
