//! The queue between requests and the thread: bounded, and never waited for by a request.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::window::Observation;
use crate::repository::Loaded;

/// Rows that may wait.
const MAX_ROWS: usize = 16_384;
/// The thread sleeps this long after it was woken: one wake-up for many requests.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Locked only to put something in or to take all out.
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    seen: Vec<(Arc<Loaded>, Observation)>,
    rows: usize,
    closed: bool,
}

impl Inbox {
    /// Whether there was room.
    pub(super) fn push(&self, loaded: Arc<Loaded>, observation: Observation) -> bool {
        let mut waiting = self.waiting.lock();
        let rows = waiting.rows + observation.rows();
        if rows > MAX_ROWS {
            return false;
        }
        let wakes = waiting.seen.is_empty() || (!waiting.is_many() && rows > MAX_ROWS / 2);
        waiting.rows = rows;
        waiting.seen.push((loaded, observation));
        drop(waiting);
        if wakes {
            self.changed.notify_one();
        }
        true
    }

    /// All that waits, as soon as there is something; `None` when the inbox was closed.
    pub(super) fn take(&self) -> Option<Vec<(Arc<Loaded>, Observation)>> {
        let mut waiting = self.waiting.lock();
        self.changed.wait_while(&mut waiting, |waiting| {
            waiting.seen.is_empty() && !waiting.closed
        });
        self.changed.wait_while_for(
            &mut waiting,
            |waiting| !waiting.is_many() && !waiting.closed,
            PAUSE,
        );
        if waiting.closed {
            return None;
        }
        waiting.rows = 0;
        Some(std::mem::take(&mut waiting.seen))
    }

    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.changed.notify_one();
    }
}

impl Waiting {
    fn is_many(&self) -> bool {
        self.rows > MAX_ROWS / 2
    }
}
