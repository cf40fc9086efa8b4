//! The open connections of a listener: their number is bounded, and idle ones make room.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// `idle_since` of a connection with a request in flight.
const BUSY: u64 = u64::MAX;

/// All open connections of a listener.
#[derive(Debug)]
pub(crate) struct Connections {
    most: usize,
    started: Instant,
    open: Mutex<Open>,
    in_flight: AtomicUsize,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Arc<State>>,
}

#[derive(Debug)]
struct State {
    /// Microseconds since the start of the listener.
    idle_since: AtomicU64,
    close: Notify,
}

impl Connections {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            started: Instant::now(),
            open: Mutex::default(),
            in_flight: AtomicUsize::new(0),
        })
    }

    /// Registers a connection. When there are as many as allowed, the one that has been idle for
    /// the longest time is closed for it; `None` when none is idle.
    pub(crate) fn open(self: &Arc<Self>) -> Option<Connection> {
        let state = Arc::new(State {
            idle_since: AtomicU64::new(self.now()),
            close: Notify::new(),
        });
        let mut open = self.open.lock();
        if open.connections.len() >= self.most && !open.close_idle() {
            return None;
        }
        let number = open.next;
        open.next += 1;
        open.connections.insert(number, Arc::clone(&state));
        drop(open);
        Some(Connection {
            all: Arc::clone(self),
            number,
            state,
        })
    }

    /// Requests that have no answer yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(BUSY - 1)
    }
}

impl Open {
    fn close_idle(&mut self) -> bool {
        let idle = self
            .connections
            .iter()
            .map(|(number, state)| (state.idle_since.load(Ordering::Relaxed), *number))
            .filter(|(since, _)| *since != BUSY)
            .min();
        let closed = idle.and_then(|(_, number)| self.connections.remove(&number));
        if let Some(state) = &closed {
            state.close.notify_one();
        }
        closed.is_some()
    }
}

/// One open connection.
pub(crate) struct Connection {
    all: Arc<Connections>,
    number: u64,
    state: Arc<State>,
}

impl Connection {
    /// Whether no request is being answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.state.idle_since.load(Ordering::Relaxed) != BUSY
    }

    /// Completes when this connection must make room for another.
    pub(crate) async fn closed(&self) {
        self.state.close.notified().await;
    }

    pub(crate) fn request(self: &Arc<Self>) -> InFlight {
        self.all.in_flight.fetch_add(1, Ordering::AcqRel);
        self.state.idle_since.store(BUSY, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.open.lock().connections.remove(&self.number);
    }
}

/// Counts one request for as long as it lives, also when the client leaves or the handler panics.
pub(crate) struct InFlight(Arc<Connection>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let Connection { all, state, .. } = &*self.0;
        all.in_flight.fetch_sub(1, Ordering::AcqRel);
        state.idle_since.store(all.now(), Ordering::Relaxed);
    }
}
