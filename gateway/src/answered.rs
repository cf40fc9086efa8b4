//! Which predictions the last requests were answered with, by trace, so that feedback can name the
//! trace instead of the prediction.

use std::collections::{HashMap, HashSet, VecDeque};

use parking_lot::Mutex;
use telemetry::TraceId;

use crate::store::Key;

/// Predictions that are remembered; the traces that were first answered leave first.
const MAX_PREDICTIONS: usize = 10_000;

/// The predictions of recent traces.
#[derive(Debug, Default)]
pub(crate) struct AnsweredTraces {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// A trace may ask for the same again, and all requests wait meanwhile: no search through a list.
    by_trace: HashMap<TraceId, HashSet<Key>>,
    order: VecDeque<TraceId>,
    predictions: usize,
}

impl AnsweredTraces {
    /// Remembers what a request of this trace was answered with.
    pub(crate) fn record<'a>(&self, trace: TraceId, keys: impl Iterator<Item = &'a Key>) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        for key in keys {
            if !inner.by_trace.contains_key(&trace) {
                inner.order.push_back(trace);
            }
            let known = inner.by_trace.entry(trace).or_default();
            if known.len() < MAX_PREDICTIONS && !known.contains(key) {
                known.insert(key.clone());
                inner.predictions += 1;
            }
        }
        while inner.predictions > MAX_PREDICTIONS
            && let Some(first) = inner.order.pop_front()
        {
            let gone = inner.by_trace.remove(&first).unwrap_or_default();
            inner.predictions -= gone.len();
        }
    }

    /// The predictions of a trace, in the order of their keys; none if it is too long ago.
    pub(crate) fn of(&self, trace: TraceId) -> Vec<Key> {
        let inner = self.inner.lock();
        let keys = inner.by_trace.get(&trace);
        let mut keys: Vec<Key> = keys.into_iter().flatten().cloned().collect();
        drop(inner);
        keys.sort();
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(data_id: usize) -> Key {
        Key {
            model: "m".into(),
            variant: "primary".into(),
            version: "1".into(),
            data_id: data_id.to_string().into(),
        }
    }

    fn trace(number: usize) -> TraceId {
        TraceId::from(number as u128)
    }

    #[test]
    fn a_trace_has_each_of_its_predictions_once() {
        let answered = AnsweredTraces::default();
        answered.record(trace(1), [key(1), key(2)].iter());
        answered.record(trace(1), [key(2), key(3)].iter());
        assert_eq!(answered.of(trace(1)), [key(1), key(2), key(3)]);
        assert_eq!(answered.of(trace(2)), []);
    }

    #[test]
    fn the_memory_is_bounded_and_the_oldest_trace_leaves_first() {
        let answered = AnsweredTraces::default();
        for number in 1..=MAX_PREDICTIONS + 5 {
            answered.record(trace(number), [key(number)].iter());
        }
        assert_eq!(answered.of(trace(5)), []);
        assert_eq!(answered.of(trace(6)), [key(6)]);
        let many: Vec<Key> = (0..MAX_PREDICTIONS).map(key).collect();
        answered.record(trace(1), many.iter());
        assert_eq!(answered.of(trace(MAX_PREDICTIONS + 5)), []);
        assert_eq!(answered.of(trace(1)).len(), MAX_PREDICTIONS);
        let inner = answered.inner.lock();
        assert_eq!((inner.order.len(), inner.by_trace.len()), (1, 1));
    }
}
