//! Which trace is evicted next: the oldest, but those that links point to stay longer.

use std::collections::{HashMap, VecDeque};

use super::links::LinkIndex;
use super::stored_trace::StoredTrace;
use crate::store::TraceId;

/// Linked traces that outstay their turn may take a quarter of the bytes and of the traces, so that
/// links cannot keep new traces out.
const SHARE_OF_KEPT: usize = 4;

/// The ids of all stored traces in the order of their eviction.
#[derive(Default)]
pub(super) struct EvictionOrder {
    /// In the order of their first span.
    turn: VecDeque<TraceId>,
    /// Those whose turn has passed, kept because something links to them, in the same order.
    kept: VecDeque<TraceId>,
    kept_bytes: usize,
}

/// The limits of the store.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub max_bytes: usize,
    pub max_traces: usize,
}

impl EvictionOrder {
    pub(super) fn push(&mut self, trace_id: TraceId) {
        self.turn.push_back(trace_id);
    }

    /// A trace in `kept` grew.
    pub(super) fn grew(&mut self, trace: &StoredTrace, bytes: usize) {
        if trace.is_kept {
            self.kept_bytes += bytes;
        }
    }

    /// Takes out the trace to evict: the oldest other than `spared` that is not worth keeping, or the
    /// oldest of the kept ones.
    pub(super) fn next(
        &mut self,
        spared: Option<TraceId>,
        traces: &mut HashMap<TraceId, StoredTrace>,
        links: &LinkIndex,
        bounds: Bounds,
    ) -> Option<TraceId> {
        loop {
            let at = self.turn.iter().take(2).position(|id| Some(*id) != spared);
            let Some(id) = at.and_then(|at| self.turn.remove(at)) else {
                break;
            };
            match traces.get_mut(&id) {
                Some(trace) if links.is_linked(id) && self.has_room(trace, bounds) => {
                    trace.is_kept = true;
                    self.kept_bytes += trace.bytes;
                    self.kept.push_back(id);
                }
                _ => return Some(id),
            }
        }
        let at = self.kept.iter().take(2).position(|id| Some(*id) != spared);
        let id = self.kept.remove(at?)?;
        self.kept_bytes -= traces.get(&id).map_or(0, |trace| trace.bytes);
        Some(id)
    }

    /// Nothing links to the trace any more: if it was kept for that, it is the next to go.
    pub(super) fn unlinked(&mut self, id: TraceId, trace: &mut StoredTrace) {
        if trace.is_kept
            && let Some(at) = self.kept.iter().position(|kept| *kept == id)
        {
            trace.is_kept = false;
            self.kept_bytes -= trace.bytes;
            self.kept.remove(at);
            self.turn.push_front(id);
        }
    }

    fn has_room(&self, trace: &StoredTrace, bounds: Bounds) -> bool {
        self.kept_bytes + trace.bytes <= bounds.max_bytes / SHARE_OF_KEPT
            && self.kept.len() < bounds.max_traces / SHARE_OF_KEPT
    }
}
