//! Which predictions the last requests were answered with, by trace, so that feedback can name the
//! trace instead of the prediction.

use std::collections::hash_map::Entry;
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
    by_trace: HashMap<TraceId, Keys>,
    order: VecDeque<TraceId>,
    predictions: usize,
}

/// The predictions of one trace.
#[derive(Debug)]
enum Keys {
    /// Of most traces, without memory of its own: all requests wait for each other here.
    One(Key),
    /// A trace may ask for the same again: no search through a list.
    Several(HashSet<Key>),
}

impl AnsweredTraces {
    /// Remembers what a request of this trace was answered with.
    pub(crate) fn record<'a>(&self, trace: TraceId, keys: impl Iterator<Item = &'a Key>) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        for key in keys {
            let is_new = match inner.by_trace.entry(trace) {
                Entry::Vacant(place) => {
                    place.insert(Keys::One(key.clone()));
                    inner.order.push_back(trace);
                    true
                }
                Entry::Occupied(known) => known.into_mut().insert(key),
            };
            inner.predictions += usize::from(is_new);
        }
        while inner.predictions > MAX_PREDICTIONS
            && let Some(first) = inner.order.pop_front()
        {
            let gone = inner.by_trace.remove(&first);
            inner.predictions -= gone.map_or(0, |keys| keys.len());
        }
    }

    /// The predictions of a trace, in the order of their keys; none if it is too long ago.
    pub(crate) fn of(&self, trace: TraceId) -> Vec<Key> {
        let inner = self.inner.lock();
        let mut keys: Vec<Key> = match inner.by_trace.get(&trace) {
            None => Vec::new(),
            Some(Keys::One(key)) => vec![key.clone()],
            Some(Keys::Several(keys)) => keys.iter().cloned().collect(),
        };
        drop(inner);
        keys.sort();
        keys
    }
}

impl Keys {
    fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Several(keys) => keys.len(),
        }
    }

    /// Returns whether the key is new, and there is room for it.
    fn insert(&mut self, key: &Key) -> bool {
        match self {
            Self::One(known) if known == key => false,
            Self::One(known) => {
                *self = Self::Several(HashSet::from([known.clone(), key.clone()]));
                true
            }
            Self::Several(known) => {
                known.len() < MAX_PREDICTIONS && !known.contains(key) && known.insert(key.clone())
            }
        }
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
