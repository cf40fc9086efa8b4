//! The last values by id, bounded.

use std::collections::{HashMap, VecDeque};

/// Ids that are remembered; the oldest leaves first.
pub(super) const MAX_IDS: usize = 10_000;

/// The last value of each of the last [`MAX_IDS`] ids.
#[derive(Debug)]
pub(super) struct Recent<T> {
    values: HashMap<u64, T>,
    order: VecDeque<u64>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self {
            values: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<T: Copy> Recent<T> {
    pub(super) fn get(&self, id: u64) -> Option<T> {
        self.values.get(&id).copied()
    }

    /// Returns the value that this one replaces.
    pub(super) fn put(&mut self, id: u64, value: T) -> Option<T> {
        let before = self.values.insert(id, value);
        if before.is_none() {
            self.order.push_back(id);
            if self.order.len() > MAX_IDS
                && let Some(first) = self.order.pop_front()
            {
                self.values.remove(&first);
            }
        }
        before
    }
}
