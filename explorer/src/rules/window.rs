//! What a group of a rule saw in its window: counts, durations and example traces, in slots of a
//! thirtieth of the window, so that memory does not grow with traffic. An item leaves with its slot,
//! a thirtieth late at most.

use std::collections::{BTreeMap, VecDeque};

use super::watch::Observation;
use crate::store::TraceId;

/// Slots of one window.
const SLOTS: u64 = 30;
/// Traces of one slot, and of a window.
pub(super) const MAX_TRACES: usize = 5;
/// Buckets of durations per doubling: a bucket is 9 % wide.
const BUCKETS_PER_DOUBLING: f64 = 8.0;

/// Slots, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Window {
    slots: VecDeque<Slot>,
}

#[derive(Debug)]
struct Slot {
    from: u64,
    all: u64,
    bad: u64,
    /// Spans by the logarithm of their duration.
    durations: BTreeMap<i16, u64>,
    /// Of bad items, the newest last.
    traces: VecDeque<TraceId>,
}

/// The sum of the slots.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Totals {
    pub all: u64,
    pub bad: u64,
    /// The newest first, each once.
    pub traces: Vec<TraceId>,
    durations: BTreeMap<i16, u64>,
}

impl Window {
    /// `length` is the window in nanoseconds.
    pub(super) fn add(&mut self, now: u64, length: u64, seen: Observation) {
        let slot = self.slot(now - now % slot_length(length));
        slot.all += 1;
        if let Some(seconds) = seen.seconds {
            *slot.durations.entry(bucket(seconds)).or_default() += 1;
        }
        if !seen.bad {
            return;
        }
        slot.bad += 1;
        for trace in seen.traces {
            slot.traces.retain(|known| *known != trace);
            slot.traces.push_back(trace);
            if slot.traces.len() > MAX_TRACES {
                slot.traces.pop_front();
            }
        }
    }

    /// The slot that begins at `from`; if the clock went back, the newest one.
    fn slot(&mut self, from: u64) -> &mut Slot {
        if self.slots.back().is_none_or(|newest| newest.from < from) {
            self.slots.push_back(Slot {
                from,
                all: 0,
                bad: 0,
                durations: BTreeMap::new(),
                traces: VecDeque::new(),
            });
        }
        let newest = self.slots.len() - 1;
        &mut self.slots[newest]
    }

    /// Drops what is older than the window.
    pub(super) fn forget(&mut self, now: u64, length: u64) {
        let ended = |slot: &Slot| slot.from + slot_length(length) + length <= now;
        while self.slots.front().is_some_and(ended) {
            self.slots.pop_front();
        }
    }

    pub(super) fn clear(&mut self) {
        self.slots.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for slot in self.slots.iter().rev() {
            totals.all += slot.all;
            totals.bad += slot.bad;
            for (bucket, spans) in &slot.durations {
                *totals.durations.entry(*bucket).or_default() += spans;
            }
            for trace in slot.traces.iter().rev() {
                if totals.traces.len() < MAX_TRACES && !totals.traces.contains(trace) {
                    totals.traces.push(*trace);
                }
            }
        }
        totals
    }
}

impl Totals {
    /// The share of bad items.
    pub(super) fn share(&self) -> f64 {
        if self.all == 0 {
            0.0
        } else {
            self.bad as f64 / self.all as f64
        }
    }

    /// A quantile of the durations in seconds, by the upper end of its bucket. It is on the side of
    /// `limit` that the exact count says.
    pub(super) fn quantile(&self, quantile: f64, limit: f64) -> f64 {
        let rank = (quantile * self.all as f64).ceil().max(1.0) as u64;
        let mut below = 0;
        let found = self.durations.iter().find(|(_, spans)| {
            below += **spans;
            below >= rank
        });
        let seconds = found.map_or(0.0, |(bucket, _)| {
            (f64::from(*bucket) / BUCKETS_PER_DOUBLING).exp2()
        });
        if self.all - self.bad < rank {
            seconds.max(limit)
        } else {
            seconds.min(limit)
        }
    }
}

fn slot_length(length: u64) -> u64 {
    (length / SLOTS).max(1)
}

/// The bucket whose upper end is the first at or above a duration.
fn bucket(seconds: f64) -> i16 {
    let logarithm = seconds.max(1e-9).log2() * BUCKETS_PER_DOUBLING;
    logarithm.ceil().clamp(-300.0, 300.0) as i16
}
