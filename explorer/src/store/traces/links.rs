//! Who links to a trace: the links of stored spans, from their target's side.
//!
//! A hit links to the computation whose answer it used, a batch to its members, a prediction to its
//! training. The target knows nothing of them, so the store remembers where they came from.

use std::collections::{HashMap, VecDeque};

use crate::store::{SpanId, TraceId};

/// Links of one span that are indexed; a batch has at most as many members.
pub(super) const MAX_LINKS_OF_SPAN: usize = 128;
/// Links of one trace that are indexed.
pub(super) const MAX_LINKS_OF_TRACE: usize = 1_024;
/// Referrers that are known of one trace, the newest: every prediction of a model links to its training.
pub(super) const MAX_REFERRERS: usize = 1_000;
/// A link in the index and in its own trace, with a share of the map's slot and of spare room.
pub(super) const LINK_COST: usize =
    (size_of::<OwnLink>() + size_of::<Referrer>() + size_of::<TraceId>() + 64) * 2;

/// A span that links to another trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Referrer {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    /// The span that the link points to.
    pub target_span: SpanId,
}

/// A link as its own trace remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OwnLink {
    pub target: TraceId,
    pub target_span: SpanId,
    pub span_id: SpanId,
}

/// The referrers of each trace that stored spans link to, whether or not that trace is stored.
#[derive(Default)]
pub(super) struct LinkIndex(HashMap<TraceId, VecDeque<Referrer>>);

impl LinkIndex {
    pub(super) fn add(&mut self, trace_id: TraceId, link: OwnLink) {
        let referrers = self.0.entry(link.target).or_default();
        if referrers.len() >= MAX_REFERRERS {
            referrers.pop_front();
        }
        referrers.push_back(Referrer {
            trace_id,
            span_id: link.span_id,
            target_span: link.target_span,
        });
    }

    /// Forgets the links from a trace and returns the targets that nothing links to any more.
    pub(super) fn remove(&mut self, trace_id: TraceId, links: &[OwnLink]) -> Vec<TraceId> {
        let mut forgotten = Vec::new();
        for link in links {
            let Some(referrers) = self.0.get_mut(&link.target) else {
                continue;
            };
            referrers.retain(|referrer| referrer.trace_id != trace_id);
            if referrers.is_empty() {
                self.0.remove(&link.target);
                forgotten.push(link.target);
            }
        }
        forgotten
    }

    pub(super) fn is_linked(&self, trace_id: TraceId) -> bool {
        self.0.contains_key(&trace_id)
    }

    /// The newest first.
    pub(super) fn referrers(&self, trace_id: TraceId) -> impl Iterator<Item = Referrer> + '_ {
        let referrers = self.0.get(&trace_id).into_iter().flatten();
        referrers.rev().copied()
    }
}
