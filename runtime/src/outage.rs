//! A dependency that fails for a while: logged once when that begins and once when it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::health::Health;

/// Whether one dependency is failing, with the text that stands in the detail of `/readyz`
/// meanwhile; cloning shares it.
///
/// The caller logs: both methods return whether this call changed the state, so that an outage of a
/// million requests is two log lines.
#[derive(Clone, Debug)]
pub struct Outage {
    key: &'static str,
    health: Health,
    ongoing: Arc<AtomicBool>,
    /// Held from a change of `ongoing` to that of the detail: a begin and an end at the same moment must
    /// not leave the detail of one with the state of the other.
    changing: Arc<Mutex<()>>,
}

impl Outage {
    /// No outage yet. `key` names it in the detail of `/readyz`.
    pub fn new(key: &'static str, health: &Health) -> Self {
        Self {
            key,
            health: health.clone(),
            ongoing: Arc::default(),
            changing: Arc::default(),
        }
    }

    /// Records a failure; true for the first one of an outage, whose `detail` goes to `/readyz`.
    pub fn begin(&self, detail: impl FnOnce() -> String) -> bool {
        if self.is_ongoing() {
            return false;
        }
        let _changing = self.changing.lock();
        let first = !self.ongoing.swap(true, Ordering::Relaxed);
        if first {
            self.health.detail(self.key, Some(detail()));
        }
        first
    }

    /// Records a success; true for the first one after an outage.
    pub fn end(&self) -> bool {
        // The plain load comes first, so that requests do not all write to one cache line.
        if !self.is_ongoing() {
            return false;
        }
        let _changing = self.changing.lock();
        let last = self.ongoing.swap(false, Ordering::Relaxed);
        if last {
            self.health.detail(self.key, None);
        }
        last
    }

    /// Whether the last call failed.
    pub fn is_ongoing(&self) -> bool {
        self.ongoing.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
