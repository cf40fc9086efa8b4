//! Instruments bound to the few sets of attributes that they are used with.
//!
//! To record with attributes, the SDK hashes and compares all of them each time; a bound instrument has done so once. It
//! stays in memory for good, so the sets are few and fixed in number; what comes after them is recorded with attributes.

use std::sync::OnceLock;

/// Sets that are remembered. The routes of a service times the answers that they give are some twenty.
const MOST: usize = 64;

/// What is bound to each set, found by a key that stands for the attributes. Looking up takes no lock.
#[derive(Debug)]
pub(crate) struct Sets<K, V> {
    slots: [OnceLock<(K, V)>; MOST],
}

impl<K: Clone + PartialEq, V> Sets<K, V> {
    pub(crate) const fn new() -> Self {
        Self {
            slots: [const { OnceLock::new() }; MOST],
        }
    }

    /// What is bound to `key`, bound now if it is new; `None` when all places are taken by others. A process meets its
    /// few common sets early, so they stand in front.
    pub(crate) fn find(&self, key: &K, bind: impl Fn() -> V) -> Option<&V> {
        self.slots.iter().find_map(|slot| {
            let (known, bound) = slot.get_or_init(|| (key.clone(), bind()));
            (known == key).then_some(bound)
        })
    }
}

#[cfg(test)]
mod tests;
