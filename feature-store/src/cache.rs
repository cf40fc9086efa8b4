//! Rows in memory, in front of the backend.
//!
//! A row that was read before a write must not enter the cache after it, or the cache would answer
//! with it until it is evicted. So a reader takes a ticket before it asks the backend, and the
//! ticket is void if a write of that row began or ended meanwhile. During a write its rows are not
//! in the cache: every reader sees what the backend holds, and none reads an old value after
//! another has read the new one.

use std::hash::{BuildHasher, RandomState};

use parking_lot::{Mutex, MutexGuard};
use quick_cache::UnitWeighter;
use quick_cache::sync::Cache;

use crate::backend::{EntityKey, Row};
use crate::time::Moment;

/// A cache of a bounded number of rows.
#[derive(Debug)]
pub(crate) struct RowCache {
    rows: Cache<CacheKey, Cached, UnitWeighter>,
    stripes: Box<[Mutex<Stripe>]>,
    hasher: RandomState,
    max_age_micros: i64,
}

/// Allows a row to enter the cache that was read after this was issued.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    generation: u64,
}

/// Keeps rows out of the cache during a write; dropping it ends the write.
#[must_use = "the rows may come back into the cache when this is dropped"]
#[derive(Debug)]
pub(crate) struct Writing<'a> {
    cache: &'a RowCache,
    keys: Vec<CacheKey>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct CacheKey {
    view: usize,
    key: EntityKey,
}

#[derive(Clone, Debug)]
struct Cached {
    row: Row,
    read_at: Moment,
}

/// The writes of some of the rows. Two rows that share a stripe may cost a needless miss, never a
/// wrong answer.
#[derive(Debug, Default)]
struct Stripe {
    writers: usize,
    generation: u64,
}

/// Enough that two of the requests in flight rarely meet.
const STRIPES: usize = 64;

/// Memory is reserved for this many rows; it grows up to the capacity when they come.
const RESERVED: usize = 1024;

impl RowCache {
    /// A cache of about `capacity` rows (0: none), each valid for `max_age_micros`.
    pub(crate) fn new(capacity: usize, max_age_micros: i64) -> Self {
        let rows = Cache::with_weighter(capacity.min(RESERVED), capacity as u64, UnitWeighter);
        let stripes = std::iter::repeat_with(Mutex::default)
            .take(STRIPES)
            .collect();
        Self {
            rows,
            stripes,
            hasher: RandomState::new(),
            max_age_micros,
        }
    }

    /// The row, if it is cached and not too old at `now`.
    pub(crate) fn get(&self, view: usize, key: &EntityKey, now: Moment) -> Option<Row> {
        let cached = self.rows.get(&CacheKey {
            view,
            key: key.clone(),
        })?;
        // Either clock alone is not enough: the time of day can be set back, and the steady one
        // stands still while the machine sleeps. A negative age proves nothing.
        let by_day = now.time.micros() - cached.read_at.time.micros();
        let by_steady = now.steady - cached.read_at.steady;
        [by_day, by_steady]
            .iter()
            .all(|age| (0..=self.max_age_micros).contains(age))
            .then_some(cached.row)
    }

    /// Take it before asking the backend for this row.
    pub(crate) fn ticket(&self, view: usize, key: &EntityKey) -> Ticket {
        // A ticket that is issued during a write is void when the write ends: the generation
        // changes then.
        Ticket {
            generation: self.stripe(view, key).generation,
        }
    }

    /// Stores a row that was read after the ticket was issued, unless the ticket is void. `read_at`
    /// is a time before the read.
    pub(crate) fn fill(
        &self,
        ticket: Ticket,
        view: usize,
        key: EntityKey,
        row: Row,
        read_at: Moment,
    ) {
        let stripe = self.stripe(view, &key);
        if stripe.writers == 0 && ticket.generation == stripe.generation {
            // The stripe is still locked: a write that begins now removes this row again.
            self.rows
                .insert(CacheKey { view, key }, Cached { row, read_at });
        }
    }

    /// Take it before the backend writes these rows, and drop it afterwards.
    pub(crate) fn writing<'a>(
        &self,
        view: usize,
        keys: impl Iterator<Item = &'a EntityKey>,
    ) -> Writing<'_> {
        let keys: Vec<CacheKey> = keys
            .map(|key| CacheKey {
                view,
                key: key.clone(),
            })
            .collect();
        for key in &keys {
            let mut stripe = self.stripe(view, &key.key);
            stripe.writers += 1;
            self.rows.remove(key);
        }
        Writing { cache: self, keys }
    }

    fn stripe(&self, view: usize, key: &EntityKey) -> MutexGuard<'_, Stripe> {
        let hash = self.hasher.hash_one((view, key)) as usize;
        self.stripes[hash % STRIPES].lock()
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        for key in &self.keys {
            let mut stripe = self.cache.stripe(key.view, &key.key);
            stripe.writers -= 1;
            stripe.generation += 1;
        }
    }
}

#[cfg(test)]
mod tests;
