//! The critical path of a trace: at each moment of the root, the one span that the root waited for.
//!
//! The walk begins at the root's end and goes backwards. The child that ended last held its parent
//! up; before that child's start, the child that had ended last by then did, and so on. What lies
//! between is the parent's own time. A child that was still running when the next one on the path
//! started ran beside it, and the path does not contain it (CRISP, USENIX ATC 2022, section 3).

use crate::place::Place;
use crate::trace::{SpanData, Trace};

/// A stretch of time in which one span was on the critical path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Index in [`Trace::spans`].
    pub span: usize,
    /// Nanoseconds since 1970; before `end`.
    pub start: u64,
    pub end: u64,
}

impl Segment {
    /// Nanoseconds; never zero.
    pub fn duration(&self) -> u64 {
        self.end - self.start
    }
}

/// The critical path below [`critical_root`], in the order of time. Segments do not overlap, leave no
/// gap, and add up to the duration of the root.
///
/// A child counts for the part of it that lies within its parent, so that a skewed clock or a child
/// that outlives its parent cannot lengthen the path.
pub fn critical_path(trace: &Trace) -> Vec<Segment> {
    let Some(root) = critical_root(trace) else {
        return Vec::new();
    };
    let children = children_by_end(trace);
    let mut segments = Vec::new();
    let window = &trace.spans[root];
    // A stack of our own: a chain of ten thousand spans needs no deep recursion.
    let mut walks = vec![Walk::of(root, window.start, window.end)];
    while let Some(walk) = walks.last_mut() {
        if let Some(child) = walk.step(trace, &children, &mut segments) {
            walks.push(child);
        } else {
            walks.pop();
        }
    }
    segments.reverse();
    segments
}

/// The span whose time the critical path explains: of the roots the one that took longest, or the
/// longest top span of a trace without roots.
pub fn critical_root(trace: &Trace) -> Option<usize> {
    let longest = |is_candidate: fn(Place) -> bool| {
        let spans = trace.spans.iter().enumerate().rev();
        spans
            .filter(|(_, span)| is_candidate(span.place))
            .max_by_key(|(_, span)| span.duration())
            .map(|(at, _)| at)
    };
    longest(|place| matches!(place, Place::Root | Place::RemoteRoot))
        .or_else(|| longest(Place::is_top))
}

/// The walk through the children of one span, backwards in time.
struct Walk {
    span: usize,
    /// The part of the span that is on the path.
    start: u64,
    /// What is later has been explained.
    open_until: u64,
    end: u64,
    /// Children that were looked at.
    seen: usize,
}

impl Walk {
    fn of(span: usize, start: u64, end: u64) -> Walk {
        Walk {
            span,
            start,
            open_until: end,
            end,
            seen: 0,
        }
    }

    /// Goes to the next child on the path and returns the walk through it; without one the rest is
    /// the span's own time, and the walk is over.
    fn step(
        &mut self,
        trace: &Trace,
        children: &[Vec<usize>],
        segments: &mut Vec<Segment>,
    ) -> Option<Walk> {
        while let Some(child) = children[self.span].get(self.seen) {
            self.seen += 1;
            let SpanData { start, end, .. } = trace.spans[*child];
            let (start, end) = (start.max(self.start), end.min(self.end));
            if end <= self.open_until && start < end {
                self.own_time(end, segments);
                self.open_until = start;
                return Some(Walk::of(*child, start, end));
            }
        }
        self.own_time(self.start, segments);
        None
    }

    fn own_time(&self, from: u64, segments: &mut Vec<Segment>) {
        if from < self.open_until {
            segments.push(Segment {
                span: self.span,
                start: from,
                end: self.open_until,
            });
        }
    }
}

/// The children of each span, the one that ended last first; of those that ended together the
/// longest.
fn children_by_end(trace: &Trace) -> Vec<Vec<usize>> {
    let mut children = vec![Vec::new(); trace.spans.len()];
    for (at, parent) in trace.parent_indices().into_iter().enumerate() {
        if let Some(parent) = parent {
            children[parent].push(at);
        }
    }
    for siblings in &mut children {
        siblings.sort_by_key(|at: &usize| {
            let span = &trace.spans[*at];
            (u64::MAX - span.end, span.start)
        });
    }
    children
}

#[cfg(test)]
pub(crate) mod tests;
