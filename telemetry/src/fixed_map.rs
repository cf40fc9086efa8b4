//! A small map that only grows up to a fixed size and is read without a lock.
//!
//! It holds the instruments that are bound to a set of attributes: to record with attributes, the
//! SDK hashes and compares all of them each time, while a bound instrument has done so once. A
//! bound instrument stays in memory for good, so the map is bounded; sets of attributes that find
//! no place are recorded unbound.

use std::sync::OnceLock;

/// The routes of a service times their usual answers are some twenty.
const CAPACITY: usize = 64;

/// Values by key, in the order of their insertion. A process meets its common keys early, so a
/// search ends soon.
#[derive(Debug)]
pub(crate) struct FixedMap<K, V> {
    slots: [OnceLock<(K, V)>; CAPACITY],
}

impl<K, V> FixedMap<K, V> {
    pub(crate) const fn new() -> Self {
        Self {
            slots: [const { OnceLock::new() }; CAPACITY],
        }
    }

    /// The value of `key`, made now if the key is new; `None` when all places are taken by other
    /// keys.
    pub(crate) fn get_or_insert_with(&self, key: &K, make: impl Fn() -> V) -> Option<&V>
    where
        K: Clone + PartialEq,
    {
        let (_, value) =
            self.find_or_insert_with(|known| known == key, || (key.clone(), make()))?;
        Some(value)
    }

    /// The same for a key that is only made when it is new. `is` is true for the key that `make` makes.
    pub(crate) fn find_or_insert_with(
        &self,
        is: impl Fn(&K) -> bool,
        make: impl Fn() -> (K, V),
    ) -> Option<&(K, V)> {
        let slots = self.slots.iter();
        slots
            .map(|slot| slot.get_or_init(&make))
            .find(|(taken_by, _)| is(taken_by))
    }
}

#[cfg(test)]
mod tests;
